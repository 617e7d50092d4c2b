//! `POST /teams/{team}/jobs/{job}/runs` and `POST …/runs/{run}/stop`

use serde_json::{Value, json};

use super::client::{Api, JOBS, THE_JOB, errors};
use crate::cloud::arn;
use crate::job::BASE;
use crate::task;

const RUNS: &str = "/v1/teams/platform/jobs/nightly-report/runs";

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned())).collect()
}

#[tokio::test]
async fn a_run_is_started_and_found_where_the_answer_says() {
    let api = Api::with_job().await;
    // No body, an empty one, one without anything in it.
    for answer in [
        api.call("POST", RUNS).await,
        api.post(RUNS, json!({})).await,
        api.post(RUNS, json!(null)).await,
        api.post_text(RUNS, "text/plain", " \n".to_owned()).await,
        api.post(RUNS, json!({"command": null, "environment": null, "cpu": null})).await,
    ] {
        let location = answer.headers["location"].to_str().unwrap().to_owned();
        let run = answer.of_status(201);
        assert_eq!(location, format!("{RUNS}/{}", run["id"].as_str().unwrap()));
        assert_eq!(api.get(&location).await.of_status(200), run);
        assert_eq!((&run["status"], &run["trigger"]), (&json!("pending"), &json!("manual")));
        assert_eq!((&run["cpu"], &run["memory"]), (&json!(256), &json!(512)));
        assert!(run["task_arn"].as_str().unwrap().starts_with("arn:aws:ecs:"));
        assert_eq!(run["overrides"], json!({"containerOverrides": [{"name": "main"}]}));
    }
    let listed = api.get(&format!("{RUNS}?trigger=manual")).await.of_status(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 5);
    let job = api.get(THE_JOB).await.of_status(200);
    assert_eq!(job["status"]["last_run"]["trigger"], "manual");
    assert_eq!(job["generation"], 1, "a run is no change of the job");
}

/// What is not known yet is null.
#[tokio::test]
async fn a_run_without_a_task_says_what_it_waits_for() {
    let api = Api::with_job().await;
    let reason = "Capacity is unavailable at this time. Please try again later";
    api.cloud.state().ecs.run_failures.push_back((reason, "sorry"));
    let body = json!({"command": ["sh", "-c", "true"], "environment": {"A": "b"}, "cpu": 512, "memory": 1024});
    let run = api.post(RUNS, body).await.of_status(201);
    assert_eq!(run["status"], "pending");
    for name in ["task_arn", "started_at", "stopped_at", "exit_code", "stop_code", "scheduled_time"]
    {
        assert_eq!(run[name], Value::Null, "{name}");
    }
    assert!(run["stopped_reason"].as_str().unwrap().contains(reason));
    assert_eq!(run["cluster_arn"], arn("ecs", &format!("cluster/{BASE}")));
    assert_eq!(run["task_definition_arn"], arn("ecs", &format!("task-definition/{BASE}:1")));
    assert_eq!(run["task_definition_revision"], 1);
    assert_eq!((&run["cpu"], &run["memory"]), (&json!(512), &json!(1024)));
    assert_eq!(
        run["overrides"],
        json!({
            "containerOverrides": [{
                "name": "main",
                "command": ["sh", "-c", "true"],
                "environment": [{"name": "A", "value": "b"}],
            }],
            "cpu": "512",
            "memory": "1024",
        })
    );
    let logs = api.get(&format!("{RUNS}/{}/logs", run["id"].as_str().unwrap())).await;
    let logs = logs.of_status(200);
    assert_eq!(logs["items"], json!([]));
    assert!(logs["next"].is_string());
}

/// A run that ECS refuses is a run too.
#[tokio::test]
async fn a_run_that_ecs_refuses_is_answered_as_what_became_of_it() {
    let api = Api::with_job().await;
    let message = "The subnet ID 'subnet-0a' does not exist";
    api.cloud.fail("ecs:RunTask", 1, "InvalidParameterException", message);
    let run = api.call("POST", RUNS).await.of_status(201);
    assert_eq!(run["status"], "failed_to_start");
    assert!(run["stopped_reason"].as_str().unwrap().contains(message));
    assert_eq!(run["stopped_at"], run["created_at"]);
}

#[tokio::test]
async fn everything_that_is_wrong_with_overrides_is_told_at_once() {
    let api = Api::with_job().await;
    let many = json!({
        "command": ["a", 1, "\u{1}"],
        "environment": {"SCHEDULED_TIME": "x", "A=B": "x", "C": 1, "D": "\u{7f}"},
        "cpu": 300,
        "memroy": 512,
        "image": "busybox:2",
    });
    let problem = api.post(RUNS, many).await.problem(422, "invalid");
    let wanted = pairs(&[
        ("/command/1", "type"),
        ("/environment/C", "type"),
        ("/command/2", "format"),
        ("/environment/A=B", "format"),
        ("/environment/D", "format"),
        ("/environment/SCHEDULED_TIME", "not_allowed"),
        ("/cpu", "range"),
        ("/image", "unknown_field"),
        ("/memroy", "unknown_field"),
    ]);
    assert_eq!(errors(&problem), wanted);
    for (body, wanted) in [
        (json!([]), ("", "type")),
        (json!("x"), ("", "type")),
        (json!({"command": "true"}), ("/command", "type")),
        (json!({"command": []}), ("/command", "range")),
        (json!({"environment": ["A=b"]}), ("/environment", "type")),
        (json!({"environment": {"": "x"}}), ("/environment/", "format")),
        (json!({"cpu": "256"}), ("/cpu", "type")),
        (json!({"cpu": -1}), ("/cpu", "type")),
        // The job's 512 MiB are none of what 1024 units come with.
        (json!({"cpu": 1024}), ("/memory", "range")),
        (json!({"memory": 600}), ("/memory", "range")),
        (json!({"command": ["x".repeat(8192)]}), ("", "range")),
        (json!({"environment": {"A": "x".repeat(8192)}}), ("", "range")),
    ] {
        let problem = api.post(RUNS, body.clone()).await.problem(422, "invalid");
        assert_eq!(errors(&problem), pairs(&[wanted]), "{body}");
    }
    api.post_text(RUNS, "application/json", "{".to_owned()).await.problem(400, "bad_request");
    let untyped = api.post_text(RUNS, "text/plain", "{}".to_owned()).await;
    untyped.problem(415, "unsupported_media_type");
    let large = api.post_text(RUNS, "application/json", " ".repeat(256 * 1024 + 1)).await;
    large.problem(413, "payload_too_large");
    api.call("POST", &format!("{RUNS}?now=true")).await.problem(400, "bad_request");
    assert_eq!(api.cloud.take_writes(), [""; 0]);
    assert_eq!(api.get(RUNS).await.of_status(200)["items"], json!([]));
}

#[tokio::test]
async fn a_job_that_is_not_ready_is_not_run() {
    let api = Api::with_job().await;
    api.call("POST", &format!("{THE_JOB}/pause")).await.of_status(200);
    api.call("POST", RUNS).await.of_status(201);
    api.cloud.fail("ecs:RegisterTaskDefinition", 1, "ClientException", "No such thing.");
    api.send_json("PATCH", THE_JOB, &[], json!({"image": "busybox:2"})).await.of_status(200);
    let problem = api.call("POST", RUNS).await.problem(409, "conflict");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("No such thing."), "{detail}");
    api.call("DELETE", THE_JOB).await.of_status(202);
    let problem = api.call("POST", RUNS).await.problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains("is being deleted"));
    api.call("POST", &format!("{JOBS}/other/runs")).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_run_is_stopped() {
    let api = Api::with_job().await;
    for (body, reason) in [
        (None, "Stopped through Cronplane"),
        (Some(json!({})), "Stopped through Cronplane"),
        (Some(json!({"reason": "Not now:\nlater"})), "Not now:\nlater"),
    ] {
        let run = api.call("POST", RUNS).await.of_status(201);
        let path = format!("{RUNS}/{}", run["id"].as_str().unwrap());
        let stop = format!("{path}/stop");
        let answer = match &body {
            None => api.call("POST", &stop).await,
            Some(body) => api.post(&stop, body.clone()).await,
        };
        let stopping = answer.of_status(202);
        assert_eq!((&stopping["id"], &stopping["status"]), (&run["id"], &json!("pending")));
        let mut ended = {
            let mut state = api.cloud.state();
            let task = state.ecs.tasks.last_mut().unwrap();
            assert_eq!(task.stopped_reason(), Some(reason));
            task::ended(task);
            task::state("x", 0, "STOPPED", 9)
        };
        ended["detail"]["taskArn"] = run["task_arn"].clone();
        ended["detail"]["startedBy"] = json!(format!("cronplane/{}", run["id"].as_str().unwrap()));
        ended["detail"]["stopCode"] = json!("UserInitiated");
        ended["detail"]["stoppedReason"] = json!(reason);
        api.ingest(&ended).await;
        let ended = api.call("POST", &stop).await.of_status(200);
        assert_eq!(
            (&ended["status"], &ended["stopped_reason"]),
            (&json!("stopped"), &json!(reason))
        );
        assert_eq!(api.get(&path).await.of_status(200), ended);
    }
}

#[tokio::test]
async fn a_wrong_stop_is_refused() {
    let api = Api::with_job().await;
    let run = api.call("POST", RUNS).await.of_status(201);
    let stop = format!("{RUNS}/{}/stop", run["id"].as_str().unwrap());
    for (body, wanted) in [
        (json!([]), ("", "type")),
        (json!({"reason": 1}), ("/reason", "type")),
        (json!({"reason": ""}), ("/reason", "range")),
        (json!({"reason": "x".repeat(256)}), ("/reason", "range")),
        (json!({"reason": "\u{1b}[0m"}), ("/reason", "format")),
        (json!({"why": "x"}), ("/why", "unknown_field")),
    ] {
        let problem = api.post(&stop, body.clone()).await.problem(422, "invalid");
        assert_eq!(errors(&problem), pairs(&[wanted]), "{body}");
    }
    api.call("POST", &format!("{stop}?now=1")).await.problem(400, "bad_request");
    api.post(&stop, json!({"reason": "ü".repeat(255)})).await.of_status(202);
    let missing = format!("{RUNS}/20261123T140000-0a/stop");
    api.call("POST", &missing).await.problem(404, "not_found");
}
