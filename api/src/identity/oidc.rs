//! The verifier, and how it keeps the provider's keys.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::DecodingKey;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::jwks::KeySet;
use super::provider::Provider;
use super::token::Token;
use crate::domain::access::{Principal, PrincipalKind};
use crate::domain::oidc::{CachedKeys, KEYS_USABLE, OidcConfig};
use crate::error::{Error, Result};

/// How long keys are taken for those that the provider has: what it takes back is refused after that.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// The least time between two questions to the provider, whatever the tokens and the answers.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// For a question to the shared cache; without its answer it goes on.
const CACHE_TIME: Duration = Duration::from_secs(2);

/// Where all instances keep the provider's keys, so that one that starts while the provider is away
/// has some.
#[async_trait]
pub trait KeyCache: std::fmt::Debug + Send + Sync {
    async fn get(&self) -> Result<Option<CachedKeys>>;
    async fn put(&self, keys: CachedKeys) -> Result<()>;
}

/// Why a token lets nobody in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is not a valid token of the provider for this deployment; what is wrong with it, for its
    /// bearer.
    #[error("{0}")]
    Invalid(&'static str),
    /// Whether it is can't be told, as there are no keys and the provider does not answer.
    #[error(transparent)]
    Unavailable(Error),
}

/// Verifies tokens of an OIDC provider; clones share what they know.
///
/// The provider's keys are kept for ten minutes. When they are older, or none of them has a token's key
/// id, the provider is asked again: once for all who wait, and every 30 s at most. While it does not
/// answer, the keys that it had go on being used for 24 hours. An instance without keys takes those
/// in the shared cache, by the same rules.
#[derive(Clone, Debug)]
pub struct Oidc(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: OidcConfig,
    provider: Provider,
    cache: Option<Arc<dyn KeyCache>>,
    known: RwLock<Option<Arc<KeySet>>>,
    /// Held by whoever asks.
    asking: Mutex<Asking>,
}

#[derive(Debug, Default)]
struct Asking {
    /// When the provider was last asked.
    asked_at: Option<Timestamp>,
    /// What the shared cache was last seen to hold.
    shared: Option<CachedKeys>,
}

impl Oidc {
    pub fn new(
        config: OidcConfig,
        http: SharedHttpConnector,
        cache: Option<Arc<dyn KeyCache>>,
    ) -> Oidc {
        let provider = Provider::new(config.issuer.clone(), http);
        let known = RwLock::new(None);
        Oidc(Arc::new(Inner { config, provider, cache, known, asking: Mutex::default() }))
    }

    /// Who bears `token`, if it is valid at `now`. Somebody whom it grants nothing is somebody all the
    /// same.
    pub async fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> std::result::Result<Principal, Refused> {
        let config = &self.0.config;
        let token = Token::parse(token)?;
        let key = self.0.key(&token, now).await?;
        let claims = token.claims(&key, config, now)?;
        let id = claims.subject()?.to_owned();
        let name = claims.name().unwrap_or(&id).to_owned();
        let access = config.access(claims.get(&config.claim));
        Ok(Principal { kind: PrincipalKind::Oidc, id, name, access })
    }
}

impl Inner {
    /// The provider's key that `token` says it is signed with.
    async fn key(
        &self,
        token: &Token<'_>,
        now: Timestamp,
    ) -> std::result::Result<DecodingKey, Refused> {
        let in_fresh = |known: &Option<Arc<KeySet>>| {
            let fresh = known.as_ref().filter(|keys| keys.age(now) < FRESH);
            fresh.and_then(|keys| keys.pick(token.method, token.kid.as_deref()))
        };
        if let Some(key) = in_fresh(&self.known(now)) {
            return Ok(key);
        }
        let mut asking = self.asking.lock().await;
        // Somebody may have asked while this one waited.
        let mut known = self.known(now);
        if asking.asked_at.is_none_or(|at| now.duration_since(at).abs() >= PAUSE) {
            if known.is_none() {
                known = self.learn_from_cache(&mut asking, now).await;
            }
            if let Some(key) = in_fresh(&known) {
                return Ok(key);
            }
            asking.asked_at = Some(now);
            match self.provider.keys(now).await {
                Ok(keys) => {
                    let keys = self.learn(keys);
                    self.share(&mut asking, &keys, now).await;
                    known = Some(keys);
                }
                Err(error) => {
                    let issuer = &self.config.issuer;
                    tracing::warn!(issuer, %error, kept = known.is_some(), "no keys of the OIDC provider");
                }
            }
        }
        drop(asking);
        match known {
            Some(keys) => keys.pick(token.method, token.kid.as_deref()).ok_or(Refused::Invalid(
                "the token is signed with a key that is not the provider's",
            )),
            None => Err(Refused::Unavailable(Error::Unavailable(format!(
                "the keys of {} are not known, and it did not answer when it was last asked",
                self.config.issuer
            )))),
        }
    }

    /// The keys that may still be used.
    fn known(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone().filter(|keys| keys.age(now) < KEYS_USABLE)
    }

    fn learn(&self, keys: KeySet) -> Arc<KeySet> {
        let keys = Arc::new(keys);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
        keys
    }

    async fn learn_from_cache(&self, asking: &mut Asking, now: Timestamp) -> Option<Arc<KeySet>> {
        let cache = self.cache.as_ref()?;
        match timeout(CACHE_TIME, cache.get()).await {
            Ok(Ok(Some(shared))) => {
                let keys = KeySet::parse(shared.jwks.as_bytes(), shared.fetched_at)?;
                asking.shared = Some(shared);
                (keys.age(now) < KEYS_USABLE).then(|| self.learn(keys))
            }
            Ok(Ok(None)) => None,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the shared keys of the OIDC provider could not be read");
                None
            }
            Err(_) => {
                tracing::warn!("the shared keys of the OIDC provider could not be read in time");
                None
            }
        }
    }

    /// Keeps `keys` for all instances, unless the very same are there and were fetched just now.
    async fn share(&self, asking: &mut Asking, keys: &KeySet, now: Timestamp) {
        let Some(cache) = &self.cache else {
            return;
        };
        let jwks = keys.to_json();
        let current = asking.shared.as_ref().is_some_and(|shared| {
            shared.jwks == jwks && now.duration_since(shared.fetched_at).abs() < FRESH
        });
        if current {
            return;
        }
        let shared = CachedKeys { jwks, fetched_at: keys.fetched_at };
        match timeout(CACHE_TIME, cache.put(shared.clone())).await {
            Ok(Ok(())) => asking.shared = Some(shared),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the keys of the OIDC provider could not be shared");
            }
            Err(_) => tracing::warn!("the keys of the OIDC provider could not be shared in time"),
        }
    }
}
