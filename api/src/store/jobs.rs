//! The jobs in the table.

use std::borrow::Cow;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValue, ReturnValuesOnConditionCheckFailure,
    Select, TransactWriteItem,
};
use jiff::Timestamp;
use serde_json::json;

use super::due::{due_attributes, shard_of};
use super::idempotency::action;
use super::runs::PAGES_MAX;
use super::teams::{one_job_less, one_job_more, team_words};
use super::transaction::{Transacted, past_conflicts};
use super::{
    Item, KeyRecord, Keyed, Page, Store, attribute, epoch, from_item, number, string_of, text,
    to_item,
};
use crate::domain::audit::{Entry, changes};
use crate::domain::ids::{JobKey, JobName, TeamName};
use crate::domain::job::{
    Deletion, Former, Job, JobFilter, JobOrder, Phase, ResourceKind, ResourceStatus,
};
use crate::domain::run::RunSummary;
use crate::domain::team::too_many_jobs;
use crate::error::{Error, Result};

/// Times that a change is tried against others of the same job.
const WRITES_MAX: usize = 5;
/// Times that a run is tried to be shown against others: each time one of them gets through, so
/// that this is enough for as many writers at once, one for each run that a job shows.
const SHOWS_MAX: usize = 10;
/// Items of one answer, as DynamoDB counts them: so many bytes as it reads for a page. Written as
/// JSON, and that once more as a string of JSON, they stay below the 6 MB of a function's answer.
pub(super) const PAGE_BYTES: usize = 1024 * 1024;

/// What came of asking for a job's lease.
#[derive(Clone, Debug, PartialEq)]
pub enum Leased {
    /// Held now; the job as it is.
    Held(Box<Job>),
    /// Somebody else holds it.
    Busy,
    /// There is no such job.
    Gone,
}

/// What is written together with a new job.
#[derive(Clone, Copy, Debug, Default)]
pub struct Insertion<'a> {
    /// The most jobs that its team may have.
    pub max_jobs: Option<u32>,
    /// The record of the idempotency key with which it was asked for.
    pub keyed: Option<(&'a Keyed, &'a KeyRecord)>,
    /// The audit entry that tells of it.
    pub entry: Option<&'a Entry>,
}

/// What came of inserting a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    Done,
    /// There is a record of the idempotency key by now.
    KeyKnown,
}

/// What a reconcile leaves behind in the job's item.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The generation that was worked on.
    pub generation: u64,
    pub phase: Phase,
    pub reason: Option<String>,
    pub resources: std::collections::BTreeMap<ResourceKind, ResourceStatus>,
    pub attempts: u32,
    /// Whether AWS matches that generation now.
    pub reached: bool,
    /// What is left of earlier definitions then.
    pub former: Former,
    /// When somebody has to come back.
    pub due_at: Option<Timestamp>,
}

/// What came of leaving it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Written; the lease is given back.
    Done,
    /// The intent was changed meanwhile: what is known of the resources was written, the lease is
    /// still held, and the work begins anew.
    Changed,
    /// The lease ran out and was taken over.
    Lost,
}

fn pk(team: &TeamName) -> String {
    format!("TEAM#{team}")
}

/// How a job is called in a message.
pub(super) fn job_words(job: &JobName) -> String {
    format!("job `{job}`")
}

fn sk(key: &JobKey) -> String {
    format!("JOB#{}", key.job)
}

/// The item of a job that is due at `due_at`.
fn job_item(job: &Job, due_at: Timestamp) -> Result<Item> {
    let key = job.key();
    let (pk, sk) = (pk(&key.team), sk(&key));
    let mut item = to_item(job)?;
    item.extend(due_attributes(&pk, &sk, due_at));
    item.insert("pk".to_owned(), text(pk));
    item.insert("sk".to_owned(), text(sk));
    Ok(item)
}

/// The action of a transaction that checks that the job `id` of this name is there and not to be
/// deleted.
pub(super) fn job_stays(table: &str, key: &JobKey, id: &str) -> Result<TransactWriteItem> {
    let check = ConditionCheck::builder()
        .table_name(table)
        .key("pk", text(pk(&key.team)))
        .key("sk", text(sk(key)))
        .condition_expression("#id = :id AND attribute_not_exists(deletion)")
        .expression_attribute_names("#id", "id")
        .expression_attribute_values(":id", text(id));
    let check = action(check.build())?;
    Ok(TransactWriteItem::builder().condition_check(check).build())
}

impl Store {
    /// Inserts a job that must not exist yet, due at `due_at` should its maker die, and counts it for its
    /// team.
    ///
    /// Errors: `AlreadyExists`; `Conflict` while an earlier job of the name is being deleted; `NotFound`
    /// of the team; `Invalid` if it has all the jobs that it may have.
    pub async fn job_insert(
        &self,
        job: &Job,
        due_at: Timestamp,
        with: &Insertion<'_>,
    ) -> Result<Inserted> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(job_item(job, due_at)?))
            .condition_expression("attribute_not_exists(pk)");
        let put = TransactWriteItem::builder().put(action(put.build())?).build();
        let mut actions = vec![put, one_job_more(&self.table, &job.team, with.max_jobs)?];
        if let Some((key, record)) = with.keyed {
            actions.push(key.put(&self.table, record, job.created_at)?);
        }
        let actions = self.audited(actions, with.entry)?;
        let name = &job.definition.name;
        let refused = match self.transact(&job_words(name), actions).await? {
            Transacted::Done => return Ok(Inserted::Done),
            Transacted::Refused(refused) => refused,
        };
        // Where the key is known, what became of the name since is none of this request's business.
        if with.keyed.is_some() && refused.get(2) == Some(&true) {
            return Ok(Inserted::KeyKnown);
        }
        if refused.first() == Some(&true) {
            return match self.job_get(&job.key()).await? {
                // Its answer was lost, and the call made once more: then it is this very job.
                Some(known) if known.id == job.id => Ok(Inserted::Done),
                Some(known) if known.deletion.is_some() => {
                    Err(Error::Conflict(format!("job `{name}` is being deleted")))
                }
                _ => Err(Error::AlreadyExists(format!("job `{name}`"))),
            };
        }
        Err(match (self.team_get(&job.team).await?, with.max_jobs) {
            (Some(_), Some(max)) => Error::Invalid(vec![too_many_jobs(max)]),
            _ => Error::NotFound(team_words(&job.team)),
        })
    }

    /// The job, as of now.
    pub async fn job_get(&self, key: &JobKey) -> Result<Option<Job>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(pk(&key.team)))
            .key("sk", text(sk(key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::aws("dynamodb:GetItem", error))?;
        answer.item.map(from_item).transpose()
    }

    /// The jobs of a team that `filter` wants, in its order, those behind the name `after` only.
    ///
    /// The page can hold fewer than `limit`, even none, and still not be the last one: an answer
    /// has at most [`PAGE_BYTES`], and a filter that lets little through is applied to some pages
    /// of the table only.
    pub async fn job_list(
        &self,
        team: &TeamName,
        filter: &JobFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Job>> {
        self.job_list_of(team, filter, after, limit, |_| true).await
    }

    /// As [`Store::job_list`], of the jobs of which `is_wanted` holds: what the table can't tell of them.
    pub async fn job_list_of(
        &self,
        team: &TeamName,
        filter: &JobFilter,
        after: Option<&str>,
        limit: usize,
        is_wanted: impl Fn(&Job) -> bool + Send,
    ) -> Result<Page<Job>> {
        // Without a filter one page of the table is a page of the list.
        let pages = if filter.is_of_names_only() { 1 } else { PAGES_MAX };
        let mut items: Vec<Job> = Vec::new();
        let mut last = after.map(str::to_owned);
        let mut bytes = 0;
        for _ in 0..pages {
            let page = self.job_page(team, filter, last.as_deref(), limit + 1).await?;
            last = page.last;
            for item in page.items {
                let size = size_of(&item);
                let job: Job = from_item(item)?;
                if !is_wanted(&job) {
                    continue;
                }
                bytes += size;
                if items.len() == limit || (bytes > PAGE_BYTES && !items.is_empty()) {
                    let last = items.last().map(|job| job.definition.name.to_string());
                    return Ok(Page { items, last });
                }
                items.push(job);
            }
            if last.is_none() || items.len() == limit {
                break;
            }
        }
        Ok(Page { items, last })
    }

    async fn job_page(
        &self,
        team: &TeamName,
        filter: &JobFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Item>> {
        let mut conditions = Vec::new();
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :jobs)")
            .expression_attribute_values(":pk", text(pk(team)))
            .expression_attribute_values(":jobs", text(format!("JOB#{}", filter.prefix())))
            .set_exclusive_start_key(after.map(|name| {
                Item::from([
                    ("pk".to_owned(), text(pk(team))),
                    ("sk".to_owned(), text(format!("JOB#{name}"))),
                ])
            }))
            .scan_index_forward(filter.order == JobOrder::Name)
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        if let Some(phase) = filter.phase {
            conditions.push("phase = :phase".to_owned());
            query = query.expression_attribute_values(":phase", attribute(&phase)?);
        }
        if let Some(enabled) = filter.enabled {
            conditions.push("#definition.#enabled = :enabled".to_owned());
            query = query
                .expression_attribute_names("#enabled", "enabled")
                .expression_attribute_values(":enabled", AttributeValue::Bool(enabled));
        }
        if let Some(outcome) = filter.last_outcome {
            conditions.push("recent_runs.last_outcome = :last_outcome".to_owned());
            query = query.expression_attribute_values(":last_outcome", attribute(&outcome)?);
        }
        // Keys and values of tags hold what an expression would read: they stand beside it.
        for (index, (key, value)) in filter.tags.iter().enumerate() {
            let path = format!("#definition.#tags.#tag{index}");
            query = query.expression_attribute_names(format!("#tag{index}"), key);
            match value {
                Some(value) => {
                    conditions.push(format!("{path} = :tag{index}"));
                    query = query.expression_attribute_values(format!(":tag{index}"), text(value));
                }
                None => conditions.push(format!("attribute_exists({path})")),
            }
        }
        if !filter.tags.is_empty() {
            query = query.expression_attribute_names("#tags", "tags");
        }
        // What is given and not used is an error to DynamoDB.
        if filter.enabled.is_some() || !filter.tags.is_empty() {
            query = query.expression_attribute_names("#definition", "definition");
        }
        if !conditions.is_empty() {
            query = query.filter_expression(conditions.join(" AND "));
        }
        let page = query.send().await.map_err(|error| Error::aws("dynamodb:Query", error))?;
        let last = match page.last_evaluated_key() {
            Some(key) => string_of(key, "sk")?.strip_prefix("JOB#").map(str::to_owned),
            None => None,
        };
        Ok(Page { items: page.items.unwrap_or_default(), last })
    }

    /// Writes what is wanted of `next`, and the audit entry that tells of it, if the job still is what
    /// `known` says; `None` if it was changed between. Who holds the lease, and what the job's runs were, stays.
    pub async fn job_redefine(
        &self,
        known: &Job,
        next: &Job,
        due_at: Timestamp,
        entry: Option<&Entry>,
    ) -> Result<Option<Job>> {
        let key = known.key();
        let (set, remove) =
            if next.pause.is_some() { (", pause = :pause", "") } else { ("", ", pause") };
        let update = self
            .job_update(&key)
            .update_expression(format!(
                "SET #definition = :definition, generation = :next, phase = :phase, \
                 attempts = :attempts, updated_at = :updated_at, \
                 scheduled_since = :scheduled_since, former = :former, \
                 past_clusters = :past_clusters, due_shard = :shard, due_at = :due_at{set} \
                 REMOVE reason{remove}"
            ))
            .condition_expression(
                "#id = :id AND generation = :known AND attribute_not_exists(deletion)",
            )
            .expression_attribute_names("#definition", "definition")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":definition", attribute(&next.definition)?)
            .expression_attribute_values(":next", number(next.generation))
            .expression_attribute_values(":phase", attribute(&next.phase)?)
            .expression_attribute_values(":attempts", number(next.attempts))
            .expression_attribute_values(":updated_at", attribute(&next.updated_at)?)
            .expression_attribute_values(":scheduled_since", attribute(&next.scheduled_since)?)
            .expression_attribute_values(":former", attribute(&next.former)?)
            .expression_attribute_values(":past_clusters", attribute(&next.past_clusters)?)
            .expression_attribute_values(":id", text(&known.id))
            .expression_attribute_values(":known", number(known.generation))
            .expression_attribute_values(":shard", text(shard_of(&pk(&key.team), &sk(&key))))
            .expression_attribute_values(":due_at", epoch(due_at));
        let update = match &next.pause {
            Some(pause) => update.expression_attribute_values(":pause", attribute(pause)?),
            None => update,
        };
        match self.conditional_audited(update, entry, &job_words(&key.job)).await? {
            Conditional::Held(item) => from_item(item).map(Some),
            Conditional::Refused(Some(item)) => {
                // The SDK asks again where an answer was lost: then it is this very change.
                let found: Job = from_item(item)?;
                let same = found.id == next.id
                    && found.generation == next.generation
                    && found.definition == next.definition
                    && found.pause == next.pause
                    && found.updated_at == next.updated_at;
                Ok(same.then_some(found))
            }
            Conditional::Refused(None) => Ok(None),
        }
    }

    /// Marks the job as to be deleted, and writes the audit entry that tells of it and gets to say what was
    /// asked for. Asked again, it only ever adds: tasks once to be stopped are.
    ///
    /// Errors: `NotFound`.
    pub async fn job_mark_deleted(
        &self,
        key: &JobKey,
        deletion: Deletion,
        now: Timestamp,
        due_at: Timestamp,
        entry: Option<&Entry>,
    ) -> Result<Job> {
        // Read, then write if nothing came between: what another request asked for stays.
        for _ in 0..WRITES_MAX {
            if let Some(job) = self.job_try_mark_deleted(key, deletion, now, due_at, entry).await? {
                return Ok(job);
            }
        }
        Err(Error::Busy(format!("job `{}`", key.job)))
    }

    /// `None` if the job was changed between.
    async fn job_try_mark_deleted(
        &self,
        key: &JobKey,
        deletion: Deletion,
        now: Timestamp,
        due_at: Timestamp,
        entry: Option<&Entry>,
    ) -> Result<Option<Job>> {
        let Some(job) = self.job_get(key).await? else {
            return Err(Error::NotFound(format!("job `{}`", key.job)));
        };
        let wanted = job.deletion.map_or(deletion, |known| known.and(deletion));
        if job.deletion == Some(wanted) {
            return Ok(Some(job));
        }
        let entry = entry.map(|entry| Entry {
            changes: changes(&json!({"deletion": job.deletion}), &json!({"deletion": wanted})),
            ..entry.clone()
        });
        let update = self
            .job_update(key)
            .update_expression(
                "SET deletion = :deletion, generation = generation + :one, phase = :deleting, \
                 updated_at = :now, attempts = :none, due_shard = :shard, due_at = :due_at \
                 REMOVE reason",
            )
            .condition_expression("#id = :id AND generation = :generation")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":id", text(&job.id))
            .expression_attribute_values(":generation", number(job.generation))
            .expression_attribute_values(":deletion", attribute(&wanted)?)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":deleting", attribute(&Phase::Deleting)?)
            .expression_attribute_values(":now", attribute(&now)?)
            .expression_attribute_values(":shard", text(shard_of(&pk(&key.team), &sk(key))))
            .expression_attribute_values(":due_at", epoch(due_at));
        match self.conditional_audited(update, entry.as_ref(), &job_words(&key.job)).await? {
            Conditional::Held(item) => from_item(item).map(Some),
            Conditional::Refused(_) => Ok(None),
        }
    }

    /// Takes the job's lease until `until`, in the name of `token`. Should its holder die, the
    /// sweeper comes back when it has run out.
    pub async fn job_lease(
        &self,
        key: &JobKey,
        token: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Leased> {
        let update = self
            .job_update(key)
            .update_expression(
                "SET lease_token = :token, lease_until = :until, due_shard = :shard, \
                 due_at = :until, unsettled = if_not_exists(unsettled, :none) + :one",
            )
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(lease_until) \
                 OR lease_until <= :now OR lease_token = :token)",
            )
            .expression_attribute_values(":token", text(token))
            .expression_attribute_values(":now", epoch(now))
            .expression_attribute_values(":until", epoch(until))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":shard", text(shard_of(&pk(&key.team), &sk(key))));
        match self.conditional(update).await? {
            Conditional::Held(item) => Ok(Leased::Held(Box::new(from_item(item)?))),
            Conditional::Refused(Some(_)) => Ok(Leased::Busy),
            Conditional::Refused(None) => Ok(Leased::Gone),
        }
    }

    /// Writes what a reconcile under the lease `token` came to, and gives the lease back.
    pub async fn job_settle(
        &self,
        key: &JobKey,
        token: &str,
        settlement: &Settlement,
    ) -> Result<Settled> {
        let mut set = "SET phase = :phase, resources = :resources, attempts = :attempts".to_owned();
        let mut remove = " REMOVE lease_token, lease_until, unsettled".to_owned();
        let mut update = self
            .job_update(key)
            .condition_expression("lease_token = :token AND generation = :generation")
            .expression_attribute_values(":token", text(token))
            .expression_attribute_values(":generation", number(settlement.generation))
            .expression_attribute_values(":phase", attribute(&settlement.phase)?)
            .expression_attribute_values(":resources", attribute(&settlement.resources)?)
            .expression_attribute_values(":attempts", number(settlement.attempts));
        if settlement.reached {
            set.push_str(", observed_generation = :generation");
            if settlement.former == Former::default() {
                remove.push_str(", former");
            } else {
                set.push_str(", former = :former");
                update =
                    update.expression_attribute_values(":former", attribute(&settlement.former)?);
            }
        }
        match &settlement.reason {
            Some(reason) => {
                set.push_str(", reason = :reason");
                update = update.expression_attribute_values(":reason", text(reason));
            }
            None => remove.push_str(", reason"),
        }
        match settlement.due_at {
            Some(at) => {
                set.push_str(", due_shard = :shard, due_at = :due_at");
                update = update
                    .expression_attribute_values(":shard", text(shard_of(&pk(&key.team), &sk(key))))
                    .expression_attribute_values(":due_at", epoch(at));
            }
            None => remove.push_str(", due_shard, due_at"),
        }
        let update = update.update_expression(set + &remove);
        if let Conditional::Held(_) = self.conditional(update).await? {
            return Ok(Settled::Done);
        }
        let update = self
            .job_update(key)
            .update_expression("SET resources = :resources")
            .condition_expression("lease_token = :token")
            .expression_attribute_values(":token", text(token))
            .expression_attribute_values(":resources", attribute(&settlement.resources)?);
        match self.conditional(update).await? {
            Conditional::Held(_) => Ok(Settled::Changed),
            Conditional::Refused(_) => Ok(Settled::Lost),
        }
    }

    /// How many jobs the team has in the table, those on their way out too.
    pub async fn job_count(&self, team: &TeamName) -> Result<u32> {
        let mut count = 0;
        let mut after = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk AND begins_with(sk, :jobs)")
                .expression_attribute_values(":pk", text(pk(team)))
                .expression_attribute_values(":jobs", text("JOB#"))
                .select(Select::Count)
                .set_exclusive_start_key(after)
                .consistent_read(true)
                .send()
                .await
                .map_err(|error| Error::aws("dynamodb:Query", error))?;
            count += u32::try_from(page.count).unwrap_or_default();
            after = page.last_evaluated_key;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    /// Takes the job out of the table, at the end of its deletion at `generation` under the lease
    /// `token`.
    pub async fn job_delete(&self, key: &JobKey, token: &str, generation: u64) -> Result<Settled> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .key("pk", text(pk(&key.team)))
            .key("sk", text(sk(key)))
            .condition_expression("lease_token = :token AND generation = :generation")
            .expression_attribute_values(":token", text(token))
            .expression_attribute_values(":generation", number(generation))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let delete = TransactWriteItem::builder().delete(action(delete.build())?).build();
        let counted = vec![delete.clone(), one_job_less(&self.table, &key.team)?];
        let what = job_words(&key.job);
        let mut deleted = self.transact(&what, counted).await?;
        if matches!(&deleted, Transacted::Refused(refused) if refused[..] == [false, true]) {
            // A job without a team, or one that is not among those that its team counts, as it was there
            // before it, can go too.
            deleted = self.transact(&what, vec![delete]).await?;
        }
        if let Transacted::Done = deleted {
            return Ok(Settled::Done);
        }
        let update = self
            .job_update(key)
            .update_expression("SET lease_token = :token")
            .condition_expression("lease_token = :token")
            .expression_attribute_values(":token", text(token));
        Ok(match self.conditional(update).await? {
            Conditional::Held(_) => Settled::Changed,
            Conditional::Refused(Some(_)) => Settled::Lost,
            // Its answer was lost, and the call made once more: the first did it.
            Conditional::Refused(None) => Settled::Done,
        })
    }

    /// Shows `run` among the recent runs of `job`, which is as it was read, unless it is older than
    /// those or a newer state of it is shown. Nothing is written where nothing changes. A job that is
    /// gone shows nothing.
    ///
    /// Errors: `Busy` if others came first again and again.
    pub async fn job_show_run(&self, job: &Job, run: &RunSummary) -> Result<()> {
        let key = job.key();
        let mut known = Cow::Borrowed(job);
        for _ in 0..SHOWS_MAX {
            let Some(recent_runs) = known.recent_runs.with(run) else {
                return Ok(());
            };
            // Another job of the name has other runs. The first that is shown finds no attribute.
            let update = self
                .job_update(&key)
                .update_expression("SET recent_runs = :recent_runs")
                .condition_expression(
                    "#id = :id AND (attribute_not_exists(recent_runs) \
                     OR recent_runs.#version = :known)",
                )
                .expression_attribute_names("#id", "id")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":recent_runs", attribute(&recent_runs)?)
                .expression_attribute_values(":id", text(&known.id))
                .expression_attribute_values(":known", number(known.recent_runs.version()));
            match self.conditional(update).await? {
                Conditional::Held(_) | Conditional::Refused(None) => return Ok(()),
                Conditional::Refused(Some(item)) => known = Cow::Owned(from_item(item)?),
            }
        }
        Err(Error::Busy(format!("job `{}`", key.job)))
    }

    fn job_update(&self, key: &JobKey) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(pk(&key.team)))
            .key("sk", text(sk(key)))
    }

    /// Sends a conditional update; a condition that does not hold is a result, not an error. Where
    /// somebody's transaction is at the item, it is waited for.
    pub(super) async fn conditional(&self, update: UpdateItemFluentBuilder) -> Result<Conditional> {
        let update = update
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match past_conflicts(|| update.clone().send()).await {
            Ok(answer) => Ok(Conditional::Held(answer.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    let item = refused.item.clone().filter(|item| !item.is_empty());
                    Ok(Conditional::Refused(item))
                }
                _ => Err(Error::aws("dynamodb:UpdateItem", error)),
            },
        }
    }
}

/// The size of an item. Source: Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats";
/// a number is taken to be as long as it is written, which is more than it has.
pub(super) fn size_of(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + size_of_value(value)).sum()
}

fn size_of_value(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::M(map) => 3 + size_of(map) + map.len(),
        AttributeValue::L(list) => 3 + list.iter().map(|one| 1 + size_of_value(one)).sum::<usize>(),
        _ => 1,
    }
}

/// What came of a conditional update.
pub(super) enum Conditional {
    /// The item as it is now.
    Held(Item),
    /// The item as it stood in the way, if there is one.
    Refused(Option<Item>),
}
