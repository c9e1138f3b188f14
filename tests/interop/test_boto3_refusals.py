"""How SQS and SNS refuse attributes and policies, in the words that AWS was reported to use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.interop.test_boto3_sns import make_topic, sns_invalid
from tests.interop.test_boto3_sqs_errors import invalid, redrive
from tests.support.aws_clients import REGION, Refusal, api, name, queue_url, refusal, sns, sqs

__all__ = ["api", "queue_url", "sns", "sqs"]

SQS_ARN = f"arn:aws:sqs:{REGION}:000000000000"
CANNOT_ALLOW = "Amazon SQS can't create the redrive allow policy"

TOO_FEW_OR_MANY = (
    "When you specify the byQueue permission type, you must also specify between 1 and 10 source"
    " queue ARNs."
)
OVER_THE_TOTAL = (
    "numRetries must be greater than or equal to total of numMinDelayRetries, numNoDelayRetries"
    " and numMaxDelayRetries"
)


@pytest.fixture
def topic(sns: Any) -> str:
    return make_topic(sns)


# -- SQS


@pytest.mark.parametrize("bad", ["no-suffix", f"{'x' * 76}.fifo", "a b.fifo"])
def test_names_of_fifo_queues(sqs: Any, bad: str) -> None:
    found = refusal(sqs.create_queue, QueueName=bad, Attributes={"FifoQueue": "true"})
    assert found == invalid(
        "The name of a FIFO queue can only include alphanumeric characters, hyphens, or"
        " underscores, must end with .fifo suffix and be 1 to 80 in length."
    )


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("{}", "Redrive policy does not contain mandatory attribute: maxReceiveCount."),
        (
            '{"maxReceiveCount": 1}',
            "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.",
        ),
        (
            '{"maxReceiveCount": 1, "deadLetterTargetArn": "arn:aws:sns:us-east-1:1:x"}',
            "Only SQS queues are valid resources for deadLetterTargetArn.",
        ),
        (
            redrive("no", 1).replace("}", ', "foo": 1}'),
            "Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].",
        ),
    ],
)
def test_redrive_policies_of_queues(sqs: Any, queue_url: str, policy: str, reason: str) -> None:
    attributes = {"RedrivePolicy": policy}
    found = refusal(sqs.set_queue_attributes, QueueUrl=queue_url, Attributes=attributes)
    assert found == invalid(
        f"Value {policy} for parameter RedrivePolicy is invalid. Reason: {reason}"
    )


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (
            {"redrivePermission": "byQueue"},
            TOO_FEW_OR_MANY,
        ),
        (
            {"redrivePermission": "byQueue", "sourceQueueArns": [f"{SQS_ARN}:x"] * 11},
            TOO_FEW_OR_MANY,
        ),
        (
            {"redrivePermission": "denyAll", "sourceQueueArns": [f"{SQS_ARN}:x"]},
            "You can specify source queue ARNs only when the permission type is byQueue.",
        ),
    ],
)
def test_redrive_allow_policies(
    sqs: Any, queue_url: str, policy: dict[str, Any], reason: str
) -> None:
    text = json.dumps(policy)
    attributes = {"RedriveAllowPolicy": text}
    found = refusal(sqs.set_queue_attributes, QueueUrl=queue_url, Attributes=attributes)
    assert found == invalid(
        f"Value {text} for parameter RedriveAllowPolicy is invalid. Reason: {CANNOT_ALLOW}."
        f" {reason}"
    )


@pytest.mark.parametrize("policy", ["x", "[]", "{}", '{"redrivePermission": "foo"}'])
def test_redrive_allow_policies_of_no_format(sqs: Any, queue_url: str, policy: str) -> None:
    attributes = {"RedriveAllowPolicy": policy}
    found = refusal(sqs.set_queue_attributes, QueueUrl=queue_url, Attributes=attributes)
    assert found == Refusal(
        "InvalidAttributeValue",
        "InvalidAttributeValue",
        400,
        "Invalid value for the parameter RedriveAllowPolicy. Reason:"
        f" {CANNOT_ALLOW}, as it's in an unsupported format.",
    )


def test_throughput_by_group_needs_deduplication_by_group(sqs: Any) -> None:
    attributes = {"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}
    found = refusal(sqs.create_queue, QueueName=f"{name()}.fifo", Attributes=attributes)
    assert found == Refusal(
        "InvalidAttributeValue",
        "InvalidAttributeValue",
        400,
        "Invalid value for the parameter FifoThroughputLimit. Reason: To set FifoThroughputLimit"
        " to perMessageGroupId, the DeduplicationScope must be messageGroup.",
    )


# -- SNS


def test_topics_for_large_messages_have_no_http_subscriptions(sns: Any) -> None:
    large = make_topic(sns, MaximumMessageSize="1048576")
    endpoint = {"Protocol": "http", "Endpoint": "http://127.0.0.1:9/"}
    expected = sns_invalid(
        "MaximumMessageSize greater than 262144 bytes is not supported for the following"
        " protocol: [http]"
    )
    assert refusal(sns.subscribe, TopicArn=large, **endpoint) == expected
    topic = make_topic(sns)
    sns.subscribe(TopicArn=topic, **endpoint)
    size = {"TopicArn": topic, "AttributeName": "MaximumMessageSize"}
    found = refusal(sns.set_topic_attributes, **size, AttributeValue="1048576")
    assert found == expected
    sns.set_topic_attributes(**size, AttributeValue="262144")


@pytest.mark.parametrize("value", ["1023", "1048577", "-1", "abc", "1024.5", "", " 262144 "])
def test_sizes_that_a_topic_cannot_have(sns: Any, topic: str, value: str) -> None:
    reason = f"MaximumMessageSize: {value} is not an integer between 1024 and 1048576 bytes"
    found = refusal(
        sns.set_topic_attributes,
        TopicArn=topic,
        AttributeName="MaximumMessageSize",
        AttributeValue=value,
    )
    assert found == sns_invalid(reason)
    attributes = {"MaximumMessageSize": value}
    found = refusal(sns.create_topic, Name=name("topic"), Attributes=attributes)
    assert found == sns_invalid(f"Attributes Reason: {reason}")


def test_a_display_name_that_is_too_long(sns: Any, topic: str) -> None:
    attributes = {"DisplayName": "x" * 101}
    found = refusal(sns.create_topic, Name=name("topic"), Attributes=attributes)
    assert found == sns_invalid("Attributes Reason: DisplayName")
    found = refusal(
        sns.set_topic_attributes,
        TopicArn=topic,
        AttributeName="DisplayName",
        AttributeValue="x" * 101,
    )
    assert found == sns_invalid("DisplayName")
    sns.create_topic(Name=name("topic"), Attributes={"DisplayName": "x" * 100})


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (
            {"deadLetterTargetArn": f"{SQS_ARN}:x", "maxReceiveCount": 5},
            "invalid JSON. Attribute maxReceiveCount is unknown.",
        ),
        ({}, "Missing deadLetterTargetArn attribute"),
        ({"deadLetterTargetArn": "x"}, "deadLetterTargetArn is an invalid arn"),
        (
            {"deadLetterTargetArn": "arn:aws:sns:us-east-1:000000000000:x"},
            "deadLetterTargetArn must be a SQS queue",
        ),
        ([], "failed to parse JSON."),
    ],
)
def test_redrive_policies_that_are_refused(
    sns: Any, topic: str, policy: object, reason: str
) -> None:
    found = refusal(
        sns.subscribe,
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=f"{SQS_ARN}:x",
        Attributes={"RedrivePolicy": json.dumps(policy)},
    )
    assert found == sns_invalid(f"Attributes Reason: RedrivePolicy: {reason}")


@pytest.mark.parametrize(
    ("retries", "reason"),
    [
        ({"minDelayTarget": 0}, "minDelayTarget must be greater than or equal to 1"),
        ({"maxDelayTarget": 3601}, "maxDelayTarget must be less than or equal to 3600"),
        (
            {"minDelayTarget": 9, "maxDelayTarget": 8},
            "maxDelayTarget must be greater than or equal to minDelayTarget",
        ),
        ({"numRetries": 101}, "numRetries must be less than or equal to 100"),
        ({"numNoDelayRetries": -1}, "numNoDelayRetries must be greater than or equal to 0"),
        (
            {"numRetries": 1, "numMinDelayRetries": 2},
            OVER_THE_TOTAL,
        ),
    ],
)
def test_delivery_policies_that_are_refused(
    sns: Any, topic: str, retries: dict[str, int], reason: str
) -> None:
    found = refusal(
        sns.subscribe,
        TopicArn=topic,
        Protocol="http",
        Endpoint="http://127.0.0.1:9/",
        Attributes={"DeliveryPolicy": json.dumps({"healthyRetryPolicy": retries})},
    )
    assert found == sns_invalid(f"Attributes Reason: DeliveryPolicy: healthyRetryPolicy.{reason}")


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Foo": "x"}, "Unknown attribute Foo"),
        ({"ContentBasedDeduplication": "true"}, "Unknown attribute ContentBasedDeduplication"),
        ({"SignatureVersion": "3"}, "SignatureVersion: Invalid value. Must be 1 or 2."),
        ({"TracingConfig": "On"}, "Invalid tracing config value: On"),
    ],
)
def test_attributes_that_a_new_topic_cannot_have(
    sns: Any, attributes: dict[str, str], reason: str
) -> None:
    found = refusal(sns.create_topic, Name=name("topic"), Attributes=attributes)
    assert found == sns_invalid(f"Attributes Reason: {reason}")


@pytest.mark.parametrize("protocol", ["http", "sms", "email"])
def test_fifo_topics_go_to_queues_only(sns: Any, protocol: str) -> None:
    fifo = make_topic(sns, FifoTopic="true")
    endpoint = {"http": "http://127.0.0.1:9/", "sms": "+15550100", "email": "a@example.org"}
    found = refusal(sns.subscribe, TopicArn=fifo, Protocol=protocol, Endpoint=endpoint[protocol])
    assert found == sns_invalid(f"Invalid protocol type: {protocol}")
