//! Takes the state of a task, from an event or from DescribeTasks, into the history.

use jiff::{SignedDuration, Timestamp};

use super::App;
use super::reconcile::later;
use crate::domain::ids::JobKey;
use crate::domain::run::{Run, Trigger};
use crate::domain::task::TaskSnapshot;
use crate::error::Result;
use crate::provision::names::{Names, job_of_family};
use crate::store::Applied;

/// After so long without news the sweeper asks ECS about a run that has not ended.
pub(super) const SILENCE: SignedDuration = SignedDuration::from_mins(10);

/// What a run that Cronplane itself started has before its id in `startedBy`.
const STARTED_BY_CRONPLANE: &str = "cronplane/";

/// What became of a task's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingested {
    Written,
    /// Old news, or a task of a job that is gone.
    Ignored,
    /// Not a task of this stack: nothing was read or written.
    NotOurs,
}

impl App {
    /// Applies `task`. Any order and repetition of the states of a task ends in the same run.
    pub async fn ingest(&self, task: &TaskSnapshot, now: Timestamp) -> Result<Ingested> {
        let key = task
            .family_and_revision()
            .and_then(|(family, _)| job_of_family(&self.deployment, family));
        let Some(key) = key else {
            return Ok(Ingested::NotOurs);
        };
        let run = Run::of_task(task, self.trigger(&key, task));
        let job = self.store.job_get(&key).await?;
        let kept_for = SignedDuration::from_hours(24 * i64::from(self.deployment.history_days));
        let expires_at = later(run.created_at, kept_for);
        let applied = self
            .store
            .run_apply(&key, &run, expires_at, later(now, SILENCE), job.is_none())
            .await?;
        // Also when the state was known: the one who wrote it may have died before this. Then the
        // table has the better evidence.
        if let Some(job) = job {
            let shown = match applied {
                Applied::Written => Some(run),
                Applied::Ignored => self.store.run_get(&key, &run.id).await?,
            };
            if let Some(run) = shown {
                self.store.job_show_run(&job, &run.summary()).await?;
            }
        }
        Ok(match applied {
            Applied::Written => Ingested::Written,
            Applied::Ignored => Ingested::Ignored,
        })
    }

    fn trigger(&self, key: &JobKey, task: &TaskSnapshot) -> Trigger {
        let started_by = task.started_by.as_deref().unwrap_or_default();
        if started_by.starts_with(STARTED_BY_CRONPLANE) {
            Trigger::Manual
        } else if Names::of(&self.deployment, key).is_schedule(started_by) {
            Trigger::Schedule
        } else {
            Trigger::External
        }
    }
}
