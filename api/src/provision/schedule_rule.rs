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
use crate::domain::quota::Quota;
use crate::domain::task::{MAIN_CONTAINER, SCHEDULED_TIME};
use crate::error::{Error, Result};

/// How long EventBridge goes on trying to start a task. Its default of a day starts runs hours
/// late, when the next ones have long been due; what is given up goes to the dead-letter queue.
const EVENT_AGE_SECONDS: i32 = 900;

pub(super) struct ScheduleRule {
    rule: Rule,
    start: Start,
    dead_letter_queue_arn: String,
}

/// Who starts the task.
enum Start {
    /// EventBridge itself.
    Task { cluster_arn: String, role_arn: String, placement: Box<Placement>, family: String },
    /// Cronplane, as it finds the message in its queue: the start takes more than one call.
    Message { queue_arn: String, template: String },
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
            start: if definition.capacity.is_started_by_cronplane() {
                Start::Message {
                    queue_arn: context.deployment.start_queue_arn.clone(),
                    template: message_template(context),
                }
            } else {
                Start::Task {
                    cluster_arn: context.cluster_arn(),
                    role_arn: context.role_arn(&context.names.events_role),
                    placement: Box::new(definition.placement()),
                    family: context.names.base.clone(),
                }
            },
            dead_letter_queue_arn: context.deployment.dead_letter_queue_arn.clone(),
        }
    }

    /// Switches the schedule off.
    pub(super) async fn disable(&self, clients: &Clients) -> Result<()> {
        self.rule.disable(clients).await
    }

    fn target(&self, made: &Made) -> Result<Target> {
        let (target, template) = match &self.start {
            Start::Task { cluster_arn, role_arn, placement, family } => {
                let revision = made.arn(ResourceKind::TaskDefinition)?;
                let ecs = ecs_parameters(placement, family, revision)?;
                let target = Target::builder().arn(cluster_arn).role_arn(role_arn);
                (target.ecs_parameters(ecs), overrides_template())
            }
            // A queue lets the rule in by its own policy: its target has no role.
            Start::Message { queue_arn, template } => {
                (Target::builder().arn(queue_arn), template.clone())
            }
        };
        target
            .id(TARGET_ID)
            .input_transformer(
                InputTransformer::builder()
                    .input_paths_map("time", "$.time")
                    .input_template(template)
                    .build()
                    .map_err(invalid)?,
            )
            .retry_policy(retry_policy(EVENT_AGE_SECONDS))
            .dead_letter_config(dead_letters(&self.dead_letter_queue_arn))
            .build()
            .map_err(invalid)
    }
}

/// Gives the task the time that the schedule meant: cron times are on the minute, whenever the task
/// really starts.
fn overrides_template() -> String {
    json!({"containerOverrides": [{
        "name": MAIN_CONTAINER,
        "environment": [{"name": SCHEDULED_TIME, "value": "<time>"}],
    }]})
    .to_string()
}

/// What `events/start.rs` reads.
fn message_template(context: &Context<'_>) -> String {
    json!({
        "team": context.job.team,
        "job": context.job.definition.name,
        "job_id": context.job.id,
        "scheduled_time": "<time>",
    })
    .to_string()
}

fn invalid(error: aws_smithy_types::error::operation::BuildError) -> Error {
    Error::Internal(error.to_string())
}

fn ecs_parameters(placement: &Placement, family: &str, revision: &str) -> Result<EcsParameters> {
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
        .map_err(invalid)?;
    let ecs = EcsParameters::builder()
        .task_definition_arn(revision)
        .task_count(1)
        .platform_version(&placement.platform_version)
        .enable_execute_command(placement.enable_execute_command)
        .enable_ecs_managed_tags(placement.enable_ecs_managed_tags)
        .group(format!("family:{family}"))
        .network_configuration(
            NetworkConfiguration::builder().awsvpc_configuration(network).build(),
        )
        // The tags of the task definition say whose the task is.
        .propagate_tags(PropagateTags::TaskDefinition);
    // A launch type and a strategy exclude each other.
    let ecs = if placement.capacity.wants_spot() {
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
    ecs.build().map_err(invalid)
}

#[async_trait]
impl Resource for ScheduleRule {
    fn kind(&self) -> ResourceKind {
        ResourceKind::ScheduleRule
    }

    fn takes(&self) -> Option<Quota> {
        Some(Quota::Rules)
    }

    fn wanted(&self, made: &Made) -> Vec<String> {
        let dead_letters = &self.dead_letter_queue_arn;
        let target = match &self.start {
            Start::Task { cluster_arn, role_arn, placement, .. } => {
                let revision = made.arn(ResourceKind::TaskDefinition).unwrap_or_default();
                format!("{cluster_arn} {role_arn} {placement:?} {dead_letters} {revision}")
            }
            // A new revision is no news to the queue.
            Start::Message { queue_arn, template } => {
                format!("{queue_arn} {template} {dead_letters}")
            }
        };
        self.rule.wanted(target)
    }

    async fn ensure(&self, clients: &Clients, made: &Made, changed: &Changed) -> Result<String> {
        let target = self.target(made)?;
        self.rule.put(clients, target, changed).await
    }

    async fn remove(&self, clients: &Clients) -> Result<()> {
        self.rule.remove(clients).await
    }
}
