//! What starting a job's tasks takes: roles that are passed, clusters, secrets that are read, images
//! that are pulled.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::definition::{Image, JobDefinition};

/// What the tasks of a definition are started with and in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    pub task_roles: BTreeSet<String>,
    /// `None` is the role that is made for the job.
    pub execution_roles: BTreeSet<Option<String>>,
    /// `None` is the job's own cluster.
    pub clusters: BTreeSet<Option<String>>,
    /// References, as ECS takes them.
    pub secrets: BTreeSet<String>,
    pub images: BTreeSet<Image>,
}

impl Grants {
    pub fn of(definition: &JobDefinition) -> Grants {
        let sidecars = definition.sidecars.iter().map(|one| Image::Reference(one.image.clone()));
        Grants {
            task_roles: definition.task_role.iter().cloned().collect(),
            execution_roles: BTreeSet::from([definition.execution_role.clone()]),
            clusters: BTreeSet::from([definition.cluster.clone()]),
            secrets: definition.secret_references().map(str::to_owned).collect(),
            images: sidecars.chain([definition.image.clone()]).collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Grants::default()
    }

    /// These and those.
    pub fn and(mut self, other: &Grants) -> Grants {
        self.task_roles.extend(other.task_roles.iter().cloned());
        self.execution_roles.extend(other.execution_roles.iter().cloned());
        self.clusters.extend(other.clusters.iter().cloned());
        self.secrets.extend(other.secrets.iter().cloned());
        self.images.extend(other.images.iter().cloned());
        self
    }

    /// These without those.
    pub fn without(mut self, other: &Grants) -> Grants {
        self.task_roles.retain(|one| !other.task_roles.contains(one));
        self.execution_roles.retain(|one| !other.execution_roles.contains(one));
        self.clusters.retain(|one| !other.clusters.contains(one));
        self.secrets.retain(|one| !other.secrets.contains(one));
        self.images.retain(|one| !other.images.contains(one));
        self
    }
}

/// What earlier definitions' tasks are started with and this one's are not. It is granted for a while
/// beside what this one takes: a start that was on its way when the definition changed still needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerGrants {
    pub grants: Grants,
    /// `None` while AWS does not follow the change yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
