//! Nothing that may be secret gets where people look who are not to know it: the audit log, the functions'
//! logs, the body of an error.
//!
//! A definition holds its variables and arguments and is shown to the team, and so is what a run changed of
//! them, as ECS tells it: that is by design. What is secret belongs into `secrets`.

use std::cell::RefCell;

use serde_json::{Value, json};

use super::author;
use crate::containers::everything;
use crate::http::Api;
use crate::job::moment;
use crate::logged::Logged;
use crate::task::state;

const CANARY: &str = "kanarienvogel";
const JOBS: &str = "/v1/teams/platform/jobs";
const JOB: &str = "/v1/teams/platform/jobs/nightly-report";

/// A definition with something secret wherever a value may be one; `mark` makes it another one.
fn planted(mark: &str) -> Value {
    let secret = format!("{CANARY}-{mark}");
    let mut wanted = everything();
    wanted["environment"] = json!({"MODE": secret, "name": secret, "EMPTY": ""});
    wanted["command"] = json!(["--password", secret]);
    wanted["entry_point"] = json!(["/bin/sh", secret]);
    wanted["health_check"]["command"] = json!(["CMD-SHELL", secret]);
    wanted["tags"] = json!({"api-token": secret, "stage": "test"});
    wanted["extra_container_definition"]["dockerLabels"] = json!({"basicauth": secret});
    wanted["extra_container_definition"]["logConfiguration"]["options"] =
        json!({"mode": "non-blocking", "awslogs-datetime-format": secret});
    let sidecar = &mut wanted["sidecars"][0];
    sidecar["command"] = json!([secret]);
    sidecar["entryPoint"] = json!([secret]);
    sidecar["environment"] = json!([{"name": "LEVEL", "value": secret}]);
    sidecar["healthCheck"]["command"] = json!(["CMD", secret]);
    sidecar["dockerLabels"] = json!({"basicauth": secret});
    wanted["notifications"]["subscribers"] = json!([
        {"protocol": "https", "endpoint": format!("https://hooks.example.com/{secret}?token={secret}")},
        {"protocol": "email", "endpoint": "ops@example.com"},
    ]);
    wanted
}

/// The places in which a definition has it.
fn count(value: &Value) -> usize {
    value.to_string().matches(CANARY).count()
}

#[tokio::test]
async fn nothing_secret_is_told() {
    let (logged, _guard) = Logged::listen("warn,cronplane=trace");
    let api = Api::new();
    let somebody = api.on_behalf_of(author("x"));
    let refused = RefCell::new(Vec::new());
    let ask = async |method: &str, path: &str, body: &Value| {
        let answer = somebody.send_json(method, path, &[], body.clone()).await;
        if answer.status >= 400 {
            refused.borrow_mut().push((
                method.to_owned(),
                path.to_owned(),
                answer.status,
                answer.text.clone(),
            ));
        }
        answer
    };

    let created = ask("POST", JOBS, &planted("one")).await;
    assert_eq!(created.status, 201, "{}", created.text);
    // It is there: what is looked for below could be found.
    assert_eq!(count(&planted("one")), 15);
    assert_eq!(count(&api.get(JOB).await.json()["notifications"]), 2);
    assert!(count(&api.get(JOB).await.json()) >= 15);
    // With AWS in trouble, which is told in the job and in the log.
    let trouble = || {
        for operation in ["ecs:RegisterTaskDefinition", "events:PutTargets", "sns:Subscribe"] {
            api.cloud.fail(operation, 1, "ClientException", "It can't be.");
        }
    };
    trouble();
    assert_eq!(ask("PUT", JOB, &planted("two")).await.status, 200);
    let mut more = planted("three");
    let sidecar = more["sidecars"][0].clone();
    more["sidecars"].as_array_mut().unwrap().push(sidecar);
    more["sidecars"][1]["name"] = json!("second");
    assert_eq!(ask("PUT", JOB, &more).await.status, 200);
    let change = json!({"environment": {"NEW": CANARY, "MODE": null}, "command": [CANARY], "image": "busybox:2"});
    assert_eq!(ask("PATCH", JOB, &change).await.status, 200);
    api.app.sweep(moment(4_000_000)).await.unwrap();
    let fewer =
        json!({"sidecars": null, "notifications": null, "extra_container_definition": null});
    assert_eq!(ask("PATCH", JOB, &fewer).await.status, 200);

    // What is refused tells what is wrong and not what it was.
    let mut wrong = planted("wrong");
    wrong["environment"] = json!({
        "1BAD": CANARY, "AWS_X": CANARY, "NUMBER": 1, "LONG": CANARY.repeat(10_000),
        "CONTROL": format!("{CANARY}\u{1}"), "LIST": [CANARY],
    });
    wrong["command"] = json!([format!("{CANARY}\u{1}"), 1]);
    wrong["entry_point"] = json!({"x": CANARY});
    wrong["health_check"]["command"] = json!([CANARY]);
    wrong["sidecars"][0]["environment"] =
        json!([{"name": "A", "value": [CANARY]}, {"name": "", "value": CANARY}, CANARY]);
    wrong["sidecars"][0]["healthCheck"]["command"] = json!([CANARY]);
    wrong["extra_container_definition"]["dockerLabels"] = json!({"a": [CANARY]});
    wrong["extra_container_definition"]["logConfiguration"]["options"] =
        json!({"mode": CANARY, "awslogs-group": CANARY, "max-buffer-size": CANARY});
    wrong["notifications"]["subscribers"] = json!([
        {"protocol": "https", "endpoint": format!("http://hooks.example.com/{CANARY}")},
        {"protocol": "https", "endpoint": format!("https://me:{CANARY}@example.com/")},
        {"protocol": "email", "endpoint": format!("https://example.com/{CANARY}")},
    ]);
    for (method, path) in [("POST", JOBS), ("PUT", JOB), ("PATCH", JOB)] {
        let answer = ask(method, path, &wrong).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert!(answer.json()["errors"].as_array().unwrap().len() > 10, "{}", answer.text);
    }

    // Runs, of a job that is ready by now or not.
    let runs = format!("{JOB}/runs");
    let overrides = json!({"command": [CANARY], "environment": {"MODE": CANARY}});
    let wrong = json!({
        "command": [format!("{CANARY}\u{1}")],
        "environment": {"1BAD": CANARY, "DB_PASSWORD": CANARY, "LIST": [CANARY]},
    });
    assert_eq!(ask("POST", &runs, &wrong).await.status, 422);
    api.cloud.fail("ecs:RunTask", 1, "InvalidParameterException", "No such subnet.");
    for key in ["a", "b"] {
        let headers = [("idempotency-key", key)];
        let answer = somebody.send_json("POST", &runs, &headers, overrides.clone()).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let run = answer.json()["id"].as_str().unwrap().to_owned();
        ask("POST", &format!("{runs}/{run}/stop"), &json!({"reason": "enough"})).await;
    }
    api.ingest(&state("0a", 0, "RUNNING", 7)).await;
    api.cloud.fail("ecs:StopTask", 1, "AccessDeniedException", "no");
    let stop = format!("{runs}/20261123T140000-0a/stop");
    assert_eq!(ask("POST", &stop, &json!({"reason": "enough"})).await.status, 409);
    ask("POST", &format!("{JOB}/notifications/test"), &json!({})).await;
    // Why a job is paused is said for others to read.
    let pause = format!("{JOB}/pause");
    let wrong = json!({"note": format!("{CANARY}\u{1}"), "resume_at": CANARY});
    assert_eq!(ask("POST", &pause, &wrong).await.status, 422);
    assert_eq!(ask("POST", &pause, &json!({"note": "the database moves"})).await.status, 200);
    ask("POST", &format!("{JOB}/resume"), &json!({})).await;
    // A token, right or wrong, and what stands where it should not.
    for token in [CANARY.to_owned(), format!("Bearer {CANARY}"), format!("Basic {CANARY}")] {
        let request = axum::http::Request::builder()
            .uri(format!("{JOB}?token={CANARY}"))
            .header("authorization", token)
            .body(axum::body::Body::empty());
        let answer = api.send(request.unwrap()).await;
        assert_eq!(answer.status, 401);
        refused.borrow_mut().push(("GET".to_owned(), "token".to_owned(), 401, answer.text));
    }
    let answer = api.get(&format!("{JOB}?token={CANARY}")).await;
    assert_eq!(answer.status, 400);
    refused.borrow_mut().push(("GET".to_owned(), "query".to_owned(), 400, answer.text));
    ask("DELETE", JOB, &json!({})).await;
    api.app.sweep(moment(8_000_000)).await.unwrap();

    // The audit log, in the table and as it is shown.
    let items: Vec<String> = {
        let state = api.cloud.state();
        let items = state.table.partition("AUDIT#platform");
        items.into_iter().map(|item| format!("{item:?}")).collect()
    };
    assert!(items.len() >= 10, "{}", items.len());
    for text in items {
        assert!(!text.contains(CANARY), "{text}");
    }
    for path in ["/v1/teams/platform/audit?limit=100".to_owned(), format!("{JOB}/audit?limit=100")]
    {
        let told = api.get(&path).await;
        assert!(
            told.text.contains("\"masked\":true") && !told.text.contains(CANARY),
            "{}",
            told.text
        );
        assert!(told.text.contains("/environment/MODE") && told.text.contains("hooks.example.com"));
        assert!(told.text.contains("the database moves"));
    }
    let refused = refused.into_inner();
    for (method, path, status, text) in &refused {
        assert!(!text.contains(CANARY), "{method} {path} {status}: {text}");
    }
    assert!(refused.len() >= 7);
    let logged = logged.text();
    assert!(logged.lines().count() > 20 && logged.contains("It can't be."), "{logged}");
    let found: Vec<&str> = logged.lines().filter(|line| line.contains(CANARY)).collect();
    assert_eq!(found, [""; 0]);
}
