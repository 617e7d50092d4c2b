//! What a schedule does when it is time, whichever engine carries it.

use serde_json::json;

use super::{Context, Made};
use crate::domain::job::{Placement, ResourceKind};
use crate::domain::task::{MAIN_CONTAINER, SCHEDULED_TIME};
use crate::error::Error;

/// How long AWS goes on trying to start a task. Its default of a day starts runs hours late, when the
/// next ones have long been due; what is given up goes to the dead-letter queue.
pub(super) const EVENT_AGE_SECONDS: i32 = 900;

/// Who starts the task.
pub(super) enum Start {
    /// The engine itself.
    Task { cluster_arn: String, placement: Box<Placement>, family: String },
    /// Cronplane, as it finds the message in its queue: the start takes more than one call.
    Message { queue_arn: String, team: String, job: String, job_id: String },
}

impl Start {
    pub(super) fn of(context: &Context<'_>) -> Start {
        let definition = &context.job.definition;
        if definition.capacity.is_started_by_cronplane() {
            return Start::Message {
                queue_arn: context.deployment.start_queue_arn.clone(),
                team: context.job.team.to_string(),
                job: definition.name.to_string(),
                job_id: context.job.id.clone(),
            };
        }
        Start::Task {
            cluster_arn: context.cluster_arn(),
            placement: Box::new(definition.placement()),
            family: context.names.base.clone(),
        }
    }

    /// What the target is given: a task's overrides, or what `events/start.rs` reads. `time` is what the
    /// engine puts the time in place of that the schedule meant, whenever the task really starts.
    pub(super) fn input(&self, time: &str) -> String {
        let input = match self {
            Start::Task { .. } => json!({"containerOverrides": [{
                "name": MAIN_CONTAINER,
                "environment": [{"name": SCHEDULED_TIME, "value": time}],
            }]}),
            Start::Message { team, job, job_id, .. } => json!({
                "team": team,
                "job": job,
                "job_id": job_id,
                "scheduled_time": time,
            }),
        };
        input.to_string()
    }

    /// Everything of it that is applied, as text.
    pub(super) fn wanted(&self, made: &Made) -> String {
        match self {
            Start::Task { cluster_arn, placement, .. } => {
                let revision = made.arn(ResourceKind::TaskDefinition).unwrap_or_default();
                format!("{cluster_arn} {placement:?} {revision}")
            }
            // A new revision is no news to the queue.
            Start::Message { queue_arn, .. } => format!("{queue_arn} {}", self.input("")),
        }
    }
}

pub(super) fn invalid(error: aws_smithy_types::error::operation::BuildError) -> Error {
    Error::Internal(error.to_string())
}

/// How ECS is to run the task, in the types of the SDK crate `$sdk`: those of EventBridge and of its Scheduler have
/// the same names and are not the same.
macro_rules! ecs_parameters {
    ($sdk:ident, $placement:expr, $family:expr, $revision:expr) => {{
        use $sdk::types::{
            AssignPublicIp, AwsVpcConfiguration, CapacityProviderStrategyItem, EcsParameters,
            LaunchType, NetworkConfiguration, PropagateTags,
        };
        let placement: &$crate::domain::job::Placement = $placement;
        let network = &placement.network;
        let groups = Some(network.security_groups.clone()).filter(|groups| !groups.is_empty());
        let public_ip = match network.assign_public_ip {
            true => AssignPublicIp::Enabled,
            false => AssignPublicIp::Disabled,
        };
        let network = AwsVpcConfiguration::builder()
            .set_subnets(Some(network.subnets.clone()))
            .set_security_groups(groups)
            .assign_public_ip(public_ip)
            .build()
            .map_err($crate::provision::start::invalid)?;
        let ecs = EcsParameters::builder()
            .task_definition_arn($revision)
            .task_count(1)
            .platform_version(&placement.platform_version)
            .enable_execute_command(placement.enable_execute_command)
            .enable_ecs_managed_tags(placement.enable_ecs_managed_tags)
            .group(format!("family:{}", $family))
            .network_configuration(
                NetworkConfiguration::builder().awsvpc_configuration(network).build(),
            )
            // The tags of the task definition say whose the task is.
            .propagate_tags(PropagateTags::TaskDefinition);
        // A launch type and a strategy exclude each other.
        let ecs = if placement.capacity.wants_spot() {
            let spot = CapacityProviderStrategyItem::builder()
                .capacity_provider($crate::domain::job::FARGATE_SPOT)
                .weight(1)
                .build()
                .map_err($crate::provision::start::invalid)?;
            ecs.capacity_provider_strategy(spot)
        } else {
            ecs.launch_type(LaunchType::Fargate)
        };
        ecs.build().map_err($crate::provision::start::invalid)?
    }};
}
pub(super) use ecs_parameters;
