//! Jobs whose starts are made on demand where there is no Spot capacity: Cronplane makes them itself.

use std::collections::HashMap;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ecs::operation::run_task::RunTaskInput;
use aws_sdk_eventbridge::types::Target;
use cronplane::app::{App, RunsWanted};
use cronplane::domain::job::Phase;
use cronplane::domain::run::{Run, RunStatus, Trigger};
use cronplane::domain::schedule::EngineChoice;
use cronplane::events::apply_batch;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Cluster, Effect, State, Trouble, arn, deployment};
use crate::failure_rule::{assert_tells, told};
use crate::job::{
    BASE, JOB, TEAM, at, create, definition, delete, key, moment, patch, short_moment, stored,
    sweep_for_an_hour, team,
};
use crate::task::{ended, snapshot, state};

/// When the starts of these tests are to be.
const SLOT: i64 = 600;
/// When they are made.
const NOW: i64 = SLOT + 3;

async fn with_job_of(capacity: &str) -> (Cloud, App) {
    let cloud = Cloud::default();
    let app = cloud.app();
    let mut wanted = definition();
    wanted["capacity"] = json!(capacity);
    app.job_create(team(), wanted, moment(0)).await.unwrap();
    cloud.state().ecs.now = NOW;
    cloud.take_calls();
    (cloud, app)
}

async fn with_job() -> (Cloud, App) {
    with_job_of("spot_with_fallback").await
}

fn target(cloud: &Cloud) -> Target {
    cloud.state().events.rules[BASE].targets["main"].clone()
}

/// What EventBridge sends to the target of the job's schedule for the start at `slot`.
fn message(cloud: &Cloud, slot: i64) -> String {
    let target = target(cloud);
    let transformer = target.input_transformer().unwrap();
    assert_eq!(transformer.input_paths_map().unwrap()["time"], "$.time");
    transformer.input_template().replace("<time>", &at(slot).to_string())
}

async fn deliver_from(queue_arn: &str, app: &App, body: &str, now: i64) -> bool {
    let mut message = SqsMessage::default();
    message.message_id = Some("the-message".to_owned());
    message.event_source_arn = Some(queue_arn.to_owned());
    message.body = Some(body.to_owned());
    let mut batch = SqsEvent::default();
    batch.records = vec![message];
    let failures = apply_batch(app, batch, moment(now)).await.batch_item_failures;
    assert!(failures.iter().all(|one| one.item_identifier == "the-message"));
    failures.is_empty()
}

/// Whether the message is done with.
async fn deliver(app: &App, body: &str, now: i64) -> bool {
    deliver_from(&deployment().start_queue_arn, app, body, now).await
}

async fn runs(app: &App) -> Vec<Run> {
    let wanted = RunsWanted { limit: 100, ..RunsWanted::default() };
    let page = app.run_list(&key(), wanted).await.unwrap();
    page.items.into_iter().map(|view| view.run).collect()
}

async fn only_run(app: &App) -> Run {
    let mut runs = runs(app).await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0)
}

fn started(cloud: &Cloud) -> Vec<RunTaskInput> {
    cloud.state().ecs.runs.clone()
}

/// Whether the task was asked for on Spot.
fn on_spot(start: &RunTaskInput) -> bool {
    let providers: Vec<&str> =
        start.capacity_provider_strategy().iter().map(|one| one.capacity_provider()).collect();
    let launch_type = start.launch_type().map(|one| one.as_str());
    match (&providers[..], launch_type) {
        (["FARGATE_SPOT"], None) => true,
        ([], Some("FARGATE")) => false,
        other => panic!("{other:?}"),
    }
}

fn count(cloud: &Cloud, operation: &str) -> usize {
    cloud.take_calls().iter().filter(|call| call.operation == operation).count()
}

/// An event of the task of `run`.
fn event_of(run: &Run, status: &str, version: i64) -> Value {
    let mut event = state("0a", NOW, status, version);
    let detail = event["detail"].as_object_mut().unwrap();
    detail.insert("taskArn".to_owned(), json!(run.task_arn));
    detail.insert("startedBy".to_owned(), json!(format!("cronplane/{}", run.id)));
    detail.insert("capacityProviderName".to_owned(), json!("FARGATE_SPOT"));
    detail.insert("overrides".to_owned(), run.overrides.clone());
    event
}

#[tokio::test]
async fn the_rule_leaves_the_start_to_cronplane() {
    let (cloud, app) = with_job().await;
    let target = target(&cloud);
    assert_eq!(target.arn(), deployment().start_queue_arn);
    assert_eq!(target.role_arn(), None);
    assert_eq!(target.ecs_parameters(), None);
    assert_eq!(target.retry_policy().unwrap().maximum_event_age_in_seconds(), Some(900));
    let dead_letters = target.dead_letter_config().unwrap().arn();
    assert_eq!(dead_letters, Some(&*deployment().dead_letter_queue_arn));
    let body: Value = serde_json::from_str(&message(&cloud, SLOT)).unwrap();
    assert_eq!(
        body,
        json!({
            "team": "platform",
            "job": "nightly-report",
            "job_id": stored(&app).await.unwrap().id,
            "scheduled_time": "2026-11-23T14:10:00Z",
        })
    );
    // The message names no revision: a new one is no news to the rule.
    patch(&app, json!({"image": "busybox:2"}), moment(60)).await.unwrap();
    assert_eq!(cloud.take_writes(), ["ecs:RegisterTaskDefinition"]);
}

#[tokio::test]
async fn a_start_is_made_on_spot_where_there_is_capacity() {
    let (cloud, app) = with_job().await;
    assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);

    let [start] = &started(&cloud)[..] else { panic!("one task") };
    assert!(on_spot(start));
    let run = only_run(&app).await;
    assert!(run.id.as_str().starts_with("20261123T141000-"), "{}", run.id);
    assert_eq!(start.client_token(), Some(run.id.as_str()));
    assert_eq!(start.started_by(), Some(&*format!("cronplane/{}", run.id)));
    assert_eq!(start.task_definition(), Some(&*arn("ecs", &format!("task-definition/{BASE}:1"))));
    let main = &start.overrides().unwrap().container_overrides()[0];
    let [variable] = main.environment() else { panic!("one variable") };
    assert_eq!((main.name(), variable.name()), (Some("main"), Some("SCHEDULED_TIME")));
    assert_eq!(variable.value(), Some("2026-11-23T14:10:00Z"));

    assert_eq!((run.trigger, run.status), (Trigger::Schedule, RunStatus::Pending));
    assert_eq!((run.scheduled_time, run.created_at), (Some(at(SLOT)), at(SLOT)));
    assert_eq!(run.capacity_provider.as_deref(), Some("FARGATE_SPOT"));
    assert!(run.task_arn.is_some());
    let job = stored(&app).await.unwrap();
    assert_eq!(job.recent_runs.newest(), Some(&run.summary()));
    // A rate counts from the start that was made.
    assert_eq!(job.next_starts(at(NOW), 1, EngineChoice::ByNeed), [at(SLOT + 86_400)]);
}

#[tokio::test]
async fn without_spot_capacity_a_start_is_made_on_demand() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.no_spot = true;
    assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
    assert_eq!(count(&cloud, "ecs:RunTask"), 2);
    let [start] = &started(&cloud)[..] else { panic!("one task") };
    assert!(!on_spot(start));
    let run = only_run(&app).await;
    assert_eq!(start.client_token(), Some(&*format!("{}.od", run.id)));
    assert_eq!(run.capacity_provider.as_deref(), Some("FARGATE"));
    assert_eq!((run.trigger, run.scheduled_time), (Trigger::Schedule, Some(at(SLOT))));
}

#[tokio::test]
async fn so_is_a_run_that_is_asked_for() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.no_spot = true;
    let run = app.run_start(&key(), json!({}), moment(NOW)).await.unwrap().run;
    assert_eq!(run.capacity_provider.as_deref(), Some("FARGATE"));
    assert_eq!((run.trigger, run.scheduled_time), (Trigger::Manual, None));
    let [start] = &started(&cloud)[..] else { panic!("one task") };
    assert!(!on_spot(start));
}

/// The account's quota of Spot is one of its own.
#[tokio::test]
async fn a_quota_of_spot_that_is_used_up_is_a_lack_of_it() {
    for reason in [
        "You've reached the limit on the number of vCPUs you can run concurrently",
        "RESOURCE:CPU",
        "Capacity is unavailable at this time. Please try again later or in a different \
         availability zone.",
    ] {
        let (cloud, app) = with_job().await;
        cloud.state().ecs.run_failures.push_back((reason, "no detail"));
        assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
        assert!(!on_spot(&started(&cloud)[0]), "{reason}");
    }
    let (cloud, app) = with_job().await;
    cloud.fail("ecs:RunTask", 1, "ClientException", "Capacity is unavailable at this time.");
    assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
    assert!(!on_spot(&started(&cloud)[0]));
}

/// What says nothing of capacity, or leaves open whether there is a task, is no reason to pay more.
#[tokio::test]
async fn another_trouble_is_no_lack_of_spot() {
    for (code, message_of_ecs) in [
        ("ThrottlingException", "Rate exceeded"),
        ("ClientException", "ECS was unable to assume the role"),
        ("ServerException", "Capacity is unavailable at this time."),
    ] {
        let (cloud, app) = with_job().await;
        cloud.fail("ecs:RunTask", 1, code, message_of_ecs);
        assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
        assert!(started(&cloud).is_empty());
        sweep_for_an_hour(&app, NOW).await;
        let [start] = &started(&cloud)[..] else { panic!("one task") };
        assert!(on_spot(start), "{code}");
    }
}

/// Somebody asks for the stop of every run that has no task yet.
pub(crate) fn stop_waiting(state: &mut State, _: &str) {
    let attribute = |text: &str| AttributeValue::S(text.to_owned());
    let at = ("at".to_owned(), attribute(&at(NOW).to_string()));
    let stop = HashMap::from([("reason".to_owned(), attribute("enough")), at]);
    let partition = format!("RUNS#{TEAM}#{JOB}");
    for run in state.table.partition_mut(&partition) {
        if run["status"] == attribute("pending") && !run.contains_key("task_arn") {
            run.insert("stop_requested".to_owned(), AttributeValue::M(stop.clone()));
        }
    }
}

/// Asked for while the first call is under way: on Spot there is a task, which is stopped; where there is
/// none, none is started on demand.
#[tokio::test]
async fn a_run_that_is_stopped_meanwhile_is_not_made_on_demand() {
    for no_spot in [false, true] {
        let (cloud, app) = with_job().await;
        cloud.state().ecs.no_spot = no_spot;
        cloud.state().ecs.meanwhile = Some(stop_waiting);
        assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
        let run = only_run(&app).await;
        let state = cloud.state();
        if no_spot {
            assert!(state.ecs.tasks.is_empty());
            let reason = run.stopped_reason.as_deref();
            assert_eq!((run.status, reason), (RunStatus::Stopped, Some("enough")));
        } else {
            let [task] = &state.ecs.tasks[..] else { panic!("one task") };
            assert_eq!(task.stopped_reason(), Some("enough"));
        }
    }
}

#[tokio::test]
async fn spot_without_fallback_waits_for_spot() {
    let (cloud, app) = with_job_of("spot").await;
    cloud.state().ecs.no_spot = true;
    let run = app.run_start(&key(), json!({}), moment(0)).await.unwrap().run;
    assert!(run.stopped_reason.unwrap().contains("Capacity is unavailable"));
    app.sweep(moment(61)).await.unwrap();
    assert!(started(&cloud).is_empty());
    cloud.state().ecs.no_spot = false;
    app.sweep(moment(122)).await.unwrap();
    let [start] = &started(&cloud)[..] else { panic!("one task") };
    assert!(on_spot(start));
    assert_eq!(start.client_token(), Some(run.id.as_str()));
}

/// Where there is neither, it is tried for as long as EventBridge tries, counted from the start that
/// was promised, and then told.
#[tokio::test]
async fn without_any_capacity_the_start_is_given_up() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.no_spot = true;
    let none = ("Capacity is unavailable at this time.", "no detail");
    cloud.state().ecs.run_failures.extend([none; 100]);
    assert!(deliver(&app, &message(&cloud, SLOT), SLOT + 300).await);
    let run = only_run(&app).await;
    assert_eq!(run.status, RunStatus::Pending);
    app.sweep(moment(SLOT + 840)).await.unwrap();
    assert_eq!(only_run(&app).await.status, RunStatus::Pending);
    app.sweep(moment(SLOT + 901)).await.unwrap();
    let run = only_run(&app).await;
    assert_eq!((run.status, run.trigger), (RunStatus::FailedToStart, Trigger::Schedule));
    assert!(run.stopped_reason.unwrap().contains("Capacity is unavailable"));
    // Spot was tried once: from then on it is on demand.
    assert_eq!(count(&cloud, "ecs:RunTask"), 3);
}

#[tokio::test]
async fn a_message_that_comes_again_starts_nothing_again() {
    let (cloud, app) = with_job().await;
    let first = message(&cloud, SLOT);
    for now in [NOW, NOW + 1, NOW + 200, SLOT + 7200] {
        assert!(deliver(&app, &first, now).await);
        for task in &mut cloud.state().ecs.tasks {
            ended(task);
        }
    }
    assert_eq!(started(&cloud).len(), 1);
    let run = only_run(&app).await;
    assert!(deliver(&app, &message(&cloud, SLOT + 60), SLOT + 61).await);
    assert_eq!(started(&cloud).len(), 2);
    let runs = runs(&app).await;
    assert_eq!(runs.len(), 2);
    assert_ne!(runs[0].id.task_id(), run.id.task_id());
}

/// Delivers the message as SQS does, until it is done with or for the dead-letter queue, while the
/// sweeper sweeps, and long after.
async fn carry_through(app: &App, body: &str) {
    let mut done = false;
    for seconds in [0, 61, 122, 183, 366, 549, 732, 910, 971, 1600, 4300, 4361, 9000] {
        if seconds % 183 == 0 && !done {
            done = deliver(app, body, NOW + seconds).await;
        } else {
            // Some are in trouble themselves.
            drop(app.sweep(moment(NOW + seconds)).await);
        }
    }
}

/// One run, and exactly one task or a reason.
async fn assert_one_or_none(cloud: &Cloud, app: &App, what: &str) {
    let run = only_run(app).await;
    assert_eq!((run.trigger, run.scheduled_time), (Trigger::Schedule, Some(at(SLOT))), "{what}");
    let state = cloud.state();
    match &state.ecs.tasks[..] {
        [] => {
            assert_eq!(run.status, RunStatus::FailedToStart, "{what}");
            assert!(!run.stopped_reason.unwrap().is_empty(), "{what}");
        }
        [task] => assert_eq!(run.task_arn.as_deref(), task.task_arn(), "{what}"),
        tasks => panic!("{what}: {} tasks", tasks.len()),
    }
}

/// Any call in any trouble, and any two of them.
#[tokio::test]
async fn whatever_is_lost_there_is_one_task_or_a_reason() {
    for no_spot in [false, true] {
        let (cloud, app) = with_job().await;
        cloud.state().ecs.no_spot = no_spot;
        assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
        let calls = cloud.take_calls().len();
        for first in 0..calls {
            for trouble in Trouble::ALL {
                for second in [None, Some(0), Some(2)] {
                    let what = format!("{no_spot} {first} {trouble:?} {second:?}");
                    let (cloud, app) = with_job().await;
                    cloud.state().ecs.no_spot = no_spot;
                    let body = message(&cloud, SLOT);
                    cloud.trouble(first, trouble);
                    if let Some(skipped) = second {
                        cloud.trouble(first + 1 + skipped, Trouble::LostAfter);
                    }
                    carry_through(&app, &body).await;
                    assert!(cloud.has_failed(), "{what}");
                    assert_one_or_none(&cloud, &app, &what).await;
                }
            }
        }
    }
}

/// ECS takes a while to list a task: its client token finds it all the same, also when Spot has capacity
/// again.
#[tokio::test]
async fn a_task_on_demand_that_nobody_heard_of_is_found_by_its_token() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.no_spot = true;
    assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
    let calls = cloud.take_calls();
    let last = calls.iter().rposition(|call| call.operation == "ecs:RunTask").unwrap();

    let (cloud, app) = with_job().await;
    cloud.state().ecs.no_spot = true;
    cloud.lose(last, Effect::Done);
    assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
    assert_eq!(only_run(&app).await.task_arn, None);
    cloud.state().ecs.no_spot = false;
    cloud.state().ecs.lists_late = true;
    app.sweep(moment(NOW + 61)).await.unwrap();
    assert_one_or_none(&cloud, &app, "unlisted").await;
    assert!(only_run(&app).await.task_arn.is_some());
}

#[tokio::test]
async fn a_start_is_not_made_late() {
    let (cloud, app) = with_job().await;
    assert!(deliver(&app, &message(&cloud, SLOT), SLOT + 900).await);
    assert_eq!(count(&cloud, "ecs:RunTask"), 0);
    let run = only_run(&app).await;
    assert_eq!(run.status, RunStatus::FailedToStart);
    assert_eq!(
        run.stopped_reason.as_deref(),
        Some("not started: it was more than 15 minutes late")
    );
    assert_eq!((run.created_at, run.stopped_at), (at(SLOT), Some(at(SLOT + 900))));
    let job = stored(&app).await.unwrap();
    assert_eq!(job.recent_runs.newest(), Some(&run.summary()));
    sweep_for_an_hour(&app, SLOT + 900).await;
    assert_eq!(count(&cloud, "ecs:RunTask"), 0);

    assert!(deliver(&app, &message(&cloud, SLOT + 1), SLOT + 900).await);
    assert_eq!(count(&cloud, "ecs:RunTask"), 1);
}

/// He who wrote the run of a start that is not made may die before the job shows it.
#[tokio::test]
async fn a_start_that_is_not_made_is_shown_when_the_message_comes_again() {
    let (cloud, app) = with_job().await;
    cloud.fail("dynamodb:UpdateItem", 1, "InternalServerError", "later");
    let body = message(&cloud, SLOT);
    assert!(!deliver(&app, &body, SLOT + 900).await);
    assert_eq!(stored(&app).await.unwrap().recent_runs.newest(), None);
    assert!(deliver(&app, &body, SLOT + 1080).await);
    let run = only_run(&app).await;
    assert_eq!(stored(&app).await.unwrap().recent_runs.newest(), Some(&run.summary()));
    // It was told before it was written.
    let [detail] = &told(&cloud)[..] else { panic!("one event") };
    assert_tells(detail, &run);
}

/// A run that is written as ended is not come back to.
#[tokio::test]
async fn a_start_that_is_not_made_is_written_once_it_was_told() {
    let (cloud, app) = with_job().await;
    cloud.fail("events:PutEvents", 1, "InternalException", "later");
    let body = message(&cloud, SLOT);
    assert!(!deliver(&app, &body, SLOT + 900).await);
    assert_eq!(runs(&app).await, []);
    assert!(deliver(&app, &body, SLOT + 1080).await);
    assert_eq!(told(&cloud).len(), 1);
    assert_eq!(only_run(&app).await.status, RunStatus::FailedToStart);
}

#[tokio::test]
async fn a_start_of_a_job_that_is_gone_is_dropped() {
    let (cloud, app) = with_job().await;
    let body = message(&cloud, SLOT);
    // On its way out: a task keeps it.
    cloud.state().ecs.tasks.push(crate::task::running(BASE, "0a"));
    assert!(delete(&app, moment(SLOT)).await.unwrap().is_some());
    assert!(deliver(&app, &body, NOW).await);
    cloud.state().ecs.tasks.clear();
    // Gone.
    assert!(delete(&app, moment(SLOT)).await.unwrap().is_none());
    assert!(deliver(&app, &body, NOW).await);
    // Another one of the name.
    let mut wanted = definition();
    wanted["capacity"] = json!("spot_with_fallback");
    app.job_create(team(), wanted, moment(NOW)).await.unwrap();
    assert!(deliver(&app, &body, NOW).await);
    assert_eq!(count(&cloud, "ecs:RunTask"), 0);
    assert_eq!(runs(&app).await, []);
}

/// A pause holds, also for a start that was promised before it.
#[tokio::test]
async fn a_start_of_a_paused_job_is_not_made() {
    let (cloud, app) = with_job().await;
    app.job_set_enabled(&key(), false, moment(SLOT + 1)).await.unwrap();
    assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
    let run = only_run(&app).await;
    assert_eq!((run.status, run.scheduled_time), (RunStatus::Stopped, Some(at(SLOT))));
    assert!(run.stopped_reason.unwrap().contains("paused"));
    assert!(told(&cloud).is_empty());

    // And for one that waits for capacity.
    app.job_set_enabled(&key(), true, moment(SLOT + 10)).await.unwrap();
    let none = ("Capacity is unavailable at this time.", "no detail");
    cloud.state().ecs.run_failures.extend([none; 2]);
    assert!(deliver(&app, &message(&cloud, SLOT + 60), SLOT + 61).await);
    app.job_set_enabled(&key(), false, moment(SLOT + 70)).await.unwrap();
    app.sweep(moment(SLOT + 130)).await.unwrap();
    assert!(started(&cloud).is_empty());
    assert_eq!(runs(&app).await[0].status, RunStatus::Stopped);

    // But not for a run that somebody asks for.
    app.run_start(&key(), json!({}), moment(SLOT + 200)).await.unwrap();
    assert_eq!(started(&cloud).len(), 1);
}

/// The start was promised: it is made as starts are made now.
#[tokio::test]
async fn a_start_from_before_a_change_of_capacity_is_made_with_the_new_one() {
    for (capacity, spot) in [("spot", true), ("on_demand", false)] {
        let (cloud, app) = with_job().await;
        let body = message(&cloud, SLOT);
        patch(&app, json!({"capacity": capacity}), moment(SLOT + 1)).await.unwrap();
        assert!(deliver(&app, &body, NOW).await);
        let [start] = &started(&cloud)[..] else { panic!("one task") };
        assert_eq!(on_spot(start), spot, "{capacity}");
    }
}

/// As EventBridge would: with the revision and in the cluster that were applied last.
#[tokio::test]
async fn a_job_that_is_not_ready_is_started_as_it_was_applied() {
    let (cloud, app) = with_job().await;
    cloud.fail("ecs:RegisterTaskDefinition", 100, "AccessDeniedException", "no");
    patch(&app, json!({"image": "busybox:2"}), short_moment(60)).await.unwrap();
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Failed);
    assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
    let run = only_run(&app).await;
    assert_eq!(run.task_definition_arn, arn("ecs", &format!("task-definition/{BASE}:1")));
    assert_eq!(started(&cloud).len(), 1);
}

/// The same of the cluster: the one that the job names now was not looked at yet.
#[tokio::test]
async fn a_job_that_is_on_its_way_to_another_cluster_is_started_where_it_was() {
    let providers = ["FARGATE", "FARGATE_SPOT"].map(str::to_owned).to_vec();
    let shared = Cluster { capacity_providers: providers, ..Cluster::default() };
    let with_shared = async || {
        let (cloud, app) = with_job().await;
        cloud.state().ecs.clusters.insert("shared".to_owned(), shared.clone());
        (cloud, app)
    };
    let (cloud, app) = with_shared().await;
    patch(&app, json!({"cluster": "shared"}), short_moment(60)).await.unwrap();
    let calls = cloud.take_calls();
    let looks = calls.iter().enumerate().filter(|(_, one)| one.operation == "ecs:DescribeClusters");
    let (reconciling, _) = looks.collect::<Vec<_>>()[1];

    let (cloud, app) = with_shared().await;
    cloud.trouble(reconciling, Trouble::Denied);
    patch(&app, json!({"cluster": "shared"}), short_moment(60)).await.unwrap();
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Failed);
    assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
    let run = only_run(&app).await;
    assert_eq!(run.cluster_arn, arn("ecs", &format!("cluster/{BASE}")));
    assert_eq!(started(&cloud)[0].cluster(), Some(&*run.cluster_arn));
}

/// Nothing but a job's own rule makes such a message; should one come, it is told.
#[tokio::test]
async fn a_job_without_a_task_definition_has_a_run_that_says_so() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.fail("ecs:RegisterTaskDefinition", 100, "AccessDeniedException", "no");
    create(&app, short_moment(0)).await.unwrap();
    let job_id = stored(&app).await.unwrap().id;
    let body = json!({
        "team": "platform",
        "job": "nightly-report",
        "job_id": job_id,
        "scheduled_time": at(SLOT).to_string(),
    });
    assert!(deliver(&app, &body.to_string(), NOW).await);
    let run = only_run(&app).await;
    assert_eq!((run.status, run.task_definition_revision), (RunStatus::FailedToStart, 0));
    assert!(run.stopped_reason.unwrap().contains("no task definition"));
}

#[tokio::test]
async fn a_message_of_another_shape_comes_to_the_dead_letters() {
    let (cloud, app) = with_job().await;
    let start = message(&cloud, SLOT);
    let event = state("0a", 0, "RUNNING", 4).to_string();
    let starts = deployment().start_queue_arn;
    let events = arn("sqs", "events");
    let mut nameless: Value = serde_json::from_str(&start).unwrap();
    nameless["job"] = json!("No Name");
    for (queue, body, good) in [
        (&starts, start.as_str(), true),
        (&starts, &event, false),
        (&starts, "{}", false),
        (&starts, &nameless.to_string(), false),
        (&events, &event, true),
        (&events, &start, false),
    ] {
        assert_eq!(deliver_from(queue, &app, body, NOW).await, good, "{queue} {body}");
    }
}

/// Any order of the task's events, and any of them twice, ends in the same run, which knows why it was
/// started.
#[tokio::test]
async fn events_in_any_order_keep_why_and_when_a_run_was_to_start() {
    let states = [("PENDING", 2), ("RUNNING", 4), ("STOPPED", 7)];
    let mut ends = Vec::new();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [2, 2, 2]] {
        let (cloud, app) = with_job().await;
        assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
        let run = only_run(&app).await;
        for position in order {
            let (status, version) = states[position];
            app.ingest(&snapshot(&event_of(&run, status, version)), at(NOW)).await.unwrap();
            let known = only_run(&app).await;
            assert_eq!((&known.id, known.trigger), (&run.id, Trigger::Schedule));
            assert_eq!((known.scheduled_time, known.created_at), (Some(at(SLOT)), at(SLOT)));
        }
        let mut end = only_run(&app).await;
        assert_eq!(end.status, RunStatus::Failed);
        assert_eq!(end.capacity_provider.as_deref(), Some("FARGATE_SPOT"));
        let shown = stored(&app).await.unwrap().recent_runs.newest().cloned();
        assert_eq!(shown, Some(end.summary()));
        // Of a job of its own.
        end.id = run.id.clone();
        ends.push((end.stopped_at, end.containers, end.stop_code, end.version));
    }
    ends.dedup();
    assert_eq!(ends.len(), 1);
}

/// Whoever may run tasks can say of his that it is the run's.
#[tokio::test]
async fn a_strangers_task_does_not_take_the_runs_place() {
    let (cloud, app) = with_job().await;
    assert!(deliver(&app, &message(&cloud, SLOT), NOW).await);
    let run = only_run(&app).await;
    let mut event = event_of(&run, "STOPPED", 9);
    event["detail"]["taskArn"] = json!(arn("ecs", &format!("task/{BASE}/0b")));
    app.ingest(&snapshot(&event), at(NOW)).await.unwrap();
    let runs = runs(&app).await;
    assert_eq!(runs.len(), 2);
    let others: Vec<&Run> = runs.iter().filter(|one| one.id != run.id).collect();
    assert_eq!((others[0].trigger, others[0].scheduled_time), (Trigger::External, None));
    assert!(runs.contains(&run));
}

/// The rule and the role stay as they are; the target moves.
#[tokio::test]
async fn a_change_of_capacity_moves_the_target_only() {
    let (cloud, app) = with_job_of("on_demand").await;
    let queue = deployment().start_queue_arn;
    let cluster = arn("ecs", &format!("cluster/{BASE}"));
    for (capacity, to, has_role) in [
        ("spot_with_fallback", &queue, false),
        ("spot", &cluster, true),
        ("spot_with_fallback", &queue, false),
        ("on_demand", &cluster, true),
    ] {
        patch(&app, json!({"capacity": capacity}), moment(60)).await.unwrap();
        assert_eq!(cloud.take_writes(), ["events:PutTargets"], "{capacity}");
        let target = target(&cloud);
        assert_eq!(target.arn(), to, "{capacity}");
        assert_eq!(target.role_arn().is_some(), has_role, "{capacity}");
        assert_eq!(target.ecs_parameters().is_some(), has_role, "{capacity}");
    }
}
