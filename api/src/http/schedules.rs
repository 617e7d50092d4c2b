//! `/schedules`: what a schedule means, before there is a job with it.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{JsonBody, Params};
use super::problem::{BodyProblems, CommonProblems, Problem};
use crate::domain::schedule::PreviewRequest;

/// A schedule to look at.
#[derive(ToSchema)]
#[schema(example = json!({"expression": "cron(0 4 ? * MON-FRI *)", "count": 3}))]
#[expect(
    dead_code,
    reason = "describes the request in the OpenAPI document; domain::schedule reads it"
)]
pub(super) struct SchedulePreviewRequest {
    expression: String,
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
    #[schema(required, example = "At 04:00 UTC, Monday through Friday")]
    description: Option<String>,
    /// The same as Cronplane would write it; null if it is not valid.
    #[schema(required)]
    canonical: Option<String>,
    /// The next starts, earliest first; fewer than were asked for if there are no more.
    #[schema(max_items = 100)]
    next: Vec<String>,
    /// True for a `rate`, of which only AWS knows when it counts from.
    approximate: bool,
    /// What may surprise.
    notes: Vec<&'static str>,
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
    Ok(Json(match request.preview() {
        Ok(preview) => SchedulePreview {
            valid: true,
            error: None,
            suggestion: None,
            description: Some(preview.description),
            canonical: Some(preview.canonical),
            next: preview.next.iter().map(ToString::to_string).collect(),
            approximate: preview.approximate,
            notes: preview.notes,
        },
        Err(refused) => SchedulePreview {
            valid: false,
            error: Some(refused.message),
            suggestion: refused.suggestion,
            description: None,
            canonical: None,
            next: Vec::new(),
            approximate: false,
            notes: Vec::new(),
        },
    }))
}
