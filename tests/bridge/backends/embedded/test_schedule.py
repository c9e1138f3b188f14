"""The heap of what happens at a time keeps little that no longer applies."""

from __future__ import annotations

from bridge.backends.embedded.schedule import HEAP_MIN, Schedule
from bridge.messaging.clock import SystemClock


async def test_a_heap_is_rid_of_what_no_longer_applies() -> None:
    clock = SystemClock()
    live: set[int] = set()
    schedule: Schedule[int] = Schedule(clock, lambda _, __: None, lambda item, _: item in live)
    later = clock.epoch_ms() + 60_000
    for item in range(20 * HEAP_MIN):
        live.add(item)
        schedule.add(item, later)
        live.discard(item - 100)
    assert len(schedule) <= HEAP_MIN
    live.update(range(30_000, 33_000))
    for item in range(30_000, 33_000):
        schedule.add(item, later)
    assert 3_000 <= len(schedule) <= 2 * 3_100
    schedule.close()
