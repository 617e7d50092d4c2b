//! What jobs take of AWS's quotas, and how much of each is used.
//!
//! Looked at before a job is stored, so that one that would be the one too many is told so before
//! anything of it is made. It is a look, not a reservation: others share the quotas, and two jobs that
//! are made at the same moment can both find the last place free. The one that finds the wall is told by
//! its reconcile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Clients, Plan, Provisioner, plan};
use crate::domain::deployment::Deployment;
use crate::domain::job::Job;
use crate::domain::quota::{LimitSource, Needs, Quota, Usage};
use crate::domain::violation::Violation;
use crate::error::{AwsFault, Error, Result, says};

/// So long an instance goes by what it was told.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(60);
/// With fewer places than these AWS is asked each time: others take some too.
const NEAR: u32 = 20;
/// EventBridge API Reference, ListRules: the most a page has.
const RULES_PAGE: i32 = 100;
/// Amazon ECS API Reference, ListClusters: the most a page has.
const CLUSTERS_PAGE: i32 = 100;
/// Amazon EventBridge User Guide, "Amazon EventBridge quotas": rules of a bus, and in which regions there
/// are fewer; and targets of a rule.
const RULES: u32 = 300;
const RULES_IN_SMALL_REGIONS: u32 = 100;
const SMALL_REGIONS: [&str; 2] = ["af-south-1", "eu-south-1"];
const TARGETS_PER_RULE: u32 = 5;
/// Each of our rules has one.
const OWN_TARGETS: u32 = 1;
/// Amazon ECS Developer Guide, "Amazon ECS service quotas".
const CLUSTERS: u32 = 10_000;
/// Amazon EventBridge Scheduler User Guide, "Quotas for EventBridge Scheduler".
const SCHEDULES: u32 = 10_000_000;
/// There can be more of them than are worth counting.
const SCHEDULES_TIME: Duration = Duration::from_secs(5);
/// EventBridge Scheduler API Reference, ListSchedules: the most a page has.
const SCHEDULES_PAGE: i32 = 100;
/// IAM User Guide, "IAM and AWS STS quotas".
const ROLES: u32 = 1_000;

/// What the resources of `job` take of AWS's quotas.
pub fn needs(job: &Job, deployment: &Deployment) -> Needs {
    let Plan { stages, .. } = plan(job, deployment, job.updated_at);
    let mut needs = Needs::new();
    for quota in stages.iter().flatten().filter_map(|one| one.takes()) {
        *needs.entry(quota).or_default() += 1;
    }
    needs
}

/// What an instance was told of quotas, and what it used since.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownUsage(Arc<Mutex<BTreeMap<Quota, Known>>>);

#[derive(Clone, Debug)]
struct Known {
    /// `None` where it could not be found out: it is not asked for again and again.
    usage: Option<Usage>,
    asked_at: Timestamp,
}

impl Known {
    /// By the clock on the wall: a monotonic one need not go on while Lambda has the instance frozen.
    /// Where the clock was set back, AWS is asked anew.
    fn is_good(&self, now: Timestamp) -> bool {
        let fresh = (SignedDuration::ZERO..KNOWN_FOR).contains(&now.duration_since(self.asked_at));
        fresh && self.usage.as_ref().is_none_or(|usage| usage.left() >= NEAR)
    }
}

impl KnownUsage {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Quota, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, quota: Quota, usage: Option<Usage>, asked_at: Timestamp) {
        self.all().insert(quota, Known { usage, asked_at });
    }
}

impl Provisioner {
    /// What is wrong with a job that takes `needs`: each quota in which there is no room for it. Of what
    /// can't be found out by `deadline` it is not kept from being made.
    pub async fn without_room(
        &self,
        needs: &Needs,
        deployment: &Deployment,
        now: Timestamp,
        deadline: Instant,
    ) -> Vec<Violation> {
        let looked = needs.iter().map(|(quota, count)| async move {
            let usage = self.remembered_usage(*quota, deployment, now, deadline).await?;
            quota.one_too_many(&usage, *count)
        });
        join_all(looked).await.into_iter().flatten().collect()
    }

    /// Counts what a job takes that was stored since AWS was asked.
    pub fn count_used(&self, needs: &Needs) {
        let mut all = self.known_usage.all();
        for (quota, count) in needs {
            if let Some(usage) = all.get_mut(quota).and_then(|known| known.usage.as_mut()) {
                usage.used = usage.used.saturating_add(*count);
            }
        }
    }

    /// How much of each quota is used, as AWS tells it now, in the order of [`Quota::ALL`].
    pub async fn quota_usage(
        &self,
        deployment: &Deployment,
        now: Timestamp,
        deadline: Instant,
    ) -> Vec<(Quota, Result<Usage>)> {
        join_all(Quota::ALL.map(|quota| async move {
            (quota, self.asked_usage(quota, deployment, now, deadline).await)
        }))
        .await
    }

    /// As it was told lately, or as AWS tells it now; `None` where it can't be found out, which is logged.
    async fn remembered_usage(
        &self,
        quota: Quota,
        deployment: &Deployment,
        now: Timestamp,
        deadline: Instant,
    ) -> Option<Usage> {
        let known = self.known_usage.all().get(&quota).cloned();
        if let Some(known) = known.filter(|known| known.is_good(now)) {
            return known.usage;
        }
        let asked = self.asked_usage(quota, deployment, now, deadline).await;
        if let Err(error) = &asked {
            tracing::warn!(quota = quota.as_str(), %error, "jobs are made without a look at this quota");
        }
        asked.ok()
    }

    async fn asked_usage(
        &self,
        quota: Quota,
        deployment: &Deployment,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Usage> {
        let asked = timeout_at(deadline, usage_of(quota, &self.clients, deployment)).await;
        let asked = asked.unwrap_or_else(|_| Err(Error::Aws(AwsFault::out_of_time("quotas"))));
        self.known_usage.put(quota, asked.as_ref().ok().cloned(), now);
        asked
    }
}

async fn usage_of(quota: Quota, clients: &Clients, deployment: &Deployment) -> Result<Usage> {
    match quota {
        Quota::Rules => {
            let small = SMALL_REGIONS.contains(&&*deployment.region);
            let default = if small { RULES_IN_SMALL_REGIONS } else { RULES };
            let (names, limit) = join(rules(clients), limit_of(quota, clients, default)).await;
            Ok(usage_by_names(&names?, deployment, limit))
        }
        Quota::Clusters => {
            let limit = limit_of(quota, clients, CLUSTERS);
            let (names, limit) = join(clusters(clients), limit).await;
            Ok(usage_by_names(&names?, deployment, limit))
        }
        Quota::Roles => roles(clients).await,
        Quota::Schedules => {
            let limit = limit_of(quota, clients, SCHEDULES);
            let counted = timeout(SCHEDULES_TIME, schedules(clients, deployment));
            let (used, limit) = join(counted, limit).await;
            let used = used.unwrap_or_else(|_| Err(Error::Aws(AwsFault::out_of_time("quotas"))));
            let ((used, own), (limit, limit_source)) = (used?, limit);
            Ok(Usage { used, used_by_jobs: Some(own), limit, limit_source })
        }
        Quota::TargetsPerRule => Ok(Usage {
            used: OWN_TARGETS,
            used_by_jobs: Some(OWN_TARGETS),
            limit: TARGETS_PER_RULE,
            limit_source: LimitSource::Default,
        }),
    }
}

/// Everything of a job has a name that begins with the stack's and a `_`, which no other stack's does.
fn usage_by_names(
    names: &[String],
    deployment: &Deployment,
    (limit, limit_source): (u32, LimitSource),
) -> Usage {
    let prefix = format!("{}_", deployment.stack);
    let own = names.iter().filter(|name| name.starts_with(&prefix)).count();
    Usage { used: count(names.len()), used_by_jobs: Some(count(own)), limit, limit_source }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The names of the rules on the default bus, everybody's.
async fn rules(clients: &Clients) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut next = None;
    loop {
        let page = clients
            .events
            .list_rules()
            .limit(RULES_PAGE)
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| Error::aws("events:ListRules", error))?;
        names.extend(page.rules.unwrap_or_default().into_iter().filter_map(|rule| rule.name));
        next = page.next_token;
        if next.is_none() {
            return Ok(names);
        }
    }
}

/// How many schedules there are, everybody's, and how many of them in the stack's group.
async fn schedules(clients: &Clients, deployment: &Deployment) -> Result<(u32, u32)> {
    let (mut all, mut own) = (0, 0);
    let mut next = None;
    loop {
        let page = clients
            .scheduler
            .list_schedules()
            .max_results(SCHEDULES_PAGE)
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| Error::aws("scheduler:ListSchedules", error))?;
        let group = Some(deployment.schedule_group.as_str());
        all += count(page.schedules.len());
        own += count(page.schedules.iter().filter(|one| one.group_name() == group).count());
        next = page.next_token;
        if next.is_none() {
            return Ok((all, own));
        }
    }
}

/// The names of the clusters, everybody's.
async fn clusters(clients: &Clients) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut next = None;
    loop {
        let page = clients
            .ecs
            .list_clusters()
            .max_results(CLUSTERS_PAGE)
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| Error::aws("ecs:ListClusters", error))?;
        let arns = page.cluster_arns.unwrap_or_default();
        names.extend(arns.iter().filter_map(|arn| arn.rsplit('/').next()).map(str::to_owned));
        next = page.next_token;
        if next.is_none() {
            return Ok(names);
        }
    }
}

/// IAM tells in one answer how many roles there are and can be, and not whose they are.
async fn roles(clients: &Clients) -> Result<Usage> {
    let answer = clients
        .iam
        .get_account_summary()
        .send()
        .await
        .map_err(|error| Error::aws("iam:GetAccountSummary", error))?;
    let told = |name: &str| {
        let all = answer.summary_map();
        all.and_then(|all| all.get(&name.into())).and_then(|one| u32::try_from(*one).ok())
    };
    let used = told("Roles").ok_or_else(|| {
        Error::Unavailable("IAM did not tell how many roles this account has".to_owned())
    })?;
    let (limit, limit_source) = match told("RolesQuota") {
        Some(limit) => (limit, LimitSource::Account),
        None => (ROLES, LimitSource::Default),
    };
    Ok(Usage { used, used_by_jobs: None, limit, limit_source })
}

/// How many there can be, as Service Quotas tells; `default` where it has no value of this account's, or
/// can't be asked.
async fn limit_of(quota: Quota, clients: &Clients, default: u32) -> (u32, LimitSource) {
    let by_default = (default, LimitSource::Default);
    let Some(code) = quota.code() else {
        return by_default;
    };
    let answer =
        clients.quotas.get_service_quota().service_code(code.service).quota_code(code.code).send();
    match answer.await {
        Ok(answer) => match answer.quota.and_then(|quota| quota.value) {
            // Counted in whole ones: what is behind the point, or below zero, is none.
            Some(value) => (value as u32, LimitSource::ServiceQuotas),
            None => by_default,
        },
        Err(error) if says(&error, |error| error.is_no_such_resource_exception()) => by_default,
        Err(error) => {
            let error = Error::aws("servicequotas:GetServiceQuota", error);
            tracing::warn!(quota = quota.as_str(), %error, "the default of this quota is taken for its limit");
            by_default
        }
    }
}
