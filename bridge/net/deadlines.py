"""Shared timers for deadlines that are some way off, such as keep-alives.

A timer of its own costs a resting connection 600 bytes, a third of all that it costs. Deadlines
that are due in the same tenth of a second share one here; nearer ones are not for this place.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

SHARED_FROM_SECONDS = 2.0
"""Nearer deadlines keep a timer of their own, and their precision."""
SLOTS_PER_SECOND = 10


class HasDeadline(Protocol):
    """Something that is called when its deadline has passed."""

    def deadline_passed(self) -> None: ...


class Slot:
    """Those whose deadlines pass in the same tenth of a second."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: set[HasDeadline] = set()

    def add(self, waiting: HasDeadline) -> None:
        self._waiting.add(waiting)

    def discard(self, waiting: HasDeadline) -> None:
        """Do not call this one."""
        self._waiting.discard(waiting)

    def pass_by(self) -> None:
        """Call all; one that was discarded by another meanwhile is left out."""
        while self._waiting:
            self._waiting.pop().deadline_passed()


class Deadlines:
    """Slots by time; each has one timer while somebody may wait in it."""

    __slots__ = ("_loop", "_monotonic", "_slots")

    def __init__(self, loop: asyncio.AbstractEventLoop, monotonic: Callable[[], float]) -> None:
        self._loop = loop
        self._monotonic = monotonic
        self._slots: dict[int, Slot] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, waiting: HasDeadline, deadline: float) -> Slot:
        """Call `waiting` when `deadline` has passed, at most a tenth of a second late."""
        number = math.ceil(deadline * SLOTS_PER_SECOND)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = Slot()
            delay = number / SLOTS_PER_SECOND - self._monotonic()
            self._loop.call_later(delay, self._pass, number)
        slot.add(waiting)
        return slot

    def _pass(self, number: int) -> None:
        self._slots.pop(number).pass_by()
