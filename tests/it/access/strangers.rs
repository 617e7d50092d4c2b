//! To somebody without a role in it a team is as one that does not exist.

use cronplane::domain::access::Role;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{Provider, RUNS, operations};
use crate::cloud::Cloud;
use crate::http::{Answer, Api};
use crate::job::definition;

/// Everything that somebody gets to see of an answer, byte for byte. The request's id is the same for all.
fn whole(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<(String, String)> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status, headers, answer.text.clone())
}

/// Two clouds, in one of which there is `platform` with a job, a run and a token.
#[tokio::test]
async fn what_another_team_owns_is_as_if_it_was_not_there() {
    let provider = Provider::start(Algorithm::ES256).await;
    let there = provider.api().await;
    let cloud = Cloud::default();
    cloud.state().table.remove("TEAMS", "platform");
    let gone = Api::over(cloud.clone(), cloud.app(), provider.doors());
    let mut strangers = vec![provider.bearer(json!([])), provider.bearer(json!(["other:owner"]))];
    for (seed, role) in (60..).zip(Role::OF_TEAMS) {
        let holder = there.holder("other", role, seed);
        assert_eq!(gone.holder("other", role, seed), holder);
        strangers.push(holder);
    }
    for operation in operations().iter().filter(|operation| operation.is_of_team()) {
        let (body, _) = operation.body();
        let path = operation.path_in("platform");
        let mut methods = vec![operation.method.as_str()];
        methods.extend((!operation.writes()).then_some("HEAD"));
        for stranger in &strangers {
            for method in &methods {
                // Also where what is asked for could not be, and where it would be refused.
                for (path, body) in [
                    (path.clone(), body.clone()),
                    (path.replace("nightly-report", "missing"), body.clone()),
                    (format!("{path}?dry_run=true"), body.clone()),
                    (format!("{path}?x=1"), json!({"x": 1})),
                    (path.clone(), json!("x")),
                ] {
                    let what = format!("{method} {path} {body}");
                    let answer = there.send_as(Some(stranger), method, &path, &body).await;
                    let none = gone.send_as(Some(stranger), method, &path, &body).await;
                    assert_eq!(whole(&answer), whole(&none), "{what}");
                    assert_eq!(answer.status, 404, "{what}");
                    if *method != "HEAD" {
                        let problem = answer.problem(404, "not_found");
                        assert_eq!(problem["detail"], "team `platform` does not exist", "{what}");
                    }
                }
            }
        }
    }
}

/// Of a team that was deleted nothing is left to those whose tokens were of it, nor to its people.
#[tokio::test]
async fn a_team_that_is_gone_is_gone_for_its_people_too() {
    let provider = Provider::start(Algorithm::ES256).await;
    let api = provider.api_over(&Cloud::default()).await;
    let owner = provider.bearer(json!(["platform:owner"]));
    let get = async |path: &str| api.send_as(Some(&owner), "GET", path, &Value::Null).await;
    get("/v1/teams/platform").await.of_status(200);
    api.call("DELETE", "/v1/teams/platform").await;
    for path in ["/v1/teams/platform", "/v1/teams/platform/tokens"] {
        let problem = get(path).await.problem(404, "not_found");
        assert_eq!(problem["detail"], "team `platform` does not exist");
    }
    let list = get("/v1/teams").await.of_status(200);
    assert_eq!(list, json!({"items": [], "next": null}));
    let body = json!({"role": "owner", "description": "x"});
    for (path, body) in
        [("/v1/teams/platform/tokens", body), ("/v1/teams/platform/jobs", definition())]
    {
        let answer = api.send_as(Some(&owner), "POST", path, &body).await;
        answer.problem(404, "not_found");
    }
}

/// A key is the team's own, and an answer that is kept under it is given to nobody who may not have it.
#[tokio::test]
async fn a_key_of_another_team_brings_nothing_of_that_teams() {
    let api = Api::with_job().await;
    api.post("/v1/teams/other/jobs", definition()).await.of_status(201);
    let overrides = json!({"cpu": 512, "memory": 1024, "environment": {"A": "platform's own"}});
    let post = async |who: &str, path: &str| {
        let headers = [("idempotency-key", "a key"), ("authorization", who)];
        let mut request = axum::http::Request::builder()
            .method("POST")
            .uri(path)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let body = axum::body::Body::from(overrides.to_string());
        api.send(request.body(body).unwrap()).await
    };
    let editor = api.holder("platform", Role::Editor, 50);
    let first = post(&editor, RUNS).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let again = post(&editor, RUNS).await;
    assert_eq!((again.status, &again.text), (201, &first.text));

    let foreign = api.holder("other", Role::Owner, 51);
    let answer = post(&foreign, RUNS).await;
    assert!(!answer.headers.contains_key("idempotent-replayed"));
    answer.problem(404, "not_found");
    let own = post(&foreign, "/v1/teams/other/jobs/nightly-report/runs").await;
    assert!(!own.headers.contains_key("idempotent-replayed"));
    let (own, first) = (own.of_status(201), first.json());
    assert_ne!(own["id"], first["id"]);
    assert_eq!(own["team"], "other");

    // Nor does the key lift anybody of the same team over their role.
    for (seed, role) in [(52, Role::Viewer), (53, Role::Operator)] {
        let holder = api.holder("platform", role, seed);
        let answer = post(&holder, RUNS).await;
        assert!(!answer.headers.contains_key("idempotent-replayed"));
        answer.problem(403, "forbidden");
    }
    assert_eq!(api.cloud.state().ecs.tasks.len(), 2);
}

/// Ids and cursors of what is another team's name nothing in one's own.
#[tokio::test]
async fn what_is_anothers_is_not_found_in_ones_own_team() {
    let api = Api::with_job().await;
    for name in ["nightly-report", "other-report"] {
        let mut job = definition();
        job["name"] = json!(name);
        api.post("/v1/teams/other/jobs", job).await.of_status(201);
    }
    let other_runs = "/v1/teams/other/jobs/nightly-report/runs";
    let mut runs = Vec::new();
    for _ in 0..2 {
        runs.push(api.post(other_runs, json!({})).await.of_status(201));
    }
    let id = runs[0]["id"].as_str().unwrap();
    for group in api.cloud.state().logs.groups.values_mut() {
        let line = (1_700_000_000_000, "of the other team".to_owned());
        let task = runs[0]["task_arn"].as_str().unwrap().rsplit('/').next().unwrap();
        group.streams.insert(format!("run/main/{task}"), vec![line]);
    }
    // It is there to be found.
    let log = api.get(&format!("{other_runs}/{id}/logs")).await.of_status(200);
    assert_eq!(log["items"][0]["message"], "of the other team");

    let who = api.holder("platform", Role::Owner, 50);
    let ask =
        async |method: &str, path: &str| api.send_as(Some(&who), method, path, &Value::Null).await;
    for (method, path) in [
        ("GET", format!("{RUNS}/{id}")),
        ("GET", format!("{RUNS}/{id}/logs")),
        ("GET", format!("{RUNS}/{id}/logs?container=main")),
        ("POST", format!("{RUNS}/{id}/stop")),
        ("GET", "/v1/teams/platform/jobs/other-report".to_owned()),
        ("POST", "/v1/teams/platform/jobs/other-report/runs".to_owned()),
        ("DELETE", "/v1/teams/platform/jobs/other-report".to_owned()),
    ] {
        let answer = ask(method, &path).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
    }
    let task = runs[0]["task_arn"].as_str().unwrap();
    let by_task = ask("GET", &format!("{RUNS}?task_arn={task}")).await;
    let found = by_task.json();
    assert!(by_task.status >= 400 || found["items"] == json!([]), "{found}");
    for list in ["jobs", "jobs/nightly-report/runs", "audit", "jobs/nightly-report/audit"] {
        let page = api.get(&format!("/v1/teams/other/{list}?limit=1")).await.of_status(200);
        let Some(next) = page["next"].as_str() else { panic!("{list} has one page: {page}") };
        let answer = ask("GET", &format!("/v1/teams/platform/{list}?cursor={next}")).await;
        answer.problem(400, "bad_request");
    }
    let tasks = api.cloud.state().ecs.tasks.clone();
    assert_eq!(tasks.len(), 2);
    assert!(tasks.iter().all(|task| task.desired_status() == Some("RUNNING")), "{tasks:?}");
}
