//! AWS's quotas: how much room there is for jobs.

use std::time::Duration;

use futures::future::join;
use tokio::time::Instant;

use super::{App, Moment};
use crate::domain::job::Job;
use crate::domain::quota::{Quota, Usage};
use crate::domain::schedule::EngineChoice;
use crate::error::{Error, Result};
use crate::provision::needs;

/// A job waits no longer than this for what AWS says of its quotas.
const LOOK_TIME: Duration = Duration::from_secs(3);
/// Teams that are read at a time.
const PAGE: usize = 100;

/// How much of each quota is used, and for how many jobs there is room.
#[derive(Debug)]
pub struct QuotaReport {
    pub quotas: Vec<QuotaUse>,
    /// Of all teams, those on their way out among them.
    pub jobs: u32,
    /// What carries their schedules, which decides what they take.
    pub engine: EngineChoice,
}

/// What is known of one quota.
#[derive(Debug)]
pub struct QuotaUse {
    pub quota: Quota,
    /// Or why it could not be found out.
    pub usage: std::result::Result<Usage, String>,
}

impl QuotaUse {
    /// So many more ordinary jobs there is room for; `None` of what jobs don't use up, or is not known.
    pub fn jobs_left(&self, engine: EngineChoice) -> Option<u32> {
        self.quota.jobs_left(self.usage.as_ref().ok()?, engine)
    }
}

impl QuotaReport {
    /// The quota that is full first, and how many more jobs there is room for until then; `None` where
    /// nothing is known.
    pub fn limiting(&self) -> Option<(Quota, u32)> {
        let known =
            self.quotas.iter().filter_map(|one| Some((one.quota, one.jobs_left(self.engine)?)));
        known.min_by_key(|(_, left)| *left)
    }
}

impl App {
    /// How much of each of AWS's quotas is used now.
    pub async fn quota_report(&self, moment: Moment) -> Result<QuotaReport> {
        let usage = self.provisioner.quota_usage(&self.deployment, moment.now, moment.deadline);
        let (usage, jobs) = join(usage, self.count_jobs()).await;
        let quotas = usage.into_iter().map(|(quota, usage)| QuotaUse {
            quota,
            usage: usage.map_err(|error| {
                tracing::warn!(quota = quota.as_str(), %error, "the usage of this quota is not known");
                error.to_string()
            }),
        });
        let engine = self.deployment.engine;
        Ok(QuotaReport { quotas: quotas.collect(), jobs: jobs?, engine })
    }

    async fn count_jobs(&self) -> Result<u32> {
        let mut jobs = 0_u32;
        let mut after = None;
        loop {
            let page = self.store.team_list(after.as_deref(), PAGE).await?;
            jobs = page.items.iter().fold(jobs, |all, team| all.saturating_add(team.jobs));
            after = page.last;
            if after.is_none() {
                return Ok(jobs);
            }
        }
    }

    /// Whether AWS's quotas have room for a job that is to be made. One of the name that is there already
    /// is told by whoever inserts it.
    ///
    /// Errors: `Invalid`.
    pub(super) async fn check_room(&self, job: &Job, moment: Moment) -> Result<()> {
        let needs = needs(job, &self.deployment);
        let deadline = moment.deadline.min(Instant::now() + LOOK_TIME);
        let full =
            self.provisioner.without_room(&needs, &self.deployment, moment.now, deadline).await;
        if full.is_empty() || self.store.job_get(&job.key()).await?.is_some() {
            return Ok(());
        }
        Err(Error::Invalid(full))
    }

    /// Counts a job that was stored, of which AWS does not tell yet.
    pub(super) fn count_room(&self, job: &Job) {
        self.provisioner.count_used(&needs(job, &self.deployment));
    }
}
