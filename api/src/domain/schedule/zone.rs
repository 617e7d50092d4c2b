//! Time zones, as EventBridge Scheduler evaluates expressions in them.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, db};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::shortened;

/// The zone of rules, and of schedules that name none.
pub const UTC: &str = "UTC";
/// In the database for other programs, and no place's time.
const NOT_ZONES: [&str; 3] = ["Factory", "localtime", "posixrules"];
/// So many names are told of those that were perhaps meant.
const SUGGESTED: usize = 3;

/// A time zone of the IANA database, other than `UTC`, which needs none.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// What becomes of a time that a clock on the wall shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnTheWall {
    Once(Timestamp),
    /// The clocks are put forward over it: it never comes.
    Skipped,
    /// The clocks are put back over it: it comes twice, the first time then.
    Twice(Timestamp),
}

/// A change of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The clock's time, in seconds, at which it would go on without the change.
    pub(super) from: i64,
    /// What it is set to instead.
    pub(super) to: i64,
}

impl Zone {
    /// The zone of this name, spelt as the database has it; `None` for `UTC`.
    ///
    /// Errors: a sentence, with names that were perhaps meant.
    pub fn parse(name: &str) -> Result<Option<Zone>, String> {
        if name == UTC {
            return Ok(None);
        }
        if is_known(name)
            && let Ok(rules) = TimeZone::get(name)
        {
            return Ok(Some(Zone { name: name.to_owned(), rules }));
        }
        let mut message = format!(
            "must be a time zone of the IANA database, such as `Europe/Berlin` or `UTC`, not `{}`",
            shortened(name)
        );
        let meant = suggestions(name);
        if !meant.is_empty() {
            message.push_str(&format!("; is `{}` meant?", meant.join("` or `")));
        }
        Err(message)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the clocks of this zone show at `at`, with their offset from UTC (RFC 3339).
    pub fn local(&self, at: Timestamp) -> String {
        let offset = self.rules.to_offset(at);
        let shown = offset.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S");
        let (sign, seconds) =
            (if offset.seconds() < 0 { '-' } else { '+' }, offset.seconds().abs());
        format!("{shown}{sign}{:02}:{:02}", seconds / 3600, seconds % 3600 / 60)
    }

    /// What the clocks show at `at`, in seconds since their 1970.
    pub(super) fn wall(&self, at: Timestamp) -> i64 {
        at.as_second() + i64::from(self.rules.to_offset(at).seconds())
    }

    /// When it is `second` on the clocks, in seconds since their 1970; `None` beyond all time.
    pub(super) fn on_the_wall(&self, second: i64) -> Option<OnTheWall> {
        let shown = civil(second)?;
        let found = self.rules.to_ambiguous_timestamp(shown);
        let at = |offset: Offset| offset.to_timestamp(shown).ok();
        Some(match found.offset() {
            AmbiguousOffset::Unambiguous { offset } => OnTheWall::Once(at(offset)?),
            AmbiguousOffset::Gap { .. } => OnTheWall::Skipped,
            AmbiguousOffset::Fold { before, .. } => OnTheWall::Twice(at(before)?),
        })
    }

    /// The changes of the clocks between `from` and `until`, the earliest first.
    pub(super) fn changes(&self, from: Timestamp, until: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        for transition in self.rules.following(from) {
            let at = transition.timestamp();
            if at > until {
                break;
            }
            let before = at.checked_sub(SignedDuration::from_secs(1)).unwrap_or(at);
            let [old, new] = [before, at].map(|at| i64::from(self.rules.to_offset(at).seconds()));
            // Some transitions change only the name of the time.
            if old != new {
                changes.push(Change { from: at.as_second() + old, to: at.as_second() + new });
            }
        }
        changes
    }
}

/// The date and time of a clock that shows `second` since its 1970.
pub(super) fn civil(second: i64) -> Option<DateTime> {
    Timestamp::from_second(second).ok().map(|at| Offset::UTC.to_datetime(at))
}

/// Whether the database has it in this very spelling: AWS does not look past upper and lower case.
fn is_known(name: &str) -> bool {
    !NOT_ZONES.contains(&name) && db().available().any(|known| known.as_str() == name)
}

/// Names that were perhaps meant: the same in another spelling, or of the same place.
fn suggestions(name: &str) -> Vec<String> {
    let wanted = name.trim().replace(' ', "_").to_ascii_lowercase();
    if wanted.is_empty() {
        return Vec::new();
    }
    let names = || db().available().map(|known| known.as_str().to_owned());
    let spelt = names().find(|known| known.eq_ignore_ascii_case(&wanted) && is_known(known));
    if let Some(known) = spelt {
        return vec![known];
    }
    let place = |name: &str| name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let mut found: Vec<String> =
        names().filter(|known| known.contains('/') && place(known) == place(&wanted)).collect();
    found.sort();
    found.truncate(SUGGESTED);
    found
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> String {
        zone.name
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    /// Reads what is stored.
    fn try_from(name: String) -> Result<Zone, String> {
        Zone::parse(&name)?.ok_or_else(|| "UTC is stored as no zone".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn wall(text: &str) -> i64 {
        at(&format!("{text}Z")).as_second()
    }

    #[test]
    fn names_are_those_of_the_database_in_its_own_spelling() {
        assert_eq!(Zone::parse("UTC"), Ok(None));
        for name in ["Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/UTC", "CET", "GMT"] {
            assert_eq!(Zone::parse(name).unwrap().unwrap().name(), name);
        }
        for (name, meant) in [
            ("europe/berlin", "; is `Europe/Berlin` meant?"),
            ("Berlin", "; is `Europe/Berlin` meant?"),
            ("America/New York", "; is `America/New_York` meant?"),
            ("utc", "; is `UTC` meant?"),
            ("Europe/New_York", "; is `America/New_York` meant?"),
            ("PST", "not `PST`"),
            ("Factory", "not `Factory`"),
            ("+02:00", "not `+02:00`"),
            ("", "not ``"),
            ("Europe", "not `Europe`"),
        ] {
            let why = Zone::parse(name).unwrap_err();
            assert!(why.ends_with(meant), "{name}: {why}");
        }
    }

    #[test]
    fn a_time_on_the_wall_comes_once_twice_or_never() {
        let berlin = Zone::parse("Europe/Berlin").unwrap().unwrap();
        for (shown, becomes) in [
            ("2026-07-01T12:00:00", OnTheWall::Once(at("2026-07-01T10:00:00Z"))),
            ("2026-03-29T01:59:00", OnTheWall::Once(at("2026-03-29T00:59:00Z"))),
            ("2026-03-29T02:00:00", OnTheWall::Skipped),
            ("2026-03-29T02:59:00", OnTheWall::Skipped),
            ("2026-03-29T03:00:00", OnTheWall::Once(at("2026-03-29T01:00:00Z"))),
            ("2026-10-25T02:00:00", OnTheWall::Twice(at("2026-10-25T00:00:00Z"))),
            ("2026-10-25T02:59:00", OnTheWall::Twice(at("2026-10-25T00:59:00Z"))),
            ("2026-10-25T03:00:00", OnTheWall::Once(at("2026-10-25T02:00:00Z"))),
            // As the rules of today go on.
            ("2150-07-01T12:00:00", OnTheWall::Once(at("2150-07-01T10:00:00Z"))),
        ] {
            assert_eq!(berlin.on_the_wall(wall(shown)), Some(becomes), "{shown}");
        }
        assert_eq!(berlin.wall(at("2026-07-01T10:00:00Z")), wall("2026-07-01T12:00:00"));
        assert_eq!(berlin.local(at("2026-10-25T01:30:00Z")), "2026-10-25T02:30:00+01:00");
    }

    #[test]
    fn changes_of_the_clocks_are_found() {
        let berlin = Zone::parse("Europe/Berlin").unwrap().unwrap();
        let changes = berlin.changes(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        let change = |from, to| Change { from: wall(from), to: wall(to) };
        let spring = change("2026-03-29T02:00:00", "2026-03-29T03:00:00");
        let autumn = change("2026-10-25T03:00:00", "2026-10-25T02:00:00");
        assert_eq!(changes, [spring, autumn]);
        let tokyo = Zone::parse("Asia/Tokyo").unwrap().unwrap();
        assert_eq!(tokyo.changes(at("2026-01-01T00:00:00Z"), at("2030-01-01T00:00:00Z")), []);
    }
}
