//! Takes the state of a task, from an event or from DescribeTasks, into the history.

use jiff::{SignedDuration, Timestamp};

use super::App;
use super::reconcile::later;
use crate::domain::ids::JobKey;
use crate::domain::run::{Run, Trigger};
use crate::domain::task::TaskSnapshot;
use crate::error::Result;
use crate::provision::names::{Names, job_of_family};
use crate::store::{Applied, Told};

/// After so long without news the sweeper asks ECS about a run that has not ended.
pub(super) const SILENCE: SignedDuration = SignedDuration::from_mins(10);

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
        match key {
            Some(key) => self.take_in(&key, task, now).await.map(|(ingested, _)| ingested),
            None => Ok(Ingested::NotOurs),
        }
    }

    /// Applies `task`, of the family of the job `key`; answers its run too, as far as it is known.
    pub(super) async fn take_in(
        &self,
        key: &JobKey,
        task: &TaskSnapshot,
        now: Timestamp,
    ) -> Result<(Ingested, Option<Run>)> {
        let job = self.store.job_get(key).await?;
        let due_at = later(now, SILENCE);
        let asked_for = match task.claimed_run() {
            Some(id) => {
                // Of a run that Cronplane started; the run itself knows why.
                let told = Run { id, ..Run::of_task(task, Trigger::Manual) };
                self.store.run_tell(key, &told, due_at).await?
            }
            None => Told::NotIts,
        };
        let (ingested, run) = match asked_for {
            Told::Written(run) => (Ingested::Written, Some(*run)),
            Told::Known(run) => (Ingested::Ignored, Some(*run)),
            // Whoever may run tasks can say that his is of any run: it is his own all the same.
            Told::NotIts => {
                let run = Run::of_task(task, self.trigger(key, task));
                let kept_until = self.kept_until(run.created_at);
                match self.store.run_apply(key, &run, kept_until, due_at, job.is_none()).await? {
                    Applied::Written(stop_requested) => {
                        (Ingested::Written, Some(Run { stop_requested, ..run }))
                    }
                    Applied::Ignored if job.is_some() => {
                        (Ingested::Ignored, self.store.run_get(key, &run.id).await?)
                    }
                    Applied::Ignored => (Ingested::Ignored, None),
                }
            }
        };
        if let Some(run) = &run {
            // A stop that the task has not heard of: whoever started it stops it, or the sweeper.
            if let Some(stop) = &run.stop_requested
                && !run.status.is_final()
                && !task.is_stopping()
            {
                self.store.run_request_stop(key, &run.id, stop, now, None).await?;
            }
            // Also when the state was known: the one who wrote it may have died before this. Then the
            // table has the better evidence.
            if let Some(job) = &job {
                self.store.job_show_run(job, &run.summary()).await?;
            }
        }
        Ok((ingested, run))
    }

    /// Until when a run that was created at `created_at` stays in the history.
    pub(super) fn kept_until(&self, created_at: Timestamp) -> Timestamp {
        let kept_for = SignedDuration::from_hours(24 * i64::from(self.deployment.history_days));
        later(created_at, kept_for)
    }

    fn trigger(&self, key: &JobKey, task: &TaskSnapshot) -> Trigger {
        let started_by = task.started_by.as_deref().unwrap_or_default();
        if Names::of(&self.deployment, key).is_schedule(started_by) {
            Trigger::Schedule
        } else {
            Trigger::External
        }
    }
}
