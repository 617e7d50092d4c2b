//! `/teams/{team}/jobs/{job}/runs`

pub(super) mod requests;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{JobParams, JobPath, Params, RunParams, RunPath};
use super::problem::{CommonProblems, Problem};
use crate::app::{LogsWanted, RunView, RunsWanted};
use crate::domain::run;
use crate::domain::violation::ViolationCode;

const RUNS_DEFAULT: i32 = 50;
const RUNS_MAX: i32 = 100;
const LINES_DEFAULT: i32 = 1000;
const LINES_MAX: i32 = 10_000;

/// One task of a job, from its creation to its end; of a run that Cronplane starts, from the request or
/// the time of the schedule on.
#[derive(Serialize, ToSchema)]
pub(super) struct RunBody {
    /// When the task was created, and its ECS id; of a run that Cronplane starts, when it was asked for
    /// or was to start, and an id of its own. Ids sort by time.
    #[schema(example = "20261123T140903-c13b4cb40f1f4fe4a2971f76ae5a47ad")]
    pub(super) id: String,
    pub(super) team: String,
    pub(super) job: String,
    pub(super) trigger: Trigger,
    /// The start that the schedule promised; null for other triggers.
    #[schema(required, format = DateTime)]
    pub(super) scheduled_time: Option<String>,
    pub(super) status: RunStatus,
    /// When the task was created; of a `manual` run, when it was asked for; of a run that Cronplane
    /// starts on schedule (`spot_with_fallback`), when it was to start.
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    #[schema(required, format = DateTime)]
    pub(super) pull_started_at: Option<String>,
    #[schema(required, format = DateTime)]
    pub(super) pull_stopped_at: Option<String>,
    #[schema(required, format = DateTime)]
    pub(super) started_at: Option<String>,
    #[schema(required, format = DateTime)]
    pub(super) stopping_at: Option<String>,
    #[schema(required, format = DateTime)]
    pub(super) execution_stopped_at: Option<String>,
    #[schema(required, format = DateTime)]
    pub(super) stopped_at: Option<String>,
    pub(super) durations: Durations,
    /// The main container's.
    #[schema(required)]
    pub(super) exit_code: Option<i32>,
    pub(super) containers: Vec<Container>,
    /// ECS's code of why the task stopped.
    #[schema(required, example = "EssentialContainerExited")]
    pub(super) stop_code: Option<String>,
    /// Why the task stopped; of a run without a task, why it has none yet, or got none.
    #[schema(required)]
    pub(super) stopped_reason: Option<String>,
    /// The main container's.
    #[schema(required)]
    pub(super) image_digest: Option<String>,
    pub(super) task_definition_arn: String,
    pub(super) task_definition_revision: u32,
    /// Null until the task of a run that Cronplane starts is there.
    #[schema(required)]
    pub(super) task_arn: Option<String>,
    pub(super) cluster_arn: String,
    /// CPU units.
    #[schema(required)]
    pub(super) cpu: Option<u32>,
    /// MiB.
    #[schema(required)]
    pub(super) memory: Option<u32>,
    /// What capacity the task takes: `FARGATE` is on demand, `FARGATE_SPOT` is Spot. Null until the task
    /// is there.
    #[schema(required, example = "FARGATE_SPOT")]
    pub(super) capacity_provider: Option<String>,
    /// What the start changed of the task definition, as ECS tells it.
    #[schema(value_type = Object)]
    pub(super) overrides: serde_json::Value,
    /// The run's log in the CloudWatch console; the job's log group while the run has no task.
    pub(super) console_url: String,
}

/// What made a run start.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Trigger {
    /// The job's schedule.
    Schedule,
    /// A request to Cronplane.
    Manual,
    /// Somebody ran the task definition without Cronplane.
    External,
}

/// Where a run stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RunStatus {
    /// Created or asked for, not running yet.
    Pending,
    Running,
    /// The main container ended with 0.
    Succeeded,
    /// The main container ended with another code, or ECS could not tell its code.
    Failed,
    /// No container ever ran.
    FailedToStart,
    /// Ended by its deadline.
    TimedOut,
    /// Stopped by a person or a program.
    Stopped,
    /// Ended by AWS: Spot capacity taken back, host retired or broken.
    Interrupted,
    /// Its end was never told, and ECS knows the task no longer.
    Unknown,
}

/// How long the parts of a run took, in seconds; null where one of the ends is not known.
#[derive(Serialize, ToSchema)]
pub(super) struct Durations {
    /// Pulling the image.
    #[schema(required)]
    pub(super) pull_seconds: Option<f64>,
    /// From `created_at` until its containers ran.
    #[schema(required)]
    pub(super) start_seconds: Option<f64>,
    /// From then until the containers had ended.
    #[schema(required)]
    pub(super) run_seconds: Option<f64>,
    /// From `created_at` until it had stopped.
    #[schema(required)]
    pub(super) total_seconds: Option<f64>,
}

/// How a container ended.
#[derive(Serialize, ToSchema)]
pub(super) struct Container {
    /// `main` runs the job.
    pub(super) name: String,
    #[schema(required)]
    pub(super) exit_code: Option<i32>,
    #[schema(required)]
    pub(super) reason: Option<String>,
    #[schema(required)]
    pub(super) image: Option<String>,
    #[schema(required)]
    pub(super) image_digest: Option<String>,
}

/// A page of runs.
#[derive(Serialize, ToSchema)]
pub(super) struct RunList {
    pub(super) items: Vec<RunBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    pub(super) next: Option<String>,
}

/// One line of a run's log.
#[derive(Serialize, ToSchema)]
pub(super) struct LogLine {
    #[schema(format = DateTime)]
    pub(super) timestamp: String,
    pub(super) message: String,
    /// Whether the message was too long for an answer and was cut.
    pub(super) truncated: bool,
}

/// A page of log lines.
#[derive(Serialize, ToSchema)]
pub(super) struct LogList {
    pub(super) items: Vec<LogLine>,
    /// The `cursor` of what comes next; null once the run has ended and its last line was told.
    /// While the run goes on, ask again with it a little later.
    #[schema(required)]
    pub(super) next: Option<String>,
}

/// List a job's runs
///
/// Newest first. A filter can leave a page with few runs, or none, that is not the last: `next`
/// tells. The runs of a job that was deleted are listed as long as they are kept.
#[utoipa::path(
    get,
    path = "/teams/{team}/jobs/{job}/runs",
    operation_id = "list_runs",
    tag = "runs",
    params(
        JobParams,
        ("limit" = Option<i32>, Query, description = "Runs a page, 1 to 100; 50 if left out",
         minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
        ("status" = Option<RunStatus>, Query, description = "Only runs of this status"),
        ("trigger" = Option<Trigger>, Query, description = "Only runs started by this"),
        ("from" = Option<String>, Query, format = DateTime,
         description = "Only runs created in this second (RFC 3339) or after; beside `task_arn`, \
                        when the task was created"),
        ("to" = Option<String>, Query, format = DateTime,
         description = "Only runs created in this second (RFC 3339) or before"),
        ("task_arn" = Option<String>, Query, description = "Only the run of this ECS task"),
    ),
    responses((status = 200, description = "A page of runs", body = RunList), CommonProblems),
)]
pub(super) async fn list(
    State(api): State<Api>,
    JobPath(key): JobPath,
    mut params: Params,
) -> Result<Json<RunList>, Problem> {
    let limit = params.count("limit", RUNS_MAX).unwrap_or(RUNS_DEFAULT);
    let wanted = RunsWanted {
        limit: usize::try_from(limit).unwrap_or(1),
        cursor: params.text("cursor"),
        status: params.one_of("status", &run::RunStatus::ALL, run::RunStatus::as_str),
        trigger: params.one_of("trigger", &run::Trigger::ALL, run::Trigger::as_str),
        from: params.time("from"),
        to: params.time("to"),
        task_arn: params.text("task_arn"),
    };
    params.finish()?;
    let page = api.app.run_list(&key, wanted).await?;
    Ok(Json(RunList { items: page.items.into_iter().map(RunBody::of).collect(), next: page.next }))
}

/// Get a run
#[utoipa::path(
    get,
    path = "/teams/{team}/jobs/{job}/runs/{run}",
    operation_id = "get_run",
    tag = "runs",
    params(RunParams),
    responses((status = 200, description = "The run", body = RunBody), CommonProblems),
)]
pub(super) async fn get(
    State(api): State<Api>,
    RunPath(key, id): RunPath,
    params: Params,
) -> Result<Json<RunBody>, Problem> {
    params.finish()?;
    Ok(Json(RunBody::of(api.app.run_get(&key, &id).await?)))
}

/// Read a run's log
///
/// What its main container wrote, or the one that is named, oldest first. A run that wrote nothing, or has not begun to, has
/// no lines.
#[utoipa::path(
    get,
    path = "/teams/{team}/jobs/{job}/runs/{run}/logs",
    operation_id = "get_run_logs",
    tag = "runs",
    params(
        RunParams,
        ("container" = Option<String>, Query, description = "A sidecar; left out, the main container",
         example = "proxy"),
        ("limit" = Option<i32>, Query, description = "Lines a page, 1 to 10000; 1000 if left out",
         minimum = 1, maximum = 10000),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
        ("tail" = Option<i32>, Query, minimum = 1, maximum = 10000,
         description = "Only so many of the last lines; in place of `limit` and `cursor`"),
    ),
    responses((status = 200, description = "A page of lines", body = LogList), CommonProblems),
)]
pub(super) async fn logs(
    State(api): State<Api>,
    RunPath(key, id): RunPath,
    mut params: Params,
) -> Result<Json<LogList>, Problem> {
    let container = params.text("container");
    let limit = params.count("limit", LINES_MAX);
    let cursor = params.text("cursor");
    let tail = params.count("tail", LINES_MAX);
    if tail.is_some() && (limit.is_some() || cursor.is_some()) {
        let detail = "goes with neither `limit` nor `cursor`";
        params.wrong("tail", ViolationCode::NotAllowed, detail);
    }
    params.finish()?;
    let wanted = LogsWanted {
        container,
        tail: tail.is_some(),
        limit: tail.or(limit).unwrap_or(LINES_DEFAULT),
        cursor,
    };
    let (lines, next) = api.app.run_logs(&key, &id, wanted).await?;
    let items = lines
        .into_iter()
        .map(|line| LogLine {
            timestamp: line.timestamp.to_string(),
            message: line.message,
            truncated: line.truncated,
        })
        .collect();
    Ok(Json(LogList { items, next }))
}

impl RunBody {
    pub(super) fn of(view: RunView) -> RunBody {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let run = view.run;
        let main = run.main_container();
        RunBody {
            id: run.id.to_string(),
            team: view.job.team.to_string(),
            job: view.job.job.to_string(),
            trigger: Trigger::of(run.trigger),
            scheduled_time: text(run.scheduled_time),
            status: RunStatus::of(run.status),
            created_at: run.created_at.to_string(),
            pull_started_at: text(run.pull_started_at),
            pull_stopped_at: text(run.pull_stopped_at),
            started_at: text(run.started_at),
            stopping_at: text(run.stopping_at),
            execution_stopped_at: text(run.execution_stopped_at),
            stopped_at: text(run.stopped_at),
            durations: Durations {
                pull_seconds: seconds(run.pull_started_at, run.pull_stopped_at),
                start_seconds: seconds(Some(run.created_at), run.started_at),
                run_seconds: seconds(run.started_at, run.execution_stopped_at),
                total_seconds: seconds(Some(run.created_at), run.stopped_at),
            },
            exit_code: main.and_then(|main| main.exit_code),
            image_digest: main.and_then(|main| main.image_digest.clone()),
            containers: run
                .containers
                .into_iter()
                .map(|container| Container {
                    name: container.name,
                    exit_code: container.exit_code,
                    reason: container.reason,
                    image: container.image,
                    image_digest: container.image_digest,
                })
                .collect(),
            stop_code: run.stop_code,
            stopped_reason: run.stopped_reason,
            task_definition_arn: run.task_definition_arn,
            task_definition_revision: run.task_definition_revision,
            task_arn: run.task_arn,
            cluster_arn: run.cluster_arn,
            cpu: run.cpu,
            memory: run.memory,
            capacity_provider: run.capacity_provider,
            overrides: run.overrides,
            console_url: view.console_url,
        }
    }
}

fn seconds(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<f64> {
    let milliseconds = to?.duration_since(from?).as_millis();
    Some(milliseconds as f64 / 1000.0)
}

impl Trigger {
    pub(super) fn of(trigger: run::Trigger) -> Trigger {
        match trigger {
            run::Trigger::Schedule => Trigger::Schedule,
            run::Trigger::Manual => Trigger::Manual,
            run::Trigger::External => Trigger::External,
        }
    }
}

impl RunStatus {
    pub(super) fn of(status: run::RunStatus) -> RunStatus {
        match status {
            run::RunStatus::Pending => RunStatus::Pending,
            run::RunStatus::Running => RunStatus::Running,
            run::RunStatus::Succeeded => RunStatus::Succeeded,
            run::RunStatus::Failed => RunStatus::Failed,
            run::RunStatus::FailedToStart => RunStatus::FailedToStart,
            run::RunStatus::TimedOut => RunStatus::TimedOut,
            run::RunStatus::Stopped => RunStatus::Stopped,
            run::RunStatus::Interrupted => RunStatus::Interrupted,
            run::RunStatus::Unknown => RunStatus::Unknown,
        }
    }
}
