//! Starts that a schedule leaves to Cronplane: those that take more than one call of RunTask.
//!
//! The rule puts a message into the stack's queue instead of starting a task. Each message becomes one
//! run, whatever comes of it, and the run is launched as one that a request asks for.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::launch::{FIRST_CLAIM, GIVE_UP, PAUSED};
use super::reconcile::later;
use super::{App, Moment};
use crate::domain::ids::{JobKey, RunId};
use crate::domain::job::{Job, ResourceKind};
use crate::domain::overrides::Overrides;
use crate::domain::run::{Launch, Run, RunRequest, RunStatus, Trigger};
use crate::domain::task::SCHEDULED_TIME;
use crate::error::Result;
use crate::provision::names::{Names, hex_sha256};
use crate::store::{Requested, RunWith};

/// Hexadecimal digits of the part of a run's id behind the second, as many as a task's id has.
const UNIQUE_DIGITS: usize = 32;
const NO_REVISION: &str = "the job has no task definition that could be started";

/// A start that a schedule promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledStart {
    pub key: JobKey,
    /// The job whose rule it was, not a later one of the name.
    pub job_id: String,
    /// When it was to be.
    pub scheduled_time: Timestamp,
}

impl App {
    /// Makes a start, once however often it is asked for: the run, or `None` where the job is gone or
    /// on its way out. A start that can't be made is a run that says why.
    ///
    /// Errors: where nothing could be written. The same again does it.
    pub async fn start_scheduled(
        &self,
        start: &ScheduledStart,
        moment: Moment,
    ) -> Result<Option<Run>> {
        let key = &start.key;
        let job = self.store.job_get(key).await?;
        let Some(job) = job.filter(|job| job.id == start.job_id && job.deletion.is_none()) else {
            tracing::info!(job = %key, time = %start.scheduled_time, "start of a job that is gone");
            return Ok(None);
        };
        let run = self.run_of_start(&job, start, moment);
        let kept_until = self.kept_until(run.created_at);
        let due_at = later(moment.now, FIRST_CLAIM);
        // A run that is written as ended is not come back to: what there is to tell is told before.
        let ends_untold =
            run.status.is_final() && self.store.run_get(key, &run.id).await?.is_none();
        if ends_untold {
            self.tell(key, &run).await?;
        }
        let with = RunWith::default();
        match self.store.run_request(key, &run, &job.id, kept_until, due_at, &with).await? {
            Requested::Written if run.status.is_final() => {
                tracing::warn!(job = %key, run = %run.id, reason = run.stopped_reason, "not started");
                self.show(key, &run).await?;
                Ok(Some(run))
            }
            Requested::Written => Ok(Some(self.set_about(key, run, moment).await)),
            // The message came before. Whoever wrote the run may have died before he showed it; should it
            // have no task, the sweeper is at it.
            Requested::RunKnown => {
                let known = self.store.run_get(key, &run.id).await?;
                if let Some(known) = &known {
                    self.show(key, known).await?;
                }
                Ok(known)
            }
            Requested::JobGone | Requested::KeyKnown => Ok(None),
        }
    }

    /// The run of a start, of what is applied of the job now; one that has ended where nothing is to be
    /// started.
    fn run_of_start(&self, job: &Job, start: &ScheduledStart, moment: Moment) -> Run {
        let slot = start.scheduled_time;
        let family = Names::of(&self.deployment, &start.key).base;
        let applied = |kind| job.resources.get(&kind).and_then(|known| known.arn.clone());
        let revision = applied(ResourceKind::TaskDefinition);
        // The cluster that the last reconcile saw: the one in the definition may not be there yet.
        let cluster = applied(ResourceKind::Cluster).unwrap_or_else(|| {
            let named = job.definition.cluster.as_deref().unwrap_or(&family);
            self.deployment.arn("ecs", &format!("cluster/{named}"))
        });
        let give_up_at = later(slot, GIVE_UP);
        let ends = if !job.definition.enabled {
            Some((RunStatus::Stopped, PAUSED.to_owned()))
        } else if give_up_at <= moment.now {
            let minutes = GIVE_UP.as_mins();
            let reason = format!("not started: it was more than {minutes} minutes late");
            Some((RunStatus::FailedToStart, reason))
        } else if revision.is_none() {
            Some((RunStatus::FailedToStart, NO_REVISION.to_owned()))
        } else {
            None
        };
        let variable = (SCHEDULED_TIME.to_owned(), slot.to_string());
        let unique = hex_sha256(format!("{} {slot}", job.id).as_bytes());
        let run = Run::of_request(RunRequest {
            id: RunId::of_request(slot, &unique[..UNIQUE_DIGITS]),
            asked_at: slot,
            cluster_arn: cluster,
            task_definition_arn: revision.unwrap_or_else(|| {
                self.deployment.arn("ecs", &format!("task-definition/{family}"))
            }),
            size: job.definition.size,
            launch: Launch {
                job_id: job.id.clone(),
                placement: job.definition.placement(),
                overrides: Overrides {
                    environment: BTreeMap::from([variable]),
                    ..Overrides::default()
                },
                attempts: 1,
                until: later(moment.now, FIRST_CLAIM),
                give_up_at,
                fell_back: false,
            },
        });
        let run = Run { trigger: Trigger::Schedule, scheduled_time: Some(slot), ..run };
        match ends {
            None => run,
            Some((status, reason)) => Run {
                status,
                stopped_reason: Some(reason),
                stopped_at: Some(moment.now),
                launch: None,
                ..run
            },
        }
    }
}
