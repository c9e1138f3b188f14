"""What happens at a time: visibility timeouts end, delays end, messages expire.

One heap of (epoch ms, entry) and one timer for the earliest. An item that no longer applies when it
is due (settled, extended, received again) is dropped then; nothing is ever searched for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from bridge.backends.embedded.entry import GONE, Entry

if TYPE_CHECKING:
    from bridge.messaging.clock import Clock


class Schedule:
    """Calls `due(entry, at)` on the loop once `at` has come; the callee checks what is due."""

    def __init__(self, clock: Clock, due: Callable[[Entry, int], None]) -> None:
        self._clock = clock
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[int, int, Entry]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0

    def add(self, entry: Entry, at: int) -> None:
        """Look at `entry` again at `at`, in epoch milliseconds."""
        self._count += 1
        heappush(self._heap, (at, self._count, entry))
        if self._timer is None or at < self._armed_for:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._armed_for = self._heap[0][0]
            delay = max(self._armed_for - self._clock.epoch_ms(), 0) / 1000
            self._timer = self._loop.call_later(delay + 0.0005, self.run)

    def run(self) -> None:
        """Do what is due."""
        self._timer = None
        now = self._clock.epoch_ms()
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, entry = heappop(heap)
            if entry.status != GONE:
                self._due(entry, at)
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
