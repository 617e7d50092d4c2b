//! The six fields of AWS's cron expressions and the starts that they promise.

#[cfg(test)]
use jiff::Timestamp;

use super::field::{DAY_OF_MONTH, DAY_OF_WEEK, HOURS, MINUTES, MONTH, Run, Set, YEAR, YEARS};
use super::shortened;
use super::zone::civil;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// A cron expression: minutes, hours, day of month, month, day of week, year. Expressions of the same sets
/// are equal, however they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    pub(super) minutes: Set,
    pub(super) hours: Set,
    pub(super) days: Days,
    pub(super) months: Set,
    pub(super) years: Set,
}

/// Which days of a month are meant; exactly one of the two day fields of an expression says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Days {
    /// Every day is this with all days, whichever of the fields said so.
    OfMonth(Set),
    /// `L`
    LastOfMonth,
    /// `LW`
    LastWeekday,
    /// `15W`: the weekday (Monday to Friday) nearest to the day, in the same month.
    NearestWeekday(u32),
    /// Days of the week, 1 for Sunday.
    OfWeek(Set),
    /// `6L`: the last Friday of the month.
    LastOfWeek(u32),
    /// `3#2`: the second Tuesday of the month.
    NthOfWeek(u32, u32),
}

/// A month that is meant.
struct Month {
    /// The days from 1970 to its first.
    begins: i64,
    /// Its days with starts, as bits, the lowest for the first day.
    days: u32,
}

impl Month {
    /// Its days with starts, in days since 1970.
    fn starts(&self) -> impl Iterator<Item = i64> + use<> {
        let begins = self.begins;
        let some = |days: u32| Some(days).filter(|days| *days != 0);
        std::iter::successors(some(self.days), move |days| some(days & (days - 1)))
            .map(move |days| begins + i64::from(days.trailing_zeros()))
    }
}

impl Cron {
    /// Reads what stands inside `cron(...)`.
    pub(super) fn parse(inner: &str) -> Result<Cron, String> {
        let fields: Vec<&str> = inner.split(' ').collect();
        if fields.contains(&"") || inner.contains(|one: char| one.is_control()) {
            return Err("the fields of cron stand one space apart".to_owned());
        }
        let [minutes, hours, day_of_month, month, day_of_week, year] = fields[..] else {
            return Err(format!(
                "cron takes six fields (minutes, hours, day-of-month, month, day-of-week, year), \
                 not {}",
                fields.len()
            ));
        };
        let days = match (day_of_month, day_of_week) {
            ("?", "?") => {
                return Err("day-of-month and day-of-week can't both be `?`: set one of them, \
                            `*` for every day"
                    .to_owned());
            }
            ("?", text) => parse_day_of_week(text)?,
            (text, "?") => parse_day_of_month(text)?,
            _ => {
                return Err(format!(
                    "either day-of-month or day-of-week must be `?`, not `{}` and `{}`: set the \
                     one that you don't mean to `?`",
                    shortened(day_of_month),
                    shortened(day_of_week)
                ));
            }
        };
        Ok(Cron {
            minutes: MINUTES.parse(minutes)?,
            hours: HOURS.parse(hours)?,
            days,
            months: MONTH.parse(month)?,
            years: YEAR.parse(year)?,
        })
    }

    /// The six fields as they are written from the sets: equal expressions are written alike.
    pub(super) fn canonical(&self) -> String {
        let (day_of_month, day_of_week) = match &self.days {
            Days::OfMonth(days) => (days.text(true), "?".to_owned()),
            Days::LastOfMonth => ("L".to_owned(), "?".to_owned()),
            Days::LastWeekday => ("LW".to_owned(), "?".to_owned()),
            Days::NearestWeekday(day) => (format!("{day}W"), "?".to_owned()),
            Days::OfWeek(days) => ("?".to_owned(), days.text(false)),
            Days::LastOfWeek(day) => ("?".to_owned(), format!("{day}L")),
            Days::NthOfWeek(day, nth) => ("?".to_owned(), format!("{day}#{nth}")),
        };
        format!(
            "{} {} {day_of_month} {} {day_of_week} {}",
            self.minutes.text(true),
            self.hours.text(true),
            self.months.text(true),
            self.years.text(true)
        )
    }

    /// The starts from `first` on, earliest first, as a clock shows them: in seconds since its 1970.
    pub(super) fn starts_from(&self, first: i64) -> impl Iterator<Item = i64> {
        // Nothing is meant before the first of all years, and nothing behind the last.
        let first = first.max(0);
        let year = civil(first).map(|at| u32::from(at.year().unsigned_abs()));
        year.into_iter()
            .flat_map(|year| self.months(year))
            .flat_map(|month| month.starts())
            .skip_while(move |day| (day + 1) * DAY_SECONDS <= first)
            .flat_map(|day| self.times().map(move |time| day * DAY_SECONDS + time * 60))
            .skip_while(move |second| *second < first)
    }

    /// Up to `count` starts after `after`, in UTC, earliest first.
    #[cfg(test)]
    pub(super) fn next_starts(&self, after: Timestamp, count: usize) -> Vec<Timestamp> {
        let first = next_minute(after.as_second());
        self.starts_from(first)
            .take(count)
            .filter_map(|at| Timestamp::from_second(at).ok())
            .collect()
    }

    /// The same with other minutes, which `hash` decides: one minute becomes any of the hour, and of even
    /// steps around the hour the first is moved. `None` if the minutes are neither.
    pub(super) fn spread(&self, hash: u32) -> Option<Cron> {
        let mut values = self.minutes.values();
        let minutes = match (values.next(), values.next(), self.minutes.as_run()) {
            (Some(_), None, _) => Set::of(MINUTES.range, [hash % 60]),
            (_, _, Some(Run { from, to, step }))
                if step > 1 && 60 % step == 0 && from < step && to + step >= 60 =>
            {
                Set::of(MINUTES.range, (hash % step..60).step_by(step as usize))
            }
            _ => return None,
        };
        Some(Cron { minutes, ..self.clone() })
    }

    /// Whether no day of any year is meant, such as the 30th of February.
    pub(super) fn never_starts(&self) -> bool {
        self.months(YEARS.0).next().is_none()
    }

    /// The times of a day with starts, in minutes since midnight, the earliest first.
    fn times(&self) -> impl Iterator<Item = i64> {
        self.hours.values().flat_map(move |hour| {
            self.minutes.values().map(move |minute| i64::from(hour * 60 + minute))
        })
    }

    /// The months that are meant from the first of `year` on, but those without a day that is.
    ///
    /// Which days of a month are meant depends on its length and the weekday of its first day alone: 28
    /// kinds of months, each looked at once. So the years to the last one are gone through in far less than
    /// a millisecond, and an expression that never starts is found out in the same time.
    fn months(&self, year: u32) -> impl Iterator<Item = Month> {
        let mut kinds: [[Option<u32>; 7]; 4] = Default::default();
        (year..=YEARS.1)
            .filter(move |year| self.years.contains(*year))
            .flat_map(move |year| self.months.values().map(move |month| (year, month)))
            .map(move |(year, month)| {
                let (begins, length) = (days_before(year, month), days_in(year, month));
                let first = day_of_week(begins);
                let kind = &mut kinds[length as usize - 28][first as usize - 1];
                Month { begins, days: *kind.get_or_insert_with(|| self.days.of(length, first)) }
            })
            .filter(|month| month.days != 0)
    }

    /// The least time between two starts one after the other, in all the years that are meant, in
    /// minutes; `None` if there is one start at most.
    pub(super) fn shortest_interval(&self) -> Option<i64> {
        let times: Vec<i64> = self.times().collect();
        let (first, last) = (*times.first()?, *times.last()?);
        let days = self.days_apart()?;
        let within = times.windows(2).map(|pair| pair[1] - pair[0]).min();
        let across = days.map(|days| days * 24 * 60 + first - last);
        within.into_iter().chain(across).min()
    }

    /// The least number of days between two days with starts; `Some(None)` if there is one such day,
    /// `None` if there is none.
    fn days_apart(&self) -> Option<Option<i64>> {
        let mut apart: Option<i64> = None;
        let mut last_seen: Option<i64> = None;
        for day in self.months(YEARS.0).flat_map(|month| month.starts()) {
            apart = [apart, last_seen.map(|seen| day - seen)].into_iter().flatten().min();
            last_seen = Some(day);
            if apart == Some(1) {
                break;
            }
        }
        last_seen.map(|_| apart)
    }
}

/// The first second of the minute that begins after `second`.
pub(super) fn next_minute(second: i64) -> i64 {
    second.div_euclid(60) * 60 + 60
}

impl Days {
    /// All days of the week are all days.
    pub(super) fn of_week(days: Set) -> Days {
        if days.is_full() { Days::every() } else { Days::OfWeek(days) }
    }

    pub(super) fn every() -> Days {
        Days::OfMonth(Set::full(DAY_OF_MONTH.range))
    }

    pub(super) fn are_every(&self) -> bool {
        *self == Days::every()
    }

    /// The days that are meant in a month of `length` days whose first is the weekday `first`, as bits, the
    /// lowest for the first day.
    fn of(&self, length: u32, first: u32) -> u32 {
        (1..=length)
            .filter(|day| self.contain(*day, length, first))
            .fold(0, |bits, day| bits | 1 << (day - 1))
    }

    fn contain(&self, day: u32, length: u32, first: u32) -> bool {
        let weekday = weekday_in(day, first);
        match self {
            Days::OfMonth(set) => set.contains(day),
            Days::LastOfMonth => day == length,
            Days::LastWeekday => day == nearest_weekday(length, length, first),
            Days::NearestWeekday(wanted) => {
                *wanted <= length && day == nearest_weekday(*wanted, length, first)
            }
            Days::OfWeek(set) => set.contains(weekday),
            Days::LastOfWeek(wanted) => weekday == *wanted && day + 7 > length,
            Days::NthOfWeek(wanted, nth) => weekday == *wanted && day.div_ceil(7) == *nth,
        }
    }
}

/// The days of a month (the Gregorian calendar's).
fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// The days from the first of 1970 to that of this month; `year` is 1970 or later.
fn days_before(year: u32, month: u32) -> i64 {
    const MONTHS: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let past = year - 1;
    let leap_years = past / 4 - past / 100 + past / 400 - 477;
    let months = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    let leap_day = u32::from(month > 2 && is_leap(year));
    i64::from((year - YEARS.0) * 365 + leap_years + months + leap_day)
}

/// AWS's number of a day's weekday, 1 for Sunday; `day` counts from 1970, which began with a Thursday.
fn day_of_week(day: i64) -> u32 {
    (day + 4).rem_euclid(7) as u32 + 1
}

/// The weekday of a day of a month whose first is the weekday `first`.
fn weekday_in(day: u32, first: u32) -> u32 {
    (first + day - 2) % 7 + 1
}

/// The day of the month that is the nearest to `day` of those from Monday to Friday.
fn nearest_weekday(day: u32, length: u32, first: u32) -> u32 {
    const SUNDAY: u32 = 1;
    const SATURDAY: u32 = 7;
    match weekday_in(day, first) {
        SATURDAY if day == 1 => 3,
        SATURDAY => day - 1,
        SUNDAY if day == length => day - 2,
        SUNDAY => day + 1,
        _ => day,
    }
}

fn parse_day_of_month(text: &str) -> Result<Days, String> {
    let upper = text.to_ascii_uppercase();
    match upper.as_str() {
        "L" => return Ok(Days::LastOfMonth),
        "LW" => return Ok(Days::LastWeekday),
        _ => {}
    }
    if in_a_list(&upper, |part| matches!(part, "L" | "LW") || part.ends_with('W')) {
        return Err(format!(
            "day-of-month: `L`, `LW` and a day with W stand alone, not in a list as in `{}`",
            shortened(text)
        ));
    }
    if upper.starts_with("L-") {
        // Quartz has it.
        return Err(format!(
            "day-of-month: AWS counts no days back from the last one: allowed are 1 to 31, `L`, `LW` \
             and a day with W, not `{}`",
            shortened(text)
        ));
    }
    if let Some(day) = upper.strip_suffix('W') {
        return Ok(Days::NearestWeekday(DAY_OF_MONTH.value(day)?));
    }
    Ok(Days::OfMonth(DAY_OF_MONTH.parse(text)?))
}

/// Whether there is a list with a part that can only stand alone.
fn in_a_list(text: &str, alone: impl Fn(&str) -> bool) -> bool {
    text.contains(',') && text.split(',').any(alone)
}

fn parse_day_of_week(text: &str) -> Result<Days, String> {
    let upper = text.to_ascii_uppercase();
    if upper == "L" {
        // Of a week, the last day is Saturday.
        return Ok(Days::OfWeek(Set::of(DAY_OF_WEEK.range, [7])));
    }
    if in_a_list(&upper, |part| part.ends_with('L') || part.contains('#')) {
        return Err(format!(
            "day-of-week: `L`, `6L` and `3#2` stand alone, not in a list as in `{}`",
            shortened(text)
        ));
    }
    if let Some((day, nth)) = upper.split_once('#') {
        let day = DAY_OF_WEEK.value(day)?;
        let nth = match nth {
            "1" => 1,
            "2" => 2,
            "3" => 3,
            "4" => 4,
            "5" => 5,
            _ => {
                return Err(format!(
                    "day-of-week: after `#` stands which one of the month is meant, 1 to 5, not \
                     `{}`",
                    shortened(nth)
                ));
            }
        };
        return Ok(Days::NthOfWeek(day, nth));
    }
    if let Some(day) = upper.strip_suffix('L') {
        return Ok(Days::LastOfWeek(DAY_OF_WEEK.value(day)?));
    }
    let counts_from_zero = |part: &str| part.split(['-', '/']).next() == Some("0");
    let days = DAY_OF_WEEK.parse(text).map_err(|wrong| {
        if text.split(',').any(counts_from_zero) {
            format!("{wrong}; AWS counts from 1 for SUN")
        } else {
            wrong
        }
    })?;
    Ok(Days::of_week(days))
}

#[cfg(test)]
pub(in crate::domain::schedule) mod tests {
    use jiff::civil::{Date, DateTime};
    use jiff::tz::Offset;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::schedule::{Schedule, Zone, cases};

    fn starts(inner: &str, after: &str, count: usize) -> Vec<String> {
        let after: Timestamp = after.parse().unwrap();
        Cron::parse(inner)
            .unwrap()
            .next_starts(after, count)
            .into_iter()
            .map(|start| start.strftime("%Y-%m-%dT%H:%M").to_string())
            .collect()
    }

    /// The examples of the EventBridge User Guide's page on scheduled rules.
    #[test]
    fn the_documented_examples() {
        let after = "2026-11-23T14:00:00Z"; // a Monday
        for (inner, expected) in [
            ("0 10 * * ? *", "2026-11-24T10:00"),
            ("15 12 * * ? *", "2026-11-24T12:15"),
            ("0 18 ? * MON-FRI *", "2026-11-23T18:00"),
            ("0 8 1 * ? *", "2026-12-01T08:00"),
            ("0/15 * * * ? *", "2026-11-23T14:15"),
            ("0/10 * ? * MON-FRI *", "2026-11-23T14:10"),
            ("0/5 8-17 ? * MON-FRI *", "2026-11-23T14:05"),
            ("0/30 20-2 ? * MON-FRI *", "2026-11-23T20:00"),
        ] {
            assert_eq!(starts(inner, after, 1), [expected], "{inner}");
        }
    }

    #[test]
    fn special_days() {
        let after = "2026-01-01T00:00:00Z";
        for (inner, expected) in [
            ("0 0 L * ? *", ["2026-01-31", "2026-02-28"]),
            ("0 0 LW * ? *", ["2026-01-30", "2026-02-27"]),
            ("0 0 15W * ? *", ["2026-01-15", "2026-02-16"]),
            ("0 0 1W 8 ? *", ["2026-08-03", "2027-08-02"]),
            ("0 0 31W * ? *", ["2026-01-30", "2026-03-31"]),
            ("0 0 ? * 6L *", ["2026-01-30", "2026-02-27"]),
            ("0 0 ? * 3#2 *", ["2026-01-13", "2026-02-10"]),
            ("0 0 ? * MON#5 *", ["2026-03-30", "2026-06-29"]),
            ("0 0 ? * L *", ["2026-01-03", "2026-01-10"]),
            ("0 0 ? * SAT-MON *", ["2026-01-03", "2026-01-04"]),
            ("0 0 29 2 ? *", ["2028-02-29", "2032-02-29"]),
            ("0 0 1 NOV-FEB ? *", ["2026-02-01", "2026-11-01"]),
            ("0 0 1 1 ? 2030,2040", ["2030-01-01", "2040-01-01"]),
        ] {
            let expected: Vec<String> = expected.iter().map(|day| format!("{day}T00:00")).collect();
            assert_eq!(starts(inner, after, 2), expected, "{inner}");
        }
    }

    #[test]
    fn an_expression_that_never_fires_ends() {
        assert!(starts("0 0 30 2 ? *", "2026-01-01T00:00:00Z", 1).is_empty());
        assert!(starts("0 0 1 1 ? 1999", "2026-01-01T00:00:00Z", 1).is_empty());
        assert_eq!(starts("59 23 31 12 ? 2199", "2026-01-01T00:00:00Z", 2).len(), 1);
    }

    #[test]
    fn after_is_not_a_start_itself() {
        assert_eq!(starts("0 * * * ? *", "2026-01-01T01:00:00Z", 1), ["2026-01-01T02:00"]);
        assert_eq!(starts("0 * * * ? *", "2026-01-01T00:59:59.999Z", 1), ["2026-01-01T01:00"]);
    }

    #[test]
    fn what_aws_refuses_is_refused() {
        for (inner, says) in [
            ("0 10 * * *", "six fields"),
            ("0 10 * * ? * *", "six fields"),
            ("0 10 * * * *", "must be `?`"),
            ("0 10 ? * ? *", "can't both"),
            ("60 * * * ? *", "minutes: allowed are 0 to 59"),
            ("* 24 * * ? *", "hours"),
            ("0 0 0 * ? *", "day-of-month"),
            ("0 0 32 * ? *", "day-of-month"),
            ("0 0 * 13 ? *", "month"),
            (
                "0 0 ? * 0 *",
                "day-of-week: allowed are 1 to 7 or SUN to SAT, not `0`; AWS counts from 1 for SUN",
            ),
            ("0 0 L-3 * ? *", "day-of-month: AWS counts no days back"),
            ("0 0 ? * 8 *", "day-of-week"),
            ("0 0 ? * MON/2 *", "no steps"),
            ("0 0 ? * 2#6 *", "1 to 5"),
            ("0 0 * * ? 1969", "year"),
            ("0 0 * * ? 2200", "year"),
            ("0 0 * * ? 2030-2028", "backwards"),
            ("0/0 * * * ? *", "a step"),
            ("*/60 * * * ? *", "minutes: a step is a number from 1 to 59, not `60`"),
            ("0 */24 * * ? *", "hours: a step is a number from 1 to 23, not `24`"),
            ("0 0 1/32 * ? *", "day-of-month: a step is a number from 1 to 31, not `32`"),
            ("0 0 1 */13 ? *", "month: a step is a number from 1 to 12, not `13`"),
            ("? * * * ? *", "minutes"),
            ("0 0 L-3 * ? *", "day-of-month"),
            ("0 0 W * ? *", "day-of-month"),
            ("0 0 L,15W * ? *", "day-of-month: `L`, `LW` and a day with W stand alone"),
            ("0 0 ? * 2,6L *", "day-of-week: `L`, `6L` and `3#2` stand alone"),
            ("1, * * * ? *", "minutes"),
            ("+1 * * * ? *", "minutes"),
            ("0 0 * FOO ? *", "JAN to DEC"),
            ("0 0  * * ? *", "one space apart"),
            ("0 0 * * ?\t*", "one space apart"),
            ("", "one space apart"),
        ] {
            let error = Cron::parse(inner).expect_err(inner);
            assert!(error.contains(says), "{inner}: {error}");
        }
    }

    fn field(range: (u32, u32), steps: bool) -> BoxedStrategy<String> {
        let value = range.0..=range.1;
        let mut parts = vec![
            Just("*".to_owned()).boxed(),
            value.clone().prop_map(|one| one.to_string()).boxed(),
            (value.clone(), value.clone()).prop_map(|(a, b)| format!("{a}-{b}")).boxed(),
        ];
        if steps {
            parts.push((value.clone(), 1..=9u32).prop_map(|(a, n)| format!("{a}/{n}")).boxed());
        }
        let part = prop::strategy::Union::new(parts);
        prop::collection::vec(part, 1..3).prop_map(|parts| parts.join(",")).boxed()
    }

    fn expression() -> impl Strategy<Value = String> {
        let days = prop_oneof![
            field((1, 31), true).prop_map(|days| (days, "?".to_owned())),
            (1..=31u32).prop_map(|day| (format!("{day}W"), "?".to_owned())),
            prop::sample::select(vec!["L", "LW"])
                .prop_map(|days| (days.to_owned(), "?".to_owned())),
            field((1, 7), false).prop_map(|days| ("?".to_owned(), days)),
            (1..=7u32).prop_map(|day| ("?".to_owned(), format!("{day}L"))),
            (1..=7u32, 1..=5u32).prop_map(|(day, nth)| ("?".to_owned(), format!("{day}#{nth}"))),
        ];
        (field((0, 59), true), field((0, 23), true), days, field((1, 12), true)).prop_map(
            |(minutes, hours, (day_of_month, day_of_week), months)| {
                format!("{minutes} {hours} {day_of_month} {months} {day_of_week} *")
            },
        )
    }

    /// What an expression means, read from its text the obvious way: a table of values for each field, and
    /// days looked for one by one.
    struct Reference {
        minutes: Vec<bool>,
        hours: Vec<bool>,
        months: Vec<bool>,
        years: Vec<bool>,
        day_of_month: String,
        day_of_week: String,
        listed_days: Vec<bool>,
    }

    /// Whether each value from 0 to the largest is listed.
    fn listed(text: &str, range: (u32, u32)) -> Vec<bool> {
        let mut table = vec![false; range.1 as usize + 1];
        for part in text.split(',') {
            let (values, step) = part.split_once('/').unwrap_or((part, "1"));
            let step: u32 = step.parse().unwrap();
            let mut at = match values.split_once('-') {
                Some((from, _)) => from.parse().unwrap(),
                None if values == "*" => range.0,
                None => values.parse().unwrap(),
            };
            let to = match values.split_once('-') {
                Some((_, to)) => to.parse().unwrap(),
                None if values == "*" || part.contains('/') => range.1,
                None => at,
            };
            let mut since: u32 = 0;
            loop {
                if since.is_multiple_of(step) {
                    table[at as usize] = true;
                }
                if at == to {
                    break;
                }
                at = if at == range.1 { range.0 } else { at + 1 };
                since += 1;
            }
        }
        table
    }

    impl Reference {
        fn of(inner: &str) -> Reference {
            let fields: Vec<&str> = inner.split(' ').collect();
            let special = |text: &str| text.contains(['L', 'W', '#', '?']);
            let listed_days = match (fields[2], fields[4]) {
                (days, "?") if !special(days) => listed(days, (1, 31)),
                ("?", days) if !special(days) => listed(days, (1, 7)),
                _ => Vec::new(),
            };
            Reference {
                minutes: listed(fields[0], (0, 59)),
                hours: listed(fields[1], (0, 23)),
                months: listed(fields[3], (1, 12)),
                years: listed(fields[5], YEARS),
                day_of_month: fields[2].to_owned(),
                day_of_week: fields[4].to_owned(),
                listed_days,
            }
        }

        fn means(&self, date: Date) -> bool {
            if !self.months[date.month() as usize] || !self.years[date.year() as usize] {
                return false;
            }
            let weekday = |day: i8| {
                let date = Date::new(date.year(), date.month(), day).unwrap();
                date.weekday().to_sunday_one_offset()
            };
            let is_weekday = |day: i8| (2..=6).contains(&weekday(day));
            let last = date.days_in_month();
            match (self.day_of_month.as_str(), self.day_of_week.as_str()) {
                ("L", _) => date.day() == last,
                ("LW", _) => (1..=last).rev().find(|day| is_weekday(*day)) == Some(date.day()),
                (days, _) if days.ends_with('W') => {
                    let wanted: i8 = days.trim_end_matches('W').parse().unwrap();
                    let nearest = (1..=last)
                        .filter(|day| is_weekday(*day))
                        .min_by_key(|day| (day - wanted).abs());
                    wanted <= last && nearest == Some(date.day())
                }
                ("?", days) if days.ends_with('L') => {
                    let wanted: i8 = days.trim_end_matches('L').parse().unwrap();
                    (1..=last).rev().find(|day| weekday(*day) == wanted) == Some(date.day())
                }
                ("?", days) if days.contains('#') => {
                    let (wanted, nth) = days.split_once('#').unwrap();
                    let (wanted, nth): (i8, usize) =
                        (wanted.parse().unwrap(), nth.parse().unwrap());
                    (1..=last).filter(|day| weekday(*day) == wanted).nth(nth - 1)
                        == Some(date.day())
                }
                ("?", _) => self.listed_days[weekday(date.day()) as usize],
                _ => self.listed_days[date.day() as usize],
            }
        }

        /// Every minute of every day from `from` to `until` is looked at, till `count` starts are found.
        fn starts(&self, from: DateTime, until: DateTime, count: usize) -> Vec<DateTime> {
            let mut found = Vec::new();
            let mut date = from.date();
            while date.year() <= YEARS.1 as i16 && date <= until.date() && found.len() < count {
                if self.means(date) {
                    for minute in 0..24 * 60 {
                        let time = date.at((minute / 60) as i8, (minute % 60) as i8, 0, 0);
                        if self.hours[minute / 60]
                            && self.minutes[minute % 60]
                            && (from..=until).contains(&time)
                            && found.len() < count
                        {
                            found.push(time);
                        }
                    }
                }
                date = date.tomorrow().unwrap();
            }
            found
        }
    }

    #[test]
    fn the_shortest_interval_is_exact() {
        let day = 24 * 60;
        for (inner, minutes) in [
            ("* * * * ? *", Some(1)),
            ("0/15 * * * ? *", Some(15)),
            // 56 to 0.
            ("0/7 * * * ? *", Some(4)),
            ("0,50 * * * ? *", Some(10)),
            ("0 0/5 * * ? *", Some(4 * 60)),
            ("0,30 4 * * ? *", Some(30)),
            ("0 4 * * ? *", Some(day)),
            ("59,0 23,0 * * ? *", Some(1)),
            // Across midnight, only where two days come one after the other.
            ("0 1,23 * * ? *", Some(2 * 60)),
            ("0 1,23 ? * MON *", Some(22 * 60)),
            ("0 1,23 ? * SAT,MON *", Some(22 * 60)),
            ("0 1,23 ? * SUN,MON *", Some(2 * 60)),
            ("0 0 1 * ? *", Some(28 * day)),
            // February's last, and that of a leap year.
            ("0 0 L * ? *", Some(28 * day)),
            ("0 0 L,1 * ? *", None),
            ("0 0 31 * ? *", Some(31 * day)),
            ("0 0 29 2 ? *", Some(1461 * day)),
            ("0 0 1,31 * ? *", Some(day)),
            ("0 0 30,1 * ? *", Some(day)),
            ("0 0 29,2 3,2 ? *", Some(2 * day)),
            ("0 0 ? * 6L *", Some(28 * day)),
            ("0 0 ? * 3#5 *", Some(63 * day)),
            ("0 0 1W * ? *", Some(28 * day)),
            // Only between two years that come one after the other.
            ("0 0 31,1 12,1 ? 2030,2032", Some(30 * day)),
            ("0 0 31,1 12,1 ? 2030,2031", Some(day)),
            ("0 0 1 1 ? 2030", None),
            ("0 0,1 1 1 ? 2030", Some(60)),
            ("0 0 1 1 ? 2030,2031", Some(365 * day)),
            ("0 0 30 2 ? *", None),
        ] {
            match Cron::parse(inner) {
                Ok(cron) => assert_eq!(cron.shortest_interval(), minutes, "{inner}"),
                Err(_) => assert_eq!(minutes, None, "{inner} can't be read"),
            }
        }
    }

    /// Every job of a list is looked at.
    #[test]
    fn the_shortest_interval_is_found_fast() {
        for inner in ["0 0 29 2 ? *", "0 0 ? * 3#5 *", "* * L * ? *", "0 0 1/7 * ? *"] {
            let cron = Cron::parse(inner).unwrap();
            let began = std::time::Instant::now();
            for _ in 0..10 {
                cron.shortest_interval();
            }
            let each = began.elapsed() / 10;
            // Far more than it takes: a machine with much else to do must not fail it.
            assert!(each < std::time::Duration::from_millis(200), "{inner}: {each:?}");
        }
    }

    /// Few times a day, in few years, so that all starts can be listed.
    fn rare_expression() -> impl Strategy<Value = String> {
        let listed = |range: (u32, u32)| {
            prop_oneof![
                prop::collection::vec(range.0..=range.1, 1..4).prop_map(|values| {
                    values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
                }),
                (range.0..=range.1, 5..=range.1).prop_map(|(from, step)| format!("{from}/{step}")),
            ]
        };
        let years = prop_oneof![
            (2023..=2030u32).prop_map(|year| year.to_string()),
            (2023..=2030u32, 0..=2u32).prop_map(|(year, more)| format!("{year}-{}", year + more)),
            (2023..=2030u32).prop_map(|year| format!("{year},{}", year + 2)),
        ];
        let days = expression().prop_map(|inner| {
            let fields: Vec<String> = inner.split(' ').map(str::to_owned).collect();
            (fields[2].clone(), fields[3].clone(), fields[4].clone())
        });
        (listed((0, 59)), listed((0, 23)), days, years).prop_map(
            |(minutes, hours, (day_of_month, month, day_of_week), years)| {
                format!("{minutes} {hours} {day_of_month} {month} {day_of_week} {years}")
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_shortest_interval_is_that_of_all_starts(inner in rare_expression()) {
            let cron = Cron::parse(&inner).unwrap();
            let after = "1969-12-31T23:59:59Z".parse().unwrap();
            let starts = cron.next_starts(after, 200_000);
            let apart = starts.windows(2).map(|pair| pair[1].as_second() - pair[0].as_second());
            prop_assert_eq!(cron.shortest_interval(), apart.min().map(|seconds| seconds / 60));
        }
    }

    fn any_year() -> BoxedStrategy<String> {
        let part = prop_oneof![
            (YEARS.0..=YEARS.1).prop_map(|year| year.to_string()),
            (2024..=2044u32).prop_map(|year| year.to_string()),
            (2020..=2040u32, 0..=15u32).prop_map(|(year, more)| format!("{year}-{}", year + more)),
            (1970..=2040u32, 1..=40u32).prop_map(|(year, step)| format!("{year}/{step}")),
            (2000..=2030u32, 0..=60u32, 1..=9u32)
                .prop_map(|(year, more, step)| format!("{year}-{}/{step}", year + more)),
        ];
        prop_oneof![
            Just("*".to_owned()),
            (1..=50u32).prop_map(|step| format!("*/{step}")),
            prop::collection::vec(part, 1..5).prop_map(|parts| parts.join(",")),
        ]
        .boxed()
    }

    /// Expressions of all forms: also those of few days in all the years.
    pub(in crate::domain::schedule) fn any_expression() -> impl Strategy<Value = String> {
        let rare = prop::sample::select(vec![
            ("29", "2", "?"),
            ("30", "2", "?"),
            ("31", "2,4,6", "?"),
            ("29,30", "2", "?"),
            ("29W", "2", "?"),
            ("31W", "*", "?"),
            ("?", "2", "2#5"),
            ("?", "*", "7#5"),
            ("?", "2", "1L"),
            ("L", "2", "?"),
            ("31", "*", "?"),
        ])
        .prop_map(|(day_of_month, month, day_of_week)| {
            (day_of_month.to_owned(), month.to_owned(), day_of_week.to_owned())
        });
        let common = expression().prop_map(|inner| {
            let fields: Vec<String> = inner.split(' ').map(str::to_owned).collect();
            (fields[2].clone(), fields[3].clone(), fields[4].clone())
        });
        let days = prop_oneof![1 => rare, 3 => common];
        (field((0, 59), true), field((0, 23), true), days, any_year()).prop_map(
            |(minutes, hours, (day_of_month, month, day_of_week), years)| {
                format!("{minutes} {hours} {day_of_month} {month} {day_of_week} {years}")
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(2_000)))]
        #[test]
        fn the_next_starts_are_those_of_the_slow_reference(
            inner in any_expression(),
            // From 1969 to 2200.
            second in prop_oneof![3 => 1_700_000_000i64..1_900_000_000, 1 => -10_000_000i64..7_260_000_000],
            count in 1..12usize,
        ) {
            const YEARS_LOOKED_AT: i64 = 10;
            let after = Timestamp::from_second(second).unwrap();
            let starts = Cron::parse(&inner).unwrap().next_starts(after, count);
            prop_assert!(starts.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(starts.iter().all(|start| *start > after));
            prop_assert!(starts.len() <= count);
            let datetime = |second: i64| Offset::UTC.to_datetime(Timestamp::from_second(second).unwrap());
            // Nothing is meant before 1970.
            let from = datetime((second.div_euclid(60) * 60 + 60).max(0));
            let until = datetime(second.max(0) + YEARS_LOOKED_AT * 366 * DAY_SECONDS);
            let found = Reference::of(&inner).starts(from, until, count);
            let starts: Vec<DateTime> =
                starts.into_iter().map(|start| Offset::UTC.to_datetime(start)).collect();
            prop_assert_eq!(starts.get(..found.len()), Some(&found[..]));
            // In the time that the reference looked at, nothing was made up either.
            prop_assert!(starts[found.len()..].iter().all(|start| *start > until));
        }
    }

    /// In zones whose clocks change by an hour, by half of one, at midnight, and not at all.
    const ZONES: [&str; 8] = [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Havana",
        "Asia/Tokyo",
        "Africa/Casablanca",
        "Pacific/Chatham",
        "Asia/Beirut",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(1_000)))]
        #[test]
        fn in_a_zone_the_next_starts_are_those_of_the_slow_reference(
            inner in any_expression(),
            zone in prop::sample::select(&ZONES[..]),
            // From 2000 to 2064.
            second in 950_000_000i64..3_000_000_000,
            count in 1..12usize,
        ) {
            const DAYS_LOOKED_AT: i64 = 500;
            let schedule = Schedule::parse(&format!("cron({inner})")).unwrap();
            let zone = Zone::parse(zone).unwrap().unwrap();
            let after = Timestamp::from_second(second).unwrap();
            let until = Timestamp::from_second(second + DAYS_LOOKED_AT * DAY_SECONDS).unwrap();
            let starts: Vec<Timestamp> =
                schedule.starts(Some(&zone), after, after).take(count).collect();
            prop_assert!(starts.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(starts.iter().all(|start| *start > after));
            // Every minute that the clocks can show from a day before on, and the first time at which they do:
            // of all times that any offset of those days would make of it, the earliest that is shown so.
            let clock = |at: i64| zone.wall(Timestamp::from_second(at).unwrap());
            let [from, to] = [after, until].map(|at| civil(at.as_second()).unwrap());
            let day = jiff::Span::new().days(2);
            let (from, to) = (from.checked_sub(day).unwrap(), to.checked_add(day).unwrap());
            let shown = Reference::of(&inner).starts(from, to, 5_000);
            let found: Vec<Timestamp> = shown
                .iter()
                .filter_map(|shown| {
                    let shown = Offset::UTC.to_timestamp(*shown).unwrap().as_second();
                    let near = [-36, -24, -12, 0, 12, 24, 36].map(|hours| shown + hours * 3600);
                    near.map(|at| shown - (clock(at) - at))
                        .into_iter()
                        .filter(|at| clock(*at) == shown)
                        .min()
                })
                .map(|at| Timestamp::from_second(at).unwrap())
                .filter(|at| (after..=until).contains(at) && *at > after)
                .take(count)
                .collect();
            let all_listed = shown.len() < 5_000 || found.len() == count;
            prop_assume!(all_listed);
            prop_assert_eq!(starts.get(..found.len()), Some(&found[..]));
            prop_assert!(starts[found.len()..].iter().all(|start| *start > until));
        }
    }

    /// Lists as long as they fit into an expression, of steps that together give uneven values.
    fn long_expression() -> impl Strategy<Value = String> {
        let list = |(from, to): (u32, u32), most: usize| {
            let term = (from..=to, from..=to, 2..=20u32)
                .prop_map(|(a, b, step)| format!("{}-{}/{}", a.min(b), a.max(b), step));
            prop::collection::vec(term, 1..=most).prop_map(|terms| terms.join(","))
        };
        (list((0, 59), 9), list((0, 23), 4), list((1, 31), 4), list(YEARS, 10))
            .prop_map(|(minutes, hours, days, years)| {
                format!("{minutes} {hours} {days} * ? {years}")
            })
            .prop_filter("AWS takes so much", |inner| inner.len() <= 250)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(1_000)))]
        #[test]
        fn what_is_printed_is_read_as_the_same(
            inner in prop_oneof![3 => any_expression().boxed(), 1 => long_expression().boxed()],
        ) {
            let cron = Cron::parse(&inner).unwrap();
            let canonical = cron.canonical();
            prop_assert!(canonical.len() + "cron()".len() <= crate::domain::schedule::EXPRESSION_MAX);
            let again = Cron::parse(&canonical).unwrap();
            prop_assert_eq!(&again, &cron);
            prop_assert_eq!(again.canonical(), canonical);
        }
    }

    #[test]
    fn what_never_starts_is_known() {
        for inner in
            ["* * 30 2 ? *", "0 0 31 4,6 ? 2027/2", "0 0 29 2 ? 2100", "0 0 ? 2 2#5 2029-2031"]
        {
            assert!(Cron::parse(inner).unwrap().never_starts(), "{inner}");
        }
        for inner in ["0 0 29 2 ? *", "0 0 ? 2 2#5 *", "0 0 1 1 ? 1970", "59 23 31 12 ? 2199"] {
            assert!(!Cron::parse(inner).unwrap().never_starts(), "{inner}");
        }
    }

    /// The fastest of many previews of 10, as other work on the machine only slows them.
    fn preview_takes(inner: &str) -> std::time::Duration {
        let cron = Cron::parse(inner).unwrap();
        let after = "2026-03-01T00:00:00Z".parse().unwrap();
        let once = |_| {
            let began = std::time::Instant::now();
            std::hint::black_box(cron.next_starts(after, 10));
            began.elapsed()
        };
        (0..50).map(once).min().unwrap()
    }

    const SLOWEST: [&str; 6] = [
        "0 0 30 2 ? *",
        "0 0 29 2 ? *",
        "0 0 ? 2 2#5 *",
        "0 0 31 2,4,6,9,11 ? *",
        "0 0 1 1 ? 2199",
        "* * * * ? *",
    ];

    /// In a build without optimisation.
    #[test]
    fn a_preview_takes_less_than_a_millisecond() {
        for inner in SLOWEST {
            let took = preview_takes(inner);
            assert!(took < std::time::Duration::from_millis(1), "{inner}: {took:?}");
        }
    }
}
