//! The REST API.

mod access;
mod audit;
mod auth;
mod dry_run;
mod extract;
mod idempotency;
mod jobs;
mod json;
pub mod openapi;
mod problem;
mod quotas;
mod rate;
mod runs;
mod schedules;
mod teams;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{OriginalUri, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use lambda_http::RequestExt as _;
use lambda_http::request::RequestContext;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::app::{App, Moment};
use crate::domain::access::{Author, Principal};
use crate::domain::rate::RateLimit;
use crate::identity::{Oidc, Refused, looks_like_jwt};
pub use access::roles;

use access::Operations;
use auth::{AdminToken, KnownTokens};
use problem::Problem;
use rate::Rates;

/// What a request may take, well inside the 30 s of API Gateway and the 29 s of the function.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// What the handlers share.
#[derive(Clone)]
struct Api {
    app: Arc<App>,
    admin: AdminToken,
    oidc: Option<Oidc>,
    operations: Arc<Operations>,
    known_tokens: Arc<KnownTokens>,
    rates: Arc<Rates>,
    document: Arc<str>,
}

/// What names a request in the logs.
#[derive(Clone)]
struct RequestId(String);

impl Api {
    /// This API, for a request of `author`.
    fn on_behalf_of(&self, author: Author) -> Api {
        Api { app: Arc::new(self.app.on_behalf_of(author)), ..self.clone() }
    }

    /// Who bears `token`, if it can be one of the deployment's OIDC provider.
    async fn sign_in(&self, token: &str) -> Option<Result<Principal, Problem>> {
        let oidc = self.oidc.as_ref().filter(|_| looks_like_jwt(token))?;
        Some(oidc.verify(token, self.moment().now).await.map_err(|refused| match refused {
            Refused::Invalid(why) => Problem::unauthorized(why),
            Refused::Unavailable(error) => error.into(),
        }))
    }

    /// The time of this request.
    fn moment(&self) -> Moment {
        Moment::begin(REQUEST_TIME)
    }
}

/// Who the API lets in, besides the bearers of team tokens.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// SHA-256 of the administrator's token, 64 hexadecimal digits; with anything else there is none.
    pub admin_token_sha256: String,
    /// The deployment's provider, if it has one.
    pub oidc: Option<Oidc>,
    /// How much everybody may send; `None` for no limit.
    pub rate_limit: Option<RateLimit>,
}

/// The whole API over `app`.
pub fn router(app: App, doors: Doors) -> Router {
    let (v1, document) = openapi::routes().split_for_parts();
    let api = Api {
        app: Arc::new(app),
        admin: AdminToken::from_hex(&doors.admin_token_sha256),
        oidc: doors.oidc,
        operations: Arc::new(Operations::of(&document, "/v1")),
        known_tokens: Arc::default(),
        rates: Arc::new(Rates::new(doors.rate_limit)),
        document: document.to_json().unwrap_or_default().into(),
    };
    Router::new()
        .nest("/v1", v1)
        .route("/openapi.json", get(document_json))
        .route("/healthz", get(healthz))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(plain_path))
        .layer(middleware::from_fn_with_state(api.clone(), auth::require_role))
        .layer(CatchPanicLayer::custom(|_| Problem::internal().into_response()))
        .layer(middleware::from_fn(finish))
        .with_state(api)
}

async fn document_json(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], api.document.to_string()).into_response()
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn unknown_path(OriginalUri(uri): OriginalUri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed(OriginalUri(uri): OriginalUri, method: Method) -> Problem {
    Problem::method_not_allowed(format!("{} does not take {method}", uri.path()))
}

/// Answers 404 for a path with anything in it that none of ours has.
///
/// API Gateway passes the path decoded on, and what makes a URI of it drops and resolves what it
/// finds there (spaces at the end, `..`, control characters): a name that holds such things would
/// reach another job than the one that was named.
async fn plain_path(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // Empty where no API Gateway stands before the function.
    let as_sent = Some(request.raw_http_path()).filter(|raw| !raw.is_empty()).unwrap_or(path);
    let plain = as_sent.bytes().all(|one| one.is_ascii_alphanumeric() || b"/-_.".contains(&one));
    if plain && as_sent == path {
        next.run(request).await
    } else {
        Problem::not_found("there is nothing at this path").into_response()
    }
}

/// Gives every request an id, logs it once, and completes a problem's body.
async fn finish(mut request: Request, next: Next) -> Response {
    let id = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", request_id = id, %method, path);
    async move {
        let started = std::time::Instant::now();
        let mut response = next.run(request).await;
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            response = problem.complete(&path, &id, response);
        }
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-request-id", value);
        }
        // What a team's jobs are is nobody else's: no cache on the way keeps an answer.
        response
            .headers_mut()
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        tracing::info!(
            status = response.status().as_u16(),
            milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
        response
    }
    .instrument(span)
    .await
}
