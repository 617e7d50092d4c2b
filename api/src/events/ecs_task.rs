//! `ECS Task State Change` events.
//!
//! Source: Amazon ECS Developer Guide, "Amazon ECS task state change events". Fields that are not
//! read here may come and go.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::ids::is_task_id;
use crate::domain::task::{ContainerSnapshot, TaskSnapshot, capacity_provider};

#[derive(Deserialize)]
struct Event {
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    detail: Detail,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    task_arn: String,
    cluster_arn: String,
    task_definition_arn: String,
    started_by: Option<String>,
    version: i64,
    last_status: String,
    desired_status: String,
    stop_code: Option<String>,
    stopped_reason: Option<String>,
    #[serde(default)]
    containers: Vec<Container>,
    created_at: Timestamp,
    pull_started_at: Option<Timestamp>,
    pull_stopped_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    stopping_at: Option<Timestamp>,
    execution_stopped_at: Option<Timestamp>,
    stopped_at: Option<Timestamp>,
    cpu: Option<String>,
    memory: Option<String>,
    capacity_provider_name: Option<String>,
    launch_type: Option<String>,
    overrides: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    exit_code: Option<i32>,
    reason: Option<String>,
    image: Option<String>,
    image_digest: Option<String>,
}

/// The task in the event `body`. The error says what keeps it from being one.
pub fn parse(body: &str) -> Result<TaskSnapshot, String> {
    let event: Event = serde_json::from_str(body).map_err(|error| error.to_string())?;
    if event.source != "aws.ecs" || event.detail_type != "ECS Task State Change" {
        return Err(format!("{} from {} is no task event", event.detail_type, event.source));
    }
    let detail = event.detail;
    let task = TaskSnapshot {
        task_arn: detail.task_arn,
        cluster_arn: detail.cluster_arn,
        task_definition_arn: detail.task_definition_arn,
        started_by: detail.started_by,
        version: detail.version,
        last_status: detail.last_status,
        desired_status: detail.desired_status,
        stop_code: detail.stop_code,
        stopped_reason: detail.stopped_reason,
        containers: detail
            .containers
            .into_iter()
            .map(|container| ContainerSnapshot {
                name: container.name,
                exit_code: container.exit_code,
                reason: container.reason,
                image: container.image,
                image_digest: container.image_digest,
            })
            .collect(),
        created_at: detail.created_at,
        pull_started_at: detail.pull_started_at,
        pull_stopped_at: detail.pull_stopped_at,
        started_at: detail.started_at,
        stopping_at: detail.stopping_at,
        execution_stopped_at: detail.execution_stopped_at,
        stopped_at: detail.stopped_at,
        cpu: detail.cpu.and_then(|cpu| cpu.parse().ok()),
        memory: detail.memory.and_then(|memory| memory.parse().ok()),
        capacity_provider: capacity_provider(
            detail.capacity_provider_name.as_deref(),
            detail.launch_type.as_deref(),
        ),
        overrides: detail.overrides.unwrap_or_else(|| json!({})),
    };
    if !is_task_id(task.task_id()) {
        return Err(format!("{} is no task's ARN", task.task_arn));
    }
    Ok(task)
}
