//! Several items written at once, or none of them.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::TransactWriteItem;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::sleep;
use uuid::Uuid;

use super::{Item, Store};
use crate::error::{AwsFault, Error, FaultKind, Result, says};

/// Times that a write is tried against transactions of others on the same item.
const CONFLICTS_MAX: u32 = 6;
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

/// What became of one action of a transaction that was not carried out.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Whether its condition did not hold.
    pub(super) condition: bool,
    /// The item that stood in the way, where the action asks for it and there is one.
    pub(super) item: Option<Item>,
}

/// Before a write is tried once more that another's transaction was in the way of: longer each time, and
/// not as long as the others that it met wait, which would meet it again.
fn pause(attempt: u32) -> Duration {
    let longest = 40 * 2_u64.pow(attempt.min(5));
    // Of the random bits of a UUID: uniform enough.
    let random = Uuid::new_v4().as_u64_pair().1 % longest;
    Duration::from_millis(longest / 4 + random)
}

/// Sends a write of one item until no transaction of others is in its way, a few times.
pub(super) async fn past_conflicts<T, E, R, F>(
    mut send: impl FnMut() -> F,
) -> std::result::Result<T, SdkError<E, R>>
where
    E: ProvideErrorMetadata,
    F: Future<Output = std::result::Result<T, SdkError<E, R>>>,
{
    let mut attempt = 0;
    loop {
        let answer = send().await;
        attempt += 1;
        let conflict = |error: &E| error.code() == Some("TransactionConflictException");
        match &answer {
            Err(error) if attempt < CONFLICTS_MAX && says(error, conflict) => {
                sleep(pause(attempt)).await;
            }
            _ => return answer,
        }
    }
}

impl Store {
    /// Carries out `actions`, on different items each, of `what`, as a message calls it.
    ///
    /// Errors: `Busy` where others were at the same items again and again.
    ///
    /// Where the answer of a call is lost the SDK asks again with the same token: DynamoDB then
    /// answers what came of the first one.
    pub(super) async fn transact(
        &self,
        what: &str,
        actions: Vec<TransactWriteItem>,
    ) -> Result<Transacted> {
        Ok(match self.transact_told(what, actions).await? {
            None => Transacted::Done,
            Some(refused) => {
                Transacted::Refused(refused.iter().map(|action| action.condition).collect())
            }
        })
    }

    /// As [`Store::transact`]: `None` once all is written, else what became of each action.
    pub(super) async fn transact_told(
        &self,
        what: &str,
        actions: Vec<TransactWriteItem>,
    ) -> Result<Option<Vec<Refused>>> {
        for attempt in 0..CONFLICTS_MAX {
            let answer = self
                .client
                .transact_write_items()
                .set_transact_items(Some(actions.clone()))
                .send()
                .await;
            let error = match answer {
                Ok(_) => return Ok(None),
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    if let Some(refused) = refused(cancelled)? {
                        return Ok(Some(refused));
                    }
                    sleep(pause(attempt)).await;
                }
                _ => return Err(Error::aws(OPERATION, error)),
            }
        }
        Err(Error::Busy(format!("{what}, to which other requests write at this moment,")))
    }
}

/// What became of each action; `None` where somebody else was at one of the
/// items, and the same again may succeed.
///
/// Source: Amazon DynamoDB API Reference, TransactWriteItems: the reasons stand in the order of the
/// actions, `None` for those that were not to blame.
fn refused(cancelled: &TransactionCanceledException) -> Result<Option<Vec<Refused>>> {
    let codes: Vec<&str> = cancelled
        .cancellation_reasons()
        .iter()
        .map(|reason| reason.code().unwrap_or("None"))
        .collect();
    if codes.contains(&CONDITION) {
        let reasons = cancelled.cancellation_reasons().iter().map(|reason| Refused {
            condition: reason.code() == Some(CONDITION),
            item: reason.item().filter(|item| !item.is_empty()).cloned(),
        });
        return Ok(Some(reasons.collect()));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn those_who_met_wait_differently_and_longer_each_time() {
        let mut shortest = Duration::ZERO;
        for attempt in 0..CONFLICTS_MAX {
            let pauses: BTreeSet<Duration> = (0..100).map(|_| pause(attempt)).collect();
            assert!(pauses.len() > 10, "{pauses:?}");
            let longest = *pauses.last().unwrap();
            assert!(*pauses.first().unwrap() >= Duration::from_millis(10) * 2_u32.pow(attempt));
            assert!(longest < Duration::from_millis(50) * 2_u32.pow(attempt) && longest > shortest);
            shortest = longest;
        }
    }
}
