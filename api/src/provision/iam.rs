//! The two roles of a job: the one with which ECS starts its task, and the one with which
//! EventBridge, or its Scheduler, runs it.
//!
//! Where Scheduler carries every job, the jobs of a team share both, as an account has 1,000 roles: only a job
//! that names secrets has its own, so that no other job can read them.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_iam::types::Tag;
use serde_json::{Value, json};

use super::names::{self, ROLE_PATH, hex_sha256};
use super::tags::Tags;
use super::{Changed, Clients, Context, Made, Resource, role_arn, to_remove};
use crate::domain::deployment::Deployment;
use crate::domain::ids::TeamName;
use crate::domain::job::{
    Grants, MANAGED_TAG_PREFIX, POLICY_CHARACTERS_MAX, ResourceKind, SecretStore, secret_resources,
};
use crate::domain::quota::Quota;
use crate::error::{Error, Result, says};

/// Name of the one inline policy of each role.
const POLICY_NAME: &str = "cronplane";

pub(super) struct Role {
    kind: ResourceKind,
    name: String,
    arn: String,
    description: String,
    boundary_arn: String,
    trust: Value,
    policy: Value,
    /// The role that the job names instead: it is only used.
    named: Option<String>,
    /// Of a role that the team's jobs share, the job's own, which it had before.
    own: Option<Box<Role>>,
    tags: Tags,
}

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

impl Role {
    fn tag_list(&self) -> Result<Vec<Tag>> {
        self.tags.try_map(|key, value| Tag::builder().key(key).value(value).build())
    }

    /// Whether the role is there and ours; `NotOurs` if it is somebody else's.
    async fn is_there(&self, clients: &Clients) -> Result<bool> {
        Ok(self.found_tags(clients).await?.is_some())
    }

    /// The tags of the role that is there and ours; `NotOurs` if it is somebody else's.
    async fn found_tags(&self, clients: &Clients) -> Result<Option<Vec<Tag>>> {
        match clients.iam.get_role().role_name(&self.name).send().await {
            Ok(answer) => {
                let tags = answer.role.and_then(|role| role.tags).unwrap_or_default();
                if self.tags.own(tags.iter().map(|tag| (Some(tag.key()), Some(tag.value())))) {
                    Ok(Some(tags))
                } else {
                    Err(Error::NotOurs(format!("IAM role `{}`", self.name)))
                }
            }
            Err(error) if says(&error, |error| error.is_no_such_entity_exception()) => Ok(None),
            Err(error) => Err(Error::aws("iam:GetRole", error)),
        }
    }
}

/// The parts that can be applied on their own.
const ROLE: usize = 0;
const POLICY: usize = 1;

impl Role {
    /// Sees to a role that a team's jobs share: its tag says what was last applied in full, so that a job
    /// which finds it as it is to be changes nothing.
    async fn ensure_shared(&self, clients: &Clients) -> Result<()> {
        let content = hex_sha256(format!("{} {}", self.trust, self.policy).as_bytes());
        let tag = format!("{MANAGED_TAG_PREFIX}content");
        match self.found_tags(clients).await? {
            Some(tags) if tags.iter().any(|one| one.key() == tag && one.value() == content) => {
                return Ok(());
            }
            Some(_) => self.update(clients).await?,
            None => self.create(clients).await?,
        }
        self.put_policy(clients).await?;
        if clients.notes("iam:TagRole", &self.arn) {
            return Ok(());
        }
        let tag = Tag::builder().key(tag).value(content).build();
        clients
            .iam
            .tag_role()
            .role_name(&self.name)
            .tags(tag.map_err(|error| Error::Internal(error.to_string()))?)
            .send()
            .await
            .map(drop)
            .map_err(|error| Error::aws("iam:TagRole", error))
    }

    async fn put_policy(&self, clients: &Clients) -> Result<()> {
        if clients.notes("iam:PutRolePolicy", &self.arn) {
            return Ok(());
        }
        clients
            .iam
            .put_role_policy()
            .role_name(&self.name)
            .policy_name(POLICY_NAME)
            .policy_document(self.policy.to_string())
            .send()
            .await
            .map(drop)
            .map_err(|error| Error::aws("iam:PutRolePolicy", error))
    }

    /// Creates the role, or brings the one that is there to what is wanted.
    async fn put_role(&self, clients: &Clients) -> Result<()> {
        if self.is_there(clients).await? {
            self.update(clients).await
        } else {
            self.create(clients).await
        }
    }

    async fn create(&self, clients: &Clients) -> Result<()> {
        if clients.notes("iam:CreateRole", &self.arn) {
            return Ok(());
        }
        let created = clients
            .iam
            .create_role()
            .role_name(&self.name)
            .path(ROLE_PATH)
            .description(&self.description)
            .permissions_boundary(&self.boundary_arn)
            .assume_role_policy_document(self.trust.to_string())
            .set_tags(Some(self.tag_list()?))
            .send()
            .await;
        match created {
            Ok(_) => Ok(()),
            // Made between, perhaps by the first of two calls of which the answer was lost.
            Err(error) if says(&error, |error| error.is_entity_already_exists_exception()) => {
                Err(Error::Busy(format!("IAM role `{}`", self.name)))
            }
            Err(error) => Err(Error::aws("iam:CreateRole", error)),
        }
    }

    async fn update(&self, clients: &Clients) -> Result<()> {
        // First: without it the function's own role may not write the policies.
        if !clients.notes("iam:PutRolePermissionsBoundary", &self.arn) {
            clients
                .iam
                .put_role_permissions_boundary()
                .role_name(&self.name)
                .permissions_boundary(&self.boundary_arn)
                .send()
                .await
                .map_err(|error| Error::aws("iam:PutRolePermissionsBoundary", error))?;
        }
        if !clients.notes("iam:UpdateAssumeRolePolicy", &self.arn) {
            clients
                .iam
                .update_assume_role_policy()
                .role_name(&self.name)
                .policy_document(self.trust.to_string())
                .send()
                .await
                .map_err(|error| Error::aws("iam:UpdateAssumeRolePolicy", error))?;
        }
        if !clients.notes("iam:TagRole", &self.arn) {
            clients
                .iam
                .tag_role()
                .role_name(&self.name)
                .set_tags(Some(self.tag_list()?))
                .send()
                .await
                .map_err(|error| Error::aws("iam:TagRole", error))?;
        }
        if let Some(keys) = self.tags.former()
            && !clients.notes("iam:UntagRole", &self.arn)
        {
            clients
                .iam
                .untag_role()
                .role_name(&self.name)
                .set_tag_keys(Some(keys))
                .send()
                .await
                .map_err(|error| Error::aws("iam:UntagRole", error))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Resource for Role {
    fn kind(&self) -> ResourceKind {
        self.kind
    }

    fn takes(&self) -> Option<Quota> {
        // One that a team's jobs share is there with the team's first job.
        (self.named.is_none() && self.own.is_none()).then_some(Quota::Roles)
    }

    fn wanted(&self, _: &Made) -> Vec<String> {
        if let Some(named) = &self.named {
            return vec![named.clone()];
        }
        let role =
            format!("{} {} {} {:?}", self.arn, self.boundary_arn, self.trust, self.tags.as_map());
        vec![role, self.policy.to_string()]
    }

    async fn ensure(&self, clients: &Clients, _: &Made, changed: &Changed) -> Result<String> {
        if let Some(named) = &self.named {
            // The job's own role, should it have had one, stays until the job goes: tasks of before
            // write their logs with it.
            return Ok(named.clone());
        }
        if self.own.is_some() {
            // The job's own role, should it have had one, stays until the job goes, as beside a named one.
            self.ensure_shared(clients).await?;
            return Ok(self.arn.clone());
        }
        if changed.part(ROLE) {
            self.put_role(clients).await?;
        }
        if changed.part(POLICY) {
            self.put_policy(clients).await?;
        }
        Ok(self.arn.clone())
    }

    async fn remove(&self, clients: &Clients) -> Result<()> {
        if let Some(own) = &self.own {
            return own.remove(clients).await;
        }
        if !to_remove(self.is_there(clients).await)? {
            return Ok(());
        }
        if clients.notes("iam:DeleteRolePolicy", &self.arn) {
            clients.notes("iam:DeleteRole", &self.arn);
            return Ok(());
        }
        let policy = clients
            .iam
            .delete_role_policy()
            .role_name(&self.name)
            .policy_name(POLICY_NAME)
            .send()
            .await;
        match policy {
            Ok(_) => {}
            Err(error) if says(&error, |error| error.is_no_such_entity_exception()) => {}
            Err(error) => return Err(Error::aws("iam:DeleteRolePolicy", error)),
        }
        match clients.iam.delete_role().role_name(&self.name).send().await {
            Ok(_) => Ok(()),
            Err(error) if says(&error, |error| error.is_no_such_entity_exception()) => Ok(()),
            Err(error) => Err(Error::aws("iam:DeleteRole", error)),
        }
    }
}
