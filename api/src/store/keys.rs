//! The OIDC provider's keys in the table.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{Store, epoch, from_attribute, string_of, text};
use crate::domain::oidc::{CachedKeys, KEYS_USABLE};
use crate::error::{Error, Result};

const PK: &str = "OIDC";

/// An issuer can be longer than a sort key.
fn sk(issuer: &str) -> String {
    Sha256::digest(issuer).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Store {
    /// The keys of `issuer` that were kept last.
    pub async fn keys_get(&self, issuer: &str) -> Result<Option<CachedKeys>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(PK))
            .key("sk", text(sk(issuer)))
            .send()
            .await
            .map_err(|error| Error::aws("dynamodb:GetItem", error))?;
        let Some(mut item) = answer.item else {
            return Ok(None);
        };
        let seconds = item.remove("fetched_at").map(from_attribute).transpose()?;
        let fetched_at = seconds.and_then(|at| Timestamp::from_second(at).ok());
        let fetched_at =
            fetched_at.ok_or_else(|| Error::Internal("an item has no fetched_at".to_owned()))?;
        Ok(Some(CachedKeys { jwks: string_of(&item, "jwks")?, fetched_at }))
    }

    /// Keeps the keys of `issuer`, unless others that were fetched later are there.
    pub async fn keys_put(&self, issuer: &str, keys: &CachedKeys) -> Result<()> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(PK))
            .key("sk", text(sk(issuer)))
            .update_expression(
                "SET jwks = :jwks, fetched_at = :fetched_at, expires_at = :expires_at",
            )
            .condition_expression("attribute_not_exists(pk) OR fetched_at <= :fetched_at")
            .expression_attribute_values(":jwks", text(&keys.jwks))
            .expression_attribute_values(":fetched_at", epoch(keys.fetched_at))
            .expression_attribute_values(":expires_at", epoch(keys.fetched_at + KEYS_USABLE));
        self.conditional(update).await.map(drop)
    }
}
