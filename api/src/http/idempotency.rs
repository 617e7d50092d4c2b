//! `Idempotency-Key`: the header, and answers that are given again.

use axum::body::{Body, to_bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::IntoParams;

use super::Api;
use super::problem::Problem;
use crate::app::{Answered, KeyedRequest};
use crate::domain::ids::TeamName;
use crate::domain::violation::{Violation, ViolationCode};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that the answer is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const KEY_MAX: usize = 255;

/// The header with which a request can be repeated.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the header in the OpenAPI document; Idempotency reads it")]
pub(super) struct IdempotencyParams {
    /// A key of your making, new for each request and the same when you repeat it: what the first one
    /// made is made once, and its answer given again for 24 hours. It belongs to the team.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 255,
        pattern = "^[ -~]+$",
        example = "8e03978e-40d5-43e8-bc93-6894a57f9324"
    )]
    idempotency_key: Option<String>,
}

/// The idempotency key of a request, if it has one.
pub(super) struct Idempotency(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Idempotency {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Idempotency, Problem> {
        let wrong = |code, detail: String| {
            Problem::of_parameters(vec![Violation::new("Idempotency-Key", code, detail)])
        };
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(Idempotency(None));
        };
        if values.next().is_some() {
            return Err(wrong(ViolationCode::Duplicate, "is given more than once".to_owned()));
        }
        match value.to_str() {
            Ok(key)
                if (1..=KEY_MAX).contains(&key.len())
                    && key.bytes().all(|one| matches!(one, b' '..=b'~')) =>
            {
                Ok(Idempotency(Some(key.to_owned())))
            }
            _ => Err(wrong(
                ViolationCode::Format,
                format!("must be 1 to {KEY_MAX} printable ASCII characters"),
            )),
        }
    }
}

impl Idempotency {
    /// The request with its key; `path` is that of the request, `body` what was understood of it.
    pub(super) fn request(
        &self,
        team: &TeamName,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Option<KeyedRequest> {
        self.0.as_ref().map(|key| KeyedRequest::new(team, key, method, path, body))
    }
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptAnswer {
    status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    body: String,
}

/// The response to `request`, which was answered with what `respond` makes a response of.
pub(super) async fn response<T>(
    api: &Api,
    request: &KeyedRequest,
    answered: Answered<T>,
    respond: impl FnOnce(T) -> Response,
) -> Response {
    match answered {
        Answered::Now(value) => kept(api, request, respond(value)).await,
        Answered::Again(value) => replayed(respond(value)),
        Answered::Kept(answer) => match serde_json::from_str::<KeptAnswer>(&answer) {
            Ok(answer) => replayed(answer.into_response()),
            Err(error) => {
                tracing::error!(%error, "a kept answer can't be read");
                Problem::internal().into_response()
            }
        },
    }
}

/// `response`, which will be given again to the same request.
async fn kept(api: &Api, request: &KeyedRequest, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Problem::internal().into_response();
    };
    let text = |name: &HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let answer = KeptAnswer {
        status: parts.status.as_u16(),
        location: text(&header::LOCATION),
        etag: text(&header::ETAG),
        body: String::from_utf8_lossy(&bytes).into_owned(),
    };
    // Strings and a number: it can always be written.
    if let Ok(answer) = serde_json::to_string(&answer) {
        api.app.keep_answer(request, answer).await;
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn replayed(mut response: Response) -> Response {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

impl KeptAnswer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let json = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (status, json, self.body).into_response();
        for (name, value) in [(header::LOCATION, self.location), (header::ETAG, self.etag)] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
