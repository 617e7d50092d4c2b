//! The definition of a job. How it is read from a request stands in [`super::read`], what its fields
//! may hold in [`super::bounds`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bounds::CONTAINER_BYTES_MAX;
use super::read::{read_definition, read_unchecked};
use crate::domain::deployment::{Deployment, Network};
use crate::domain::fargate_size::FargateSize;
use crate::domain::fields::{Fields, read_object};
use crate::domain::ids::JobName;
use crate::domain::schedule::Schedule;
use crate::domain::violation::Violation;
use crate::domain::violation::ViolationCode::Range;

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
    pub environment: BTreeMap<String, String>,
    #[serde(flatten)]
    pub size: FargateSize,
    pub network: Network,
    /// An existing cluster; without it the job gets one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// ARN of the role that the job's own code has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_role: Option<String>,
    pub schedule: Schedule,
    /// Whether the schedule starts tasks.
    pub enabled: bool,
    pub log_retention_days: u32,
    pub tags: BTreeMap<String, String>,
    pub subscribers: Vec<Subscriber>,
}

/// Where the image comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// An address, or an `https://` URL.
    pub endpoint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Email,
    Https,
}

impl Protocol {
    /// The name that SNS knows it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Email => "email",
            Protocol::Https => "https",
        }
    }
}

impl JobDefinition {
    /// Reads a definition from the JSON of a request and fills in the defaults.
    ///
    /// Errors: everything that is wrong with it, each with its JSON pointer.
    pub fn read(value: Value, deployment: &Deployment) -> Result<JobDefinition, Vec<Violation>> {
        let mut violations = Vec::new();
        let definition = read_object(value, String::new(), &mut violations, |fields| {
            read_definition(fields, deployment)
        });
        match definition {
            Some(definition) if violations.is_empty() => {
                // The task definition must fit into what ECS takes; which field is too much
                // can't be said.
                let size = definition.container_bytes();
                if size > CONTAINER_BYTES_MAX {
                    return Err(vec![Violation::new(
                        "",
                        Range,
                        format!(
                            "image, command, entry_point and environment take {size} bytes \
                             together; a task definition has room for {CONTAINER_BYTES_MAX}"
                        ),
                    )]);
                }
                Ok(definition)
            }
            _ => Err(violations),
        }
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
        let mut value = self.to_request();
        json_patch::merge(&mut value, patch);
        JobDefinition::read(value, deployment)
    }

    /// The definition as a request would give it.
    fn to_request(&self) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "image": self.image,
            "command": self.command,
            "entry_point": self.entry_point,
            "environment": self.environment,
            "cpu": self.size.cpu,
            "memory": self.size.memory,
            "network": self.network,
            "cluster": self.cluster,
            "task_role": self.task_role,
            "schedule": self.schedule,
            "enabled": self.enabled,
            "log_retention_days": self.log_retention_days,
            "tags": self.tags,
            "notifications": {"subscribers": self.subscribers},
        })
    }

    /// The names of the fields that [`JobDefinition::read`] knows.
    pub fn field_names() -> Vec<&'static str> {
        let mut violations = Vec::new();
        let mut fields = Fields::of(Value::Null, String::new(), &mut violations);
        read_unchecked(&mut fields);
        fields.known().to_vec()
    }

    fn container_bytes(&self) -> usize {
        let container = json!({
            "image": self.image,
            "command": self.command,
            "entryPoint": self.entry_point,
            "environment": self.environment.iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect::<Vec<_>>(),
        });
        container.to_string().len()
    }
}
