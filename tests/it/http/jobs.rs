//! `/teams/{team}/jobs`

use serde_json::{Value, json};

use super::client::{Api, JOBS, THE_JOB, errors};
use crate::cloud::{arn, wide_team};
use crate::job::{BASE, JOB, definition};
use crate::task;

#[tokio::test]
async fn a_job_is_created_and_shown() {
    let api = Api::new();
    let answer = api
        .post(
            JOBS,
            json!({
                "name": JOB,
                "description": "Says \"hello\"\nevery day",
                "image": {"repository": "terraform-drift", "tag": "1.0.0"},
                "command": ["sh", "-c", "true"],
                "entry_point": ["/init"],
                "environment": {"MODE": "full"},
                "memory": 1024,
                "network": {"subnets": ["subnet-0f"], "assign_public_ip": false},
                "task_role": "arn:aws:iam::111122223333:role/app-report",
                "schedule": "cron(0 4 * * ? *)",
                "log_retention_days": 7,
                "tags": {"cost-center": "42"},
                "notifications": {"subscribers": [
                    {"protocol": "email", "endpoint": "ops@example.com"},
                    {"protocol": "https", "endpoint": "https://hooks.example.com/x?y=z"},
                ]},
            }),
        )
        .await;
    assert_eq!(answer.headers["location"], THE_JOB);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let created = answer.of_status(201);

    let mut shown = created.clone();
    let take = |shown: &mut Value, name: &str| shown.as_object_mut().unwrap().remove(name);
    let status = take(&mut shown, "status").unwrap();
    let id = take(&mut shown, "id").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 36);
    let created_at = take(&mut shown, "created_at").unwrap();
    assert_eq!(take(&mut shown, "updated_at"), Some(created_at.clone()));
    created_at.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(
        shown,
        json!({
            "team": "platform",
            "name": JOB,
            "description": "Says \"hello\"\nevery day",
            "image": {"repository": "terraform-drift", "tag": "1.0.0"},
            "command": ["sh", "-c", "true"],
            "entry_point": ["/init"],
            "working_directory": null,
            "environment": {"MODE": "full"},
            "secrets": {},
            "cpu": 256,
            "memory": 1024,
            "architecture": "x86_64",
            "ephemeral_storage_gib": null,
            "volumes": [],
            "stop_timeout_seconds": null,
            "health_check": null,
            "extra_container_definition": {},
            "sidecars": [],
            "network": {
                "subnets": ["subnet-0f"],
                "security_groups": [],
                "assign_public_ip": false,
            },
            "capacity": "on_demand",
            "platform_version": "LATEST",
            "enable_execute_command": false,
            "enable_ecs_managed_tags": false,
            "cluster": null,
            "task_role": "arn:aws:iam::111122223333:role/app-report",
            "execution_role": null,
            "schedule": "cron(0 4 * * ? *)",
            "timezone": "UTC",
            "start_date": null,
            "end_date": null,
            "flexible_window_minutes": null,
            "spread": false,
            "enabled": true,
            "log_retention_days": 7,
            "tags": {"cost-center": "42"},
            "notifications": {"subscribers": [
                {"protocol": "email", "endpoint": "ops@example.com"},
                {"protocol": "https", "endpoint": "https://hooks.example.com/x?y=z"},
            ]},
            "generation": 1,
        })
    );
    assert_eq!(status["phase"], "ready");
    assert_eq!(status["observed_generation"], 1);
    assert_eq!(status["reason"], Value::Null);
    assert_eq!(status["last_run"], Value::Null);
    assert_eq!(status["topic_arn"], arn("sns", &format!("{BASE}_failure")));
    assert_eq!(
        status["subscriptions"],
        json!([
            {"protocol": "email", "endpoint": "ops@example.com", "state": "pending"},
            {"protocol": "https", "endpoint": "https://hooks.example.com/x?y=z",
             "state": "pending"},
        ])
    );
    assert_eq!(status["next_starts"].as_array().unwrap().len(), 5);
    assert_eq!(status["next_starts_approximate"], false);
    let schedule = json!({
        "engine": "rule", "expression": "cron(0 4 * * ? *)", "description": "At 04:00 UTC, every day",
    });
    assert_eq!(status["schedule"], schedule);
    let kinds: Vec<&Value> =
        status["resources"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert_eq!(
        json!(kinds),
        json!([
            "cluster",
            "log_group",
            "execution_role",
            "events_role",
            "topic",
            "task_definition",
            "schedule_rule",
            "failure_rule"
        ])
    );
    for resource in status["resources"].as_array().unwrap() {
        assert_eq!(resource["state"], "ready", "{resource}");
        assert_eq!(resource["reason"], Value::Null, "{resource}");
        assert!(resource["arn"].as_str().unwrap().starts_with("arn:aws:"), "{resource}");
    }

    // A confirmed subscription shows as such, and one that ran out as missing.
    {
        let mut state = api.cloud.state();
        let topic = state.sns.topics.values_mut().next().unwrap();
        topic.subscriptions[0].2 = arn("sns", "topic:1");
        topic.subscriptions[1].2 = "Deleted".to_owned();
    }
    let shown = api.get(THE_JOB).await.of_status(200);
    let subscriptions = &shown["status"]["subscriptions"];
    assert_eq!(subscriptions[0]["state"], "confirmed");
    assert_eq!(subscriptions[1]["state"], "missing");
    // SNS is asked about one job, not about each of a list, and its silence hides no job.
    let listed = api.get(JOBS).await.of_status(200);
    assert_eq!(listed["items"][0]["status"]["subscriptions"][0]["state"], "unknown");
    assert_eq!(listed["items"][0]["id"], created["id"]);
    assert_eq!(listed["next"], Value::Null);
    api.cloud.fail("sns:ListSubscriptionsByTopic", 1, "InternalError", "sorry");
    let shown = api.get(THE_JOB).await.of_status(200);
    assert_eq!(shown["status"]["subscriptions"][0]["state"], "unknown");

    api.post(JOBS, definition()).await.problem(409, "already_exists");
}

#[tokio::test]
async fn the_smallest_job_works() {
    let api = Api::new();
    let smallest = json!({"name": "hello", "image": "busybox:1", "schedule": "rate(1 day)"});
    let job = api.post(JOBS, smallest).await.of_status(201);
    assert_eq!(job["status"]["phase"], "ready");
    assert_eq!((&job["cpu"], &job["memory"]), (&json!(256), &json!(512)));
    assert_eq!(
        job["network"],
        json!({
            "subnets": ["subnet-0a", "subnet-0b"],
            "security_groups": ["sg-0a"],
            "assign_public_ip": true,
        })
    );
    assert_eq!(job["enabled"], true);
    assert_eq!(job["log_retention_days"], 30);
    assert_eq!(job["notifications"], json!({"subscribers": []}));
    assert_eq!(job["status"]["next_starts_approximate"], true);
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let api = Api::new();
    let wrong = json!({
        "name": "Hello",
        "image": {"repository": "UPPER"},
        "command": ["sh", 1],
        "environment": {"SCHEDULED_TIME": "now", "A": 1},
        "cpu": 300,
        "network": {"subnets": ["vpc-1"], "vpc": "vpc-1"},
        "task_role": "arn:aws:iam::111122223333:role/other",
        "enabled": "yes",
        "log_retention_days": 31,
        "tags": {"cronplane:job": "x"},
        "notifications": {"subscribers": [
            {"protocol": "sms", "endpoint": "+1"},
            {"protocol": "https", "endpoint": "http://example.com"},
        ]},
        "a/b~c": 1,
    });
    let problem = api.post(JOBS, wrong).await.problem(422, "invalid");
    let mut found = errors(&problem);
    found.sort();
    let mut wanted: Vec<(String, String)> = [
        ("/name", "format"),
        ("/image/tag", "required"),
        ("/command/1", "type"),
        ("/environment/SCHEDULED_TIME", "not_allowed"),
        ("/environment/A", "type"),
        ("/cpu", "range"),
        ("/network/subnets/0", "format"),
        ("/network/vpc", "unknown_field"),
        ("/task_role", "forbidden"),
        ("/schedule", "required"),
        ("/enabled", "type"),
        ("/log_retention_days", "range"),
        ("/tags/cronplane:job", "not_allowed"),
        ("/notifications/subscribers/0/protocol", "not_allowed"),
        ("/notifications/subscribers/1/endpoint", "format"),
        ("/a~1b~0c", "unknown_field"),
    ]
    .map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
    .into();
    wanted.sort();
    assert_eq!(found, wanted);
    assert_eq!(problem["title"], "Unprocessable Content");
    assert_eq!(problem["instance"], JOBS);
    // But for the team nothing was looked at; that something was denied is told.
    let calls: Vec<&str> = api.cloud.take_calls().iter().map(|call| call.operation).collect();
    assert_eq!(calls, ["dynamodb:GetItem", "dynamodb:PutItem"]);
}

#[tokio::test]
async fn jobs_are_listed_by_name_and_team_page_by_page() {
    let api = Api::new();
    let names: Vec<String> = (0..5).map(|number| format!("job-{number}")).collect();
    for name in names.iter().rev() {
        let mut job = definition();
        job["name"] = json!(name);
        api.post(JOBS, job.clone()).await.of_status(201);
    }
    let mut job = definition();
    job["name"] = json!("job-x");
    api.post("/v1/teams/other/jobs", job).await.of_status(201);

    for limit in [1, 2, 4, 5, 100] {
        let mut listed = Vec::new();
        let mut pages = 0;
        let mut path = format!("{JOBS}?limit={limit}");
        loop {
            let page = api.get(&path).await.of_status(200);
            let members: Vec<&String> = page.as_object().unwrap().keys().collect();
            assert_eq!(members, ["items", "next"]);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            pages += 1;
            listed.extend(items.iter().map(|job| job["name"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => path = format!("{JOBS}?limit={limit}&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(listed, names, "{limit}");
        // The last page says so: no empty one comes behind it.
        assert_eq!(pages, names.len().div_ceil(limit), "{limit}");
    }
    api.cloud.put_team(&wide_team("empty"));
    let empty = api.get("/v1/teams/empty/jobs").await.of_status(200);
    assert_eq!(empty, json!({"items": [], "next": null}));
    api.get("/v1/teams/nobody/jobs").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_job_is_paused_and_resumed() {
    let api = Api::with_job().await;
    for (path, enabled, generation) in
        [("pause", false, 2), ("pause", false, 2), ("resume", true, 3), ("resume", true, 3)]
    {
        let job = api.call("POST", &format!("{THE_JOB}/{path}")).await.of_status(200);
        assert_eq!(job["enabled"], enabled);
        assert_eq!(job["generation"], generation);
        assert_eq!(job["status"]["observed_generation"], generation);
        assert_eq!(job["status"]["phase"], "ready");
        let starts = job["status"]["next_starts"].as_array().unwrap().len();
        assert_eq!(starts, if enabled { 5 } else { 0 });
    }
    let answer = api.post(&format!("{THE_JOB}/resume"), json!({"note": "done"})).await;
    answer.problem(400, "bad_request");
}

#[tokio::test]
async fn a_job_is_deleted() {
    let api = Api::with_job().await;
    api.cloud.state().ecs.tasks.push(task::running(BASE, "0a"));
    let deleting = api.call("DELETE", THE_JOB).await.of_status(202);
    assert_eq!(deleting["status"]["phase"], "deleting");
    assert_eq!(deleting["status"]["reason"], "waiting for 1 task to end");
    assert_eq!(deleting["status"]["next_starts"], json!([]));
    api.call("POST", &format!("{THE_JOB}/pause")).await.problem(409, "conflict");
    api.call("POST", &format!("{THE_JOB}/resume")).await.problem(409, "conflict");
    let answer = api.call("POST", &format!("{THE_JOB}/notifications/test")).await;
    answer.problem(409, "conflict");
    api.post(JOBS, definition()).await.problem(409, "conflict");
    assert_eq!(api.get(THE_JOB).await.of_status(200)["status"]["phase"], "deleting");

    api.call("DELETE", &format!("{THE_JOB}?stop_tasks=true")).await.of_status(202);
    task::ended(&mut api.cloud.state().ecs.tasks[0]);
    let gone = api.call("DELETE", &format!("{THE_JOB}?delete_logs=true")).await;
    assert_eq!((gone.status, &*gone.text), (204, ""));
    assert_eq!(api.cloud.resources().len(), 0);
    api.get(THE_JOB).await.problem(404, "not_found");
    api.call("DELETE", THE_JOB).await.problem(404, "not_found");
}

#[tokio::test]
async fn notifications_are_tested_through_the_bus() {
    let api = Api::with_job().await;
    let path = format!("{THE_JOB}/notifications/test");
    let answer = api.call("POST", &path).await.of_status(202);
    // Who can receive it is told, as nothing arrives at who has not confirmed.
    let subscription =
        json!({"protocol": "email", "endpoint": "ops@example.com", "state": "pending"});
    assert_eq!(answer, json!({"event_id": "event-1", "subscriptions": [subscription]}));
    {
        let state = api.cloud.state();
        let [event] = &state.events.put[..] else { panic!("one event") };
        assert_eq!(event.source(), Some("cronplane.cronplane"));
        assert_eq!(event.detail_type(), Some("Cronplane Notification Test"));
        assert_eq!(event.event_bus_name(), None);
        let detail: Value = serde_json::from_str(event.detail().unwrap()).unwrap();
        assert_eq!((&detail["team"], &detail["job"]), (&json!("platform"), &json!(JOB)));
    }
    // Whoever let the two days of a confirmation pass is asked again, and nobody else.
    assert_eq!(api.cloud.state().sns.asked_to_confirm.len(), 1);
    api.cloud.state().sns.topics.values_mut().next().unwrap().subscriptions.clear();
    api.call("POST", &path).await.of_status(202);
    assert_eq!(api.cloud.state().sns.asked_to_confirm.len(), 2);
}
