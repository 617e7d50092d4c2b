//! Every call of a launch in trouble in turn, and what becomes of the run. The calls are counted, not
//! listed: what a later version calls is in it.

use cronplane::app::App;
use cronplane::domain::run::RunStatus;

use super::{is_anything_due, run_now, runs, sweep_the_rest, tasks};
use crate::cloud::{Call, Cloud, Trouble};
use crate::history::with_job;
use crate::job::{moment, stored};

/// One task and its run, or none and why.
async fn assert_settled(cloud: &Cloud, app: &App, what: &str) {
    let runs = runs(app).await;
    let [run] = &runs[..] else { panic!("{what}: {} runs", runs.len()) };
    assert!(run.status.is_final(), "{what}: {run:?}");
    match &tasks(cloud)[..] {
        [task] => {
            assert_eq!(run.status, RunStatus::Succeeded, "{what}");
            assert_eq!(run.task_arn, task.task_arn, "{what}");
        }
        [] => {
            assert_eq!(run.status, RunStatus::FailedToStart, "{what}");
            assert!(run.stopped_reason.is_some(), "{what}");
        }
        more => panic!("{what}: {} tasks", more.len()),
    }
    assert!(!is_anything_due(cloud), "{what}");
    assert!(run.launch.is_none(), "{what}");
}

#[tokio::test]
async fn whatever_call_of_a_run_now_is_in_trouble_there_is_one_task_or_a_reason() {
    let (clean, app) = with_job().await;
    run_now(&app, moment(10)).await.unwrap();
    let calls = clean.take_calls();
    assert!(calls.len() >= 5, "{calls:?}");
    for (number, call) in calls.iter().enumerate() {
        for trouble in Trouble::ALL {
            let what = format!("{call:?} {trouble:?}");
            let (cloud, app) = with_job().await;
            cloud.trouble(number, trouble);
            let answer = run_now(&app, moment(10)).await;
            assert!(cloud.has_failed());
            let refused = (call.operation, trouble) == ("ecs:RunTask", Trouble::Denied);
            if runs(&app).await.is_empty() {
                assert!(answer.is_err(), "{what}");
                assert_eq!(tasks(&cloud), [], "{what}");
                run_now(&app, moment(10)).await.unwrap();
            }
            sweep_the_rest(&cloud, &app, 10).await;
            assert_settled(&cloud, &app, &what).await;
            assert_eq!(tasks(&cloud).len(), usize::from(!refused), "{what}");
            if !refused {
                let shown = stored(&app).await.unwrap().recent_runs.newest().cloned().unwrap();
                assert_eq!(shown.status, RunStatus::Succeeded, "{what}");
            }
        }
    }
}

/// The same of the sweeper's, which looks for a task first: the answer of the first RunTask is lost,
/// with its effect or before it.
#[tokio::test]
async fn whatever_call_of_a_sweep_is_in_trouble_there_is_one_task_or_a_reason() {
    for first in [Trouble::LostBefore, Trouble::LostAfter] {
        let made = async || {
            let (cloud, app) = with_job().await;
            cloud.trouble(2, first);
            run_now(&app, moment(10)).await.unwrap();
            cloud.take_calls();
            (cloud, app)
        };
        let (clean, app) = made().await;
        app.sweep(moment(71)).await.unwrap();
        // The four shards of the index are not the launch's.
        let queries = |call: &&Call| call.operation == "dynamodb:Query";
        let calls = clean.take_calls();
        let skipped = calls.iter().take_while(queries).count();
        assert!(calls.len() > skipped + 4, "{calls:?}");
        for (number, call) in calls.iter().enumerate().skip(skipped) {
            for trouble in Trouble::ALL {
                let what = format!("{first:?}, then {call:?} {trouble:?}");
                let (cloud, app) = made().await;
                cloud.trouble(number, trouble);
                app.sweep(moment(71)).await.unwrap();
                assert!(cloud.has_failed(), "{what}");
                sweep_the_rest(&cloud, &app, 71).await;
                assert_settled(&cloud, &app, &what).await;
                let refused = (call.operation, trouble) == ("ecs:RunTask", Trouble::Denied);
                assert_eq!(tasks(&cloud).len(), usize::from(!refused), "{what}");
            }
        }
    }
}

/// Whoever is at the same items is waited for, a few times.
#[tokio::test]
async fn a_conflict_of_transactions_passes() {
    let (cloud, app) = with_job().await;
    cloud.state().table.conflicts = 3;
    run_now(&app, moment(10)).await.unwrap();
    assert_eq!(tasks(&cloud).len(), 1);
    cloud.state().table.conflicts = 1000;
    let refused = run_now(&app, moment(20)).await;
    let Err(error) = &refused else { panic!("{refused:?}") };
    assert!(matches!(error, cronplane::error::Error::Busy(_)), "{error:?}");
    assert!(error.to_string().contains("job `nightly-report`, to which other requests"), "{error}");
    // A write of the job that meets one is tried again too.
    cloud.state().table.conflicts = 0;
    cloud.fail("dynamodb:UpdateItem", 2, "TransactionConflictException", "ongoing");
    crate::job::patch(&app, serde_json::json!({"image": "busybox:2"}), moment(30)).await.unwrap();
    assert_eq!(stored(&app).await.unwrap().generation, 2);
}

/// Also where an item is put or deleted, alone or with the count of its team's jobs.
#[tokio::test]
async fn a_transaction_in_the_way_of_a_put_or_a_delete_passes() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.state().table.conflicts = 2;
    crate::job::create(&app, moment(0)).await.unwrap();
    assert_eq!(cloud.state().table.conflicts, 0);
    cloud.fail("dynamodb:PutItem", 2, "TransactionConflictException", "ongoing");
    let event = crate::task::state("0a", 0, "STOPPED", 7);
    app.ingest(&crate::task::snapshot(&event), crate::job::at(0)).await.unwrap();
    assert!(cloud.has_failed());
    cloud.state().table.conflicts = 2;
    assert!(crate::job::delete(&app, moment(10)).await.unwrap().is_none());
    assert_eq!(cloud.state().table.conflicts, 0);
    assert_eq!(app.store.team_get(&crate::job::team()).await.unwrap().unwrap().jobs, 0);
}
