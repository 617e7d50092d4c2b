//! Amazon EventBridge Scheduler: the stack's schedule group.

use std::collections::{BTreeMap, VecDeque};

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::operation::create_schedule::{CreateScheduleInput, CreateScheduleOutput};
use aws_sdk_scheduler::operation::delete_schedule::{DeleteScheduleInput, DeleteScheduleOutput};
use aws_sdk_scheduler::operation::get_schedule::{GetScheduleInput, GetScheduleOutput};
use aws_sdk_scheduler::operation::list_schedules::{ListSchedulesInput, ListSchedulesOutput};
use aws_sdk_scheduler::operation::update_schedule::{UpdateScheduleInput, UpdateScheduleOutput};
use aws_sdk_scheduler::primitives::DateTime;
use aws_sdk_scheduler::types::{FlexibleTimeWindow, ScheduleState, ScheduleSummary, Target};
use aws_smithy_mocks::mock;

use super::{Cloud, Refusal, Standing, State, Tags, arn, client, content_of, page, refusal};

/// The group that the stack has.
pub(crate) const GROUP: &str = "cronplane-group";
/// EventBridge Scheduler API Reference, CreateSchedule.
const NAME_MAX: usize = 64;
const DESCRIPTION_MAX: usize = 512;

#[derive(Default)]
pub(crate) struct Scheduler {
    pub(crate) schedules: BTreeMap<String, Schedule>,
    /// So many are in another group.
    pub(crate) foreign: usize,
    /// What the next schedules are refused with.
    pub(crate) refusals: VecDeque<&'static str>,
}

#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) expression: String,
    pub(crate) timezone: Option<String>,
    pub(crate) start_date: Option<DateTime>,
    pub(crate) end_date: Option<DateTime>,
    pub(crate) window: FlexibleTimeWindow,
    pub(crate) enabled: bool,
    pub(crate) description: Option<String>,
    pub(crate) target: Target,
    client_token: Option<String>,
}

impl Scheduler {
    /// A group has tags; its schedules have none.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (String, Standing)> {
        self.schedules.iter().map(|(name, schedule)| {
            // That of a lost call and of the next one are different.
            let content = content_of(&Schedule { client_token: None, ..schedule.clone() });
            (format!("schedule {name}"), Standing { tags: Tags::new(), content })
        })
    }
}

pub(super) fn client(cloud: &Cloud) -> Client {
    client!(
        aws_sdk_scheduler,
        [
            cloud.read("scheduler:GetSchedule", mock!(Client::get_schedule), get_schedule),
            cloud.read("scheduler:ListSchedules", mock!(Client::list_schedules), list_schedules),
            cloud.write(
                "scheduler:CreateSchedule",
                mock!(Client::create_schedule),
                create_schedule
            ),
            cloud.write(
                "scheduler:UpdateSchedule",
                mock!(Client::update_schedule),
                update_schedule
            ),
            cloud.write(
                "scheduler:DeleteSchedule",
                mock!(Client::delete_schedule),
                delete_schedule
            ),
        ]
    )
}

fn not_found(name: &str) -> Refusal {
    refusal("ResourceNotFoundException", format!("Schedule {name} does not exist."))
}

fn arn_of(name: &str) -> String {
    arn("scheduler", &format!("schedule/{GROUP}/{name}"))
}

/// What Scheduler finds wrong with a schedule.
fn check(state: &mut State, name: &str, schedule: &Schedule) -> Result<(), Refusal> {
    let too_long = name.len() > NAME_MAX
        || schedule.description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_MAX);
    if too_long {
        return Err(refusal("ValidationException", "A value is too long."));
    }
    if !state.iam.has_role(schedule.target.role_arn()) {
        let message = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.";
        return Err(refusal("ValidationException", message));
    }
    match state.scheduler.refusals.pop_front() {
        Some(message) => Err(refusal("ValidationException", message)),
        None => Ok(()),
    }
}

fn create_schedule(
    state: &mut State,
    input: &CreateScheduleInput,
) -> Result<CreateScheduleOutput, Refusal> {
    assert_eq!(input.group_name(), Some(GROUP));
    let name = input.name().unwrap();
    let done = || CreateScheduleOutput::builder().schedule_arn(arn_of(name)).build().unwrap();
    let schedule = Schedule {
        expression: input.schedule_expression().unwrap().to_owned(),
        timezone: input.schedule_expression_timezone().map(str::to_owned),
        start_date: input.start_date().copied(),
        end_date: input.end_date().copied(),
        window: input.flexible_time_window().unwrap().clone(),
        enabled: input.state() != Some(&ScheduleState::Disabled),
        description: input.description().map(str::to_owned),
        target: input.target().unwrap().clone(),
        client_token: input.client_token().map(str::to_owned),
    };
    check(state, name, &schedule)?;
    match state.scheduler.schedules.get(name) {
        Some(known) if known.client_token == schedule.client_token => Ok(done()),
        Some(_) => Err(refusal("ConflictException", format!("Schedule {name} already exists."))),
        None => {
            state.scheduler.schedules.insert(name.to_owned(), schedule);
            Ok(done())
        }
    }
}

/// Replaces all of it: what is left out goes back to its default.
fn update_schedule(
    state: &mut State,
    input: &UpdateScheduleInput,
) -> Result<UpdateScheduleOutput, Refusal> {
    assert_eq!(input.group_name(), Some(GROUP));
    let name = input.name().unwrap();
    let Some(known) = state.scheduler.schedules.get(name) else { return Err(not_found(name)) };
    let schedule = Schedule {
        expression: input.schedule_expression().unwrap().to_owned(),
        timezone: input.schedule_expression_timezone().map(str::to_owned),
        start_date: input.start_date().copied(),
        end_date: input.end_date().copied(),
        window: input.flexible_time_window().unwrap().clone(),
        enabled: input.state() != Some(&ScheduleState::Disabled),
        description: input.description().map(str::to_owned),
        target: input.target().unwrap().clone(),
        client_token: known.client_token.clone(),
    };
    check(state, name, &schedule)?;
    state.scheduler.schedules.insert(name.to_owned(), schedule);
    Ok(UpdateScheduleOutput::builder().schedule_arn(arn_of(name)).build().unwrap())
}

fn get_schedule(state: &mut State, input: &GetScheduleInput) -> Result<GetScheduleOutput, Refusal> {
    let name = input.name().unwrap();
    let known = state.scheduler.schedules.get(name).ok_or_else(|| not_found(name))?;
    let enabled = if known.enabled { ScheduleState::Enabled } else { ScheduleState::Disabled };
    Ok(GetScheduleOutput::builder()
        .arn(arn_of(name))
        .name(name)
        .group_name(GROUP)
        .schedule_expression(&known.expression)
        .set_schedule_expression_timezone(known.timezone.clone())
        .set_start_date(known.start_date)
        .set_end_date(known.end_date)
        .flexible_time_window(known.window.clone())
        .state(enabled)
        .set_description(known.description.clone())
        .target(known.target.clone())
        .build())
}

/// Of all groups: there is another one in the account, with schedules of somebody else.
fn list_schedules(
    state: &mut State,
    input: &ListSchedulesInput,
) -> Result<ListSchedulesOutput, Refusal> {
    let foreign = (0..state.scheduler.foreign).map(|_| "default");
    let groups: Vec<&str> =
        state.scheduler.schedules.keys().map(|_| GROUP).chain(foreign).collect();
    let size = usize::try_from(input.max_results().unwrap_or(100)).unwrap();
    let (groups, next) = page(&groups, input.next_token(), size);
    let schedules =
        groups.iter().map(|group| ScheduleSummary::builder().group_name(*group).build());
    Ok(ListSchedulesOutput::builder()
        .set_schedules(Some(schedules.collect()))
        .set_next_token(next)
        .build()
        .unwrap())
}

fn delete_schedule(
    state: &mut State,
    input: &DeleteScheduleInput,
) -> Result<DeleteScheduleOutput, Refusal> {
    let name = input.name().unwrap();
    match state.scheduler.schedules.remove(name) {
        Some(_) => Ok(DeleteScheduleOutput::builder().build()),
        None => Err(not_found(name)),
    }
}
