//! What happens every minute: unfinished reconciles are finished, and runs whose last event never
//! came are brought to their end.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream;
use jiff::Timestamp;
use tokio::time::Instant;

use super::ingest::SILENCE;
use super::reconcile::{later, log_failure};
use super::{App, Moment};
use crate::domain::ids::{JobKey, RunId};
use crate::domain::run::{Run, RunStatus};
use crate::error::Result;
use crate::fleet::DESCRIBE_MAX;
use crate::store::{DUE_SHARDS, DueItem};

/// Taken from each shard of the index in one sweep; what is left is due in the next one.
const PER_SHARD: i32 = 100;
/// Jobs reconciled at the same time: RegisterTaskDefinition takes one call a second.
const JOBS_AT_ONCE: usize = 4;
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
        let mut swept = Swept {
            jobs: 0,
            runs: runs.len(),
            failures: 0,
        };
        swept.failures += self.sweep_runs(runs, moment.now).await;
        let outcomes: Vec<Option<bool>> = stream::iter(jobs)
            .map(|key| async move {
                if Instant::now() + RECONCILE_TIME > moment.deadline {
                    return None;
                }
                match self.reconcile(&key, moment).await {
                    Ok(_) => Some(true),
                    Err(error) => {
                        log_failure(&key, &error);
                        Some(false)
                    }
                }
            })
            .buffer_unordered(JOBS_AT_ONCE)
            .collect()
            .await;
        swept.jobs = outcomes.iter().flatten().count();
        swept.failures += outcomes.iter().flatten().filter(|good| !**good).count();
        Ok(swept)
    }

    /// Asks ECS about the runs, cluster by cluster; answers how many could not be settled.
    async fn sweep_runs(&self, due: Vec<(JobKey, RunId)>, now: Timestamp) -> usize {
        let mut failures = 0;
        let mut by_cluster: BTreeMap<String, Vec<(JobKey, Run)>> = BTreeMap::new();
        for (key, id) in due {
            match self.store.run_get(&key, &id).await {
                Ok(Some(run)) if !run.status.is_final() => {
                    by_cluster
                        .entry(run.cluster_arn.clone())
                        .or_default()
                        .push((key, run));
                }
                // The index is a moment behind the table.
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(job = %key, run = %id, %error, "run not read");
                    failures += 1;
                }
            }
        }
        for (cluster, runs) in by_cluster {
            for runs in runs.chunks(DESCRIBE_MAX) {
                if let Err(error) = self.settle_runs(&cluster, runs, now).await {
                    tracing::error!(cluster, %error, "runs not settled");
                    failures += runs.len();
                }
            }
        }
        failures
    }

    async fn settle_runs(
        &self,
        cluster: &str,
        runs: &[(JobKey, Run)],
        now: Timestamp,
    ) -> Result<()> {
        let arns: Vec<&str> = runs.iter().map(|(_, run)| run.task_arn.as_str()).collect();
        let tasks = self.fleet.describe(cluster, &arns).await?;
        for (key, run) in runs {
            match tasks.iter().find(|task| task.task_arn == run.task_arn) {
                Some(task) => {
                    self.ingest(task, now).await?;
                    if !task.has_stopped() {
                        self.store
                            .run_postpone(key, &run.id, later(now, SILENCE))
                            .await?;
                    }
                }
                None => {
                    tracing::warn!(job = %key, run = %run.id, "run closed: ECS forgot its task");
                    self.store.run_close_unknown(key, run, FORGOTTEN).await?;
                    let mut summary = run.summary();
                    summary.status = RunStatus::Unknown;
                    self.store.job_show_run(key, &summary).await?;
                }
            }
        }
        Ok(())
    }
}
