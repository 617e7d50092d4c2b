//! The teams in the table.

use aws_sdk_dynamodb::types::{ConditionCheck, Delete, Put, TransactWriteItem, Update};

use super::idempotency::action;
use super::transaction::Transacted;
use super::{Item, Page, Store, attribute, from_item, number, string_of, text, to_item};
use crate::domain::audit::Entry;
use crate::domain::ids::TeamName;
use crate::domain::team::Team;
use crate::error::{Error, Result};

const PK: &str = "TEAMS";

fn key_of(team: &TeamName) -> Item {
    Item::from([("pk".to_owned(), text(PK)), ("sk".to_owned(), text(team.as_str()))])
}

/// The action of a transaction that counts one job more, if the team is there and has fewer than
/// `max`.
pub(super) fn one_job_more(
    table: &str,
    team: &TeamName,
    max: Option<u32>,
) -> Result<TransactWriteItem> {
    let mut update = Update::builder()
        .table_name(table)
        .set_key(Some(key_of(team)))
        .update_expression("SET jobs = jobs + :one")
        .expression_attribute_values(":one", number(1));
    update = match max {
        Some(max) => update
            .condition_expression("attribute_exists(pk) AND jobs < :max")
            .expression_attribute_values(":max", number(max)),
        None => update.condition_expression("attribute_exists(pk)"),
    };
    action(update.build()).map(|update| TransactWriteItem::builder().update(update).build())
}

/// The action of a transaction that counts one job less. A job that was there before its team is not
/// among those that were counted: there is none less then.
pub(super) fn one_job_less(table: &str, team: &TeamName) -> Result<TransactWriteItem> {
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(key_of(team)))
        .update_expression("SET jobs = jobs - :one")
        .condition_expression("jobs >= :one")
        .expression_attribute_values(":one", number(1));
    action(update.build()).map(|update| TransactWriteItem::builder().update(update).build())
}

/// The action of a transaction that checks that the team `id` of this name is there.
pub(super) fn team_stays(table: &str, team: &TeamName, id: &str) -> Result<TransactWriteItem> {
    let check = ConditionCheck::builder()
        .table_name(table)
        .set_key(Some(key_of(team)))
        .condition_expression("#id = :id")
        .expression_attribute_names("#id", "id")
        .expression_attribute_values(":id", text(id));
    let check = action(check.build())?;
    Ok(TransactWriteItem::builder().condition_check(check).build())
}

impl Store {
    /// The team, as of now.
    pub async fn team_get(&self, team: &TeamName) -> Result<Option<Team>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key_of(team)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::aws("dynamodb:GetItem", error))?;
        answer.item.map(from_item).transpose()
    }

    /// The teams by name, those behind the name `after` only.
    pub async fn team_list(&self, after: Option<&str>, limit: usize) -> Result<Page<Team>> {
        let page = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(PK))
            .set_exclusive_start_key(after.map(|name| {
                Item::from([("pk".to_owned(), text(PK)), ("sk".to_owned(), text(name))])
            }))
            .consistent_read(true)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| Error::aws("dynamodb:Query", error))?;
        let last = page.last_evaluated_key().map(|key| string_of(key, "sk")).transpose()?;
        let items = page.items.unwrap_or_default().into_iter().map(from_item);
        let page = Page { items: items.collect::<Result<Vec<Team>>>()?, last };
        Ok(page.cut(limit, |team| team.name.as_str()))
    }

    /// Inserts a team that must not exist yet, and the audit entry that tells of it.
    ///
    /// Errors: `AlreadyExists`.
    pub async fn team_insert(&self, team: &Team, entry: Option<&Entry>) -> Result<()> {
        let mut item = to_item(team)?;
        item.extend(key_of(&team.name));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)");
        let put = TransactWriteItem::builder().put(action(put.build())?).build();
        match self.transact(&team_words(&team.name), self.audited(vec![put], entry)?).await? {
            Transacted::Done => Ok(()),
            Transacted::Refused(_) => match self.team_get(&team.name).await? {
                // Its answer was lost, and the call made once more: then it is this very team.
                Some(known) if known.id == team.id => Ok(()),
                _ => Err(Error::AlreadyExists(team_words(&team.name))),
            },
        }
    }

    /// Writes the definition of `next` if the team still is what `known` says; `false` if it was changed
    /// between. The number of its jobs stays.
    pub async fn team_redefine(
        &self,
        known: &Team,
        next: &Team,
        entry: Option<&Entry>,
    ) -> Result<bool> {
        let definition = &next.definition;
        let mut set = vec![
            "defaults = :defaults",
            "guardrails = :guardrails",
            "quotas = :quotas",
            "version = :next",
            "updated_at = :updated_at",
        ];
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key_of(&next.name)))
            .condition_expression("#id = :id AND version = :known")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":id", text(&known.id))
            .expression_attribute_values(":known", number(known.version))
            .expression_attribute_values(":next", number(next.version))
            .expression_attribute_values(":defaults", attribute(&definition.defaults)?)
            .expression_attribute_values(":guardrails", attribute(&definition.guardrails)?)
            .expression_attribute_values(":quotas", attribute(&definition.quotas)?)
            .expression_attribute_values(":updated_at", attribute(&next.updated_at)?);
        let remove = match &definition.display_name {
            Some(name) => {
                set.push("display_name = :display_name");
                update = update.expression_attribute_values(":display_name", text(name));
                ""
            }
            None => " REMOVE display_name",
        };
        let update = update.update_expression(format!("SET {}{remove}", set.join(", ")));
        let update = TransactWriteItem::builder().update(action(update.build())?).build();
        let actions = self.audited(vec![update], entry)?;
        match self.transact(&team_words(&next.name), actions).await? {
            Transacted::Done => Ok(true),
            Transacted::Refused(_) => {
                // Its answer was lost, and the call made once more: then it is this very change.
                let found = self.team_get(&next.name).await?;
                Ok(found.is_some_and(|found| Team { jobs: next.jobs, ..found } == *next))
            }
        }
    }

    /// Deletes a team that still is what `known` says; `false` if it is not that any more, or has another
    /// number of jobs. That it has none is for the caller to know.
    pub async fn team_delete(&self, known: &Team, entry: Option<&Entry>) -> Result<bool> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(key_of(&known.name)))
            .condition_expression("#id = :id AND version = :version AND jobs = :jobs")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":id", text(&known.id))
            .expression_attribute_values(":version", number(known.version))
            .expression_attribute_values(":jobs", number(known.jobs));
        let delete = TransactWriteItem::builder().delete(action(delete.build())?).build();
        let actions = self.audited(vec![delete], entry)?;
        match self.transact(&team_words(&known.name), actions).await? {
            Transacted::Done => Ok(true),
            Transacted::Refused(_) => Ok(false),
        }
    }
}

/// How a team is called in a message.
pub(super) fn team_words(team: &TeamName) -> String {
    format!("team `{team}`")
}
