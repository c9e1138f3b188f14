"""One basic.consume at one queue: deliveries out, within the prefetch.

Hot path: `deliver` hands a whole list to the adapter, which encodes it into one write; 0.6 us each.
A token is (delivery, consumer), so that an ack gives the credit back to who had it. Under a
prefetch for the whole channel what exceeds it waits in the channel's `surplus`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.amqp091.channel import Consumer as ProtocolConsumer
from adapters.amqp091.codec import Outgoing
from bridge.messaging.model import Delivery, Message
from bridge.messaging.ports import Queue
from mappings.amqp091.errors import delivery_timed_out
from mappings.amqp091.messages import (
    counts_deliveries,
    outgoing_of,
    raw_properties_of,
    routing_of,
)
from mappings.consumer import GatewayConsumer

if TYPE_CHECKING:
    from mappings.amqp091.channel import GatewayChannel
    from mappings.amqp091.gateway import AmqpGateway


class AmqpConsumer(GatewayConsumer["AmqpGateway"]):
    """A consumer of `channel`, which holds what is unacknowledged."""

    __slots__ = (
        "_counts_deliveries",
        "channel",
        "follows_channel",
        "prefetch_asked",
        "protocol_consumer",
    )

    def __init__(
        self,
        gateway: AmqpGateway,
        channel: GatewayChannel,
        queue: Queue,
        protocol_consumer: ProtocolConsumer,
        prefetch: int,
    ) -> None:
        super().__init__(gateway, queue, prefetch)
        self.channel = channel
        self.protocol_consumer = protocol_consumer
        self.follows_channel = False
        """Its prefetch is the channel's, and grows with it."""
        self.prefetch_asked = channel.prefetch
        """What the client has said of each of its consumers; 0 is no limit."""
        self._counts_deliveries = counts_deliveries(queue)

    @property
    def connection_name(self) -> str:
        """See `GatewayConsumer`."""
        return self.gateway.name

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries; see `bridge.messaging.ports.Consumer`."""
        gateway = self.gateway
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
            self.settle_written(list(deliveries))

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
            size_bytes = sum(len(each.message.body) for each in deliveries)
        else:
            exchange = key = ""
            raw = b""
            last: Message | None = None
            for delivery in deliveries:
                message = delivery.message
                if (
                    last is None
                    or message.original is not last.original
                    or message.headers is not last.headers
                    or message.subject != last.subject
                    or message.topic != last.topic
                ):
                    exchange, key = routing_of(message, queue_name)
                    raw = raw_properties_of(message)
                    original = message.original
                    last = message if original is not None and raw is original[1] else None
                body = message.body
                size_bytes += len(body)
                outgoing.append(
                    ((delivery, self), delivery.receive_count > 1, exchange, key, raw, body)
                )
        self.protocol_consumer.deliver(outgoing)
        self.gateway.flush()
        self.gateway.count_delivered(len(outgoing), size_bytes)

    def cancelled(self) -> None:
        """The queue is gone; see `bridge.messaging.ports.Consumer`."""
        if not self.closed:
            self.closed = True
            self.gateway.consumer_ended(self)

    def overdue(self, held_seconds: float) -> None:
        """See `bridge.messaging.ports.Consumer`; RabbitMQ's consumer timeout does the same."""
        if not self.closed:
            number = self.channel.number
            self.gateway.refuse_channel(number, delivery_timed_out(number, held_seconds))
