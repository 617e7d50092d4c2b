//! Makes AWS match a job: the one function behind create, pause, resume, delete and the sweeper.
//!
//! It takes no hint from its caller, is safe to repeat and to stop anywhere, and never undoes a
//! half-made job: it records how far it came and why, and is called again.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout_at;
use uuid::Uuid;

use super::{App, Moment};
use crate::domain::ids::JobKey;
use crate::domain::job::{Former, FormerGrants, Job, Phase, ResourceKind, ResourceStatus};
use crate::error::{AwsFault, Error, Result};
use crate::provision::names::Names;
use crate::provision::{has_former_grants, plan};
use crate::store::{Leased, Settled, Settlement};

/// Longer than any function that reconciles may run, so that a lease that ran out has nobody
/// working under it.
const LEASE: SignedDuration = SignedDuration::from_secs(90);
/// The first pause before the sweeper comes back; it doubles with each attempt.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// While AWS is what hinders.
const LONGEST_PAUSE_PASSING: i64 = 10 * 60;
/// While a person has to mend something.
const LONGEST_PAUSE_FAILED: i64 = 60 * 60;
/// No run waits for its task longer than this.
const LAUNCHES: SignedDuration = SignedDuration::from_hours(2);
/// As long as a start of before a change can be on its way: a run that was asked for is tried for 15
/// minutes, and a task takes its time to pull its images and to fetch its secrets.
const STARTING: SignedDuration = SignedDuration::from_mins(30);
/// While tasks run out before a deletion.
const TASKS_PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// What came of a reconcile.
#[derive(Debug)]
pub(super) enum Reconciled {
    /// The job as it is now, in whatever phase.
    Job(Box<Job>),
    /// The job is deleted, and nothing of it is left.
    Gone,
    /// Somebody else is at it.
    Busy,
}

impl App {
    pub(super) async fn reconcile(&self, key: &JobKey, moment: Moment) -> Result<Reconciled> {
        let token = Uuid::new_v4().simple().to_string();
        let until = later(moment.now, LEASE);
        let mut job = match self.store.job_lease(key, &token, moment.now, until).await? {
            Leased::Held(job) => job,
            Leased::Busy => return Ok(Reconciled::Busy),
            Leased::Gone => return Ok(Reconciled::Gone),
        };
        if job.unsettled > 1 {
            // Whoever had the lease before died at it, and what it did in AWS is not noted: what
            // seems applied may have been overwritten since.
            job.forget_applied();
        }
        loop {
            let settlement = match job.deletion {
                None => self.apply(&job, moment).await,
                Some(_) => match self.take_away(&job, moment).await {
                    Some(settlement) => settlement,
                    None => match self.store.job_delete(key, &token, job.generation).await? {
                        Settled::Done => return Ok(Reconciled::Gone),
                        Settled::Lost => return Ok(Reconciled::Busy),
                        Settled::Changed => match self.store.job_get(key).await? {
                            Some(changed) => {
                                job = Box::new(changed);
                                continue;
                            }
                            None => return Ok(Reconciled::Gone),
                        },
                    },
                },
            };
            match self.store.job_settle(key, &token, &settlement).await? {
                Settled::Done => {
                    job.phase = settlement.phase;
                    job.reason = settlement.reason;
                    job.resources = settlement.resources;
                    job.attempts = settlement.attempts;
                    job.unsettled = 0;
                    if settlement.reached {
                        job.observed_generation = job.generation;
                        job.former = settlement.former;
                    }
                    return Ok(Reconciled::Job(job));
                }
                Settled::Lost => return Ok(Reconciled::Busy),
                Settled::Changed => match self.store.job_get(key).await? {
                    Some(changed) => job = Box::new(changed),
                    None => return Ok(Reconciled::Gone),
                },
            }
        }
    }

    pub(super) async fn apply(&self, job: &Job, moment: Moment) -> Settlement {
        let without;
        let over = job.former.grants.as_ref().and_then(|former| former.until);
        let job = if over.is_some_and(|until| until <= moment.now) && job.is_followed() {
            let former = Former { grants: None, ..job.former.clone() };
            without = Job { former, ..job.clone() };
            &without
        } else {
            job
        };
        let plan = plan(job, &self.deployment, moment.now);
        let mut report = self.provisioner.apply(&plan, &job.resources, moment.deadline).await;
        match report.hindrance {
            None => {
                let known = job.former.grants.clone().filter(|_| job.is_followed());
                let until = known.and_then(|known| known.until);
                let until = until.unwrap_or_else(|| later(moment.now, STARTING));
                let grants = job.former.grants.clone();
                let grants = grants
                    .filter(|_| has_former_grants(job, &self.deployment))
                    .map(|former| FormerGrants { until: Some(until), ..former });
                let attempts = report.leftover.as_ref().map_or(0, |_| job.attempts + 1);
                let again =
                    report.leftover.as_ref().map(|_| pause(attempts, LONGEST_PAUSE_PASSING));
                let reasons = [
                    grants.as_ref().and_then(|grants| grants.until),
                    again.map(|again| later(moment.now, again)),
                    job.resume_at(),
                ];
                Settlement {
                    generation: job.generation,
                    phase: Phase::Ready,
                    // What is left hinders nothing, and is come back to.
                    reason: report.leftover,
                    resources: report.resources,
                    attempts,
                    reached: true,
                    due_at: reasons.into_iter().flatten().min(),
                    former: Former { grants, ..Former::default() },
                }
            }
            Some(mut hindrance) => {
                // The rule is the last thing to be made to match, and this reconcile did not get
                // there: a job that is paused must start nothing all the same.
                if !job.definition.enabled {
                    let disabled = self.provisioner.disable_schedule(job, &self.deployment).await;
                    if let Err(error) = disabled {
                        hindrance.reason = format!("{}; and {error}", hindrance.reason);
                    }
                    // It is not what its hash says any more.
                    for kind in [ResourceKind::ScheduleRule, ResourceKind::Schedule] {
                        if let Some(schedule) = report.resources.get_mut(&kind) {
                            schedule.applied = None;
                        }
                    }
                }
                let attempts = job.attempts.saturating_add(1);
                let (phase, longest) = if hindrance.passing {
                    (Phase::Provisioning, LONGEST_PAUSE_PASSING)
                } else {
                    (Phase::Failed, LONGEST_PAUSE_FAILED)
                };
                tracing::warn!(job = %job.key(), attempts, reason = hindrance.reason, "reconcile hindered");
                Settlement {
                    generation: job.generation,
                    phase,
                    reason: Some(hindrance.reason),
                    resources: report.resources,
                    attempts,
                    reached: false,
                    former: job.former.clone(),
                    due_at: [Some(later(moment.now, pause(attempts, longest))), job.resume_at()]
                        .into_iter()
                        .flatten()
                        .min(),
                }
            }
        }
    }

    /// Takes away what the job made: first what starts tasks, then, once no task of it runs any
    /// more, the rest. `None` when nothing is left.
    pub(super) async fn take_away(&self, job: &Job, moment: Moment) -> Option<Settlement> {
        let mut resources = job.resources.clone();
        let taken = timeout_at(moment.deadline, self.try_take_away(job, &mut resources, moment));
        let outcome =
            taken.await.unwrap_or_else(|_| Err(Error::Aws(AwsFault::out_of_time("deletion"))));
        let (reason, attempts, wait) = match outcome {
            Ok(0) => return None,
            Ok(tasks) => {
                let plural = if tasks == 1 { "" } else { "s" };
                (format!("waiting for {tasks} task{plural} to end"), 0, TASKS_PAUSE)
            }
            Err(error) => {
                let attempts = job.attempts.saturating_add(1);
                tracing::warn!(job = %job.key(), attempts, %error, "deletion hindered");
                (error.to_string(), attempts, pause(attempts, LONGEST_PAUSE_PASSING))
            }
        };
        Some(Settlement {
            generation: job.generation,
            phase: Phase::Deleting,
            reason: Some(reason),
            resources,
            attempts,
            reached: false,
            former: job.former.clone(),
            due_at: Some(later(moment.now, wait)),
        })
    }

    /// The number of tasks that have to end first; 0 when everything is gone.
    async fn try_take_away(
        &self,
        job: &Job,
        resources: &mut BTreeMap<ResourceKind, ResourceStatus>,
        moment: Moment,
    ) -> Result<usize> {
        let plan = plan(job, &self.deployment, moment.now);
        self.provisioner.close(&plan, resources, moment.deadline).await?;
        // A run that was asked for before the deletion can still get its task: Amazon ECS API
        // Reference, DeregisterTaskDefinition, "there may be up to a 10-minute window". None is asked
        // for once the deletion is marked. They are counted before the tasks: one that gets its task in
        // between is among those.
        let since = later(moment.now, -LAUNCHES);
        let waiting = self.store.runs_waiting(&job.key(), since).await?;
        let names = Names::of(&self.deployment, &job.key());
        // Also those of earlier definitions: a task goes on in the cluster in which it was started.
        let clusters: BTreeSet<&str> = job
            .past_clusters
            .iter()
            .chain([&job.definition.cluster])
            .map(|named| named.as_deref().unwrap_or(&names.base))
            .collect();
        // Where somebody else has the family, its tasks are theirs: not to be waited for, and not to
        // be stopped.
        let mut tasks = Vec::new();
        if self.provisioner.owns_family(job, &self.deployment).await? {
            for cluster in clusters {
                let unfinished = self.fleet.unfinished(cluster, &names.base).await?;
                tasks.extend(unfinished.into_iter().map(|task| (cluster, task)));
            }
        }
        if tasks.is_empty() && waiting == 0 {
            self.provisioner.remove(&plan, resources, moment.deadline).await?;
            return Ok(0);
        }
        if job.deletion.is_some_and(|deletion| deletion.stop_tasks) {
            let stops = tasks
                .iter()
                .map(|(cluster, task)| self.fleet.stop(cluster, task, "The job is being deleted"));
            // One that can't be stopped keeps none of the others running.
            join_all(stops).await.into_iter().collect::<Result<Vec<()>>>()?;
        }
        Ok(tasks.len() + waiting)
    }

    /// Reconciles a job whose new intent is stored: whatever comes of it, the request succeeded,
    /// for what is not finished now the sweeper finishes. `stored` is the job as it was stored;
    /// `None` when it is gone.
    pub(super) async fn reconcile_stored(&self, stored: Job, moment: Moment) -> Option<Job> {
        match self.reconcile(&stored.key(), moment).await {
            Ok(Reconciled::Job(job)) => Some(*job),
            Ok(Reconciled::Gone) => None,
            Ok(Reconciled::Busy) => Some(stored),
            Err(error) => {
                log_failure(&stored.key(), &error);
                Some(stored)
            }
        }
    }
}

pub(super) fn log_failure(key: &JobKey, error: &Error) {
    tracing::error!(job = %key, %error, "reconcile failed; the sweeper comes back to it");
}

fn pause(attempts: u32, longest: i64) -> SignedDuration {
    let doubled = PAUSE.as_secs().saturating_mul(1 << attempts.saturating_sub(1).min(16));
    SignedDuration::from_secs(doubled.min(longest))
}

/// `at` and `duration`; the end of time is far enough.
pub(super) fn later(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_longest() {
        let seconds: Vec<i64> =
            [1, 2, 3, 10, 40, u32::MAX].map(|n| pause(n, 600).as_secs()).to_vec();
        assert_eq!(seconds, [30, 60, 120, 600, 600, 600]);
    }
}
