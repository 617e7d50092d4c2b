//! `/teams/{team}/audit`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::extract::{JobParams, JobPath, Params, TeamParams, TeamPath};
use super::problem::{CommonProblems, Problem};
use crate::app::AuditWanted;
use crate::domain::access;
use crate::domain::audit::{self, AuditFilter, Entry, FieldChange};
use crate::domain::ids::TeamName;
use crate::domain::violation::ViolationCode;

const LIMIT_DEFAULT: i32 = 50;
const LIMIT_MAX: i32 = 100;
/// Longest operation or principal that is looked for, in characters.
const TEXT_MAX: usize = 512;

/// What somebody changed, or tried to. It is written together with the change, and never changed.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditEntry {
    /// Sorts by time.
    #[schema(example = "2026-11-23T14:09:03.120Z-0d0a2a33-6c7c-4d9d-8a39-1b64b1f2b1a0")]
    pub(super) id: String,
    #[schema(format = DateTime)]
    pub(super) at: String,
    pub(super) outcome: AuditOutcome,
    /// The operation's id in this document.
    #[schema(example = "create_job")]
    pub(super) operation: String,
    pub(super) principal: AuditPrincipal,
    /// As API Gateway saw it.
    #[schema(required, example = "192.0.2.17")]
    pub(super) source_ip: Option<String>,
    #[schema(required)]
    pub(super) user_agent: Option<String>,
    /// That of the answer; it is in the logs too. What Cronplane did by itself has one in the logs only.
    pub(super) request_id: String,
    pub(super) target: AuditTarget,
    /// Why it was denied; null where it was not.
    #[schema(required)]
    pub(super) reason: Option<String>,
    /// Field by field, at most 200; a last one with an empty pointer tells of how many more there are.
    pub(super) changes: Vec<AuditChange>,
}

/// What came of it.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuditOutcome {
    /// The change was stored.
    Accepted,
    /// It was not done, or taken back: the role is too small, a guardrail stands in the way, or AWS does
    /// not let this deployment do it.
    Denied,
}

/// Who it was.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditPrincipal {
    pub(super) kind: AuditPrincipalKind,
    /// Names the principal among those of its kind.
    #[schema(example = "platform/0123456789abcdef")]
    pub(super) id: String,
    /// A token's description, a person's e-mail address or name.
    pub(super) name: String,
    /// The role in the team at that time; null for a stranger to it, and for Cronplane itself.
    #[schema(required)]
    pub(super) role: Option<AuditRole>,
}

/// How a principal was recognised.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuditPrincipalKind {
    /// By the administrator's token.
    StackToken,
    /// By a team's token.
    TeamToken,
    /// By a token of the OIDC provider.
    Oidc,
    /// Not at all: Cronplane itself, where it does what somebody asked for earlier. Nobody signs in as it.
    Cronplane,
}

/// What a principal might do in the team.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuditRole {
    Viewer,
    Operator,
    Editor,
    Owner,
    Administrator,
}

/// What it was about, below the team; all null for the team itself.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditTarget {
    #[schema(required)]
    pub(super) job: Option<String>,
    #[schema(required)]
    pub(super) run: Option<String>,
    #[schema(required)]
    pub(super) token: Option<String>,
}

/// A field that was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditChange {
    /// JSON pointer (RFC 6901) into what was changed, as a request has it.
    #[schema(example = "/schedule")]
    pub(super) pointer: String,
    /// Null where nothing stood, and where it may be secret.
    #[schema(required, value_type = Value)]
    pub(super) before: Option<Value>,
    /// Null where nothing stands, and where it may be secret.
    #[schema(required, value_type = Value)]
    pub(super) after: Option<Value>,
    /// Whether something was left out because it may be secret: both values, or the parts that read
    /// `***`.
    pub(super) masked: bool,
}

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditList {
    pub(super) items: Vec<AuditEntry>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    pub(super) next: Option<String>,
}

/// List a team's audit log
///
/// Who changed what, and who was denied to, newest first. Of several filters all must hold. A page can
/// hold fewer entries than `limit`, even none, and not be the last: `next` tells.
#[utoipa::path(
    get,
    path = "/teams/{team}/audit",
    operation_id = "list_audit",
    tag = "audit",
    params(
        TeamParams,
        ("limit" = Option<i32>, Query, description = "Entries a page, 1 to 100; 50 if left out",
         minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
        ("from" = Option<String>, Query, format = DateTime,
         description = "Only entries of this millisecond (RFC 3339) or after"),
        ("to" = Option<String>, Query, format = DateTime,
         description = "Only entries of this millisecond (RFC 3339) or before"),
        ("operation" = Option<String>, Query, example = "create_job",
         description = "Only entries of this operation, by its id in this document",
         pattern = "^[a-z][a-z_]*$"),
        ("outcome" = Option<AuditOutcome>, Query, description = "Only entries of this outcome"),
        ("principal" = Option<String>, Query, description = "Only entries of the principal with this id"),
    ),
    responses((status = 200, description = "A page of entries", body = AuditList), CommonProblems),
)]
pub(super) async fn list(
    State(api): State<Api>,
    TeamPath(team): TeamPath,
    params: Params,
) -> Result<Json<AuditList>, Problem> {
    page(&api, &team, AuditFilter::default(), params).await
}

/// List a job's audit log
///
/// Who changed the job or asked something of its runs, and who was denied to, newest first. The entries
/// are those of the job's name: they stay when it is deleted, and one that is made again under the name
/// goes on with them. A name that never was has none.
#[utoipa::path(
    get,
    path = "/teams/{team}/jobs/{job}/audit",
    operation_id = "list_job_audit",
    tag = "audit",
    params(
        JobParams,
        ("limit" = Option<i32>, Query, description = "Entries a page, 1 to 100; 50 if left out",
         minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
        ("from" = Option<String>, Query, format = DateTime,
         description = "Only entries of this millisecond (RFC 3339) or after"),
        ("to" = Option<String>, Query, format = DateTime,
         description = "Only entries of this millisecond (RFC 3339) or before"),
        ("operation" = Option<String>, Query, example = "update_job",
         description = "Only entries of this operation, by its id in this document",
         pattern = "^[a-z][a-z_]*$"),
        ("outcome" = Option<AuditOutcome>, Query, description = "Only entries of this outcome"),
        ("principal" = Option<String>, Query, description = "Only entries of the principal with this id"),
    ),
    responses((status = 200, description = "A page of entries", body = AuditList), CommonProblems),
)]
pub(super) async fn list_of_job(
    State(api): State<Api>,
    JobPath(key): JobPath,
    params: Params,
) -> Result<Json<AuditList>, Problem> {
    let filter = AuditFilter { job: Some(key.job), ..AuditFilter::default() };
    page(&api, &key.team, filter, params).await
}

async fn page(
    api: &Api,
    team: &TeamName,
    filter: AuditFilter,
    mut params: Params,
) -> Result<Json<AuditList>, Problem> {
    let limit = params.count("limit", LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
    let is_operation = |text: &str| text.bytes().all(|one| one.is_ascii_lowercase() || one == b'_');
    let wanted = AuditWanted {
        limit: usize::try_from(limit).unwrap_or(1),
        cursor: params.text("cursor"),
        filter: AuditFilter {
            operation: wanted_text(&mut params, "operation", is_operation),
            outcome: params.one_of("outcome", &audit::Outcome::ALL, audit::Outcome::as_str),
            principal: wanted_text(&mut params, "principal", |_| true),
            from: params.time("from"),
            to: params.time("to"),
            ..filter
        },
    };
    params.finish()?;
    let page = api.app.audit_list(team, wanted).await?;
    let items = page.items.into_iter().map(AuditEntry::of).collect();
    Ok(Json(AuditList { items, next: page.next }))
}

fn wanted_text(
    params: &mut Params,
    name: &'static str,
    is_good: impl Fn(&str) -> bool,
) -> Option<String> {
    let text = params.text(name)?;
    if text.is_empty() || text.chars().count() > TEXT_MAX || !is_good(&text) {
        let detail = format!("is none of an entry: 1 to {TEXT_MAX} characters, as entries show it");
        params.wrong(name, ViolationCode::Format, detail);
        return None;
    }
    Some(text)
}

impl AuditEntry {
    fn of(entry: Entry) -> AuditEntry {
        let author = entry.author;
        AuditEntry {
            id: entry.id,
            at: entry.at.to_string(),
            outcome: AuditOutcome::of(entry.outcome),
            operation: author.operation,
            principal: AuditPrincipal {
                kind: AuditPrincipalKind::of(author.kind),
                id: author.id,
                name: author.name,
                role: author.role.map(AuditRole::of),
            },
            source_ip: author.source_ip,
            user_agent: author.user_agent,
            request_id: author.request_id,
            target: AuditTarget {
                job: entry.target.job.map(String::from),
                run: entry.target.run,
                token: entry.target.token,
            },
            reason: entry.reason,
            changes: entry.changes.into_iter().map(AuditChange::of).collect(),
        }
    }
}

impl AuditChange {
    fn of(change: FieldChange) -> AuditChange {
        let FieldChange { pointer, before, after, masked } = change;
        AuditChange { pointer, before, after, masked }
    }
}

impl AuditOutcome {
    fn of(outcome: audit::Outcome) -> AuditOutcome {
        match outcome {
            audit::Outcome::Accepted => AuditOutcome::Accepted,
            audit::Outcome::Denied => AuditOutcome::Denied,
        }
    }
}

impl AuditPrincipalKind {
    pub(super) fn of(kind: access::PrincipalKind) -> AuditPrincipalKind {
        match kind {
            access::PrincipalKind::StackToken => AuditPrincipalKind::StackToken,
            access::PrincipalKind::TeamToken => AuditPrincipalKind::TeamToken,
            access::PrincipalKind::Oidc => AuditPrincipalKind::Oidc,
            access::PrincipalKind::Cronplane => AuditPrincipalKind::Cronplane,
        }
    }
}

impl AuditRole {
    pub(super) fn of(role: access::Role) -> AuditRole {
        match role {
            access::Role::Viewer => AuditRole::Viewer,
            access::Role::Operator => AuditRole::Operator,
            access::Role::Editor => AuditRole::Editor,
            access::Role::Owner => AuditRole::Owner,
            access::Role::Administrator => AuditRole::Administrator,
        }
    }
}
