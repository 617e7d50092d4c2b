//! The ECS cluster: the job's own, or the one it names.

use async_trait::async_trait;
use aws_sdk_ecs::types::{ClusterField, Tag};

use super::tags::Tags;
use super::{Clients, Context, Made, Resource};
use crate::domain::job::ResourceKind;
use crate::error::{Error, Result, says};

/// What DescribeClusters says of a cluster that can run tasks.
const ACTIVE: &str = "ACTIVE";

pub(super) struct Cluster {
    name: String,
    /// A cluster that the job names was made by others: it is only looked for.
    named: bool,
    tags: Tags,
}

impl Cluster {
    pub(super) fn of(context: &Context<'_>) -> Cluster {
        Cluster {
            name: context.cluster_name().to_owned(),
            named: context.job.definition.cluster.is_some(),
            tags: context.tags.clone(),
        }
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

    fn wanted(&self, _: &Made) -> String {
        format!("{} {} {:?}", self.name, self.named, self.tags.as_map())
    }

    async fn ensure(&self, clients: &Clients, _: &Made) -> Result<String> {
        let found = active(clients, &self.name).await?;
        let found = match found {
            Some(cluster) if self.named || self.owns(&cluster) => cluster,
            Some(_) => return Err(Error::NotOurs(format!("ECS cluster `{}`", self.name))),
            None if self.named => {
                return Err(Error::Conflict(format!(
                    "there is no active ECS cluster `{}`",
                    self.name
                )));
            }
            None => {
                let tags = self.tags.map(|key, value| Tag::builder().key(key).value(value).build());
                let answer = clients
                    .ecs
                    .create_cluster()
                    .cluster_name(&self.name)
                    .set_tags(Some(tags))
                    .send()
                    .await
                    .map_err(|error| Error::aws("ecs:CreateCluster", error))?;
                answer.cluster.unwrap_or_else(|| aws_sdk_ecs::types::Cluster::builder().build())
            }
        };
        found
            .cluster_arn
            .ok_or_else(|| Error::Internal(format!("ECS told no ARN of cluster {}", self.name)))
    }

    async fn remove(&self, clients: &Clients) -> Result<()> {
        if self.named {
            return Ok(());
        }
        match active(clients, &self.name).await? {
            Some(cluster) if self.owns(&cluster) => {}
            _ => return Ok(()),
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

/// Whether the cluster `name` exists and can run tasks.
pub(super) async fn is_active(clients: &Clients, name: &str) -> Result<bool> {
    Ok(active(clients, name).await?.is_some())
}

/// A cluster that was deleted stays visible as INACTIVE for a while.
async fn active(clients: &Clients, name: &str) -> Result<Option<aws_sdk_ecs::types::Cluster>> {
    let answer = clients
        .ecs
        .describe_clusters()
        .clusters(name)
        .include(ClusterField::Tags)
        .send()
        .await
        .map_err(|error| Error::aws("ecs:DescribeClusters", error))?;
    let clusters = answer.clusters.unwrap_or_default();
    Ok(clusters.into_iter().find(|cluster| cluster.status() == Some(ACTIVE)))
}
