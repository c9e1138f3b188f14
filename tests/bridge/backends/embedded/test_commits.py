"""What is written, when, and who is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bridge.backends.embedded.queue import EmbeddedQueue
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.limits import Limits
from bridge.messaging.model import UnitOfWork
from tests.bridge.backends.embedded.conftest import Reopen, with_queue
from tests.support.stores import (
    commit,
    consume,
    delete,
    drain,
    found,
    make_queue,
    message,
    name,
    send,
)


async def test_what_is_settled_in_time_is_never_written(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, limits=Limits(elision_delay_seconds=120))
    collector = await consume(backend.store, queue)
    commits = backend.database.commits
    answered = asyncio.Event()
    unit = UnitOfWork(lambda _: answered.set())
    unit.sends.append((queue, message("x")))
    backend.store.submit(unit)
    held = await collector.expect(1)
    assert not answered.is_set()
    settle = UnitOfWork()
    settle.deletes += held
    backend.store.submit(settle)
    await asyncio.wait_for(answered.wait(), 60)
    assert backend.database.commits == commits


async def test_a_message_that_stays_with_its_consumer_is_written(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    collector = await consume(backend.store, queue)
    await send(backend.store, queue, message("x"))
    await collector.expect(1)
    assert backend.database.query_now("SELECT count(*) FROM entry") == [(1,)]


async def test_an_atomic_unit_is_not_seen_before_its_commit(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, limits=Limits(elision_delay_seconds=5))
    collector = await consume(backend.store, queue)
    unit = UnitOfWork(atomic=True)
    unit.sends.append((queue, message("x")))
    backend.store.submit(unit)
    await collector.expect(1)
    assert backend.database.query_now("SELECT count(*) FROM entry") == [(1,)]


async def test_an_atomic_unit_orders_with_what_follows(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    collector = await consume(backend.store, queue)
    unit = UnitOfWork(atomic=True)
    unit.sends += [(queue, message("a")), (queue, message("b"))]
    backend.store.submit(unit)
    await send(backend.store, queue, message("c"))
    await collector.expect(3)
    assert collector.bodies == ["a", "b", "c"]


async def test_what_waits_for_its_commit_is_left_where_it_stands(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    unit = UnitOfWork(atomic=True)
    unit.sends += [(queue, message(str(number))) for number in range(5)]
    committed = asyncio.ensure_future(commit(backend.store, unit))
    await asyncio.sleep(0)
    assert await backend.store.receive(queue, count=10) == []
    assert isinstance(queue, EmbeddedQueue)
    # To take it out and put it back in every turn would cost more the more of it there is.
    assert [len(lane.ready) for lane in queue.lanes] == [5]
    await committed
    assert await drain(backend.store, queue) == ["0", "1", "2", "3", "4"]


async def test_an_atomic_settle_of_an_unwritten_message_waits_for_its_commit(
    reopen: Reopen,
) -> None:
    backend, queue = await with_queue(reopen, limits=Limits(elision_delay_seconds=5))
    collector = await consume(backend.store, queue)
    published = UnitOfWork()
    published.sends.append((queue, message("x")))
    first = asyncio.ensure_future(commit(backend.store, published))
    held = await collector.expect(1)
    settle = UnitOfWork(atomic=True)
    settle.deletes += held
    settle.sends.append((queue, message("y")))
    await commit(backend.store, settle)
    await first
    await collector.expect(2)
    assert backend.database.query_now("SELECT count(*) FROM entry") == [(1,)]
    backend = await reopen()
    assert await drain(backend.store, found(backend.store)) == ["y"]


async def test_a_store_that_cannot_write_refuses_and_recovers(
    reopen: Reopen, caplog: pytest.LogCaptureFixture
) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    await send(store, queue, message("before"))
    backend.database.query_now(
        "CREATE TRIGGER refuse BEFORE INSERT ON entry BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(StoreUnavailable, match="disk full"):
        await send(store, queue, message("refused"))
    assert backend.healthy is False
    backend.database.query_now("DROP TRIGGER refuse")
    await send(store, queue, message("after"))
    assert await drain(store, queue) == ["before", "after"]
    healthy: bool = backend.healthy
    assert healthy
    assert [each.message for each in caplog.records if each.name == "landbridge.store"] == [
        "the store cannot be written: disk full",
        "the store is written again",
    ]


async def test_a_failed_transaction_gives_back_what_it_settled(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    await send(store, queue, message("x"))
    (held,) = await store.receive(queue, count=1)
    backend.database.query_now(
        "CREATE TRIGGER refuse BEFORE INSERT ON entry BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    unit = UnitOfWork(atomic=True)
    unit.sends.append((queue, message("refused")))
    unit.deletes.append(held)
    with pytest.raises(StoreUnavailable):
        await commit(store, unit)
    backend.database.query_now("DROP TRIGGER refuse")
    assert await drain(store, queue) == ["x"]


async def test_a_long_queue_stays_on_disk(reopen: Reopen) -> None:
    limits = Limits(queue_head_messages_max=100, queue_refill_messages=50)
    backend, queue = await with_queue(reopen, limits=limits)
    store = backend.store
    bodies = [str(number) for number in range(2_000)]
    await send(store, queue, *[message(body) for body in bodies])
    assert (await store.counts(queue)).visible == 2_000
    in_memory = backend.in_memory(queue)
    assert in_memory <= 100
    collector = await consume(store, queue, credit=2_000)
    await collector.expect(2_000)
    assert collector.bodies == bodies
    await delete(store, *collector.deliveries)
    assert await store.counts(queue) == (0, 0, 0)


async def test_a_transient_queue_spills_and_leaves_nothing(reopen: Reopen) -> None:
    backend = await reopen(limits=Limits(queue_head_messages_max=100, queue_refill_messages=50))
    store = backend.store
    queue = await store.create_queue(name("t"), (await make_queue(store)).settings, transient=True)
    await send(store, queue, *[message(str(number)) for number in range(1_000)])
    assert await drain(store, queue) == [str(number) for number in range(1_000)]
    await send(store, queue, *[message(str(number)) for number in range(1_000)])
    backend = await reopen()
    assert backend.store.queue(name("t")) is None
    await make_queue(backend.store, "other")
    assert await drain(backend.store, await make_queue(backend.store, "other")) == []


async def test_a_read_that_a_commit_overtakes_finds_the_rest_later(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await reopen(limits=Limits(queue_head_messages_max=2, queue_refill_messages=2))
    store, database = backend.store, backend.database
    queue = await make_queue(store)
    collector = await consume(store, queue, credit=0)
    answers: list[Callable[[], None]] = []

    def slow_query(sql: str, parameters: Sequence[Any], done: Any, **_: Any) -> None:
        rows = database.query_now(sql, parameters)
        answers.append(lambda: done(rows, None))

    monkeypatch.setattr(database, "query", slow_query)
    unit = UnitOfWork()
    unit.sends += [(queue, message(str(number))) for number in range(3)]
    sent = asyncio.ensure_future(commit(store, unit))
    assert collector.subscription is not None
    collector.subscription.add_credit(10)
    await sent
    # The tail was read before its commit, and the answer comes after it.
    monkeypatch.undo()
    for answer in answers:
        answer()
    await collector.expect(3)
    assert backend.corrections == 0
