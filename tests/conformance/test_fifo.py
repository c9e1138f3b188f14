"""First-in-first-out queues behind the port: groups, deduplication, attempts (SQS FIFO)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from bridge.messaging.errors import ReceiptHandleExpired
from bridge.messaging.model import Message, RedrivePolicy
from bridge.messaging.ports import Queue, Store
from tests.conformance.subjects import Capability
from tests.support.stores import consume, delete, drain, make_queue, message, send


def fifo(group: str, body: str, deduplication_id: str | None = None) -> Message:
    return message(body, group_id=group, deduplication_id=deduplication_id or f"{group}-{body}")


async def make_fifo(store: Store, text: str = "orders.fifo", **settings: object) -> Queue:
    return await make_queue(store, text, fifo=True, **settings)


async def bodies(store: Store, queue: Queue, count: int = 10, wait: int = 0) -> list[str]:
    received = await store.receive(queue, count=count, wait_seconds=wait)
    return [each.message.body.decode() for each in received]


@pytest.mark.needs(Capability.FIFO_ORDER, Capability.ONCE)
async def test_one_group_is_emptied_before_the_next(store: Store) -> None:
    queue = await make_fifo(store)
    await send(
        store, queue, fifo("g1", "m1"), fifo("g2", "m1'"), fifo("g1", "m2"), fifo("g1", "m3")
    )
    assert await bodies(store, queue) == ["m1", "m2", "m3", "m1'"]


async def test_a_group_in_flight_is_locked(store: Store) -> None:
    queue = await make_fifo(store)
    await send(store, queue, fifo("g", "1"), fifo("g", "2"))
    (first,) = await store.receive(queue, count=1)
    await send(store, queue, fifo("h", "3"))
    assert await bodies(store, queue) == ["3"]
    await send(store, queue, fifo("g", "4"))
    assert await bodies(store, queue) == []
    await delete(store, first)
    assert await bodies(store, queue) == ["2", "4"]


async def test_a_group_is_free_again_when_its_visibility_ends(store: Store) -> None:
    queue = await make_fifo(store)
    await send(store, queue, fifo("g", "1"), fifo("g", "2"))
    await store.receive(queue, count=1, visibility_seconds=1)
    assert await bodies(store, queue, wait=20) == ["1", "2"]


@pytest.mark.needs(Capability.FIFO_ORDER)
async def test_extending_one_keeps_all_behind_it_hidden(store: Store) -> None:
    queue = await make_fifo(store)
    await send(store, queue, *[fifo("g", str(number)) for number in range(4)])
    received = await store.receive(queue, count=4, visibility_seconds=3)
    await store.change_visibility(received[2], 120)
    assert await bodies(store, queue, wait=20) == ["0", "1"]
    assert await bodies(store, queue) == []


async def test_giving_one_back_hands_it_out_again_in_order(store: Store) -> None:
    queue = await make_fifo(store)
    await send(store, queue, fifo("g", "1"), fifo("g", "2"))
    received = await store.receive(queue, count=2)
    for each in received:
        await store.change_visibility(each, 0)
    assert await bodies(store, queue) == ["1", "2"]


@pytest.mark.needs(Capability.FIFO_ORDER)
async def test_a_duplicate_is_answered_with_the_original(store: Store) -> None:
    queue = await make_fifo(store)
    first = await send(store, queue, fifo("g", "1", "same"))
    assert await drain(store, queue) == ["1"]
    second = await send(store, queue, fifo("h", "2", "same"))
    assert second.accepted == first.accepted
    assert await drain(store, queue) == []


@pytest.mark.needs(Capability.FIFO_ORDER)
async def test_deduplication_per_group(store: Store) -> None:
    queue = await make_fifo(store, deduplication_per_group=True)
    await send(store, queue, fifo("g", "1", "same"), fifo("h", "2", "same"), fifo("g", "3", "same"))
    assert sorted(await drain(store, queue)) == ["1", "2"]


@pytest.mark.needs(Capability.PURGE_ALL)
async def test_a_purge_forgets_deduplication_ids(store: Store) -> None:
    queue = await make_fifo(store)
    await send(store, queue, fifo("g", "1", "same"))
    await store.purge_queue(queue)
    await send(store, queue, fifo("g", "2", "same"))
    assert await drain(store, queue) == ["2"]


@pytest.mark.needs(Capability.FIFO_ORDER)
async def test_sequence_numbers_rise(store: Store) -> None:
    queue = await make_fifo(store)
    unit = await send(store, queue, *[fifo("g", str(number)) for number in range(20)])
    numbers = [unit.accepted[index].sequence_number for index in range(20)]
    assert numbers == sorted(set(numbers))
    assert all(len(number) == 20 for number in numbers)
    received = await store.receive(queue, count=10)
    assert [each.sequence_number for each in received] == numbers[:10]


@pytest.mark.needs(Capability.FIFO_ORDER)
async def test_a_repeated_attempt_gets_the_same_messages(store: Store) -> None:
    queue = await make_fifo(store)
    await send(store, queue, fifo("g", "1"), fifo("g", "2"))
    first = await store.receive(queue, count=1, attempt_id="a")
    again = await store.receive(queue, count=1, attempt_id="a")
    assert [store.handle_of(each) for each in again] == [store.handle_of(each) for each in first]
    await delete(store, *first)
    third = await store.receive(queue, count=1, attempt_id="a")
    assert [each.message.body for each in third] == [b"2"]


@pytest.mark.needs(Capability.HANDLES)
async def test_a_handle_ends_with_its_visibility(store: Store) -> None:
    queue = await make_fifo(store)
    await send(store, queue, fifo("g", "1"))
    (received,) = await store.receive(queue, count=1, visibility_seconds=1)
    handle = store.handle_of(received)
    await store.receive(queue, count=1, wait_seconds=20)
    with pytest.raises(ReceiptHandleExpired):
        store.delivery_of(queue, handle)


@pytest.mark.needs(Capability.FIFO_ORDER, Capability.ONCE)
async def test_redrive_keeps_id_and_group(store: Store) -> None:
    dead = await make_fifo(store, "dead.fifo")
    queue = await make_fifo(store, redrive=RedrivePolicy("dead.fifo", 1))
    await send(store, queue, fifo("g", "1"), fifo("g", "2"))
    (first,) = await store.receive(queue, count=1, visibility_seconds=0)
    assert await bodies(store, queue) == ["2"]
    (moved,) = await store.receive(dead, count=1, wait_seconds=20)
    assert moved.message.message_id == first.message.message_id
    assert moved.message.group_id == "g"
    assert moved.message.deduplication_id == first.message.message_id


async def test_a_pushed_run_stays_with_its_consumer(store: Store) -> None:
    queue = await make_fifo(store)
    first = await consume(store, queue, credit=2)
    second = await consume(store, queue, credit=10)
    await send(store, queue, *[fifo("g", str(number)) for number in range(4)])
    async with asyncio.timeout(60):
        while not (first.deliveries or second.deliveries):
            await store.counts(queue)
            await asyncio.wait([asyncio.ensure_future(store.counts(queue))])
    owner, other = (first, second) if first.deliveries else (second, first)
    assert other.deliveries == []
    assert owner.bodies == [str(number) for number in range(len(owner.bodies))]


@pytest.mark.needs(Capability.FIFO_ORDER)
async def test_groups_behind_a_locked_one_are_found(store: Store) -> None:
    queue = await make_fifo(store)
    await send(store, queue, *[fifo("busy", str(number)) for number in range(500)])
    await store.receive(queue, count=1)
    await send(store, queue, fifo("free", "x"))
    assert await bodies(store, queue) == ["x"]


@pytest.mark.needs(Capability.FIFO_ORDER)
async def test_another_delay_applies_to_what_waits(store: Store) -> None:
    queue = await make_fifo(store, delay_seconds=900)
    await send(store, queue, fifo("g", "1"), fifo("g", "2"))
    assert await bodies(store, queue) == []
    await store.change_queue(queue, msgspec.structs.replace(queue.settings, delay_seconds=0))
    assert await bodies(store, queue, wait=20) == ["1", "2"]
