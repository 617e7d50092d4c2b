//! A pause: who switched a job's schedule off, why, and when it is switched on again by itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Job;
use super::bounds::{DESCRIPTION_MAX, check_text};
use super::definition::JobDefinition;
use crate::domain::access::{Author, PrincipalKind};
use crate::domain::fields::{Fields, read_object};
use crate::domain::violation::Violation;
use crate::domain::violation::ViolationCode::Range;

/// Characters of what a principal is called that are kept in the job: it is free text of any length.
const NAME_MAX: usize = 512;

/// What is known of a job's being paused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who said so; `None` where nobody was noted, as of jobs that were paused before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PausedBy>,
    /// When; `None` where it was not noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Why, in words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When the schedule is switched on again; `None`: when somebody does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_at: Option<Timestamp>,
    /// Why it was not switched on when its time had come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_refused: Option<String>,
}

/// A principal, as far as it is told who paused a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedBy {
    pub kind: PrincipalKind,
    pub id: String,
    pub name: String,
}

impl PausedBy {
    pub fn of(author: &Author) -> PausedBy {
        PausedBy {
            kind: author.kind,
            id: author.id.clone(),
            name: author.name.chars().take(NAME_MAX).collect(),
        }
    }
}

impl Pause {
    /// One that a definition begins, which says neither why nor until when; `None` of one whose schedule
    /// is on.
    pub fn begun_with(
        definition: &JobDefinition,
        by: Option<PausedBy>,
        now: Timestamp,
    ) -> Option<Pause> {
        let pause = Pause { by, at: Some(now), ..Pause::default() };
        (!definition.enabled).then_some(pause)
    }
}

/// What a request says of a pause: all of it, so that what it leaves out is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PauseRequest {
    pub note: Option<String>,
    pub resume_at: Option<Timestamp>,
}

impl PauseRequest {
    /// Reads a request's JSON at the time `now`; `None` of an empty object, which says nothing.
    ///
    /// Errors: everything that is wrong, each with its JSON pointer.
    pub fn read(value: Value, now: Timestamp) -> Result<Option<PauseRequest>, Vec<Violation>> {
        if value.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(None);
        }
        let mut violations = Vec::new();
        let request = read_object(value, String::new(), &mut violations, |fields| {
            PauseRequest::of_fields(fields, now)
        });
        if violations.is_empty() { Ok(Some(request)) } else { Err(violations) }
    }

    /// The names of the fields that [`PauseRequest::read`] knows.
    pub fn field_names() -> Vec<&'static str> {
        let mut violations = Vec::new();
        let mut fields = Fields::of(Value::Null, String::new(), &mut violations);
        PauseRequest::of_fields(&mut fields, Timestamp::UNIX_EPOCH);
        fields.known().to_vec()
    }

    fn of_fields(fields: &mut Fields<'_>, now: Timestamp) -> PauseRequest {
        let note = fields.string("note");
        if let Some(text) = &note {
            check_text(fields, "note", text, 1, DESCRIPTION_MAX);
        }
        let resume_at = fields.timestamp("resume_at");
        if resume_at.is_some_and(|at| at <= now) {
            fields.violation("resume_at", Range, "must be in the future");
        }
        PauseRequest { note, resume_at }
    }
}

impl Job {
    /// What is known of its being paused; `None` while the schedule is on.
    pub fn known_pause(&self) -> Option<Pause> {
        (!self.definition.enabled).then(|| self.pause.clone().unwrap_or_default())
    }

    /// When it is to be switched on by itself.
    pub fn resume_at(&self) -> Option<Timestamp> {
        if self.definition.enabled || self.deletion.is_some() {
            return None;
        }
        self.pause.as_ref().and_then(|pause| pause.resume_at)
    }

    /// The job, paused by `by` from `now` on; `None` if it is as it is. One that is paused already is
    /// changed only by a request that says something else of it than is known.
    pub fn paused(
        &self,
        request: Option<&PauseRequest>,
        by: Option<PausedBy>,
        now: Timestamp,
    ) -> Option<Job> {
        if let Some(known) = self.known_pause() {
            let said = request?;
            if known.note == said.note && known.resume_at == said.resume_at {
                return None;
            }
        }
        let PauseRequest { note, resume_at } = request.cloned().unwrap_or_default();
        let pause = Pause { by, at: Some(now), note, resume_at, resume_refused: None };
        Some(Job { pause: Some(pause), ..self.with_enabled(false, now) })
    }

    /// The job with its schedule on again from `now` on; `None` if it is.
    pub fn resumed(&self, now: Timestamp) -> Option<Job> {
        (!self.definition.enabled).then(|| self.with_enabled(true, now))
    }

    /// The job, which was to be switched on and was not for this reason: it stays paused until somebody
    /// resumes it.
    pub fn not_resumed(&self, reason: &str, now: Timestamp) -> Job {
        let known = self.pause.clone().unwrap_or_default();
        let resume_refused = Some(reason.to_owned());
        let pause = Pause { resume_at: None, resume_refused, ..known };
        Job { pause: Some(pause), ..self.with_enabled(false, now) }
    }

    fn with_enabled(&self, enabled: bool, now: Timestamp) -> Job {
        self.redefined(JobDefinition { enabled, ..self.definition.clone() }, now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T14:00:00Z".parse().unwrap()
    }

    fn wrong(value: Value) -> Vec<(String, &'static str)> {
        let violations = PauseRequest::read(value, now()).unwrap_err();
        violations.into_iter().map(|one| (one.pointer, one.code.as_str())).collect()
    }

    #[test]
    fn a_request_says_all_of_a_pause_or_nothing() {
        let read = |value| PauseRequest::read(value, now()).unwrap();
        assert_eq!(read(json!({})), None);
        let nothing = PauseRequest::default();
        for named in [json!({"note": null}), json!({"resume_at": null})] {
            assert_eq!(read(named), Some(nothing.clone()));
        }
        let all = json!({"note": "ü".repeat(512), "resume_at": "2026-11-24T06:00:00+01:00"});
        let said = read(all).unwrap();
        assert_eq!(said.note.unwrap().chars().count(), 512);
        assert_eq!(said.resume_at.unwrap().to_string(), "2026-11-24T05:00:00Z");
    }

    #[test]
    fn a_request_is_read_with_everything_that_is_wrong() {
        let pointer = |name: &str, code| (format!("/{name}"), code);
        for (value, told) in [
            (json!({"note": ""}), vec![pointer("note", "range")]),
            (json!({"note": "x".repeat(513)}), vec![pointer("note", "range")]),
            (json!({"note": "a\u{1}b"}), vec![pointer("note", "format")]),
            (
                json!({"note": 1, "resume_at": 1}),
                vec![pointer("note", "type"), pointer("resume_at", "type")],
            ),
            (json!({"resume_at": "tomorrow"}), vec![pointer("resume_at", "format")]),
            (json!({"resume_at": "2026-11-24T06:00:00"}), vec![pointer("resume_at", "format")]),
            (json!({"resume_at": "2026-11-23T14:00:00Z"}), vec![pointer("resume_at", "range")]),
            (json!({"until": "x"}), vec![pointer("until", "unknown_field")]),
        ] {
            assert_eq!(wrong(value.clone()), told, "{value}");
        }
        for no_object in [json!([]), json!("x"), json!(false)] {
            assert_eq!(wrong(no_object), [(String::new(), "type")]);
        }
        assert_eq!(PauseRequest::field_names(), ["note", "resume_at"]);
    }
}
