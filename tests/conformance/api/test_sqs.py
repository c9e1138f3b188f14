"""What every SQS endpoint does, as far as it can be seen without waiting for minutes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.api.conftest import Endpoint


def code_of(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_a_message_goes_through(endpoint: Endpoint) -> None:
    url = endpoint.queue()
    attributes = {
        "text": {"DataType": "String", "StringValue": "v"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        "number": {"DataType": "Number", "StringValue": "19.12"},
    }
    sent = endpoint.sqs.send_message(
        QueueUrl=url, MessageBody="grüße\r\n", MessageAttributes=attributes
    )
    (message,) = endpoint.receive(url, MessageAttributeNames=["All"])
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == "grüße\r\n"
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageAttributes"] == attributes
    assert endpoint.receive(url) == []
    endpoint.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    endpoint.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


@pytest.mark.moto_differs
def test_nothing_received_has_no_key(endpoint: Endpoint) -> None:
    url = endpoint.queue()
    assert "Messages" not in endpoint.sqs.receive_message(QueueUrl=url)
    assert "Tags" not in endpoint.sqs.list_queue_tags(QueueUrl=url)


def test_visibility_0_gives_back(endpoint: Endpoint) -> None:
    url = endpoint.queue()
    endpoint.sqs.send_message(QueueUrl=url, MessageBody="x")
    (first,) = endpoint.receive(url, AttributeNames=["ApproximateReceiveCount"])
    endpoint.sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0
    )
    (second,) = endpoint.receive(url, AttributeNames=["ApproximateReceiveCount"])
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"


def test_creating_again_is_the_same_queue(endpoint: Endpoint) -> None:
    own = endpoint.name("again")
    create = endpoint.sqs.create_queue
    url = create(QueueName=own, Attributes={"DelaySeconds": "1"})["QueueUrl"]
    assert create(QueueName=own)["QueueUrl"] == url
    found = code_of(create, QueueName=own, Attributes={"DelaySeconds": "2"})
    assert found == "QueueAlreadyExists"


def test_refusals(endpoint: Endpoint) -> None:
    url = endpoint.queue()
    sqs = endpoint.sqs
    assert "NonExistentQueue" in code_of(sqs.get_queue_url, QueueName=endpoint.name("none"))
    assert code_of(sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=11) == (
        "InvalidParameterValue"
    )
    assert code_of(sqs.delete_message, QueueUrl=url, ReceiptHandle="x") == "ReceiptHandleIsInvalid"
    entries = [{"Id": str(n), "MessageBody": "x"} for n in range(11)]
    found = code_of(sqs.send_message_batch, QueueUrl=url, Entries=entries)
    assert found == "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"


def test_a_message_moves_to_the_dead_letters(endpoint: Endpoint) -> None:
    dead = endpoint.queue()
    policy = {"deadLetterTargetArn": endpoint.arn(dead), "maxReceiveCount": "1"}
    url = endpoint.queue(RedrivePolicy=json.dumps(policy), VisibilityTimeout="0")
    sent = endpoint.sqs.send_message(QueueUrl=url, MessageBody="x")
    assert len(endpoint.receive(url)) == 1
    assert endpoint.receive(url) == []
    (message,) = endpoint.receive(dead)
    assert message["MessageId"] == sent["MessageId"]


def test_groups_keep_their_order(endpoint: Endpoint) -> None:
    url = endpoint.queue(fifo=True, ContentBasedDeduplication="true")
    for body in ("a1", "b1", "a2"):
        endpoint.sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=body[0])
    found = [message["Body"] for message in endpoint.receive(url)]
    assert sorted(found) == ["a1", "a2", "b1"]
    assert found.index("a1") < found.index("a2")


def test_a_duplicate_is_answered_and_not_delivered(endpoint: Endpoint) -> None:
    url = endpoint.queue(fifo=True)
    ids = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
    endpoint.sqs.send_message(QueueUrl=url, MessageBody="one", **ids)
    endpoint.sqs.send_message(QueueUrl=url, MessageBody="two", **ids)
    assert [message["Body"] for message in endpoint.receive(url)] == ["one"]


@pytest.mark.moto_differs
def test_a_duplicate_has_the_first_ones_id(endpoint: Endpoint) -> None:
    url = endpoint.queue(fifo=True)
    ids = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
    first = endpoint.sqs.send_message(QueueUrl=url, MessageBody="one", **ids)
    again = endpoint.sqs.send_message(QueueUrl=url, MessageBody="two", **ids)
    assert again["MessageId"] == first["MessageId"]


@pytest.mark.moto_differs
def test_sizes_to_the_byte(endpoint: Endpoint) -> None:
    url = endpoint.queue()
    endpoint.sqs.send_message(QueueUrl=url, MessageBody="a" * 1_048_576)
    found = code_of(endpoint.sqs.send_message, QueueUrl=url, MessageBody="a" * 1_048_577)
    assert found == "InvalidParameterValue"


@pytest.mark.moto_differs
def test_a_second_purge_has_to_wait(endpoint: Endpoint) -> None:
    url = endpoint.queue()
    endpoint.sqs.purge_queue(QueueUrl=url)
    found = code_of(endpoint.sqs.purge_queue, QueueUrl=url)
    assert found == "AWS.SimpleQueueService.PurgeQueueInProgress"
