"""Leases, on every backend: one holder at a time, epochs that rise, waiting that costs nothing."""

from __future__ import annotations

import asyncio

from bridge.messaging.ports import Lease, Leases


def unexpected(lease: Lease) -> None:
    raise AssertionError(lease.name)


async def acquire(leases: Leases, name: str, wait_seconds: float | None = 0.0) -> Lease:
    lease = await leases.acquire(name, on_lost=unexpected, wait_seconds=wait_seconds)
    assert lease is not None
    return lease


async def test_a_lease_has_one_holder_and_its_epoch_rises(leases: Leases) -> None:
    first = await acquire(leases, "duty/a")
    assert (first.name, first.held) == ("duty/a", True)
    assert leases.holder("duty/a") == leases.node_id
    assert await leases.acquire("duty/a", on_lost=unexpected) is None
    await leases.release(first)
    assert leases.holder("duty/a") is None
    second = await acquire(leases, "duty/a")
    assert second.epoch > first.epoch
    await leases.release(first)
    assert [first.held, second.held] == [False, True]
    assert (await acquire(leases, "duty/b")).held


async def test_who_waits_is_made_known_and_gets_it(leases: Leases) -> None:
    wanted: list[Lease] = []
    known = asyncio.Event()

    def on_wanted(lease: Lease) -> None:
        wanted.append(lease)
        known.set()

    first = await leases.acquire("session/a", on_lost=unexpected, on_wanted=on_wanted)
    assert first is not None
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(acquire(leases, "session/a", wait_seconds=None))
        await asyncio.wait_for(known.wait(), 60)
        assert first.held
        await leases.release(first)
        second = await asyncio.wait_for(waiting, 60)
    assert wanted == [first]
    assert second.held
    assert second.epoch > first.epoch


async def test_waiting_ends(leases: Leases) -> None:
    first = await acquire(leases, "session/b")
    assert await leases.acquire("session/b", on_lost=unexpected, wait_seconds=0.05) is None
    assert first.held
