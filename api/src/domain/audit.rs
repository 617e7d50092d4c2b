//! The audit log: who changed what, and who tried to.

mod changes;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::access::Author;
use super::ids::{JobKey, JobName, RunId, TeamName};

pub use changes::changes;

/// Characters of what the author said of himself that are kept: it is free text of any length.
const NAME_MAX: usize = 512;

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

impl Target {
    /// The job itself.
    pub fn job(key: &JobKey) -> Target {
        Target { job: Some(key.job.clone()), ..Target::default() }
    }

    /// A run of a job.
    pub fn run(key: &JobKey, run: &RunId) -> Target {
        Target { run: Some(run.to_string()), ..Target::job(key) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The change was stored.
    Accepted,
    /// It was not done, or taken back: the author's role is too small, a guardrail stands in the way, or
    /// AWS does not let this deployment do it.
    Denied,
}

impl Outcome {
    pub const ALL: [Outcome; 2] = [Outcome::Accepted, Outcome::Denied];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Denied => "denied",
        }
    }
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
    /// Whether something was left out because it may be secret: all of it, or the parts that read `***`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

/// Which entries of a team's log are wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AuditFilter {
    pub job: Option<JobName>,
    /// The operation's id in the OpenAPI document.
    pub operation: Option<String>,
    pub outcome: Option<Outcome>,
    /// The principal's id.
    pub principal: Option<String>,
    /// Of this millisecond or after.
    pub from: Option<Timestamp>,
    /// Of this millisecond or before.
    pub to: Option<Timestamp>,
}

impl AuditFilter {
    /// Whether every entry of the time that is wanted is.
    pub fn is_of_time_only(&self) -> bool {
        self.job.is_none()
            && self.operation.is_none()
            && self.outcome.is_none()
            && self.principal.is_none()
    }

    /// Whether no time is wanted.
    pub fn is_empty(&self) -> bool {
        let (first, last) = self.bounds();
        first > last
    }

    /// Between which ids the entries stand that are wanted by their time.
    pub fn bounds(&self) -> (String, String) {
        let first = self.from.map(millisecond).unwrap_or_else(|| "0".to_owned());
        // `~` comes after every character of an id.
        let last = self.to.map_or_else(|| "~".to_owned(), |to| millisecond(to) + "~");
        (first, last)
    }

    /// Whether `id` has the form of an entry's id, of a time that is wanted.
    pub fn may_be(&self, id: &str) -> bool {
        let (first, last) = self.bounds();
        let is_unique = |text: &str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|one| one.is_ascii_alphanumeric() || one == b'-')
        };
        let parts = id.split_at_checked(millisecond(Timestamp::UNIX_EPOCH).len());
        let has_form = parts.is_some_and(|(time, rest)| {
            time.parse::<Timestamp>().is_ok_and(|at| millisecond(at) == time)
                && rest.strip_prefix('-').is_some_and(is_unique)
        });
        has_form && first.as_str() <= id && id <= last.as_str()
    }
}

/// The part of an id that all entries of the millisecond of `at` start with. Of the years 1970 to 9999 all
/// have the same length: they are compared as texts in the table.
fn millisecond(at: Timestamp) -> String {
    let whole = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
    format!("{whole:.3}")
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
        let short = |text: String| changes::cut(&text, NAME_MAX);
        let author =
            Author { name: short(author.name), user_agent: author.user_agent.map(short), ..author };
        Entry {
            id: format!("{}-{unique}", millisecond(at)),
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

    /// The entry of the same that was denied, and why.
    pub fn denied(self, reason: &str) -> Entry {
        let reason = Some(changes::cut(reason, changes::VALUE_MAX));
        Entry { outcome: Outcome::Denied, reason, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_its_time_and_bounds_are_whole_milliseconds() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let id = |text: &str| format!("{}-0a", millisecond(time(text)));
        assert_eq!(id("2026-11-23T14:00:00.1239Z"), "2026-11-23T14:00:00.123Z-0a");
        let filter = AuditFilter {
            from: Some(time("2026-11-23T14:00:00.5009Z")),
            to: Some(time("2026-11-23T14:00:01Z")),
            ..AuditFilter::default()
        };
        assert!(!filter.is_empty() && filter.is_of_time_only());
        for (text, inside) in [
            ("2026-11-23T14:00:00.499Z", false),
            ("2026-11-23T14:00:00.5Z", true),
            ("2026-11-23T14:00:01.0009Z", true),
            ("2026-11-23T14:00:01.001Z", false),
        ] {
            assert_eq!(filter.may_be(&id(text)), inside, "{text}");
            assert!(AuditFilter::default().may_be(&id(text)), "{text}");
        }
        for bad in ["", "2026-11-23T14:00:00.500Z", "2026-11-23T14:00:00.500Z-", "x#y", "ä"] {
            assert!(!AuditFilter::default().may_be(bad), "{bad}");
        }
        assert!(!filter.may_be("2026-11-23T14:00:00.500Z-a#b"));
        let backward = AuditFilter { from: filter.to, to: filter.from, ..AuditFilter::default() };
        assert!(backward.is_empty());
        let at = filter.to;
        assert!(!AuditFilter { from: at, to: at, ..AuditFilter::default() }.is_empty());
    }
}
