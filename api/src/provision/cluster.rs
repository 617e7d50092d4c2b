//! The ECS cluster: the job's own, or the one it names.

use async_trait::async_trait;
use aws_sdk_ecs::types::{ClusterField, Tag};

use super::tags::Tags;
use super::{Changed, Clients, Context, Made, Resource};
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

    /// The job's own cluster, if the job once had it and now names another one.
    pub(super) fn former(context: &Context<'_>) -> Option<Cluster> {
        let left =
            context.job.definition.cluster.is_some() && context.job.past_clusters.contains(&None);
        left.then(|| Cluster {
            name: context.names.base.clone(),
            named: false,
            tags: context.tags.clone(),
        })
    }

    fn tag_list(&self) -> Vec<Tag> {
        self.tags.map(|key, value| Tag::builder().key(key).value(value).build())
    }

    async fn tag(&self, clients: &Clients, arn: &str) -> Result<()> {
        clients
            .ecs
            .tag_resource()
            .resource_arn(arn)
            .set_tags(Some(self.tag_list()))
            .send()
            .await
            .map_err(|error| Error::aws("ecs:TagResource", error))?;
        if let Some(keys) = self.tags.former() {
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

    fn owns(&self, cluster: &aws_sdk_ecs::types::Cluster) -> bool {
        self.tags.own(cluster.tags().iter().map(|tag| (tag.key(), tag.value())))
    }
}

#[async_trait]
impl Resource for Cluster {
    fn kind(&self) -> ResourceKind {
        ResourceKind::Cluster
    }

    fn wanted(&self, _: &Made) -> Vec<String> {
        vec![format!("{} {} {:?}", self.name, self.named, self.tags.as_map())]
    }

    async fn ensure(&self, clients: &Clients, _: &Made, _: &Changed) -> Result<String> {
        let no_arn = || Error::Internal(format!("ECS told no ARN of cluster {}", self.name));
        match active(clients, &self.name).await? {
            Some(cluster) if self.named => cluster.cluster_arn.ok_or_else(no_arn),
            Some(cluster) if self.owns(&cluster) => {
                let arn = cluster.cluster_arn.ok_or_else(no_arn)?;
                self.tag(clients, &arn).await?;
                Ok(arn)
            }
            Some(_) => Err(Error::NotOurs(format!("ECS cluster `{}`", self.name))),
            None if self.named => {
                Err(Error::Conflict(format!("there is no active ECS cluster `{}`", self.name)))
            }
            None => {
                let answer = clients
                    .ecs
                    .create_cluster()
                    .cluster_name(&self.name)
                    .set_tags(Some(self.tag_list()))
                    .send()
                    .await
                    .map_err(|error| Error::aws("ecs:CreateCluster", error))?;
                answer.cluster.and_then(|cluster| cluster.cluster_arn).ok_or_else(no_arn)
            }
        }
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
