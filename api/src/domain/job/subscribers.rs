//! Subscribers: who is told when a run fails.

use super::bounds::{SUBSCRIBERS_MAX, is_email, is_endpoint_arn, is_https_url};
use super::definition::{Protocol, Subscriber};
use crate::domain::deployment::Deployment;
use crate::domain::fields::Fields;
use crate::domain::violation::ViolationCode::{Duplicate, Format, NotAllowed, Range};

/// Protocol and endpoint of each subscriber, as they were given.
pub(in crate::domain) type GivenSubscribers = Vec<(Option<String>, Option<String>)>;

pub(in crate::domain) fn given_subscribers(fields: &mut Fields<'_>) -> Option<GivenSubscribers> {
    fields
        .object("notifications", |notifications| {
            notifications.objects("subscribers", |one| {
                let protocol = one.string("protocol");
                let endpoint = one.string("endpoint");
                (one.required("protocol", protocol), one.required("endpoint", endpoint))
            })
        })
        .flatten()
}

/// The subscribers that stand at `notifications/subscribers`.
pub(in crate::domain) fn read_subscribers(
    fields: &mut Fields<'_>,
    given: GivenSubscribers,
    deployment: &Deployment,
) -> Vec<Subscriber> {
    const LIST: &str = "notifications/subscribers";
    if given.len() > SUBSCRIBERS_MAX {
        fields.violation_at(
            LIST,
            Range,
            format!("at most {SUBSCRIBERS_MAX} subscribers, not {}", given.len()),
        );
        return Vec::new();
    }
    let mut subscribers: Vec<Subscriber> = Vec::with_capacity(given.len());
    for (index, (protocol, endpoint)) in given.into_iter().enumerate() {
        let protocol = protocol.and_then(|text| match text.as_str() {
            "email" => Some(Protocol::Email),
            "https" => Some(Protocol::Https),
            "sqs" => Some(Protocol::Sqs),
            "lambda" => Some(Protocol::Lambda),
            _ => {
                fields.violation_at(
                    &format!("{LIST}/{index}/protocol"),
                    NotAllowed,
                    "must be `email`, `https`, `sqs` or `lambda`",
                );
                None
            }
        });
        let (Some(protocol), Some(endpoint)) = (protocol, endpoint) else {
            continue;
        };
        let (good, wanted) = match protocol {
            Protocol::Email => (is_email(&endpoint), "an address such as `team@example.com`"),
            Protocol::Https => (
                is_https_url(&endpoint),
                "a URL that starts with `https://`, without user name and password",
            ),
            Protocol::Sqs => (
                is_endpoint_arn(&endpoint, "sqs", deployment),
                "the ARN of a standard queue, which must let this job's topic send to it",
            ),
            Protocol::Lambda => (
                is_endpoint_arn(&endpoint, "lambda", deployment),
                "the ARN of a function, which must let this job's topic invoke it",
            ),
        };
        if !good {
            fields.violation_at(
                &format!("{LIST}/{index}/endpoint"),
                Format,
                format!("must be {wanted}"),
            );
        }
        let subscriber = Subscriber { protocol, endpoint };
        if subscribers.contains(&subscriber) {
            fields.violation_at(&format!("{LIST}/{index}"), Duplicate, "is named twice");
        } else {
            subscribers.push(subscriber);
        }
    }
    subscribers
}
