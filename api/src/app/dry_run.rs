//! Dry runs: what a request would be answered, and what it would change in AWS.
//!
//! They go the way of the real ones, up to what those write into the table, with clients that note a
//! change in place of making it: what is looked at is looked at, so that what is missing, denied or
//! somebody else's shows.

use serde_json::Value;
use uuid::Uuid;

use super::compliance::Rules;
use super::jobs::{Change, JobView, Precondition, check, not_found, read_named};
use super::pause::Switch;
use super::{App, Moment, RunView};
use crate::domain::dry_run::{AwsCall, DryRun};
use crate::domain::ids::{JobKey, RunId, TeamName};
use crate::domain::job::{Deletion, Job, PauseRequest, Phase, Subscription, read_stop_reason};
use crate::domain::run::Run;
use crate::domain::team::{Team, too_many_jobs};
use crate::error::{Error, Result};

/// What would come of a request.
#[derive(Debug)]
pub struct Foreseen<T> {
    pub outcome: T,
    /// The calls that would change something, in the order in which they would be made.
    pub calls: Vec<AwsCall>,
}

impl App {
    /// This app with clients that only note what they would change, which is nothing to the audit log.
    pub(super) fn dry(&self) -> (App, DryRun) {
        let dry_run = DryRun::default();
        let app = App {
            provisioner: self.provisioner.dry(dry_run.clone()),
            fleet: self.fleet.dry(dry_run.clone()),
            author: None,
            ..self.clone()
        };
        (app, dry_run)
    }

    /// As [`App::job_create`]; the job has no id, as it is none.
    pub async fn job_create_dry(
        &self,
        team: TeamName,
        definition: Value,
        moment: Moment,
    ) -> Result<Foreseen<JobView>> {
        let rules = self.rules(&team).await?;
        let job = self.job_prepare(&rules, definition, moment).await?;
        if let Some(known) = self.store.job_get(&job.key()).await? {
            let name = &job.definition.name;
            return Err(match known.deletion {
                Some(_) => Error::Conflict(format!("job `{name}` is being deleted")),
                None => Error::AlreadyExists(format!("job `{name}`")),
            });
        }
        check_quota(&rules.team)?;
        self.check_room(&job, moment).await?;
        Ok(self.foresee(&rules, without_id(job), moment).await)
    }

    /// As [`App::job_change`]: the job, and whether it would be created.
    pub async fn job_change_dry(
        &self,
        key: &JobKey,
        change: &Change,
        precondition: &Precondition,
        moment: Moment,
    ) -> Result<Foreseen<(JobView, bool)>> {
        let rules = self.rules(&key.team).await?;
        let (job, created) = match (self.store.job_get(key).await?, change) {
            (Some(job), change) => {
                check(precondition, Some(&job), key)?;
                let next = self.job_redefined(&rules, &job, change, moment).await?;
                (next.unwrap_or(job), false)
            }
            (None, Change::Merge(_)) => return Err(not_found(key)),
            (None, Change::Replace(value)) => {
                check(precondition, None, key)?;
                let definition = read_named(&rules, key, value, None, moment)?;
                let job = self.job_new(&rules.team, definition, moment).await?;
                check_quota(&rules.team)?;
                self.check_room(&job, moment).await?;
                (without_id(job), true)
            }
        };
        let foreseen = self.foresee(&rules, job, moment).await;
        Ok(Foreseen { outcome: (foreseen.outcome, created), calls: foreseen.calls })
    }

    /// As [`App::job_pause`].
    pub async fn job_pause_dry(
        &self,
        key: &JobKey,
        body: Value,
        moment: Moment,
    ) -> Result<Foreseen<JobView>> {
        let request = PauseRequest::read(body, moment.now).map_err(Error::Invalid)?;
        self.job_switch_dry(key, &Switch::Off(request), moment).await
    }

    /// As [`App::job_set_enabled`].
    pub async fn job_set_enabled_dry(
        &self,
        key: &JobKey,
        enabled: bool,
        moment: Moment,
    ) -> Result<Foreseen<JobView>> {
        let switch = if enabled { Switch::On } else { Switch::Off(None) };
        self.job_switch_dry(key, &switch, moment).await
    }

    async fn job_switch_dry(
        &self,
        key: &JobKey,
        switch: &Switch,
        moment: Moment,
    ) -> Result<Foreseen<JobView>> {
        let rules = self.rules(&key.team).await?;
        let job = self.existing(key).await?;
        let next = self.job_switched(&rules, &job, switch, moment)?;
        Ok(self.foresee(&rules, next.unwrap_or(job), moment).await)
    }

    /// As [`App::job_delete`]: `None` if the job would be gone.
    pub async fn job_delete_dry(
        &self,
        key: &JobKey,
        deletion: Deletion,
        moment: Moment,
    ) -> Result<Foreseen<Option<JobView>>> {
        let job = self.existing(key).await?;
        let deletion = job.deletion.map_or(deletion, |known| known.and(deletion));
        let mut job = Job { phase: Phase::Deleting, deletion: Some(deletion), ..job };
        let rules = self.rules_if_any(&key.team).await?;
        let (app, dry_run) = self.dry();
        let outcome = app.take_away(&job, moment).await.map(|settlement| {
            job.reason = settlement.reason;
            job.resources = settlement.resources;
            self.view(job, rules.as_ref(), moment)
        });
        Ok(Foreseen { outcome, calls: dry_run.calls() })
    }

    /// As [`App::notification_test`].
    pub async fn notification_test_dry(&self, key: &JobKey) -> Result<Foreseen<Vec<Subscription>>> {
        let job = self.testable(key).await?;
        let (app, dry_run) = self.dry();
        let (_, subscriptions) = app.test_notifications(&job).await?;
        Ok(Foreseen { outcome: subscriptions, calls: dry_run.calls() })
    }

    /// As [`App::run_start`]; the id is none of a run.
    pub async fn run_start_dry(
        &self,
        key: &JobKey,
        overrides: Value,
        moment: Moment,
    ) -> Result<Foreseen<RunView>> {
        let (job, overrides) = self.job_to_run(key, overrides).await?;
        let id = RunId::of_request(moment.now, &Uuid::nil().simple().to_string());
        let run = Run { id, ..self.run_of(&job, overrides, moment)? };
        let dry_run = DryRun::default();
        dry_run.note("ecs:RunTask", &run.task_definition_arn);
        Ok(Foreseen { outcome: self.run_view(key, run), calls: dry_run.calls() })
    }

    /// As [`App::run_stop`]: the run, and whether it has ended already.
    pub async fn run_stop_dry(
        &self,
        key: &JobKey,
        id: &RunId,
        body: Value,
    ) -> Result<(Foreseen<RunView>, bool)> {
        read_stop_reason(body).map_err(Error::Invalid)?;
        let outcome = self.run_get(key, id).await?;
        let ended = outcome.run.status.is_final();
        let dry_run = DryRun::default();
        if let Some(task_arn) = &outcome.run.task_arn
            && !ended
        {
            dry_run.note("ecs:StopTask", task_arn);
        }
        Ok((Foreseen { outcome, calls: dry_run.calls() }, ended))
    }

    /// What applying `job` would come to. One that AWS matches already needs nothing.
    async fn foresee(&self, rules: &Rules, mut job: Job, moment: Moment) -> Foreseen<JobView> {
        let (app, dry_run) = self.dry();
        if job.observed_generation != job.generation {
            let settlement = app.apply(&job, moment).await;
            job.phase = settlement.phase;
            job.reason = settlement.reason;
            job.resources = settlement.resources;
            if settlement.reached {
                job.observed_generation = job.generation;
                job.former = settlement.former;
            }
        }
        // The subscriptions are not asked for: of a topic that is not there, SNS knows none.
        Foreseen { outcome: self.view(job, Some(rules), moment), calls: dry_run.calls() }
    }
}

/// Whether `team` may have one job more.
fn check_quota(team: &Team) -> Result<()> {
    match team.definition.quotas.max_jobs {
        Some(max) if team.jobs >= max => Err(Error::Invalid(vec![too_many_jobs(max)])),
        _ => Ok(()),
    }
}

fn without_id(job: Job) -> Job {
    Job { id: Uuid::nil().to_string(), ..job }
}
