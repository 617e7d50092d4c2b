//! Runs whose last event never came.

use cronplane::app::RunsWanted;
use cronplane::domain::run::{Run, RunStatus, Trigger};
use serde_json::{Value, json};

use super::{apply_all, newest, only_run, run_items, runs, time, with_job};
use crate::cloud::Effect;
use crate::job::{BASE, at, moment};
use crate::task::{self, snapshot, state};

#[tokio::test]
async fn a_run_that_has_ended_is_not_looked_after_any_more() {
    let (cloud, app) = with_job().await;
    apply_all(&app, &[state("0a", 0, "RUNNING", 4)]).await;
    let [running] = &run_items(&cloud)[..] else {
        panic!("one run");
    };
    // Ten minutes without news.
    assert_eq!(running["due_at"].as_n().unwrap(), &at(600).as_second().to_string());
    // 400 days from its creation.
    let expires = at(0).as_second() + 400 * 86_400;
    assert_eq!(running["expires_at"].as_n().unwrap(), &expires.to_string());
    apply_all(&app, &[state("0a", 0, "STOPPED", 7)]).await;
    let [ended] = &run_items(&cloud)[..] else {
        panic!("one run");
    };
    assert!(!ended.contains_key("due_at") && !ended.contains_key("due_shard"));
    assert_eq!(ended["expires_at"].as_n().unwrap(), &expires.to_string());
    assert_eq!(app.sweep(moment(7200)).await.unwrap().runs, 0);
}

#[tokio::test]
async fn a_run_whose_last_event_never_came_is_repaired() {
    let (cloud, app) = with_job().await;
    let running = state("0a", 0, "RUNNING", 4);
    apply_all(&app, std::slice::from_ref(&running)).await;
    let mut ended = task::running(BASE, "0a");
    task::ended(&mut ended);
    cloud.state().ecs.tasks.push(ended);

    assert_eq!(app.sweep(moment(599)).await.unwrap().runs, 0);
    let swept = app.sweep(moment(601)).await.unwrap();
    assert_eq!((swept.runs, swept.failures), (1, 0));
    let run = only_run(&app).await;
    assert_eq!((run.status, run.version), (RunStatus::Succeeded, 5));
    assert_eq!(run.trigger, Trigger::Schedule);
    let shown = newest(&app).await;
    assert_eq!(shown.status, RunStatus::Succeeded);
    assert_eq!(app.sweep(moment(7200)).await.unwrap().runs, 0);
}

/// What DescribeTasks tells and what the events tell is the same run.
#[tokio::test]
async fn a_repair_and_an_event_give_the_same_run() {
    let (cloud, app) = with_job().await;
    let mut task = task::running(BASE, "0a");
    apply_all(&app, &[state("0a", 0, "PENDING", 2)]).await;
    task.overrides = Some(
        aws_sdk_ecs::types::TaskOverride::builder()
            .container_overrides(
                aws_sdk_ecs::types::ContainerOverride::builder()
                    .name("main")
                    .environment(
                        aws_sdk_ecs::types::KeyValuePair::builder()
                            .name("SCHEDULED_TIME")
                            .value("2020-01-23T17:57:00Z")
                            .build(),
                    )
                    .build(),
            )
            .build(),
    );
    cloud.state().ecs.tasks.push(task);
    app.sweep(moment(601)).await.unwrap();
    let repaired = only_run(&app).await;
    let mut told = Run::of_task(&snapshot(&state("0a", 0, "RUNNING", 4)), Trigger::Schedule);
    assert_eq!(repaired.overrides, told.overrides);
    assert_eq!(repaired.scheduled_time, Some(time("2020-01-23T17:57:00Z")));
    // These the fake does not know.
    told.containers = repaired.containers.clone();
    told.pull_started_at = None;
    told.pull_stopped_at = None;
    assert_eq!(repaired, told);
}

#[tokio::test]
async fn a_run_that_goes_on_is_looked_at_again() {
    let (cloud, app) = with_job().await;
    apply_all(&app, &[state("0a", 0, "RUNNING", 4)]).await;
    cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
    for (seconds, runs) in [(601, 1), (1200, 0), (1202, 1), (1203, 0)] {
        assert_eq!(app.sweep(moment(seconds)).await.unwrap().runs, runs, "{seconds}");
        assert_eq!(only_run(&app).await.status, RunStatus::Running);
    }
}

#[tokio::test]
async fn a_run_that_ecs_forgot_is_closed_and_a_late_event_still_counts() {
    let (_, app) = with_job().await;
    let running = state("0a", 0, "RUNNING", 4);
    apply_all(&app, std::slice::from_ref(&running)).await;
    app.sweep(moment(601)).await.unwrap();
    let run = only_run(&app).await;
    assert_eq!(run.status, RunStatus::Unknown);
    assert!(run.stopped_reason.unwrap().contains("ECS no longer knows this task"));
    let shown = newest(&app).await;
    assert_eq!(shown.status, RunStatus::Unknown);
    assert_eq!(app.sweep(moment(7200)).await.unwrap().runs, 0);

    // An event that was told before changes nothing, neither of the run nor of what the job shows.
    apply_all(&app, &[running]).await;
    assert_eq!(only_run(&app).await.status, RunStatus::Unknown);
    let shown = newest(&app).await;
    assert_eq!(shown.status, RunStatus::Unknown);

    apply_all(&app, &[state("0a", 0, "STOPPED", 7)]).await;
    assert_eq!(only_run(&app).await.status, RunStatus::Failed);
    let shown = newest(&app).await;
    assert_eq!(shown.status, RunStatus::Failed);
}

/// A run that is closed is not due again: what the job shows must not be left behind, whichever call
/// of the sweep fails.
#[tokio::test]
async fn a_run_is_closed_and_its_job_shows_it() {
    for effect in [Effect::None, Effect::Done] {
        for skipped in 0.. {
            let (cloud, app) = with_job().await;
            apply_all(&app, &[state("0a", 0, "RUNNING", 4)]).await;
            cloud.lose(skipped, effect);
            drop(app.sweep(moment(601)).await);
            if !cloud.has_failed() {
                assert!(skipped > 5, "{skipped}");
                break;
            }
            app.sweep(moment(1202)).await.unwrap();
            assert_eq!(newest(&app).await.status, RunStatus::Unknown, "{skipped} {effect:?}");
            assert_eq!(only_run(&app).await.status, RunStatus::Unknown, "{skipped} {effect:?}");
        }
    }
}

/// The runs of a cluster that is gone are closed, and one that can't be asked about hides no other.
#[tokio::test]
async fn a_sweep_goes_on_past_what_it_can_not_settle() {
    let (cloud, app) = with_job().await;
    let mut elsewhere = state("0b", 0, "RUNNING", 4);
    let cluster = "arn:aws:ecs:us-west-2:111122223333:cluster/gone";
    elsewhere["detail"]["clusterArn"] = json!(cluster);
    apply_all(&app, &[state("0a", 0, "RUNNING", 4), elsewhere]).await;
    cloud.fail("ecs:DescribeTasks", 1, "ServerException", "Service Unavailable.");
    let swept = app.sweep(moment(601)).await.unwrap();
    assert_eq!((swept.runs, swept.failures), (2, 1));
    // What failed is not tried every minute: it would stand in the way of what is due behind it.
    assert_eq!(app.sweep(moment(661)).await.unwrap().runs, 0);
    let swept = app.sweep(moment(1202)).await.unwrap();
    assert_eq!((swept.runs, swept.failures), (1, 0));
    for run in runs(&app, RunsWanted::default()).await {
        assert_eq!(run.status, RunStatus::Unknown);
    }
}

/// A hundred tasks are asked about in one call, and more in more.
#[tokio::test]
async fn many_runs_are_asked_about_together() {
    let (cloud, app) = with_job().await;
    let events: Vec<Value> =
        (0..101).map(|number| state(&format!("{number:032x}"), 0, "RUNNING", 4)).collect();
    apply_all(&app, &events).await;
    cloud.take_calls();
    assert_eq!(app.sweep(moment(601)).await.unwrap().runs, 101);
    let calls = cloud.take_calls();
    let asked = calls.iter().filter(|call| call.operation == "ecs:DescribeTasks");
    assert_eq!(asked.count(), 2);
}
