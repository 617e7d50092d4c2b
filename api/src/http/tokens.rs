//! `/teams/{team}/tokens`

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::audit::AuditPrincipalKind;
use super::auth::Acting;
use super::dry_run::DryRunParams;
use super::extract::{JsonBody, NoBody, Params, TeamParams, TeamPath, TokenParams, TokenPath};
use super::problem::{BodyProblems, CommonProblems, Problem};
use crate::domain::token::{Secret, Standing, Token};

const LIMIT_DEFAULT: i32 = 50;
const LIMIT_MAX: i32 = 100;

/// What one may do in a team; each role may do what the one before it may.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the field in the OpenAPI document")]
enum TeamRole {
    /// Read jobs, runs and logs
    Viewer,
    /// Run, stop, pause, resume
    Operator,
    /// Write definitions
    Editor,
    /// Tokens and the audit log
    Owner,
}

/// A token, as it is asked for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(super) struct TokenRequest {
    /// Who or what has it
    #[schema(min_length = 1, max_length = 200, example = "CI of the reports")]
    description: String,
    #[schema(inline)]
    role: TeamRole,
    /// At most 400 days from now; 90 days from now if left out
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// What is known of a token.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenBody {
    /// The first 16 digits of the token's SHA-256
    #[schema(example = "0123456789abcdef")]
    id: String,
    description: String,
    /// `viewer`, `operator`, `editor` or `owner`
    role: &'static str,
    /// `active`, `expired` or `revoked`
    status: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
    /// Null if nobody did over the API
    #[schema(required)]
    created_by: Option<TokenCreator>,
    #[schema(format = DateTime)]
    expires_at: String,
    #[schema(required, format = DateTime)]
    revoked_at: Option<String>,
    /// To five minutes; null if it never was
    #[schema(required, format = DateTime)]
    last_used_at: Option<String>,
}

/// The principal who made a token.
#[derive(Serialize, ToSchema)]
struct TokenCreator {
    kind: AuditPrincipalKind,
    /// Names the principal among those of its kind.
    #[schema(example = "administrator")]
    id: String,
}

/// A token that was made just now.
#[derive(Serialize, ToSchema)]
pub(super) struct NewToken {
    #[serde(flatten)]
    known: TokenBody,
    /// The token itself. It is shown this once and kept nowhere.
    token: String,
}

/// What would come of a request about a token, of which nothing was done.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenDryRun {
    /// The status of the answer.
    #[schema(example = 201)]
    status: u16,
    /// The token as it would be; null of one that would be revoked. Of one that is not there yet, `id` is
    /// all zeros.
    #[schema(required)]
    answer: Option<TokenBody>,
}

/// A page of tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenList {
    items: Vec<TokenBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    next: Option<String>,
}

impl TokenBody {
    fn of(token: &Token, now: Timestamp) -> TokenBody {
        TokenBody {
            id: token.id.as_str().to_owned(),
            description: token.description.clone(),
            role: token.role.as_str(),
            status: Standing::as_str(token.standing(now)),
            created_at: token.created_at.to_string(),
            created_by: token.created_by.as_ref().map(|one| TokenCreator {
                kind: AuditPrincipalKind::of(one.kind),
                id: one.id.clone(),
            }),
            expires_at: token.valid_until.to_string(),
            revoked_at: token.revoked_at.map(|at| at.to_string()),
            last_used_at: token.last_used_at.map(|at| at.to_string()),
        }
    }
}

/// Create a token
///
/// The answer shows it, and nothing ever again: of a token only its hash is kept.
#[utoipa::path(
    post,
    path = "/teams/{team}/tokens",
    operation_id = "create_token",
    tag = "tokens",
    params(TeamParams, DryRunParams),
    request_body = TokenRequest,
    responses(
        (status = 200, description = "Of a dry run: nothing was done", body = TokenDryRun),
        (status = 201, description = "Created", body = NewToken,
         headers(("Location" = String, description = "The token's URL"))),
        (status = 409, description = "Others keep changing the team", body = Problem,
         content_type = "application/problem+json",
         headers(("Retry-After" = Option<u32>, description = "Seconds, where the same again may succeed"))),
        BodyProblems,
        CommonProblems,
    ),
)]
pub(super) async fn create(
    Acting(api): Acting,
    TeamPath(team): TeamPath,
    mut params: Params,
    JsonBody(request): JsonBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    let moment = api.moment();
    if dry_run {
        let token = api.app.token_create_dry(&team, request, moment).await?;
        let answer = Some(TokenBody::of(&token, moment.now));
        let status = StatusCode::CREATED.as_u16();
        return Ok(Json(TokenDryRun { status, answer }).into_response());
    }
    let (token, secret) = api.app.token_create(&team, request, moment).await?;
    let location = format!("/v1/teams/{team}/tokens/{}", token.id.as_str());
    let known = TokenBody::of(&token, moment.now);
    let body = NewToken { known, token: Secret::expose(&secret).to_owned() };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response())
}

/// List a team's tokens
///
/// By their ids; those that were revoked or have expired are shown for 90 days more.
#[utoipa::path(
    get,
    path = "/teams/{team}/tokens",
    operation_id = "list_tokens",
    tag = "tokens",
    params(
        TeamParams,
        ("limit" = Option<i32>, Query, description = "Tokens a page, 1 to 100; 50 if left out",
         minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses((status = 200, description = "A page of tokens", body = TokenList), CommonProblems),
)]
pub(super) async fn list(
    State(api): State<Api>,
    TeamPath(team): TeamPath,
    mut params: Params,
) -> Result<Json<TokenList>, Problem> {
    let limit = params.count("limit", LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
    let cursor = params.text("cursor");
    params.finish()?;
    let now = api.moment().now;
    let page = api.app.token_list(&team, cursor, usize::try_from(limit).unwrap_or(1)).await?;
    let items = page.items.iter().map(|token| TokenBody::of(token, now)).collect();
    Ok(Json(TokenList { items, next: page.next }))
}

/// Get a token
#[utoipa::path(
    get,
    path = "/teams/{team}/tokens/{token}",
    operation_id = "get_token",
    tag = "tokens",
    params(TokenParams),
    responses((status = 200, description = "What is known of it", body = TokenBody), CommonProblems),
)]
pub(super) async fn get(
    State(api): State<Api>,
    TokenPath(team, id): TokenPath,
    params: Params,
) -> Result<Json<TokenBody>, Problem> {
    params.finish()?;
    let token = api.app.token_get(&team, &id).await?;
    Ok(Json(TokenBody::of(&token, api.moment().now)))
}

/// Revoke a token
///
/// It changes nothing from then on, and reads nothing 30 seconds later. One that was revoked stays so.
#[utoipa::path(
    delete,
    path = "/teams/{team}/tokens/{token}",
    operation_id = "revoke_token",
    tag = "tokens",
    params(TokenParams, DryRunParams),
    responses(
        (status = 200, description = "Of a dry run: nothing was done", body = TokenDryRun),
        (status = 204, description = "It is revoked"),
        (status = 409, description = "Others keep changing it", body = Problem,
         content_type = "application/problem+json",
         headers(("Retry-After" = Option<u32>, description = "Seconds, where the same again may succeed"))),
        CommonProblems,
    ),
)]
pub(super) async fn revoke(
    Acting(api): Acting,
    TokenPath(team, id): TokenPath,
    mut params: Params,
    _: NoBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    let moment = api.moment();
    if dry_run {
        api.app.token_get(&team, &id).await?;
        let status = StatusCode::NO_CONTENT.as_u16();
        return Ok(Json(TokenDryRun { status, answer: None }).into_response());
    }
    api.app.token_revoke(&team, &id, moment).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
