//! Linux cron, as crontab(5) describes it: what AWS's expression for it is, or why there is none.
//!
//! It has five fields: no year. It counts the days of the week from 0 for Sunday, and takes 7 for Sunday as well.
//! Where both day fields are restricted, the days of either are meant; a field that starts with `*` is not
//! restricted, whatever follows, and then both have to match.

use super::cron::{Cron, Days};
use super::field::{
    DAY_NAMES, DAY_OF_MONTH, DAY_OF_WEEK, Field, HOURS, MINUTES, MONTH, Set, YEARS, number,
};
use super::shortened;

const LINUX_DAY_OF_WEEK: Field =
    Field { name: "day-of-week", range: (0, 7), names: &DAY_NAMES, steps: true, wraps: false };

const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The AWS expression that starts in exactly the same minutes, or why there is none. `None` if `text` does
/// not look like Linux cron.
pub(super) fn translated(text: &str) -> Option<Result<String, String>> {
    if text.eq_ignore_ascii_case("@reboot") {
        let why = "`@reboot` is when a machine starts, and AWS has no schedule for that";
        return Some(Err(why.to_owned()));
    }
    let nickname = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    let text = nickname.map_or(text, |(_, fields)| fields);
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, day_of_month, month, day_of_week] = fields[..] else { return None };
    let is_time = |text: &str| {
        text.chars().all(|one| one.is_ascii_digit() || matches!(one, '*' | ',' | '-' | '/'))
    };
    let is_day = |text: &str| {
        text.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '*' | ',' | '-' | '/'))
    };
    let looks_like_it = [minutes, hours].into_iter().all(is_time)
        && [day_of_month, month, day_of_week].into_iter().all(is_day);
    looks_like_it.then(|| translate(minutes, hours, day_of_month, month, day_of_week))
}

fn translate(
    minutes: &str,
    hours: &str,
    day_of_month: &str,
    month: &str,
    day_of_week: &str,
) -> Result<String, String> {
    let minutes = values(&MINUTES, minutes)?;
    let hours = values(&HOURS, hours)?;
    let months = values(&MONTH, month)?;
    let by_month = values(&DAY_OF_MONTH, day_of_month)?;
    let by_week = days_of_week(day_of_week)?;
    let expression = |days: Days| {
        let years = Set::full(YEARS);
        let (minutes, hours, months) = (minutes.clone(), hours.clone(), months.clone());
        format!("cron({})", Cron { minutes, hours, days, months, years }.canonical())
    };
    let either = !day_of_month.starts_with('*') && !day_of_week.starts_with('*');
    match (by_month.is_full(), by_week.is_full()) {
        // Every day is in either, and the other field adds nothing or takes nothing away.
        (true, true) => Ok(expression(Days::every())),
        (true, false) if !either => Ok(expression(Days::of_week(by_week))),
        (false, true) if !either => Ok(expression(Days::OfMonth(by_month))),
        (true, false) | (false, true) => Ok(expression(Days::every())),
        (false, false) if either => Err(format!(
            "it means the days of either day field, and AWS looks at one: make two jobs, with `{}` and `{}` \
             (where a day is both, both start)",
            expression(Days::OfMonth(by_month)),
            expression(Days::of_week(by_week))
        )),
        (false, false) => Err(format!(
            "where a day field starts with `*`, days have to match both (`{}` and `{}`), and AWS looks at one",
            shortened(day_of_month),
            shortened(day_of_week)
        )),
    }
}

/// The days of the week that Linux's numbers mean, as AWS's.
pub(super) fn days_of_week(text: &str) -> Result<Set, String> {
    let days = values(&LINUX_DAY_OF_WEEK, text)?;
    Ok(Set::of(DAY_OF_WEEK.range, days.values().map(|day| day % 7 + 1)))
}

/// A list of values and ranges; a step stands after `*` or a range.
fn values(field: &Field, text: &str) -> Result<Set, String> {
    let (smallest, largest) = field.range;
    let mut listed = Vec::new();
    for part in text.split(',') {
        let (values, step) = match part.split_once('/') {
            Some((values, step)) => (values, Some(parse_step(field, step)?)),
            None => (part, None),
        };
        let (from, to) = match values.split_once('-') {
            Some((from, to)) => (field.value(from)?, field.value(to)?),
            None if values == "*" => (smallest, largest),
            None if step.is_some() => {
                return Err(format!(
                    "{}: a step (`/`) stands after `*` or a range, not as in `{}`",
                    field.name,
                    shortened(part)
                ));
            }
            None => {
                let value = field.value(values)?;
                (value, value)
            }
        };
        if from > to {
            return Err(format!(
                "{}: the range `{}` goes backwards",
                field.name,
                shortened(values)
            ));
        }
        listed.extend((from..=to).step_by(step.unwrap_or(1) as usize));
    }
    Ok(Set::of(field.range, listed))
}

/// A step may go over the end of its field, which leaves the first value alone.
fn parse_step(field: &Field, text: &str) -> Result<u32, String> {
    number(text).filter(|step| *step > 0).ok_or_else(|| {
        format!("{}: a step is a number from 1, not `{}`", field.name, shortened(text))
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::civil::{Date, DateTime};
    use jiff::tz::Offset;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::schedule::{Schedule, cases};

    #[test]
    fn linux_cron_has_its_translation() {
        for (linux, aws) in [
            ("0 4 * * 1-5", "cron(0 4 ? * 2-6 *)"),
            ("0 4 * * mon-fri", "cron(0 4 ? * 2-6 *)"),
            ("0 4 * * 0", "cron(0 4 ? * 1 *)"),
            ("0 4 * * 7", "cron(0 4 ? * 1 *)"),
            ("0 4 * * 5-7", "cron(0 4 ? * 1,6,7 *)"),
            ("0 4 * * 6,0", "cron(0 4 ? * 1,7 *)"),
            ("0 4 * * 0-7", "cron(0 4 * * ? *)"),
            ("0 4 * * */2", "cron(0 4 ? * 1,3,5,7 *)"),
            ("0 4 * * 1-5/2", "cron(0 4 ? * 2,4,6 *)"),
            ("0 4 * * 1-7/2", "cron(0 4 ? * 1,2,4,6 *)"),
            ("*/5 * * * *", "cron(0/5 * * * ? *)"),
            ("*/60 */24 * * *", "cron(0 0 * * ? *)"),
            ("* * * * *", "cron(* * * * ? *)"),
            ("7 */6 * * *", "cron(7 0/6 * * ? *)"),
            ("0 9-17 * * *", "cron(0 9-17 * * ? *)"),
            ("0 0 */10 * *", "cron(0 0 1/10 * ? *)"),
            ("0 0 1,15 JAN,JUL *", "cron(0 0 1,15 1,7 ? *)"),
            ("5  4\t* * *", "cron(5 4 * * ? *)"),
            // Every day is in either field.
            ("0 0 15 * 0-6", "cron(0 0 * * ? *)"),
            ("0 0 1-31 * 1", "cron(0 0 * * ? *)"),
            // A day field that starts with `*` is not restricted, so that both have to match.
            ("0 0 */1 * 1", "cron(0 0 ? * 2 *)"),
            ("@hourly", "cron(0 * * * ? *)"),
            ("@daily", "cron(0 0 * * ? *)"),
            ("@midnight", "cron(0 0 * * ? *)"),
            ("@weekly", "cron(0 0 ? * 1 *)"),
            ("@monthly", "cron(0 0 1 * ? *)"),
            ("@yearly", "cron(0 0 1 1 ? *)"),
            ("@annually", "cron(0 0 1 1 ? *)"),
        ] {
            assert_eq!(translated(linux), Some(Ok(aws.to_owned())), "{linux}");
            assert!(Schedule::parse(aws).is_ok(), "{aws}");
        }
    }

    #[test]
    fn what_has_no_translation_says_why() {
        for (linux, says) in [
            ("0 4 1 * 1", "make two jobs, with `cron(0 4 1 * ? *)` and `cron(0 4 ? * 2 *)`"),
            ("0 4 */2 * 1", "have to match both"),
            ("0 4 1 * */2", "have to match both"),
            ("@reboot", "when a machine starts"),
            ("61 4 * * *", "minutes: allowed are 0 to 59, not `61`"),
            ("0 4 * * 8", "day-of-week: allowed are 0 to 7 or SUN to SAT, not `8`"),
            ("0 4 * * 6-1", "goes backwards"),
            ("5/10 4 * * *", "a step (`/`) stands after `*` or a range"),
            ("*/0 4 * * *", "a step is a number from 1"),
        ] {
            let why = translated(linux).expect(linux).expect_err(linux);
            assert!(why.contains(says), "{linux}: {why}");
        }
        for other in ["0 4 ? * 1", "0 4 * * 2#1", "0 4 * *", "0 4 * * ? *", "@fortnightly", ""] {
            assert_eq!(translated(other), None, "{other}");
        }
        assert_eq!(translated("run it every five minutes"), None);
    }

    /// The values of a field from 0 on, with the days of the week as 0 to 6.
    fn table(text: &str, range: (usize, usize)) -> [bool; 60] {
        let mut table = [false; 60];
        for part in text.split(',') {
            let (values, step) = part.split_once('/').unwrap_or((part, "1"));
            let (from, to) = match values.split_once('-') {
                Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
                None if values == "*" => range,
                None => (values.parse().unwrap(), values.parse().unwrap()),
            };
            let step: usize = step.parse().unwrap();
            let mut value: usize = from;
            while value <= to {
                table[value] = true;
                value += step;
            }
        }
        table
    }

    /// crontab(5), minute by minute.
    fn linux_starts(text: &str, day: Date) -> Vec<DateTime> {
        let fields: Vec<&str> = text.split(' ').collect();
        let minutes = table(fields[0], (0, 59));
        let hours = table(fields[1], (0, 23));
        let days = table(fields[2], (1, 31));
        let months = table(fields[3], (1, 12));
        let weekdays = table(fields[4], (0, 7));
        let weekday = day.weekday().to_sunday_zero_offset() as usize;
        let by_month = days[day.day() as usize];
        let by_week = weekdays[weekday] || (weekday == 0 && weekdays[7]);
        let both_restricted = !fields[2].starts_with('*') && !fields[4].starts_with('*');
        let on_the_day = if both_restricted { by_month || by_week } else { by_month && by_week };
        (0..24 * 60)
            .filter(|minute| {
                on_the_day
                    && months[day.month() as usize]
                    && hours[minute / 60]
                    && minutes[minute % 60]
            })
            .map(|minute| day.at((minute / 60) as i8, (minute % 60) as i8, 0, 0))
            .collect()
    }

    fn aws_starts(expression: &str, day: Date) -> Vec<DateTime> {
        let before = Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).unwrap();
        let before = Timestamp::from_second(before.as_second() - 1).unwrap();
        let schedule = Schedule::parse(expression).unwrap();
        let starts: Vec<Timestamp> = schedule.starts(None, before, before).take(24 * 60).collect();
        starts
            .into_iter()
            .map(|start| Offset::UTC.to_datetime(start))
            .filter(|start| start.date() == day)
            .collect()
    }

    fn field(range: (u32, u32)) -> BoxedStrategy<String> {
        let value = range.0..=range.1;
        let span = (value.clone(), value.clone()).prop_map(|(a, b)| (a.min(b), a.max(b)));
        let part = prop_oneof![
            value.prop_map(|one| one.to_string()),
            span.clone().prop_map(|(from, to)| format!("{from}-{to}")),
            (span, 1..=7u32).prop_map(|((from, to), step)| format!("{from}-{to}/{step}")),
            (1..=8u32).prop_map(|step| format!("*/{step}")),
            Just("*".to_owned()),
        ];
        prop_oneof![
            2 => Just("*".to_owned()),
            3 => prop::collection::vec(part, 1..4).prop_map(|parts| parts.join(",")),
        ]
        .boxed()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(1_000)))]
        #[test]
        fn a_translation_starts_in_the_same_minutes(
            fields in [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)].map(field),
            days in prop::collection::vec(0..30_000i64, 12),
        ) {
            let linux = fields.join(" ");
            if let Ok(aws) = translated(&linux).unwrap() {
                for day in days {
                    let at = Timestamp::from_second(day * 24 * 60 * 60).unwrap();
                    let day = Offset::UTC.to_datetime(at).date();
                    prop_assert_eq!(aws_starts(&aws, day), linux_starts(&linux, day), "{} {}", linux, aws);
                }
            } else {
                // Only where both day fields say something.
                prop_assert!(fields[2] != "*" && fields[4] != "*", "{}", linux);
            }
        }
    }
}
