//! Teams over the API: made, looked at, changed under conditions, and deleted once they are empty.

use cronplane::domain::access::Role;
use cronplane::http::Doors;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::cloud::{Call, Cloud, Trouble, arn};
use crate::http::{Answer, Api, doors, errors};
use crate::identity::{Idp, Key};
use crate::job::definition;

const TEAMS: &str = "/v1/teams";
const DATA: &str = "/v1/teams/data";
const DATA_JOBS: &str = "/v1/teams/data/jobs";

/// A team with everything that can be said of one.
fn everything() -> Value {
    json!({
        "name": "data",
        "display_name": "Data & Reports",
        "defaults": {
            "network": {
                "subnets": ["subnet-0c"], "security_groups": ["sg-0c"], "assign_public_ip": true,
            },
            "cluster": "cron-jobs",
            "notifications": {
                "subscribers": [{"protocol": "email", "endpoint": "data@example.com"}],
            },
        },
        "guardrails": {
            "images": ["busybox:*"],
            "task_roles": ["arn:aws:iam::111122223333:role/app-data-*"],
            "execution_roles": ["arn:aws:iam::111122223333:role/app-execution"],
            "clusters": ["data-*"],
            "subnets": [],
            "security_groups": ["sg-0d"],
            "secrets": [arn("ssm", "parameter/app/data/*")],
            "file_systems": ["fs-01234567"],
            "public_ip": true,
            "max_cpu": 1024,
            "max_memory": 4096,
            "max_ephemeral_storage_gib": 50,
            "min_interval_minutes": 15,
            "required_tags": {},
        },
        "quotas": {"max_jobs": 50},
    })
}

/// What a team is of which nothing but its name was said.
fn nothing_granted() -> Value {
    json!({
        "display_name": null,
        "defaults": {"network": null, "cluster": null, "notifications": {"subscribers": []}},
        "guardrails": {
            "images": null, "task_roles": [], "execution_roles": [], "clusters": [],
            "subnets": null, "security_groups": null, "secrets": [], "file_systems": [],
            "public_ip": true, "max_cpu": null, "max_memory": null,
            "max_ephemeral_storage_gib": null, "min_interval_minutes": null, "required_tags": {},
        },
        "quotas": {"max_jobs": null},
    })
}

/// What was said of the team that is shown.
fn said(team: &Value) -> Value {
    let names = ["display_name", "defaults", "guardrails", "quotas"];
    names.into_iter().map(|name| (name.to_owned(), team[name].clone())).collect()
}

fn etag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

async fn send(api: &Api, method: &str, path: &str, body: Value) -> Answer {
    api.send_json(method, path, &[], body).await
}

async fn with_team(team: Value) -> Api {
    let api = Api::new();
    api.post(TEAMS, team).await.of_status(201);
    api.cloud.take_calls();
    api
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|team| team["name"].as_str().unwrap()).collect()
}

fn writes(calls: &[Call]) -> usize {
    calls.iter().filter(|call| call.writes).count()
}

#[tokio::test]
async fn a_team_is_what_was_said_of_it() {
    let api = Api::new();
    let answer = api.post(TEAMS, everything()).await;
    assert_eq!(answer.headers["location"], DATA);
    let tag = etag(&answer);
    let created = answer.of_status(201);
    let mut wanted = everything();
    assert_eq!(wanted.as_object_mut().unwrap().remove("name"), Some(created["name"].clone()));
    assert_eq!(said(&created), wanted);
    assert_eq!((&created["version"], &created["jobs"]), (&json!(1), &json!(0)));
    assert_eq!(created["created_at"], created["updated_at"]);
    let shown = api.get(DATA).await;
    assert_eq!(etag(&shown), tag);
    assert_eq!(shown.of_status(200), created);
    let listed = api.get(TEAMS).await.of_status(200);
    assert_eq!(names(&listed), ["data", "other", "platform"]);
    assert_eq!(listed["items"][0], created);

    // Of a name alone it is one that is granted nothing.
    let plain = api.post(TEAMS, json!({"name": "plain"})).await.of_status(201);
    assert_eq!(said(&plain), nothing_granted());
    // Its jobs are counted.
    api.post("/v1/teams/plain/jobs", definition()).await.of_status(201);
    assert_eq!(api.get("/v1/teams/plain").await.of_status(200)["jobs"], 1);
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let api = with_team(everything()).await;
    let before = api.get(DATA).await.text;
    for query in ["", "?dry_run=true"] {
        let answer = api.post(&format!("{TEAMS}{query}"), json!({"name": "data"})).await;
        let problem = answer.problem(409, "already_exists");
        assert_eq!(problem["detail"], "team `data` exists already");
    }
    assert_eq!(api.get(DATA).await.text, before);
}

#[tokio::test]
async fn a_replacement_says_everything_and_a_patch_what_it_names() {
    let api = Api::new();
    let created = send(&api, "PUT", DATA, everything()).await;
    assert_eq!(created.headers["location"], DATA);
    let first = etag(&created);
    let created = created.of_status(201);

    // The same again is no change.
    let same = send(&api, "PUT", DATA, everything()).await;
    assert_eq!(etag(&same), first);
    assert!(!same.headers.contains_key("location"));
    assert_eq!(same.of_status(200), created);
    assert_eq!(created["not_complying"], json!({"jobs": [], "more": false}));

    let patch = json!({
        "display_name": null, "guardrails": {"images": null, "max_cpu": 2048, "clusters": ["x"]},
        "defaults": {"cluster": null}, "quotas": null,
    });
    let patched = send(&api, "PATCH", DATA, patch.clone()).await;
    assert_ne!(etag(&patched), first);
    let second = etag(&patched);
    let patched = patched.of_status(200);
    let mut wanted = said(&created);
    for (pointer, value) in [
        ("/display_name", Value::Null),
        ("/guardrails/images", Value::Null),
        ("/guardrails/max_cpu", json!(2048)),
        ("/guardrails/clusters", json!(["x"])),
        ("/defaults/cluster", Value::Null),
        ("/quotas/max_jobs", Value::Null),
    ] {
        *wanted.pointer_mut(pointer).unwrap() = value;
    }
    assert_eq!(said(&patched), wanted);
    assert_eq!((&patched["version"], &patched["created_at"]), (&json!(2), &created["created_at"]));
    assert_eq!(etag(&send(&api, "PATCH", DATA, patch).await), second);
    assert_eq!(etag(&send(&api, "PATCH", DATA, json!({})).await), second);

    // What a replacement leaves out goes back to its default; the path names the team.
    let replaced = send(&api, "PUT", DATA, json!({})).await.of_status(200);
    assert_eq!(said(&replaced), nothing_granted());
    assert_eq!(replaced["version"], 3);
    // The audit log tells what was changed, and nothing of what was not.
    let told = api.get("/v1/teams/data/audit").await.of_status(200);
    let operations: Vec<&Value> =
        told["items"].as_array().unwrap().iter().map(|one| &one["operation"]).collect();
    assert_eq!(operations, ["replace_team", "update_team", "replace_team"]);
    // Of nothing there is no patch.
    let problem =
        send(&api, "PATCH", "/v1/teams/missing", json!({})).await.problem(404, "not_found");
    assert_eq!(problem["detail"], "team `missing` does not exist");
    send(&api, "PATCH", DATA, json!([])).await.problem(400, "bad_request");
}

#[tokio::test]
async fn a_change_can_be_made_under_a_condition() {
    let api = with_team(everything()).await;
    let first = etag(&api.get(DATA).await);
    let ask = async |method: &str, path: &str, header: (&str, &str)| {
        let body = json!({"display_name": "New"});
        api.send_json(method, path, &[header], body).await
    };
    for method in ["PUT", "PATCH"] {
        for query in ["", "?dry_run=true"] {
            let path = format!("{DATA}{query}");
            let stale = ask(method, &path, ("if-match", "\"another.1\"")).await;
            let problem = stale.problem(412, "precondition_failed");
            assert_eq!(problem["detail"], format!("team `data` is {first} now"));
            let missing = ask(method, &path, ("if-none-match", "*")).await;
            missing.problem(412, "precondition_failed");
            let weak = format!("W/{first}");
            let weak = ask(method, &path, ("if-match", &weak)).await;
            weak.problem(412, "precondition_failed");
            ask(method, &path, ("if-match", "x")).await.problem(400, "bad_request");
        }
    }
    assert_eq!(etag(&api.get(DATA).await), first);
    let both = format!("\"another.1\", {first}");
    let changed = ask("PATCH", DATA, ("if-match", &both)).await;
    let second = etag(&changed);
    changed.of_status(200);
    ask("PATCH", DATA, ("if-match", &first)).await.problem(412, "precondition_failed");
    ask("PUT", DATA, ("if-match", &second)).await.of_status(200);
    ask("PUT", DATA, ("if-match", "*")).await.of_status(200);
    // Where there is none.
    let missing = "/v1/teams/missing";
    ask("PUT", missing, ("if-match", "*")).await.problem(412, "precondition_failed");
    ask("PATCH", missing, ("if-match", "*")).await.problem(404, "not_found");
    ask("PUT", missing, ("if-none-match", "*")).await.of_status(201);
    // Another team of the name is another state, also of the same version.
    let of_first = etag(&api.get(missing).await);
    assert_eq!(api.call("DELETE", missing).await.status, 204);
    ask("PUT", missing, ("if-none-match", "*")).await.of_status(201);
    ask("PUT", missing, ("if-match", &of_first)).await.problem(412, "precondition_failed");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_does_nothing() {
    let mut open = everything();
    open["defaults"] = json!({});
    let api = with_team(open).await;
    let job = json!({"name": "report", "image": "busybox:1", "schedule": "rate(1 day)"});
    api.post(DATA_JOBS, job).await.of_status(201);
    let before = api.get(DATA).await.text;
    api.cloud.take_calls();
    let tighter = json!({"guardrails": {"images": ["nginx:*"]}});
    for (method, path, body, status, name) in [
        ("POST", TEAMS, json!({"name": "new"}), 201, Some("new")),
        ("PUT", "/v1/teams/new", json!({}), 201, Some("new")),
        ("PUT", DATA, tighter.clone(), 200, Some("data")),
        ("PATCH", DATA, tighter.clone(), 200, Some("data")),
        ("DELETE", "/v1/teams/other", json!({}), 204, None),
    ] {
        let told = send(&api, method, &format!("{path}?dry_run=true"), body).await.of_status(200);
        assert_eq!(told["status"], status, "{method} {path}");
        assert_eq!(told["answer"]["name"].as_str(), name, "{method} {path}");
        let not_complying = told["not_complying"]["jobs"].as_array().unwrap();
        let tightened = usize::from(path == DATA);
        assert_eq!(not_complying.len(), tightened, "{method} {path}: {told}");
        if path == DATA {
            assert_eq!(told["answer"]["guardrails"]["images"], json!(["nginx:*"]));
            assert_eq!(told["answer"]["version"], 2);
        }
    }
    assert_eq!(writes(&api.cloud.take_calls()), 0);
    assert_eq!(api.get(DATA).await.text, before);
    api.get("/v1/teams/new").await.problem(404, "not_found");
    // What would be refused is refused.
    for (method, path, body, status) in [
        ("POST", TEAMS, json!({"name": "NEW"}), 422),
        ("PATCH", DATA, json!({"quotas": {"max_jobs": -1}}), 422),
        ("PATCH", "/v1/teams/missing", json!({}), 404),
        ("DELETE", "/v1/teams/missing", json!({}), 404),
        ("DELETE", DATA, json!({}), 409),
    ] {
        let answer = send(&api, method, &format!("{path}?dry_run=true"), body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
}

/// Tightening changes no job; those that do not comply any more are told by the answer.
#[tokio::test]
async fn tightening_tells_which_jobs_do_not_comply() {
    let mut open = everything();
    open["defaults"] = json!({});
    let api = with_team(open).await;
    for (name, image, cpu) in
        [("a", "busybox:1", 256), ("b", "busybox:2", 512), ("c", "busybox:3", 256)]
    {
        let job = json!({
            "name": name, "image": image, "schedule": "rate(1 day)", "cpu": cpu, "memory": 1024,
        });
        api.post(DATA_JOBS, job).await.of_status(201);
    }
    api.cloud.take_calls();
    let tighter = json!({"guardrails": {"images": ["busybox:2", "busybox:3"], "max_cpu": 256}});
    let answer = send(&api, "PATCH", DATA, tighter.clone()).await.of_status(200);
    assert_eq!(answer["not_complying"]["more"], false);
    let jobs = answer["not_complying"]["jobs"].as_array().unwrap();
    let told: Vec<(&str, &str, &str)> = jobs
        .iter()
        .map(|job| {
            assert_eq!(job["compliant"], false);
            let violations = job["violations"].as_array().unwrap();
            let [violation] = &violations[..] else { panic!("{violations:?}") };
            let text = |name: &str| violation[name].as_str().unwrap();
            (job["job"].as_str().unwrap(), text("pointer"), text("code"))
        })
        .collect();
    assert_eq!(told, [("a", "/image", "forbidden"), ("b", "/cpu", "forbidden")]);
    // Nothing but the team and the audit log was written.
    assert_eq!(api.cloud.take_writes(), [""; 0]);
    assert_eq!(answer["jobs"], 3);
    // The same again tells the same.
    let again = send(&api, "PATCH", DATA, tighter).await.of_status(200);
    assert_eq!(again["not_complying"], answer["not_complying"]);
    let listed = api.get(&format!("{DATA_JOBS}?compliant=false")).await.of_status(200);
    assert_eq!(names(&listed), ["a", "b"]);
    let wider = json!({"guardrails": {"images": null, "max_cpu": null}});
    let answer = send(&api, "PATCH", DATA, wider).await.of_status(200);
    assert_eq!(answer["not_complying"], json!({"jobs": [], "more": false}));
}

/// The change is made by then: it is no failure that its jobs can't be read.
#[tokio::test]
async fn a_change_is_answered_though_its_jobs_can_not_be_read() {
    let api = with_team(everything()).await;
    api.cloud.fail("dynamodb:Query", 1, "InternalServerError", "not now");
    let answer = send(&api, "PATCH", DATA, json!({"display_name": "New"})).await.of_status(200);
    assert!(api.cloud.has_failed());
    assert_eq!(answer["not_complying"], json!({"jobs": [], "more": true}));
    assert_eq!(answer["display_name"], "New");
}

#[tokio::test]
async fn a_team_with_jobs_stays() {
    let api = with_team(json!({"name": "data"})).await;
    api.post(DATA_JOBS, definition()).await.of_status(201);
    let before = api.get(DATA).await.text;
    let problem = api.call("DELETE", DATA).await.problem(409, "conflict");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("team `data` has jobs (1)"), "{detail}");
    assert_eq!(api.get(DATA).await.text, before);
    let gone = api.call("DELETE", &format!("{DATA_JOBS}/nightly-report")).await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    assert_eq!(api.get(DATA).await.of_status(200)["jobs"], 0);
    assert_eq!(api.call("DELETE", DATA).await.status, 204);
    for (method, path) in [("GET", DATA), ("DELETE", DATA), ("GET", DATA_JOBS)] {
        let problem = api.call(method, path).await.problem(404, "not_found");
        assert_eq!(problem["detail"], "team `data` does not exist", "{method} {path}");
    }
    api.post(DATA_JOBS, definition()).await.problem(404, "not_found");
    // Its log is kept, for the next one of the name.
    let again = api.post(TEAMS, json!({"name": "data"})).await.of_status(201);
    assert_eq!((&again["version"], &again["jobs"]), (&json!(1), &json!(0)));
    let told = api.get("/v1/teams/data/audit").await.of_status(200);
    let operations: Vec<&Value> =
        told["items"].as_array().unwrap().iter().map(|one| &one["operation"]).collect();
    let wanted = ["create_team", "delete_team", "delete_job", "create_job", "create_team"];
    assert_eq!(operations, wanted);
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_team_is_told() {
    let api = with_team(everything()).await;
    let wrong = json!({
        "name": "Data",
        "display_name": "a\nb",
        "defaults": {
            "network": {"subnets": [], "security_groups": "sg-0c"},
            "cluster": "cronplane_other_report",
            "notifications": {"subscribers": [{"protocol": "email", "endpoint": "x"}]},
            "x": 1,
        },
        "guardrails": {
            "images": "busybox", "task_roles": [""], "execution_roles": vec!["x"; 101],
            "clusters": [1], "secrets": ["a\nb"], "public_ip": "no", "max_cpu": 255,
            "max_memory": 511, "max_ephemeral_storage_gib": 19, "min_interval_minutes": 0,
            "required_tags": {"aws:x": "y"}, "x": 1,
        },
        "quotas": {"max_jobs": 100_001, "x": 1},
        "x": 1,
    });
    let pointers = [
        "/defaults/cluster",
        "/defaults/network/security_groups",
        "/defaults/network/subnets",
        "/defaults/notifications/subscribers/0/endpoint",
        "/defaults/x",
        "/display_name",
        "/guardrails/clusters/0",
        "/guardrails/execution_roles",
        "/guardrails/images",
        "/guardrails/max_cpu",
        "/guardrails/max_ephemeral_storage_gib",
        "/guardrails/max_memory",
        "/guardrails/min_interval_minutes",
        "/guardrails/public_ip",
        "/guardrails/required_tags/aws:x",
        "/guardrails/secrets/0",
        "/guardrails/task_roles/0",
        "/guardrails/x",
        "/name",
        "/quotas/max_jobs",
        "/quotas/x",
        "/x",
    ];
    for (method, path) in [("POST", TEAMS), ("PUT", DATA), ("PATCH", DATA)] {
        for query in ["", "?dry_run=true"] {
            let answer = send(&api, method, &format!("{path}{query}"), wrong.clone()).await;
            let problem = answer.problem(422, "invalid");
            let mut told: Vec<String> = errors(&problem).into_iter().map(|one| one.0).collect();
            told.sort();
            assert_eq!(told, pointers, "{method}");
        }
    }
    for method in ["PUT", "PATCH"] {
        let problem =
            send(&api, method, DATA, json!({"name": "other"})).await.problem(422, "invalid");
        assert_eq!(errors(&problem), [("/name".to_owned(), "not_allowed".to_owned())]);
    }
    let problem = api.post(TEAMS, json!({})).await.problem(422, "invalid");
    assert_eq!(errors(&problem), [("/name".to_owned(), "required".to_owned())]);
    for name in ["", "1a", "-a", "a_b", "a.b", "a/b", "ä", "a#b", &"a".repeat(33)] {
        let problem = api.post(TEAMS, json!({"name": name})).await.problem(422, "invalid");
        assert_eq!(errors(&problem), [("/name".to_owned(), "format".to_owned())], "{name}");
    }
    for path in ["/v1/teams/Data", "/v1/teams/a_b", &format!("/v1/teams/{}", "a".repeat(33))] {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let body = if method == "DELETE" { json!({}) } else { json!({"quotas": {}}) };
            send(&api, method, path, body).await.problem(404, "not_found");
        }
    }
    let problem = api.get(&format!("{DATA}?x=1")).await.problem(400, "bad_request");
    assert_eq!(errors(&problem), [("x".to_owned(), "unknown_field".to_owned())]);
    let answer = send(&api, "DELETE", "/v1/teams/other", json!({"x": 1})).await;
    answer.problem(400, "bad_request");
    api.get("/v1/teams/other").await.of_status(200);
}

#[tokio::test]
async fn administrators_are_shown_all_teams_page_by_page() {
    let api = Api::new();
    for name in ["a", "b", "z"] {
        api.post(TEAMS, json!({"name": name})).await.of_status(201);
    }
    for limit in [1, 2, 5, 100] {
        let found = pages(&api, None, limit).await;
        assert_eq!(found, ["a", "b", "other", "platform", "z"], "{limit}");
    }
    for (query, pointer) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("name=a", "name"),
    ] {
        let answer = api.get(&format!("{TEAMS}?{query}")).await;
        let problem = answer.problem(400, "bad_request");
        assert_eq!(errors(&problem)[0].0, pointer, "{query}");
    }
    // The cursor of another list is none of this one.
    api.holder("platform", Role::Viewer, 50);
    api.holder("platform", Role::Viewer, 51);
    let tokens = api.get("/v1/teams/platform/tokens?limit=1").await.of_status(200);
    let cursor = tokens["next"].as_str().unwrap();
    api.get(&format!("{TEAMS}?cursor={cursor}")).await.problem(400, "bad_request");
}

/// The names of all pages of somebody; of the administrator where it is nobody.
async fn pages(api: &Api, who: Option<&str>, limit: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut path = format!("{TEAMS}?limit={limit}");
    for _ in 0..100 {
        let answer = match who {
            Some(who) => api.send_as(Some(who), "GET", &path, &Value::Null).await,
            None => api.get(&path).await,
        };
        let page = answer.of_status(200);
        let items = names(&page);
        assert!(items.len() <= limit);
        found.extend(items.into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { return found };
        path = format!("{TEAMS}?limit={limit}&cursor={next}");
    }
    panic!("the list has no end: {found:?}");
}

/// Whoever has roles in several teams sees those of them that there are, and no others.
#[tokio::test]
async fn others_are_shown_the_teams_of_their_roles() {
    let key = Key::new("a", Algorithm::ES256);
    let idp = Idp::start(&[&key]).await;
    let cloud = Cloud::default();
    let doors = Doors { oidc: Some(idp.verifier()), ..doors() };
    let api = Api::over(cloud.clone(), cloud.app(), doors);
    for name in ["a", "b", "c", "d"] {
        api.post(TEAMS, json!({"name": name})).await.of_status(201);
    }
    let now = jiff::Timestamp::now().as_second();
    let roles = ["a", "aa", "ab", "c", "d", "other", "y", "z"].map(|name| format!("{name}:viewer"));
    let claims = json!({"iat": now, "nbf": now, "exp": now + 3600, "cronplane": roles});
    let who = format!("Bearer {}", key.token(&idp.claims_with(claims)));
    for limit in [1, 2, 3, 4, 100] {
        let found = pages(&api, Some(&who), limit).await;
        assert_eq!(found, ["a", "c", "d", "other"], "{limit}");
    }
}

/// Whatever becomes of a call: what is answered as done is done, and with one entry.
#[tokio::test]
async fn whatever_becomes_of_a_call_there_is_a_change_with_its_entry_or_neither() {
    for (method, path, body) in [
        ("POST", TEAMS, json!({"name": "new"})),
        ("PUT", "/v1/teams/new", json!({})),
        ("PUT", "/v1/teams/other", json!({"display_name": "New"})),
        ("PATCH", "/v1/teams/other", json!({"display_name": "New"})),
        ("DELETE", "/v1/teams/other", Value::Null),
    ] {
        let ask = async |api: &Api| {
            let administrator = format!("Bearer {}", crate::http::TOKEN);
            api.send_as(Some(&administrator), method, path, &body).await
        };
        let is_done = async |api: &Api| {
            let team = if path.ends_with("other") { "/v1/teams/other" } else { "/v1/teams/new" };
            let answer = api.get(team).await;
            match method {
                "DELETE" => answer.status == 404,
                _ if path.ends_with("other") => answer.json()["display_name"] == "New",
                _ => answer.status == 200,
            }
        };
        let entries = |api: &Api| {
            let state = api.cloud.state();
            ["AUDIT#new", "AUDIT#other"]
                .map(|pk| state.table.partition(pk).len())
                .iter()
                .sum::<usize>()
        };
        let clean = Api::new();
        ask(&clean).await;
        let calls = clean.cloud.take_calls().len();
        assert!(is_done(&clean).await && calls >= 1 && entries(&clean) == 1, "{method} {path}");
        for call in 0..calls {
            for trouble in Trouble::ALL {
                let what = format!("{method} {path}: call {call} {trouble:?}");
                let api = Api::new();
                api.cloud.trouble(call, trouble);
                let answer = ask(&api).await;
                assert!(api.cloud.has_failed(), "{what}");
                let done = is_done(&api).await;
                assert_eq!(entries(&api), usize::from(done), "{what}: {}", answer.text);
                let fine = answer.status < 300;
                assert!(fine || [500, 503].contains(&answer.status), "{what}: {}", answer.text);
                assert!(!fine || done, "{what}");
                if !done {
                    let again = ask(&api).await;
                    assert!(again.status < 300 && is_done(&api).await, "{what}: {}", again.text);
                }
            }
        }
    }
}

/// Of many who change a team at once each one's change is in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_once_lose_none() {
    let api = with_team(everything()).await;
    let patches = [
        json!({"display_name": "New"}),
        json!({"guardrails": {"max_cpu": 512}}),
        json!({"quotas": {"max_jobs": 7}}),
    ];
    let changes = patches.map(|patch| {
        let api = api.clone();
        tokio::spawn(async move { send(&api, "PATCH", DATA, patch).await.status })
    });
    for change in futures::future::join_all(changes).await {
        assert_eq!(change.unwrap(), 200);
    }
    let shown = api.get(DATA).await.of_status(200);
    assert_eq!(shown["version"], 4);
    assert_eq!(
        (&shown["display_name"], &shown["guardrails"]["max_cpu"], &shown["quotas"]["max_jobs"]),
        (&json!("New"), &json!(512), &json!(7))
    );
}
