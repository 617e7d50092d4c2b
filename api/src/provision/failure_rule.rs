//! The rule that tells a team of failures; and where the jobs of a stack share one, what is made of what it finds.
//!
//! Its pattern and `domain::run` are made from the same lists of stop codes: what the history
//! calls a failure is what is told, and nothing else.

use async_trait::async_trait;
use aws_sdk_eventbridge::types::{InputTransformer, PutEventsRequestEntry, Target};
use serde_json::{Value, json};

use super::names::TARGET_ID;
use super::rules::{Rule, RuleTrigger, dead_letters, retry_policy};
use super::{Changed, Clients, Context, Made, Provisioner, Resource};
use crate::domain::console::log_group_url;
use crate::domain::deployment::Deployment;
use crate::domain::ids::{JobKey, JobName, TeamName};
use crate::domain::job::{Job, ResourceKind};
use crate::domain::quota::Quota;
use crate::domain::run::{FAILED_TO_START_CODES, INTERRUPTED_CODES, Run, STOPPED_CODES};
use crate::domain::task::MAIN_CONTAINER;
use crate::error::{AwsFault, Error, Result};

/// An alert is worth trying for as long as EventBridge does by default.
const EVENT_AGE_SECONDS: i32 = 86_400;
const TEST_DETAIL_TYPE: &str = "Cronplane Notification Test";
/// Of a run that ended without a task, of which ECS makes no event.
const FAILED_DETAIL_TYPE: &str = "Cronplane Run Failed";
/// What stands for a task's ARN where there is no task.
const NO_TASK: &str = "none";

pub(super) struct FailureRule {
    rule: Rule,
    template: String,
    dead_letter_queue_arn: String,
}

impl FailureRule {
    pub(super) fn of(context: &Context<'_>) -> FailureRule {
        let name = context.names.failure_rule.clone();
        FailureRule {
            rule: Rule {
                arn: context.rule_arn(&name),
                name,
                description: format!("Failures of the Cronplane job {}", context.job.key()),
                trigger: RuleTrigger::Pattern(pattern(context).to_string()),
                // A paused job can still have a run going on.
                enabled: true,
                tags: context.tags.clone(),
            },
            template: template(context),
            dead_letter_queue_arn: context.deployment.dead_letter_queue_arn.clone(),
        }
    }

    fn target(&self, topic_arn: &str) -> Result<Target> {
        let invalid = |error: aws_smithy_types::error::operation::BuildError| {
            Error::Internal(error.to_string())
        };
        let transformer = InputTransformer::builder()
            .input_paths_map("task", "$.detail.taskArn")
            .input_paths_map("created", "$.detail.createdAt")
            .input_template(&self.template)
            .build()
            .map_err(invalid)?;
        Target::builder()
            .id(TARGET_ID)
            .arn(topic_arn)
            .input_transformer(transformer)
            .retry_policy(retry_policy(EVENT_AGE_SECONDS))
            .dead_letter_config(dead_letters(&self.dead_letter_queue_arn))
            .build()
            .map_err(invalid)
    }
}

/// The source of the events that the stack puts itself; only AWS can put events of `aws.ecs`.
fn own_source(deployment: &Deployment) -> String {
    format!("cronplane.{}", deployment.stack)
}

/// Where the API has the runs of a job.
fn runs_url(deployment: &Deployment, team: &TeamName, job: &JobName) -> String {
    format!("{}/v1/teams/{team}/jobs/{job}/runs", deployment.public_url)
}

/// Which events are failures of the job: of every revision of its family, in whatever cluster.
///
/// EventBridge matches the fields of one array element together: `name` and `exitCode` are those
/// of the same container.
pub(super) fn pattern(context: &Context<'_>) -> Value {
    let deployment = context.deployment;
    let own = json!({
        "source": [own_source(deployment)],
        "detail-type": [TEST_DETAIL_TYPE, FAILED_DETAIL_TYPE],
        "detail": {
            "team": [context.job.team.as_str()],
            "job": [context.job.definition.name.as_str()],
        },
    });
    failures(&deployment.arn("ecs", &format!("task-definition/{}:", context.names.base)), own)
}

/// Which events are failures of any of the stack's jobs: what the stack's failure rule finds, in `template.yaml`.
pub fn stack_pattern(deployment: &Deployment) -> Value {
    let own = json!({
        "source": [own_source(deployment)],
        "detail-type": [TEST_DETAIL_TYPE, FAILED_DETAIL_TYPE],
    });
    failures(&deployment.arn("ecs", &format!("task-definition/{}_", deployment.stack)), own)
}

/// Failures of tasks whose task definitions begin with `revisions`, and `own` events.
fn failures(revisions: &str, own: Value) -> Value {
    let stopped = |condition: Value| {
        let mut detail = json!({
            "lastStatus": ["STOPPED"],
            "taskDefinitionArn": [{"prefix": revisions}],
        });
        if let (Some(detail), Value::Object(condition)) = (detail.as_object_mut(), condition) {
            detail.extend(condition);
        }
        json!({
            "source": ["aws.ecs"],
            "detail-type": ["ECS Task State Change"],
            "detail": detail,
        })
    };
    let nobody_stopped = json!([{"anything-but": STOPPED_CODES}, {"exists": false}]);
    let ended_by_aws: Vec<&str> =
        FAILED_TO_START_CODES.into_iter().chain(INTERRUPTED_CODES).collect();
    json!({"$or": [
        stopped(json!({
            "stopCode": nobody_stopped,
            "containers": {"name": [MAIN_CONTAINER], "exitCode": [{"anything-but": 0}]},
        })),
        // The main container ended, and ECS could not tell how.
        stopped(json!({
            "stopCode": nobody_stopped,
            "containers": {"exitCode": [{"exists": false}]},
        })),
        stopped(json!({"stopCode": ended_by_aws})),
        own,
    ]})
}

/// The message: JSON whatever the event holds. Constants, two values without characters that would
/// need an escape (an ARN and a time), and the event itself as a value. Where there is no task the link
/// leads to no run: `event.detail.runUrl` does.
fn template(context: &Context<'_>) -> String {
    let constants = constants(context, "<task>", "<created>").to_string();
    // The event stands outside quotes, which no JSON value of ours could say.
    let open = constants.strip_suffix('}').unwrap_or(&constants);
    format!("{open},\"event\":<aws.events.event.json>}}")
}

/// What a message says besides the event: of which job it is, and where to look.
fn constants(context: &Context<'_>, task: &str, created: &str) -> Value {
    let (deployment, job) = (context.deployment, context.job);
    let runs = runs_url(deployment, &job.team, &job.definition.name);
    json!({
        "team": job.team,
        "job": job.definition.name,
        "region": deployment.region,
        "stack": deployment.stack,
        "logs": log_group_url(deployment, &context.names.log_group),
        "run": format!("{runs}?task_arn={task}&from={created}&to={created}"),
    })
}

/// The message that the job's own failure rule would make of `event`.
fn message(context: &Context<'_>, event: &Value) -> Value {
    let text = |name: &str| event["detail"][name].as_str().unwrap_or_default();
    let mut message = constants(context, text("taskArn"), text("createdAt"));
    message["event"] = event.clone();
    message
}

/// Puts the event that shows the whole way from the rule to the subscriber, and answers its id.
///
/// In a dry run the id is empty.
pub(super) async fn send_test(clients: &Clients, context: &Context<'_>) -> Result<String> {
    let detail = json!({
        "team": context.job.team,
        "job": context.job.definition.name,
        "message": "A test of this job's notifications. No run failed.",
        "taskArn": NO_TASK,
        "createdAt": context.job.created_at,
    });
    put_event(clients, context.deployment, TEST_DETAIL_TYPE, &detail).await
}

impl Provisioner {
    /// Publishes what the stack's failure rule found of `job` to the job's topic.
    pub async fn publish_failure(
        &self,
        job: &Job,
        event: &Value,
        deployment: &Deployment,
    ) -> Result<()> {
        let context = Context::of(job, deployment);
        self.clients
            .sns
            .publish()
            .topic_arn(deployment.arn("sns", &context.names.topic))
            .message(message(&context, event).to_string())
            .send()
            .await
            .map(drop)
            .map_err(|error| Error::aws("sns:Publish", error))
    }

    /// Tells of a run of the job `key` that ends, as `run` says, without a task: of those ECS makes no
    /// event. A job that has no failure rule tells nobody.
    pub async fn tell_failed(
        &self,
        key: &JobKey,
        run: &Run,
        deployment: &Deployment,
    ) -> Result<()> {
        let detail = json!({
            "team": key.team,
            "job": key.job,
            "run": run.id,
            "runUrl": format!("{}/{}", runs_url(deployment, &key.team, &key.job), run.id),
            "status": run.status,
            "message": run.stopped_reason,
            "scheduled_time": run.scheduled_time,
            "taskArn": NO_TASK,
            "createdAt": run.created_at,
        });
        put_event(&self.clients, deployment, FAILED_DETAIL_TYPE, &detail).await.map(drop)
    }
}

/// Puts an event of the stack's own on the account's bus, and answers its id; in a dry run it is empty.
async fn put_event(
    clients: &Clients,
    deployment: &Deployment,
    detail_type: &str,
    detail: &Value,
) -> Result<String> {
    if clients.notes("events:PutEvents", &deployment.arn("events", "event-bus/default")) {
        return Ok(String::new());
    }
    let entry = PutEventsRequestEntry::builder()
        .source(own_source(deployment))
        .detail_type(detail_type)
        .detail(detail.to_string())
        .build();
    let answer = clients
        .events
        .put_events()
        .entries(entry)
        .send()
        .await
        .map_err(|error| Error::aws("events:PutEvents", error))?;
    let entry = answer.entries().first();
    match entry.and_then(|entry| entry.event_id()) {
        Some(id) => Ok(id.to_owned()),
        None => Err(Error::Aws(AwsFault::of_code(
            "events:PutEvents",
            entry.and_then(|entry| entry.error_code()).unwrap_or("Unknown"),
            entry.and_then(|entry| entry.error_message()).unwrap_or("no message"),
        ))),
    }
}

#[async_trait]
impl Resource for FailureRule {
    fn kind(&self) -> ResourceKind {
        ResourceKind::FailureRule
    }

    fn takes(&self) -> Option<Quota> {
        Some(Quota::Rules)
    }

    fn wanted(&self, made: &Made) -> Vec<String> {
        let target = format!(
            "{} {} {}",
            self.template,
            self.dead_letter_queue_arn,
            made.arn(ResourceKind::Topic).unwrap_or_default(),
        );
        self.rule.wanted(target)
    }

    async fn ensure(&self, clients: &Clients, made: &Made, changed: &Changed) -> Result<String> {
        let target = self.target(made.arn(ResourceKind::Topic)?)?;
        self.rule.put(clients, target, changed).await
    }

    async fn remove(&self, clients: &Clients) -> Result<()> {
        self.rule.remove(clients).await
    }
}
