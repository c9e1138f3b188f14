"""Opening, making queues and sweeping where AWS, or a caller, lets one down halfway."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from bridge.backends.aws.queues import AwsQueue
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.model import DeadLetterReason, Delivery, QueueSettings, UnitOfWork
from bridge.messaging.ports import Queue
from tests.bridge.backends.aws.conftest import URL, Opened, quiet, received
from tests.support.aws_stub import Answer, aws_error
from tests.support.stores import make_queue, name


async def test_opening_can_be_given_up(opened: Opened) -> None:
    async def never() -> Answer:
        await asyncio.Event().wait()
        return None

    def answer(action: str, request: dict[str, Any]) -> Any:
        return never() if action == "DescribeTable" else quiet(action, request)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(opened(answer), 0.2)


async def test_queues_of_others_do_not_keep_a_node_from_opening(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "ListQueues":
            return 200, {"QueueUrls": [URL + "theirs", URL + "ours"]}
        if action == "GetQueueAttributes" and request["QueueUrl"].endswith("theirs"):
            return aws_error("AccessDeniedException")
        return quiet(action, request)

    backend, _ = await opened(answer)
    assert [each.name.name for each in backend.store.queues()] == ["ours"]


async def test_what_keeps_a_node_from_opening_is_said(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        denied = action in {"ListQueues", "ListQueueTags"}
        return aws_error("AccessDeniedException") if denied else quiet(action, request)

    with pytest.raises(StoreUnavailable, match="AWS is not usable: AWS refuses ListQueues"):
        await opened(answer)


async def test_a_queue_whose_maker_went_away_is_made_by_the_next(opened: Opened) -> None:
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def made(request: dict[str, Any]) -> Answer:
        asked.set()
        await go_on.wait()
        return 200, {"QueueUrl": URL + request["QueueName"]}

    def answer(action: str, request: dict[str, Any]) -> Any:
        if action == "GetQueueUrl":
            return aws_error("QueueDoesNotExist")
        return made(request) if action == "CreateQueue" else quiet(action, request)

    backend, _ = await opened(answer)
    async with asyncio.TaskGroup() as group:
        first, second = [
            group.create_task(backend.store.create_queue(name("orders"), QueueSettings()))
            for _ in range(2)
        ]
        await asked.wait()
        first.cancel()
        go_on.set()
    assert second.result() is backend.store.queue(name("orders"))


async def test_a_message_that_cannot_be_read_stops_no_sweep(opened: Opened) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    front = received("bad", "old")
    assert front is not None
    front[1]["Messages"][0]["Attributes"]["SentTimestamp"] = "yesterday"
    answers = [front]
    left: dict[bytes, DeadLetterReason] = {}
    both = asyncio.Event()

    def answer(action: str, request: dict[str, Any]) -> Answer:
        match action:
            case "ReceiveMessage" if answers:
                return answers.pop()
            case "GetQueueUrl":
                return aws_error("QueueDoesNotExist")
            case "CreateQueue":
                return 200, {"QueueUrl": URL + request["QueueName"]}
        return quiet(action, request)

    def dead_letter(
        _: Queue, deliveries: Sequence[Delivery], reason: DeadLetterReason
    ) -> UnitOfWork:
        unit = UnitOfWork()
        for delivery in deliveries:
            left[delivery.message.body] = reason
            unit.deletes.append(delivery)
        if len(left) == 2:
            both.set()
        return unit

    backend, _ = await opened(answer, sweep_seconds_min=0.01)
    backend.store.use_dead_letterer(dead_letter)
    queue = await make_queue(backend.store, message_ttl_ms=10)
    assert isinstance(queue, AwsQueue)
    await asyncio.wait_for(both.wait(), 60)
    assert left == {b"bad": DeadLetterReason.REJECTED, b"old": DeadLetterReason.EXPIRED}
