"""Sends: how they are packed, what happens when AWS takes some, none, or takes its time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.backends.aws import AwsBackend
from bridge.messaging.envelope import AGAIN_ATTRIBUTE, PROPERTIES_ATTRIBUTE
from bridge.messaging.errors import (
    InvalidParameter,
    MessageTooLong,
    QueueDoesNotExist,
    StoreUnavailable,
)
from bridge.messaging.model import StateChange, UnitOfWork
from tests.bridge.backends.aws.conftest import Opened, quiet, received
from tests.support.aws_stub import Answer, AwsStub, aws_error
from tests.support.stores import commit, consume, make_queue, message, send


def bodies(stub: AwsStub) -> list[list[str]]:
    return [
        [each["MessageBody"] for each in request["Entries"]]
        for request in stub.requests("SendMessageBatch")
    ]


async def test_units_of_one_turn_share_a_batch(opened: Opened) -> None:
    backend, stub = await opened()
    queue = await make_queue(backend.store)
    await asyncio.gather(*[send(backend.store, queue, message(str(n))) for n in range(10)])
    assert bodies(stub) == [[str(number) for number in range(10)]]


async def test_batches_are_packed_to_the_size_limit(opened: Opened) -> None:
    backend, stub = await opened()
    queue = await make_queue(backend.store)
    size = 300 * 1024
    await send(backend.store, queue, *[message("x" * size) for _ in range(5)])
    assert sorted(len(batch) for batch in bodies(stub)) == [2, 3]


async def test_a_message_over_the_limit_fails_alone(opened: Opened) -> None:
    backend, stub = await opened()
    queue = await make_queue(backend.store)
    most = 1_048_576
    unit = await send(backend.store, queue, message("x" * most), message("x" * (most + 1)))
    assert list(unit.failures) == [1]
    assert isinstance(unit.failures[1], MessageTooLong)
    assert len(stub.requests("SendMessageBatch")) == 1


async def test_partial_failures_are_answered_one_by_one(opened: Opened) -> None:
    refused: set[str] = set()

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action != "SendMessageBatch":
            return quiet(action, request)
        successful, failed = [], []
        for entry in request["Entries"]:
            body = entry["MessageBody"]
            if body == "bad":
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": "InvalidX"})
            elif body == "later" and body not in refused:
                refused.add(body)
                failed.append({"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"})
            else:
                successful.append({"Id": entry["Id"], "MessageId": "m"})
        return 200, {"Successful": successful, "Failed": failed}

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store)
    unit = await send(backend.store, queue, message("good"), message("bad"), message("later"))
    assert list(unit.failures) == [1]
    assert isinstance(unit.failures[1], InvalidParameter)
    assert bodies(stub) == [["good", "bad", "later"], ["later"]]


@pytest.mark.parametrize("code", ["ServiceUnavailable", "ThrottlingException", "RequestThrottled"])
async def test_a_refused_batch_is_tried_again(opened: Opened, code: str) -> None:
    refusals = [aws_error(code)] * 3

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "SendMessageBatch" and refusals:
            return refusals.pop()
        return quiet(action, request)

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store)
    assert not (await send(backend.store, queue, message("x"))).failures
    assert len(stub.requests("SendMessageBatch")) == 4
    assert backend.counters.failures["sqs", "SendMessageBatch"] == 3


async def test_an_answer_that_never_comes_is_asked_for_again(opened: Opened) -> None:
    silent = [True]

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "SendMessageBatch" and silent:
            silent.pop()
            return None
        return quiet(action, request)

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store)
    assert not (await send(backend.store, queue, message("x"))).failures
    assert len(stub.requests("SendMessageBatch")) == 2


@pytest.mark.parametrize("headers", [0, 10])
async def test_what_may_be_there_already_says_so_when_it_is_sent_again(
    opened: Opened, headers: int
) -> None:
    answers: list[Answer] = [None, aws_error("RequestThrottled")]

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "SendMessageBatch" and answers:
            return answers.pop()
        return quiet(action, request)

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store)
    named = {f"h{number}": "x" for number in range(headers)}
    await send(backend.store, queue, message("x", headers=named))
    refused, lost, again = (
        request["Entries"][0].get("MessageAttributes", {})
        for request in stub.requests("SendMessageBatch")
    )
    assert refused == lost
    assert len(lost) == headers
    assert again[AGAIN_ATTRIBUTE] == {"DataType": "String", "StringValue": "1"}
    assert len(again) == max(1, headers)
    assert (PROPERTIES_ATTRIBUTE in again) is (headers == 10)


async def test_a_second_copy_is_delivered_as_redelivered(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Any:
        if action == "ReceiveMessage":
            reply: Any = received("x", "y")
            mark = {"DataType": "String", "StringValue": "1"}
            reply[1]["Messages"][1]["MessageAttributes"] = {AGAIN_ATTRIBUTE: mark}
            return reply
        return quiet(action, request)

    backend, _ = await opened(answer)
    queue = await make_queue(backend.store)
    first, second = await backend.store.receive(queue, count=2, wait_seconds=20)
    assert (first.redelivered, second.redelivered) == (False, True)
    assert second.message.headers == {}


async def test_nothing_is_confirmed_that_was_not_taken_before_the_deadline(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "SendMessageBatch":
            return aws_error("ServiceUnavailable")
        return quiet(action, request)

    backend, _ = await opened(answer, send_seconds_max=0.05)
    queue = await make_queue(backend.store)
    unit = await send(backend.store, queue, message("x"))
    assert isinstance(unit.failures[0], StoreUnavailable)
    assert not backend.healthy


async def test_a_queue_that_was_deleted_elsewhere_is_gone(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "SendMessageBatch":
            return aws_error("QueueDoesNotExist")
        return quiet(action, request)

    backend, _ = await opened(answer)
    queue = await make_queue(backend.store)
    unit = await send(backend.store, queue, message("x"))
    assert isinstance(unit.failures[0], QueueDoesNotExist)
    assert queue.deleted
    assert backend.store.queue(queue.name) is None


async def test_a_group_has_one_batch_under_way_and_keeps_its_ids(opened: Opened) -> None:
    under_way: list[set[str]] = []
    overlaps: list[set[str]] = []
    failing = [True]

    async def slow(request: dict[str, Any]) -> Answer:
        groups = {each["MessageGroupId"] for each in request["Entries"]}
        overlaps.extend(groups & other for other in under_way if groups & other)
        under_way.append(groups)
        await asyncio.sleep(0)
        under_way.remove(groups)
        if failing:
            failing.pop()
            return aws_error("ServiceUnavailable")
        return quiet("SendMessageBatch", request)

    def answer(action: str, request: dict[str, Any]) -> Any:
        return slow(request) if action == "SendMessageBatch" else quiet(action, request)

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store, "orders.fifo", fifo=True)
    sent = [message(str(n), group_id=f"g{n % 2}") for n in range(40)]
    await send(backend.store, queue, *sent)
    entries = [each for r in stub.requests("SendMessageBatch") for each in r["Entries"]]
    assert overlaps == []
    ids: dict[str, str] = {}
    for each in entries:
        dedup = each["MessageDeduplicationId"]
        assert ids.setdefault(each["MessageBody"], dedup) == dedup
    for group in ("g0", "g1"):
        order = [int(e["MessageBody"]) for e in entries if e["MessageGroupId"] == group]
        assert list(dict.fromkeys(order)) == sorted(set(order))


async def test_closing_sends_what_was_submitted(opened: Opened) -> None:
    backend, stub = await opened()
    queue = await make_queue(backend.store)
    answered: list[UnitOfWork] = []
    unit = UnitOfWork(answered.append)
    unit.sends = [(queue, message("x")) for _ in range(3)]
    backend.store.submit(unit)
    await backend.close()
    assert bodies(stub) == [["x", "x", "x"]]
    assert answered == [unit]
    assert not unit.failures


async def test_closing_answers_what_could_not_be_sent(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "SendMessageBatch":
            return aws_error("ServiceUnavailable")
        return quiet(action, request)

    backend, _ = await opened(answer, close_seconds_max=0.05)
    queue = await make_queue(backend.store)
    answered: list[UnitOfWork] = []
    unit = UnitOfWork(answered.append)
    unit.sends = [(queue, message("x"))]
    backend.store.submit(unit)
    await backend.close()
    assert answered == [unit]
    assert isinstance(unit.failures[0], StoreUnavailable)


async def test_each_step_of_closing_has_its_share_of_the_time(opened: Opened) -> None:
    """Sends that are never answered do not keep the node from telling the others that it leaves."""

    async def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "SendMessageBatch":
            await asyncio.Event().wait()
        return quiet(action, request)

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store)
    unit = UnitOfWork()
    unit.sends = [(queue, message("x"))]
    backend.store.submit(unit)
    async with asyncio.timeout(30):
        await backend.close(0.3)
    assert isinstance(unit.failures[0], StoreUnavailable)
    assert [each["Key"]["kind"]["S"] for each in stub.requests("DeleteItem")] == ["#node"]


async def test_the_backend_is_named_healthy_again(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    down = [True]

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "SendMessageBatch" and down:
            return None
        return quiet(action, request)

    backend, _ = await opened(answer, failing_calls_max=2)
    queue = await make_queue(backend.store)
    sending = asyncio.ensure_future(send(backend.store, queue, message("x")))
    await _until(lambda: not backend.healthy)
    down.clear()
    await sending
    assert backend.healthy
    assert isinstance(backend, AwsBackend)
    began, ended = [each.message for each in caplog.records if each.name == "landbridge.aws"]
    assert began.startswith("sqs does not answer: ")
    assert ended == "sqs answers again"


async def _until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def test_counts_of_a_resting_queue_are_asked_for_once(opened: Opened) -> None:
    backend, stub = await opened()
    queue = await make_queue(backend.store)
    before = len(stub.requests("GetQueueAttributes"))
    for _ in range(5):
        await backend.store.counts(queue)
    assert len(stub.requests("GetQueueAttributes")) == before + 1
    await send(backend.store, queue, message("x"))
    await backend.store.counts(queue)
    assert len(stub.requests("GetQueueAttributes")) == before + 2


async def test_closing_finishes_units_of_several_steps(opened: Opened) -> None:
    backend, stub = await opened()
    queue = await make_queue(backend.store)
    answered: list[UnitOfWork] = []
    unit = UnitOfWork(answered.append)
    unit.sends.append((queue, message("x")))
    unit.state.append(StateChange("k", "a", b"1"))
    backend.store.submit(unit)
    await backend.close()
    assert answered == [unit]
    assert unit.error is None
    assert [r["Item"]["kind"]["S"] for r in stub.requests("PutItem")][-1] == "#log"


async def test_closing_gives_back_before_slow_units_are_done(opened: Opened) -> None:
    """But not what those settle."""
    answering = asyncio.Event()
    given = [received("settled", "held")]

    async def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "ReceiveMessage":
            return given.pop() if given else (200, {})
        if action == "SendMessageBatch":
            await answering.wait()
        return quiet(action, request)

    def of(action: str) -> list[str]:
        return [e["ReceiptHandle"] for each in stub.requests(action) for e in each["Entries"]]

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store)
    settled, _ = await (await consume(backend.store, queue, credit=2)).expect(2)
    unit = UnitOfWork(answered=True)
    unit.sends.append((queue, message("x")))
    unit.deletes.append(settled)
    backend.store.submit(unit)
    closing = asyncio.create_task(backend.close())
    await _until(lambda: of("ChangeMessageVisibilityBatch"))
    assert not of("DeleteMessageBatch")
    answering.set()
    await closing
    assert of("DeleteMessageBatch") == ["handle-settled"]
    assert of("ChangeMessageVisibilityBatch") == ["handle-held"]


async def test_who_is_answered_learns_the_ids_that_sqs_gave(opened: Opened) -> None:
    backend, _ = await opened()
    queue = await make_queue(backend.store)
    for answered, expected in ((True, {0: ("m0", "")}), (False, {})):
        unit = UnitOfWork(answered=answered)
        unit.sends.append((queue, message("x")))
        await commit(backend.store, unit)
        assert unit.accepted == expected
