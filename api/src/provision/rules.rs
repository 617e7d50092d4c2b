//! What the schedule rule and the failure rule have in common: how a rule and its one target are
//! put and taken away.

use aws_sdk_eventbridge::types::{DeadLetterConfig, RetryPolicy, RuleState, Tag, Target};

use super::names::TARGET_ID;
use super::tags::Tags;
use super::{Clients, to_remove};
use crate::error::{AwsFault, Error, FaultKind, Result, says};

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
    /// Everything of the rule itself that `put` applies, as text.
    pub(super) fn wanted(&self) -> String {
        let (RuleTrigger::Schedule(trigger) | RuleTrigger::Pattern(trigger)) = &self.trigger;
        format!(
            "{} {trigger} {} {} {:?}",
            self.arn,
            self.enabled,
            self.description,
            self.tags.as_map()
        )
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

    /// Puts the rule and its only target.
    pub(super) async fn put(&self, clients: &Clients, target: Target) -> Result<String> {
        let tags: std::result::Result<Vec<Tag>, _> = self
            .tags
            .map(|key, value| Tag::builder().key(key).value(value).build())
            .into_iter()
            .collect();
        // PutRule ignores tags on a rule that exists.
        let tags = match self.is_there(clients).await? {
            true => None,
            false => Some(tags.map_err(|error| Error::Internal(error.to_string()))?),
        };
        let put = clients
            .events
            .put_rule()
            .name(&self.name)
            .description(&self.description)
            .state(if self.enabled { RuleState::Enabled } else { RuleState::Disabled })
            .set_tags(tags);
        let put = match &self.trigger {
            RuleTrigger::Schedule(expression) => put.schedule_expression(expression),
            RuleTrigger::Pattern(pattern) => put.event_pattern(pattern),
        };
        put.send().await.map_err(|error| Error::aws("events:PutRule", error))?;
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
            None => Ok(self.arn.clone()),
            Some(entry) => {
                Err(failed_entry("events:PutTargets", entry.error_code(), entry.error_message()))
            }
        }
    }

    /// Switches the rule off; one that is gone is off, and one that is not ours stays as it is.
    pub(super) async fn disable(&self, clients: &Clients) -> Result<()> {
        if !to_remove(self.is_there(clients).await)? {
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
