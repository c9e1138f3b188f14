"""First-in-first-out queues through boto3: order, groups, deduplication; on any day."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.api import ApiOptions
from bridge.api.simulation import Faults
from tests.support.aws_api import RunningApi, running_api
from tests.support.aws_clients import Refusal, fifo_url, name, refusal, sqs

__all__ = ["fifo_url", "sqs"]

OF_STANDARD_QUEUES = Faults(
    duplicate_rate=1.0,
    duplicate_seconds=1.0,
    reorder_rate=1.0,
    reorder_seconds=1.0,
    partial_receive_rate=1.0,
    slow_rate=0.1,
    slow_seconds=0.1,
    fifo_calls_per_second=300,
)
"""What must not touch queues that are first in, first out."""


@pytest.fixture(scope="module", params=[None, OF_STANDARD_QUEUES], ids=["", "simulated"])
def api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    options = ApiOptions(faults=request.param)
    with running_api(tmp_path_factory.mktemp("fifo") / "data", options) as running:
        yield running


INVALID = ("InvalidParameterValue", "InvalidParameterValueException", 400)


def make(sqs: Any, **attributes: str) -> str:
    answer = sqs.create_queue(
        QueueName=f"{name()}.fifo", Attributes={"FifoQueue": "true", **attributes}
    )
    return str(answer["QueueUrl"])


def send(sqs: Any, url: str, body: str, group: str = "g", dedup: str | None = None) -> Any:
    return sqs.send_message(
        QueueUrl=url,
        MessageBody=body,
        MessageGroupId=group,
        MessageDeduplicationId=dedup or body,
    )


def receive(sqs: Any, url: str, count: int = 10, **arguments: Any) -> list[Any]:
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, **arguments)
    return list(answer.get("Messages", []))


def bodies(messages: list[Any]) -> list[str]:
    return [each["Body"] for each in messages]


def test_all_attributes(sqs: Any, fifo_url: str) -> None:
    shown = sqs.get_queue_attributes(QueueUrl=fifo_url, AttributeNames=["All"])["Attributes"]
    assert {key: shown[key] for key in shown if "edup" in key or "Fifo" in key} == {
        "ContentBasedDeduplication": "false",
        "DeduplicationScope": "queue",
        "FifoQueue": "true",
        "FifoThroughputLimit": "perQueue",
    }
    assert len(shown) == 16


def test_system_attributes(sqs: Any, fifo_url: str) -> None:
    first = send(sqs, fifo_url, "one", "group-1", "dedup-1")
    second = send(sqs, fifo_url, "two", "group-1", "dedup-2")
    assert len(first["SequenceNumber"]) == 20
    assert int(first["SequenceNumber"]) < int(second["SequenceNumber"])
    shown = receive(sqs, fifo_url, AttributeNames=["All"])[0]["Attributes"]
    assert shown["MessageGroupId"] == "group-1"
    assert shown["MessageDeduplicationId"] == "dedup-1"
    assert shown["SequenceNumber"] == first["SequenceNumber"]


def test_a_receive_empties_one_group_first(sqs: Any, fifo_url: str) -> None:
    for group, body in (("1", "g1m1"), ("2", "g2m1"), ("1", "g1m2"), ("1", "g1m3")):
        send(sqs, fifo_url, body, group)
    assert bodies(receive(sqs, fifo_url)) == ["g1m1", "g1m2", "g1m3", "g2m1"]


def test_a_group_waits_for_what_is_in_flight(sqs: Any, fifo_url: str) -> None:
    for body in ("a", "b"):
        send(sqs, fifo_url, body)
    (first,) = receive(sqs, fifo_url, 1)
    assert receive(sqs, fifo_url) == []
    send(sqs, fifo_url, "other", "h")
    assert bodies(receive(sqs, fifo_url)) == ["other"]
    sqs.delete_message(QueueUrl=fifo_url, ReceiptHandle=first["ReceiptHandle"])
    assert bodies(receive(sqs, fifo_url)) == ["b"]


def test_visibility_0_gives_the_order_back(sqs: Any, fifo_url: str) -> None:
    for body in ("a", "b"):
        send(sqs, fifo_url, body)
    for message in receive(sqs, fifo_url):
        sqs.change_message_visibility(
            QueueUrl=fifo_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
    assert bodies(receive(sqs, fifo_url)) == ["a", "b"]


def test_a_duplicate_has_the_first_ones_answer(api: RunningApi, sqs: Any, fifo_url: str) -> None:
    first = send(sqs, fifo_url, "a", dedup="d")
    (message,) = receive(sqs, fifo_url)
    sqs.delete_message(QueueUrl=fifo_url, ReceiptHandle=message["ReceiptHandle"])
    again = send(sqs, fifo_url, "other", "another-group", dedup="d")
    assert again["MessageId"] == first["MessageId"]
    assert again["SequenceNumber"] == first["SequenceNumber"]
    assert receive(sqs, fifo_url) == []
    with api.clock.later(301):
        later = send(sqs, fifo_url, "a", dedup="d")
    assert later["MessageId"] != first["MessageId"]


def test_a_purge_forgets_duplicates(sqs: Any, fifo_url: str) -> None:
    first = send(sqs, fifo_url, "a")
    sqs.purge_queue(QueueUrl=fifo_url)
    assert send(sqs, fifo_url, "a")["MessageId"] != first["MessageId"]
    assert bodies(receive(sqs, fifo_url)) == ["a"]


def test_content_based_deduplication(sqs: Any) -> None:
    url = make(sqs, ContentBasedDeduplication="true")
    entry = {"QueueUrl": url, "MessageBody": "same", "MessageGroupId": "g"}
    first = sqs.send_message(**entry)
    second = sqs.send_message(
        **entry, MessageAttributes={"a": {"DataType": "String", "StringValue": "v"}}
    )
    assert second["MessageId"] == first["MessageId"]
    explicit = sqs.send_message(**entry, MessageDeduplicationId="explicit")
    assert explicit["MessageId"] != first["MessageId"]
    shown = receive(sqs, url, 1, AttributeNames=["All"])[0]["Attributes"]
    assert shown["MessageDeduplicationId"] == hashlib.sha256(b"same").hexdigest()


def test_deduplication_for_each_group(sqs: Any) -> None:
    url = make(sqs, DeduplicationScope="messageGroup")
    first = send(sqs, url, "a", "g1", "d")
    assert send(sqs, url, "a", "g2", "d")["MessageId"] != first["MessageId"]
    assert send(sqs, url, "a", "g1", "d")["MessageId"] == first["MessageId"]


def test_the_scope_stays_what_it_was_at_creation(sqs: Any, fifo_url: str) -> None:
    sqs.set_queue_attributes(QueueUrl=fifo_url, Attributes={"DeduplicationScope": "messageGroup"})
    shown = sqs.get_queue_attributes(QueueUrl=fifo_url, AttributeNames=["DeduplicationScope"])
    assert shown["Attributes"]["DeduplicationScope"] == "messageGroup"
    first = send(sqs, fifo_url, "a", "g1", "d")
    assert send(sqs, fifo_url, "a", "g2", "d")["MessageId"] == first["MessageId"]


def test_a_batch_keeps_its_order(sqs: Any, fifo_url: str) -> None:
    entries = [
        {
            "Id": str(n),
            "MessageBody": str(n),
            "MessageGroupId": "g",
            "MessageDeduplicationId": str(n % 9),
        }
        for n in range(10)
    ]
    answer = sqs.send_message_batch(QueueUrl=fifo_url, Entries=entries)
    by_id = {each["Id"]: each for each in answer["Successful"]}
    assert len(by_id) == 10
    assert by_id["9"]["MessageId"] == by_id["0"]["MessageId"]
    assert bodies(receive(sqs, fifo_url)) == [str(n) for n in range(9)]


def test_a_receive_attempt_can_be_repeated(sqs: Any, fifo_url: str) -> None:
    for body in ("a", "b"):
        send(sqs, fifo_url, body)
    first = receive(sqs, fifo_url, ReceiveRequestAttemptId="attempt")
    again = receive(sqs, fifo_url, ReceiveRequestAttemptId="attempt")
    assert again == first
    assert receive(sqs, fifo_url, ReceiveRequestAttemptId="another") == []
    sqs.delete_message(QueueUrl=fifo_url, ReceiptHandle=first[0]["ReceiptHandle"])
    assert receive(sqs, fifo_url, ReceiveRequestAttemptId="attempt") == []


def test_a_handle_ends_with_its_visibility(api: RunningApi, sqs: Any, fifo_url: str) -> None:
    send(sqs, fifo_url, "a")
    handle = receive(sqs, fifo_url, VisibilityTimeout=1)[0]["ReceiptHandle"]
    assert bodies(receive(sqs, fifo_url, WaitTimeSeconds=20)) == ["a"]
    found = refusal(sqs.delete_message, QueueUrl=fifo_url, ReceiptHandle=handle)
    assert found == Refusal(
        *INVALID,
        f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has"
        " expired.",
    )


def test_what_a_request_needs(sqs: Any, fifo_url: str) -> None:
    no_group = "The request must contain the parameter MessageGroupId."
    no_deduplication = (
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId"
        " provided explicitly"
    )
    entry = {"QueueUrl": fifo_url, "MessageBody": "x"}
    assert refusal(sqs.send_message, **entry) == Refusal(
        "MissingParameter", "MissingRequiredParameterException", 400, no_group
    )
    grouped = {**entry, "MessageGroupId": "g"}
    assert refusal(sqs.send_message, **grouped) == Refusal(*INVALID, no_deduplication)

    def batch(**parameters: str) -> Refusal:
        good = {"Id": "a", "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
        bad = {"Id": "b", "MessageBody": "x", **parameters}
        return refusal(sqs.send_message_batch, QueueUrl=fifo_url, Entries=[good, bad])

    assert batch() == Refusal(*INVALID, no_group)
    assert batch(MessageGroupId="g") == Refusal(*INVALID, no_deduplication)
    assert receive(sqs, fifo_url) == []


def test_no_delay_for_a_single_message(sqs: Any, fifo_url: str) -> None:
    entry = {"QueueUrl": fifo_url, "MessageBody": "x", "MessageGroupId": "g"}
    found = refusal(sqs.send_message, **entry, MessageDeduplicationId="d", DelaySeconds=2)
    assert found == Refusal(
        *INVALID,
        "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that"
        " is not valid for this queue type.",
    )
    sqs.send_message(**entry, MessageDeduplicationId="d", DelaySeconds=0)
    assert bodies(receive(sqs, fifo_url)) == ["x"]


@pytest.mark.parametrize("token", ["", "a b", "a" * 129, "ä"])
@pytest.mark.parametrize("parameter", ["MessageGroupId", "MessageDeduplicationId"])
def test_ids(sqs: Any, fifo_url: str, parameter: str, token: str) -> None:
    ids = {"MessageGroupId": "g", "MessageDeduplicationId": "d", parameter: token}
    found = refusal(sqs.send_message, QueueUrl=fifo_url, MessageBody="x", **ids)
    assert found == Refusal(
        *INVALID,
        f"Value {token} for parameter {parameter} is invalid. Reason: {parameter} can only include"
        " alphanumeric and punctuation characters. 1 to 128 in length.",
    )


def test_names(sqs: Any) -> None:
    found = refusal(sqs.create_queue, QueueName=name(), Attributes={"FifoQueue": "true"})
    assert found[:3] == INVALID
    limit = {"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}
    found = refusal(sqs.create_queue, QueueName=f"{name()}.fifo", Attributes=limit)
    assert found.code == "InvalidAttributeValue"
    high = {**limit, "DeduplicationScope": "messageGroup"}
    assert sqs.create_queue(QueueName=f"{name()}.fifo", Attributes=high)["QueueUrl"]


def test_a_group_that_comes_back_stands_behind_the_others(sqs: Any) -> None:
    url = make(sqs)
    for body in ("g1-m1", "g2-m1", "g2-m2", "g3-m1", "g1-m2"):
        send(sqs, url, body, body[:2])
    first = receive(sqs, url, 3, VisibilityTimeout=0)
    assert bodies(first) == ["g1-m1", "g1-m2", "g2-m1"]
    again = receive(sqs, url, VisibilityTimeout=0)
    assert bodies(again) == ["g3-m1", "g1-m1", "g1-m2", "g2-m1", "g2-m2"]


def test_one_message_given_back_frees_itself_only(sqs: Any) -> None:
    url = make(sqs)
    for body in ("g1-m1", "g1-m2", "g2-m1"):
        send(sqs, url, body, body[:2])
    first, _ = receive(sqs, url, 2)
    sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0
    )
    assert bodies(receive(sqs, url, 3)) == ["g2-m1", "g1-m1"]


def test_a_group_with_something_in_flight_stays_hidden(sqs: Any) -> None:
    url = make(sqs)
    for body in ("g1-m1", "g2-m1", "g1-m2", "g2-m2", "g1-m3", "g3-m1"):
        send(sqs, url, body, body[:2])
    first, _ = receive(sqs, url, 2)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert bodies(receive(sqs, url)) == ["g2-m1", "g2-m2", "g3-m1"]


def test_who_finds_nothing_finds_the_dead_letters(sqs: Any) -> None:
    for _ in range(5):
        dead = make(sqs)
        answer = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
        policy = {"deadLetterTargetArn": answer["Attributes"]["QueueArn"], "maxReceiveCount": 1}
        url = make(sqs, VisibilityTimeout="0", RedrivePolicy=json.dumps(policy))
        send(sqs, url, "a")
        assert [message["Body"] for message in receive(sqs, url)] == ["a"]
        assert receive(sqs, url) == []
        assert [message["Body"] for message in receive(sqs, dead)] == ["a"]
