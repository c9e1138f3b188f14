"""One basic.consume at one queue: deliveries out, within the prefetch.

Hot path: `deliver` hands a whole list to the adapter, which encodes it into one write; 0.6 us each.
A token is (delivery, consumer), so that an ack gives the credit back to who had it. Without
acknowledgements a message is settled when it is written, and the credit comes back at once, unless
the client does not read: then it is owed until it does. Under a prefetch for the whole channel what
exceeds it waits in the channel's `surplus`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.amqp091.channel import Consumer as ProtocolConsumer
from adapters.amqp091.codec import Outgoing
from bridge.messaging.model import Delivery, UnitOfWork
from bridge.messaging.ports import Queue
from bridge.messaging.ports import Subscription as StoreSubscription
from mappings.amqp091.errors import delivery_timed_out
from mappings.amqp091.messages import (
    counts_deliveries,
    outgoing_of,
    raw_properties_of,
    routing_of,
)

if TYPE_CHECKING:
    from mappings.amqp091.channel import GatewayChannel
    from mappings.amqp091.gateway import AmqpGateway


class AmqpConsumer:
    """A `bridge.messaging.ports.Consumer`."""

    __slots__ = (
        "_counts_deliveries",
        "_credit_owed",
        "_gateway",
        "_store_subscription",
        "channel",
        "closed",
        "follows_channel",
        "prefetch",
        "protocol_consumer",
        "queue",
    )

    def __init__(
        self,
        gateway: AmqpGateway,
        channel: GatewayChannel,
        queue: Queue,
        protocol_consumer: ProtocolConsumer,
        prefetch: int,
    ) -> None:
        self._gateway = gateway
        self.channel = channel
        self.queue = queue
        self.protocol_consumer = protocol_consumer
        self.prefetch = prefetch
        self.follows_channel = False
        """Its prefetch is the channel's, and grows with it."""
        self.closed = False
        self._credit_owed = 0
        self._counts_deliveries = counts_deliveries(queue)
        self._store_subscription: StoreSubscription | None = None

    async def open(self, priority: int, *, exclusive: bool) -> None:
        """Register at the store, without credit: `start` gives it. Raises `ResourceLocked`."""
        self._store_subscription = await self._gateway.services.store.consume(
            self.queue, self, credit=0, priority=priority, exclusive=exclusive
        )
        if self.closed:
            self._store_subscription.cancel()

    def start(self) -> None:
        """The client knows of the consumer: let messages come."""
        subscription = self._store_subscription
        if subscription is None or self.closed:
            return
        if self._gateway.writing_paused:
            subscription.pause()
        subscription.add_credit(self.prefetch)

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries; see `bridge.messaging.ports.Consumer`."""
        gateway = self._gateway
        if self.closed or gateway.lost:
            gateway.release(deliveries)
            return
        if self.channel.prefetch_max:
            deliveries = self.channel.within_prefetch(self, deliveries)
        self.send(deliveries)

    def send(self, deliveries: Sequence[Delivery]) -> None:
        """Write what is within the channel's prefetch."""
        self.write(deliveries)
        if self.protocol_consumer.no_ack:
            self._settle(deliveries)

    def raise_prefetch(self, prefetch: int) -> None:
        """The channel's prefetch is this now; where it is lower, that is seen to at delivery."""
        if self.follows_channel and prefetch > self.prefetch:
            self.add_credit(prefetch - self.prefetch)
            self.prefetch = prefetch

    def write(self, deliveries: Sequence[Delivery]) -> None:
        """Encode and send; the channel's prefetch was seen to."""
        queue_name = self.queue.name.name
        outgoing: list[Outgoing] = []
        size_bytes = 0
        if self._counts_deliveries:
            outgoing = [outgoing_of(each, self, queue_name, counts=True) for each in deliveries]
        else:
            for delivery in deliveries:
                message = delivery.message
                exchange, key = routing_of(message, queue_name)
                raw = raw_properties_of(message)
                body = message.body
                size_bytes += len(body)
                outgoing.append(
                    ((delivery, self), delivery.receive_count > 1, exchange, key, raw, body)
                )
        self.protocol_consumer.deliver(outgoing)
        self._gateway.write_out()
        self._gateway.count_delivered(len(outgoing), size_bytes)

    def _settle(self, deliveries: Sequence[Delivery]) -> None:
        unit = UnitOfWork()
        unit.deletes += deliveries
        self._gateway.services.store.submit(unit)
        if self._gateway.writing_paused:
            self._credit_owed += len(deliveries)
        else:
            self.add_credit(len(deliveries))

    def add_credit(self, count: int) -> None:
        """The client has settled `count` messages."""
        if self._store_subscription is not None and count and not self.closed:
            self._store_subscription.add_credit(count)

    def cancelled(self) -> None:
        """The queue is gone; see `bridge.messaging.ports.Consumer`."""
        if not self.closed:
            self.closed = True
            self._gateway.consumer_ended(self)

    def overdue(self, held_seconds: float) -> None:
        """See `bridge.messaging.ports.Consumer`; RabbitMQ's consumer timeout does the same."""
        if not self.closed:
            number = self.channel.number
            self._gateway.refuse_channel(number, delivery_timed_out(number, held_seconds))

    def close(self) -> None:
        """Take nothing more; what is unacknowledged stays with the channel."""
        if not self.closed:
            self.closed = True
            if self._store_subscription is not None:
                self._store_subscription.cancel()

    def pause(self) -> None:
        if self._store_subscription is not None and not self.closed:
            self._store_subscription.pause()

    def resume(self) -> None:
        if self._store_subscription is not None and not self.closed:
            self._store_subscription.resume()
            owed, self._credit_owed = self._credit_owed, 0
            self.add_credit(owed)
