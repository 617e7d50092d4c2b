//! IAM roles: how one comes to be, is kept as it is wanted, and goes. What a job's roles are stands in
//! [`super::roles`].

use async_trait::async_trait;
use aws_sdk_iam::types::Tag;
use serde_json::Value;

use super::names::{ROLE_PATH, hex_sha256};
use super::tags::Tags;
use super::{Changed, Clients, Made, Resource, to_remove};
use crate::domain::job::{MANAGED_TAG_PREFIX, ResourceKind};
use crate::domain::quota::Quota;
use crate::error::{Error, Result, says};

/// Key of the tag that says what was last applied in full to a role that a team's jobs share.
fn content_tag() -> String {
    format!("{MANAGED_TAG_PREFIX}content")
}

/// Name of the one inline policy of each role.
const POLICY_NAME: &str = "cronplane";

/// An IAM role with one inline policy, as it is wanted.
pub(super) struct Role {
    pub(super) kind: ResourceKind,
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) description: String,
    pub(super) boundary_arn: String,
    pub(super) trust: Value,
    pub(super) policy: Value,
    /// The role that the job names instead: it is only used.
    pub(super) named: Option<String>,
    /// Of a role that the team's jobs share, the job's own, which it had before.
    pub(super) own: Option<Box<Role>>,
    pub(super) tags: Tags,
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
    pub(super) async fn ensure_shared(&self, clients: &Clients) -> Result<()> {
        let content = format!("{} {} {}", self.boundary_arn, self.trust, self.policy);
        let content = hex_sha256(content.as_bytes());
        let tag = content_tag();
        match self.found_tags(clients).await? {
            Some(tags) if tags.iter().any(|one| one.key() == tag && one.value() == content) => {
                return Ok(());
            }
            Some(_) => {
                self.disclaim(clients).await?;
                self.update(clients).await?;
            }
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

    /// Takes the tag off that says what was applied, before that is so no more: a role that is left half way is
    /// seen to by the next job.
    async fn disclaim(&self, clients: &Clients) -> Result<()> {
        if clients.notes("iam:UntagRole", &self.arn) {
            return Ok(());
        }
        clients
            .iam
            .untag_role()
            .role_name(&self.name)
            .tag_keys(content_tag())
            .send()
            .await
            .map(drop)
            .map_err(|error| Error::aws("iam:UntagRole", error))
    }

    /// Takes a role away that a team's jobs shared.
    pub(super) async fn remove_shared(&self, clients: &Clients) -> Result<()> {
        if to_remove(self.is_there(clients).await)? {
            self.disclaim(clients).await?;
        }
        self.remove(clients).await
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
