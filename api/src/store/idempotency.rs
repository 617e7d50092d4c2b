//! The idempotency keys in the table: what a request with a key made, and what was answered.
//!
//! A key's record is written together with what it guards, so that there is never one without the
//! other. DynamoDB takes expired items away within days: one that has expired counts as gone.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::jobs::Conditional;
use super::{Store, epoch, from_item, number, text, to_item};
use crate::domain::ids::{JobName, RunId, TeamName};
use crate::error::{Error, Result};

/// An idempotency key of a team, by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    pub team: TeamName,
    /// SHA-256 of the key, in hexadecimal digits.
    pub hash: String,
}

/// What is kept of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Tells the request: the same key with another one is a mistake.
    pub fingerprint: String,
    /// Epoch seconds until which somebody works at the request; `None` once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<i64>,
    /// The job that was made, or of which a run was.
    pub job: JobName,
    pub made: Made,
    /// What was answered, as the HTTP layer wrote it down; `None` while it is not, and where it is
    /// too large to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Epoch seconds.
    pub expires_at: i64,
}

/// What a request with a key made, by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    Job(String),
    Run(RunId),
}

impl Keyed {
    fn pk(&self) -> String {
        format!("IDEM#{}", self.team)
    }

    /// The action of a transaction that writes `record`, if there is none for the key or one that
    /// has expired.
    pub(super) fn put(
        &self,
        table: &str,
        record: &KeyRecord,
        now: Timestamp,
    ) -> Result<TransactWriteItem> {
        let mut item = to_item(record)?;
        item.insert("pk".to_owned(), text(self.pk()));
        item.insert("sk".to_owned(), text(&self.hash));
        let put = Put::builder()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
            .expression_attribute_values(":now", epoch(now));
        action(put.build()).map(|put| TransactWriteItem::builder().put(put).build())
    }
}

/// What the SDK's builders answer: they fail only where something is missing.
pub(super) fn action<T>(
    built: std::result::Result<T, aws_smithy_types::error::operation::BuildError>,
) -> Result<T> {
    built.map_err(|error| Error::Internal(error.to_string()))
}

impl Store {
    /// What is kept of `key` at `now`.
    pub async fn key_get(&self, key: &Keyed, now: Timestamp) -> Result<Option<KeyRecord>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(key.pk()))
            .key("sk", text(&key.hash))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::aws("dynamodb:GetItem", error))?;
        let record: Option<KeyRecord> = answer.item.map(from_item).transpose()?;
        Ok(record.filter(|record| record.expires_at > now.as_second()))
    }

    /// Takes over the work that `record` says nobody is at any more, until `until`. `false` if
    /// somebody else was quicker.
    pub async fn key_take_over(
        &self,
        key: &Keyed,
        record: &KeyRecord,
        until: Timestamp,
    ) -> Result<bool> {
        let update = self
            .key_update(key)
            .update_expression("SET locked_until = :until")
            .condition_expression("fingerprint = :fingerprint AND locked_until = :known")
            .expression_attribute_values(":until", epoch(until))
            .expression_attribute_values(":fingerprint", text(&record.fingerprint))
            .expression_attribute_values(":known", number(record.locked_until.unwrap_or_default()));
        Ok(matches!(self.conditional(update).await?, Conditional::Held(_)))
    }

    /// Keeps what was answered to the request `fingerprint`; the first answer stays.
    pub async fn key_answer(
        &self,
        key: &Keyed,
        fingerprint: &str,
        answer: Option<String>,
    ) -> Result<()> {
        let mut update = self
            .key_update(key)
            .condition_expression("fingerprint = :fingerprint AND attribute_exists(locked_until)")
            .expression_attribute_values(":fingerprint", text(fingerprint));
        update = match answer {
            Some(answer) => update
                .update_expression("SET answer = :answer REMOVE locked_until")
                .expression_attribute_values(":answer", text(answer)),
            None => update.update_expression("REMOVE locked_until"),
        };
        self.conditional(update).await.map(drop)
    }

    fn key_update(&self, key: &Keyed) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(key.pk()))
            .key("sk", text(&key.hash))
    }
}
