//! Jobs that EventBridge Scheduler starts.

use std::collections::BTreeSet;

use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode, LaunchType, Target};
use cronplane::app::App;
use cronplane::domain::deployment::Deployment;
use cronplane::domain::job::{JobDefinition, Phase, ResourceKind};
use cronplane::domain::schedule::{Engine, EngineChoice};
use cronplane::error::Error;
use serde_json::{Value, json};

use super::{all_names, names};
use crate::cloud::{Cloud, arn, deployment};
use crate::job::{
    BASE, ROLE_BASE, at, create, definition, delete, key, moment, patch, short_moment, stored,
    sweep_for_an_hour, team,
};

const ROLE_DELAY: &str =
    "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.";

fn in_berlin() -> Value {
    let mut wanted = definition();
    wanted["schedule"] = json!("cron(30 2 * * ? *)");
    wanted["timezone"] = json!("Europe/Berlin");
    wanted
}

async fn made(definition: Value) -> (Cloud, App) {
    let cloud = Cloud::default();
    let app = cloud.app();
    let job = app.job_create(team(), definition, moment(0)).await.unwrap().job;
    assert_eq!((job.phase, job.observed_generation), (Phase::Ready, 1), "{:?}", job.reason);
    (cloud, app)
}

/// The names of a job's resources with a schedule in place of the rule.
fn names_with_schedule() -> BTreeSet<String> {
    let mut names = all_names();
    names.remove(&format!("rule {BASE}"));
    names.insert(format!("schedule {BASE}"));
    names
}

fn seconds(date: Option<aws_sdk_scheduler::primitives::DateTime>) -> Option<i64> {
    date.map(|date| date.secs())
}

fn target(cloud: &Cloud) -> Target {
    cloud.state().scheduler.schedules[BASE].target.clone()
}

#[tokio::test]
async fn a_job_in_a_zone_is_a_schedule_in_the_stacks_group() {
    let mut wanted = in_berlin();
    wanted["start_date"] = json!("2026-12-01T00:00:00Z");
    wanted["end_date"] = json!("2027-12-01T00:00:00Z");
    wanted["flexible_window_minutes"] = json!(15);
    let (cloud, app) = made(wanted).await;
    assert_eq!(names(&cloud), names_with_schedule());
    let schedule = cloud.state().scheduler.schedules[BASE].clone();
    assert_eq!(schedule.expression, "cron(30 2 * * ? *)");
    assert_eq!(schedule.timezone.as_deref(), Some("Europe/Berlin"));
    let dates = ["2026-12-01T00:00:00Z", "2027-12-01T00:00:00Z"]
        .map(|date| Some(date.parse::<jiff::Timestamp>().unwrap().as_second()));
    assert_eq!([schedule.start_date, schedule.end_date].map(seconds), dates);
    let window = FlexibleTimeWindow::builder()
        .mode(FlexibleTimeWindowMode::Flexible)
        .maximum_window_in_minutes(15);
    assert_eq!(schedule.window, window.build().unwrap());
    assert!(schedule.enabled);
    let target = schedule.target;
    assert_eq!(target.arn(), arn("ecs", &format!("cluster/{BASE}")));
    let role = format!("arn:aws:iam::111122223333:role/cronplane/{ROLE_BASE}_events");
    assert_eq!(target.role_arn(), role);
    let dead_letters = target.dead_letter_config().unwrap();
    assert_eq!(dead_letters.arn(), Some(&*arn("sqs", "schedule-dead-letters")));
    let retries = target.retry_policy().unwrap();
    assert_eq!(retries.maximum_event_age_in_seconds(), Some(900));
    let input: Value = serde_json::from_str(target.input().unwrap()).unwrap();
    let variable = json!({"name": "SCHEDULED_TIME", "value": "<aws.scheduler.scheduled-time>"});
    let overrides = json!({"containerOverrides": [{"name": "main", "environment": [variable]}]});
    assert_eq!(input, overrides);
    let ecs = target.ecs_parameters().unwrap();
    assert_eq!(ecs.task_definition_arn(), arn("ecs", &format!("task-definition/{BASE}:1")));
    assert_eq!(ecs.launch_type(), Some(&LaunchType::Fargate));
    assert_eq!(ecs.group(), Some(&*format!("family:{BASE}")));

    let view = app.job_get(&key(), moment(0)).await.unwrap();
    assert_eq!((view.engine, view.next_starts_approximate), (Engine::Scheduler, false));
    assert_eq!(view.next_starts[0], "2026-12-01T01:30:00Z".parse().unwrap());
    assert!(delete(&app, moment(10)).await.unwrap().is_none());
    let log_group = "log group /cronplane/cronplane/platform/nightly-report".to_owned();
    assert_eq!(names(&cloud), BTreeSet::from([log_group]));
}

#[tokio::test]
async fn the_role_of_a_schedule_lets_scheduler_in_and_may_write_dead_letters() {
    let (cloud, _) = made(in_berlin()).await;
    let role = cloud.state().iam.roles[&format!("{ROLE_BASE}_events")].clone();
    let trust: Value = serde_json::from_str(&role.trust).unwrap();
    assert_eq!(
        trust["Statement"],
        json!([{
            "Effect": "Allow",
            "Principal": {"Service": "scheduler.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {
                "aws:SourceAccount": "111122223333",
                "aws:SourceArn": arn("scheduler", "schedule-group/cronplane-group"),
            }},
        }])
    );
    let policy: Value = serde_json::from_str(&role.policies["cronplane"]).unwrap();
    let queues = json!([arn("sqs", "schedule-dead-letters"), arn("sqs", "starts")]);
    let sends = policy["Statement"].as_array().unwrap().iter();
    let sends: Vec<&Value> = sends.filter(|one| one["Action"] == "sqs:SendMessage").collect();
    assert_eq!((sends.len(), &sends[0]["Resource"]), (1, &queues));

    // A rule needs neither.
    let (cloud, _) = made(definition()).await;
    let role = cloud.state().iam.roles[&format!("{ROLE_BASE}_events")].clone();
    assert!(!role.trust.contains("scheduler") && !role.policies["cronplane"].contains("sqs:"));
}

#[tokio::test]
async fn starts_that_are_left_to_cronplane_come_from_scheduler_too() {
    let mut wanted = in_berlin();
    wanted["capacity"] = json!("spot_with_fallback");
    let (cloud, app) = made(wanted).await;
    let job = stored(&app).await.unwrap();
    let target = target(&cloud);
    assert_eq!(target.arn(), arn("sqs", "starts"));
    assert!(target.role_arn().ends_with("_events"));
    let message: Value = serde_json::from_str(target.input().unwrap()).unwrap();
    let wanted = json!({
        "team": "platform", "job": "nightly-report", "job_id": job.id,
        "scheduled_time": "<aws.scheduler.scheduled-time>",
    });
    assert_eq!(message, wanted);
}

/// Whatever the account has, the job is one of both, never of none.
#[tokio::test]
async fn a_job_moves_to_scheduler_and_back() {
    let (cloud, app) = made(definition()).await;
    let change = json!({"schedule": "cron(30 2 * * ? *)", "timezone": "Europe/Berlin"});
    let job = patch(&app, change, moment(100)).await.unwrap().view.job;
    assert_eq!((job.phase, job.observed_generation), (Phase::Ready, 2));
    assert_eq!(names(&cloud), names_with_schedule());
    assert!(!job.resources.contains_key(&ResourceKind::ScheduleRule));
    assert_eq!(job.scheduled_since, at(100));
    // The schedule stood before the rule went.
    let calls: Vec<&str> = cloud.take_calls().into_iter().map(|call| call.operation).collect();
    let position = |wanted: &str| calls.iter().position(|call| *call == wanted).unwrap();
    assert!(position("scheduler:CreateSchedule") < position("events:DeleteRule"));

    let job = patch(&app, json!({"timezone": null}), moment(200)).await.unwrap().view.job;
    assert_eq!((job.phase, job.observed_generation), (Phase::Ready, 3));
    assert_eq!(names(&cloud), all_names());
    assert!(!job.resources.contains_key(&ResourceKind::Schedule));
    let rule = cloud.state().events.rules[BASE].clone();
    assert_eq!(rule.schedule.as_deref(), Some("cron(30 2 * * ? *)"));
}

/// A schedule that nobody noted would go on beside the rule.
#[tokio::test]
async fn what_a_reconcile_made_that_died_is_taken_away() {
    let (cloud, app) = made(definition()).await;
    let change = json!({"timezone": "Europe/Berlin"});
    // The last write of the reconcile, which notes what was made, is lost.
    let (clean, other) = made(definition()).await;
    clean.take_calls();
    patch(&other, change.clone(), moment(100)).await.unwrap();
    let calls = clean.take_calls();
    let last = calls.iter().rposition(|call| call.operation == "dynamodb:UpdateItem").unwrap();
    cloud.lose(last, crate::cloud::Effect::None);
    patch(&app, change, short_moment(100)).await.unwrap();
    assert!(cloud.state().scheduler.schedules.contains_key(BASE));
    // Before anybody comes back to it, it is to be a rule again.
    patch(&app, json!({"timezone": null}), moment(110)).await.unwrap();
    sweep_for_an_hour(&app, 110).await;
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
    assert_eq!(names(&cloud), all_names());
}

#[tokio::test]
async fn a_pause_switches_the_schedule_off_whatever_hinders_it() {
    let (cloud, app) = made(in_berlin()).await;
    cloud.take_calls();
    app.job_set_enabled(&key(), false, moment(100)).await.unwrap();
    assert_eq!(cloud.take_writes(), ["scheduler:UpdateSchedule"]);
    let paused = cloud.state().scheduler.schedules[BASE].clone();
    assert!(!paused.enabled && paused.expression == "cron(30 2 * * ? *)");
    app.job_set_enabled(&key(), true, moment(200)).await.unwrap();
    assert!(cloud.state().scheduler.schedules[BASE].enabled);

    cloud.fail("ecs:RegisterTaskDefinition", 1, "ClientException", "Invalid image.");
    let change = json!({"image": "busybox:2", "enabled": false});
    let job = patch(&app, change, moment(300)).await.unwrap().view.job;
    assert_eq!(job.phase, Phase::Failed);
    let schedule = cloud.state().scheduler.schedules[BASE].clone();
    assert!(!schedule.enabled);
    assert_eq!(schedule.timezone.as_deref(), Some("Europe/Berlin"));
    sweep_for_an_hour(&app, 300).await;
    let job = stored(&app).await.unwrap();
    assert_eq!((job.phase, job.observed_generation), (Phase::Ready, 4));
    assert!(!cloud.state().scheduler.schedules[BASE].enabled);
}

/// A change of the image is no news to the phase, and AWS takes no start date of the past.
#[tokio::test]
async fn a_rate_keeps_its_phase() {
    let mut wanted = definition();
    wanted["schedule"] = json!("rate(2 hours)");
    wanted["start_date"] = json!("2026-11-23T13:30:00Z");
    let (cloud, app) = made(wanted).await;
    let start = |cloud: &Cloud| seconds(cloud.state().scheduler.schedules[BASE].start_date);
    // It is 14:00.
    assert_eq!(start(&cloud), Some(at(90 * 60).as_second()));
    patch(&app, json!({"image": "busybox:2"}), moment(3 * 3600)).await.unwrap();
    assert_eq!(start(&cloud), Some(at(210 * 60).as_second()));
    let view = app.job_get(&key(), moment(3 * 3600)).await.unwrap();
    assert_eq!((view.next_starts[0], view.next_starts_approximate), (at(210 * 60), false));

    // Without a date it counts from when it was made, as a rule does.
    let mut wanted = definition();
    wanted["schedule"] = json!("rate(2 hours)");
    wanted["flexible_window_minutes"] = json!(5);
    let (cloud, app) = made(wanted).await;
    assert_eq!(start(&cloud), Some(at(2 * 3600).as_second()));
    patch(&app, json!({"image": "busybox:2"}), moment(3 * 3600)).await.unwrap();
    assert_eq!(start(&cloud), Some(at(4 * 3600).as_second()));
    patch(&app, json!({"schedule": "rate(3 hours)"}), moment(3 * 3600 + 30)).await.unwrap();
    assert_eq!(start(&cloud), Some(at(6 * 3600).as_second()));
}

#[tokio::test]
async fn what_has_nothing_left_to_start_is_not_written_again() {
    let mut wanted = definition();
    wanted["schedule"] = json!("at(2026-11-23T15:00:00)");
    wanted["flexible_window_minutes"] = json!(15);
    let (cloud, app) = made(wanted).await;
    let starts = |cloud: &Cloud| {
        let target = target(cloud);
        target
            .ecs_parameters()
            .unwrap()
            .task_definition_arn()
            .rsplit(':')
            .next()
            .unwrap()
            .to_owned()
    };
    patch(&app, json!({"image": "busybox:2"}), moment(600)).await.unwrap();
    assert_eq!(starts(&cloud), "2");
    cloud.take_calls();
    let job = patch(&app, json!({"image": "busybox:3"}), moment(2 * 3600)).await.unwrap();
    assert_eq!((job.view.job.phase, job.view.next_starts), (Phase::Ready, vec![]));
    assert_eq!(cloud.take_writes(), ["ecs:RegisterTaskDefinition"]);
    assert_eq!(starts(&cloud), "2");
    // It can be paused, and has nothing to be resumed for.
    app.job_set_enabled(&key(), false, moment(2 * 3600)).await.unwrap();
    let refused = app.job_set_enabled(&key(), true, moment(2 * 3600)).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(found) if found[0].pointer == "/schedule"));
    let refused = patch(&app, json!({"enabled": true}), moment(2 * 3600)).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(found) if found[0].pointer == "/schedule"));
    // Another time that is past is a mistake; one to come is not.
    let past = json!({"schedule": "at(2026-11-23T15:30:00)"});
    let refused = patch(&app, past, moment(2 * 3600)).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(found) if found[0].pointer == "/schedule"));
    let next = json!({"schedule": "at(2026-11-24T15:30:00)", "enabled": true});
    patch(&app, next, moment(2 * 3600)).await.unwrap();
    assert!(cloud.state().scheduler.schedules[BASE].enabled);
    assert_eq!(starts(&cloud), "3");
}

/// Without its end it would go on for good.
#[tokio::test]
async fn a_schedule_whose_end_has_come_is_not_written_without_it() {
    for (schedule, end) in
        [("cron(0 * * * ? *)", "2026-11-23T16:00:00Z"), ("rate(1 hour)", "2026-11-23T16:00:00Z")]
    {
        let mut wanted = definition();
        wanted["schedule"] = json!(schedule);
        wanted["end_date"] = json!(end);
        wanted["flexible_window_minutes"] = json!(60);
        let (cloud, app) = made(wanted).await;
        // It is 14:00; two starts are left, and then one.
        patch(&app, json!({"image": "busybox:2"}), moment(3600 + 60)).await.unwrap();
        let written = cloud.state().scheduler.schedules[BASE].clone();
        assert!(written.end_date.is_some() && written.enabled, "{schedule}");
        assert!(seconds(written.start_date) < seconds(written.end_date), "{schedule}");
        cloud.take_calls();
        let changed = patch(&app, json!({"image": "busybox:3"}), moment(2 * 3600 + 1800)).await;
        let job = changed.unwrap().view.job;
        assert_eq!(job.phase, Phase::Ready, "{schedule} {:?}", job.reason);
        assert_eq!(cloud.take_writes(), ["ecs:RegisterTaskDefinition"], "{schedule}");
        app.job_set_enabled(&key(), false, moment(2 * 3600 + 1800)).await.unwrap();
    }
}

/// What stands of before is not what is wanted, and nothing would end it.
#[tokio::test]
async fn a_change_whose_time_passes_unmade_ends_what_was_before() {
    for before in [in_berlin(), definition()] {
        let (cloud, app) = made(before).await;
        cloud.fail("scheduler:UpdateSchedule", 100, "AccessDeniedException", "not now");
        cloud.fail("scheduler:CreateSchedule", 100, "AccessDeniedException", "not now");
        let change = json!({"schedule": "at(2026-11-23T14:10:00)", "timezone": null});
        let job = patch(&app, change, short_moment(60)).await.unwrap().view.job;
        assert_eq!(job.phase, Phase::Failed);
        cloud.mend();
        sweep_for_an_hour(&app, 3600).await;
        let job = stored(&app).await.unwrap();
        assert_eq!(job.phase, Phase::Failed);
        assert!(job.reason.unwrap().contains("passed before the schedule could be made"));
        let state = cloud.state();
        assert!(!state.events.rules.contains_key(BASE));
        assert!(state.scheduler.schedules.values().all(|schedule| !schedule.enabled));
    }
}

#[test]
fn what_does_not_go_with_a_window_or_an_end_is_told_there() {
    let read = |more: Value| {
        let mut wanted = definition();
        for (field, value) in more.as_object().unwrap() {
            wanted[field] = value.clone();
        }
        let found = JobDefinition::read(wanted, &deployment()).unwrap_err();
        found.into_iter().map(|one| (one.pointer, one.code.as_str())).collect::<Vec<_>>()
    };
    let window = json!({"capacity": "spot_with_fallback", "flexible_window_minutes": 60});
    assert_eq!(read(window), [("/flexible_window_minutes".to_owned(), "not_allowed")]);
}

#[tokio::test]
async fn an_end_before_the_next_start_is_what_is_wrong() {
    let app = Cloud::default().app();
    let mut wanted = definition();
    wanted["schedule"] = json!("cron(0 4 * * ? *)");
    wanted["end_date"] = json!("2026-11-23T20:00:00Z");
    let refused = app.job_create(team(), wanted, moment(0)).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(found) if found[0].pointer == "/end_date"));
}

/// What the deployment wants from now on is not what the job has.
#[tokio::test]
async fn a_job_tells_the_engine_that_it_has() {
    let (cloud, _) = made(definition()).await;
    let app = cloud.app_of(Deployment { engine: EngineChoice::Scheduler, ..deployment() });
    let view = app.job_get(&key(), moment(10)).await.unwrap();
    assert_eq!((view.engine, view.next_starts_approximate), (Engine::Rule, true));
    patch(&app, json!({"image": "busybox:2"}), moment(20)).await.unwrap();
    let view = app.job_get(&key(), moment(30)).await.unwrap();
    assert_eq!((view.engine, view.next_starts_approximate), (Engine::Scheduler, false));
}

/// A start that could not be made is not a job that is ready.
#[tokio::test]
async fn a_time_that_passes_before_its_schedule_is_made_is_told() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let mut wanted = definition();
    wanted["schedule"] = json!("at(2026-11-23T14:05:00)");
    cloud.fail("scheduler:CreateSchedule", 100, "InternalServerException", "later");
    let job = app.job_create(team(), wanted, short_moment(0)).await.unwrap().job;
    assert_eq!(job.phase, Phase::Provisioning);
    cloud.mend();
    sweep_for_an_hour(&app, 360).await;
    let job = stored(&app).await.unwrap();
    assert_eq!(job.phase, Phase::Failed);
    assert!(job.reason.unwrap().contains("passed before the schedule could be made"));
    assert!(cloud.state().scheduler.schedules.is_empty());
}

#[tokio::test]
async fn a_role_that_scheduler_does_not_know_yet_passes() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.state().scheduler.refusals.extend([ROLE_DELAY, ROLE_DELAY]);
    let job = app.job_create(team(), in_berlin(), moment(0)).await.unwrap().job;
    assert_eq!(job.phase, Phase::Ready, "{:?}", job.reason);

    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.state().scheduler.refusals.push_back("Invalid Schedule Expression cron(30 2 * * ? *).");
    let job = app.job_create(team(), in_berlin(), moment(0)).await.unwrap().job;
    assert_eq!(job.phase, Phase::Failed);
    assert!(job.reason.unwrap().starts_with("schedule: "));
}

/// Of a schedule to which somebody else writes at that moment.
#[tokio::test]
async fn a_conflict_passes() {
    let (cloud, app) = made(in_berlin()).await;
    let conflict = |operation| {
        cloud.fail(operation, 1, "ConflictException", "This can cause an inconsistent state.");
    };
    conflict("scheduler:UpdateSchedule");
    let job = patch(&app, json!({"image": "busybox:2"}), moment(10)).await.unwrap().view.job;
    assert_eq!(job.phase, Phase::Ready, "{:?}", job.reason);
    conflict("scheduler:DeleteSchedule");
    assert!(delete(&app, moment(20)).await.unwrap().is_none());
}

#[tokio::test]
async fn the_choice_is_the_deployments() {
    let of = |engine| Deployment { engine, ..deployment() };
    let cloud = Cloud::default();
    let app = cloud.app_of(of(EngineChoice::Scheduler));
    let view = create(&app, moment(0)).await.unwrap();
    // What jobs share then is in `shared`.
    assert_eq!(view.engine, Engine::Scheduler);
    assert!(names(&cloud).contains(&format!("schedule {BASE}")));
    assert!(cloud.state().events.rules.is_empty());
    assert_eq!(cloud.state().scheduler.schedules[BASE].timezone.as_deref(), Some("UTC"));

    // A deployment that changes its mind moves a job with the job's next change.
    let app = cloud.app_of(of(EngineChoice::Rules));
    patch(&app, json!({"image": "busybox:2"}), moment(100)).await.unwrap();
    let mut moved = all_names();
    moved.remove(&format!("task definition {BASE}:1"));
    moved.insert(format!("task definition {BASE}:2"));
    assert!(names(&cloud).is_superset(&moved) && cloud.state().scheduler.schedules.is_empty());

    // What a rule can't do is refused there.
    for (field, value) in [
        ("timezone", json!("Europe/Berlin")),
        ("start_date", json!("2026-12-01T00:00:00Z")),
        ("end_date", json!("2026-12-01T00:00:00Z")),
        ("flexible_window_minutes", json!(5)),
        ("schedule", json!("at(2026-12-01T00:00:00)")),
    ] {
        let refused = patch(&app, json!({field: value}), moment(200)).await.unwrap_err();
        let Error::Invalid(found) = refused else { panic!("{field}") };
        let told: Vec<(&str, &str)> =
            found.iter().map(|one| (&*one.pointer, one.code.as_str())).collect();
        assert_eq!(told, [(&*format!("/{field}"), "forbidden")]);
    }
}

/// A rule would start it an hour or two off.
#[tokio::test]
async fn a_job_that_was_made_before_there_were_rules_only_stays_with_scheduler() {
    let (cloud, _) = made(in_berlin()).await;
    let app = cloud.app_of(Deployment { engine: EngineChoice::Rules, ..deployment() });
    app.job_set_enabled(&key(), false, moment(100)).await.unwrap();
    let view = app.job_set_enabled(&key(), true, moment(200)).await.unwrap();
    assert_eq!((view.engine, view.job.phase), (Engine::Scheduler, Phase::Ready));
    assert_eq!(names(&cloud), names_with_schedule());
    // But every change has to lead to a job that may be.
    let refused = patch(&app, json!({"image": "busybox:2"}), moment(300)).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(found) if found[0].pointer == "/timezone"));
    patch(&app, json!({"timezone": null}), moment(300)).await.unwrap();
    assert_eq!(names(&cloud), all_names());
}

/// The same name, the same minute; and names apart.
#[tokio::test]
async fn jobs_are_spread_over_the_hour_by_their_names() {
    let mut minutes = BTreeSet::new();
    for number in 0..40 {
        let cloud = Cloud::default();
        let app = cloud.app();
        let mut wanted = definition();
        wanted["name"] = json!(format!("hourly-{number}"));
        wanted["schedule"] = json!("cron(0 * * * ? *)");
        wanted["spread"] = json!(true);
        let view = app.job_create(team(), wanted, moment(0)).await.unwrap();
        let state = cloud.state();
        let rule = &state.events.rules[&format!("cronplane_platform_hourly-{number}")];
        let expression = rule.schedule.clone().unwrap();
        let minute: i64 =
            expression.strip_prefix("cron(").unwrap().split(' ').next().unwrap().parse().unwrap();
        assert_eq!(expression, format!("cron({minute} * * * ? *)"));
        assert_eq!(view.next_starts[0].as_second() / 60 % 60, minute);
        assert_eq!(view.job.definition.timing.schedule.expression(), "cron(0 * * * ? *)");
        minutes.insert(minute);
    }
    // Of 60 minutes 40 names take some 29, if they fall as they may.
    assert!(minutes.len() > 20, "{minutes:?}");
}
