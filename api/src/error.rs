//! The one error of everything behind the HTTP layer.
//!
//! It knows no status codes: `http::problem` turns it into an answer. What an AWS service said is
//! kept for the log and for a job's status; a caller of the API sees it only where it is about the
//! caller's own job.

use std::error::Error as StdError;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::domain::violation::Violation;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong; everything that is wrong with it.
    #[error("the request is not valid")]
    Invalid(Vec<Violation>),
    /// What the request names does not exist, or not for this caller.
    #[error("{0} does not exist")]
    NotFound(String),
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// What the request asks for does not go together with the present state.
    #[error("{0}")]
    Conflict(String),
    /// The request was meant for another state than the present one.
    #[error("{0}")]
    StaleVersion(String),
    /// The `Idempotency-Key` of the request came before, with another request.
    #[error("this Idempotency-Key came before with another request: use a new one")]
    IdempotencyMismatch,
    /// Somebody else holds what the operation needs; the same again soon may succeed.
    #[error("{0} is being worked on")]
    Busy(String),
    /// A call to AWS did not succeed.
    #[error(transparent)]
    Aws(AwsFault),
    /// A resource with the name that is needed exists, and Cronplane did not make it.
    #[error("{0} exists and was not made by Cronplane for this job; it is left as it is")]
    NotOurs(String),
    /// Something that is needed and is not AWS's did not answer as it should.
    #[error("{0}")]
    Unavailable(String),
    /// What should not happen.
    #[error("{0}")]
    Internal(String),
}

/// What an AWS service answered instead of doing what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {code}: {message}")]
pub struct AwsFault {
    /// The API operation, such as `ecs:RegisterTaskDefinition`.
    pub operation: &'static str,
    /// The service's error code, or `Timeout`, `Connection` or `Unknown`.
    pub code: String,
    pub message: String,
    pub kind: FaultKind,
}

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Too many calls: later.
    Throttled,
    /// The service's or the network's trouble: again.
    Transient,
    /// There is nothing left of what the call wants, and it had no effect: later, or something else.
    NoCapacity,
    /// The function's role may not make the call.
    Denied,
    /// The call is refused as it is; the same again will be refused again.
    Rejected,
}

/// A quota that is used up (`LimitExceeded...`) is not among them: waiting does not mend it.
const THROTTLING_CODES: [&str; 7] = [
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ProvisionedThroughputExceededException",
    "RequestThrottled",
];
const DENIED_CODES: [&str; 4] =
    ["AccessDeniedException", "AccessDenied", "AuthorizationError", "AuthorizationErrorException"];
/// Two writers met: the same again succeeds.
const CONTENTION_CODES: [&str; 7] = [
    "ConcurrentModificationException",
    "ConcurrentModification",
    "OperationAbortedException",
    "UpdateInProgressException",
    "ConcurrentAccess",
    "TransactionConflictException",
    "TransactionInProgressException",
];

impl AwsFault {
    /// The fault of `operation` that the SDK reports as `error`.
    ///
    /// `SdkError` itself prints only "service error": the code and the message stand in what it
    /// wraps.
    pub fn of<E, R>(operation: &'static str, error: &SdkError<E, R>) -> AwsFault
    where
        E: ProvideErrorMetadata + StdError + 'static,
        R: std::fmt::Debug + 'static,
    {
        let service_code = error.as_service_error().and_then(ProvideErrorMetadata::code);
        let (code, kind) = match error {
            SdkError::ServiceError(_) => {
                let code = service_code.unwrap_or("Unknown");
                (code, kind_of(code, service_message(error)))
            }
            SdkError::TimeoutError(_) => ("Timeout", FaultKind::Transient),
            SdkError::DispatchFailure(_) => ("Connection", FaultKind::Transient),
            SdkError::ResponseError(_) => ("Response", FaultKind::Transient),
            SdkError::ConstructionFailure(_) => ("Construction", FaultKind::Rejected),
            _ => ("Unknown", FaultKind::Transient),
        };
        let message = service_message(error).map_or_else(|| chain(error), str::to_owned);
        AwsFault { operation, code: code.to_owned(), message, kind }
    }

    /// The fault that stands as an entry inside a successful answer.
    pub fn of_code(operation: &'static str, code: &str, message: &str) -> AwsFault {
        let kind = kind_of(code, Some(message));
        AwsFault { operation, code: code.to_owned(), message: message.to_owned(), kind }
    }

    /// The time that a request has was over before AWS had answered.
    pub fn out_of_time(what: &'static str) -> AwsFault {
        AwsFault {
            operation: what,
            code: "Timeout".to_owned(),
            message: "not finished within this request; it goes on by itself".to_owned(),
            kind: FaultKind::Transient,
        }
    }
}

/// Whether the service answered with an error of which `is` holds.
pub fn says<E, R>(error: &SdkError<E, R>, is: impl Fn(&E) -> bool) -> bool {
    error.as_service_error().is_some_and(is)
}

fn service_message<E, R>(error: &SdkError<E, R>) -> Option<&str>
where
    E: ProvideErrorMetadata,
{
    error.as_service_error().and_then(ProvideErrorMetadata::message)
}

fn kind_of(code: &str, message: Option<&str>) -> FaultKind {
    if THROTTLING_CODES.contains(&code) {
        FaultKind::Throttled
    } else if DENIED_CODES.contains(&code)
        || message.is_some_and(|text| text.contains("is not authorized to perform"))
    {
        FaultKind::Denied
    } else if CONTENTION_CODES.contains(&code)
        || code.starts_with("Internal")
        || code.starts_with("Service")
        || matches!(code, "ServerException" | "Unknown" | "InternalFailure" | "KMSThrottling")
    {
        FaultKind::Transient
    } else {
        FaultKind::Rejected
    }
}

/// The messages of `error` and of everything that caused it.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Error {
    /// The error of the AWS call `operation`.
    pub fn aws<E, R>(operation: &'static str, error: SdkError<E, R>) -> Error
    where
        E: ProvideErrorMetadata + StdError + 'static,
        R: std::fmt::Debug + 'static,
    {
        Error::Aws(AwsFault::of(operation, &error))
    }

    /// Whether AWS said, and did nothing, that there is nothing left of what was wanted.
    pub fn is_no_capacity(&self) -> bool {
        matches!(self, Error::Aws(fault) if fault.kind == FaultKind::NoCapacity)
    }

    /// Whether the same again, a little later, may succeed without anybody doing anything.
    pub fn retryable(&self) -> bool {
        match self {
            Error::Busy(_) | Error::Unavailable(_) => true,
            Error::Aws(fault) => match fault.kind {
                FaultKind::Throttled | FaultKind::Transient | FaultKind::NoCapacity => true,
                FaultKind::Denied | FaultKind::Rejected => false,
            },
            Error::Invalid(_)
            | Error::NotFound(_)
            | Error::AlreadyExists(_)
            | Error::Conflict(_)
            | Error::StaleVersion(_)
            | Error::IdempotencyMismatch
            | Error::NotOurs(_)
            | Error::Internal(_) => false,
        }
    }
}
