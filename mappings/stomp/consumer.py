"""One STOMP subscription at one queue: deliveries out, within the credit.

Hot path: `deliver` encodes a list of deliveries into frames that leave in one write; 1.6 us each.
In the modes with ACK the credit is the prefetch and comes back as messages are settled. In mode
auto a message is settled when it is written, and the credit comes back at once, unless the client
does not read: then it is owed until it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.stomp.frames import FrameError
from adapters.stomp.subscription import AckMode, Subscription
from bridge.messaging.model import Delivery, Message, UnitOfWork
from bridge.messaging.ports import Subscription as StoreSubscription
from mappings.stomp.addresses import destination_from_topic
from mappings.stomp.messages import BLOCKS
from mappings.stomp.queues import Source

if TYPE_CHECKING:
    from mappings.stomp.gateway import StompGateway


class StompConsumer:
    """A `bridge.messaging.ports.Consumer`."""

    __slots__ = (
        "_auto",
        "_block",
        "_credit_owed",
        "_gateway",
        "_own_destination",
        "_published",
        "_published_destination",
        "_shown",
        "_store_subscription",
        "closed",
        "prefetch",
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
        self.subscription = subscription
        self.source = source
        self.prefetch = prefetch
        self.closed = False
        self._gateway = gateway
        self._own_destination = own_destination
        self._shown = shown
        self._published: tuple[str | None, str | None] = (None, None)
        self._published_destination = own_destination
        self._block = BLOCKS[subscription.version].block
        self._auto = subscription.ack_mode is AckMode.AUTO
        self._credit_owed = 0
        self._store_subscription: StoreSubscription | None = None

    async def open(self, priority: int) -> None:
        """Register at the store, without credit: `start` gives it."""
        store = self._gateway.services.store
        self._store_subscription = await store.consume(
            self.source.queue, self, credit=0, priority=priority, exclusive=self.source.exclusive
        )
        if self.closed:
            self._store_subscription.cancel()

    def start(self) -> None:
        """The client knows of the subscription: let messages come."""
        if self._store_subscription is None or self.closed:
            return
        if self._gateway.writing_paused:
            self._store_subscription.pause()
        self._store_subscription.add_credit(self.prefetch)

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries; see `bridge.messaging.ports.Consumer`."""
        gateway = self._gateway
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
            self._settle(deliveries)

    def _destination(self, message: Message) -> str:
        """Where a message was published; nearly always where the one before it was, too."""
        published = (message.topic, message.subject)
        if published != self._published:
            self._published = published
            self._published_destination = self._shown or destination_from_topic(
                message.topic, message.subject
            )
        return self._published_destination

    def _settle(self, deliveries: Sequence[Delivery]) -> None:
        unit = UnitOfWork()
        unit.deletes += deliveries
        self._gateway.services.store.submit(unit)
        if self._gateway.writing_paused:
            self._credit_owed += len(deliveries)
        elif self._store_subscription is not None:
            self._store_subscription.add_credit(len(deliveries))

    def add_credit(self, count: int) -> None:
        """The client has settled `count` messages."""
        if self._store_subscription is not None and count and not self.closed:
            self._store_subscription.add_credit(count)

    def cancelled(self) -> None:
        """The queue is gone; see `bridge.messaging.ports.Consumer`."""
        if not self.closed:
            self.closed = True
            self.subscription.take_unsettled()
            self._gateway.subscriptions.source_ended(self)

    def overdue(self, held_seconds: float) -> None:
        """See `bridge.messaging.ports.Consumer`; the connection ends, as RabbitMQ does it."""
        if not self.closed:
            self._gateway.refuse(
                FrameError(
                    "precondition_failed",
                    f"delivery acknowledgement of subscription '{self.subscription.id}' timed out:"
                    f" a message was held for {round(held_seconds)} s\n",
                )
            )

    def close(self) -> list[Delivery]:
        """Take nothing more; returns what is unsettled, for the caller to release."""
        self.closed = True
        if self._store_subscription is not None:
            self._store_subscription.cancel()
        return self.subscription.take_unsettled()

    def pause(self) -> None:
        if self._store_subscription is not None and not self.closed:
            self._store_subscription.pause()

    def resume(self) -> None:
        if self._store_subscription is not None and not self.closed:
            self._store_subscription.resume()
            owed, self._credit_owed = self._credit_owed, 0
            self.add_credit(owed)
