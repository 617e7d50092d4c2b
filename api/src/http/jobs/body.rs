//! What a job looks like in requests and answers.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::container::{
    ExtraContainerDefinition, HealthCheck, HealthCheckRequest, Sidecar, Volume, VolumeRequest,
};
use crate::app::JobView;
use crate::domain::job::{self, Job};
use crate::domain::run;
use crate::domain::schedule;
use crate::domain::violation::Violation;
use crate::http::audit::AuditPrincipalKind;
use crate::http::runs::{RunStatus, Trigger};
use crate::http::schedules::Engine;

/// What a team wants to run on a schedule.
#[derive(ToSchema)]
#[schema(example = json!({
    "name": "hello", "image": "busybox:1", "schedule": "rate(1 day)",
}))]
#[expect(dead_code, reason = "describes the request in the OpenAPI document; domain::job reads it")]
pub(in crate::http) struct JobRequest {
    /// Unique in the team.
    #[schema(pattern = "^[a-z][a-z0-9-]*$", max_length = 64, example = "detect-terraform-drift")]
    pub(in crate::http) name: String,
    #[schema(max_length = 512)]
    pub(in crate::http) description: Option<String>,
    pub(in crate::http) image: Image,
    /// Arguments, in place of the image's `CMD`.
    #[schema(max_items = 1000)]
    pub(in crate::http) command: Option<Vec<String>>,
    /// In place of the image's `ENTRYPOINT`.
    #[schema(max_items = 1000)]
    pub(in crate::http) entry_point: Option<Vec<String>>,
    /// In place of the image's `WORKDIR`: an absolute path.
    pub(in crate::http) working_directory: Option<String>,
    /// Environment variables. `SCHEDULED_TIME` is set by Cronplane. What has the name or the form of a
    /// secret is refused, unless the deployment allows it: name it in `secrets`.
    pub(in crate::http) environment: Option<BTreeMap<String, String>>,
    /// Environment variables whose values stand elsewhere: ARNs of secrets of Secrets Manager, with
    /// `:<json key>::` behind it for one key, or of parameters of Systems Manager, of this account
    /// and region. The deployment must be allowed to hand them out.
    #[schema(example = json!({
        "DB_PASSWORD": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:app/db-AbC123:password::",
    }))]
    pub(in crate::http) secrets: Option<BTreeMap<String, String>>,
    /// CPU units, 1,024 to a vCPU: 256, 512, 1024, 2048, 4096, 8192 or 16384. Left out, the
    /// smallest that offers `memory`, or 256.
    #[schema(example = 256)]
    pub(in crate::http) cpu: Option<u32>,
    /// MiB, of the sizes that Fargate offers with `cpu`. Left out, the smallest of them.
    #[schema(example = 512)]
    pub(in crate::http) memory: Option<u32>,
    /// The processor that the image is built for.
    #[schema(default = "x86_64")]
    pub(in crate::http) architecture: Option<Architecture>,
    /// GiB of the task's own storage. Left out, the 20 that every task has.
    #[schema(minimum = 21, maximum = 200)]
    pub(in crate::http) ephemeral_storage_gib: Option<u32>,
    #[schema(max_items = 20)]
    pub(in crate::http) volumes: Option<Vec<VolumeRequest>>,
    /// From the request to stop until the kill. Left out, 30.
    #[schema(minimum = 2, maximum = 120)]
    pub(in crate::http) stop_timeout_seconds: Option<u32>,
    pub(in crate::http) health_check: Option<HealthCheckRequest>,
    pub(in crate::http) extra_container_definition: Option<ExtraContainerDefinition>,
    #[schema(max_items = 9)]
    pub(in crate::http) sidecars: Option<Vec<Sidecar>>,
    /// Left out, the team's network or, where it has none, the deployment's.
    pub(in crate::http) network: Option<NetworkRequest>,
    #[schema(default = "on_demand")]
    pub(in crate::http) capacity: Option<Capacity>,
    /// Of Fargate: `LATEST` or `1.4.0`.
    #[schema(default = "LATEST", example = "1.4.0")]
    pub(in crate::http) platform_version: Option<String>,
    /// Whether `aws ecs execute-command` opens a shell in a running task. Wants a `task_role` that
    /// may open channels of SSM.
    #[schema(default = false)]
    pub(in crate::http) enable_execute_command: Option<bool>,
    /// Whether ECS tags the tasks with the cluster's name.
    #[schema(default = false)]
    pub(in crate::http) enable_ecs_managed_tags: Option<bool>,
    /// The name of an existing ECS cluster. Left out, the team's default cluster or, where it has none, a
    /// cluster of the job's own.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,255}$", example = "cron-jobs")]
    pub(in crate::http) cluster: Option<String>,
    /// ARN of the role that the job's code has. The deployment must be allowed to pass it.
    pub(in crate::http) task_role: Option<String>,
    /// ARN of an existing role with which ECS starts the containers: pulls the images, fetches the
    /// secrets, writes the logs. The deployment must be allowed to pass it. Left out, the job gets a
    /// role of its own that may do just that.
    pub(in crate::http) execution_role: Option<String>,
    /// `cron(minutes hours day-of-month month day-of-week year)`, `rate(value unit)` or
    /// `at(yyyy-mm-ddThh:mm:ss)`, as Amazon EventBridge takes them.
    #[schema(example = "cron(0 0/1 ? * MON-FRI *)")]
    pub(in crate::http) schedule: String,
    /// On whose clocks `cron` and `at` are meant: a time zone of the IANA database. A time that the clocks
    /// skip is no start, and one that they show twice is one, the first time.
    #[schema(default = "UTC", example = "Europe/Berlin")]
    pub(in crate::http) timezone: Option<String>,
    /// There is no start before it, and a `rate` counts from it. In whole seconds.
    #[schema(format = DateTime)]
    pub(in crate::http) start_date: Option<String>,
    /// There is no start after it. In whole seconds.
    #[schema(format = DateTime)]
    pub(in crate::http) end_date: Option<String>,
    /// Each start is made within so many minutes after its time, when it suits AWS. Left out, at its time.
    #[schema(minimum = 1, maximum = 1440)]
    pub(in crate::http) flexible_window_minutes: Option<u32>,
    /// Whether the job's name decides the minute, so that many hourly jobs do not all start at :00. For a
    /// `cron` of one minute, or of even steps around the hour; `status.schedule` tells which it is.
    #[schema(default = false)]
    pub(in crate::http) spread: Option<bool>,
    /// Whether the schedule starts tasks.
    #[schema(default = true)]
    pub(in crate::http) enabled: Option<bool>,
    /// How long CloudWatch Logs keeps what the job writes.
    #[schema(default = 30)]
    pub(in crate::http) log_retention_days: Option<u32>,
    /// Tags of every AWS resource and task of the job, besides Cronplane's own.
    pub(in crate::http) tags: Option<BTreeMap<String, String>>,
    /// Left out, the team's subscribers; an empty list is none.
    pub(in crate::http) notifications: Option<Notifications>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Architecture {
    X86_64,
    Arm64,
}

/// What Fargate capacity the tasks take.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Capacity {
    OnDemand,
    /// Spare capacity, for less: AWS may take it back with two minutes' notice, or have none. A
    /// cluster that the job names must have the capacity provider `FARGATE_SPOT`.
    Spot,
    /// Spot; a start for which there is no Spot capacity, or none left of the account's quota of it, is
    /// made again on demand. `capacity_provider` of a run tells which.
    SpotWithFallback,
}

/// A full image reference, or a repository of this account and region's ECR and a tag.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum Image {
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
pub(in crate::http) struct NetworkRequest {
    /// At most 16. Left out, the deployment's.
    #[schema(max_items = 16)]
    pub(in crate::http) subnets: Option<Vec<String>>,
    /// At most 5. Left out with the subnets, the deployment's; left out beside subnets, the VPC's
    /// default group.
    #[schema(max_items = 5)]
    pub(in crate::http) security_groups: Option<Vec<String>>,
    /// Needed in a public subnet without another way to the image registry. Left out, as the
    /// deployment has it.
    pub(in crate::http) assign_public_ip: Option<bool>,
}

/// Where a task gets its network interface.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Network {
    pub(in crate::http) subnets: Vec<String>,
    /// Empty: the VPC's default group.
    pub(in crate::http) security_groups: Vec<String>,
    pub(in crate::http) assign_public_ip: bool,
}

/// Who is told when a run fails.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Notifications {
    /// At most 20.
    pub(in crate::http) subscribers: Vec<Subscriber>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Subscriber {
    pub(in crate::http) protocol: Protocol,
    /// An email address or an `https://` URL, which has to confirm before anything is delivered; or
    /// the ARN of an SQS queue or a Lambda function, whose own policy must let the topic in.
    pub(in crate::http) endpoint: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Protocol {
    Email,
    Https,
    Sqs,
    Lambda,
}

/// A job: what is wanted, every default filled in, and how AWS follows.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct JobBody {
    /// Distinguishes the job from an earlier one of the same name.
    pub(in crate::http) id: String,
    pub(in crate::http) team: String,
    pub(in crate::http) name: String,
    #[schema(required)]
    pub(in crate::http) description: Option<String>,
    pub(in crate::http) image: Image,
    #[schema(required)]
    pub(in crate::http) command: Option<Vec<String>>,
    #[schema(required)]
    pub(in crate::http) entry_point: Option<Vec<String>>,
    #[schema(required)]
    pub(in crate::http) working_directory: Option<String>,
    pub(in crate::http) environment: BTreeMap<String, String>,
    /// References, never values.
    pub(in crate::http) secrets: BTreeMap<String, String>,
    /// CPU units, 1,024 to a vCPU.
    pub(in crate::http) cpu: u32,
    /// MiB.
    pub(in crate::http) memory: u32,
    pub(in crate::http) architecture: Architecture,
    /// Null: the 20 GiB that every task has.
    #[schema(required)]
    pub(in crate::http) ephemeral_storage_gib: Option<u32>,
    pub(in crate::http) volumes: Vec<Volume>,
    #[schema(required)]
    pub(in crate::http) stop_timeout_seconds: Option<u32>,
    #[schema(required)]
    pub(in crate::http) health_check: Option<HealthCheck>,
    #[schema(value_type = ExtraContainerDefinition)]
    pub(in crate::http) extra_container_definition: job::ContainerSettings,
    #[schema(value_type = Vec<Sidecar>)]
    pub(in crate::http) sidecars: Vec<job::Sidecar>,
    pub(in crate::http) network: Network,
    pub(in crate::http) capacity: Capacity,
    pub(in crate::http) platform_version: String,
    pub(in crate::http) enable_execute_command: bool,
    pub(in crate::http) enable_ecs_managed_tags: bool,
    /// The cluster that the job names; null when it has its own.
    #[schema(required)]
    pub(in crate::http) cluster: Option<String>,
    #[schema(required)]
    pub(in crate::http) task_role: Option<String>,
    /// Null: the job has one of its own.
    #[schema(required)]
    pub(in crate::http) execution_role: Option<String>,
    pub(in crate::http) schedule: String,
    pub(in crate::http) timezone: String,
    #[schema(required, format = DateTime)]
    pub(in crate::http) start_date: Option<String>,
    #[schema(required, format = DateTime)]
    pub(in crate::http) end_date: Option<String>,
    #[schema(required)]
    pub(in crate::http) flexible_window_minutes: Option<u32>,
    pub(in crate::http) spread: bool,
    pub(in crate::http) enabled: bool,
    pub(in crate::http) log_retention_days: u32,
    pub(in crate::http) tags: BTreeMap<String, String>,
    pub(in crate::http) notifications: Notifications,
    /// Counts the changes of what is wanted, from 1.
    pub(in crate::http) generation: u64,
    #[schema(format = DateTime)]
    pub(in crate::http) created_at: String,
    #[schema(format = DateTime)]
    pub(in crate::http) updated_at: String,
    pub(in crate::http) status: JobStatus,
}

/// How AWS follows what is wanted.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct JobStatus {
    pub(in crate::http) phase: Phase,
    /// The generation that AWS was last made to match.
    pub(in crate::http) observed_generation: u64,
    /// Why the job is not ready, when there is something to say.
    #[schema(required)]
    pub(in crate::http) reason: Option<String>,
    /// Null while the schedule is on.
    #[schema(required)]
    pub(in crate::http) pause: Option<Pause>,
    pub(in crate::http) resources: Vec<Resource>,
    /// The SNS topic that failures are published to: subscribe to it whatever you like.
    #[schema(required)]
    pub(in crate::http) topic_arn: Option<String>,
    pub(in crate::http) subscriptions: Vec<Subscription>,
    /// The newest run: the first of `recent_runs`.
    #[schema(required)]
    pub(in crate::http) last_run: Option<RunSummary>,
    /// The newest ten runs, newest first, those that go on among them.
    #[schema(max_items = 10)]
    pub(in crate::http) recent_runs: Vec<RunSummary>,
    /// How the newest of `recent_runs` that has ended did; null while none of them has.
    #[schema(required)]
    pub(in crate::http) last_outcome: Option<Outcome>,
    pub(in crate::http) schedule: ScheduleStatus,
    /// The next five starts in UTC; none while the job is paused.
    pub(in crate::http) next_starts: Vec<String>,
    /// True for a `rate` on a rule, of which only AWS knows when it counts from: see `docs/API-DESIGN.md`.
    pub(in crate::http) next_starts_approximate: bool,
    pub(in crate::http) compliance: Compliance,
}

/// The schedule as AWS is told.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ScheduleStatus {
    pub(in crate::http) engine: Engine,
    /// With `spread`, this has the minute that the job's name decides; else it is `schedule`.
    pub(in crate::http) expression: String,
    /// What it means, in plain English.
    pub(in crate::http) description: String,
}

/// Why a job is paused, and until when.
#[derive(ToSchema)]
#[schema(example = json!({"note": "the database moves", "resume_at": "2026-12-24T06:00:00Z"}))]
#[expect(dead_code, reason = "describes the request in the OpenAPI document; domain::job reads it")]
pub(in crate::http) struct PauseRequest {
    /// Why, for whoever looks at the job.
    #[schema(min_length = 1, max_length = 512)]
    pub(in crate::http) note: Option<String>,
    /// When the schedule is switched on again by itself, within about a minute of it. Left out, when somebody
    /// resumes the job.
    #[schema(format = DateTime)]
    pub(in crate::http) resume_at: Option<String>,
}

/// What is known of a job's being paused.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Pause {
    /// Whoever said so last; null where nobody was noted.
    #[schema(required)]
    pub(in crate::http) by: Option<PausedBy>,
    /// When that was; null where it was not noted.
    #[schema(required, format = DateTime)]
    pub(in crate::http) at: Option<String>,
    #[schema(required)]
    pub(in crate::http) note: Option<String>,
    /// When the schedule is switched on again by itself; null: when somebody resumes the job.
    #[schema(required, format = DateTime)]
    pub(in crate::http) resume_at: Option<String>,
    /// Why it was not when the time had come: the job did not comply with the team's guardrails, or its
    /// schedule had nothing left to start. It stays paused until somebody resumes it.
    #[schema(required)]
    pub(in crate::http) resume_refused: Option<String>,
}

/// Who paused a job.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PausedBy {
    pub(in crate::http) kind: AuditPrincipalKind,
    /// Names the principal among those of its kind.
    #[schema(example = "platform/0123456789abcdef")]
    pub(in crate::http) id: String,
    /// A token's description, a person's e-mail address or name.
    pub(in crate::http) name: String,
}

/// Whether the job keeps to its team's guardrails as they are now. One that does not goes on as it is, on
/// its schedule and on request; it can be paused and deleted, and changed to one that complies, but not
/// resumed.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Compliance {
    pub(in crate::http) compliant: bool,
    /// What the guardrails forbid; at most 25 are told.
    #[schema(max_items = 25)]
    pub(in crate::http) violations: Vec<ComplianceViolation>,
}

/// One thing of a job that its team's guardrails forbid.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ComplianceViolation {
    /// JSON pointer (RFC 6901) into the job.
    #[schema(example = "/image")]
    pub(in crate::http) pointer: String,
    /// As those of a problem's `errors`.
    #[schema(example = "forbidden")]
    pub(in crate::http) code: String,
    pub(in crate::http) detail: String,
}

/// Violations that are told of a job: a page of a hundred jobs has to fit into an answer.
const COMPLIANCE_VIOLATIONS_MAX: usize = 25;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Phase {
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
pub(in crate::http) struct Resource {
    pub(in crate::http) kind: ResourceKind,
    #[schema(required)]
    pub(in crate::http) arn: Option<String>,
    pub(in crate::http) state: ResourceState,
    #[schema(required)]
    pub(in crate::http) reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Subscription {
    pub(in crate::http) protocol: Protocol,
    pub(in crate::http) endpoint: String,
    pub(in crate::http) state: SubscriptionState,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum ResourceKind {
    Cluster,
    LogGroup,
    ExecutionRole,
    EventsRole,
    Topic,
    TaskDefinition,
    /// Of Amazon EventBridge, with the engine `rule`.
    ScheduleRule,
    /// Of Amazon EventBridge Scheduler, with the engine `scheduler`.
    Schedule,
    /// Of the job itself; with the stack's engine `scheduler` all jobs share one, which is not listed here.
    FailureRule,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum ResourceState {
    Pending,
    Ready,
    Failed,
    /// Taken away, in the course of the job's deletion.
    Removed,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum SubscriptionState {
    /// SNS waits for the subscriber's confirmation; nothing is delivered until then.
    Pending,
    Confirmed,
    /// SNS has no such subscription: it ran out unconfirmed, or the subscriber ended it.
    Missing,
    /// SNS was not asked, as in a list, or did not answer.
    Unknown,
}

/// How a run ended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Outcome {
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

/// The order of a list of jobs.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a parameter in the OpenAPI document; domain::job has it")]
pub(in crate::http) enum JobOrder {
    #[schema(rename = "name")]
    Name,
    #[schema(rename = "-name")]
    NameDescending,
}

/// A run of a job, in short.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RunSummary {
    pub(in crate::http) id: String,
    pub(in crate::http) status: RunStatus,
    pub(in crate::http) trigger: Trigger,
    #[schema(required, format = DateTime)]
    pub(in crate::http) scheduled_time: Option<String>,
    #[schema(format = DateTime)]
    pub(in crate::http) created_at: String,
    #[schema(required, format = DateTime)]
    pub(in crate::http) stopped_at: Option<String>,
    #[schema(required)]
    pub(in crate::http) exit_code: Option<i32>,
}

/// A page of jobs.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct JobList {
    pub(in crate::http) items: Vec<JobBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    pub(in crate::http) next: Option<String>,
}

/// An event that is on its way through the failure rule to the subscribers.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct NotificationTest {
    /// The event's id, which stands in the message as `event.id`.
    pub(in crate::http) event_id: String,
    /// The job's subscribers: those that are `confirmed` receive it.
    pub(in crate::http) subscriptions: Vec<Subscription>,
}

impl JobBody {
    pub(in crate::http) fn of(view: JobView) -> JobBody {
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
            working_directory: definition.working_directory,
            environment: definition.environment,
            secrets: definition.secrets,
            cpu: definition.size.cpu,
            memory: definition.size.memory,
            architecture: Architecture::of(definition.architecture),
            ephemeral_storage_gib: definition.ephemeral_storage_gib,
            volumes: definition.volumes.into_iter().map(Volume::of).collect(),
            stop_timeout_seconds: definition.stop_timeout_seconds,
            health_check: definition.health_check.map(HealthCheck::of),
            extra_container_definition: definition.extra_container_definition,
            sidecars: definition.sidecars,
            network: Network {
                subnets: definition.network.subnets,
                security_groups: definition.network.security_groups,
                assign_public_ip: definition.network.assign_public_ip,
            },
            capacity: Capacity::of(definition.capacity),
            platform_version: definition.platform_version,
            enable_execute_command: definition.enable_execute_command,
            enable_ecs_managed_tags: definition.enable_ecs_managed_tags,
            cluster: definition.cluster,
            task_role: definition.task_role,
            execution_role: definition.execution_role,
            schedule: definition.timing.schedule.to_string(),
            timezone: definition.timing.zone_name().to_owned(),
            start_date: definition.timing.bounds.start_date.map(|at| at.to_string()),
            end_date: definition.timing.bounds.end_date.map(|at| at.to_string()),
            flexible_window_minutes: definition.timing.bounds.flexible_window_minutes,
            spread: definition.timing.bounds.spread,
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
        let timing = job.timing();
        JobStatus {
            phase: match job.phase {
                job::Phase::Provisioning => Phase::Provisioning,
                job::Phase::Ready => Phase::Ready,
                job::Phase::Failed => Phase::Failed,
                job::Phase::Deleting => Phase::Deleting,
            },
            observed_generation: job.observed_generation,
            reason: job.reason.clone(),
            pause: job.known_pause().map(Pause::of),
            resources: job::ResourceKind::ALL
                .into_iter()
                .filter(|kind| is_shown(view, *kind))
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
            last_run: job.recent_runs.newest().map(RunSummary::of),
            recent_runs: job.recent_runs.runs().iter().map(RunSummary::of).collect(),
            last_outcome: job.recent_runs.last_outcome().and_then(Outcome::of),
            schedule: ScheduleStatus {
                engine: Engine::of(view.engine),
                expression: timing.schedule.to_string(),
                description: timing.description(),
            },
            next_starts: view.next_starts.iter().map(ToString::to_string).collect(),
            next_starts_approximate: view.next_starts_approximate,
            compliance: Compliance::of(&view.forbidden),
        }
    }
}

/// What the job has in this deployment, and what it had before and is not taken away yet.
fn is_shown(view: &JobView, kind: job::ResourceKind) -> bool {
    let wanted = match kind {
        job::ResourceKind::ScheduleRule => view.engine == schedule::Engine::Rule,
        job::ResourceKind::Schedule => view.engine == schedule::Engine::Scheduler,
        job::ResourceKind::FailureRule => !view.shares_failure_rule,
        _ => true,
    };
    wanted || view.job.resources.contains_key(&kind)
}

impl Pause {
    fn of(pause: job::Pause) -> Pause {
        Pause {
            by: pause.by.map(|by| PausedBy {
                kind: AuditPrincipalKind::of(by.kind),
                id: by.id,
                name: by.name,
            }),
            at: pause.at.map(|at| at.to_string()),
            note: pause.note,
            resume_at: pause.resume_at.map(|at| at.to_string()),
            resume_refused: pause.resume_refused,
        }
    }
}

impl Compliance {
    pub(in crate::http) fn of(forbidden: &[Violation]) -> Compliance {
        let told = forbidden.iter().take(COMPLIANCE_VIOLATIONS_MAX);
        let violations = told.map(|one| ComplianceViolation {
            pointer: one.pointer.clone(),
            code: one.code.as_str().to_owned(),
            detail: one.detail.clone(),
        });
        Compliance { compliant: forbidden.is_empty(), violations: violations.collect() }
    }
}

fn subscriptions(view: &JobView) -> Vec<Subscription> {
    match &view.subscriptions {
        Some(known) => known.iter().map(Subscription::of).collect(),
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

impl Subscription {
    pub(in crate::http) fn of(known: &job::Subscription) -> Subscription {
        Subscription {
            protocol: Protocol::of(known.subscriber.protocol),
            endpoint: known.subscriber.endpoint.clone(),
            state: match known.state {
                job::SubscriptionState::Pending => SubscriptionState::Pending,
                job::SubscriptionState::Confirmed => SubscriptionState::Confirmed,
                job::SubscriptionState::Missing => SubscriptionState::Missing,
            },
        }
    }
}

impl NotificationTest {
    pub(in crate::http) fn of(
        event_id: String,
        subscriptions: &[job::Subscription],
    ) -> NotificationTest {
        let subscriptions = subscriptions.iter().map(Subscription::of).collect();
        NotificationTest { event_id, subscriptions }
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
            job::ResourceKind::Schedule => ResourceKind::Schedule,
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

impl Architecture {
    fn of(architecture: job::Architecture) -> Architecture {
        match architecture {
            job::Architecture::X86_64 => Architecture::X86_64,
            job::Architecture::Arm64 => Architecture::Arm64,
        }
    }
}

impl Capacity {
    fn of(capacity: job::Capacity) -> Capacity {
        match capacity {
            job::Capacity::OnDemand => Capacity::OnDemand,
            job::Capacity::Spot => Capacity::Spot,
            job::Capacity::SpotWithFallback => Capacity::SpotWithFallback,
        }
    }
}

impl Protocol {
    fn of(protocol: job::Protocol) -> Protocol {
        match protocol {
            job::Protocol::Email => Protocol::Email,
            job::Protocol::Https => Protocol::Https,
            job::Protocol::Sqs => Protocol::Sqs,
            job::Protocol::Lambda => Protocol::Lambda,
        }
    }
}

impl Outcome {
    /// `None` of a run that goes on.
    fn of(status: run::RunStatus) -> Option<Outcome> {
        match status {
            run::RunStatus::Pending | run::RunStatus::Running => None,
            run::RunStatus::Succeeded => Some(Outcome::Succeeded),
            run::RunStatus::Failed => Some(Outcome::Failed),
            run::RunStatus::FailedToStart => Some(Outcome::FailedToStart),
            run::RunStatus::TimedOut => Some(Outcome::TimedOut),
            run::RunStatus::Stopped => Some(Outcome::Stopped),
            run::RunStatus::Interrupted => Some(Outcome::Interrupted),
            run::RunStatus::Unknown => Some(Outcome::Unknown),
        }
    }
}

impl RunSummary {
    fn of(run: &run::RunSummary) -> RunSummary {
        RunSummary {
            id: run.id.to_string(),
            status: RunStatus::of(run.status),
            trigger: Trigger::of(run.trigger),
            scheduled_time: run.scheduled_time.map(|at| at.to_string()),
            created_at: run.created_at.to_string(),
            stopped_at: run.stopped_at.map(|at| at.to_string()),
            exit_code: run.exit_code,
        }
    }
}
