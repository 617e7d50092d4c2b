//! `/teams/{team}/jobs`

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{JobPath, JsonBody, NoBody, Params, TeamPath};
use super::problem::{CommonProblems, Problem};
use crate::app::JobView;
use crate::domain::job::{self, Deletion, Job};

const LIMIT_DEFAULT: i32 = 50;
const LIMIT_MAX: i32 = 100;

/// What a team wants to run on a schedule.
#[derive(ToSchema)]
#[schema(example = json!({
    "name": "hello", "image": "busybox:1", "schedule": "rate(1 day)",
}))]
#[expect(dead_code, reason = "describes the request in the OpenAPI document; domain::job reads it")]
pub(super) struct JobRequest {
    /// Unique in the team.
    #[schema(pattern = "^[a-z][a-z0-9-]*$", max_length = 64, example = "detect-terraform-drift")]
    pub(super) name: String,
    #[schema(max_length = 512)]
    pub(super) description: Option<String>,
    pub(super) image: Image,
    /// Arguments, in place of the image's `CMD`.
    pub(super) command: Option<Vec<String>>,
    /// In place of the image's `ENTRYPOINT`.
    pub(super) entry_point: Option<Vec<String>>,
    /// Environment variables. `SCHEDULED_TIME` is set by Cronplane.
    pub(super) environment: Option<BTreeMap<String, String>>,
    /// CPU units, 1,024 to a vCPU: 256, 512, 1024, 2048, 4096, 8192 or 16384. Left out, the
    /// smallest that offers `memory`, or 256.
    #[schema(example = 256)]
    pub(super) cpu: Option<u32>,
    /// MiB, of the sizes that Fargate offers with `cpu`. Left out, the smallest of them.
    #[schema(example = 512)]
    pub(super) memory: Option<u32>,
    /// Left out, the deployment's network.
    pub(super) network: Option<NetworkRequest>,
    /// The name of an existing ECS cluster. Left out, the job gets a cluster of its own.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,255}$", example = "cron-jobs")]
    pub(super) cluster: Option<String>,
    /// ARN of the role that the job's code has. The deployment must be allowed to pass it.
    pub(super) task_role: Option<String>,
    /// `cron(minutes hours day-of-month month day-of-week year)` or `rate(value unit)`, in UTC, as
    /// Amazon EventBridge takes them.
    #[schema(example = "cron(0 0/1 ? * MON-FRI *)")]
    pub(super) schedule: String,
    /// Whether the schedule starts tasks.
    #[schema(default = true)]
    pub(super) enabled: Option<bool>,
    /// How long CloudWatch Logs keeps what the job writes.
    #[schema(default = 30)]
    pub(super) log_retention_days: Option<u32>,
    /// Tags of every AWS resource of the job, besides Cronplane's own.
    pub(super) tags: Option<BTreeMap<String, String>>,
    pub(super) notifications: Option<Notifications>,
}

/// A full image reference, or a repository of this account and region's ECR and a tag.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Image {
    #[schema(example = "busybox:1")]
    Reference(String),
    Repository {
        #[schema(example = "terraform-drift")]
        repository: String,
        #[schema(example = "1.0.0")]
        tag: String,
    },
}

/// Where a task is to get its network interface.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the request in the OpenAPI document; domain::job reads it")]
pub(super) struct NetworkRequest {
    /// At most 16. Left out, the deployment's.
    #[schema(max_items = 16)]
    pub(super) subnets: Option<Vec<String>>,
    /// At most 5. Left out with the subnets, the deployment's; left out beside subnets, the VPC's
    /// default group.
    #[schema(max_items = 5)]
    pub(super) security_groups: Option<Vec<String>>,
    /// Needed in a public subnet without another way to the image registry. Left out, as the
    /// deployment has it.
    pub(super) assign_public_ip: Option<bool>,
}

/// Where a task gets its network interface.
#[derive(Serialize, ToSchema)]
pub(super) struct Network {
    pub(super) subnets: Vec<String>,
    /// Empty: the VPC's default group.
    pub(super) security_groups: Vec<String>,
    pub(super) assign_public_ip: bool,
}

/// Who is told when a run fails.
#[derive(Serialize, ToSchema)]
pub(super) struct Notifications {
    /// At most 20.
    pub(super) subscribers: Vec<Subscriber>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Subscriber {
    pub(super) protocol: Protocol,
    /// An email address, or an `https://` URL. It has to confirm before anything is delivered.
    pub(super) endpoint: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Protocol {
    Email,
    Https,
}

/// A job: what is wanted, every default filled in, and how AWS follows.
#[derive(Serialize, ToSchema)]
pub(super) struct JobBody {
    /// Distinguishes the job from an earlier one of the same name.
    pub(super) id: String,
    pub(super) team: String,
    pub(super) name: String,
    #[schema(required)]
    pub(super) description: Option<String>,
    pub(super) image: Image,
    #[schema(required)]
    pub(super) command: Option<Vec<String>>,
    #[schema(required)]
    pub(super) entry_point: Option<Vec<String>>,
    pub(super) environment: BTreeMap<String, String>,
    /// CPU units, 1,024 to a vCPU.
    pub(super) cpu: u32,
    /// MiB.
    pub(super) memory: u32,
    pub(super) network: Network,
    /// The cluster that the job names; null when it has its own.
    #[schema(required)]
    pub(super) cluster: Option<String>,
    #[schema(required)]
    pub(super) task_role: Option<String>,
    pub(super) schedule: String,
    pub(super) enabled: bool,
    pub(super) log_retention_days: u32,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) notifications: Notifications,
    /// Counts the changes of what is wanted, from 1.
    pub(super) generation: u64,
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    #[schema(format = DateTime)]
    pub(super) updated_at: String,
    pub(super) status: JobStatus,
}

/// How AWS follows what is wanted.
#[derive(Serialize, ToSchema)]
pub(super) struct JobStatus {
    pub(super) phase: Phase,
    /// The generation that AWS was last made to match.
    pub(super) observed_generation: u64,
    /// Why the job is not ready, when there is something to say.
    #[schema(required)]
    pub(super) reason: Option<String>,
    pub(super) resources: Vec<Resource>,
    /// The SNS topic that failures are published to: subscribe to it whatever you like.
    #[schema(required)]
    pub(super) topic_arn: Option<String>,
    pub(super) subscriptions: Vec<Subscription>,
    /// The newest run.
    #[schema(required)]
    pub(super) last_run: Option<LastRun>,
    /// The next five starts in UTC; none while the job is paused.
    pub(super) next_starts: Vec<String>,
    /// True for a `rate`, of which only AWS knows when it counts from: see `docs/API-DESIGN.md`.
    pub(super) next_starts_approximate: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// AWS is being made to match; it goes on by itself.
    Provisioning,
    /// Everything is as it is wanted.
    Ready,
    /// Somebody has to put something right: see `reason`. It is tried again, at most an hour later.
    Failed,
    /// The schedule is off; the rest goes once no task runs any more.
    Deleting,
}

/// An AWS resource of the job.
#[derive(Serialize, ToSchema)]
pub(super) struct Resource {
    pub(super) kind: ResourceKind,
    #[schema(required)]
    pub(super) arn: Option<String>,
    pub(super) state: ResourceState,
    #[schema(required)]
    pub(super) reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Subscription {
    pub(super) protocol: Protocol,
    pub(super) endpoint: String,
    pub(super) state: SubscriptionState,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResourceKind {
    Cluster,
    LogGroup,
    ExecutionRole,
    EventsRole,
    Topic,
    TaskDefinition,
    ScheduleRule,
    FailureRule,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResourceState {
    Pending,
    Ready,
    Failed,
    /// Taken away, in the course of the job's deletion.
    Removed,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SubscriptionState {
    /// SNS waits for the subscriber's confirmation; nothing is delivered until then.
    Pending,
    Confirmed,
    /// SNS has no such subscription: it ran out unconfirmed, or the subscriber ended it.
    Missing,
    /// SNS was not asked, as in a list, or did not answer.
    Unknown,
}

/// The newest run of a job, in short.
#[derive(Serialize, ToSchema)]
pub(super) struct LastRun {
    pub(super) id: String,
    pub(super) status: super::runs::RunStatus,
    pub(super) trigger: super::runs::Trigger,
    #[schema(required, format = DateTime)]
    pub(super) scheduled_time: Option<String>,
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    #[schema(required, format = DateTime)]
    pub(super) stopped_at: Option<String>,
    #[schema(required)]
    pub(super) exit_code: Option<i32>,
}

/// A page of jobs.
#[derive(Serialize, ToSchema)]
pub(super) struct JobList {
    pub(super) items: Vec<JobBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    pub(super) next: Option<String>,
}

/// An event that is on its way through the failure rule to the subscribers.
#[derive(Serialize, ToSchema)]
pub(super) struct NotificationTest {
    /// The event's id, which stands in the message as `event.id`.
    pub(super) event_id: String,
}

/// Create a job
///
/// Stores the definition, then makes AWS match it. What is not finished within the request is
/// finished by itself: `status.phase` tells.
#[utoipa::path(
    post,
    path = "/teams/{team}/jobs",
    operation_id = "create_job",
    tag = "jobs",
    params(("team" = String, Path, description = "The team")),
    request_body = JobRequest,
    responses(
        (status = 201, description = "Created, in the phase that was reached", body = JobBody,
         headers(("Location" = String, description = "The job's URL"))),
        (status = 409, description = "The team has a job of this name", body = Problem,
         content_type = "application/problem+json"),
        (status = 413, description = "The body has more than 256 KiB", body = Problem,
         content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem,
         content_type = "application/problem+json"),
        (status = 422, description = "The definition is not valid; `errors` has everything that is wrong",
         body = Problem, content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub(super) async fn create(
    State(api): State<Api>,
    TeamPath(team): TeamPath,
    params: Params,
    JsonBody(definition): JsonBody,
) -> Result<Response, Problem> {
    params.finish()?;
    let moment = api.moment();
    let view = api.app.job_create(team, definition, moment).await?;
    let location = format!("/v1/teams/{}/jobs/{}", view.job.team, view.job.definition.name);
    Ok(answer(StatusCode::CREATED, [(header::LOCATION, location)], JobBody::of(view)))
}

/// List a team's jobs
///
/// By name. A page can hold fewer jobs than `limit` and not be the last: `next` tells.
#[utoipa::path(
    get,
    path = "/teams/{team}/jobs",
    operation_id = "list_jobs",
    tag = "jobs",
    params(
        ("team" = String, Path, description = "The team"),
        ("limit" = Option<i32>, Query, description = "Jobs a page, 1 to 100; 50 if left out",
         minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses((status = 200, description = "A page of jobs", body = JobList), CommonProblems),
)]
pub(super) async fn list(
    State(api): State<Api>,
    TeamPath(team): TeamPath,
    mut params: Params,
) -> Result<Json<JobList>, Problem> {
    let limit = params.count("limit", LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
    let limit = usize::try_from(limit).unwrap_or(1);
    let cursor = params.text("cursor");
    params.finish()?;
    let page = api.app.job_list(&team, limit, cursor.as_deref(), api.moment()).await?;
    Ok(Json(JobList { items: page.items.into_iter().map(JobBody::of).collect(), next: page.next }))
}

/// Get a job
#[utoipa::path(
    get,
    path = "/teams/{team}/jobs/{job}",
    operation_id = "get_job",
    tag = "jobs",
    params(
        ("team" = String, Path, description = "The team"),
        ("job" = String, Path, description = "The job's name"),
    ),
    responses((status = 200, description = "The job", body = JobBody), CommonProblems),
)]
pub(super) async fn get(
    State(api): State<Api>,
    JobPath(key): JobPath,
    params: Params,
) -> Result<Json<JobBody>, Problem> {
    params.finish()?;
    Ok(Json(JobBody::of(api.app.job_get(&key, api.moment()).await?)))
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
        ("team" = String, Path, description = "The team"),
        ("job" = String, Path, description = "The job's name"),
        ("stop_tasks" = Option<bool>, Query,
         description = "Stop the tasks that still run instead of waiting for their end"),
        ("delete_logs" = Option<bool>, Query,
         description = "Delete the log group too; without it the history keeps its logs"),
    ),
    responses(
        (status = 202, description = "The job is being deleted; `status.reason` says what it waits for",
         body = JobBody),
        (status = 204, description = "The job is gone"),
        CommonProblems,
    ),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    JobPath(key): JobPath,
    mut params: Params,
) -> Result<Response, Problem> {
    let deletion =
        Deletion { stop_tasks: params.flag("stop_tasks"), delete_logs: params.flag("delete_logs") };
    params.finish()?;
    Ok(match api.app.job_delete(&key, deletion, api.moment()).await? {
        Some(view) => (StatusCode::ACCEPTED, Json(JobBody::of(view))).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Pause a job
///
/// Switches its schedule off. Runs that go on are not touched.
#[utoipa::path(
    post,
    path = "/teams/{team}/jobs/{job}/pause",
    operation_id = "pause_job",
    tag = "jobs",
    params(
        ("team" = String, Path, description = "The team"),
        ("job" = String, Path, description = "The job's name"),
    ),
    responses(
        (status = 200, description = "The job, paused", body = JobBody),
        (status = 409, description = "The job is being deleted", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub(super) async fn pause(
    State(api): State<Api>,
    JobPath(key): JobPath,
    params: Params,
    _: NoBody,
) -> Result<Json<JobBody>, Problem> {
    params.finish()?;
    Ok(Json(JobBody::of(api.app.job_set_enabled(&key, false, api.moment()).await?)))
}

/// Resume a job
///
/// Switches its schedule on again. Starts that were missed are not made up for.
#[utoipa::path(
    post,
    path = "/teams/{team}/jobs/{job}/resume",
    operation_id = "resume_job",
    tag = "jobs",
    params(
        ("team" = String, Path, description = "The team"),
        ("job" = String, Path, description = "The job's name"),
    ),
    responses(
        (status = 200, description = "The job, with its schedule on", body = JobBody),
        (status = 409, description = "The job is being deleted", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub(super) async fn resume(
    State(api): State<Api>,
    JobPath(key): JobPath,
    params: Params,
    _: NoBody,
) -> Result<Json<JobBody>, Problem> {
    params.finish()?;
    Ok(Json(JobBody::of(api.app.job_set_enabled(&key, true, api.moment()).await?)))
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
    params(
        ("team" = String, Path, description = "The team"),
        ("job" = String, Path, description = "The job's name"),
    ),
    responses(
        (status = 202, description = "The event is on its way", body = NotificationTest),
        (status = 409, description = "The job is not ready", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub(super) async fn notification_test(
    State(api): State<Api>,
    JobPath(key): JobPath,
    params: Params,
    _: NoBody,
) -> Result<Response, Problem> {
    params.finish()?;
    let event_id = api.app.notification_test(&key).await?;
    Ok((StatusCode::ACCEPTED, Json(NotificationTest { event_id })).into_response())
}

fn answer<const N: usize>(
    status: StatusCode,
    headers: [(HeaderName, String); N],
    body: impl Serialize,
) -> Response {
    (status, headers, Json(body)).into_response()
}

impl JobBody {
    fn of(view: JobView) -> JobBody {
        let status = JobStatus::of(&view);
        let Job { id, team, definition, generation, created_at, updated_at, .. } = view.job;
        JobBody {
            id,
            team: team.into(),
            name: definition.name.into(),
            description: definition.description,
            image: match definition.image {
                job::Image::Reference(reference) => Image::Reference(reference),
                job::Image::Repository { repository, tag } => Image::Repository { repository, tag },
            },
            command: definition.command,
            entry_point: definition.entry_point,
            environment: definition.environment,
            cpu: definition.size.cpu,
            memory: definition.size.memory,
            network: Network {
                subnets: definition.network.subnets,
                security_groups: definition.network.security_groups,
                assign_public_ip: definition.network.assign_public_ip,
            },
            cluster: definition.cluster,
            task_role: definition.task_role,
            schedule: definition.schedule.into(),
            enabled: definition.enabled,
            log_retention_days: definition.log_retention_days,
            tags: definition.tags,
            notifications: Notifications {
                subscribers: definition
                    .subscribers
                    .into_iter()
                    .map(|one| Subscriber {
                        protocol: Protocol::of(one.protocol),
                        endpoint: one.endpoint,
                    })
                    .collect(),
            },
            generation,
            created_at: created_at.to_string(),
            updated_at: updated_at.to_string(),
            status,
        }
    }
}

impl JobStatus {
    fn of(view: &JobView) -> JobStatus {
        let job = &view.job;
        let topic = job.resources.get(&job::ResourceKind::Topic);
        JobStatus {
            phase: match job.phase {
                job::Phase::Provisioning => Phase::Provisioning,
                job::Phase::Ready => Phase::Ready,
                job::Phase::Failed => Phase::Failed,
                job::Phase::Deleting => Phase::Deleting,
            },
            observed_generation: job.observed_generation,
            reason: job.reason.clone(),
            resources: job::ResourceKind::ALL
                .into_iter()
                .map(|kind| {
                    let status = job.resources.get(&kind).cloned().unwrap_or_default();
                    Resource {
                        kind: ResourceKind::of(kind),
                        arn: status.arn,
                        state: ResourceState::of(status.state),
                        reason: status.reason,
                    }
                })
                .collect(),
            topic_arn: topic.and_then(|topic| topic.arn.clone()),
            subscriptions: subscriptions(view),
            last_run: job.last_run.as_ref().map(LastRun::of),
            next_starts: view.next_starts.iter().map(ToString::to_string).collect(),
            next_starts_approximate: job.definition.schedule.counts_from_enabling(),
        }
    }
}

fn subscriptions(view: &JobView) -> Vec<Subscription> {
    match &view.subscriptions {
        Some(known) => known
            .iter()
            .map(|one| Subscription {
                protocol: Protocol::of(one.subscriber.protocol),
                endpoint: one.subscriber.endpoint.clone(),
                state: match one.state {
                    job::SubscriptionState::Pending => SubscriptionState::Pending,
                    job::SubscriptionState::Confirmed => SubscriptionState::Confirmed,
                    job::SubscriptionState::Missing => SubscriptionState::Missing,
                },
            })
            .collect(),
        None => view
            .job
            .definition
            .subscribers
            .iter()
            .map(|one| Subscription {
                protocol: Protocol::of(one.protocol),
                endpoint: one.endpoint.clone(),
                state: SubscriptionState::Unknown,
            })
            .collect(),
    }
}

impl ResourceKind {
    fn of(kind: job::ResourceKind) -> ResourceKind {
        match kind {
            job::ResourceKind::Cluster => ResourceKind::Cluster,
            job::ResourceKind::LogGroup => ResourceKind::LogGroup,
            job::ResourceKind::ExecutionRole => ResourceKind::ExecutionRole,
            job::ResourceKind::EventsRole => ResourceKind::EventsRole,
            job::ResourceKind::Topic => ResourceKind::Topic,
            job::ResourceKind::TaskDefinition => ResourceKind::TaskDefinition,
            job::ResourceKind::ScheduleRule => ResourceKind::ScheduleRule,
            job::ResourceKind::FailureRule => ResourceKind::FailureRule,
        }
    }
}

impl ResourceState {
    fn of(state: job::ResourceState) -> ResourceState {
        match state {
            job::ResourceState::Pending => ResourceState::Pending,
            job::ResourceState::Ready => ResourceState::Ready,
            job::ResourceState::Failed => ResourceState::Failed,
            job::ResourceState::Removed => ResourceState::Removed,
        }
    }
}

impl Protocol {
    fn of(protocol: job::Protocol) -> Protocol {
        match protocol {
            job::Protocol::Email => Protocol::Email,
            job::Protocol::Https => Protocol::Https,
        }
    }
}

impl LastRun {
    fn of(run: &job::LastRun) -> LastRun {
        LastRun {
            id: run.id.to_string(),
            status: super::runs::RunStatus::of(run.status),
            trigger: super::runs::Trigger::of(run.trigger),
            scheduled_time: run.scheduled_time.map(|at| at.to_string()),
            created_at: run.created_at.to_string(),
            stopped_at: run.stopped_at.map(|at| at.to_string()),
            exit_code: run.exit_code,
        }
    }
}
