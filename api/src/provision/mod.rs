//! The durable AWS resources of a job: what they are to be, and how they come to be and go.
//!
//! [`plan`] is pure: it turns a job into the resources wanted, in stages; what stands in one stage
//! needs only what earlier ones made. [`Provisioner::apply`] ensures them, [`Provisioner::close`]
//! and [`Provisioner::remove`] take them away. All are safe to repeat, to run twice at once and to stop anywhere.

mod cluster;
mod containers;
mod context;
mod failure_rule;
mod iam;
mod log_group;
pub mod names;
mod quotas;
mod roles;
mod rules;
mod schedule;
mod schedule_rule;
mod start;
mod tags;
mod task_definition;
mod topic;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout_at};

use crate::domain::deployment::Deployment;
use crate::domain::dry_run::DryRun;
use crate::domain::ids::TeamName;
use crate::domain::job::{
    Capacity, Former, FormerGrants, Job, ResourceKind, ResourceState, ResourceStatus, Subscription,
};
use crate::domain::quota::Quota;
use crate::domain::schedule::{Engine, EngineChoice};
use crate::domain::violation::{Violation, ViolationCode};
use crate::error::{AwsFault, Error, Result};

use context::Context;
pub use failure_rule::stack_pattern;
use quotas::KnownUsage;
pub use quotas::needs;

/// Digits kept of the hash of a part: nobody gains from two that are the same.
const HASH_DIGITS: usize = 32;

/// The clients of the services in which the resources live.
#[derive(Clone, Debug)]
pub struct Clients {
    pub ecs: aws_sdk_ecs::Client,
    pub events: aws_sdk_eventbridge::Client,
    pub iam: aws_sdk_iam::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub scheduler: aws_sdk_scheduler::Client,
    pub sns: aws_sdk_sns::Client,
    pub quotas: aws_sdk_servicequotas::Client,
    /// In a dry run, what notes the calls that change something in place of making them. What only
    /// reads is asked all the same.
    pub dry_run: Option<DryRun>,
}

impl Clients {
    /// Whether this is a dry run, which has noted the call: it is not to be made.
    fn notes(&self, operation: &'static str, resource: &str) -> bool {
        match &self.dry_run {
            Some(dry_run) => {
                dry_run.note(operation, resource);
                true
            }
            None => false,
        }
    }
}

/// One durable AWS resource, as it is wanted.
#[async_trait]
trait Resource: Send + Sync {
    fn kind(&self) -> ResourceKind;

    /// Of what it is one, if there can be only so many of it that jobs come to feel it.
    fn takes(&self) -> Option<Quota> {
        None
    }

    /// Everything that `ensure` would apply, as text, in the parts that can be applied on their own:
    /// a part that stays the same needs nothing done.
    fn wanted(&self, made: &Made) -> Vec<String>;

    /// Makes AWS match in the parts that `changed`, whatever is there now, and answers the ARN.
    ///
    /// Errors: `NotOurs` for a resource that somebody else made, faults of AWS.
    async fn ensure(&self, clients: &Clients, made: &Made, changed: &Changed) -> Result<String>;

    /// Takes the resource away; that it is gone already, or is not ours, is no error.
    async fn remove(&self, clients: &Clients) -> Result<()>;
}

/// Which parts of a resource are wanted otherwise than they were last applied.
#[derive(Debug)]
struct Changed(Vec<bool>);

impl Changed {
    /// Compares hashes, part by part; all of a resource that was never applied in full.
    fn of(known: Option<&ResourceStatus>, wanted: &[String]) -> Changed {
        let applied: Vec<&str> = known
            .filter(|known| known.state == ResourceState::Ready)
            .and_then(|known| known.applied.as_deref())
            .map(|applied| applied.split('.').collect())
            .unwrap_or_default();
        let changed = wanted
            .iter()
            .enumerate()
            .map(|(part, hash)| applied.len() != wanted.len() || applied[part] != hash);
        Changed(changed.collect())
    }

    fn part(&self, part: usize) -> bool {
        self.0.get(part).copied().unwrap_or(true)
    }

    fn any(&self) -> bool {
        self.0.contains(&true)
    }
}

/// The ARNs of the resources that earlier stages made.
#[derive(Debug, Default)]
struct Made(BTreeMap<ResourceKind, String>);

impl Made {
    fn arn(&self, kind: ResourceKind) -> Result<&str> {
        self.0.get(&kind).map(String::as_str).ok_or_else(|| {
            Error::Internal(format!("{} is needed before it was made", kind.as_str()))
        })
    }
}

/// The resources of a job, in the order in which they are made.
pub struct Plan {
    stages: Vec<Vec<Box<dyn Resource>>>,
    /// The job's own cluster, when the job has since named another one.
    former_cluster: Option<cluster::Cluster>,
    /// What an earlier definition or deployment may have had and this one does not: what the other engine
    /// starts the job with, and a failure rule of its own.
    former: Vec<Box<dyn Resource>>,
    /// Stays when the job goes, unless it is asked for: the history points into it.
    keep_log_group: bool,
}

/// The resources that `job` wants at the time `now`.
pub fn plan(job: &Job, deployment: &Deployment, now: Timestamp) -> Plan {
    let context = Context { now, ..Context::of(job, deployment) };
    let cluster = cluster::Cluster::of(&context);
    let log_group = log_group::LogGroup::of(&context);
    let execution_role = roles::execution_role(&context);
    let events_role = roles::events_role(&context);
    let topic = topic::Topic::of(&context);
    let task_definition = task_definition::TaskDefinition::of(&context);
    let rule: Box<dyn Resource> = Box::new(schedule_rule::ScheduleRule::of(&context));
    let schedule: Box<dyn Resource> = Box::new(schedule::Schedule::of(&context));
    let (schedule, other) = match context.engine() {
        Engine::Rule => (rule, schedule),
        Engine::Scheduler => (schedule, rule),
    };
    // Whoever died at it may have made what nobody noted.
    let unknown = job.unsettled > 1;
    let former_schedule = Some(other).filter(|other| unknown || context.may_stand(other.kind()));
    let failure_rule: Box<dyn Resource> = Box::new(failure_rule::FailureRule::of(&context));
    let mut former: Vec<Box<dyn Resource>> = former_schedule.into_iter().collect();
    let mut second: Vec<Box<dyn Resource>> = vec![Box::new(task_definition)];
    if !context.shares_failure_rule() {
        second.push(failure_rule);
    } else if unknown || job.resources.contains_key(&ResourceKind::FailureRule) {
        former.push(failure_rule);
    }
    Plan {
        stages: vec![
            vec![
                Box::new(cluster),
                Box::new(log_group),
                Box::new(execution_role),
                Box::new(events_role),
                Box::new(topic),
            ],
            second,
            // Last, so that nothing starts before everything else stands.
            vec![schedule],
        ],
        former_cluster: cluster::Cluster::former(&context),
        former,
        keep_log_group: !job.deletion.unwrap_or_default().delete_logs,
    }
}

/// Whether what earlier definitions were granted is to be taken away yet: from a role's policy, or
/// with the cluster that the job has left.
pub fn has_former_grants(job: &Job, deployment: &Deployment) -> bool {
    let policies = |job: &Job| {
        let context = Context::of(job, deployment);
        let made = Made::default();
        (roles::execution_role(&context).wanted(&made), roles::events_role(&context).wanted(&made))
    };
    let narrow = Job { former: Former::default(), ..job.clone() };
    // The policies of roles that a team shares say nothing of the job's own cluster.
    let own_cluster = |former: &FormerGrants| former.grants.clusters.contains(&None);
    job.former.grants.as_ref().is_some_and(own_cluster)
        || job.former.grants.is_some() && policies(job) != policies(&narrow)
}

/// The ARN of a role that Cronplane makes.
fn role_arn(deployment: &Deployment, name: &str) -> String {
    let Deployment { partition, account, .. } = deployment;
    format!("arn:{partition}:iam::{account}:role{}{name}", names::ROLE_PATH)
}

/// Whether the jobs of a deployment share the stack's failure rule: where there may be more of them than an
/// account has rules.
pub fn shares_failure_rule(deployment: &Deployment) -> bool {
    deployment.engine == EngineChoice::Scheduler
}

/// What came of making AWS match.
#[derive(Debug)]
pub struct Report {
    pub resources: BTreeMap<ResourceKind, ResourceStatus>,
    /// The first thing that kept it from its end.
    pub hindrance: Option<Hindrance>,
    /// Why something that is not needed any more could not be taken away yet.
    pub leftover: Option<String>,
}

/// Why a reconcile did not reach its end.
#[derive(Debug)]
pub struct Hindrance {
    /// A sentence for the job's owner.
    pub reason: String,
    /// Whether it may pass by itself.
    pub passing: bool,
    /// Whether it is that the time of all starts has passed.
    pub is_over: bool,
}

/// Makes and takes away the resources of jobs.
#[derive(Clone, Debug)]
pub struct Provisioner {
    clients: Clients,
    /// Clones share it.
    known_usage: KnownUsage,
}

impl Provisioner {
    pub fn new(clients: Clients) -> Provisioner {
        Provisioner { clients, known_usage: KnownUsage::default() }
    }

    /// One that notes in `dry_run` what it would change, and changes nothing.
    pub fn dry(&self, dry_run: DryRun) -> Provisioner {
        let clients = Clients { dry_run: Some(dry_run), ..self.clients.clone() };
        Provisioner { clients, known_usage: self.known_usage.clone() }
    }

    /// Makes AWS match `plan`, as far as it can be done until `deadline`. `known` is what earlier
    /// calls came to: what it says was applied, and is wanted unchanged, costs no call.
    pub async fn apply(
        &self,
        plan: &Plan,
        known: &BTreeMap<ResourceKind, ResourceStatus>,
        deadline: Instant,
    ) -> Report {
        let mut resources = known.clone();
        let mut made = Made::default();
        for stage in &plan.stages {
            let outcomes = join_all(
                stage.iter().map(|one| self.apply_one(one.as_ref(), known, &made, deadline)),
            )
            .await;
            let mut hindrance: Option<Hindrance> = None;
            for (resource, outcome) in stage.iter().zip(outcomes) {
                let kind = resource.kind();
                let (status, hindered) = outcome;
                if let Some(arn) = &status.arn {
                    made.0.insert(kind, arn.clone());
                }
                resources.insert(kind, status);
                // What a person has to mend goes before what passes by itself.
                hindrance = match (hindrance, hindered) {
                    (Some(first), Some(second)) if first.passing && !second.passing => Some(second),
                    (first, second) => first.or(second),
                };
            }
            if let Some(mut hindrance) = hindrance {
                // What is wanted has nothing left to start: then what was before must not go on either.
                if hindrance.is_over
                    && let Err(more) = self.remove_former(plan, &mut resources, deadline).await
                {
                    hindrance.reason = format!("{}; and {}", hindrance.reason, more.reason);
                }
                return Report { resources, hindrance: Some(hindrance), leftover: None };
            }
        }
        // Behind the new one: for a moment a start can be made twice, and none is lost.
        if let Err(hindrance) = self.remove_former(plan, &mut resources, deadline).await {
            return Report { resources, hindrance: Some(hindrance), leftover: None };
        }
        let left = self.remove_former_cluster(plan, deadline).await.err();
        let leftover = left.map(|error| format!("the job's former cluster: {error}"));
        Report { resources, hindrance: None, leftover }
    }

    /// Takes away what an earlier definition or deployment had and this one does not.
    async fn remove_former(
        &self,
        plan: &Plan,
        resources: &mut BTreeMap<ResourceKind, ResourceStatus>,
        deadline: Instant,
    ) -> std::result::Result<(), Hindrance> {
        for former in &plan.former {
            let kind = former.kind();
            match retried(deadline, || former.remove(&self.clients)).await {
                Ok(()) => {
                    resources.remove(&kind);
                }
                Err(error) => {
                    let passing = error.retryable();
                    let reason = format!("{} of before: {error}", kind.as_str());
                    return Err(Hindrance { reason, passing, is_over: false });
                }
            }
        }
        Ok(())
    }

    /// Takes the job's own cluster away when the job runs in another one; ECS refuses that while a
    /// task is left in it.
    async fn remove_former_cluster(&self, plan: &Plan, deadline: Instant) -> Result<()> {
        match &plan.former_cluster {
            // One look: a task can take long to end, and the sweeper comes back.
            Some(cluster) => timeout_at(deadline, cluster.remove(&self.clients))
                .await
                .unwrap_or_else(|_| Err(Error::Aws(AwsFault::out_of_time("provisioning")))),
            None => Ok(()),
        }
    }

    async fn apply_one(
        &self,
        resource: &dyn Resource,
        known: &BTreeMap<ResourceKind, ResourceStatus>,
        made: &Made,
        deadline: Instant,
    ) -> (ResourceStatus, Option<Hindrance>) {
        let kind = resource.kind();
        let wanted: Vec<String> = resource
            .wanted(made)
            .iter()
            .map(|part| names::hex_sha256(part.as_bytes())[..HASH_DIGITS].to_owned())
            .collect();
        let known = known.get(&kind);
        let changed = Changed::of(known, &wanted);
        if let Some(known) = known
            && !changed.any()
        {
            return (known.clone(), None);
        }
        let result = retried(deadline, || resource.ensure(&self.clients, made, &changed)).await;
        match result {
            Ok(arn) => {
                let status = ResourceStatus {
                    arn: Some(arn),
                    state: ResourceState::Ready,
                    reason: None,
                    applied: Some(wanted.join(".")),
                };
                (status, None)
            }
            Err(error) => {
                let passing = error.retryable();
                let status = ResourceStatus {
                    arn: known.and_then(|known| known.arn.clone()),
                    state: if passing { ResourceState::Pending } else { ResourceState::Failed },
                    reason: Some(error.to_string()),
                    applied: None,
                };
                let reason = format!("{}: {error}", kind.as_str());
                // Nothing else of what is made for a job is in conflict with anything.
                let is_over = matches!(error, Error::Conflict(_));
                (status, Some(Hindrance { reason, passing, is_over }))
            }
        }
    }

    /// Switches the job's schedule off and changes nothing else: for a pause that can't be carried
    /// through to its end.
    pub async fn disable_schedule(&self, job: &Job, deployment: &Deployment) -> Result<()> {
        let context = Context::of(job, deployment);
        if context.may_stand(ResourceKind::ScheduleRule) {
            schedule_rule::ScheduleRule::of(&context).disable(&self.clients).await?;
        }
        if context.may_stand(ResourceKind::Schedule) {
            schedule::Schedule::of(&context).disable(&self.clients).await?;
        }
        Ok(())
    }

    /// Takes away what starts tasks: the schedule, then the task definition. A start that is on its
    /// way can still succeed for some minutes (Amazon ECS API Reference, DeregisterTaskDefinition).
    /// What is gone is noted in `resources`.
    pub async fn close(
        &self,
        plan: &Plan,
        resources: &mut BTreeMap<ResourceKind, ResourceStatus>,
        deadline: Instant,
    ) -> Result<()> {
        let schedules = [ResourceKind::ScheduleRule, ResourceKind::Schedule];
        self.remove_kinds(plan, &schedules, resources, deadline).await?;
        self.remove_kinds(plan, &[ResourceKind::TaskDefinition], resources, deadline).await?;
        Ok(())
    }

    /// Takes away the rest of what `plan` made, and nothing else. The cluster goes first, as ECS
    /// refuses that while a task is left in it. The log group stays unless the deletion asks for it.
    pub async fn remove(
        &self,
        plan: &Plan,
        resources: &mut BTreeMap<ResourceKind, ResourceStatus>,
        deadline: Instant,
    ) -> Result<()> {
        self.remove_former_cluster(plan, deadline).await?;
        self.remove_kinds(plan, &[ResourceKind::Cluster], resources, deadline).await?;
        let mut rest = vec![
            ResourceKind::FailureRule,
            ResourceKind::Topic,
            ResourceKind::ExecutionRole,
            ResourceKind::EventsRole,
        ];
        if !plan.keep_log_group {
            rest.push(ResourceKind::LogGroup);
        }
        self.remove_kinds(plan, &rest, resources, deadline).await
    }

    async fn remove_kinds(
        &self,
        plan: &Plan,
        kinds: &[ResourceKind],
        resources: &mut BTreeMap<ResourceKind, ResourceStatus>,
        deadline: Instant,
    ) -> Result<()> {
        let wanted: Vec<&dyn Resource> = plan
            .stages
            .iter()
            .flatten()
            .chain(&plan.former)
            .map(AsRef::as_ref)
            .filter(|one| kinds.contains(&one.kind()))
            .collect();
        let outcomes =
            join_all(wanted.iter().map(|one| retried(deadline, || one.remove(&self.clients))))
                .await;
        let mut result = Ok(());
        for (resource, outcome) in wanted.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    let removed =
                        ResourceStatus { state: ResourceState::Removed, ..Default::default() };
                    resources.insert(resource.kind(), removed);
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Takes away the roles that the jobs of a team shared, which has none any more.
    pub async fn remove_team_roles(
        &self,
        team: &TeamName,
        deployment: &Deployment,
        deadline: Instant,
    ) -> Result<()> {
        for role in roles::team_roles(deployment, team) {
            retried(deadline, || role.remove_shared(&self.clients)).await?;
        }
        Ok(())
    }

    /// Sees to the roles that the jobs of a team share.
    pub async fn ensure_team_roles(
        &self,
        team: &TeamName,
        deployment: &Deployment,
        deadline: Instant,
    ) -> Result<()> {
        for role in roles::team_roles(deployment, team) {
            retried(deadline, || role.ensure_shared(&self.clients)).await?;
        }
        Ok(())
    }

    /// Whether the tasks of the job's task definition family are the job's.
    pub async fn owns_family(&self, job: &Job, deployment: &Deployment) -> Result<bool> {
        task_definition::TaskDefinition::of(&Context::of(job, deployment))
            .owns_family(&self.clients)
            .await
    }

    /// Subscribes again whose subscription ran out or was ended.
    pub async fn subscribe_missing(&self, job: &Job, deployment: &Deployment) -> Result<()> {
        topic::Topic::of(&Context::of(job, deployment)).subscribe_missing(&self.clients).await
    }

    /// The cluster that a definition names must exist, and have the capacity that the job wants.
    ///
    /// Errors: `Invalid` at `/cluster` or `/capacity`.
    pub async fn check_cluster(&self, name: &str, capacity: Capacity) -> Result<()> {
        let (pointer, code, detail) = match cluster::fits(&self.clients, name, capacity).await? {
            cluster::Fit::Fits => return Ok(()),
            cluster::Fit::Missing => (
                "/cluster",
                ViolationCode::DoesNotExist,
                format!("there is no active ECS cluster `{name}` in this account and region"),
            ),
            cluster::Fit::NoSpot => (
                "/capacity",
                ViolationCode::NotAllowed,
                format!("the cluster `{name}` does not have the capacity provider FARGATE_SPOT"),
            ),
        };
        Err(Error::Invalid(vec![Violation::new(pointer, code, detail)]))
    }

    /// The subscriptions of the job's topic, as SNS knows them now.
    pub async fn subscriptions(
        &self,
        job: &Job,
        deployment: &Deployment,
    ) -> Result<Vec<Subscription>> {
        topic::Topic::of(&Context::of(job, deployment)).subscriptions(&self.clients).await
    }

    /// Puts an event that the job's failure rule takes for a test, and answers its id.
    pub async fn send_test(&self, job: &Job, deployment: &Deployment) -> Result<String> {
        failure_rule::send_test(&self.clients, &Context::of(job, deployment)).await
    }
}

/// Whether there is something of ours to take away; what is not ours is left as it is.
fn to_remove(found: Result<bool>) -> Result<bool> {
    match found {
        Err(Error::NotOurs(_)) => Ok(false),
        found => found,
    }
}

/// `call`, again after a pause while its error may pass, until `deadline`.
async fn retried<T, F>(deadline: Instant, mut call: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut pause = Duration::from_millis(500);
    loop {
        let error = match timeout_at(deadline, call()).await {
            Err(_) => return Err(Error::Aws(AwsFault::out_of_time("provisioning"))),
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
        };
        if !error.retryable() || Instant::now() + pause >= deadline {
            return Err(error);
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(4));
    }
}
