"""What expires leaves its queue though nobody receives.

A sweep receives from the front of the queue, dead-letters what has expired and gives back the rest,
up to a bound: SQS hands out the oldest first, more or less, so behind messages that are not due
none are looked for, as in RabbitMQ. Messages that were only looked at do not count as received at
this node. Queues with SQS's own redrive policy are left alone, since SQS counts each look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.backends.aws.batches import BATCH_MAX
from bridge.backends.aws.claims import delivery_if_readable
from bridge.backends.aws.removing import Removal
from bridge.messaging.model import DeadLetterReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.backends.aws.messages import AwsDelivery
    from bridge.backends.aws.node import Node
    from bridge.backends.aws.queues import AwsQueue
    from bridge.backends.aws.wire import Received
    from bridge.messaging.model import Message
    from bridge.messaging.ports import Leases


class Sweep(Removal):
    """The sweeps of one queue."""

    def __init__(
        self, node: Node, queue: AwsQueue, leases: Leases, done: Callable[[], None]
    ) -> None:
        """`done` is called when nothing is left that is known to end."""
        super().__init__(node, queue, leases, "sweep")
        self._done = done
        self._until = 0
        """When the last of the messages ends that are known to have an end of their own."""
        self._pause = 0.0

    def sent(self, message: Message) -> None:
        """A message is on its way from here."""
        ttl_ms = self._queue.settings.message_ttl_ms
        end = message.expires_at
        if end is not None:
            self._until = max(self._until, end)
            wait = (end - self._node.clock.epoch_ms()) / 1000
            if ttl_ms is not None:
                wait = min(wait, ttl_ms / 1000)
        elif ttl_ms is not None:
            wait = ttl_ms / 1000
        else:
            return
        self._pause = 0.0
        self.look_in(max(wait, self._node.limits.sweep_seconds_min))

    def noted(self, first: int, last: int) -> None:
        """Another node sends messages that end at these times (epoch milliseconds).

        It is the first to look, and goes on as long as it lives.
        """
        limits = self._node.limits
        self._until = max(self._until, last)
        wait = (first - self._node.clock.epoch_ms()) / 1000
        self.look_in(max(wait, limits.sweep_seconds_min) + limits.sweep_seconds_min)

    async def look(self) -> float | None:
        queue, limits = self._queue, self._node.limits
        if queue.deleted or queue.settings.redrive is not None:
            return None
        if queue.intake.thirsty:
            # Who receives drops what has expired.
            return self._next(None, emptied=False)
        if not await self.right.take():
            known = queue.settings.message_ttl_ms is not None
            known = known or self._until > self._node.clock.epoch_ms()
            return limits.duty_retry_seconds if known else None
        earliest, emptied = await self._sweep()
        following = self._next(earliest, emptied=emptied)
        if following is None:
            self._done()
            await self.right.give_back()
        return following

    def _next(self, earliest: int | None, *, emptied: bool) -> float | None:
        """Seconds until the next sweep; None where nothing is known that could expire.

        `earliest` is when the first of those ends that were seen and left.
        """
        limits = self._node.limits
        now = self._node.clock.epoch_ms()
        ttl_ms = self._queue.settings.message_ttl_ms
        if ttl_ms is None and earliest is None and self._until <= now:
            return None
        ends = [each for each in (earliest, self._until) if each is not None and each > now]
        if ttl_ms is not None:
            ends.append(now + ttl_ms)
        wait = (min(ends, default=now) - now) / 1000
        least = min(max(wait / 10, limits.sweep_seconds_min), limits.sweep_seconds_max)
        if emptied:
            # What others send to a queue at rest is found a little later.
            self._pause = min(max(least, self._pause * 2), limits.sweep_seconds_max)
            return max(wait, self._pause)
        self._pause = 0.0
        return max(wait, least)

    # -- one sweep

    async def _sweep(self) -> tuple[int | None, bool]:
        """Returns when the first of those ends that stay, and whether the whole queue was seen."""
        seen = [await self._sweep_part(part) for part in self._queue.parts]
        ends = [end for end, _ in seen if end is not None]
        return min(ends, default=None), all(emptied for _, emptied in seen)

    async def _sweep_part(self, part: AwsQueue) -> tuple[int | None, bool]:
        clock = self._node.clock
        kept: list[AwsDelivery] = []
        earliest: int | None = None
        first = True
        try:
            while len(kept) < self._node.limits.sweep_kept_max and self.right.held:
                received = await self.receive(part, BATCH_MAX, first=first)
                first = False
                if not received:
                    return earliest, True
                now = clock.epoch_ms()
                expired: list[Received] = []
                for each in received:
                    delivery = delivery_if_readable(self._node, part, each)
                    if delivery is None:
                        continue
                    end = part.end_of(delivery.message)
                    due = delivery.message.visible_at
                    if end is not None and end <= now:
                        expired.append(each)
                        continue
                    if end is not None:
                        earliest = end if earliest is None else min(earliest, end)
                    if due is not None and due > now:
                        part.hide(delivery, -(-(due - now) // 1000))
                    else:
                        kept.append(delivery)
                if expired:
                    await self.remove(part, expired, DeadLetterReason.EXPIRED)
        finally:
            for delivery in kept:
                part.looked_at(delivery)
        return earliest, False
