"""Priorities as up to four queues in SQS, which are one to everybody else; moto for SQS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bridge.backends.aws import AwsBackend
from bridge.backends.aws.queues import AwsQueue
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import DeadLetterReason, DeadLetterTarget, UnitOfWork
from bridge.messaging.ports import Queue, Store
from tests.bridge.backends.aws.conftest import (
    Opened,
    empty_account,
    in_sqs,
    received,
    store_of,
)
from tests.support.aws_stub import Answer, aws_error
from tests.support.stores import (
    Collector,
    commit,
    consume,
    delete,
    drain,
    found,
    make_queue,
    message,
    name,
    release,
    send,
)

Open = Callable[..., Awaitable[AwsBackend]]


def parts_of(queue: Queue) -> list[AwsQueue]:
    return list(in_sqs(queue).parts)


async def send_all(store: Store, queue: Queue, *priorities: int) -> None:
    await send(store, queue, *[message(str(each), priority=each) for each in priorities])


async def expect_one(collector: Collector, count: int) -> str:
    """The body of the delivery that comes as the `count`th."""
    return (await collector.expect(count))[count - 1].message.body.decode()


@pytest.mark.parametrize(("most", "parts"), [(0, 1), (1, 2), (2, 3), (3, 4), (9, 4), (255, 4)])
async def test_a_queue_has_as_many_bands_as_it_needs(
    opened_at_moto: Open, most: int, parts: int
) -> None:
    store = (await opened_at_moto()).store
    queue = await make_queue(store, priority_max=most)
    assert len(parts_of(queue)) == parts


async def test_the_higher_comes_first_to_a_consumer(opened_at_moto: Open) -> None:
    # Longer than a poll waits: a band that is found empty lets the next lower one have its turn.
    store = (await opened_at_moto(band_patience_seconds=1_000.0)).store
    queue = await make_queue(store, priority_max=3)
    await send_all(store, queue, 0, 1, 2, 3, 0, 1, 2, 3)
    collector = await consume(store, queue, credit=1)
    came: list[str] = []
    for number in range(1, 9):
        came.append(await expect_one(collector, number))
        await delete(store, collector.deliveries[-1])
        assert collector.subscription is not None
        collector.subscription.add_credit(1)
    assert came == ["3", "3", "2", "2", "1", "1", "0", "0"]


async def test_who_begins_to_consume_gets_what_is_there_at_once(opened_at_moto: Open) -> None:
    # By the polls alone, a band would be asked when the one above it has waited for that long.
    store = (await opened_at_moto(band_patience_seconds=1_000.0, poll_wait_seconds=20)).store
    queue = await make_queue(store, priority_max=3)
    for _ in range(2):
        await send_all(store, queue, 0, 3, 2, 0)
        collector = await consume(store, queue, credit=10)
        async with asyncio.timeout(10):
            deliveries = await collector.expect(4)
        assert collector.bodies == ["3", "2", "0", "0"]
        for each in deliveries:
            await delete(store, each)
        assert collector.subscription is not None
        collector.subscription.cancel()


@pytest.mark.parametrize("patience", [0.0, 0.05, 1_000.0])
async def test_all_bands_are_waited_at(opened_at_moto: Open, patience: float) -> None:
    store = (await opened_at_moto(band_patience_seconds=patience)).store
    queue = await make_queue(store, priority_max=3)
    collector = await consume(store, queue, credit=10)
    for number, priority in enumerate((0, 3, 1, 2), 1):
        await send_all(store, queue, priority)
        assert await expect_one(collector, number) == str(priority)


async def test_what_nobody_has_credit_for_is_not_a_delivery(opened_at_moto: Open) -> None:
    store = (await opened_at_moto(surplus_seconds_max=0.1)).store
    queue = await make_queue(store, priority_max=3)
    collector = await consume(store, queue, credit=1)
    # All bands have an open poll by now, or will have.
    await send_all(store, queue, 0, 1, 2, 3)
    await collector.expect(1)
    assert collector.subscription is not None
    for number in (2, 3, 4):
        collector.subscription.add_credit(1)
        await collector.expect(number)
    assert not any(each.redelivered for each in collector.deliveries)


async def test_a_released_message_keeps_its_band(opened_at_moto: Open) -> None:
    store = (await opened_at_moto()).store
    queue = await make_queue(store, priority_max=3)
    await send_all(store, queue, 3, 0)
    (first,) = await store.receive(queue, count=1, wait_seconds=0)
    await release(store, first)
    assert await drain(store, queue) == ["3", "0"]


async def test_counts_purges_and_handles_are_of_all_bands(opened_at_moto: Open) -> None:
    store = (await opened_at_moto()).store
    queue = await make_queue(store, priority_max=3)
    await send_all(store, queue, 0, 1, 2, 3)
    assert (await store.counts(queue)).visible == 4
    (first,) = await store.receive(queue, count=1, wait_seconds=0)
    found = store.delivery_of(queue, store.handle_of(first))
    assert found is not None
    await delete(store, found)
    assert await store.purge_queue(queue) == 3
    assert (await store.counts(queue)).visible == 0


async def test_a_queue_goes_with_all_its_bands(opened_at_moto: Open) -> None:
    backend = await opened_at_moto()
    store = backend.store
    queue = await make_queue(store, priority_max=3)
    await send_all(store, queue, 0, 3)
    assert await store.delete_queue(queue) == 2
    control = store_of(backend).directory.control
    assert [await control.url_of(each.sqs_name) for each in parts_of(queue)] == [None] * 4
    assert store.queue(name("orders")) is None


async def test_bands_are_known_again_after_a_restart(opened_at_moto: Open) -> None:
    first = await opened_at_moto()
    await send_all(first.store, await make_queue(first.store, priority_max=3), 0, 3)
    again = await opened_at_moto()
    assert [each.name for each in again.store.queues()] == [name("orders")]
    assert await drain(again.store, found(again.store)) == ["3", "0"]


async def test_other_nodes_know_the_bands(opened_at_moto: Open) -> None:
    first = await opened_at_moto()
    second = await opened_at_moto()
    queue = await make_queue(first.store, priority_max=3)
    await send_all(second.store, found(second.store), 0, 3)
    assert await drain(first.store, queue) == ["3", "0"]


async def test_what_expires_in_any_band_is_found(opened_at_moto: Open) -> None:
    store = (await opened_at_moto()).store
    left: asyncio.Queue[str] = asyncio.Queue()

    def dead_letter(of: Queue, deliveries: Any, _: DeadLetterReason) -> UnitOfWork:
        assert of is queue
        unit = UnitOfWork()
        unit.deletes += deliveries
        for each in deliveries:
            left.put_nowait(each.message.body.decode())
        return unit

    store.use_dead_letterer(dead_letter)
    queue = await make_queue(
        store, priority_max=3, message_ttl_ms=200, dead_letter=DeadLetterTarget("", "dead")
    )
    await send_all(store, queue, 0, 1, 2, 3)
    assert sorted([await asyncio.wait_for(left.get(), 60) for _ in range(4)]) == list("0123")


async def test_transactions_reach_all_bands(opened_at_moto: Open) -> None:
    store = (await opened_at_moto()).store
    queue = await make_queue(store, priority_max=3)
    unit = UnitOfWork(atomic=True)
    unit.sends += [(queue, message(str(each), priority=each)) for each in (1, 3)]
    await commit(store, unit)
    received = await store.receive(queue, count=10, wait_seconds=0)
    unit = UnitOfWork(atomic=True)
    unit.deletes += received
    unit.sends.append((queue, message("2", priority=2)))
    await commit(store, unit)
    assert await drain(store, queue) == ["2"]


async def test_what_one_band_gave_is_given_back_where_the_next_one_refuses(opened: Opened) -> None:
    answers = [received("a"), aws_error("AccessDenied")]

    def answer(action: str, request: dict[str, Any]) -> Answer:
        return answers.pop(0) if action == "ReceiveMessage" else empty_account(action, request)

    backend, stub = await opened(answer)
    queue = await make_queue(backend.store, priority_max=3)
    with pytest.raises(MessagingError):
        await backend.store.receive(queue, count=10)
    await backend.close()
    (change,) = stub.requests("ChangeMessageVisibilityBatch")
    entries = [(each["ReceiptHandle"], each["VisibilityTimeout"]) for each in change["Entries"]]
    assert entries == [("handle-a", 0)]
