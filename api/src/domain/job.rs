//! A job: what a team wants to run on a schedule.

mod bounds;
mod container;
mod definition;
mod filter;
mod grants;
mod network;
mod pause;
mod read;
mod run_request;
mod secret_environment;
mod secrets;
mod subscribers;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use bounds::POLICY_CHARACTERS_MAX;
pub(in crate::domain) use bounds::{
    EPHEMERAL_STORAGE_GIB, OWN_CLUSTER, check_cluster, check_tags, check_text,
};
pub(in crate::domain) use container::read_in;
pub use container::{
    Capabilities, ContainerSettings, Dependency, DependencyCondition, HealthCheck, LinuxParameters,
    LogOptions, MountPoint, PortMapping, RepositoryCredentials, RestartPolicy, Secret, Sidecar,
    SystemControl, TransportProtocol, Ulimit, Variable,
};
pub use definition::{
    Architecture, Capacity, FARGATE_SPOT, Image, JobDefinition, MANAGED_BY_TAG, MANAGED_TAG_PREFIX,
    Placement, Protocol, Subscriber,
};
pub use filter::{JobFilter, JobOrder, TAG_FILTERS_MAX, read_wanted_tag};
pub use grants::{FormerGrants, Grants};
pub(in crate::domain) use network::{given_network, read_network};
pub use pause::{Pause, PauseRequest, PausedBy};
pub use run_request::read_stop_reason;
pub(in crate::domain) use secret_environment::secret_in_environment;
pub(in crate::domain) use secrets::secret_resource;
pub use secrets::{SecretStore, secret_resources};
pub(in crate::domain) use subscribers::{given_subscribers, read_subscribers};
pub use volumes::{Efs, Volume};

use super::ids::{JobKey, TeamName};
use super::recent_runs::RecentRuns;
use super::schedule::{Engine, EngineChoice, JobPreviewRequest, Preview, Timing};

/// A job as it is kept: what is wanted, and how far AWS follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Distinguishes the job from an earlier one of the same name.
    pub id: String,
    pub team: TeamName,
    pub definition: JobDefinition,
    /// Counts the changes of what is wanted, from 1.
    pub generation: u64,
    /// The generation that AWS was last made to match.
    pub observed_generation: u64,
    pub phase: Phase,
    /// Why the phase is not `ready`, when there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is known of each AWS resource of the job.
    #[serde(default)]
    pub resources: BTreeMap<ResourceKind, ResourceStatus>,
    /// Who switched the schedule off, and why; `None` while it is on, and of a job that was paused before
    /// this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Set once the job is to be deleted; never taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// Leases taken since one was last given back: more than one while a reconcile works means that
    /// an earlier one died, and nobody knows what it did.
    #[serde(default)]
    pub unsettled: u32,
    /// Reconciles in a row that did not reach their end: the next one waits longer.
    #[serde(default)]
    pub attempts: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// When the schedule was last switched on or set: a `rate` counts from here.
    pub scheduled_since: Timestamp,
    /// What earlier definitions wanted and this one does not, until AWS follows.
    #[serde(default)]
    pub former: Former,
    /// The clusters of earlier definitions, in which tasks of the job may still run; `None` is the
    /// job's own.
    #[serde(default)]
    pub past_clusters: BTreeSet<Option<String>>,
    /// The ten newest runs.
    #[serde(default, skip_serializing_if = "RecentRuns::is_empty")]
    pub recent_runs: RecentRuns,
}

impl Job {
    pub fn key(&self) -> JobKey {
        JobKey::new(self.team.clone(), self.definition.name.clone())
    }

    /// Whether AWS was made to match what is wanted now.
    pub fn is_followed(&self) -> bool {
        self.observed_generation == self.generation
    }

    /// Forgets what was applied, so that all of it is applied once more.
    pub fn forget_applied(&mut self) {
        for status in self.resources.values_mut() {
            status.applied = None;
        }
    }

    /// Names this state of what is wanted: another definition, or another job of the name, has
    /// another one.
    pub fn version_tag(&self) -> String {
        format!("{}.{}", self.id, self.generation)
    }

    /// The job with another definition, from `now` on. One that is paused already stays as it was paused.
    pub fn redefined(&self, definition: JobDefinition, now: Timestamp) -> Job {
        let old = &self.definition;
        let mut former = self.former.clone();
        former.subscribers.extend(old.subscribers.iter().cloned());
        former.subscribers.retain(|one| !definition.subscribers.contains(one));
        let wanted = Grants::of(&definition);
        let known = former.grants.take().map(|known| known.grants).unwrap_or_default();
        let grants = known.and(&Grants::of(old)).without(&wanted);
        if !grants.is_empty() {
            former.grants = Some(FormerGrants { grants, until: None });
        }
        former.tags.extend(old.tags.keys().cloned());
        former.tags.retain(|key| !definition.tags.contains_key(key));
        let mut past_clusters = self.past_clusters.clone();
        if old.cluster != definition.cluster {
            past_clusters.insert(old.cluster.clone());
        }
        let pause = if old.enabled {
            Pause::begun_with(&definition, None, now)
        } else {
            self.pause.clone().filter(|_| !definition.enabled)
        };
        let (was, is) = (&old.timing, &definition.timing);
        let changes_engine = was.needs_scheduler().is_some() != is.needs_scheduler().is_some();
        former.engine |= changes_engine;
        let starts_anew = was.schedule != is.schedule
            || was.bounds.start_date != is.bounds.start_date
            || changes_engine
            || (definition.enabled && !old.enabled);
        Job {
            definition,
            generation: self.generation + 1,
            phase: Phase::Provisioning,
            reason: None,
            attempts: 0,
            updated_at: now,
            scheduled_since: if starts_anew { now } else { self.scheduled_since },
            former,
            past_clusters,
            pause,
            ..self.clone()
        }
    }

    /// The engine that carries the schedule where `choice` is the deployment's.
    pub fn engine(&self, choice: EngineChoice) -> Engine {
        self.definition.timing.engine(choice)
    }

    /// The engine that carries it now: where AWS follows, the one of which it has the resource. A deployment that
    /// changes its choice moves a job with the job's next change.
    pub fn current_engine(&self, choice: EngineChoice) -> Engine {
        let has = |kind| self.resources.contains_key(&kind);
        match (has(ResourceKind::ScheduleRule), has(ResourceKind::Schedule)) {
            (true, false) if self.is_followed() => Engine::Rule,
            (false, true) if self.is_followed() => Engine::Scheduler,
            _ => self.engine(choice),
        }
    }

    /// When it starts, as AWS is told.
    pub fn timing(&self) -> Timing {
        self.definition.timing.of_job(&self.key())
    }

    /// Up to `count` starts after `now`; none while the job is paused or being deleted.
    pub fn next_starts(
        &self,
        now: Timestamp,
        count: usize,
        choice: EngineChoice,
    ) -> Vec<Timestamp> {
        if !self.definition.enabled || self.deletion.is_some() {
            return Vec::new();
        }
        self.timing().starts(now, self.anchor(choice)).take(count).collect()
    }

    /// What the schedule means, whether it is on or off.
    pub fn preview(&self, wanted: JobPreviewRequest, choice: EngineChoice) -> Preview {
        let approximate = self.starts_are_approximate(choice);
        let mut preview = self.timing().preview(
            self.current_engine(choice),
            self.anchor(choice),
            approximate,
            wanted,
        );
        if !self.definition.enabled {
            preview.notes.insert(0, "paused: nothing is started until it is resumed".to_owned());
        }
        preview
    }

    /// Whether only AWS knows what a rate is counted from: when the rule was made or switched on.
    pub fn starts_are_approximate(&self, choice: EngineChoice) -> bool {
        self.definition.timing.schedule.rate_minutes().is_some()
            && self.current_engine(choice) == Engine::Rule
    }

    /// What a rate is counted from.
    fn anchor(&self, choice: EngineChoice) -> Timestamp {
        if self.current_engine(choice) == Engine::Scheduler {
            let anchor = self.definition.timing.scheduler_anchor(self.scheduled_since);
            return anchor.unwrap_or(self.scheduled_since);
        }
        // The newest run can be one that the schedule did not start.
        let seen = self.recent_runs.runs().iter().filter_map(|run| run.scheduled_time).max();
        let seen = seen.filter(|seen| *seen >= self.scheduled_since);
        seen.unwrap_or(self.scheduled_since)
    }
}

/// What is to be taken away from resources that stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    pub subscribers: BTreeSet<Subscriber>,
    /// Keys of tags.
    pub tags: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<FormerGrants>,
    /// Whether the other engine may carry a schedule of the job.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub engine: bool,
}

/// How far AWS follows what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// AWS is being made to match; it is tried again on its own.
    Provisioning,
    /// Everything is as it is wanted.
    Ready,
    /// Something has to be put right by a person; it is tried again, less and less often.
    Failed,
    /// The schedule is off, and what was made is being taken away.
    Deleting,
}

impl Phase {
    pub const ALL: [Phase; 4] = [Phase::Provisioning, Phase::Ready, Phase::Failed, Phase::Deleting];

    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Provisioning => "provisioning",
            Phase::Ready => "ready",
            Phase::Failed => "failed",
            Phase::Deleting => "deleting",
        }
    }
}

/// How a job is to be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Stop the tasks that still run; without it the deletion waits for their end.
    pub stop_tasks: bool,
    /// Take the log group away too; without it the history keeps its logs.
    pub delete_logs: bool,
}

impl Deletion {
    /// What is asked for once stays asked for.
    pub fn and(self, other: Deletion) -> Deletion {
        Deletion {
            stop_tasks: self.stop_tasks || other.stop_tasks,
            delete_logs: self.delete_logs || other.delete_logs,
        }
    }
}

/// The AWS resources of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    Cluster,
    LogGroup,
    ExecutionRole,
    EventsRole,
    Topic,
    TaskDefinition,
    ScheduleRule,
    Schedule,
    FailureRule,
}

impl ResourceKind {
    pub const ALL: [ResourceKind; 9] = [
        ResourceKind::Cluster,
        ResourceKind::LogGroup,
        ResourceKind::ExecutionRole,
        ResourceKind::EventsRole,
        ResourceKind::Topic,
        ResourceKind::TaskDefinition,
        ResourceKind::ScheduleRule,
        ResourceKind::Schedule,
        ResourceKind::FailureRule,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ResourceKind::Cluster => "cluster",
            ResourceKind::LogGroup => "log_group",
            ResourceKind::ExecutionRole => "execution_role",
            ResourceKind::EventsRole => "events_role",
            ResourceKind::Topic => "topic",
            ResourceKind::TaskDefinition => "task_definition",
            ResourceKind::ScheduleRule => "schedule_rule",
            ResourceKind::Schedule => "schedule",
            ResourceKind::FailureRule => "failure_rule",
        }
    }
}

/// What is known of one AWS resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    pub state: ResourceState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Hash of what was last applied in full: the same again costs no call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceState {
    #[default]
    Pending,
    Ready,
    Failed,
    /// Taken away, in the course of the job's deletion.
    Removed,
}

impl ResourceState {
    pub fn as_str(self) -> &'static str {
        match self {
            ResourceState::Pending => "pending",
            ResourceState::Ready => "ready",
            ResourceState::Failed => "failed",
            ResourceState::Removed => "removed",
        }
    }
}

/// A subscriber and what SNS says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub subscriber: Subscriber,
    pub state: SubscriptionState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionState {
    /// SNS waits for the subscriber's confirmation; nothing is delivered until then.
    Pending,
    Confirmed,
    /// SNS knows no such subscription: it was never made, it ran out unconfirmed, or the
    /// subscriber ended it.
    Missing,
}
