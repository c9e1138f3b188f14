"""Duties that take messages out of their queue, which only one node may do at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.backends.aws.claims import deliveries_from
from bridge.backends.aws.duty import Duty, Right
from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.pulling import ask
from bridge.backends.aws.wire import Receive, Received

if TYPE_CHECKING:
    from bridge.backends.aws.node import Node
    from bridge.backends.aws.queues import AwsQueue
    from bridge.messaging.model import DeadLetterReason
    from bridge.messaging.ports import Leases


class Removal(Duty):
    """A duty with the right to receive from its queue and to dead-letter."""

    def __init__(self, node: Node, queue: AwsQueue, leases: Leases, name: str) -> None:
        """`name` is that of the right, before the queue's own."""
        super().__init__(node, queue)
        self.right = Right(leases, f"{name}/{queue.sqs_name}")

    async def leave(self) -> None:
        await self.right.give_back()

    async def receive(self, part: AwsQueue, count: int, *, first: bool) -> list[Received]:
        """What is at the front of a part of the queue; `first`: of several receives in a row."""
        # One second of waiting makes SQS ask all of its servers; a short poll may miss messages,
        # but does not keep those waiting that were received before.
        node = self._node
        wait = 1 if first else 0
        request = Receive(
            part.url, count, wait_time_seconds=wait, visibility_timeout=node.limits.hold_seconds
        )
        try:
            return await ask(node, request)
        except AwsError as error:
            if error.queue_is_gone:
                self._queue.vanish()
            raise

    async def remove(
        self, part: AwsQueue, received: list[Received], reason: DeadLetterReason
    ) -> None:
        """Dead-letter messages; given back where the right was lost meanwhile."""
        deliveries = await deliveries_from(self._node, part, received)
        if self.right.held:
            part.dead_letter(deliveries, reason)
            return
        for delivery in deliveries:
            part.looked_at(delivery)
