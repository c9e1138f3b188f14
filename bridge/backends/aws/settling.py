"""What receivers do with deliveries of one queue: deletes and changes of visibility, in batches.

A release is a visibility timeout of 0, a renewal one of the full time. What fails for good loses
nothing: the visibility ends by itself and the message is delivered again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.backends.aws.batches import IDS, Batcher
from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.node import Node
from bridge.backends.aws.wire import HandleBatch, HandleEntry, Sent, encode

if TYPE_CHECKING:
    from bridge.backends.aws.messages import AwsDelivery
    from bridge.backends.aws.queues import AwsQueue
    from bridge.messaging.model import UnitOfWork


class Settled:
    """One delivery on its way back; `seconds` None deletes it."""

    __slots__ = ("deadline", "delivery", "seconds", "unit")

    def __init__(
        self,
        delivery: AwsDelivery,
        seconds: int | None,
        unit: UnitOfWork | None,
        deadline: float,
    ) -> None:
        self.delivery = delivery
        self.seconds = seconds
        self.unit = unit
        self.deadline = deadline


class _Settler(Batcher[Settled]):
    def __init__(self, node: Node, queue: AwsQueue) -> None:
        super().__init__(node, node.limits.settles_in_flight_max)
        self._queue = queue

    def forget_counts(self) -> None:
        self._queue.counted = None

    def lazy_seconds(self) -> float:
        limits = self._node.limits
        fifo = self._queue.fifo
        return limits.fifo_settle_linger_seconds if fifo else limits.settle_linger_seconds

    def encode(self, batch: list[Settled]) -> bytes:
        entries = [
            HandleEntry(IDS[number], item.delivery.handle, item.seconds)
            for number, item in enumerate(batch)
        ]
        return encode(HandleBatch(self._queue.url, entries))

    def succeeded(self, item: Settled, sent: Sent) -> None:
        if item.unit is not None:
            self._node.part_done(item.unit)

    def failed(self, item: Settled, error: AwsError) -> None:
        if error.queue_is_gone:
            self._queue.vanish()
        if item.unit is not None:
            if error.retryable:
                item.unit.error = messaging_error_from(error)
            # Otherwise the delivery was void before: its visibility or its queue had ended.
            self._node.part_done(item.unit)


class Deleter(_Settler):
    """DeleteMessageBatch."""

    action = "DeleteMessageBatch"

    def succeeded(self, item: Settled, sent: Sent) -> None:
        if item.delivery.payload is not None:
            self._node.payloads.discard(item.delivery.payload)
        if item.unit is not None:
            self._node.part_done(item.unit)

    def failed(self, item: Settled, error: AwsError) -> None:
        self._queue.finished.forget(item.delivery.message.message_id)
        super().failed(item, error)

    def delete(self, delivery: AwsDelivery, unit: UnitOfWork | None, deadline: float) -> None:
        """Delete one message; with `unit`, somebody waits for it."""
        if unit is not None:
            unit.remaining += 1
        self.add(Settled(delivery, None, unit, deadline), lazy=unit is None)


class VisibilityChanger(_Settler):
    """ChangeMessageVisibilityBatch."""

    action = "ChangeMessageVisibilityBatch"

    def change(
        self, delivery: AwsDelivery, seconds: int, unit: UnitOfWork | None, deadline: float
    ) -> None:
        """Restart the visibility timeout of one message; with `unit`, somebody waits for it."""
        if unit is not None:
            unit.remaining += 1
        self.add(Settled(delivery, seconds, unit, deadline))

    def failed(self, item: Settled, error: AwsError) -> None:
        if not error.retryable and item.seconds:
            # It is not this node's any more; what its consumer still does to it does nothing.
            self._queue.holder.drop(item.delivery)
        super().failed(item, error)
