//! Runs that Cronplane starts, because a request asks for them or a schedule does: one task each,
//! whatever is lost on the way; and their stop.
//!
//! The run is written before its task is started. Whoever sets about starting it is alone at it for a
//! while; should that one die, the sweeper goes on, and looks for the task before it starts one.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::timeout_at;
use uuid::Uuid;

use super::idempotency::{LOOKS_MAX, Standing};
use super::reconcile::later;
use super::{Answered, App, KeyedRequest, Moment, RunView};
use crate::domain::audit::{Target, changes};
use crate::domain::ids::{JobKey, RunId};
use crate::domain::job::{Job, Phase, ResourceKind, read_stop_reason};
use crate::domain::overrides::Overrides;
use crate::domain::run::{Launch, Run, RunRequest, RunStatus, StopRequest, Trigger};
use crate::domain::task::{TaskSnapshot, started_by_request};
use crate::domain::violation::{Violation, ViolationCode};
use crate::error::{AwsFault, Error, FaultKind, Result};
use crate::fleet::Order;
use crate::provision::names::Names;
use crate::store::{Made, Requested, RunWith};

/// How long whoever sets about a launch is alone at it: longer than any function may run.
const CLAIM: SignedDuration = SignedDuration::from_secs(90);
/// The same for the request or the message itself, which ends sooner, in 30 s. Less than the lock of an
/// `Idempotency-Key`: whoever takes that over can take the launch over too.
pub(super) const FIRST_CLAIM: SignedDuration = SignedDuration::from_secs(33);
/// Between two tries to start a task.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// A run that could not be started for so long is not wanted any more, as for a schedule's.
pub(super) const GIVE_UP: SignedDuration = SignedDuration::from_mins(15);
/// A run of which ECS could not be asked whether it has a task is closed after so long: ECS shows a
/// task for an hour after its end.
const UNRESOLVED: SignedDuration = SignedDuration::from_hours(1);
/// Times that a stop is tried against what becomes of the run meanwhile.
const STOPS_MAX: usize = 5;
const STOP_REASON: &str = "Stopped through Cronplane";
const JOB_DELETED: &str = "the job was deleted before a task of this run was started";
/// Of a start of the schedule alone: whoever asks for a run of a paused job gets it.
pub(super) const PAUSED: &str = "the job was paused before a task of this run was started";
const NOT_KNOWN: &str =
    "ECS could not be asked in time: whether a task of this run was started is not known";

/// What came of a stop.
#[derive(Debug)]
pub enum Stop {
    /// It is on its way.
    Asked(RunView),
    /// The run had ended before.
    Ended(RunView),
}

impl App {
    /// Starts a run of the job now, on or off its schedule, with what `overrides` has in place of the
    /// definition's; answers it in whatever state was reached.
    ///
    /// Errors: `NotFound`; `Invalid`; `Conflict` while the job is not ready.
    pub async fn run_start(
        &self,
        key: &JobKey,
        overrides: Value,
        moment: Moment,
    ) -> Result<RunView> {
        match self.run_try_start(key, overrides, None, moment).await? {
            Some(view) => Ok(view),
            None => Err(Error::Busy(format!("job `{}`", key.job))),
        }
    }

    /// Starts a run as [`App::run_start`] does, once for the key of `request`.
    ///
    /// Errors: those of `run_start`; `IdempotencyMismatch`; `Busy` while the first request of the key
    /// goes on.
    pub async fn run_start_keyed(
        &self,
        key: &JobKey,
        overrides: Value,
        request: &KeyedRequest,
        moment: Moment,
    ) -> Result<Answered<RunView>> {
        for _ in 0..LOOKS_MAX {
            match self.standing(request, moment).await? {
                Standing::Kept(answer) => return Ok(Answered::Kept(answer)),
                Standing::Done(record) => {
                    return self.run_made(key, &record, moment).await.map(Answered::Again);
                }
                Standing::Unfinished(record) => {
                    return self.run_made(key, &record, moment).await.map(Answered::Now);
                }
                Standing::New => {}
            }
            let overrides = overrides.clone();
            if let Some(view) = self.run_try_start(key, overrides, Some(request), moment).await? {
                return Ok(Answered::Now(view));
            }
        }
        Err(Error::Busy("a request with this Idempotency-Key".to_owned()))
    }

    /// `None` if the job was replaced between, or there is a record of the key by now.
    async fn run_try_start(
        &self,
        key: &JobKey,
        overrides: Value,
        request: Option<&KeyedRequest>,
        moment: Moment,
    ) -> Result<Option<RunView>> {
        let (job, overrides) = self.job_to_run(key, overrides).await?;
        let run = self.run_of(&job, overrides, moment)?;
        let record = request.map(|request| {
            let record = request.record(key.job.clone(), Made::Run(run.id.clone()), moment);
            (&request.key, record)
        });
        let set = run.launch.as_ref().map(|launch| launch.overrides.to_request());
        let set = changes(&Value::Null, &set.unwrap_or_default());
        let entry = self.entry(&key.team, Target::run(key, &run.id), set, moment);
        let with = RunWith {
            keyed: record.as_ref().map(|(keyed, record)| (*keyed, record)),
            entry: entry.as_ref(),
        };
        let kept_until = self.kept_until(run.created_at);
        let due_at = later(moment.now, FIRST_CLAIM);
        let requested = self.store.run_request(key, &run, &job.id, kept_until, due_at, &with).await;
        let requested = match requested {
            // Its answer may be what was lost: nobody else makes a run of this id.
            Err(error) if error.retryable() => match self.store.run_get(key, &run.id).await {
                Ok(Some(_)) => Requested::Written,
                _ => return Err(error),
            },
            requested => requested?,
        };
        match requested {
            Requested::Written => {}
            Requested::KeyKnown | Requested::RunKnown => return Ok(None),
            Requested::JobGone => {
                self.startable(&self.existing(key).await?)?;
                return Ok(None);
            }
        }
        // From here on there is a run, whatever comes.
        let run = self.set_about(key, run, moment).await;
        Ok(Some(self.run_view(key, run)))
    }

    /// The job, and what a run of it is to have in place of its definition's. That the job complies is not
    /// asked where that is nothing: it runs as on its schedule. Else it would be new code with a role or a
    /// secret that was taken back.
    ///
    /// Errors: `NotFound`; `Invalid`.
    pub(super) async fn job_to_run(
        &self,
        key: &JobKey,
        overrides: Value,
    ) -> Result<(Job, Overrides)> {
        let job = self.existing(key).await?;
        if overrides.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok((job, Overrides::default()));
        }
        let rules = self.rules(&key.team).await?;
        let guardrails = &rules.team.definition.guardrails;
        let read = job.definition.read_overrides(overrides, guardrails, &self.deployment);
        let forbidden = rules.forbidden(&job.definition);
        if let Some(first) = forbidden.first() {
            let detail = format!(
                "the job does not keep to its team's guardrails ({}: {}), so that it can only be run as \
                 it is, without overrides",
                first.pointer, first.detail
            );
            let mut violations = read.err().unwrap_or_default();
            violations.push(Violation::new("", ViolationCode::Forbidden, detail));
            return Err(Error::Invalid(violations));
        }
        Ok((job, read.map_err(Error::Invalid)?))
    }

    /// Errors: `Conflict`.
    fn startable(&self, job: &Job) -> Result<()> {
        let name = &job.definition.name;
        if job.deletion.is_some() {
            return Err(Error::Conflict(format!("job `{name}` is being deleted")));
        }
        if job.phase == Phase::Ready {
            return Ok(());
        }
        let reason = job.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        Err(Error::Conflict(format!(
            "job `{name}` is {}{reason}; it can be run when it is ready",
            job.phase.as_str()
        )))
    }

    /// A run of what is applied of the job now.
    pub(super) fn run_of(&self, job: &Job, overrides: Overrides, moment: Moment) -> Result<Run> {
        self.startable(job)?;
        let name = &job.definition.name;
        let revision =
            job.resources.get(&ResourceKind::TaskDefinition).and_then(|known| known.arn.clone());
        let task_definition_arn = revision.ok_or_else(|| {
            Error::Internal(format!("job `{name}` is ready and has no task definition"))
        })?;
        let names = Names::of(&self.deployment, &job.key());
        let cluster = job.definition.cluster.as_deref().unwrap_or(&names.base);
        Ok(Run::of_request(RunRequest {
            id: RunId::of_request(moment.now, &Uuid::new_v4().simple().to_string()),
            asked_at: moment.now,
            cluster_arn: self.deployment.arn("ecs", &format!("cluster/{cluster}")),
            task_definition_arn,
            size: overrides.size.unwrap_or(job.definition.size),
            launch: Launch {
                job_id: job.id.clone(),
                placement: job.definition.placement(),
                overrides,
                attempts: 1,
                until: later(moment.now, FIRST_CLAIM),
                give_up_at: later(moment.now, GIVE_UP),
                fell_back: false,
            },
        }))
    }

    /// Starts the task of a run that was just written, which nobody else can have done. What can't be
    /// done now the sweeper does.
    pub(super) async fn set_about(&self, key: &JobKey, run: Run, moment: Moment) -> Run {
        let written = run.clone();
        match self.start_task(key, run, moment).await {
            Ok(run) => run,
            Err(error) => {
                tracing::error!(job = %key, run = %written.id, %error, "run not started; the sweeper comes back to it");
                written
            }
        }
    }

    /// Goes on with a run that may have no task yet, unless somebody is at it: finds its task, starts
    /// it, or ends the run. Answers the run as it is then.
    ///
    /// Errors: where it could not be found out how the run stands. It is still due.
    pub(super) async fn launch(&self, key: &JobKey, run: Run, moment: Moment) -> Result<Run> {
        let Some(launch) = &run.launch else {
            return Ok(run);
        };
        if run.task_arn.is_some() || run.status.is_final() || launch.until > moment.now {
            return Ok(run);
        }
        let claimed = self.store.run_claim(key, &run, later(moment.now, CLAIM)).await?;
        let Some(run) = claimed else {
            return self.run_again(key, run).await;
        };
        // The one before may have started it, and died before saying so.
        let family = Names::of(&self.deployment, key).base;
        let started_by = started_by_request(&run.id);
        let found = match self.fleet.started(&run.cluster_arn, &family, &started_by).await {
            Ok(found) => found,
            Err(error) if later(run.created_at, UNRESOLVED) <= moment.now => {
                tracing::error!(job = %key, run = %run.id, %error, "run closed: its task can't be looked for");
                return self.end(key, run, RunStatus::Unknown, NOT_KNOWN, moment).await;
            }
            Err(error) => return Err(error),
        };
        if !found.is_empty() {
            for task in &found {
                self.take_in(key, task, moment.now).await?;
            }
            let run = self.run_again(key, run).await?;
            return self.stop_if_asked(run).await;
        }
        if later(run.created_at, UNRESOLVED) <= moment.now {
            // What has ended ECS shows for an hour only.
            return self.end(key, run, RunStatus::Unknown, NOT_KNOWN, moment).await;
        }
        if let Some(stop) = &run.stop_requested {
            let reason = stop.reason.clone();
            return self.end(key, run, RunStatus::Stopped, &reason, moment).await;
        }
        let Some(launch) = &run.launch else {
            return Ok(run);
        };
        let job = self.store.job_get(key).await?;
        let Some(job) = job.filter(|job| job.deletion.is_none() && job.id == launch.job_id) else {
            return self.end(key, run, RunStatus::FailedToStart, JOB_DELETED, moment).await;
        };
        if run.trigger == Trigger::Schedule && !job.definition.enabled {
            return self.end(key, run, RunStatus::Stopped, PAUSED, moment).await;
        }
        if launch.give_up_at <= moment.now {
            let last = run.stopped_reason.as_deref().unwrap_or("no answer");
            let minutes = GIVE_UP.as_mins();
            let reason = format!("ECS started no task for {minutes} minutes; at last: {last}");
            return self.end(key, run, RunStatus::FailedToStart, &reason, moment).await;
        }
        Box::pin(self.start_task(key, run, moment)).await
    }

    /// Starts the task of a run that is ours for now, as it is known that it has none.
    ///
    /// Errors: where what came of it could not be written.
    async fn start_task(&self, key: &JobKey, mut run: Run, moment: Moment) -> Result<Run> {
        let Some(launch) = &run.launch else {
            return Ok(run);
        };
        let mut started = self.run_task(key, &run, launch, moment).await;
        if let Err(error) = &started
            && error.is_no_capacity()
            && launch.may_fall_back()
        {
            tracing::info!(job = %key, run = %run.id, %error, "no Spot capacity: on demand");
            // Before it is tried: a task on demand that nobody heard of must never be joined by one on
            // Spot, and ECS may take minutes to list it.
            let Some(on_demand) = self.store.run_fall_back(key, &run).await? else {
                return self.run_again(key, run).await;
            };
            run = on_demand;
            if let Some(stop) = &run.stop_requested {
                let reason = stop.reason.clone();
                return self.end(key, run, RunStatus::Stopped, &reason, moment).await;
            }
            if let Some(launch) = &run.launch {
                started = self.run_task(key, &run, launch, moment).await;
            }
        }
        match started {
            Ok(task) => {
                let (_, taken) = self.take_in(key, &task, moment.now).await?;
                match taken.filter(|taken| taken.id == run.id) {
                    Some(taken) => self.stop_if_asked(taken).await,
                    // Somebody else's task has taken this run's place.
                    None => self.run_again(key, run).await,
                }
            }
            Err(error) if error.retryable() => {
                tracing::warn!(job = %key, run = %run.id, %error, "run not started yet");
                let again = later(moment.now, PAUSE);
                let reason = error.to_string();
                match self.store.run_put_off(key, &run, &reason, again).await? {
                    Some(waiting) => {
                        // It is come back to, and shown then.
                        if let Err(error) = self.show(key, &waiting).await {
                            tracing::error!(job = %key, run = %run.id, %error, "run not shown on its job");
                        }
                        Ok(waiting)
                    }
                    None => self.run_again(key, run).await,
                }
            }
            Err(error) => {
                tracing::error!(job = %key, run = %run.id, %error, "run not started: refused");
                let asked = self.run_again(key, run).await?;
                match asked.stop_requested.clone() {
                    Some(stop) => {
                        self.end(key, asked, RunStatus::Stopped, &stop.reason, moment).await
                    }
                    None => {
                        let reason = error.to_string();
                        self.end(key, asked, RunStatus::FailedToStart, &reason, moment).await
                    }
                }
            }
        }
    }

    async fn run_task(
        &self,
        key: &JobKey,
        run: &Run,
        launch: &Launch,
        moment: Moment,
    ) -> Result<TaskSnapshot> {
        let names = Names::of(&self.deployment, key);
        let order = Order {
            cluster: &run.cluster_arn,
            task_definition_arn: &run.task_definition_arn,
            family: &names.base,
            started_by: &started_by_request(&run.id),
            client_token: &launch.client_token(&run.id),
            placement: &launch.placement,
            on_demand: launch.fell_back,
            overrides: &launch.overrides,
        };
        // On the heap, as are the other long ways from here: they stand on one stack together.
        let started = timeout_at(moment.deadline, Box::pin(self.fleet.start(order))).await;
        started.unwrap_or_else(|_| Err(Error::Aws(AwsFault::out_of_time("ecs:RunTask"))))
    }

    /// Ends a run without a task; one that has got its task meanwhile goes on.
    async fn end(
        &self,
        key: &JobKey,
        run: Run,
        status: RunStatus,
        reason: &str,
        moment: Moment,
    ) -> Result<Run> {
        // First it is told and the job shows it: a run that has ended is not come back to. One that has
        // its task after all is shown by better evidence than this.
        let ended = Run {
            status,
            stopped_at: Some(moment.now),
            stopped_reason: Some(reason.to_owned()),
            ..run.clone()
        };
        Box::pin(self.tell(key, &ended)).await?;
        Box::pin(self.show(key, &ended)).await?;
        match self.store.run_end(key, &run.id, status, reason, moment.now).await? {
            Some(ended) => Ok(ended),
            None => self.run_again(key, run).await,
        }
    }

    /// Tells the team of a run that ends without a task, if that is nobody's wish: ECS makes no event of
    /// it. Told twice where whoever told it died before the end was written.
    pub(super) async fn tell(&self, key: &JobKey, ended: &Run) -> Result<()> {
        if ended.status.is_told_without_task() {
            self.provisioner.tell_failed(key, ended, &self.deployment).await?;
        }
        Ok(())
    }

    /// Shows the run on its job; one that is gone shows nothing.
    pub(super) async fn show(&self, key: &JobKey, run: &Run) -> Result<()> {
        match self.store.job_get(key).await? {
            Some(job) => self.store.job_show_run(&job, &run.summary()).await,
            None => Ok(()),
        }
    }

    /// Stops the task of a run that was to be stopped before it had one.
    pub(super) async fn stop_if_asked(&self, run: Run) -> Result<Run> {
        if let (Some(stop), Some(task_arn)) = (&run.stop_requested, &run.task_arn)
            && !run.status.is_final()
        {
            self.fleet.stop(&run.cluster_arn, task_arn, &stop.reason).await?;
        }
        Ok(run)
    }

    /// The run as it is now; as it was known where it is kept no longer.
    async fn run_again(&self, key: &JobKey, run: Run) -> Result<Run> {
        Ok(self.store.run_get(key, &run.id).await?.unwrap_or(run))
    }

    /// Stops a run. One that has no task yet gets none, or one that is stopped at once; asked again,
    /// it only asks again.
    ///
    /// Errors: `NotFound`; `Invalid`; `Conflict` for a task that this deployment may not stop.
    pub async fn run_stop(
        &self,
        key: &JobKey,
        id: &RunId,
        body: Value,
        moment: Moment,
    ) -> Result<Stop> {
        let reason = read_stop_reason(body).map_err(Error::Invalid)?;
        let reason = reason.unwrap_or_else(|| STOP_REASON.to_owned());
        for _ in 0..STOPS_MAX {
            let run = self.run_get(key, id).await?.run;
            if run.status.is_final() {
                return Ok(Stop::Ended(self.run_view(key, run)));
            }
            // Noted before anything is stopped, so that nothing is stopped without an audit entry, and a
            // stop whose function dies is not lost. Asked again, there is nothing new to tell.
            let stop = StopRequest { reason: reason.clone(), at: moment.now };
            let entry = match run.stop_requested {
                None => {
                    let changed = changes(&Value::Null, &json!({"reason": reason}));
                    self.entry(&key.team, Target::run(key, id), changed, moment)
                }
                Some(_) => None,
            };
            let due_at = match run.task_arn {
                Some(_) => later(moment.now, PAUSE),
                None => moment.now,
            };
            let noted = self.store.run_request_stop(key, id, &stop, due_at, entry.as_ref()).await?;
            let Some(marked) = noted else { continue };
            if marked.task_arn.is_some() {
                return self.stop_task(key, marked, &stop, moment).await;
            }
            // Whoever is at it will see it; where nobody is, it ends here.
            let run = match Box::pin(self.launch(key, marked.clone(), moment)).await {
                Ok(run) => run,
                Err(error) => {
                    tracing::warn!(job = %key, run = %id, %error, "stop left to the sweeper");
                    marked
                }
            };
            return Ok(Stop::Asked(self.run_view(key, run)));
        }
        Err(Error::Busy(format!("run `{id}`")))
    }

    /// Stops the task of a run that was marked with `stop`. A task that was just started ECS may not find
    /// yet, or not answer: the sweeper asks again until it is stopping. A stop that is refused is taken
    /// back, unless somebody had asked for it before.
    async fn stop_task(
        &self,
        key: &JobKey,
        run: Run,
        stop: &StopRequest,
        moment: Moment,
    ) -> Result<Stop> {
        let task_arn = run.task_arn.as_deref().unwrap_or_default();
        match self.fleet.stop(&run.cluster_arn, task_arn, &stop.reason).await {
            Ok(()) => {}
            Err(error) if error.retryable() => {
                tracing::warn!(job = %key, run = %run.id, %error, "stop left to the sweeper");
            }
            Err(error) => {
                let error = may_not(error);
                if run.stop_requested.as_ref() == Some(stop) {
                    let reason = match &error {
                        Error::Conflict(detail) => detail,
                        _ => "ECS refused to stop the run's task",
                    };
                    let target = Target::run(key, &run.id);
                    // Behind the entry of the stop itself.
                    let now = later(moment.now, SignedDuration::from_millis(1));
                    let moment = Moment { now, ..moment };
                    let entry = self.entry_of_denied(&key.team, target, reason, moment);
                    self.store.run_withdraw_stop(key, &run.id, stop, entry.as_ref()).await?;
                }
                return Err(error);
            }
        }
        Ok(Stop::Asked(self.run_view(key, run)))
    }
}

/// A task that somebody ran without Cronplane, in a cluster that is not the job's own, does not bear
/// the tag that lets Cronplane stop it.
fn may_not(error: Error) -> Error {
    match error {
        Error::Aws(fault) if fault.kind == FaultKind::Denied => {
            tracing::warn!(error = %fault, "a task can't be stopped");
            Error::Conflict(
                "this deployment may not stop the run's task: stop it where it was started"
                    .to_owned(),
            )
        }
        other => other,
    }
}
