//! The teams' tokens in the table.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use jiff::{SignedDuration, Timestamp};

use super::idempotency::action;
use super::jobs::Conditional;
use super::teams::{team_stays, team_words};
use super::transaction::Transacted;
use super::{Item, Page, Store, attribute, epoch, from_item, string_of, text, to_item};
use crate::domain::audit::Entry;
use crate::domain::ids::TeamName;
use crate::domain::token::{Token, TokenId};
use crate::error::{Error, Result};

/// So long a token is shown after it has ended, as revoked or expired.
const SHOWN: SignedDuration = SignedDuration::from_hours(24 * 90);

fn key_of(team: &TeamName, id: &TokenId) -> Item {
    Item::from([
        ("pk".to_owned(), text(format!("TEAM#{team}"))),
        ("sk".to_owned(), text(format!("TOKEN#{}", id.as_str()))),
    ])
}

impl Store {
    /// Inserts a token of a team that must be there, and the audit entry that tells of it.
    ///
    /// Errors: `NotFound` of the team.
    pub async fn token_insert(&self, token: &Token, entry: Option<&Entry>) -> Result<()> {
        let mut item = to_item(token)?;
        item.extend(key_of(&token.team, &token.id));
        let kept_until = token.valid_until.checked_add(SHOWN).unwrap_or(Timestamp::MAX);
        item.insert("expires_at".to_owned(), epoch(kept_until));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)");
        let put = TransactWriteItem::builder().put(action(put.build())?).build();
        let actions = vec![put, team_stays(&self.table, &token.team, &token.team_id)?];
        let actions = self.audited(actions, entry)?;
        match self.transact(&team_words(&token.team), actions).await? {
            Transacted::Done => Ok(()),
            Transacted::Refused(refused) if refused.first() == Some(&true) => {
                // Its answer was lost, and the call made once more: then it is this very token.
                match self.token_get(&token.team, &token.id).await? {
                    Some(known) if known.hash == token.hash => Ok(()),
                    _ => Err(Error::Internal("two tokens have the same id".to_owned())),
                }
            }
            Transacted::Refused(_) => Err(Error::NotFound(team_words(&token.team))),
        }
    }

    /// The token, as of now.
    pub async fn token_get(&self, team: &TeamName, id: &TokenId) -> Result<Option<Token>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key_of(team, id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::aws("dynamodb:GetItem", error))?;
        answer.item.map(from_item).transpose()
    }

    /// A team's tokens by their ids, those behind `after` only.
    pub async fn token_list(
        &self,
        team: &TeamName,
        after: Option<&TokenId>,
        limit: usize,
    ) -> Result<Page<Token>> {
        let page = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :tokens)")
            .expression_attribute_values(":pk", text(format!("TEAM#{team}")))
            .expression_attribute_values(":tokens", text("TOKEN#"))
            .set_exclusive_start_key(after.map(|id| key_of(team, id)))
            .consistent_read(true)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| Error::aws("dynamodb:Query", error))?;
        let last = page.last_evaluated_key().map(|key| string_of(key, "sk")).transpose()?;
        let last = last.and_then(|sk| sk.strip_prefix("TOKEN#").map(str::to_owned));
        let items = page.items.unwrap_or_default().into_iter().map(from_item);
        let page = Page { items: items.collect::<Result<Vec<Token>>>()?, last };
        Ok(page.cut(limit, |token| token.id.as_str()))
    }

    /// Revokes a token that was not; `false` if it was, or is not there.
    pub async fn token_revoke(
        &self,
        team: &TeamName,
        id: &TokenId,
        now: Timestamp,
        entry: Option<&Entry>,
    ) -> Result<bool> {
        let kept_until = now.checked_add(SHOWN).unwrap_or(Timestamp::MAX);
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key_of(team, id)))
            .update_expression("SET revoked_at = :now, expires_at = :kept_until")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(revoked_at)")
            .expression_attribute_values(":now", attribute(&now)?)
            .expression_attribute_values(":kept_until", epoch(kept_until));
        let update = TransactWriteItem::builder().update(action(update.build())?).build();
        let actions = self.audited(vec![update], entry)?;
        Ok(matches!(self.transact(&team_words(team), actions).await?, Transacted::Done))
    }

    /// Notes that the token was seen at `now`, if nobody noted that since `since`.
    pub async fn token_used(
        &self,
        team: &TeamName,
        id: &TokenId,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<()> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key_of(team, id)))
            .update_expression("SET last_used_at = :now")
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(last_used_at) \
                 OR last_used_at <= :since)",
            )
            .expression_attribute_values(":now", attribute(&now)?)
            .expression_attribute_values(":since", attribute(&since)?);
        match self.conditional(update).await? {
            Conditional::Held(_) | Conditional::Refused(_) => Ok(()),
        }
    }
}
