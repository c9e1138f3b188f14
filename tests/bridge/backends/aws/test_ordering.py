"""Ordering profiles: which queues are first-in-first-out in SQS, and by which group."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.backends.aws import AwsOptions, OrderingRule
from bridge.messaging.errors import InvalidParameter
from bridge.messaging.model import Message
from tests.bridge.backends.aws.conftest import URL, Opened, empty_account
from tests.support.aws_stub import Answer
from tests.support.stores import make_queue, message, send

RULES = (
    OrderingRule("audit"),
    OrderingRule("orders.*", "header:customer"),
    OrderingRule("*.by-subject", "subject"),
)


OPTIONS = AwsOptions(region="us-east-1", ordering=RULES)


@pytest.mark.parametrize(
    ("queue_name", "sent", "groups"),
    [
        ("audit", [message("a", headers={"customer": 1}), message("b")], ["landbridge"] * 2),
        (
            "orders.new",
            [
                message("a", headers={"customer": "acme"}),
                message("b", headers={"customer": 7}),
                message("c"),
                message("d", group_id="own", headers={"customer": "acme"}),
            ],
            ["acme", "7", "landbridge", "own"],
        ),
        ("q.by-subject", [message("a", topic="amq.topic", subject="x.y")], ["x.y"]),
    ],
)
async def test_groups(
    opened: Opened, queue_name: str, sent: list[Message], groups: list[str]
) -> None:
    backend, stub = await opened(empty_account, OPTIONS)
    queue = await make_queue(backend.store, queue_name)
    (created,) = stub.requests("CreateQueue")
    assert created["QueueName"].endswith(".fifo")
    assert created["Attributes"]["FifoQueue"] == "true"
    assert not queue.settings.fifo
    await send(backend.store, queue, *sent)
    (request,) = stub.requests("SendMessageBatch")
    assert [each["MessageGroupId"] for each in request["Entries"]] == groups
    assert all(each["MessageDeduplicationId"] for each in request["Entries"])


async def test_a_group_that_sqs_forbids_is_hashed(opened: Opened) -> None:
    backend, stub = await opened(empty_account, OPTIONS)
    queue = await make_queue(backend.store, "orders.x")
    names = ["two words", "x" * 129, "ü", "two words"]
    await send(backend.store, queue, *[message("m", headers={"customer": n}) for n in names])
    entries = stub.requests("SendMessageBatch")[0]["Entries"]
    groups = [each["MessageGroupId"] for each in entries]
    assert groups[0] == groups[3]
    assert len(set(groups)) == 3
    assert all(len(group) == 64 for group in groups)


async def test_other_queues_are_standard(opened: Opened) -> None:
    backend, stub = await opened(empty_account, OPTIONS)
    queue = await make_queue(backend.store, "jobs")
    await send(backend.store, queue, message("x"))
    assert stub.requests("CreateQueue")[0]["QueueName"] == "jobs"
    assert "MessageGroupId" not in stub.requests("SendMessageBatch")[0]["Entries"][0]


async def test_a_queue_keeps_what_it_was_made_with(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "GetQueueUrl" and request["QueueName"] == "audit":
            return 200, {"QueueUrl": URL + "audit"}
        return empty_account(action, request)

    backend, stub = await opened(answer, OPTIONS)
    queue = await make_queue(backend.store, "audit")
    await send(backend.store, queue, message("x"))
    assert stub.requests("CreateQueue") == []
    assert "MessageGroupId" not in stub.requests("SendMessageBatch")[0]["Entries"][0]


@pytest.mark.parametrize("group", ["", "header:", "customer", "subject.x"])
def test_what_is_no_group(group: str) -> None:
    with pytest.raises(InvalidParameter):
        OrderingRule("*", group)
