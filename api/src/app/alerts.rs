//! Tells subscribers of failures, where the jobs of a deployment share one failure rule.

use serde_json::Value;

use super::App;
use crate::domain::ids::JobKey;
use crate::domain::job::{Job, ResourceKind, ResourceState};
use crate::error::Result;
use crate::provision::names::job_of_family;
use crate::provision::shares_failure_rule;

/// What the stack's failure rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundFailure {
    pub of: FailureOf,
    /// The whole event, as EventBridge has it.
    pub event: Value,
}

/// Of what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureOf {
    /// Of a task of this task definition family.
    Family(String),
    /// Of this job: an event of Cronplane's own.
    Job(JobKey),
}

impl App {
    /// Tells the subscribers of the job, if nothing else does; answers whether it did. At least once: what could not
    /// be published is an error, and the same again does it.
    pub async fn alert(&self, found: &FoundFailure) -> Result<bool> {
        let key = match &found.of {
            FailureOf::Family(family) => job_of_family(&self.deployment, family),
            FailureOf::Job(key) => Some(key.clone()),
        };
        let Some(key) = key else { return Ok(false) };
        let Some(job) = self.store.job_get(&key).await? else {
            tracing::info!(job = %key, "a failure of a job that is gone");
            return Ok(false);
        };
        if !self.is_to_tell(&job) {
            return Ok(false);
        }
        self.provisioner.publish_failure(&job, &found.event, &self.deployment).await?;
        Ok(true)
    }

    /// Whether the job has no failure rule of its own that tells. While that is being made or taken away it is told
    /// twice rather than not at all.
    fn is_to_tell(&self, job: &Job) -> bool {
        let own = job.resources.get(&ResourceKind::FailureRule).map(|known| known.state);
        let has_own = matches!(own, Some(ResourceState::Ready | ResourceState::Removed));
        let is_settled = job.is_followed() && job.unsettled == 0;
        !has_own || (shares_failure_rule(&self.deployment) && !is_settled)
    }
}
