//! The shapes of teams in requests and answers.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app;
use crate::domain::access::Principal;
use crate::domain::team::Team;
use crate::http::audit::{AuditPrincipalKind, AuditRole};
use crate::http::jobs::{Compliance, Network, NetworkRequest, Notifications};

/// A team, as it is asked for. What is left out has its default.
#[derive(ToSchema)]
#[schema(example = json!({
    "name": "platform",
    "display_name": "Platform",
    "guardrails": {"images": ["docker.io/library/*"], "max_cpu": 1024, "min_interval_minutes": 5},
    "quotas": {"max_jobs": 200},
}))]
#[expect(
    dead_code,
    reason = "describes the request in the OpenAPI document; domain::team reads it"
)]
pub(in crate::http) struct TeamRequest {
    /// Unique in the deployment. It stands in the name of every AWS resource of the team's jobs.
    #[schema(pattern = "^[a-z][a-z0-9-]*$", max_length = 32, example = "platform")]
    name: String,
    #[schema(max_length = 100)]
    display_name: Option<String>,
    defaults: Option<TeamDefaultsRequest>,
    guardrails: Option<GuardrailsRequest>,
    quotas: Option<QuotasRequest>,
}

/// What a job of the team gets where it names nothing itself.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes the request in the OpenAPI document; domain::team reads it"
)]
struct TeamDefaultsRequest {
    /// Left out, the deployment's.
    network: Option<NetworkRequest>,
    /// An existing cluster. Left out, each job gets one of its own.
    cluster: Option<String>,
    notifications: Option<Notifications>,
}

/// What the team's jobs may name and how large they may be.
///
/// It narrows what the deployment allows, and never widens it. In patterns `*` stands for any characters; a
/// list has at most 100 of them. What the deployment or the team gives by default complies always.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes the request in the OpenAPI document; domain::team reads it"
)]
struct GuardrailsRequest {
    /// Patterns of image references. Left out, any image.
    images: Option<Vec<String>>,
    /// ARN patterns of the roles that jobs may run as. Left out, none.
    task_roles: Option<Vec<String>>,
    /// ARN patterns of the roles that jobs may name to be started with. Left out, none.
    execution_roles: Option<Vec<String>>,
    /// Patterns of the names of existing clusters. Left out, none.
    clusters: Option<Vec<String>>,
    /// Patterns. Left out, any subnet.
    subnets: Option<Vec<String>>,
    /// Patterns. Left out, any group.
    security_groups: Option<Vec<String>>,
    /// ARN patterns of secrets and parameters. Left out, none.
    secrets: Option<Vec<String>>,
    /// Patterns of the ids of EFS file systems. Left out, none.
    file_systems: Option<Vec<String>>,
    /// Whether a task may have a public address.
    #[schema(default = true)]
    public_ip: Option<bool>,
    /// CPU units of a task. Left out, as many as Fargate has.
    #[schema(minimum = 256, maximum = 16384)]
    max_cpu: Option<u32>,
    /// MiB of a task. Left out, as many as Fargate has.
    #[schema(minimum = 512, maximum = 122_880)]
    max_memory: Option<u32>,
    /// GiB of a task. Left out, as many as Fargate has.
    #[schema(minimum = 20, maximum = 200)]
    max_ephemeral_storage_gib: Option<u32>,
    /// The least time between two starts of a schedule. Left out, any.
    #[schema(minimum = 1, maximum = 525_600)]
    min_interval_minutes: Option<u32>,
    /// Tags that a job must have: each key with a pattern for its value.
    required_tags: Option<BTreeMap<String, String>>,
}

#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes the request in the OpenAPI document; domain::team reads it"
)]
struct QuotasRequest {
    /// The most jobs that the team may have at a time. Left out, any number.
    #[schema(maximum = 100_000)]
    max_jobs: Option<u32>,
}

/// A team.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TeamBody {
    name: String,
    #[schema(required)]
    display_name: Option<String>,
    #[schema(value_type = TeamDefaults)]
    defaults: Value,
    #[schema(value_type = Guardrails)]
    guardrails: Value,
    #[schema(value_type = Quotas)]
    quotas: Value,
    /// The jobs that there are, those that are being deleted too.
    jobs: u32,
    /// Counts the changes of the definition, from 1.
    version: u64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// What a job of the team gets where it names nothing itself.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes the answer in the OpenAPI document; domain::team writes it"
)]
struct TeamDefaults {
    /// Null: the deployment's.
    #[schema(required)]
    network: Option<Network>,
    /// Null: a cluster of the job's own.
    #[schema(required)]
    cluster: Option<String>,
    notifications: Notifications,
}

/// What the team's jobs may name and how large they may be.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes the answer in the OpenAPI document; domain::team writes it"
)]
struct Guardrails {
    /// Null: any image.
    #[schema(required)]
    images: Option<Vec<String>>,
    /// Empty: none.
    task_roles: Vec<String>,
    /// Empty: none.
    execution_roles: Vec<String>,
    /// Empty: none.
    clusters: Vec<String>,
    /// Null: any subnet.
    #[schema(required)]
    subnets: Option<Vec<String>>,
    /// Null: any group.
    #[schema(required)]
    security_groups: Option<Vec<String>>,
    /// Empty: none.
    secrets: Vec<String>,
    /// Empty: none.
    file_systems: Vec<String>,
    public_ip: bool,
    /// CPU units; null: no limit.
    #[schema(required)]
    max_cpu: Option<u32>,
    /// MiB; null: no limit.
    #[schema(required)]
    max_memory: Option<u32>,
    /// GiB; null: no limit.
    #[schema(required)]
    max_ephemeral_storage_gib: Option<u32>,
    /// Null: no limit.
    #[schema(required)]
    min_interval_minutes: Option<u32>,
    required_tags: BTreeMap<String, String>,
}

#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes the answer in the OpenAPI document; domain::team writes it"
)]
struct Quotas {
    /// Null: no limit.
    #[schema(required)]
    max_jobs: Option<u32>,
}

/// A page of teams.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TeamList {
    pub(super) items: Vec<TeamBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    pub(super) next: Option<String>,
}

/// A team that was changed.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TeamChanged {
    #[serde(flatten)]
    pub(super) team: TeamBody,
    pub(super) not_complying: NotComplying,
}

/// What would come of a change of a team, of which nothing was done.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TeamDryRun {
    /// The status of the answer.
    #[schema(example = 200)]
    status: u16,
    /// The team as it would be; null where it would be gone.
    #[schema(required)]
    answer: Option<TeamBody>,
    not_complying: NotComplying,
}

/// The team, or of a dry run what would come of it.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the answers in the OpenAPI document")]
pub(in crate::http) enum TeamAnswer {
    Changed(Box<TeamChanged>),
    DryRun(Box<TeamDryRun>),
}

/// The jobs that the team's guardrails would not let be made any more. They go on as they are.
#[derive(Default, Serialize, ToSchema)]
pub(in crate::http) struct NotComplying {
    /// By name; at most 100 are told.
    #[schema(max_items = 100)]
    jobs: Vec<NotComplyingJob>,
    /// Whether there are more than those told: list the team's jobs with `compliant=false`.
    more: bool,
}

#[derive(Serialize, ToSchema)]
struct NotComplyingJob {
    job: String,
    #[serde(flatten)]
    compliance: Compliance,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct WhoAmI {
    kind: AuditPrincipalKind,
    /// Names the principal among those of its kind.
    #[schema(example = "platform/0123456789abcdef")]
    id: String,
    /// A token's description, a person's e-mail address or name.
    name: String,
    /// Whether it is an administrator, of all teams.
    administrator: bool,
    /// The roles by team. An administrator needs none.
    teams: BTreeMap<String, AuditRole>,
}

impl TeamBody {
    pub(in crate::http) fn of(team: &Team) -> TeamBody {
        let mut definition = team.definition.as_json();
        TeamBody {
            name: team.name.to_string(),
            display_name: team.definition.display_name.clone(),
            defaults: definition["defaults"].take(),
            guardrails: definition["guardrails"].take(),
            quotas: definition["quotas"].take(),
            jobs: team.jobs,
            version: team.version,
            created_at: team.created_at.to_string(),
            updated_at: team.updated_at.to_string(),
        }
    }
}

impl TeamDryRun {
    /// What the answer would be: this status, and this team if there would be one.
    pub(super) fn of(status: StatusCode, team: Option<&Team>) -> TeamDryRun {
        TeamDryRun {
            status: status.as_u16(),
            answer: team.map(TeamBody::of),
            not_complying: NotComplying::default(),
        }
    }

    pub(super) fn with(self, not_complying: &app::NotComplying) -> TeamDryRun {
        TeamDryRun { not_complying: NotComplying::of(not_complying), ..self }
    }
}

impl NotComplying {
    pub(super) fn of(told: &app::NotComplying) -> NotComplying {
        let jobs = told.jobs.iter().map(|(job, violations)| NotComplyingJob {
            job: job.to_string(),
            compliance: Compliance::of(violations),
        });
        NotComplying { jobs: jobs.collect(), more: told.more }
    }
}

impl WhoAmI {
    pub(super) fn of(principal: &Principal) -> WhoAmI {
        let roles = principal.access.teams.iter();
        WhoAmI {
            kind: AuditPrincipalKind::of(principal.kind),
            id: principal.id.clone(),
            name: principal.name.clone(),
            administrator: principal.access.administrator,
            teams: roles.map(|(team, role)| (team.to_string(), AuditRole::of(*role))).collect(),
        }
    }
}
