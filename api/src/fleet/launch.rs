//! Starts tasks, once each.

use aws_sdk_ecs::operation::run_task::RunTaskError;
use aws_sdk_ecs::types::{
    AssignPublicIp, AwsVpcConfiguration, CapacityProviderStrategyItem, ContainerOverride, Failure,
    KeyValuePair, LaunchType, NetworkConfiguration, PropagateTags, TaskOverride,
};

use super::Fleet;
use super::tasks::{DESCRIBE_MAX, snapshot};
use crate::domain::job::{FARGATE_SPOT, Placement};
use crate::domain::overrides::Overrides;
use crate::domain::task::{MAIN_CONTAINER, TaskSnapshot};
use crate::error::{AwsFault, Error, FaultKind, Result};

/// What ECS says while a role is new ("ECS was unable to assume the role"), its own role ("Unable to
/// assume the service linked role") or the cluster is, or too much is asked for: the same again succeeds
/// a little later.
///
/// Source: Amazon ECS Developer Guide, "Amazon ECS API failure reasons".
const PASSING: [&str; 4] =
    ["nable to assume the", "Cluster was not ACTIVE", "Rate exceeded", "RequestLimitExceeded"];

/// What ECS says where there is no capacity, or the account's quota of it, which Spot has one of its own
/// of, is used up: the same again succeeds when other tasks have ended. "You’ve" has an apostrophe of
/// one kind or another.
///
/// Sources: Amazon ECS Developer Guide, "Amazon ECS service event messages"; AWS re:Post, "Capacity is
/// unavailable"; Amazon ECS service quotas, "Fargate Spot vCPU resource count".
const NO_CAPACITY: [&str; 2] = ["Capacity is unavailable", "reached the limit on the number of"];

/// One task to be started. The same order again is the same call: ECS starts it once.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Name or ARN.
    pub cluster: &'a str,
    pub task_definition_arn: &'a str,
    pub family: &'a str,
    pub started_by: &'a str,
    /// At most 64 characters. ECS knows it in its cluster for the lower of 24 hours and the task's
    /// life plus one.
    pub client_token: &'a str,
    pub placement: &'a Placement,
    /// On demand, whatever capacity the placement says.
    pub on_demand: bool,
    pub overrides: &'a Overrides,
}

impl Fleet {
    /// Starts the task of `order`, or answers the one that an earlier call started.
    ///
    /// Errors: faults of AWS, the kind of which says whether the same again may succeed, and whether it
    /// is certain that for want of capacity no task was started.
    pub async fn start(&self, order: Order<'_>) -> Result<TaskSnapshot> {
        let placement = order.placement;
        let network = &placement.network;
        let network = AwsVpcConfiguration::builder()
            .set_subnets(Some(network.subnets.clone()))
            .set_security_groups(
                Some(network.security_groups.clone()).filter(|groups| !groups.is_empty()),
            )
            .assign_public_ip(if network.assign_public_ip {
                AssignPublicIp::Enabled
            } else {
                AssignPublicIp::Disabled
            })
            .build()
            .map_err(|error| Error::Internal(error.to_string()))?;
        let run_task = self
            .ecs
            .run_task()
            .cluster(order.cluster)
            .task_definition(order.task_definition_arn)
            .count(1)
            .platform_version(&placement.platform_version)
            .enable_execute_command(placement.enable_execute_command)
            .enable_ecs_managed_tags(placement.enable_ecs_managed_tags)
            .group(format!("family:{}", order.family))
            .started_by(order.started_by)
            .client_token(order.client_token)
            .network_configuration(
                NetworkConfiguration::builder().awsvpc_configuration(network).build(),
            )
            .overrides(overrides(order.overrides))
            // The tags of the task definition say whose the task is.
            .propagate_tags(PropagateTags::TaskDefinition);
        // A launch type and a strategy exclude each other.
        let run_task = if placement.capacity.wants_spot() && !order.on_demand {
            run_task.capacity_provider_strategy(
                CapacityProviderStrategyItem::builder()
                    .capacity_provider(FARGATE_SPOT)
                    .weight(1)
                    .build()
                    .map_err(|error| Error::Internal(error.to_string()))?,
            )
        } else {
            run_task.launch_type(LaunchType::Fargate)
        };
        let answer = match run_task.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let mut fault = AwsFault::of("ecs:RunTask", &error);
                let Some(RunTaskError::ConflictException(conflict)) = error.as_service_error()
                else {
                    return Err(passing(fault));
                };
                return match Box::pin(self.of_token(order, conflict.resource_ids())).await {
                    Ok(Some(task)) => Ok(task),
                    Ok(None) => Err(Error::Aws(fault)),
                    Err(error) => {
                        tracing::warn!(%error, "the task of a client token can't be looked for");
                        fault.kind = FaultKind::Transient;
                        Err(Error::Aws(fault))
                    }
                };
            }
        };
        match (answer.tasks().first(), answer.failures().first()) {
            (Some(task), _) => snapshot(task),
            (None, Some(failure)) => Err(not_started(failure)),
            (None, None) => Err(Error::Aws(AwsFault {
                operation: "ecs:RunTask",
                code: "Unknown".to_owned(),
                message: "ECS told neither a task nor a failure".to_owned(),
                kind: FaultKind::Transient,
            })),
        }
    }

    /// The task that ECS started with the client token of `order` when the order was another one, as an
    /// earlier version of this system made it: one of `arns`, if ECS tells them, or else among all that
    /// say to be of this start.
    async fn of_token(&self, order: Order<'_>, arns: &[String]) -> Result<Option<TaskSnapshot>> {
        let arns: Vec<&str> = arns.iter().map(String::as_str).take(DESCRIBE_MAX).collect();
        if !arns.is_empty() {
            for task in self.describe(order.cluster, &arns).await? {
                if let Some(task) = task?
                    && task.started_by.as_deref() == Some(order.started_by)
                {
                    return Ok(Some(task));
                }
            }
        }
        let started = self.started(order.cluster, order.family, order.started_by).await?;
        Ok(started.into_iter().next())
    }

    /// The tasks of `family` in `cluster` that were started by `started_by`, the oldest first: also
    /// those that have ended, as long as ECS shows them.
    pub async fn started(
        &self,
        cluster: &str,
        family: &str,
        started_by: &str,
    ) -> Result<Vec<TaskSnapshot>> {
        // Amazon ECS API Reference, ListTasks: `startedBy` must be the only filter, and without the
        // other one only tasks are listed that are wanted running.
        let mut arns = self.listed_started_by(cluster, started_by).await?;
        arns.extend(self.listed_stopped(cluster, family).await?);
        let mut found = Vec::new();
        for arns in arns.chunks(DESCRIBE_MAX) {
            let arns: Vec<&str> = arns.iter().map(String::as_str).collect();
            for task in self.describe(cluster, &arns).await? {
                found.extend(task?.filter(|task| {
                    task.started_by.as_deref() == Some(started_by)
                        && task.family_and_revision().is_some_and(|(of, _)| of == family)
                }));
            }
        }
        found.sort_by_key(|task| task.created_at);
        Ok(found)
    }
}

fn overrides(overrides: &Overrides) -> TaskOverride {
    let variables = overrides.environment.iter();
    let variables: Vec<KeyValuePair> = variables
        .map(|(name, value)| KeyValuePair::builder().name(name).value(value).build())
        .collect();
    let main = ContainerOverride::builder()
        .name(MAIN_CONTAINER)
        .set_command(overrides.command.clone())
        .set_environment(Some(variables).filter(|variables| !variables.is_empty()))
        .build();
    TaskOverride::builder()
        .container_overrides(main)
        .set_cpu(overrides.size.map(|size| size.cpu.to_string()))
        .set_memory(overrides.size.map(|size| size.memory.to_string()))
        .build()
}

/// What stands as a failure in a successful answer. Amazon ECS Developer Guide, "Amazon ECS API
/// failure reasons": `RESOURCE:...` is capacity, which comes back.
fn not_started(failure: &Failure) -> Error {
    let reason = failure.reason().unwrap_or("Unknown");
    let detail = failure.detail().unwrap_or("no detail");
    let mut fault = AwsFault::of_code("ecs:RunTask", reason, detail);
    if reason.starts_with("RESOURCE:") || NO_CAPACITY.iter().any(|text| reason.contains(text)) {
        fault.kind = FaultKind::NoCapacity;
    } else if PASSING.iter().any(|text| reason.contains(text)) {
        fault.kind = FaultKind::Throttled;
    }
    passing(fault)
}

fn passing(mut fault: AwsFault) -> Error {
    // After an error of the service's own nobody knows whether there is a task.
    let is_certain = fault.kind != FaultKind::Transient;
    if is_certain && NO_CAPACITY.iter().any(|text| fault.message.contains(text)) {
        fault.kind = FaultKind::NoCapacity;
    } else if PASSING.iter().any(|text| fault.message.contains(text)) {
        fault.kind = FaultKind::Throttled;
    }
    Error::Aws(fault)
}
