//! The two roles of a job: the one with which ECS starts its task, and the one with which
//! EventBridge, or its Scheduler, runs it. What may assume them and what they may do.
//!
//! Where Scheduler carries every job, the jobs of a team share both, as an account has 1,000 roles: only a job
//! that names secrets has its own, so that no other job can read them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::iam::Role;
use super::tags::Tags;
use super::{Context, names, role_arn};
use crate::domain::deployment::Deployment;
use crate::domain::ids::TeamName;
use crate::domain::job::{
    Grants, POLICY_CHARACTERS_MAX, ResourceKind, SecretStore, secret_resources,
};

/// The task execution role: pulls the image, writes the logs, and nothing else.
pub(super) fn execution_role(context: &Context<'_>) -> Role {
    let own = with_room(context, |grants| execution_role_with(context, grants));
    if !context.shares_roles() || own.named.is_some() {
        return own;
    }
    let [shared, _] = team_roles(context.deployment, &context.job.team);
    Role { own: Some(Box::new(own)), ..shared }
}

/// The roles that the jobs of a team share: the execution role, and the role of their schedules.
pub(super) fn team_roles(deployment: &Deployment, team: &TeamName) -> [Role; 2] {
    let [execution, schedules] = names::team_roles(deployment, team);
    let execution_arn = role_arn(deployment, &execution);
    [
        team_execution_role(deployment, team, execution),
        team_schedule_role(deployment, team, schedules, execution_arn),
    ]
}

/// What the jobs of a team, but those with secrets, start their containers with: any image that the boundary
/// lets be pulled, and the team's logs.
fn team_execution_role(deployment: &Deployment, team: &TeamName, name: String) -> Role {
    let groups = format!("log-group:/cronplane/{}/{team}/*:log-stream:*", deployment.stack);
    let statements = vec![
        json!({
            "Sid": "WriteLogs",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": deployment.arn("logs", &groups),
        }),
        log_in_to_registry(),
        pull_images(json!(format!("arn:{}:ecr:*:*:repository/*", deployment.partition))),
    ];
    let description = "Starts the containers of a team's Cronplane jobs";
    let kind = ResourceKind::ExecutionRole;
    team_role((deployment, team), kind, name, description, tasks_trust(deployment), statements)
}

/// What Scheduler runs the jobs of a team with, but those with secrets: the team's task definitions, with the
/// team's execution role and whatever roles the deployment lets be passed. Only Cronplane can make schedules in
/// the group for which it is assumed.
fn team_schedule_role(
    deployment: &Deployment,
    team: &TeamName,
    name: String,
    execution_role_arn: String,
) -> Role {
    let family = format!("task-definition/{}_{team}_*:*", deployment.stack);
    let mut passed = vec![execution_role_arn];
    passed.extend(deployment.passable_roles.iter().cloned());
    let clusters = deployment.arn("ecs", "cluster/*");
    let mut statements = run_task_statements(
        deployment.arn("ecs", &family),
        json!({"ArnLike": {"ecs:cluster": clusters}}),
        passed,
        json!(deployment.arn("ecs", "task/*")),
    );
    statements.push(send_messages(deployment));
    let description = "Runs a team's Cronplane jobs on their schedules";
    let kind = ResourceKind::EventsRole;
    let trust = vec![scheduler_trust(deployment)];
    team_role((deployment, team), kind, name, description, trust, statements)
}

fn team_role(
    (deployment, team): (&Deployment, &TeamName),
    kind: ResourceKind,
    name: String,
    description: &str,
    trust: Vec<Value>,
    statements: Vec<Value>,
) -> Role {
    Role {
        kind,
        arn: role_arn(deployment, &name),
        name,
        description: description.to_owned(),
        boundary_arn: deployment.boundary_arn.clone(),
        trust: json!({"Version": "2012-10-17", "Statement": trust}),
        policy: json!({"Version": "2012-10-17", "Statement": statements}),
        named: None,
        own: None,
        tags: Tags::of_team(deployment, team),
    }
}

/// The role that grants what starts from before a change take as well. What the job wants has room in
/// a role's policy; if all that it wanted before has none beside it, that goes at once.
fn with_room(context: &Context<'_>, role: impl Fn(&Grants) -> Role) -> Role {
    let with_former = role(&context.grants());
    if with_former.policy.to_string().len() <= POLICY_CHARACTERS_MAX {
        return with_former;
    }
    role(&Grants::of(&context.job.definition))
}

fn execution_role_with(context: &Context<'_>, grants: &Grants) -> Role {
    let deployment = context.deployment;
    let log_streams =
        deployment.arn("logs", &format!("log-group:{}:log-stream:*", context.names.log_group));
    let mut statements = vec![json!({
        "Sid": "WriteLogs",
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": log_streams,
    })];
    let images = grants.images.iter().map(|image| image.reference(deployment));
    let repositories: BTreeSet<String> =
        images.filter_map(|image| ecr_repository(&image, deployment)).collect();
    if !repositories.is_empty() {
        statements.push(log_in_to_registry());
        statements.push(pull_images(json!(repositories)));
    }
    statements.extend(secret_statements(grants, deployment));
    let role = role(
        context,
        ResourceKind::ExecutionRole,
        &context.names.execution_role,
        "Starts the containers of a Cronplane job",
        tasks_trust(deployment),
        statements,
    );
    Role { named: context.job.definition.execution_role.clone(), ..role }
}

fn tasks_trust(deployment: &Deployment) -> Vec<Value> {
    vec![json!({
        "Effect": "Allow",
        "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        "Action": "sts:AssumeRole",
        // Amazon ECS Developer Guide, "Amazon ECS task execution IAM role": against the
        // confused deputy.
        "Condition": {
            "StringEquals": {"aws:SourceAccount": deployment.account},
            "ArnLike": {"aws:SourceArn": deployment.arn("ecs", "*")},
        },
    })]
}

/// The token is for the registry: IAM has no narrower resource for it.
fn log_in_to_registry() -> Value {
    json!({
        "Sid": "LogInToRegistry",
        "Effect": "Allow",
        "Action": "ecr:GetAuthorizationToken",
        "Resource": "*",
    })
}

fn pull_images(repositories: Value) -> Value {
    json!({
        "Sid": "PullImage",
        "Effect": "Allow",
        "Action": [
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:GetDownloadUrlForLayer",
        ],
        "Resource": repositories,
    })
}

/// Leave to fetch the job's secrets, each by its ARN, and to decrypt those and nothing else: the key
/// is not known, but a store names the secret in the encryption context whatever key it uses.
///
/// AWS Secrets Manager User Guide, "Secret encryption and decryption"; AWS Systems Manager User
/// Guide, "AWS KMS encryption for AWS Systems Manager Parameter Store SecureString parameters".
fn secret_statements(grants: &Grants, deployment: &Deployment) -> Vec<Value> {
    let mut statements = Vec::new();
    for (store, arns) in secret_resources(grants.secrets.iter().map(String::as_str)) {
        let (sid, action, service, key) = match store {
            SecretStore::SecretsManager => {
                ("Secrets", "secretsmanager:GetSecretValue", "secretsmanager", "SecretARN")
            }
            SecretStore::ParameterStore => {
                ("Parameters", "ssm:GetParameters", "ssm", "PARAMETER_ARN")
            }
        };
        statements.push(json!({
            "Sid": sid,
            "Effect": "Allow",
            "Action": action,
            "Resource": arns,
        }));
        statements.push(json!({
            "Sid": format!("Decrypt{sid}"),
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": deployment.arn("kms", "key/*"),
            "Condition": {"StringEquals": {
                "kms:ViaService":
                    format!("{service}.{}.{}", deployment.region, deployment.url_suffix),
                format!("kms:EncryptionContext:{key}"): arns,
            }},
        }));
    }
    statements
}

/// The events role: runs this job's task definition in its cluster, and nothing else.
pub(super) fn events_role(context: &Context<'_>) -> Role {
    let own = with_room(context, |grants| events_role_with(context, grants));
    if !context.shares_roles() {
        return own;
    }
    let [_, shared] = team_roles(context.deployment, &context.job.team);
    Role { own: Some(Box::new(own)), ..shared }
}

fn events_role_with(context: &Context<'_>, grants: &Grants) -> Role {
    let deployment = context.deployment;
    let family = &context.names.base;
    let execution_roles = grants.execution_roles.iter();
    let mut passed: Vec<String> =
        execution_roles.map(|named| context.execution_role_arn_of(named.as_deref())).collect();
    passed.extend(grants.task_roles.iter().cloned());
    let clusters: Vec<String> =
        grants.clusters.iter().map(|named| context.cluster_arn_of(named.as_deref())).collect();
    let tasks: Vec<String> = clusters
        .iter()
        .map(|cluster| format!("{}/*", cluster.replacen(":cluster/", ":task/", 1)))
        .collect();
    let mut statements = run_task_statements(
        deployment.arn("ecs", &format!("task-definition/{family}:*")),
        json!({"ArnEquals": {"ecs:cluster": clusters}}),
        passed,
        json!(tasks),
    );
    if context.may_stand(ResourceKind::Schedule) {
        statements.push(send_messages(deployment));
    }
    let trust = engines_trust(context);
    role(
        context,
        ResourceKind::EventsRole,
        &context.names.events_role,
        "Runs a Cronplane job on its schedule",
        trust,
        statements,
    )
}

/// Leave to run task definitions in clusters, to pass roles to them and to tag the tasks.
fn run_task_statements(
    task_definitions: String,
    clusters: Value,
    passed: Vec<String>,
    tasks: Value,
) -> Vec<Value> {
    vec![
        json!({
            "Sid": "RunTask",
            "Effect": "Allow",
            "Action": "ecs:RunTask",
            "Resource": task_definitions,
            "Condition": clusters,
        }),
        json!({
            "Sid": "PassRoles",
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": passed,
            "Condition": {
                "StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"},
            },
        }),
        // Without it, tasks with tags silently never start.
        json!({
            "Sid": "TagTask",
            "Effect": "Allow",
            "Action": "ecs:TagResource",
            "Resource": tasks,
            "Condition": {"StringEquals": {"ecs:CreateAction": "RunTask"}},
        }),
    ]
}

/// A rule is let in by the queues' own policies; Scheduler sends with the role of the schedule.
fn send_messages(deployment: &Deployment) -> Value {
    json!({
        "Sid": "SendMessages",
        "Effect": "Allow",
        "Action": "sqs:SendMessage",
        "Resource": [deployment.dead_letter_queue_arn, deployment.start_queue_arn],
    })
}

/// Who may assume the events role: what starts the job, and what may still do so.
fn engines_trust(context: &Context<'_>) -> Vec<Value> {
    let deployment = context.deployment;
    let rule = context.rule_arn(&context.names.schedule_rule);
    [
        (ResourceKind::ScheduleRule, service_trust(deployment, "events.amazonaws.com", rule)),
        (ResourceKind::Schedule, scheduler_trust(deployment)),
    ]
    .into_iter()
    .filter(|(kind, _)| context.may_stand(*kind))
    .map(|(_, statement)| statement)
    .collect()
}

/// EventBridge Scheduler User Guide, "Confused deputy prevention": the schedule's group, not the schedule.
fn scheduler_trust(deployment: &Deployment) -> Value {
    let group = format!("schedule-group/{}", deployment.schedule_group);
    service_trust(deployment, "scheduler.amazonaws.com", deployment.arn("scheduler", &group))
}

fn service_trust(deployment: &Deployment, service: &str, source: String) -> Value {
    json!({
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {
            "aws:SourceAccount": deployment.account,
            "aws:SourceArn": source,
        }},
    })
}

fn role(
    context: &Context<'_>,
    kind: ResourceKind,
    name: &str,
    description: &str,
    trust: Vec<Value>,
    statements: Vec<Value>,
) -> Role {
    Role {
        kind,
        name: name.to_owned(),
        arn: context.role_arn(name),
        description: description.to_owned(),
        boundary_arn: context.deployment.boundary_arn.clone(),
        trust: json!({"Version": "2012-10-17", "Statement": trust}),
        policy: json!({"Version": "2012-10-17", "Statement": statements}),
        named: None,
        own: None,
        tags: context.tags.clone(),
    }
}

/// The ARN of the ECR repository that `image` is in, if it is in one.
///
/// `<account>.dkr.ecr[-fips].<region>.amazonaws.com/<repository>[:<tag>|@<digest>]`, or the
/// dual-stack `<account>.dkr-ecr[-fips].<region>.on.aws/...`: Amazon ECR User Guide, "Private
/// registry in Amazon ECR".
fn ecr_repository(image: &str, deployment: &Deployment) -> Option<String> {
    let (registry, path) = image.split_once('/')?;
    let labels: Vec<&str> = registry.split('.').collect();
    let (account, region) = match labels[..] {
        [account, "dkr", "ecr" | "ecr-fips", region, ..] => (account, region),
        [account, "dkr-ecr" | "dkr-ecr-fips", region, "on", "aws"] => (account, region),
        _ => return None,
    };
    let repository = path.split(['@', ':']).next()?;
    Some(format!("arn:{}:ecr:{region}:{account}:repository/{repository}", deployment.partition))
}
