"""One duty at one queue, and the right to do what only one node may do.

A duty looks at its queue now and then and says when it wants to look again; between two looks it is
one timer.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from bridge.messaging.errors import MessagingError

if TYPE_CHECKING:
    from bridge.backends.aws.node import Node
    from bridge.backends.aws.queues import AwsQueue
    from bridge.messaging.ports import Lease, Leases


class Right:
    """A lease that is asked for when there is something to do."""

    def __init__(self, leases: Leases, name: str) -> None:
        self._leases = leases
        self._name = name
        self._lease: Lease | None = None

    @property
    def held(self) -> bool:
        """To be asked before each thing that is done by it."""
        return self._lease is not None and self._lease.held

    async def take(self) -> bool:
        """Get it unless another node has it, which costs nothing to find out."""
        if self.held:
            return True
        self._lease = await self._leases.acquire(self._name, on_lost=self._lost)
        return self.held

    async def give_back(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            await self._leases.release(lease)

    def _lost(self, lease: Lease) -> None:
        if self._lease is lease:
            self._lease = None


class Duty(ABC):
    """Looks after one thing of one queue."""

    def __init__(self, node: Node, queue: AwsQueue) -> None:
        self._node = node
        self._queue = queue
        self._timer: asyncio.Handle | None = None
        self._rings_at = 0.0
        """When the timer is due (the loop's time); uvloop's do not tell it once they are."""
        self._looking = False
        self._again: float | None = None
        """While it looks: when it was asked to look again (the loop's time)."""
        self.ended = False

    @abstractmethod
    async def look(self) -> float | None:
        """Do what there is to do; returns in how many seconds to look again, None: when asked.

        What it raises puts the next look off; see `tasks.attempt`.
        """

    @abstractmethod
    async def leave(self) -> None:
        """The duty is over: give back what others may have."""

    def look_in(self, seconds: float) -> None:
        """Look in so many seconds, or before."""
        if self.ended:
            return
        at = self._node.loop.time() + max(seconds, 0.0)
        if self._looking:
            self._again = at if self._again is None else min(self._again, at)
        elif self._timer is None or at < self._rings_at:
            if self._timer is not None:
                self._timer.cancel()
            self._rings_at = at
            self._timer = self._node.loop.call_at(at, self._ring)

    def end(self) -> None:
        """Look no more."""
        if self.ended:
            return
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._looking:
            self._node.tasks.spawn(self._leave())

    def stop(self) -> None:
        """The node closes, and lets go of all its leases."""
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        self._timer = None
        self._looking = True
        self._node.tasks.spawn(self._look())

    async def _look(self) -> None:
        # What fails for good is tried again as well: the queue may be given back its rights.
        following: float | None = self._node.limits.duty_retry_seconds

        async def turn() -> None:
            nonlocal following
            following = await self.look()

        try:
            await self._node.attempt(f"{self!r} failed", turn)
        finally:
            self._looking = False
        if self.ended:
            await self._leave()
            return
        again, self._again = self._again, None
        if following is not None:
            self.look_in(following)
        if again is not None:
            self.look_in(again - self._node.loop.time())

    async def _leave(self) -> None:
        try:
            await self.leave()
        except MessagingError:
            # It ends with this node.
            return
