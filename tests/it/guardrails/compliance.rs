//! Jobs that were made before their team's guardrails were tightened.

use cronplane::store::Insertion;
use serde_json::{Value, json};

use super::{
    JOBS, RUNS, THE_JOB, assert_only_told, errors, forbidden, items, job, narrowed, send, set,
    with_job,
};
use crate::http::Api;
use crate::job::{BASE, at, job_of};

fn images() -> Value {
    json!({"images": ["nginx:*"]})
}

/// `nightly-report`, which the tightened guardrails do not let be made, beside one that they do.
async fn tightened() -> Api {
    let api = with_job().await;
    let other = job("proxy", &json!({"image": "nginx:1"}));
    assert_eq!(send(&api, "POST", JOBS, other).await.0, 201);
    set(&api, narrowed(&images()));
    api.cloud.take_calls();
    api
}

fn compliance(job: &Value) -> &Value {
    &job["status"]["compliance"]
}

/// The names of a page, and whether each complies.
async fn listed(api: &Api, query: &str) -> Vec<(String, bool)> {
    let (status, page) = send(api, "GET", &format!("{JOBS}?{query}"), Value::Null).await;
    assert_eq!(status, 200, "{page}");
    let items = page["items"].as_array().unwrap().iter();
    let told = items.map(|job| {
        let compliant = compliance(job)["compliant"].as_bool().unwrap();
        (job["name"].as_str().unwrap().to_owned(), compliant)
    });
    told.collect()
}

#[tokio::test]
async fn tightening_marks_jobs_and_changes_nothing() {
    let api = with_job().await;
    let (_, before) = send(&api, "GET", THE_JOB, Value::Null).await;
    assert_eq!(*compliance(&before), json!({"compliant": true, "violations": []}));
    let resources = api.cloud.resources();
    set(&api, narrowed(&images()));
    let (status, marked) = send(&api, "GET", THE_JOB, Value::Null).await;
    assert_eq!((status, &compliance(&marked)["compliant"]), (200, &json!(false)));
    let violations = compliance(&marked)["violations"].as_array().unwrap();
    let [violation] = &violations[..] else { panic!("{violations:?}") };
    assert_eq!(
        (&violation["pointer"], &violation["code"]),
        (&json!("/image"), &json!("forbidden"))
    );
    let detail = violation["detail"].as_str().unwrap();
    assert!(detail.contains("busybox:1") && detail.contains("nginx:*"), "{detail}");
    // Nothing else of it changed, neither here nor there, and the schedule goes on.
    let mut same = marked.clone();
    same["status"]["compliance"] = before["status"]["compliance"].clone();
    same["status"]["subscriptions"] = before["status"]["subscriptions"].clone();
    assert_eq!(same, before);
    crate::job::sweep_for_an_hour(&api.cloud.app(), 0).await;
    assert_eq!(api.cloud.take_writes(), [""; 0]);
    assert_eq!(api.cloud.resources(), resources);
    assert!(api.cloud.state().events.rules[BASE].enabled);
    // And back.
    set(&api, narrowed(&json!({})));
    let (_, again) = send(&api, "GET", THE_JOB, Value::Null).await;
    assert_eq!(*compliance(&again), json!({"compliant": true, "violations": []}));
}

#[tokio::test]
async fn every_answer_with_a_job_says_whether_it_complies() {
    let api = tightened().await;
    for (method, path) in [
        ("GET", THE_JOB.to_owned()),
        ("POST", format!("{THE_JOB}/pause?dry_run=true")),
        ("POST", format!("{THE_JOB}/pause")),
        ("POST", format!("{THE_JOB}/pause")),
    ] {
        let answer = api.send_json(method, &path, &[], json!({})).await.json();
        let job = if path.contains("dry_run") { &answer["answer"] } else { &answer };
        assert_eq!(compliance(job)["compliant"], false, "{method} {path}");
    }
    // One that waits for its task, on its way out.
    api.cloud.state().ecs.tasks.push(crate::task::running(BASE, "0a"));
    for query in ["?dry_run=true", ""] {
        let answer = api.send_json("DELETE", &format!("{THE_JOB}{query}"), &[], json!({})).await;
        let answer = answer.json();
        let job = if query.is_empty() { &answer } else { &answer["answer"] };
        assert_eq!(compliance(job)["compliant"], false, "{answer}");
    }
}

#[tokio::test]
async fn a_job_that_does_not_comply_can_be_paused_run_and_deleted_and_not_resumed() {
    let api = tightened().await;
    // What its schedule starts, anybody who may can start too; but nothing larger than is allowed now.
    assert_eq!(send(&api, "POST", RUNS, json!({})).await.0, 201);
    // What it may not be defined to do any more it does not do for one run either: its role may be what was
    // taken back.
    for overrides in [json!({"command": ["true"]}), json!({"environment": {"A": "b"}})] {
        let (status, problem) = send(&api, "POST", RUNS, overrides).await;
        assert_eq!((status, errors(&problem)), (422, forbidden(&[""])), "{problem}");
    }
    // One that is on stays on.
    assert_eq!(send(&api, "POST", &format!("{THE_JOB}/resume"), json!({})).await.0, 200);
    assert_eq!(send(&api, "POST", &format!("{THE_JOB}/pause"), json!({})).await.0, 200);
    api.cloud.take_calls();
    let before = items(&api);
    for query in ["", "?dry_run=true"] {
        let path = format!("{THE_JOB}/resume{query}");
        let (status, problem) = send(&api, "POST", &path, json!({})).await;
        assert_eq!((status, errors(&problem)), (422, forbidden(&["/image"])));
    }
    // By a change neither, nor any other change that leaves it as it is.
    for change in [json!({"enabled": true}), json!({"description": "x"}), json!({})] {
        for query in ["", "?dry_run=true"] {
            let path = format!("{THE_JOB}{query}");
            let (status, problem) = send(&api, "PATCH", &path, change.clone()).await;
            assert_eq!((status, errors(&problem)), (422, forbidden(&["/image"])), "{change}");
        }
    }
    assert!(!api.cloud.state().events.rules[BASE].enabled);
    assert_only_told(&api, &before);
    // One that complies is.
    let change = json!({"image": "nginx:1", "enabled": true});
    let (status, changed) = send(&api, "PATCH", THE_JOB, change).await;
    assert_eq!((status, &compliance(&changed)["compliant"]), (200, &json!(true)));
    assert!(api.cloud.state().events.rules[BASE].enabled);
    set(&api, narrowed(&json!({"images": []})));
    let deleted =
        api.send_json("DELETE", &format!("{THE_JOB}?stop_tasks=true"), &[], json!({})).await;
    assert!([202, 204].contains(&deleted.status), "{}", deleted.text);
}

#[tokio::test]
async fn a_job_is_resumed_once_the_guardrails_are_wide_again() {
    let api = tightened().await;
    let resume = format!("{THE_JOB}/resume");
    assert_eq!(send(&api, "POST", &format!("{THE_JOB}/pause"), json!({})).await.0, 200);
    assert_eq!(send(&api, "POST", &resume, json!({})).await.0, 422);
    set(&api, narrowed(&json!({})));
    let (status, job) = send(&api, "POST", &resume, json!({})).await;
    assert_eq!(
        (status, &job["enabled"], &compliance(&job)["compliant"]),
        (200, &json!(true), &json!(true))
    );
    // A dead job is told as one, whether it complies or not.
    api.cloud.state().ecs.tasks.push(crate::task::running(BASE, "0a"));
    assert_eq!(send(&api, "DELETE", THE_JOB, json!({})).await.0, 202);
    set(&api, narrowed(&images()));
    assert_eq!(send(&api, "POST", &resume, json!({})).await.0, 409);
    let missing = format!("{JOBS}/nothing/resume");
    assert_eq!(send(&api, "POST", &missing, json!({})).await.0, 404);
}

#[tokio::test]
async fn jobs_that_do_not_comply_are_listed() {
    let api = tightened().await;
    let of = |name: &str, compliant: bool| (name.to_owned(), compliant);
    let all = [of("nightly-report", false), of("proxy", true)];
    assert_eq!(listed(&api, "").await, all);
    assert_eq!(listed(&api, "compliant=false").await, all[..1]);
    assert_eq!(listed(&api, "compliant=true").await, all[1..]);
    assert_eq!(listed(&api, "compliant=false&name_prefix=p").await, []);
    assert_eq!(listed(&api, "compliant=false&enabled=true&limit=1").await, all[..1]);
    let wrong = api.get(&format!("{JOBS}?compliant=no")).await;
    assert_eq!((wrong.status, errors(&wrong.json())[0].0.as_str()), (400, "compliant"));
}

/// A filter over pages, as the others: what is read in one request is bounded, and nothing is lost.
#[tokio::test]
async fn the_pages_of_those_are_the_list() {
    let api = with_job().await;
    let mut wanted = Vec::new();
    for number in 0..60u32 {
        let mut job = job_of(&format!("job-{number:03}"));
        if !number.is_multiple_of(10) {
            job.definition.image = cronplane::domain::job::Image::Reference("nginx:1".to_owned());
        } else {
            wanted.push(job.definition.name.to_string());
        }
        api.cloud.store().job_insert(&job, at(60), &Insertion::default()).await.unwrap();
    }
    wanted.push("nightly-report".to_owned());
    set(&api, narrowed(&images()));
    for limit in [1, 2, 3, 7, 100] {
        for order in ["name", "-name"] {
            let list = format!("{JOBS}?compliant=false&order={order}&limit={limit}");
            let (mut names, mut path) = (Vec::new(), list.clone());
            loop {
                api.cloud.take_calls();
                let (status, page) = send(&api, "GET", &path, Value::Null).await;
                assert_eq!(status, 200, "{page}");
                let calls = api.cloud.take_calls();
                let queries = calls.iter().filter(|call| call.operation == "dynamodb:Query");
                assert!(queries.count() <= 8);
                let teams = calls.iter().filter(|call| call.operation == "dynamodb:GetItem");
                assert_eq!(teams.count(), 1);
                let items = page["items"].as_array().unwrap();
                assert!(items.len() <= limit);
                names.extend(items.iter().map(|job| job["name"].as_str().unwrap().to_owned()));
                match page["next"].as_str() {
                    Some(next) => path = format!("{list}&cursor={next}"),
                    None => break,
                }
            }
            if order == "-name" {
                names.reverse();
            }
            assert_eq!(names, wanted, "{order} {limit}");
        }
    }
    // The cursor is of this filter.
    let (_, page) =
        send(&api, "GET", &format!("{JOBS}?compliant=false&limit=1"), Value::Null).await;
    let next = page["next"].as_str().unwrap();
    for other in ["", "compliant=true", "compliant=false&enabled=true"] {
        let answer = api.get(&format!("{JOBS}?{other}&cursor={next}")).await;
        assert_eq!(answer.status, 400, "{other}");
    }
}

#[tokio::test]
async fn what_guardrails_would_forbid_is_foreseen() {
    let api = with_job().await;
    let app = api.cloud.app();
    let told = app.not_complying(&narrowed(&images())).await.unwrap();
    let [(name, violations)] = &told.jobs[..] else { panic!("{told:?}") };
    assert_eq!((name.as_str(), violations[0].pointer.as_str()), ("nightly-report", "/image"));
    assert!(!told.more);
    let none = app.not_complying(&narrowed(&json!({}))).await.unwrap();
    assert_eq!((none.jobs, none.more), (vec![], false));
    assert!(api.cloud.take_calls().iter().all(|call| !call.writes));
    // A hundred are told.
    for number in 0..99 {
        let job = job_of(&format!("job-{number:03}"));
        api.cloud.store().job_insert(&job, at(60), &Insertion::default()).await.unwrap();
    }
    let told = app.not_complying(&narrowed(&images())).await.unwrap();
    assert_eq!((told.jobs.len(), told.more), (100, false));
    let job = job_of("one-more");
    api.cloud.store().job_insert(&job, at(60), &Insertion::default()).await.unwrap();
    let told = app.not_complying(&narrowed(&images())).await.unwrap();
    assert_eq!((told.jobs.len(), told.more), (100, true));
}

/// A page of a hundred jobs has to fit into an answer.
#[tokio::test]
async fn the_violations_of_an_answer_are_bounded() {
    let api = with_job().await;
    let groups: Vec<String> = (0..4).map(|number| format!("sg-1{number}")).collect();
    let subnets: Vec<String> = (0..16).map(|number| format!("subnet-1{number}")).collect();
    let sidecars: Vec<Value> =
        (0..9).map(|number| json!({"name": format!("s{number}"), "image": "a"})).collect();
    let change =
        json!({"network": {"subnets": subnets, "security_groups": groups}, "sidecars": sidecars});
    assert_eq!(send(&api, "PATCH", THE_JOB, change).await.0, 200);
    set(&api, narrowed(&json!({"images": [], "subnets": [], "security_groups": []})));
    let (_, job) = send(&api, "GET", THE_JOB, Value::Null).await;
    assert_eq!(compliance(&job)["violations"].as_array().unwrap().len(), 25);
    assert_eq!(compliance(&job)["compliant"], false);
}

/// What was not answered is not half done: the team is read before anything is written.
#[tokio::test]
async fn without_its_team_nothing_is_changed() {
    for (method, path, body) in [
        ("POST", JOBS.to_owned(), job("other", &json!({}))),
        ("PATCH", THE_JOB.to_owned(), json!({"description": "x"})),
        ("POST", format!("{THE_JOB}/resume"), json!({})),
    ] {
        let api = with_job().await;
        let denied = "AccessDeniedException";
        api.cloud.fail("dynamodb:GetItem", 1, denied, "not authorized to perform");
        let (status, _) = send(&api, method, &path, body).await;
        assert_eq!(status, 500, "{method} {path}");
        assert!(api.cloud.take_calls().iter().all(|call| !call.writes), "{method} {path}");
    }
}
