//! The rule that starts a job's tasks on its schedule.

use async_trait::async_trait;
use aws_sdk_eventbridge::types::{
    AssignPublicIp, AwsVpcConfiguration, CapacityProviderStrategyItem, EcsParameters,
    InputTransformer, LaunchType, NetworkConfiguration, PropagateTags, Target,
};
use serde_json::json;

use super::names::TARGET_ID;
use super::rules::{Rule, RuleTrigger, dead_letters, retry_policy};
use super::{Changed, Clients, Context, Made, Resource};
use crate::domain::job::{FARGATE_SPOT, Placement, ResourceKind};
use crate::domain::task::{MAIN_CONTAINER, SCHEDULED_TIME};
use crate::error::{Error, Result};

/// How long EventBridge goes on trying to start a task. Its default of a day starts runs hours
/// late, when the next ones have long been due; what is given up goes to the dead-letter queue.
const EVENT_AGE_SECONDS: i32 = 900;

pub(super) struct ScheduleRule {
    rule: Rule,
    cluster_arn: String,
    role_arn: String,
    placement: Placement,
    family: String,
    dead_letter_queue_arn: String,
}

impl ScheduleRule {
    pub(super) fn of(context: &Context<'_>) -> ScheduleRule {
        let definition = &context.job.definition;
        let name = context.names.schedule_rule.clone();
        ScheduleRule {
            rule: Rule {
                arn: context.rule_arn(&name),
                name,
                description: definition.description.clone().unwrap_or_else(|| {
                    format!("Schedule of the Cronplane job {}", context.job.key())
                }),
                trigger: RuleTrigger::Schedule(definition.schedule.expression().to_owned()),
                enabled: definition.enabled,
                tags: context.tags.clone(),
            },
            cluster_arn: context.cluster_arn(),
            role_arn: context.role_arn(&context.names.events_role),
            placement: definition.placement(),
            family: context.names.base.clone(),
            dead_letter_queue_arn: context.deployment.dead_letter_queue_arn.clone(),
        }
    }

    /// Switches the schedule off.
    pub(super) async fn disable(&self, clients: &Clients) -> Result<()> {
        self.rule.disable(clients).await
    }

    /// Gives the task the time that the schedule meant: cron times are on the minute, whenever the
    /// task really starts.
    fn input_template() -> String {
        json!({"containerOverrides": [{
            "name": MAIN_CONTAINER,
            "environment": [{"name": SCHEDULED_TIME, "value": "<time>"}],
        }]})
        .to_string()
    }

    fn target(&self, task_definition_arn: &str) -> Result<Target> {
        let invalid = |error: aws_smithy_types::error::operation::BuildError| {
            Error::Internal(error.to_string())
        };
        let network = AwsVpcConfiguration::builder()
            .set_subnets(Some(self.placement.network.subnets.clone()))
            .set_security_groups(
                Some(self.placement.network.security_groups.clone())
                    .filter(|groups| !groups.is_empty()),
            )
            .assign_public_ip(if self.placement.network.assign_public_ip {
                AssignPublicIp::Enabled
            } else {
                AssignPublicIp::Disabled
            })
            .build()
            .map_err(invalid)?;
        let ecs = EcsParameters::builder()
            .task_definition_arn(task_definition_arn)
            .task_count(1)
            .platform_version(&self.placement.platform_version)
            .enable_execute_command(self.placement.enable_execute_command)
            .enable_ecs_managed_tags(self.placement.enable_ecs_managed_tags)
            .group(format!("family:{}", self.family))
            .network_configuration(
                NetworkConfiguration::builder().awsvpc_configuration(network).build(),
            )
            // The tags of the task definition say whose the task is.
            .propagate_tags(PropagateTags::TaskDefinition);
        // A launch type and a strategy exclude each other.
        let ecs = if self.placement.capacity.wants_spot() {
            ecs.capacity_provider_strategy(
                CapacityProviderStrategyItem::builder()
                    .capacity_provider(FARGATE_SPOT)
                    .weight(1)
                    .build()
                    .map_err(invalid)?,
            )
        } else {
            ecs.launch_type(LaunchType::Fargate)
        };
        let ecs = ecs.build().map_err(invalid)?;
        Target::builder()
            .id(TARGET_ID)
            .arn(&self.cluster_arn)
            .role_arn(&self.role_arn)
            .ecs_parameters(ecs)
            .input_transformer(
                InputTransformer::builder()
                    .input_paths_map("time", "$.time")
                    .input_template(Self::input_template())
                    .build()
                    .map_err(invalid)?,
            )
            .retry_policy(retry_policy(EVENT_AGE_SECONDS))
            .dead_letter_config(dead_letters(&self.dead_letter_queue_arn))
            .build()
            .map_err(invalid)
    }
}

#[async_trait]
impl Resource for ScheduleRule {
    fn kind(&self) -> ResourceKind {
        ResourceKind::ScheduleRule
    }

    fn wanted(&self, made: &Made) -> Vec<String> {
        let target = format!(
            "{} {} {:?} {} {}",
            self.cluster_arn,
            self.role_arn,
            self.placement,
            self.dead_letter_queue_arn,
            made.arn(ResourceKind::TaskDefinition).unwrap_or_default(),
        );
        self.rule.wanted(target)
    }

    async fn ensure(&self, clients: &Clients, made: &Made, changed: &Changed) -> Result<String> {
        let target = self.target(made.arn(ResourceKind::TaskDefinition)?)?;
        self.rule.put(clients, target, changed).await
    }

    async fn remove(&self, clients: &Clients) -> Result<()> {
        self.rule.remove(clients).await
    }
}
