"""Moments in which two things meet: a receive served as it gives up, a purge under a read."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from bridge.backends.embedded import EmbeddedBackend, expiry
from bridge.backends.embedded.queue import EmbeddedQueue
from bridge.messaging.clock import SystemClock
from bridge.messaging.errors import QueueDoesNotExist, ReceiptHandleInvalid
from bridge.messaging.limits import Limits
from bridge.messaging.model import DeadLetterReason, Delivery, UnitOfWork
from bridge.messaging.ports import Queue, Store
from bridge.storage.directory import STORE_FILE
from tests.bridge.backends.embedded.conftest import Reopen, with_queue
from tests.support.stores import (
    Collector,
    commit,
    consume,
    delete,
    drain,
    found,
    make_queue,
    message,
    release,
    send,
)

SHORT = Limits(
    queue_head_messages_max=4,
    queue_refill_messages=4,
    fifo_head_messages_max=4,
    receive_count_delay_seconds=0.0,
)


def collect_dead(store: Store) -> list[str]:
    left: list[str] = []

    def dead_letter(_: Queue, entries: Sequence[Delivery], __: DeadLetterReason) -> UnitOfWork:
        left.extend(each.message.body.decode() for each in entries)
        unit = UnitOfWork()
        unit.deletes += entries
        return unit

    store.use_dead_letterer(dead_letter)
    return left


async def turns(store: Store) -> None:
    """Let the store have a few turns."""
    for _ in range(5):
        await commit(store, UnitOfWork())


# -- receiving


async def test_a_receive_served_as_its_time_ends_keeps_what_it_got(reopen: Reopen) -> None:
    store = (await reopen()).store
    queue = await make_queue(store)
    waiting = asyncio.ensure_future(store.receive(queue, count=1, wait_seconds=1))
    await turns(store)
    # The message is handed over in the last turn, and before the receive runs again its time ends.
    ended = asyncio.Event()

    def end() -> None:
        unit = UnitOfWork()
        unit.sends.append((queue, message("x")))
        store.submit(unit)
        while loop.time() <= at:
            pass
        ended.set()

    loop = asyncio.get_running_loop()
    at = loop.time() + 1
    loop.call_at(at - 0.05, end)
    await ended.wait()
    assert len(await waiting) + (await store.counts(queue)).visible == 1


async def test_a_purge_under_a_read_wakes_who_waits_for_it(reopen: Reopen) -> None:
    store = (await reopen(limits=SHORT)).store
    queue = await make_queue(store)
    await send(store, queue, *[message("x") for _ in range(20)])
    await drain_some(store, queue, 4)
    waiting = [asyncio.ensure_future(store.receive(queue, count=10)) for _ in range(3)]
    await store.purge_queue(queue)
    await asyncio.wait_for(asyncio.gather(*waiting), 60)


async def test_a_deletion_under_a_read_ends_who_waits_for_it(reopen: Reopen) -> None:
    store = (await reopen(limits=SHORT)).store
    queue = await make_queue(store)
    await send(store, queue, *[message("x") for _ in range(20)])
    await drain_some(store, queue, 4)
    waiting = asyncio.ensure_future(store.receive(queue, count=10, wait_seconds=3600))
    await asyncio.wait([asyncio.ensure_future(store.delete_queue(queue))])
    outcome = await asyncio.wait_for(asyncio.gather(waiting, return_exceptions=True), 60)
    assert isinstance(outcome[0], QueueDoesNotExist) or outcome[0]


async def drain_some(store: Store, queue: Queue, count: int) -> None:
    await delete(store, *await store.receive(queue, count=count))


async def test_a_receive_from_a_deleted_queue_is_refused(reopen: Reopen) -> None:
    store = (await reopen()).store
    queue = await make_queue(store)
    await store.delete_queue(queue)
    with pytest.raises(QueueDoesNotExist):
        await store.receive(queue, count=1, wait_seconds=20)


async def test_a_queue_deleted_as_it_serves_keeps_nothing(reopen: Reopen) -> None:
    store = (await reopen()).store
    queue = await make_queue(store)
    waiting = asyncio.ensure_future(store.receive(queue, count=1, wait_seconds=3600))
    await turns(store)
    unit = UnitOfWork()
    unit.sends.append((queue, message("x")))
    store.submit(unit)
    # The store's turn is due first, then the deletion, then the receive.
    await asyncio.ensure_future(store.delete_queue(queue))
    with pytest.raises(QueueDoesNotExist):
        await waiting
    assert isinstance(queue, EmbeddedQueue)
    assert not queue.received


async def test_closing_ends_long_polls(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    waiting = asyncio.ensure_future(backend.store.receive(queue, count=1, wait_seconds=3600))
    await turns(backend.store)
    await backend.close()
    assert await asyncio.wait_for(waiting, 60) == []


class Canceller(Collector):
    """Cancels another consumer as soon as it is given something."""

    other: Collector

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        super().deliver(deliveries)
        assert self.other.subscription is not None
        self.other.subscription.cancel()


async def test_who_is_cancelled_in_a_turn_gets_nothing_in_it(reopen: Reopen) -> None:
    store = (await reopen()).store
    queue = await make_queue(store)
    await send(store, queue, message("a"), message("b"))
    first, second = Canceller(), Canceller()
    first.other, second.other = second, first
    for each in (first, second):
        each.subscription = await store.consume(queue, each, credit=0)
    for each in (first, second):
        assert each.subscription is not None
        each.subscription.add_credit(5)
    await turns(store)
    assert {tuple(first.bodies), tuple(second.bodies)} == {("a", "b"), ()}


async def test_a_handle_with_no_count_at_its_end_is_none(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    await send(backend.store, queue, message("x"))
    (received,) = await backend.store.receive(queue, count=1)
    with pytest.raises(ReceiptHandleInvalid):
        backend.store.delivery_of(queue, backend.store.handle_of(received) + "x")


async def test_what_get_holds_is_counted_over_a_crash(reopen: Reopen, tmp_path: Path) -> None:
    backend, queue = await with_queue(reopen, limits=SHORT)
    await send(backend.store, queue, message("x"))
    assert await backend.store.take(queue) is not None
    async with asyncio.timeout(60):
        while not backend.database.query_now("SELECT 1 FROM entry WHERE receive_count = 1"):
            await turns(backend.store)
    crashed = await crash(backend, tmp_path)
    (again,) = await crashed.store.receive(found(crashed.store), count=1)
    assert again.redelivered
    await crashed.close()


async def crash(backend: EmbeddedBackend, path: Path) -> EmbeddedBackend:
    """Open a copy of the running store, as a killed one would be found."""
    copy = path / "copy"
    copy.mkdir()
    for suffix in ("", "-wal"):
        shutil.copyfile(path / (STORE_FILE + suffix), copy / (STORE_FILE + suffix))
    crashed = EmbeddedBackend(copy, durability="os", clock=SystemClock(), limits=SHORT)
    await crashed.open()
    return crashed


@pytest.mark.parametrize("place", [1, 12], ids=["head", "tail"])
async def test_a_handle_still_deletes_after_a_crash_that_forgot_the_receive(
    reopen: Reopen, tmp_path: Path, place: int
) -> None:
    backend, queue = await with_queue(reopen, limits=Limits(lazy_commit_delay_seconds=60))
    await send(backend.store, queue, *[message(str(number)) for number in range(20)])
    received = await backend.store.receive(queue, count=20)
    handle = backend.store.handle_of(received[place])
    crashed = await crash(backend, tmp_path)
    queue = found(crashed.store)
    if place == 1:
        # Some of the head is in memory again.
        await release(crashed.store, *[await taken(crashed.store, queue)])
    delivery = crashed.store.delivery_of(queue, handle)
    assert delivery is not None
    await delete(crashed.store, delivery)
    assert crashed.store.delivery_of(queue, handle) is None
    left = await drain(crashed.store, queue)
    assert left == [str(number) for number in range(20) if number != place]
    assert crashed.corrections == 0
    await crashed.close()


async def taken(store: Store, queue: Queue) -> Delivery:
    delivery = await store.take(queue)
    assert delivery is not None
    return delivery


# -- time to live and length


async def test_what_expires_behind_many_that_are_held_is_found(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "PAGE_ROWS_MAX", 2)
    backend = await reopen(limits=SHORT)
    store = backend.store
    left = collect_dead(store)
    queue = await make_queue(store, message_ttl_ms=2_000)
    collector = await consume(store, queue, credit=4)
    await send(store, queue, *[message(str(number)) for number in range(20)])
    await collector.expect(4)
    async with asyncio.timeout(60):
        while len(left) < 16:
            await turns(store)
    assert sorted(map(int, left)) == list(range(4, 20))
    assert await store.counts(queue) == (0, 4, 0)
    assert backend.corrections == 0


async def test_what_expired_while_held_leaves_when_it_is_released(reopen: Reopen) -> None:
    store = (await reopen()).store
    left = collect_dead(store)
    queue = await make_queue(store)
    collector = await consume(store, queue, credit=1)
    short = message("x")
    short.expires_at = short.sent_at + 1_500
    await send(store, queue, short)
    held = await collector.expect(1)
    async with asyncio.timeout(60):
        while SystemClock().epoch_ms() <= short.expires_at:
            await turns(store)
    assert left == []
    await release(store, *held)
    async with asyncio.timeout(60):
        while not left:
            await turns(store)


async def test_a_length_limit_holds_for_what_is_on_disk(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, limits=SHORT, length_max=10)
    await send(backend.store, queue, *[message(str(number)) for number in range(10)])
    backend = await reopen(limits=SHORT)
    queue = found(backend.store)
    await send(backend.store, queue, *[message(str(number)) for number in range(10, 20)])
    async with asyncio.timeout(60):
        while (await backend.store.counts(queue)).visible > 10:
            await turns(backend.store)
    assert await drain(backend.store, queue) == [str(number) for number in range(10, 20)]


async def test_a_limit_in_bytes_counts_what_waits(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, bytes_max=1_000)
    late = message("x" * 900)
    late.visible_at = late.sent_at + 50_000
    await send(backend.store, queue, message("a" * 500), message("b" * 500), late)
    backend = await reopen()
    queue = found(backend.store)
    await send(backend.store, queue, message("c" * 500))
    assert [body[0] for body in await drain(backend.store, queue)] == ["b", "c"]
    await send(backend.store, queue, *[message(letter * 500) for letter in "def"])
    assert [body[0] for body in await drain(backend.store, queue)] == ["e", "f"]


# -- first-in-first-out


async def test_a_purge_frees_a_group_in_flight(reopen: Reopen) -> None:
    store = (await reopen()).store
    queue = await make_queue(store, "q.fifo", fifo=True)
    one, two = (message(text, group_id="g", deduplication_id=text) for text in "12")
    await send(store, queue, one)
    await store.receive(queue, count=1)
    await store.purge_queue(queue)
    await send(store, queue, two)
    assert await drain(store, queue) == ["2"]


async def test_what_left_a_fifo_queue_leaves_room_in_its_head(reopen: Reopen) -> None:
    backend = await reopen(limits=SHORT)
    store = backend.store
    collect_dead(store)
    queue = await make_queue(store, "q.fifo", fifo=True)
    for number in range(12):
        short = message("x", group_id="g", deduplication_id=f"x{number}")
        short.expires_at = short.sent_at
        await send(store, queue, short)
        await turns(store)
    sent = [message(str(n), group_id="g", deduplication_id=str(n)) for n in range(12)]
    await send(store, queue, *sent)
    assert await drain(store, queue) == [str(number) for number in range(12)]
    assert len(queue._groups) == 0  # type: ignore[attr-defined]


async def test_a_purge_forgets_what_was_accepted_in_its_own_commit(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, "q.fifo", fifo=True)
    store = backend.store
    sent = message("x", group_id="g", deduplication_id="d")
    unit = UnitOfWork()
    unit.sends.append((queue, sent))
    store.submit(unit)
    await store.purge_queue(queue)
    backend = await reopen()
    queue = found(backend.store, "q.fifo")
    await send(backend.store, queue, sent)
    assert await drain(backend.store, queue) == ["x"]
