//! The log group of a job's containers.

use async_trait::async_trait;

use super::tags::Tags;
use super::{Changed, Clients, Context, Made, Resource, to_remove};
use crate::domain::job::ResourceKind;
use crate::error::{Error, Result, says};

pub(super) struct LogGroup {
    name: String,
    arn: String,
    retention_days: u32,
    tags: Tags,
}

impl LogGroup {
    pub(super) fn of(context: &Context<'_>) -> LogGroup {
        let name = context.names.log_group.clone();
        LogGroup {
            arn: context.deployment.arn("logs", &format!("log-group:{name}")),
            name,
            retention_days: context.job.definition.log_retention_days,
            tags: context.tags.clone(),
        }
    }

    /// Whether the group is there and ours; `NotOurs` if it is somebody else's.
    async fn is_there(&self, clients: &Clients) -> Result<bool> {
        match clients.logs.list_tags_for_resource().resource_arn(&self.arn).send().await {
            Ok(answer) => {
                let tags = answer.tags.unwrap_or_default();
                let found = tags.iter().map(|(key, value)| (Some(&**key), Some(&**value)));
                if self.tags.own(found) {
                    Ok(true)
                } else {
                    Err(Error::NotOurs(format!("log group `{}`", self.name)))
                }
            }
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => {
                Ok(false)
            }
            Err(error) => Err(Error::aws("logs:ListTagsForResource", error)),
        }
    }
}

/// The parts that can be applied on their own.
const GROUP: usize = 0;
const RETENTION: usize = 1;

impl LogGroup {
    async fn create(&self, clients: &Clients) -> Result<()> {
        if clients.notes("logs:CreateLogGroup", &self.arn) {
            return Ok(());
        }
        let created = clients
            .logs
            .create_log_group()
            .log_group_name(&self.name)
            .set_tags(Some(self.tags.as_map().clone().into_iter().collect()))
            .send()
            .await;
        match created {
            Ok(_) => Ok(()),
            Err(error) if says(&error, |error| error.is_resource_already_exists_exception()) => {
                Ok(())
            }
            Err(error) => Err(Error::aws("logs:CreateLogGroup", error)),
        }
    }

    async fn tag(&self, clients: &Clients) -> Result<()> {
        if !clients.notes("logs:TagResource", &self.arn) {
            clients
                .logs
                .tag_resource()
                .resource_arn(&self.arn)
                .set_tags(Some(self.tags.as_map().clone().into_iter().collect()))
                .send()
                .await
                .map_err(|error| Error::aws("logs:TagResource", error))?;
        }
        if let Some(keys) = self.tags.former()
            && !clients.notes("logs:UntagResource", &self.arn)
        {
            clients
                .logs
                .untag_resource()
                .resource_arn(&self.arn)
                .set_tag_keys(Some(keys))
                .send()
                .await
                .map_err(|error| Error::aws("logs:UntagResource", error))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Resource for LogGroup {
    fn kind(&self) -> ResourceKind {
        ResourceKind::LogGroup
    }

    fn wanted(&self, _: &Made) -> Vec<String> {
        vec![format!("{} {:?}", self.name, self.tags.as_map()), self.retention_days.to_string()]
    }

    async fn ensure(&self, clients: &Clients, _: &Made, changed: &Changed) -> Result<String> {
        if changed.part(GROUP) {
            // That of an earlier job of this name may be there still: it holds the history's logs.
            if self.is_there(clients).await? {
                self.tag(clients).await?;
            } else {
                self.create(clients).await?;
            }
        }
        if changed.part(RETENTION) && !clients.notes("logs:PutRetentionPolicy", &self.arn) {
            clients
                .logs
                .put_retention_policy()
                .log_group_name(&self.name)
                .retention_in_days(i32::try_from(self.retention_days).unwrap_or(i32::MAX))
                .send()
                .await
                .map_err(|error| Error::aws("logs:PutRetentionPolicy", error))?;
        }
        Ok(self.arn.clone())
    }

    async fn remove(&self, clients: &Clients) -> Result<()> {
        if !to_remove(self.is_there(clients).await)? {
            return Ok(());
        }
        if clients.notes("logs:DeleteLogGroup", &self.arn) {
            return Ok(());
        }
        match clients.logs.delete_log_group().log_group_name(&self.name).send().await {
            Ok(_) => Ok(()),
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => Ok(()),
            Err(error) => Err(Error::aws("logs:DeleteLogGroup", error)),
        }
    }
}
