//! Jobs: create, look at, change, delete, test the notifications.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout_at;
use uuid::Uuid;

use super::compliance::Rules;
use super::pause::told;
use super::reconcile::later;
use super::{App, Moment};
use crate::domain::audit::{Target, changes};
use crate::domain::ids::{JobKey, JobName, TeamName};
use crate::domain::job::{
    Deletion, Former, Job, JobDefinition, JobFilter, Pause, Phase, Subscription,
};
use crate::domain::schedule::{Engine, JobPreviewRequest, Preview};
use crate::domain::team::Team;
use crate::domain::violation::{Violation, ViolationCode};
use crate::error::{Error, Result};
use crate::provision::names::hex_sha256;
use crate::provision::shares_failure_rule;
use crate::store::{Inserted, Insertion, KeyRecord, Keyed, decode_cursor, encode_cursor};

/// When the sweeper looks after a job whose maker died before it had the lease.
pub(super) const GRACE: SignedDuration = SignedDuration::from_secs(60);
const NEXT_STARTS: usize = 5;
/// Times that a change is tried against others of the same job.
pub(super) const WRITES_MAX: usize = 5;
/// So much of earlier definitions is remembered for a job that AWS does not follow: DynamoDB takes 400 KB
/// an item.
const FORMER_BYTES_MAX: usize = 128 * 1024;
/// What asking SNS may take beyond a request's deadline, which a reconcile can have used up.
const SUBSCRIPTIONS_TIME: Duration = Duration::from_secs(3);

/// A job and what is computed or looked up for an answer.
#[derive(Debug)]
pub struct JobView {
    pub job: Job,
    pub next_starts: Vec<jiff::Timestamp>,
    /// Whether only AWS knows what these are counted from.
    pub next_starts_approximate: bool,
    /// What carries the schedule.
    pub engine: Engine,
    /// Whether the stack's failure rule tells of its failures.
    pub shares_failure_rule: bool,
    /// Asked of SNS for an answer about one job; `None` where SNS was not asked or did not answer.
    pub subscriptions: Option<Vec<Subscription>>,
    /// What of the definition the team's guardrails forbid now; nothing if it complies.
    pub forbidden: Vec<Violation>,
}

/// How a definition is to be changed.
#[derive(Clone, Debug)]
pub enum Change {
    /// This is all of it.
    Replace(Value),
    /// A JSON merge patch (RFC 7396).
    Merge(Value),
}

/// What must hold for a request to be carried out (RFC 9110, section 13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    None,
    /// The job exists, and its state is one of these ([`Job::version_tag`]); any, if there are none.
    Match(Vec<String>),
    /// The job does not exist.
    Missing,
}

/// A job that was changed or, if there was none, created.
#[derive(Debug)]
pub struct Changed {
    pub view: JobView,
    pub created: bool,
}

/// Which jobs a request wants.
#[derive(Debug, Default)]
pub struct JobsWanted {
    pub filter: JobFilter,
    pub limit: usize,
    pub cursor: Option<String>,
}

/// A page of jobs.
#[derive(Debug)]
pub struct ListedJobs {
    pub items: Vec<JobView>,
    pub next: Option<String>,
}

impl App {
    /// Creates a job from the JSON of a request and makes AWS match, as far as there is time; what
    /// is not finished the sweeper finishes.
    ///
    /// Errors: `Invalid`; `AlreadyExists`; `Conflict` while an earlier job of the name is being
    /// deleted, or if this one was deleted before it was made.
    pub async fn job_create(
        &self,
        team: TeamName,
        definition: Value,
        moment: Moment,
    ) -> Result<JobView> {
        let rules = self.rules(&team).await?;
        let job = self.job_prepare(&rules, definition, moment).await?;
        self.job_insert(&rules.team, &job, None, moment).await?;
        self.job_finish(&rules, job, moment).await
    }

    /// The job that the JSON of a request asks for, checked and not stored yet.
    pub(super) async fn job_prepare(
        &self,
        rules: &Rules,
        definition: Value,
        moment: Moment,
    ) -> Result<Job> {
        let definition = JobDefinition::read_with(definition, &rules.deployment, |definition| {
            rules.against(definition, None, None, moment.now)
        });
        self.job_new(&rules.team, definition.map_err(Error::Invalid)?, moment).await
    }

    pub(super) async fn job_new(
        &self,
        team: &Team,
        definition: JobDefinition,
        moment: Moment,
    ) -> Result<Job> {
        if let Some(cluster) = &definition.cluster {
            self.provisioner.check_cluster(cluster, definition.capacity).await?;
        }
        Ok(Job {
            id: Uuid::new_v4().to_string(),
            team: team.name.clone(),
            pause: Pause::begun_with(&definition, self.pauser(), moment.now),
            definition,
            generation: 1,
            observed_generation: 0,
            phase: Phase::Provisioning,
            reason: None,
            resources: Default::default(),
            deletion: None,
            unsettled: 0,
            attempts: 0,
            created_at: moment.now,
            updated_at: moment.now,
            scheduled_since: moment.now,
            former: Default::default(),
            past_clusters: Default::default(),
            recent_runs: Default::default(),
        })
    }

    /// Stores a new job of `team`, and with it the record of the key with which it was asked for and the
    /// audit entry, if AWS has room for it.
    pub(super) async fn job_insert(
        &self,
        team: &Team,
        job: &Job,
        keyed: Option<(&Keyed, &KeyRecord)>,
        moment: Moment,
    ) -> Result<Inserted> {
        self.check_room(job, moment).await?;
        let max_jobs = team.definition.quotas.max_jobs;
        let set = changes(&Value::Null, &job.definition.to_request());
        let entry = self.entry(&team.name, Target::job(&job.key()), set, moment);
        let with = Insertion { max_jobs, keyed, entry: entry.as_ref() };
        let inserted = self.store.job_insert(job, later(moment.now, GRACE), &with).await?;
        if inserted == Inserted::Done {
            self.count_room(job);
        }
        Ok(inserted)
    }

    /// Makes AWS match a job that was inserted.
    pub(super) async fn job_finish(
        &self,
        rules: &Rules,
        job: Job,
        moment: Moment,
    ) -> Result<JobView> {
        let name = job.definition.name.clone();
        let job = self.reconcile_stored(job, moment).await;
        let job = job.ok_or_else(|| {
            Error::Conflict(format!("job `{name}` was deleted while it was being made"))
        })?;
        Ok(self.view_with_subscriptions(job, Some(rules), moment).await)
    }

    /// Changes what is wanted of a job, or creates it where `change` is a whole definition and there
    /// is none. The same definition again changes nothing.
    ///
    /// Errors: `Invalid`; `NotFound` for a patch of nothing; `StaleVersion` if `precondition` does
    /// not hold; `Conflict` while the job is being deleted.
    pub async fn job_change(
        &self,
        key: &JobKey,
        change: Change,
        precondition: &Precondition,
        moment: Moment,
    ) -> Result<Changed> {
        let rules = self.rules(&key.team).await?;
        for _ in 0..WRITES_MAX {
            let changed = match (self.store.job_get(key).await?, &change) {
                (Some(job), change) => {
                    check(precondition, Some(&job), key)?;
                    self.job_try_change(&rules, job, change, moment).await?
                }
                // Of nothing there is no patch, whatever the condition (RFC 9110, section 13.2.1).
                (None, Change::Merge(_)) => return Err(not_found(key)),
                (None, Change::Replace(value)) => {
                    check(precondition, None, key)?;
                    self.job_try_create(&rules, key, value, moment).await?
                }
            };
            if let Some(changed) = changed {
                return Ok(changed);
            }
        }
        Err(Error::Busy(format!("job `{}`", key.job)))
    }

    /// `None` if somebody else made the job between.
    async fn job_try_create(
        &self,
        rules: &Rules,
        key: &JobKey,
        value: &Value,
        moment: Moment,
    ) -> Result<Option<Changed>> {
        let definition = read_named(rules, key, value, None, moment)?;
        let job = self.job_new(&rules.team, definition, moment).await?;
        match self.job_insert(&rules.team, &job, None, moment).await {
            Ok(_) => {
                let view = self.job_finish(rules, job, moment).await?;
                Ok(Some(Changed { view, created: true }))
            }
            Err(Error::AlreadyExists(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None` if the job was changed between.
    async fn job_try_change(
        &self,
        rules: &Rules,
        job: Job,
        change: &Change,
        moment: Moment,
    ) -> Result<Option<Changed>> {
        let key = job.key();
        let changed = match self.job_redefined(rules, &job, change, moment).await? {
            None => self.finished(job, moment).await,
            Some(next) => {
                let due_at = later(moment.now, GRACE);
                let changed = changes(&told(&job), &told(&next));
                let entry = self.entry(&key.team, Target::job(&key), changed, moment);
                match self.store.job_redefine(&job, &next, due_at, entry.as_ref()).await? {
                    Some(stored) => self.reconcile_stored(stored, moment).await,
                    None => return Ok(None),
                }
            }
        };
        let job = changed.ok_or_else(|| not_found(&key))?;
        let view = self.view_with_subscriptions(job, Some(rules), moment).await;
        Ok(Some(Changed { view, created: false }))
    }

    /// The job as `change` would have it, checked and not stored yet; `None` if it is as it is.
    pub(super) async fn job_redefined(
        &self,
        rules: &Rules,
        job: &Job,
        change: &Change,
        moment: Moment,
    ) -> Result<Option<Job>> {
        let key = job.key();
        if job.deletion.is_some() {
            return Err(Error::Conflict(format!("job `{}` is being deleted", key.job)));
        }
        // Also where nothing changes: what does not comply any more is told.
        let known = &job.definition;
        let definition = match change {
            Change::Replace(value) => read_named(rules, &key, value, Some(known), moment)?,
            Change::Merge(patch) => {
                let patched = known.patched_with(patch, &rules.deployment, |definition| {
                    rules.against(definition, Some(&key), Some(known), moment.now)
                });
                patched.map_err(Error::Invalid)?
            }
        };
        if definition == job.definition {
            return Ok(None);
        }
        if let Some(cluster) = &definition.cluster
            && (definition.cluster != job.definition.cluster
                || definition.capacity != job.definition.capacity)
        {
            self.provisioner.check_cluster(cluster, definition.capacity).await?;
        }
        let mut next = job.redefined(definition, moment.now);
        if let Some(pause) = &mut next.pause
            && job.definition.enabled
        {
            pause.by = self.pauser();
        }
        let bytes = |former: &Former| serde_json::to_string(former).unwrap_or_default().len();
        // A start from long before matters less than that the job can be put right.
        if bytes(&next.former) > FORMER_BYTES_MAX {
            next.former.grants = None;
        }
        if bytes(&next.former) > FORMER_BYTES_MAX {
            return Err(Error::Conflict(format!(
                "job `{}` was changed too often while AWS could not follow: first put right what \
                 hinders it ({})",
                key.job,
                job.reason.as_deref().unwrap_or("no reason is known")
            )));
        }
        Ok(Some(next))
    }

    /// The job, of which nothing is to be changed; but what an earlier request began may still be
    /// unfinished.
    pub(super) async fn finished(&self, job: Job, moment: Moment) -> Option<Job> {
        if job.observed_generation == job.generation {
            Some(job)
        } else {
            self.reconcile_stored(job, moment).await
        }
    }

    /// Errors: `NotFound`.
    pub async fn job_get(&self, key: &JobKey, moment: Moment) -> Result<JobView> {
        let rules = self.rules(&key.team).await?;
        let job = self.existing(key).await?;
        Ok(self.view_with_subscriptions(job, Some(&rules), moment).await)
    }

    /// The jobs of a team that are wanted, by name. Errors: `Invalid` for a cursor of another list.
    pub async fn job_list(
        &self,
        team: &TeamName,
        wanted: JobsWanted,
        moment: Moment,
    ) -> Result<ListedJobs> {
        let filter = &wanted.filter;
        let list = format!("jobs/{team}/{}", digest(filter)?);
        // A key outside the bounds of its list is an error to DynamoDB.
        let in_list =
            |name: &str| JobName::parse(name).is_ok() && name.starts_with(filter.prefix());
        let after =
            wanted.cursor.map(|cursor| checked_cursor(&list, &cursor, in_list)).transpose()?;
        let rules = self.rules(team).await?;
        let is_wanted = |job: &Job| {
            let complies = || rules.forbidden(&job.definition).is_empty();
            filter.compliant.is_none_or(|wanted| wanted == complies())
        };
        let page =
            self.store.job_list_of(team, filter, after.as_deref(), wanted.limit, is_wanted).await?;
        Ok(ListedJobs {
            items: page.items.into_iter().map(|job| self.view(job, Some(&rules), moment)).collect(),
            next: page.last.map(|last| encode_cursor(&list, &last)),
        })
    }

    /// Deletes the job, as far as there is time: `None` when it is gone, the job while it is
    /// `deleting`. Errors: `NotFound`.
    pub async fn job_delete(
        &self,
        key: &JobKey,
        deletion: Deletion,
        moment: Moment,
    ) -> Result<Option<JobView>> {
        let due_at = later(moment.now, GRACE);
        let entry = self.entry(&key.team, Target::job(key), Vec::new(), moment);
        let job =
            self.store.job_mark_deleted(key, deletion, moment.now, due_at, entry.as_ref()).await?;
        let Some(job) = self.reconcile_stored(job, moment).await else {
            return Ok(None);
        };
        let rules = self.rules_if_any(&key.team).await?;
        Ok(Some(self.view(job, rules.as_ref(), moment)))
    }

    /// Sends an event through the job's failure rule to its subscribers, and answers the event's
    /// id and who can receive it. Who has let a subscription run out is asked to confirm once more.
    ///
    /// Errors: `NotFound`; `Conflict` while the rule or the topic does not stand.
    pub async fn notification_test(
        &self,
        key: &JobKey,
        moment: Moment,
    ) -> Result<(String, Vec<Subscription>)> {
        let job = self.testable(key).await?;
        // Nothing of it is in the table: what is sent is told before.
        if let Some(entry) = self.entry(&key.team, Target::job(key), Vec::new(), moment) {
            self.store.audit_put(&entry).await?;
        }
        self.test_notifications(&job).await
    }

    /// The job, if its notifications can be tested. Errors: `NotFound`; `Conflict`.
    pub(super) async fn testable(&self, key: &JobKey) -> Result<Job> {
        let job = self.existing(key).await?;
        if job.phase != Phase::Ready {
            return Err(Error::Conflict(format!(
                "job `{}` is {}: its notifications can be tested when it is ready",
                key.job,
                job.phase.as_str()
            )));
        }
        Ok(job)
    }

    pub(super) async fn test_notifications(
        &self,
        job: &Job,
    ) -> Result<(String, Vec<Subscription>)> {
        self.provisioner.subscribe_missing(job, &self.deployment).await?;
        let event_id = self.provisioner.send_test(job, &self.deployment).await?;
        let subscriptions = self.provisioner.subscriptions(job, &self.deployment).await?;
        Ok((event_id, subscriptions))
    }

    pub(super) async fn existing(&self, key: &JobKey) -> Result<Job> {
        self.store.job_get(key).await?.ok_or_else(|| not_found(key))
    }

    pub(super) async fn view_with_subscriptions(
        &self,
        job: Job,
        rules: Option<&Rules>,
        moment: Moment,
    ) -> JobView {
        let asked = self.provisioner.subscriptions(&job, &self.deployment);
        let subscriptions = match timeout_at(moment.deadline + SUBSCRIPTIONS_TIME, asked).await {
            Ok(Ok(subscriptions)) => Some(subscriptions),
            Err(_) => {
                tracing::warn!(job = %job.key(), "subscriptions unknown: out of time");
                None
            }
            Ok(Err(error)) => {
                // The topic of a job that is not there yet has none, and an answer about the job
                // does not fail for SNS's sake: they are shown as unknown.
                tracing::warn!(job = %job.key(), %error, "subscriptions unknown");
                None
            }
        };
        JobView { subscriptions, ..self.view(job, rules, moment) }
    }

    /// The job, for whose team these rules hold; a team that is gone has none.
    pub(super) fn view(&self, job: Job, rules: Option<&Rules>, moment: Moment) -> JobView {
        let choice = self.deployment.engine;
        JobView {
            next_starts: job.next_starts(moment.now, NEXT_STARTS, choice),
            next_starts_approximate: job.starts_are_approximate(choice),
            engine: job.current_engine(choice),
            shares_failure_rule: shares_failure_rule(&self.deployment),
            subscriptions: None,
            forbidden: rules.map(|rules| rules.forbidden(&job.definition)).unwrap_or_default(),
            job,
        }
    }

    /// What the job's schedule means. Errors: `NotFound`.
    pub async fn job_preview(&self, key: &JobKey, wanted: JobPreviewRequest) -> Result<Preview> {
        self.team(&key.team).await?;
        Ok(self.existing(key).await?.preview(wanted, self.deployment.engine))
    }
}

/// A whole definition of the job `key`, which has `known` now; one that names no job is of this one.
pub(super) fn read_named(
    rules: &Rules,
    key: &JobKey,
    value: &Value,
    known: Option<&JobDefinition>,
    moment: Moment,
) -> Result<JobDefinition> {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.entry("name").or_insert_with(|| Value::from(key.job.as_str()));
    }
    let read = JobDefinition::read_with(value, &rules.deployment, |definition| {
        rules.against(definition, Some(key), known, moment.now)
    });
    read.map_err(Error::Invalid)
}

/// Names the list of a filter in its cursors. What is wanted of tags can be long, and a cursor comes
/// back in a URL beside it.
pub(super) fn digest(filter: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(filter)
        .map_err(|error| Error::Internal(format!("a filter can't be written: {error}")))?;
    Ok(hex_sha256(text.as_bytes())[..16].to_owned())
}

/// Errors: `StaleVersion`.
pub(super) fn check(precondition: &Precondition, job: Option<&Job>, key: &JobKey) -> Result<()> {
    let name = &key.job;
    match (precondition, job) {
        (Precondition::None, _) | (Precondition::Missing, None) => Ok(()),
        (Precondition::Missing, Some(_)) => {
            Err(Error::StaleVersion(format!("job `{name}` exists already")))
        }
        (Precondition::Match(_), None) => {
            Err(Error::StaleVersion(format!("job `{name}` does not exist")))
        }
        (Precondition::Match(tags), Some(job)) => {
            if tags.is_empty() || tags.contains(&job.version_tag()) {
                return Ok(());
            }
            Err(Error::StaleVersion(format!(
                "job `{name}` was changed meanwhile: its ETag is \"{}\" now",
                job.version_tag()
            )))
        }
    }
}

pub(super) fn not_found(key: &JobKey) -> Error {
    Error::NotFound(format!("job `{}`", key.job))
}

/// The key in `cursor`, of which `is_key` must hold. Errors: `Invalid` at the parameter `cursor`.
pub(super) fn checked_cursor(
    list: &str,
    cursor: &str,
    is_key: impl Fn(&str) -> bool,
) -> Result<String> {
    decode_cursor(list, cursor).filter(|key| is_key(key)).ok_or_else(bad_cursor)
}

pub(super) fn bad_cursor() -> Error {
    Error::Invalid(vec![Violation::new(
        "cursor",
        ViolationCode::Format,
        "is not the `next` of an answer to this list with these parameters, or is too old",
    )])
}
