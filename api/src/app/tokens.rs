//! The teams' tokens: make, list, revoke, and recognise who bears one.

use std::time::Duration;

use futures::future::try_join;
use jiff::SignedDuration;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use super::jobs::checked_cursor;
use super::reconcile::later;
use super::{App, Moment};
use crate::domain::audit::{Target, changes};
use crate::domain::ids::TeamName;
use crate::domain::token::{Creator, Secret, Standing, Token, TokenId, TokenRequest};
use crate::error::{Error, Result};
use crate::store::encode_cursor;

/// When a token was last used is known to so much: each note of it is a write.
const USE_NOTED_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// For the note of it.
const NOTE_TIME: Duration = Duration::from_secs(2);

/// A page of tokens.
#[derive(Debug)]
pub struct ListedTokens {
    pub items: Vec<Token>,
    pub next: Option<String>,
}

/// What a text that has a token's form is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// It is this one, and good.
    Token(Box<Token>),
    /// There is no such token, or its team is gone.
    Unknown,
    Expired,
    Revoked,
}

impl App {
    /// Makes a token of the team from the JSON of a request. Nobody is ever shown it again.
    ///
    /// Errors: `Invalid`; `NotFound` of the team.
    pub async fn token_create(
        &self,
        team: &TeamName,
        request: Value,
        moment: Moment,
    ) -> Result<(Token, Secret)> {
        let (token, secret) = self.token_new(team, request, moment).await?;
        let told = json!({
            "role": token.role,
            "description": token.description,
            "expires_at": token.valid_until,
        });
        let target = Target { token: Some(token.id.as_str().to_owned()), ..Target::default() };
        let entry = self.entry(team, target, changes(&json!({}), &told), moment);
        self.store.token_insert(&token, entry.as_ref()).await?;
        Ok((token, secret))
    }

    /// The token that [`App::token_create`] would make, which is none.
    pub async fn token_create_dry(
        &self,
        team: &TeamName,
        request: Value,
        moment: Moment,
    ) -> Result<Token> {
        let (token, _) = self.token_new(team, request, moment).await?;
        Ok(Token { id: TokenId::nil(), ..token })
    }

    async fn token_new(
        &self,
        team: &TeamName,
        request: Value,
        moment: Moment,
    ) -> Result<(Token, Secret)> {
        let request = TokenRequest::read(request, moment.now).map_err(Error::Invalid)?;
        let team = self.team(team).await?;
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Internal(format!("no random bytes are to be had: {error}")))?;
        let secret = Secret::new(&team.name, random);
        let token = Token {
            id: secret.id(),
            team: team.name,
            team_id: team.id,
            hash: secret.hash(),
            role: request.role,
            description: request.description,
            created_at: moment.now,
            created_by: self
                .author
                .as_ref()
                .map(|author| Creator { kind: author.kind, id: author.id.clone() }),
            valid_until: request.valid_until,
            revoked_at: None,
            last_used_at: None,
        };
        Ok((token, secret))
    }

    /// Errors: `NotFound`.
    pub async fn token_get(&self, team: &TeamName, id: &TokenId) -> Result<Token> {
        let (team, token) = try_join(self.team(team), self.store.token_get(team, id)).await?;
        // Those of an earlier team of the name are nobody's.
        token
            .filter(|token| token.team_id == team.id)
            .ok_or_else(|| Error::NotFound(format!("token `{}`", id.as_str())))
    }

    /// The tokens of a team, those that have ended for a while too.
    ///
    /// Errors: `NotFound` of the team; `Invalid` for a cursor of another list.
    pub async fn token_list(
        &self,
        team: &TeamName,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<ListedTokens> {
        let list = format!("tokens/{team}");
        let is_id = |text: &str| TokenId::parse(text).is_some();
        let after = cursor.map(|cursor| checked_cursor(&list, &cursor, is_id)).transpose()?;
        let after = after.as_deref().and_then(TokenId::parse);
        let page = self.store.token_list(team, after.as_ref(), limit);
        let (team, page) = try_join(self.team(team), page).await?;
        let of_team = |token: &Token| token.team_id == team.id;
        Ok(ListedTokens {
            items: page.items.into_iter().filter(of_team).collect(),
            next: page.last.map(|last| encode_cursor(&list, &last)),
        })
    }

    /// Revokes a token; one that was revoked stays so.
    ///
    /// Errors: `NotFound`.
    pub async fn token_revoke(&self, team: &TeamName, id: &TokenId, moment: Moment) -> Result<()> {
        let token = self.token_get(team, id).await?;
        if token.revoked_at.is_some() {
            return Ok(());
        }
        let target = Target { token: Some(id.as_str().to_owned()), ..Target::default() };
        let entry = self.entry(team, target, Vec::new(), moment);
        self.store.token_revoke(team, id, moment.now, entry.as_ref()).await.map(drop)
    }

    /// Who bears `secret`, which says to be a token of `team`; that it was used is noted.
    pub async fn recognise(
        &self,
        team: &TeamName,
        secret: &Secret,
        moment: Moment,
    ) -> Result<Recognised> {
        let id = secret.id();
        let reads = try_join(self.store.team_get(team), self.store.token_get(team, &id));
        let (Some(team), Some(token)) = reads.await? else {
            return Ok(Recognised::Unknown);
        };
        let same = bool::from(token.hash.as_bytes().ct_eq(secret.hash().as_bytes()));
        if !same || token.team_id != team.id {
            return Ok(Recognised::Unknown);
        }
        match token.standing(moment.now) {
            Standing::Revoked => return Ok(Recognised::Revoked),
            Standing::Expired => return Ok(Recognised::Expired),
            Standing::Active => {}
        }
        let since = later(moment.now, -USE_NOTED_EVERY);
        if token.last_used_at.is_none_or(|at| at <= since) {
            // That it could not be noted is no reason to turn its holder away.
            let noted = self.store.token_used(&token.team, &id, moment.now, since);
            match timeout(NOTE_TIME, noted).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the use of a token is not noted"),
                Err(_) => tracing::warn!("the use of a token is not noted in time"),
            }
        }
        Ok(Recognised::Token(Box::new(token)))
    }
}
