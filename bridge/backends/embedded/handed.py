"""Receive counts of what was pushed: written for those that are still held after a while.

Most messages are settled within `Limits.receive_count_delay_seconds`; for them nothing is written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bridge.backends.embedded.committer import Committer
    from bridge.backends.embedded.entry import Entry
    from bridge.messaging.limits import Limits


class Owner(Protocol):
    """What the counts need of the engine."""

    committer: Committer

    def wake_up(self) -> None:
        """There is something to commit."""
        ...


class Handed:
    """What was handed out lately, in that order."""

    def __init__(self, limits: Limits, owner: Owner) -> None:
        self._delay = limits.receive_count_delay_seconds
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._handed: deque[tuple[float, list[Entry]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, entries: list[Entry]) -> None:
        """These were handed out now."""
        self._handed.append((self._loop.time(), entries))
        if self._timer is None:
            self._timer = self._loop.call_later(self._delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self._write(self._loop.time() - self._delay)
        self._owner.wake_up()
        if self._handed:
            self._timer = self._loop.call_later(self._delay, self._due)

    def _write(self, before: float) -> None:
        while self._handed and self._handed[0][0] <= before:
            self._owner.committer.received(
                [
                    entry
                    for entry in self._handed.popleft()[1]
                    if entry.held and entry.counted != entry.receive_count
                ]
            )

    def close(self) -> None:
        """Write them all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write(float("inf"))
