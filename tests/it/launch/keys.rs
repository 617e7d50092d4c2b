//! Requests with an idempotency key, as the API sends them, at times of the test's own.

use cronplane::app::{Answered, App, KeyedRequest, Moment};
use cronplane::domain::ids::TeamName;
use cronplane::domain::job::{Job, Phase};
use cronplane::domain::run::{Run, RunStatus};
use cronplane::error::{Error, Result};
use serde_json::{Value, json};

use super::{run_now, runs, sweep_the_rest, tasks};
use crate::cloud::{Cloud, Trouble};
use crate::history::with_job;
use crate::job::{
    definition, delete, key, moment, patch, short_moment, stored, sweep_for_an_hour, team,
};

/// A day, in seconds.
const DAY: i64 = 86_400;
/// The call of a create with a key that writes the job: those before read the key and the team, and look
/// at AWS's quotas.
const CREATE_WRITES: usize = 7;

/// What a client is answered.
#[derive(Debug)]
enum Told<T> {
    Now(T),
    Again(T),
    Kept(String),
}

fn request(path: &str, key: &str, body: &Value) -> KeyedRequest {
    KeyedRequest::new(&team(), key, "POST", path, body)
}

/// Keeps the answer, as the API does.
async fn told<T>(app: &App, request: &KeyedRequest, answered: Answered<T>) -> Told<T> {
    match answered {
        Answered::Now(value) => {
            app.keep_answer(request, "the first answer".to_owned()).await;
            Told::Now(value)
        }
        Answered::Again(value) => Told::Again(value),
        Answered::Kept(answer) => Told::Kept(answer),
    }
}

async fn create(app: &App, key: &str, body: Value, moment: Moment) -> Result<Told<Job>> {
    let request = request("/v1/teams/platform/jobs", key, &body);
    let told = told(app, &request, app.job_create_keyed(team(), body, &request, moment).await?);
    Ok(match told.await {
        Told::Now(view) => Told::Now(view.job),
        Told::Again(view) => Told::Again(view.job),
        Told::Kept(answer) => Told::Kept(answer),
    })
}

async fn start(app: &App, name: &str, body: Value, moment: Moment) -> Result<Told<Run>> {
    let request = request("/v1/teams/platform/jobs/nightly-report/runs", name, &body);
    let told = told(app, &request, app.run_start_keyed(&key(), body, &request, moment).await?);
    Ok(match told.await {
        Told::Now(view) => Told::Now(view.run),
        Told::Again(view) => Told::Again(view.run),
        Told::Kept(answer) => Told::Kept(answer),
    })
}

fn records(cloud: &Cloud) -> usize {
    cloud.state().table.partition("IDEM#platform").len()
}

#[tokio::test]
async fn a_key_makes_one_job_and_one_run_and_answers_the_same_for_a_day() {
    let cloud = Cloud::default();
    let app = cloud.app();
    assert!(matches!(create(&app, "a", definition(), moment(0)).await, Ok(Told::Now(_))));
    assert!(matches!(start(&app, "b", json!({}), moment(10)).await, Ok(Told::Now(_))));
    cloud.take_calls();
    for seconds in [1, 100, DAY - 1] {
        let again = create(&app, "a", definition(), moment(seconds)).await;
        assert!(matches!(again, Ok(Told::Kept(answer)) if answer == "the first answer"));
    }
    let again = start(&app, "b", json!({}), moment(DAY)).await;
    assert!(matches!(again, Ok(Told::Kept(answer)) if answer == "the first answer"));
    // A replay reads one item and writes none.
    assert_eq!(cloud.take_calls().len(), 4);
    assert_eq!((tasks(&cloud).len(), runs(&app).await.len()), (1, 1));

    // TTL takes items away late: what has expired counts as gone.
    assert_eq!(records(&cloud), 2);
    let anew = start(&app, "b", json!({}), moment(DAY + 10)).await;
    assert!(matches!(anew, Ok(Told::Now(_))));
    assert_eq!((tasks(&cloud).len(), runs(&app).await.len(), records(&cloud)), (2, 2, 2));
    let anew = create(&app, "a", definition(), moment(DAY)).await;
    assert!(matches!(anew, Err(Error::AlreadyExists(_))), "{anew:?}");
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_team() {
    let (cloud, app) = with_job().await;
    start(&app, "a", json!({}), moment(10)).await.unwrap();
    let mut other = definition();
    other["name"] = json!("other");
    for moment in [moment(11), moment(50)] {
        let mismatch = start(&app, "a", json!({"cpu": 512, "memory": 1024}), moment).await;
        assert!(matches!(mismatch, Err(Error::IdempotencyMismatch)), "{mismatch:?}");
        let mismatch = create(&app, "a", other.clone(), moment).await;
        assert!(matches!(mismatch, Err(Error::IdempotencyMismatch)), "{mismatch:?}");
    }
    assert_eq!((tasks(&cloud).len(), records(&cloud)), (1, 1));

    // Another key, and another team's same key, are others.
    start(&app, "A", json!({}), moment(12)).await.unwrap();
    let team = TeamName::parse("other").unwrap();
    let same = KeyedRequest::new(&team, "a", "POST", "/v1/teams/other/jobs", &definition());
    let made = app.job_create_keyed(team, definition(), &same, moment(13)).await.unwrap();
    assert!(matches!(made, Answered::Now(_)));
    assert_eq!(tasks(&cloud).len(), 2);
}

/// What stored nothing leaves no trace: the same key can be sent with what is right then.
#[tokio::test]
async fn a_request_that_is_refused_leaves_no_record() {
    let (cloud, app) = with_job().await;
    let exists = create(&app, "a", definition(), moment(10)).await;
    assert!(matches!(exists, Err(Error::AlreadyExists(_))), "{exists:?}");
    let invalid = create(&app, "a", json!({"name": "x"}), moment(10)).await;
    assert!(matches!(invalid, Err(Error::Invalid(_))), "{invalid:?}");
    let invalid = start(&app, "b", json!({"cpu": 1}), moment(10)).await;
    assert!(matches!(invalid, Err(Error::Invalid(_))), "{invalid:?}");
    cloud.fail("ecs:RegisterTaskDefinition", 1, "ClientException", "No.");
    patch(&app, json!({"image": "busybox:2"}), moment(20)).await.unwrap();
    let not_ready = start(&app, "b", json!({}), moment(30)).await;
    assert!(matches!(not_ready, Err(Error::Conflict(_))), "{not_ready:?}");
    assert_eq!(records(&cloud), 0);

    delete(&app, moment(40)).await.unwrap();
    assert!(matches!(create(&app, "a", definition(), moment(50)).await, Ok(Told::Now(_))));
    assert!(matches!(start(&app, "b", json!({}), moment(60)).await, Ok(Told::Now(_))));
}

/// While the first goes on, the second is told to come again; once its function must be dead, the
/// second finishes what it began.
#[tokio::test]
async fn what_its_function_died_at_is_finished_by_the_next_one() {
    let cloud = Cloud::default();
    let app = cloud.app();
    // It dies when the job is stored: nothing of it is made yet.
    cloud.trouble(CREATE_WRITES, Trouble::LostAfter);
    assert!(create(&app, "a", definition(), moment(0)).await.is_err());
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Provisioning);
    for seconds in [0, 20, 34] {
        let busy = create(&app, "a", definition(), moment(seconds)).await;
        assert!(matches!(busy, Err(Error::Busy(_))), "{seconds}: {busy:?}");
    }
    let Ok(Told::Now(job)) = create(&app, "a", definition(), moment(35)).await else { panic!() };
    assert_eq!(job.phase, Phase::Ready);
    assert_eq!(stored(&app).await.unwrap().id, job.id);
    let kept = create(&app, "a", definition(), moment(36)).await;
    assert!(matches!(kept, Ok(Told::Kept(_))), "{kept:?}");

    // And when the run is.
    cloud.trouble(2, Trouble::LostAfter);
    cloud.trouble(3, Trouble::LostBefore);
    assert!(start(&app, "b", json!({}), moment(100)).await.is_err());
    assert_eq!(tasks(&cloud), []);
    let busy = start(&app, "b", json!({}), moment(134)).await;
    assert!(matches!(busy, Err(Error::Busy(_))), "{busy:?}");
    // Whoever takes the key over takes the launch over too.
    let Ok(Told::Now(run)) = start(&app, "b", json!({}), moment(136)).await else { panic!() };
    assert_eq!(run.status, RunStatus::Pending);
    sweep_the_rest(&cloud, &app, 136).await;
    assert_eq!(super::run(&app, &run.id).await.status, RunStatus::Succeeded);
    assert_eq!((tasks(&cloud).len(), runs(&app).await.len()), (1, 1));

    // Also when nobody asks for longer than a minute.
    cloud.trouble(2, Trouble::LostAfter);
    cloud.trouble(3, Trouble::LostBefore);
    assert!(start(&app, "c", json!({}), moment(5000)).await.is_err());
    let Ok(Told::Now(run)) = start(&app, "c", json!({}), moment(5061)).await else { panic!() };
    assert!(run.task_arn.is_some());
    assert_eq!(tasks(&cloud).len(), 2);
}

#[tokio::test]
async fn what_was_deleted_since_is_told_so() {
    let cloud = Cloud::default();
    let app = cloud.app();
    cloud.trouble(CREATE_WRITES, Trouble::LostAfter);
    assert!(create(&app, "a", definition(), moment(0)).await.is_err());
    delete(&app, moment(10)).await.unwrap();
    let gone = create(&app, "a", definition(), moment(40)).await;
    assert!(matches!(&gone, Err(Error::Conflict(detail)) if detail.contains("was deleted since")));
    // Another job of the name is not what this key made.
    create(&app, "b", definition(), moment(50)).await.unwrap();
    let gone = create(&app, "a", definition(), moment(90)).await;
    assert!(matches!(gone, Err(Error::Conflict(_))), "{gone:?}");
    // What was answered before is answered again all the same.
    delete(&app, moment(100)).await.unwrap();
    let kept = create(&app, "b", definition(), moment(110)).await;
    assert!(matches!(kept, Ok(Told::Kept(_))), "{kept:?}");
}

/// An answer too large to be kept is made anew from what there is.
#[tokio::test]
async fn a_large_answer_is_made_anew() {
    let (cloud, app) = with_job().await;
    let body = json!({});
    let path = "/v1/teams/platform/jobs/nightly-report/runs";
    let request = request(path, "a", &body);
    let first = app.run_start_keyed(&key(), body.clone(), &request, moment(10)).await.unwrap();
    let Answered::Now(first) = first else { panic!("it is new") };
    app.keep_answer(&request, "x".repeat(64 * 1024 + 1)).await;
    for seconds in [11, 50] {
        let again = start(&app, "a", body.clone(), moment(seconds)).await;
        let Ok(Told::Again(again)) = again else { panic!("{again:?}") };
        assert_eq!(again.id, first.run.id);
    }
    assert_eq!(tasks(&cloud).len(), 1);
    // What is just small enough is kept.
    let request = self::request(path, "b", &body);
    app.run_start_keyed(&key(), body.clone(), &request, moment(20)).await.unwrap();
    app.keep_answer(&request, "x".repeat(64 * 1024)).await;
    let kept = start(&app, "b", body, moment(21)).await;
    assert!(matches!(kept, Ok(Told::Kept(_))), "{kept:?}");
}

/// Repeats until it is answered, as a client does; how often.
async fn until_answered(app: &App, from: i64) -> Told<Job> {
    for attempt in 0..4 {
        match create(app, "a", definition(), short_moment(from + 40 * attempt)).await {
            Ok(told) => return told,
            Err(Error::Busy(_) | Error::Aws(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("never answered");
}

/// Whatever call of a create with a key is in trouble, the same again is answered with the one job.
#[tokio::test]
async fn whatever_call_of_a_keyed_create_is_in_trouble_the_same_again_is_answered() {
    let clean = Cloud::default();
    create(&clean.app(), "a", definition(), moment(0)).await.unwrap();
    let calls = clean.take_calls();
    assert!(calls.len() > 20, "{calls:?}");
    for (number, call) in calls.iter().enumerate() {
        for trouble in Trouble::ALL {
            let what = format!("{number} {call:?} {trouble:?}");
            let cloud = Cloud::default();
            let app = cloud.app();
            cloud.trouble(number, trouble);
            drop(create(&app, "a", definition(), short_moment(0)).await);
            assert!(cloud.has_failed(), "{what}");
            drop(until_answered(&app, 1).await);
            let id = stored(&app).await.unwrap().id;
            sweep_for_an_hour(&app, 200).await;
            // And at last.
            drop(until_answered(&app, 4000).await);
            let job = stored(&app).await.unwrap();
            assert_eq!((job.phase, job.generation, &job.id), (Phase::Ready, 1, &id), "{what}");
            assert_eq!(cloud.state().ecs.task_definitions.len(), 1, "{what}");
            assert_eq!(cloud.state().sns.asked_to_confirm.len(), 1, "{what}");
            assert_eq!(records(&cloud), 1, "{what}");
        }
    }
}

#[tokio::test]
async fn whatever_call_of_a_keyed_run_is_in_trouble_the_same_again_is_the_one_run() {
    let (clean, app) = with_job().await;
    start(&app, "a", json!({}), moment(10)).await.unwrap();
    let calls = clean.take_calls();
    assert!(calls.len() > 6, "{calls:?}");
    for (number, call) in calls.iter().enumerate() {
        for trouble in Trouble::ALL {
            let what = format!("{number} {call:?} {trouble:?}");
            let (cloud, app) = with_job().await;
            cloud.trouble(number, trouble);
            drop(start(&app, "a", json!({}), moment(10)).await);
            assert!(cloud.has_failed(), "{what}");
            let mut answered = false;
            for attempt in 0..3 {
                answered |= start(&app, "a", json!({}), moment(11 + 40 * attempt)).await.is_ok();
            }
            assert!(answered, "{what}");
            sweep_the_rest(&cloud, &app, 100).await;
            let found = runs(&app).await;
            let [run] = &found[..] else { panic!("{what}: {} runs", found.len()) };
            let refused = (call.operation, trouble) == ("ecs:RunTask", Trouble::Denied);
            let (status, count) =
                if refused { (RunStatus::FailedToStart, 0) } else { (RunStatus::Succeeded, 1) };
            assert_eq!((run.status, tasks(&cloud).len()), (status, count), "{what}");
            let kept = start(&app, "a", json!({}), moment(4000)).await;
            assert!(matches!(kept, Ok(Told::Kept(_))), "{what}: {kept:?}");
        }
    }
}

/// Whoever takes the key of a function that died takes its launch too.
#[tokio::test]
async fn a_run_is_started_by_whoever_takes_its_key_over() {
    let (cloud, app) = with_job().await;
    // It dies at RunTask.
    cloud.trouble(3, Trouble::LostBefore);
    cloud.trouble(4, Trouble::LostBefore);
    let request = request("/v1/teams/platform/jobs/nightly-report/runs", "a", &json!({}));
    app.run_start_keyed(&key(), json!({}), &request, moment(10)).await.unwrap();
    assert_eq!(tasks(&cloud).len(), 0);
    app.run_start_keyed(&key(), json!({}), &request, moment(45)).await.unwrap();
    assert_eq!(tasks(&cloud).len(), 1);
}

/// Without a key a create writes the job and that its team has one more, and nothing else.
#[tokio::test]
async fn without_a_key_nothing_is_kept() {
    let (cloud, app) = with_job().await;
    let written: Vec<String> = {
        let state = cloud.state();
        let writes = state.table.requests.iter().filter(|request| request.operation != "GetItem");
        let transaction = writes.take_while(|request| request.operation == "TransactWriteItems");
        let keys = transaction.map(|request| request.key.as_ref().unwrap());
        keys.map(|key| format!("{}/{}", key["pk"].as_s().unwrap(), key["sk"].as_s().unwrap()))
            .collect()
    };
    assert_eq!(written, ["TEAM#platform/JOB#nightly-report", "TEAMS/platform"]);
    run_now(&app, moment(10)).await.unwrap();
    run_now(&app, moment(10)).await.unwrap();
    assert_eq!((tasks(&cloud).len(), records(&cloud)), (2, 0));
}
