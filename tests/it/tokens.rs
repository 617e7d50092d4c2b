//! The teams' tokens over the API: made, shown once, listed, used, revoked, and gone with their team.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use cronplane::domain::access::Role;
use cronplane::domain::token::{Secret, TokenId};
use cronplane::error::Error;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cloud::{Cloud, Effect, Trouble, wide_team};
use crate::http::{Answer, Api, bearer, doors, errors, token};
use crate::job::team;
use crate::logged::Logged;

const TOKENS: &str = "/v1/teams/platform/tokens";
const ME: &str = "/v1/me";

/// Another instance of the function over the same cloud, which has seen nothing yet.
fn instance(cloud: &Cloud) -> Api {
    Api::over(cloud.clone(), cloud.app(), doors())
}

async fn ask(api: &Api, who: &str, method: &str, path: &str, body: Value) -> Answer {
    api.send_as(Some(who), method, path, &body).await
}

/// Who somebody is, to an instance that does not know yet.
async fn recognised(cloud: &Cloud, who: &str) -> Answer {
    ask(&instance(cloud), who, "GET", ME, Value::Null).await
}

/// A token as it was made: what its holder sends, and its id.
async fn made(api: &Api, request: Value) -> (String, String) {
    let made = api.post(TOKENS, request).await.of_status(201);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (format!("Bearer {}", text("token")), text("id"))
}

fn wanted(role: &str) -> Value {
    json!({"role": role, "description": "CI of the reports"})
}

fn at_of(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_token_is_shown_once_and_nowhere_else() {
    let (logged, _guard) = Logged::listen("trace");
    let api = Api::new();
    let answer = api.post(TOKENS, wanted("owner")).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let created = answer.of_status(201);
    let text = created["token"].as_str().unwrap().to_owned();
    let id = created["id"].as_str().unwrap();
    assert_eq!(location, format!("{TOKENS}/{id}"));
    let (secret, of) = Secret::parse(&text).unwrap();
    assert_eq!((of, secret.id().as_str()), (team(), id));
    let random = &text["cronplane_platform_".len()..][..43];
    // Nobody makes the same twice.
    let (another, _) = made(&api, wanted("owner")).await;
    assert!(!another.contains(random));

    let mut seen = Vec::new();
    let who = format!("Bearer {text}");
    let me = ask(&api, &who, "GET", ME, Value::Null).await;
    assert_eq!(me.json()["id"], format!("platform/{id}"));
    seen.push(me.text);
    for path in [TOKENS, &location, "/v1/teams/platform/audit", "/v1/teams/platform", "/v1/teams"] {
        let answer = ask(&api, &who, "GET", path, Value::Null).await;
        assert_eq!(answer.status, 200);
        seen.push(answer.text);
    }
    // Refused, denied, and with the table in trouble.
    let other = ask(&api, &who, "PATCH", "/v1/teams/other", json!({})).await;
    assert_eq!(other.status, 404);
    seen.push(other.text);
    seen.push(ask(&api, &who, "PATCH", "/v1/teams/platform", json!({})).await.text);
    seen.push(ask(&api, &who, "POST", TOKENS, json!({"role": text.clone()})).await.text);
    api.cloud.fail("dynamodb:GetItem", 1, "ValidationException", "no");
    let broken = recognised(&api.cloud, &who).await;
    assert_eq!(broken.status, 500);
    seen.push(broken.text);
    let revoked = ask(&api, &who, "DELETE", &location, Value::Null).await;
    assert_eq!(revoked.status, 204);
    let refused = recognised(&api.cloud, &who).await;
    assert_eq!(refused.status, 401);
    seen.push(refused.text);

    let state = api.cloud.state();
    seen.extend(state.table.all().map(|item| format!("{item:?}")));
    seen.extend(state.table.requests.iter().map(|request| format!("{request:?}")));
    let hash: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    let item = state.table.item("TEAM#platform", &format!("TOKEN#{id}")).unwrap();
    assert_eq!(item["hash"], AttributeValue::S(hash.clone()));
    let logged = logged.text();
    assert!(logged.contains("answered"), "{logged}");
    seen.push(logged);
    for told in &seen {
        assert!(!told.contains(random), "{told}");
    }
    // Nor its hash, but to the table.
    assert!(seen[..10].iter().all(|told| !told.contains(&hash)));
}

#[tokio::test]
async fn what_is_known_of_a_token_is_what_was_asked_for() {
    let api = Api::new();
    let owner = api.holder("platform", Role::Owner, 50);
    let id = token("platform", Role::Owner, 50).1.principal_id();
    let created_by = json!({"kind": "team_token", "id": id});
    for role in ["viewer", "operator", "editor", "owner"] {
        let answer = ask(&api, &owner, "POST", TOKENS, wanted(role)).await;
        let mut created = answer.of_status(201);
        let text = created.as_object_mut().unwrap().remove("token").unwrap();
        let created_at = at_of(&created["created_at"]);
        // 90 days where nothing else is said.
        let expires_at = created_at + SignedDuration::from_hours(90 * 24);
        let known = json!({
            "id": created["id"], "description": "CI of the reports", "role": role,
            "status": "active", "created_at": created["created_at"], "created_by": created_by,
            "expires_at": expires_at.to_string(), "revoked_at": null, "last_used_at": null,
        });
        assert_eq!(created, known);
        let path = format!("{TOKENS}/{}", created["id"].as_str().unwrap());
        assert_eq!(api.get(&path).await.of_status(200), known);
        let me = recognised(&api.cloud, &format!("Bearer {}", text.as_str().unwrap())).await;
        let me = me.of_status(200);
        assert_eq!(me["teams"], json!({"platform": role}));
        assert_eq!(me["name"], "CI of the reports");
    }
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_request_is_told() {
    let api = Api::new();
    let now = Timestamp::now();
    let days = |days: i64| (now + SignedDuration::from_hours(24 * days)).to_string();
    let with = |name: &str, value: Value| {
        let mut request = wanted("viewer");
        request[name] = value;
        request
    };
    for (request, wrong) in [
        (
            json!({"expires_at": 1, "x": 1, "role": []}),
            vec![
                ("/description", "required"),
                ("/role", "type"),
                ("/expires_at", "type"),
                ("/x", "unknown_field"),
            ],
        ),
        (
            json!({"description": "", "role": "administrator", "expires_at": "soon"}),
            vec![("/description", "range"), ("/role", "not_allowed"), ("/expires_at", "format")],
        ),
        (with("role", json!("Owner")), vec![("/role", "not_allowed")]),
        (with("role", json!("root")), vec![("/role", "not_allowed")]),
        (with("role", json!("")), vec![("/role", "not_allowed")]),
        (with("role", Value::Null), vec![("/role", "required")]),
        (with("description", json!("x".repeat(201))), vec![("/description", "range")]),
        (with("description", json!("a\u{1b}b")), vec![("/description", "format")]),
        (with("expires_at", json!(days(-1))), vec![("/expires_at", "range")]),
        (with("expires_at", json!(now.to_string())), vec![("/expires_at", "range")]),
        (with("expires_at", json!(days(401))), vec![("/expires_at", "range")]),
        (with("expires_at", json!("2027-01-31")), vec![("/expires_at", "format")]),
        (with("expires_at", json!("2027-01-31T00:00:00")), vec![("/expires_at", "format")]),
        (with("team", json!("other")), vec![("/team", "unknown_field")]),
        (with("token", json!("x")), vec![("/token", "unknown_field")]),
        (with("hash", json!("x")), vec![("/hash", "unknown_field")]),
    ] {
        for query in ["", "?dry_run=true"] {
            let answer = api.post(&format!("{TOKENS}{query}"), request.clone()).await;
            let problem = answer.problem(422, "invalid");
            let mut told = errors(&problem);
            let mut wrong: Vec<(String, String)> =
                wrong.iter().map(|(at, code)| ((*at).to_owned(), (*code).to_owned())).collect();
            told.sort();
            wrong.sort();
            assert_eq!(told, wrong, "{request}");
        }
    }
    assert_eq!(api.get(TOKENS).await.of_status(200)["items"], json!([]));
    let longest =
        json!({"role": "viewer", "description": "ü".repeat(200), "expires_at": days(400)});
    let longest = api.post(TOKENS, longest).await.of_status(201);
    assert_eq!(at_of(&longest["expires_at"]), at_of(&json!(days(400))));
    // A time is one in any zone.
    let elsewhere = with("expires_at", json!("2027-01-31T02:00:00+02:00"));
    let elsewhere = api.post(TOKENS, elsewhere).await.of_status(201);
    assert_eq!(elsewhere["expires_at"], "2027-01-31T00:00:00Z");
}

#[tokio::test]
async fn a_dry_run_makes_nothing_and_revokes_nothing() {
    let api = Api::new();
    let (who, id) = made(&api, wanted("viewer")).await;
    api.cloud.take_calls();
    let told = api.post(&format!("{TOKENS}?dry_run=true"), wanted("owner")).await.of_status(200);
    assert_eq!((&told["status"], &told["answer"]["role"]), (&json!(201), &json!("owner")));
    assert_eq!(told["answer"]["id"], "0000000000000000");
    assert!(!told.to_string().contains("cronplane_"), "{told}");
    let path = format!("{TOKENS}/{id}?dry_run=true");
    let told = api.call("DELETE", &path).await.of_status(200);
    assert_eq!(told, json!({"status": 204, "answer": null}));
    assert!(api.cloud.take_calls().iter().all(|call| !call.writes));
    assert_eq!(recognised(&api.cloud, &who).await.status, 200);
    let nothing = format!("{TOKENS}/0000000000000000?dry_run=true");
    api.call("DELETE", &nothing).await.problem(404, "not_found");
    let elsewhere = api.post("/v1/teams/missing/tokens?dry_run=true", wanted("owner")).await;
    elsewhere.problem(404, "not_found");
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_where_nobody_remembers_it() {
    let api = Api::new();
    let (who, id) = made(&api, wanted("editor")).await;
    let path = format!("{TOKENS}/{id}");
    ask(&api, &who, "GET", ME, Value::Null).await.of_status(200);
    assert_eq!(api.call("DELETE", &path).await.status, 204);
    let problem = recognised(&api.cloud, &who).await.problem(401, "unauthorized");
    assert_eq!(problem["detail"], "this token was revoked");
    let shown = api.get(&path).await.of_status(200);
    assert_eq!(shown["status"], "revoked");
    // Once more changes nothing, not even when.
    assert_eq!(api.call("DELETE", &path).await.status, 204);
    assert_eq!(api.get(&path).await.of_status(200), shown);
    let entries = api.get("/v1/teams/platform/audit").await.of_status(200);
    let operations: Vec<&Value> =
        entries["items"].as_array().unwrap().iter().map(|one| &one["operation"]).collect();
    assert_eq!(operations, ["revoke_token", "create_token"]);
    // It is shown for 90 days more.
    let state = api.cloud.state();
    let item = state.table.item("TEAM#platform", &format!("TOKEN#{id}")).unwrap();
    let kept: i64 = item["expires_at"].as_n().unwrap().parse().unwrap();
    let revoked_at = at_of(&shown["revoked_at"]).as_second();
    assert_eq!(kept, revoked_at + 90 * 24 * 60 * 60);
}

/// The instance that made sure of it goes by that for a while, in which it asks the table nothing.
#[tokio::test]
async fn an_instance_remembers_whom_it_knows_and_nobody_else() {
    let api = Api::new();
    let (who, id) = made(&api, wanted("editor")).await;
    let me = async || ask(&api, &who, "GET", ME, Value::Null).await.status;
    assert_eq!(me().await, 200);
    api.cloud.take_calls();
    assert_eq!(me().await, 200);
    assert_eq!(api.cloud.take_calls(), []);
    api.call("DELETE", &format!("{TOKENS}/{id}")).await;
    // Documented: 30 s at most; how long it is holds `http::auth`'s own test.
    assert_eq!(me().await, 200);
    // What was refused is asked for again each time.
    let (unknown, item) = token("platform", Role::Viewer, 60);
    let unknown = bearer(&unknown);
    assert_eq!(ask(&api, &unknown, "GET", ME, Value::Null).await.status, 401);
    api.cloud.put_token(&item);
    assert_eq!(ask(&api, &unknown, "GET", ME, Value::Null).await.status, 200);
}

/// Else whoever has a token that leaked could make the next one with it.
#[tokio::test]
async fn nothing_is_changed_with_a_token_that_was_revoked_by_whoever_remembers_it() {
    let api = Api::new();
    let (who, id) = made(&api, wanted("owner")).await;
    assert_eq!(ask(&api, &who, "GET", TOKENS, Value::Null).await.status, 200);
    api.call("DELETE", &format!("{TOKENS}/{id}")).await;
    assert_eq!(ask(&api, &who, "GET", TOKENS, Value::Null).await.status, 200, "it is remembered");
    let before = api.cloud.state().table.without_audit();
    for (method, path, body) in [
        ("POST", TOKENS.to_owned(), wanted("owner")),
        ("DELETE", format!("{TOKENS}/{id}"), Value::Null),
        ("POST", "/v1/teams/platform/jobs".to_owned(), crate::job::definition()),
    ] {
        let problem = ask(&api, &who, method, &path, body).await.problem(401, "unauthorized");
        assert_eq!(problem["detail"], "this token was revoked", "{method} {path}");
    }
    assert_eq!(api.cloud.state().table.without_audit(), before);
}

#[tokio::test]
async fn an_expiry_is_honoured_at_once() {
    let api = Api::new();
    let expires_at = (Timestamp::now() + SignedDuration::from_secs(2)).to_string();
    let request = json!({"role": "viewer", "description": "short", "expires_at": expires_at});
    let (who, id) = made(&api, request).await;
    ask(&api, &who, "GET", ME, Value::Null).await.of_status(200);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    // The same instance remembers it, and that it has ended.
    for api in [&api, &instance(&api.cloud)] {
        let answer = ask(api, &who, "GET", ME, Value::Null).await;
        let problem = answer.problem(401, "unauthorized");
        assert_eq!(problem["detail"], "this token has expired");
    }
    assert_eq!(api.get(&format!("{TOKENS}/{id}")).await.of_status(200)["status"], "expired");
}

#[tokio::test]
async fn a_use_is_noted_every_five_minutes() {
    let api = Api::new();
    let (who, id) = made(&api, wanted("viewer")).await;
    let sk = format!("TOKEN#{id}");
    let before = Timestamp::now() - SignedDuration::from_secs(1);
    let noted = || {
        let calls = api.cloud.take_calls();
        calls.iter().filter(|call| call.operation == "dynamodb:UpdateItem").count()
    };
    let last_used =
        async || api.get(&format!("{TOKENS}/{id}")).await.of_status(200)["last_used_at"].clone();
    assert_eq!(last_used().await, Value::Null);
    noted();
    recognised(&api.cloud, &who).await.of_status(200);
    assert_eq!(noted(), 1);
    let first = last_used().await;
    assert!((before..=Timestamp::now()).contains(&at_of(&first)), "{first}");
    recognised(&api.cloud, &who).await.of_status(200);
    assert_eq!((noted(), last_used().await), (0, first));
    let used_ago = |seconds: i64| {
        let at = (Timestamp::now() - SignedDuration::from_secs(seconds)).to_string();
        let mut state = api.cloud.state();
        let item = state.table.item_mut("TEAM#platform", &sk);
        item.insert("last_used_at".to_owned(), AttributeValue::S(at.clone()));
        at
    };
    used_ago(290);
    recognised(&api.cloud, &who).await.of_status(200);
    assert_eq!(noted(), 0);
    // That it can't be noted turns nobody away.
    let ago = used_ago(301);
    api.cloud.fail("dynamodb:UpdateItem", 1, "InternalServerError", "no answer");
    recognised(&api.cloud, &who).await.of_status(200);
    assert_eq!((noted(), last_used().await), (1, json!(ago)));
    recognised(&api.cloud, &who).await.of_status(200);
    assert_eq!(noted(), 1);
    assert!(at_of(&last_used().await) > before);
    // Nor is a use that was refused one.
    used_ago(301);
    api.call("DELETE", &format!("{TOKENS}/{id}")).await;
    noted();
    assert_eq!(recognised(&api.cloud, &who).await.status, 401);
    assert_eq!(noted(), 0);
}

#[tokio::test]
async fn a_token_ends_with_its_team_and_does_not_come_back_with_its_name() {
    let api = Api::new();
    let (who, id) = made(&api, wanted("owner")).await;
    recognised(&api.cloud, &who).await.of_status(200);
    assert_eq!(api.call("DELETE", "/v1/teams/platform").await.status, 204);
    let refused = async || {
        let problem = recognised(&api.cloud, &who).await.problem(401, "unauthorized");
        assert_eq!(problem["detail"], "this token is not known");
    };
    refused().await;
    api.post(TOKENS, wanted("owner")).await.problem(404, "not_found");
    api.get(TOKENS).await.problem(404, "not_found");
    api.post("/v1/teams", json!({"name": "platform"})).await.of_status(201);
    refused().await;
    // To the new team it is none, neither in the list nor by itself.
    let (_, own) = made(&api, wanted("viewer")).await;
    let list = api.get(TOKENS).await.of_status(200);
    let ids: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, [&json!(own)]);
    for method in ["GET", "DELETE"] {
        let answer = api.call(method, &format!("{TOKENS}/{id}")).await;
        let problem = answer.problem(404, "not_found");
        assert_eq!(problem["detail"], format!("token `{id}` does not exist"));
    }
}

/// That the table does not answer is nobody's fault who asks.
#[tokio::test]
async fn while_the_table_is_away_nobody_is_told_to_be_unknown() {
    let cloud = Cloud::default();
    let holder = instance(&cloud).holder("platform", Role::Viewer, 50);
    for trouble in Trouble::ALL {
        for call in 0..2 {
            let api = instance(&cloud);
            cloud.trouble(call, trouble);
            let answer = ask(&api, &holder, "GET", ME, Value::Null).await;
            assert!(cloud.has_failed());
            if trouble == Trouble::Denied {
                // What waiting does not mend.
                answer.problem(500, "internal");
            } else {
                assert!(answer.headers.contains_key("retry-after"), "{trouble:?}");
                answer.problem(503, "unavailable");
            }
            // And it was not remembered.
            ask(&api, &holder, "GET", ME, Value::Null).await.of_status(200);
        }
    }
    // What is no token is none without the table.
    cloud.fail("dynamodb:GetItem", 100, "InternalServerError", "no answer");
    let answer = recognised(&cloud, "Bearer cronplane_platform_x").await;
    answer.problem(401, "unauthorized");
}

/// Whatever becomes of a call: a token that was shown is good, and whoever got no answer got no token.
#[tokio::test]
async fn a_token_that_was_shown_is_good_whatever_becomes_of_a_call() {
    let clean = Api::new();
    clean.cloud.take_calls();
    made(&clean, wanted("viewer")).await;
    let calls = clean.cloud.take_calls().len();
    assert!(calls >= 2);
    for call in 0..calls {
        for trouble in Trouble::ALL {
            let api = Api::new();
            api.cloud.trouble(call, trouble);
            let answer = api.post(TOKENS, wanted("viewer")).await;
            assert!(api.cloud.has_failed());
            assert!([201, 500, 503].contains(&answer.status), "{trouble:?}: {}", answer.text);
            if answer.status != 201 {
                assert!(!answer.text.contains("cronplane_platform_"));
                let (who, _) = made(&api, wanted("viewer")).await;
                recognised(&api.cloud, &who).await.of_status(200);
            }
            // An entry for each that is there, shown or not.
            let state = api.cloud.state();
            let tokens = state.table.partition("TEAM#platform").len();
            assert_eq!(state.table.partition("AUDIT#platform").len(), tokens, "{trouble:?}");
        }
    }
    // The insert comes a second time where the answer to the first one was lost.
    let store = clean.app.store.clone();
    let (_, item) = token("platform", Role::Viewer, 50);
    for _ in 0..2 {
        store.token_insert(&item, None).await.unwrap();
    }
    let mut another = item.clone();
    another.hash = "0".repeat(64);
    let refused = store.token_insert(&another, None).await;
    assert!(matches!(refused, Err(Error::Internal(_))), "{refused:?}");
    assert_eq!(store.token_get(&team(), &item.id).await.unwrap(), Some(item));
}

/// A team that goes between leaves no token that nobody sees.
#[tokio::test]
async fn of_a_team_that_was_made_anew_meanwhile_no_token_is_made() {
    let cloud = Cloud::default();
    let store = cloud.store();
    let (_, item) = token("platform", Role::Viewer, 50);
    let mut anew = wide_team("platform");
    anew.id = "another id".to_owned();
    cloud.put_team(&anew);
    let refused = store.token_insert(&item, None).await;
    assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
    assert!(cloud.state().table.partition("TEAM#platform").is_empty());
}

/// Whatever becomes of a call: it is revoked once, with its entry, or not at all.
#[tokio::test]
async fn a_revocation_whose_answer_is_lost_is_one() {
    for effect in [Effect::None, Effect::Done] {
        let api = Api::new();
        let (who, id) = made(&api, wanted("viewer")).await;
        let path = format!("{TOKENS}/{id}");
        // Behind the team and the token, which are read first.
        api.cloud.lose(2, effect);
        let answer = api.call("DELETE", &path).await;
        assert!(api.cloud.has_failed());
        answer.problem(503, "unavailable");
        let status = if effect == Effect::Done { 401 } else { 200 };
        assert_eq!(recognised(&api.cloud, &who).await.status, status);
        assert_eq!(api.call("DELETE", &path).await.status, 204);
        assert_eq!(recognised(&api.cloud, &who).await.status, 401);
        assert_eq!(api.cloud.state().table.partition("AUDIT#platform").len(), 2);
    }
}

#[tokio::test]
async fn a_list_comes_page_by_page() {
    let api = Api::new();
    let mut ids = Vec::new();
    for seed in 50..55 {
        api.holder("platform", Role::Viewer, seed);
        ids.push(token("platform", Role::Viewer, seed).0.id().as_str().to_owned());
    }
    // One of a former team of the name stands between them, and one of another team.
    let (_, mut former) = token("platform", Role::Viewer, 60);
    former.team_id = "another id".to_owned();
    api.cloud.put_token(&former);
    api.holder("other", Role::Viewer, 61);
    ids.sort();
    for limit in [1, 2, 3, 5, 6, 100] {
        let mut found = Vec::new();
        let mut path = format!("{TOKENS}?limit={limit}");
        loop {
            let page = api.get(&path).await.of_status(200);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            found.extend(items.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("{TOKENS}?limit={limit}&cursor={next}");
        }
        assert_eq!(found, ids, "{limit}");
    }
    let next = api.get(&format!("{TOKENS}?limit=1")).await.of_status(200)["next"].clone();
    let next = next.as_str().unwrap();
    for (path, pointer) in [
        (format!("/v1/teams/other/tokens?cursor={next}"), "cursor"),
        (format!("{TOKENS}?cursor=x"), "cursor"),
        (format!("{TOKENS}?limit=0"), "limit"),
        (format!("{TOKENS}?limit=101"), "limit"),
        (format!("{TOKENS}?role=owner"), "role"),
    ] {
        let problem = api.get(&path).await.problem(400, "bad_request");
        assert_eq!(errors(&problem)[0].0, pointer, "{path}");
    }
}

#[tokio::test]
async fn what_is_no_id_of_a_token_names_none() {
    let api = Api::new();
    api.holder("platform", Role::Viewer, 50);
    let id = token("platform", Role::Viewer, 50).0.id().as_str().to_owned();
    assert!(TokenId::parse(&id).is_some());
    for (team, id) in [
        ("platform", "0000000000000000".to_owned()),
        ("platform", id.to_uppercase()),
        ("platform", id[..15].to_owned()),
        ("platform", "x".to_owned()),
        // It is another team's.
        ("other", id.clone()),
    ] {
        for method in ["GET", "DELETE"] {
            let path = format!("/v1/teams/{team}/tokens/{id}");
            let problem = api.call(method, &path).await.problem(404, "not_found");
            assert_eq!(problem["detail"], format!("token `{id}` does not exist"));
        }
    }
    let path = format!("{TOKENS}/{id}");
    api.send_json("DELETE", &path, &[], json!({"x": 1})).await.problem(400, "bad_request");
    api.get(&path).await.of_status(200);
}
