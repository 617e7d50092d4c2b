//! The task definition: what ECS runs.

use async_trait::async_trait;
use aws_sdk_ecs::error::ProvideErrorMetadata as _;
use aws_sdk_ecs::types::{
    Compatibility, CpuArchitecture, EphemeralStorage, NetworkMode, OsFamily, RuntimePlatform, Tag,
    TaskDefinitionField, TaskDefinitionStatus,
};
use serde_json::{Value, json};

use super::containers::{Logs, containers, volumes};
use super::names::hex_sha256;
use super::tags::Tags;
use super::{Changed, Clients, Context, Made, Resource};
use crate::domain::job::{Architecture, JobDefinition, MANAGED_TAG_PREFIX, ResourceKind};
use crate::error::{Error, FaultKind, Result, says};

pub(super) struct TaskDefinition {
    family: String,
    /// Of the family, without a revision.
    arn: String,
    image: String,
    definition: JobDefinition,
    execution_role_arn: String,
    log_group: String,
    region: String,
    tags: Tags,
}

impl TaskDefinition {
    pub(super) fn of(context: &Context<'_>) -> TaskDefinition {
        TaskDefinition {
            family: context.names.base.clone(),
            arn: context.deployment.arn("ecs", &format!("task-definition/{}", context.names.base)),
            image: context.job.definition.image.reference(context.deployment),
            definition: context.job.definition.clone(),
            execution_role_arn: context.execution_role_arn(),
            log_group: context.names.log_group.clone(),
            region: context.deployment.region.clone(),
            tags: context.tags.clone(),
        }
    }

    /// Everything that makes a revision what it is. Its hash is a tag of the revision, so that an
    /// answer that was lost does not make a second one.
    fn content(&self) -> Value {
        json!({
            "family": self.family,
            "image": self.image,
            "command": self.definition.command,
            "entry_point": self.definition.entry_point,
            "working_directory": self.definition.working_directory,
            "environment": self.definition.environment,
            "secrets": self.definition.secrets,
            "cpu": self.definition.size.cpu,
            "memory": self.definition.size.memory,
            "architecture": self.definition.architecture,
            "ephemeral_storage": self.definition.ephemeral_storage_gib,
            "volumes": self.definition.volumes,
            "stop_timeout": self.definition.stop_timeout_seconds,
            "health_check": self.definition.health_check,
            "extra": self.definition.extra_container_definition,
            "sidecars": self.definition.sidecars,
            "task_role": self.definition.task_role,
            "execution_role": self.execution_role_arn,
            "log_group": self.log_group,
            "tags": self.tags.as_map(),
        })
    }

    fn content_tag() -> String {
        format!("{MANAGED_TAG_PREFIX}content")
    }

    /// The newest active revision and whether its content is the wanted one; `None` if the family
    /// has none. `NotOurs` if it is somebody else's.
    async fn newest(&self, clients: &Clients) -> Result<Option<(String, bool)>> {
        let answer = clients
            .ecs
            .describe_task_definition()
            .task_definition(&self.family)
            .include(TaskDefinitionField::Tags)
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            // What ECS says of a family without active revisions.
            Err(error)
                if says(&error, |error| {
                    error.is_client_exception()
                        && error.message().is_some_and(|text| {
                            text.starts_with("Unable to describe task definition")
                        })
                }) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(Error::aws("ecs:DescribeTaskDefinition", error)),
        };
        let tags = answer.tags();
        if !self.tags.own(tags.iter().map(|tag| (tag.key(), tag.value()))) {
            return Err(Error::NotOurs(format!("task definition family `{}`", self.family)));
        }
        let content = hex_sha256(self.content().to_string().as_bytes());
        let same = tags
            .iter()
            .any(|tag| tag.key() == Some(&Self::content_tag()) && tag.value() == Some(&content));
        Ok(answer
            .task_definition
            .filter(|found| found.status() == Some(&TaskDefinitionStatus::Active))
            .and_then(|found| found.task_definition_arn)
            .map(|arn| (arn, same)))
    }

    /// Whether the family's tasks are this job's: a stranger's family has revisions without our
    /// tags.
    pub(super) async fn owns_family(&self, clients: &Clients) -> Result<bool> {
        match self.newest(clients).await {
            Ok(_) => Ok(true),
            Err(Error::NotOurs(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn register(&self, clients: &Clients) -> Result<String> {
        if clients.notes("ecs:RegisterTaskDefinition", &self.arn) {
            // The number of the revision is ECS's to give.
            return Ok(self.arn.clone());
        }
        let content = hex_sha256(self.content().to_string().as_bytes());
        let mut tags = self.tags.map(|key, value| Tag::builder().key(key).value(value).build());
        tags.push(Tag::builder().key(Self::content_tag()).value(content).build());
        let logs = Logs { region: &self.region, group: &self.log_group };
        let platform = RuntimePlatform::builder()
            .operating_system_family(OsFamily::Linux)
            .cpu_architecture(match self.definition.architecture {
                Architecture::X86_64 => CpuArchitecture::X8664,
                Architecture::Arm64 => CpuArchitecture::Arm64,
            })
            .build();
        let storage = self.definition.ephemeral_storage_gib.map(|gib| {
            EphemeralStorage::builder().size_in_gib(i32::try_from(gib).unwrap_or(i32::MAX)).build()
        });
        let answer = clients
            .ecs
            .register_task_definition()
            .family(&self.family)
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .cpu(self.definition.size.cpu.to_string())
            .memory(self.definition.size.memory.to_string())
            .execution_role_arn(&self.execution_role_arn)
            .set_task_role_arn(self.definition.task_role.clone())
            .runtime_platform(platform)
            .set_ephemeral_storage(storage)
            .set_container_definitions(Some(containers(&self.definition, &self.image, &logs)?))
            .set_volumes(Some(volumes(&self.definition)?).filter(|volumes| !volumes.is_empty()))
            .set_tags(Some(tags))
            .send()
            .await
            .map_err(|error| {
                revision_contention(Error::aws("ecs:RegisterTaskDefinition", error))
            })?;
        answer
            .task_definition
            .and_then(|made| made.task_definition_arn)
            .ok_or_else(|| Error::Internal(format!("ECS told no ARN of {}", self.family)))
    }

    /// The ARNs of all active revisions.
    async fn revisions(&self, clients: &Clients) -> Result<Vec<String>> {
        let mut revisions = Vec::new();
        let mut next = None;
        loop {
            let page = clients
                .ecs
                .list_task_definitions()
                // A family as prefix is the exact family, no longer name.
                .family_prefix(&self.family)
                .status(TaskDefinitionStatus::Active)
                .set_next_token(next)
                .send()
                .await
                .map_err(|error| Error::aws("ecs:ListTaskDefinitions", error))?;
            revisions.extend(page.task_definition_arns.unwrap_or_default());
            next = page.next_token;
            if next.is_none() {
                return Ok(revisions);
            }
        }
    }
}

/// Two at once make revisions of one family: the second one passes by itself.
fn revision_contention(error: Error) -> Error {
    match error {
        Error::Aws(mut fault) if fault.message.starts_with("Too many concurrent attempts") => {
            fault.kind = FaultKind::Transient;
            Error::Aws(fault)
        }
        other => other,
    }
}

#[async_trait]
impl Resource for TaskDefinition {
    fn kind(&self) -> ResourceKind {
        ResourceKind::TaskDefinition
    }

    fn wanted(&self, _: &Made) -> Vec<String> {
        vec![self.content().to_string()]
    }

    async fn ensure(&self, clients: &Clients, _: &Made, _: &Changed) -> Result<String> {
        match self.newest(clients).await? {
            Some((arn, true)) => Ok(arn),
            _ => self.register(clients).await,
        }
    }

    async fn remove(&self, clients: &Clients) -> Result<()> {
        if !self.owns_family(clients).await? {
            return Ok(());
        }
        for revision in self.revisions(clients).await? {
            if clients.notes("ecs:DeregisterTaskDefinition", &revision) {
                continue;
            }
            let outcome =
                clients.ecs.deregister_task_definition().task_definition(revision).send().await;
            match outcome {
                Ok(_) => {}
                // Deregistered by somebody else meanwhile.
                Err(error) if says(&error, |error| error.is_client_exception()) => {}
                Err(error) => return Err(Error::aws("ecs:DeregisterTaskDefinition", error)),
            }
        }
        Ok(())
    }
}
