//! Schedules in plain English, told from what they mean and not from how they were written: equal
//! schedules read alike, and different ones differently.

use super::cron::{Cron, Days};
use super::field::{Run, Set};

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// So many times of a day are told one by one, and so many ranges of hours.
const TIMES_MAX: usize = 4;
/// Fewer values that are a step apart are told one by one.
const STEPS_MIN: u32 = 4;

/// A rate, which is the same in whichever unit it was given.
pub(super) fn rate(minutes: i64) -> String {
    match in_unit(minutes) {
        (1, unit) => format!("Every {unit}"),
        (value, unit) => format!("Every {value} {unit}s"),
    }
}

/// The value and the unit, in the singular, of the largest unit that fits.
pub(super) fn in_unit(minutes: i64) -> (i64, &'static str) {
    [(24 * 60, "day"), (60, "hour")]
        .into_iter()
        .find(|(size, _)| minutes % size == 0)
        .map_or((minutes, "minute"), |(size, unit)| (minutes / size, unit))
}

/// `zone` is whose clocks are meant.
pub(super) fn cron(cron: &Cron, zone: &str) -> String {
    let mut text = times(&cron.minutes, &cron.hours, zone);
    let days = if cron.days.are_every() {
        // What goes on around the clock is not in want of it.
        (!cron.hours.is_full()).then(|| "every day".to_owned())
    } else {
        Some(days(&cron.days))
    };
    if let Some(days) = days {
        let is_a_time = text.starts_with("At ") && days.starts_with("on ");
        text.push_str(if is_a_time { " " } else { ", " });
        text.push_str(&days);
    }
    if !cron.months.is_full() {
        text.push_str(", in ");
        text.push_str(&listed(&cron.months, |month| name(&MONTHS, month)));
    }
    if !cron.years.is_full() {
        text.push_str(", in ");
        text.push_str(&stepped(&cron.years, "year", |year| year.to_string()));
    }
    if cron.never_starts() {
        text.push_str(" (a day that never comes)");
    }
    text
}

/// The times of a day.
fn times(minutes: &Set, hours: &Set, zone: &str) -> String {
    if minutes.values().count() * hours.values().count() <= TIMES_MAX {
        let times: Vec<String> = hours
            .values()
            .flat_map(|hour| minutes.values().map(move |minute| clock(hour, minute)))
            .collect();
        return format!("At {} {zone}", joined(&times));
    }
    let run = minutes.as_run();
    if let Some(step) = run.and_then(|run| around_the_hour(run, 0)) {
        return format!("{}{}", every(step, "minute"), windows(hours, zone));
    }
    let first = minutes.values().next().unwrap_or_default();
    let text = match run {
        Some(run) if around_the_hour(run, first).is_some() => {
            format!("{} from minute {first} of", every(run.step, "minute"))
        }
        Some(Run { from, to, step }) if to - from >= 2 * step => {
            format!("{} from minute {from} through {to} of", every(step, "minute"))
        }
        Some(_) => format!("At minutes {} of", listed(minutes, |minute| minute.to_string())),
        None if minutes.values().count() == 1 => {
            if let Some(Run { from, to, step }) = hours.as_run().filter(|_| !hours.is_full()) {
                return format!(
                    "{} from {} through {} {zone}",
                    every(step, "hour"),
                    clock(from, first),
                    clock(to, first)
                );
            }
            format!("At minute {first} of")
        }
        None => format!("At minutes {} of", listed(minutes, |minute| minute.to_string())),
    };
    if hours.is_full() {
        return format!("{text} every hour ({zone})");
    }
    let one = hours.values().count() == 1;
    format!("{text} the hour{} {} {zone}", if one { "" } else { "s" }, hours_of(hours))
}

/// The step of a run that begins with the minute `first` and goes on over the end of the hour as if it
/// were not there.
fn around_the_hour(run: Run, first: u32) -> Option<u32> {
    let Run { from, to, step } = run;
    (from == first && from < step && to + step >= 60 && 60 % step == 0).then_some(step)
}

/// The hours that are meant from their first minute to their last.
fn windows(hours: &Set, zone: &str) -> String {
    if hours.is_full() {
        return String::new();
    }
    let ranges = hours.ranges();
    if ranges.len() > TIMES_MAX {
        return format!(" of the hours {} {zone}", hours_of(hours));
    }
    let windows: Vec<String> = ranges
        .into_iter()
        .map(|(from, to)| format!("from {} through {}", clock(from, 0), clock(to, 59)))
        .collect();
    format!(" {} {zone}", joined(&windows))
}

fn hours_of(hours: &Set) -> String {
    listed(hours, |hour| format!("{hour:02}"))
}

fn clock(hour: u32, minute: u32) -> String {
    format!("{hour:02}:{minute:02}")
}

fn days(days: &Days) -> String {
    match days {
        Days::OfMonth(days) => {
            let one = days.values().count() == 1;
            match days.as_run().filter(is_told_as_steps) {
                Some(Run { from, to, step }) => {
                    format!("on every {} day of the month from {from} through {to}", ordinal(step))
                }
                None => format!(
                    "on day{} {} of the month",
                    if one { "" } else { "s" },
                    listed(days, |day| day.to_string())
                ),
            }
        }
        Days::LastOfMonth => "on the last day of the month".to_owned(),
        Days::LastWeekday => "on the last weekday (Monday to Friday) of the month".to_owned(),
        Days::NearestWeekday(day) => {
            format!("on the weekday (Monday to Friday) nearest to day {day} of the month")
        }
        Days::OfWeek(days) => {
            // The week is told from Monday on: Monday is 1 and Sunday is 7.
            let from_monday =
                Set::of((1, 7), days.values().map(|day| if day == 1 { 7 } else { day - 1 }));
            let text = listed(&from_monday, |day| name(&DAYS, day % 7 + 1));
            match from_monday.ranges()[..] {
                [(from, to)] if to >= from + 2 => text,
                _ => format!("every {text}"),
            }
        }
        Days::LastOfWeek(day) => format!("on the last {} of the month", name(&DAYS, *day)),
        Days::NthOfWeek(day, nth) => {
            const NTH: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];
            format!("on the {} {} of the month", name(&NTH, *nth), name(&DAYS, *day))
        }
    }
}

fn every(step: u32, unit: &str) -> String {
    if step == 1 { format!("Every {unit}") } else { format!("Every {step} {unit}s") }
}

fn is_told_as_steps(run: &Run) -> bool {
    run.step > 1 && run.to - run.from >= (STEPS_MIN - 1) * run.step
}

/// "2027 through 2030", "every 2nd year from 2027 through 2199".
fn stepped(set: &Set, unit: &str, name: impl Fn(u32) -> String) -> String {
    match set.as_run().filter(is_told_as_steps) {
        Some(Run { from, to, step }) => {
            format!("every {} {unit} from {} through {}", ordinal(step), name(from), name(to))
        }
        None => listed(set, name),
    }
}

/// "1, 5 through 7 and 31".
fn listed(set: &Set, name: impl Fn(u32) -> String) -> String {
    let mut texts = Vec::new();
    for (from, to) in set.ranges() {
        if to >= from + 2 {
            texts.push(format!("{} through {}", name(from), name(to)));
        } else {
            texts.extend((from..=to).map(&name));
        }
    }
    joined(&texts)
}

fn joined(texts: &[String]) -> String {
    match texts {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// The name of a value that is counted from 1.
fn name(names: &[&str], value: u32) -> String {
    let at = (value as usize).checked_sub(1);
    at.and_then(|at| names.get(at)).map_or_else(|| value.to_string(), |name| (*name).to_owned())
}

/// "2nd", "3rd", "11th".
fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use crate::domain::schedule::cron::Cron;
    use crate::domain::schedule::{Schedule, cases};

    fn described(expression: &str) -> String {
        Schedule::parse(expression).unwrap().description(None)
    }

    #[test]
    fn schedules_in_plain_english() {
        for (expression, expected) in [
            ("rate(1 minute)", "Every minute"),
            ("rate(5 minutes)", "Every 5 minutes"),
            ("rate(90 minutes)", "Every 90 minutes"),
            ("rate(60 minutes)", "Every hour"),
            ("rate(36 hours)", "Every 36 hours"),
            ("rate(24 hours)", "Every day"),
            ("rate(7 days)", "Every 7 days"),
            ("cron(* * * * ? *)", "Every minute"),
            ("cron(0/5 * * * ? *)", "Every 5 minutes"),
            ("cron(*/5 * ? * * *)", "Every 5 minutes"),
            ("cron(0,30 * * * ? *)", "Every 30 minutes"),
            ("cron(5/15 * * * ? *)", "Every 15 minutes from minute 5 of every hour (UTC)"),
            ("cron(0/7 * * * ? *)", "Every 7 minutes from minute 0 through 56 of every hour (UTC)"),
            ("cron(1-9 * * * ? *)", "Every minute from minute 1 through 9 of every hour (UTC)"),
            ("cron(0 * * * ? *)", "At minute 0 of every hour (UTC)"),
            ("cron(5,10 * * * ? *)", "At minutes 5 and 10 of every hour (UTC)"),
            ("cron(1,5-7,20 * * * ? *)", "At minutes 1, 5 through 7 and 20 of every hour (UTC)"),
            ("cron(0 4 * * ? *)", "At 04:00 UTC, every day"),
            ("cron(0,30 4,16 * * ? *)", "At 04:00, 04:30, 16:00 and 16:30 UTC, every day"),
            ("cron(0 4 ? * MON-FRI *)", "At 04:00 UTC, Monday through Friday"),
            ("cron(0 4 ? * SAT,SUN *)", "At 04:00 UTC, every Saturday and Sunday"),
            ("cron(0 4 ? * L *)", "At 04:00 UTC, every Saturday"),
            ("cron(0 4 ? * FRI-SUN *)", "At 04:00 UTC, Friday through Sunday"),
            ("cron(0 4 ? * 2-4,7 *)", "At 04:00 UTC, every Monday through Wednesday and Saturday"),
            ("cron(0 4 ? * 1-7 *)", "At 04:00 UTC, every day"),
            ("cron(0 0/4 * * ? *)", "Every 4 hours from 00:00 through 20:00 UTC, every day"),
            ("cron(30 9-17 ? * MON *)", "Every hour from 09:30 through 17:30 UTC, every Monday"),
            (
                "cron(5 0-2,7,9 * * ? *)",
                "At minute 5 of the hours 00 through 02, 07 and 09 UTC, every day",
            ),
            ("cron(* 8 * * ? *)", "Every minute from 08:00 through 08:59 UTC, every day"),
            (
                "cron(0/30 20-2 ? * MON-FRI *)",
                "Every 30 minutes from 00:00 through 02:59 and from 20:00 through 23:59 UTC, Monday through Friday",
            ),
            (
                "cron(*/10 0/2 * * ? *)",
                "Every 10 minutes of the hours 00, 02, 04, 06, 08, 10, 12, 14, 16, 18, 20 and 22 UTC, every day",
            ),
            (
                "cron(1-9 8 * * ? *)",
                "Every minute from minute 1 through 9 of the hour 08 UTC, every day",
            ),
            (
                "cron(0/15 8-17 ? 3,10 3#2 2027-2030)",
                "Every 15 minutes from 08:00 through 17:59 UTC, on the second Tuesday of the month, in March and October, in 2027 through 2030",
            ),
            (
                "cron(0 0 LW * ? *)",
                "At 00:00 UTC on the last weekday (Monday to Friday) of the month",
            ),
            ("cron(0 0 L * ? *)", "At 00:00 UTC on the last day of the month"),
            (
                "cron(0 0 15W * ? *)",
                "At 00:00 UTC on the weekday (Monday to Friday) nearest to day 15 of the month",
            ),
            ("cron(0 0 ? * 6L *)", "At 00:00 UTC on the last Friday of the month"),
            ("cron(0 0 1 * ? *)", "At 00:00 UTC on day 1 of the month"),
            ("cron(0 0 1,5-7,31 * ? *)", "At 00:00 UTC on days 1, 5 through 7 and 31 of the month"),
            ("cron(0 0 1/3 * ? *)", "At 00:00 UTC on every 3rd day of the month from 1 through 31"),
            ("cron(0 0 29 2 ? *)", "At 00:00 UTC on day 29 of the month, in February"),
            (
                "cron(0 0 30 2 ? *)",
                "At 00:00 UTC on day 30 of the month, in February (a day that never comes)",
            ),
            ("cron(0 0 1 1 ? 2027)", "At 00:00 UTC on day 1 of the month, in January, in 2027"),
            (
                "cron(0 0 1 6-8 ? 2027,2029)",
                "At 00:00 UTC on day 1 of the month, in June through August, in 2027 and 2029",
            ),
            (
                "cron(0 0 1 1 ? 2027/2)",
                "At 00:00 UTC on day 1 of the month, in January, in every 2nd year from 2027 through 2199",
            ),
        ] {
            assert_eq!(described(expression), expected, "{expression}");
        }
    }

    /// All pairs of many forms of the fields of the time, and all triples of those of the day: those that
    /// read alike are the same.
    #[test]
    fn different_schedules_read_differently() {
        let minutes = [
            "*", "0", "5", "59", "0/30", "15/30", "0,15", "0/15", "0/20", "5/15", "15/15", "0/7",
            "3/7", "0/2", "1/2", "0-30", "30-59", "0-30/10", "0-4", "1,2", "1,3", "1,5-7", "0/45",
            "0/59", "10/25", "50-10",
        ];
        let hours = [
            "*",
            "0",
            "8",
            "23",
            "0,12",
            "0,8",
            "8-17",
            "20-2",
            "0/2",
            "1/2",
            "0/4",
            "0/6",
            "8-16/2",
            "0/5",
            "1,2,4",
            "0-11",
            "12-23",
            "1,3,5,9",
            "1,3,5,9,11",
            "0/3,1",
            "8,9",
        ];
        let days = [
            "* * ?",
            "1 * ?",
            "31 * ?",
            "1-7 * ?",
            "1,2 * ?",
            "1,15 * ?",
            "1/2 * ?",
            "2/2 * ?",
            "1/3 * ?",
            "1/7 * ?",
            "1-28/9 * ?",
            "1/15 * ?",
            "L * ?",
            "LW * ?",
            "1W * ?",
            "31W * ?",
            "? * 1",
            "? * 2",
            "? * 2-6",
            "? * 1,7",
            "? * 7-2",
            "? * 2,4,6",
            "? * 2L",
            "? * 2#1",
            "? * 2#5",
            "? * 3#1",
            "* 1 ?",
            "* 2,3 ?",
            "1 11-2 ?",
            "1 1/3 ?",
            "? 2-4 2-4",
            "30 2 ?",
            "29 2 ?",
        ];
        let years = [
            "*",
            "2027",
            "2027-2030",
            "2027,2029",
            "2027/2",
            "2027/3",
            "2027-2033/2",
            "2028/2",
            "1970",
        ];
        let times = minutes.iter().flat_map(|minutes| {
            hours.iter().map(move |hours| format!("{minutes} {hours} * * ? *"))
        });
        let dates = days
            .iter()
            .flat_map(|days| years.iter().map(move |years| format!("0/5 0 {days} {years}")));
        let mut seen: HashMap<String, (String, Cron)> = HashMap::new();
        for inner in times.chain(dates) {
            let cron = Cron::parse(&inner).unwrap();
            let description = super::cron(&cron, "UTC");
            let (text, same) =
                seen.entry(description.clone()).or_insert_with(|| (inner.clone(), cron.clone()));
            assert_eq!(*same, cron, "`{inner}` and `{text}` are both \"{description}\"");
        }
    }

    /// Random pairs, whose second changes some fields of the first.
    fn related() -> impl Strategy<Value = (String, String)> {
        use crate::domain::schedule::cron::tests::any_expression;
        (any_expression(), any_expression(), prop::collection::vec(any::<bool>(), 4)).prop_map(
            |(one, other, keeps)| {
                let fields =
                    |inner: &str| -> Vec<String> { inner.split(' ').map(str::to_owned).collect() };
                let mut mixed = fields(&one);
                let other = fields(&other);
                for (keep, ats) in keeps.into_iter().zip([&[0][..], &[1], &[2, 3, 4], &[5]]) {
                    if !keep {
                        ats.iter().for_each(|at| mixed[*at].clone_from(&other[*at]));
                    }
                }
                (one, mixed.join(" "))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(1_000)))]
        #[test]
        fn what_reads_alike_starts_alike((one, other) in related()) {
            let (one, other) = (Cron::parse(&one).unwrap(), Cron::parse(&other).unwrap());
            let after = "2024-02-28T12:00:00Z".parse().unwrap();
            let alike = super::cron(&one, "UTC") == super::cron(&other, "UTC");
            prop_assert_eq!(alike, one == other);
            if alike {
                prop_assert_eq!(one.next_starts(after, 50), other.next_starts(after, 50));
            }
        }
    }
}
