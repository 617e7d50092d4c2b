//! Amazon SNS.

use std::collections::BTreeMap;

use aws_sdk_sns::Client;
use aws_sdk_sns::operation::create_topic::{CreateTopicInput, CreateTopicOutput};
use aws_sdk_sns::operation::delete_topic::{DeleteTopicInput, DeleteTopicOutput};
use aws_sdk_sns::operation::list_subscriptions_by_topic::{
    ListSubscriptionsByTopicInput, ListSubscriptionsByTopicOutput,
};
use aws_sdk_sns::operation::list_tags_for_resource::{
    ListTagsForResourceInput, ListTagsForResourceOutput,
};
use aws_sdk_sns::operation::publish::{PublishInput, PublishOutput};
use aws_sdk_sns::operation::set_topic_attributes::{
    SetTopicAttributesInput, SetTopicAttributesOutput,
};
use aws_sdk_sns::operation::subscribe::{SubscribeInput, SubscribeOutput};
use aws_sdk_sns::operation::tag_resource::{TagResourceInput, TagResourceOutput};
use aws_sdk_sns::operation::unsubscribe::{UnsubscribeInput, UnsubscribeOutput};
use aws_sdk_sns::operation::untag_resource::{UntagResourceInput, UntagResourceOutput};
use aws_sdk_sns::types::{Subscription, Tag};
use aws_smithy_mocks::mock;

use super::{Cloud, Refusal, Standing, State, Tags, arn, client, content_of, page, refusal};

/// ListSubscriptionsByTopic answers so many at most.
const PAGE: usize = 100;

#[derive(Default)]
pub(crate) struct Sns {
    /// By name.
    pub(crate) topics: BTreeMap<String, Topic>,
    /// The endpoints that were sent a message to confirm, one for each time.
    pub(crate) asked_to_confirm: Vec<String>,
    /// What was published, oldest first: the topic's name, and the message.
    pub(crate) published: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) tags: Tags,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Protocol, endpoint, and what stands in the place of the ARN.
    pub(crate) subscriptions: Vec<(String, String, String)>,
}

impl Sns {
    pub(crate) fn standing(&self) -> impl Iterator<Item = (String, Standing)> {
        self.topics.iter().map(|(name, topic)| {
            let tags = topic.tags.clone();
            let content = content_of(topic);
            (format!("topic {name}"), Standing { tags, content })
        })
    }

    /// The topic of an ARN; `missing` is the code of the error when there is none.
    fn topic(&mut self, topic_arn: Option<&str>, missing: &str) -> Result<&mut Topic, Refusal> {
        let name = topic_arn.unwrap().strip_prefix(&arn("sns", "")).unwrap();
        let topic = self.topics.get_mut(name);
        topic.ok_or_else(|| refusal(missing, "Topic does not exist"))
    }
}

fn publish(state: &mut State, input: &PublishInput) -> Result<PublishOutput, Refusal> {
    state.sns.topic(input.topic_arn(), "NotFound")?;
    let name = input.topic_arn().unwrap().rsplit(':').next().unwrap().to_owned();
    state.sns.published.push((name, input.message().unwrap().to_owned()));
    Ok(PublishOutput::builder().message_id("message-1").build())
}

pub(super) fn client(cloud: &Cloud) -> Client {
    client!(
        aws_sdk_sns,
        [
            cloud.read(
                "sns:ListTagsForResource",
                mock!(Client::list_tags_for_resource),
                list_tags_for_resource,
            ),
            cloud.write("sns:Publish", mock!(Client::publish), publish),
            cloud.write("sns:CreateTopic", mock!(Client::create_topic), create_topic),
            cloud.write("sns:DeleteTopic", mock!(Client::delete_topic), delete_topic),
            cloud.write(
                "sns:SetTopicAttributes",
                mock!(Client::set_topic_attributes),
                set_topic_attributes,
            ),
            cloud.read(
                "sns:ListSubscriptionsByTopic",
                mock!(Client::list_subscriptions_by_topic),
                list_subscriptions_by_topic,
            ),
            cloud.write("sns:Subscribe", mock!(Client::subscribe), subscribe),
            cloud.write("sns:Unsubscribe", mock!(Client::unsubscribe), unsubscribe),
            cloud.write("sns:TagResource", mock!(Client::tag_resource), tag_resource),
            cloud.write("sns:UntagResource", mock!(Client::untag_resource), untag_resource),
        ]
    )
}

fn list_tags_for_resource(
    state: &mut State,
    input: &ListTagsForResourceInput,
) -> Result<ListTagsForResourceOutput, Refusal> {
    let topic = state.sns.topic(input.resource_arn(), "ResourceNotFound")?;
    let tags =
        topic.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build().unwrap());
    Ok(ListTagsForResourceOutput::builder().set_tags(Some(tags.collect())).build())
}

/// Answers the topic of that name if there is one with these tags.
fn create_topic(state: &mut State, input: &CreateTopicInput) -> Result<CreateTopicOutput, Refusal> {
    let name = input.name().unwrap();
    let tags = input.tags().iter();
    let tags: Tags = tags.map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect();
    let topic = state
        .sns
        .topics
        .entry(name.to_owned())
        .or_insert_with(|| Topic { tags: tags.clone(), ..Topic::default() });
    if topic.tags != tags {
        return Err(refusal(
            "InvalidParameter",
            "Invalid parameter: Tags Reason: Topic already exists with different tags",
        ));
    }
    Ok(CreateTopicOutput::builder().topic_arn(arn("sns", name)).build())
}

/// Its subscriptions go with it; of a topic that is gone it is no error.
fn delete_topic(state: &mut State, input: &DeleteTopicInput) -> Result<DeleteTopicOutput, Refusal> {
    let name = input.topic_arn().unwrap().strip_prefix(&arn("sns", ""));
    state.sns.topics.remove(name.unwrap());
    Ok(DeleteTopicOutput::builder().build())
}

fn set_topic_attributes(
    state: &mut State,
    input: &SetTopicAttributesInput,
) -> Result<SetTopicAttributesOutput, Refusal> {
    let topic = state.sns.topic(input.topic_arn(), "NotFound")?;
    let name = input.attribute_name().unwrap().to_owned();
    let value = input.attribute_value().unwrap().to_owned();
    topic.attributes.insert(name, value);
    Ok(SetTopicAttributesOutput::builder().build())
}

fn list_subscriptions_by_topic(
    state: &mut State,
    input: &ListSubscriptionsByTopicInput,
) -> Result<ListSubscriptionsByTopicOutput, Refusal> {
    let topic = state.sns.topic(input.topic_arn(), "NotFound")?;
    let all: Vec<Subscription> = topic
        .subscriptions
        .iter()
        .map(|(protocol, endpoint, arn)| {
            Subscription::builder()
                .protocol(protocol)
                .endpoint(endpoint)
                .subscription_arn(arn)
                .build()
        })
        .collect();
    let (some, next) = page(&all, input.next_token(), PAGE);
    Ok(ListSubscriptionsByTopicOutput::builder()
        .set_subscriptions(Some(some))
        .set_next_token(next)
        .build())
}

/// A subscription that is not confirmed yet is asked for again.
fn subscribe(state: &mut State, input: &SubscribeInput) -> Result<SubscribeOutput, Refusal> {
    let topic = state.sns.topic(input.topic_arn(), "NotFound")?;
    let (protocol, endpoint) = (input.protocol().unwrap(), input.endpoint().unwrap());
    let known = topic.subscriptions.iter().find(|(p, e, _)| p == protocol && e == endpoint);
    if known.is_none() {
        let pending = "PendingConfirmation".to_owned();
        topic.subscriptions.push((protocol.to_owned(), endpoint.to_owned(), pending));
    }
    state.sns.asked_to_confirm.push(endpoint.to_owned());
    Ok(SubscribeOutput::builder().build())
}

/// Takes the ARN of a subscription, and nothing that stands in its place.
fn unsubscribe(state: &mut State, input: &UnsubscribeInput) -> Result<UnsubscribeOutput, Refusal> {
    let wanted = input.subscription_arn().unwrap();
    if !wanted.starts_with("arn:") {
        return Err(refusal("InvalidParameter", "Invalid parameter: SubscriptionArn"));
    }
    let mut topics = state.sns.topics.values_mut();
    let found = topics.find_map(|topic| {
        let position = topic.subscriptions.iter().position(|(_, _, arn)| arn == wanted)?;
        Some(topic.subscriptions.remove(position))
    });
    match found {
        Some(_) => Ok(UnsubscribeOutput::builder().build()),
        None => Err(refusal("NotFound", "Subscription does not exist")),
    }
}

/// Adds tags to those that are there.
fn tag_resource(state: &mut State, input: &TagResourceInput) -> Result<TagResourceOutput, Refusal> {
    let topic = state.sns.topic(input.resource_arn(), "ResourceNotFound")?;
    let tags = input.tags().iter();
    topic.tags.extend(tags.map(|tag| (tag.key().to_owned(), tag.value().to_owned())));
    Ok(TagResourceOutput::builder().build())
}

/// A key that is not there is no error.
fn untag_resource(
    state: &mut State,
    input: &UntagResourceInput,
) -> Result<UntagResourceOutput, Refusal> {
    let topic = state.sns.topic(input.resource_arn(), "ResourceNotFound")?;
    topic.tags.retain(|key, _| !input.tag_keys().contains(key));
    Ok(UntagResourceOutput::builder().build())
}
