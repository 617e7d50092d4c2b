//! Amazon CloudWatch Logs.

use std::collections::BTreeMap;

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::operation::create_log_group::{
    CreateLogGroupInput, CreateLogGroupOutput,
};
use aws_sdk_cloudwatchlogs::operation::delete_log_group::{
    DeleteLogGroupInput, DeleteLogGroupOutput,
};
use aws_sdk_cloudwatchlogs::operation::get_log_events::{GetLogEventsInput, GetLogEventsOutput};
use aws_sdk_cloudwatchlogs::operation::list_tags_for_resource::{
    ListTagsForResourceInput, ListTagsForResourceOutput,
};
use aws_sdk_cloudwatchlogs::operation::put_retention_policy::{
    PutRetentionPolicyInput, PutRetentionPolicyOutput,
};
use aws_sdk_cloudwatchlogs::operation::tag_resource::{TagResourceInput, TagResourceOutput};
use aws_sdk_cloudwatchlogs::operation::untag_resource::{UntagResourceInput, UntagResourceOutput};
use aws_sdk_cloudwatchlogs::types::OutputLogEvent;
use aws_smithy_mocks::mock;

use super::{Cloud, Refusal, Standing, State, Tags, arn, client, content_of, refusal};

/// GetLogEvents answers so many events, and so many bytes of messages, at most.
const EVENTS_MAX: usize = 10_000;
const BYTES_MAX: usize = 1024 * 1024;

#[derive(Default)]
pub(crate) struct Logs {
    /// By name.
    pub(crate) groups: BTreeMap<String, LogGroup>,
    /// So many next pages are empty although there is more, as happens.
    pub(crate) empty_pages: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogGroup {
    pub(crate) tags: Tags,
    pub(crate) retention_days: Option<i32>,
    /// Events of each stream: milliseconds since the epoch, and the message.
    pub(crate) streams: BTreeMap<String, Vec<(i64, String)>>,
}

impl Logs {
    pub(crate) fn standing(&self) -> impl Iterator<Item = (String, Standing)> {
        self.groups.iter().map(|(name, group)| {
            let tags = group.tags.clone();
            let content = content_of(group);
            (format!("log group {name}"), Standing { tags, content })
        })
    }

    fn group(&mut self, name: Option<&str>) -> Result<&mut LogGroup, Refusal> {
        self.groups.get_mut(name.unwrap()).ok_or_else(|| {
            refusal("ResourceNotFoundException", "The specified log group does not exist.")
        })
    }
}

pub(super) fn client(cloud: &Cloud) -> Client {
    client!(
        aws_sdk_cloudwatchlogs,
        [
            cloud.read(
                "logs:ListTagsForResource",
                mock!(Client::list_tags_for_resource),
                list_tags_for_resource,
            ),
            cloud.write("logs:CreateLogGroup", mock!(Client::create_log_group), create_log_group,),
            cloud.write("logs:DeleteLogGroup", mock!(Client::delete_log_group), delete_log_group,),
            cloud.write(
                "logs:PutRetentionPolicy",
                mock!(Client::put_retention_policy),
                put_retention_policy,
            ),
            cloud.write("logs:TagResource", mock!(Client::tag_resource), tag_resource),
            cloud.write("logs:UntagResource", mock!(Client::untag_resource), untag_resource),
            cloud.read("logs:GetLogEvents", mock!(Client::get_log_events), get_log_events,),
        ]
    )
}

/// Takes the ARN without `:*` at its end.
fn list_tags_for_resource(
    state: &mut State,
    input: &ListTagsForResourceInput,
) -> Result<ListTagsForResourceOutput, Refusal> {
    let prefix = arn("logs", "log-group:");
    let name = input.resource_arn().unwrap().strip_prefix(&prefix);
    let group = state.logs.group(name)?;
    Ok(ListTagsForResourceOutput::builder()
        .set_tags(Some(group.tags.clone().into_iter().collect()))
        .build())
}

fn create_log_group(
    state: &mut State,
    input: &CreateLogGroupInput,
) -> Result<CreateLogGroupOutput, Refusal> {
    let name = input.log_group_name().unwrap();
    if state.logs.groups.contains_key(name) {
        return Err(refusal(
            "ResourceAlreadyExistsException",
            "The specified log group already exists",
        ));
    }
    let group = LogGroup {
        tags: input.tags().unwrap().clone().into_iter().collect(),
        ..LogGroup::default()
    };
    state.logs.groups.insert(name.to_owned(), group);
    Ok(CreateLogGroupOutput::builder().build())
}

fn delete_log_group(
    state: &mut State,
    input: &DeleteLogGroupInput,
) -> Result<DeleteLogGroupOutput, Refusal> {
    state.logs.group(input.log_group_name())?;
    state.logs.groups.remove(input.log_group_name().unwrap());
    Ok(DeleteLogGroupOutput::builder().build())
}

fn put_retention_policy(
    state: &mut State,
    input: &PutRetentionPolicyInput,
) -> Result<PutRetentionPolicyOutput, Refusal> {
    let group = state.logs.group(input.log_group_name())?;
    group.retention_days = input.retention_in_days();
    Ok(PutRetentionPolicyOutput::builder().build())
}

/// Adds tags to those that are there.
fn tag_resource(state: &mut State, input: &TagResourceInput) -> Result<TagResourceOutput, Refusal> {
    let prefix = arn("logs", "log-group:");
    let group = state.logs.group(input.resource_arn().unwrap().strip_prefix(&prefix))?;
    group.tags.extend(input.tags().unwrap().clone());
    Ok(TagResourceOutput::builder().build())
}

/// A key that is not there is no error.
fn untag_resource(
    state: &mut State,
    input: &UntagResourceInput,
) -> Result<UntagResourceOutput, Refusal> {
    let prefix = arn("logs", "log-group:");
    let group = state.logs.group(input.resource_arn().unwrap().strip_prefix(&prefix))?;
    group.tags.retain(|key, _| !input.tag_keys().contains(key));
    Ok(UntagResourceOutput::builder().build())
}

/// A token is `f` or `b` for its direction, the index of the event that it stands before, and what
/// keeps the tokens of empty pages apart. At the end of its direction it is the one that was given.
fn get_log_events(
    state: &mut State,
    input: &GetLogEventsInput,
) -> Result<GetLogEventsOutput, Refusal> {
    let empty = input.next_token().is_some() && state.logs.empty_pages > 0;
    if empty {
        state.logs.empty_pages -= 1;
    }
    let left = state.logs.empty_pages;
    let group = state.logs.group(input.log_group_name())?;
    let Some(events) = group.streams.get(input.log_stream_name().unwrap()) else {
        return Err(refusal(
            "ResourceNotFoundException",
            "The specified log stream does not exist.",
        ));
    };
    let (forward, position) = match input.next_token() {
        Some(token) => read_token(token, events.len()).ok_or_else(|| {
            refusal("InvalidParameterException", "The specified nextToken is invalid.")
        })?,
        None if input.start_from_head() == Some(true) => (true, 0),
        None => (false, events.len()),
    };
    let limit = input.limit().map_or(EVENTS_MAX, |limit| limit as usize).min(EVENTS_MAX);
    let (from, to) = match (empty, forward) {
        (true, _) => (position, position),
        (false, true) => (position, position + fitting(events[position..].iter(), limit)),
        (false, false) => (position - fitting(events[..position].iter().rev(), limit), position),
    };
    let mut tokens = match empty {
        true => [format!("f/{from}/{left}"), format!("b/{to}/{left}")],
        false => [format!("f/{to}/"), format!("b/{from}/")],
    };
    if let Some(given) = input.next_token().filter(|_| from == to && !empty) {
        tokens[usize::from(!forward)] = given.to_owned();
    }
    let [forward, backward] = tokens;
    let answered = events[from..to].iter().map(|(timestamp, message)| {
        OutputLogEvent::builder().timestamp(*timestamp).message(message).build()
    });
    Ok(GetLogEventsOutput::builder()
        .set_events(Some(answered.collect()))
        .next_forward_token(forward)
        .next_backward_token(backward)
        .build())
}

/// Whether the token goes forward, and from which event on.
fn read_token(token: &str, events: usize) -> Option<(bool, usize)> {
    let parts: Vec<&str> = token.split('/').collect();
    let [direction @ ("f" | "b"), position, _] = parts[..] else {
        return None;
    };
    let position = position.parse().ok().filter(|position| *position <= events)?;
    Some((direction == "f", position))
}

/// How many of `events` fit into one answer.
fn fitting<'a>(events: impl Iterator<Item = &'a (i64, String)>, limit: usize) -> usize {
    let mut bytes = 0;
    let fits = |(_, message): &&(i64, String)| {
        bytes += message.len();
        bytes <= BYTES_MAX
    };
    events.take(limit).take_while(fits).count()
}
