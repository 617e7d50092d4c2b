"""SNS: a subscription is pending until its endpoint confirms it.

Deliveries over https trust the authorities in SSL_CERT_FILE, as Python does. Not modelled: the topic
policy, signatures, and a second attempt of a failed delivery.
"""

import asyncio

from ministack.services import sns

from .mending import mend

PENDING = "PendingConfirmation"


def _subscription(topic, protocol, endpoint):
    for subscription in topic["subscriptions"]:
        if (subscription["protocol"], subscription["endpoint"]) == (protocol, endpoint):
            return subscription
    return None


@mend(sns, "_subscribe")
def subscribing_asks_for_confirmation(original, params):
    """MiniStack takes an email address as confirmed, answers a second Subscribe of a pending endpoint with
    its ARN, sends nothing then, and does not know ReturnSubscriptionArn."""
    topic, _ = sns._get_topic(sns._p(params, "TopicArn"))
    protocol, endpoint = sns._p(params, "Protocol"), sns._p(params, "Endpoint")
    again = topic is not None and _subscription(topic, protocol, endpoint) is not None
    response = original(params)
    if response[0] != 200:
        return response
    subscription = _subscription(topic, protocol, endpoint)
    if not again and protocol in ("email", "email-json"):
        subscription["confirmed"] = False
        subscription["token"] = sns.new_uuid()
        subscription["attributes"] |= {"PendingConfirmation": "true", "ConfirmationWasAuthenticated": "false"}
        sns._refresh_subscription_counts(topic)
    if again and not subscription["confirmed"] and protocol in ("http", "https"):
        asyncio.ensure_future(sns._send_subscription_confirmation(topic["arn"], subscription))
    told = subscription["confirmed"] or sns._p(params, "ReturnSubscriptionArn") == "true"
    arn = subscription["arn"] if told else "pending confirmation"
    return sns._xml(200, "SubscribeResponse",
                    f"<SubscribeResult><SubscriptionArn>{arn}</SubscriptionArn></SubscribeResult>")


def _hide_pending_arns(response):
    """Lists name a pending subscription `PendingConfirmation`; its ARN comes with the confirmation."""
    status, headers, body = response
    text = body.decode() if isinstance(body, bytes) else body
    for topic in sns._topics.all_values():
        for subscription in topic["subscriptions"]:
            if not subscription["confirmed"]:
                text = text.replace(f"<SubscriptionArn>{subscription['arn']}<", f"<SubscriptionArn>{PENDING}<")
    return status, headers, text.encode()


@mend(sns, "_list_subscriptions_by_topic")
def pending_subscriptions_of_a_topic_are_listed_so(original, params):
    return _hide_pending_arns(original(params))


@mend(sns, "_list_subscriptions")
def pending_subscriptions_are_listed_so(original, params):
    return _hide_pending_arns(original(params))


@mend(sns, "_resolve_topic_tag_arn")
def unknown_topic_has_the_error_of_the_api_model(original, arn, action):
    """The tag calls answer ResourceNotFound, which SDKs know; MiniStack's ResourceNotFoundException is the
    name of the shape, not the code."""
    arn, topic, error = original(arn, action)
    if error is not None and error[0] == 404:
        error = sns._error("ResourceNotFound", "Resource does not exist", 404)
    return arn, topic, error
