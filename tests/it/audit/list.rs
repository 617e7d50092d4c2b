//! `GET /teams/{team}/audit` and `GET /teams/{team}/jobs/{job}/audit`.

use cronplane::domain::access::PrincipalKind;
use cronplane::domain::audit::{Entry, Outcome, Target};
use cronplane::domain::ids::{JobKey, JobName, TeamName};
use serde_json::{Value, json};

use super::{author, entries};
use crate::http::Api;
use crate::job::{at, definition, key, team};

const LOG: &str = "/v1/teams/platform/audit";
const JOB_LOG: &str = "/v1/teams/platform/jobs/nightly-report/audit";

/// Entry `number`, of so many minutes after the beginning.
fn entry(number: i64) -> Entry {
    let mut author = author(if number % 2 == 0 { "update_job" } else { "start_run" });
    if number % 3 == 0 {
        author.kind = PrincipalKind::Oidc;
        author.id = "somebody@example.com".to_owned();
    }
    let job = if number % 5 == 0 { "other" } else { "nightly-report" };
    let target = Target::job(&JobKey::new(team(), JobName::parse(job).unwrap()));
    let at = at(60 * number);
    let unique = format!("{number:04}");
    let entry = Entry::new(at, at, &unique, team(), author, target, Outcome::Accepted);
    if number % 7 == 0 { entry.denied("a reason") } else { entry }
}

async fn with_entries(count: i64) -> Api {
    let api = Api::new();
    for number in 0..count {
        api.app.store.audit_put(&entry(number)).await.unwrap();
    }
    api
}

/// The ids of all pages of a list, and how many pages there were.
async fn walk(api: &Api, path: &str, limit: usize) -> (Vec<String>, usize) {
    let mut ids = Vec::new();
    let mut pages = 0;
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut next = String::new();
    loop {
        let page = api.get(&format!("{path}{separator}limit={limit}{next}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let page = page.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return (ids, pages),
        }
    }
}

fn ids(numbers: impl Iterator<Item = i64>) -> Vec<String> {
    numbers.map(|number| entry(number).id).collect()
}

#[tokio::test]
async fn entries_are_listed_newest_first_page_by_page() {
    let api = with_entries(60).await;
    for limit in [1, 7, 59, 60, 100] {
        let (listed, pages) = walk(&api, LOG, limit).await;
        assert_eq!(listed, ids((0..60).rev()), "{limit}");
        assert_eq!(pages, 60_usize.div_ceil(limit), "{limit}");
    }
    let first = api.get(LOG).await.json();
    assert_eq!(first["items"].as_array().unwrap().len(), 50);
    let oldest = api.get(&format!("{LOG}?to={}", at(0))).await.json();
    let wanted = json!({
        "id": "2026-11-23T14:00:00.000Z-0000",
        "at": "2026-11-23T14:00:00Z",
        "outcome": "denied",
        "operation": "update_job",
        "principal": {
            "kind": "oidc",
            "id": "somebody@example.com",
            "name": "the deploy pipeline",
            "role": "owner",
        },
        "source_ip": "192.0.2.17",
        "user_agent": "curl/8.5.0",
        "request_id": "request of update_job",
        "target": {"job": "other", "run": null, "token": null},
        "reason": "a reason",
        "changes": [],
    });
    assert_eq!(oldest, json!({"items": [wanted], "next": null}));
    // Whoever made a change finds it at once.
    let state = api.cloud.state();
    let mut queries = state.table.requests.iter().filter(|one| one.operation == "Query");
    assert!(queries.all(|query| query.consistent));
}

#[tokio::test]
async fn all_filters_must_hold() {
    let api = with_entries(60).await;
    let all = || (0..60).rev();
    let time = |number: i64| at(60 * number);
    for (path, wanted) in [
        (format!("{LOG}?operation=start_run"), ids(all().filter(|one| one % 2 == 1))),
        (format!("{LOG}?outcome=denied"), ids(all().filter(|one| one % 7 == 0))),
        (format!("{LOG}?outcome=accepted"), ids(all().filter(|one| one % 7 != 0))),
        (format!("{LOG}?principal=somebody@example.com"), ids(all().filter(|one| one % 3 == 0))),
        (format!("{LOG}?principal={}", author("x").id), ids(all().filter(|one| one % 3 != 0))),
        (format!("{LOG}?from={}&to={}", time(10), time(20)), ids((10..=20).rev())),
        (format!("{LOG}?from={}", time(50)), ids((50..60).rev())),
        (format!("{LOG}?from={}&to={}", time(20), time(10)), Vec::new()),
        (format!("{LOG}?from=1970-01-01T00:00:00Z&to=9999-12-30T22:00:00Z"), ids(all())),
        (format!("{LOG}?from=9999-12-30T22:00:00Z"), Vec::new()),
        (format!("{LOG}?to=1970-01-01T00:00:00Z"), Vec::new()),
        (format!("{LOG}?operation=create_job"), Vec::new()),
        (JOB_LOG.to_owned(), ids(all().filter(|one| one % 5 != 0))),
        (
            format!(
                "{JOB_LOG}?operation=update_job&outcome=accepted&principal=somebody@example.com&from={}",
                time(7)
            ),
            ids(all().filter(|one| one % 6 == 0 && one % 5 != 0 && one % 7 != 0 && *one >= 7)),
        ),
        ("/v1/teams/platform/jobs/never-was/audit".to_owned(), Vec::new()),
    ] {
        for limit in [2, 100] {
            assert_eq!(walk(&api, &path, limit).await.0, wanted, "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_parameters_is_told_at_once() {
    let api = with_entries(3).await;
    let path = format!(
        "{LOG}?limit=101&from=yesterday&to=1969-12-31T23:59:59Z&operation=Update&outcome=maybe&principal=&job=x"
    );
    let answer = api.get(&path).await;
    assert_eq!(answer.status, 400);
    let problem = answer.json();
    let mut wrong: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["pointer"].as_str().unwrap())
        .collect();
    wrong.sort_unstable();
    assert_eq!(wrong, ["from", "job", "limit", "operation", "outcome", "principal", "to"]);
    for bad in ["limit=0", "limit=101", "operation=", "from=-009999-01-01T00:00:00Z"] {
        assert_eq!(api.get(&format!("{LOG}?{bad}")).await.status, 400, "{bad}");
    }
    let long = "x".repeat(513);
    assert_eq!(api.get(&format!("{LOG}?principal={long}")).await.status, 400);
}

/// A cursor is of its list, with its filters and its team.
#[tokio::test]
async fn the_cursor_of_another_list_is_refused() {
    let api = with_entries(10).await;
    let first = api.get(&format!("{LOG}?limit=2")).await.json();
    let cursor = first["next"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("{LOG}?limit=3&cursor={cursor}")).await.status, 200);
    let forged = |list: &str, id: &str| cronplane::store::encode_cursor(list, id);
    let list = {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        String::from_utf8(text).unwrap().split_once('\n').unwrap().0.to_owned()
    };
    for path in [
        format!("{JOB_LOG}?cursor={cursor}"),
        format!("{LOG}?outcome=denied&cursor={cursor}"),
        format!("{LOG}?from=2026-11-23T14:00:00Z&cursor={cursor}"),
        format!("/v1/teams/other/audit?cursor={cursor}"),
        format!("/v1/teams/platform/jobs?cursor={cursor}"),
        format!("{LOG}?cursor=x"),
        format!("{LOG}?cursor={}", forged(&list, "JOB#x")),
        format!("{LOG}?cursor={}", forged(&list, "")),
    ] {
        let answer = api.get(&path).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        assert_eq!(answer.json()["errors"][0]["pointer"], "cursor", "{path}");
    }
    // A key outside the time that is wanted is an error to DynamoDB.
    let path = format!("{LOG}?from=2026-11-23T14:05:00Z&limit=1");
    let cursor = api.get(&path).await.json()["next"].as_str().unwrap().to_owned();
    let list = {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        String::from_utf8(text).unwrap().split_once('\n').unwrap().0.to_owned()
    };
    let outside = forged(&list, &entry(0).id);
    assert_eq!(api.get(&format!("{path}&cursor={outside}")).await.status, 400);
}

/// What another team did is not shown, whatever is asked for.
#[tokio::test]
async fn another_teams_log_is_not_shown() {
    let api = with_entries(3).await;
    let other = TeamName::parse("other").unwrap();
    let theirs = Entry { team: other, ..entry(1) };
    api.app.store.audit_put(&theirs).await.unwrap();
    assert_eq!(walk(&api, LOG, 10).await.0, ids((0..3).rev()));
    assert_eq!(walk(&api, "/v1/teams/other/audit", 10).await.0, [entry(1).id]);
    let path = "/v1/teams/other/jobs/nightly-report/audit";
    assert_eq!(walk(&api, path, 10).await.0, [entry(1).id]);
    assert_eq!(walk(&api, "/v1/teams/other/jobs/other/audit", 10).await.0, [""; 0]);
}

/// The entries are the name's: of a job that is gone, and of all that were of that name.
#[tokio::test]
async fn the_log_of_a_job_outlives_it() {
    let api = Api::new();
    let jobs = "/v1/teams/platform/jobs";
    let job = "/v1/teams/platform/jobs/nightly-report";
    let mut operations = Vec::new();
    for _ in 0..2 {
        let create = api.on_behalf_of(author("create_job"));
        assert_eq!(create.post(jobs, definition()).await.status, 201);
        let deleted = api.on_behalf_of(author("delete_job"));
        assert_eq!(deleted.send_json("DELETE", job, &[], json!({})).await.status, 204);
        operations.extend(["create_job", "delete_job"]);
    }
    assert_eq!(api.get(job).await.status, 404);
    let told = api.get(&format!("{job}/audit")).await.json();
    let mut listed: Vec<&str> = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["operation"].as_str().unwrap())
        .collect();
    listed.sort_unstable();
    operations.sort_unstable();
    assert_eq!(listed, operations);
    assert!(
        told["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["target"]["job"] == "nightly-report")
    );
    assert_eq!(entries(&api.cloud).len(), 4);
    assert!(api.app.store.job_get(&key()).await.unwrap().is_none());
}

/// A filter that lets nothing through makes a request read eight pages, and the cursor goes on from there.
#[tokio::test]
async fn a_request_reads_so_much_and_no_more() {
    let api = with_entries(200).await;
    let queries = |api: &Api| {
        let calls = api.cloud.take_calls();
        calls.iter().filter(|call| call.operation == "dynamodb:Query").count()
    };
    queries(&api);
    let path = format!("{LOG}?operation=create_job");
    let page = api.get(&format!("{path}&limit=9")).await.json();
    assert_eq!(page["items"], json!([]));
    let next = page["next"].as_str().unwrap().to_owned();
    assert_eq!(queries(&api), 8);
    let (listed, _) = walk(&api, &path, 9).await;
    assert_eq!(listed, [""; 0]);
    assert_eq!(api.get(&format!("{path}&limit=9&cursor={next}")).await.status, 200);
    queries(&api);
    api.get(&format!("{LOG}?limit=9")).await;
    assert_eq!(queries(&api), 1);
}

/// An answer stays below what a function can give, however large its entries are.
#[tokio::test]
async fn a_page_of_large_entries_is_short() {
    let api = Api::new();
    for number in 0..100 {
        let value = Value::from("x".repeat(1000));
        let object = (0..50).map(|index| (format!("f{index}"), value.clone()));
        let changes =
            cronplane::domain::audit::changes(&Value::Null, &Value::Object(object.collect()));
        assert_eq!(changes.len(), 50);
        api.app.store.audit_put(&Entry { changes, ..entry(number) }).await.unwrap();
    }
    let of_one = format!("{LOG}?limit=100&principal={}", author("x").id);
    for path in [format!("{LOG}?limit=100"), of_one] {
        let answer = api.get(&path).await;
        assert!(answer.text.len() < 2 * 1024 * 1024, "{}", answer.text.len());
        assert!(answer.json()["next"].is_string());
    }
    assert_eq!(walk(&api, LOG, 100).await.0, ids((0..100).rev()));
}
