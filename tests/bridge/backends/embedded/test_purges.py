"""Purges beside commits that are under way: what goes, what stays, and that it stays once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.limits import Limits
from bridge.messaging.model import UnitOfWork
from tests.bridge.backends.embedded.conftest import Reopen, refusing, slow_to_write, with_queue
from tests.support.stores import commit, consume, make_queue, message, send


async def turns() -> None:
    """Let what was begun be handed over."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_a_purge_left_comes_back_when_its_settling_is_refused(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    other = await make_queue(store, "other")
    await send(store, queue, message("x"))
    collector = await consume(store, queue)
    await collector.expect(1)
    # It is with a connection, so it stays.
    await store.purge_queue(queue)
    unit = UnitOfWork(atomic=True)
    unit.deletes += collector.deliveries
    unit.sends.append((other, message("refused")))
    with refusing(backend), pytest.raises(StoreUnavailable):
        await commit(store, unit)
    await collector.expect(2)
    assert collector.bodies == ["x", "x"]


async def test_what_was_purged_while_it_was_settled_stays_away(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    other = await make_queue(store, "other")
    await send(store, queue, message("x"))
    collector = await consume(store, queue)
    unit = UnitOfWork(atomic=True)
    unit.deletes += await collector.expect(1)
    unit.sends.append((other, message("refused")))
    with refusing(backend):
        with slow_to_write(backend):
            settled = asyncio.ensure_future(commit(store, unit))
            await turns()
            purged = asyncio.ensure_future(store.purge_queue(queue))
            await turns()
        await asyncio.wait([settled, purged])
    assert isinstance(settled.exception(), StoreUnavailable)
    assert isinstance(purged.exception(), StoreUnavailable | None)
    await send(store, other, message("after"))
    assert collector.bodies == ["x"]
    assert await store.counts(queue) == (0, 0, 0)


async def test_a_tail_is_read_once_after_a_purge(
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
    with slow_to_write(backend):
        before = asyncio.ensure_future(send(store, queue, *[message(text) for text in "abc"]))
        await turns()
        # Nothing is there yet: the lane waits for the commit, and the purge makes that void.
        answers.pop()()
        await turns()
        purged = asyncio.ensure_future(store.purge_queue(queue))
        after = asyncio.ensure_future(send(store, queue, *[message(text) for text in "def"]))
        await turns()
        assert len(answers) == 1
    await asyncio.gather(before, purged, after)
    monkeypatch.undo()
    for answer in answers:
        answer()
    await collector.expect(5)
    await send(store, queue, message("g"))
    await collector.expect(6)
    assert collector.bodies == ["a", "b", "d", "e", "f", "g"]
    assert backend.corrections == 0
