//! What happens every minute: unfinished reconciles are finished, jobs are resumed whose time has come, runs
//! that were asked for and have no task yet get one, and runs whose last event never came are brought to
//! their end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{join, join_all};
use futures::stream;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::ingest::SILENCE;
use super::reconcile::{later, log_failure};
use super::{App, Moment};
use crate::domain::ids::{JobKey, RunId};
use crate::domain::run::{Run, RunStatus};
use crate::domain::task::TaskSnapshot;
use crate::error::{Error, Result};
use crate::fleet::DESCRIBE_MAX;
use crate::store::{DUE_SHARDS, DueItem};

/// Taken from each shard of the index in one sweep; what is left is due in the next one.
const PER_SHARD: i32 = 100;
/// Jobs reconciled at the same time: RegisterTaskDefinition takes one call a second.
const JOBS_AT_ONCE: usize = 4;
/// Runs read from the table at the same time.
const RUNS_AT_ONCE: usize = 16;
/// Runs started at the same time: RunTask takes 20 calls a second, which others make too.
const LAUNCHES_AT_ONCE: usize = 8;
/// No launch is begun with less time than this.
const LAUNCH_TIME: Duration = Duration::from_secs(10);
/// Before a run that could not be started, or stopped, is looked at again.
const LAUNCH_AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// A task that is younger ECS may not find yet. Amazon ECS API Reference, RunTask: what it answers is
/// eventually consistent.
const FOUND_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// No reconcile is begun with less time than this.
const RECONCILE_TIME: Duration = Duration::from_secs(10);
const FORGOTTEN: &str =
    "ECS no longer knows this task, and no event told its end: how it ended is not known";

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs that were reconciled.
    pub jobs: usize,
    /// Runs that ECS was asked about.
    pub runs: usize,
    /// What did not succeed; it is due again.
    pub failures: usize,
}

impl App {
    /// Sweeps once. Errors: only if the index can't be read; everything else is logged, counted
    /// and due again.
    pub async fn sweep(&self, moment: Moment) -> Result<Swept> {
        let shards =
            join_all((0..DUE_SHARDS).map(|shard| self.store.due(shard, moment.now, PER_SHARD)))
                .await;
        let mut jobs = Vec::new();
        let mut runs = Vec::new();
        for shard in shards {
            for item in shard? {
                match item {
                    DueItem::Job(key) => jobs.push(key),
                    DueItem::Run(key, id) => runs.push((key, id)),
                }
            }
        }
        let asked = runs.len();
        let (run_failures, reconciled) =
            join(self.sweep_runs(runs, moment), self.sweep_jobs(jobs, moment)).await;
        let job_failures = reconciled.iter().filter(|good| !**good).count();
        Ok(Swept { jobs: reconciled.len(), runs: asked, failures: run_failures + job_failures })
    }

    /// Reconciles the jobs, as many as there is time for; answers of each whether it could be
    /// worked on.
    async fn sweep_jobs(&self, due: Vec<JobKey>, moment: Moment) -> Vec<bool> {
        let outcomes: Vec<Option<bool>> = stream::iter(due)
            .map(|key| async move {
                if Instant::now() + RECONCILE_TIME > moment.deadline {
                    return None;
                }
                Some(self.sweep_job(&key, moment).await)
            })
            .buffer_unordered(JOBS_AT_ONCE)
            .collect()
            .await;
        outcomes.into_iter().flatten().collect()
    }

    /// Resumes a job if its time has come, and reconciles it in any case: what it is due for is not told.
    async fn sweep_job(&self, key: &JobKey, moment: Moment) -> bool {
        let resumed = self.resume_if_due(key, moment).await;
        if let Err(error) = &resumed {
            tracing::error!(job = %key, %error, "whether it is to be resumed can't be settled");
        }
        let reconciled = self.reconcile(key, moment).await;
        if let Err(error) = &reconciled {
            log_failure(key, error);
        }
        resumed.is_ok() && reconciled.is_ok()
    }

    /// Starts the tasks of runs, or asks ECS about them, cluster by cluster; answers how many could not
    /// be settled. Those are postponed, so that they don't stand in the way of what is due behind them.
    async fn sweep_runs(&self, due: Vec<(JobKey, RunId)>, moment: Moment) -> usize {
        let mut by_cluster: BTreeMap<String, Vec<(JobKey, Run)>> = BTreeMap::new();
        let mut waiting = Vec::new();
        let mut urgent = BTreeSet::new();
        let mut failed = Vec::new();
        let found: Vec<_> = stream::iter(due)
            .map(|(key, id)| async move { (self.store.run_get(&key, &id).await, key, id) })
            .buffer_unordered(RUNS_AT_ONCE)
            .collect()
            .await;
        for (found, key, id) in found {
            match found {
                Ok(Some(run)) if !run.status.is_final() => {
                    // Somebody waits for a start or a stop.
                    if run.task_arn.is_none() || run.stop_requested.is_some() {
                        urgent.insert(run.id.clone());
                    }
                    match run.task_arn {
                        Some(_) => {
                            by_cluster.entry(run.cluster_arn.clone()).or_default().push((key, run));
                        }
                        None => waiting.push((key, run)),
                    }
                }
                // The index is a moment behind the table.
                Ok(_) => {}
                Err(error) => failed.push((key, id, error)),
            }
        }
        let launched = self.sweep_launches(waiting, moment);
        failed.extend(launched.await);
        for (cluster, runs) in by_cluster {
            for runs in runs.chunks(DESCRIBE_MAX) {
                if Instant::now() >= moment.deadline {
                    break;
                }
                failed.extend(self.settle_runs(&cluster, runs, moment.now).await);
            }
        }
        for (key, id, error) in &failed {
            tracing::error!(job = %key, run = %id, %error, "run not settled");
            let again = later(moment.now, if urgent.contains(id) { LAUNCH_AGAIN } else { SILENCE });
            if let Err(error) = self.store.run_postpone(key, id, again).await {
                tracing::error!(job = %key, run = %id, %error, "run not postponed");
            }
        }
        failed.len()
    }

    /// Goes on with runs that have no task yet; answers those of which it could not be found out how
    /// they stand.
    async fn sweep_launches(
        &self,
        waiting: Vec<(JobKey, Run)>,
        moment: Moment,
    ) -> Vec<(JobKey, RunId, Error)> {
        let outcomes: Vec<_> = stream::iter(waiting)
            .map(|(key, run)| async move {
                if Instant::now() + LAUNCH_TIME > moment.deadline {
                    return None;
                }
                let id = run.id.clone();
                let outcome = self.launch(&key, run, moment).await;
                outcome.err().map(|error| (key, id, error))
            })
            .buffer_unordered(LAUNCHES_AT_ONCE)
            .collect()
            .await;
        outcomes.into_iter().flatten().collect()
    }

    /// Settles runs of one cluster, [`DESCRIBE_MAX`] at most; answers those that could not be.
    async fn settle_runs(
        &self,
        cluster: &str,
        runs: &[(JobKey, Run)],
        now: Timestamp,
    ) -> Vec<(JobKey, RunId, Error)> {
        let arns: Vec<&str> = runs.iter().filter_map(|(_, run)| run.task_arn.as_deref()).collect();
        let tasks = match self.fleet.describe(cluster, &arns).await {
            Ok(tasks) => tasks,
            Err(error) => {
                let error = error.to_string();
                let each = |(key, run): &(JobKey, Run)| {
                    (key.clone(), run.id.clone(), Error::Internal(error.clone()))
                };
                return runs.iter().map(each).collect();
            }
        };
        let settled = runs.iter().zip(tasks).map(|((key, run), task)| async move {
            let outcome = match task {
                Ok(task) => self.settle_run(key, run, task, now).await,
                Err(error) => Err(error),
            };
            outcome.err().map(|error| (key.clone(), run.id.clone(), error))
        });
        join_all(settled).await.into_iter().flatten().collect()
    }

    /// `task` is what ECS knows of the run's task; `None` if it has forgotten it.
    async fn settle_run(
        &self,
        key: &JobKey,
        run: &Run,
        task: Option<TaskSnapshot>,
        now: Timestamp,
    ) -> Result<()> {
        let created_at = run.task_created_at.unwrap_or(run.created_at);
        if task.is_none() && later(created_at, FOUND_AFTER) > now {
            return self.store.run_postpone(key, &run.id, later(now, LAUNCH_AGAIN)).await;
        }
        let Some(task) = task else {
            tracing::warn!(job = %key, run = %run.id, "run closed: ECS forgot its task");
            // The job first: a run that is closed is not due again.
            if let Some(job) = self.store.job_get(key).await? {
                let mut summary = run.summary();
                summary.status = RunStatus::Unknown;
                self.store.job_show_run(&job, &summary).await?;
            }
            return self.store.run_close_unknown(key, run, FORGOTTEN).await;
        };
        self.ingest(&task, now).await?;
        if task.has_stopped() {
            return Ok(());
        }
        let stopping = run.stop_requested.is_some() && !task.is_stopping();
        if stopping {
            self.stop_if_asked(run.clone()).await?;
        }
        let pause = if stopping { LAUNCH_AGAIN } else { SILENCE };
        self.store.run_postpone(key, &run.id, later(now, pause)).await
    }
}
