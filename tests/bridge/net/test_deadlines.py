from __future__ import annotations

import asyncio

from bridge.messaging.clock import SystemClock
from bridge.net.deadlines import Deadlines, Slot
from bridge.net.driver import Driver
from tests.bridge.net.recording import Made, closed, legacy, listening


class Waiting:
    def __init__(self) -> None:
        self.passed = asyncio.Event()
        self.at = 0.0
        self.others: list[tuple[Slot, Waiting]] = []

    def deadline_passed(self) -> None:
        self.at = SystemClock().monotonic()
        self.passed.set()
        for slot, other in self.others:
            slot.discard(other)


async def test_nobody_is_called_early_and_neighbours_share_a_timer() -> None:
    now = SystemClock().monotonic
    deadlines = Deadlines(asyncio.get_running_loop(), now)
    start = now()
    waiting = [Waiting() for _ in range(20)]
    for index, one in enumerate(waiting):
        deadlines.add(one, start + index / 100)
    assert len(deadlines) <= 3
    for index, one in enumerate(waiting):
        await one.passed.wait()
        # uvloop counts in whole milliseconds and may be half of one early.
        assert one.at >= start + index / 100 - 0.001
    assert len(deadlines) == 0


async def test_who_left_is_not_called() -> None:
    now = SystemClock().monotonic
    deadlines = Deadlines(asyncio.get_running_loop(), now)
    due = now()
    left, last = Waiting(), Waiting()
    deadlines.add(left, due).discard(left)
    slot = deadlines.add(last, due)
    # Whichever of two is called first, the other one is not called any more.
    pair = Waiting(), Waiting()
    for one, other in (pair, pair[::-1]):
        one.others = [(slot, other)]
        slot.add(one)
    await last.passed.wait()
    while len(deadlines):
        await asyncio.sleep(0)
    assert not left.passed.is_set()
    assert [one.passed.is_set() for one in pair].count(True) == 1


async def test_distant_deadline_of_a_connection_costs_no_timer_and_ends_with_it() -> None:
    made = Made()
    async with listening(legacy(made)) as running:
        clients = [await running.connect() for _ in range(5)]
        await made.gateway(4)
        due = SystemClock().monotonic() + 3600
        for gateway in made.gateways:
            gateway.deadline = due
            gateway.transport.deadline_changed()
        drivers = [gateway.transport for gateway in made.gateways]
        slots = set()
        for driver in drivers:
            assert isinstance(driver, Driver)
            assert isinstance(driver._timer, Slot)
            slots.add(driver._timer)
        assert len(slots) == 1
        for _, writer in clients:
            await closed(writer)
        for gateway in made.gateways:
            await gateway.lost
        assert not slots.pop()._waiting
