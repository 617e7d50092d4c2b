//! The runs in the table.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValue;
use jiff::Timestamp;

use super::due::due_attributes;
use super::transaction::past_conflicts;
use super::{
    Item, Page, Store, attribute, epoch, from_attribute, from_item, number, string_of, text,
    to_item,
};
use crate::domain::ids::{JobKey, RunId};
use crate::domain::run::{Run, RunStatus, StopRequest, Trigger};
use crate::error::{Error, Result};

/// Pages read for one request at most: a filter that lets little through must not make a request
/// read a whole history.
pub(super) const PAGES_MAX: usize = 8;

/// Whether a state of a run was news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// With the stop that was noted in the state before, which this one has not.
    Written(Option<StopRequest>),
    /// The table holds this state or a later one, or the job and all its runs are gone.
    Ignored,
}

/// Which runs of a job are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFilter {
    pub status: Option<RunStatus>,
    pub trigger: Option<Trigger>,
    pub task_arn: Option<String>,
    /// Created in this second or after.
    pub from: Option<Timestamp>,
    /// Created in this second or before.
    pub to: Option<Timestamp>,
}

pub(super) fn pk(key: &JobKey) -> String {
    format!("RUNS#{}#{}", key.team, key.job)
}

impl Store {
    /// Writes `run` unless the table holds the same or better evidence. Kept until `expires_at`;
    /// until its end is seen it is due again at `due_at`.
    ///
    /// With `only_known` it is written only over an earlier state: of a job that is gone, runs are
    /// brought to their end but none is begun.
    pub async fn run_apply(
        &self,
        key: &JobKey,
        run: &Run,
        expires_at: Timestamp,
        due_at: Timestamp,
        only_known: bool,
    ) -> Result<Applied> {
        let pk = pk(key);
        let mut item = to_item(run)?;
        if !run.status.is_final() {
            item.extend(due_attributes(&pk, run.id.as_str(), due_at));
        }
        item.insert("pk".to_owned(), text(pk));
        item.insert("sk".to_owned(), text(run.id.as_str()));
        item.insert("expires_at".to_owned(), epoch(expires_at));
        let newer = "stopped < :stopped OR (stopped = :stopped AND #version < :version)";
        let condition = if only_known {
            format!("attribute_exists(pk) AND ({newer})")
        } else {
            format!("attribute_not_exists(pk) OR {newer}")
        };
        let (stopped, version) = run.evidence();
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(condition)
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":stopped", number(stopped))
            .expression_attribute_values(":version", number(version))
            .return_values(ReturnValue::AllOld);
        let put = past_conflicts(|| put.clone().send()).await;
        match put {
            Ok(answer) => {
                let noted = answer.attributes.and_then(|mut old| old.remove("stop_requested"));
                Ok(Applied::Written(noted.map(from_attribute).transpose()?))
            }
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(Applied::Ignored),
                _ => Err(Error::aws("dynamodb:PutItem", error)),
            },
        }
    }

    /// The run, as of now: whoever was told of a run finds it.
    pub async fn run_get(&self, key: &JobKey, id: &RunId) -> Result<Option<Run>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(pk(key)))
            .key("sk", text(id.as_str()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::aws("dynamodb:GetItem", error))?;
        answer.item.map(from_item).transpose()
    }

    /// The runs of a job, newest first, those behind the id `after` only. The page can hold fewer
    /// than `limit`, even none, and still not be the last one.
    pub async fn run_list(
        &self,
        key: &JobKey,
        filter: &RunFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Run>> {
        let mut items = Vec::new();
        let mut last = after.map(str::to_owned);
        for _ in 0..PAGES_MAX {
            let page = self.run_page(key, filter, last.as_deref(), limit + 1).await?;
            last = page.last;
            items.extend(page.items);
            if items.len() > limit || last.is_none() {
                break;
            }
        }
        Ok(Page { items, last }.cut(limit, |run: &Run| run.id.as_str()))
    }

    async fn run_page(
        &self,
        key: &JobKey,
        filter: &RunFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Run>> {
        let from = filter.from.map(RunId::second).unwrap_or_else(|| "0".to_owned());
        // Behind every id of its second: `~` comes after every character of an id.
        let to = filter.to.map_or_else(|| "~".to_owned(), |to| RunId::second(to) + "~");
        let mut conditions = Vec::new();
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(pk(key)))
            .expression_attribute_values(":from", text(from))
            .expression_attribute_values(":to", text(to))
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(|id| {
                Item::from([("pk".to_owned(), text(pk(key))), ("sk".to_owned(), text(id))])
            }));
        if let Some(status) = filter.status {
            conditions.push("#status = :status");
            query = query
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":status", attribute(&status)?);
        }
        if let Some(trigger) = filter.trigger {
            conditions.push("#trigger = :trigger");
            query = query
                .expression_attribute_names("#trigger", "trigger")
                .expression_attribute_values(":trigger", attribute(&trigger)?);
        }
        if let Some(arn) = &filter.task_arn {
            conditions.push("task_arn = :task_arn");
            query = query.expression_attribute_values(":task_arn", text(arn));
        }
        if !conditions.is_empty() {
            query = query.filter_expression(conditions.join(" AND "));
        }
        let page = query.send().await.map_err(|error| Error::aws("dynamodb:Query", error))?;
        let last = page.last_evaluated_key().map(|key| string_of(key, "sk")).transpose()?;
        let items: Result<Vec<Run>> =
            page.items.unwrap_or_default().into_iter().map(from_item).collect();
        Ok(Page { items: items?, last })
    }

    /// Closes a run of which ECS knows nothing any more. The last word of a late event still
    /// counts: the run is not marked stopped.
    pub async fn run_close_unknown(&self, key: &JobKey, run: &Run, reason: &str) -> Result<()> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(pk(key)))
            .key("sk", text(run.id.as_str()))
            .update_expression(
                "SET #status = :status, stopped_reason = :reason \
                 REMOVE due_shard, due_at, launch",
            )
            .condition_expression("stopped = :stopped AND #version = :version")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":status", attribute(&RunStatus::Unknown)?)
            .expression_attribute_values(":reason", text(reason))
            .expression_attribute_values(":stopped", number(run.stopped))
            .expression_attribute_values(":version", number(run.version));
        self.conditional(update).await.map(drop)
    }

    /// Puts the next look at a run to `due_at`, as it still goes on or could not be settled.
    pub async fn run_postpone(&self, key: &JobKey, id: &RunId, due_at: Timestamp) -> Result<()> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(pk(key)))
            .key("sk", text(id.as_str()))
            .update_expression("SET due_at = :due_at")
            .condition_expression("attribute_exists(due_at)")
            .expression_attribute_values(":due_at", epoch(due_at));
        self.conditional(update).await.map(drop)
    }
}
