//! Under which conditions a run that is asked for, and a key, are written.

use cronplane::domain::ids::{JobName, RunId};
use cronplane::domain::run::{Run, RunStatus, StopRequest};
use cronplane::store::{KeyRecord, Keyed, Made, Requested, RunWith, Told};

use super::run_now;
use crate::cloud::Cloud;
use crate::history::with_job;
use crate::job::{JOB, at, delete, key, moment, stored, team};

fn keyed() -> Keyed {
    Keyed { team: team(), hash: "0f".repeat(32) }
}

fn record(locked_until: i64) -> KeyRecord {
    KeyRecord {
        fingerprint: "one".to_owned(),
        locked_until: Some(at(locked_until).as_second()),
        job: JobName::parse(JOB).unwrap(),
        made: Made::Run(RunId::parse("20261123T140000-0a").unwrap()),
        answer: None,
        expires_at: at(1000).as_second(),
    }
}

/// A run that waits for its task.
async fn waiting() -> (Cloud, cronplane::app::App, Run) {
    let (cloud, app) = with_job().await;
    cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
    let run = run_now(&app, moment(10)).await.unwrap();
    (cloud, app, run)
}

#[tokio::test]
async fn a_run_is_written_only_for_the_job_that_stays() {
    let (cloud, app, run) = waiting().await;
    let job_id = stored(&app).await.unwrap().id;
    let other = |unique| Run { id: RunId::of_request(at(20), unique), ..run.clone() };
    let request = async |run: &Run, id: &str, record: Option<&KeyRecord>| {
        let keyed = keyed();
        let with = RunWith { keyed: record.map(|record| (&keyed, record)), ..RunWith::default() };
        app.store.run_request(&key(), run, id, at(1000), at(80), &with).await.unwrap()
    };
    assert_eq!(request(&other("0a"), "another job", None).await, Requested::JobGone);
    assert_eq!(request(&other("0a"), &job_id, Some(&record(50))).await, Requested::Written);
    // Nothing of it is written where one thing is refused.
    assert_eq!(request(&other("0b"), &job_id, Some(&record(50))).await, Requested::KeyKnown);
    assert!(app.store.run_get(&key(), &other("0b").id).await.unwrap().is_none());
    assert!(delete(&app, moment(30)).await.unwrap().is_some());
    assert_eq!(request(&other("0c"), &job_id, None).await, Requested::JobGone);
    // A request that came before explains what became of the job since.
    assert_eq!(request(&other("0c"), &job_id, Some(&record(50))).await, Requested::KeyKnown);
    assert!(app.store.run_get(&key(), &other("0c").id).await.unwrap().is_none());
    assert_eq!(cloud.state().table.partition("IDEM#platform").len(), 1);
}

#[tokio::test]
async fn of_two_who_take_a_key_over_one_has_it_and_the_first_answer_stays() {
    let (_, app, run) = waiting().await;
    let store = &app.store;
    let job_id = stored(&app).await.unwrap().id;
    let other = Run { id: RunId::of_request(at(20), "0a"), ..run };
    let (keyed, known) = (keyed(), record(50));
    let with = RunWith { keyed: Some((&keyed, &known)), ..RunWith::default() };
    let made = store.run_request(&key(), &other, &job_id, at(1000), at(80), &with).await;
    assert_eq!(made.unwrap(), Requested::Written);
    assert!(store.key_take_over(&keyed, &known, at(90)).await.unwrap());
    assert!(!store.key_take_over(&keyed, &known, at(91)).await.unwrap());
    let kept = store.key_get(&keyed, at(60)).await.unwrap().unwrap();
    assert_eq!(kept, KeyRecord { locked_until: Some(at(90).as_second()), ..known.clone() });

    store.key_answer(&keyed, "another", Some("not this".to_owned())).await.unwrap();
    assert_eq!(store.key_get(&keyed, at(60)).await.unwrap(), Some(kept));
    for answer in ["first", "second"] {
        store.key_answer(&keyed, "one", Some(answer.to_owned())).await.unwrap();
        let kept = store.key_get(&keyed, at(60)).await.unwrap().unwrap();
        assert_eq!((kept.answer.as_deref(), kept.locked_until), (Some("first"), None));
    }
    // What is done is nobody's to take over.
    assert!(!store.key_take_over(&keyed, &known, at(200)).await.unwrap());
    assert_eq!(store.key_get(&keyed, at(1000)).await.unwrap(), None);
}

/// One at a time, and none once there is a task or an end.
#[tokio::test]
async fn a_launch_is_taken_by_one_and_written_over_by_nobody_else() {
    let (_, app, run) = waiting().await;
    let store = &app.store;
    let first = store.run_claim(&key(), &run, at(160)).await.unwrap().unwrap();
    assert_eq!(first.launch.as_ref().unwrap().attempts, 2);
    assert_eq!(first.launch.as_ref().unwrap().until, at(160));
    assert_eq!(store.run_claim(&key(), &run, at(161)).await.unwrap(), None);
    // Whoever was too slow puts off nothing that another one is at.
    assert_eq!(store.run_put_off(&key(), &run, "slow", at(99)).await.unwrap(), None);
    assert!(store.run_put_off(&key(), &first, "later", at(200)).await.unwrap().is_some());

    let stop = |reason: &str, at| StopRequest { reason: reason.to_owned(), at };
    for reason in ["first", "second"] {
        let stop_now = stop(reason, at(170));
        let marked = store.run_request_stop(&key(), &run.id, &stop_now, at(170), None).await;
        assert_eq!(marked.unwrap().unwrap().stop_requested, Some(stop("first", at(170))));
    }
    let ended = store.run_end(&key(), &run.id, RunStatus::Stopped, "first", at(180)).await.unwrap();
    assert_eq!(ended.unwrap().status, RunStatus::Stopped);
    let again = store.run_end(&key(), &run.id, RunStatus::Unknown, "again", at(190)).await.unwrap();
    assert_eq!(again, None);
    let late = stop("late", at(190));
    let marked = store.run_request_stop(&key(), &run.id, &late, at(190), None).await;
    assert_eq!(marked.unwrap(), None);
    assert_eq!(store.run_claim(&key(), &first, at(200)).await.unwrap(), None);
}

/// What a task tells leaves alone what was asked for, and the stop with it.
#[tokio::test]
async fn what_a_task_tells_keeps_what_was_asked_for() {
    let (cloud, app, run) = waiting().await;
    let store = &app.store;
    let stop = StopRequest { reason: "enough".to_owned(), at: at(20) };
    store.run_request_stop(&key(), &run.id, &stop, at(20), None).await.unwrap();
    let told = Run {
        created_at: at(30),
        task_arn: Some("arn:aws:ecs:us-west-2:111122223333:task/c/0a".to_owned()),
        version: 3,
        launch: None,
        stopped_reason: None,
        ..run.clone()
    };
    let written = store.run_tell(&key(), &told, at(700)).await.unwrap();
    let wanted = Run { created_at: run.created_at, stop_requested: Some(stop), ..told.clone() };
    assert_eq!(written, Told::Written(Box::new(wanted.clone())));
    assert_eq!(
        store.run_tell(&key(), &told, at(700)).await.unwrap(),
        Told::Known(Box::new(wanted))
    );
    let other = Run { task_arn: Some("another".to_owned()), version: 9, ..told };
    assert_eq!(store.run_tell(&key(), &other, at(700)).await.unwrap(), Told::NotIts);
    // Whoever was told of a run finds it: reads are consistent, of keys too.
    store.run_get(&key(), &run.id).await.unwrap();
    store.key_get(&keyed(), at(0)).await.unwrap();
    let state = cloud.state();
    let mut reads = state.table.requests.iter().rev().take(2);
    assert!(reads.all(|read| read.operation == "GetItem" && read.consistent));
}
