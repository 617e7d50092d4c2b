//! Several items written at once, or none of them.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::TransactWriteItem;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use tokio::time::sleep;

use super::Store;
use crate::error::{AwsFault, Error, FaultKind, Result};

/// Times that a write is tried against transactions of others on the same item.
pub(super) const CONFLICTS_MAX: u32 = 5;
const OPERATION: &str = "dynamodb:TransactWriteItems";
const CONDITION: &str = "ConditionalCheckFailed";
const CONFLICT: &str = "TransactionConflict";

/// What came of a transaction.
#[derive(Debug)]
pub(super) enum Transacted {
    Done,
    /// Nothing was written; of each action whether its condition did not hold.
    Refused(Vec<bool>),
}

/// Before a write is tried once more that another's transaction was in the way of.
pub(super) async fn pause(attempt: u32) {
    sleep(Duration::from_millis(20) * 2_u32.pow(attempt.min(5))).await;
}

impl Store {
    /// Carries out `actions`, on different items each.
    ///
    /// Where the answer of a call is lost the SDK asks again with the same token: DynamoDB then
    /// answers what came of the first one.
    pub(super) async fn transact(&self, actions: Vec<TransactWriteItem>) -> Result<Transacted> {
        for attempt in 0..CONFLICTS_MAX {
            let answer = self
                .client
                .transact_write_items()
                .set_transact_items(Some(actions.clone()))
                .send()
                .await;
            let error = match answer {
                Ok(_) => return Ok(Transacted::Done),
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    if let Some(refused) = refused(cancelled)? {
                        return Ok(Transacted::Refused(refused));
                    }
                    pause(attempt).await;
                }
                _ => return Err(Error::aws(OPERATION, error)),
            }
        }
        Err(Error::Busy("this".to_owned()))
    }
}

/// Of each action whether its condition did not hold; `None` where somebody else was at one of the
/// items, and the same again may succeed.
///
/// Source: Amazon DynamoDB API Reference, TransactWriteItems: the reasons stand in the order of the
/// actions, `None` for those that were not to blame.
fn refused(cancelled: &TransactionCanceledException) -> Result<Option<Vec<bool>>> {
    let codes: Vec<&str> = cancelled
        .cancellation_reasons()
        .iter()
        .map(|reason| reason.code().unwrap_or("None"))
        .collect();
    if codes.contains(&CONDITION) {
        return Ok(Some(codes.iter().map(|code| *code == CONDITION).collect()));
    }
    if codes.contains(&CONFLICT) {
        return Ok(None);
    }
    let code = codes.iter().find(|code| **code != "None").copied().unwrap_or("Unknown");
    let kind = match code {
        "ThrottlingError" | "ProvisionedThroughputExceeded" => FaultKind::Throttled,
        _ => FaultKind::Rejected,
    };
    let message = cancelled.message().unwrap_or("cancelled").to_owned();
    Err(Error::Aws(AwsFault { operation: OPERATION, code: code.to_owned(), message, kind }))
}
