//! Every write of the API leaves one entry, and what changes nothing leaves none.

use cronplane::app::{App, Change, Precondition};
use cronplane::domain::audit::{Entry, FieldChange, Outcome, Target};
use cronplane::domain::deployment::Deployment;
use cronplane::domain::ids::{JobKey, JobName, RunId, TeamName};
use cronplane::domain::job::{Deletion, Phase};
use cronplane::domain::run::StopRequest;
use cronplane::error::Error;
use serde_json::{Value, json};

use super::{administrator, author, entries, entries_of};
use crate::cloud::{Cloud, deployment};
use crate::history::with_job;
use crate::http::{Api, secret};
use crate::job::{
    at, definition, delete, key, moment, patch, put, stored, sweep_for_an_hour, team,
};
use crate::task::state;

const JOB: &str = "/v1/teams/platform/jobs/nightly-report";
const RUN: &str = "20261123T140000-0a";

fn change(pointer: &str, before: Value, after: Value) -> FieldChange {
    let given = |value: Value| Some(value).filter(|value| !value.is_null());
    let (before, after) = (given(before), given(after));
    FieldChange { pointer: pointer.to_owned(), before, after, masked: false }
}

fn masked(pointer: &str) -> FieldChange {
    FieldChange { masked: true, ..change(pointer, Value::Null, Value::Null) }
}

/// What the smallest definition sets, and what stands for the rest.
fn whole(name: &str) -> Vec<FieldChange> {
    let set = |pointer, value| change(pointer, Value::Null, value);
    vec![
        set("/name", json!(name)),
        set("/image", json!("busybox:1")),
        set("/cpu", json!(256)),
        set("/memory", json!(512)),
        set("/architecture", json!("x86_64")),
        set("/network/subnets", json!(["subnet-0a", "subnet-0b"])),
        set("/network/security_groups", json!(["sg-0a"])),
        set("/network/assign_public_ip", json!(true)),
        set("/capacity", json!("on_demand")),
        set("/platform_version", json!("LATEST")),
        set("/enable_execute_command", json!(false)),
        set("/enable_ecs_managed_tags", json!(false)),
        set("/schedule", json!("rate(1 day)")),
        set("/timezone", json!("UTC")),
        set("/spread", json!(false)),
        set("/enabled", json!(true)),
        set("/log_retention_days", json!(30)),
        set("/notifications/subscribers/0/protocol", json!("email")),
        set("/notifications/subscribers/0/endpoint", json!("ops@example.com")),
    ]
}

/// How an operation is asked for, and what its entry says.
struct Asked {
    body: Value,
    status: u16,
    target: Target,
    changes: Vec<FieldChange>,
}

fn asked(operation: &str) -> Asked {
    let of_job = Target::job(&key());
    let of_run = Target::run(&key(), &RunId::parse(RUN).unwrap());
    let (body, status, target, changes) = match operation {
        "create_job" => {
            let mut body = definition();
            body["name"] = json!("other");
            let other = JobKey::new(team(), JobName::parse("other").unwrap());
            (body, 201, Target::job(&other), whole("other"))
        }
        "replace_job" => {
            let mut body = definition();
            body["schedule"] = json!("rate(2 days)");
            body["environment"] = json!({"MODE": "full"});
            let told = vec![
                masked("/environment/MODE"),
                change("/schedule", json!("rate(1 day)"), json!("rate(2 days)")),
            ];
            (body, 200, of_job, told)
        }
        "update_job" => {
            let told = vec![change("/description", Value::Null, json!("new"))];
            (json!({"description": "new"}), 200, of_job, told)
        }
        "delete_job" => {
            let set = |pointer| change(pointer, Value::Null, json!(false));
            let told = vec![set("/deletion/stop_tasks"), set("/deletion/delete_logs")];
            (json!({}), 204, of_job, told)
        }
        "pause_job" => {
            let (note, resume_at) = (json!("the database moves"), json!("2127-03-01T06:00:00Z"));
            let told = vec![
                change("/enabled", json!(true), json!(false)),
                change("/pause/note", Value::Null, note.clone()),
                change("/pause/resume_at", Value::Null, resume_at.clone()),
            ];
            (json!({"note": note, "resume_at": resume_at}), 200, of_job, told)
        }
        "resume_job" => {
            (json!({}), 200, of_job, vec![change("/enabled", json!(false), json!(true))])
        }
        "test_notifications" => (json!({}), 202, of_job, Vec::new()),
        "start_run" => {
            let told = vec![
                masked("/command"),
                masked("/environment/MODE"),
                change("/cpu", Value::Null, json!(512)),
                change("/memory", Value::Null, json!(1024)),
            ];
            let body =
                json!({"command": ["x"], "environment": {"MODE": "y"}, "cpu": 512, "memory": 1024});
            // Which run it is, the answer says.
            (body, 201, of_job, told)
        }
        "stop_run" => {
            let told = vec![change("/reason", Value::Null, json!("enough"))];
            (json!({"reason": "enough"}), 202, of_run, told)
        }
        "create_team" => {
            let told = vec![
                change("/display_name", Value::Null, json!("New")),
                change("/guardrails/public_ip", Value::Null, json!(true)),
            ];
            (json!({"name": "new", "display_name": "New"}), 201, Target::default(), told)
        }
        "replace_team" => {
            let body =
                json!({"guardrails": {"max_cpu": 512, "secrets": ["arn:aws:ssm:*:*:parameter/x"]}});
            let narrowed = ["task_roles", "execution_roles", "clusters", "file_systems"];
            let mut told: Vec<FieldChange> = narrowed
                .map(|name| change(&format!("/guardrails/{name}"), json!(["*"]), json!([])))
                .into();
            let patterns = json!(["arn:aws:ssm:*:*:parameter/x"]);
            told.insert(3, change("/guardrails/secrets", json!(["*"]), patterns));
            told.push(change("/guardrails/max_cpu", Value::Null, json!(512)));
            (body, 200, Target::default(), told)
        }
        "update_team" => {
            let told = vec![change("/quotas/max_jobs", Value::Null, json!(7))];
            (json!({"quotas": {"max_jobs": 7}}), 200, Target::default(), told)
        }
        "delete_team" => (json!({}), 204, Target::default(), Vec::new()),
        "create_token" => {
            let told = vec![
                change("/role", Value::Null, json!("viewer")),
                change("/description", Value::Null, json!("for a test")),
                change("/expires_at", Value::Null, json!("2027-03-01T00:00:00Z")),
            ];
            let body = json!({
                "role": "viewer", "description": "for a test", "expires_at": "2027-03-01T00:00:00Z",
            });
            // Which token it is, the answer says.
            (body, 201, Target::default(), told)
        }
        "revoke_token" => {
            let target =
                Target { token: Some(secret().id().as_str().to_owned()), ..Target::default() };
            (json!({}), 204, target, Vec::new())
        }
        other => panic!("{other}: what is its audit entry?"),
    };
    Asked { body, status, target, changes }
}

/// The operations of the document that change something: path, method and id.
fn writes() -> Vec<(String, String, String)> {
    let document = cronplane::http::openapi::document().unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            // A preview has its question in a body, and changes nothing.
            if method != "get" && id != "preview_schedule" {
                found.push((path.clone(), method.to_uppercase(), id));
            }
        }
    }
    found
}

/// Walks the document: an operation that changes something and writes no entry fails here.
#[tokio::test]
async fn every_write_leaves_one_entry_that_says_who_did_what() {
    let writes = writes();
    assert!(writes.len() >= 9, "{writes:?}");
    for (path, method, operation) in writes {
        let asked = asked(&operation);
        let api = if operation == "delete_team" { Api::new() } else { Api::with_job().await };
        if operation != "delete_team" {
            api.ingest(&state("0a", 0, "RUNNING", 7)).await;
        }
        if operation == "resume_job" {
            api.app.job_set_enabled(&key(), false, moment(20)).await.unwrap();
        }
        let author = match &*operation {
            "create_team" | "replace_team" | "update_team" | "delete_team" => {
                administrator(&operation)
            }
            _ => author(&operation),
        };
        assert_eq!(entries(&api.cloud), [], "nobody is nobody's author");
        let path = path.replace("{team}", "platform").replace("{job}", "nightly-report");
        let path = path.replace("{run}", RUN).replace("{token}", secret().id().as_str());
        let path = format!("/v1{path}");
        let somebody = api.on_behalf_of(author.clone());
        let dry = format!("{path}?dry_run=true");
        let dry = somebody.send_json(&method, &dry, &[], asked.body.clone()).await;
        assert_eq!(dry.status, 200, "{operation}");
        assert_eq!(entries(&api.cloud), [], "{operation}: a dry run changes nothing");
        let before = jiff::Timestamp::now();
        let answer = somebody.send_json(&method, &path, &[], asked.body.clone()).await;
        assert_eq!(answer.status, asked.status, "{operation}: {}", answer.text);
        let team = if operation == "create_team" { "new" } else { "platform" };
        let told = entries_of(&api.cloud, team);
        let [entry] = &told[..] else { panic!("{operation}: {} entries", told.len()) };
        let mut target = asked.target;
        if operation == "create_token" {
            target.token = Some(answer.json()["id"].as_str().unwrap().to_owned());
        }
        if operation == "start_run" {
            target.run = Some(answer.json()["id"].as_str().unwrap().to_owned());
        }
        let wanted = Entry {
            id: entry.id.clone(),
            at: entry.at,
            team: TeamName::parse(team).unwrap(),
            author,
            target,
            outcome: Outcome::Accepted,
            reason: None,
            changes: asked.changes,
            expires_at: entry.at.as_second() + 400 * 24 * 60 * 60,
        };
        assert_eq!(*entry, wanted, "{operation}");
        let age = entry.at.duration_since(before).as_secs_f64();
        assert!((-0.1..60.0).contains(&age), "{operation}: {age}");
        assert!(entry.id.starts_with(&format!("{:.3}-", entry.at)), "{}", entry.id);
        // It is of this team only, and TTL finds it.
        assert_eq!(entries_of(&api.cloud, "other"), []);
        let state = api.cloud.state();
        let item = state.table.item(&format!("AUDIT#{team}"), &entry.id).unwrap();
        assert_eq!(item["expires_at"].as_n().unwrap(), &wanted.expires_at.to_string());
    }
}

/// Beside a change there is nothing but it and its entry in a transaction, and without an author there is
/// the one write that there always was.
#[tokio::test]
async fn a_change_and_its_entry_are_one_transaction() {
    for is_somebody in [true, false] {
        let (cloud, app) = with_job().await;
        let app = if is_somebody { app.on_behalf_of(author("pause_job")) } else { app };
        cloud.state().table.requests.clear();
        app.job_set_enabled(&key(), false, moment(10)).await.unwrap();
        let state = cloud.state();
        let writes = state.table.requests.iter().filter(|request| request.operation != "GetItem");
        let first: Vec<(&str, String)> = writes
            .take(3)
            .map(|request| {
                (request.operation, request.key.as_ref().unwrap()["pk"].as_s().unwrap().clone())
            })
            .collect();
        let job = "TEAM#platform".to_owned();
        let lease = ("UpdateItem", job.clone());
        let wanted = match is_somebody {
            true => vec![
                ("TransactWriteItems", job),
                ("TransactWriteItems", "AUDIT#platform".to_owned()),
                lease,
            ],
            false => vec![("UpdateItem", job), lease],
        };
        assert_eq!(first[..wanted.len()], wanted);
        let put = state.table.requests.iter().find(|request| {
            request.key.as_ref().is_some_and(|key| key["pk"].as_s().unwrap().starts_with("AUDIT#"))
        });
        assert_eq!(put.is_some(), is_somebody);
        if let Some(put) = put {
            assert_eq!(put.condition.as_deref(), Some("attribute_not_exists(pk)"));
        }
    }
}

#[tokio::test]
async fn what_changes_nothing_leaves_no_entry() {
    let (cloud, app) = with_job().await;
    let app = app.on_behalf_of(author("x"));
    put(&app, definition(), moment(10)).await.unwrap();
    patch(&app, json!({"image": "busybox:1"}), moment(11)).await.unwrap();
    app.job_set_enabled(&key(), true, moment(12)).await.unwrap();
    assert!(app.job_pause(&key(), json!({"note": ""}), moment(12)).await.is_err());
    // What is refused is none either.
    assert!(app.job_create(team(), definition(), moment(13)).await.is_err());
    assert!(patch(&app, json!({"cpu": 1}), moment(14)).await.is_err());
    let stale = Precondition::Match(vec!["x".to_owned()]);
    let merge = Change::Merge(json!({"image": "a"}));
    let refused = app.job_change(&key(), merge, &stale, moment(15)).await;
    assert!(matches!(refused, Err(Error::StaleVersion(_))));
    let missing = JobKey::new(team(), JobName::parse("missing").unwrap());
    for enabled in [true, false] {
        let refused = app.job_set_enabled(&missing, enabled, moment(16)).await;
        let Err(Error::NotFound(what)) = refused else { panic!("{refused:?}") };
        assert_eq!(what, "job `missing`");
    }
    let refused = app.job_delete(&missing, Deletion::default(), moment(16)).await;
    assert!(matches!(refused, Err(Error::NotFound(_))));
    assert!(app.run_start(&missing, json!({}), moment(17)).await.is_err());
    assert!(app.notification_test(&missing, moment(17)).await.is_err());
    assert_eq!(entries(&cloud), []);

    // Asked for again, a stop and a deletion that add nothing are not told again.
    app.ingest(&crate::task::snapshot(&state("0a", 0, "RUNNING", 4)), at(0)).await.unwrap();
    let run = RunId::parse(RUN).unwrap();
    for (seconds, reason) in [(20, "first"), (21, "second")] {
        app.run_stop(&key(), &run, json!({"reason": reason}), moment(seconds)).await.unwrap();
    }
    assert_eq!(entries(&cloud).len(), 1);
    cloud.state().ecs.tasks.push(crate::task::running(crate::job::BASE, "0b"));
    for seconds in [30, 31] {
        delete(&app, moment(seconds)).await.unwrap();
    }
    assert_eq!(entries(&cloud).len(), 2);
    let more = Deletion { stop_tasks: true, delete_logs: false };
    app.job_delete(&key(), more, moment(32)).await.unwrap();
    let told = entries(&cloud);
    let wanted = [change("/deletion/stop_tasks", json!(false), json!(true))];
    assert_eq!(told[2].changes, wanted);
    // A job that is being deleted can't be changed, and says so as ever.
    let refused = app.job_set_enabled(&key(), false, moment(33)).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert!(patch(&app, json!({"image": "a"}), moment(34)).await.is_err());
    assert_eq!(entries(&cloud).len(), 3);
}

/// A pause is told with what was said of it; the same again is not, and another word of it is.
#[tokio::test]
async fn a_pause_is_told_once_for_each_thing_that_is_said_of_it() {
    let (cloud, app) = with_job().await;
    let app = app.on_behalf_of(author("pause_job"));
    let first = json!({"note": "one"});
    for (seconds, said) in [(10, first.clone()), (11, first), (12, json!({}))] {
        app.job_pause(&key(), said, moment(seconds)).await.unwrap();
    }
    assert_eq!(entries(&cloud).len(), 1);
    let resume_at = at(900).to_string();
    for seconds in [20, 21] {
        let said = json!({"note": "two", "resume_at": resume_at});
        app.job_pause(&key(), said, moment(seconds)).await.unwrap();
    }
    patch(&app, json!({"enabled": true}), moment(30)).await.unwrap();
    let told = entries(&cloud);
    let [_, again, resumed] = &told[..] else { panic!("{told:?}") };
    let wanted = [
        change("/pause/note", json!("one"), json!("two")),
        change("/pause/resume_at", Value::Null, json!(resume_at)),
    ];
    assert_eq!(again.changes, wanted);
    let wanted = [
        change("/enabled", json!(false), json!(true)),
        change("/pause/note", json!("two"), Value::Null),
        change("/pause/resume_at", json!(resume_at), Value::Null),
    ];
    assert_eq!(resumed.changes, wanted);
}

/// An `Idempotency-Key` that comes again is answered and not told.
#[tokio::test]
async fn a_request_that_is_replayed_is_told_once() {
    let api = Api::new();
    let keyed = [("idempotency-key", "one")];
    let create = api.on_behalf_of(author("create_job"));
    let start = api.on_behalf_of(author("start_run"));
    for _ in 0..3 {
        let answer =
            create.send_json("POST", "/v1/teams/platform/jobs", &keyed, definition()).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    assert_eq!(entries(&api.cloud).len(), 1);
    assert_eq!(entries(&api.cloud)[0].changes, whole("nightly-report"));
    let keyed = [("idempotency-key", "two")];
    for _ in 0..3 {
        let answer = start.send_json("POST", &format!("{JOB}/runs"), &keyed, json!({})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    let told = entries(&api.cloud);
    assert_eq!(told.len(), 2);
    assert_eq!(told.iter().filter(|entry| entry.author.operation == "start_run").count(), 1);
}

/// A PUT that creates is told as it was asked for.
#[tokio::test]
async fn a_put_that_creates_is_told_as_such() {
    let cloud = Cloud::default();
    let app = cloud.app().on_behalf_of(author("replace_job"));
    assert!(put(&app, definition(), moment(0)).await.unwrap().created);
    let told = entries(&cloud);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].changes, whole("nightly-report"));
    assert_eq!(told[0].at, at(0));
}

/// Cronplane's own work is nobody's: schedules, events and the sweeper write no entries, whoever made the
/// job; and what they do under way changes none.
#[tokio::test]
async fn what_cronplane_does_by_itself_is_not_told() {
    let cloud = Cloud::default();
    let app = cloud.app();
    let somebody = app.on_behalf_of(author("create_job"));
    cloud.fail("iam:CreateRole", 1000, "ServiceFailure", "later");
    somebody.job_create(team(), definition(), crate::job::short_moment(0)).await.unwrap();
    let told = entries(&cloud);
    assert_eq!(told.len(), 1);
    cloud.mend();
    sweep_for_an_hour(&app, 0).await;
    assert_eq!(stored(&app).await.unwrap().phase, Phase::Ready);
    app.ingest(&crate::task::snapshot(&state("0a", 0, "STOPPED", 7)), at(4000)).await.unwrap();
    app.run_start(&key(), json!({}), moment(4000)).await.unwrap();
    app.job_set_enabled(&key(), false, moment(4001)).await.unwrap();
    delete(&app, moment(4002)).await.unwrap();
    assert_eq!(entries(&cloud), told);
}

/// An author's own words are kept as far as they are of use.
#[tokio::test]
async fn a_long_user_agent_is_cut() {
    let (cloud, app) = with_job().await;
    let mut long = author("pause_job");
    long.user_agent = Some("x".repeat(10_000));
    long.name = "y".repeat(10_000);
    let app = app.on_behalf_of(long);
    app.job_set_enabled(&key(), false, moment(1)).await.unwrap();
    let author = &entries(&cloud)[0].author;
    assert!(author.user_agent.as_ref().unwrap().len() < 600 && author.name.len() < 600);
}

/// What was denied stands alone; a request is denied in the log of the team that it was for.
#[tokio::test]
async fn what_is_denied_is_told_with_its_reason() {
    let (cloud, app) = with_job().await;
    let other = TeamName::parse("other").unwrap();
    app.audit_denied(&other, Target::default(), "nobody asks", moment(1)).await.unwrap();
    assert_eq!(entries_of(&cloud, "other"), []);
    let app: App = app.on_behalf_of(author("delete_job"));
    cloud.take_calls();
    app.audit_denied(&other, Target::job(&key()), "needs the role editor", moment(1))
        .await
        .unwrap();
    assert_eq!(cloud.take_calls().len(), 1);
    let told = entries_of(&cloud, "other");
    let [entry] = &told[..] else { panic!("{told:?}") };
    assert_eq!(entry.outcome, Outcome::Denied);
    assert_eq!(entry.reason.as_deref(), Some("needs the role editor"));
    assert_eq!((&entry.target, &entry.author), (&Target::job(&key()), &author("delete_job")));
    assert!(entry.changes.is_empty());
    // The same entry again is the one that is there.
    app.store.audit_put(&Entry { reason: None, ..entry.clone() }).await.unwrap();
    assert_eq!(entries_of(&cloud, "other"), told);
}

/// A task that may not be stopped: the stop is told, and that it was taken back.
#[tokio::test]
async fn a_stop_that_is_refused_is_taken_back_and_both_are_told() {
    for (code, status) in [("AccessDeniedException", 409), ("InvalidParameterException", 500)] {
        let api = Api::with_job().await;
        api.ingest(&state("0a", 0, "RUNNING", 4)).await;
        let somebody = api.on_behalf_of(author("stop_run"));
        api.cloud.fail("ecs:StopTask", 1, code, "no");
        let path = format!("{JOB}/runs/{RUN}/stop");
        let answer = somebody.send_json("POST", &path, &[], json!({"reason": "enough"})).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let told = entries(&api.cloud);
        let outcomes: Vec<(Outcome, bool)> =
            told.iter().map(|entry| (entry.outcome, entry.reason.is_some())).collect();
        assert_eq!(outcomes, [(Outcome::Accepted, false), (Outcome::Denied, true)]);
        let run = api.app.run_get(&key(), &RunId::parse(RUN).unwrap()).await.unwrap().run;
        assert_eq!(run.stop_requested, None);
        // Then it may be, and is told anew.
        let answer = somebody.send_json("POST", &path, &[], json!({})).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert_eq!(entries(&api.cloud).len(), 3);
    }
}

/// Somebody else asked for a stop in between: theirs stays, and that this one was refused is told.
#[tokio::test]
async fn a_refused_stop_is_told_though_there_is_nothing_to_take_back() {
    let api = Api::with_job().await;
    api.ingest(&state("0a", 0, "RUNNING", 4)).await;
    let id = RunId::parse(RUN).unwrap();
    let stop = StopRequest { at: at(5), reason: "enough".to_owned() };
    let target = Target::run(&key(), &id);
    let author = author("stop_run");
    let entry = Entry::new(at(5), at(500), "0a", team(), author, target, Outcome::Denied);
    api.app.store.run_withdraw_stop(&key(), &id, &stop, Some(&entry)).await.unwrap();
    assert_eq!(entries(&api.cloud), [entry]);
}

/// As long as the stack says, whatever it says of runs.
#[tokio::test]
async fn an_entry_is_kept_for_the_days_of_the_audit_log() {
    let cloud = Cloud::default();
    let app = cloud.app_of(Deployment { audit_days: 7, history_days: 30, ..deployment() });
    let app = app.on_behalf_of(author("create_job"));
    crate::job::create(&app, moment(0)).await.unwrap();
    app.audit_denied(&team(), Target::default(), "no", moment(0)).await.unwrap();
    let kept_until = at(7 * 24 * 60 * 60).as_second();
    let told = entries(&cloud);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|entry| entry.expires_at == kept_until), "{told:?}");
}
