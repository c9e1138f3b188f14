"""A store that cannot write: whom it refuses, what it keeps, and that nothing is lost by it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence

import pytest

from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.errors import InvalidParameter, MessagingError, StoreUnavailable
from bridge.messaging.limits import Limits
from bridge.messaging.model import (
    DeadLetterReason,
    Delivery,
    QueueSettings,
    RedrivePolicy,
    StateChange,
    UnitOfWork,
)
from bridge.messaging.ports import Queue
from bridge.storage import database
from tests.bridge.backends.embedded.conftest import (
    Reopen,
    handed_over,
    healthy,
    refusing,
    slow_to_write,
    with_queue,
)
from tests.support.stores import (
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


async def test_counts_stay_right_when_sends_are_refused(reopen: Reopen) -> None:
    backend, queue = await with_queue(
        reopen, limits=Limits(queue_head_messages_max=3, queue_refill_messages=2)
    )
    store = backend.store
    await send(store, queue, message("a"))
    soon, late = message("soon"), message("late")
    soon.visible_at = soon.sent_at + 30_000
    late.visible_at = late.sent_at + 900_000
    with refusing(backend), pytest.raises(StoreUnavailable):
        await send(store, queue, *[message("no") for _ in range(8)], soon, late)
    assert await store.counts(queue) == (1, 0, 0)
    await send(store, queue, *[message(str(number)) for number in range(8)])
    assert await drain(store, queue) == ["a", *[str(number) for number in range(8)]]
    assert await store.counts(queue) == (0, 0, 0)


async def test_a_purge_beside_a_refused_commit_leaves_no_debt(reopen: Reopen) -> None:
    backend, queue = await with_queue(
        reopen, limits=Limits(queue_head_messages_max=2, queue_refill_messages=2)
    )
    store = backend.store
    with refusing(backend):
        unit = UnitOfWork()
        unit.sends += [(queue, message(str(number))) for number in range(6)]
        refused = asyncio.ensure_future(commit(store, unit))
        await asyncio.wait([asyncio.ensure_future(store.counts(queue))])
        purged = asyncio.ensure_future(store.purge_queue(queue))
        await asyncio.wait([refused, purged])
    assert isinstance(refused.exception(), StoreUnavailable)
    # Where it was behind the commit already, the purge is refused with it, and carried out later.
    assert isinstance(purged.exception(), StoreUnavailable | None)
    await send(store, queue, message("after"))
    assert await store.counts(queue) == (1, 0, 0)


async def test_a_failed_transaction_leaves_the_disk_as_it_was(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    await send(store, queue, message("x"))
    collector = await consume(store, queue, credit=1)
    held = await collector.expect(1)
    unit = UnitOfWork(atomic=True)
    unit.sends.append((queue, message("refused")))
    unit.deletes += held
    with refusing(backend), pytest.raises(StoreUnavailable):
        await commit(store, unit)
    # The next commit must not carry out what was refused.
    await send(store, queue, message("y"))
    backend = await reopen()
    assert await drain(backend.store, found(backend.store)) == ["x", "y"]


async def test_a_failed_transaction_does_not_wake_what_was_gone_before(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    await send(store, queue, message("x"))
    (held,) = await store.receive(queue, count=1)
    await delete(store, held)
    unit = UnitOfWork(atomic=True)
    unit.sends.append((queue, message("refused")))
    unit.deletes.append(held)
    with refusing(backend), pytest.raises(StoreUnavailable):
        await commit(store, unit)
    await healthy(backend)
    assert await store.counts(queue) == (0, 0, 0)


@pytest.mark.parametrize("fifo", [False, True])
async def test_what_comes_back_while_it_still_waits_is_handed_out_once(
    reopen: Reopen, *, fifo: bool
) -> None:
    backend, queue = await with_queue(reopen, fifo=fifo)
    store = backend.store
    await send(store, queue, *[message(body, group_id="g") for body in ("x", "y")])
    _, visible = await store.receive(queue, count=2, visibility_seconds=0)
    unit = UnitOfWork(atomic=True)
    unit.sends.append((queue, message("refused", group_id="g")))
    unit.deletes.append(visible)
    with refusing(backend), pytest.raises(StoreUnavailable):
        await commit(store, unit)
    received = await store.receive(queue, count=10)
    assert [each.message.body for each in received] == [b"x", b"y"]
    assert await store.counts(queue) == (0, 2, 0)


async def test_a_refused_publish_is_not_left_half_settled(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, limits=Limits(elision_delay_seconds=5))
    store = backend.store
    collector = await consume(store, queue, credit=1)
    with refusing(backend):
        published = UnitOfWork()
        published.sends.append((queue, message("x")))
        first = asyncio.ensure_future(commit(store, published))
        held = await collector.expect(1)
        settle = UnitOfWork(atomic=True)
        settle.deletes += held
        settle.sends.append((queue, message("y")))
        with pytest.raises(StoreUnavailable):
            await commit(store, settle)
        with pytest.raises(StoreUnavailable):
            await first
    assert await store.counts(queue) == (0, 0, 0)


async def test_what_a_refused_publisher_sent_goes_to_nobody_else(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, limits=Limits(elision_delay_seconds=0.0))
    store = backend.store
    collector = await consume(store, queue, credit=1)
    with refusing(backend), pytest.raises(StoreUnavailable):
        await send(store, queue, message("x"))
    held = await collector.expect(1)
    await release(store, *held)
    assert await store.counts(queue) == (0, 0, 0)


async def test_transient_messages_of_a_failed_transaction_are_never_seen(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    transient = await store.create_queue(name("t"), QueueSettings(), transient=True)
    unit = UnitOfWork(atomic=True)
    unit.sends += [(transient, message("t")), (queue, message("d"))]
    with refusing(backend), pytest.raises(StoreUnavailable):
        await commit(store, unit)
    assert await store.counts(transient) == (0, 0, 0)


@pytest.mark.parametrize("event", ["INSERT ON entry", "DELETE ON entry"])
async def test_a_redrive_that_cannot_be_written_loses_nothing(reopen: Reopen, event: str) -> None:
    backend = await reopen()
    store = backend.store
    await make_queue(store, "dead")
    queue = await make_queue(store, redrive=RedrivePolicy("dead", 1))
    await send(store, queue, message("x"))
    await store.receive(queue, count=1, visibility_seconds=0)
    with refusing(backend, event):
        assert await store.receive(queue, count=1, wait_seconds=0) == []
        with pytest.raises(StoreUnavailable):
            await send(store, queue, message("refused"))
    await healthy(backend)
    backend = await reopen()
    assert await backend.store.counts(found(backend.store)) == (0, 0, 0)
    assert await drain(backend.store, found(backend.store, "dead")) == ["x"]


async def test_a_dead_letter_that_cannot_be_written_loses_nothing(reopen: Reopen) -> None:
    backend = await reopen()
    store = backend.store
    dead = await make_queue(store, "dead")
    _dead_letter_to(backend, dead)
    queue = await make_queue(store, length_max=1)
    await send(store, queue, message("x"))
    with refusing(backend), pytest.raises(StoreUnavailable):
        await send(store, queue, message("refused"))
    await healthy(backend)
    await send(store, queue, message("y"))
    async with asyncio.timeout(60):
        while (await store.counts(dead)).visible == 0:
            await send(store, dead)
    backend = await reopen()
    assert await drain(backend.store, found(backend.store)) == ["y"]
    assert await drain(backend.store, found(backend.store, "dead")) == ["x"]


def _dead_letter_to(backend: EmbeddedBackend, dead: Queue) -> None:
    def dead_letter(_: Queue, entries: Sequence[Delivery], __: DeadLetterReason) -> UnitOfWork:
        unit = UnitOfWork()
        unit.sends += [(dead, each.message) for each in entries]
        unit.deletes += entries
        return unit

    backend.store.use_dead_letterer(dead_letter)


async def test_moving_a_message_confirms_it_only_with_its_copy(reopen: Reopen) -> None:
    backend = await reopen(limits=Limits(elision_delay_seconds=5))
    store = backend.store
    queue, other = await make_queue(store), await make_queue(store, "other")
    collector = await consume(store, queue, credit=1)
    with refusing(backend):
        published = UnitOfWork()
        published.sends.append((queue, message("x")))
        confirmed = asyncio.ensure_future(commit(store, published))
        held = await collector.expect(1)
        move = UnitOfWork()
        move.deletes += held
        move.sends.append((other, message("x")))
        with pytest.raises(StoreUnavailable):
            await commit(store, move)
        with pytest.raises(StoreUnavailable):
            await confirmed


async def test_a_dead_letterer_that_fails_keeps_the_messages(reopen: Reopen) -> None:
    backend = await reopen()
    store = backend.store
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))

    def fail(*_: object) -> UnitOfWork:
        raise RuntimeError("no")

    store.use_dead_letterer(fail)
    queue = await make_queue(store, length_max=1)
    await send(store, queue, message("x"), message("y"))
    assert reported
    store.use_dead_letterer(lambda *_: UnitOfWork())
    await send(store, await make_queue(store, "other"), message("the turn goes on"))


# -- first-in-first-out


async def test_a_refused_fifo_send_is_no_duplicate_when_repeated(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, "q.fifo", fifo=True)
    store = backend.store
    sent = message("x", group_id="g", deduplication_id="d")
    with refusing(backend), pytest.raises(StoreUnavailable):
        await send(store, queue, sent)
    await send(store, queue, sent)
    assert await drain(store, queue) == ["x"]


async def test_a_repetition_is_answered_with_what_became_of_the_first(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, "q.fifo", fifo=True)
    store = backend.store
    sent = message("x", group_id="g", deduplication_id="d")
    with refusing(backend):
        first = asyncio.ensure_future(send(store, queue, sent))
        second = asyncio.ensure_future(send(store, queue, sent))
        await asyncio.wait([first, second])
    assert isinstance(first.exception(), StoreUnavailable)
    assert isinstance(second.exception() or second.result().failures[0], StoreUnavailable)


async def test_a_repetition_is_confirmed_no_earlier_than_the_first(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, "q.fifo", fifo=True)
    store = backend.store
    stored: list[object] = []

    def answered(_: UnitOfWork) -> None:
        stored.extend(backend.database.query_now("SELECT count(*) FROM entry"))

    for _ in range(2):
        unit = UnitOfWork(answered)
        unit.sends.append((queue, message("x", group_id="g", deduplication_id="d")))
        store.submit(unit)
    await send(store, await make_queue(store, "other"), message("y"))
    assert stored == [(1,), (1,)]


# -- queues


async def test_a_queue_whose_creation_failed_is_not_taken_for_durable(reopen: Reopen) -> None:
    backend = await reopen()
    store = backend.store
    with refusing(backend, "INSERT ON queue"):
        with pytest.raises(StoreUnavailable):
            await make_queue(store)
        with pytest.raises(StoreUnavailable):
            await make_queue(store)
    queue = await make_queue(store)
    await send(store, queue, message("x"))
    backend = await reopen()
    assert await drain(backend.store, found(backend.store)) == ["x"]


async def test_a_queue_can_be_deleted_and_made_again_at_once(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    await send(store, queue, message("old"))
    _, again = await asyncio.gather(store.delete_queue(queue), make_queue(store))
    await send(store, again, message("new"))
    backend = await reopen()
    assert await drain(backend.store, found(backend.store)) == ["new"]


async def test_a_queue_made_and_deleted_at_once_stays_away(reopen: Reopen) -> None:
    backend = await reopen()
    store = backend.store
    made = asyncio.ensure_future(make_queue(store))
    while store.queue(name("orders")) is None:
        await asyncio.wait([asyncio.ensure_future(store.counts(await make_queue(store, "other")))])
    await asyncio.gather(made, store.delete_queue(found(backend.store)))
    backend = await reopen()
    assert backend.store.queue(name("orders")) is None


async def test_a_purge_that_failed_is_carried_out_later(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    await send(store, queue, message("x"))
    with refusing(backend, "INSERT ON purge"), pytest.raises(StoreUnavailable):
        await store.purge_queue(queue)
    await send(store, queue, message("after"))
    backend = await reopen()
    assert await drain(backend.store, found(backend.store)) == ["after"]


async def test_a_store_that_can_write_again_says_so_by_itself(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    with refusing(backend), pytest.raises(StoreUnavailable):
        await send(backend.store, queue, message("x"))
    assert not backend.healthy
    await healthy(backend)


# -- what no store could write


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"a": "\ud800"}},
        {"headers": {"a": object()}},
        {"expires_at": 2**70},
        {"visible_at": 2**70},
    ],
    ids=["surrogate", "type", "expiry", "delay"],
)
async def test_a_message_that_cannot_be_stored_harms_no_other(
    reopen: Reopen, fields: dict[str, object]
) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    before = asyncio.ensure_future(send(store, queue, message("a")))
    bad = asyncio.ensure_future(send(store, queue, message("bad", **fields)))
    after = asyncio.ensure_future(send(store, queue, message("b")))
    await asyncio.wait([before, bad, after])
    assert isinstance(bad.exception(), InvalidParameter)
    before.result()
    after.result()
    assert backend.healthy
    assert await store.counts(queue) == (2, 0, 0)
    backend = await reopen()
    assert await drain(backend.store, found(backend.store)) == ["a", "b"]


async def test_a_message_that_cannot_be_stored_harms_no_later_commit(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    other = await make_queue(store, "other")
    await send(store, other, message("x"))
    held = await store.receive(other, count=1)
    with slow_to_write(backend):
        bad = asyncio.ensure_future(send(store, queue, message("bad", expires_at=2**70)))
        await handed_over(bad)
        after = asyncio.ensure_future(send(store, queue, message("b")))
        deleted = asyncio.ensure_future(delete(store, *held))
        await handed_over(after, deleted)
    await asyncio.wait([bad, after, deleted])
    assert isinstance(bad.exception(), InvalidParameter)
    after.result()
    deleted.result()
    backend = await reopen()
    assert await drain(backend.store, found(backend.store)) == ["b"]
    assert await drain(backend.store, found(backend.store, "other")) == []


async def test_what_follows_a_refused_commit_is_refused_with_it(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    other = await make_queue(store, "other")
    await send(store, other, message("x"))
    (held,) = await store.receive(other, count=1)
    with refusing(backend, "INSERT ON state"):
        with slow_to_write(backend):
            first = UnitOfWork()
            first.sends.append((queue, message("a")))
            first.state.append(StateChange("kind", "key", b"first"))
            one = asyncio.ensure_future(commit(store, first))
            await handed_over(one)
            # What it builds upon: the message, and the value that it replaces.
            (early,) = await store.receive(queue, count=1)
            second = UnitOfWork(atomic=True)
            second.sends.append((queue, message("b")))
            second.deletes += [early, held]
            two = asyncio.ensure_future(commit(store, second))
            await handed_over(two)
        await asyncio.wait([one, two])
        assert isinstance(one.exception(), StoreUnavailable)
        assert isinstance(two.exception(), StoreUnavailable)
    await healthy(backend)
    assert backend.state.get("kind", "key") is None
    await send(store, queue, message("c"))
    backend = await reopen()
    assert await drain(backend.store, found(backend.store)) == ["c"]
    assert await drain(backend.store, found(backend.store, "other")) == ["x"]


async def test_a_state_change_that_cannot_be_stored_harms_no_other(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    await send(store, queue, message("x"))
    held = await store.receive(queue, count=1)
    bad = UnitOfWork(atomic=True)
    bad.state.append(StateChange("kind", "\ud800", b""))
    bad.deletes += held
    good = UnitOfWork()
    good.state.append(StateChange("kind", "key", b"value"))
    refused, _ = asyncio.ensure_future(commit(store, bad)), await commit(store, good)
    with pytest.raises(InvalidParameter):
        await refused
    backend = await reopen()
    assert backend.state.get("kind", "key") == b"value"
    assert await drain(backend.store, found(backend.store)) == ["x"]


async def test_a_queue_that_cannot_be_stored_is_refused(reopen: Reopen) -> None:
    backend = await reopen()
    with pytest.raises(MessagingError):
        await make_queue(backend.store, "\ud800")
    assert list(backend.store.queues()) == []
    await make_queue(backend.store, "fine")


async def test_a_repetition_of_what_was_not_synced_waits_for_the_sync(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await reopen()
    other = await make_queue(backend.store)
    queue = await make_queue(backend.store, "q.fifo", fifo=True)
    one, two = (message("x", group_id="g", deduplication_id="d") for _ in range(2))

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(database, "_sync_data", fail)
        with pytest.raises(StoreUnavailable):
            await send(backend.store, queue, one)
        answered = asyncio.Event()
        unit = UnitOfWork(lambda _: answered.set(), answered=True)
        unit.sends.append((queue, two))
        backend.store.submit(unit)
        # A commit later it is still not known what the disk has.
        with pytest.raises(StoreUnavailable):
            await send(backend.store, other, message("y"))
        assert not answered.is_set()
    await healthy(backend)
    await asyncio.wait_for(answered.wait(), 60)
    assert unit.error is None
    assert unit.accepted[0].message_id == one.message_id
    assert await drain(backend.store, queue) == ["x"]
