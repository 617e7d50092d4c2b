//! Guardrails over the API: what a team's jobs may not be, by whatever way, and what becomes of those that
//! were made before.

mod changes;
mod compliance;
mod defaults;
mod escalation;

use cronplane::domain::team::{Team, TeamDefinition};
use serde_json::{Value, json};

use crate::cloud::{Cluster, deployment, wide_team};
use crate::http::Api;
use crate::job::definition;

const JOBS: &str = "/v1/teams/platform/jobs";
const THE_JOB: &str = "/v1/teams/platform/jobs/nightly-report";
const RUNS: &str = "/v1/teams/platform/jobs/nightly-report/runs";
const ROLE: &str = "arn:aws:iam::111122223333:role/app-report";

/// The team `platform` with this definition besides its name.
fn team_of(definition: Value) -> Team {
    let mut value = definition;
    value["name"] = json!("platform");
    let (_, definition) = TeamDefinition::read(value, &deployment()).unwrap();
    Team { definition, ..wide_team("platform") }
}

/// The team may do what the deployment allows, but for these guardrails.
fn narrowed(limits: &Value) -> Team {
    let mut guardrails = json!({
        "task_roles": ["*"], "execution_roles": ["*"], "clusters": ["*"], "secrets": ["*"],
        "file_systems": ["*"],
    });
    guardrails.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    team_of(json!({"guardrails": guardrails}))
}

/// Sets what the team may do; the number of its jobs stays.
fn set(api: &Api, team: Team) {
    let jobs = api.cloud.state().table.item("TEAMS", "platform").unwrap()["jobs"].clone();
    api.cloud.put_team(&team);
    let mut state = api.cloud.state();
    state.table.item_mut("TEAMS", "platform").insert("jobs".to_owned(), jobs);
}

/// An API with clusters that jobs can name.
fn api() -> Api {
    let api = Api::new();
    for name in ["shared", "data-jobs"] {
        let capacity_providers = vec!["FARGATE".to_owned(), "FARGATE_SPOT".to_owned()];
        let cluster = Cluster { capacity_providers, ..Cluster::default() };
        api.cloud.state().ecs.clusters.insert(name.to_owned(), cluster);
    }
    api
}

/// The same with a job in it.
async fn with_job() -> Api {
    let api = api();
    let answer = api.post(JOBS, definition()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    api.cloud.take_calls();
    api
}

/// The smallest job of this name, with a merge patch.
fn job(name: &str, change: &Value) -> Value {
    let mut wanted = json!({"name": name, "image": "busybox:1", "schedule": "rate(1 day)"});
    wanted.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    wanted
}

/// Pointers and codes of a refusal.
fn errors(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = answer["errors"].as_array().unwrap().iter();
    errors.map(|one| (text(&one["pointer"]), text(&one["code"]))).collect()
}

fn forbidden(pointers: &[&str]) -> Vec<(String, String)> {
    pointers.iter().map(|one| ((*one).to_owned(), "forbidden".to_owned())).collect()
}

/// Nothing was done since `before` but that the audit log tells of it, or nothing at all.
#[track_caller]
fn assert_only_told(api: &Api, before: &Items) {
    let calls = api.cloud.take_calls();
    assert!(calls.iter().all(|call| call.operation.starts_with("dynamodb:")), "{calls:?}");
    assert_eq!(&items(api), before);
}

type Items = std::collections::BTreeMap<(String, String), crate::cloud::Item>;

/// What is in the table, but for the audit log.
fn items(api: &Api) -> Items {
    api.cloud.state().table.without_audit()
}

async fn send(api: &Api, method: &str, path: &str, body: Value) -> (u16, Value) {
    let answer = api.send_json(method, path, &[], body).await;
    let value = if answer.text.is_empty() { Value::Null } else { answer.json() };
    (answer.status, value)
}
