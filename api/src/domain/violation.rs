//! What is wrong with a request, field by field.

use std::fmt;

/// One thing wrong with a request: where, of what kind, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the request body, `""` for the whole of it; for a query
    /// parameter, its name.
    pub pointer: String,
    pub code: ViolationCode,
    /// A sentence for a person.
    pub detail: String,
}

impl Violation {
    pub fn new(
        pointer: impl Into<String>,
        code: ViolationCode,
        detail: impl Into<String>,
    ) -> Violation {
        Violation { pointer: pointer.into(), code, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.detail)
    }
}

/// The closed list of kinds, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViolationCode {
    /// A required field is missing.
    Required,
    /// The value has another JSON type than the field.
    Type,
    /// The field is not one of those known here.
    UnknownField,
    /// The text does not have the form that is asked for.
    Format,
    /// The number, length or size is outside the allowed range.
    Range,
    /// The value is well formed but may not be used here.
    NotAllowed,
    /// The value may be used in general, and not by this team: a guardrail, a quota or what the deployment
    /// grants stands in the way.
    Forbidden,
    /// The same thing is named twice.
    Duplicate,
    /// The value names something that does not exist.
    DoesNotExist,
}

impl ViolationCode {
    /// The code as it is written in an answer.
    pub fn as_str(self) -> &'static str {
        match self {
            ViolationCode::Required => "required",
            ViolationCode::Type => "type",
            ViolationCode::UnknownField => "unknown_field",
            ViolationCode::Format => "format",
            ViolationCode::Range => "range",
            ViolationCode::NotAllowed => "not_allowed",
            ViolationCode::Forbidden => "forbidden",
            ViolationCode::Duplicate => "duplicate",
            ViolationCode::DoesNotExist => "does_not_exist",
        }
    }
}

/// `text` as one reference token of a JSON pointer (RFC 6901, section 3).
pub fn pointer_token(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}
