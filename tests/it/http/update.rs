//! `PUT` and `PATCH` of a job, and the conditions of a change.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::client::{Answer, Api, JOBS, THE_JOB, errors};
use crate::job::{BASE, JOB, definition};
use crate::task;

fn etag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

async fn put(api: &Api, headers: &[(&str, &str)], body: Value) -> Answer {
    api.send_json("PUT", THE_JOB, headers, body).await
}

async fn patch(api: &Api, headers: &[(&str, &str)], body: Value) -> Answer {
    api.send_json("PATCH", THE_JOB, headers, body).await
}

fn with(field: &str, value: Value) -> Value {
    let mut wanted = definition();
    wanted[field] = value;
    wanted
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned())).collect()
}

#[tokio::test]
async fn a_put_creates_where_there_is_none_and_replaces_what_is_there() {
    let api = Api::new();
    let mut wanted = definition();
    // The path names it.
    wanted.as_object_mut().unwrap().remove("name");
    wanted["tags"] = json!({"stage": "test"});
    let created = put(&api, &[], wanted.clone()).await;
    assert_eq!(created.headers["location"], THE_JOB);
    let first = etag(&created);
    let created = created.of_status(201);
    assert_eq!((&created["name"], &created["generation"]), (&json!(JOB), &json!(1)));
    assert_eq!(created["status"]["phase"], "ready");

    let same = put(&api, &[], wanted).await;
    assert!(!same.headers.contains_key("location"));
    assert_eq!(etag(&same), first);
    assert_eq!(same.of_status(200), created);

    // What a replacement leaves out goes back to its default.
    let replaced = put(&api, &[], with("image", json!("busybox:2"))).await;
    assert_ne!(etag(&replaced), first);
    let replaced = replaced.of_status(200);
    assert_eq!(replaced["tags"], json!({}));
    assert_eq!((&replaced["image"], &replaced["generation"]), (&json!("busybox:2"), &json!(2)));
    assert_eq!(
        (&replaced["id"], &replaced["created_at"]),
        (&created["id"], &created["created_at"])
    );
    assert_eq!(replaced["status"]["observed_generation"], 2);
    assert_eq!(api.get(THE_JOB).await.of_status(200), replaced);
    let listed = api.get(JOBS).await.of_status(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn every_answer_with_a_job_names_its_state() {
    let api = Api::new();
    let created = api.post(JOBS, definition()).await;
    let first = etag(&created);
    let id = created.of_status(201)["id"].as_str().unwrap().to_owned();
    assert_eq!(first, format!("\"{id}.1\""));
    assert_eq!(etag(&api.get(THE_JOB).await), first);
    assert_eq!(etag(&put(&api, &[], definition()).await), first);
    assert_eq!(etag(&patch(&api, &[], json!({})).await), first);
    let second = format!("\"{id}.2\"");
    for _ in 0..2 {
        assert_eq!(etag(&api.call("POST", &format!("{THE_JOB}/pause")).await), second);
    }
    assert_eq!(etag(&api.get(THE_JOB).await), second);
    let third = format!("\"{id}.3\"");
    assert_eq!(etag(&api.call("POST", &format!("{THE_JOB}/resume")).await), third);
    // A run that ends is no change of the job's definition.
    api.ingest(&task::state("0a", 0, "STOPPED", 7)).await;
    assert_eq!(etag(&api.get(THE_JOB).await), third);
    // Another job of the same name is another one.
    api.call("DELETE", THE_JOB).await;
    let again = etag(&api.post(JOBS, definition()).await);
    assert!(again.ends_with(".1\"") && again != first, "{again}");
}

#[tokio::test]
async fn a_condition_that_does_not_hold_changes_nothing() {
    let api = Api::new();
    let wanted = with("image", json!("busybox:2"));
    for tag in ["*", "\"x.1\""] {
        put(&api, &[("if-match", tag)], wanted.clone()).await.problem(412, "precondition_failed");
    }
    assert!(api.cloud.resources().is_empty());
    let created = put(&api, &[("if-none-match", "*")], definition()).await;
    let first = etag(&created);
    created.of_status(201);
    let present = &*first;
    api.cloud.take_calls();

    let weak = format!("W/{present}");
    let several = format!("\"a.1\",{weak} , \"b.2\"");
    for headers in [
        ("if-none-match", "*"),
        ("if-match", "\"another.1\""),
        ("if-match", "\"\""),
        ("if-match", &weak),
        ("if-match", &several),
    ] {
        for answer in [
            put(&api, &[headers], wanted.clone()).await,
            // Also where nothing would be changed, or it is wrong besides.
            put(&api, &[headers], definition()).await,
            put(&api, &[headers], json!({"image": 1})).await,
            patch(&api, &[headers], json!({"image": "busybox:2"})).await,
        ] {
            let problem = answer.problem(412, "precondition_failed");
            if headers.0 == "if-match" {
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.contains(present), "{detail}");
            }
        }
    }
    assert!(api.cloud.take_calls().iter().all(|call| !call.writes));
    assert_eq!(etag(&api.get(THE_JOB).await), present);

    // One that holds, by itself and among others.
    let among = format!("\"a.1\", {present}");
    let changed = put(&api, &[("if-match", &among)], wanted).await;
    let second = etag(&changed);
    changed.of_status(200);
    patch(&api, &[("if-match", present)], json!({})).await.problem(412, "precondition_failed");
    patch(&api, &[("if-match", "*")], json!({"image": "busybox:3"})).await.of_status(200);
    let problem = patch(&api, &[("if-match", &second)], json!({"image": "busybox:4"})).await;
    assert!(problem.problem(412, "precondition_failed")["detail"].as_str().unwrap().contains(".3"));
    // A pause is a change, too.
    let third = etag(&api.get(THE_JOB).await);
    api.call("POST", &format!("{THE_JOB}/pause")).await.of_status(200);
    patch(&api, &[("if-match", &third)], json!({})).await.problem(412, "precondition_failed");
}

#[tokio::test]
async fn a_condition_that_can_not_be_read_is_refused() {
    let api = Api::with_job().await;
    for (name, value) in [
        ("if-match", ""),
        ("if-match", "abc"),
        ("if-match", "\"abc"),
        ("if-match", "abc\""),
        ("if-match", "\""),
        ("if-match", "\"a\" \"b\""),
        ("if-match", "w/\"a\""),
        ("if-match", "'a'"),
        ("if-match", "\"a\", *"),
        ("if-none-match", "abc"),
        ("if-none-match", "\"a.1\""),
        ("if-none-match", "W/\"a.1\""),
    ] {
        let answer = put(&api, &[(name, value)], definition()).await;
        answer.problem(400, "bad_request");
        patch(&api, &[(name, value)], json!({})).await.problem(400, "bad_request");
    }
    let both = [("if-match", "*"), ("if-none-match", "*")];
    put(&api, &both, definition()).await.problem(400, "bad_request");
    assert!(api.cloud.take_calls().is_empty());
}

#[tokio::test]
async fn a_job_keeps_the_name_of_its_path() {
    let other = with("name", json!("other"));
    let api = Api::new();
    let problem = put(&api, &[], other.clone()).await.problem(422, "invalid");
    assert_eq!(errors(&problem), pairs(&[("/name", "not_allowed")]));
    assert!(api.cloud.resources().is_empty());

    let api = Api::with_job().await;
    for answer in [
        put(&api, &[], other.clone()).await,
        patch(&api, &[], json!({"name": "other"})).await,
        // Also where there is a job of the other name.
        {
            api.post(JOBS, other.clone()).await.of_status(201);
            put(&api, &[], other.clone()).await
        },
        api.send_json("PUT", &format!("{JOBS}/third"), &[], other).await,
    ] {
        let problem = answer.problem(422, "invalid");
        assert_eq!(errors(&problem), pairs(&[("/name", "not_allowed")]));
    }
    put(&api, &[], definition()).await.of_status(200);
    patch(&api, &[], json!({"name": JOB})).await.of_status(200);
    let listed = api.get(JOBS).await.of_status(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_patch_is_merged_and_null_is_the_default() {
    let api = Api::new();
    let mut wanted = definition();
    wanted["description"] = json!("Says hello");
    wanted["image"] = json!({"repository": "terraform-drift", "tag": "1.0.0"});
    wanted["command"] = json!(["sh", "-c", "true"]);
    wanted["environment"] = json!({"MODE": "full", "LEVEL": "info"});
    wanted["memory"] = json!(1024);
    wanted["network"] = json!({"subnets": ["subnet-0f"], "assign_public_ip": false});
    wanted["log_retention_days"] = json!(7);
    api.post(JOBS, wanted).await.of_status(201);

    // By its own media type, as RFC 7396 has it.
    let change = json!({
        "image": {"tag": "1.1.0"},
        "environment": {"MODE": null, "LEVEL": "debug", "NEW": "x"},
        "network": {"assign_public_ip": true, "security_groups": ["sg-0f"]},
        "command": ["true"],
    });
    let kind = ("content-type", "application/merge-patch+json");
    let request = super::client::authorized("PATCH", THE_JOB).header(kind.0, kind.1);
    let answer = api.send(request.body(change.to_string().into()).unwrap()).await;
    let job = answer.of_status(200);
    assert_eq!(job["image"], json!({"repository": "terraform-drift", "tag": "1.1.0"}));
    assert_eq!(job["environment"], json!({"LEVEL": "debug", "NEW": "x"}));
    assert_eq!(
        job["network"],
        json!({
            "subnets": ["subnet-0f"],
            "security_groups": ["sg-0f"],
            "assign_public_ip": true,
        })
    );
    // Lists are replaced as a whole, and what is not named stays.
    assert_eq!(job["command"], json!(["true"]));
    assert_eq!((&job["description"], &job["memory"]), (&json!("Says hello"), &json!(1024)));
    assert_eq!(job["generation"], 2);

    let change = json!({
        "description": null,
        "image": "busybox:1",
        "command": null,
        "environment": null,
        "cpu": null,
        "memory": null,
        "network": null,
        "log_retention_days": null,
        "notifications": null,
        "task_role": null,
    });
    let patched = patch(&api, &[], change).await.of_status(200);
    let smallest = json!({"name": "small", "image": "busybox:1", "schedule": "rate(1 day)"});
    let smallest = api.post(JOBS, smallest).await.of_status(201);
    for field in patched.as_object().unwrap().keys() {
        let own = ["id", "name", "created_at", "updated_at", "generation", "status"];
        if !own.contains(&field.as_str()) {
            assert_eq!(patched[field], smallest[field], "{field}");
        }
    }
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_patch_is_told_at_once() {
    let api = Api::with_job().await;
    for body in [json!([]), json!("x"), json!(null), json!(1), json!([{"op": "remove"}])] {
        patch(&api, &[], body).await.problem(400, "bad_request");
    }
    let wrong = json!({
        "image": {"tag": "2"},
        "schedule": null,
        "cpu": 300,
        "network": {"subnets": ["vpc-1"], "vpc": "vpc-1"},
        "environment": {"A": 1},
        "tags": {"cronplane:job": "x"},
        "notifications": {"subscribers": [{"protocol": "sms", "endpoint": "+1"}]},
        "status": {"phase": "ready"},
        "a/b~c": 1,
    });
    let problem = patch(&api, &[], wrong).await.problem(422, "invalid");
    let mut found = errors(&problem);
    found.sort();
    let mut wanted = pairs(&[
        ("/image/repository", "required"),
        ("/schedule", "required"),
        ("/cpu", "range"),
        ("/network/subnets/0", "format"),
        ("/network/vpc", "unknown_field"),
        ("/environment/A", "type"),
        ("/tags/cronplane:job", "not_allowed"),
        ("/notifications/subscribers/0/protocol", "not_allowed"),
        ("/status", "unknown_field"),
        ("/a~1b~0c", "unknown_field"),
    ]);
    wanted.sort();
    assert_eq!(found, wanted);
    let problem = patch(&api, &[], json!({"cluster": "none"})).await.problem(422, "invalid");
    assert_eq!(errors(&problem), pairs(&[("/cluster", "does_not_exist")]));
    for body in [json!([]), json!("x"), json!(null)] {
        let problem = put(&api, &[], body).await.problem(422, "invalid");
        assert!(errors(&problem).contains(&(String::new(), "type".to_owned())), "{problem}");
    }
    let answer = api.send_json("PUT", &format!("{THE_JOB}?x=1"), &[], definition()).await;
    answer.problem(400, "bad_request");
    let answer = api.call("PATCH", THE_JOB).await;
    answer.problem(415, "unsupported_media_type");
    assert!(api.cloud.take_calls().iter().all(|call| !call.writes));
}

#[tokio::test]
async fn what_is_not_there_or_on_its_way_out_is_not_changed() {
    let api = Api::new();
    patch(&api, &[], json!({})).await.problem(404, "not_found");
    let api = Api::with_job().await;
    api.cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
    api.call("DELETE", THE_JOB).await.of_status(202);
    let deleting = etag(&api.get(THE_JOB).await);
    api.cloud.take_calls();
    for headers in [&[][..], &[("if-match", "*")], &[("if-match", &*deleting)]] {
        put(&api, headers, with("image", json!("busybox:2"))).await.problem(409, "conflict");
        put(&api, headers, definition()).await.problem(409, "conflict");
        patch(&api, headers, json!({"image": "busybox:2"})).await.problem(409, "conflict");
    }
    put(&api, &[("if-none-match", "*")], definition()).await.problem(412, "precondition_failed");
    assert!(api.cloud.take_calls().iter().all(|call| !call.writes));
}

/// Each asks for something else, on the condition that nobody was before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_parallel_changes_on_one_condition_one_wins() {
    let api = Arc::new(Api::with_job().await);
    let first = etag(&api.get(THE_JOB).await);
    for round in 1..=5 {
        let tag = etag(&api.get(THE_JOB).await);
        let changes = (0..50).map(|number| {
            let (api, tag) = (api.clone(), tag.clone());
            let image = format!("busybox:{round}.{number}");
            tokio::spawn(async move {
                let answer = put(&api, &[("if-match", &tag)], with("image", json!(image))).await;
                (image, answer)
            })
        });
        let mut won = Vec::new();
        for answer in futures::future::join_all(changes).await {
            let (image, answer) = answer.unwrap();
            match answer.status {
                200 => won.push((image, etag(&answer))),
                _ => drop(answer.problem(412, "precondition_failed")),
            }
        }
        let [(image, tag)] = &won[..] else { panic!("{} have won", won.len()) };
        let job = api.get(THE_JOB).await;
        assert_eq!(&etag(&job), tag);
        assert_ne!(tag, &first);
        let job = job.of_status(200);
        assert_eq!((&job["image"], &job["generation"]), (&json!(image), &json!(round + 1)));
        assert_eq!(job["status"]["phase"], "ready");
        assert_eq!(api.cloud.state().ecs.task_definitions.len(), round + 1);
    }
}

/// Without a condition each is carried out, or told to come again; in whatever order they come, AWS
/// is what the last one asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_changes_end_as_the_last_of_them() {
    let api = Arc::new(Api::with_job().await);
    let changes = (0..20).map(|number| {
        let api = api.clone();
        tokio::spawn(async move {
            let image = format!("busybox:{number}");
            patch(&api, &[], json!({"image": image})).await
        })
    });
    let mut statuses = BTreeSet::new();
    for answer in futures::future::join_all(changes).await {
        let answer = answer.unwrap();
        statuses.insert(answer.status);
        if answer.status != 200 {
            assert!(answer.headers.contains_key("retry-after"));
            answer.problem(409, "conflict");
        }
    }
    assert!(statuses.contains(&200), "{statuses:?}");
    let job = api.get(THE_JOB).await.of_status(200);
    assert_eq!(job["status"]["observed_generation"], job["generation"]);
    let state = api.cloud.state();
    let target = &state.events.rules[BASE].targets["main"];
    let wanted = target.ecs_parameters().unwrap().task_definition_arn();
    let started = state.ecs.task_definitions.iter().find(|one| one.arn() == wanted).unwrap();
    let image = started.input.container_definitions()[0].image();
    assert_eq!(image, job["image"].as_str());
}

/// 50 who want to be the first: one creates it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_parallel_first_ones_one_creates() {
    let api = Arc::new(Api::new());
    let puts = (0..50).map(|_| {
        let api = api.clone();
        tokio::spawn(async move { put(&api, &[("if-none-match", "*")], definition()).await })
    });
    let mut created = 0;
    for answer in futures::future::join_all(puts).await {
        let answer = answer.unwrap();
        match answer.status {
            201 => created += 1,
            _ => drop(answer.problem(412, "precondition_failed")),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(api.cloud.state().ecs.task_definitions.len(), 1);
}
