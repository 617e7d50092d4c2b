//! One event, or a batch of them.

use cronplane::app::RunsWanted;
use cronplane::domain::run::{RunStatus, Trigger};
use serde_json::{Value, json};

use super::{apply, apply_all, newest, only_run, run_items, runs, time, with_job};
use crate::job::{BASE, at, delete, moment, stored};
use crate::task::{self, event, state};

const TASK: &str = "c13b4cb40f1f4fe4a2971f76ae5a47ad";

#[tokio::test]
async fn every_field_of_a_run_is_read_from_its_last_event() {
    let (_, app) = with_job().await;
    apply_all(&app, &[event("exit-1")]).await;
    let run = only_run(&app).await;
    let wanted = json!({
        "id": format!("20200123T175734-{TASK}"),
        "trigger": "schedule",
        "status": "failed",
        "scheduled_time": "2020-01-23T17:57:00Z",
        "created_at": "2020-01-23T17:57:34.402Z",
        "pull_started_at": "2020-01-23T17:57:52.103Z",
        "pull_stopped_at": "2020-01-23T17:57:55.103Z",
        "started_at": "2020-01-23T17:57:58.103Z",
        "stopping_at": "2020-01-23T18:02:01.5Z",
        "execution_stopped_at": "2020-01-23T18:02:01Z",
        "stopped_at": "2020-01-23T18:02:24.71Z",
        "containers": [{
            "name": "main",
            "exit_code": 1,
            "image": "111122223333.dkr.ecr.us-west-2.amazonaws.com/hello-repository:latest",
            "image_digest":
                "sha256:74b2c688c700ec95a93e478cdb959737c148df3fbf5ea706abe0318726e885e6",
        }],
        "stop_code": "EssentialContainerExited",
        "stopped_reason": "Essential container in task exited",
        "task_arn": format!("arn:aws:ecs:us-west-2:111122223333:task/{BASE}/{TASK}"),
        "cluster_arn": format!("arn:aws:ecs:us-west-2:111122223333:cluster/{BASE}"),
        "task_definition_arn":
            format!("arn:aws:ecs:us-west-2:111122223333:task-definition/{BASE}:1"),
        "task_definition_revision": 1,
        "started_by": "events-rule/cronplane_platform_nightly-rep",
        "cpu": 256,
        "memory": 512,
        "capacity_provider": "FARGATE",
        "overrides": {"containerOverrides": [{
            "name": "main",
            "environment": [{"name": "SCHEDULED_TIME", "value": "2020-01-23T17:57:00Z"}],
        }]},
        "stopped": 1,
        "version": 7,
        "task_created_at": "2020-01-23T17:57:34.402Z",
    });
    assert_eq!(serde_json::to_value(&run).unwrap(), wanted);

    let shown = newest(&app).await;
    assert_eq!((shown.id.clone(), shown.status), (run.id, RunStatus::Failed));
    assert_eq!(shown.exit_code, Some(1));
    assert_eq!(shown.scheduled_time, Some(time("2020-01-23T17:57:00Z")));
    assert_eq!(shown.stopped_at, Some(time("2020-01-23T18:02:24.71Z")));
}

#[tokio::test]
async fn each_event_has_its_status() {
    for (name, status, trigger) in [
        ("running", RunStatus::Running, Trigger::External),
        ("exit-1", RunStatus::Failed, Trigger::Schedule),
        ("sidecar-143", RunStatus::Succeeded, Trigger::Schedule),
        ("failed-to-start", RunStatus::FailedToStart, Trigger::Schedule),
        // AWS says what is going to happen; the task still runs.
        ("spot-warning", RunStatus::Running, Trigger::Schedule),
    ] {
        let (_, app) = with_job().await;
        apply_all(&app, &[event(name)]).await;
        let run = only_run(&app).await;
        assert_eq!((run.status, run.trigger), (status, trigger), "{name}");
        let spot = name == "spot-warning";
        let capacity = if spot { "FARGATE_SPOT" } else { "FARGATE" };
        assert_eq!(run.capacity_provider.as_deref(), Some(capacity), "{name}");
        if name == "failed-to-start" {
            assert_eq!(run.main_container().unwrap().exit_code, None);
            let reason = run.containers[0].reason.clone().unwrap();
            assert!(reason.starts_with("CannotPullContainerError"), "{reason}");
            assert!(run.stopped_reason.unwrap().contains("\"nope\""));
        }
    }
}

#[tokio::test]
async fn the_trigger_is_told_by_who_started_the_task() {
    for (started_by, trigger, slot) in [
        (json!(task::started_by(BASE)), Trigger::Schedule, true),
        // Of a run that nobody asked for.
        (json!("cronplane/20261123T140000-0a"), Trigger::External, false),
        (json!("events-rule/cronplane_platform_other-job-of"), Trigger::External, false),
        (json!("somebody"), Trigger::External, false),
        (Value::Null, Trigger::External, false),
    ] {
        let (_, app) = with_job().await;
        let mut event = event("exit-1");
        event["detail"]["startedBy"] = started_by;
        apply_all(&app, &[event]).await;
        let run = only_run(&app).await;
        assert_eq!(run.trigger, trigger);
        // An override that somebody else set promises nothing.
        assert_eq!(run.scheduled_time.is_some(), slot);
    }
}

#[tokio::test]
async fn a_task_of_somebody_else_costs_no_call() {
    let (cloud, app) = with_job().await;
    for family in [
        "sample-fargate",
        "other_platform_nightly-report",
        "cronplane_platform",
        "cronplane_platform_nightly-report_x",
        "cronplane-two_platform_nightly-report",
    ] {
        let mut event = event("exit-1");
        let arn = format!("arn:aws:ecs:us-west-2:111122223333:task-definition/{family}:1");
        event["detail"]["taskDefinitionArn"] = json!(arn);
        apply_all(&app, &[event]).await;
        assert_eq!(cloud.take_calls(), [], "{family}");
    }
}

#[tokio::test]
async fn of_a_job_that_is_gone_runs_are_ended_but_none_is_begun() {
    let (cloud, app) = with_job().await;
    apply_all(&app, &[state("0a", 0, "RUNNING", 4)]).await;
    assert!(delete(&app, moment(100)).await.unwrap().is_none());

    apply_all(&app, &[state("0a", 0, "STOPPED", 7), state("0b", 60, "RUNNING", 4)]).await;
    let run = only_run(&app).await;
    assert_eq!((run.id.task_id(), run.status), ("0a", RunStatus::Failed));
    // No job is made by showing a run on it.
    assert!(stored(&app).await.is_none());
    assert_eq!(run_items(&cloud).len(), 1);
}

#[tokio::test]
async fn a_poison_message_fails_alone() {
    let (_, app) = with_job().await;
    let mut not_an_event = event("exit-1");
    not_an_event["source"] = json!("my.source");
    let mut no_version = event("exit-1");
    no_version["detail"]["version"] = Value::Null;
    let mut no_task = event("exit-1");
    no_task["detail"]["taskArn"] = json!("arn:aws:ecs:us-west-2:111122223333:task/c/../../x y");
    let bodies: Vec<String> = [
        state("0a", 0, "RUNNING", 4).to_string(),
        "poison".to_owned(),
        String::new(),
        not_an_event.to_string(),
        no_version.to_string(),
        no_task.to_string(),
        state("0b", 0, "RUNNING", 4).to_string(),
    ]
    .into();
    assert_eq!(apply(&app, &bodies, at(0)).await, [1, 2, 3, 4, 5]);
    assert_eq!(runs(&app, RunsWanted::default()).await.len(), 2);
}

#[tokio::test]
async fn a_message_that_the_table_refuses_comes_again() {
    let (cloud, app) = with_job().await;
    for (version, operation) in
        (4..).zip(["dynamodb:PutItem", "dynamodb:GetItem", "dynamodb:UpdateItem"])
    {
        let bodies: Vec<String> =
            ["0a", "0b"].map(|id| state(id, 0, "RUNNING", version).to_string()).into();
        cloud.fail(operation, 1, "ProvisionedThroughputExceededException", "later");
        assert_eq!(apply(&app, &bodies, at(0)).await, [0], "{operation}");
        assert_eq!(apply(&app, &bodies[..1], at(0)).await, [0; 0]);
    }
    assert_eq!(runs(&app, RunsWanted::default()).await.len(), 2);
    let shown = stored(&app).await.unwrap().recent_runs;
    let shown: Vec<_> = shown.runs().iter().map(|run| (run.id.task_id(), run.version)).collect();
    assert_eq!(shown, [("0b", 6), ("0a", 6)]);
}

#[tokio::test]
async fn an_event_may_hold_what_is_not_known_here_and_times_of_any_precision() {
    let (_, app) = with_job().await;
    let mut event = event("exit-1");
    event["detail"]["futureField"] = json!({"deep": [1, 2, {}]});
    event["detail"]["containers"][0]["gpuIds"] = json!([]);
    event["detail"]["stoppedAt"] = json!("2020-01-23T18:02:24.123456789Z");
    event["detail"]["startedAt"] = json!("2020-01-23T17:57:58Z");
    apply_all(&app, &[event]).await;
    let run = only_run(&app).await;
    assert_eq!(run.stopped_at, Some(time("2020-01-23T18:02:24.123456789Z")));
    assert_eq!(run.started_at, Some(time("2020-01-23T17:57:58Z")));
}
