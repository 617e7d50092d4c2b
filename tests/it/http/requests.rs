//! What holds for every request: who may ask, what is no request, and how that is told.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, header};
use cronplane::http::Doors;
use serde_json::{Value, json};

use lambda_http::RequestExt as _;

use super::client::{Api, JOBS, THE_JOB, TOKEN, authorized, errors};
use crate::cloud::{Cloud, arn};
use crate::job::definition;
use crate::task::state;

#[tokio::test]
async fn a_body_that_is_no_definition_is_refused() {
    let api = Api::new();
    for body in [json!([]), json!("x"), json!(null), json!(1)] {
        let problem = api.post(JOBS, body).await.problem(422, "invalid");
        assert!(errors(&problem).contains(&(String::new(), "type".to_owned())), "{problem}");
    }
    let twice = definition().to_string().replacen('{', "{\"name\": \"other\",", 1);
    for text in ["", "{", "{\"name\": }", "\u{feff}{}", "{} {}", &twice] {
        let answer = api.post_text(JOBS, "application/json", text.to_owned()).await;
        answer.problem(400, "bad_request");
    }
    let nested = |depth: usize| {
        let image = "[".repeat(depth - 1) + &"]".repeat(depth - 1);
        definition().to_string().replacen("\"busybox:1\"", &image, 1)
    };
    let deepest = api.post_text(JOBS, "application/json", nested(32)).await;
    let problem = deepest.problem(422, "invalid");
    assert_eq!(errors(&problem), [("/image".to_owned(), "type".to_owned())]);
    for deep in [nested(33), "[".repeat(100_000)] {
        let answer = api.post_text(JOBS, "application/json", deep).await;
        let problem = answer.problem(400, "bad_request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("nested deeper than 32 levels"), "{detail}");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "", "json"] {
        let answer = api.post_text(JOBS, kind, definition().to_string()).await;
        answer.problem(415, "unsupported_media_type");
    }
    let untyped = authorized("POST", JOBS).body(Body::from(definition().to_string())).unwrap();
    api.send(untyped).await.problem(415, "unsupported_media_type");
    let typed = "Application/JSON; charset=utf-8";
    api.post_text(JOBS, typed, definition().to_string()).await.of_status(201);
}

#[tokio::test]
async fn a_body_has_at_most_256_kib() {
    let api = Api::new();
    let body = |bytes: usize| {
        let mut text = definition().to_string();
        text.push_str(&" ".repeat(bytes - text.len()));
        text
    };
    let answer = api.post_text(JOBS, "application/json", body(256 * 1024 + 1)).await;
    let problem = answer.problem(413, "payload_too_large");
    assert_eq!(problem["title"], "Content Too Large");
    let answer = api.post_text(JOBS, "application/json", body(256 * 1024)).await;
    answer.of_status(201);
}

/// What is not an object has no fields that could be missing.
#[tokio::test]
async fn a_body_that_is_no_object_is_told_once() {
    let api = Api::new();
    let problem = api.post(JOBS, json!([])).await.problem(422, "invalid");
    assert_eq!(errors(&problem), [(String::new(), "type".to_owned())]);
}

/// A body may hold a hundred thousand mistakes; the answer stays small and comes soon.
#[tokio::test]
async fn of_very_many_mistakes_the_first_hundred_are_told() {
    let api = Api::new();
    let many = |what: Value, count: usize| Value::from(vec![what; count]);
    let object = |count: usize| -> Value {
        (0..count).map(|number| (format!("k{number}"), json!(1))).collect()
    };
    for (field, value) in [
        ("command", many(json!(1), 100_000)),
        ("network", json!({"subnets": many(json!(1), 100_000)})),
        ("network", json!({"security_groups": many(json!("x"), 60_000)})),
        ("notifications", json!({"subscribers": many(json!({}), 80_000)})),
        ("environment", object(15_000)),
        ("tags", object(15_000)),
        ("network", object(15_000)),
    ] {
        let mut job = definition();
        job[field] = value;
        let started = std::time::Instant::now();
        let answer = api.post(JOBS, job).await;
        assert!(answer.text.len() < 100_000, "{field}: {} bytes", answer.text.len());
        // Some 0.1 s, unoptimised; what grows with the square takes minutes.
        assert!(started.elapsed().as_secs() < 10, "{field}: {:?}", started.elapsed());
        let problem = answer.problem(422, "invalid");
        assert!(problem["errors"].as_array().unwrap().len() <= 130, "{field}");
    }
}

/// API Gateway decodes the path; what makes a URI of it drops and resolves what it finds there.
#[tokio::test]
async fn a_path_reaches_what_it_names_and_nothing_else() {
    let api = Api::with_job().await;
    for path in ["%20", "%00", "%2F..%2Fhello", "%5C", "%3f", "%0d%0a"] {
        let path = format!("{THE_JOB}{path}");
        api.call("GET", &path).await.problem(404, "not_found");
        api.call("DELETE", &path).await.problem(404, "not_found");
    }
    for decoded in ["%20", " ", "\u{0}", "/../hello", "\\", "?x=1"] {
        // As the runtime passes it on: the path of the event beside the URI that was made of it.
        let mut request = authorized("DELETE", THE_JOB).body(Body::empty()).unwrap();
        request = request.with_raw_http_path(format!("{THE_JOB}{decoded}"));
        api.send(request).await.problem(404, "not_found");
    }
    let request = authorized("GET", THE_JOB).body(Body::empty()).unwrap();
    api.send(request.with_raw_http_path(THE_JOB)).await.of_status(200);
}

#[tokio::test]
async fn a_schedule_that_never_starts_is_refused() {
    let api = Api::new();
    for schedule in ["cron(0 4 31 2 ? *)", "cron(0 4 * * ? 2020)"] {
        let mut job = definition();
        job["schedule"] = json!(schedule);
        let problem = api.post(JOBS, job).await.problem(422, "invalid");
        let expected = [("/schedule".to_owned(), "range".to_owned())];
        assert_eq!(errors(&problem), expected, "{schedule}");
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_refused() {
    let api = Api::with_job().await;
    let runs = format!("{THE_JOB}/runs");
    let run = format!("{runs}/20261123T140000-0a");
    for (method, path, pointer, code) in [
        ("GET", JOBS, "limit=0", "range"),
        ("GET", JOBS, "limit=101", "range"),
        ("GET", JOBS, "limit=many", "range"),
        ("GET", JOBS, "limit=1&limit=2", "duplicate"),
        ("GET", JOBS, "cursor=nonsense", "format"),
        ("GET", JOBS, "cursor=", "format"),
        ("GET", JOBS, "page=2", "unknown_field"),
        ("GET", JOBS, "order=created", "not_allowed"),
        ("GET", JOBS, "order=", "not_allowed"),
        ("GET", JOBS, "name_prefix=", "format"),
        ("GET", JOBS, "name_prefix=Report", "format"),
        ("GET", JOBS, "name_prefix=-a", "format"),
        ("GET", JOBS, "phase=broken", "not_allowed"),
        ("GET", JOBS, "phase=ready&phase=failed", "duplicate"),
        ("GET", JOBS, "enabled=yes", "not_allowed"),
        ("GET", JOBS, "enabled", "not_allowed"),
        ("GET", JOBS, "last_outcome=running", "not_allowed"),
        ("GET", JOBS, "last_outcome=pending", "not_allowed"),
        ("GET", JOBS, "tag=", "format"),
        ("GET", JOBS, "tag=,data", "format"),
        ("GET", JOBS, "tag=a,b,c", "format"),
        ("GET", JOBS, "tag=a&tag=a,1", "duplicate"),
        ("GET", JOBS, "tag=a&tag=b&tag=c&tag=d&tag=e&tag=f", "range"),
        ("GET", JOBS, "tags=a", "unknown_field"),
        ("GET", THE_JOB, "x=1", "unknown_field"),
        ("POST", &format!("{THE_JOB}/pause"), "x=1", "unknown_field"),
        ("DELETE", THE_JOB, "stop_tasks=maybe", "format"),
        ("DELETE", THE_JOB, "stop_tasks", "format"),
        ("DELETE", THE_JOB, "stop_tasks=", "format"),
        ("GET", JOBS, "=1", "unknown_field"),
        ("DELETE", THE_JOB, "stop_task=true", "unknown_field"),
        ("GET", &runs, "status=broken", "not_allowed"),
        ("GET", &runs, "trigger=cron", "not_allowed"),
        ("GET", &runs, "from=yesterday", "format"),
        ("GET", &runs, "to=2026-11-23", "format"),
        ("GET", &runs, "to=-000001-01-01T00:00:00Z", "format"),
        ("GET", &runs, "from=1969-12-31T23:59:59Z", "format"),
        ("GET", &runs, "cursor=bm90LW91cnM", "format"),
        ("GET", &format!("{run}/logs"), "limit=10001", "range"),
        ("GET", &format!("{run}/logs"), "tail=0", "range"),
        ("GET", &format!("{run}/logs"), "tail=5&limit=5", "not_allowed"),
    ] {
        let answer = api.call(method, &format!("{path}?{pointer}")).await;
        let problem = answer.problem(400, "bad_request");
        let name = pointer.split('=').next().unwrap();
        assert_eq!(errors(&problem), [(name.to_owned(), code.to_owned())], "{path}?{pointer}");
    }
    let both = api.get(&format!("{JOBS}?limit=0&color=red")).await.problem(400, "bad_request");
    assert_eq!(errors(&both).len(), 2);
    let query = "phase=x&enabled=x&last_outcome=x&tag=&tag=,&name_prefix=X&order=x&limit=x";
    let all = api.get(&format!("{JOBS}?{query}")).await.problem(400, "bad_request");
    assert_eq!(errors(&all).len(), 8);
    assert_eq!(api.cloud.take_writes(), [""; 0]);
}

#[tokio::test]
async fn a_cursor_belongs_to_its_list() {
    let api = Api::new();
    for name in ["a", "b", "c"] {
        let mut job = definition();
        job["name"] = json!(name);
        api.post(JOBS, job).await.of_status(201);
    }
    for number in 0..3 {
        let mut event = state(&format!("0{number}"), number, "STOPPED", 7);
        let family = "cronplane_platform_a";
        event["detail"]["taskDefinitionArn"] =
            json!(arn("ecs", &format!("task-definition/{family}:1")));
        api.ingest(&event).await;
    }
    let jobs = api.get(&format!("{JOBS}?limit=1")).await.of_status(200);
    let runs = api.get(&format!("{JOBS}/a/runs?limit=1")).await.of_status(200);
    let (jobs, runs) = (jobs["next"].as_str().unwrap(), runs["next"].as_str().unwrap());
    for path in [
        format!("{JOBS}?cursor={runs}"),
        format!("/v1/teams/other/jobs?cursor={jobs}"),
        format!("{JOBS}/a/runs?cursor={jobs}"),
        format!("{JOBS}/b/runs?cursor={runs}"),
        format!("{JOBS}/a/runs?cursor={runs}&from=2026-11-23T14:00:01Z"),
        format!("{JOBS}/a/runs/20261123T140000-00/logs?cursor={runs}"),
    ] {
        let problem = api.get(&path).await.problem(400, "bad_request");
        assert_eq!(errors(&problem), [("cursor".to_owned(), "format".to_owned())], "{path}");
    }
    api.get(&format!("{JOBS}?cursor={jobs}")).await.of_status(200);
    api.get(&format!("{JOBS}/a/runs?cursor={runs}")).await.of_status(200);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let api = Api::with_job().await;
    for (method, path) in [
        ("GET", "/".to_owned()),
        ("GET", "/nothing".to_owned()),
        ("GET", "/v1/nothing".to_owned()),
        ("GET", "/v1/teams/".to_owned()),
        ("GET", format!("{JOBS}/")),
        ("GET", format!("{THE_JOB}/nothing")),
        ("GET", format!("{JOBS}/other")),
        ("DELETE", format!("{JOBS}/other")),
        ("POST", format!("{JOBS}/other/pause")),
        ("POST", format!("{JOBS}/other/resume")),
        ("POST", format!("{JOBS}/other/notifications/test")),
        ("GET", format!("{JOBS}/other/runs")),
        ("GET", format!("{THE_JOB}/runs/nonsense")),
        ("GET", format!("{THE_JOB}/runs/20261123T140000-0a")),
        ("GET", format!("{THE_JOB}/runs/20261123T140000-0a/logs")),
        ("POST", format!("{JOBS}/other/runs")),
        ("POST", format!("{THE_JOB}/runs/20261123T140000-0a/stop")),
        ("POST", format!("{THE_JOB}/runs/nonsense/stop")),
        // What can't be a name names nothing.
        ("GET", "/v1/teams/Platform/jobs".to_owned()),
        ("GET", "/v1/teams/%C3%A4/jobs".to_owned()),
        ("GET", "/v1/teams/%FF/jobs".to_owned()),
        ("GET", format!("/v1/teams/{}/jobs", "a".repeat(33))),
        ("GET", format!("{JOBS}/not_a_name")),
        ("GET", format!("{JOBS}/{}", "a".repeat(65))),
        ("GET", format!("{JOBS}/a%2Fb")),
    ] {
        let problem = api.call(method, &path).await.problem(404, "not_found");
        assert_eq!(problem["instance"], path, "{path}");
        assert_eq!(problem["title"], "Not Found");
    }
    let mut job = definition();
    job["name"] = json!("x");
    api.post("/v1/teams/Platform/jobs", job).await.problem(404, "not_found");
}

/// Where nothing is, the answer names the path as it was asked for.
#[tokio::test]
async fn an_unknown_path_is_told_whole() {
    let api = Api::new();
    for path in ["/nothing", "/v1/nothing"] {
        let problem = api.get(path).await.problem(404, "not_found");
        assert_eq!(problem["detail"], format!("there is nothing at {path}"));
    }
    let problem = api.call("PUT", JOBS).await.problem(405, "method_not_allowed");
    assert_eq!(problem["detail"], format!("{JOBS} does not take PUT"));
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_refused() {
    let api = Api::with_job().await;
    for (method, path, allowed) in [
        ("PUT", JOBS.to_owned(), &["GET", "POST"][..]),
        ("POST", THE_JOB.to_owned(), &["GET", "PUT", "PATCH", "DELETE"]),
        ("GET", format!("{THE_JOB}/pause"), &["POST"]),
        ("PUT", format!("{THE_JOB}/runs"), &["GET", "POST"]),
        ("POST", "/healthz".to_owned(), &["GET"]),
    ] {
        let answer = api.call(method, &path).await;
        // RFC 9110, section 15.5.6: the answer must say what is allowed.
        let header = answer.headers["allow"].to_str().unwrap().to_owned();
        for method in allowed {
            assert!(header.contains(method), "{path}: {header}");
        }
        answer.problem(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    let api = Api::with_job().await;
    let basic = format!("Basic {TOKEN}");
    let almost = format!("Bearer {}", &TOKEN[1..]);
    let more = format!("Bearer {TOKEN}x");
    let doubled = format!("Bearer Bearer {TOKEN}");
    for value in [None, Some(""), Some("Bearer"), Some("Bearer "), Some(TOKEN), Some(&*basic)]
        .into_iter()
        .chain([Some(&*almost), Some(&*more), Some(&*doubled)])
    {
        for path in [JOBS, THE_JOB, "/v1/nothing", "/v1/", "/v1/teams/NO/jobs?x=1"] {
            let mut request = Request::builder().uri(path);
            if let Some(value) = value {
                request = request.header(header::AUTHORIZATION, value);
            }
            let answer = api.send(request.body(Body::empty()).unwrap()).await;
            let challenge = answer.headers.get("www-authenticate");
            assert_eq!(challenge, Some(&"Bearer".parse().unwrap()), "{path} {}", answer.text);
            assert!(!answer.text.contains("horse"));
            answer.problem(401, "unauthorized");
        }
    }
    let request = Request::builder().uri("/v1/teams/platform/jobs");
    let lower = request.header(header::AUTHORIZATION, format!("bearer {TOKEN}"));
    assert_eq!(api.send(lower.body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_deployment_without_a_token_lets_nobody_in() {
    let cloud = Cloud::default();
    for hash in ["", "00", &"zz".repeat(32)] {
        let doors = Doors { admin_token_sha256: hash.to_owned(), ..Doors::default() };
        let api = Api::over(cloud.clone(), cloud.app(), doors);
        api.get(JOBS).await.problem(401, "unauthorized");
        let empty = authorized("GET", JOBS).header(header::AUTHORIZATION, "Bearer ");
        api.send(empty.body(Body::empty()).unwrap()).await.problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn the_document_and_the_health_are_open() {
    let api = Api::new();
    let open = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
    let answer = api.send(open("/openapi.json")).await;
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    let document: Value =
        serde_json::from_str(&cronplane::http::openapi::document().unwrap()).unwrap();
    assert_eq!(answer.json(), document);
    let answer = api.send(open("/healthz")).await;
    assert_eq!((answer.status, &*answer.text), (200, "ok\n"));
    assert_eq!(api.cloud.take_calls(), []);
}

#[tokio::test]
async fn what_aws_says_is_not_shown() {
    let api = Api::with_job().await;
    let secret = "User: arn:aws:sts::111122223333:assumed-role/cronplane-http/x is not \
                  authorized to perform: dynamodb:GetItem on resource: table/secret";
    api.cloud.fail("dynamodb:GetItem", 1, "AccessDeniedException", secret);
    let answer = api.get(THE_JOB).await;
    for part in ["arn:", "AccessDenied", "dynamodb", "authorized", "assumed-role", TOKEN] {
        assert!(!answer.text.contains(part), "{part}: {}", answer.text);
    }
    let problem = answer.problem(500, "internal");
    assert_eq!(problem["errors"], json!([]));

    let later = [
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "InternalServerError",
        "RequestLimitExceeded",
    ];
    for code in later {
        api.cloud.fail("dynamodb:GetItem", 1, code, "dynamodb secret");
        let answer = api.get(THE_JOB).await;
        assert!(!answer.text.contains("secret") && !answer.text.contains(code), "{code}");
        let seconds: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(seconds > 0);
        answer.problem(503, "unavailable");
    }
}

/// Every request has an id of its own: it leads to the log.
#[tokio::test]
async fn every_answer_has_its_own_request_id() {
    let api = Api::with_job().await;
    let mut ids = BTreeSet::new();
    for path in [JOBS, JOBS, "/healthz", "/nothing"] {
        let answer = api.get(path).await;
        ids.insert(answer.headers["x-request-id"].to_str().unwrap().to_owned());
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    assert_eq!(ids.len(), 4);
}
