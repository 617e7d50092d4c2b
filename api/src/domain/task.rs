//! An ECS task as one event, or one DescribeTasks answer, shows it.

use jiff::Timestamp;
use serde_json::Value;

use super::ids::RunId;

/// Name of the container that runs the job, the same in every task.
pub const MAIN_CONTAINER: &str = "main";

/// The environment variable in which a scheduled task finds the time it was meant to start, in
/// RFC 3339.
pub const SCHEDULED_TIME: &str = "SCHEDULED_TIME";

/// Launch type, and capacity provider, of what is not spare capacity.
const FARGATE: &str = "FARGATE";

/// What stands before a run's id in the `startedBy` of the task that Cronplane started.
const STARTED_BY_REQUEST: &str = "cronplane/";

/// The `startedBy` of the task of the run `id`: 58 characters where ECS takes 128, all of its kind.
pub fn started_by_request(id: &RunId) -> String {
    format!("{STARTED_BY_REQUEST}{id}")
}

/// The state of a task at one version. Every snapshot is whole: a later one replaces it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSnapshot {
    pub task_arn: String,
    pub cluster_arn: String,
    pub task_definition_arn: String,
    pub started_by: Option<String>,
    /// Counts the changes of the task; a higher one is newer.
    pub version: i64,
    pub last_status: String,
    pub desired_status: String,
    pub stop_code: Option<String>,
    pub stopped_reason: Option<String>,
    pub containers: Vec<ContainerSnapshot>,
    pub created_at: Timestamp,
    pub pull_started_at: Option<Timestamp>,
    pub pull_stopped_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub stopping_at: Option<Timestamp>,
    pub execution_stopped_at: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
    /// CPU units.
    pub cpu: Option<u32>,
    /// MiB.
    pub memory: Option<u32>,
    /// See [`capacity_provider`].
    pub capacity_provider: Option<String>,
    /// As ECS tells them: `{"containerOverrides": [...], ...}`.
    pub overrides: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSnapshot {
    pub name: String,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
    pub image: Option<String>,
    pub image_digest: Option<String>,
}

impl TaskSnapshot {
    /// The last part of the task's ARN.
    pub fn task_id(&self) -> &str {
        task_id(&self.task_arn)
    }

    /// The run that the task says to be of. Whoever may run tasks can say so of any.
    pub fn claimed_run(&self) -> Option<RunId> {
        RunId::parse(self.started_by.as_deref()?.strip_prefix(STARTED_BY_REQUEST)?)
    }

    /// Whether it has stopped or was asked to.
    pub fn is_stopping(&self) -> bool {
        self.has_stopped() || self.desired_status == "STOPPED"
    }

    /// Family and revision: `arn:...:task-definition/family:7` is `("family", 7)`.
    pub fn family_and_revision(&self) -> Option<(&str, u32)> {
        let (family, revision) = last_part(&self.task_definition_arn).rsplit_once(':')?;
        Some((family, revision.parse().ok()?))
    }

    pub fn main_container(&self) -> Option<&ContainerSnapshot> {
        self.containers.iter().find(|container| container.name == MAIN_CONTAINER)
    }

    pub fn has_stopped(&self) -> bool {
        self.last_status == "STOPPED"
    }

    /// The start that the schedule promised, as the target passed it to the task.
    pub fn scheduled_time(&self) -> Option<Timestamp> {
        self.overrides
            .get("containerOverrides")?
            .as_array()?
            .iter()
            .filter(|container| container["name"] == MAIN_CONTAINER)
            .flat_map(|container| container["environment"].as_array().into_iter().flatten())
            .find(|variable| variable["name"] == SCHEDULED_TIME)?["value"]
            .as_str()?
            .parse()
            .ok()
    }
}

/// What capacity a task takes, as ECS names it: `FARGATE` or `FARGATE_SPOT`. A task that was started
/// with a launch type has no provider; the launch type `FARGATE` is the same capacity as the provider of
/// that name.
pub fn capacity_provider(name: Option<&str>, launch_type: Option<&str>) -> Option<String> {
    name.or(launch_type.filter(|launch_type| *launch_type == FARGATE)).map(str::to_owned)
}

/// The last part of a task's ARN.
pub fn task_id(task_arn: &str) -> &str {
    last_part(task_arn)
}

fn last_part(arn: &str) -> &str {
    arn.rsplit_once('/').map_or(arn, |(_, last)| last)
}
