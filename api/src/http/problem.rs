//! Problem details (RFC 9457): the one body of everything that went wrong.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::domain::fields::VIOLATIONS_MAX;
use crate::domain::violation::{Violation, ViolationCode};
use crate::error::Error;

/// What went wrong with a request, as RFC 9457 has it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Identifies the kind of problem; `about:blank`, as `code` says it better.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: String,
    /// The status in words.
    #[schema(example = "Unprocessable Content")]
    title: String,
    /// The HTTP status code.
    #[schema(example = 422)]
    status: u16,
    /// What went wrong this time.
    detail: String,
    /// The path of the request.
    instance: String,
    code: ProblemCode,
    /// Name it when you ask for help: it is in the logs.
    request_id: String,
    /// Everything that is wrong with the request.
    errors: Vec<FieldError>,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: Option<u32>,
}

/// One thing wrong with a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// JSON pointer (RFC 6901) into the body, or the name of a query parameter.
    #[schema(example = "/notifications/subscribers/0/endpoint")]
    pointer: String,
    /// `required`, `type`, `unknown_field`, `format`, `range`, `not_allowed`, `forbidden`, `duplicate` or
    /// `does_not_exist`.
    #[schema(example = "format")]
    code: String,
    detail: String,
}

/// The kinds of problems, for programs. The list is closed: a new one is a new version.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ProblemCode {
    /// The body is not JSON, or a parameter is wrong.
    BadRequest,
    /// The body is JSON, and not what is asked for.
    Invalid,
    Unauthorized,
    /// The role is too small.
    Forbidden,
    NotFound,
    MethodNotAllowed,
    AlreadyExists,
    /// The request does not go together with the present state.
    Conflict,
    /// What `If-Match` or `If-None-Match` asks for does not hold.
    PreconditionFailed,
    /// The `Idempotency-Key` came before with another request.
    IdempotencyMismatch,
    /// More requests than one may send.
    RateLimited,
    PayloadTooLarge,
    UnsupportedMediaType,
    /// AWS did not answer, or asks for patience: the same again later may succeed.
    Unavailable,
    Internal,
}

/// What every operation can answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the answers in the OpenAPI document")]
pub(super) enum CommonProblems {
    /// The body is not JSON, or a parameter is wrong
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// No token, or none that is known and good
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The role of whoever asks is too small
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// What the path names does not exist, or is another team's
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// More requests than one may send; `Retry-After` says how long to wait
    #[response(
        status = 429,
        content_type = "application/problem+json",
        headers(("Retry-After" = u32, description = "Seconds")),
    )]
    RateLimited(Problem),
    /// Something broke; the request id leads to the log
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// AWS did not answer, or asks for patience; `Retry-After` says how long
    #[response(
        status = 503,
        content_type = "application/problem+json",
        headers(("Retry-After" = u32, description = "Seconds")),
    )]
    Unavailable(Problem),
}

/// What an operation that changes a definition can answer besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the answers in the OpenAPI document")]
pub(super) enum ChangeProblems {
    /// What is to be changed is being deleted, or others keep changing it
    #[response(
        status = 409,
        content_type = "application/problem+json",
        headers(("Retry-After" = Option<u32>, description = "Seconds, where others keep changing it")),
    )]
    Conflict(Problem),
    /// `If-Match` or `If-None-Match` does not hold
    #[response(status = 412, content_type = "application/problem+json")]
    PreconditionFailed(Problem),
}

/// What an operation with a body can answer besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the answers in the OpenAPI document")]
pub(super) enum BodyProblems {
    /// The body has more than 256 KiB
    #[response(status = 413, content_type = "application/problem+json")]
    PayloadTooLarge(Problem),
    /// The body is not declared as JSON
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
    /// The definition is not valid; `errors` has everything that is wrong
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
}

impl Problem {
    fn new(status: StatusCode, code: ProblemCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: title(status).to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            instance: String::new(),
            code,
            request_id: String::new(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, ProblemCode::BadRequest, detail)
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, ProblemCode::Unauthorized, detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, ProblemCode::Forbidden, detail)
    }

    /// Why the request was denied, if it was: by a role or, where `stranger`, for want of any; by a
    /// guardrail, a quota or what the deployment grants.
    pub(super) fn denial(&self, stranger: bool) -> Option<String> {
        match self.code {
            ProblemCode::Forbidden => Some(self.detail.clone()),
            ProblemCode::NotFound if stranger => Some("not of this team".to_owned()),
            _ => {
                let forbidden = ViolationCode::Forbidden.as_str();
                let told: Vec<String> = self
                    .errors
                    .iter()
                    .filter(|one| one.code == forbidden)
                    .map(|one| format!("{}: {}", one.pointer, one.detail))
                    .collect();
                (!told.is_empty()).then(|| told.join("; "))
            }
        }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, ProblemCode::NotFound, detail)
    }

    pub(super) fn method_not_allowed(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, ProblemCode::MethodNotAllowed, detail)
    }

    /// One request too many, of somebody who may send so many a second; the same may pass after `wait`.
    pub(super) fn rate_limited(per_second: u32, wait: Duration) -> Problem {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        Problem {
            retry_after: Some(u32::try_from(seconds).unwrap_or(u32::MAX)),
            ..Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                ProblemCode::RateLimited,
                format!("more than the {per_second} requests a second that you may send"),
            )
        }
    }

    pub(super) fn payload_too_large(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ProblemCode::PayloadTooLarge, detail)
    }

    pub(super) fn unsupported_media_type(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ProblemCode::UnsupportedMediaType, detail)
    }

    pub(super) fn internal() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ProblemCode::Internal,
            "something broke; the log tells it under this request_id",
        )
    }

    /// The answer to a request with these violations: 422 for a body that is understood, 400 for
    /// parameters.
    pub(super) fn of_violations(violations: Vec<Violation>) -> Problem {
        let in_body =
            violations.iter().any(|one| one.pointer.is_empty() || one.pointer.starts_with('/'));
        if in_body {
            Problem::listing(StatusCode::UNPROCESSABLE_ENTITY, ProblemCode::Invalid, violations)
        } else {
            Problem::of_parameters(violations)
        }
    }

    /// The answer to a request whose parameters have these violations.
    pub(super) fn of_parameters(violations: Vec<Violation>) -> Problem {
        Problem::listing(StatusCode::BAD_REQUEST, ProblemCode::BadRequest, violations)
    }

    fn listing(status: StatusCode, code: ProblemCode, violations: Vec<Violation>) -> Problem {
        let detail = match &violations[..] {
            [one] if one.pointer.is_empty() => one.detail.clone(),
            [one] => format!("{}: {}", one.pointer, one.detail),
            more if more.len() >= VIOLATIONS_MAX => {
                format!("more is wrong with this request than the {} things told", more.len())
            }
            more => format!("{} things are wrong with this request", more.len()),
        };
        let errors = violations
            .into_iter()
            .map(|one| FieldError {
                pointer: one.pointer,
                code: one.code.as_str().to_owned(),
                detail: one.detail,
            })
            .collect();
        Problem { errors, ..Problem::new(status, code, detail) }
    }

    /// The body, now that the request's path and id are known, in place of `response`'s.
    pub(super) fn complete(mut self, path: &str, request_id: &str, response: Response) -> Response {
        self.instance = path.to_owned();
        self.request_id = request_id.to_owned();
        let (mut parts, _) = response.into_parts();
        parts
            .headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        parts.headers.remove(header::CONTENT_LENGTH);
        // Strings and numbers only: it can always be written.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        Response::from_parts(parts, Body::from(body))
    }
}

/// RFC 9110's reason phrases, where the `http` crate has older ones.
fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        other => other.canonical_reason().unwrap_or("Error"),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // The outermost layer knows the rest and writes the body.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        match error {
            Error::Invalid(violations) => Problem::of_violations(violations),
            Error::NotFound(_) => Problem::not_found(error.to_string()),
            Error::AlreadyExists(_) => {
                Problem::new(StatusCode::CONFLICT, ProblemCode::AlreadyExists, error.to_string())
            }
            Error::Conflict(detail) => {
                Problem::new(StatusCode::CONFLICT, ProblemCode::Conflict, detail)
            }
            Error::StaleVersion(detail) => Problem::new(
                StatusCode::PRECONDITION_FAILED,
                ProblemCode::PreconditionFailed,
                detail,
            ),
            Error::IdempotencyMismatch => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                ProblemCode::IdempotencyMismatch,
                error.to_string(),
            ),
            Error::Busy(_) => Problem {
                retry_after: Some(1),
                ..Problem::new(StatusCode::CONFLICT, ProblemCode::Conflict, error.to_string())
            },
            Error::Aws(_) if error.retryable() => {
                tracing::error!(%error, "AWS is not available");
                Problem {
                    retry_after: Some(5),
                    ..Problem::new(
                        StatusCode::SERVICE_UNAVAILABLE,
                        ProblemCode::Unavailable,
                        "AWS did not answer in time or asks for patience: try again later",
                    )
                }
            }
            Error::Unavailable(_) => {
                tracing::error!(%error, "the OIDC provider is not available");
                Problem {
                    retry_after: Some(30),
                    ..Problem::new(
                        StatusCode::SERVICE_UNAVAILABLE,
                        ProblemCode::Unavailable,
                        "the OIDC provider does not answer, so no token of it can be checked: try \
                         again later",
                    )
                }
            }
            Error::Aws(_) | Error::NotOurs(_) | Error::Internal(_) => {
                tracing::error!(%error, "request failed");
                Problem::internal()
            }
        }
    }
}
