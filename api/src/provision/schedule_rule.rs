//! The rule that starts a job's tasks on its schedule.

use async_trait::async_trait;
use aws_sdk_eventbridge::types::{InputTransformer, Target};

use super::names::TARGET_ID;
use super::rules::{Rule, RuleTrigger, dead_letters, retry_policy};
use super::start::{EVENT_AGE_SECONDS, Start, ecs_parameters, invalid};
use super::{Changed, Clients, Context, Made, Resource};
use crate::domain::job::ResourceKind;
use crate::domain::quota::Quota;
use crate::error::Result;

pub(super) struct ScheduleRule {
    rule: Rule,
    start: Start,
    role_arn: String,
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
                description: context.schedule_description(),
                trigger: RuleTrigger::Schedule(
                    context.job.timing().schedule.expression().to_owned(),
                ),
                enabled: definition.enabled,
                tags: context.tags.clone(),
            },
            start: Start::of(context),
            role_arn: context.events_role_arn(),
            dead_letter_queue_arn: context.deployment.dead_letter_queue_arn.clone(),
        }
    }

    /// Switches the schedule off.
    pub(super) async fn disable(&self, clients: &Clients) -> Result<()> {
        self.rule.disable(clients).await
    }

    fn target(&self, made: &Made) -> Result<Target> {
        let target = match &self.start {
            Start::Task { cluster_arn, placement, family } => {
                let revision = made.arn(ResourceKind::TaskDefinition)?;
                let ecs = ecs_parameters!(aws_sdk_eventbridge, placement, family, revision);
                let target = Target::builder().arn(cluster_arn).role_arn(&self.role_arn);
                target.ecs_parameters(ecs)
            }
            // A queue lets the rule in by its own policy: its target has no role.
            Start::Message { queue_arn, .. } => Target::builder().arn(queue_arn),
        };
        target
            .id(TARGET_ID)
            .input_transformer(
                InputTransformer::builder()
                    .input_paths_map("time", "$.time")
                    .input_template(self.start.input("<time>"))
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

    fn takes(&self) -> Option<Quota> {
        Some(Quota::Rules)
    }

    fn wanted(&self, made: &Made) -> Vec<String> {
        let (role, dead_letters) = (&self.role_arn, &self.dead_letter_queue_arn);
        let target = match &self.start {
            Start::Task { .. } => format!("{} {role} {dead_letters}", self.start.wanted(made)),
            Start::Message { .. } => format!("{} {dead_letters}", self.start.wanted(made)),
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
