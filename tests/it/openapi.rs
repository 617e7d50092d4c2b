//! The OpenAPI document: committed, in step with the code, and whole.

use std::collections::BTreeSet;
use std::path::PathBuf;

use axum::body::Body;
use axum::http::{Request, header};
use cronplane::domain::access::{PrincipalKind, Role};
use cronplane::domain::audit;
use cronplane::domain::job::{
    Architecture, Capacity, JobDefinition, JobOrder, PauseRequest, Phase, Protocol, ResourceKind,
    ResourceState,
};
use cronplane::domain::overrides::Overrides;
use cronplane::domain::quota::{LimitSource, Quota};
use cronplane::domain::run::{RunStatus, Trigger};
use cronplane::domain::schedule::PreviewRequest;
use cronplane::domain::team::{Guardrails, Quotas, TeamDefaults, TeamDefinition};
use cronplane::domain::token::TokenRequest;
use cronplane::domain::violation::ViolationCode;
use serde_json::{Value, json};

use crate::audit::author;
use crate::cloud::deployment;
use crate::http::Api;
use crate::task::state;

fn document() -> Value {
    serde_json::from_str(&cronplane::http::openapi::document().unwrap()).unwrap()
}

/// Path, method and description of every operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap();
            methods
                .iter()
                .map(|(method, operation)| (path.clone(), method.to_uppercase(), operation.clone()))
        })
        .collect()
}

/// `schema`, whatever stands behind references in it, and of several that all hold one that says the same.
fn whole(document: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return whole(document, &document["components"]["schemas"][name]);
    }
    let Some(all) = schema["allOf"].as_array() else {
        return schema.clone();
    };
    let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
    for one in all {
        let one = whole(document, one);
        assert_eq!(one["type"], "object");
        properties.extend(one["properties"].as_object().unwrap().clone());
        required.extend(one["required"].as_array().unwrap().clone());
    }
    json!({"type": "object", "properties": properties, "required": required})
}

fn names_in(value: &Value) -> BTreeSet<String> {
    let names =
        |list: &Vec<Value>| list.iter().map(|one| one.as_str().unwrap().to_owned()).collect();
    let keys = || value.as_object().unwrap().keys().cloned().collect();
    value.as_array().map_or_else(keys, names)
}

fn properties(document: &Value, schema: &str) -> BTreeSet<String> {
    names_in(&whole(document, &document["components"]["schemas"][schema])["properties"])
}

fn values<'a>(document: &'a Value, schema: &str) -> BTreeSet<&'a str> {
    let values = document["components"]["schemas"][schema]["enum"].as_array().unwrap();
    values.iter().map(|value| value.as_str().unwrap()).collect()
}

/// With `CRONPLANE_WRITE_OPENAPI=1` in the environment the document is written instead.
#[test]
fn the_committed_document_is_that_of_the_code() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../openapi/openapi.json");
    let document = cronplane::http::openapi::document().unwrap();
    if std::env::var_os("CRONPLANE_WRITE_OPENAPI").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, document).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == document,
        "openapi/openapi.json is not what the code says: write it with CRONPLANE_WRITE_OPENAPI=1 \
         cargo nextest run --test it the_committed_document"
    );
}

#[test]
fn every_operation_is_described() {
    let document = document();
    let operations = operations(&document);
    assert_eq!(operations.len(), 30);
    let mut ids = BTreeSet::new();
    for (path, method, operation) in &operations {
        let said = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} is there twice");
        assert!(said(&operation["summary"]), "{id}");
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{id}");
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses {
            assert!(said(&response["description"]), "{id} {status}");
            let is_problem = status.starts_with(['4', '5']);
            let content = response["content"].as_object();
            let has_problem =
                content.is_some_and(|content| content.contains_key("application/problem+json"));
            assert_eq!(has_problem, is_problem, "{id} {status}");
        }
        for status in ["400", "401", "403", "404", "429", "500", "503"] {
            assert!(responses.contains_key(status), "{id} {status}");
        }
        let none = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&none);
        for parameter in parameters {
            assert!(said(&parameter["description"]), "{id} {parameter}");
        }
        // Every part of the path is a parameter.
        for part in path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let name = part.trim_end_matches('}');
            assert!(
                parameters.iter().any(|one| one["name"] == name && one["in"] == "path"),
                "{id}"
            );
        }
        let of_a_team = path.starts_with("/teams/{team}");
        let of_none = ["/teams", "/me", "/schedules/preview", "/quotas"].contains(&path.as_str());
        assert!(of_a_team || of_none, "{method} {path}");
    }
}

#[test]
fn a_request_has_the_fields_that_are_read_and_an_answer_shows_them_all() {
    let document = document();
    let deployment = deployment();
    let set = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let job = set(JobDefinition::field_names(&deployment));
    for (schema, read) in [
        ("JobRequest", job.clone()),
        ("RunRequest", set(Overrides::field_names())),
        ("PauseRequest", set(PauseRequest::field_names())),
        ("TeamRequest", set(TeamDefinition::field_names(&deployment))),
        ("TeamDefaultsRequest", set(TeamDefaults::field_names(&deployment))),
        ("TeamDefaults", set(TeamDefaults::field_names(&deployment))),
        ("GuardrailsRequest", set(Guardrails::field_names())),
        ("Guardrails", set(Guardrails::field_names())),
        ("QuotasRequest", set(Quotas::field_names())),
        ("Quotas", set(Quotas::field_names())),
        ("TokenRequest", set(TokenRequest::field_names())),
        ("SchedulePreviewRequest", set(PreviewRequest::field_names())),
    ] {
        assert_eq!(properties(&document, schema), read, "{schema}");
    }
    let shown = properties(&document, "JobBody");
    assert!(shown.is_superset(&job), "{:?}", job.difference(&shown));
    let shown = properties(&document, "TeamBody");
    assert!(shown.is_superset(&set(TeamDefinition::field_names(&deployment))), "{shown:?}");
    let required = |schema: &str| names_in(&document["components"]["schemas"][schema]["required"]);
    assert_eq!(required("JobRequest"), set(vec!["name", "image", "schedule"]));
    assert_eq!(required("TeamRequest"), set(vec!["name"]));
    assert_eq!(required("TokenRequest"), set(vec!["description", "role"]));
    // What an answer always has, null or not.
    for schema in [
        "JobBody",
        "JobStatus",
        "Pause",
        "PausedBy",
        "RunBody",
        "JobList",
        "RunList",
        "LogList",
        "AuditList",
        "AuditEntry",
        "AuditPrincipal",
        "AuditTarget",
        "AuditChange",
        "TeamBody",
        "TeamChanged",
        "TeamDryRun",
        "TeamDefaults",
        "Guardrails",
        "Quotas",
        "TeamList",
        "NotComplying",
        "TokenBody",
        "NewToken",
        "TokenDryRun",
        "TokenList",
        "WhoAmI",
        "SchedulePreview",
        "QuotaReport",
        "QuotaUse",
        "Problem",
    ] {
        let required = whole(&document, &document["components"]["schemas"][schema]);
        assert_eq!(names_in(&required["required"]), properties(&document, schema), "{schema}");
    }
}

#[test]
fn the_lists_of_the_document_are_those_of_the_domain() {
    let document = document();
    let statuses: BTreeSet<&str> = RunStatus::ALL.map(RunStatus::as_str).into();
    assert_eq!(values(&document, "RunStatus"), statuses);
    let outcomes: BTreeSet<&str> = RunStatus::OUTCOMES.map(RunStatus::as_str).into();
    assert_eq!(values(&document, "Outcome"), outcomes);
    assert_eq!(values(&document, "Phase"), Phase::ALL.map(Phase::as_str).into());
    let list = &document["paths"]["/teams/{team}/jobs"]["get"]["parameters"];
    let order = list.as_array().unwrap().iter().find(|one| one["name"] == "order").unwrap();
    assert_eq!(order["schema"]["enum"], json!(JobOrder::ALL.map(JobOrder::as_str)));
    let protocols = [Protocol::Email, Protocol::Https, Protocol::Sqs, Protocol::Lambda];
    assert_eq!(values(&document, "Protocol"), protocols.map(Protocol::as_str).into());
    let architectures = Architecture::ALL.map(Architecture::as_str);
    assert_eq!(values(&document, "Architecture"), architectures.into());
    assert_eq!(values(&document, "Capacity"), Capacity::ALL.map(Capacity::as_str).into());
    let codes = BTreeSet::from([
        "bad_request",
        "invalid",
        "unauthorized",
        "forbidden",
        "rate_limited",
        "not_found",
        "method_not_allowed",
        "already_exists",
        "conflict",
        "precondition_failed",
        "idempotency_mismatch",
        "payload_too_large",
        "unsupported_media_type",
        "unavailable",
        "internal",
    ]);
    assert_eq!(values(&document, "ProblemCode"), codes);
    let kinds = ResourceKind::ALL.map(ResourceKind::as_str);
    assert_eq!(values(&document, "ResourceKind"), kinds.into());
    let states = [
        ResourceState::Pending,
        ResourceState::Ready,
        ResourceState::Failed,
        ResourceState::Removed,
    ];
    assert_eq!(values(&document, "ResourceState"), states.map(ResourceState::as_str).into());
    assert_eq!(values(&document, "Trigger"), Trigger::ALL.map(Trigger::as_str).into());
    assert_eq!(
        values(&document, "AuditOutcome"),
        audit::Outcome::ALL.map(audit::Outcome::as_str).into()
    );
    assert_eq!(values(&document, "AuditRole"), Role::ALL.map(Role::as_str).into());
    assert_eq!(values(&document, "QuotaName"), Quota::ALL.map(Quota::as_str).into());
    let sources = LimitSource::ALL.map(LimitSource::as_str);
    assert_eq!(values(&document, "LimitSource"), sources.into());
    let kinds = PrincipalKind::ALL.map(PrincipalKind::as_str);
    assert_eq!(values(&document, "AuditPrincipalKind"), kinds.into());
    // That of violations is told in words.
    let code = &document["components"]["schemas"]["FieldError"]["properties"]["code"];
    let told = code["description"].as_str().unwrap();
    for code in [
        ViolationCode::Required,
        ViolationCode::Type,
        ViolationCode::UnknownField,
        ViolationCode::Format,
        ViolationCode::Range,
        ViolationCode::NotAllowed,
        ViolationCode::Forbidden,
        ViolationCode::Duplicate,
        ViolationCode::DoesNotExist,
    ] {
        assert!(told.contains(&format!("`{}`", code.as_str())), "{told}");
    }
}

#[test]
fn every_schema_that_is_named_is_there() {
    let text = cronplane::http::openapi::document().unwrap();
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut named = text.split("\"#/components/schemas/").skip(1).peekable();
    assert!(named.peek().is_some());
    for rest in named {
        let name = rest.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
}

/// What `value` has that `schema` does not describe, or the other way around.
fn difference(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let schema = &whole(document, schema);
    if let Some(schemas) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let none = schemas.iter().all(|one| difference(document, one, value, at).is_some());
        return none.then(|| format!("{at}: {value} is none of {schemas:?}"));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    // Without a type it is a value of any kind.
    schema.get("type")?;
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    if !types.contains(&kind.into()) {
        return Some(format!("{at}: {value} is not {types:?}"));
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        return Some(format!("{at}: {value} is not in the list"));
    }
    let time = value.as_str().filter(|_| schema["format"] == "date-time");
    if time.is_some_and(|time| time.parse::<jiff::Timestamp>().is_err()) {
        return Some(format!("{at}: {value} is no time"));
    }
    match value {
        Value::Array(values) => values.iter().enumerate().find_map(|(index, one)| {
            difference(document, &schema["items"], one, &format!("{at}/{index}"))
        }),
        Value::Object(map) => {
            let Some(properties) = schema["properties"].as_object() else {
                let any = schema.get("additionalProperties").filter(|any| any.is_object())?;
                return map.iter().find_map(|(name, one)| {
                    difference(document, any, one, &format!("{at}/{name}"))
                });
            };
            let required = schema["required"].as_array().into_iter().flatten();
            let mut required = required.map(|name| name.as_str().unwrap());
            if let Some(missing) = required.find(|name| !map.contains_key(*name)) {
                return Some(format!("{at}: {missing} is missing"));
            }
            map.iter().find_map(|(name, one)| match properties.get(name) {
                Some(schema) => difference(document, schema, one, &format!("{at}/{name}")),
                None => Some(format!("{at}: {name} is not described")),
            })
        }
        _ => None,
    }
}

/// Real answers, with everything in them and with little, against what is said of them.
#[tokio::test]
async fn answers_are_as_they_are_described() {
    let document = document();
    let check = |schema: &str, value: &Value| {
        let schema = &document["components"]["schemas"][schema];
        assert_eq!(difference(&document, schema, value, ""), None);
    };
    let api = Api::with_job().await;
    let job = "/v1/teams/platform/jobs/nightly-report";
    check("JobBody", &api.get(job).await.json());
    let pause = format!("{job}/pause");
    let said = json!({"note": "the database moves", "resume_at": "2127-03-01T06:00:00Z"});
    for (api, said) in [(&api, json!({})), (&api.on_behalf_of(author("pause_job")), said)] {
        let answer = api.send_json("POST", &pause, &[], said).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        check("JobBody", &answer.json());
    }
    assert_eq!(api.post(&format!("{job}/resume"), json!({})).await.status, 200);
    let mut everything = crate::containers::everything();
    everything["name"] = json!("everything");
    let answer = api.post("/v1/teams/platform/jobs", everything).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    check("JobBody", &answer.json());
    for (id, seconds, status) in [("0a", 0, "STOPPED"), ("0b", 60, "PENDING")] {
        api.ingest(&state(id, seconds, status, 7)).await;
    }
    check("JobBody", &api.get(job).await.json());
    check("JobList", &api.get("/v1/teams/platform/jobs").await.json());
    check("RunList", &api.get(&format!("{job}/runs")).await.json());
    check("RunBody", &api.get(&format!("{job}/runs/20261123T140000-0a")).await.json());
    for group in api.cloud.state().logs.groups.values_mut() {
        let line = (1_700_000_000_000, "hello".to_owned());
        group.streams.insert("run/main/0a".to_owned(), vec![line]);
    }
    check("LogList", &api.get(&format!("{job}/runs/20261123T140000-0a/logs")).await.json());
    check("LogList", &api.get(&format!("{job}/runs/20261123T140100-0b/logs")).await.json());
    let runs = format!("{job}/runs");
    api.cloud.state().ecs.run_failures.push_back(("RESOURCE:FARGATE", "later"));
    for body in [json!({}), json!({"command": ["true"], "cpu": 512, "memory": 1024})] {
        let answer = api.post(&runs, body).await;
        assert_eq!(answer.status, 201);
        check("RunBody", &answer.json());
        let run = format!("{runs}/{}", answer.json()["id"].as_str().unwrap());
        check("LogList", &api.get(&format!("{run}/logs")).await.json());
        let answer = api.post(&format!("{run}/stop"), json!({"reason": "enough"})).await;
        assert_eq!(answer.status, 202);
        check("RunBody", &answer.json());
    }
    check("RunList", &api.get(&runs).await.json());
    let change =
        json!({"description": "new", "environment": {"A": "b"}, "cpu": 512, "memory": 1024});
    let owner = api.on_behalf_of(author("update_job"));
    let answer = owner.send_json("PATCH", job, &[], change).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for list in ["/v1/teams/platform/audit".to_owned(), format!("{job}/audit")] {
        let told = api.get(&list).await.json();
        assert!(told["items"].as_array().unwrap().len() > 1);
        check("AuditList", &told);
    }
    let team = json!({"name": "new", "display_name": "New", "defaults": {
        "cluster": "shared", "network": {"subnets": ["subnet-0c"]},
        "notifications": {"subscribers": [{"protocol": "email", "endpoint": "a@example.com"}]},
    }});
    check("TeamBody", &api.post("/v1/teams", team).await.json());
    check("TeamBody", &api.get("/v1/teams/platform").await.json());
    check("TeamList", &api.get("/v1/teams").await.json());
    let narrow = json!({"guardrails": {"images": [], "max_cpu": 512, "required_tags": {"a": "b"}}});
    let answer = api.send_json("PATCH", "/v1/teams/platform", &[], narrow).await;
    assert_eq!(answer.json()["not_complying"]["jobs"].as_array().unwrap().len(), 2);
    check("TeamChanged", &answer.json());
    let token = json!({"description": "a", "role": "viewer"});
    let answer = api.post("/v1/teams/platform/tokens", token).await;
    check("NewToken", &answer.json());
    let token = format!("/v1/teams/platform/tokens/{}", answer.json()["id"].as_str().unwrap());
    check("TokenBody", &api.get(&token).await.json());
    check("TokenList", &api.get("/v1/teams/platform/tokens").await.json());
    assert_eq!(api.send_json("DELETE", &token, &[], json!({})).await.status, 204);
    check("TokenBody", &api.get(&token).await.json());
    check("WhoAmI", &api.get("/v1/me").await.json());
    for expression in ["cron(0 4 * * ? *)", "rate(1 hour)", "0 4 * * *", "never"] {
        let asked = json!({"expression": expression});
        let answer = api.post("/v1/schedules/preview", asked).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        check("SchedulePreview", &answer.json());
    }
    check("WhoAmI", &owner.get("/v1/me").await.json());
    check("QuotaReport", &api.get("/v1/quotas").await.json());
    api.cloud.fail("events:ListRules", 1, "AccessDeniedException", "no");
    check("QuotaReport", &api.get("/v1/quotas").await.json());
    let stopped = format!("{job}/runs/20261123T140000-0a/stop");
    check("RunBody", &api.post(&stopped, json!({})).await.json());
    check("Problem", &api.post(&runs, json!({"cpu": 1})).await.json());
    check("Problem", &api.get(&format!("{job}?x=1")).await.json());
    check("Problem", &api.get("/v1/nothing").await.json());
}

#[test]
fn a_difference_is_found() {
    let document = document();
    let line = json!({"timestamp": "2026-11-23T14:00:00Z", "message": "x", "truncated": false});
    let schema = &document["components"]["schemas"]["LogList"];
    let different = |name: &str, value: Value| {
        let mut line = line.clone();
        line[name] = value;
        difference(&document, schema, &json!({"items": [line], "next": null}), "").is_some()
    };
    assert!(!different("message", json!("y")));
    assert!(different("message", Value::Null));
    assert!(different("truncated", json!("no")));
    assert!(different("timestamp", json!("yesterday")));
    assert!(different("number", json!(1)));
    assert!(difference(&document, schema, &json!({"items": []}), "").is_some());
}

/// Walks the document: an operation that is added without the guard fails here.
#[tokio::test]
async fn every_operation_asks_for_the_token() {
    let api = Api::new();
    let document = document();
    assert_eq!(document["servers"][0]["url"], "/v1");
    assert_eq!(document["security"], json!([{"token": []}]));
    for (path, method, operation) in operations(&document) {
        assert!(operation.get("security").is_none(), "{path} has a guard of its own");
        let path = format!("/v1{}", path.replace("{run}", "20261123T140000-0a"));
        let path = path.replace("{team}", "platform").replace("{job}", "hello");
        let path = path.replace("{token}", "0123456789abcdef");
        assert!(!path.contains('{'), "{path}");
        for token in [None, Some("Bearer wrong")] {
            let mut request = Request::builder()
                .method(&*method)
                .uri(&path)
                .header(header::CONTENT_TYPE, "application/json");
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, token);
            }
            let answer = api.send(request.body(Body::from("{}")).unwrap()).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert_eq!(answer.json()["code"], "unauthorized");
        }
    }
    assert_eq!(api.cloud.take_calls(), []);
}

/// Walks the document: an operation that changes something and can't be asked for dry fails here.
#[tokio::test]
async fn every_change_can_be_asked_for_dry() {
    let document = document();
    let mut changes = 0;
    for (path, method, operation) in operations(&document) {
        // A preview has its question in a body, and changes nothing.
        if method == "GET" || operation["operationId"] == "preview_schedule" {
            continue;
        }
        changes += 1;
        let parameters = operation["parameters"].as_array().unwrap();
        let has_flag = parameters.iter().any(|one| one["name"] == "dry_run");
        assert!(has_flag, "{method} {path}");

        let id = operation["operationId"].as_str().unwrap();
        let api = if id == "delete_team" { Api::new() } else { Api::with_job().await };
        if id != "delete_team" {
            api.ingest(&state("0a", 0, "RUNNING", 7)).await;
        }
        let token = json!({"description": "a", "role": "viewer"});
        let token = api.post("/v1/teams/platform/tokens", token).await.json();
        let before = api.cloud.state().table.without_audit();
        let (schema, status, body) = match id {
            "create_job" => {
                let other = json!({"name": "other", "image": "a", "schedule": "rate(1 day)"});
                ("JobDryRun", 201, other)
            }
            "replace_job" => ("JobDryRun", 200, json!({"image": "a", "schedule": "rate(1 day)"})),
            "update_job" => ("JobDryRun", 200, json!({"image": "a"})),
            "delete_job" => ("JobDryRun", 204, json!({})),
            "pause_job" | "resume_job" => ("JobDryRun", 200, json!({})),
            "test_notifications" => ("NotificationTestDryRun", 202, json!({})),
            "start_run" => ("RunDryRun", 201, json!({"command": ["true"]})),
            "stop_run" => ("RunDryRun", 202, json!({"reason": "enough"})),
            "create_team" => ("TeamDryRun", 201, json!({"name": "new"})),
            "replace_team" | "update_team" => {
                ("TeamDryRun", 200, json!({"quotas": {"max_jobs": 0}}))
            }
            "delete_team" => ("TeamDryRun", 204, json!({})),
            "create_token" => ("TokenDryRun", 201, json!({"description": "a", "role": "viewer"})),
            "revoke_token" => ("TokenDryRun", 204, json!({})),
            other => panic!("{other}: how is it asked for dry?"),
        };
        let path = path.replace("{run}", "20261123T140000-0a").replace("{team}", "platform");
        let path = path.replace("{token}", token["id"].as_str().unwrap());
        let path = format!("/v1{}?dry_run=true", path.replace("{job}", "nightly-report"));
        api.cloud.take_calls();
        let answer = api.send_json(&method, &path, &[], body).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text);
        let writes = api.cloud.take_calls().into_iter().filter(|call| call.writes);
        assert_eq!(writes.count(), 0, "{method} {path}");
        let told = answer.json();
        assert_eq!(told["status"], status, "{method} {path}");
        assert_eq!(told["answer"].is_null(), matches!(status, 204) || schema.starts_with("Not"));
        // Teams and tokens are nothing of AWS's; a job that is not paused needs nothing to be resumed.
        let calls = told["aws_calls"].as_array();
        assert_eq!(calls.is_none(), id.ends_with("team") || id.ends_with("token"), "{id}");
        assert!(calls.is_none_or(|calls| calls.is_empty() == (id == "resume_job")), "{id}");
        let described = &document["components"]["schemas"][schema];
        assert_eq!(difference(&document, described, &told, ""), None, "{method} {path}");
        let described = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(difference(&document, described, &told, ""), None, "{method} {path}");
        assert_eq!(api.cloud.state().table.without_audit(), before, "{method} {path}");
    }
    assert!(changes >= 8);
}

/// A conflict with others passes: the answer says when to come again, and the document that it does.
#[test]
fn a_conflict_that_may_pass_is_described_with_its_header() {
    let document = document();
    let mut described = BTreeSet::new();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            let header = &operation["responses"]["409"]["headers"]["Retry-After"];
            if header.is_object() {
                described.insert(operation["operationId"].as_str().unwrap());
            }
            let unavailable = &operation["responses"]["503"];
            let header = &unavailable["headers"]["Retry-After"];
            assert_eq!(header.is_object(), unavailable.is_object(), "{operation}");
        }
    }
    let wanted = [
        "create_job",
        "replace_job",
        "update_job",
        "pause_job",
        "resume_job",
        "start_run",
        "stop_run",
        "create_team",
        "replace_team",
        "update_team",
        "delete_team",
        "create_token",
        "revoke_token",
    ];
    assert_eq!(described, wanted.into());
}
