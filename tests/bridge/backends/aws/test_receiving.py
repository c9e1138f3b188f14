"""Polls by demand, visibility renewed, what is not wanted given back at once."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from bridge.messaging.envelope import attributes_from_message
from bridge.messaging.errors import UnsupportedOperation
from bridge.messaging.model import StateChange, UnitOfWork
from tests.bridge.backends.aws.conftest import Opened, quiet, received
from tests.support.aws_stub import Answer, AwsStub, aws_error
from tests.support.stores import commit, consume, delete, make_queue, message, release, send


class Source:
    """Answers polls from a list, and leaves them open once that is empty."""

    def __init__(self, *bodies: str) -> None:
        self.bodies = list(bodies)

    def __call__(self, action: str, request: dict[str, Any]) -> Any:
        if action != "ReceiveMessage":
            return quiet(action, request)
        count = request["MaxNumberOfMessages"]
        some, self.bodies = self.bodies[:count], self.bodies[count:]
        return received(*some) if some else self._nothing()

    async def _nothing(self) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError


def timeouts(stub: AwsStub) -> dict[str, list[int]]:
    """Visibility timeouts given, by handle."""
    given: dict[str, list[int]] = {}
    for request in stub.requests("ChangeMessageVisibilityBatch"):
        for each in request["Entries"]:
            given.setdefault(each["ReceiptHandle"], []).append(each["VisibilityTimeout"])
    return given


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def test_without_credit_nobody_polls(opened: Opened) -> None:
    backend, stub = await opened(Source())
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=0)
    assert collector.subscription is not None
    for _ in range(20):
        await asyncio.sleep(0)
    assert stub.requests("ReceiveMessage") == []
    collector.subscription.add_credit(3)
    await until(lambda: stub.requests("ReceiveMessage"))
    assert [r["MaxNumberOfMessages"] for r in stub.requests("ReceiveMessage")] == [3]


async def test_full_polls_let_more_be_opened(opened: Opened) -> None:
    backend, stub = await opened(Source(*[str(number) for number in range(100)]))
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=1_000)
    await collector.expect(100)
    await until(lambda: len(stub.requests("ReceiveMessage")) >= 12)
    assert sorted(collector.bodies, key=int) == [str(number) for number in range(100)]


async def test_where_little_comes_the_next_poll_follows_at_once(opened: Opened) -> None:
    backend, stub = await opened(Source("a"), poll_linger_seconds=1_000.0)
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=100)
    await collector.expect(1)
    await until(lambda: len(stub.requests("ReceiveMessage")) == 2)


async def test_where_more_comes_the_next_poll_waits_for_ten_messages(opened: Opened) -> None:
    polls = [received("a"), received("b"), received("c", "d")]

    def answer(action: str, request: dict[str, Any]) -> Any:
        if action != "ReceiveMessage":
            return quiet(action, request)
        return polls.pop(0) if polls else Source()(action, request)

    # One message in 0.05 s has come, when the second poll is answered.
    backend, stub = await opened(answer, fill_seconds_max=10.0)
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=100)
    await collector.expect(2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(stub.requests("ReceiveMessage")) == 2
    await collector.expect(4)
    assert len(stub.requests("ReceiveMessage")) == 3


async def test_more_polls_are_opened_for_full_batches_only(opened: Opened) -> None:
    backend, stub = await opened(Source(*[str(number) for number in range(20)]))
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=35)
    await collector.expect(20)
    await until(lambda: len(stub.requests("ReceiveMessage")) >= 3)
    for _ in range(20):
        await asyncio.sleep(0)
    # Three polls are allowed by now, and credit for fifteen is left.
    assert [r["MaxNumberOfMessages"] for r in stub.requests("ReceiveMessage")] == [10, 10, 10]


async def test_what_is_held_is_renewed_until_it_is_settled(opened: Opened) -> None:
    backend, stub = await opened(Source("a", "b"), renew_after_seconds=0.02, hold_seconds=60)
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=2)
    first, _ = await collector.expect(2)
    await until(lambda: len(timeouts(stub).get("handle-b", [])) >= 1)
    await delete(backend.store, first)
    so_far = len(timeouts(stub)["handle-a"])
    seen = len(timeouts(stub)["handle-b"])
    await until(lambda: len(timeouts(stub)["handle-b"]) >= seen + 3)
    assert len(timeouts(stub)["handle-a"]) <= so_far + 1
    assert set(timeouts(stub)["handle-b"]) == {60}


async def test_a_consumer_that_holds_for_too_long_is_told_so(opened: Opened) -> None:
    backend, _ = await opened(Source("a"), renew_after_seconds=0.01, hold_seconds_max=0.03)
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=2)
    await until(lambda: collector.was_overdue)
    assert not collector.was_cancelled
    assert queue.consumer_count == 0


async def test_closing_gives_back_what_is_held(opened: Opened) -> None:
    backend, stub = await opened(Source("a", "b"))
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=2)
    await collector.expect(2)
    await backend.close()
    assert timeouts(stub) == {"handle-a": [0], "handle-b": [0]}


async def test_releases_share_a_batch(opened: Opened) -> None:
    backend, stub = await opened(Source(*"abcde"))
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=5)
    held = await collector.expect(5)
    await release(backend.store, *held)
    assert len(stub.requests("ChangeMessageVisibilityBatch")) == 1


async def test_what_comes_for_a_paused_consumer_waits_and_is_given_back(opened: Opened) -> None:
    gate = asyncio.Event()

    async def late() -> Answer:
        await gate.wait()
        return received("a")

    polls = [late()]

    def answer(action: str, request: dict[str, Any]) -> Any:
        if action == "ReceiveMessage" and polls:
            return polls.pop()
        return Source()(action, request)

    backend, stub = await opened(answer, surplus_seconds_max=0.05)
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=5)
    assert collector.subscription is not None
    await until(lambda: not polls)
    collector.subscription.pause()
    gate.set()
    await until(lambda: timeouts(stub))
    assert timeouts(stub) == {"handle-a": [0]}
    assert collector.deliveries == []


async def test_failing_polls_are_spaced_and_recovered_from(opened: Opened) -> None:
    failures = [aws_error("ServiceUnavailable")] * 3
    source = Source("a")

    def answer(action: str, request: dict[str, Any]) -> Any:
        if action == "ReceiveMessage" and failures:
            return failures.pop()
        return source(action, request)

    backend, _ = await opened(answer)
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=1)
    await collector.expect(1)


async def test_a_queue_deleted_elsewhere_cancels_its_consumers(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "ReceiveMessage":
            return aws_error("QueueDoesNotExist")
        return quiet(action, request)

    backend, _ = await opened(answer)
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=1)
    await until(lambda: collector.was_cancelled)
    assert queue.deleted


async def test_deletes_share_a_batch_however_many_units_bring_them(opened: Opened) -> None:
    backend, stub = await opened(Source(*"abcdefgh"))
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=8)
    for each in await collector.expect(8):
        unit = UnitOfWork()
        unit.deletes.append(each)
        backend.store.submit(unit)
    await until(lambda: stub.requests("DeleteMessageBatch"))
    assert [len(r["Entries"]) for r in stub.requests("DeleteMessageBatch")] == [8]


# -- units of several steps


async def test_sends_come_first_then_state_then_deletes(opened: Opened) -> None:
    backend, stub = await opened(Source("a"))
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=1)
    (held,) = await collector.expect(1)
    stub.calls.clear()
    unit = UnitOfWork(atomic=True)
    unit.sends.append((queue, message("x")))
    unit.deletes.append(held)
    unit.state.append(StateChange("kind", "key", b"value"))
    await commit(backend.store, unit)
    wanted = ("SendMessageBatch", "PutItem", "DeleteMessageBatch")
    assert [action for action, _ in stub.calls if action in wanted] == list(wanted)


@pytest.mark.parametrize("refused", ["SendMessageBatch", "PutItem"])
async def test_where_a_step_fails_nothing_is_deleted(opened: Opened, refused: str) -> None:
    source = Source("a")
    open_for_business = [True]

    def answer(action: str, request: dict[str, Any]) -> Any:
        if action == refused and not open_for_business:
            return aws_error("AccessDeniedException")
        return source(action, request)

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=1)
    (held,) = await collector.expect(1)
    open_for_business.clear()
    unit = UnitOfWork()
    unit.sends.append((queue, message("x")))
    unit.deletes.append(held)
    unit.state.append(StateChange("kind", "key", b"value"))
    answered = asyncio.Event()
    unit.done = lambda _: answered.set()
    backend.store.submit(unit)
    await asyncio.wait_for(answered.wait(), 60)
    assert unit.error or unit.failures
    await until(lambda: timeouts(stub))
    assert stub.requests("DeleteMessageBatch") == []
    assert timeouts(stub) == {"handle-a": [0]}


# -- delays that SQS cannot give


async def test_a_long_delay_is_given_in_pieces(opened: Opened) -> None:
    backend, stub = await opened()
    queue = await make_queue(backend.store)
    late = message("late")
    late.visible_at = late.sent_at + 3_600_000
    assert not (await send(backend.store, queue, late)).failures
    (entry,) = stub.requests("SendMessageBatch")[0]["Entries"]
    assert entry["DelaySeconds"] == 900

    def answer(action: str, request: dict[str, Any]) -> Any:
        if action != "ReceiveMessage" or stub.requests("ReceiveMessage")[1:]:
            return Source()(action, request)
        arrived = {
            "MessageId": "m",
            "ReceiptHandle": "h",
            "Body": entry["MessageBody"],
            "MessageAttributes": entry["MessageAttributes"],
            "Attributes": {"SentTimestamp": str(late.sent_at), "ApproximateReceiveCount": "1"},
        }
        return 200, {"Messages": [arrived]}

    stub.answer = answer
    collector = await consume(backend.store, queue, credit=1)
    await until(lambda: timeouts(stub))
    assert 3_500 < timeouts(stub)["h"][0] <= 3_600
    assert collector.deliveries == []


async def test_being_hidden_is_not_being_redelivered(opened: Opened) -> None:
    backend, stub = await opened()
    queue = await make_queue(backend.store)
    due = message("due")
    body, attributes = attributes_from_message(
        msgspec.structs.replace(due, visible_at=due.sent_at), carry_delay=True
    )
    wire = {
        name: {"DataType": each.data_type, "StringValue": each.string_value}
        for name, each in attributes.items()
    }
    arrived = {
        "MessageId": "m",
        "ReceiptHandle": "h",
        "Body": body,
        "MessageAttributes": wire,
        "Attributes": {
            "SentTimestamp": str(due.sent_at - 3_600_000),
            "ApproximateReceiveCount": "2",
        },
    }
    answers = [(200, {"Messages": [arrived]})]

    def answer(action: str, request: dict[str, Any]) -> Any:
        if action == "ReceiveMessage" and answers:
            return answers.pop()
        return Source()(action, request)

    stub.answer = answer
    collector = await consume(backend.store, queue, credit=1)
    (delivery,) = await collector.expect(1)
    assert not delivery.redelivered


async def test_a_delay_beyond_the_retention_is_refused(opened: Opened) -> None:
    backend, _ = await opened()
    queue = await make_queue(backend.store)
    late = message("late")
    late.visible_at = late.sent_at + 15 * 86_400_000
    unit = await send(backend.store, queue, late)
    assert isinstance(unit.failures[0], UnsupportedOperation)
