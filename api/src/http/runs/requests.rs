//! What can be asked of runs: that one starts now, and that one stops.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use utoipa::ToSchema;

use super::RunBody;
use crate::app::{RunView, Stop};
use crate::http::access::START_WITH_OVERRIDES;
use crate::http::auth::Acting;
use crate::http::dry_run::{self, DryRunParams, RunAnswer, RunDryRun};
use crate::http::extract::{JobParams, JobPath, OptionalBody, Params, RunParams, RunPath};
use crate::http::idempotency::{Idempotency, IdempotencyParams, response};
use crate::http::problem::{CommonProblems, Problem};

/// What one run has in place of its job's definition, or besides. Together at most 8,192 characters, as
/// ECS takes them.
#[derive(ToSchema)]
#[schema(example = json!({"command": ["report", "--since", "2026-11-01"], "memory": 2048}))]
#[expect(dead_code, reason = "describes the request in the OpenAPI document; domain::job reads it")]
pub(in crate::http) struct RunRequest {
    /// In place of the definition's `command`.
    #[schema(min_items = 1, max_items = 1000)]
    pub(in crate::http) command: Option<Vec<String>>,
    /// Added to the definition's; a variable of the same name takes its place.
    pub(in crate::http) environment: Option<BTreeMap<String, String>>,
    /// CPU units. Left out, the job's.
    #[schema(example = 256)]
    pub(in crate::http) cpu: Option<u32>,
    /// MiB. Left out, the job's.
    #[schema(example = 512)]
    pub(in crate::http) memory: Option<u32>,
}

/// Why a run is stopped.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the request in the OpenAPI document; domain::job reads it")]
pub(in crate::http) struct StopRequest {
    /// Comes back as the run's `stopped_reason`. Left out, `Stopped through Cronplane`.
    #[schema(min_length = 1, max_length = 255)]
    pub(in crate::http) reason: Option<String>,
}

/// Run a job now
///
/// Starts one run, whether the job is paused or not, with what the body has in place of the definition's;
/// without a body, as the definition says. The answer is the run in whatever state was reached: `pending`
/// where ECS could not start it yet, which is tried for 15 minutes, and `failed_to_start` where it
/// refused. What a body overrides changes the definition for that run: it takes the role `editor`, and a job
/// that keeps to its team's guardrails. Send an `Idempotency-Key` to be able to repeat the request without
/// starting a second run.
#[utoipa::path(
    post,
    path = "/teams/{team}/jobs/{job}/runs",
    operation_id = "start_run",
    tag = "runs",
    params(JobParams, DryRunParams, IdempotencyParams),
    request_body = Option<RunRequest>,
    responses(
        (status = 200, description = "Of a dry run: nothing was done", body = RunDryRun),
        (status = 201, description = "The run, in the state that was reached", body = RunBody,
         headers(("Location" = String, description = "The run's URL"),
                 ("Idempotent-Replayed" = Option<String>,
                  description = "`true` if the answer is that of an earlier request"))),
        (status = 409, description = "The job is not ready or is being deleted, or a request with this \
                                      key goes on", body = Problem,
         content_type = "application/problem+json",
         headers(("Retry-After" = Option<u32>, description = "Seconds, where the same again may succeed"))),
        (status = 413, description = "The body has more than 256 KiB", body = Problem,
         content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem,
         content_type = "application/problem+json"),
        (status = 422, description = "The overrides are not valid, or the key came before with another \
                                      request", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub(in crate::http) async fn start(
    Acting(api): Acting,
    JobPath(key): JobPath,
    mut params: Params,
    idempotency: Idempotency,
    OptionalBody(overrides): OptionalBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    if overrides.as_object().is_none_or(|fields| !fields.is_empty()) {
        api.require(START_WITH_OVERRIDES)?;
    }
    let moment = api.moment();
    if dry_run {
        let foreseen = api.app.run_start_dry(&key, overrides, moment).await?;
        return Ok(dry_run::run(StatusCode::CREATED.as_u16(), foreseen));
    }
    let path = format!("/v1/teams/{}/jobs/{}/runs", key.team, key.job);
    let Some(request) = idempotency.request(&key.team, "POST", &path, &overrides) else {
        return Ok(started(api.app.run_start(&key, overrides, moment).await?));
    };
    let answered = api.app.run_start_keyed(&key, overrides, &request, moment).await?;
    Ok(response(&api, &request, answered, started).await)
}

fn started(view: RunView) -> Response {
    let location =
        format!("/v1/teams/{}/jobs/{}/runs/{}", view.job.team, view.job.job, view.run.id);
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(RunBody::of(view))).into_response()
}

/// Stop a run
///
/// Its containers are sent SIGTERM, and SIGKILL after their stop timeout. A run that has no task yet gets
/// none. Can be repeated: a run that has ended stays as it is.
#[utoipa::path(
    post,
    path = "/teams/{team}/jobs/{job}/runs/{run}/stop",
    operation_id = "stop_run",
    tag = "runs",
    params(RunParams, DryRunParams),
    request_body = Option<StopRequest>,
    responses(
        (status = 200, description = "The run had ended before", body = RunAnswer),
        (status = 202, description = "The stop is on its way", body = RunBody),
        (status = 409, description = "The run's task is one that this deployment may not stop, or its state \
                                      keeps changing",
         body = Problem, content_type = "application/problem+json",
         headers(("Retry-After" = Option<u32>, description = "Seconds, where the same again may succeed"))),
        (status = 413, description = "The body has more than 256 KiB", body = Problem,
         content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem,
         content_type = "application/problem+json"),
        (status = 422, description = "The reason is not valid", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub(in crate::http) async fn stop(
    Acting(api): Acting,
    RunPath(key, id): RunPath,
    mut params: Params,
    OptionalBody(body): OptionalBody,
) -> Result<Response, Problem> {
    let dry_run = params.flag("dry_run");
    params.finish()?;
    if dry_run {
        let (foreseen, ended) = api.app.run_stop_dry(&key, &id, body).await?;
        let status = if ended { StatusCode::OK } else { StatusCode::ACCEPTED };
        return Ok(dry_run::run(status.as_u16(), foreseen));
    }
    let (status, view) = match api.app.run_stop(&key, &id, body, api.moment()).await? {
        Stop::Asked(view) => (StatusCode::ACCEPTED, view),
        Stop::Ended(view) => (StatusCode::OK, view),
    };
    Ok((status, Json(RunBody::of(view))).into_response())
}
