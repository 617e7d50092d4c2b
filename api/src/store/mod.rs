//! Every access to the DynamoDB table.
//!
//! | item | `pk` | `sk` |
//! |---|---|---|
//! | team | `TEAMS` | its name |
//! | token | `TEAM#<team>` | `TOKEN#<id>` |
//! | job | `TEAM#<team>` | `JOB#<name>` |
//! | run | `RUNS#<team>#<job>` | the run's id |
//! | idempotency key | `IDEM#<team>` | its SHA-256 |
//! | audit entry | `AUDIT#<team>` | its id |
//! | bucket of a principal's requests | `RATE#<kind>#<id>` | `RATE` |
//! | keys of the OIDC provider | `OIDC` | SHA-256 of the issuer |
//!
//! Names hold no `#`. The sparse index `due` has an entry for each job that a reconcile must come
//! back to and each run whose end has not been seen, keyed by a shard and the time (epoch seconds)
//! at which it is due: a sweep costs what is due, not what exists.

mod audit;
mod cursor;
mod due;
mod idempotency;
mod jobs;
mod keys;
mod launches;
mod rates;
mod runs;
mod teams;
mod tokens;
mod transaction;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

pub use cursor::{decode as decode_cursor, encode as encode_cursor};
pub use due::{DUE_SHARDS, DueItem};
pub use idempotency::{KeyRecord, Keyed, Made};
pub use jobs::{Inserted, Insertion, Leased, Settled, Settlement};
pub use launches::{Requested, RunWith, Told};
pub use runs::{Applied, RunFilter};

type Item = HashMap<String, AttributeValue>;

/// The table.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    table: String,
}

/// One page of a list and, if there is more, the key of its last item.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub last: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` items: what was read beyond them only showed that there is more.
    fn cut(mut self, limit: usize, key: impl Fn(&T) -> &str) -> Page<T> {
        if self.items.len() > limit {
            self.items.truncate(limit);
            self.last = self.items.last().map(|item| key(item).to_owned());
        }
        self
    }
}

impl Store {
    pub fn new(client: Client, table: impl Into<String>) -> Store {
        Store { client, table: table.into() }
    }
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// `value` as an attribute.
fn attribute<T: Serialize>(value: &T) -> Result<AttributeValue> {
    serde_dynamo::to_attribute_value(value)
        .map_err(|error| Error::Internal(format!("a value can't be stored: {error}")))
}

fn from_attribute<T: DeserializeOwned>(value: AttributeValue) -> Result<T> {
    serde_dynamo::from_attribute_value(value)
        .map_err(|error| Error::Internal(format!("a value can't be read: {error}")))
}

fn to_item<T: Serialize>(value: &T) -> Result<Item> {
    serde_dynamo::to_item(value)
        .map_err(|error| Error::Internal(format!("an item can't be stored: {error}")))
}

fn from_item<T: DeserializeOwned>(item: Item) -> Result<T> {
    serde_dynamo::from_item(item)
        .map_err(|error| Error::Internal(format!("an item can't be read: {error}")))
}

fn string_of(item: &Item, name: &str) -> Result<String> {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .cloned()
        .ok_or_else(|| Error::Internal(format!("an item has no {name}")))
}

fn epoch(at: Timestamp) -> AttributeValue {
    number(at.as_second())
}
