//! AWS's schedule expressions: `cron(...)` and `rate(...)`, as EventBridge rules and EventBridge Scheduler
//! take them, and `at(...)`, which only Scheduler does.
//!
//! Sources: Amazon EventBridge User Guide, "Setting a schedule pattern for scheduled rules
//! (legacy)"; Amazon EventBridge Scheduler User Guide, "Schedule types in EventBridge Scheduler". Rules
//! know UTC only. Both start to the minute.

mod cron;
mod describe;
#[cfg(test)]
mod documented;
mod engine;
mod field;
mod linux;
mod mistakes;
mod preview;
mod timing;
mod zone;

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use cron::{Cron, next_minute};
use zone::OnTheWall;

pub use engine::{Engine, EngineChoice};
pub(in crate::domain) use preview::refused_engine;
pub use preview::{JobPreviewRequest, Preview, PreviewRequest};
pub use timing::{Bounds, Timing};
pub use zone::{UTC, Zone};

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which part is wrong, what was found and what is allowed; at its end the suggestion, if there is one.
    pub message: String,
    /// A valid expression that was most likely meant.
    pub suggestion: Option<String>,
}

/// A schedule expression that was found valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    kind: Kind,
    expression: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Rate {
        minutes: i64,
    },
    Cron(Box<Cron>),
    /// Once, when the clocks show this.
    At(DateTime),
}

/// How a time is written in `at(...)`.
const AT_FORMAT: &str = "%Y-%m-%dT%H:%M:%S";

/// EventBridge API Reference, PutRule: `ScheduleExpression`.
const EXPRESSION_MAX: usize = 256;

impl Schedule {
    /// Reads `expression`. The error says which part is wrong, what was found and what is
    /// allowed, and what to write instead where that can be told.
    pub fn parse(expression: &str) -> Result<Schedule, String> {
        Schedule::read(expression).map_err(|refused| refused.message)
    }

    /// Reads `expression`, and tells what to write instead apart from the error.
    pub fn read(expression: &str) -> Result<Schedule, Refusal> {
        Schedule::parse_strictly(expression).map_err(|message| {
            if expression.len() > EXPRESSION_MAX {
                return Refusal { message, suggestion: None };
            }
            match mistakes::correction(expression) {
                // An error that already ends with it.
                Some(known) if message.ends_with(&known.says) => {
                    Refusal { message, suggestion: known.suggestion }
                }
                Some(mistakes::Correction { says, suggestion }) => {
                    Refusal { message: format!("{message}; {says}"), suggestion }
                }
                None => Refusal { message, suggestion: None },
            }
        })
    }

    fn parse_strictly(expression: &str) -> Result<Schedule, String> {
        if expression.len() > EXPRESSION_MAX {
            return Err(format!(
                "must have at most {EXPRESSION_MAX} characters, not {}",
                expression.len()
            ));
        }
        let kind = if let Some(inner) = inside(expression, "rate") {
            Kind::Rate { minutes: parse_rate(inner)? }
        } else if let Some(inner) = inside(expression, "cron") {
            Kind::Cron(Box::new(Cron::parse(inner)?))
        } else if let Some(inner) = inside(expression, "at") {
            Kind::At(parse_at(inner)?)
        } else {
            return Err(format!(
                "must be `cron(...)` with six fields, `rate(<value> <unit>)` or `at(<time>)`, such as \
                 `cron(0 4 * * ? *)`, `rate(1 hour)` or `at(2027-01-31T04:00:00)`, not `{}`",
                shortened(expression)
            ));
        };
        Ok(Schedule { kind, expression: expression.to_owned() })
    }

    /// The expression as it was given.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The expression as it is written from what it means, so that schedules that mean the same are written
    /// alike. It is valid itself, and then its own canonical form.
    pub fn canonical(&self) -> String {
        match &self.kind {
            Kind::Rate { minutes } => match describe::in_unit(*minutes) {
                (1, unit) => format!("rate(1 {unit})"),
                (value, unit) => format!("rate({value} {unit}s)"),
            },
            Kind::Cron(cron) => format!("cron({})", cron.canonical()),
            Kind::At(time) => format!("at({})", time.strftime(AT_FORMAT)),
        }
    }

    /// What it means on the clocks of `zone`, in plain English. Schedules that read alike start alike, but for
    /// a rate, whose phase the expression does not tell.
    pub fn description(&self, zone: Option<&Zone>) -> String {
        let clocks = zone.map_or(UTC, Zone::name);
        match &self.kind {
            Kind::Rate { minutes } => describe::rate(*minutes),
            Kind::Cron(cron) => describe::cron(cron, clocks),
            Kind::At(time) => {
                format!("Once, on {} {clocks}", time.strftime("%Y-%m-%d at %H:%M:%S"))
            }
        }
    }

    /// Whether there is no time at all, past or to come, that it means in UTC.
    pub fn never_starts(&self) -> bool {
        match &self.kind {
            Kind::Rate { .. } | Kind::At(_) => false,
            Kind::Cron(cron) => cron.never_starts(),
        }
    }

    /// The time between two starts of a rate, in minutes, whose starts the expression alone does not tell;
    /// `None` of all others.
    pub fn rate_minutes(&self) -> Option<i64> {
        match self.kind {
            Kind::Rate { minutes } => Some(minutes),
            Kind::Cron(_) | Kind::At(_) => None,
        }
    }

    /// Whether it starts once only.
    pub fn is_one_time(&self) -> bool {
        matches!(self.kind, Kind::At(_))
    }

    /// The least time on the clocks between two starts one after the other, in minutes; `None` of an
    /// expression that means one start at most.
    pub fn shortest_interval(&self) -> Option<i64> {
        match &self.kind {
            Kind::Rate { minutes } => Some(*minutes),
            Kind::Cron(cron) => cron.shortest_interval(),
            Kind::At(_) => None,
        }
    }

    /// The same with the minutes that `hash` decides, so that jobs of the same schedule start apart; `None`
    /// of what can't be moved.
    pub(super) fn spread(&self, hash: u32) -> Option<Schedule> {
        let Kind::Cron(cron) = &self.kind else { return None };
        let kind = Kind::Cron(Box::new(cron.spread(hash)?));
        let mut spread = Schedule { kind, expression: String::new() };
        spread.expression = spread.canonical();
        Some(spread)
    }

    /// The starts after `after`, earliest first; none at all for an expression that never starts again. A
    /// `rate` starts at `anchor` and each time its interval later.
    fn starts(
        &self,
        zone: Option<&Zone>,
        after: Timestamp,
        anchor: Timestamp,
    ) -> Box<dyn Iterator<Item = Timestamp> + '_> {
        let zone = zone.cloned();
        match &self.kind {
            Kind::Rate { minutes } => Box::new(starts_of_rate(*minutes, after, anchor)),
            Kind::Cron(cron) => {
                let now = zone.as_ref().map_or(after.as_second(), |zone| zone.wall(after));
                let starts = cron
                    .starts_from(next_minute(now))
                    .filter_map(move |shown| comes_at(zone.as_ref(), shown));
                // While the clocks show an hour for the second time, what they show has been.
                Box::new(starts.skip_while(move |start| *start <= after))
            }
            Kind::At(time) => {
                let start = comes_at(zone.as_ref(), wall_second(*time));
                Box::new(start.into_iter().filter(move |start| *start > after))
            }
        }
    }

    /// When the clocks show what this means, between `from` and `to` of theirs: of a change of the clocks, the
    /// times that it takes away or repeats.
    fn shown_between(&self, from: i64, to: i64) -> Box<dyn Iterator<Item = i64> + '_> {
        match &self.kind {
            Kind::Rate { .. } => Box::new(std::iter::empty()),
            Kind::Cron(cron) => {
                Box::new(cron.starts_from(from).take_while(move |shown| *shown < to))
            }
            Kind::At(time) => {
                let shown = wall_second(*time);
                Box::new((from..to).contains(&shown).then_some(shown).into_iter())
            }
        }
    }
}

/// When the clocks show `shown`, the first time if they do twice; EventBridge Scheduler User Guide, "Daylight
/// savings time on EventBridge Scheduler".
fn comes_at(zone: Option<&Zone>, shown: i64) -> Option<Timestamp> {
    match zone {
        None => Timestamp::from_second(shown).ok(),
        Some(zone) => match zone.on_the_wall(shown)? {
            OnTheWall::Once(at) | OnTheWall::Twice(at) => Some(at),
            OnTheWall::Skipped => None,
        },
    }
}

/// The seconds since 1970 of a clock that shows `time`.
fn wall_second(time: DateTime) -> i64 {
    jiff::tz::Offset::UTC.to_timestamp(time).map_or(i64::MAX, |at| at.as_second())
}

impl TryFrom<String> for Schedule {
    type Error = String;

    /// Reads what is stored: also what was accepted before and is not any more.
    fn try_from(expression: String) -> Result<Schedule, String> {
        Schedule::parse(&expression).or_else(|message| {
            let kind = with_former_steps(&expression).map(|known| known.kind);
            kind.map(|kind| Schedule { kind, expression }).ok_or(message)
        })
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> String {
        schedule.expression
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expression)
    }
}

/// What `expression` means with steps as long as their field, `/60` in the minutes and `/24` in the hours: the
/// first value alone.
fn with_former_steps(expression: &str) -> Option<Schedule> {
    let fields: Vec<&str> = inside(expression, "cron")?.split(' ').collect();
    let [minutes, hours, rest @ ..] = &fields[..] else { return None };
    let without = |field: &str, step: &str| {
        let parts = field.split(',').map(|part| match part.strip_suffix(step) {
            Some("*") => "0",
            Some(values) => values.split('-').next().unwrap_or(values),
            None => part,
        });
        parts.collect::<Vec<_>>().join(",")
    };
    let (minutes, hours) = (without(minutes, "/60"), without(hours, "/24"));
    Schedule::parse_strictly(&format!("cron({minutes} {hours} {})", rest.join(" "))).ok()
}

/// What stands between `keyword(` and the closing parenthesis.
fn inside<'t>(expression: &'t str, keyword: &str) -> Option<&'t str> {
    expression.strip_prefix(keyword)?.strip_prefix('(')?.strip_suffix(')')
}

/// The value of a rate, in minutes.
fn parse_rate(inner: &str) -> Result<i64, String> {
    let Some((value, unit)) = inner.split_once(' ') else {
        return Err(format!(
            "a rate is a value, one space and a unit, such as `rate(5 minutes)`, not `rate({})`",
            shortened(inner)
        ));
    };
    let number = value
        .parse::<u32>()
        .ok()
        .filter(|number| *number > 0 && value.bytes().all(|one| one.is_ascii_digit()))
        .ok_or_else(|| {
            format!(
                "the value of a rate is a whole number from 1 to {}, not `{}`",
                u32::MAX,
                shortened(value)
            )
        })?;
    let (singular, plural, minutes) = match unit {
        "minute" | "minutes" => ("minute", "minutes", 1),
        "hour" | "hours" => ("hour", "hours", 60),
        "day" | "days" => ("day", "days", 24 * 60),
        other => {
            return Err(format!(
                "the unit of a rate is minute, minutes, hour, hours, day or days, not `{}`",
                shortened(other)
            ));
        }
    };
    let right = if number == 1 { singular } else { plural };
    if unit != right {
        return Err(format!(
            "the unit is singular when the value is 1 and plural otherwise: write \
             `rate({number} {right})`"
        ));
    }
    Ok(i64::from(number) * minutes)
}

fn starts_of_rate(
    minutes: i64,
    after: Timestamp,
    anchor: Timestamp,
) -> impl Iterator<Item = Timestamp> {
    let interval = minutes * 60;
    // AWS starts to the second at best; a fraction would only look exact.
    let anchor = anchor.as_second();
    let passed = (after.as_second() - anchor).div_euclid(interval) + 1;
    (passed.max(0)..).map_while(move |number| {
        let start = number.checked_mul(interval)?.checked_add(anchor)?;
        Timestamp::from_second(start).ok()
    })
}

/// The time of an `at`. EventBridge Scheduler API Reference, CreateSchedule: `at(yyyy-mm-ddThh:mm:ss)`.
fn parse_at(inner: &str) -> Result<DateTime, String> {
    let read = DateTime::strptime(AT_FORMAT, inner).ok();
    // In this very form: the parser also takes fewer digits.
    read.filter(|time| time.strftime(AT_FORMAT).to_string() == inner).ok_or_else(|| {
        format!(
            "a time is written `at(yyyy-mm-ddThh:mm:ss)`, such as `at(2027-01-31T04:00:00)`, not `at({})`",
            shortened(inner)
        )
    })
}

/// `text`, cut where a message would become unreadable.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start}…")
}

/// How many cases a property test looks at: `CRONPLANE_CASES`, or `default`.
#[cfg(test)]
fn cases(default: u32) -> u32 {
    std::env::var("CRONPLANE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn rates_are_singular_exactly_at_one() {
        for good in ["rate(1 minute)", "rate(5 minutes)", "rate(1 hour)", "rate(7 days)"] {
            assert_eq!(Schedule::parse(good).unwrap().expression(), good);
        }
        for bad in [
            "rate(5 minute)",
            "rate(1 minutes)",
            "rate(0 minutes)",
            "rate(-1 hours)",
            "rate(+1 hour)",
            "rate(1.5 hours)",
            "rate(1  hour)",
            "rate(1 week)",
            "rate(1hour)",
            "rate( 1 hour)",
            "rate()",
            "rate(1 hour",
            "Rate(1 hour)",
            " rate(1 hour)",
            "",
            "every day",
            "* * * * *",
            "rate(99999999999 days)",
        ] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Schedule::parse("rate(5 minute)").unwrap_err(),
            "the unit is singular when the value is 1 and plural otherwise: write \
             `rate(5 minutes)`"
        );
    }

    #[test]
    fn the_canonical_form_tells_what_is_meant() {
        for (expression, canonical) in [
            ("rate(5 minutes)", "rate(5 minutes)"),
            ("rate(60 minutes)", "rate(1 hour)"),
            ("rate(48 hours)", "rate(2 days)"),
            ("rate(90 minutes)", "rate(90 minutes)"),
            ("cron(0 18 ? * MON-FRI *)", "cron(0 18 ? * 2-6 *)"),
            ("cron(0,15,30,45 * ? * * *)", "cron(0/15 * * * ? *)"),
            ("cron(0/30 20-2 ? * mon-fri *)", "cron(0,30 0-2,20-23 ? * 2-6 *)"),
            ("cron(0 0 lw jan ? 2027,2028)", "cron(0 0 LW 1 ? 2027,2028)"),
            ("cron(0 0 ? * FRIL *)", "cron(0 0 ? * 6L *)"),
            ("cron(0 0 ? * TUE#2 *)", "cron(0 0 ? * 3#2 *)"),
            ("cron(0 0 ? * L *)", "cron(0 0 ? * 7 *)"),
            ("cron(0 0 03W * ? 1970-2199)", "cron(0 0 3W * ? *)"),
        ] {
            let schedule = Schedule::parse(expression).unwrap();
            assert_eq!(schedule.canonical(), canonical);
            let again = Schedule::parse(canonical).unwrap();
            assert_eq!((&again.kind, again.canonical().as_str()), (&schedule.kind, canonical));
        }
    }

    #[test]
    fn a_rate_counts_from_its_anchor() {
        let schedule = Schedule::parse("rate(1 hour)").unwrap();
        let starts = |after: &str, anchor: &str, count| -> Vec<Timestamp> {
            schedule.starts(None, at(after), at(anchor)).take(count).collect()
        };
        let anchor = "2026-01-01T00:20:30Z";
        let two = starts("2026-01-01T02:10:00Z", anchor, 2);
        assert_eq!(two, [at("2026-01-01T02:20:30Z"), at("2026-01-01T03:20:30Z")]);
        let on_the_start = starts("2026-01-01T02:20:30Z", anchor, 1);
        assert_eq!(on_the_start, [at("2026-01-01T03:20:30Z")]);
        // Not before it.
        let before = starts("2025-12-01T00:00:00Z", anchor, 2);
        assert_eq!(before, [at(anchor), at("2026-01-01T01:20:30Z")]);
    }

    #[test]
    fn a_rate_tells_whole_seconds() {
        let schedule = Schedule::parse("rate(1 minute)").unwrap();
        let (after, anchor) = (at("2026-01-01T00:00:00.9Z"), at("2026-01-01T00:00:00.4Z"));
        let start = schedule.starts(None, after, anchor).next();
        assert_eq!(start, Some(at("2026-01-01T00:01:00Z")));
    }

    /// `u32::MAX` days are beyond the end of all time.
    #[test]
    fn a_rate_comes_to_an_end() {
        let schedule = Schedule::parse("rate(4294967295 days)").unwrap();
        let anchor = at("2026-01-01T00:00:00Z");
        assert_eq!(schedule.starts(None, anchor, anchor).take(5).count(), 0);
    }

    #[test]
    fn an_at_is_written_to_the_second_and_without_a_zone() {
        let schedule = Schedule::parse("at(2027-01-31T04:00:00)").unwrap();
        assert_eq!(schedule.canonical(), "at(2027-01-31T04:00:00)");
        assert_eq!(schedule.description(None), "Once, on 2027-01-31 at 04:00:00 UTC");
        for bad in [
            "at(2027-01-31)",
            "at(2027-01-31T04:00)",
            "at(2027-01-31 04:00:00)",
            "at(2027-01-31T04:00:00Z)",
            "at(2027-01-31T04:00:00+01:00)",
            "at(2027-1-31T04:00:00)",
            "at(2027-02-29T04:00:00)",
            "at(2027-01-31T24:00:00)",
            "at(2027-01-31T04:00:60)",
            "at(27-01-31T04:00:00)",
            "at(now)",
            "at()",
            "At(2027-01-31T04:00:00)",
        ] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_schedule_survives_its_storage() {
        let schedule = Schedule::parse("cron(0 0/1 ? * MON-FRI *)").unwrap();
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(json, "\"cron(0 0/1 ? * MON-FRI *)\"");
        assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    }

    /// A job with one could neither be listed nor deleted otherwise.
    #[test]
    fn what_was_accepted_before_is_still_read_from_the_table() {
        for (former, same) in [
            ("cron(*/60 4 * * ? *)", "cron(0 4 * * ? *)"),
            ("cron(7/60,20-30/60,50 */24 * * ? *)", "cron(7,20,50 0 * * ? *)"),
        ] {
            assert!(Schedule::parse(former).is_err());
            let read: Schedule = serde_json::from_value(former.into()).unwrap();
            assert_eq!(read.expression(), former);
            assert_eq!(read.kind, Schedule::parse(same).unwrap().kind);
        }
        assert!(serde_json::from_value::<Schedule>("cron(*/61 4 * * ? *)".into()).is_err());
    }
}
