//! A pause, with what is said of it.

use axum::body::Body;
use axum::http::header;
use serde_json::{Value, json};

use super::client::{Api, JOBS, THE_JOB, errors};
use crate::audit::author;

const RESUME_AT: &str = "2127-03-01T06:00:00Z";

fn path() -> String {
    format!("{THE_JOB}/pause")
}

/// What an answer says of the pause.
fn pause_of(job: &Value) -> &Value {
    &job["status"]["pause"]
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned())).collect()
}

#[tokio::test]
async fn a_pause_is_shown_wherever_the_job_is() {
    let api = Api::with_job().await;
    assert_eq!(pause_of(&api.get(THE_JOB).await.of_status(200)), &Value::Null);
    let somebody = author("pause_job");
    let asked = json!({"note": "the database moves", "resume_at": "2127-03-01T07:00:00+01:00"});
    let answer = api.on_behalf_of(somebody.clone()).send_json("POST", &path(), &[], asked).await;
    let etag = answer.headers["etag"].clone();
    let job = answer.of_status(200);
    let pause = pause_of(&job).clone();
    let at = pause["at"].as_str().unwrap();
    assert_eq!(at, job["updated_at"]);
    let by = json!({"kind": "team_token", "id": somebody.id, "name": "the deploy pipeline"});
    let wanted = json!({
        "by": by, "at": at, "note": "the database moves", "resume_at": RESUME_AT,
        "resume_refused": null,
    });
    assert_eq!(pause, wanted);
    assert_eq!((&job["enabled"], &job["status"]["next_starts"]), (&json!(false), &json!([])));
    assert_eq!(pause_of(&api.get(THE_JOB).await.of_status(200)), &wanted);
    assert_eq!(pause_of(&api.get(JOBS).await.of_status(200)["items"][0]), &wanted);
    // The same again is answered the same, whoever asks and whatever the way of writing it.
    for same in [json!({"note": "the database moves", "resume_at": RESUME_AT}), json!({})] {
        let again = api.post(&path(), same).await;
        assert_eq!(again.headers["etag"], etag);
        assert_eq!(again.of_status(200), job);
    }
    let changed = api.post(&path(), json!({"resume_at": RESUME_AT})).await;
    assert_ne!(changed.headers["etag"], etag);
    let changed = changed.of_status(200);
    let by = json!({
        "kind": "stack_token", "id": "administrator", "name": "the stack's administrator token",
    });
    assert_eq!(pause_of(&changed)["by"], by);
    assert_eq!(pause_of(&changed)["note"], Value::Null);
    let resumed = api.post(&format!("{THE_JOB}/resume"), json!({})).await.of_status(200);
    assert_eq!(pause_of(&resumed), &Value::Null);
}

/// A job that was paused before anything of it was kept.
#[tokio::test]
async fn a_pause_of_which_nothing_is_known_is_shown_as_one() {
    let api = Api::with_job().await;
    api.call("POST", &path()).await.of_status(200);
    api.cloud
        .state()
        .table
        .item_mut("TEAM#platform", "JOB#nightly-report")
        .remove("pause")
        .unwrap();
    let nothing =
        json!({"by": null, "at": null, "note": null, "resume_at": null, "resume_refused": null});
    let job = api.get(THE_JOB).await.of_status(200);
    assert_eq!(pause_of(&job), &nothing);
    // It is paused: that it is to be, without a word, changes nothing.
    assert_eq!(api.call("POST", &path()).await.of_status(200), job);
    api.post(&path(), json!({"note": "found"})).await.of_status(200);
    api.post(&format!("{THE_JOB}/resume"), json!({})).await.of_status(200);
}

#[tokio::test]
async fn no_body_is_the_same_as_an_empty_one() {
    let api = Api::with_job().await;
    let paused = api.call("POST", &path()).await.of_status(200);
    assert_eq!(pause_of(&paused)["note"], Value::Null);
    assert_eq!(api.post(&path(), json!({})).await.of_status(200), paused);
    assert_eq!(api.post(&path(), Value::Null).await.of_status(200), paused);
    let request = api.authorized("POST", &path()).header(header::CONTENT_TYPE, "text/plain");
    let answer = api.send(request.body(Body::from("{\"note\": \"x\"}")).unwrap()).await;
    answer.problem(415, "unsupported_media_type");
    let request = api.authorized("POST", &path()).header(header::CONTENT_TYPE, "application/json");
    let answer = api.send(request.body(Body::from("{")).unwrap()).await;
    answer.problem(400, "bad_request");
    api.post(&format!("{}?until=x", path()), json!({})).await.problem(400, "bad_request");
}

#[tokio::test]
async fn what_is_wrong_with_a_pause_is_told_and_pauses_nothing() {
    let api = Api::with_job().await;
    for (said, wrong) in [
        (json!({"note": ""}), &[("/note", "range")][..]),
        (json!({"note": "x".repeat(513)}), &[("/note", "range")]),
        (json!({"note": 7, "resume_at": 7}), &[("/note", "type"), ("/resume_at", "type")]),
        (json!({"resume_at": "soon"}), &[("/resume_at", "format")]),
        (json!({"resume_at": "2020-01-01T00:00:00Z"}), &[("/resume_at", "range")]),
        (json!({"until": RESUME_AT}), &[("/until", "unknown_field")]),
        (json!(["x"]), &[("", "type")]),
    ] {
        for query in ["", "?dry_run=true"] {
            let answer = api.post(&format!("{}{query}", path()), said.clone()).await;
            assert_eq!(errors(&answer.problem(422, "invalid")), pairs(wrong), "{said}");
        }
    }
    assert_eq!(api.get(THE_JOB).await.of_status(200)["enabled"], true);
    let missing = api.post(&format!("{JOBS}/missing/pause"), json!({"note": "x"})).await;
    missing.problem(404, "not_found");
}

#[tokio::test]
async fn a_dry_run_of_a_pause_shows_what_is_said_of_it() {
    let api = Api::with_job().await;
    let before = api.get(THE_JOB).await.of_status(200);
    let said = json!({"note": "the database moves", "resume_at": RESUME_AT});
    let foreseen = api.post(&format!("{}?dry_run=true", path()), said).await.of_status(200);
    assert_eq!(foreseen["status"], 200);
    assert_eq!(pause_of(&foreseen["answer"])["resume_at"], RESUME_AT);
    assert_eq!(foreseen["answer"]["status"]["phase"], "ready");
    assert_eq!(foreseen["aws_calls"].as_array().unwrap().len(), 1);
    assert_eq!(api.get(THE_JOB).await.of_status(200), before);
}
