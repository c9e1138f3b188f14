"""What a kind endpoint never does: new queues unknown, receives unanswered, deletes left over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from bridge.backends.aws.finished import Finished
from bridge.messaging.errors import InvalidParameter, QueueDoesNotExist
from tests.bridge.backends.aws.conftest import Opened, quiet, received
from tests.support.aws_stub import Answer, Answerer, aws_error
from tests.support.stores import consume, delete, make_queue, message, send


def unknown_at_first(action: str, times: int) -> Answerer:
    """A queue is not found by the first calls of an action, and by GetQueueUrl."""
    left = count(times, -1)

    def answer(called: str, request: dict[str, Any]) -> Answer:
        if called == "CreateQueue":
            return 200, {"QueueUrl": f"http://aws/000000000000/{request['QueueName']}"}
        if called == "GetQueueUrl" or (called == action and next(left) > 0):
            return aws_error("QueueDoesNotExist")
        if called == "ReceiveMessage":
            return received("x")
        return quiet(called, request)

    return answer


@pytest.mark.parametrize("action", ["SendMessageBatch", "ReceiveMessage", "GetQueueAttributes"])
async def test_a_new_queue_that_is_not_known_yet_is_asked_again(
    opened: Opened, action: str
) -> None:
    backend, stub = await opened(unknown_at_first(action, 3))
    queue = await make_queue(backend.store)
    unit = await send(backend.store, queue, message("x"))
    assert not unit.failures
    assert len(await backend.store.receive(queue, count=1, wait_seconds=20)) == 1
    assert (await backend.store.counts(queue)).visible == 0
    assert not queue.deleted
    assert len(stub.requests(action)) == 4


async def test_an_old_queue_that_is_not_known_is_gone(opened: Opened) -> None:
    backend, _ = await opened(unknown_at_first("SendMessageBatch", 1_000), new_queue_seconds=0.0)
    queue = await make_queue(backend.store)
    unit = await send(backend.store, queue, message("x"))
    assert isinstance(unit.failures[0], QueueDoesNotExist)
    assert queue.deleted


async def test_a_fifo_receive_without_an_answer_is_asked_for_again_by_its_id(
    opened: Opened,
) -> None:
    bodies = [received(body) for body in "xyz"]
    answers: Iterator[Answer] = iter([None, (503, {}), *bodies])

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action != "ReceiveMessage":
            return quiet(action, request)
        return next(answers)

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store, "orders.fifo", fifo=True)
    collector = await consume(backend.store, queue, credit=1)
    await collector.expect(1)
    assert collector.subscription is not None
    collector.subscription.add_credit(1)
    await collector.expect(2)
    ids = [each["ReceiveRequestAttemptId"] for each in stub.requests("ReceiveMessage")]
    assert ids[0] == ids[1] == ids[2]
    assert ids[3] != ids[0]


async def test_taking_one_asks_all_servers_and_again_when_it_is_refused(opened: Opened) -> None:
    refusals = iter([aws_error("RequestThrottled"), None])

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action != "ReceiveMessage":
            return quiet(action, request)
        return next(refusals, received("x"))

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store)
    taken = await backend.store.take(queue)
    assert taken is not None
    assert taken.message.body == b"x"
    assert [each["WaitTimeSeconds"] for each in stub.requests("ReceiveMessage")] == [1, 1, 1]


async def test_a_purge_deletes_what_was_left_over(opened: Opened) -> None:
    waiting = ["a", "b", "c"]
    deleted: list[str] = []

    def answer(action: str, request: dict[str, Any]) -> Answer:
        nonlocal waiting
        if action == "ReceiveMessage":
            some, waiting = waiting, []
            return received(*some)
        if action == "DeleteMessageBatch":
            first, *rest = request["Entries"]
            deleted.append(first["ReceiptHandle"])
            failed = [{"Id": each["Id"], "SenderFault": False} for each in rest]
            return 200, {"Successful": [{"Id": first["Id"]}], "Failed": failed}
        return quiet(action, request)

    backend, _ = await opened(answer)
    queue = await make_queue(backend.store)
    assert await backend.store.purge_queue(queue) == 3
    assert deleted == ["handle-a", "handle-b", "handle-c"]


async def test_what_is_given_back_already_is_given_back(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "ReceiveMessage":
            return received("x")
        if action == "ChangeMessageVisibility":
            return aws_error("InvalidParameterValueException", "The receipt handle has expired.")
        return quiet(action, request)

    backend, _ = await opened(answer)
    queue = await make_queue(backend.store)
    (delivery,) = await backend.store.receive(queue, count=1)
    await backend.store.change_visibility(delivery, 0)
    with pytest.raises(InvalidParameter):
        await backend.store.change_visibility(delivery, 30)


class Twice:
    """Hands out a message again and again; deletes may be refused."""

    def __init__(self) -> None:
        self.received = 0
        self.deleted: list[str] = []
        self.refuse = False

    def __call__(self, action: str, request: dict[str, Any]) -> Answer:
        if action == "ReceiveMessage":
            self.received += 1
            answer = received("x", count=self.received)
            assert answer is not None
            answer[1]["Messages"][0]["ReceiptHandle"] = f"handle-{self.received}"
            return answer
        if action == "DeleteMessageBatch":
            if self.refuse:
                return aws_error("InvalidSecurity")
            self.deleted += [each["ReceiptHandle"] for each in request["Entries"]]
        return quiet(action, request)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def test_what_was_deleted_here_does_not_come_again(opened: Opened) -> None:
    answer = Twice()
    backend, _ = await opened(answer)
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=5)
    (delivery,) = await collector.expect(1)
    await delete(backend.store, delivery)
    await until(lambda: len(answer.deleted) >= 3)
    assert len(collector.deliveries) == 1


async def test_what_a_consumer_has_does_not_come_to_another(opened: Opened) -> None:
    answer = Twice()
    backend, _ = await opened(answer)
    queue = await make_queue(backend.store)
    first = await consume(backend.store, queue, credit=1)
    (delivery,) = await first.expect(1)
    second = await consume(backend.store, queue, credit=1)
    await until(lambda: answer.received >= 3)
    assert second.deliveries == []
    assert second.subscription is not None
    second.subscription.cancel()
    await delete(backend.store, delivery)
    # The handle of the latest receive is the one that counts.
    assert answer.deleted != ["handle-1"]


async def test_what_could_not_be_deleted_comes_again(opened: Opened) -> None:
    answer = Twice()
    answer.refuse = True
    backend, _ = await opened(answer)
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=1)
    (delivery,) = await collector.expect(1)
    await delete(backend.store, delivery)
    assert collector.subscription is not None
    collector.subscription.add_credit(1)
    again = (await collector.expect(2))[1]
    assert again.redelivered


async def test_two_polls_that_bring_the_same_message_are_one_delivery(opened: Opened) -> None:
    """The second of them is answered first."""
    answers = iter([received("x", count=2), received("x", count=1), received("y")])
    turn = asyncio.Semaphore(2)

    async def next_one() -> Answer:
        await turn.acquire()
        return next(answers)

    def answer(action: str, request: dict[str, Any]) -> Any:
        return next_one() if action == "ReceiveMessage" else quiet(action, request)

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store)
    collector = await consume(backend.store, queue, credit=5)
    turn.release()
    held, _ = await collector.expect(2)
    assert [each.message.body for each in collector.deliveries] == [b"x", b"y"]
    await delete(backend.store, held)
    answers = iter([received("x", count=1), received("z")])
    turn.release()
    turn.release()
    await collector.expect(3)
    assert [each.message.body for each in collector.deliveries] == [b"x", b"y", b"z"]
    await until(lambda: len(stub.requests("DeleteMessageBatch")) == 2)


def test_what_is_remembered_of_deleted_messages_is_bounded() -> None:
    finished = Finished(2)
    for message_id in "abcd":
        finished.add(message_id, "orders")
    assert [finished.place_of(each) for each in "abcd"] == [None, None, "orders", "orders"]
    finished.add("e", "bills")
    finished.forget("c")
    assert [finished.place_of(each) for each in "cde"] == [None, "orders", "bills"]
