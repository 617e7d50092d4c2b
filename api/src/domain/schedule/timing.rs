//! When a job starts: its expression, on whose clocks, from when until when.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::zone::{OnTheWall, civil};
use super::{Engine, EngineChoice, Schedule, UTC, Zone, wall_second};
use crate::domain::fields::Fields;
use crate::domain::ids::JobKey;
use crate::domain::violation::ViolationCode::{self, Format, NotAllowed, Range};

/// Minutes. EventBridge Scheduler API Reference, FlexibleTimeWindow: `MaximumWindowInMinutes`.
const FLEXIBLE_WINDOW: (u32, u32) = (1, 1440);
/// How far ahead changes of the clocks are told.
const CHANGES_AHEAD: SignedDuration = SignedDuration::from_hours(366 * 24);

/// When a job starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    pub schedule: Schedule,
    #[serde(flatten)]
    pub bounds: Bounds,
}

/// What is said of a schedule besides its expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// On whose clocks `cron` and `at` are meant; `None` for UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Zone>,
    /// There is no start before it, and a rate counts from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// There is no start after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Timestamp>,
    /// A start is made within so many minutes after its time, as suits AWS; `None` for at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flexible_window_minutes: Option<u32>,
    /// Whether the job's name decides the minute.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spread: bool,
}

/// What keeps an expression and its bounds from going together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The field; `None` for the expression itself.
    pub field: Option<&'static str>,
    pub code: ViolationCode,
    pub detail: String,
}

impl Misfit {
    fn of(field: &'static str, code: ViolationCode, detail: impl Into<String>) -> Misfit {
        Misfit { field: Some(field), code, detail: detail.into() }
    }
}

impl Bounds {
    /// Reads the fields that are about them; what is wrong with them one by one is a violation.
    pub fn of_fields(fields: &mut Fields<'_>) -> Bounds {
        let timezone = fields.string("timezone").and_then(|name| match Zone::parse(&name) {
            Ok(zone) => zone,
            Err(why) => {
                fields.violation("timezone", NotAllowed, why);
                None
            }
        });
        let flexible_window_minutes = fields.integer("flexible_window_minutes");
        let (least, most) = FLEXIBLE_WINDOW;
        if flexible_window_minutes.is_some_and(|minutes| !(least..=most).contains(&minutes)) {
            let detail = format!("must be a number of minutes from {least} to {most}");
            fields.violation("flexible_window_minutes", Range, detail);
        }
        Bounds {
            timezone,
            start_date: whole_seconds(fields, "start_date"),
            end_date: whole_seconds(fields, "end_date"),
            flexible_window_minutes,
            spread: fields.boolean("spread").unwrap_or(false),
        }
    }
}

/// A time to the second, as Scheduler takes it.
fn whole_seconds(fields: &mut Fields<'_>, key: &'static str) -> Option<Timestamp> {
    let at = fields.timestamp(key)?;
    if at.subsec_nanosecond() != 0 {
        fields.violation(key, Format, "must be a time in whole seconds");
        return None;
    }
    Some(at)
}

impl Timing {
    /// A schedule in UTC, without an end.
    pub fn of(schedule: Schedule) -> Timing {
        Timing { schedule, bounds: Bounds::default() }
    }

    /// Everything that keeps the expression and its bounds from going together.
    pub fn misfits(&self) -> Vec<Misfit> {
        let Bounds { start_date, end_date, .. } = self.bounds;
        let mut misfits = Vec::new();
        if self.schedule.is_one_time() {
            for (field, date) in [("start_date", start_date), ("end_date", end_date)] {
                if date.is_some() {
                    let detail = "is not taken with `at(...)`, which starts once";
                    misfits.push(Misfit::of(field, NotAllowed, detail));
                }
            }
        } else if let (Some(start), Some(end)) = (start_date, end_date)
            && start >= end
        {
            misfits.push(Misfit::of("end_date", Range, "must be later than `start_date`"));
        }
        if let Some(detail) = self.skipped_one_time() {
            misfits.push(Misfit { field: None, code: Range, detail });
        }
        if self.bounds.spread && self.schedule.spread(0).is_none() {
            let detail = "wants a `cron` of one minute, as in `cron(0 4 * * ? *)`, or of even steps around \
                          the hour, as in `cron(0/15 * * * ? *)`: nothing else can be moved";
            misfits.push(Misfit::of("spread", NotAllowed, detail));
        }
        misfits
    }

    /// Why the one time that is meant never comes.
    fn skipped_one_time(&self) -> Option<String> {
        let super::Kind::At(time) = self.schedule.kind else { return None };
        let zone = self.bounds.timezone.as_ref()?;
        let shown = wall_second(time);
        if zone.on_the_wall(shown) != Some(OnTheWall::Skipped) {
            return None;
        }
        let before = Timestamp::from_second(shown).ok()?;
        // No zone is a day and a half from UTC, and no change of the clocks is near another.
        let day = SignedDuration::from_hours(36);
        let (from, until) = (before.checked_sub(day).ok()?, before.checked_add(day).ok()?);
        let change = zone
            .changes(from, until)
            .into_iter()
            .find(|change| (change.from..change.to).contains(&shown))?;
        Some(format!(
            "never comes: the clocks in {} go from {} to {} then",
            zone.name(),
            hour(change.from),
            hour(change.to)
        ))
    }

    /// The first field that asks for what only EventBridge Scheduler can do; `None` if a rule does.
    pub fn needs_scheduler(&self) -> Option<&'static str> {
        let bounds = &self.bounds;
        [
            ("timezone", bounds.timezone.is_some()),
            ("schedule", self.schedule.is_one_time()),
            ("start_date", bounds.start_date.is_some()),
            ("end_date", bounds.end_date.is_some()),
            ("flexible_window_minutes", bounds.flexible_window_minutes.is_some()),
        ]
        .into_iter()
        .find(|(_, needs)| *needs)
        .map(|(field, _)| field)
    }

    /// Which engine carries it.
    pub fn engine(&self, choice: EngineChoice) -> Engine {
        choice.engine(self.needs_scheduler().is_some())
    }

    /// The schedule as it is given to AWS: with `spread`, the minute that the job's name decides.
    pub fn effective(&self, key: &JobKey) -> Schedule {
        let spread = self.bounds.spread.then(|| self.schedule.spread(hash(key))).flatten();
        spread.unwrap_or_else(|| self.schedule.clone())
    }

    /// The same, with the schedule as it is given to AWS.
    pub fn of_job(&self, key: &JobKey) -> Timing {
        Timing { schedule: self.effective(key), bounds: self.bounds.clone() }
    }

    /// What it means, in plain English.
    pub fn description(&self) -> String {
        let Bounds { timezone, start_date, end_date, flexible_window_minutes, .. } = &self.bounds;
        let mut text = self.schedule.description(timezone.as_ref());
        if let Some(start) = start_date {
            text.push_str(&format!(", from {start} on"));
        }
        if let Some(end) = end_date {
            text.push_str(&format!(", until {end}"));
        }
        if let Some(minutes) = flexible_window_minutes {
            let plural = if *minutes == 1 { "" } else { "s" };
            text.push_str(&format!(", within {minutes} minute{plural} from then"));
        }
        text
    }

    /// A start of a rate on EventBridge Scheduler, from which all are counted: its start date or, without one,
    /// an interval after the minute in which the schedule was last switched on or set, `since`.
    pub fn scheduler_anchor(&self, since: Timestamp) -> Option<Timestamp> {
        let minutes = self.schedule.rate_minutes()?;
        if self.bounds.start_date.is_some() {
            return self.bounds.start_date;
        }
        let first = minutes.checked_mul(60)?.checked_add(since.as_second().div_euclid(60) * 60)?;
        Timestamp::from_second(first).ok()
    }

    /// The starts after `after`, earliest first; none at all for what never starts again. A rate starts at
    /// `anchor` and each time its interval later.
    pub fn starts(
        &self,
        after: Timestamp,
        anchor: Timestamp,
    ) -> impl Iterator<Item = Timestamp> + '_ {
        let Bounds { timezone, start_date, end_date, .. } = &self.bounds;
        let one_time = self.schedule.is_one_time();
        // A start at the date itself is one.
        let before = start_date
            .filter(|_| !one_time)
            .and_then(|start| start.checked_sub(SignedDuration::from_secs(1)).ok());
        let after = before.map_or(after, |before| after.max(before));
        let end = end_date.filter(|_| !one_time);
        self.schedule
            .starts(timezone.as_ref(), after, anchor)
            .take_while(move |start| end.is_none_or(|end| *start <= end))
    }

    /// Whether there is any start after `now`.
    pub fn starts_again(&self, now: Timestamp) -> bool {
        let anchor = self.bounds.start_date.unwrap_or(now);
        self.starts(now, anchor).next().is_some()
    }

    /// What changes of the clocks within a year behind `after` do to the starts.
    pub(super) fn notes_on_changes(&self, after: Timestamp) -> Vec<String> {
        let Some(zone) = &self.bounds.timezone else { return Vec::new() };
        let until = after.checked_add(CHANGES_AHEAD).unwrap_or(Timestamp::MAX);
        let until = self.bounds.end_date.map_or(until, |end| end.min(until));
        let from = self.bounds.start_date.map_or(after, |start| start.max(after));
        let mut notes = Vec::new();
        for change in zone.changes(from, until) {
            let (first, last) = (change.from.min(change.to), change.from.max(change.to));
            let mut shown = self.schedule.shown_between(first, last);
            let Some(start) = shown.next().and_then(civil) else { continue };
            let more = match shown.count() {
                0 => String::new(),
                1 => " and 1 more of that time".to_owned(),
                more => format!(" and {more} more of that time"),
            };
            let what =
                if change.from < change.to { "skipped" } else { "started the first time only" };
            notes.push(format!(
                "{}{more}: {what}, as the clocks in {} go from {} to {} then",
                start.strftime("%Y-%m-%d %H:%M"),
                zone.name(),
                hour(change.from),
                hour(change.to)
            ));
        }
        notes
    }

    /// The name of the zone on whose clocks it is meant.
    pub fn zone_name(&self) -> &str {
        self.bounds.timezone.as_ref().map_or(UTC, Zone::name)
    }

    /// What the clocks show at `at`, with their offset from UTC (RFC 3339).
    pub fn local(&self, at: Timestamp) -> String {
        match &self.bounds.timezone {
            Some(zone) => zone.local(at),
            None => at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
        }
    }
}

/// The time of day that a clock shows.
fn hour(shown: i64) -> String {
    civil(shown).map(|time| time.strftime("%H:%M").to_string()).unwrap_or_default()
}

/// Evenly spread, and the same for a job for good.
fn hash(key: &JobKey) -> u32 {
    let digest = Sha256::digest(format!("{}/{}", key.team, key.job));
    digest.iter().take(4).fold(0, |hash, byte| hash << 8 | u32::from(*byte))
}
