//! Who may do what: every operation of the document with every kind of credential, held against the one
//! table of roles; and ways to get further than that.

mod paths;
mod sign_in;
mod strangers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use cronplane::domain::access::Role;
use cronplane::domain::token::{Secret, Token};
use cronplane::http::{Doors, roles};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::cloud::{Call, Cloud, Item};
use crate::http::{Answer, Api, TOKEN, bearer, doors, secret, token};
use crate::identity::{Idp, Key};
use crate::job::definition;
use crate::task::state;

const OVERRIDES: &str = "start_run with overrides";
const RUN: &str = "20261123T140000-0a";
const RUNS: &str = "/v1/teams/platform/jobs/nightly-report/runs";

/// An operation of the document.
#[derive(Clone, Debug)]
struct Operation {
    id: String,
    method: String,
    path: String,
}

impl Operation {
    fn is_of_team(&self) -> bool {
        self.path.contains("{team}")
    }

    /// Whether it changes something: all but what is read, and what only has its question in a body.
    fn writes(&self) -> bool {
        self.method != "GET" && self.id != "preview_schedule"
    }

    /// Its path, about something that is there.
    fn path_in(&self, team: &str) -> String {
        let path = self.path.replace("{team}", team).replace("{job}", "nightly-report");
        let path = path.replace("{run}", RUN).replace("{token}", secret().id().as_str());
        assert!(!path.contains('{'), "{path}: what stands there?");
        format!("/v1{path}")
    }

    /// A body that it takes, and the status of its answer then.
    fn body(&self) -> (Value, u16) {
        match &*self.id {
            "create_job" => {
                let mut other = definition();
                other["name"] = json!("other");
                (other, 201)
            }
            "replace_job" => (definition(), 200),
            "update_job" => (json!({"description": "new"}), 200),
            "delete_job" | "delete_team" | "revoke_token" => (Value::Null, 204),
            "pause_job" | "resume_job" => (Value::Null, 200),
            "test_notifications" | "stop_run" => (Value::Null, 202),
            "start_run" => (Value::Null, 201),
            "create_token" => (json!({"role": "viewer", "description": "new"}), 201),
            "create_team" => (json!({"name": "new"}), 201),
            "preview_schedule" => (json!({"expression": "rate(1 day)"}), 200),
            "replace_team" | "update_team" => (json!({"display_name": "New"}), 200),
            other if self.writes() => panic!("{other}: what does it take?"),
            _ => (Value::Null, 200),
        }
    }
}

/// Those of the document.
fn operations() -> Vec<Operation> {
    let document = cronplane::http::openapi::document().unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            found.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase(),
                path: path.clone(),
            });
        }
    }
    assert!(found.len() >= 28, "{}", found.len());
    found
}

/// What somebody has to do with the team `platform`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    /// Not recognised.
    Nobody,
    /// Recognised, and without a role in the team.
    Stranger,
    Member(Role),
}

/// Somebody who asks.
#[derive(Debug)]
struct Caller {
    what: String,
    authorization: Option<String>,
    standing: Standing,
}

impl Caller {
    fn new(what: impl Into<String>, authorization: &str, standing: Standing) -> Caller {
        let authorization = Some(authorization.to_owned());
        Caller { what: what.into(), authorization, standing }
    }

    async fn asks(&self, api: &Api, method: &str, path: &str, body: &Value) -> Answer {
        api.send_as(self.authorization.as_deref(), method, path, body).await
    }
}

/// What is to come of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// 401
    Unrecognised,
    /// 404, as of a team that does not exist.
    Nothing,
    /// 403
    TooSmall,
    Done,
}

/// By the table.
fn wanted(operation: &Operation, standing: Standing) -> Outcome {
    let least = least_role(&operation.id);
    match standing {
        Standing::Nobody => Outcome::Unrecognised,
        Standing::Stranger if operation.is_of_team() => Outcome::Nothing,
        // Where no team is named, everybody who was recognised is alike, but for an administrator.
        Standing::Member(role) if operation.is_of_team() && role < least => Outcome::TooSmall,
        Standing::Member(role) if operation.is_of_team() || role == Role::Administrator => {
            Outcome::Done
        }
        Standing::Stranger | Standing::Member(_) if least == Role::Viewer => Outcome::Done,
        Standing::Stranger | Standing::Member(_) => Outcome::TooSmall,
    }
}

fn least_role(operation: &str) -> Role {
    let row = roles().find(|(id, _)| *id == operation);
    row.unwrap_or_else(|| panic!("{operation} has no row in the table of roles")).1
}

/// A provider, and how its tokens are signed.
struct Provider {
    idp: Idp,
    key: Key,
}

impl Provider {
    async fn start(algorithm: Algorithm) -> Provider {
        let key = Key::new("a", algorithm);
        Provider { idp: Idp::start(&[&key]).await, key }
    }

    /// Claims that let in now, but for these.
    fn claims(&self, changes: Value) -> Value {
        let now = Timestamp::now().as_second();
        let mut claims = self.idp.claims_with(json!({"iat": now, "nbf": now, "exp": now + 3600}));
        json_patch::merge(&mut claims, &changes);
        claims
    }

    /// The value of `Authorization` of somebody with these roles.
    fn bearer(&self, roles: Value) -> String {
        format!("Bearer {}", self.key.token(&self.claims(json!({"cronplane": roles}))))
    }

    fn doors(&self) -> Doors {
        Doors { oidc: Some(self.idp.verifier()), ..doors() }
    }

    /// An API that lets in those of the provider, with the job and a run in it.
    async fn api(&self) -> Api {
        let api = Api::with_job().await;
        self.api_over(&api.cloud).await
    }

    async fn api_over(&self, cloud: &Cloud) -> Api {
        let api = Api::over(cloud.clone(), cloud.app(), self.doors());
        api.ingest(&state("0a", 0, "RUNNING", 7)).await;
        // What operations on a token are about.
        cloud.put_token(&token("platform", Role::Viewer, 7).1);
        api.cloud.take_calls();
        api
    }

    /// One in which the operation can be carried out.
    async fn api_for(&self, operation: &Operation) -> Api {
        if operation.id == "delete_team" {
            let cloud = Cloud::default();
            return Api::over(cloud.clone(), cloud.app(), self.doors());
        }
        self.api().await
    }
}

/// A token whose item was changed.
fn changed(seed: u8, change: impl FnOnce(&mut Token)) -> (Secret, Token) {
    let (secret, mut token) = token("platform", Role::Owner, seed);
    change(&mut token);
    (secret, token)
}

/// Everybody that there is, known to the cloud of `api` as far as they are known.
fn callers(api: &Api, provider: &Provider) -> Vec<Caller> {
    let mut all = vec![Caller {
        what: "no token".to_owned(),
        authorization: None,
        standing: Standing::Nobody,
    }];
    let owner = api.holder("platform", Role::Owner, 40);
    let good = owner.trim_start_matches("Bearer ").to_owned();
    let other_last = if good.ends_with('0') { "1" } else { "0" };
    let wrong_checksum = format!("{}{other_last}", &good[..good.len() - 1]);
    let of_another_team = good.replacen("platform", "other", 1);
    for (what, authorization) in [
        ("nothing behind the scheme", "Bearer ".to_owned()),
        ("no scheme", good.clone()),
        ("basic", format!("Basic {good}")),
        ("basic, encoded", "Basic cGxhdGZvcm06cGFzc3dvcmQ=".to_owned()),
        ("not a token", "Bearer x".to_owned()),
        ("only the beginning of one", "Bearer cronplane_platform_".to_owned()),
        ("a wrong checksum", format!("Bearer {wrong_checksum}")),
        ("of another team by its text", format!("Bearer {of_another_team}")),
        ("something behind it", format!("Bearer {good} {good}")),
        ("the token's hash", format!("Bearer {}", token("platform", Role::Owner, 40).1.hash)),
        ("the hash of the administrator's token", {
            format!("Bearer {}", doors().admin_token_sha256)
        }),
    ] {
        all.push(Caller::new(what, &authorization, Standing::Nobody));
    }
    let expired =
        changed(41, |token| token.valid_until = Timestamp::now() - SignedDuration::from_secs(1));
    let revoked = changed(42, |token| token.revoked_at = Some(token.created_at));
    let of_former_team = changed(43, |token| token.team_id = "another id".to_owned());
    let same_id = changed(44, |token| {
        token.hash = format!("{}{}", &token.hash[..16], "0".repeat(48));
    });
    for (what, (secret, token)) in [
        ("expired", expired),
        ("revoked", revoked),
        ("of a team that was deleted", of_former_team),
        ("with the id of another one", same_id),
    ] {
        api.cloud.put_token(&token);
        all.push(Caller::new(what, &bearer(&secret), Standing::Nobody));
    }
    for team in ["platform", "missing"] {
        let (secret, _) = token(team, Role::Owner, 45);
        all.push(Caller::new("an unknown id", &bearer(&secret), Standing::Nobody));
    }
    for (seed, role) in (50..).zip(Role::OF_TEAMS) {
        let name = role.as_str();
        let member = Standing::Member(role);
        let own = api.holder("platform", role, seed);
        all.push(Caller::new(format!("a token: {name}"), &own, member));
        let foreign = api.holder("other", role, seed + 10);
        all.push(Caller::new(
            format!("another team's token: {name}"),
            &foreign,
            Standing::Stranger,
        ));
        let claim = json!([format!("platform:{name}"), "elsewhere:owner"]);
        all.push(Caller::new(format!("oidc: {name}"), &provider.bearer(claim), member));
        let claim = json!([format!("other:{name}")]);
        let foreign = provider.bearer(claim);
        all.push(Caller::new(format!("oidc, elsewhere: {name}"), &foreign, Standing::Stranger));
    }
    all.push(Caller::new("oidc: no role", &provider.bearer(json!([])), Standing::Stranger));
    let administrator = Standing::Member(Role::Administrator);
    let claim = json!(["administrator"]);
    all.push(Caller::new("oidc: administrator", &provider.bearer(claim), administrator));
    all.push(Caller::new("the administrator", &format!("Bearer {TOKEN}"), administrator));
    all
}

/// Everything in the table but the audit log.
fn table(api: &Api) -> Vec<Item> {
    let state = api.cloud.state();
    let all = state.table.all();
    all.filter(|item| !item["pk"].as_s().unwrap().starts_with("AUDIT#")).cloned().collect()
}

fn audit_entries(api: &Api) -> usize {
    let state = api.cloud.state();
    state.table.all().filter(|item| item["pk"].as_s().unwrap().starts_with("AUDIT#")).count()
}

/// What was called besides reading single items of the table.
fn more_than_reads(calls: &[Call]) -> Vec<&'static str> {
    let calls = calls.iter().filter(|call| call.operation != "dynamodb:GetItem");
    calls.map(|call| call.operation).collect()
}

/// The row of every operation, and nothing else; the same as people read.
#[test]
fn the_table_the_document_and_what_people_read_are_the_same() {
    let table: BTreeMap<&str, Role> = roles().collect();
    assert_eq!(roles().count(), table.len(), "an operation is there twice");
    let mut wanted: BTreeSet<String> = operations().into_iter().map(|one| one.id).collect();
    wanted.insert(OVERRIDES.to_owned());
    let told: BTreeSet<String> = table.keys().map(|id| (*id).to_owned()).collect();
    assert_eq!(told, wanted);
    assert!(table[OVERRIDES] > table["start_run"]);

    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/SECURITY.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", operation, role, ..] = cells[..] else { continue };
        let Some(role) = Role::parse(role) else { continue };
        rows.push((operation.trim_matches('`'), role));
    }
    assert_eq!(rows.len(), table.len(), "{rows:?}");
    assert_eq!(rows.into_iter().collect::<BTreeMap<_, _>>(), table);
}

/// Walks the document with everybody. Whoever may not is told so, nothing is looked at and nothing is done;
/// whoever may gets it done.
#[tokio::test]
async fn every_operation_takes_the_role_that_the_table_says() {
    let provider = Provider::start(Algorithm::EdDSA).await;
    let mut seen = BTreeMap::new();
    for operation in operations() {
        let api = provider.api_for(&operation).await;
        let path = operation.path_in("platform");
        let (body, status) = operation.body();
        let all = callers(&api, &provider);
        let before = table(&api);
        for caller in all {
            let outcome = wanted(&operation, caller.standing);
            let what = format!("{}: {} is to be {outcome:?}", operation.id, caller.what);
            *seen.entry(format!("{outcome:?}")).or_insert(0) += 1;
            if outcome == Outcome::Done && operation.writes() {
                let api = provider.api_for(&operation).await;
                callers(&api, &provider);
                let answer = caller.asks(&api, &operation.method, &path, &body).await;
                assert_eq!(answer.status, status, "{what}: {}", answer.text);
                continue;
            }
            let entries = audit_entries(&api);
            api.cloud.take_calls();
            let answer = caller.asks(&api, &operation.method, &path, &body).await;
            let calls = api.cloud.take_calls();
            let new_entries = audit_entries(&api) - entries;
            let writes = more_than_reads(&calls);
            match outcome {
                Outcome::Unrecognised => {
                    assert_eq!(answer.headers["www-authenticate"], "Bearer", "{what}");
                    answer.problem(401, "unauthorized");
                    assert!(calls.len() <= 2, "{what}: {calls:?}");
                    assert_eq!((writes, new_entries), (vec![], 0), "{what}");
                }
                Outcome::Nothing => {
                    let problem = answer.problem(404, "not_found");
                    assert_eq!(problem["detail"], "team `platform` does not exist", "{what}");
                    let told = usize::from(operation.writes());
                    assert_eq!((writes.len(), new_entries), (told, told), "{what}");
                    assert!(calls.len() <= 3, "{what}: {calls:?}");
                }
                Outcome::TooSmall => {
                    let problem = answer.problem(403, "forbidden");
                    let detail = problem["detail"].as_str().unwrap();
                    let least = least_role(&operation.id).as_str();
                    assert!(
                        detail.starts_with(&format!("this takes the role `{least}`")),
                        "{what}"
                    );
                    let told = operation.is_of_team() && operation.writes();
                    assert_eq!(new_entries, usize::from(told), "{what}");
                    // The entry, if the team is there; before it the team and the token of who asks.
                    assert_eq!(writes, vec!["dynamodb:PutItem"; new_entries], "{what}");
                    assert!(calls.len() <= 3, "{what}: {calls:?}");
                }
                Outcome::Done => assert_eq!(answer.status, status, "{what}: {}", answer.text),
            }
            assert!(table(&api) == before, "{what}: something was changed");
        }
    }
    // Nobody was forgotten.
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen.values().all(|count| *count > 50), "{seen:?}");
}

/// A role is one in its team only, also of somebody who has several.
#[tokio::test]
async fn of_several_roles_that_of_the_team_counts() {
    let provider = Provider::start(Algorithm::ES256).await;
    let api = provider.api().await;
    let both = provider.bearer(json!(["platform:viewer", "other:owner"]));
    for (path, status) in [
        ("/v1/teams/platform/jobs", 200),
        ("/v1/teams/platform/audit", 403),
        ("/v1/teams/other/audit", 200),
        ("/v1/teams/third/audit", 404),
    ] {
        let answer = api.send_as(Some(&both), "GET", path, &Value::Null).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
}

/// The teams that somebody is shown are those of the token.
#[tokio::test]
async fn everybody_is_shown_their_own_teams() {
    let provider = Provider::start(Algorithm::ES256).await;
    let api = provider.api().await;
    let shown = async |authorization: &str, path: &str| {
        let answer = api.send_as(Some(authorization), "GET", path, &Value::Null).await;
        answer.of_status(200)
    };
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|team| team["name"].as_str().unwrap().to_owned()).collect()
    };
    for (seed, role) in (60..).zip(Role::OF_TEAMS) {
        let holder = api.holder("other", role, seed);
        assert_eq!(names(&shown(&holder, "/v1/teams").await), ["other"]);
        let me = shown(&holder, "/v1/me").await;
        let id = token("other", role, seed).1.principal_id();
        let wanted = json!({
            "kind": "team_token", "id": id, "name": format!("a {}", role.as_str()),
            "administrator": false, "teams": {"other": role.as_str()},
        });
        assert_eq!(me, wanted);
    }
    let nobody = provider.bearer(json!([]));
    assert_eq!(names(&shown(&nobody, "/v1/teams").await), [""; 0]);
    let me = shown(&nobody, "/v1/me").await;
    assert_eq!((&me["kind"], &me["teams"]), (&json!("oidc"), &json!({})));
    let both = provider.bearer(json!("other:viewer platform:owner"));
    assert_eq!(names(&shown(&both, "/v1/teams").await), ["other", "platform"]);
    let me = shown(&both, "/v1/me").await;
    assert_eq!(me["teams"], json!({"other": "viewer", "platform": "owner"}));
    for all in [format!("Bearer {TOKEN}"), provider.bearer(json!(["administrator"]))] {
        assert_eq!(names(&shown(&all, "/v1/teams").await), ["other", "platform"]);
        assert_eq!(shown(&all, "/v1/me").await["administrator"], true);
    }
}

/// What a run has in place of the definition is a definition of the moment, whatever comes of it.
#[tokio::test]
async fn an_operator_starts_runs_as_they_are_defined_and_no_others() {
    let api = Api::with_job().await;
    let operator = api.holder("platform", Role::Operator, 51);
    let editor = api.holder("platform", Role::Editor, 52);
    let post = async |who: &str, query: &str, body: &Value| {
        api.send_as(Some(who), "POST", &format!("{RUNS}{query}"), body).await
    };
    for body in [
        json!({"command": ["true"]}),
        json!({"cpu": 512, "memory": 1024}),
        json!({"environment": {"A": "b"}}),
        json!({"environment": {}}),
        json!({"command": null}),
        json!({"unknown": 1}),
        json!([]),
        json!("x"),
        json!(false),
    ] {
        for query in ["", "?dry_run=true"] {
            let problem = post(&operator, query, &body).await.problem(403, "forbidden");
            let detail = problem["detail"].as_str().unwrap();
            let wanted = "this takes the role `editor` in the team; yours is `operator`";
            assert_eq!(detail, wanted, "{body}");
        }
    }
    assert!(api.cloud.state().ecs.tasks.is_empty());
    let overrides = json!({"cpu": 512, "memory": 1024});
    post(&editor, "?dry_run=true", &overrides).await.of_status(200);
    post(&editor, "", &overrides).await.of_status(201);
    for body in [Value::Null, json!({})] {
        post(&operator, "?dry_run=true", &body).await.of_status(200);
        post(&operator, "", &body).await.of_status(201);
    }
    // JSON's own null, which is a body.
    let null = axum::http::Request::builder()
        .method("POST")
        .uri(RUNS)
        .header("authorization", &operator)
        .header("content-type", "application/json")
        .body(axum::body::Body::from(" null "));
    api.send(null.unwrap()).await.of_status(201);
    assert_eq!(api.cloud.state().ecs.tasks.len(), 4);
}

/// Whoever may write a definition may not grant themselves more.
#[tokio::test]
async fn nobody_changes_their_own_team() {
    let api = Api::with_job().await;
    let teams = || {
        let state = api.cloud.state();
        state.table.partition("TEAMS").into_iter().cloned().collect::<Vec<_>>()
    };
    let before = teams();
    for (seed, role) in (50..).zip(Role::OF_TEAMS) {
        let holder = api.holder("platform", role, seed);
        let guardrails = json!({"guardrails": {"task_roles": ["*"], "secrets": ["*"]}});
        for (method, path) in [
            ("PUT", "/v1/teams/platform"),
            ("PATCH", "/v1/teams/platform"),
            ("PATCH", "/v1/teams/platform?dry_run=true"),
            ("DELETE", "/v1/teams/platform"),
            ("POST", "/v1/teams"),
        ] {
            let answer = api.send_as(Some(&holder), method, path, &guardrails).await;
            answer.problem(403, "forbidden");
        }
    }
    assert_eq!(teams(), before);
}
