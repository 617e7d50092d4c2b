//! The definition of a job. How it is read from a request stands in [`super::read`], what its fields
//! may hold in [`super::bounds`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bounds::{CONTAINER_BYTES_MAX, POLICY_CHARACTERS_BESIDES, POLICY_CHARACTERS_MAX};
use super::container::{ContainerSettings, HealthCheck, Sidecar};
use super::read::read_definition;
use super::secrets::secret_resources;
use super::volumes::Volume;
use crate::domain::deployment::{Deployment, Network};
use crate::domain::fargate_size::FargateSize;
use crate::domain::fields::{Fields, VIOLATIONS_MAX, read_object};
use crate::domain::ids::JobName;
use crate::domain::schedule::Timing;
use crate::domain::violation::Violation;
use crate::domain::violation::ViolationCode::{Forbidden, Range};

/// The tag that says who made a resource; its value is `cronplane`.
pub const MANAGED_BY_TAG: &str = "managed-by";
/// What the other tags of ours start with.
pub const MANAGED_TAG_PREFIX: &str = "cronplane:";

/// What a team asks for, complete: every default is filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDefinition {
    pub name: JobName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub image: Image,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_point: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    pub environment: BTreeMap<String, String>,
    /// Variables whose values ECS fetches at each start: ARNs, as ECS's `valueFrom` takes them.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    #[serde(flatten)]
    pub size: FargateSize,
    #[serde(default)]
    pub architecture: Architecture,
    /// GiB of the task's own storage; `None` for the 20 that every task has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_gib: Option<u32>,
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Seconds from the request to stop until the kill; `None` for ECS's default of 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// What the main container is given besides.
    #[serde(default)]
    pub extra_container_definition: ContainerSettings,
    #[serde(default)]
    pub sidecars: Vec<Sidecar>,
    pub network: Network,
    #[serde(default)]
    pub capacity: Capacity,
    /// `LATEST`, or the number of a Fargate platform version.
    #[serde(default = "latest")]
    pub platform_version: String,
    /// Whether somebody may open a shell in a running task.
    #[serde(default)]
    pub enable_execute_command: bool,
    /// Whether ECS adds tags of its own, such as the cluster's name.
    #[serde(default)]
    pub enable_ecs_managed_tags: bool,
    /// An existing cluster; without it the job gets one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// ARN of the role that the job's own code has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_role: Option<String>,
    /// ARN of an existing role with which ECS starts the containers; without it the job gets one of
    /// its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_role: Option<String>,
    #[serde(flatten)]
    pub timing: Timing,
    /// Whether the schedule starts tasks.
    pub enabled: bool,
    pub log_retention_days: u32,
    pub tags: BTreeMap<String, String>,
    pub subscribers: Vec<Subscriber>,
}

/// How a task is started, besides what its task definition says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    pub network: Network,
    pub capacity: Capacity,
    pub platform_version: String,
    pub enable_execute_command: bool,
    pub enable_ecs_managed_tags: bool,
}

fn latest() -> String {
    LATEST.to_owned()
}

/// The newest platform version, whichever it is when a task starts.
pub(super) const LATEST: &str = "LATEST";

/// The processor that the image is built for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    #[default]
    X86_64,
    Arm64,
}

impl Architecture {
    pub const ALL: [Architecture; 2] = [Architecture::X86_64, Architecture::Arm64];

    pub fn as_str(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64",
            Architecture::Arm64 => "arm64",
        }
    }
}

/// The capacity provider that has Fargate's spare capacity.
pub const FARGATE_SPOT: &str = "FARGATE_SPOT";

/// What Fargate capacity the tasks take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capacity {
    #[default]
    OnDemand,
    /// Spare capacity, for less: AWS may take it back with two minutes' notice, or have none.
    Spot,
    /// Spot, and on demand for a start for which there is no Spot capacity.
    SpotWithFallback,
}

impl Capacity {
    pub const ALL: [Capacity; 3] = [Capacity::OnDemand, Capacity::Spot, Capacity::SpotWithFallback];

    pub fn as_str(self) -> &'static str {
        match self {
            Capacity::OnDemand => "on_demand",
            Capacity::Spot => "spot",
            Capacity::SpotWithFallback => "spot_with_fallback",
        }
    }

    /// Whether Cronplane itself makes the starts of the schedule: ECS takes Spot or gives up, and knows no
    /// second choice (aws/containers-roadmap, issues 773 and 852).
    pub fn is_started_by_cronplane(self) -> bool {
        self == Capacity::SpotWithFallback
    }

    /// Whether the cluster must have Fargate Spot.
    pub fn wants_spot(self) -> bool {
        self != Capacity::OnDemand
    }
}

/// Where the image comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Image {
    /// A full reference, as `docker pull` takes it.
    Reference(String),
    /// A repository of this account and region's ECR, and a tag.
    Repository { repository: String, tag: String },
}

impl Image {
    /// The full reference.
    pub fn reference(&self, deployment: &Deployment) -> String {
        match self {
            Image::Reference(reference) => reference.clone(),
            Image::Repository { repository, tag } => format!(
                "{}.dkr.ecr.{}.{}/{repository}:{tag}",
                deployment.account, deployment.region, deployment.url_suffix
            ),
        }
    }
}

/// Who is told when a run fails.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subscriber {
    pub protocol: Protocol,
    /// An address, an `https://` URL, or the ARN of a queue or a function.
    pub endpoint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Email,
    Https,
    Sqs,
    Lambda,
}

impl Protocol {
    /// The name that SNS knows it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Email => "email",
            Protocol::Https => "https",
            Protocol::Sqs => "sqs",
            Protocol::Lambda => "lambda",
        }
    }
}

impl JobDefinition {
    /// Reads a definition from the JSON of a request and fills in the defaults.
    ///
    /// Errors: everything that is wrong with it, each with its JSON pointer.
    pub fn read(value: Value, deployment: &Deployment) -> Result<JobDefinition, Vec<Violation>> {
        JobDefinition::read_with(value, deployment, |_| Vec::new())
    }

    /// As [`JobDefinition::read`], with what `check` finds besides. It looks at what could be read: what
    /// it finds where something else is wrong already is not told.
    pub fn read_with(
        value: Value,
        deployment: &Deployment,
        check: impl FnOnce(&JobDefinition) -> Vec<Violation>,
    ) -> Result<JobDefinition, Vec<Violation>> {
        let mut violations = Vec::new();
        let definition = read_object(value, String::new(), &mut violations, |fields| {
            read_definition(fields, deployment)
        });
        let Some(definition) = definition else {
            return Err(violations);
        };
        if violations.is_empty() {
            violations.extend(definition.too_much(deployment));
        }
        let malformed: BTreeSet<String> = violations
            .iter()
            .filter(|one| one.code != Forbidden)
            .map(|one| one.pointer.clone())
            .collect();
        let found = check(&definition).into_iter();
        violations.extend(found.filter(|one| !malformed.contains(&one.pointer)));
        violations.truncate(VIOLATIONS_MAX);
        if violations.is_empty() { Ok(definition) } else { Err(violations) }
    }

    /// What is wrong with the size of the whole, which the bounds of its fields do not tell.
    fn too_much(&self, deployment: &Deployment) -> Option<Violation> {
        // The task definition must fit into what ECS takes; which field is too much can't be said.
        let size = self.container_bytes();
        if size > CONTAINER_BYTES_MAX {
            let detail = format!(
                "the containers take {size} bytes together; a task definition has room for \
                 {CONTAINER_BYTES_MAX}"
            );
            return Some(Violation::new("", Range, detail));
        }
        let policy = self.policy_characters(deployment);
        if self.execution_role.is_none() && policy > POLICY_CHARACTERS_MAX {
            let detail = format!(
                "the policy that lets the job's role read all of them and pull the images would have \
                 some {policy} characters; IAM takes {POLICY_CHARACTERS_MAX}: keep several values in one \
                 secret, or name an `execution_role`"
            );
            return Some(Violation::new("/secrets", Range, detail));
        }
        None
    }

    /// The definition with a JSON merge patch (RFC 7396) applied: what the patch sets to null goes
    /// back to its default.
    ///
    /// Errors: everything that is wrong with what comes out, each with its JSON pointer.
    pub fn patched(
        &self,
        patch: &Value,
        deployment: &Deployment,
    ) -> Result<JobDefinition, Vec<Violation>> {
        self.patched_with(patch, deployment, |_| Vec::new())
    }

    /// As [`JobDefinition::patched`], with what `check` finds besides, as
    /// [`JobDefinition::read_with`] has it.
    pub fn patched_with(
        &self,
        patch: &Value,
        deployment: &Deployment,
        check: impl FnOnce(&JobDefinition) -> Vec<Violation>,
    ) -> Result<JobDefinition, Vec<Violation>> {
        let mut value = self.to_request();
        json_patch::merge(&mut value, patch);
        if patch.get("cluster").is_some() {
            return JobDefinition::read_with(value, deployment, check);
        }
        // A cluster of its own, of which the patch says nothing, stays so.
        let kept = Deployment { default_cluster: None, ..deployment.clone() };
        JobDefinition::read_with(value, &kept, check)
    }

    /// The definition as a request would give it.
    pub fn to_request(&self) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "image": self.image,
            "command": self.command,
            "entry_point": self.entry_point,
            "working_directory": self.working_directory,
            "environment": self.environment,
            "secrets": self.secrets,
            "cpu": self.size.cpu,
            "memory": self.size.memory,
            "architecture": self.architecture,
            "ephemeral_storage_gib": self.ephemeral_storage_gib,
            "volumes": self.volumes,
            "stop_timeout_seconds": self.stop_timeout_seconds,
            "health_check": self.health_check.as_ref().map(|check| json!({
                "command": check.command,
                "interval_seconds": check.interval,
                "timeout_seconds": check.timeout,
                "retries": check.retries,
                "start_period_seconds": check.start_period,
            })),
            "extra_container_definition": self.extra_container_definition,
            "sidecars": self.sidecars,
            "network": self.network,
            "capacity": self.capacity,
            "platform_version": self.platform_version,
            "enable_execute_command": self.enable_execute_command,
            "enable_ecs_managed_tags": self.enable_ecs_managed_tags,
            "cluster": self.cluster,
            "task_role": self.task_role,
            "execution_role": self.execution_role,
            "schedule": self.timing.schedule,
            "timezone": self.timing.zone_name(),
            "start_date": self.timing.bounds.start_date,
            "end_date": self.timing.bounds.end_date,
            "flexible_window_minutes": self.timing.bounds.flexible_window_minutes,
            "spread": self.timing.bounds.spread,
            "enabled": self.enabled,
            "log_retention_days": self.log_retention_days,
            "tags": self.tags,
            "notifications": {"subscribers": self.subscribers},
        })
    }

    /// The names of the fields that [`JobDefinition::read`] knows.
    pub fn field_names(deployment: &Deployment) -> Vec<&'static str> {
        let mut violations = Vec::new();
        let mut fields = Fields::of(Value::Null, String::new(), &mut violations);
        read_definition(&mut fields, deployment);
        fields.known().to_vec()
    }

    pub fn placement(&self) -> Placement {
        Placement {
            network: self.network.clone(),
            capacity: self.capacity,
            platform_version: self.platform_version.clone(),
            enable_execute_command: self.enable_execute_command,
            enable_ecs_managed_tags: self.enable_ecs_managed_tags,
        }
    }

    /// The references of every secret that a container of the job is given.
    pub fn secret_references(&self) -> impl Iterator<Item = &str> {
        let settings =
            self.sidecars.iter().map(|one| &one.settings).chain([&self.extra_container_definition]);
        let credentials = settings.filter_map(|settings| {
            Some(settings.repository_credentials.as_ref()?.credentials_parameter.as_str())
        });
        let of_sidecars =
            self.sidecars.iter().flat_map(|one| &one.secrets).map(|one| one.value_from.as_str());
        self.secrets.values().map(String::as_str).chain(of_sidecars).chain(credentials)
    }

    /// The images of every container of the job, the main one's first.
    pub fn images(&self, deployment: &Deployment) -> Vec<String> {
        let sidecars = self.sidecars.iter().map(|one| one.image.clone());
        std::iter::once(self.image.reference(deployment)).chain(sidecars).collect()
    }

    /// About so many characters has the policy of the execution role that is made for the job: each
    /// secret stands in it twice, once to be read and once to be decrypted.
    fn policy_characters(&self, deployment: &Deployment) -> usize {
        let secrets = secret_resources(self.secret_references());
        let secrets = secrets.values().flatten().map(|arn| 2 * (arn.len() + 3));
        let images = self.images(deployment).into_iter().map(|image| image.len() + 64);
        POLICY_CHARACTERS_BESIDES + secrets.sum::<usize>() + images.sum::<usize>()
    }

    fn container_bytes(&self) -> usize {
        let container = json!({
            "image": self.image,
            "command": self.command,
            "entryPoint": self.entry_point,
            "environment": self.environment.iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect::<Vec<_>>(),
            "secrets": self.secrets.iter()
                .map(|(name, reference)| json!({"name": name, "valueFrom": reference}))
                .collect::<Vec<_>>(),
            "healthCheck": self.health_check,
            "more": self.extra_container_definition,
            "sidecars": self.sidecars,
            "volumes": self.volumes,
        });
        container.to_string().len()
    }
}
