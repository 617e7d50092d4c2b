//! The index of what the sweeper has to come back to.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{Item, Store, epoch, string_of, text};
use crate::domain::ids::{JobKey, JobName, RunId, TeamName};
use crate::error::{Error, Result};

/// Into so many partitions the index is spread: DynamoDB takes 1,000 writes a second for each.
pub const DUE_SHARDS: u8 = 4;
const INDEX: &str = "due";

/// Something whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DueItem {
    /// A job to reconcile.
    Job(JobKey),
    /// A run whose end has not been seen.
    Run(JobKey, RunId),
}

/// The attributes that enter an item into the index.
pub(super) fn due_attributes(pk: &str, sk: &str, at: Timestamp) -> [(String, AttributeValue); 2] {
    [("due_shard".to_owned(), text(shard_of(pk, sk))), ("due_at".to_owned(), epoch(at))]
}

/// The shard of an item, the same whenever it is asked.
pub(super) fn shard_of(pk: &str, sk: &str) -> String {
    // Unlike a RandomState's, its keys are constant.
    let mut hasher = DefaultHasher::new();
    (pk, sk).hash(&mut hasher);
    shard_name((hasher.finish() % u64::from(DUE_SHARDS)) as u8)
}

fn shard_name(shard: u8) -> String {
    format!("DUE#{shard}")
}

impl Store {
    /// What is due at `now` in the shard `shard` (below [`DUE_SHARDS`]), the longest due first,
    /// `limit` at most.
    pub async fn due(&self, shard: u8, now: Timestamp, limit: i32) -> Result<Vec<DueItem>> {
        let page = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(INDEX)
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", text(shard_name(shard)))
            .expression_attribute_values(":now", epoch(now))
            .limit(limit)
            .send()
            .await
            .map_err(|error| Error::aws("dynamodb:Query", error))?;
        let items = page.items().iter().filter_map(|item| match read_due(item) {
            Ok(due) => Some(due),
            // One entry that can't be read must not keep the sweep from all others.
            Err(error) => {
                tracing::error!(%error, "an entry of the index is passed over");
                None
            }
        });
        Ok(items.collect())
    }
}

fn read_due(item: &Item) -> Result<DueItem> {
    let pk = string_of(item, "pk")?;
    let sk = string_of(item, "sk")?;
    let parsed = match pk.split('#').collect::<Vec<_>>()[..] {
        ["TEAM", team] => {
            sk.strip_prefix("JOB#").and_then(|job| job_key(team, job)).map(DueItem::Job)
        }
        ["RUNS", team, job] => {
            job_key(team, job).zip(RunId::parse(&sk)).map(|(key, run)| DueItem::Run(key, run))
        }
        _ => None,
    };
    parsed.ok_or_else(|| Error::Internal(format!("the index `due` names {pk} {sk}")))
}

fn job_key(team: &str, job: &str) -> Option<JobKey> {
    Some(JobKey::new(TeamName::parse(team).ok()?, JobName::parse(job).ok()?))
}
