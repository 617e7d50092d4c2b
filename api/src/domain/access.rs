//! Who asks, and what they may do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::TeamName;

/// What somebody may do in a team. Each role may do what the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read: jobs, runs, logs.
    Viewer,
    /// Run, stop, pause, resume.
    Operator,
    /// Write definitions.
    Editor,
    /// Tokens and the audit log.
    Owner,
    /// Teams, in all of them.
    Administrator,
}

impl Role {
    pub const ALL: [Role; 5] =
        [Role::Viewer, Role::Operator, Role::Editor, Role::Owner, Role::Administrator];
    /// Those that one can have in a team; an administrator is one of all teams.
    pub const OF_TEAMS: [Role; 4] = [Role::Viewer, Role::Operator, Role::Editor, Role::Owner];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Editor => "editor",
            Role::Owner => "owner",
            Role::Administrator => "administrator",
        }
    }

    /// The role of this name.
    pub fn parse(text: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// The roles of a principal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// An administrator has that role in every team.
    pub administrator: bool,
    pub teams: BTreeMap<TeamName, Role>,
}

impl Access {
    pub fn administrator() -> Access {
        Access { administrator: true, teams: BTreeMap::new() }
    }

    pub fn of_team(team: TeamName, role: Role) -> Access {
        Access { administrator: false, teams: BTreeMap::from([(team, role)]) }
    }

    /// The role in `team`; `None` for somebody who has nothing to do with it.
    pub fn role_in(&self, team: &TeamName) -> Option<Role> {
        if self.administrator { Some(Role::Administrator) } else { self.teams.get(team).copied() }
    }
}

/// Somebody who was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub kind: PrincipalKind,
    /// Names the principal among those of its kind, for good: `administrator`, the token's id behind its
    /// team's name (`platform/0123456789abcdef`), or the subject that the OIDC provider names.
    pub id: String,
    /// For people: a token's description, a person's e-mail address or name.
    pub name: String,
    pub access: Access,
}

/// How a principal was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// By the administrator's token, whose hash is a parameter of the stack.
    StackToken,
    /// By a team's token.
    TeamToken,
    /// By a token of the OIDC provider.
    Oidc,
    /// Not at all: Cronplane itself, where it does what somebody asked for earlier. Nobody signs in as it.
    Cronplane,
}

impl PrincipalKind {
    pub const ALL: [PrincipalKind; 4] = [
        PrincipalKind::StackToken,
        PrincipalKind::TeamToken,
        PrincipalKind::Oidc,
        PrincipalKind::Cronplane,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            PrincipalKind::StackToken => "stack_token",
            PrincipalKind::TeamToken => "team_token",
            PrincipalKind::Oidc => "oidc",
            PrincipalKind::Cronplane => "cronplane",
        }
    }
}

/// On whose behalf something is done: what the audit log says of it besides what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    pub kind: PrincipalKind,
    pub id: String,
    pub name: String,
    /// The role in the team at that time; `None` for a stranger to it, and for Cronplane itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// As API Gateway saw it; `None` where none stands before the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Of Cronplane's own, what names its work in the logs.
    pub request_id: String,
    /// The operation's id in the OpenAPI document, such as `create_job`.
    pub operation: String,
}

impl Author {
    /// Cronplane itself, which does `operation` by itself because somebody asked for it earlier.
    pub fn cronplane(operation: &str, request_id: String) -> Author {
        Author {
            kind: PrincipalKind::Cronplane,
            id: "cronplane".to_owned(),
            name: "Cronplane".to_owned(),
            role: None,
            source_ip: None,
            user_agent: None,
            request_id,
            operation: operation.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_is_one_everywhere_and_nobody_else_is_anything_elsewhere() {
        let [platform, other] = ["platform", "other"].map(|name| TeamName::parse(name).unwrap());
        let editor = Access::of_team(platform.clone(), Role::Editor);
        assert_eq!(editor.role_in(&platform), Some(Role::Editor));
        assert_eq!(editor.role_in(&other), None);
        assert_eq!(Access::administrator().role_in(&other), Some(Role::Administrator));
    }

    #[test]
    fn roles_read_back_and_each_may_more_than_the_one_before() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert!(Role::ALL.is_sorted());
        assert_eq!(Role::parse("root"), None);
    }
}
