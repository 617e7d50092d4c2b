//! What a schedule means: before there is a job with it, and of a job.

use jiff::Timestamp;
use serde_json::Value;

use super::timing::Misfit;
use super::{Bounds, Engine, EngineChoice, Refusal, Schedule, Timing};
use crate::domain::fields::{Fields, read_object};
use crate::domain::violation::Violation;
use crate::domain::violation::ViolationCode::Range;

/// Starts that are told where nothing is said, and at most.
const COUNT_DEFAULT: u32 = 10;
const COUNT_MAX: u32 = 100;

/// What is asked of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewRequest {
    pub expression: String,
    pub bounds: Bounds,
    pub starts: JobPreviewRequest,
}

/// Which starts are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobPreviewRequest {
    /// Starts behind this are told, not one at it.
    pub after: Timestamp,
    pub count: u32,
}

/// What a schedule means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// [`Timing::description`].
    pub description: String,
    /// [`Schedule::canonical`], of the schedule as it is given to AWS.
    pub canonical: String,
    pub engine: Engine,
    /// Earliest first; fewer than were asked for if there are no more.
    pub next: Vec<Timestamp>,
    /// What the clocks of the schedule's zone show at each of them.
    pub local: Vec<String>,
    /// Whether it is not known when these are counted from, so that they are only so far apart.
    pub approximate: bool,
    /// What may surprise.
    pub notes: Vec<String>,
}

impl JobPreviewRequest {
    pub const COUNT_MAX: u32 = COUNT_MAX;

    /// The usual number of starts after `after`.
    pub fn usual(after: Timestamp) -> JobPreviewRequest {
        JobPreviewRequest { after, count: COUNT_DEFAULT }
    }
}

impl PreviewRequest {
    /// Reads a request's JSON at the time `now`.
    ///
    /// Errors: everything that is wrong, each with its JSON pointer. That the expression is no schedule, or
    /// does not go with the rest, is no such error.
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
        let bounds = Bounds::of_fields(fields);
        let after = fields.timestamp("after").unwrap_or(now);
        let count = fields.integer("count").unwrap_or(COUNT_DEFAULT);
        if !(1..=COUNT_MAX).contains(&count) {
            fields.violation("count", Range, format!("must be a number from 1 to {COUNT_MAX}"));
        }
        let starts = JobPreviewRequest { after, count };
        Some(PreviewRequest { expression: expression?, bounds, starts })
    }

    /// Errors: why a job can't have it in a deployment with these engines, and what was most likely meant.
    pub fn preview(&self, choice: EngineChoice) -> Result<Preview, Refusal> {
        let schedule = Schedule::read(&self.expression)?;
        let timing = Timing { schedule, bounds: self.bounds.clone() };
        let mut misfits = timing.misfits();
        misfits.extend(refused_engine(&timing, choice));
        if !misfits.is_empty() {
            let told = misfits.into_iter().map(|Misfit { field, detail, .. }| match field {
                Some(field) => format!("`{field}` {detail}"),
                None => detail,
            });
            let message = told.collect::<Vec<_>>().join("; ");
            return Err(Refusal { message, suggestion: None });
        }
        let rate = timing.schedule.rate_minutes().is_some();
        let anchor = timing.bounds.start_date.unwrap_or(self.starts.after);
        let approximate = rate && timing.bounds.start_date.is_none();
        let mut preview = timing.preview(timing.engine(choice), anchor, approximate, self.starts);
        if approximate {
            preview.notes.insert(
                0,
                "counted from `after` here; of a job, from when it was made, switched on or given another \
                 schedule"
                    .to_owned(),
            );
        }
        if timing.bounds.spread {
            preview.notes.push("the minute of a job is the one that its name decides".to_owned());
        }
        Ok(preview)
    }
}

/// That a deployment has rules only, and what is asked for takes more.
pub(in crate::domain) fn refused_engine(timing: &Timing, choice: EngineChoice) -> Option<Misfit> {
    if choice != EngineChoice::Rules {
        return None;
    }
    timing.needs_scheduler().map(|field| Misfit {
        field: Some(field),
        code: crate::domain::violation::ViolationCode::Forbidden,
        detail: "takes EventBridge Scheduler, and this deployment uses rules only, which know no time zone, \
                 no date and no window (`ScheduleEngine`)"
            .to_owned(),
    })
}

impl Timing {
    /// What it means where `engine` carries it, a rate counted from `anchor`.
    pub fn preview(
        &self,
        engine: Engine,
        anchor: Timestamp,
        approximate: bool,
        wanted: JobPreviewRequest,
    ) -> Preview {
        let JobPreviewRequest { after, count } = wanted;
        let next: Vec<Timestamp> = self.starts(after, anchor).take(count as usize).collect();
        let mut notes = Vec::new();
        let bounds = &self.bounds;
        if self.schedule.never_starts() {
            notes.push("never starts: there is no such date".to_owned());
        } else if next.is_empty() {
            notes.push("never starts after `after`".to_owned());
        } else if next.len() < count as usize {
            let only = self.schedule.is_one_time();
            notes.push(if only { "the only start" } else { "these are the last" }.to_owned());
        }
        if next.iter().any(|start| Some(*start) == bounds.end_date) {
            notes
                .push("AWS does not say whether the start at `end_date` itself is made".to_owned());
        }
        match self.schedule.rate_minutes() {
            Some(_) if bounds.timezone.is_some() => notes.push(
                "a rate does not depend on a time zone: a day is 24 hours, whatever the clocks do"
                    .to_owned(),
            ),
            _ => notes.extend(self.notes_on_changes(after)),
        }
        if let Some(minutes) = bounds.flexible_window_minutes {
            notes.push(format!(
                "each start is made within {minutes} minutes from the time told here, when it suits AWS"
            ));
        }
        Preview {
            description: self.description(),
            canonical: self.schedule.canonical(),
            engine,
            local: next.iter().map(|start| self.local(*start)).collect(),
            next,
            approximate,
            notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn request(value: Value) -> PreviewRequest {
        PreviewRequest::read(value, at("2026-11-23T14:00:00Z")).unwrap()
    }

    fn previewed(value: Value) -> Preview {
        request(value).preview(EngineChoice::ByNeed).unwrap()
    }

    fn refused(value: Value, choice: EngineChoice) -> String {
        request(value).preview(choice).unwrap_err().message
    }

    fn preview(expression: &str, count: u32) -> Preview {
        previewed(json!({"expression": expression, "count": count}))
    }

    #[test]
    fn starts_are_behind_after_and_notes_tell_what_surprises() {
        let hourly = preview("cron(0 * * * ? *)", 2);
        assert_eq!(hourly.next, [at("2026-11-23T15:00:00Z"), at("2026-11-23T16:00:00Z")]);
        assert_eq!(hourly.local, ["2026-11-23T15:00:00+00:00", "2026-11-23T16:00:00+00:00"]);
        assert_eq!((hourly.approximate, hourly.engine), (false, Engine::Rule));
        assert_eq!(hourly.notes, [""; 0]);
        let rate = preview("rate(5 minutes)", 2);
        assert_eq!(rate.next, [at("2026-11-23T14:05:00Z"), at("2026-11-23T14:10:00Z")]);
        assert!(rate.approximate && rate.notes[0].starts_with("counted from `after`"));
        for (expression, starts, note) in [
            ("cron(0 0 30 2 ? *)", 0, "never starts: there is no such date"),
            ("cron(0 0 1 1 ? 2020)", 0, "never starts after `after`"),
            ("cron(0 0 1 1 ? 2030,2031)", 2, "these are the last"),
            ("at(2026-11-23T14:00:00)", 0, "never starts after `after`"),
            ("at(2026-11-23T14:00:01)", 1, "the only start"),
        ] {
            let told = preview(expression, 3);
            assert_eq!((told.next.len(), &told.notes[..]), (starts, &[note.to_owned()][..]));
        }
        assert_eq!(preview("cron(0 0 1 1 ? 2030,2031)", 2).notes, [""; 0]);
        assert_eq!(preview("at(2026-11-23T14:00:01)", 1).engine, Engine::Scheduler);
    }

    #[test]
    fn in_a_zone_the_clocks_decide_and_their_changes_are_told() {
        let daily = previewed(json!({
            "expression": "cron(30 2 * * ? *)", "timezone": "Europe/Berlin", "count": 3,
            "after": "2026-03-27T12:00:00Z",
        }));
        assert_eq!(daily.engine, Engine::Scheduler);
        assert_eq!(daily.description, "At 02:30 Europe/Berlin, every day");
        let local =
            ["2026-03-28T02:30:00+01:00", "2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00"];
        assert_eq!(daily.local, local);
        assert_eq!(daily.next[1], at("2026-03-30T00:30:00Z"));
        assert_eq!(
            daily.notes[..2],
            [
                "2026-03-29 02:30: skipped, as the clocks in Europe/Berlin go from 02:00 to 03:00 then",
                "2026-10-25 02:30: started the first time only, as the clocks in Europe/Berlin go from 03:00 \
                 to 02:00 then",
            ]
        );
        let often = previewed(json!({
            "expression": "cron(0/20 * * * ? *)", "timezone": "Europe/Berlin", "count": 6,
            "after": "2026-10-24T23:50:00Z",
        }));
        let local: Vec<&str> = often.local.iter().map(|local| &local[11..]).collect();
        let once = ["02:00:00+02:00", "02:20:00+02:00", "02:40:00+02:00"];
        assert_eq!(local[..3], once);
        assert_eq!(local[3..], ["03:00:00+01:00", "03:20:00+01:00", "03:40:00+01:00"]);
        let note = "2026-10-25 02:00 and 2 more of that time: started the first time only";
        assert!(often.notes[0].starts_with(note), "{:?}", often.notes);
        // Where nothing is meant then, there is nothing to tell.
        let noon = json!({"expression": "cron(0 12 * * ? *)", "timezone": "Europe/Berlin"});
        assert_eq!(previewed(noon).notes, [""; 0]);
        // From the middle of the hour that comes twice, the second time.
        let again = previewed(json!({
            "expression": "cron(0/20 * * * ? *)", "timezone": "Europe/Berlin", "count": 1,
            "after": "2026-10-25T01:10:00Z",
        }));
        assert_eq!(again.local, ["2026-10-25T03:00:00+01:00"]);
    }

    #[test]
    fn what_only_ever_falls_into_a_gap_never_starts() {
        let only_then = json!({
            "expression": "cron(30 2 28 3 ? 2027)", "timezone": "Europe/Berlin",
        });
        let told = previewed(only_then);
        assert_eq!(told.next, []);
        assert!(told.notes.iter().any(|note| note.starts_with("2027-03-28 02:30: skipped")));
        let always = json!({"expression": "cron(0-59 2 ? 3 1L *)", "timezone": "Europe/Berlin"});
        assert_eq!(previewed(always).next, []);
    }

    #[test]
    fn dates_bound_the_starts_and_a_rate_counts_from_them() {
        let bounded = previewed(json!({
            "expression": "cron(0 12 * * ? *)",
            "start_date": "2026-12-01T12:00:00Z", "end_date": "2026-12-03T12:00:00Z",
        }));
        let starts = ["2026-12-01T12:00:00Z", "2026-12-02T12:00:00Z", "2026-12-03T12:00:00Z"];
        assert_eq!(bounded.next, starts.map(at));
        assert_eq!(bounded.engine, Engine::Scheduler);
        let notes = [
            "these are the last",
            "AWS does not say whether the start at `end_date` itself is made",
        ];
        assert_eq!(bounded.notes, notes);
        let rate = previewed(json!({
            "expression": "rate(2 hours)", "start_date": "2026-11-23T13:30:00Z", "count": 2,
        }));
        assert_eq!(rate.next, [at("2026-11-23T15:30:00Z"), at("2026-11-23T17:30:00Z")]);
        assert!(!rate.approximate);
        let to_come = previewed(json!({
            "expression": "rate(2 hours)", "start_date": "2026-12-24T00:00:00Z", "count": 1,
        }));
        assert_eq!(to_come.next, [at("2026-12-24T00:00:00Z")]);
    }

    /// The fastest of many, as other work on the machine only slows them; in a build without optimisation.
    #[test]
    fn a_preview_in_a_zone_takes_no_time_either() {
        for expression in [
            "cron(0 4 * * ? *)",
            "cron(0/5 * * * ? *)",
            "cron(0 0 29 2 ? *)",
            "cron(0 0 ? 2 2#5 *)",
            "cron(0 0 30 2 ? *)",
            "cron(30 2 ? 3 1L *)",
        ] {
            let request = request(json!({"expression": expression, "timezone": "Europe/Berlin"}));
            let once = |_| {
                let began = std::time::Instant::now();
                std::hint::black_box(request.preview(EngineChoice::ByNeed)).unwrap();
                began.elapsed()
            };
            let took = (0..50).map(once).min().unwrap();
            assert!(took < std::time::Duration::from_millis(1), "{expression}: {took:?}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let by_need = EngineChoice::ByNeed;
        let gap = json!({"expression": "at(2027-03-28T02:30:00)", "timezone": "Europe/Berlin"});
        assert_eq!(
            refused(gap, by_need),
            "never comes: the clocks in Europe/Berlin go from 02:00 to 03:00 then"
        );
        let dated =
            json!({"expression": "at(2027-03-28T02:30:00)", "end_date": "2028-01-01T00:00:00Z"});
        let says = "`end_date` is not taken with `at(...)`, which starts once";
        assert_eq!(refused(dated, by_need), says);
        let backwards = json!({
            "expression": "rate(1 day)",
            "start_date": "2027-01-01T00:00:00Z", "end_date": "2027-01-01T00:00:00Z",
        });
        assert_eq!(refused(backwards, by_need), "`end_date` must be later than `start_date`");
        for (expression, moves) in [
            ("cron(0 4 * * ? *)", true),
            ("cron(7/15 * * * ? *)", true),
            ("cron(0,30 * * * ? *)", true),
            ("cron(0,10 * * * ? *)", false),
            ("cron(0/7 * * * ? *)", false),
            ("cron(* * * * ? *)", false),
            ("rate(1 hour)", false),
            ("at(2027-03-28T02:30:00)", false),
        ] {
            let request = request(json!({"expression": expression, "spread": true}));
            assert_eq!(request.preview(by_need).is_ok(), moves, "{expression}");
        }
        let zoned = json!({"expression": "cron(0 4 * * ? *)", "timezone": "Europe/Berlin"});
        assert!(refused(zoned, EngineChoice::Rules).starts_with("`timezone` takes EventBridge"));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let now = at("2026-11-23T14:00:00Z");
        let wrong = json!({
            "after": "today", "count": 101, "timezone": "Berlin", "start_date": "2026-12-01",
            "end_date": "2026-12-01T00:00:00.5Z", "flexible_window_minutes": 0, "spread": "yes",
            "zone": "UTC",
        });
        let violations = PreviewRequest::read(wrong, now).unwrap_err();
        let mut told: Vec<(&str, &str)> =
            violations.iter().map(|one| (&*one.pointer, one.code.as_str())).collect();
        told.sort_unstable();
        let wanted = [
            ("/after", "format"),
            ("/count", "range"),
            ("/end_date", "format"),
            ("/expression", "required"),
            ("/flexible_window_minutes", "range"),
            ("/spread", "type"),
            ("/start_date", "format"),
            ("/timezone", "not_allowed"),
            ("/zone", "unknown_field"),
        ];
        assert_eq!(told, wanted);
        let read = PreviewRequest::read(json!({"expression": "x", "timezone": "UTC"}), now);
        let starts = JobPreviewRequest { after: now, count: 10 };
        let plain =
            PreviewRequest { expression: "x".to_owned(), bounds: Bounds::default(), starts };
        assert_eq!(read.unwrap(), plain);
    }
}
