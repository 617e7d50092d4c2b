//! `Idempotency-Key`: the header, and answers that are given again.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use super::client::{Answer, Api, JOBS, THE_JOB, errors};
use crate::job::{JOB, definition};

const RUNS: &str = "/v1/teams/platform/jobs/nightly-report/runs";

async fn post(api: &Api, path: &str, key: &str, body: Value) -> Answer {
    api.send_json("POST", path, &[("idempotency-key", key)], body).await
}

/// Of the only record there is: makes it look as if its function still worked, for so many seconds.
fn lock(api: &Api, seconds: i64) {
    let mut state = api.cloud.state();
    let record = state.table.partition("IDEM#platform")[0];
    let sk = record["sk"].as_s().unwrap().clone();
    let until = jiff::Timestamp::now().as_second() + seconds;
    let record = state.table.item_mut("IDEM#platform", &sk);
    record.remove("answer");
    record.insert("locked_until".to_owned(), AttributeValue::N(until.to_string()));
}

#[tokio::test]
async fn the_first_answer_is_given_again_byte_for_byte() {
    let api = Api::new();
    let mut sorted_otherwise = json!({});
    for (name, value) in definition().as_object().unwrap().iter().rev() {
        sorted_otherwise[name] = value.clone();
    }
    for (path, body, same) in [
        (JOBS, definition(), sorted_otherwise),
        (RUNS, json!({"cpu": 512, "memory": 1024}), json!({"memory": 1024, "cpu": 512})),
    ] {
        let first = post(&api, path, "a key", body.clone()).await;
        assert_eq!(first.status, 201, "{}", first.text);
        assert!(!first.headers.contains_key("idempotent-replayed"));
        // It is the answer of then: what happened since does not show.
        if path == JOBS {
            api.call("POST", &format!("{THE_JOB}/pause")).await.of_status(200);
        }
        for body in [body, same] {
            let again = post(&api, path, "a key", body).await;
            assert_eq!((again.status, &again.text), (201, &first.text));
            assert_eq!(again.headers["idempotent-replayed"], "true");
            for name in ["location", "etag", "content-type", "cache-control"] {
                assert_eq!(again.headers.get(name), first.headers.get(name), "{name}");
            }
            assert_ne!(again.headers["x-request-id"], first.headers["x-request-id"]);
        }
        assert_eq!(first.headers.contains_key("etag"), path == JOBS);
        let mut state = api.cloud.state();
        assert_eq!(state.ecs.tasks.len(), usize::from(path == RUNS));
        assert_eq!(state.table.partition("TEAM#platform").len(), 1);
        // The same key is another request's now.
        let sk = state.table.partition("IDEM#platform")[0]["sk"].as_s().unwrap().clone();
        let expired = AttributeValue::N("1".to_owned());
        state.table.item_mut("IDEM#platform", &sk).insert("expires_at".to_owned(), expired);
    }
}

/// No body is the same request as an empty one.
#[tokio::test]
async fn a_run_without_a_body_is_repeated_with_an_empty_one() {
    let api = Api::with_job().await;
    let request = super::client::authorized("POST", RUNS).header("idempotency-key", "k");
    let first = api.send(request.body(axum::body::Body::empty()).unwrap()).await;
    let again = post(&api, RUNS, "k", json!({})).await;
    assert_eq!((first.status, again.status, &first.text), (201, 201, &again.text));
    assert_eq!(api.cloud.state().ecs.tasks.len(), 1);
}

#[tokio::test]
async fn another_request_with_the_key_is_refused() {
    let api = Api::with_job().await;
    post(&api, RUNS, "k", json!({})).await.of_status(201);
    let mut other = definition();
    other["name"] = json!("other");
    for (path, body) in [(RUNS, json!({"cpu": 512, "memory": 1024})), (JOBS, other)] {
        let problem = post(&api, path, "k", body).await.problem(422, "idempotency_mismatch");
        assert_eq!(problem["errors"], json!([]));
    }
    assert_eq!(api.cloud.state().ecs.tasks.len(), 1);
    // Another team's key is another one.
    post(&api, "/v1/teams/other/jobs", "k", definition()).await.of_status(201);
}

#[tokio::test]
async fn while_the_first_goes_on_the_second_is_told_to_come_again() {
    let api = Api::with_job().await;
    let first = post(&api, RUNS, "k", json!({})).await.of_status(201);
    lock(&api, 20);
    let busy = post(&api, RUNS, "k", json!({})).await;
    let seconds: u32 = busy.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&seconds));
    busy.problem(409, "conflict");
    // Its function is dead: what it made is answered, kept, and not made again.
    lock(&api, -1);
    let finished = post(&api, RUNS, "k", json!({})).await;
    assert!(!finished.headers.contains_key("idempotent-replayed"));
    let finished = finished.of_status(201);
    assert_eq!(finished["id"], first["id"]);
    let again = post(&api, RUNS, "k", json!({})).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.of_status(201), finished);
    assert_eq!(api.cloud.state().ecs.tasks.len(), 1);
}

#[tokio::test]
async fn a_job_whose_maker_died_is_finished_or_gone() {
    let api = Api::new();
    let made = post(&api, JOBS, "k", definition()).await;
    let etag = made.headers["etag"].clone();
    lock(&api, -1);
    let finished = post(&api, JOBS, "k", definition()).await;
    assert_eq!((finished.status, &finished.headers["etag"]), (201, &etag));
    assert_eq!(finished.headers["location"], THE_JOB);
    lock(&api, -1);
    api.call("DELETE", THE_JOB).await;
    let problem = post(&api, JOBS, "k", definition()).await.problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains("was deleted since"));
}

/// An answer too large to be kept is made anew.
#[tokio::test]
async fn a_large_answer_is_made_anew() {
    let api = Api::new();
    let mut large = definition();
    let values = (0..50).map(|number| (format!("V{number}"), json!("x".repeat(1000))));
    large["environment"] = values.collect();
    let endpoint = |number: usize| format!("https://example.com/{number}/{}", "x".repeat(500));
    let subscribers =
        (0..20).map(|number| json!({"protocol": "https", "endpoint": endpoint(number)}));
    large["notifications"]["subscribers"] = subscribers.collect();
    let first = post(&api, JOBS, "k", large.clone()).await;
    assert!(first.text.len() > 64 * 1024, "{}", first.text.len());
    let first_etag = first.headers["etag"].clone();
    let first = first.of_status(201);
    let record = api.cloud.state().table.partition("IDEM#platform")[0].clone();
    assert!(!record.contains_key("answer") && !record.contains_key("locked_until"));
    let again = post(&api, JOBS, "k", large.clone()).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(
        (&again.headers["etag"], &again.headers["location"]),
        (&first_etag, &THE_JOB.parse().unwrap())
    );
    assert_eq!(again.of_status(201)["id"], first["id"]);
    api.call("DELETE", THE_JOB).await;
    post(&api, JOBS, "k", large).await.problem(409, "conflict");
}

#[tokio::test]
async fn a_key_has_1_to_255_printable_characters() {
    let api = Api::with_job().await;
    let long = "k".repeat(256);
    for key in ["", "a\tb", "ä", &long] {
        for path in [JOBS, RUNS] {
            let problem = post(&api, path, key, definition()).await.problem(400, "bad_request");
            let wanted = [("Idempotency-Key".to_owned(), "format".to_owned())];
            assert_eq!(errors(&problem), wanted, "{key:?}");
        }
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    let problem = api.send_json("POST", RUNS, &twice, json!({})).await.problem(400, "bad_request");
    assert_eq!(errors(&problem), [("Idempotency-Key".to_owned(), "duplicate".to_owned())]);
    for key in [&long[1..], "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", "a b~!"] {
        post(&api, RUNS, key, json!({})).await.of_status(201);
    }
    assert_eq!(api.cloud.state().ecs.tasks.len(), 3);
    // The key itself is not kept.
    let state = api.cloud.state();
    let records = format!("{:?}", state.table.partition("IDEM#platform"));
    assert!(!records.contains("8e03978e"), "{records}");
}

/// What is refused leaves no record, and can be put right under the same key.
#[tokio::test]
async fn a_refused_request_can_be_put_right_under_its_key() {
    let api = Api::new();
    post(&api, JOBS, "k", json!({"name": JOB})).await.problem(422, "invalid");
    post(&api, RUNS, "k", json!({})).await.problem(404, "not_found");
    post(&api, JOBS, "k", definition()).await.of_status(201);
    post(&api, JOBS, "l", definition()).await.problem(409, "already_exists");
    assert_eq!(api.cloud.state().table.partition("IDEM#platform").len(), 1);
}

/// 50 at once with one key: what they make is made once, and nobody is answered anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_parallel_requests_with_one_key_one_is_carried_out() {
    let api = Arc::new(Api::new());
    for (path, body) in [(JOBS, definition()), (RUNS, json!({"environment": {"A": "b"}}))] {
        let posts = (0..50).map(|_| {
            let (api, body) = (api.clone(), body.clone());
            tokio::spawn(async move { post(&api, path, path, body).await })
        });
        let mut first = Vec::new();
        let mut replays = Vec::new();
        for answer in futures::future::join_all(posts).await {
            let answer = answer.unwrap();
            match (answer.status, answer.headers.contains_key("idempotent-replayed")) {
                (201, false) => first.push(answer.text),
                (201, true) => replays.push(answer.text),
                _ => {
                    assert!(answer.headers.contains_key("retry-after"));
                    drop(answer.problem(409, "conflict"));
                }
            }
        }
        let [first] = &first[..] else { panic!("{} were carried out", first.len()) };
        assert!(replays.iter().all(|replay| replay == first));
        let again = post(&api, path, path, body).await;
        assert_eq!((again.status, &again.text), (201, first));
    }
    let state = api.cloud.state();
    assert_eq!(state.table.partition("TEAM#platform").len(), 1);
    assert_eq!(state.ecs.task_definitions.len(), 1);
    assert_eq!((state.ecs.tasks.len(), state.ecs.runs.len()), (1, 1));
    assert_eq!(state.table.partition("RUNS#platform#nightly-report").len(), 1);
}
