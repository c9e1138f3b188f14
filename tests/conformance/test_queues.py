"""Standard queues behind the port, as any backend must keep them (SQS semantics)."""

from __future__ import annotations

import asyncio

import pytest

from bridge.messaging.errors import QueueDoesNotExist, ReceiptHandleInvalid, ResourceLocked
from bridge.messaging.model import DeadLetterReason, Delivery, RedrivePolicy, UnitOfWork
from bridge.messaging.ports import Queue, Store
from tests.conformance.subjects import Capability
from tests.support.stores import (
    commit,
    consume,
    contents_of,
    delete,
    drain,
    make_queue,
    message,
    name,
    release,
    send,
    shares_of,
)


@pytest.mark.needs(Capability.ONCE)
async def test_what_was_sent_is_received(store: Store) -> None:
    queue = await make_queue(store)
    await send(store, queue, *[message(str(number)) for number in range(25)])
    assert sorted(await drain(store, queue), key=int) == [str(number) for number in range(25)]


@pytest.mark.needs(Capability.ORDER)
async def test_what_was_sent_is_received_in_order(store: Store) -> None:
    queue = await make_queue(store)
    await send(store, queue, *[message(str(number)) for number in range(25)])
    assert await drain(store, queue) == [str(number) for number in range(25)]


async def test_what_was_sent_is_received_at_least_once(store: Store) -> None:
    queue = await make_queue(store)
    sent = {str(number) for number in range(200)}
    for start in range(0, 200, 50):
        unit = await send(store, queue, *[message(str(start + each)) for each in range(50)])
        assert not unit.failures
    collector = await consume(store, queue, credit=50)
    seen: set[str] = set()
    first_times: list[str] = []
    at = 0
    async with asyncio.timeout(60):
        while seen < sent:
            taken = (await collector.expect(at + 1))[at:]
            at += len(taken)
            seen |= {each.message.body.decode() for each in taken}
            first_times += [each.message.message_id for each in taken if not each.redelivered]
            await delete(store, *taken)
            assert collector.subscription is not None
            collector.subscription.add_credit(len(taken))
    assert seen == sent
    # What comes again is marked; a send that was tried again has an id of its own.
    assert len(set(first_times)) == len(first_times)


async def test_a_message_keeps_all_that_it_has(store: Store) -> None:
    queue = await make_queue(store)
    sent = message(
        b"\x00\xff",
        properties={"content-type": "text/plain", "persistent": True},
        headers={"a": 1, "b": [1, "x", {"c": None}], "d": b"\x00", "e": 2**70},
        topic="amq.topic",
        subject="a.b",
        priority=3,
    )
    await send(store, queue, sent)
    (received,) = await store.receive(queue, count=1)
    assert contents_of(received.message) == contents_of(sent)


@pytest.mark.needs(Capability.IDENTITY)
async def test_a_message_keeps_its_id_and_its_time(store: Store) -> None:
    queue = await make_queue(store)
    sent = message("x")
    await send(store, queue, sent)
    (received,) = await store.receive(queue, count=1)
    assert received.message == sent


@pytest.mark.needs(Capability.ONCE)
async def test_a_received_message_is_hidden_until_its_timeout_ends(store: Store) -> None:
    queue = await make_queue(store)
    await send(store, queue, message("x"))
    (first,) = await store.receive(queue, count=1, visibility_seconds=3)
    assert await store.receive(queue, count=1, wait_seconds=0) == []
    (again,) = await store.receive(queue, count=1, wait_seconds=20)
    assert again.message == first.message
    assert again.receive_count == 2


async def test_visibility_zero_gives_the_message_back_at_once(store: Store) -> None:
    queue = await make_queue(store)
    await send(store, queue, message("x"))
    (first,) = await store.receive(queue, count=1)
    await store.change_visibility(first, 0)
    (again,) = await store.receive(queue, count=1, wait_seconds=0)
    assert again.receive_count == 2


@pytest.mark.needs(Capability.ONCE)
async def test_visibility_can_be_extended(store: Store) -> None:
    queue = await make_queue(store)
    await send(store, queue, message("x"))
    (first,) = await store.receive(queue, count=1, visibility_seconds=3)
    await store.change_visibility(first, 120)
    assert await store.receive(queue, count=1, wait_seconds=4) == []


@pytest.mark.needs(Capability.ONCE)
async def test_a_deleted_message_is_gone(store: Store) -> None:
    queue = await make_queue(store)
    await send(store, queue, message("x"))
    (received,) = await store.receive(queue, count=1, visibility_seconds=1)
    await delete(store, received)
    assert await store.receive(queue, count=1, wait_seconds=2) == []


@pytest.mark.needs(Capability.ONCE)
async def test_a_handle_stands_for_its_message(store: Store) -> None:
    queue = await make_queue(store)
    await send(store, queue, message("x"))
    (received,) = await store.receive(queue, count=1)
    handle = store.handle_of(received)
    found = store.delivery_of(queue, handle)
    assert found is not None
    await delete(store, found)
    assert await store.receive(queue, count=1, wait_seconds=0) == []


@pytest.mark.needs(Capability.HANDLES)
async def test_a_handle_tells_that_its_message_is_gone(store: Store) -> None:
    queue = await make_queue(store)
    await send(store, queue, message("x"))
    (received,) = await store.receive(queue, count=1)
    handle = store.handle_of(received)
    await delete(store, received)
    assert store.delivery_of(queue, handle) is None


@pytest.mark.needs(Capability.ONCE)
async def test_an_old_handle_still_deletes(store: Store) -> None:
    queue = await make_queue(store)
    await send(store, queue, message("x"))
    (received,) = await store.receive(queue, count=1, visibility_seconds=0)
    found = store.delivery_of(queue, store.handle_of(received))
    assert found is not None
    await delete(store, found)
    assert await store.receive(queue, count=1, wait_seconds=0) == []


@pytest.mark.parametrize("handle", ["", "x", "MS8yLzM=", "ünïcode", "AAAA" * 100])
async def test_garbage_is_no_handle(store: Store, handle: str) -> None:
    queue = await make_queue(store)
    with pytest.raises(ReceiptHandleInvalid):
        store.delivery_of(queue, handle)


async def test_a_long_poll_wakes_with_the_message(store: Store) -> None:
    queue = await make_queue(store)
    waiting = asyncio.ensure_future(store.receive(queue, count=10, wait_seconds=20))
    await send(store, queue, message("x"))
    received = await asyncio.wait_for(waiting, 60)
    assert [each.message.body for each in received] == [b"x"]


async def test_a_cancelled_long_poll_loses_nothing(store: Store) -> None:
    queue = await make_queue(store)
    waiting = asyncio.ensure_future(store.receive(queue, count=10, wait_seconds=20))
    await asyncio.wait([waiting], timeout=0)
    unit = UnitOfWork()
    unit.sends.append((queue, message("x")))
    store.submit(unit)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [each.message.body for each in await store.receive(queue, count=1, wait_seconds=20)] == [
        b"x"
    ]


@pytest.mark.needs(Capability.COUNTS)
async def test_a_delayed_message_comes_later(store: Store) -> None:
    queue = await make_queue(store)
    late = message("late")
    late.visible_at = late.sent_at + 3_000
    await send(store, queue, late, message("now"))
    assert (await store.counts(queue)).delayed == 1
    assert await drain(store, queue) == ["now"]
    (received,) = await store.receive(queue, count=1, wait_seconds=20)
    assert received.message.body == b"late"


@pytest.mark.needs(Capability.COUNTS, Capability.ONCE)
async def test_the_delay_of_a_queue_applies_to_messages_without_one(store: Store) -> None:
    queue = await make_queue(store, delay_seconds=900)
    at_once = message("now")
    at_once.visible_at = at_once.sent_at
    await send(store, queue, message("late"), at_once)
    assert await drain(store, queue) == ["now"]
    assert (await store.counts(queue)).delayed == 1


@pytest.mark.needs(Capability.ONCE)
async def test_redrive_moves_on_the_receive_after_the_last(store: Store) -> None:
    dead = await make_queue(store, "dead")
    queue = await make_queue(store, redrive=RedrivePolicy("dead", 2))
    await send(store, queue, message("x"))
    (first,) = await store.receive(queue, count=1, visibility_seconds=0)
    assert len(await store.receive(queue, count=1, visibility_seconds=0)) == 1
    assert await store.receive(queue, count=1, wait_seconds=0) == []
    (moved,) = await store.receive(dead, count=1, wait_seconds=20)
    assert moved.message.message_id == first.message.message_id
    assert moved.receive_count == 3


@pytest.mark.needs(Capability.SOURCE, Capability.ONCE)
async def test_what_was_redriven_tells_where_it_came_from(store: Store) -> None:
    dead = await make_queue(store, "dead")
    queue = await make_queue(store, redrive=RedrivePolicy("dead", 1))
    await send(store, queue, message("x"))
    await store.receive(queue, count=1, visibility_seconds=0)
    assert await store.receive(queue, count=1, wait_seconds=0) == []
    (moved,) = await store.receive(dead, count=1, wait_seconds=20)
    assert moved.message.dead_letter_source == "orders"


@pytest.mark.needs(Capability.COUNTS)
async def test_counts_tell_waiting_held_and_delayed(store: Store) -> None:
    queue = await make_queue(store)
    late = message("late")
    late.visible_at = late.sent_at + 900_000
    await send(store, queue, message("a"), message("b"), message("c"), late)
    await store.receive(queue, count=1)
    assert await store.counts(queue) == (2, 1, 1)


@pytest.mark.needs(Capability.ONCE)
async def test_a_purge_takes_what_is_visible(store: Store) -> None:
    queue = await make_queue(store)
    await send(store, queue, *[message("x") for _ in range(12)])
    assert await store.purge_queue(queue) == 12
    await send(store, queue, message("after"))
    assert await drain(store, queue) == ["after"]


@pytest.mark.needs(Capability.PURGE_ALL)
async def test_a_purge_leaves_nothing(store: Store) -> None:
    queue = await make_queue(store)
    late = message("late")
    late.visible_at = late.sent_at + 900_000
    await send(store, queue, message("a"), message("b"), late)
    await store.receive(queue, count=1)
    assert await store.purge_queue(queue) == 1
    assert await store.counts(queue) == (0, 0, 0)
    await send(store, queue, message("after"))
    assert await drain(store, queue) == ["after"]


@pytest.mark.needs(Capability.ONCE)
async def test_a_purge_leaves_connections_what_they_hold(store: Store) -> None:
    queue = await make_queue(store)
    collector = await consume(store, queue, credit=1)
    await send(store, queue, message("held"), message("waiting"))
    (held,) = await collector.expect(1)
    assert collector.subscription is not None
    collector.subscription.cancel()
    await store.purge_queue(queue)
    await release(store, held)
    assert await drain(store, queue) == ["held"]


@pytest.mark.needs(Capability.COUNTS)
async def test_a_deleted_queue_refuses_and_a_new_one_is_empty(store: Store) -> None:
    queue = await make_queue(store)
    collector = await consume(store, queue, credit=0)
    await send(store, queue, message("x"))
    assert await store.delete_queue(queue) == 1
    assert queue.deleted
    assert collector.was_cancelled
    assert store.queue(name("orders")) is None
    unit = await send(store, queue, message("y"))
    assert isinstance(unit.failures[0], QueueDoesNotExist)
    fresh = await make_queue(store)
    assert await drain(store, fresh) == []


async def test_creating_a_queue_twice_gives_the_same(store: Store) -> None:
    assert await make_queue(store) is await make_queue(store)


# -- pushing


@pytest.mark.needs(Capability.ONCE)
async def test_a_consumer_gets_no_more_than_its_credit(store: Store) -> None:
    queue = await make_queue(store)
    collector = await consume(store, queue, credit=2)
    await send(store, queue, *[message(str(number)) for number in range(5)])
    await collector.expect(2)
    assert collector.bodies == ["0", "1"]
    assert collector.subscription is not None
    collector.subscription.add_credit(2)
    await collector.expect(4)
    assert collector.bodies == ["0", "1", "2", "3"]


async def test_a_paused_consumer_gets_nothing(store: Store) -> None:
    queue = await make_queue(store)
    collector = await consume(store, queue)
    assert collector.subscription is not None
    collector.subscription.pause()
    await send(store, queue, message("x"))
    assert collector.deliveries == []
    collector.subscription.resume()
    await collector.expect(1)


@pytest.mark.needs(Capability.ORDER)
async def test_what_is_released_goes_back_to_its_place(store: Store) -> None:
    queue = await make_queue(store)
    collector = await consume(store, queue, credit=3)
    await send(store, queue, *[message(str(number)) for number in range(5)])
    held = await collector.expect(3)
    assert collector.subscription is not None
    collector.subscription.cancel()
    await release(store, held[2], held[0], held[1])
    assert await drain(store, queue) == ["0", "1", "2", "3", "4"]


@pytest.mark.needs(Capability.ONCE)
async def test_a_release_marks_the_next_delivery(store: Store) -> None:
    queue = await make_queue(store)
    collector = await consume(store, queue, credit=1)
    await send(store, queue, message("x"))
    (held,) = await collector.expect(1)
    assert not held.redelivered
    await release(store, held)
    assert collector.subscription is not None
    collector.subscription.add_credit(1)
    again = (await collector.expect(2))[1]
    assert again.redelivered
    assert again.return_count == 0


@pytest.mark.needs(Capability.ONCE)
async def test_an_explicit_return_is_counted(store: Store) -> None:
    queue = await make_queue(store)
    collector = await consume(store, queue, credit=1)
    await send(store, queue, message("x"))
    unit = UnitOfWork(answered=True)
    unit.returns += await collector.expect(1)
    await commit(store, unit)
    (again,) = await store.receive(queue, count=1, wait_seconds=20)
    assert again.return_count == 1


@pytest.mark.needs(Capability.ONCE)
async def test_competing_consumers_get_equal_shares(store: Store) -> None:
    queue = await make_queue(store)
    collectors = [await consume(store, queue, credit=10_000) for _ in range(4)]
    for _ in range(40):
        await send(store, queue, *[message("x") for _ in range(10)])
    shares = await shares_of(collectors, 400)
    assert all(90 <= share <= 110 for share in shares), shares


@pytest.mark.needs(Capability.ONCE)
async def test_a_backlog_is_shared_equally_too(store: Store) -> None:
    queue = await make_queue(store)
    await send(store, queue, *[message("x") for _ in range(400)])
    collectors = [await consume(store, queue, credit=0) for _ in range(4)]
    for each in collectors:
        assert each.subscription is not None
        each.subscription.add_credit(1_000)
    shares = await shares_of(collectors, 400)
    assert all(90 <= share <= 110 for share in shares), shares


async def test_an_exclusive_consumer_is_alone(store: Store) -> None:
    queue = await make_queue(store)
    await consume(store, queue, exclusive=True)
    with pytest.raises(ResourceLocked):
        await consume(store, queue)


@pytest.mark.needs(Capability.ONCE)
async def test_higher_consumer_priority_comes_first(store: Store) -> None:
    queue = await make_queue(store)
    low = await consume(store, queue, credit=10, priority=0)
    high = await consume(store, queue, credit=2, priority=5)
    await send(store, queue, *[message(str(number)) for number in range(4)])
    await low.expect(2)
    assert high.bodies == ["0", "1"]
    assert low.bodies == ["2", "3"]


@pytest.mark.needs(Capability.ONCE)
async def test_a_single_active_consumer_is_followed_by_the_next(store: Store) -> None:
    queue = await make_queue(store, single_active_consumer=True)
    first = await consume(store, queue, credit=100)
    second = await consume(store, queue, credit=100)
    await send(store, queue, message("a"), message("b"))
    await first.expect(2)
    assert second.deliveries == []
    assert first.subscription is not None
    first.subscription.cancel()
    await send(store, queue, message("c"))
    await second.expect(1)


@pytest.mark.needs(Capability.ONCE)
async def test_pushed_and_pulled_share_the_queue(store: Store) -> None:
    queue = await make_queue(store)
    collector = await consume(store, queue, credit=1)
    await send(store, queue, message("pushed"), message("pulled"))
    await collector.expect(1)
    (pulled,) = await store.receive(queue, count=10, wait_seconds=0)
    assert pulled.message.body == b"pulled"


@pytest.mark.needs(Capability.PRIORITY)
async def test_priorities_are_bands(store: Store) -> None:
    queue = await make_queue(store, priority_max=9, priority_default=4)
    await send(
        store,
        queue,
        message("low", priority=1),
        message("none"),
        message("high", priority=9),
        message("higher than there is", priority=200),
        message("middle", priority=4),
    )
    assert await drain(store, queue) == ["high", "higher than there is", "none", "middle", "low"]


# -- expiry and length


def _collect_dead_letters(store: Store) -> list[tuple[str, DeadLetterReason]]:
    left: list[tuple[str, DeadLetterReason]] = []

    def dead_letter(_: Queue, deliveries: object, reason: DeadLetterReason) -> UnitOfWork:
        unit = UnitOfWork()
        assert isinstance(deliveries, list)
        for each in deliveries:
            assert isinstance(each, Delivery)
            left.append((each.message.body.decode(), reason))
            unit.deletes.append(each)
        return unit

    store.use_dead_letterer(dead_letter)
    return left


@pytest.mark.needs(Capability.EXPIRY)
async def test_expired_messages_leave_without_a_consumer(store: Store) -> None:
    left = _collect_dead_letters(store)
    queue = await make_queue(store)
    short = message("short")
    short.expires_at = short.sent_at + 300
    await send(store, queue, message("stays"), short)
    async with asyncio.timeout(60):
        while not left:
            await store.receive(queue, count=1, visibility_seconds=0, wait_seconds=0)
            await asyncio.wait([asyncio.ensure_future(store.counts(queue))])
    assert left == [("short", DeadLetterReason.EXPIRED)]
    assert await drain(store, queue) == ["stays"]


async def test_an_expired_message_is_never_handed_out(store: Store) -> None:
    left = _collect_dead_letters(store)
    queue = await make_queue(store, message_ttl_ms=0)
    await send(store, queue, message("x"))
    async with asyncio.timeout(60):
        while not left:
            assert await store.receive(queue, count=1, wait_seconds=1) == []
    assert set(left) == {("x", DeadLetterReason.EXPIRED)}


@pytest.mark.needs(Capability.LENGTH)
async def test_a_full_queue_drops_its_oldest(store: Store) -> None:
    left = _collect_dead_letters(store)
    queue = await make_queue(store, length_max=2)
    await send(store, queue, *[message(str(number)) for number in range(4)])
    assert await drain(store, queue) == ["2", "3"]
    assert left == [("0", DeadLetterReason.MAXLEN), ("1", DeadLetterReason.MAXLEN)]


@pytest.mark.needs(Capability.IDLE)
async def test_an_unused_queue_is_reported(store: Store) -> None:
    reported: asyncio.Future[Queue] = asyncio.get_running_loop().create_future()
    store.use_idle_handler(reported.set_result)
    used = await make_queue(store, "used", idle_expiry_ms=3_000)
    await consume(store, used)
    unused = await make_queue(store, "unused", idle_expiry_ms=3_000)
    assert await asyncio.wait_for(reported, 60) is unused
