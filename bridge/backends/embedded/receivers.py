"""Who receives: consumers that are pushed to, and pulls that wait for their first message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from bridge.backends.embedded.entry import Entry
from bridge.messaging.ports import Consumer

if TYPE_CHECKING:
    from bridge.backends.embedded.queue import EmbeddedQueue


class PushReceiver:
    """One consumer at one queue; see `bridge.messaging.ports.Subscription`."""

    __slots__ = (
        "_cancelled",
        "_wake",
        "consumer",
        "credit",
        "exclusive",
        "paused",
        "priority",
        "pulls",
        "queue",
    )

    def __init__(
        self,
        queue: EmbeddedQueue,
        consumer: Consumer,
        credit: int,
        priority: int,
        *,
        exclusive: bool,
        wake: Callable[[EmbeddedQueue], None],
    ) -> None:
        self.queue = queue
        self.consumer = consumer
        self.credit = credit
        self.priority = priority
        self.exclusive = exclusive
        self.paused = False
        self.pulls = False
        self._wake = wake
        self._cancelled = False

    @property
    def gone(self) -> bool:
        return self._cancelled

    def hand(self, entries: list[Entry]) -> None:
        self.consumer.deliver(entries)

    def end(self) -> None:
        """Consumers are told by their connection."""

    def add_credit(self, count: int) -> None:
        self.credit += count
        if self.credit > 0 and self.queue.visible > 0:
            self._wake(self.queue)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._wake(self.queue)

    def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self.queue.receivers.remove(self)
            self._wake(self.queue)

    def evict(self) -> None:
        """The queue is gone."""
        if not self._cancelled:
            self._cancelled = True
            self.consumer.cancelled()


class PullReceiver:
    """A receive that waits; it has its turn once, and is not counted as a consumer."""

    __slots__ = ("credit", "future", "priority", "pulls")

    def __init__(self, count: int) -> None:
        self.credit = count
        self.pulls = True
        self.priority = 0
        self.future: asyncio.Future[list[Entry]] = asyncio.get_running_loop().create_future()

    @property
    def paused(self) -> bool:
        """True once it was served, or nobody waits for it any more."""
        return self.future.done()

    @property
    def gone(self) -> bool:
        return self.future.done()

    def hand(self, entries: list[Entry]) -> None:
        self.future.set_result(entries)

    def served(self) -> list[Entry]:
        """What it was handed, if it was."""
        future = self.future
        if not future.done() or future.cancelled() or future.exception() is not None:
            return []
        return future.result()

    def end(self) -> None:
        """The time to wait is over. Whoever was served in the same moment keeps what it has."""
        if not self.future.done():
            self.future.set_result([])
