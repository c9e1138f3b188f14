"""What a restart finds again."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.backends.embedded import EmbeddedBackend
from bridge.backends.embedded.state import KEYS_AT_ONCE
from bridge.messaging.clock import SystemClock
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.limits import Limits
from bridge.messaging.model import QueueSettings, StateChange, UnitOfWork
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


async def test_queues_and_messages_survive_in_order(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, visibility_timeout_seconds=7, tags={"a": "b"})
    await send(backend.store, queue, *[message(str(number)) for number in range(5_000)])
    settings = queue.settings
    backend = await reopen()
    queue = found(backend.store)
    assert queue.settings == settings
    assert (await backend.store.counts(queue)).visible == 5_000
    assert await drain(backend.store, queue) == [str(number) for number in range(5_000)]


async def test_what_was_deleted_stays_away(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    await send(backend.store, queue, *[message(str(number)) for number in range(10)])
    taken = await backend.store.receive(queue, count=10)
    await delete(backend.store, *taken[::2])
    backend = await reopen()
    assert await backend.store.counts(found(backend.store)) == (0, 5, 0)


async def test_a_visibility_timeout_goes_on_over_a_restart(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    await send(backend.store, queue, message("x"))
    (held,) = await backend.store.receive(queue, count=1, visibility_seconds=4)
    handle = backend.store.handle_of(held)
    backend = await reopen()
    queue = found(backend.store)
    assert await backend.store.receive(queue, count=1, wait_seconds=0) == []
    known = backend.store.delivery_of(queue, handle)
    assert known is not None
    assert known.first_received_at == held.first_received_at
    (again,) = await backend.store.receive(queue, count=1, wait_seconds=60)
    assert again.receive_count == 2


async def test_what_a_connection_held_is_visible_and_counted(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    await send(backend.store, queue, message("a"), message("b"))
    collector = await consume(backend.store, queue, credit=1)
    await collector.expect(1)
    backend = await reopen()
    first, second = await backend.store.receive(found(backend.store), count=2, wait_seconds=0)
    assert (first.message.body, first.receive_count) == (b"a", 2)
    assert (second.message.body, second.receive_count) == (b"b", 1)


async def test_delays_priorities_and_expiry_survive(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, priority_max=9)
    soon, late, gone = message("soon"), message("late"), message("gone")
    soon.visible_at = soon.sent_at + 4_000
    late.visible_at = late.sent_at + 800_000
    gone.expires_at = gone.sent_at
    await send(backend.store, queue, message("low"), message("high", priority=9), soon, late, gone)
    backend = await reopen()
    queue = found(backend.store)
    assert await drain(backend.store, queue) == ["high", "low"]
    assert (await backend.store.counts(queue)).delayed == 2
    (received,) = await backend.store.receive(queue, count=1, wait_seconds=60)
    assert received.message.body == b"soon"


async def test_a_purged_queue_stays_empty(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    await send(backend.store, queue, *[message("x") for _ in range(100)])
    await backend.store.purge_queue(queue)
    await send(backend.store, queue, message("after"))
    backend = await reopen()
    assert await drain(backend.store, found(backend.store)) == ["after"]


async def test_a_shared_body_is_stored_once_and_goes_with_its_last_copy(reopen: Reopen) -> None:
    backend = await reopen()
    queues = [await make_queue(backend.store, str(number)) for number in range(3)]
    shared = message(b"x" * 100_000)
    unit = UnitOfWork()
    unit.sends += [(queue, shared) for queue in queues]
    await commit(backend.store, unit)
    ask = backend.database.query_now
    assert ask("SELECT count(*), sum(copies) FROM content") == [(1, 3)]
    backend = await reopen()
    for number in range(3):
        (received,) = await backend.store.receive(found(backend.store, str(number)), count=1)
        assert received.message == shared
        await delete(backend.store, received)
    backend = await reopen()
    assert backend.database.query_now("SELECT count(*) FROM content") == [(0,)]
    assert backend.database.query_now("SELECT count(*) FROM entry") == [(0,)]


async def test_state_is_read_back_and_overlaid(reopen: Reopen) -> None:
    backend = await reopen()
    unit = UnitOfWork()
    unit.state += [StateChange("k", "a", b"1"), StateChange("k", "b", b"2")]
    backend.store.submit(unit)
    assert backend.state.get("k", "a") == b"1"
    assert list(backend.state.scan("k")) == [("a", b"1"), ("b", b"2")]
    backend = await reopen()
    assert list(backend.state.scan("k", "b")) == [("b", b"2")]
    unit = UnitOfWork()
    unit.state.append(StateChange("k", "a", None))
    await commit(backend.store, unit)
    assert backend.state.get("k", "a") is None


async def test_all_keys_of_a_kind_are_read_in_parts(reopen: Reopen) -> None:
    backend = await reopen()
    keys = {"", *(f"{number:06}" for number in range(2 * KEYS_AT_ONCE))}
    unit = UnitOfWork()
    unit.state += [StateChange("k", key, b"x") for key in keys]
    unit.state += [StateChange("j", "j", b"x"), StateChange("l", "l", b"x")]
    await commit(backend.store, unit)
    assert sorted(backend.state.keys("k")) == sorted(keys)
    later = UnitOfWork()
    later.state += [StateChange("k", "000001", None), StateChange("k", "new", b"x")]
    later.state.append(StateChange("k", "000002", b"y"))
    backend.store.submit(later)
    assert sorted(backend.state.keys("k")) == sorted(keys - {"000001"} | {"new"})


async def test_durability_memory_forgets(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, durability="memory")
    await send(backend.store, queue, message("x"))
    backend = await reopen("memory")
    assert backend.store.queue(name("orders")) is None


async def test_a_directory_in_use_is_refused_with_its_owner(reopen: Reopen, tmp_path: Path) -> None:
    await reopen()
    second = EmbeddedBackend(tmp_path, durability="fsync", clock=SystemClock(), limits=Limits())
    with pytest.raises(StoreUnavailable, match=r"in use by process \d+"):
        await second.open()


async def test_a_newer_store_is_refused(reopen: Reopen, tmp_path: Path) -> None:
    backend = await reopen()
    backend.database.query_now("PRAGMA user_version = 999")
    await backend.close()
    newer = EmbeddedBackend(tmp_path, durability="fsync", clock=SystemClock(), limits=Limits())
    with pytest.raises(StoreUnavailable, match="version 999"):
        await newer.open()


async def test_a_new_queue_does_not_inherit_what_a_transient_one_spilled(reopen: Reopen) -> None:
    limits = Limits(queue_head_messages_max=2, queue_refill_messages=2)
    for round_number in range(2):
        backend = await reopen(limits=limits)
        queue = await backend.store.create_queue(name("t"), QueueSettings(), transient=True)
        sent = [f"{round_number} {number}" for number in range(10)]
        await send(backend.store, queue, *map(message, sent))
        taken = await backend.store.receive(queue, count=2)
        await delete(backend.store, *taken)
        assert await drain(backend.store, queue) == sent[2:]
        await send(backend.store, queue, *map(message, sent))


async def test_a_directory_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    backend = EmbeddedBackend(
        tmp_path / "new", durability="fsync", clock=SystemClock(), limits=Limits()
    )
    await backend.open()
    await backend.close()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
