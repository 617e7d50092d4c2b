//! ECS tasks.

use aws_sdk_ecs::operation::describe_tasks::DescribeTasksOutput;
use aws_sdk_ecs::operation::list_tasks::builders::ListTasksFluentBuilder;
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{DesiredStatus, LaunchType, Task, TaskOverride};
use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};

use super::Fleet;
use crate::domain::task::{ContainerSnapshot, TaskSnapshot, capacity_provider};
use crate::error::{AwsFault, Error, Result, says};

/// DescribeTasks takes so many tasks a call.
pub const DESCRIBE_MAX: usize = 100;
/// What StopTask says of a task that ECS does not know (any more, or yet).
const NOT_FOUND: &str = "referenced task was not found";

impl Fleet {
    /// The ARNs of the tasks of `family` in `cluster` that have not ended: those that run or are
    /// about to, and those that are being stopped. A cluster that is gone has none.
    pub async fn unfinished(&self, cluster: &str, family: &str) -> Result<Vec<String>> {
        let mut unfinished = self.listed(cluster, family, DesiredStatus::Running).await?;
        let ending = self.listed(cluster, family, DesiredStatus::Stopped).await?;
        for arns in ending.chunks(DESCRIBE_MAX) {
            let arns: Vec<&str> = arns.iter().map(String::as_str).collect();
            for task in self.describe(cluster, &arns).await? {
                unfinished
                    .extend(task?.filter(|task| !task.has_stopped()).map(|task| task.task_arn));
            }
        }
        Ok(unfinished)
    }

    /// The ARNs of the tasks in `cluster` that say to be started by `started_by` and are wanted
    /// running.
    pub(super) async fn listed_started_by(
        &self,
        cluster: &str,
        started_by: &str,
    ) -> Result<Vec<String>> {
        self.listed_all(self.ecs.list_tasks().cluster(cluster).started_by(started_by)).await
    }

    /// The ARNs of the tasks of `family` in `cluster` that have ended or are about to.
    pub(super) async fn listed_stopped(&self, cluster: &str, family: &str) -> Result<Vec<String>> {
        self.listed(cluster, family, DesiredStatus::Stopped).await
    }

    async fn listed(
        &self,
        cluster: &str,
        family: &str,
        desired: DesiredStatus,
    ) -> Result<Vec<String>> {
        let list = self.ecs.list_tasks().cluster(cluster).family(family).desired_status(desired);
        self.listed_all(list).await
    }

    async fn listed_all(&self, list: ListTasksFluentBuilder) -> Result<Vec<String>> {
        let mut tasks = Vec::new();
        let mut next = None;
        loop {
            let page = list.clone().set_next_token(next).send().await;
            let page = match page {
                Ok(page) => page,
                Err(error) if says(&error, |error| error.is_cluster_not_found_exception()) => {
                    return Ok(Vec::new());
                }
                Err(error) => return Err(Error::aws("ecs:ListTasks", error)),
            };
            tasks.extend(page.task_arns.unwrap_or_default());
            next = page.next_token;
            if next.is_none() {
                return Ok(tasks);
            }
        }
    }

    /// Asks a task to end; `reason` comes back as its `stoppedReason`. One that ECS does not find is no
    /// error: it has ended, or was started a moment ago and is found a little later.
    pub async fn stop(&self, cluster: &str, task_arn: &str, reason: &str) -> Result<()> {
        if let Some(dry_run) = &self.dry_run {
            dry_run.note("ecs:StopTask", task_arn);
            return Ok(());
        }
        match self.ecs.stop_task().cluster(cluster).task(task_arn).reason(reason).send().await {
            Ok(_) => Ok(()),
            Err(error) => match AwsFault::of("ecs:StopTask", &error) {
                fault if fault.message.contains(NOT_FOUND) => Ok(()),
                fault => Err(Error::Aws(fault)),
            },
        }
    }

    /// The tasks of `arns`, all of `cluster` and [`DESCRIBE_MAX`] at most, each as it stands now;
    /// `None` for one that ECS has forgotten.
    ///
    /// Errors: the call's for all; one task's alone, where ECS did not tell how it stands.
    pub async fn describe(
        &self,
        cluster: &str,
        arns: &[&str],
    ) -> Result<Vec<Result<Option<TaskSnapshot>>>> {
        let answer = self
            .ecs
            .describe_tasks()
            .cluster(cluster)
            .set_tasks(Some(arns.iter().map(|arn| (*arn).to_owned()).collect()))
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if says(&error, |error| error.is_cluster_not_found_exception()) => {
                return Ok(arns.iter().map(|_| Ok(None)).collect());
            }
            Err(error) => return Err(Error::aws("ecs:DescribeTasks", error)),
        };
        Ok(arns.iter().map(|arn| described(&answer, arn)).collect())
    }
}

/// What `answer` tells of the task `arn`.
fn described(answer: &DescribeTasksOutput, arn: &str) -> Result<Option<TaskSnapshot>> {
    if let Some(task) = answer.tasks().iter().find(|task| task.task_arn() == Some(arn)) {
        return snapshot(task).map(Some);
    }
    let failure = answer.failures().iter().find(|failure| failure.arn() == Some(arn));
    // A task that is not there is told as the failure MISSING; any other is a fault.
    match failure.and_then(|failure| failure.reason()) {
        Some("MISSING") => Ok(None),
        reason => Err(Error::Aws(AwsFault::of_code(
            "ecs:DescribeTasks",
            reason.unwrap_or("Unknown"),
            failure.and_then(|failure| failure.detail()).unwrap_or("no word of the task"),
        ))),
    }
}

/// An empty text is none.
fn told(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

pub(super) fn snapshot(task: &Task) -> Result<TaskSnapshot> {
    let missing = |what: &str| Error::Internal(format!("ECS described a task without {what}"));
    Ok(TaskSnapshot {
        task_arn: task.task_arn().ok_or_else(|| missing("taskArn"))?.to_owned(),
        cluster_arn: task.cluster_arn().ok_or_else(|| missing("clusterArn"))?.to_owned(),
        task_definition_arn: task
            .task_definition_arn()
            .ok_or_else(|| missing("taskDefinitionArn"))?
            .to_owned(),
        started_by: task.started_by().map(str::to_owned),
        version: task.version(),
        last_status: task.last_status().unwrap_or_default().to_owned(),
        desired_status: task.desired_status().unwrap_or_default().to_owned(),
        stop_code: told(task.stop_code().map(|code| code.as_str())),
        stopped_reason: told(task.stopped_reason()),
        containers: task
            .containers()
            .iter()
            .map(|container| ContainerSnapshot {
                name: container.name().unwrap_or_default().to_owned(),
                exit_code: container.exit_code(),
                reason: container.reason().map(str::to_owned),
                image: container.image().map(str::to_owned),
                image_digest: container.image_digest().map(str::to_owned),
            })
            .collect(),
        created_at: timestamp(task.created_at()).ok_or_else(|| missing("createdAt"))?,
        pull_started_at: timestamp(task.pull_started_at()),
        pull_stopped_at: timestamp(task.pull_stopped_at()),
        started_at: timestamp(task.started_at()),
        stopping_at: timestamp(task.stopping_at()),
        execution_stopped_at: timestamp(task.execution_stopped_at()),
        stopped_at: timestamp(task.stopped_at()),
        cpu: task.cpu().and_then(|cpu| cpu.parse().ok()),
        memory: task.memory().and_then(|memory| memory.parse().ok()),
        capacity_provider: capacity_provider(
            task.capacity_provider_name(),
            task.launch_type().map(LaunchType::as_str),
        ),
        overrides: task.overrides().map_or_else(|| json!({}), overrides),
    })
}

/// To the millisecond, as events tell it. ECS's API tells a time as a floating-point number, of which
/// 14:00:00.000 can be read as 13:59:59.999999982: with another second a run would have another id.
fn timestamp(time: Option<&DateTime>) -> Option<Timestamp> {
    let time = time?;
    let nanos = i32::try_from(time.subsec_nanos()).ok()?;
    let exact = Timestamp::new(time.secs(), nanos).ok()?;
    exact.round(Unit::Millisecond).ok()
}

/// The overrides in the shape in which events tell them.
fn overrides(overrides: &TaskOverride) -> Value {
    let containers: Vec<Value> = overrides
        .container_overrides()
        .iter()
        .map(|container| {
            let mut object = Map::new();
            object.insert("name".to_owned(), json!(container.name()));
            if !container.command().is_empty() {
                object.insert("command".to_owned(), json!(container.command()));
            }
            if !container.environment().is_empty() {
                let variables: Vec<Value> = container
                    .environment()
                    .iter()
                    .map(|variable| json!({"name": variable.name(), "value": variable.value()}))
                    .collect();
                object.insert("environment".to_owned(), json!(variables));
            }
            if let Some(cpu) = container.cpu() {
                object.insert("cpu".to_owned(), json!(cpu));
            }
            if let Some(memory) = container.memory() {
                object.insert("memory".to_owned(), json!(memory));
            }
            Value::Object(object)
        })
        .collect();
    let mut object = Map::new();
    object.insert("containerOverrides".to_owned(), json!(containers));
    if let Some(cpu) = overrides.cpu() {
        object.insert("cpu".to_owned(), json!(cpu));
    }
    if let Some(memory) = overrides.memory() {
        object.insert("memory".to_owned(), json!(memory));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What answers RunTask in place of ECS may tell texts that are empty.
    #[test]
    fn a_task_that_goes_on_has_not_stopped_for_any_reason() {
        let task = Task::builder()
            .task_arn("arn:aws:ecs:us-west-2:111122223333:task/c/0123")
            .cluster_arn("arn:aws:ecs:us-west-2:111122223333:cluster/c")
            .task_definition_arn("arn:aws:ecs:us-west-2:111122223333:task-definition/f:7")
            .created_at(DateTime::from_secs(1_763_906_400));
        let told = |stop_code: &str, reason: &str| {
            let task = task.clone().stop_code(stop_code.into()).stopped_reason(reason).build();
            let snapshot = snapshot(&task).unwrap();
            (snapshot.stop_code, snapshot.stopped_reason)
        };
        assert_eq!(told("", ""), (None, None));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(told("UserInitiated", "enough"), (text("UserInitiated"), text("enough")));
    }

    #[test]
    fn a_time_is_the_one_that_the_event_tells() {
        for (told, wanted) in [
            (DateTime::from_secs_and_nanos(1_763_906_399, 999_999_982), "2025-11-23T14:00:00Z"),
            (DateTime::from_secs_and_nanos(1_763_906_400, 42_999_982), "2025-11-23T14:00:00.043Z"),
            (DateTime::from_secs_f64(1_763_906_400.402), "2025-11-23T14:00:00.402Z"),
            (DateTime::from_secs(1_763_906_400), "2025-11-23T14:00:00Z"),
        ] {
            assert_eq!(timestamp(Some(&told)), Some(wanted.parse().unwrap()), "{told:?}");
        }
    }
}
