//! A team: who owns jobs, what its jobs get by default, and what they may not go beyond.

mod check;
mod images;
mod read;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::deployment::Network;
use super::ids::TeamName;
use super::job::Subscriber;
use super::violation::{Violation, ViolationCode};

/// A team as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    /// Distinguishes the team from an earlier one of the same name: its tokens are not this one's.
    pub id: String,
    pub name: TeamName,
    #[serde(flatten)]
    pub definition: TeamDefinition,
    /// Counts the changes of the definition, from 1.
    pub version: u64,
    /// The jobs that are in the table, those on their way out too: written together with each that
    /// comes or goes.
    pub jobs: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What is wrong with a job that would be one too many.
pub fn too_many_jobs(max: u32) -> Violation {
    let detail = format!("the team has all of the {max} jobs that its quota allows");
    Violation::new("", ViolationCode::Forbidden, detail)
}

impl Team {
    /// Names this state of the definition: another definition, or another team of the name, has
    /// another one.
    pub fn version_tag(&self) -> String {
        format!("{}.{}", self.id, self.version)
    }
}

/// What an administrator says of a team, complete: every default is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamDefinition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default)]
    pub defaults: TeamDefaults,
    #[serde(default)]
    pub guardrails: Guardrails,
    #[serde(default)]
    pub quotas: Quotas,
}

/// What a job of the team gets where it names nothing itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamDefaults {
    /// `None`: the deployment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// `None`: a cluster of the job's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    #[serde(default)]
    pub subscribers: Vec<Subscriber>,
}

/// What a team's jobs may name and how large they may be. They narrow what the deployment allows, and
/// never widen it.
///
/// In patterns `*` stands for any characters; how images are compared stands in [`images`]. Where a list can
/// be left out, `None` narrows nothing; an empty list lets nothing be named. What the deployment or the team
/// gives by default complies always.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guardrails {
    /// Patterns of image references.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<String>>,
    /// ARN patterns.
    pub task_roles: Vec<String>,
    /// ARN patterns of the roles that a job may name to be started with.
    pub execution_roles: Vec<String>,
    /// Patterns of the names of existing clusters.
    pub clusters: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnets: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_groups: Option<Vec<String>>,
    /// ARN patterns of secrets and parameters, as [`super::deployment::Deployment::readable_secrets`].
    pub secrets: Vec<String>,
    /// Patterns of the ids of EFS file systems.
    pub file_systems: Vec<String>,
    /// Whether a task may have a public address.
    pub public_ip: bool,
    /// CPU units of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cpu: Option<u32>,
    /// MiB of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<u32>,
    /// GiB of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ephemeral_storage_gib: Option<u32>,
    /// The least time between two starts, in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_interval_minutes: Option<u32>,
    /// Tags that a job must have: the key, and a pattern for its value.
    pub required_tags: BTreeMap<String, String>,
}

impl Default for Guardrails {
    /// Those of a new team: it may pass no role, read no secret, enter no cluster and mount no file
    /// system until that is granted.
    fn default() -> Guardrails {
        Guardrails {
            images: None,
            task_roles: Vec::new(),
            execution_roles: Vec::new(),
            clusters: Vec::new(),
            subnets: None,
            security_groups: None,
            secrets: Vec::new(),
            file_systems: Vec::new(),
            public_ip: true,
            max_cpu: None,
            max_memory: None,
            max_ephemeral_storage_gib: None,
            min_interval_minutes: None,
            required_tags: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quotas {
    /// The most jobs that the team may have at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_jobs: Option<u32>,
}
