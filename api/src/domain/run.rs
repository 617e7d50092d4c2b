//! A run: one task of a job, from its creation to its end; of one that Cronplane starts, from the
//! request or the time of the schedule on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fargate_size::FargateSize;
use super::ids::RunId;
use super::job::{Capacity, Placement};
use super::overrides::Overrides;
use super::task::{MAIN_CONTAINER, TaskSnapshot, started_by_request};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Created or asked for, not running yet.
    Pending,
    Running,
    /// The main container ended with 0.
    Succeeded,
    /// The main container ended with another code, or with none that ECS could tell.
    Failed,
    /// No container ever ran: the image, a secret or the network could not be had.
    FailedToStart,
    /// Ended by its deadline.
    TimedOut,
    /// Stopped by a person or a program.
    Stopped,
    /// Ended by AWS: Spot capacity taken back, host retired or broken.
    Interrupted,
    /// Its end was never told, and ECS knows the task no longer.
    Unknown,
}

impl RunStatus {
    pub const ALL: [RunStatus; 9] = [
        RunStatus::Pending,
        RunStatus::Running,
        RunStatus::Succeeded,
        RunStatus::Failed,
        RunStatus::FailedToStart,
        RunStatus::TimedOut,
        RunStatus::Stopped,
        RunStatus::Interrupted,
        RunStatus::Unknown,
    ];

    /// How a run can end.
    pub const OUTCOMES: [RunStatus; 7] = [
        RunStatus::Succeeded,
        RunStatus::Failed,
        RunStatus::FailedToStart,
        RunStatus::TimedOut,
        RunStatus::Stopped,
        RunStatus::Interrupted,
        RunStatus::Unknown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            RunStatus::Pending => "pending",
            RunStatus::Running => "running",
            RunStatus::Succeeded => "succeeded",
            RunStatus::Failed => "failed",
            RunStatus::FailedToStart => "failed_to_start",
            RunStatus::TimedOut => "timed_out",
            RunStatus::Stopped => "stopped",
            RunStatus::Interrupted => "interrupted",
            RunStatus::Unknown => "unknown",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        !matches!(self, RunStatus::Pending | RunStatus::Running)
    }

    /// Whether the failure rule tells the team.
    pub fn is_failure(self) -> bool {
        matches!(self, RunStatus::Failed | RunStatus::FailedToStart | RunStatus::Interrupted)
    }

    /// Whether the team is told of a run that ends like this without a task: it was wanted, and did not
    /// run or nobody knows whether it did.
    pub fn is_told_without_task(self) -> bool {
        self.is_failure() || self == RunStatus::Unknown
    }
}

/// What made a run start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The job's schedule.
    Schedule,
    /// A request to Cronplane.
    Manual,
    /// Anything else that ran the task definition.
    External,
}

impl Trigger {
    pub const ALL: [Trigger; 3] = [Trigger::Schedule, Trigger::Manual, Trigger::External];

    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Schedule => "schedule",
            Trigger::Manual => "manual",
            Trigger::External => "external",
        }
    }
}

/// The stop codes with which a task failed whatever its containers did.
///
/// Source: Amazon ECS API Reference, Task, `stopCode`. The failure rule's pattern and
/// [`outcome`] are both made from these lists, so that what the history calls a failure is what
/// is told.
pub const FAILED_TO_START_CODES: [&str; 1] = ["TaskFailedToStart"];
/// The stop codes of a task that AWS ended.
pub const INTERRUPTED_CODES: [&str; 3] =
    ["SpotInterruption", "TerminationNotice", "InfrastructureHealth"];
/// The stop codes of a task that somebody stopped: no failure, whatever the exit code.
pub const STOPPED_CODES: [&str; 2] = ["UserInitiated", "ServiceSchedulerInitiated"];

/// How a stopped task ended.
fn outcome(task: &TaskSnapshot) -> RunStatus {
    let code = task.stop_code.as_deref().unwrap_or_default();
    if FAILED_TO_START_CODES.contains(&code) {
        return RunStatus::FailedToStart;
    }
    if INTERRUPTED_CODES.contains(&code) {
        return RunStatus::Interrupted;
    }
    if STOPPED_CODES.contains(&code) {
        return RunStatus::Stopped;
    }
    match task.main_container().and_then(|main| main.exit_code) {
        Some(0) => RunStatus::Succeeded,
        _ => RunStatus::Failed,
    }
}

/// A run as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub trigger: Trigger,
    pub status: RunStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<Timestamp>,
    /// When ECS created the task; of a run that a request asked for, when it did; of one that Cronplane
    /// starts on schedule, when it was to start.
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_stopped_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_stopped_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Timestamp>,
    pub containers: Vec<ContainerResult>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_code: Option<String>,
    /// Why it stopped; of a run that has no task, why it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_reason: Option<String>,
    /// `None` until the task that was asked for is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_arn: Option<String>,
    pub cluster_arn: String,
    pub task_definition_arn: String,
    pub task_definition_revision: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// What capacity the task takes: `FARGATE` or `FARGATE_SPOT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_provider: Option<String>,
    pub overrides: Value,
    /// 1 once the task was seen stopped, 0 before.
    pub stopped: u8,
    /// ECS's count of the task's changes; 0 while there is none.
    pub version: i64,
    /// When ECS created the task, whatever `created_at` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_created_at: Option<Timestamp>,
    /// What starting the task takes, until it is there or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<Launch>,
    /// Set once a stop was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_requested: Option<StopRequest>,
}

/// What starting the task of a run takes, besides what stands in the run itself: the same call again
/// must be the very same, whatever became of the job's definition meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// The job of the name, not a later one.
    pub job_id: String,
    pub placement: Placement,
    pub overrides: Overrides,
    /// Times that somebody set about it.
    pub attempts: u32,
    /// Until then whoever set about it last is alone at it.
    pub until: Timestamp,
    pub give_up_at: Timestamp,
    /// Whether there was no Spot capacity: from then on it is tried on demand only.
    #[serde(default)]
    pub fell_back: bool,
}

impl Launch {
    /// Whether a lack of Spot capacity is no reason to wait.
    pub fn may_fall_back(&self) -> bool {
        self.placement.capacity == Capacity::SpotWithFallback && !self.fell_back
    }

    /// The client token of the run's task, 51 characters at most where ECS takes 64. That of a start on
    /// demand is another one: the same token with another capacity would be a conflict.
    pub fn client_token(&self, id: &RunId) -> String {
        if self.fell_back { format!("{id}.od") } else { id.to_string() }
    }
}

/// A stop of a run, until its task is seen stopping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    pub reason: String,
    pub at: Timestamp,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerResult {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
}

impl Run {
    /// The attributes of a run that a later state may not have. All others are in each.
    pub const OPTIONAL: [&str; 17] = [
        "scheduled_time",
        "pull_started_at",
        "pull_stopped_at",
        "started_at",
        "stopping_at",
        "execution_stopped_at",
        "stopped_at",
        "stop_code",
        "stopped_reason",
        "task_arn",
        "started_by",
        "cpu",
        "memory",
        "capacity_provider",
        "task_created_at",
        "launch",
        "stop_requested",
    ];

    /// The run that `task` is, started by `trigger`; its revision is 0 where the task definition's
    /// ARN names none.
    pub fn of_task(task: &TaskSnapshot, trigger: Trigger) -> Run {
        let status = match task.last_status.as_str() {
            "STOPPED" => outcome(task),
            _ if task.started_at.is_some() => RunStatus::Running,
            _ => RunStatus::Pending,
        };
        Run {
            id: RunId::of_task(task.created_at, task.task_id()),
            trigger,
            status,
            scheduled_time: match trigger {
                Trigger::Schedule => task.scheduled_time(),
                Trigger::Manual | Trigger::External => None,
            },
            created_at: task.created_at,
            pull_started_at: task.pull_started_at,
            pull_stopped_at: task.pull_stopped_at,
            started_at: task.started_at,
            stopping_at: task.stopping_at,
            execution_stopped_at: task.execution_stopped_at,
            stopped_at: task.stopped_at,
            containers: task
                .containers
                .iter()
                .map(|container| ContainerResult {
                    name: container.name.clone(),
                    exit_code: container.exit_code,
                    reason: container.reason.clone(),
                    image: container.image.clone(),
                    image_digest: container.image_digest.clone(),
                })
                .collect(),
            stop_code: task.stop_code.clone(),
            stopped_reason: task.stopped_reason.clone(),
            task_arn: Some(task.task_arn.clone()),
            cluster_arn: task.cluster_arn.clone(),
            task_definition_arn: task.task_definition_arn.clone(),
            task_definition_revision: task.family_and_revision().map_or(0, |(_, number)| number),
            started_by: task.started_by.clone(),
            cpu: task.cpu,
            memory: task.memory,
            capacity_provider: task.capacity_provider.clone(),
            overrides: task.overrides.clone(),
            stopped: u8::from(task.has_stopped()),
            version: task.version,
            task_created_at: Some(task.created_at),
            launch: None,
            stop_requested: None,
        }
    }

    /// The run that a request asks for, before there is a task.
    pub fn of_request(request: RunRequest) -> Run {
        let size = request.size;
        Run {
            started_by: Some(started_by_request(&request.id)),
            id: request.id,
            trigger: Trigger::Manual,
            status: RunStatus::Pending,
            scheduled_time: None,
            created_at: request.asked_at,
            pull_started_at: None,
            pull_stopped_at: None,
            started_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            stopped_at: None,
            containers: Vec::new(),
            stop_code: None,
            stopped_reason: None,
            task_arn: None,
            cluster_arn: request.cluster_arn,
            task_definition_revision: revision_of(&request.task_definition_arn),
            task_definition_arn: request.task_definition_arn,
            cpu: Some(size.cpu),
            memory: Some(size.memory),
            capacity_provider: None,
            overrides: request.launch.overrides.as_told(),
            stopped: 0,
            version: 0,
            task_created_at: None,
            launch: Some(request.launch),
            stop_requested: None,
        }
    }

    /// What decides between two states of the same run: a stopped task beats one that goes on,
    /// then the higher version wins. Whatever the order in which events arrive, and however
    /// often, the greatest remains.
    pub fn evidence(&self) -> (u8, i64) {
        (self.stopped, self.version)
    }

    /// The container that does the job's work.
    pub fn main_container(&self) -> Option<&ContainerResult> {
        self.containers.iter().find(|container| container.name == MAIN_CONTAINER)
    }

    /// What the job's own entry shows of this run.
    pub fn summary(&self) -> RunSummary {
        RunSummary {
            id: self.id.clone(),
            status: self.status,
            trigger: self.trigger,
            scheduled_time: self.scheduled_time,
            created_at: self.created_at,
            stopped_at: self.stopped_at,
            exit_code: self.main_container().and_then(|main| main.exit_code),
            stopped: self.stopped,
            version: self.version,
        }
    }
}

/// What a run that was asked for is made of.
#[derive(Clone, Debug)]
pub struct RunRequest {
    pub id: RunId,
    pub asked_at: Timestamp,
    pub cluster_arn: String,
    pub task_definition_arn: String,
    pub size: FargateSize,
    pub launch: Launch,
}

/// The revision in the ARN of a task definition, 0 where there is none.
fn revision_of(task_definition_arn: &str) -> u32 {
    let revision = task_definition_arn.rsplit_once(':').map(|(_, revision)| revision.parse());
    revision.and_then(Result::ok).unwrap_or(0)
}

/// A run, as far as its job's own entry shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    pub id: RunId,
    pub status: RunStatus,
    pub trigger: Trigger,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<Timestamp>,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// 1 once the task has stopped, 0 before: see [`Run::evidence`].
    pub stopped: u8,
    pub version: i64,
}

impl RunSummary {
    /// What decides between two states of the same run, as [`Run::evidence`] does. A run that was
    /// closed as `unknown` has the evidence of the state in which it was seen last, and beats it.
    pub fn evidence(&self) -> (u8, i64, bool) {
        (self.stopped, self.version, self.status.is_final())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::task::ContainerSnapshot;

    fn task(stop_code: Option<&str>, exit_codes: &[(&str, Option<i32>)]) -> TaskSnapshot {
        TaskSnapshot {
            task_arn: "arn:aws:ecs:us-west-2:111122223333:task/c/0123".to_owned(),
            cluster_arn: "arn:aws:ecs:us-west-2:111122223333:cluster/c".to_owned(),
            task_definition_arn: "arn:aws:ecs:us-west-2:111122223333:task-definition/f:7"
                .to_owned(),
            started_by: None,
            version: 5,
            last_status: "STOPPED".to_owned(),
            desired_status: "STOPPED".to_owned(),
            stop_code: stop_code.map(str::to_owned),
            stopped_reason: None,
            containers: exit_codes
                .iter()
                .map(|(name, exit_code)| ContainerSnapshot {
                    name: (*name).to_owned(),
                    exit_code: *exit_code,
                    reason: None,
                    image: None,
                    image_digest: None,
                })
                .collect(),
            created_at: "2020-01-23T17:57:34.402Z".parse().unwrap(),
            pull_started_at: None,
            pull_stopped_at: None,
            started_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            stopped_at: None,
            cpu: Some(256),
            memory: Some(512),
            capacity_provider: Some("FARGATE".to_owned()),
            overrides: serde_json::json!({"containerOverrides": [{"name": "main", "environment": [
                {"name": "A", "value": "b"},
                {"name": "SCHEDULED_TIME", "value": "2020-01-23T17:57:00Z"},
            ]}]}),
        }
    }

    fn status(stop_code: Option<&str>, exit_codes: &[(&str, Option<i32>)]) -> RunStatus {
        Run::of_task(&task(stop_code, exit_codes), Trigger::External).status
    }

    #[test]
    fn a_run_ends_in_any_status_that_is_final() {
        let ends: Vec<RunStatus> =
            RunStatus::ALL.into_iter().filter(|status| status.is_final()).collect();
        assert_eq!(ends, RunStatus::OUTCOMES);
    }

    #[test]
    fn the_main_container_decides() {
        let exited = Some("EssentialContainerExited");
        assert_eq!(status(exited, &[("main", Some(0))]), RunStatus::Succeeded);
        assert_eq!(
            status(exited, &[("main", Some(0)), ("log-router", Some(143))]),
            RunStatus::Succeeded
        );
        assert_eq!(
            status(exited, &[("main", Some(1)), ("log-router", Some(0))]),
            RunStatus::Failed
        );
        assert_eq!(status(exited, &[("main", None)]), RunStatus::Failed);
        assert_eq!(status(None, &[("main", Some(0))]), RunStatus::Succeeded);
    }

    #[test]
    fn the_stop_code_goes_before_the_exit_code() {
        assert_eq!(status(Some("TaskFailedToStart"), &[("main", None)]), RunStatus::FailedToStart);
        assert_eq!(status(Some("UserInitiated"), &[("main", Some(143))]), RunStatus::Stopped);
        for code in INTERRUPTED_CODES {
            assert_eq!(status(Some(code), &[("main", Some(0))]), RunStatus::Interrupted);
        }
    }

    /// What is missing in one state and not in another is told.
    #[test]
    fn what_a_state_may_not_have_is_listed() {
        let stop = StopRequest { reason: "enough".to_owned(), at: Timestamp::UNIX_EPOCH };
        let launch = Launch {
            job_id: "one".to_owned(),
            placement: Placement::default(),
            overrides: Overrides::default(),
            attempts: 1,
            until: Timestamp::UNIX_EPOCH,
            give_up_at: Timestamp::UNIX_EPOCH,
            fell_back: false,
        };
        let now = Some(Timestamp::UNIX_EPOCH);
        let text = || Some("x".to_owned());
        let most = Run {
            scheduled_time: now,
            pull_started_at: now,
            pull_stopped_at: now,
            started_at: now,
            stopping_at: now,
            execution_stopped_at: now,
            stopped_at: now,
            stop_code: text(),
            stopped_reason: text(),
            started_by: text(),
            launch: Some(launch),
            stop_requested: Some(stop),
            ..Run::of_task(&task(None, &[]), Trigger::Manual)
        };
        let mut least = most.clone();
        least.scheduled_time = None;
        least.pull_started_at = None;
        least.pull_stopped_at = None;
        least.started_at = None;
        least.stopping_at = None;
        least.execution_stopped_at = None;
        least.stopped_at = None;
        least.stop_code = None;
        least.stopped_reason = None;
        least.task_arn = None;
        least.started_by = None;
        least.cpu = None;
        least.memory = None;
        least.capacity_provider = None;
        least.task_created_at = None;
        least.launch = None;
        least.stop_requested = None;
        let names = |run: &Run| -> Vec<String> {
            let value = serde_json::to_value(run).unwrap();
            value.as_object().unwrap().keys().cloned().collect()
        };
        let always = names(&least);
        let mut optional: Vec<String> =
            names(&most).into_iter().filter(|name| !always.contains(name)).collect();
        optional.sort();
        let mut told = Run::OPTIONAL.to_vec();
        told.sort_unstable();
        assert_eq!(optional, told);
        // None of the others can be missing: nothing of it reads as a run.
        for name in always {
            let mut value = serde_json::to_value(&least).unwrap();
            value.as_object_mut().unwrap().remove(&name);
            assert!(serde_json::from_value::<Run>(value).is_err(), "{name}");
        }
    }

    #[test]
    fn the_slot_is_read_from_the_overrides_of_a_scheduled_run_only() {
        let task = task(None, &[]);
        let slot = Some("2020-01-23T17:57:00Z".parse().unwrap());
        assert_eq!(Run::of_task(&task, Trigger::Schedule).scheduled_time, slot);
        assert_eq!(Run::of_task(&task, Trigger::External).scheduled_time, None);
        assert_eq!(Run::of_task(&task, Trigger::Schedule).task_definition_revision, 7);
    }
}
