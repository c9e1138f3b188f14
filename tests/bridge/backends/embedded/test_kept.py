"""What a refused commit keeps, and gives back, while others are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bridge.messaging.errors import InvalidParameter, StoreUnavailable
from bridge.messaging.limits import Limits
from bridge.messaging.model import Delivery, UnitOfWork
from tests.bridge.backends.embedded.conftest import (
    Reopen,
    handed_over,
    healthy,
    refusing,
    slow_to_write,
    with_queue,
)
from tests.support.stores import (
    Collector,
    commit,
    consume,
    drain,
    found,
    make_queue,
    message,
    send,
)


async def test_a_tail_beside_what_cannot_be_stored_is_read(reopen: Reopen) -> None:
    backend, queue = await with_queue(
        reopen, limits=Limits(queue_head_messages_max=2, queue_refill_messages=2)
    )
    store, database = backend.store, backend.database
    collector = await consume(store, queue)
    loop = asyncio.get_running_loop()
    with slow_to_write(backend):
        sent = asyncio.ensure_future(send(store, queue, *[message(text) for text in "abcd"]))
        bad = asyncio.ensure_future(send(store, queue, message("bad", expires_at=2**70)))
        await handed_over(sent, bad)
        # Reads are answered in their order, so the tail's was before this one: there was nothing.
        read = asyncio.Event()

        def done(_: list[Any], __: Exception | None) -> None:
            loop.call_soon_threadsafe(read.set)

        database.query("SELECT 1", (), done)
        await asyncio.wait_for(read.wait(), 60)
    await asyncio.wait([sent, bad])
    assert isinstance(bad.exception(), InvalidParameter)
    sent.result()
    await collector.expect(4)
    assert collector.bodies == ["a", "b", "c", "d"]
    assert backend.corrections == 0


async def test_what_was_refused_beside_what_cannot_be_stored_stays_away(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    other = await make_queue(store, "other")
    move = UnitOfWork(atomic=True)
    answered: asyncio.Future[UnitOfWork] = asyncio.get_running_loop().create_future()
    move.done = answered.set_result

    class Mover(Collector):
        def deliver(self, deliveries: Sequence[Delivery]) -> None:
            super().deliver(deliveries)
            if not move.deletes:
                move.deletes += deliveries
                move.sends.append((other, message("moved")))
                store.submit(move)

    mover = Mover()
    await store.consume(queue, mover, credit=10)
    published = UnitOfWork()
    published.sends += [(queue, message("x")), (other, message("bad", expires_at=2**70))]
    with refusing(backend):
        with pytest.raises(InvalidParameter):
            await commit(store, published)
        # Its settling was tried once more, and is given back only now.
        await asyncio.wait_for(answered, 60)
    assert isinstance(move.error, StoreUnavailable)
    await healthy(backend)
    await send(store, other, message("after"))
    assert mover.bodies == ["x"]
    assert await store.counts(queue) == (0, 0, 0)


async def test_what_is_given_back_while_it_is_written_is_written(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    with slow_to_write(backend):
        sent = asyncio.ensure_future(send(store, queue, message("x")))
        bad = asyncio.ensure_future(send(store, queue, message("bad", expires_at=2**70)))
        await handed_over(sent, bad)
        unit = UnitOfWork(atomic=True)
        unit.deletes += await store.receive(queue, count=1)
        unit.sends.append((queue, message("bad", expires_at=2**70)))
        as_bad = asyncio.ensure_future(commit(store, unit))
        await handed_over(as_bad)
    await asyncio.wait([sent, bad, as_bad])
    assert isinstance(as_bad.exception(), InvalidParameter)
    sent.result()
    backend = await reopen()
    assert await drain(backend.store, found(backend.store)) == ["x"]


async def test_what_comes_behind_a_refused_tail_is_delivered_once(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, queue = await with_queue(
        reopen, limits=Limits(queue_head_messages_max=2, queue_refill_messages=2)
    )
    store, database = backend.store, backend.database
    collector = await consume(store, queue)
    answers: list[Callable[[], None]] = []

    def slow_query(sql: str, parameters: Sequence[Any], done: Any, **_: Any) -> None:
        answers.append(lambda: done(database.query_now(sql, parameters), None))

    monkeypatch.setattr(database, "query", slow_query)
    with refusing(backend), pytest.raises(StoreUnavailable):
        await send(store, queue, *[message(text) for text in "abc"])
    await send(store, queue, message("d"))
    # The tail was asked for before it was refused, and is read after what came behind it.
    monkeypatch.undo()
    for answer in answers:
        answer()
    for _ in range(3):
        await asyncio.sleep(0)
    await send(store, queue, message("e"))
    await collector.expect(4)
    assert collector.bodies == ["a", "b", "d", "e"]
