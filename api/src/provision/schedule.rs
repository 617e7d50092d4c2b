//! The schedule of EventBridge Scheduler that starts a job's tasks: in its time zone, at its one time, between
//! its dates, within its window.
//!
//! Source: Amazon EventBridge Scheduler API Reference, CreateSchedule and UpdateSchedule.

use async_trait::async_trait;
use aws_sdk_scheduler::operation::get_schedule::GetScheduleOutput;
use aws_sdk_scheduler::primitives::DateTime;
use aws_sdk_scheduler::types::{
    ActionAfterCompletion, DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode,
    RetryPolicy, ScheduleState, Target,
};
use jiff::Timestamp;

use super::start::{EVENT_AGE_SECONDS, Start, ecs_parameters, invalid};
use super::{Changed, Clients, Context, Made, Resource};
use crate::domain::job::ResourceKind;
use crate::domain::schedule::{self as domain, Timing};
use crate::error::{Error, FaultKind, Result, says};

/// What Scheduler puts the time in place of that the schedule meant. EventBridge Scheduler User Guide,
/// "Adding context attributes in EventBridge Scheduler".
const SCHEDULED_TIME: &str = "<aws.scheduler.scheduled-time>";
/// Less than any interval, in seconds.
const LAST_START_SECONDS: i64 = 30;
/// What is said of a role that was made a moment ago and that Scheduler does not know yet.
const ROLE_IS_NEW: &str = "must allow AWS EventBridge Scheduler to assume the role";

pub(super) struct Schedule {
    name: String,
    group: String,
    arn: String,
    description: String,
    timing: Timing,
    /// A start of a rate, from which all are counted.
    anchor: Timestamp,
    enabled: bool,
    /// Whether there is anything left to start. What is past AWS refuses, and an `at` that has started once must
    /// not start again: then there is nothing to write.
    has_starts: bool,
    now: Timestamp,
    start: Start,
    role_arn: String,
    dead_letter_queue_arn: String,
}

impl Schedule {
    pub(super) fn of(context: &Context<'_>) -> Schedule {
        let (job, deployment) = (context.job, context.deployment);
        let name = context.names.schedule_rule.clone();
        let group = deployment.schedule_group.clone();
        let timing = job.timing();
        let anchor = timing.scheduler_anchor(job.scheduled_since).unwrap_or(job.scheduled_since);
        let has_starts = timing.starts(context.now, anchor).next().is_some();
        Schedule {
            arn: deployment.arn("scheduler", &format!("schedule/{group}/{name}")),
            name,
            group,
            description: context.schedule_description(),
            anchor,
            enabled: job.definition.enabled,
            has_starts,
            now: context.now,
            timing,
            start: Start::of(context),
            role_arn: context.events_role_arn(),
            dead_letter_queue_arn: deployment.dead_letter_queue_arn.clone(),
        }
    }

    fn target(&self, made: &Made) -> Result<Target> {
        let target = match &self.start {
            Start::Task { cluster_arn, placement, family } => {
                let revision = made.arn(ResourceKind::TaskDefinition)?;
                Target::builder().arn(cluster_arn).ecs_parameters(ecs_parameters!(
                    aws_sdk_scheduler,
                    placement,
                    family,
                    revision
                ))
            }
            Start::Message { queue_arn, .. } => Target::builder().arn(queue_arn),
        };
        target
            // Of a queue too, and of the dead letters: Scheduler has no leave of its own.
            .role_arn(&self.role_arn)
            .input(self.start.input(SCHEDULED_TIME))
            .retry_policy(
                RetryPolicy::builder()
                    .maximum_event_age_in_seconds(EVENT_AGE_SECONDS)
                    .maximum_retry_attempts(185)
                    .build(),
            )
            .dead_letter_config(
                DeadLetterConfig::builder().arn(&self.dead_letter_queue_arn).build(),
            )
            .build()
            .map_err(invalid)
    }

    fn window(&self) -> Result<FlexibleTimeWindow> {
        let window = match self.timing.bounds.flexible_window_minutes {
            None => FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off),
            Some(minutes) => FlexibleTimeWindow::builder()
                .mode(FlexibleTimeWindowMode::Flexible)
                .maximum_window_in_minutes(i32::try_from(minutes).unwrap_or(i32::MAX)),
        };
        window.build().map_err(invalid)
    }

    /// From when on AWS is to count. A date that is past it refuses, and needs none: but a rate is counted
    /// from it, so that the next start stands for the first.
    fn start_date(&self) -> Option<DateTime> {
        let start = if self.timing.schedule.rate_minutes().is_some() {
            self.timing.starts(self.now, self.anchor).next()
        } else {
            self.timing.bounds.start_date
        };
        start.filter(|start| *start > self.now).map(date_time)
    }

    /// Where there is a start to come, it is before this. A rate that is counted from its last start has the same
    /// time twice, which AWS need not take: it ends before the next one all the same.
    fn end_date(&self) -> Option<DateTime> {
        let end = date_time(self.timing.bounds.end_date?);
        let is_start = self.start_date() == Some(end);
        Some(if is_start { DateTime::from_secs(end.secs() + LAST_START_SECONDS) } else { end })
    }

    /// Whether `found` is this schedule, but for what it starts.
    fn is_timed_as(&self, found: &GetScheduleOutput) -> bool {
        let end = self.timing.bounds.end_date.map(Timestamp::as_second);
        let late =
            |found: i64| end.is_some_and(|end| (end..=end + LAST_START_SECONDS).contains(&found));
        found.schedule_expression() == Some(self.timing.schedule.expression())
            && found.schedule_expression_timezone() == Some(self.timing.zone_name())
            && found.end_date().map_or(end.is_none(), |found| late(found.secs()))
    }

    fn state(&self) -> ScheduleState {
        if self.enabled { ScheduleState::Enabled } else { ScheduleState::Disabled }
    }

    /// Writes all of the schedule that is there.
    async fn update(&self, clients: &Clients, target: Target) -> Result<()> {
        if clients.notes("scheduler:UpdateSchedule", &self.arn) {
            return Ok(());
        }
        clients
            .scheduler
            .update_schedule()
            .name(&self.name)
            .group_name(&self.group)
            .description(&self.description)
            .schedule_expression(self.timing.schedule.expression())
            .schedule_expression_timezone(self.timing.zone_name())
            .set_start_date(self.start_date())
            .set_end_date(self.end_date())
            .flexible_time_window(self.window()?)
            .state(self.state())
            .action_after_completion(ActionAfterCompletion::None)
            .target(target)
            .send()
            .await
            .map(drop)
            .map_err(|error| match says(&error, |error| error.is_conflict_exception()) {
                true => self.busy(),
                false => role_delay(Error::aws("scheduler:UpdateSchedule", error)),
            })
    }

    /// Somebody else is at it at this moment: "can cause an inconsistent state", as Scheduler says.
    fn busy(&self) -> Error {
        Error::Busy(format!("schedule `{}`", self.name))
    }

    async fn create(&self, clients: &Clients, target: Target) -> Result<()> {
        if clients.notes("scheduler:CreateSchedule", &self.arn) {
            return Ok(());
        }
        let created = clients
            .scheduler
            .create_schedule()
            .name(&self.name)
            .group_name(&self.group)
            .description(&self.description)
            .schedule_expression(self.timing.schedule.expression())
            .schedule_expression_timezone(self.timing.zone_name())
            .set_start_date(self.start_date())
            .set_end_date(self.end_date())
            .flexible_time_window(self.window()?)
            .state(self.state())
            .action_after_completion(ActionAfterCompletion::None)
            .target(target)
            .send()
            .await;
        match created {
            Ok(_) => Ok(()),
            // Made between, perhaps by the first of two calls of which the answer was lost.
            Err(error) if says(&error, |error| error.is_conflict_exception()) => Err(self.busy()),
            Err(error) => Err(role_delay(Error::aws("scheduler:CreateSchedule", error))),
        }
    }

    async fn found(&self, clients: &Clients) -> Result<Option<GetScheduleOutput>> {
        let found =
            clients.scheduler.get_schedule().name(&self.name).group_name(&self.group).send().await;
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => Ok(None),
            Err(error) => Err(Error::aws("scheduler:GetSchedule", error)),
        }
    }

    /// Switches the schedule off, and leaves it else as it is; one that is gone is off.
    pub(super) async fn disable(&self, clients: &Clients) -> Result<()> {
        match self.found(clients).await? {
            Some(found) => self.switch_off(clients, found).await,
            None => Ok(()),
        }
    }

    /// Switches off what is there now, but where it has nothing left to start: that AWS need not take.
    async fn switch_off(&self, clients: &Clients, found: GetScheduleOutput) -> Result<()> {
        if found.state == Some(ScheduleState::Disabled)
            || is_over(&found, self.now)
            || clients.notes("scheduler:UpdateSchedule", &self.arn)
        {
            return Ok(());
        }
        // There is no other way to switch one off than to write all of it.
        let updated = clients
            .scheduler
            .update_schedule()
            .name(&self.name)
            .group_name(&self.group)
            .set_description(found.description)
            .set_schedule_expression(found.schedule_expression)
            .set_schedule_expression_timezone(found.schedule_expression_timezone)
            .set_end_date(found.end_date.filter(|end| end.secs() > self.now.as_second()))
            .set_flexible_time_window(found.flexible_time_window)
            .state(ScheduleState::Disabled)
            .set_action_after_completion(found.action_after_completion)
            .set_target(found.target)
            .send()
            .await;
        match updated {
            Ok(_) => Ok(()),
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => Ok(()),
            Err(error) if says(&error, |error| error.is_conflict_exception()) => Err(self.busy()),
            Err(error) => Err(Error::aws("scheduler:UpdateSchedule", error)),
        }
    }
}

/// Whether what is there has nothing left to start after `now`.
fn is_over(found: &GetScheduleOutput, now: Timestamp) -> bool {
    if found.end_date().is_some_and(|end| end.secs() <= now.as_second()) {
        return true;
    }
    let schedule = found.schedule_expression().map(domain::Schedule::parse);
    let zone = found.schedule_expression_timezone().map(domain::Zone::parse);
    match (schedule, zone) {
        (Some(Ok(schedule)), Some(Ok(timezone))) => {
            let bounds = domain::Bounds { timezone, ..domain::Bounds::default() };
            !Timing { schedule, bounds }.starts_again(now)
        }
        _ => false,
    }
}

fn date_time(at: Timestamp) -> DateTime {
    DateTime::from_secs(at.as_second())
}

/// That a role is not known everywhere in IAM yet passes by itself; nothing else does of what Scheduler
/// finds wrong with a schedule.
fn role_delay(error: Error) -> Error {
    match error {
        Error::Aws(mut fault) if fault.message.contains(ROLE_IS_NEW) => {
            fault.kind = FaultKind::Transient;
            Error::Aws(fault)
        }
        other => other,
    }
}

#[async_trait]
impl Resource for Schedule {
    fn kind(&self) -> ResourceKind {
        ResourceKind::Schedule
    }

    fn wanted(&self, made: &Made) -> Vec<String> {
        let Schedule { arn, description, timing, anchor, enabled, role_arn, .. } = self;
        // What is counted from is news only to a rate.
        let anchor = timing.schedule.rate_minutes().map(|_| anchor);
        vec![format!(
            "{arn} {description} {timing:?} {anchor:?} {enabled} {} {role_arn} {}",
            self.start.wanted(made),
            self.dead_letter_queue_arn
        )]
    }

    /// Nobody else's: what is in the stack's group is the stack's.
    async fn ensure(&self, clients: &Clients, made: &Made, _: &Changed) -> Result<String> {
        let target = self.target(made)?;
        match (self.found(clients).await?, self.has_starts) {
            (Some(_), true) => self.update(clients, target).await?,
            (None, true) => self.create(clients, target).await?,
            (Some(found), false) if self.is_timed_as(&found) => {
                if !self.enabled {
                    self.switch_off(clients, found).await?;
                }
            }
            (found, false) => {
                // What stands is of before, and is not wanted any more.
                if let Some(found) = found {
                    self.switch_off(clients, found).await?;
                }
                let message = "its last start passed before the schedule could be made";
                return Err(Error::Conflict(message.to_owned()));
            }
        }
        Ok(self.arn.clone())
    }

    async fn remove(&self, clients: &Clients) -> Result<()> {
        if self.found(clients).await?.is_none()
            || clients.notes("scheduler:DeleteSchedule", &self.arn)
        {
            return Ok(());
        }
        let deleted =
            clients.scheduler.delete_schedule().name(&self.name).group_name(&self.group).send();
        match deleted.await {
            Ok(_) => Ok(()),
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => Ok(()),
            Err(error) if says(&error, |error| error.is_conflict_exception()) => Err(self.busy()),
            Err(error) => Err(Error::aws("scheduler:DeleteSchedule", error)),
        }
    }
}
