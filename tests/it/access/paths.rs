//! A path gets nobody further than what it names, however it is written, nor does a method.

use axum::body::Body;
use axum::http::Request;
use cronplane::domain::access::Role;
use lambda_http::RequestExt as _;
use serde_json::{Value, json};

use super::{Outcome, Standing};
use super::{Provider, audit_entries, more_than_reads, operations, wanted};
use crate::http::{Api, TOKEN};

const JOBS: &str = "/v1/teams/platform/jobs";
/// The team's jobs, and one of them, written otherwise.
const TRICKS: [&str; 27] = [
    "/v1/teams/%70latform/jobs",
    "/v1/teams/%2570latform/jobs",
    "/v1/team%73/platform/jobs",
    "/v1/%74eams/platform/jobs",
    "/%76%31/teams/platform/jobs",
    "/v1%2Fteams/platform/jobs",
    "/v1/teams%2Fplatform%2Fjobs",
    "/v1/teams/platform%2Fjobs",
    "/v1/teams/platform/jobs%00",
    "/v1/teams/platform/jobs%20",
    "/v1/teams/platform;other/jobs",
    "/v1/teams/platform,other/jobs",
    "//v1/teams/platform/jobs",
    "/v1//teams/platform/jobs",
    "/v1/teams//platform/jobs",
    "/v1/teams/platform//jobs",
    "/v1/teams/platform/jobs/",
    "/v1/./teams/platform/jobs",
    "/v1/teams/./platform/jobs",
    "/v1/teams/other/../platform/jobs",
    "/v1/teams/other/jobs/../../platform/jobs",
    "/v1/teams/other/%2e%2e/platform/jobs",
    "/v1/teams/other/jobs/nightly-report/../../../platform/jobs",
    "/V1/teams/platform/jobs",
    "/v1/Teams/platform/jobs",
    "/v1/teams/Platform/jobs",
    "/v1/teams/platform/JOBS",
];

#[tokio::test]
async fn a_path_that_is_written_otherwise_gets_nobody_further() {
    let api = Api::with_job().await;
    let own = api.holder("platform", Role::Owner, 50);
    let foreign = api.holder("other", Role::Owner, 51);
    let administrator = format!("Bearer {TOKEN}");
    for path in TRICKS {
        for method in ["GET", "POST", "DELETE", "HEAD"] {
            let body = if method == "POST" { json!({"name": "a"}) } else { Value::Null };
            let ask = async |who: Option<&str>| {
                api.cloud.take_calls();
                let answer = api.send_as(who, method, path, &body).await;
                let calls = more_than_reads(&api.cloud.take_calls());
                assert_eq!(calls, [""; 0], "{method} {path}");
                assert!(!answer.text.contains("nightly-report\""), "{method} {path}");
                answer.status
            };
            let status = ask(None).await;
            let below = path.starts_with("/v1/");
            assert_eq!(status, if below { 401 } else { 404 }, "{method} {path}");
            for who in [&own, &foreign, &administrator] {
                let status = ask(Some(who)).await;
                assert!([404, 405].contains(&status), "{method} {path}: {status}");
            }
        }
    }
    assert_eq!(audit_entries(&api), 0);
    assert_eq!(api.get(JOBS).await.of_status(200)["items"].as_array().unwrap().len(), 1);
}

/// API Gateway passes on two paths: the one that the URI was made of, decoded, tells what was asked for.
#[tokio::test]
async fn a_path_that_was_resolved_on_the_way_is_nobodys() {
    let api = Api::with_job().await;
    let own = api.holder("platform", Role::Owner, 50);
    let foreign = api.holder("other", Role::Owner, 51);
    for (who, status) in [(&own, 404), (&foreign, 404)] {
        for raw in ["/v1/teams/other/../platform/jobs", "/v1/teams/platform/jobs ", "/v1//teams"] {
            let request = Request::builder()
                .uri(JOBS)
                .header("authorization", who)
                .body(Body::empty())
                .unwrap();
            let answer = api.send(request.with_raw_http_path(raw)).await;
            assert_eq!(answer.status, status, "{raw}: {}", answer.text);
        }
    }
    // And the other way around: what the URI says is what the role is asked of.
    let request = Request::builder()
        .uri("/v1/teams/other/jobs")
        .header("authorization", &own)
        .body(Body::empty())
        .unwrap();
    let answer = api.send(request.with_raw_http_path(JOBS)).await;
    let problem = answer.problem(404, "not_found");
    assert_eq!(problem["detail"], "team `other` does not exist");
}

/// HEAD tells as much as GET does, by its status and headers.
#[tokio::test]
async fn head_takes_the_role_of_get() {
    let provider = Provider::start(jsonwebtoken::Algorithm::ES256).await;
    let api = provider.api().await;
    for operation in operations().iter().filter(|one| one.method == "GET") {
        let path = operation.path_in("platform");
        let mut askers = vec![(None, Standing::Nobody)];
        for (seed, role) in (50..).zip(Role::OF_TEAMS) {
            askers.push((Some(api.holder("platform", role, seed)), Standing::Member(role)));
        }
        askers.push((Some(api.holder("other", Role::Owner, 60)), Standing::Stranger));
        let administrator = Standing::Member(Role::Administrator);
        askers.push((Some(format!("Bearer {TOKEN}")), administrator));
        for (who, standing) in askers {
            let head = api.send_as(who.as_deref(), "HEAD", &path, &Value::Null).await;
            let get = api.send_as(who.as_deref(), "GET", &path, &Value::Null).await;
            let what = format!("{} {standing:?}", operation.id);
            assert_eq!(head.status, get.status, "{what}");
            let status = match wanted(operation, standing) {
                Outcome::Unrecognised => 401,
                Outcome::Nothing => 404,
                Outcome::TooSmall => 403,
                Outcome::Done => 200,
            };
            assert_eq!(head.status, status, "{what}");
        }
    }
}

/// That a method is not there is told to whoever was recognised, the same to each and of each team.
#[tokio::test]
async fn which_methods_there_are_is_told_to_the_recognised_only() {
    let api = Api::with_job().await;
    let mut told = 0;
    let known = operations();
    let own = api.holder("platform", Role::Viewer, 50);
    let administrator = format!("Bearer {TOKEN}");
    for path in known.iter().map(|operation| operation.path_in("platform")) {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"] {
            if known.iter().any(|one| one.method == method && one.path_in("platform") == path) {
                continue;
            }
            told += 1;
            api.cloud.take_calls();
            let answer = api.send_as(None, method, &path, &Value::Null).await;
            answer.problem(401, "unauthorized");
            assert_eq!(api.cloud.take_calls(), [], "{method} {path}");
            for who in [&own, &administrator] {
                let answer = api.send_as(Some(who), method, &path, &Value::Null).await;
                answer.problem(405, "method_not_allowed");
            }
            // Of a team in which one has no role, it says nothing that holds not for every team.
            let mut answers = Vec::new();
            for team in ["other", "third"] {
                let path = path.replace("platform", team);
                let answer = api.send_as(Some(&own), method, &path, &Value::Null).await;
                answers.push((answer.status, answer.text.replace(team, "")));
            }
            assert_eq!(answers[0], answers[1], "{method} {path}");
            assert_eq!(more_than_reads(&api.cloud.take_calls()), [""; 0]);
        }
    }
    assert!(told > 50, "{told}");
    assert_eq!(audit_entries(&api), 0);
}
