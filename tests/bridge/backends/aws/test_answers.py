"""Whatever AWS answers, and whatever goes wrong in here: every unit of work is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bridge.backends.aws import AwsBackend
from bridge.backends.aws.claims import RETRY_SECONDS
from bridge.backends.aws.messages import AwsDelivery
from bridge.backends.aws.queues import AwsQueue
from bridge.messaging.errors import MessagingError, QueueDoesNotExist, StoreUnavailable
from bridge.messaging.model import StateChange, UnitOfWork
from bridge.messaging.ports import Queue
from tests.bridge.backends.aws.conftest import Opened, quiet, received
from tests.support.aws_stub import Answer, aws_error
from tests.support.stores import Collector, commit, consume, make_queue, message, send


@pytest.fixture
async def reported() -> list[str]:
    """What is said of mistakes."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: told.append(type(context["exception"]).__name__)
    )
    return told


async def sqs_queue(backend: AwsBackend) -> AwsQueue:
    queue = await make_queue(backend.store)
    assert isinstance(queue, AwsQueue)
    return queue


async def failures(backend: AwsBackend, queue: Queue, *texts: str) -> dict[int, MessagingError]:
    return (await send(backend.store, queue, *[message(text) for text in texts])).failures


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def test_entries_that_no_answer_names_are_sent_again(opened: Opened) -> None:
    sent: list[list[str]] = []

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action != "SendMessageBatch":
            return quiet(action, request)
        sent.append([each["MessageBody"] for each in request["Entries"]])
        if len(sent) == 1:
            # One of them twice, one that was not asked about, one not at all.
            ids = ["0", "0", "9", "x"]
            return 200, {"Successful": [{"Id": each, "MessageId": "m"} for each in ids]}
        return quiet(action, request)

    backend, _ = await opened(answer)
    assert await failures(backend, await sqs_queue(backend), "a", "b") == {}
    assert sent == [["a", "b"], ["b"]]


async def test_entries_that_are_never_named_fail_in_the_end(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        return (200, {}) if action == "SendMessageBatch" else quiet(action, request)

    backend, _ = await opened(answer, send_seconds_max=0.05)
    found = await failures(backend, await sqs_queue(backend), "a", "b")
    assert [type(each) for each in found.values()] == [StoreUnavailable, StoreUnavailable]


async def test_a_mistake_in_a_batch_is_an_answer(opened: Opened, reported: list[str]) -> None:
    backend, _ = await opened()
    queue = await sqs_queue(backend)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue.sender, "encode", lambda _: 1 // 0)
        found = await failures(backend, queue, "a", "b")
    assert [type(each) for each in found.values()] == [StoreUnavailable, StoreUnavailable]
    assert reported == ["ZeroDivisionError"]
    assert await failures(backend, queue, "c") == {}


async def test_a_mistake_in_a_step_is_no_confirm(opened: Opened, reported: list[str]) -> None:
    backend, stub = await opened()
    unit = UnitOfWork()
    unit.sends.append((await sqs_queue(backend), message("x")))
    unit.state.append(StateChange("k", "a", b"1"))

    async def write(*_: object, **__: object) -> int:
        raise ZeroDivisionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend.state, "write", write)
        with pytest.raises(StoreUnavailable, match="mistake"):
            await commit(backend.store, unit)
    assert reported == ["ZeroDivisionError"]
    assert len(stub.requests("SendMessageBatch")) == 1


class Clumsy(Collector):
    """A consumer that makes a mistake when it is told that its queue is gone."""

    def cancelled(self) -> None:
        raise ZeroDivisionError


async def test_a_clumsy_consumer_keeps_no_answer_back(opened: Opened, reported: list[str]) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        gone = action == "SendMessageBatch"
        return aws_error("QueueDoesNotExist") if gone else quiet(action, request)

    backend, _ = await opened(answer, new_queue_seconds=0)
    queue = await sqs_queue(backend)
    clumsy = Clumsy()
    await backend.store.consume(queue, clumsy, credit=1)
    other = await consume(backend.store, queue)
    found = await failures(backend, queue, "a", "b")
    assert [type(each) for each in found.values()] == [QueueDoesNotExist, QueueDoesNotExist]
    assert other.was_cancelled
    assert reported == ["ZeroDivisionError"]


async def test_a_message_that_cannot_be_read_keeps_no_other_back(
    opened: Opened, reported: list[str]
) -> None:
    left: list[bytes] = []
    answers = [received("a", "bad", "b"), received("c")]

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action != "ReceiveMessage" or not answers:
            return quiet(action, request)
        given = answers.pop(0)
        assert given is not None
        for each in given[1]["Messages"]:
            if each["Body"] == "bad":
                each["Attributes"]["SentTimestamp"] = "yesterday"
        return given

    def dead_letter(queue: Queue, deliveries: Any, _: object) -> UnitOfWork:
        left.extend(each.message.body for each in deliveries)
        unit = UnitOfWork()
        unit.deletes += deliveries
        return unit

    backend, _ = await opened(answer)
    backend.store.use_dead_letterer(dead_letter)
    queue = await sqs_queue(backend)
    collector = await consume(backend.store, queue, credit=10)
    await collector.expect(3)
    assert collector.bodies == ["a", "b", "c"]
    assert left == [b"bad"]
    assert reported == ["ValueError"]


async def test_dead_letters_that_fail_keep_no_other_back(
    opened: Opened, reported: list[str]
) -> None:
    answers = [received("old", "a")]

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action != "ReceiveMessage" or not answers:
            return quiet(action, request)
        given = answers.pop(0)
        assert given is not None
        given[1]["Messages"][0]["Attributes"]["SentTimestamp"] = "yesterday"
        return given

    def clumsy(*_: object) -> UnitOfWork:
        raise ZeroDivisionError

    backend, stub = await opened(answer)
    backend.store.use_dead_letterer(clumsy)
    collector = await consume(backend.store, await sqs_queue(backend), credit=10)
    await collector.expect(1)
    assert collector.bodies == ["a"]
    assert reported == ["ValueError", "ZeroDivisionError"]
    await until(lambda: stub.requests("ChangeMessageVisibilityBatch"))
    (request,) = stub.requests("ChangeMessageVisibilityBatch")
    (entry,) = request["Entries"]
    assert (entry["ReceiptHandle"], entry["VisibilityTimeout"]) == ("handle-old", RETRY_SECONDS)


async def test_a_second_copy_in_one_answer_is_left_out(opened: Opened) -> None:
    first, second = received("x", "y"), received("x", count=2)
    assert first is not None
    assert second is not None
    second[1]["Messages"][0]["ReceiptHandle"] = "latest"
    first[1]["Messages"] += second[1]["Messages"]
    answers = [first, received("z")]

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "ReceiveMessage" and answers:
            return answers.pop(0)
        return quiet(action, request)

    backend, stub = await opened(answer)
    collector = await consume(backend.store, await sqs_queue(backend), credit=10)
    await collector.expect(3)
    assert collector.bodies == ["x", "y", "z"]
    unit = UnitOfWork(answered=True)
    unit.deletes.append(collector.deliveries[0])
    await commit(backend.store, unit)
    (request,) = stub.requests("DeleteMessageBatch")
    assert [each["ReceiptHandle"] for each in request["Entries"]] == ["latest"]
    # What was left out holds up nothing of the consumer's credit.
    await until(lambda: len(stub.requests("ReceiveMessage")) >= 3)


async def test_a_mistake_with_what_came_keeps_nothing_else_back(
    opened: Opened, reported: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [received("a"), received("b")]

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "ReceiveMessage" and answers:
            return answers.pop(0)
        return quiet(action, request)

    backend, stub = await opened(answer, renew_after_seconds=0.01)
    queue = await sqs_queue(backend)
    sort_out = queue.sort_out

    def mistaken(deliveries: list[AwsDelivery]) -> list[AwsDelivery]:
        if not reported:
            raise ZeroDivisionError
        return sort_out(deliveries)

    monkeypatch.setattr(queue, "sort_out", mistaken)
    collector = await consume(backend.store, queue, credit=10)
    await collector.expect(1)
    assert collector.bodies == ["b"]
    assert reported == ["ZeroDivisionError"]

    def renewed() -> set[str]:
        requests = stub.requests("ChangeMessageVisibilityBatch")
        return {each["ReceiptHandle"] for request in requests for each in request["Entries"]}

    await until(renewed)
    assert renewed() == {"handle-b"}
