"""What the gateway knows of one channel: prefetches, consumers, a transaction, the last queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import TypeAlias

from adapters.amqp091.events import PublishReceived
from bridge.messaging.model import Delivery, Publish
from mappings.amqp091.consumer import AmqpConsumer

Token: TypeAlias = tuple[Delivery, AmqpConsumer | None]
"""What the adapter holds for a delivery; without a consumer where basic.get took it."""


def counted(tokens: Iterable[Token]) -> int:
    """How many count against a prefetch: as in RabbitMQ not those that basic.get took."""
    return sum(consumer is not None for _, consumer in tokens)


def give_credit(tokens: Sequence[Token]) -> None:
    """Give the consumers of settled deliveries their credit back, in as few calls as possible."""
    last: AmqpConsumer | None = None
    count = 0
    for _, consumer in tokens:
        if consumer is last:
            count += 1
            continue
        if last is not None:
            last.add_credit(count)
        last, count = consumer, 1
    if last is not None:
        last.add_credit(count)


class Transaction:
    """What tx.commit will do as one: publishes, acks, nacks with and without requeue.

    `received` and `publishes` belong together, one each.
    """

    __slots__ = ("acked", "body_bytes", "publishes", "received", "rejected", "returned")

    def __init__(self) -> None:
        self.received: list[PublishReceived] = []
        self.publishes: list[Publish] = []
        self.acked: list[Token] = []
        self.returned: list[Token] = []
        self.rejected: list[Token] = []
        self.body_bytes = 0

    @property
    def size(self) -> int:
        return len(self.publishes) + len(self.acked) + len(self.returned) + len(self.rejected)


class GatewayChannel:
    """The state of one channel.

    `prefetch` is for each consumer that is still to come, `prefetch_max` for all of the channel
    together (basic.qos with global); 0 is no limit.
    """

    __slots__ = (
        "consumers",
        "last_queue",
        "marks",
        "number",
        "outstanding",
        "prefetch",
        "prefetch_max",
        "reply_queue",
        "surplus",
        "transaction",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.prefetch = 0
        self.prefetch_max = 0
        self.consumers: dict[str, AmqpConsumer] = {}
        self.last_queue = ""
        self.reply_queue: str | None = None
        """The queue behind the pseudo-queue for direct replies, while it is consumed."""
        self.transaction: Transaction | None = None
        self.marks: deque[tuple[float, int]] = deque()
        """For the consumer timeout: at which moment which delivery tag was the newest."""
        self.outstanding = 0
        """Unacknowledged deliveries; counted only while there is a `prefetch_max`."""
        self.surplus: deque[tuple[AmqpConsumer, Delivery]] = deque()

    def within_prefetch(
        self, consumer: AmqpConsumer, deliveries: Sequence[Delivery]
    ) -> Sequence[Delivery]:
        """Those that may be sent now; the others wait for acknowledgements.

        As in RabbitMQ a consumer that acknowledges nothing does not count, but waits all the same.
        """
        room = max(0, self.prefetch_max - self.outstanding) if not self.surplus else 0
        counts = not consumer.protocol_consumer.no_ack
        if room and not counts:
            room = len(deliveries)
        self.surplus.extend((consumer, delivery) for delivery in deliveries[room:])
        if counts:
            self.outstanding += min(room, len(deliveries))
        return deliveries[:room]

    def settled(self, tokens: Collection[Token] = ()) -> None:
        """These deliveries are no longer outstanding; send what waited for that."""
        if not self.prefetch_max:
            return
        self.outstanding = max(0, self.outstanding - counted(tokens))
        while self.surplus and self.outstanding < self.prefetch_max:
            consumer, delivery = self.surplus.popleft()
            self.outstanding += not consumer.protocol_consumer.no_ack
            consumer.send([delivery])

    def take_surplus(self, consumer: AmqpConsumer | None = None) -> list[Delivery]:
        """Forget what waits, of one consumer or of all, and return it for release."""
        taken = [each for of, each in self.surplus if consumer is None or of is consumer]
        self.surplus = deque(
            (of, each) for of, each in self.surplus if not (consumer is None or of is consumer)
        )
        return taken
