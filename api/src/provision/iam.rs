//! The two roles of a job: the one with which ECS starts its task, and the one with which
//! EventBridge runs it.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_iam::types::Tag;
use serde_json::{Value, json};

use super::names::ROLE_PATH;
use super::tags::Tags;
use super::{Changed, Clients, Context, Made, Resource, to_remove};
use crate::domain::deployment::Deployment;
use crate::domain::job::{
    Grants, POLICY_CHARACTERS_MAX, ResourceKind, SecretStore, secret_resources,
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
    tags: Tags,
}

/// The task execution role: pulls the image, writes the logs, and nothing else.
pub(super) fn execution_role(context: &Context<'_>) -> Role {
    with_room(context, |grants| execution_role_with(context, grants))
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
        // The token is for the registry: IAM has no narrower resource for it.
        statements.push(json!({
            "Sid": "LogInToRegistry",
            "Effect": "Allow",
            "Action": "ecr:GetAuthorizationToken",
            "Resource": "*",
        }));
        statements.push(json!({
            "Sid": "PullImage",
            "Effect": "Allow",
            "Action": [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
            ],
            "Resource": repositories,
        }));
    }
    statements.extend(secret_statements(grants, deployment));
    let role = role(
        context,
        ResourceKind::ExecutionRole,
        &context.names.execution_role,
        "Starts the containers of a Cronplane job",
        json!({
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
            // Amazon ECS Developer Guide, "Amazon ECS task execution IAM role": against the
            // confused deputy.
            "Condition": {
                "StringEquals": {"aws:SourceAccount": deployment.account},
                "ArnLike": {"aws:SourceArn": deployment.arn("ecs", "*")},
            },
        }),
        statements,
    );
    Role { named: context.job.definition.execution_role.clone(), ..role }
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
    with_room(context, |grants| events_role_with(context, grants))
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
    role(
        context,
        ResourceKind::EventsRole,
        &context.names.events_role,
        "Runs a Cronplane job on its schedule",
        json!({
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {
                "aws:SourceAccount": deployment.account,
                "aws:SourceArn": context.rule_arn(&context.names.schedule_rule),
            }},
        }),
        vec![
            json!({
                "Sid": "RunTask",
                "Effect": "Allow",
                "Action": "ecs:RunTask",
                "Resource": deployment.arn("ecs", &format!("task-definition/{family}:*")),
                "Condition": {"ArnEquals": {"ecs:cluster": clusters}},
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
        ],
    )
}

fn role(
    context: &Context<'_>,
    kind: ResourceKind,
    name: &str,
    description: &str,
    trust: Value,
    statements: Vec<Value>,
) -> Role {
    Role {
        kind,
        name: name.to_owned(),
        arn: context.role_arn(name),
        description: description.to_owned(),
        boundary_arn: context.deployment.boundary_arn.clone(),
        trust: json!({"Version": "2012-10-17", "Statement": [trust]}),
        policy: json!({"Version": "2012-10-17", "Statement": statements}),
        named: None,
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
        match clients.iam.get_role().role_name(&self.name).send().await {
            Ok(answer) => {
                let tags = answer.role.and_then(|role| role.tags).unwrap_or_default();
                if self.tags.own(tags.iter().map(|tag| (Some(tag.key()), Some(tag.value())))) {
                    Ok(true)
                } else {
                    Err(Error::NotOurs(format!("IAM role `{}`", self.name)))
                }
            }
            Err(error) if says(&error, |error| error.is_no_such_entity_exception()) => Ok(false),
            Err(error) => Err(Error::aws("iam:GetRole", error)),
        }
    }
}

/// The parts that can be applied on their own.
const ROLE: usize = 0;
const POLICY: usize = 1;

impl Role {
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
        self.named.is_none().then_some(Quota::Roles)
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
        if changed.part(ROLE) {
            self.put_role(clients).await?;
        }
        if changed.part(POLICY) && !clients.notes("iam:PutRolePolicy", &self.arn) {
            clients
                .iam
                .put_role_policy()
                .role_name(&self.name)
                .policy_name(POLICY_NAME)
                .policy_document(self.policy.to_string())
                .send()
                .await
                .map_err(|error| Error::aws("iam:PutRolePolicy", error))?;
        }
        Ok(self.arn.clone())
    }

    async fn remove(&self, clients: &Clients) -> Result<()> {
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
