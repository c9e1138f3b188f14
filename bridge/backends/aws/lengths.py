"""Length limits of one queue, by SQS's approximate counts and what this node does besides.

Between two looks at the counts a node adds what it sends and takes off what it receives. It looks
again when that comes to the limit, and after having sent half of what there was room for, at most
once a second. Where the limit refuses publishes, each node does so by its own estimate. Where the
oldest have to go, one node at a time takes them, once two looks agree that there are too many:
counts lag, and what has just been consumed is not to be dropped for it. Limits in bytes are limits
in messages of the mean size that this node has sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.backends.aws.batches import BATCH_MAX
from bridge.backends.aws.control import SqsControl
from bridge.backends.aws.removing import Removal
from bridge.messaging.model import DeadLetterReason, Overflow

if TYPE_CHECKING:
    from bridge.backends.aws.node import Node
    from bridge.backends.aws.queues import AwsQueue
    from bridge.messaging.model import Message
    from bridge.messaging.ports import Leases

SENT_WITHOUT_A_LOOK = 8
"""The part of the limit that a node sends without looking, at most: one in so many."""

DOUBTS_MAX = 5
"""Looks, each after twice the time of the last, for which the counts may lag behind: a minute."""


class Length(Removal):
    """The length of one queue."""

    def __init__(self, node: Node, queue: AwsQueue, leases: Leases) -> None:
        super().__init__(node, queue, leases, "length")
        self._control = SqsControl(node)
        self._known: int | None = None
        """What was visible at the last look."""
        self._moved = 0
        """What this node has added since."""
        self._sent = 0
        """What it has sent since."""
        self._looked_at = 0.0
        self._over: int | None = None
        """How many were too many at the last look."""
        self._doubts = 0
        """How often in a row SQS has told of less than this node has sent."""
        self._count = 0
        self._bytes = 0

    def made(self) -> None:
        """The queue was made just now: it is empty."""
        self._known = 0

    def refuses(self, message: Message) -> bool:
        """Note a message that is about to be sent; True where the queue is full."""
        settings = self._queue.settings
        self._count += 1
        self._bytes += len(message.body)
        limit = self._limit()
        if settings.overflow is Overflow.REJECT_PUBLISH:
            if self._known is None:
                self._ask()
            elif self._known + self._moved >= limit:
                self._ask()
                return True
        self._moved += 1
        self._sent += 1
        room = limit if self._known is None else max(limit - self._known, 0)
        over = self._known is not None and self._known + self._moved > limit
        if over or self._sent > max(min(room // 2, limit // SENT_WITHOUT_A_LOOK), 1):
            self._ask()
        return False

    def taken(self, count: int) -> None:
        """So many were received by this node (below zero: given back)."""
        self._moved -= count

    def _ask(self) -> None:
        since = self._node.clock.monotonic() - self._looked_at
        self.look_in(self._node.limits.length_look_seconds - since)

    def _limit(self) -> int:
        settings = self._queue.settings
        limits = []
        if settings.length_max is not None:
            limits.append(settings.length_max)
        if settings.bytes_max is not None and self._count:
            limits.append(settings.bytes_max * self._count // max(self._bytes, 1))
        return min(limits, default=0)

    # -- looking

    async def look(self) -> float | None:
        queue, pause = self._queue, self._node.limits.length_look_seconds
        if queue.deleted:
            return None
        self._looked_at = self._node.clock.monotonic()
        expected = (self._known or 0) + self._moved
        moved, sending = self._moved, any(each.sender.busy for each in queue.parts)
        visible = (await self._control.counts(*[each.url for each in queue.parts])).visible
        limit = self._limit()
        drops = queue.settings.overflow is Overflow.DROP_HEAD
        if drops and visible <= limit < expected and self._doubts < DOUBTS_MAX:
            self._doubts += 1
            return pause * 2.0**self._doubts
        # What is under way to SQS is not among the counts yet.
        self._known = max(visible, expected) if sending else visible
        self._moved -= moved
        self._sent = self._doubts = 0
        over = visible - limit
        if over <= 0 or not drops:
            self._over = None
            await self.right.give_back()
            return None
        before, self._over = self._over, over
        if before is not None and await self.right.take():
            self._over = None
            await self._trim(min(before, over))
        return pause

    async def _trim(self, count: int) -> None:
        """Take the oldest messages out of the queue, those of the lowest priority first."""
        for part in reversed(self._queue.parts):
            while count > 0 and self.right.held:
                received = await self.receive(part, min(count, BATCH_MAX), first=True)
                if not received:
                    break
                count -= len(received)
                if self._known is not None:
                    self._known -= len(received)
                await self.remove(part, received, DeadLetterReason.MAXLEN)
