//! The jobs in the table.

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, ReturnValue, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem,
};
use jiff::Timestamp;

use super::due::{due_attributes, shard_of};
use super::idempotency::action;
use super::transaction::{CONFLICTS_MAX, pause};
use super::{Item, Page, Store, attribute, epoch, from_item, number, string_of, text, to_item};
use crate::domain::ids::{JobKey, TeamName};
use crate::domain::job::{Deletion, Job, Phase, ResourceKind, ResourceStatus};
use crate::domain::run::LastRun;
use crate::error::{Error, Result};

/// Times that a change is tried against others of the same job.
const WRITES_MAX: usize = 5;

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

fn sk(key: &JobKey) -> String {
    format!("JOB#{}", key.job)
}

/// The item of a job that is due at `due_at`.
pub(super) fn job_item(job: &Job, due_at: Timestamp) -> Result<Item> {
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
    /// Inserts a job that must not exist yet, due at `due_at` should its maker die.
    ///
    /// Errors: `AlreadyExists`.
    pub async fn job_insert(&self, job: &Job, due_at: Timestamp) -> Result<()> {
        let key = job.key();
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(job_item(job, due_at)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                // The SDK asks again where an answer was lost: then it is this very job.
                Some(PutItemError::ConditionalCheckFailedException(refused))
                    if refused
                        .item()
                        .is_some_and(|item| item.get("id") == Some(&text(&job.id))) =>
                {
                    Ok(())
                }
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    let leaving = refused.item().is_some_and(|item| item.contains_key("deletion"));
                    Err(if leaving {
                        Error::Conflict(format!("job `{}` is being deleted", key.job))
                    } else {
                        Error::AlreadyExists(format!("job `{}`", key.job))
                    })
                }
                _ => Err(Error::aws("dynamodb:PutItem", error)),
            },
        }
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

    /// The jobs of a team by name, those behind `after` only, `limit` at most: fewer where an
    /// answer would grow too large (DynamoDB ends a page at 1 MB).
    pub async fn job_list(
        &self,
        team: &TeamName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Job>> {
        let start = after.map(|name| {
            Item::from([
                ("pk".to_owned(), text(pk(team))),
                ("sk".to_owned(), text(format!("JOB#{name}"))),
            ])
        });
        let page = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :jobs)")
            .expression_attribute_values(":pk", text(pk(team)))
            .expression_attribute_values(":jobs", text("JOB#"))
            .set_exclusive_start_key(start)
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX).saturating_add(1))
            .send()
            .await
            .map_err(|error| Error::aws("dynamodb:Query", error))?;
        let last = match page.last_evaluated_key() {
            Some(key) => string_of(key, "sk")?.strip_prefix("JOB#").map(str::to_owned),
            None => None,
        };
        let items: Result<Vec<Job>> =
            page.items.unwrap_or_default().into_iter().map(from_item).collect();
        Ok(Page { items: items?, last }.cut(limit, |job: &Job| job.definition.name.as_str()))
    }

    /// Writes what is wanted of `next`, if the job still is what `known` says; `None` if it was
    /// changed between. Who holds the lease, and what the job's last run was, stays.
    pub async fn job_redefine(
        &self,
        known: &Job,
        next: &Job,
        due_at: Timestamp,
    ) -> Result<Option<Job>> {
        let key = known.key();
        let update = self
            .job_update(&key)
            .update_expression(
                "SET #definition = :definition, generation = :next, phase = :phase, \
                 attempts = :attempts, updated_at = :updated_at, \
                 scheduled_since = :scheduled_since, former = :former, \
                 past_clusters = :past_clusters, due_shard = :shard, due_at = :due_at \
                 REMOVE reason",
            )
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
        match self.conditional(update).await? {
            Conditional::Held(item) => from_item(item).map(Some),
            Conditional::Refused(Some(item)) => {
                // The SDK asks again where an answer was lost: then it is this very change.
                let found: Job = from_item(item)?;
                let same = found.id == next.id
                    && found.generation == next.generation
                    && found.definition == next.definition
                    && found.updated_at == next.updated_at;
                Ok(same.then_some(found))
            }
            Conditional::Refused(None) => Ok(None),
        }
    }

    /// Switches the job's schedule on or off. `None` if it already is as asked for.
    ///
    /// Errors: `NotFound`; `Conflict` while the job is being deleted.
    pub async fn job_set_enabled(
        &self,
        key: &JobKey,
        enabled: bool,
        now: Timestamp,
        due_at: Timestamp,
    ) -> Result<Option<Job>> {
        let update = self
            .job_update(key)
            .update_expression(
                "SET #definition.#enabled = :enabled, generation = generation + :one, \
                 phase = :provisioning, updated_at = :now, scheduled_since = :now, \
                 attempts = :none, due_shard = :shard, due_at = :due_at REMOVE reason",
            )
            .condition_expression(
                "attribute_exists(pk) AND attribute_not_exists(deletion) \
                 AND #definition.#enabled <> :enabled",
            )
            .expression_attribute_names("#definition", "definition")
            .expression_attribute_names("#enabled", "enabled")
            .expression_attribute_values(":enabled", AttributeValue::Bool(enabled))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":provisioning", attribute(&Phase::Provisioning)?)
            .expression_attribute_values(":now", attribute(&now)?)
            .expression_attribute_values(":shard", text(shard_of(&pk(&key.team), &sk(key))))
            .expression_attribute_values(":due_at", epoch(due_at));
        match self.conditional(update).await? {
            Conditional::Held(item) => from_item(item).map(Some),
            Conditional::Refused(None) => Err(Error::NotFound(format!("job `{}`", key.job))),
            Conditional::Refused(Some(item)) => {
                let job: Job = from_item(item)?;
                match job.deletion {
                    Some(_) => Err(Error::Conflict(format!("job `{}` is being deleted", key.job))),
                    None => Ok(None),
                }
            }
        }
    }

    /// Marks the job as to be deleted. Asked again, it only ever adds: tasks once to be stopped
    /// are.
    ///
    /// Errors: `NotFound`.
    pub async fn job_mark_deleted(
        &self,
        key: &JobKey,
        deletion: Deletion,
        now: Timestamp,
        due_at: Timestamp,
    ) -> Result<Job> {
        // Read, then write if nothing came between: what another request asked for stays.
        for _ in 0..WRITES_MAX {
            if let Some(job) = self.job_try_mark_deleted(key, deletion, now, due_at).await? {
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
    ) -> Result<Option<Job>> {
        let Some(job) = self.job_get(key).await? else {
            return Err(Error::NotFound(format!("job `{}`", key.job)));
        };
        let wanted = match job.deletion {
            Some(known) => Deletion {
                stop_tasks: known.stop_tasks || deletion.stop_tasks,
                delete_logs: known.delete_logs || deletion.delete_logs,
            },
            None => deletion,
        };
        if job.deletion == Some(wanted) {
            return Ok(Some(job));
        }
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
        match self.conditional(update).await? {
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
            remove.push_str(", former");
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

    /// Takes the job out of the table, at the end of its deletion at `generation` under the lease
    /// `token`.
    pub async fn job_delete(&self, key: &JobKey, token: &str, generation: u64) -> Result<Settled> {
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("pk", text(pk(&key.team)))
            .key("sk", text(sk(key)))
            .condition_expression("lease_token = :token AND generation = :generation")
            .expression_attribute_values(":token", text(token))
            .expression_attribute_values(":generation", number(generation))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(Settled::Done),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(match &refused.item {
                        Some(item) if item.get("lease_token") == Some(&text(token)) => {
                            Settled::Changed
                        }
                        Some(_) => Settled::Lost,
                        // The SDK asks again where an answer was lost: the first did it.
                        None => Settled::Done,
                    })
                }
                _ => Err(Error::aws("dynamodb:DeleteItem", error)),
            },
        }
    }

    /// Shows `run` as the job's last one, unless a newer one or a newer state of it is shown.
    /// A job that is gone shows nothing.
    pub async fn job_show_run(&self, key: &JobKey, run: &LastRun) -> Result<()> {
        let update = self
            .job_update(key)
            .update_expression("SET last_run = :run")
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(last_run) OR last_run.#id < :id \
                 OR (last_run.#id = :id AND (last_run.stopped < :stopped \
                 OR (last_run.stopped = :stopped AND last_run.#version <= :version))))",
            )
            .expression_attribute_names("#id", "id")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":run", attribute(run)?)
            .expression_attribute_values(":id", text(run.id.as_str()))
            .expression_attribute_values(":stopped", number(run.stopped))
            .expression_attribute_values(":version", number(run.version));
        self.conditional(update).await.map(drop)
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
        let mut attempt = 0;
        loop {
            let error = match update.clone().send().await {
                Ok(answer) => {
                    return Ok(Conditional::Held(answer.attributes.unwrap_or_default()));
                }
                Err(error) => error,
            };
            attempt += 1;
            match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    let item = refused.item.clone().filter(|item| !item.is_empty());
                    return Ok(Conditional::Refused(item));
                }
                Some(UpdateItemError::TransactionConflictException(_))
                    if attempt < CONFLICTS_MAX =>
                {
                    pause(attempt).await;
                }
                _ => return Err(Error::aws("dynamodb:UpdateItem", error)),
            }
        }
    }
}

/// What came of a conditional update.
pub(super) enum Conditional {
    /// The item as it is now.
    Held(Item),
    /// The item as it stood in the way, if there is one.
    Refused(Option<Item>),
}
