//! `/teams/{team}/jobs`

mod body;
mod container;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

pub(super) use body::{Compliance, JobBody, Network, NetworkRequest, Notifications, Subscription};
use body::{JobList, JobOrder, JobRequest, NotificationTest, Outcome, PauseRequest, Phase};

use super::Api;
use super::auth::Acting;
use super::dry_run::{self, DryRunParams, JobAnswer, JobDryRun, NotificationTestDryRun};
use super::extract::{
    Condition, ConditionParams, JobParams, JobPath, JsonBody, NoBody, OptionalBody, Params,
    TeamParams, TeamPath,
};
use super::idempotency::{Idempotency, IdempotencyParams, response};
use super::problem::{BodyProblems, ChangeProblems, CommonProblems, Problem};
use crate::app::{Change, JobView, JobsWanted, Precondition};
use crate::domain::ids::{JobKey, JobName};
use crate::domain::job::{self, Deletion};
use crate::domain::run;
use crate::domain::violation::ViolationCode;

const LIMIT_DEFAULT: i32 = 50;
const LIMIT_MAX: i32 = 100;

/// Create a job
///
/// Stores the definition, then makes AWS match it. What is not finished within the request is
/// finished by itself: `status.phase` tells. Send an `Idempotency-Key` to be able to repeat the request
/// and be answered the same.
#[utoipa::path(
    post,
    path = "/teams/{team}/jobs",
    operation_id = "create_job",
    tag = "jobs",
    params(TeamParams, DryRunParams, IdempotencyParams),
    request_body = JobRequest,
    responses(
        (status = 200, description = "Of a dry run: nothing was done", body = JobDryRun),
        (status = 201, description = "Created, in the phase that was reached", body = JobBody,
         headers(("Location" = String, description = "The job's URL"),
                 ("ETag" = String, description = "Names this state of the definition"),
                 ("Idempotent-Replayed" = Option<String>,
                  description = "`true` if the answer is that of an earlier request"))),
        (status = 409, description = "The team has a job of this name, or a request with this key goes on",
         body = Problem,
         content_type = "application/problem+json",
         headers(("Retry-After" = Option<u32>, description = "Seconds, where the same again may succeed"))),
        (status = 413, description = "The body has more than 256 KiB", body = Problem,
         content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem,
         content_type = "application/problem+json"),
        (status = 422, description = "The definition is not valid; `errors` has everything that is wrong. \
                                      Or AWS's quotas have no room for the job, or the key came before \
                                      with another request",
         body = Problem, content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub(super) async fn create(
    Acting(api): Acting,
    TeamPath(team): TeamPath,
    mut params: Params,
    idempotency: Idempotency,
    JsonBody(definition): JsonBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    let moment = api.moment();
    if dry_run {
        let foreseen = api.app.job_create_dry(team, definition, moment).await?;
        return Ok(dry_run::job(&api, 201, Some(foreseen.outcome), foreseen.calls));
    }
    let path = format!("/v1/teams/{team}/jobs");
    let Some(request) = idempotency.request(&team, "POST", &path, &definition) else {
        return Ok(created(api.app.job_create(team, definition, moment).await?));
    };
    let answered = api.app.job_create_keyed(team, definition, &request, moment).await?;
    Ok(response(&api, &request, answered, created).await)
}

/// List a team's jobs
///
/// By name. Of several filters all must hold. A page can hold fewer jobs than `limit`, even none, and
/// not be the last: `next` tells.
#[utoipa::path(
    get,
    path = "/teams/{team}/jobs",
    operation_id = "list_jobs",
    tag = "jobs",
    params(
        TeamParams,
        ("limit" = Option<i32>, Query, description = "Jobs a page, 1 to 100; 50 if left out",
         minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
        ("order" = inline(Option<JobOrder>), Query, description = "By name, ascending if left out"),
        ("name_prefix" = Option<String>, Query, description = "Only jobs whose names begin so",
         pattern = "^[a-z][a-z0-9-]*$", max_length = 64),
        ("phase" = Option<Phase>, Query, description = "Only jobs in this phase"),
        ("enabled" = Option<bool>, Query, description = "Only jobs whose schedule is on, or off"),
        ("last_outcome" = Option<Outcome>, Query,
         description = "Only jobs of which the newest run that has ended ended so"),
        ("compliant" = Option<bool>, Query,
         description = "Only jobs that keep to the team's guardrails, or that do not: `status.compliance`"),
        ("tag" = Option<Vec<String>>, Query, max_items = 5,
         description = "Only jobs with this tag: `key` for any value, or `key,value`. Repeated, for \
                        jobs with all of them"),
    ),
    responses((status = 200, description = "A page of jobs", body = JobList), CommonProblems),
)]
pub(super) async fn list(
    State(api): State<Api>,
    TeamPath(team): TeamPath,
    mut params: Params,
) -> Result<Json<JobList>, Problem> {
    let limit = params.count("limit", LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
    let wanted = JobsWanted {
        limit: usize::try_from(limit).unwrap_or(1),
        cursor: params.text("cursor"),
        filter: job::JobFilter {
            order: params
                .one_of("order", &job::JobOrder::ALL, job::JobOrder::as_str)
                .unwrap_or_default(),
            name_prefix: name_prefix(&mut params),
            phase: params.one_of("phase", &job::Phase::ALL, job::Phase::as_str),
            enabled: params.either("enabled"),
            last_outcome: params.one_of(
                "last_outcome",
                &run::RunStatus::OUTCOMES,
                run::RunStatus::as_str,
            ),
            tags: wanted_tags(&mut params),
            compliant: params.either("compliant"),
        },
    };
    params.finish()?;
    let page = api.app.job_list(&team, wanted, api.moment()).await?;
    Ok(Json(JobList { items: page.items.into_iter().map(JobBody::of).collect(), next: page.next }))
}

fn name_prefix(params: &mut Params) -> Option<JobName> {
    let text = params.text("name_prefix")?;
    JobName::parse(&text)
        .map_err(|why| params.wrong("name_prefix", ViolationCode::Format, why))
        .ok()
}

fn wanted_tags(params: &mut Params) -> BTreeMap<String, Option<String>> {
    let mut tags = BTreeMap::new();
    for text in params.texts("tag", job::TAG_FILTERS_MAX) {
        match job::read_wanted_tag(&text) {
            Err(why) => params.wrong("tag", ViolationCode::Format, why),
            Ok((key, value)) => {
                // Two values of one key would let no job through.
                if tags.contains_key(&key) {
                    let detail = format!("names the key `{key}` more than once");
                    params.wrong("tag", ViolationCode::Duplicate, detail);
                }
                tags.insert(key, value);
            }
        }
    }
    tags
}

/// Get a job
#[utoipa::path(
    get,
    path = "/teams/{team}/jobs/{job}",
    operation_id = "get_job",
    tag = "jobs",
    params(JobParams),
    responses((status = 200, description = "The job", body = JobBody,
         headers(("ETag" = String, description = "Names this state of the definition"))), CommonProblems),
)]
pub(super) async fn get(
    State(api): State<Api>,
    JobPath(key): JobPath,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    Ok(with_tag(StatusCode::OK, api.app.job_get(&key, api.moment()).await?))
}

/// Replace a job
///
/// The body is the whole definition: what it leaves out goes back to its default. Where there is no
/// such job it is created. The same definition again changes nothing. Runs that go on are not
/// touched; only a change of the task itself makes a new task definition revision.
#[utoipa::path(
    put,
    path = "/teams/{team}/jobs/{job}",
    operation_id = "replace_job",
    tag = "jobs",
    params(JobParams, DryRunParams, ConditionParams),
    request_body = JobRequest,
    responses(
        (status = 200, description = "The job, in the phase that was reached", body = JobAnswer,
         headers(("ETag" = String, description = "Names this state of the definition"))),
        (status = 201, description = "Created, in the phase that was reached", body = JobBody,
         headers(("Location" = String, description = "The job's URL"),
                 ("ETag" = String, description = "Names this state of the definition"))),
        ChangeProblems,
        BodyProblems,
        CommonProblems,
    ),
)]
pub(super) async fn replace(
    Acting(api): Acting,
    JobPath(key): JobPath,
    mut params: Params,
    Condition(precondition): Condition,
    JsonBody(definition): JsonBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    let change = Change::Replace(definition);
    if dry_run {
        return change_dry(&api, &key, &change, &precondition).await;
    }
    let changed = api.app.job_change(&key, change, &precondition, api.moment()).await?;
    Ok(if changed.created { created(changed.view) } else { with_tag(StatusCode::OK, changed.view) })
}

/// Change fields of a job
///
/// A JSON merge patch (RFC 7396) of the definition: what it does not name stays, and what it sets to
/// null goes back to its default. Lists are replaced as a whole.
#[utoipa::path(
    patch,
    path = "/teams/{team}/jobs/{job}",
    operation_id = "update_job",
    tag = "jobs",
    params(JobParams, DryRunParams, ConditionParams),
    request_body(
        content = Object,
        content_type = "application/merge-patch+json",
        description = "Fields of JobRequest, each with its new value or null",
        example = json!({"image": "busybox:2", "description": null}),
    ),
    responses(
        (status = 200, description = "The job, in the phase that was reached", body = JobAnswer,
         headers(("ETag" = String, description = "Names this state of the definition"))),
        ChangeProblems,
        BodyProblems,
        CommonProblems,
    ),
)]
pub(super) async fn update(
    Acting(api): Acting,
    JobPath(key): JobPath,
    mut params: Params,
    Condition(precondition): Condition,
    JsonBody(patch): JsonBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    if !patch.is_object() {
        return Err(Problem::bad_request("a merge patch of a job is a JSON object"));
    }
    let change = Change::Merge(patch);
    if dry_run {
        return change_dry(&api, &key, &change, &precondition).await;
    }
    let changed = api.app.job_change(&key, change, &precondition, api.moment()).await?;
    Ok(with_tag(StatusCode::OK, changed.view))
}

/// Delete a job
///
/// Switches the schedule off, waits for tasks that still run, and takes away everything that was
/// made for the job. The history stays for as long as it is kept.
#[utoipa::path(
    delete,
    path = "/teams/{team}/jobs/{job}",
    operation_id = "delete_job",
    tag = "jobs",
    params(
        JobParams,
        DryRunParams,
        ("stop_tasks" = Option<bool>, Query,
         description = "Stop the tasks that still run instead of waiting for their end"),
        ("delete_logs" = Option<bool>, Query,
         description = "Delete the log group too; without it the history keeps its logs"),
    ),
    responses(
        (status = 200, description = "Of a dry run: nothing was done", body = JobDryRun),
        (status = 202, description = "The job is being deleted; `status.reason` says what it waits for",
         body = JobBody),
        (status = 204, description = "The job is gone"),
        CommonProblems,
    ),
)]
pub(super) async fn delete(
    Acting(api): Acting,
    JobPath(key): JobPath,
    mut params: Params,
) -> Result<Response, Problem> {
    let deletion =
        Deletion { stop_tasks: params.flag("stop_tasks"), delete_logs: params.flag("delete_logs") };
    let dry_run = params.flag("dry_run");
    params.finish()?;
    if dry_run {
        let foreseen = api.app.job_delete_dry(&key, deletion, api.moment()).await?;
        let status = if foreseen.outcome.is_some() { 202 } else { 204 };
        return Ok(dry_run::job(&api, status, foreseen.outcome, foreseen.calls));
    }
    Ok(match api.app.job_delete(&key, deletion, api.moment()).await? {
        Some(view) => (StatusCode::ACCEPTED, Json(JobBody::of(view))).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Pause a job
///
/// Switches its schedule off, with a note that tells why and a time at which it is switched on again by itself,
/// if the body has them. Runs that go on are not touched. A job that is paused already stays so, and gets the
/// note and the time of the body in place of those that it has, without a body it keeps them. When the time has
/// come, a job that does not comply with the team's guardrails, or has no start left, stays off, and
/// `status.pause.resume_refused` says why. Starts that were missed are not made up for.
#[utoipa::path(
    post,
    path = "/teams/{team}/jobs/{job}/pause",
    operation_id = "pause_job",
    tag = "jobs",
    params(JobParams, DryRunParams),
    request_body = Option<PauseRequest>,
    responses(
        (status = 200, description = "The job, paused", body = JobAnswer,
         headers(("ETag" = String, description = "Names this state of the definition"))),
        (status = 409, description = "The job is being deleted, or others keep changing it", body = Problem,
         content_type = "application/problem+json",
         headers(("Retry-After" = Option<u32>, description = "Seconds, where the same again may succeed"))),
        (status = 413, description = "The body has more than 256 KiB", body = Problem,
         content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem,
         content_type = "application/problem+json"),
        (status = 422, description = "The note or the time is not valid", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub(super) async fn pause(
    Acting(api): Acting,
    JobPath(key): JobPath,
    mut params: Params,
    OptionalBody(body): OptionalBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    if dry_run {
        let foreseen = api.app.job_pause_dry(&key, body, api.moment()).await?;
        return Ok(dry_run::job(&api, 200, Some(foreseen.outcome), foreseen.calls));
    }
    Ok(with_tag(StatusCode::OK, api.app.job_pause(&key, body, api.moment()).await?))
}

/// Resume a job
///
/// Switches its schedule on again. Starts that were missed are not made up for. A job that does not comply
/// with the team's guardrails stays off.
#[utoipa::path(
    post,
    path = "/teams/{team}/jobs/{job}/resume",
    operation_id = "resume_job",
    tag = "jobs",
    params(JobParams, DryRunParams),
    responses(
        (status = 200, description = "The job, with its schedule on", body = JobAnswer,
         headers(("ETag" = String, description = "Names this state of the definition"))),
        (status = 409, description = "The job is being deleted, or others keep changing it", body = Problem,
         content_type = "application/problem+json",
         headers(("Retry-After" = Option<u32>, description = "Seconds, where the same again may succeed"))),
        (status = 422, description = "The job does not comply with the team's guardrails, or has nothing left \
                                      to start; the pointers of `errors` are those of its fields",
         body = Problem, content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub(super) async fn resume(
    Acting(api): Acting,
    JobPath(key): JobPath,
    mut params: Params,
    _: NoBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    if dry_run {
        let foreseen = api.app.job_set_enabled_dry(&key, true, api.moment()).await?;
        return Ok(dry_run::job(&api, 200, Some(foreseen.outcome), foreseen.calls));
    }
    Ok(with_tag(StatusCode::OK, api.app.job_set_enabled(&key, true, api.moment()).await?))
}

/// Test a job's notifications
///
/// Sends an event through the job's own failure rule to its topic and on to every confirmed
/// subscriber: what arrives shows that a failure would.
#[utoipa::path(
    post,
    path = "/teams/{team}/jobs/{job}/notifications/test",
    operation_id = "test_notifications",
    tag = "jobs",
    params(JobParams, DryRunParams),
    responses(
        (status = 200, description = "Of a dry run: nothing was done", body = NotificationTestDryRun),
        (status = 202, description = "The event is on its way", body = NotificationTest),
        (status = 409, description = "The job is not ready", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub(super) async fn notification_test(
    Acting(api): Acting,
    JobPath(key): JobPath,
    mut params: Params,
    _: NoBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    if dry_run {
        return Ok(dry_run::notification_test(api.app.notification_test_dry(&key).await?));
    }
    let (event_id, subscriptions) = api.app.notification_test(&key, api.moment()).await?;
    let test = NotificationTest::of(event_id, &subscriptions);
    Ok((StatusCode::ACCEPTED, Json(test)).into_response())
}

async fn change_dry(
    api: &Api,
    key: &JobKey,
    change: &Change,
    precondition: &Precondition,
) -> Result<Response, Problem> {
    let foreseen = api.app.job_change_dry(key, change, precondition, api.moment()).await?;
    let (view, created) = foreseen.outcome;
    Ok(dry_run::job(api, if created { 201 } else { 200 }, Some(view), foreseen.calls))
}

fn created(view: JobView) -> Response {
    let location = format!("/v1/teams/{}/jobs/{}", view.job.team, view.job.definition.name);
    ([(header::LOCATION, location)], with_tag(StatusCode::CREATED, view)).into_response()
}

/// The job, with the entity tag that a change of it can be conditioned on.
fn with_tag(status: StatusCode, view: JobView) -> Response {
    let tag = format!("\"{}\"", view.job.version_tag());
    (status, [(header::ETAG, tag)], Json(JobBody::of(view))).into_response()
}
