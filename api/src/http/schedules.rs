//! `/schedules`: what a schedule means, before there is a job with it; and of a job.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{JobParams, JobPath, JsonBody, Params};
use super::problem::{BodyProblems, CommonProblems, Problem};
use crate::domain::schedule::{self, JobPreviewRequest, Preview, PreviewRequest};

/// A schedule to look at.
#[derive(ToSchema)]
#[schema(example = json!({
    "expression": "cron(0 4 ? * MON-FRI *)", "timezone": "Europe/Berlin", "count": 3,
}))]
#[expect(
    dead_code,
    reason = "describes the request in the OpenAPI document; domain::schedule reads it"
)]
pub(super) struct SchedulePreviewRequest {
    expression: String,
    /// As a job's `timezone`.
    #[schema(default = "UTC")]
    timezone: Option<String>,
    /// As a job's `start_date`.
    #[schema(format = DateTime)]
    start_date: Option<String>,
    /// As a job's `end_date`.
    #[schema(format = DateTime)]
    end_date: Option<String>,
    /// As a job's `flexible_window_minutes`.
    #[schema(minimum = 1, maximum = 1440)]
    flexible_window_minutes: Option<u32>,
    /// As a job's `spread`.
    #[schema(default = false)]
    spread: Option<bool>,
    /// Starts behind this are told. Left out, the present.
    #[schema(format = DateTime)]
    after: Option<String>,
    /// Starts to tell. Left out, 10.
    #[schema(minimum = 1, maximum = 100)]
    count: Option<u32>,
}

/// What a schedule means.
#[derive(Serialize, ToSchema)]
pub(super) struct SchedulePreview {
    /// Whether a job can have it.
    valid: bool,
    /// Why not, and what is allowed; null if it is valid.
    #[schema(required)]
    error: Option<String>,
    /// What was most likely meant; null if that can't be told, or it is valid.
    #[schema(required)]
    suggestion: Option<String>,
    /// In plain English; null if it is not valid.
    #[schema(required, example = "At 04:00 Europe/Berlin, Monday through Friday")]
    description: Option<String>,
    /// The same as Cronplane would write it; null if it is not valid.
    #[schema(required)]
    canonical: Option<String>,
    /// What would carry it, or does; null if it is not valid.
    #[schema(required)]
    engine: Option<Engine>,
    /// The next starts in UTC, earliest first; fewer than were asked for if there are no more.
    #[schema(max_items = 100, example = json!(["2026-11-24T03:00:00Z"]))]
    next: Vec<String>,
    /// The same on the clocks of the time zone, with their offset from UTC.
    #[schema(max_items = 100, example = json!(["2026-11-24T04:00:00+01:00"]))]
    local: Vec<String>,
    /// True for a `rate` of which it is not known when it counts from.
    approximate: bool,
    /// What may surprise: starts that a change of the clocks takes away, a schedule that never starts.
    notes: Vec<String>,
}

/// What carries a schedule.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Engine {
    /// A rule of Amazon EventBridge.
    Rule,
    /// A schedule of Amazon EventBridge Scheduler.
    Scheduler,
}

impl Engine {
    pub(super) fn of(engine: schedule::Engine) -> Engine {
        match engine {
            schedule::Engine::Rule => Engine::Rule,
            schedule::Engine::Scheduler => Engine::Scheduler,
        }
    }
}

impl SchedulePreview {
    pub(super) fn of(preview: Preview) -> SchedulePreview {
        SchedulePreview {
            valid: true,
            error: None,
            suggestion: None,
            description: Some(preview.description),
            canonical: Some(preview.canonical),
            engine: Some(Engine::of(preview.engine)),
            next: preview.next.iter().map(ToString::to_string).collect(),
            local: preview.local,
            approximate: preview.approximate,
            notes: preview.notes,
        }
    }
}

/// Preview a schedule
///
/// What an expression means and when it starts next. One that is not valid is answered 200 too: with why it
/// is not, and with what was most likely meant. Nothing is made.
#[utoipa::path(
    post,
    path = "/schedules/preview",
    operation_id = "preview_schedule",
    tag = "schedules",
    request_body = SchedulePreviewRequest,
    responses(
        (status = 200, description = "What it means, or why it means nothing", body = SchedulePreview),
        BodyProblems,
        CommonProblems,
    ),
)]
pub(super) async fn preview(
    State(api): State<Api>,
    params: Params,
    JsonBody(request): JsonBody,
) -> Result<Json<SchedulePreview>, Problem> {
    params.finish()?;
    let request = PreviewRequest::read(request, api.moment().now);
    let request = request.map_err(Problem::of_violations)?;
    Ok(Json(match request.preview(api.app.deployment.engine) {
        Ok(preview) => SchedulePreview::of(preview),
        Err(refused) => SchedulePreview {
            valid: false,
            error: Some(refused.message),
            suggestion: refused.suggestion,
            description: None,
            canonical: None,
            engine: None,
            next: Vec::new(),
            local: Vec::new(),
            approximate: false,
            notes: Vec::new(),
        },
    }))
}

/// Preview a job's schedule
///
/// What the job's schedule means and when it starts next, also while the job is paused.
#[utoipa::path(
    get,
    path = "/teams/{team}/jobs/{job}/schedule",
    operation_id = "preview_job_schedule",
    tag = "schedules",
    params(
        JobParams,
        ("after" = Option<String>, Query, format = DateTime,
         description = "Starts behind this are told. Left out, the present"),
        ("count" = Option<i32>, Query, description = "Starts to tell. Left out, 10",
         minimum = 1, maximum = 100),
    ),
    responses(
        (status = 200, description = "What it means", body = SchedulePreview),
        CommonProblems,
    ),
)]
pub(super) async fn preview_of_job(
    State(api): State<Api>,
    JobPath(key): JobPath,
    mut params: Params,
) -> Result<Json<SchedulePreview>, Problem> {
    let usual = JobPreviewRequest::usual(api.moment().now);
    let most = i32::try_from(JobPreviewRequest::COUNT_MAX).unwrap_or(i32::MAX);
    let count = params.count("count", most).and_then(|count| u32::try_from(count).ok());
    let wanted = JobPreviewRequest {
        after: params.time("after").unwrap_or(usual.after),
        count: count.unwrap_or(usual.count),
    };
    params.finish()?;
    Ok(Json(SchedulePreview::of(api.app.job_preview(&key, wanted).await?)))
}
