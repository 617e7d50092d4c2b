//! The provider's own documents, over HTTP: what it is, and its keys.

use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider as Tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpConnector as _, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::error::display::DisplayErrorContext;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::timeout;

use super::jwks::KeySet;
use crate::domain::oidc::{is_https, is_loopback};
use crate::error::{Error, Result};

const CONNECT: Duration = Duration::from_secs(2);
/// For both documents together.
const TOTAL: Duration = Duration::from_secs(4);
/// Longest answer, in bytes.
const ANSWER_MAX: usize = 256 * 1024;

/// What connects to providers: the TLS of the AWS SDK, and the certificate authorities of the system.
/// It follows no redirect and uses no proxy.
pub fn https_connector() -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT).read_timeout(TOTAL);
    SharedHttpConnector::new(
        Connector::builder()
            .connector_settings(settings.build())
            // A connection that was kept would be dead after a function was frozen in between, and
            // nobody tells it.
            .pool_max_idle_per_host(0)
            .tls_provider(Tls::Rustls(CryptoMode::AwsLc))
            .build(),
    )
}

#[derive(Debug)]
pub(super) struct Provider {
    issuer: String,
    http: SharedHttpConnector,
}

/// What is needed of the document by which a provider describes itself (OpenID Connect Discovery 1.0,
/// section 3).
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Provider {
    pub(super) fn new(issuer: String, http: SharedHttpConnector) -> Provider {
        Provider { issuer, http }
    }

    /// The keys that the provider has at `now`.
    ///
    /// Errors: `Unavailable`.
    pub(super) async fn keys(&self, now: Timestamp) -> Result<KeySet> {
        timeout(TOTAL, self.ask(now)).await.unwrap_or_else(|_| {
            Err(Error::Unavailable(format!(
                "{} did not answer within {} s",
                self.issuer,
                TOTAL.as_secs()
            )))
        })
    }

    async fn ask(&self, now: Timestamp) -> Result<KeySet> {
        // Section 4: a slash at the issuer's end goes before the rest is appended.
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let discovery: Discovery = serde_json::from_slice(&self.get(&url).await?)
            .map_err(|_| Error::Unavailable(format!("{url} is not a provider's description")))?;
        // Section 4.3: they must be identical.
        if discovery.issuer != self.issuer {
            return Err(Error::Unavailable(format!(
                "{url} is of another issuer, `{}`",
                discovery.issuer
            )));
        }
        let url = discovery.jwks_uri;
        KeySet::parse(&self.get(&url).await?, now)
            .ok_or_else(|| Error::Unavailable(format!("{url} is not a set of keys")))
    }

    /// What is at `url`: by https, or by http where the provider and `url` are on this machine.
    async fn get(&self, url: &str) -> Result<Vec<u8>> {
        let fault = |what: String| Error::Unavailable(format!("{url}: {what}"));
        let on_this_machine = is_loopback(url) && is_loopback(&self.issuer);
        if !is_https(url) && !on_this_machine {
            return Err(fault("not a URL of https".to_owned()));
        }
        let mut request = HttpRequest::get(url).map_err(|error| fault(error.to_string()))?;
        request.headers_mut().insert("accept", "application/json");
        request.headers_mut().insert("user-agent", "cronplane");
        let answer = self.http.call(request).await;
        let answer = answer.map_err(|error| fault(DisplayErrorContext(error).to_string()))?;
        if answer.status().as_u16() != 200 {
            return Err(fault(format!("answered with status {}", answer.status().as_u16())));
        }
        let mut body = ByteStream::new(answer.into_body());
        let mut bytes = Vec::new();
        while let Some(part) = body.next().await {
            let part = part.map_err(|error| fault(DisplayErrorContext(error).to_string()))?;
            if bytes.len() + part.len() > ANSWER_MAX {
                return Err(fault(format!("has more than {ANSWER_MAX} bytes")));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}
