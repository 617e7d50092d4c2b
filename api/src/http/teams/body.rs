//! The shapes of teams in requests and answers.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app;
use crate::domain::access::{Principal, Role};
use crate::domain::team::Team;
use crate::domain::violation::Violation;
use crate::http::jobs::Subscriber;

/// A team, as it is asked for. What is left out has its default.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TeamRequest {
    /// Unique; part of the name of every AWS resource of its jobs
    #[schema(pattern = "^[a-z][a-z0-9-]*$", max_length = 32, example = "platform")]
    name: String,
    #[serde(flatten)]
    definition: TeamFields,
}

/// What an administrator says of a team.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TeamFields {
    #[schema(max_length = 100, example = "Platform")]
    display_name: Option<String>,
    defaults: TeamDefaults,
    guardrails: Guardrails,
    quotas: Quotas,
}

/// What a job of the team gets where it names nothing itself.
#[derive(Serialize, ToSchema)]
#[schema(as = TeamDefaults)]
struct TeamDefaults {
    /// Null: the deployment's
    network: Option<TeamNetwork>,
    /// Name of an existing cluster; null: a cluster of the job's own
    cluster: Option<String>,
    notifications: TeamNotifications,
}

#[derive(Serialize, ToSchema)]
struct TeamNetwork {
    subnets: Vec<String>,
    security_groups: Vec<String>,
    assign_public_ip: bool,
}

#[derive(Serialize, ToSchema)]
struct TeamNotifications {
    subscribers: Vec<Subscriber>,
}

/// What a team's jobs may name and how large they may be. They narrow what the deployment allows, and
/// never widen it. In patterns `*` stands for any characters. What the deployment or the team gives by
/// default complies always.
#[derive(Serialize, ToSchema)]
struct Guardrails {
    /// Patterns of image references; null narrows nothing
    images: Option<Vec<String>>,
    /// ARN patterns; empty, as by default: none
    task_roles: Vec<String>,
    /// ARN patterns; empty, as by default: none
    execution_roles: Vec<String>,
    /// Patterns of the names of existing clusters; empty, as by default: none
    clusters: Vec<String>,
    /// Patterns; null narrows nothing
    subnets: Option<Vec<String>>,
    /// Patterns; null narrows nothing
    security_groups: Option<Vec<String>>,
    /// ARN patterns of secrets and parameters; empty, as by default: none
    secrets: Vec<String>,
    /// Patterns of the ids of EFS file systems; empty, as by default: none
    file_systems: Vec<String>,
    /// Whether a task may have a public address
    #[schema(default = true)]
    public_ip: bool,
    /// CPU units of a task
    #[schema(minimum = 256, maximum = 16384)]
    max_cpu: Option<u32>,
    /// MiB of a task
    #[schema(minimum = 512, maximum = 122880)]
    max_memory: Option<u32>,
    /// GiB of a task
    max_ephemeral_storage_gib: Option<u32>,
    /// The least time between two starts
    #[schema(minimum = 1, maximum = 525600)]
    min_interval_minutes: Option<u32>,
    /// Tags that a job must have, each with a pattern for its value
    required_tags: BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
struct Quotas {
    /// The most jobs that the team may have at a time; null: no limit
    #[schema(maximum = 100000)]
    max_jobs: Option<u32>,
}
