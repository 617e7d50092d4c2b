//! Amazon EventBridge: the default bus.

use std::collections::{BTreeMap, VecDeque};

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::operation::delete_rule::{DeleteRuleInput, DeleteRuleOutput};
use aws_sdk_eventbridge::operation::disable_rule::{DisableRuleInput, DisableRuleOutput};
use aws_sdk_eventbridge::operation::list_rules::{ListRulesInput, ListRulesOutput};
use aws_sdk_eventbridge::operation::list_tags_for_resource::{
    ListTagsForResourceInput, ListTagsForResourceOutput,
};
use aws_sdk_eventbridge::operation::put_events::{PutEventsInput, PutEventsOutput};
use aws_sdk_eventbridge::operation::put_rule::{PutRuleInput, PutRuleOutput};
use aws_sdk_eventbridge::operation::put_targets::{PutTargetsInput, PutTargetsOutput};
use aws_sdk_eventbridge::operation::remove_targets::{RemoveTargetsInput, RemoveTargetsOutput};
use aws_sdk_eventbridge::operation::tag_resource::{TagResourceInput, TagResourceOutput};
use aws_sdk_eventbridge::operation::untag_resource::{UntagResourceInput, UntagResourceOutput};
use aws_sdk_eventbridge::types::{
    PutEventsRequestEntry, PutEventsResultEntry, PutTargetsResultEntry, RuleState, Tag, Target,
};
use aws_smithy_mocks::mock;

use super::{Cloud, Refusal, Standing, State, Tags, arn, client, content_of, page, refusal};

/// Amazon EventBridge quotas: the size of an event pattern.
pub(crate) const PATTERN_MAX: usize = 2048;
/// EventBridge API Reference: names of rules, and ids of targets.
const NAME_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct Events {
    pub(crate) rules: BTreeMap<String, Rule>,
    /// The events that were put, oldest first.
    pub(crate) put: Vec<PutEventsRequestEntry>,
    /// What the next targets with a role are refused with.
    pub(crate) target_refusals: VecDeque<TargetRefusal>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    pub(crate) schedule: Option<String>,
    pub(crate) pattern: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) tags: Tags,
    pub(crate) targets: BTreeMap<String, Target>,
}

#[derive(Clone, Debug)]
pub(crate) struct TargetRefusal {
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
    /// As an entry of a successful answer, not as an error.
    pub(crate) as_entry: bool,
}

impl Events {
    pub(crate) fn standing(&self) -> impl Iterator<Item = (String, Standing)> {
        self.rules.iter().map(|(name, rule)| {
            let tags = rule.tags.clone();
            let content = content_of(rule);
            (format!("rule {name}"), Standing { tags, content })
        })
    }

    fn rule(&mut self, name: Option<&str>) -> Result<&mut Rule, Refusal> {
        let name = name.unwrap();
        self.rules.get_mut(name).ok_or_else(|| {
            refusal(
                "ResourceNotFoundException",
                format!("Rule {name} does not exist on EventBus default."),
            )
        })
    }

    fn rule_of(&mut self, arn_of_rule: Option<&str>) -> Result<&mut Rule, Refusal> {
        self.rule(arn_of_rule.unwrap().strip_prefix(&arn("events", "rule/")))
    }
}

pub(super) fn client(cloud: &Cloud) -> Client {
    client!(
        aws_sdk_eventbridge,
        [
            cloud.read(
                "events:ListTagsForResource",
                mock!(Client::list_tags_for_resource),
                list_tags_for_resource,
            ),
            cloud.read("events:ListRules", mock!(Client::list_rules), list_rules),
            cloud.write("events:PutRule", mock!(Client::put_rule), put_rule),
            cloud.write("events:DisableRule", mock!(Client::disable_rule), disable_rule),
            cloud.write("events:DeleteRule", mock!(Client::delete_rule), delete_rule),
            cloud.write("events:PutTargets", mock!(Client::put_targets), put_targets),
            cloud.write("events:RemoveTargets", mock!(Client::remove_targets), remove_targets,),
            cloud.write("events:PutEvents", mock!(Client::put_events), put_events),
            cloud.write("events:TagResource", mock!(Client::tag_resource), tag_resource),
            cloud.write("events:UntagResource", mock!(Client::untag_resource), untag_resource),
        ]
    )
}

fn list_tags_for_resource(
    state: &mut State,
    input: &ListTagsForResourceInput,
) -> Result<ListTagsForResourceOutput, Refusal> {
    let rule = state.events.rule_of(input.resource_arn())?;
    let tags =
        rule.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build().unwrap());
    Ok(ListTagsForResourceOutput::builder().set_tags(Some(tags.collect())).build())
}

/// In pages of at most 100.
fn list_rules(state: &mut State, input: &ListRulesInput) -> Result<ListRulesOutput, Refusal> {
    let size = input.limit().map_or(100, |limit| usize::try_from(limit).unwrap());
    if !(1..=100).contains(&size) {
        return Err(refusal("ValidationException", "Value at 'limit' is out of bounds."));
    }
    let names: Vec<&String> = state.events.rules.keys().collect();
    let (names, next) = page(&names, input.next_token(), size);
    let rules = names
        .into_iter()
        .map(|name| aws_sdk_eventbridge::types::Rule::builder().name(name).build());
    Ok(ListRulesOutput::builder().set_rules(Some(rules.collect())).set_next_token(next).build())
}

/// Replaces all of the rule but its targets and its tags: those are taken for a new rule only.
fn put_rule(state: &mut State, input: &PutRuleInput) -> Result<PutRuleOutput, Refusal> {
    let name = input.name().unwrap();
    if name.len() > NAME_MAX || input.description().is_some_and(|text| text.len() > 512) {
        return Err(refusal("ValidationException", "A value is too long."));
    }
    if input.event_pattern().is_some_and(|text| text.len() > PATTERN_MAX) {
        return Err(refusal("InvalidEventPatternException", "Event pattern is too long."));
    }
    let new = !state.events.rules.contains_key(name);
    let rule = state.events.rules.entry(name.to_owned()).or_default();
    rule.schedule = input.schedule_expression().map(str::to_owned);
    rule.pattern = input.event_pattern().map(str::to_owned);
    rule.description = input.description().map(str::to_owned);
    rule.enabled = input.state() != Some(&RuleState::Disabled);
    if new {
        let tags = input.tags().iter();
        rule.tags = tags.map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect();
    }
    Ok(PutRuleOutput::builder().rule_arn(arn("events", &format!("rule/{name}"))).build())
}

fn disable_rule(state: &mut State, input: &DisableRuleInput) -> Result<DisableRuleOutput, Refusal> {
    state.events.rule(input.name())?.enabled = false;
    Ok(DisableRuleOutput::builder().build())
}

fn delete_rule(state: &mut State, input: &DeleteRuleInput) -> Result<DeleteRuleOutput, Refusal> {
    let name = input.name().unwrap();
    let has_targets = |rule: &Rule| !rule.targets.is_empty();
    if state.events.rules.get(name).is_some_and(has_targets) {
        return Err(refusal("ValidationException", "Rule can't be deleted since it has targets."));
    }
    // Of a rule that is gone it is no error.
    state.events.rules.remove(name);
    Ok(DeleteRuleOutput::builder().build())
}

fn put_targets(state: &mut State, input: &PutTargetsInput) -> Result<PutTargetsOutput, Refusal> {
    let mut answer = PutTargetsOutput::builder();
    let mut failed = 0;
    state.events.rule(input.rule())?;
    for target in input.targets() {
        if let Some(role) = target.role_arn() {
            if !state.iam.has_role(role) {
                return Err(refusal(
                    "ValidationException",
                    format!("Provided role '{role}' does not exist."),
                ));
            }
            match state.events.target_refusals.pop_front() {
                Some(refused) if refused.as_entry => {
                    failed += 1;
                    answer = answer.failed_entries(
                        PutTargetsResultEntry::builder()
                            .target_id(target.id())
                            .error_code(refused.code)
                            .error_message(refused.message)
                            .build(),
                    );
                    continue;
                }
                Some(refused) => return Err(refusal(refused.code, refused.message)),
                None => {}
            }
        }
        let rule = state.events.rule(input.rule())?;
        rule.targets.insert(target.id().to_owned(), target.clone());
    }
    Ok(answer.failed_entry_count(failed).build())
}

fn remove_targets(
    state: &mut State,
    input: &RemoveTargetsInput,
) -> Result<RemoveTargetsOutput, Refusal> {
    let rule = state.events.rule(input.rule())?;
    for id in input.ids() {
        rule.targets.remove(id);
    }
    Ok(RemoveTargetsOutput::builder().failed_entry_count(0).build())
}

fn put_events(state: &mut State, input: &PutEventsInput) -> Result<PutEventsOutput, Refusal> {
    let mut answer = PutEventsOutput::builder();
    for entry in input.entries() {
        state.events.put.push(entry.clone());
        let id = format!("event-{}", state.events.put.len());
        answer = answer.entries(PutEventsResultEntry::builder().event_id(id).build());
    }
    Ok(answer.failed_entry_count(0).build())
}

/// Adds tags to those that are there.
fn tag_resource(state: &mut State, input: &TagResourceInput) -> Result<TagResourceOutput, Refusal> {
    let rule = state.events.rule_of(input.resource_arn())?;
    let tags = input.tags().iter();
    rule.tags.extend(tags.map(|tag| (tag.key().to_owned(), tag.value().to_owned())));
    Ok(TagResourceOutput::builder().build())
}

/// A key that is not there is no error.
fn untag_resource(
    state: &mut State,
    input: &UntagResourceInput,
) -> Result<UntagResourceOutput, Refusal> {
    let rule = state.events.rule_of(input.resource_arn())?;
    rule.tags.retain(|key, _| !input.tag_keys().contains(key));
    Ok(UntagResourceOutput::builder().build())
}
