//! The audit log in the table.
//!
//! An entry is put together with the change that it tells of, or alone where there is none. Nothing here
//! changes or deletes one, and the functions' roles may not.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

use super::idempotency::action;
use super::jobs::{Conditional, PAGE_BYTES, size_of};
use super::runs::PAGES_MAX;
use super::transaction::past_conflicts;
use super::{Item, Page, Store, attribute, from_item, string_of, text, to_item};
use crate::domain::audit::{AuditFilter, Entry};
use crate::domain::ids::TeamName;
use crate::error::{Error, Result};

/// An entry is put once.
const NEW: &str = "attribute_not_exists(pk)";

fn pk(team: &TeamName) -> String {
    format!("AUDIT#{team}")
}

fn audit_item(entry: &Entry) -> Result<Item> {
    let mut item = to_item(entry)?;
    item.insert("pk".to_owned(), text(pk(&entry.team)));
    item.insert("sk".to_owned(), text(&entry.id));
    Ok(item)
}

impl Store {
    /// Puts an entry that tells of no change in the table.
    pub async fn audit_put(&self, entry: &Entry) -> Result<()> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(audit_item(entry)?))
            .condition_expression(NEW);
        match past_conflicts(|| put.clone().send()).await {
            Ok(_) => Ok(()),
            // The SDK asks again where an answer was lost: nobody else makes an entry of this id.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(Error::aws("dynamodb:PutItem", error)),
        }
    }

    /// `actions`, and the one that writes the audit entry that tells of them.
    pub(super) fn audited(
        &self,
        mut actions: Vec<TransactWriteItem>,
        entry: Option<&Entry>,
    ) -> Result<Vec<TransactWriteItem>> {
        if let Some(entry) = entry {
            let put = Put::builder()
                .table_name(&self.table)
                .set_item(Some(audit_item(entry)?))
                .condition_expression(NEW);
            actions.push(TransactWriteItem::builder().put(action(put.build())?).build());
        }
        Ok(actions)
    }

    /// Sends a conditional update of `what`, as a message calls it, in one transaction with the audit entry
    /// that tells of it; alone where there is none.
    ///
    /// Errors: those of [`Store::transact`]; `NotFound` if the item is gone since.
    pub(super) async fn conditional_audited(
        &self,
        update: UpdateItemFluentBuilder,
        entry: Option<&Entry>,
        what: &str,
    ) -> Result<Conditional> {
        let Some(entry) = entry else {
            return self.conditional(update).await;
        };
        let key = update.get_key().clone();
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(key.clone())
            .set_update_expression(update.get_update_expression().clone())
            .set_condition_expression(update.get_condition_expression().clone())
            .set_expression_attribute_names(update.get_expression_attribute_names().clone())
            .set_expression_attribute_values(update.get_expression_attribute_values().clone())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let update = TransactWriteItem::builder().update(action(update.build())?).build();
        let actions = self.audited(vec![update], Some(entry))?;
        if let Some(refused) = self.transact_told(what, actions).await? {
            return match refused.into_iter().next().filter(|update| update.condition) {
                Some(update) => Ok(Conditional::Refused(update.item)),
                None => Err(Error::Internal(format!("there is an audit entry `{}`", entry.id))),
            };
        }
        // A transaction answers with no item.
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(key)
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::aws("dynamodb:GetItem", error))?;
        answer.item.map(Conditional::Held).ok_or_else(|| Error::NotFound(what.to_owned()))
    }

    /// The entries of a team that `filter` wants, newest first, those behind the id `after` only.
    ///
    /// The page can hold fewer than `limit`, even none, and still not be the last one: an answer has at
    /// most [`PAGE_BYTES`], and a filter that lets little through is applied to some pages of the table
    /// only.
    pub async fn audit_list(
        &self,
        team: &TeamName,
        filter: &AuditFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Entry>> {
        let pages = if filter.is_of_time_only() { 1 } else { PAGES_MAX };
        let mut items: Vec<Entry> = Vec::new();
        let mut last = after.map(str::to_owned);
        let mut bytes = 0;
        for _ in 0..pages {
            let page = self.audit_page(team, filter, last.as_deref(), limit + 1).await?;
            last = page.last;
            for item in page.items {
                bytes += size_of(&item);
                if items.len() == limit || (bytes > PAGE_BYTES && !items.is_empty()) {
                    let last = items.last().map(|entry| entry.id.clone());
                    return Ok(Page { items, last });
                }
                items.push(from_item(item)?);
            }
            if last.is_none() || items.len() == limit {
                break;
            }
        }
        Ok(Page { items, last })
    }

    async fn audit_page(
        &self,
        team: &TeamName,
        filter: &AuditFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Item>> {
        let (first, last) = filter.bounds();
        let mut conditions = Vec::new();
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":pk", text(pk(team)))
            .expression_attribute_values(":first", text(first))
            .expression_attribute_values(":last", text(last))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(|id| {
                Item::from([("pk".to_owned(), text(pk(team))), ("sk".to_owned(), text(id))])
            }));
        if let Some(job) = &filter.job {
            conditions.push("#target.#job = :job");
            query = query
                .expression_attribute_names("#target", "target")
                .expression_attribute_names("#job", "job")
                .expression_attribute_values(":job", text(job.as_str()));
        }
        if let Some(operation) = &filter.operation {
            conditions.push("#author.#operation = :operation");
            query = query
                .expression_attribute_names("#operation", "operation")
                .expression_attribute_values(":operation", text(operation));
        }
        if let Some(principal) = &filter.principal {
            conditions.push("#author.#id = :principal");
            query = query
                .expression_attribute_names("#id", "id")
                .expression_attribute_values(":principal", text(principal));
        }
        if let Some(outcome) = filter.outcome {
            conditions.push("#outcome = :outcome");
            query = query
                .expression_attribute_names("#outcome", "outcome")
                .expression_attribute_values(":outcome", attribute(&outcome)?);
        }
        // What is given and not used is an error to DynamoDB.
        if filter.operation.is_some() || filter.principal.is_some() {
            query = query.expression_attribute_names("#author", "author");
        }
        if !conditions.is_empty() {
            query = query.filter_expression(conditions.join(" AND "));
        }
        let page = query.send().await.map_err(|error| Error::aws("dynamodb:Query", error))?;
        let last = page.last_evaluated_key().map(|key| string_of(key, "sk")).transpose()?;
        Ok(Page { items: page.items.unwrap_or_default(), last })
    }
}
