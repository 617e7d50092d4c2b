//! Events of a run's task: in any order, before our own write, and of tasks that only say so.

use cronplane::app::App;
use cronplane::domain::run::{Run, RunStatus, Trigger};
use serde_json::{Value, json};

use super::{is_anything_due, run, run_now, runs, sweep_the_rest, tasks};
use crate::cloud::{Cloud, Trouble};
use crate::history::{apply_all, run_items, with_job};
use crate::job::{BASE, at, delete, moment};
use crate::task::{STATES, state};

/// An event of a task that says to be of the run.
fn event(run: &Run, task: &str, status: &str, version: i64) -> Value {
    let mut event = state(task, 15, status, version);
    event["detail"]["startedBy"] = json!(format!("cronplane/{}", run.id));
    event
}

fn task_id(cloud: &Cloud) -> String {
    let tasks = tasks(cloud);
    let (_, id) = tasks[0].task_arn().unwrap().rsplit_once('/').unwrap();
    id.to_owned()
}

/// The run as it was asked for and its task started, the answer lost or not.
async fn started(trouble: Option<Trouble>) -> (Cloud, App, Run) {
    let (cloud, app) = with_job().await;
    if let Some(trouble) = trouble {
        cloud.trouble(2, trouble);
    }
    let run = run_now(&app, moment(10)).await.unwrap();
    (cloud, app, run)
}

#[tokio::test]
async fn events_in_any_order_and_number_are_the_run_that_was_asked_for() {
    let all: Vec<(&str, i64)> = STATES.into_iter().zip(2..).collect();
    let mut orders = vec![all.clone(), all.iter().rev().copied().collect()];
    for turn in 1..all.len() {
        let mut turned = all.clone();
        turned.rotate_left(turn);
        turned.extend(all.iter().step_by(2));
        orders.push(turned);
    }
    for order in orders {
        for trouble in [None, Some(Trouble::LostAfter)] {
            let (cloud, app, asked) = started(trouble).await;
            let task = task_id(&cloud);
            for (status, version) in &order {
                apply_all(&app, &[event(&asked, &task, status, *version)]).await;
            }
            let [ended] = &runs(&app).await[..] else { panic!("one run: {order:?}") };
            assert_eq!((&ended.id, ended.created_at), (&asked.id, at(10)), "{order:?}");
            assert_eq!((ended.trigger, ended.status), (Trigger::Manual, RunStatus::Failed));
            assert_eq!((ended.version, ended.stopped), (9, 1));
            assert_eq!(ended.task_arn, tasks(&cloud)[0].task_arn);
            assert_eq!((&ended.launch, ended.stopped_reason.is_some()), (&None, true));
            assert_eq!(ended.started_at, Some(at(35)));
            assert!(!is_anything_due(&cloud));
        }
    }
}

/// The event comes while the answer of RunTask is lost: the sweeper has nothing left to do.
#[tokio::test]
async fn an_event_before_our_own_write_is_the_run() {
    let (cloud, app, asked) = started(Some(Trouble::LostAfter)).await;
    assert_eq!(asked.task_arn, None);
    apply_all(&app, &[event(&asked, &task_id(&cloud), "RUNNING", 4)]).await;
    let running = run(&app, &asked.id).await;
    assert_eq!((running.status, running.version), (RunStatus::Running, 4));
    cloud.take_calls();
    app.sweep(moment(71)).await.unwrap();
    assert!(cloud.take_calls().iter().all(|call| call.operation != "ecs:RunTask"));
    assert_eq!(runs(&app).await.len(), 1);
}

/// Whoever may run tasks can say that his is of any run.
#[tokio::test]
async fn a_strangers_task_is_not_the_run_that_it_claims() {
    let (cloud, app, asked) = started(None).await;
    let before = run(&app, &asked.id).await;
    apply_all(&app, &[event(&asked, "0f", "STOPPED", 99)]).await;
    assert_eq!(run(&app, &asked.id).await, before);
    let [first, second] = &runs(&app).await[..] else { panic!("two runs") };
    let stranger = if first.id == asked.id { second } else { first };
    assert_eq!((stranger.id.as_str(), stranger.trigger), ("20261123T140015-0f", Trigger::External));

    // Of runs that a schedule started, that nobody asked for, and of things that are no runs.
    apply_all(&app, &[state("0a", 100, "RUNNING", 4)]).await;
    for (number, claimed) in
        ["20261123T140140-0a", "20261123T140000-00", "x", "", "20261123T140000-"].iter().enumerate()
    {
        let task = format!("e{number}");
        let mut event = state(&task, 200, "STOPPED", 7);
        event["detail"]["startedBy"] = json!(format!("cronplane/{claimed}"));
        apply_all(&app, &[event]).await;
        let id = format!("20261123T140320-{task}");
        let found = runs(&app).await.into_iter().find(|run| run.id.as_str() == id).unwrap();
        assert_eq!(found.trigger, Trigger::External, "{claimed}");
    }
    let scheduled = runs(&app).await.into_iter().find(|run| run.id.task_id() == "0a").unwrap();
    assert_eq!((scheduled.trigger, scheduled.status), (Trigger::Schedule, RunStatus::Running));
    assert_eq!(run_items(&cloud).len(), 8);
}

/// A task of another family is not looked at, whatever it says, also where ECS is asked for it.
#[tokio::test]
async fn a_task_of_another_family_is_not_found_as_the_runs() {
    let (cloud, app, asked) = started(Some(Trouble::LostBefore)).await;
    let mut foreign = crate::task::running("somebody", "0f");
    foreign.cluster_arn = Some(crate::cloud::arn("ecs", &format!("cluster/{BASE}")));
    foreign.started_by = Some(format!("cronplane/{}", asked.id));
    cloud.state().ecs.tasks.push(foreign);
    app.sweep(moment(71)).await.unwrap();
    let started = run(&app, &asked.id).await;
    assert_eq!(started.task_arn, tasks(&cloud)[1].task_arn);
    assert_eq!(tasks(&cloud).len(), 2);
}

/// The last word is ECS's: a task that comes after the run was given up is its task.
#[tokio::test]
async fn the_word_of_a_late_task_counts() {
    let (cloud, app) = with_job().await;
    cloud.fail("ecs:RunTask", 1, "AccessDeniedException", "no");
    let ended = run_now(&app, moment(10)).await.unwrap();
    assert_eq!(ended.status, RunStatus::FailedToStart);
    apply_all(&app, &[event(&ended, "0a", "RUNNING", 4)]).await;
    let running = run(&app, &ended.id).await;
    assert_eq!((running.status, running.stopped_at), (RunStatus::Running, None));
    assert_eq!(running.stopped_reason, None);
    assert!(is_anything_due(&cloud));
}

/// Of a job that is gone, a run that was asked for is brought to its end.
#[tokio::test]
async fn the_run_of_a_deleted_job_is_ended() {
    let (cloud, app, asked) = started(None).await;
    let task = task_id(&cloud);
    super::end_tasks(&cloud);
    assert!(delete(&app, moment(20)).await.unwrap().is_none());
    apply_all(&app, &[event(&asked, &task, "STOPPED", 9), event(&asked, "0f", "STOPPED", 9)]).await;
    let [ended] = &runs(&app).await[..] else { panic!("one run") };
    assert_eq!((&ended.id, ended.status), (&asked.id, RunStatus::Failed));
    sweep_the_rest(&cloud, &app, 20).await;
}
