"""What every SNS endpoint does with queues."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.conformance.api.conftest import Endpoint


def topic_of(endpoint: Endpoint) -> str:
    return str(endpoint.sns.create_topic(Name=endpoint.name("topic"))["TopicArn"])


def subscribed(endpoint: Endpoint, topic: str, **attributes: str) -> str:
    """The URL of a new queue that gets what is published."""
    url = endpoint.queue()
    arn = endpoint.arn(url)
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    endpoint.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    endpoint.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
    return url


def test_an_envelope(endpoint: Endpoint) -> None:
    topic = topic_of(endpoint)
    url = subscribed(endpoint, topic)
    sent = endpoint.sns.publish(TopicArn=topic, Message="text", Subject="subject")
    (message,) = endpoint.receive(url)
    envelope = json.loads(message["Body"])
    assert envelope["Type"] == "Notification"
    assert envelope["MessageId"] == sent["MessageId"]
    assert envelope["TopicArn"] == topic
    assert (envelope["Subject"], envelope["Message"]) == ("subject", "text")
    assert {"Timestamp", "Signature", "SigningCertURL", "UnsubscribeURL"} <= set(envelope)


def test_raw_delivery(endpoint: Endpoint) -> None:
    topic = topic_of(endpoint)
    url = subscribed(endpoint, topic, RawMessageDelivery="true")
    attributes = {"a": {"DataType": "String", "StringValue": "v"}}
    endpoint.sns.publish(TopicArn=topic, Message="text", MessageAttributes=attributes)
    (message,) = endpoint.receive(url, MessageAttributeNames=["All"])
    assert message["Body"] == "text"
    assert message["MessageAttributes"] == attributes


def test_a_filter_policy(endpoint: Endpoint) -> None:
    topic = topic_of(endpoint)
    policy = json.dumps({"kind": ["a", {"prefix": "b-"}]})
    url = subscribed(endpoint, topic, RawMessageDelivery="true", FilterPolicy=policy)
    for kind in ("a", "b-1", "c"):
        attributes = {"kind": {"DataType": "String", "StringValue": kind}}
        endpoint.sns.publish(TopicArn=topic, Message=kind, MessageAttributes=attributes)
    found = endpoint.receive(url)
    assert sorted(message["Body"] for message in found) == ["a", "b-1"]


def test_a_topic_that_is_not_there(endpoint: Endpoint) -> None:
    topic = topic_of(endpoint)
    with pytest.raises(ClientError) as caught:
        endpoint.sns.publish(TopicArn=f"{topic}-not", Message="x")
    assert caught.value.response["Error"]["Code"] == "NotFound"
