//! Teams: create, look at, change, delete.

use super::App;
use crate::domain::ids::TeamName;
use crate::domain::team::Team;
use crate::error::{Error, Result};

impl App {
    /// Errors: `NotFound`.
    pub(super) async fn team(&self, name: &TeamName) -> Result<Team> {
        let team = self.store.team_get(name).await?;
        team.ok_or_else(|| Error::NotFound(format!("team `{name}`")))
    }
}
