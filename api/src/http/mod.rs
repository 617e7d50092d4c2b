//! The REST API.

mod audit;
mod auth;
mod dry_run;
mod extract;
mod idempotency;
mod jobs;
mod json;
pub mod openapi;
mod problem;
mod runs;

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
use auth::AdminToken;
use problem::Problem;

/// What a request may take, well inside the 30 s of API Gateway and the 29 s of the function.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// What the handlers share.
#[derive(Clone)]
struct Api {
    app: Arc<App>,
    admin: AdminToken,
    document: Arc<str>,
}

impl Api {
    /// The time of this request.
    fn moment(&self) -> Moment {
        Moment::begin(REQUEST_TIME)
    }
}

/// The whole API over `app`. `admin_token_sha256` is the hash of the token that every `/v1` path
/// asks for, 64 hexadecimal digits; with anything else nobody gets in.
pub fn router(app: App, admin_token_sha256: &str) -> Router {
    let (v1, document) = openapi::routes().split_for_parts();
    let document: Arc<str> = document.to_json().unwrap_or_default().into();
    let api = Api { app: Arc::new(app), admin: AdminToken::from_hex(admin_token_sha256), document };
    Router::new()
        .nest("/v1", v1)
        .route("/openapi.json", get(document_json))
        .route("/healthz", get(healthz))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(plain_path))
        .layer(middleware::from_fn_with_state(api.clone(), auth::require_admin))
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
async fn finish(request: Request, next: Next) -> Response {
    let id = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
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
