//! The six fields of AWS's cron expressions and the starts that they promise.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::shortened;

const YEARS: (u32, u32) = (1970, 2199);
const MONTH_NAMES: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAY_NAMES: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A cron expression: minutes, hours, day of month, month, day of week, year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: Set,
    hours: Set,
    days: Days,
    months: Set,
    years: Set,
}

/// Which days of a month are meant; exactly one of the two day fields of an expression says so.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Days {
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

/// The days of a month that are meant: the first, the last, and how far two of them are apart at least.
struct DaysOfMonth {
    first: i64,
    last: i64,
    apart: Option<i64>,
}

/// The values of a field, as bits counted from the field's smallest value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    from: u32,
    bits: [u64; 4],
}

impl Set {
    fn empty(from: u32) -> Set {
        Set { from, bits: [0; 4] }
    }

    fn insert(&mut self, value: u32) {
        let bit = (value - self.from) as usize;
        self.bits[bit / 64] |= 1 << (bit % 64);
    }

    fn contains(&self, value: u32) -> bool {
        value.checked_sub(self.from).is_some_and(|bit| {
            self.bits.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
        })
    }
}

/// One of the six fields: what its values are called and may be.
struct Field {
    name: &'static str,
    range: (u32, u32),
    names: &'static [&'static str],
    /// `a/b` and `*/b`: all fields but the day of the week.
    steps: bool,
    /// Ranges such as `20-2` go around: all fields but the year.
    wraps: bool,
}

const MINUTES: Field =
    Field { name: "minutes", range: (0, 59), names: &[], steps: true, wraps: true };
const HOURS: Field = Field { name: "hours", range: (0, 23), names: &[], steps: true, wraps: true };
const DAY_OF_MONTH: Field =
    Field { name: "day-of-month", range: (1, 31), names: &[], steps: true, wraps: true };
const MONTH: Field =
    Field { name: "month", range: (1, 12), names: &MONTH_NAMES, steps: true, wraps: true };
const DAY_OF_WEEK: Field =
    Field { name: "day-of-week", range: (1, 7), names: &DAY_NAMES, steps: false, wraps: true };
const YEAR: Field = Field { name: "year", range: YEARS, names: &[], steps: true, wraps: false };

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
                 not {}{}",
                fields.len(),
                if fields.len() == 5 { "; AWS wants a year at the end, `*` for any" } else { "" }
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
                return Err(
                    "either day-of-month or day-of-week must be `?`: set the one that you don't \
                     mean to `?`"
                        .to_owned(),
                );
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

    /// Up to `count` starts after `after`, in UTC, earliest first.
    pub(super) fn next_starts(&self, after: Timestamp, count: usize) -> Vec<Timestamp> {
        let mut starts = Vec::with_capacity(count);
        // The first whole minute after `after`.
        let minute = after.as_second().div_euclid(60) * 60 + 60;
        let Ok(first) = Timestamp::from_second(minute) else {
            return starts;
        };
        let first = Offset::UTC.to_datetime(first);
        let mut date = first.date();
        while date.year() <= YEARS.1 as i16 && starts.len() < count {
            if !self.months.contains(date.month() as u32)
                || !self.years.contains(date.year() as u32)
            {
                match date.last_of_month().tomorrow() {
                    Ok(next) => date = next,
                    Err(_) => break,
                }
                continue;
            }
            if self.days.contain(date) {
                let not_before = if date == first.date() { Some(first) } else { None };
                self.starts_of_day(date, not_before, count, &mut starts);
            }
            match date.tomorrow() {
                Ok(next) => date = next,
                Err(_) => break,
            }
        }
        starts
    }

    /// The least time between two starts one after the other, in all the years that are meant, in
    /// minutes; `None` if there is one start at most.
    pub(super) fn shortest_interval(&self) -> Option<i64> {
        let hours = (0..24).filter(|hour| self.hours.contains(*hour));
        let times: Vec<i64> = hours
            .flat_map(|hour| {
                let minutes = (0..60).filter(|minute| self.minutes.contains(*minute));
                minutes.map(move |minute| i64::from(hour * 60 + minute))
            })
            .collect();
        let (first, last) = (*times.first()?, *times.last()?);
        let days = self.days_apart()?;
        let within = times.windows(2).map(|pair| pair[1] - pair[0]).min();
        let across = days.map(|days| days * 24 * 60 + first - last);
        within.into_iter().chain(across).min()
    }

    /// The least number of days between two days with starts; `Some(None)` if there is one such day,
    /// `None` if there is none.
    ///
    /// Which days of a month are meant depends on its length and the weekday of its first day alone: 28
    /// kinds of months, each looked at once.
    fn days_apart(&self) -> Option<Option<i64>> {
        let mut kinds: [[Option<Option<DaysOfMonth>>; 7]; 4] = Default::default();
        let mut apart: Option<i64> = None;
        // Days from the first of the first year to that of the month.
        let mut begins: i64 = 0;
        let mut last_seen: Option<i64> = None;
        for (year, month) in
            (YEARS.0..=YEARS.1).flat_map(|year| (1..=12).map(move |month| (year, month)))
        {
            let length = days_in(year, month);
            if self.months.contains(month) && self.years.contains(year) {
                let kind = &mut kinds[length as usize - 28][(begins % 7) as usize];
                let days = kind.get_or_insert_with(|| self.days_of_month(year, month));
                if let Some(days) = days {
                    let across = last_seen.map(|seen| begins + days.first - seen);
                    apart = [apart, days.apart, across].into_iter().flatten().min();
                    last_seen = Some(begins + days.last);
                    if apart == Some(1) {
                        break;
                    }
                }
            }
            begins += i64::from(length);
        }
        last_seen.map(|_| apart)
    }

    /// The days with starts in this month; `None` if there are none.
    fn days_of_month(&self, year: u32, month: u32) -> Option<DaysOfMonth> {
        let (year, month) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?);
        let dates = (1..=31).filter_map(|day| Date::new(year, month, day).ok());
        let days: Vec<i64> = dates
            .filter(|date| self.days.contain(*date))
            .map(|date| i64::from(date.day()))
            .collect();
        Some(DaysOfMonth {
            first: *days.first()?,
            last: *days.last()?,
            apart: days.windows(2).map(|pair| pair[1] - pair[0]).min(),
        })
    }

    fn starts_of_day(
        &self,
        date: Date,
        not_before: Option<DateTime>,
        count: usize,
        starts: &mut Vec<Timestamp>,
    ) {
        for hour in (0..24).filter(|hour| self.hours.contains(*hour)) {
            for minute in (0..60).filter(|minute| self.minutes.contains(*minute)) {
                let time = date.at(hour as i8, minute as i8, 0, 0);
                if not_before.is_some_and(|first| time < first) {
                    continue;
                }
                if starts.len() == count {
                    return;
                }
                if let Ok(start) = Offset::UTC.to_timestamp(time) {
                    starts.push(start);
                }
            }
        }
    }
}

impl Days {
    fn contain(&self, date: Date) -> bool {
        let day = date.day() as u32;
        let weekday = day_of_week(date.weekday());
        let last = date.days_in_month() as u32;
        match self {
            Days::OfMonth(set) => set.contains(day),
            Days::LastOfMonth => day == last,
            Days::LastWeekday => day == nearest_weekday(date, last),
            Days::NearestWeekday(wanted) => {
                *wanted <= last && day == nearest_weekday(date, *wanted)
            }
            Days::OfWeek(set) => set.contains(weekday),
            Days::LastOfWeek(wanted) => weekday == *wanted && day + 7 > last,
            Days::NthOfWeek(wanted, nth) => weekday == *wanted && day.div_ceil(7) == *nth,
        }
    }
}

/// The days of a month (the Gregorian calendar's).
fn days_in(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day of `date`'s month that is the nearest to `day` of those from Monday to Friday.
fn nearest_weekday(date: Date, day: u32) -> u32 {
    let last = date.days_in_month() as u32;
    let shift = SignedDuration::from_hours(24 * (i64::from(day) - i64::from(date.day())));
    let weekday = date.checked_add(shift).map(|wanted| wanted.weekday());
    match weekday {
        Ok(Weekday::Saturday) if day == 1 => 3,
        Ok(Weekday::Saturday) => day - 1,
        Ok(Weekday::Sunday) if day == last => day - 2,
        Ok(Weekday::Sunday) => day + 1,
        _ => day,
    }
}

/// AWS's number of a weekday, 1 for Sunday.
fn day_of_week(weekday: Weekday) -> u32 {
    weekday.to_sunday_one_offset() as u32
}

fn parse_day_of_month(text: &str) -> Result<Days, String> {
    let upper = text.to_ascii_uppercase();
    match upper.as_str() {
        "L" => return Ok(Days::LastOfMonth),
        "LW" => return Ok(Days::LastWeekday),
        _ => {}
    }
    if let Some(day) = upper.strip_suffix('W') {
        return Ok(Days::NearestWeekday(DAY_OF_MONTH.value(day)?));
    }
    Ok(Days::OfMonth(DAY_OF_MONTH.parse(text)?))
}

fn parse_day_of_week(text: &str) -> Result<Days, String> {
    let upper = text.to_ascii_uppercase();
    if upper == "L" {
        // Of a week, the last day is Saturday.
        let mut saturday = Set::empty(1);
        saturday.insert(7);
        return Ok(Days::OfWeek(saturday));
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
    Ok(Days::OfWeek(DAY_OF_WEEK.parse(text)?))
}

impl Field {
    /// A list of values, ranges and steps.
    fn parse(&self, text: &str) -> Result<Set, String> {
        let mut set = Set::empty(self.range.0);
        for part in text.split(',') {
            self.parse_part(part, &mut set)?;
        }
        Ok(set)
    }

    fn parse_part(&self, part: &str, set: &mut Set) -> Result<(), String> {
        let (smallest, largest) = self.range;
        let (values, step) = match part.split_once('/') {
            Some((values, step)) => (values, Some(self.step(step)?)),
            None => (part, None),
        };
        let (from, to) = if values == "*" {
            (smallest, largest)
        } else if let Some((from, to)) = values.split_once('-') {
            (self.value(from)?, self.value(to)?)
        } else {
            let from = self.value(values)?;
            (from, if step.is_some() { largest } else { from })
        };
        if from > to && !self.wraps {
            return Err(format!("{}: the range `{values}` goes backwards", self.name));
        }
        let size = largest - smallest + 1;
        let length = if from <= to { to - from } else { to + size - from };
        for offset in (0..=length).step_by(step.unwrap_or(1) as usize) {
            set.insert((from - smallest + offset) % size + smallest);
        }
        Ok(())
    }

    fn step(&self, text: &str) -> Result<u32, String> {
        if !self.steps {
            return Err(format!("{}: AWS takes no steps (`/`) here", self.name));
        }
        let size = self.range.1 - self.range.0 + 1;
        number(text).filter(|step| (1..=size).contains(step)).ok_or_else(|| {
            format!("{}: a step is a number from 1 to {size}, not `{}`", self.name, shortened(text))
        })
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let (smallest, largest) = self.range;
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = named.map(|at| at as u32 + smallest).or_else(|| number(text));
        value.filter(|value| (smallest..=largest).contains(value)).ok_or_else(|| {
            let names = match (self.names.first(), self.names.last()) {
                (Some(first), Some(last)) => format!(" or {first} to {last}"),
                _ => String::new(),
            };
            format!(
                "{}: allowed are {smallest} to {largest}{names}, not `{}`",
                self.name,
                shortened(text)
            )
        })
    }
}

/// A number of at most four digits and no sign.
fn number(text: &str) -> Option<u32> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|one| one.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            ("0 0 ? * 0 *", "day-of-week: allowed are 1 to 7 or SUN to SAT"),
            ("0 0 ? * 8 *", "day-of-week"),
            ("0 0 ? * MON/2 *", "no steps"),
            ("0 0 ? * 2#6 *", "1 to 5"),
            ("0 0 * * ? 1969", "year"),
            ("0 0 * * ? 2200", "year"),
            ("0 0 * * ? 2030-2028", "backwards"),
            ("0/0 * * * ? *", "a step"),
            ("? * * * ? *", "minutes"),
            ("0 0 L-3 * ? *", "day-of-month"),
            ("0 0 W * ? *", "day-of-month"),
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

    /// Whether the expression fires in the minute of `time`, decided from its text, field by
    /// field, the obvious and slow way.
    fn fires(inner: &str, time: DateTime) -> bool {
        let fields: Vec<&str> = inner.split(' ').collect();
        let listed = |text: &str, value: u32, range: (u32, u32)| {
            text.split(',').any(|part| {
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
                    if at == value && since.is_multiple_of(step) {
                        return true;
                    }
                    if at == to {
                        return false;
                    }
                    at = if at == range.1 { range.0 } else { at + 1 };
                    since += 1;
                }
            })
        };
        let date = time.date();
        let weekday =
            |day: i8| day_of_week(Date::new(date.year(), date.month(), day).unwrap().weekday());
        let is_weekday = |day: i8| (2..=6).contains(&weekday(day));
        let last = date.days_in_month();
        let day_matches = match (fields[2], fields[4]) {
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
                let wanted: u32 = days.trim_end_matches('L').parse().unwrap();
                (1..=last).rev().find(|day| weekday(*day) == wanted) == Some(date.day())
            }
            ("?", days) if days.contains('#') => {
                let (wanted, nth) = days.split_once('#').unwrap();
                let wanted: u32 = wanted.parse().unwrap();
                (1..=last)
                    .filter(|day| weekday(*day) == wanted)
                    .nth(nth.parse::<usize>().unwrap() - 1)
                    == Some(date.day())
            }
            ("?", days) => listed(days, weekday(date.day()), (1, 7)),
            (days, _) => listed(days, date.day() as u32, (1, 31)),
        };
        day_matches
            && listed(fields[0], time.minute() as u32, (0, 59))
            && listed(fields[1], time.hour() as u32, (0, 23))
            && listed(fields[3], date.month() as u32, (1, 12))
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_next_starts_are_those_of_the_slow_reference(
            inner in expression(),
            second in 1_700_000_000i64..1_900_000_000,
        ) {
            let after = Timestamp::from_second(second).unwrap();
            let starts = Cron::parse(&inner).unwrap().next_starts(after, 5);
            prop_assert!(starts.windows(2).all(|pair| pair[0] < pair[1]));
            let found: Vec<Timestamp> = (second / 60 + 1..)
                .take(60 * 24 * 30)
                .map(|minute| Timestamp::from_second(minute * 60).unwrap())
                .filter(|at| fires(&inner, Offset::UTC.to_datetime(*at)))
                .take(5)
                .collect();
            prop_assert_eq!(&starts[..found.len()], &found[..]);
            // Within the 30 days that the reference looked at, nothing was made up either.
            if found.len() < 5 && starts.len() > found.len() {
                let horizon = second + 60 * 60 * 24 * 30;
                prop_assert!(starts[found.len()].as_second() >= horizon);
            }
        }
    }
}
