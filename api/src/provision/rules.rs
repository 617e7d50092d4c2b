//! What the schedule rule and the failure rule have in common: how a rule and its one target are
//! put and taken away.

use aws_sdk_eventbridge::types::{DeadLetterConfig, RetryPolicy, RuleState, Tag, Target};

use super::names::TARGET_ID;
use super::tags::Tags;
use super::{Changed, Clients, to_remove};
use crate::error::{AwsFault, Error, FaultKind, Result, says};

/// The parts of a rule that can be applied on their own.
const RULE: usize = 0;
const TARGET: usize = 1;
const TAGS: usize = 2;

/// A rule on the default event bus, the only one that takes schedules.
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) description: String,
    pub(super) trigger: RuleTrigger,
    pub(super) enabled: bool,
    pub(super) tags: Tags,
}

pub(super) enum RuleTrigger {
    Schedule(String),
    /// An event pattern, as JSON.
    Pattern(String),
}

impl Rule {
    /// Everything that `put` applies, as text, in its parts; `target` is all of the target.
    pub(super) fn wanted(&self, target: String) -> Vec<String> {
        let (RuleTrigger::Schedule(trigger) | RuleTrigger::Pattern(trigger)) = &self.trigger;
        let rule = format!("{} {trigger} {} {}", self.arn, self.enabled, self.description);
        vec![rule, target, format!("{:?}", self.tags.as_map())]
    }

    /// Whether the rule is there and ours; `NotOurs` if it is somebody else's. PutRule would
    /// replace a stranger's rule without a word.
    async fn is_there(&self, clients: &Clients) -> Result<bool> {
        match clients.events.list_tags_for_resource().resource_arn(&self.arn).send().await {
            Ok(answer) => {
                if self
                    .tags
                    .own(answer.tags().iter().map(|tag| (Some(tag.key()), Some(tag.value()))))
                {
                    Ok(true)
                } else {
                    Err(Error::NotOurs(format!("EventBridge rule `{}`", self.name)))
                }
            }
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => {
                Ok(false)
            }
            Err(error) => Err(Error::aws("events:ListTagsForResource", error)),
        }
    }

    /// Puts the rule, and its only target, as far as they changed.
    pub(super) async fn put(
        &self,
        clients: &Clients,
        target: Target,
        changed: &Changed,
    ) -> Result<String> {
        let was_there = !changed.part(RULE) || self.put_rule(clients).await?;
        if changed.part(TAGS) && was_there {
            self.tag(clients).await?;
        }
        if changed.part(TARGET) {
            self.put_target(clients, target).await?;
        }
        Ok(self.arn.clone())
    }

    fn tag_list(&self) -> Result<Vec<Tag>> {
        self.tags.try_map(|key, value| Tag::builder().key(key).value(value).build())
    }

    /// Whether the rule was there before.
    async fn put_rule(&self, clients: &Clients) -> Result<bool> {
        let tags = self.tag_list()?;
        let is_there = self.is_there(clients).await?;
        if clients.notes("events:PutRule", &self.arn) {
            return Ok(is_there);
        }
        let put = clients
            .events
            .put_rule()
            .name(&self.name)
            .description(&self.description)
            .state(if self.enabled { RuleState::Enabled } else { RuleState::Disabled })
            // PutRule ignores tags on a rule that exists.
            .set_tags(Some(tags).filter(|_| !is_there));
        let put = match &self.trigger {
            RuleTrigger::Schedule(expression) => put.schedule_expression(expression),
            RuleTrigger::Pattern(pattern) => put.event_pattern(pattern),
        };
        put.send().await.map_err(|error| Error::aws("events:PutRule", error))?;
        Ok(is_there)
    }

    async fn put_target(&self, clients: &Clients, target: Target) -> Result<()> {
        if clients.notes("events:PutTargets", &self.arn) {
            return Ok(());
        }
        let answer = clients
            .events
            .put_targets()
            .rule(&self.name)
            .targets(target)
            .send()
            .await
            .map_err(|error| role_delay(Error::aws("events:PutTargets", error)))?;
        // A refusal can stand inside a success.
        match answer.failed_entries().first() {
            None => Ok(()),
            Some(entry) => {
                Err(failed_entry("events:PutTargets", entry.error_code(), entry.error_message()))
            }
        }
    }

    /// Gives the rule the tags that are wanted and takes off those that no longer are.
    async fn tag(&self, clients: &Clients) -> Result<()> {
        if !clients.notes("events:TagResource", &self.arn) {
            clients
                .events
                .tag_resource()
                .resource_arn(&self.arn)
                .set_tags(Some(self.tag_list()?))
                .send()
                .await
                .map_err(|error| Error::aws("events:TagResource", error))?;
        }
        if let Some(keys) = self.tags.former()
            && !clients.notes("events:UntagResource", &self.arn)
        {
            clients
                .events
                .untag_resource()
                .resource_arn(&self.arn)
                .set_tag_keys(Some(keys))
                .send()
                .await
                .map_err(|error| Error::aws("events:UntagResource", error))?;
        }
        Ok(())
    }

    /// Switches the rule off; one that is gone is off, and one that is not ours stays as it is.
    pub(super) async fn disable(&self, clients: &Clients) -> Result<()> {
        if !to_remove(self.is_there(clients).await)? {
            return Ok(());
        }
        if clients.notes("events:DisableRule", &self.arn) {
            return Ok(());
        }
        match clients.events.disable_rule().name(&self.name).send().await {
            Ok(_) => Ok(()),
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => Ok(()),
            Err(error) => Err(Error::aws("events:DisableRule", error)),
        }
    }

    /// Takes the target and the rule away.
    pub(super) async fn remove(&self, clients: &Clients) -> Result<()> {
        if !to_remove(self.is_there(clients).await)? {
            return Ok(());
        }
        if clients.notes("events:RemoveTargets", &self.arn) {
            clients.notes("events:DeleteRule", &self.arn);
            return Ok(());
        }
        let removed = clients.events.remove_targets().rule(&self.name).ids(TARGET_ID).send().await;
        match removed {
            Ok(answer) => {
                if let Some(entry) = answer.failed_entries().first()
                    && entry.error_code() != Some("ResourceNotFoundException")
                {
                    return Err(failed_entry(
                        "events:RemoveTargets",
                        entry.error_code(),
                        entry.error_message(),
                    ));
                }
            }
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => {
                return Ok(());
            }
            Err(error) => return Err(Error::aws("events:RemoveTargets", error)),
        }
        match clients.events.delete_rule().name(&self.name).send().await {
            Ok(_) => Ok(()),
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => Ok(()),
            Err(error) => Err(Error::aws("events:DeleteRule", error)),
        }
    }
}

/// The retry policy of both targets: a start, and an alert, is tried again for a bounded time.
pub(super) fn retry_policy(event_age_seconds: i32) -> RetryPolicy {
    RetryPolicy::builder()
        .maximum_event_age_in_seconds(event_age_seconds)
        .maximum_retry_attempts(185)
        .build()
}

pub(super) fn dead_letters(queue_arn: &str) -> DeadLetterConfig {
    DeadLetterConfig::builder().arn(queue_arn).build()
}

fn failed_entry(operation: &'static str, code: Option<&str>, message: Option<&str>) -> Error {
    role_delay(Error::Aws(AwsFault::of_code(
        operation,
        code.unwrap_or("Unknown"),
        message.unwrap_or("no message"),
    )))
}

/// A role that was made a moment ago is not known everywhere in IAM yet; that alone, of all that
/// EventBridge refuses, passes by itself.
fn role_delay(error: Error) -> Error {
    match error {
        Error::Aws(mut fault) if fault.message.contains("cannot be assumed by principal") => {
            fault.kind = FaultKind::Transient;
            Error::Aws(fault)
        }
        other => other,
    }
}
