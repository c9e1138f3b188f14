"""What is done for queues though nobody consumes them, by one node at a time; moto for SQS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from bridge.backends.aws import AwsBackend
from bridge.backends.aws.duties import KIND_EXPIRING
from bridge.messaging.errors import QueueDoesNotExist, QueueFull, ResourceLocked
from bridge.messaging.model import (
    DeadLetterReason,
    Delivery,
    Overflow,
    RedrivePolicy,
    UnitOfWork,
)
from bridge.messaging.ports import Lease, Queue, Store
from tests.bridge.backends.aws.conftest import Opened, in_sqs, store_of
from tests.bridge.backends.aws.test_state import put
from tests.support.stores import consume, delete, drain, make_queue, message, name, send

Open = Callable[..., Awaitable[AwsBackend]]


class DeadLetters:
    """Takes what leaves its queue, as (body, reason)."""

    def __init__(self, store: Store) -> None:
        self.left: list[tuple[str, DeadLetterReason]] = []
        self._changed = asyncio.Event()
        store.use_dead_letterer(self._take)

    def _take(
        self, _: Queue, deliveries: Sequence[Delivery], reason: DeadLetterReason
    ) -> UnitOfWork:
        unit = UnitOfWork()
        for each in deliveries:
            self.left.append((each.message.body.decode(), reason))
            unit.deletes.append(each)
        self._changed.set()
        return unit

    async def expect(self, count: int) -> list[str]:
        """The bodies, once there are so many."""
        async with asyncio.timeout(60):
            while len(self.left) < count:
                self._changed.clear()
                await self._changed.wait()
        return [body for body, _ in self.left]


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0)


def unexpected(lease: Lease) -> None:
    raise AssertionError(lease.name)


# -- time to live


async def test_what_expires_leaves_a_queue_that_nobody_consumes(opened_at_moto: Open) -> None:
    store = (await opened_at_moto()).store
    dead = DeadLetters(store)
    queue = await make_queue(store, message_ttl_ms=300)
    await send(store, queue, message("a"), message("b"))
    assert sorted(await dead.expect(2)) == ["a", "b"]
    assert {reason for _, reason in dead.left} == {DeadLetterReason.EXPIRED}
    await send(store, queue, message("c"))
    await dead.expect(3)
    assert await drain(store, queue) == []


async def test_messages_with_an_end_of_their_own_are_found_too(opened_at_moto: Open) -> None:
    backend = await opened_at_moto()
    store = backend.store
    dead = DeadLetters(store)
    queue = await make_queue(store)
    short = message("short")
    short.expires_at = short.sent_at + 200
    await send(store, queue, message("stays"), short)
    assert await dead.expect(1) == ["short"]
    # Then there is nothing more to be looked for.
    await eventually(lambda: _is_free(backend, queue))
    (stays,) = await store.receive(queue, count=10, wait_seconds=20)
    assert stays.message.body == b"stays"
    assert not stays.redelivered


async def test_another_node_finds_them_when_the_one_that_sent_them_is_gone(
    opened_at_moto: Open,
) -> None:
    first, second = await opened_at_moto(), await opened_at_moto()
    dead = DeadLetters(second.store)
    queue = await make_queue(first.store)
    short = message("short")
    short.expires_at = short.sent_at + 3_000
    await send(first.store, queue, short)
    await first.close()
    assert await dead.expect(1) == ["short"]


async def test_what_is_known_to_expire_is_known_again_after_a_restart(
    opened_at_moto: Open,
) -> None:
    first = await opened_at_moto()
    short = message("short")
    short.expires_at = short.sent_at + 3_000
    await send(first.store, await make_queue(first.store), short)
    await first.close()
    again = await opened_at_moto()
    assert await DeadLetters(again.store).expect(1) == ["short"]


async def _is_free(backend: AwsBackend, queue: Queue) -> bool:
    return backend.leases.holder(f"sweep/{in_sqs(queue).sqs_name}") is None


async def test_a_sweep_waits_for_the_right_to_it(opened_at_moto: Open) -> None:
    backend = await opened_at_moto()
    store = backend.store
    dead = DeadLetters(store)
    sqs_name = store_of(backend).directory.sqs_name_of(name("first"), fifo=False)
    lease = await backend.leases.acquire(f"sweep/{sqs_name}", on_lost=unexpected)
    assert lease is not None
    first = await make_queue(store, "first", message_ttl_ms=100)
    second = await make_queue(store, "second", message_ttl_ms=300)
    await send(store, first, message("a"))
    await send(store, second, message("b"))
    assert await dead.expect(1) == ["b"]
    await backend.leases.release(lease)
    assert await dead.expect(2) == ["b", "a"]


async def test_a_queue_with_a_redrive_policy_is_not_swept(opened_at_moto: Open) -> None:
    store = (await opened_at_moto()).store
    dead = DeadLetters(store)
    await make_queue(store, "dead")
    left_alone = await make_queue(
        store, "left-alone", message_ttl_ms=100, redrive=RedrivePolicy("dead", 1)
    )
    swept = await make_queue(store, "swept", message_ttl_ms=300)
    await send(store, left_alone, message("a"))
    await send(store, swept, message("b"))
    assert await dead.expect(1) == ["b"]
    # Who receives does not get it, though.
    assert await store.receive(left_alone, count=1, wait_seconds=0) == []
    assert await dead.expect(2) == ["b", "a"]


async def test_a_queue_without_such_settings_has_no_duties(opened: Opened) -> None:
    backend, _ = await opened()
    queue = await make_queue(backend.store)
    await send(backend.store, queue, message("a"))
    assert in_sqs(queue).care is None


# -- length


async def test_a_queue_over_its_length_loses_its_oldest(opened_at_moto: Open) -> None:
    store = (await opened_at_moto()).store
    dead = DeadLetters(store)
    queue = await make_queue(store, length_max=15)
    await send(store, queue, *[message(str(number)) for number in range(40)])
    gone = await dead.expect(25)
    assert {reason for _, reason in dead.left} == {DeadLetterReason.MAXLEN}
    left = await drain(store, queue)
    assert len(left) == 15
    assert sorted(gone + left, key=int) == [str(number) for number in range(40)]


async def test_a_length_in_bytes_goes_by_the_mean_size(opened_at_moto: Open) -> None:
    store = (await opened_at_moto()).store
    dead = DeadLetters(store)
    queue = await make_queue(store, bytes_max=1_000)
    await send(store, queue, *[message("x" * 100) for _ in range(14)])
    await dead.expect(4)
    assert len(await drain(store, queue)) == 10


async def test_a_full_queue_refuses_until_there_is_room(opened_at_moto: Open) -> None:
    store = (await opened_at_moto(length_look_seconds=600.0)).store
    queue = await make_queue(store, length_max=2, overflow=Overflow.REJECT_PUBLISH)
    unit = await send(store, queue, *[message(str(number)) for number in range(4)])
    assert sorted(unit.failures) == [2, 3]
    assert all(isinstance(each, QueueFull) for each in unit.failures.values())
    await delete(store, *await store.receive(queue, count=1))
    unit = await send(store, queue, message("4"), message("5"))
    assert sorted(unit.failures) == [1]


async def test_room_made_elsewhere_is_noticed(opened_at_moto: Open) -> None:
    backend = await opened_at_moto()
    store = backend.store
    queue = await make_queue(store, length_max=1, overflow=Overflow.REJECT_PUBLISH)
    await send(store, queue, message("0"))
    assert (await send(store, queue, message("1"))).failures
    url = in_sqs(queue).url
    control = store_of(backend).directory.control
    await control._call("PurgeQueue", {"QueueUrl": url})

    async def taken() -> bool:
        return not (await send(store, queue, message("2"))).failures

    await eventually(taken)


# -- queues that nobody uses


async def test_a_consumer_keeps_its_queue(opened_at_moto: Open) -> None:
    store = (await opened_at_moto()).store
    removed: asyncio.Queue[Queue] = asyncio.Queue()
    store.use_idle_handler(removed.put_nowait)
    used = await make_queue(store, "used", idle_expiry_ms=3_000)
    collector = await consume(store, used)
    unused = await make_queue(store, "unused", idle_expiry_ms=3_000)
    assert await asyncio.wait_for(removed.get(), 60) is unused
    assert removed.empty()
    assert collector.subscription is not None
    collector.subscription.cancel()
    while (last := await asyncio.wait_for(removed.get(), 60)) is not used:
        assert last is unused


async def test_a_node_forgets_no_note_that_it_has_not_seen(opened_at_moto: Open) -> None:
    first = await opened_at_moto(follow_seconds=1_000.0)
    second = await opened_at_moto()
    queue = in_sqs(await make_queue(first.store))
    await put(first, (KIND_EXPIRING, queue.sqs_name, b"1 2"))
    await second.state.refresh(KIND_EXPIRING)
    note = b"%d %d" % (2**50, 2**50)
    await put(second, (KIND_EXPIRING, queue.sqs_name, note))
    # What ended at the first node is all that it knows of.
    store_of(first).duties._forget(queue)
    assert first.state.get(KIND_EXPIRING, queue.sqs_name) is None
    await put(first, ("k", "after that", b""))
    for each in (first, second):
        await each.state.refresh(KIND_EXPIRING)
        assert each.state.get(KIND_EXPIRING, queue.sqs_name) == note


# -- consumers that are alone, among nodes


async def test_the_single_active_consumer_is_of_the_node_whose_turn_it_is(
    opened_at_moto: Open,
) -> None:
    backend = await opened_at_moto()
    store = backend.store
    sqs_name = store_of(backend).directory.sqs_name_of(name("orders"), fifo=False)
    elsewhere = await backend.leases.acquire(f"consumer/{sqs_name}", on_lost=unexpected)
    assert elsewhere is not None
    queue = await make_queue(store, single_active_consumer=True)
    other = await make_queue(store, "other")
    await send(store, queue, message("a"))
    collector, ordinary = await consume(store, queue), await consume(store, other)
    await send(store, other, message("b"))
    await ordinary.expect(1)
    assert collector.deliveries == []
    await backend.leases.release(elsewhere)
    await collector.expect(1)
    assert collector.subscription is not None
    collector.subscription.cancel()
    await eventually(lambda: _can_have(backend, f"consumer/{sqs_name}"))


async def test_who_consumes_first_at_any_node_has_the_turn(opened_at_moto: Open) -> None:
    first, second = await opened_at_moto(), await opened_at_moto()
    queue = await make_queue(first.store, single_active_consumer=True)
    there = second.store.queue(queue.name)
    assert there is not None
    active = await consume(first.store, queue)
    turn = f"consumer/{in_sqs(queue).sqs_name}"
    assert first.leases.holder(turn) == first.leases.node_id
    passive = await consume(second.store, there)
    await send(second.store, there, message("a"), message("b"))
    await active.expect(2)
    assert passive.deliveries == []


async def test_a_consumer_that_waits_for_the_turn_may_lose_its_queue(opened_at_moto: Open) -> None:
    store = (await opened_at_moto()).store
    queue = await make_queue(store, single_active_consumer=True)
    joining = asyncio.ensure_future(consume(store, queue))
    await asyncio.sleep(0)
    in_sqs(queue).vanish()
    with pytest.raises(QueueDoesNotExist):
        await joining


async def test_who_gives_up_while_the_turn_is_asked_for_keeps_nothing(
    opened_at_moto: Open,
) -> None:
    backend = await opened_at_moto()
    store = backend.store
    queue = await make_queue(store, single_active_consumer=True)
    joining = asyncio.ensure_future(consume(store, queue))
    await asyncio.sleep(0)
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    assert queue.consumer_count == 0
    collector = await consume(store, queue)
    await send(store, queue, message("a"))
    await collector.expect(1)


async def test_exclusive_use_is_one_node_s(opened_at_moto: Open) -> None:
    backend = await opened_at_moto()
    store = backend.store
    queue = await make_queue(store)
    right = f"exclusive/{in_sqs(queue).sqs_name}"
    elsewhere = await backend.leases.acquire(right, on_lost=unexpected)
    assert elsewhere is not None
    with pytest.raises(ResourceLocked):
        await consume(store, queue, exclusive=True)
    await backend.leases.release(elsewhere)
    collector = await consume(store, queue, exclusive=True)
    assert await backend.leases.acquire(right, on_lost=unexpected) is None
    assert collector.subscription is not None
    collector.subscription.cancel()
    await eventually(lambda: _can_have(backend, right))


async def _can_have(backend: AwsBackend, lease: str) -> bool:
    return backend.leases.holder(lease) is None
