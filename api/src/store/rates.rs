//! The principals' buckets in the table, as [`crate::domain::rate`] has them.

use jiff::{SignedDuration, Timestamp};

use super::jobs::Conditional;
use super::{Store, epoch, from_attribute, number, text};
use crate::domain::access::PrincipalKind;
use crate::error::{Error, Result};

const SK: &str = "RATE";
/// A full bucket is as good as none, so that it can go; DynamoDB takes its time for that.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Times that the bucket is tried to be written while others write it too.
const TRIES: usize = 4;

impl Store {
    /// Takes `micros` out of a principal's bucket: when it is full again, in microseconds of the epoch.
    pub async fn rate_take(
        &self,
        kind: PrincipalKind,
        id: &str,
        micros: i64,
        now: Timestamp,
    ) -> Result<i64> {
        let at = now.as_microsecond();
        // Most often it is full or it is not for a while: what was tried first and did not hold is
        // followed by the other.
        for try_no in 0..TRIES {
            let full = try_no % 2 == 0;
            let update = self
                .client
                .update_item()
                .table_name(&self.table)
                .key("pk", text(format!("RATE#{}#{id}", kind.as_str())))
                .key("sk", text(SK))
                .expression_attribute_values(":now", number(at))
                .expression_attribute_values(":gone_at", epoch(now + KEPT));
            let update = if full {
                update
                    .update_expression("SET full_at = :full_at, expires_at = :gone_at")
                    .condition_expression("attribute_not_exists(pk) OR full_at <= :now")
                    .expression_attribute_values(":full_at", number(at.saturating_add(micros)))
            } else {
                update
                    .update_expression("SET full_at = full_at + :micros, expires_at = :gone_at")
                    .condition_expression("full_at > :now")
                    .expression_attribute_values(":micros", number(micros))
            };
            if let Conditional::Held(mut item) = self.conditional(update).await? {
                let full_at = item.remove("full_at").map(from_attribute).transpose()?;
                return full_at.ok_or_else(|| Error::Internal("an item has no full_at".to_owned()));
            }
        }
        Err(Error::Busy("the bucket of a principal".to_owned()))
    }
}
