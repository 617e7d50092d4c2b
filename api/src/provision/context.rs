//! What the resources of one job are made from: its names, its tags, and what carries and starts it.

use jiff::Timestamp;

use super::{names, role_arn, shares_failure_rule, tags};
use crate::domain::deployment::Deployment;
use crate::domain::job::{Grants, Job, ResourceKind};
use crate::domain::schedule::{Engine, EngineChoice};

/// What the resources of one job have in common.
pub(super) struct Context<'a> {
    pub(super) job: &'a Job,
    pub(super) deployment: &'a Deployment,
    pub(super) names: names::Names,
    pub(super) tags: tags::Tags,
    pub(super) now: Timestamp,
}

impl<'a> Context<'a> {
    pub(super) fn of(job: &'a Job, deployment: &'a Deployment) -> Context<'a> {
        let key = job.key();
        Context {
            job,
            deployment,
            names: names::Names::of(deployment, &key),
            tags: tags::Tags::of(deployment, &key, &job.definition.tags, &job.former.tags),
            now: job.updated_at,
        }
    }

    /// What carries the schedule.
    pub(super) fn engine(&self) -> Engine {
        self.job.engine(self.deployment.engine)
    }

    /// Whether there may be a schedule rule, or a schedule: because it is wanted, or because it was.
    pub(super) fn may_stand(&self, kind: ResourceKind) -> bool {
        let wanted = match self.engine() {
            Engine::Rule => ResourceKind::ScheduleRule,
            Engine::Scheduler => ResourceKind::Schedule,
        };
        kind == wanted || self.job.resources.contains_key(&kind) || self.job.former.engine
    }

    pub(super) fn schedule_description(&self) -> String {
        let described = self.job.definition.description.clone();
        described.unwrap_or_else(|| format!("Schedule of the Cronplane job {}", self.job.key()))
    }

    /// What starting the job's tasks takes, those too that are on their way from before a change.
    pub(super) fn grants(&self) -> Grants {
        let former = self.job.former.grants.as_ref().map(|former| &former.grants);
        Grants::of(&self.job.definition).and(former.unwrap_or(&Grants::default()))
    }

    pub(super) fn cluster_arn_of(&self, named: Option<&str>) -> String {
        let name = named.unwrap_or(&self.names.base);
        self.deployment.arn("ecs", &format!("cluster/{name}"))
    }

    /// The cluster in which the job's tasks run: its own, or the one it names.
    pub(super) fn cluster_name(&self) -> &str {
        self.job.definition.cluster.as_deref().unwrap_or(&self.names.base)
    }

    pub(super) fn cluster_arn(&self) -> String {
        self.cluster_arn_of(self.job.definition.cluster.as_deref())
    }

    pub(super) fn role_arn(&self, name: &str) -> String {
        role_arn(self.deployment, name)
    }

    /// Whether the job's roles are those that its team's jobs share.
    pub(super) fn shares_roles(&self) -> bool {
        self.deployment.engine == EngineChoice::Scheduler
            && self.job.definition.secret_references().next().is_none()
    }

    /// The role with which ECS starts the containers: the one that the job names, its team's or its own.
    pub(super) fn execution_role_arn(&self) -> String {
        match self.job.definition.execution_role.as_deref() {
            None if self.shares_roles() => {
                let [name, _] = names::team_roles(self.deployment, &self.job.team);
                self.role_arn(&name)
            }
            named => self.execution_role_arn_of(named),
        }
    }

    /// The role with which the engine runs the task: its team's or its own.
    pub(super) fn events_role_arn(&self) -> String {
        if self.shares_roles() {
            let [_, name] = names::team_roles(self.deployment, &self.job.team);
            return self.role_arn(&name);
        }
        self.role_arn(&self.names.events_role)
    }

    /// Whether the stack's failure rule tells of the job's failures, by way of Cronplane, and not one of its own.
    pub(super) fn shares_failure_rule(&self) -> bool {
        shares_failure_rule(self.deployment)
    }

    pub(super) fn execution_role_arn_of(&self, named: Option<&str>) -> String {
        named.map_or_else(|| self.role_arn(&self.names.execution_role), str::to_owned)
    }

    pub(super) fn rule_arn(&self, name: &str) -> String {
        self.deployment.arn("events", &format!("rule/{name}"))
    }
}
