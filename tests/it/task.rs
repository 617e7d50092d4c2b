//! ECS tasks, as the API and its events show them.

use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionInput;
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{Container, LaunchType, Task};
use cronplane::domain::task::TaskSnapshot;
use cronplane::events::ecs_task;
use serde_json::{Value, json};

use crate::cloud::arn;
use crate::job::{BASE, at};

/// A running task of a family, in the cluster of the same name.
pub(crate) fn running(family: &str, id: &str) -> Task {
    Task::builder()
        .task_arn(arn("ecs", &format!("task/{family}/{id}")))
        .cluster_arn(arn("ecs", &format!("cluster/{family}")))
        .task_definition_arn(arn("ecs", &format!("task-definition/{family}:1")))
        .started_by(started_by(family))
        .version(4)
        .last_status("RUNNING")
        .desired_status("RUNNING")
        .containers(Container::builder().name("main").image("busybox:1").build())
        .created_at(DateTime::from_secs(at(0).as_second()))
        .started_at(DateTime::from_secs(at(20).as_second()))
        .cpu("256")
        .memory("512")
        .launch_type(LaunchType::Fargate)
        .build()
}

/// What EventBridge gives as `startedBy` for a rule, as ECS cuts it.
pub(crate) fn started_by(rule: &str) -> String {
    let mut text = format!("events-rule/{rule}");
    text.truncate(36);
    text
}

/// The task is on its way to its end.
pub(crate) fn ending(task: &mut Task) {
    task.last_status = Some("DEPROVISIONING".to_owned());
    task.desired_status = Some("STOPPED".to_owned());
    task.version += 1;
}

/// The task has ended well.
pub(crate) fn ended(task: &mut Task) {
    task.last_status = Some("STOPPED".to_owned());
    task.desired_status = Some("STOPPED".to_owned());
    task.version += 1;
    for container in task.containers.iter_mut().flatten() {
        container.exit_code = Some(0);
    }
}

/// A registration by somebody who is not Cronplane.
pub(crate) fn registration(family: &str) -> RegisterTaskDefinitionInput {
    RegisterTaskDefinitionInput::builder().family(family).build().unwrap()
}

/// An event of a task of the job: its states in the order in which they come, and other ends.
pub(crate) fn event(name: &str) -> Value {
    let text = match name {
        "running" => include_str!("fixtures/fargate-running.json"),
        "exit-1" => include_str!("fixtures/fargate-stopped-exit-1.json"),
        "sidecar-143" => include_str!("fixtures/fargate-sidecar-143.json"),
        "failed-to-start" => include_str!("fixtures/fargate-failed-to-start.json"),
        "spot-warning" => include_str!("fixtures/fargate-spot-warning.json"),
        other => panic!("no event {other}"),
    };
    serde_json::from_str(text).unwrap()
}

/// The event of a task that its schedule created so many seconds after the beginning, at a state
/// and a version.
pub(crate) fn state(id: &str, created: i64, status: &str, version: i64) -> Value {
    let mut event = event("exit-1");
    let detail = event["detail"].as_object_mut().unwrap();
    let time = |seconds: i64| json!(at(created + seconds).to_string());
    detail.insert("taskArn".to_owned(), json!(arn("ecs", &format!("task/{BASE}/{id}"))));
    detail.insert("startedBy".to_owned(), json!(started_by(BASE)));
    detail.insert("version".to_owned(), json!(version));
    detail.insert("lastStatus".to_owned(), json!(status));
    detail.insert("createdAt".to_owned(), time(0));
    let times = [
        ("pullStartedAt", 10, "PENDING"),
        ("pullStoppedAt", 15, "ACTIVATING"),
        ("startedAt", 20, "RUNNING"),
        ("stoppingAt", 60, "DEACTIVATING"),
        ("executionStoppedAt", 62, "STOPPING"),
        ("stoppedAt", 80, "STOPPED"),
    ];
    for (name, seconds, from) in times {
        detail.remove(name);
        if position(status) >= position(from) {
            detail.insert(name.to_owned(), time(seconds));
        }
    }
    if position(status) < position("DEACTIVATING") {
        detail.insert("desiredStatus".to_owned(), json!("RUNNING"));
        for name in ["stopCode", "stoppedReason"] {
            detail.remove(name);
        }
    }
    if position(status) < position("STOPPING") {
        let main = detail["containers"][0].as_object_mut().unwrap();
        main.remove("exitCode");
    }
    event
}

/// The states of a task in their order.
pub(crate) const STATES: [&str; 8] = [
    "PROVISIONING",
    "PENDING",
    "ACTIVATING",
    "RUNNING",
    "DEACTIVATING",
    "STOPPING",
    "DEPROVISIONING",
    "STOPPED",
];

fn position(status: &str) -> usize {
    STATES.iter().position(|one| *one == status).unwrap()
}

pub(crate) fn snapshot(event: &Value) -> TaskSnapshot {
    ecs_task::parse(&event.to_string()).unwrap()
}
