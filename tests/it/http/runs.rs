//! `/teams/{team}/jobs/{job}/runs`

use serde_json::{Value, json};

use super::client::{Api, THE_JOB};
use crate::cloud::arn;
use crate::job::{BASE, JOB};
use crate::task::state;

#[tokio::test]
async fn a_run_is_shown_with_everything_about_it() {
    let api = Api::with_job().await;
    api.ingest(&state("0a", 0, "STOPPED", 7)).await;
    let shown = api.get(&format!("{THE_JOB}/runs/20261123T140000-0a")).await.of_status(200);
    assert_eq!(
        shown,
        json!({
            "id": "20261123T140000-0a",
            "team": "platform",
            "job": JOB,
            "trigger": "schedule",
            "scheduled_time": "2020-01-23T17:57:00Z",
            "status": "failed",
            "created_at": "2026-11-23T14:00:00Z",
            "pull_started_at": "2026-11-23T14:00:10Z",
            "pull_stopped_at": "2026-11-23T14:00:15Z",
            "started_at": "2026-11-23T14:00:20Z",
            "stopping_at": "2026-11-23T14:01:00Z",
            "execution_stopped_at": "2026-11-23T14:01:02Z",
            "stopped_at": "2026-11-23T14:01:20Z",
            "durations": {
                "pull_seconds": 5.0,
                "start_seconds": 20.0,
                "run_seconds": 42.0,
                "total_seconds": 80.0,
            },
            "exit_code": 1,
            "containers": [{
                "name": "main",
                "exit_code": 1,
                "reason": null,
                "image": "111122223333.dkr.ecr.us-west-2.amazonaws.com/hello-repository:latest",
                "image_digest":
                    "sha256:74b2c688c700ec95a93e478cdb959737c148df3fbf5ea706abe0318726e885e6",
            }],
            "stop_code": "EssentialContainerExited",
            "stopped_reason": "Essential container in task exited",
            "image_digest":
                "sha256:74b2c688c700ec95a93e478cdb959737c148df3fbf5ea706abe0318726e885e6",
            "task_definition_arn": arn("ecs", &format!("task-definition/{BASE}:1")),
            "task_definition_revision": 1,
            "task_arn": arn("ecs", &format!("task/{BASE}/0a")),
            "cluster_arn": arn("ecs", &format!("cluster/{BASE}")),
            "cpu": 256,
            "memory": 512,
            "capacity_provider": "FARGATE",
            "overrides": {"containerOverrides": [{
                "name": "main",
                "environment": [{"name": "SCHEDULED_TIME", "value": "2020-01-23T17:57:00Z"}],
            }]},
            "console_url":
                "https://us-west-2.console.aws.amazon.com/cloudwatch/home?region=us-west-2\
                 #logsV2:log-groups/log-group/$252Fcronplane$252Fcronplane$252Fplatform$252F\
                 nightly-report/log-events/run$252Fmain$252F0a",
        })
    );
    let listed = api.get(&format!("{THE_JOB}/runs")).await.of_status(200);
    assert_eq!(listed, json!({"items": [shown], "next": null}));
    let job = api.get(THE_JOB).await.of_status(200);
    assert_eq!(
        job["status"]["last_run"],
        json!({
            "id": "20261123T140000-0a",
            "status": "failed",
            "trigger": "schedule",
            "scheduled_time": "2020-01-23T17:57:00Z",
            "created_at": "2026-11-23T14:00:00Z",
            "stopped_at": "2026-11-23T14:01:20Z",
            "exit_code": 1,
        })
    );

    // What has not happened yet is null.
    api.ingest(&state("0b", 60, "PENDING", 2)).await;
    let pending = api.get(&format!("{THE_JOB}/runs/20261123T140100-0b")).await.of_status(200);
    assert_eq!(pending["status"], "pending");
    for name in ["started_at", "stopped_at", "exit_code", "stop_code", "stopped_reason"] {
        assert_eq!(pending[name], Value::Null, "{name}");
    }
    assert_eq!(pending["durations"]["pull_seconds"], Value::Null);
}

/// The link in a failure's message, and the filters of the list.
#[tokio::test]
async fn runs_are_found_by_their_filters() {
    let api = Api::with_job().await;
    for number in 0..3 {
        api.ingest(&state(&format!("0{number}"), number, "STOPPED", 7)).await;
    }
    api.ingest(&state("0r", 9, "RUNNING", 4)).await;
    for (query, wanted) in [
        ("", &["0r", "02", "01", "00"][..]),
        ("status=failed", &["02", "01", "00"]),
        ("status=running&trigger=schedule", &["0r"]),
        ("trigger=manual", &[]),
        ("from=2026-11-23T14:00:01Z&to=2026-11-23T14:00:02.999Z", &["02", "01"]),
        ("from=2026-11-23T15:00:01%2B01:00&to=2026-11-23T14:00:01Z", &["01"]),
        (
            "task_arn=arn:aws:ecs:us-west-2:111122223333:task/cronplane_platform_nightly-report/\
             01&from=2026-11-23T14:00:01.000Z&to=2026-11-23T14:00:01.000Z",
            &["01"],
        ),
    ] {
        let found = api.get(&format!("{THE_JOB}/runs?{query}")).await.of_status(200);
        let found: Vec<&str> = found["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["id"].as_str().unwrap().rsplit('-').next().unwrap())
            .collect();
        assert_eq!(found, wanted, "{query}");
    }
}
