//! Dry runs in requests and answers.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::jobs::{JobBody, Subscription};
use super::runs::RunBody;
use super::schedules::SchedulePreview;
use crate::app::{Foreseen, JobView, RunView};
use crate::domain::dry_run;
use crate::domain::job;
use crate::domain::schedule::JobPreviewRequest;

/// The parameter with which every change can be asked for without being made.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameter in the OpenAPI document")]
pub(super) struct DryRunParams {
    /// Do nothing, and tell what the answer would be and which calls to AWS would change something
    #[param(default = false)]
    dry_run: Option<bool>,
}

/// A call to AWS that would change something.
#[derive(Serialize, ToSchema)]
pub(super) struct AwsCall {
    #[schema(example = "ecs:RegisterTaskDefinition")]
    operation: String,
    /// The ARN of what it is about, or its name where it has none yet.
    resource: String,
}

/// What would come of a change of a job, of which nothing was done.
#[derive(Serialize, ToSchema)]
pub(super) struct JobDryRun {
    /// The status of the answer.
    #[schema(example = 201)]
    status: u16,
    /// The job as it would be; null where it would be gone. Of a job that is not there yet, `id` is
    /// all zeros; an ARN that ECS numbers stands without its number.
    #[schema(required)]
    answer: Option<JobBody>,
    /// What its schedule would mean; null where the job is deleted.
    #[schema(required)]
    schedule: Option<SchedulePreview>,
    /// The calls that would change something in AWS, in the order in which they would be made; some
    /// are made at the same time.
    aws_calls: Vec<AwsCall>,
}

/// What would come of a request about a run, of which nothing was done.
#[derive(Serialize, ToSchema)]
pub(super) struct RunDryRun {
    /// The status of the answer.
    #[schema(example = 201)]
    status: u16,
    /// The run as it would be. Of one that is not there yet, `id` ends in zeros.
    answer: RunBody,
    aws_calls: Vec<AwsCall>,
}

/// What would come of a test of the notifications, of which nothing was done.
#[derive(Serialize, ToSchema)]
pub(super) struct NotificationTestDryRun {
    /// The status of the answer.
    #[schema(example = 202)]
    status: u16,
    /// The job's subscribers: those that are `confirmed` would receive it.
    subscriptions: Vec<Subscription>,
    aws_calls: Vec<AwsCall>,
}

/// The job, or of a dry run what would come of it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the answers in the OpenAPI document")]
pub(super) enum JobAnswer {
    Job(Box<JobBody>),
    DryRun(Box<JobDryRun>),
}

/// The run, or of a dry run what would come of it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the answers in the OpenAPI document")]
pub(super) enum RunAnswer {
    Run(Box<RunBody>),
    DryRun(Box<RunDryRun>),
}

fn calls(calls: Vec<dry_run::AwsCall>) -> Vec<AwsCall> {
    calls
        .into_iter()
        .map(|call| AwsCall { operation: call.operation.to_owned(), resource: call.resource })
        .collect()
}

/// The answer to the dry run of a request that would be answered with `status` and this job.
pub(super) fn job(
    api: &Api,
    status: u16,
    outcome: Option<JobView>,
    foreseen: Vec<dry_run::AwsCall>,
) -> Response {
    let usual = JobPreviewRequest::usual(api.moment().now);
    let schedule = outcome
        .as_ref()
        .map(|view| SchedulePreview::of(view.job.preview(usual, api.app.deployment.engine)));
    let aws_calls = calls(foreseen);
    Json(JobDryRun { status, answer: outcome.map(JobBody::of), schedule, aws_calls })
        .into_response()
}

/// The answer to the dry run of a request that would be answered with `status` and this run.
pub(super) fn run(status: u16, foreseen: Foreseen<RunView>) -> Response {
    let aws_calls = calls(foreseen.calls);
    Json(RunDryRun { status, answer: RunBody::of(foreseen.outcome), aws_calls }).into_response()
}

/// The answer to the dry run of a test of the notifications.
pub(super) fn notification_test(foreseen: Foreseen<Vec<job::Subscription>>) -> Response {
    Json(NotificationTestDryRun {
        status: 202,
        subscriptions: foreseen.outcome.iter().map(Subscription::of).collect(),
        aws_calls: calls(foreseen.calls),
    })
    .into_response()
}
