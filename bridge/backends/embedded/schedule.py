"""What happens at a time: visibility timeouts end, delays end, messages expire.

One heap of (time, items) and one timer for the earliest. An item that no longer applies when it is
due (settled, extended, received again) is dropped then; nothing is ever searched for. Whenever the
items have doubled the heap is rid of those, so that it keeps at most twice what still applies. It
is ordered by the loop's time, so a step of the machine's clock neither ends nor prolongs a timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from bridge.messaging.clock import Clock

T = TypeVar("T")

HEAP_MIN = 1_024
"""A heap smaller than this is left alone."""


class Schedule(Generic[T]):
    """Calls `due(item, at)` on the loop once `at` has come; the callee checks what is due."""

    def __init__(
        self,
        clock: Clock,
        due: Callable[[T, int], None],
        applies: Callable[[T, int], bool] | None = None,
    ) -> None:
        """`applies` tells, ahead of time, whether an item that was added still is to be due."""
        self._clock = clock
        self._due = due
        self._applies = applies
        self._crowded_at = HEAP_MIN
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, int, Sequence[T]]] = []
        self._size = 0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0

    def add(self, item: T, at: int) -> None:
        """Look at `item` again at `at`, in epoch milliseconds."""
        self.add_all((item,), at)

    def add_all(self, items: Sequence[T], at: int) -> None:
        """Look at each of `items`, which nobody changes any more, again at `at`."""
        time = self._loop.time() + (at - self._clock.epoch_ms()) / 1000
        self._count += 1
        self._size += len(items)
        heappush(self._heap, (time, self._count, at, items))
        if self._size >= self._crowded_at and self._applies is not None:
            self._thin_out(self._applies)
        if self._timer is None or time < self._armed_for:
            self._arm()

    def _thin_out(self, applies: Callable[[T, int], bool]) -> None:
        kept = []
        for time, count, at, items in self._heap:
            if left := [item for item in items if applies(item, at)]:
                kept.append((time, count, at, left))
        # In place: it may be in the middle of `_run`.
        self._heap[:] = kept
        heapify(self._heap)
        self._size = sum([len(each[3]) for each in kept])
        self._crowded_at = max(HEAP_MIN, 2 * self._size)

    def __len__(self) -> int:
        return self._size

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._armed_for = self._heap[0][0]
            # Half a millisecond late, so that the clock's milliseconds have come as well.
            self._timer = self._loop.call_at(self._armed_for + 0.0005, self._run)

    def _run(self) -> None:
        """Do what is due."""
        self._timer = None
        now = self._loop.time()
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, _, at, items = heappop(heap)
            self._size -= len(items)
            for item in items:
                self._due(item, at)
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
