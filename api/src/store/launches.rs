//! Runs that Cronplane starts, and that have no task yet.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use jiff::Timestamp;

use super::due::{due_attributes, shard_of};
use super::idempotency::action;
use super::jobs::{Conditional, job_stays, job_words};
use super::runs::pk;
use super::transaction::Transacted;
use super::{Item, KeyRecord, Keyed, Store, attribute, epoch, from_item, number, text, to_item};
use crate::domain::audit::Entry;
use crate::domain::ids::{JobKey, RunId};
use crate::domain::run::{Run, RunStatus, StopRequest};
use crate::error::Result;

/// What is written together with a run that was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunWith<'a> {
    /// The record of the idempotency key with which it was asked for.
    pub keyed: Option<(&'a Keyed, &'a KeyRecord)>,
    /// The audit entry that tells of it.
    pub entry: Option<&'a Entry>,
}

/// What came of writing a run that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested {
    Written,
    /// There is a record of the idempotency key by now.
    KeyKnown,
    /// The run was written before.
    RunKnown,
    /// The job is gone, on its way out, or another one of its name.
    JobGone,
}

/// What came of taking a task's state into the run that it says to be of.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The run as it is now.
    Written(Box<Run>),
    /// The run, of which this was no news.
    Known(Box<Run>),
    /// The task is not that run's: there is no such run, or it has another task.
    NotIts,
}

/// What stays as it is when a task's state is taken in: it is the run's, not the task's.
const OWN: [&str; 5] = ["id", "trigger", "scheduled_time", "created_at", "stop_requested"];

/// That the run still waits for its task.
const WAITING: &str = "#status = :pending AND attribute_not_exists(task_arn)";

impl Store {
    /// Writes a run that was asked for, kept until `expires_at` and, unless it has ended, due at `due_at`
    /// should its maker die; only if the job `job_id` is there and stays, and together with the record of
    /// the key with which it was asked for and the audit entry that tells of it.
    pub async fn run_request(
        &self,
        key: &JobKey,
        run: &Run,
        job_id: &str,
        expires_at: Timestamp,
        due_at: Timestamp,
        with: &RunWith<'_>,
    ) -> Result<Requested> {
        let mut item = to_item(run)?;
        if !run.status.is_final() {
            item.extend(due_attributes(&pk(key), run.id.as_str(), due_at));
        }
        item.insert("pk".to_owned(), text(pk(key)));
        item.insert("sk".to_owned(), text(run.id.as_str()));
        item.insert("expires_at".to_owned(), epoch(expires_at));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)");
        let put = action(put.build())?;
        let mut actions = vec![
            job_stays(&self.table, key, job_id)?,
            TransactWriteItem::builder().put(put).build(),
        ];
        if let Some((keyed, record)) = with.keyed {
            actions.push(keyed.put(&self.table, record, run.created_at)?);
        }
        let actions = self.audited(actions, with.entry)?;
        Ok(match self.transact(&job_words(&key.job), actions).await? {
            Transacted::Done => Requested::Written,
            // Where the key is known, what became of the job since is none of this request's business.
            Transacted::Refused(refused)
                if with.keyed.is_some() && refused.get(2) == Some(&true) =>
            {
                Requested::KeyKnown
            }
            Transacted::Refused(refused) if refused.first() == Some(&true) => Requested::JobGone,
            Transacted::Refused(_) => Requested::RunKnown,
        })
    }

    /// Takes a state of a task into the run that the task says to be of, if that is one that Cronplane
    /// starts and has this task or none. What made it start, and when, stays; until its end is seen it is
    /// due again at `due_at`.
    pub async fn run_tell(&self, key: &JobKey, told: &Run, due_at: Timestamp) -> Result<Told> {
        let mut item = to_item(told)?;
        // Of the run itself, not of the task.
        for own in OWN {
            item.remove(own);
        }
        let mut update = self.run_update(key, &told.id);
        let mut gone = Vec::new();
        for name in Run::OPTIONAL {
            if !OWN.contains(&name) && !item.contains_key(name) {
                gone.push(format!("#{name}"));
                update = update.expression_attribute_names(format!("#{name}"), name);
            }
        }
        if told.status.is_final() {
            gone.extend(["due_shard".to_owned(), "due_at".to_owned()]);
        } else {
            item.extend(due_attributes(&pk(key), told.id.as_str(), due_at));
        }
        let mut set = Vec::new();
        for (name, value) in item {
            set.push(format!("#{name} = :{name}"));
            update = update
                .expression_attribute_names(format!("#{name}"), &name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        let update = update
            .update_expression(format!("SET {} REMOVE {}", set.join(", "), gone.join(", ")))
            .condition_expression(
                "attribute_exists(pk) AND #started_by = :started_by \
                 AND (attribute_not_exists(#task_arn) OR #task_arn = :task_arn) \
                 AND (#stopped < :stopped OR (#stopped = :stopped AND #version < :version))",
            );
        match self.conditional(update).await? {
            Conditional::Held(item) => Ok(Told::Written(Box::new(from_item(item)?))),
            Conditional::Refused(None) => Ok(Told::NotIts),
            Conditional::Refused(Some(item)) => {
                let found: Run = from_item(item)?;
                Ok(if found.started_by == told.started_by && found.task_arn == told.task_arn {
                    Told::Known(Box::new(found))
                } else {
                    Told::NotIts
                })
            }
        }
    }

    /// Takes the launch of `run` until `until`, if nobody set about it since `run` was read: the run
    /// as it is now.
    pub async fn run_claim(
        &self,
        key: &JobKey,
        run: &Run,
        until: Timestamp,
    ) -> Result<Option<Run>> {
        let attempts = run.launch.as_ref().map_or(0, |launch| launch.attempts);
        let update = self
            .run_update(key, &run.id)
            .update_expression(
                "SET launch.attempts = :next, launch.#until = :until, due_shard = :shard, \
                 due_at = :due_at",
            )
            .condition_expression(format!("{WAITING} AND launch.attempts = :known"))
            .expression_attribute_names("#until", "until")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", attribute(&RunStatus::Pending)?)
            .expression_attribute_values(":known", number(attempts))
            .expression_attribute_values(":next", number(attempts.saturating_add(1)))
            .expression_attribute_values(":until", attribute(&until)?)
            .expression_attribute_values(":shard", text(shard_of(&pk(key), run.id.as_str())))
            .expression_attribute_values(":due_at", epoch(until));
        self.held(update).await
    }

    /// Gives the launch of `run` back, to be tried again at `again`; `reason` says why it has not
    /// started. `None` if somebody else set about it since, or it has its task.
    pub async fn run_put_off(
        &self,
        key: &JobKey,
        run: &Run,
        reason: &str,
        again: Timestamp,
    ) -> Result<Option<Run>> {
        let attempts = run.launch.as_ref().map_or(0, |launch| launch.attempts);
        let update = self
            .run_update(key, &run.id)
            .update_expression(
                "SET stopped_reason = :reason, launch.#until = :again, due_at = :due_at",
            )
            .condition_expression(format!("{WAITING} AND launch.attempts = :known"))
            .expression_attribute_names("#until", "until")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", attribute(&RunStatus::Pending)?)
            .expression_attribute_values(":known", number(attempts))
            .expression_attribute_values(":reason", text(reason))
            .expression_attribute_values(":again", attribute(&again)?)
            .expression_attribute_values(":due_at", epoch(again));
        self.held(update).await
    }

    /// Notes that from now on the task of `run` is started on demand only. `None` if somebody else set
    /// about it since, or it has its task.
    pub async fn run_fall_back(&self, key: &JobKey, run: &Run) -> Result<Option<Run>> {
        let attempts = run.launch.as_ref().map_or(0, |launch| launch.attempts);
        let update = self
            .run_update(key, &run.id)
            .update_expression("SET launch.fell_back = :yes")
            .condition_expression(format!("{WAITING} AND launch.attempts = :known"))
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", attribute(&RunStatus::Pending)?)
            .expression_attribute_values(":known", number(attempts))
            .expression_attribute_values(":yes", attribute(&true)?);
        self.held(update).await
    }

    /// Ends a run that has no task. The word of a task that comes all the same still counts: the run
    /// is not marked stopped. `None` if it has a task or has ended.
    pub async fn run_end(
        &self,
        key: &JobKey,
        id: &RunId,
        status: RunStatus,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Run>> {
        let update = self
            .run_update(key, id)
            .update_expression(
                "SET #status = :status, stopped_reason = :reason, stopped_at = :now \
                 REMOVE due_shard, due_at, launch",
            )
            .condition_expression(WAITING)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", attribute(&RunStatus::Pending)?)
            .expression_attribute_values(":status", attribute(&status)?)
            .expression_attribute_values(":reason", text(reason))
            .expression_attribute_values(":now", attribute(&now)?);
        self.held(update).await
    }

    /// Marks a run as to be stopped, and due at `due_at`: the run as it is now; `None` if it has ended.
    /// The first reason stays. With the audit entry that tells of it, `None` also if it is marked already.
    pub async fn run_request_stop(
        &self,
        key: &JobKey,
        id: &RunId,
        stop: &StopRequest,
        due_at: Timestamp,
        entry: Option<&Entry>,
    ) -> Result<Option<Run>> {
        let mut condition = "(#status = :pending OR #status = :running)".to_owned();
        if entry.is_some() {
            condition.push_str(" AND attribute_not_exists(stop_requested)");
        }
        let update = self
            .run_update(key, id)
            .update_expression(
                "SET stop_requested = if_not_exists(stop_requested, :stop), due_at = :due_at",
            )
            .condition_expression(condition)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", attribute(&RunStatus::Pending)?)
            .expression_attribute_values(":running", attribute(&RunStatus::Running)?)
            .expression_attribute_values(":stop", attribute(stop)?)
            .expression_attribute_values(":due_at", epoch(due_at));
        match self.conditional_audited(update, entry, &format!("run `{id}`")).await? {
            Conditional::Held(item) => from_item(item).map(Some),
            Conditional::Refused(_) => Ok(None),
        }
    }

    /// Takes `stop` back, which can't be carried out, and writes the audit entry that tells of it. One that
    /// is not there any more needs nothing.
    pub async fn run_withdraw_stop(
        &self,
        key: &JobKey,
        id: &RunId,
        stop: &StopRequest,
        entry: Option<&Entry>,
    ) -> Result<()> {
        let update = self
            .run_update(key, id)
            .update_expression("REMOVE stop_requested")
            .condition_expression("stop_requested = :stop")
            .expression_attribute_values(":stop", attribute(stop)?);
        let withdrawn = self.conditional_audited(update, entry, &format!("run `{id}`")).await?;
        match (withdrawn, entry) {
            // Somebody else's stop stands there by now; that this one was refused is told all the same.
            (Conditional::Refused(_), Some(entry)) => self.audit_put(entry).await,
            _ => Ok(()),
        }
    }

    /// How many runs of the job, asked for at `since` or after, wait for their task.
    pub async fn runs_waiting(&self, key: &JobKey, since: Timestamp) -> Result<usize> {
        let mut waiting = 0;
        let mut start: Option<Item> = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk AND sk >= :since")
                .filter_expression(WAITING)
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":pending", attribute(&RunStatus::Pending)?)
                .expression_attribute_values(":pk", text(pk(key)))
                .expression_attribute_values(":since", text(RunId::second(since)))
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| crate::error::Error::aws("dynamodb:Query", error))?;
            waiting += page.items().len();
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(waiting);
            }
        }
    }

    async fn held(&self, update: UpdateItemFluentBuilder) -> Result<Option<Run>> {
        match self.conditional(update).await? {
            Conditional::Held(item) => from_item(item).map(Some),
            Conditional::Refused(_) => Ok(None),
        }
    }

    pub(super) fn run_update(&self, key: &JobKey, id: &RunId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(pk(key)))
            .key("sk", text(id.as_str()))
    }
}
