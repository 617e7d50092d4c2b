//! What AWS's documentation gives as examples and as errors.

use super::Schedule;

/// Amazon EventBridge User Guide, "Setting a schedule pattern for scheduled rules (legacy)", section "Cron
/// expressions" (also "Cron expressions reference", eb-cron-expressions).
const EVENTBRIDGE_CRON: &str = "EventBridge, eb-scheduled-rule-pattern, cron";
/// The same page, section "Rate expressions" (also "Rate expressions reference", eb-rate-expressions).
const EVENTBRIDGE_RATE: &str = "EventBridge, eb-scheduled-rule-pattern, rate";
/// Amazon EventBridge User Guide, the older "Creating an Amazon EventBridge rule that runs on a schedule".
const EVENTBRIDGE_RULE: &str = "EventBridge, eb-create-rule-schedule";
/// Amazon CloudWatch Events User Guide, "Schedule Expressions for Rules".
const CLOUDWATCH: &str = "CloudWatch Events, ScheduledEvents";
/// Amazon EventBridge Scheduler User Guide, "Schedule types in EventBridge Scheduler".
const SCHEDULER: &str = "EventBridge Scheduler, schedule-types";
/// Amazon EventBridge API Reference, Rule: `ScheduleExpression`.
const API_RULE: &str = "EventBridge API Reference, Rule";

#[test]
fn what_the_documentation_gives_as_an_example_is_read() {
    for (page, expression, description) in [
        (EVENTBRIDGE_CRON, "cron(0 10 * * ? *)", "At 10:00 UTC, every day"),
        (EVENTBRIDGE_CRON, "cron(15 12 * * ? *)", "At 12:15 UTC, every day"),
        (EVENTBRIDGE_CRON, "cron(0 18 ? * MON-FRI *)", "At 18:00 UTC, Monday through Friday"),
        (EVENTBRIDGE_CRON, "cron(0 8 1 * ? *)", "At 08:00 UTC on day 1 of the month"),
        (EVENTBRIDGE_CRON, "cron(0/15 * * * ? *)", "Every 15 minutes"),
        (EVENTBRIDGE_CRON, "cron(0/10 * ? * MON-FRI *)", "Every 10 minutes, Monday through Friday"),
        (
            EVENTBRIDGE_CRON,
            "cron(0/5 8-17 ? * MON-FRI *)",
            "Every 5 minutes from 08:00 through 17:59 UTC, Monday through Friday",
        ),
        (
            EVENTBRIDGE_CRON,
            "cron(0/30 20-2 ? * MON-FRI *)",
            "Every 30 minutes from 00:00 through 02:59 and from 20:00 through 23:59 UTC, Monday through Friday",
        ),
        (EVENTBRIDGE_CRON, "cron(0 12 * * ? *)", "At 12:00 UTC, every day"),
        (EVENTBRIDGE_CRON, "cron(5,35 14 * * ? *)", "At 14:05 and 14:35 UTC, every day"),
        (
            EVENTBRIDGE_CRON,
            "cron(15 10 ? * 6L 2019-2022)",
            "At 10:15 UTC on the last Friday of the month, in 2019 through 2022",
        ),
        // The wildcards that it explains, each in an expression.
        (
            EVENTBRIDGE_CRON,
            "cron(0 0 1 JAN,FEB,MAR ? *)",
            "At 00:00 UTC on day 1 of the month, in January through March",
        ),
        (
            EVENTBRIDGE_CRON,
            "cron(0 0 1-15 * ? *)",
            "At 00:00 UTC on days 1 through 15 of the month",
        ),
        (EVENTBRIDGE_CRON, "cron(0 * * * ? *)", "At minute 0 of every hour (UTC)"),
        (
            EVENTBRIDGE_CRON,
            "cron(1/10 * * * ? *)",
            "Every 10 minutes from minute 1 of every hour (UTC)",
        ),
        (EVENTBRIDGE_CRON, "cron(0 0 7 * ? *)", "At 00:00 UTC on day 7 of the month"),
        (EVENTBRIDGE_CRON, "cron(0 0 L * ? *)", "At 00:00 UTC on the last day of the month"),
        (EVENTBRIDGE_CRON, "cron(0 0 ? * L *)", "At 00:00 UTC, every Saturday"),
        (
            EVENTBRIDGE_CRON,
            "cron(0 0 3W * ? *)",
            "At 00:00 UTC on the weekday (Monday to Friday) nearest to day 3 of the month",
        ),
        (
            EVENTBRIDGE_CRON,
            "cron(0 0 ? * 3#2 *)",
            "At 00:00 UTC on the second Tuesday of the month",
        ),
        // The bounds of the fields.
        (
            EVENTBRIDGE_CRON,
            "cron(0 0 1 1 ? 1970)",
            "At 00:00 UTC on day 1 of the month, in January, in 1970",
        ),
        (
            EVENTBRIDGE_CRON,
            "cron(59 23 31 DEC ? 2199)",
            "At 23:59 UTC on day 31 of the month, in December, in 2199",
        ),
        (EVENTBRIDGE_CRON, "cron(0 0 ? * SUN-SAT *)", "At 00:00 UTC, every day"),
        (EVENTBRIDGE_RATE, "rate(1 minute)", "Every minute"),
        (EVENTBRIDGE_RATE, "rate(5 minutes)", "Every 5 minutes"),
        (EVENTBRIDGE_RATE, "rate(1 hour)", "Every hour"),
        (EVENTBRIDGE_RATE, "rate(5 hours)", "Every 5 hours"),
        (EVENTBRIDGE_RATE, "rate(1 day)", "Every day"),
        (EVENTBRIDGE_RULE, "cron(0 12 * * ? *)", "At 12:00 UTC, every day"),
        (EVENTBRIDGE_RULE, "rate(1 day)", "Every day"),
        (
            CLOUDWATCH,
            "cron(15 10 ? * 6L 2002-2005)",
            "At 10:15 UTC on the last Friday of the month, in 2002 through 2005",
        ),
        (CLOUDWATCH, "cron(5,35 14 * * ? *)", "At 14:05 and 14:35 UTC, every day"),
        (CLOUDWATCH, "rate(5 minutes)", "Every 5 minutes"),
        (SCHEDULER, "rate(5 minutes)", "Every 5 minutes"),
        (
            SCHEDULER,
            "cron(15 10 ? * 6L 2022-2023)",
            "At 10:15 UTC on the last Friday of the month, in 2022 and 2023",
        ),
        // "At expressions": `at(yyyy-mm-ddThh:mm:ss)`.
        (SCHEDULER, "at(2022-11-20T13:00:00)", "Once, on 2022-11-20 at 13:00:00 UTC"),
        (API_RULE, "cron(0 20 * * ? *)", "At 20:00 UTC, every day"),
    ] {
        let schedule = Schedule::parse(expression)
            .unwrap_or_else(|why| panic!("{page}: {expression} is refused: {why}"));
        assert_eq!(schedule.description(None), description, "{page}: {expression}");
    }
}

#[test]
fn what_the_documentation_gives_as_an_error_is_refused() {
    for (page, expression, says) in [
        // "You can't use * in both the Day-of-month and Day-of-week fields."
        (EVENTBRIDGE_CRON, "cron(0 10 * * * *)", "either day-of-month or day-of-week must be `?`"),
        // "If you specify a value or a * in one of the fields, you must use a ? in the other."
        (EVENTBRIDGE_CRON, "cron(0 10 1 * 2 *)", "either day-of-month or day-of-week must be `?`"),
        (EVENTBRIDGE_CRON, "cron(0 10 * * 2 *)", "either day-of-month or day-of-week must be `?`"),
        // "\"3#1,6#3\" is not valid because it is interpreted as two expressions."
        (
            EVENTBRIDGE_CRON,
            "cron(0 10 ? * 3#1,6#3 *)",
            "day-of-week: `L`, `6L` and `3#2` stand alone, not in a list as in `3#1,6#3`",
        ),
        // "Cron expressions have six required fields."
        (EVENTBRIDGE_CRON, "cron(0 10 * * ?)", "cron takes six fields"),
        // Wildcards that the table of the fields does not have there.
        (EVENTBRIDGE_CRON, "cron(? 10 * * ? *)", "minutes: allowed are 0 to 59"),
        (EVENTBRIDGE_CRON, "cron(0 L * * ? *)", "hours: allowed are 0 to 23"),
        (EVENTBRIDGE_CRON, "cron(0 10 1#2 * ? *)", "day-of-month: allowed are 1 to 31"),
        (EVENTBRIDGE_CRON, "cron(0 10 * ? ? *)", "month: allowed are 1 to 12 or JAN to DEC"),
        (EVENTBRIDGE_CRON, "cron(0 10 ? * 2/2 *)", "and no steps such as `/2`"),
        (EVENTBRIDGE_CRON, "cron(0 10 ? * 2W *)", "day-of-week: allowed are 1 to 7 or SUN to SAT"),
        (EVENTBRIDGE_CRON, "cron(0 10 * * ? ?)", "year: allowed are 1970 to 2199"),
        // Values beside those of the table.
        (EVENTBRIDGE_CRON, "cron(60 10 * * ? *)", "minutes: allowed are 0 to 59, not `60`"),
        (EVENTBRIDGE_CRON, "cron(0 24 * * ? *)", "hours: allowed are 0 to 23, not `24`"),
        (EVENTBRIDGE_CRON, "cron(0 10 32 * ? *)", "day-of-month: allowed are 1 to 31, not `32`"),
        (EVENTBRIDGE_CRON, "cron(0 10 * 13 ? *)", "month: allowed are 1 to 12"),
        (EVENTBRIDGE_CRON, "cron(0 10 ? * 8 *)", "day-of-week: allowed are 1 to 7"),
        (EVENTBRIDGE_CRON, "cron(0 10 * * ? 1969)", "year: allowed are 1970 to 2199, not `1969`"),
        (EVENTBRIDGE_CRON, "cron(0 10 * * ? 2200)", "year: allowed are 1970 to 2199, not `2200`"),
        // "rate(1 hours) and rate(5 hour) aren't valid".
        (EVENTBRIDGE_RATE, "rate(1 hours)", "write `rate(1 hour)`"),
        (EVENTBRIDGE_RATE, "rate(5 hour)", "write `rate(5 hours)`"),
        // "A positive number."
        (EVENTBRIDGE_RATE, "rate(0 minutes)", "a whole number from 1"),
        (EVENTBRIDGE_RATE, "rate(-5 minutes)", "a whole number from 1"),
        // "Valid values: minute | minutes | hour | hours | day | days"
        (EVENTBRIDGE_RATE, "rate(30 seconds)", "the unit of a rate is"),
        (CLOUDWATCH, "rate(1 hours)", "write `rate(1 hour)`"),
        // "To create a one-time schedule, use at(yyyy-mm-ddThh:mm:ss)": the time zone is a field of its own.
        (SCHEDULER, "at(2022-11-20)", "a time is written `at(yyyy-mm-ddThh:mm:ss)`"),
        (SCHEDULER, "at(2022-11-20T13:00)", "write `at(2022-11-20T13:00:00)`"),
        (SCHEDULER, "at(2022-11-20T13:00:00Z)", "write `at(2022-11-20T13:00:00)`"),
    ] {
        let why = Schedule::parse(expression)
            .map_or_else(|why| why, |_| panic!("{page}: {expression} is read"));
        assert!(why.contains(says), "{page}: {expression}: {why}");
    }
}
