//! The audit log: who changed what, and who tried to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::access::Author;
use super::ids::{JobName, TeamName};

/// One entry. It is written once, together with the change it tells of, and never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Unique in the team's log, and sorts by time: the time to the millisecond and something random.
    pub id: String,
    pub at: Timestamp,
    pub team: TeamName,
    pub author: Author,
    /// What the request was about, below the team.
    pub target: Target,
    pub outcome: Outcome,
    /// Why it was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was changed, field by field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// Epoch seconds at which it may be forgotten.
    pub expires_at: i64,
}

/// What a request was about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The change was stored.
    Accepted,
    /// The author may not do that: the role is too small, or a guardrail stands in the way.
    Denied,
}

/// A field that was changed. What stood there, and stands there now, is left out where it may be secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// JSON pointer (RFC 6901) into the definition.
    pub pointer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl Entry {
    /// An entry of `at`, kept until `kept_until`; `unique` is nobody else's.
    pub fn new(
        at: Timestamp,
        kept_until: Timestamp,
        unique: &str,
        team: TeamName,
        author: Author,
        target: Target,
        outcome: Outcome,
    ) -> Entry {
        let id = format!("{at:.3}-{unique}");
        Entry {
            id,
            at,
            team,
            author,
            target,
            outcome,
            reason: None,
            changes: Vec::new(),
            expires_at: kept_until.as_second(),
        }
    }
}
