//! A run is stopped: while it runs, before it has a task, and while that is being started.

use aws_sdk_dynamodb::types::AttributeValue;
use cronplane::app::{App, Stop};
use cronplane::domain::ids::RunId;
use cronplane::domain::run::{Run, RunStatus};
use cronplane::error::{Error, Result};
use serde_json::{Value, json};

use super::{end_tasks, is_anything_due, run, run_now, sweep_the_rest, tasks};
use crate::cloud::{Cloud, State, Trouble};
use crate::history::{apply_all, with_job};
use crate::job::{at, delete, key, moment};
use crate::task::{self, state};

async fn stop(app: &App, id: &RunId, seconds: i64) -> Result<Stop> {
    app.run_stop(&key(), id, json!({"reason": "enough"}), moment(seconds)).await
}

#[track_caller]
fn asked(stop: Result<Stop>) -> Run {
    match stop {
        Ok(Stop::Asked(view)) => view.run,
        other => panic!("not asked: {other:?}"),
    }
}

#[tokio::test]
async fn a_task_is_stopped_and_the_reason_told() {
    for (body, reason) in [
        (json!({}), "Stopped through Cronplane"),
        (json!({"reason": null}), "Stopped through Cronplane"),
        (json!({"reason": "It takes too long"}), "It takes too long"),
    ] {
        let (cloud, app) = with_job().await;
        let id = run_now(&app, moment(10)).await.unwrap().id;
        let stopping = asked(app.run_stop(&key(), &id, body, moment(20)).await);
        assert_eq!(stopping.status, RunStatus::Pending);
        let [task] = &tasks(&cloud)[..] else { panic!("one task") };
        assert_eq!((task.desired_status(), task.stopped_reason()), (Some("STOPPED"), Some(reason)));
        // Asked again, it only asks again.
        asked(stop(&app, &id, 21).await);
        end_tasks(&cloud);
        app.sweep(moment(700)).await.unwrap();
        let ended = run(&app, &id).await;
        assert_eq!(ended.status, RunStatus::Stopped);
        cloud.take_calls();
        let Ok(Stop::Ended(view)) = stop(&app, &id, 800).await else { panic!("it has ended") };
        assert_eq!(view.run, ended);
        assert_eq!(cloud.take_writes(), [""; 0]);
    }
}

/// Runs of all triggers can be stopped, those of a job that is on its way out too.
#[tokio::test]
async fn whatever_started_a_run_it_can_be_stopped() {
    let (cloud, app) = with_job().await;
    apply_all(&app, &[state("0a", 0, "RUNNING", 4)]).await;
    cloud.state().ecs.tasks.push(task::running(crate::job::BASE, "0a"));
    assert!(delete(&app, moment(5)).await.unwrap().is_some());
    let id = RunId::parse("20261123T140000-0a").unwrap();
    asked(stop(&app, &id, 10).await);
    assert_eq!(tasks(&cloud)[0].stopped_reason(), Some("enough"));

    // ECS has forgotten it: what became of it is told by others.
    cloud.state().ecs.tasks.clear();
    asked(stop(&app, &id, 11).await);
    let missing = RunId::parse("20261123T140000-0b").unwrap();
    assert!(matches!(stop(&app, &missing, 12).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_task_that_may_not_be_stopped_is_told_as_such() {
    let (cloud, app) = with_job().await;
    let id = run_now(&app, moment(10)).await.unwrap().id;
    cloud.fail("ecs:StopTask", 1, "AccessDeniedException", "not authorized: arn:secret");
    let Err(Error::Conflict(detail)) = stop(&app, &id, 20).await else { panic!("denied") };
    assert!(!detail.contains("secret"), "{detail}");
}

/// ECS may not find a task that it has just started: the stop is asked for again.
#[tokio::test]
async fn a_stop_of_a_task_that_ecs_does_not_find_yet_is_not_lost() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.now = 10;
    cloud.state().ecs.finds_late = true;
    let id = run_now(&app, moment(10)).await.unwrap().id;
    asked(stop(&app, &id, 11).await);
    assert_eq!(app.sweep(moment(70)).await.unwrap().runs, 0);
    assert_eq!(app.sweep(moment(72)).await.unwrap().failures, 0);
    assert_eq!(run(&app, &id).await.status, RunStatus::Pending);
    cloud.state().ecs.finds_late = false;
    app.sweep(moment(133)).await.unwrap();
    let [task] = &tasks(&cloud)[..] else { panic!("one task") };
    assert_eq!((task.desired_status(), task.stopped_reason()), (Some("STOPPED"), Some("enough")));
    sweep_the_rest(&cloud, &app, 133).await;
    assert_eq!(run(&app, &id).await.status, RunStatus::Stopped);

    // One that it has forgotten has ended.
    let (cloud, app) = with_job().await;
    cloud.state().ecs.now = 10;
    let id = run_now(&app, moment(10)).await.unwrap().id;
    cloud.state().ecs.finds_late = true;
    asked(stop(&app, &id, 100).await);
    app.sweep(moment(161)).await.unwrap();
    assert_eq!(run(&app, &id).await.status, RunStatus::Unknown);
}

/// An event replaces the whole of a run that EventBridge started, but not a stop.
#[tokio::test]
async fn a_stop_outlives_the_events_of_a_schedules_task() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.tasks.push(task::running(crate::job::BASE, "0a"));
    apply_all(&app, &[state("0a", 0, "PENDING", 2)]).await;
    cloud.state().ecs.finds_late = true;
    let id = RunId::parse("20261123T140000-0a").unwrap();
    asked(stop(&app, &id, 1).await);
    apply_all(&app, &[state("0a", 0, "RUNNING", 4)]).await;
    cloud.state().ecs.finds_late = false;
    app.sweep(moment(10)).await.unwrap();
    assert_eq!(tasks(&cloud)[0].stopped_reason(), Some("enough"));
}

#[tokio::test]
async fn a_stop_that_ecs_refuses_is_not_taken_for_done() {
    let (cloud, app) = with_job().await;
    let id = run_now(&app, moment(10)).await.unwrap().id;
    cloud.fail("ecs:StopTask", 1, "InvalidParameterException", "Invalid identifier.");
    let refused = stop(&app, &id, 20).await;
    assert!(matches!(refused, Err(Error::Aws(_))), "{refused:?}");
    assert_eq!(run(&app, &id).await.stop_requested, None);
}

/// A run that waits for capacity ends at once: nobody is at it.
#[tokio::test]
async fn a_run_that_waits_is_stopped_and_nothing_started() {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
    let id = run_now(&app, moment(10)).await.unwrap().id;
    let ended = asked(stop(&app, &id, 75).await);
    assert_eq!(
        (ended.status, ended.stopped_reason.as_deref()),
        (RunStatus::Stopped, Some("enough"))
    );
    assert_eq!(ended.stopped_at, Some(at(75)));
    assert!(!is_anything_due(&cloud));
    sweep_the_rest(&cloud, &app, 75).await;
    assert_eq!(tasks(&cloud), []);
}

/// While somebody has the launch to himself, the stop is left to him; should he have died, to the
/// sweeper. The first reason stays.
#[tokio::test]
async fn a_stop_before_the_launch_is_kept_by_whoever_comes_to_it() {
    for (trouble, status) in [
        // Nothing was started.
        (Trouble::LostBefore, RunStatus::Stopped),
        // Its task is there, and is stopped.
        (Trouble::LostAfter, RunStatus::Stopped),
    ] {
        let (cloud, app) = with_job().await;
        // The function dies at RunTask: it can't even say that it failed.
        cloud.trouble(2, trouble);
        cloud.trouble(3, Trouble::LostBefore);
        let id = run_now(&app, moment(10)).await.unwrap().id;
        let marked = asked(stop(&app, &id, 12).await);
        assert_eq!(marked.status, RunStatus::Pending, "{trouble:?}");
        asked(app.run_stop(&key(), &id, json!({"reason": "again"}), moment(13)).await);
        assert!(tasks(&cloud).iter().all(|task| task.desired_status() == Some("RUNNING")));
        for seconds in [61, 121] {
            app.sweep(moment(seconds)).await.unwrap();
        }
        for task in tasks(&cloud) {
            assert_eq!(task.stopped_reason(), Some("enough"), "{trouble:?}");
        }
        sweep_the_rest(&cloud, &app, 121).await;
        let ended = run(&app, &id).await;
        assert_eq!((ended.status, ended.stopped_reason.as_deref()), (status, Some("enough")));
        assert_eq!(tasks(&cloud).len(), usize::from(trouble == Trouble::LostAfter));
    }
}

/// The stop comes between RunTask and the write of what came of it: whoever started the task stops it,
/// and what was not started was not for want of a task.
#[tokio::test]
async fn a_stop_while_the_task_is_being_started_stops_it_at_once() {
    // What the other function writes that was asked to stop the run.
    let mark = |state: &mut State, id: &str| {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let stop = [("reason", text("enough")), ("at", text("2026-11-23T14:00:11Z"))];
        let stop = stop.map(|(name, value)| (name.to_owned(), value));
        let run = state.table.item_mut("RUNS#platform#nightly-report", id);
        run.insert("stop_requested".to_owned(), AttributeValue::M(stop.into()));
    };
    let (cloud, app) = with_job().await;
    cloud.state().ecs.meanwhile = Some(mark);
    let started = run_now(&app, moment(10)).await.unwrap();
    assert!(started.task_arn.is_some());
    let [task] = &tasks(&cloud)[..] else { panic!("one task") };
    assert_eq!((task.desired_status(), task.stopped_reason()), (Some("STOPPED"), Some("enough")));

    let (cloud, app) = with_job().await;
    cloud.state().ecs.meanwhile = Some(mark);
    cloud.state().ecs.run_failures.push_back(("MISSING", "refused for good"));
    let ended = run_now(&app, moment(10)).await.unwrap();
    assert_eq!(
        (ended.status, ended.stopped_reason.as_deref()),
        (RunStatus::Stopped, Some("enough"))
    );
    assert!(!is_anything_due(&cloud));
    assert_eq!(tasks(&cloud), []);
}

/// An event brings the task of a run that was to be stopped: the next sweep stops it.
#[tokio::test]
async fn a_stop_outlives_the_one_who_was_to_carry_it_out() {
    let (cloud, app) = with_job().await;
    cloud.trouble(2, Trouble::LostAfter);
    cloud.trouble(3, Trouble::LostBefore);
    let run = run_now(&app, moment(10)).await.unwrap();
    asked(stop(&app, &run.id, 12).await);
    let task_arn = tasks(&cloud)[0].task_arn.clone().unwrap();
    let (_, id) = task_arn.rsplit_once('/').unwrap();
    let mut event: Value = state(id, 11, "RUNNING", 4);
    event["detail"]["startedBy"] = json!(format!("cronplane/{}", run.id));
    apply_all(&app, &[event]).await;
    cloud.fail("ecs:StopTask", 1, "ThrottlingException", "Rate exceeded");
    assert_eq!(app.sweep(moment(61)).await.unwrap().failures, 1);
    assert_eq!(app.sweep(moment(122)).await.unwrap().failures, 0);
    assert_eq!(tasks(&cloud)[0].desired_status(), Some("STOPPED"));
    // Once it is seen on its way, it is looked at like any other.
    for (seconds, looked_at) in [(183, 1), (244, 0), (782, 0), (784, 1)] {
        assert_eq!(app.sweep(moment(seconds)).await.unwrap().runs, looked_at, "{seconds}");
    }
}

/// A stop and a sweep that starts the task, truly at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_and_a_launch_in_a_race_leave_nothing_running() {
    for round in 0..20 {
        let (cloud, app) = with_job().await;
        let sweeping = round % 2 == 0;
        if sweeping {
            cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
        }
        let id = run_now(&app, moment(10)).await.unwrap().id;
        let (one, other, wanted) = (app.clone(), app.clone(), id.clone());
        let launch = tokio::spawn(async move { one.sweep(moment(71)).await.unwrap() });
        let stopped = tokio::spawn(async move { stop(&other, &wanted, 71).await });
        launch.await.unwrap();
        asked(stopped.await.unwrap());
        app.sweep(moment(200)).await.unwrap();
        let running = tasks(&cloud);
        assert!(running.iter().all(|task| task.desired_status() == Some("STOPPED")), "{round}");
        sweep_the_rest(&cloud, &app, 200).await;
        assert_eq!(run(&app, &id).await.status, RunStatus::Stopped, "{round}");
        assert!(running.len() <= 1);
    }
}

/// Every call of a stop in turn.
#[tokio::test]
async fn whatever_call_of_a_stop_is_in_trouble_it_can_be_repeated() {
    for waiting in [false, true] {
        let made = async || {
            let (cloud, app) = with_job().await;
            if waiting {
                cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
            }
            let id = run_now(&app, moment(10)).await.unwrap().id;
            cloud.take_calls();
            (cloud, app, id)
        };
        let (clean, app, id) = made().await;
        asked(stop(&app, &id, 75).await);
        let calls = clean.take_calls();
        assert!(calls.len() >= 2, "{calls:?}");
        for (number, call) in calls.iter().enumerate() {
            for trouble in Trouble::ALL {
                let (cloud, app, id): (Cloud, App, RunId) = made().await;
                cloud.trouble(number, trouble);
                let first = stop(&app, &id, 75).await;
                assert!(cloud.has_failed());
                if first.is_err() {
                    drop(stop(&app, &id, 76).await.unwrap());
                }
                sweep_the_rest(&cloud, &app, 76).await;
                let ended = run(&app, &id).await;
                assert_eq!(ended.status, RunStatus::Stopped, "{call:?} {trouble:?}");
                assert_eq!(ended.stopped_reason.as_deref(), Some("enough"));
                assert_eq!(tasks(&cloud).len(), usize::from(!waiting), "{call:?} {trouble:?}");
                assert!(!is_anything_due(&cloud), "{call:?} {trouble:?}");
            }
        }
    }
}
