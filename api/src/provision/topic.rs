//! The SNS topic through which a team is told of failures, its policy and its subscriptions.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_sns::types::Tag;
use serde_json::json;

use super::tags::Tags;
use super::{Changed, Clients, Context, Made, Resource, to_remove};
use crate::domain::job::{ResourceKind, Subscriber, Subscription, SubscriptionState};
use crate::error::{Error, Result, says};

/// What SNS gives as the ARN of a subscription that nobody confirmed yet.
const PENDING: &str = "PendingConfirmation";
/// Or, a short while after the two days in which it could be confirmed.
const DELETED: &str = "Deleted";

/// The parts that can be applied on their own.
const TOPIC: usize = 0;
const SUBSCRIPTIONS: usize = 1;

pub(super) struct Topic {
    name: String,
    arn: String,
    policy: String,
    subscribers: Vec<Subscriber>,
    former_subscribers: BTreeSet<Subscriber>,
    tags: Tags,
}

impl Topic {
    pub(super) fn of(context: &Context<'_>) -> Topic {
        let arn = context.deployment.arn("sns", &context.names.topic);
        // EventBridge User Guide, "Amazon SNS permissions": the rule's ARN and the account keep
        // other rules, and other accounts, out. Where the stack has one rule for all jobs, its function publishes
        // by its own role, which in one account is enough.
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Sid": "FailureRule",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sns:Publish",
                "Resource": arn,
                "Condition": {
                    "ArnEquals": {"aws:SourceArn": context.rule_arn(&context.names.failure_rule)},
                    "StringEquals": {"aws:SourceAccount": context.deployment.account},
                },
            }],
        });
        Topic {
            name: context.names.topic.clone(),
            arn,
            policy: policy.to_string(),
            subscribers: context.job.definition.subscribers.clone(),
            former_subscribers: context.job.former.subscribers.clone(),
            tags: context.tags.clone(),
        }
    }

    /// Whether the topic is there and ours; `NotOurs` if it is somebody else's.
    async fn is_there(&self, clients: &Clients) -> Result<bool> {
        match clients.sns.list_tags_for_resource().resource_arn(&self.arn).send().await {
            Ok(answer) => {
                if self
                    .tags
                    .own(answer.tags().iter().map(|tag| (Some(tag.key()), Some(tag.value()))))
                {
                    Ok(true)
                } else {
                    Err(Error::NotOurs(format!("SNS topic `{}`", self.name)))
                }
            }
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => {
                Ok(false)
            }
            Err(error) => Err(Error::aws("sns:ListTagsForResource", error)),
        }
    }

    /// Every subscription that SNS has of this topic: protocol, endpoint and ARN.
    async fn listed(&self, clients: &Clients) -> Result<Vec<(String, String, String)>> {
        let mut listed = Vec::new();
        // One that a dry run would have made has none.
        if clients.dry_run.is_some() && !self.is_there(clients).await? {
            return Ok(listed);
        }
        let mut next = None;
        loop {
            let page = clients
                .sns
                .list_subscriptions_by_topic()
                .topic_arn(&self.arn)
                .set_next_token(next)
                .send()
                .await
                .map_err(|error| Error::aws("sns:ListSubscriptionsByTopic", error))?;
            for one in page.subscriptions() {
                listed.push((
                    one.protocol().unwrap_or_default().to_owned(),
                    one.endpoint().unwrap_or_default().to_owned(),
                    one.subscription_arn().unwrap_or_default().to_owned(),
                ));
            }
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(listed);
            }
        }
    }

    /// The job's subscribers, each with what SNS says of it now.
    pub(super) async fn subscriptions(&self, clients: &Clients) -> Result<Vec<Subscription>> {
        if self.subscribers.is_empty() {
            return Ok(Vec::new());
        }
        let listed = self.listed(clients).await?;
        Ok(self
            .subscribers
            .iter()
            .map(|subscriber| {
                let found = listed.iter().find(|(protocol, endpoint, arn)| {
                    is_of(subscriber, protocol, endpoint) && arn != DELETED
                });
                let state = match found {
                    None => SubscriptionState::Missing,
                    Some((_, _, arn)) if arn == PENDING => SubscriptionState::Pending,
                    Some(_) => SubscriptionState::Confirmed,
                };
                Subscription { subscriber: subscriber.clone(), state }
            })
            .collect())
    }

    /// Asks those to confirm again of whose subscription SNS knows nothing any more.
    pub(super) async fn subscribe_missing(&self, clients: &Clients) -> Result<()> {
        for subscription in self.subscriptions(clients).await? {
            if subscription.state == SubscriptionState::Missing {
                self.subscribe(clients, &subscription.subscriber).await?;
            }
        }
        Ok(())
    }

    /// Ends the subscriptions that earlier definitions asked for and this one does not. Others of
    /// the topic are not ours; one that nobody confirmed has no ARN, and runs out by itself.
    async fn unsubscribe_former(&self, clients: &Clients) -> Result<()> {
        if self.former_subscribers.is_empty() {
            return Ok(());
        }
        for (protocol, endpoint, arn) in self.listed(clients).await? {
            let former = self.former_subscribers.iter().any(|one| is_of(one, &protocol, &endpoint));
            if !former || arn == PENDING || arn == DELETED {
                continue;
            }
            if clients.notes("sns:Unsubscribe", &arn) {
                continue;
            }
            match clients.sns.unsubscribe().subscription_arn(arn).send().await {
                Ok(_) => {}
                Err(error) if says(&error, |error| error.is_not_found_exception()) => {}
                Err(error) => return Err(Error::aws("sns:Unsubscribe", error)),
            }
        }
        Ok(())
    }

    async fn put_topic(&self, clients: &Clients) -> Result<()> {
        let tags = self.tags.try_map(|key, value| Tag::builder().key(key).value(value).build())?;
        if self.is_there(clients).await? {
            if !clients.notes("sns:TagResource", &self.arn) {
                clients
                    .sns
                    .tag_resource()
                    .resource_arn(&self.arn)
                    .set_tags(Some(tags))
                    .send()
                    .await
                    .map_err(|error| Error::aws("sns:TagResource", error))?;
            }
            if let Some(keys) = self.tags.former()
                && !clients.notes("sns:UntagResource", &self.arn)
            {
                clients
                    .sns
                    .untag_resource()
                    .resource_arn(&self.arn)
                    .set_tag_keys(Some(keys))
                    .send()
                    .await
                    .map_err(|error| Error::aws("sns:UntagResource", error))?;
            }
        } else if !clients.notes("sns:CreateTopic", &self.arn) {
            clients
                .sns
                .create_topic()
                .name(&self.name)
                .set_tags(Some(tags))
                .send()
                .await
                .map_err(|error| Error::aws("sns:CreateTopic", error))?;
        }
        if clients.notes("sns:SetTopicAttributes", &self.arn) {
            return Ok(());
        }
        clients
            .sns
            .set_topic_attributes()
            .topic_arn(&self.arn)
            .attribute_name("Policy")
            .attribute_value(&self.policy)
            .send()
            .await
            .map(drop)
            .map_err(|error| Error::aws("sns:SetTopicAttributes", error))
    }

    async fn subscribe(&self, clients: &Clients, subscriber: &Subscriber) -> Result<()> {
        if clients.notes("sns:Subscribe", &subscriber.endpoint) {
            return Ok(());
        }
        clients
            .sns
            .subscribe()
            .topic_arn(&self.arn)
            .protocol(subscriber.protocol.as_str())
            .endpoint(&subscriber.endpoint)
            .return_subscription_arn(true)
            .send()
            .await
            .map(drop)
            .map_err(|error| Error::aws("sns:Subscribe", error))
    }
}

fn is_of(subscriber: &Subscriber, protocol: &str, endpoint: &str) -> bool {
    subscriber.protocol.as_str() == protocol && subscriber.endpoint == endpoint
}

#[async_trait]
impl Resource for Topic {
    fn kind(&self) -> ResourceKind {
        ResourceKind::Topic
    }

    fn wanted(&self, _: &Made) -> Vec<String> {
        vec![
            format!("{} {} {:?}", self.arn, self.policy, self.tags.as_map()),
            format!("{:?}", self.subscribers),
        ]
    }

    async fn ensure(&self, clients: &Clients, _: &Made, changed: &Changed) -> Result<String> {
        if changed.part(TOPIC) {
            self.put_topic(clients).await?;
        }
        if changed.part(SUBSCRIPTIONS) {
            // A second Subscribe of an endpoint that has not confirmed sends it another message:
            // only what SNS does not list is asked for.
            self.subscribe_missing(clients).await?;
            self.unsubscribe_former(clients).await?;
        }
        Ok(self.arn.clone())
    }

    async fn remove(&self, clients: &Clients) -> Result<()> {
        if !to_remove(self.is_there(clients).await)? {
            return Ok(());
        }
        if clients.notes("sns:DeleteTopic", &self.arn) {
            return Ok(());
        }
        // Its subscriptions go with it; that of a topic which is gone is no error to SNS.
        clients
            .sns
            .delete_topic()
            .topic_arn(&self.arn)
            .send()
            .await
            .map(drop)
            .map_err(|error| Error::aws("sns:DeleteTopic", error))
    }
}
