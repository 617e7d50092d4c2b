//! What the writer of an expression that AWS would refuse most likely meant: other crons, and slips.

use super::cron::Cron;
use super::field::{DAY_NAMES, DAY_OF_WEEK, Field, MONTH_NAMES};
use super::{Schedule, describe, linux};

/// What is said after the error.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Correction {
    pub(super) says: String,
    /// An expression that is valid.
    pub(super) suggestion: Option<String>,
}

impl Correction {
    /// `None` if the expression is not valid itself: it can be too long.
    fn write(why: &str, expression: String) -> Option<Correction> {
        Schedule::parse_strictly(&expression).ok()?;
        Some(Correction {
            says: format!("{why}write `{expression}`"),
            suggestion: Some(expression),
        })
    }
}

/// `None` if nothing comes to mind. `expression` is one that was refused.
pub(super) fn correction(expression: &str) -> Option<Correction> {
    let trimmed = expression.trim();
    let rate = after_keyword(trimmed, "rate");
    let fields = after_keyword(trimmed, "cron");
    if let Some(rate) = rate {
        return Correction::write(slip(trimmed, "rate"), corrected_rate(rate)?);
    }
    if let Some(at) = after_keyword(trimmed, "at") {
        return corrected_at(at, slip(trimmed, "at"));
    }
    // A time alone.
    if trimmed.len() > 10 && trimmed.as_bytes().get(4) == Some(&b'-') {
        return corrected_at(trimmed, "");
    }
    let text = fields.unwrap_or(trimmed);
    let parts: Vec<&str> = text.split_whitespace().collect();
    match linux::translated(text) {
        Some(Ok(aws)) => return Correction::write("this is Linux cron: ", aws),
        Some(Err(why)) => {
            // `0/5` and `L` are AWS's, whose year was left out; a number of a day of the week could be of either.
            let aws = is_of_aws(&parts).then(|| with_year(&parts)).flatten();
            return Some(aws.unwrap_or_else(|| Correction {
                says: format!("this is Linux cron: {why}"),
                suggestion: None,
            }));
        }
        None => {}
    }
    match parts[..] {
        [_, _, _, _, _] => with_year(&parts),
        [minutes, hours, day_of_month, month, day_of_week, year] => {
            let why = if fields.is_some() { slip(trimmed, "cron") } else { "" };
            let aws = corrected([minutes, hours, day_of_month, month, day_of_week, year])
                .and_then(|aws| Correction::write(why, aws));
            // One of Quartz's day fields is `?`, where AWS has its month and its year.
            let quartz = || {
                let rest = [hours, day_of_month, month, day_of_week, year, "*"];
                [month, year].contains(&"?").then(|| corrected(rest)).flatten()
            };
            aws.or_else(|| quartz().and_then(without_seconds))
        }
        [_, minutes, hours, day_of_month, month, day_of_week, year] => {
            let rest = [minutes, hours, day_of_month, month, day_of_week, year];
            corrected(rest).and_then(without_seconds)
        }
        [number, unit] if fields.is_none() => {
            let rate = corrected_rate(&format!("{number} {unit}"))?;
            Correction::write("", rate)
        }
        _ => None,
    }
}

/// Whether five fields have what only AWS's have, and no day of the week that would be another one there.
fn is_of_aws(parts: &[&str]) -> bool {
    let [minutes, hours, day_of_month, month, day_of_week] = *parts else { return false };
    let open_step = |part: &str| part.contains('/') && !part.contains(['*', '-']);
    let has_step = [minutes, hours, day_of_month, month].into_iter().any(open_step);
    let upper = [day_of_month, day_of_week].map(str::to_ascii_uppercase);
    let is_last = upper[0].contains(['L', 'W']) || upper[1].ends_with('L');
    is_last || (has_step && !day_of_week.contains(|one: char| one.is_ascii_digit()))
}

fn without_seconds(aws: String) -> Option<Correction> {
    Correction::write(
        "this looks like Quartz's cron, whose first field is seconds; AWS has none: ",
        aws,
    )
}

fn with_year(parts: &[&str]) -> Option<Correction> {
    let [minutes, hours, day_of_month, month, day_of_week] = *parts else { return None };
    let aws = corrected([minutes, hours, day_of_month, month, day_of_week, "*"])?;
    Correction::write("AWS wants a year at the end, `*` for any: ", aws)
}

/// What follows the keyword in whatever case, without its parentheses.
fn after_keyword<'t>(expression: &'t str, keyword: &str) -> Option<&'t str> {
    let start = expression.get(..keyword.len())?;
    let rest = expression.get(keyword.len()..)?;
    let known = start.eq_ignore_ascii_case(keyword) && !rest.starts_with(char::is_alphanumeric);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('(').unwrap_or(rest);
    known.then(|| rest.strip_suffix(')').unwrap_or(rest).trim())
}

/// What is wrong around the fields.
fn slip(expression: &str, keyword: &str) -> &'static str {
    if !expression.starts_with(keyword) {
        "the keyword is in lower case: "
    } else if !expression[keyword.len()..].starts_with('(') || !expression.ends_with(')') {
        "the keyword is followed by parentheses: "
    } else {
        ""
    }
}

/// The six fields with the usual slips mended, if that makes a valid expression.
fn corrected(fields: [&str; 6]) -> Option<String> {
    let [minutes, hours, day_of_month, month, day_of_week, year] = fields;
    let month = short_names(month, &describe::MONTHS, &MONTH_NAMES);
    let day_of_week = short_names(day_of_week, &describe::DAYS, &DAY_NAMES);
    let day_of_week = days_of_week(&day_of_week).unwrap_or(day_of_week);
    let (day_of_month, day_of_week) = match (day_of_month, day_of_week.as_str()) {
        ("?", "?") => ("*", "?"),
        (one, "?") => (one, "?"),
        ("?", other) => ("?", other),
        (one, "*") => (one, "?"),
        ("*", other) => ("?", other),
        (one, other) => (one, other),
    };
    let inner = format!("{minutes} {hours} {day_of_month} {month} {day_of_week} {year}");
    Cron::parse(&inner).ok().map(|_| format!("cron({inner})"))
}

/// Days of the week that are counted from 0, and steps of them, as AWS takes them.
fn days_of_week(text: &str) -> Option<String> {
    let from_zero = |part: &str| part.split(['-', '/']).next() == Some("0");
    if text.split(',').any(from_zero) {
        return linux::days_of_week(text).ok().map(|days| days.text(false));
    }
    if text.contains('/') {
        let field = Field { steps: true, ..DAY_OF_WEEK };
        return field.parse(text).ok().map(|days| days.text(false));
    }
    None
}

/// `MONDAY`, `Tues` and `Sept` as AWS names them.
fn short_names(text: &str, names: &[&str], short: &[&str]) -> String {
    let mut mended = String::new();
    for piece in text.split_inclusive([',', '-', '/', '#']) {
        let word = piece.trim_end_matches([',', '-', '/', '#']);
        let end = &piece[word.len()..];
        let named = names.iter().zip(short).find(|(name, _)| {
            let start = name.get(..word.len());
            word.len() > 3 && start.is_some_and(|start| start.eq_ignore_ascii_case(word))
        });
        mended.push_str(named.map_or(word, |(_, short)| short));
        mended.push_str(end);
    }
    mended
}

/// A time as `at` takes it: with a `T`, to the second. What a zone at its end means stands in a field of its own.
fn corrected_at(text: &str, slip: &str) -> Option<Correction> {
    let text = text.trim();
    let (date, time) = text.split_at_checked(10)?;
    let time = time.trim_start_matches(['T', 't', ' ']);
    let (time, zone) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    if !matches!(zone, "" | "Z" | "z") {
        return Some(Correction {
            says: "an `at` has no offset from UTC: the zone stands in `timezone`".to_owned(),
            suggestion: None,
        });
    }
    let time = time.split('.').next().unwrap_or_default();
    let seconds = if time.matches(':').count() == 1 { ":00" } else { "" };
    Correction::write(slip, format!("at({date}T{time}{seconds})"))
}

fn corrected_rate(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len());
    let (value, unit) = text.split_at(digits);
    let value: i64 =
        value.parse().ok().filter(|value| (1..=i64::from(u32::MAX)).contains(value))?;
    let (unit, times) = match unit.trim().to_ascii_lowercase().as_str() {
        "m" | "min" | "mins" | "minute" | "minutes" => ("minute", 1),
        "h" | "hr" | "hrs" | "hour" | "hours" => ("hour", 1),
        "d" | "day" | "days" => ("day", 1),
        "w" | "week" | "weeks" => ("day", 7),
        _ => return None,
    };
    let value = value * times;
    let rate = format!("rate({value} {unit}{})", if value == 1 { "" } else { "s" });
    Some(rate)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::schedule::Refusal;
    use crate::domain::schedule::cron::tests::any_expression;

    #[test]
    fn an_error_ends_with_what_to_write() {
        for (expression, says) in [
            ("0 4 * * 1-5", "; this is Linux cron: write `cron(0 4 ? * 2-6 *)`"),
            (
                "cron(0 4 * * 1-5)",
                "six fields (minutes, hours, day-of-month, month, day-of-week, year), not 5; this is Linux cron: write `cron(0 4 ? * 2-6 *)`",
            ),
            ("cron(@daily)", "; this is Linux cron: write `cron(0 0 * * ? *)`"),
            ("@daily", "; this is Linux cron: write `cron(0 0 * * ? *)`"),
            ("*/5 * * * *", "; this is Linux cron: write `cron(0/5 * * * ? *)`"),
            (
                "@reboot",
                "; this is Linux cron: `@reboot` is when a machine starts, and AWS has no schedule for that",
            ),
            (
                "0 4 1 * 1",
                "; this is Linux cron: it means the days of either day field, and AWS looks at one: make two jobs, with `cron(0 4 1 * ? *)` and `cron(0 4 ? * 2 *)` (where a day is both, both start)",
            ),
            (
                "0/5 * * * *",
                "; AWS wants a year at the end, `*` for any: write `cron(0/5 * * * ? *)`",
            ),
            ("0 4 L * *", "; AWS wants a year at the end, `*` for any: write `cron(0 4 L * ? *)`"),
            (
                "0/5 * * * 1",
                "; this is Linux cron: minutes: a step (`/`) stands after `*` or a range, not as in `0/5`",
            ),
            ("0 4 * * 6-1", "; this is Linux cron: day-of-week: the range `6-1` goes backwards"),
            ("cron(0 10 1 * 2 *)", "not `1` and `2`: set the one that you don't mean to `?`"),
            (
                "cron(0 4 ? * MON-FRI)",
                "; AWS wants a year at the end, `*` for any: write `cron(0 4 ? * MON-FRI *)`",
            ),
            (
                "cron(0 10 * * * *)",
                "either day-of-month or day-of-week must be `?`, not `*` and `*`: set the one that you don't mean to `?`; write `cron(0 10 * * ? *)`",
            ),
            ("cron(0 10 * * MON *)", "; write `cron(0 10 ? * MON *)`"),
            ("cron(0 10 1 * * *)", "; write `cron(0 10 1 * ? *)`"),
            ("cron(0 10 1 * MON *)", "not `1` and `MON`: set the one that you don't mean to `?`"),
            ("cron(0 10 ? * ? *)", "; write `cron(0 10 * * ? *)`"),
            (
                "cron(0 0 10 * * ? *)",
                "not 7; this looks like Quartz's cron, whose first field is seconds; AWS has none: write `cron(0 10 * * ? *)`",
            ),
            (
                "cron(0 0 12 ? * MON)",
                "whose first field is seconds; AWS has none: write `cron(0 12 ? * MON *)`",
            ),
            ("0 4 * * ? *", "; write `cron(0 4 * * ? *)`"),
            ("CRON(0 4 * * ? *)", "; the keyword is in lower case: write `cron(0 4 * * ? *)`"),
            ("Rate(1 hour)", "; the keyword is in lower case: write `rate(1 hour)`"),
            (
                "cron 0 4 * * ? *",
                "; the keyword is followed by parentheses: write `cron(0 4 * * ? *)`",
            ),
            (
                "cron(0 4 * * ? *",
                "; the keyword is followed by parentheses: write `cron(0 4 * * ? *)`",
            ),
            (
                "cron (0 4 * * ? *)",
                "; the keyword is followed by parentheses: write `cron(0 4 * * ? *)`",
            ),
            (" cron(0 4 * * ? *) ", "; write `cron(0 4 * * ? *)`"),
            ("cron(0  4 * * ? *)", "one space apart; write `cron(0 4 * * ? *)`"),
            (
                "cron(0 4 ? * MONDAY-FRIDAY *)",
                "day-of-week: allowed are 1 to 7 or SUN to SAT, not `MONDAY`; write `cron(0 4 ? * MON-FRI *)`",
            ),
            (
                "cron(0 4 ? sept Thurs#2 *)",
                "day-of-week: allowed are 1 to 7 or SUN to SAT, not `THURS`; write `cron(0 4 ? SEP THU#2 *)`",
            ),
            (
                "cron(0 4 ? * 0 *)",
                "day-of-week: allowed are 1 to 7 or SUN to SAT, not `0`; AWS counts from 1 for SUN; write `cron(0 4 ? * 1 *)`",
            ),
            ("cron(0 4 ? * 0-4 *)", "; AWS counts from 1 for SUN; write `cron(0 4 ? * 1-5 *)`"),
            (
                "cron(0 4 ? * MON/2 *)",
                "day-of-week: AWS takes values, ranges and lists here, and no steps such as `/2`; write `cron(0 4 ? * 2,4,6 *)`",
            ),
            (
                "cron(0 4 L-3 * ? *)",
                "day-of-month: AWS counts no days back from the last one: allowed are 1 to 31, `L`, `LW` and a day with W, not `L-3`",
            ),
            ("rate(5 minute)", "plural otherwise: write `rate(5 minutes)`"),
            ("rate(1 week)", "; write `rate(7 days)`"),
            ("rate(5m)", "; write `rate(5 minutes)`"),
            ("5 minutes", "; write `rate(5 minutes)`"),
            ("at(2027-01-31 04:00:00)", "; write `at(2027-01-31T04:00:00)`"),
            ("at(2027-01-31T04:00)", "; write `at(2027-01-31T04:00:00)`"),
            ("at(2027-01-31T04:00:00.000Z)", "; write `at(2027-01-31T04:00:00)`"),
            ("2027-01-31T04:00:00", "; write `at(2027-01-31T04:00:00)`"),
            ("2027-01-31 04:00", "; write `at(2027-01-31T04:00:00)`"),
            (
                "AT(2027-01-31T04:00:00)",
                "; the keyword is in lower case: write `at(2027-01-31T04:00:00)`",
            ),
            (
                "at(2027-01-31T04:00:00+01:00)",
                "; an `at` has no offset from UTC: the zone stands in `timezone`",
            ),
            ("at(2027-02-30T04:00:00)", "not `at(2027-02-30T04:00:00)`"),
            ("at(noon)", "not `at(noon)`"),
            (
                "rate(30 seconds)",
                "the unit of a rate is minute, minutes, hour, hours, day or days, not `seconds`",
            ),
            ("every day", "not `every day`"),
        ] {
            let refused = Schedule::read(expression).expect_err(expression);
            assert!(refused.message.ends_with(says), "{expression}: {}", refused.message);
            assert_eq!(Schedule::parse(expression), Err(refused.message.clone()));
            let written = says.rsplit_once("write `").map(|(_, end)| end.trim_end_matches('`'));
            assert_eq!(refused.suggestion.as_deref(), written, "{expression}");
        }
    }

    proptest! {
        /// Whatever stands where, no suggestion is refused itself.
        #[test]
        fn a_suggestion_is_valid(
            inner in any_expression(),
            cut in 0..60usize,
            put in "[ ?*LW#/,0-9A-Z@é()-]{0,4}",
            wrapped in any::<bool>(),
        ) {
            let mut text = if wrapped { format!("cron({inner})") } else { inner };
            let at = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            text.insert_str(at, &put);
            if let Err(Refusal { message, suggestion: Some(suggestion) }) = Schedule::read(&text) {
                prop_assert!(Schedule::parse(&suggestion).is_ok(), "{}: {}", text, suggestion);
                prop_assert!(message.ends_with(&format!("write `{suggestion}`")), "{}", message);
            }
        }
    }
}
