//! What a schedule means, before there is a job with it.

use jiff::Timestamp;
use serde_json::Value;

use super::{Refusal, Schedule};
use crate::domain::fields::{Fields, read_object};
use crate::domain::violation::Violation;
use crate::domain::violation::ViolationCode::{Format, Range};

/// Starts that are told where nothing is said, and at most.
const COUNT_DEFAULT: u32 = 10;
const COUNT_MAX: u32 = 100;

/// What is asked of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewRequest {
    pub expression: String,
    /// Starts behind this are told, not one at it.
    pub after: Timestamp,
    pub count: u32,
}

/// What a schedule means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// [`Schedule::description`].
    pub description: String,
    /// [`Schedule::canonical`].
    pub canonical: String,
    /// Earliest first; fewer than were asked for if there are no more.
    pub next: Vec<Timestamp>,
    /// Whether AWS decides when it counts from, so that these are only so far apart.
    pub approximate: bool,
    /// What may surprise.
    pub notes: Vec<&'static str>,
}

impl PreviewRequest {
    /// Reads a request's JSON at the time `now`.
    ///
    /// Errors: everything that is wrong, each with its JSON pointer. That the expression is no schedule is no
    /// such error.
    pub fn read(value: Value, now: Timestamp) -> Result<PreviewRequest, Vec<Violation>> {
        let mut violations = Vec::new();
        let request = read_object(value, String::new(), &mut violations, |fields| {
            PreviewRequest::of_fields(fields, now)
        });
        match request {
            Some(request) if violations.is_empty() => Ok(request),
            _ => Err(violations),
        }
    }

    /// The names of the fields that [`PreviewRequest::read`] knows.
    pub fn field_names() -> Vec<&'static str> {
        let mut violations = Vec::new();
        let mut fields = Fields::of(Value::Null, String::new(), &mut violations);
        PreviewRequest::of_fields(&mut fields, Timestamp::UNIX_EPOCH);
        fields.known().to_vec()
    }

    fn of_fields(fields: &mut Fields<'_>, now: Timestamp) -> Option<PreviewRequest> {
        let expression = fields.string("expression");
        let expression = fields.required("expression", expression);
        let after = match fields.string("after") {
            None => Some(now),
            Some(text) => {
                let after = text.parse().ok();
                if after.is_none() {
                    let detail = "must be a time in RFC 3339, such as 2026-11-23T14:00:00Z";
                    fields.violation("after", Format, detail);
                }
                after
            }
        };
        let count = fields.integer("count").unwrap_or(COUNT_DEFAULT);
        if !(1..=COUNT_MAX).contains(&count) {
            fields.violation("count", Range, format!("must be a number from 1 to {COUNT_MAX}"));
        }
        Some(PreviewRequest { expression: expression?, after: after?, count })
    }

    /// Errors: why the expression is no schedule, and what was most likely meant.
    pub fn preview(&self) -> Result<Preview, Refusal> {
        let schedule = Schedule::read(&self.expression)?;
        let count = self.count as usize;
        let next = schedule.next_starts(self.after, self.after, count);
        let approximate = schedule.counts_from_enabling();
        let mut notes = Vec::new();
        if approximate {
            notes.push(
                "counted from `after` here; of a job, from when it was made, switched on or given another \
                 schedule",
            );
        }
        if schedule.never_starts() {
            notes.push("never starts: there is no such date");
        } else if next.is_empty() {
            notes.push("never starts after `after`");
        } else if next.len() < count {
            notes.push("these are the last");
        }
        let (description, canonical) = (schedule.description(), schedule.canonical());
        Ok(Preview { description, canonical, next, approximate, notes })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn preview(expression: &str, count: u32) -> Preview {
        let after = at("2026-11-23T14:00:00Z");
        PreviewRequest { expression: expression.to_owned(), after, count }.preview().unwrap()
    }

    #[test]
    fn starts_are_behind_after_and_notes_tell_what_surprises() {
        let hourly = preview("cron(0 * * * ? *)", 2);
        assert_eq!(hourly.next, [at("2026-11-23T15:00:00Z"), at("2026-11-23T16:00:00Z")]);
        assert_eq!((hourly.approximate, &hourly.notes[..]), (false, &[][..]));
        let rate = preview("rate(5 minutes)", 2);
        assert_eq!(rate.next, [at("2026-11-23T14:05:00Z"), at("2026-11-23T14:10:00Z")]);
        assert!(rate.approximate && rate.notes[0].starts_with("counted from `after`"));
        for (expression, starts, note) in [
            ("cron(0 0 30 2 ? *)", 0, "never starts: there is no such date"),
            ("cron(0 0 1 1 ? 2020)", 0, "never starts after `after`"),
            ("cron(0 0 1 1 ? 2030,2031)", 2, "these are the last"),
        ] {
            let told = preview(expression, 3);
            assert_eq!((told.next.len(), &told.notes[..]), (starts, &[note][..]), "{expression}");
        }
        assert_eq!(preview("cron(0 0 1 1 ? 2030,2031)", 2).notes, [""; 0]);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let now = at("2026-11-23T14:00:00Z");
        let wrong = json!({"after": "today", "count": 101, "timezone": "Europe/Berlin"});
        let violations = PreviewRequest::read(wrong, now).unwrap_err();
        let mut told: Vec<(&str, &str)> =
            violations.iter().map(|one| (&*one.pointer, one.code.as_str())).collect();
        told.sort_unstable();
        let wanted = [
            ("/after", "format"),
            ("/count", "range"),
            ("/expression", "required"),
            ("/timezone", "unknown_field"),
        ];
        assert_eq!(told, wanted);
        let read = PreviewRequest::read(json!({"expression": "x"}), now).unwrap();
        assert_eq!(read, PreviewRequest { expression: "x".to_owned(), after: now, count: 10 });
    }
}
