//! Teams: create, look at, change, delete.

use serde_json::{Value, json};
use tokio::time::timeout_at;
use uuid::Uuid;

use super::compliance::NotComplying;
use super::jobs::{Change, Precondition, checked_cursor};
use super::{App, Moment};
use crate::domain::access::Access;
use crate::domain::audit::{Target, changes};
use crate::domain::ids::TeamName;
use crate::domain::team::{Team, TeamDefinition};
use crate::error::{Error, Result};
use crate::provision::shares_failure_rule;
use crate::store::encode_cursor;

/// Times that a change is tried against others of the same team.
const WRITES_MAX: usize = 5;
const LIST: &str = "teams";

/// A page of teams.
#[derive(Debug)]
pub struct ListedTeams {
    pub items: Vec<Team>,
    pub next: Option<String>,
}

/// A team that was changed or, if there was none, created.
#[derive(Debug)]
pub struct ChangedTeam {
    pub team: Team,
    pub created: bool,
    /// The jobs that its guardrails would not let be made any more.
    pub not_complying: NotComplying,
}

impl App {
    /// Errors: `NotFound`.
    pub async fn team(&self, name: &TeamName) -> Result<Team> {
        self.store.team_get(name).await?.ok_or_else(|| not_found(name))
    }

    /// The teams that somebody with `access` has to do with, by name.
    ///
    /// Errors: `Invalid` for a cursor of another list.
    pub async fn team_list(
        &self,
        access: &Access,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<ListedTeams> {
        let is_name = |name: &str| TeamName::parse(name).is_ok();
        let after = cursor.map(|cursor| checked_cursor(LIST, &cursor, is_name)).transpose()?;
        if access.administrator {
            let page = self.store.team_list(after.as_deref(), limit).await?;
            let next = page.last.map(|last| encode_cursor(LIST, &last));
            return Ok(ListedTeams { items: page.items, next });
        }
        let mut items = Vec::new();
        let behind = |name: &&TeamName| after.as_deref().is_none_or(|after| name.as_str() > after);
        let mut names = access.teams.keys().filter(behind);
        // Of what an OIDC provider says some may not exist.
        let mut last = None;
        for name in names.by_ref().take(limit) {
            items.extend(self.store.team_get(name).await?);
            last = Some(encode_cursor(LIST, name.as_str()));
        }
        let next = last.filter(|_| names.next().is_some());
        Ok(ListedTeams { items, next })
    }

    /// Creates a team from the JSON of a request. Errors: `Invalid`, `AlreadyExists`.
    pub async fn team_create(&self, definition: Value, moment: Moment) -> Result<Team> {
        let team = self.team_new(definition, moment)?;
        self.team_insert(team, moment).await
    }

    /// As [`App::team_create`], without doing it.
    pub async fn team_create_dry(&self, definition: Value, moment: Moment) -> Result<Team> {
        let team = self.team_new(definition, moment)?;
        match self.store.team_get(&team.name).await? {
            Some(_) => Err(Error::AlreadyExists(format!("team `{}`", team.name))),
            None => Ok(Team { id: Uuid::nil().to_string(), ..team }),
        }
    }

    fn team_new(&self, definition: Value, moment: Moment) -> Result<Team> {
        let read = TeamDefinition::read(definition, &self.deployment);
        let (name, definition) = read.map_err(Error::Invalid)?;
        Ok(team_of(name, definition, moment))
    }

    async fn team_insert(&self, team: Team, moment: Moment) -> Result<Team> {
        // Some are from before there were teams. None comes as long as there is no team, and should one go
        // meanwhile, the number is too great, which a deletion of the team puts up with.
        let team = Team { jobs: self.store.job_count(&team.name).await?, ..team };
        let changed = changes(&json!({}), &team.definition.as_json());
        let entry = self.entry(&team.name, Target::default(), changed, moment);
        self.store.team_insert(&team, entry.as_ref()).await?;
        Ok(team)
    }

    /// Changes what is said of a team, or creates it where `change` is a whole definition and there is
    /// none. The same definition again changes nothing.
    ///
    /// Errors: `Invalid`; `NotFound` for a patch of nothing; `StaleVersion` if `precondition` does not
    /// hold.
    pub async fn team_change(
        &self,
        name: &TeamName,
        change: &Change,
        precondition: &Precondition,
        moment: Moment,
    ) -> Result<ChangedTeam> {
        for _ in 0..WRITES_MAX {
            let known = self.store.team_get(name).await?;
            let (mut next, created) =
                self.team_changed(name, known.as_ref(), change, precondition, moment)?;
            let done = match &known {
                None => match self.team_insert(next.clone(), moment).await {
                    Err(Error::AlreadyExists(_)) => false,
                    inserted => {
                        next = inserted?;
                        true
                    }
                },
                Some(known) if known.definition == next.definition => true,
                Some(known) => {
                    let changed = changes(&known.definition.as_json(), &next.definition.as_json());
                    let entry = self.entry(name, Target::default(), changed, moment);
                    self.store.team_redefine(known, &next, entry.as_ref()).await?
                }
            };
            if done {
                let not_complying = self.not_complying_in_time(&next, moment).await;
                return Ok(ChangedTeam { team: next, created, not_complying });
            }
        }
        Err(Error::Busy(format!("team `{name}`")))
    }

    /// The jobs that do not comply. The team is changed by now: that they can't be read is no failure of
    /// that, and only says that there may be more than are told.
    async fn not_complying_in_time(&self, team: &Team, moment: Moment) -> NotComplying {
        match timeout_at(moment.deadline, self.not_complying(team)).await {
            Ok(Ok(told)) => return told,
            Ok(Err(error)) => {
                tracing::warn!(team = %team.name, %error, "the jobs that do not comply are not told");
            }
            Err(_) => {
                tracing::warn!(team = %team.name, "no time left to tell the jobs that do not comply");
            }
        }
        NotComplying { jobs: Vec::new(), more: true }
    }

    /// As [`App::team_change`], without doing it.
    pub async fn team_change_dry(
        &self,
        name: &TeamName,
        change: &Change,
        precondition: &Precondition,
        moment: Moment,
    ) -> Result<ChangedTeam> {
        let known = self.store.team_get(name).await?;
        let (team, created) =
            self.team_changed(name, known.as_ref(), change, precondition, moment)?;
        let not_complying = self.not_complying(&team).await?;
        Ok(ChangedTeam { team, created, not_complying })
    }

    /// The team as `change` would have it, and whether it would be created.
    fn team_changed(
        &self,
        name: &TeamName,
        known: Option<&Team>,
        change: &Change,
        precondition: &Precondition,
        moment: Moment,
    ) -> Result<(Team, bool)> {
        // Of nothing there is no patch, whatever the condition (RFC 9110, section 13.2.1).
        if known.is_none() && matches!(change, Change::Merge(_)) {
            return Err(not_found(name));
        }
        check(precondition, known, name)?;
        let read = match (change, known) {
            (Change::Merge(patch), Some(known)) => {
                known.definition.patched(name, patch, &self.deployment)
            }
            (Change::Replace(value) | Change::Merge(value), _) => {
                TeamDefinition::read_named(name, value.clone(), &self.deployment)
            }
        };
        let definition = read.map_err(Error::Invalid)?;
        Ok(match known {
            None => (team_of(name.clone(), definition, moment), true),
            Some(known) if known.definition == definition => (known.clone(), false),
            Some(known) => {
                let version = known.version + 1;
                (Team { definition, version, updated_at: moment.now, ..known.clone() }, false)
            }
        })
    }

    /// Deletes a team, which must have no jobs; its tokens are worth nothing from then on.
    ///
    /// Errors: `NotFound`; `Conflict` while it has jobs.
    pub async fn team_delete(&self, name: &TeamName, moment: Moment) -> Result<()> {
        for _ in 0..WRITES_MAX {
            let known = match self.team_delete_dry(name).await {
                // Asked again, as the first time its roles could not be taken away.
                Err(error @ Error::NotFound(_)) => {
                    self.team_roles_remove(name, moment).await?;
                    return Err(error);
                }
                known => known?,
            };
            let entry = self.entry(name, Target::default(), Vec::new(), moment);
            if self.store.team_delete(&known, entry.as_ref()).await? {
                // Behind it: before, a job could still come that needs them.
                return self.team_roles_remove(name, moment).await;
            }
        }
        Err(Error::Busy(format!("team `{name}`")))
    }

    /// Takes away the roles that the jobs of a team shared that is gone.
    async fn team_roles_remove(&self, name: &TeamName, moment: Moment) -> Result<()> {
        let removed =
            self.provisioner.remove_team_roles(name, &self.deployment, moment.deadline).await;
        if let Err(error) = &removed {
            tracing::error!(team = %name, %error, "the team is gone, and its roles are not");
        }
        // One of the name that was made meanwhile, and whose jobs found the roles before they went.
        if self.store.team_get(name).await?.is_some_and(|team| team.jobs > 0)
            && shares_failure_rule(&self.deployment)
        {
            let deadline = moment.deadline;
            self.provisioner.ensure_team_roles(name, &self.deployment, deadline).await?;
        }
        removed
    }

    /// The team that [`App::team_delete`] would delete.
    pub async fn team_delete_dry(&self, name: &TeamName) -> Result<Team> {
        let team = self.team(name).await?;
        // Counted after it was read: a job that comes since changes its number, and it is not deleted.
        match self.store.job_count(name).await? {
            0 => Ok(team),
            jobs => Err(Error::Conflict(format!(
                "team `{name}` has jobs ({jobs}): delete them first, and wait until they are gone"
            ))),
        }
    }
}

fn team_of(name: TeamName, definition: TeamDefinition, moment: Moment) -> Team {
    Team {
        id: Uuid::new_v4().to_string(),
        name,
        definition,
        version: 1,
        jobs: 0,
        created_at: moment.now,
        updated_at: moment.now,
    }
}

fn not_found(name: &TeamName) -> Error {
    Error::NotFound(format!("team `{name}`"))
}

fn check(precondition: &Precondition, known: Option<&Team>, name: &TeamName) -> Result<()> {
    let holds = match precondition {
        Precondition::None => true,
        Precondition::Missing => known.is_none(),
        Precondition::Match(tags) => {
            known.is_some_and(|team| tags.is_empty() || tags.contains(&team.version_tag()))
        }
    };
    if holds {
        return Ok(());
    }
    Err(Error::StaleVersion(match known {
        Some(team) => format!("team `{name}` is \"{}\" now", team.version_tag()),
        None => format!("team `{name}` does not exist"),
    }))
}
