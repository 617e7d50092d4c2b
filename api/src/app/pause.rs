//! Pauses: a job's schedule is switched off, and on again, by a request or when its time has come.

use serde_json::{Value, json};
use uuid::Uuid;

use super::compliance::{Rules, never_starts};
use super::jobs::{GRACE, WRITES_MAX, not_found};
use super::reconcile::later;
use super::{App, JobView, Moment};
use crate::domain::access::Author;
use crate::domain::audit::{Target, changes};
use crate::domain::ids::JobKey;
use crate::domain::job::{Job, PauseRequest, PausedBy};
use crate::domain::violation::Violation;
use crate::error::{Error, Result};

/// The operation that a job whose time has come is resumed with, as if it were asked for then.
const RESUME: &str = "resume_job";
/// So much of what a job does not comply with is told where it is not resumed.
const VIOLATIONS_TOLD: usize = 5;

/// How the schedule of a job is to be.
#[derive(Debug)]
pub(super) enum Switch {
    On,
    /// With what a request says of the pause, if anything.
    Off(Option<PauseRequest>),
}

impl App {
    /// Switches the schedule off, with what the JSON of a request says of the pause. A job that is paused
    /// already is changed if the request says something else than is known.
    ///
    /// Errors: `Invalid`; `NotFound`; `Conflict` while the job is being deleted.
    pub async fn job_pause(&self, key: &JobKey, body: Value, moment: Moment) -> Result<JobView> {
        let request = PauseRequest::read(body, moment.now).map_err(Error::Invalid)?;
        self.job_switch(key, &Switch::Off(request), moment).await
    }

    /// Switches the schedule on (`true`) or off, of which nothing more is said. Errors: `NotFound`,
    /// `Conflict` while the job is being deleted; `Invalid` if one that is off does not comply, or has
    /// nothing left to start, and is to be switched on.
    pub async fn job_set_enabled(
        &self,
        key: &JobKey,
        enabled: bool,
        moment: Moment,
    ) -> Result<JobView> {
        let switch = if enabled { Switch::On } else { Switch::Off(None) };
        self.job_switch(key, &switch, moment).await
    }

    async fn job_switch(&self, key: &JobKey, switch: &Switch, moment: Moment) -> Result<JobView> {
        let rules = self.rules(&key.team).await?;
        for _ in 0..WRITES_MAX {
            let job = self.existing(key).await?;
            let switched = match self.job_switched(&rules, &job, switch, moment)? {
                None => self.finished(job, moment).await,
                Some(next) => {
                    let told = changes(&told(&job), &told(&next));
                    let entry = self.entry(&key.team, Target::job(key), told, moment);
                    let due_at = later(moment.now, GRACE);
                    match self.store.job_redefine(&job, &next, due_at, entry.as_ref()).await? {
                        Some(stored) => self.reconcile_stored(stored, moment).await,
                        None => continue,
                    }
                }
            };
            let job = switched.ok_or_else(|| not_found(key))?;
            return Ok(self.view_with_subscriptions(job, Some(&rules), moment).await);
        }
        Err(Error::Busy(format!("job `{}`", key.job)))
    }

    /// The job as `switch` would have it, checked and not stored yet; `None` if it is as it is.
    pub(super) fn job_switched(
        &self,
        rules: &Rules,
        job: &Job,
        switch: &Switch,
        moment: Moment,
    ) -> Result<Option<Job>> {
        if job.deletion.is_some() {
            return Err(Error::Conflict(format!("job `{}` is being deleted", job.definition.name)));
        }
        let next = match switch {
            Switch::Off(request) => job.paused(request.as_ref(), self.pauser(), moment.now),
            Switch::On => job.resumed(moment.now),
        };
        if let Some(next) = &next
            && next.definition.enabled
        {
            let mut against = rules.forbidden(&next.definition);
            // One-time starts and end dates pass while a job is paused.
            let timing = &next.definition.timing;
            if !timing.starts_again(moment.now) {
                against.push(never_starts(timing, moment.now));
            }
            if !against.is_empty() {
                return Err(Error::Invalid(against));
            }
        }
        Ok(next)
    }

    /// By whom a job is paused that this app pauses.
    pub(super) fn pauser(&self) -> Option<PausedBy> {
        self.author.as_ref().map(PausedBy::of)
    }

    /// Resumes a job whose time has come, or takes that time away where the job can't be resumed: it has
    /// to comply, and its schedule to have something left to start.
    ///
    /// The write holds only for the job as it is read here, so that nobody's word of the meantime is lost:
    /// one who pauses it for longer, resumes it or deletes it changes its generation.
    pub(super) async fn resume_if_due(&self, key: &JobKey, moment: Moment) -> Result<()> {
        let Some(job) = self.store.job_get(key).await? else {
            return Ok(());
        };
        let Some(resume_at) = job.resume_at().filter(|at| *at <= moment.now) else {
            return Ok(());
        };
        let request_id = Uuid::new_v4().to_string();
        let app = self.on_behalf_of(Author::cronplane(RESUME, request_id.clone()));
        let (next, refused) = match self.hindered(&job, moment).await? {
            None => match job.resumed(moment.now) {
                Some(next) => (next, None),
                None => return Ok(()),
            },
            Some(reason) => (job.not_resumed(&reason, moment.now), Some(reason)),
        };
        let told = changes(&told(&job), &told(&next));
        let entry = app.entry(&key.team, Target::job(key), told, moment);
        let entry = match &refused {
            None => entry,
            Some(reason) => entry.map(|entry| entry.denied(reason)),
        };
        let due_at = later(moment.now, GRACE);
        if app.store.job_redefine(&job, &next, due_at, entry.as_ref()).await?.is_none() {
            tracing::info!(job = %key, "not resumed: it was changed at this moment");
            return Ok(());
        }
        match refused {
            None => {
                tracing::info!(job = %key, request_id, %resume_at, "resumed: its time has come")
            }
            Some(reason) => {
                tracing::warn!(job = %key, request_id, %resume_at, reason, "not resumed, though its time has come");
            }
        }
        Ok(())
    }

    /// Why a job whose time has come can't be resumed.
    async fn hindered(&self, job: &Job, moment: Moment) -> Result<Option<String>> {
        let Some(rules) = self.rules_if_any(&job.team).await? else {
            return Ok(Some(format!("there is no team `{}` any more", job.team)));
        };
        let forbidden = rules.forbidden(&job.definition);
        if !forbidden.is_empty() {
            return Ok(Some(told_in_short(&forbidden)));
        }
        let starts = job.definition.timing.starts_again(moment.now);
        Ok((!starts).then(|| "its schedule has nothing left to start".to_owned()))
    }
}

/// What a job does not comply with, in one sentence.
fn told_in_short(forbidden: &[Violation]) -> String {
    let told: Vec<String> =
        forbidden.iter().take(VIOLATIONS_TOLD).map(ToString::to_string).collect();
    let more = match forbidden.len().saturating_sub(VIOLATIONS_TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("it does not comply with the team's guardrails: {}{more}", told.join("; "))
}

/// A job as the audit log tells of its changes: its definition, and what is said of its being paused.
pub(super) fn told(job: &Job) -> Value {
    let mut told = job.definition.to_request();
    let pause = job.known_pause().unwrap_or_default();
    told["pause"] = json!({"note": pause.note, "resume_at": pause.resume_at});
    told
}
