//! The ECS cluster: the job's own, or the one it names.

use async_trait::async_trait;
use aws_sdk_ecs::types::{ClusterField, Tag};

use super::tags::Tags;
use super::{Changed, Clients, Context, Made, Resource};
use crate::domain::job::{Capacity, FARGATE_SPOT, ResourceKind};
use crate::domain::quota::Quota;
use crate::error::{AwsFault, Error, FaultKind, Result, says};

/// What DescribeClusters says of a cluster that was deleted, for a while.
const INACTIVE: &str = "INACTIVE";
/// Of one whose capacity providers are being made, or that is being deleted: it passes.
/// Amazon ECS API Reference, Cluster, `status`.
const PASSING: [&str; 2] = ["PROVISIONING", "DEPROVISIONING"];
/// Of one whose capacity providers could not be made.
const FAILED: &str = "FAILED";
/// What CreateCluster says where the account has had no cluster before: ECS makes its own role, and
/// knows it a little later.
const ROLE_IS_NEW: &str = "nable to assume the service linked role";

/// The capacity providers of Fargate. Amazon ECS Developer Guide, "Amazon ECS clusters for
/// Fargate": every cluster can have them, and tasks that name none need none.
const PROVIDERS: [&str; 2] = ["FARGATE", FARGATE_SPOT];

/// The parts that can be applied on their own.
const CLUSTER: usize = 0;
const CAPACITY: usize = 1;

pub(super) struct Cluster {
    name: String,
    arn: String,
    wants_spot: bool,
    /// A cluster that the job names was made by others: it is only looked for.
    named: bool,
    tags: Tags,
}

impl Cluster {
    pub(super) fn of(context: &Context<'_>) -> Cluster {
        Cluster {
            name: context.cluster_name().to_owned(),
            arn: context.cluster_arn(),
            wants_spot: context.job.definition.capacity.wants_spot(),
            named: context.job.definition.cluster.is_some(),
            tags: context.tags.clone(),
        }
    }

    /// The job's own cluster, if the job once had it and now names another one, and no start can be
    /// on its way into it any more.
    pub(super) fn former(context: &Context<'_>) -> Option<Cluster> {
        let job = context.job;
        let left = job.definition.cluster.is_some()
            && job.past_clusters.contains(&None)
            && (job.deletion.is_some() || !context.grants().clusters.contains(&None));
        left.then(|| Cluster {
            name: context.names.base.clone(),
            arn: context.deployment.arn("ecs", &format!("cluster/{}", context.names.base)),
            wants_spot: false,
            named: false,
            tags: context.tags.clone(),
        })
    }

    fn tag_list(&self) -> Vec<Tag> {
        self.tags.map(|key, value| Tag::builder().key(key).value(value).build())
    }

    async fn tag(&self, clients: &Clients, arn: &str) -> Result<()> {
        if !clients.notes("ecs:TagResource", arn) {
            clients
                .ecs
                .tag_resource()
                .resource_arn(arn)
                .set_tags(Some(self.tag_list()))
                .send()
                .await
                .map_err(|error| Error::aws("ecs:TagResource", error))?;
        }
        if let Some(keys) = self.tags.former()
            && !clients.notes("ecs:UntagResource", arn)
        {
            clients
                .ecs
                .untag_resource()
                .resource_arn(arn)
                .set_tag_keys(Some(keys))
                .send()
                .await
                .map_err(|error| Error::aws("ecs:UntagResource", error))?;
        }
        Ok(())
    }

    /// Gives a cluster that has lost them its capacity providers back.
    async fn put_providers(&self, clients: &Clients) -> Result<()> {
        if clients.notes("ecs:PutClusterCapacityProviders", &self.arn) {
            return Ok(());
        }
        clients
            .ecs
            .put_cluster_capacity_providers()
            .cluster(&self.name)
            .set_capacity_providers(Some(PROVIDERS.map(str::to_owned).to_vec()))
            // Each task says what it wants.
            .set_default_capacity_provider_strategy(Some(Vec::new()))
            .send()
            .await
            .map(drop)
            .map_err(|error| Error::aws("ecs:PutClusterCapacityProviders", error))
    }

    fn busy(&self, cluster: &aws_sdk_ecs::types::Cluster) -> Error {
        let status = cluster.status().unwrap_or_default();
        Error::Busy(format!("ECS cluster `{}`, which is {status},", self.name))
    }

    fn owns(&self, cluster: &aws_sdk_ecs::types::Cluster) -> bool {
        self.tags.own(cluster.tags().iter().map(|tag| (tag.key(), tag.value())))
    }
}

#[async_trait]
impl Resource for Cluster {
    fn kind(&self) -> ResourceKind {
        ResourceKind::Cluster
    }

    fn takes(&self) -> Option<Quota> {
        (!self.named).then_some(Quota::Clusters)
    }

    fn wanted(&self, _: &Made) -> Vec<String> {
        vec![
            format!("{} {} {:?}", self.name, self.named, self.tags.as_map()),
            format!("spot {}", self.wants_spot),
        ]
    }

    async fn ensure(&self, clients: &Clients, _: &Made, changed: &Changed) -> Result<String> {
        let no_arn = || Error::Internal(format!("ECS told no ARN of cluster {}", self.name));
        match existing(clients, &self.name).await? {
            Some(cluster) if !self.named && !self.owns(&cluster) => {
                Err(Error::NotOurs(format!("ECS cluster `{}`", self.name)))
            }
            Some(cluster) if passes(&cluster) => Err(self.busy(&cluster)),
            Some(cluster) if cluster.status() == Some(FAILED) => Err(Error::Conflict(format!(
                "the ECS cluster `{}` is {FAILED}: its capacity providers could not be made",
                self.name
            ))),
            Some(cluster) if self.named => {
                if self.wants_spot && !has_spot(&cluster) {
                    return Err(Error::Conflict(format!(
                        "the ECS cluster `{}` does not have the capacity provider {FARGATE_SPOT}",
                        self.name
                    )));
                }
                cluster.cluster_arn.ok_or_else(no_arn)
            }
            Some(cluster) => {
                let lacks_spot = self.wants_spot && !has_spot(&cluster);
                let arn = cluster.cluster_arn.ok_or_else(no_arn)?;
                if changed.part(CLUSTER) {
                    self.tag(clients, &arn).await?;
                }
                if changed.part(CAPACITY) && lacks_spot {
                    self.put_providers(clients).await?;
                }
                Ok(arn)
            }
            None if self.named => {
                Err(Error::Conflict(format!("there is no active ECS cluster `{}`", self.name)))
            }
            None if clients.notes("ecs:CreateCluster", &self.arn) => Ok(self.arn.clone()),
            None => {
                let answer = clients
                    .ecs
                    .create_cluster()
                    .cluster_name(&self.name)
                    .set_capacity_providers(Some(PROVIDERS.map(str::to_owned).to_vec()))
                    .set_tags(Some(self.tag_list()))
                    .send()
                    .await
                    .map_err(|error| {
                        let mut fault = AwsFault::of("ecs:CreateCluster", &error);
                        if fault.message.contains(ROLE_IS_NEW) {
                            fault.kind = FaultKind::Transient;
                        }
                        Error::Aws(fault)
                    })?;
                answer.cluster.and_then(|cluster| cluster.cluster_arn).ok_or_else(no_arn)
            }
        }
    }

    async fn remove(&self, clients: &Clients) -> Result<()> {
        if self.named {
            return Ok(());
        }
        match existing(clients, &self.name).await? {
            Some(cluster) if !self.owns(&cluster) => return Ok(()),
            Some(cluster) if passes(&cluster) => return Err(self.busy(&cluster)),
            Some(_) => {}
            None => return Ok(()),
        }
        if clients.notes("ecs:DeleteCluster", &self.arn) {
            return Ok(());
        }
        match clients.ecs.delete_cluster().cluster(&self.name).send().await {
            Ok(_) => Ok(()),
            Err(error) if says(&error, |error| error.is_cluster_not_found_exception()) => Ok(()),
            // A task that the schedule started just before it was switched off.
            Err(error) if says(&error, |error| error.is_cluster_contains_tasks_exception()) => {
                Err(Error::Busy(format!("ECS cluster `{}`, in which a task runs,", self.name)))
            }
            Err(error) => Err(Error::aws("ecs:DeleteCluster", error)),
        }
    }
}

/// Whether a job can run in a cluster.
pub(super) enum Fit {
    Fits,
    /// There is no such cluster, or it is being deleted, or could not be made.
    Missing,
    /// It has no Fargate Spot, and the job wants that.
    NoSpot,
}

/// Whether the cluster `name` exists and has what `capacity` takes.
pub(super) async fn fits(clients: &Clients, name: &str, capacity: Capacity) -> Result<Fit> {
    Ok(match existing(clients, name).await? {
        None => Fit::Missing,
        Some(cluster) if matches!(cluster.status(), Some(FAILED | "DEPROVISIONING")) => {
            Fit::Missing
        }
        Some(cluster) if capacity.wants_spot() && !has_spot(&cluster) => Fit::NoSpot,
        Some(_) => Fit::Fits,
    })
}

fn has_spot(cluster: &aws_sdk_ecs::types::Cluster) -> bool {
    cluster.capacity_providers().iter().any(|provider| provider == FARGATE_SPOT)
}

fn passes(cluster: &aws_sdk_ecs::types::Cluster) -> bool {
    cluster.status().is_some_and(|status| PASSING.contains(&status))
}

/// The cluster `name`, unless it is gone.
async fn existing(clients: &Clients, name: &str) -> Result<Option<aws_sdk_ecs::types::Cluster>> {
    let answer = clients
        .ecs
        .describe_clusters()
        .clusters(name)
        .include(ClusterField::Tags)
        .send()
        .await
        .map_err(|error| Error::aws("ecs:DescribeClusters", error))?;
    let clusters = answer.clusters.unwrap_or_default();
    Ok(clusters.into_iter().find(|cluster| cluster.status() != Some(INACTIVE)))
}
