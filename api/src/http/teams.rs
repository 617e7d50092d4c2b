//! `/teams`, and who asks

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::Api;
use super::auth::{Acting, Caller};
use super::dry_run::DryRunParams;
use super::extract::{Condition, ConditionParams, JsonBody, NoBody, Params, TeamParams, TeamPath};
use super::problem::{BodyProblems, ChangeProblems, CommonProblems, Problem};
use crate::app::{Change, ChangedTeam};
use crate::domain::ids::TeamName;
use crate::domain::team::Team;

mod body;

use body::{
    NotComplying, TeamAnswer, TeamBody, TeamChanged, TeamDryRun, TeamList, TeamRequest, WhoAmI,
};

const LIMIT_DEFAULT: i32 = 50;
const LIMIT_MAX: i32 = 100;

/// Create a team
///
/// Its jobs may pass no role, read no secret, enter no named cluster and mount no file system until its
/// guardrails grant it.
#[utoipa::path(
    post,
    path = "/teams",
    operation_id = "create_team",
    tag = "teams",
    params(DryRunParams),
    request_body = TeamRequest,
    responses(
        (status = 200, description = "Of a dry run: nothing was done", body = TeamDryRun),
        (status = 201, description = "Created", body = TeamBody,
         headers(("Location" = String, description = "The team's URL"),
                 ("ETag" = String, description = "Names this state of the definition"))),
        (status = 409, description = "There is a team of this name", body = Problem,
         content_type = "application/problem+json",
         headers(("Retry-After" = Option<u32>, description = "Seconds, where the same again may succeed"))),
        BodyProblems,
        CommonProblems,
    ),
)]
pub(super) async fn create(
    Acting(api): Acting,
    mut params: Params,
    JsonBody(definition): JsonBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    if dry_run {
        let team = api.app.team_create_dry(definition, api.moment()).await?;
        return Ok(Json(TeamDryRun::of(StatusCode::CREATED, Some(&team))).into_response());
    }
    Ok(created(&api.app.team_create(definition, api.moment()).await?))
}

/// List teams
///
/// By name: all of them to an administrator, to others those in which they have a role.
#[utoipa::path(
    get,
    path = "/teams",
    operation_id = "list_teams",
    tag = "teams",
    params(
        ("limit" = Option<i32>, Query, description = "Teams a page, 1 to 100; 50 if left out",
         minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses((status = 200, description = "A page of teams", body = TeamList), CommonProblems),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Caller(principal): Caller,
    mut params: Params,
) -> Result<Json<TeamList>, Problem> {
    let limit = params.count("limit", LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
    let cursor = params.text("cursor");
    params.finish()?;
    let limit = usize::try_from(limit).unwrap_or(1);
    let page = api.app.team_list(&principal.access, cursor, limit).await?;
    Ok(Json(TeamList { items: page.items.iter().map(TeamBody::of).collect(), next: page.next }))
}

/// Get a team
#[utoipa::path(
    get,
    path = "/teams/{team}",
    operation_id = "get_team",
    tag = "teams",
    params(TeamParams),
    responses((status = 200, description = "The team", body = TeamBody,
         headers(("ETag" = String, description = "Names this state of the definition"))), CommonProblems),
)]
pub(super) async fn get(
    State(api): State<Api>,
    TeamPath(name): TeamPath,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let team = api.app.team(&name).await?;
    Ok(([(header::ETAG, tag(&team))], Json(TeamBody::of(&team))).into_response())
}

/// Replace a team
///
/// The body is the whole definition: what it leaves out goes back to its default. Where there is no such
/// team it is created. No job is changed: those that do not comply any more go on, and are told here and
/// marked wherever they are shown.
#[utoipa::path(
    put,
    path = "/teams/{team}",
    operation_id = "replace_team",
    tag = "teams",
    params(TeamParams, DryRunParams, ConditionParams),
    request_body = TeamRequest,
    responses(
        (status = 200, description = "The team, or of a dry run what it would be", body = TeamAnswer,
         headers(("ETag" = String, description = "Names this state of the definition"))),
        (status = 201, description = "Created", body = TeamChanged,
         headers(("Location" = String, description = "The team's URL"),
                 ("ETag" = String, description = "Names this state of the definition"))),
        ChangeProblems,
        BodyProblems,
        CommonProblems,
    ),
)]
pub(super) async fn replace(
    Acting(api): Acting,
    TeamPath(name): TeamPath,
    params: Params,
    condition: Condition,
    JsonBody(definition): JsonBody,
) -> Result<Response, Problem> {
    change(&api, &name, Change::Replace(definition), condition, params).await
}

/// Change fields of a team
///
/// A JSON merge patch (RFC 7396) of the definition: what it does not name stays, and what it sets to null
/// goes back to its default. Lists are replaced as a whole.
#[utoipa::path(
    patch,
    path = "/teams/{team}",
    operation_id = "update_team",
    tag = "teams",
    params(TeamParams, DryRunParams, ConditionParams),
    request_body(
        content = Object,
        content_type = "application/merge-patch+json",
        description = "Fields of TeamRequest, each with its new value or null",
        example = json!({"guardrails": {"max_cpu": 1024}}),
    ),
    responses(
        (status = 200, description = "The team, or of a dry run what it would be", body = TeamAnswer,
         headers(("ETag" = String, description = "Names this state of the definition"))),
        ChangeProblems,
        BodyProblems,
        CommonProblems,
    ),
)]
pub(super) async fn update(
    Acting(api): Acting,
    TeamPath(name): TeamPath,
    params: Params,
    condition: Condition,
    JsonBody(patch): JsonBody,
) -> Result<Response, Problem> {
    if !patch.is_object() {
        return Err(Problem::bad_request("a merge patch of a team is a JSON object"));
    }
    change(&api, &name, Change::Merge(patch), condition, params).await
}

/// Delete a team
///
/// Refused while it has jobs. Its tokens are worth nothing from then on, also to a team that is made again
/// under the name. Its audit log stays for as long as it is kept.
#[utoipa::path(
    delete,
    path = "/teams/{team}",
    operation_id = "delete_team",
    tag = "teams",
    params(TeamParams, DryRunParams),
    responses(
        (status = 200, description = "Of a dry run: nothing was done", body = TeamDryRun),
        (status = 204, description = "The team is gone"),
        (status = 409, description = "The team has jobs", body = Problem,
         content_type = "application/problem+json",
         headers(("Retry-After" = Option<u32>, description = "Seconds, where the same again may succeed"))),
        CommonProblems,
    ),
)]
pub(super) async fn delete(
    Acting(api): Acting,
    TeamPath(name): TeamPath,
    mut params: Params,
    _: NoBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    if dry_run {
        api.app.team_delete_dry(&name).await?;
        return Ok(Json(TeamDryRun::of(StatusCode::NO_CONTENT, None)).into_response());
    }
    api.app.team_delete(&name, api.moment()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Who asks
///
/// As whom the request's token is recognised, and what that one may do.
#[utoipa::path(
    get,
    path = "/me",
    operation_id = "who_am_i",
    tag = "teams",
    responses((status = 200, description = "Who asks", body = WhoAmI), CommonProblems),
)]
pub(super) async fn who_am_i(
    Caller(principal): Caller,
    params: Params,
) -> Result<Json<WhoAmI>, Problem> {
    params.finish()?;
    Ok(Json(WhoAmI::of(&principal)))
}

async fn change(
    api: &Api,
    name: &TeamName,
    change: Change,
    Condition(precondition): Condition,
    mut params: Params,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    if dry_run {
        let foreseen = api.app.team_change_dry(name, &change, &precondition, api.moment()).await?;
        let status = if foreseen.created { StatusCode::CREATED } else { StatusCode::OK };
        let dry_run = TeamDryRun::of(status, Some(&foreseen.team)).with(&foreseen.not_complying);
        return Ok(Json(dry_run).into_response());
    }
    let changed = api.app.team_change(name, &change, &precondition, api.moment()).await?;
    Ok(answer(&changed))
}

fn answer(changed: &ChangedTeam) -> Response {
    let body = TeamChanged {
        team: TeamBody::of(&changed.team),
        not_complying: NotComplying::of(&changed.not_complying),
    };
    let response = ([(header::ETAG, tag(&changed.team))], Json(body));
    if changed.created {
        let location = [(header::LOCATION, url(&changed.team))];
        (StatusCode::CREATED, location, response).into_response()
    } else {
        response.into_response()
    }
}

fn created(team: &Team) -> Response {
    let headers = [(header::LOCATION, url(team)), (header::ETAG, tag(team))];
    (StatusCode::CREATED, headers, Json(TeamBody::of(team))).into_response()
}

fn url(team: &Team) -> String {
    format!("/v1/teams/{}", team.name)
}

fn tag(team: &Team) -> String {
    format!("\"{}\"", team.version_tag())
}
