"""A connection's ACKs and NACKs.

Hot path: the ACKs of a chunk that ask for no receipt are collected and settled as one unit of work,
which nobody waits for. One with a receipt, and each NACK, is a unit of its own, answered in order.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from adapters.stomp.events import AckReceived, NackReceived
from bridge.messaging.model import DeadLetterReason, Delivery, QueueName, UnitOfWork
from mappings.stomp.consumer import StompConsumer
from mappings.stomp.messages import PROTOCOL

if TYPE_CHECKING:
    from mappings.gateway import Barrier
    from mappings.stomp.gateway import StompGateway


class Settling:
    """What the client is done with, or gives back."""

    __slots__ = ("_acked", "_credits", "_gateway")

    def __init__(self, gateway: StompGateway) -> None:
        self._gateway = gateway
        self._acked: list[Delivery] = []
        self._credits: dict[StompConsumer, int] = {}

    def collect(self, event: AckReceived) -> None:
        """Take an ACK without receipt; `submit` follows at the end of the chunk."""
        self._acked += event.deliveries
        consumer = self._gateway.subscriptions.consumers.get(event.subscription)
        if consumer is not None:
            self._credits[consumer] = self._credits.get(consumer, 0) + len(event.deliveries)

    def submit(self) -> None:
        """Settle what was collected."""
        if not self._acked:
            return
        gateway = self._gateway
        unit = UnitOfWork()
        unit.deletes, self._acked = self._acked, []
        gateway.services.counters.settled(PROTOCOL, len(unit.deletes))
        gateway.submit(unit, partial(self._settled, None), in_order=False)
        settled, self._credits = self._credits, {}
        for consumer, count in settled.items():
            consumer.add_credit(count)

    def acknowledge(self, event: AckReceived) -> None:
        """An ACK that asks for a receipt."""
        unit = UnitOfWork(answered=True)
        unit.deletes += event.deliveries
        self._submit_one(unit, event)

    def reject(self, event: NackReceived) -> Barrier | None:
        """A NACK; a coroutine where a dead-letter queue has to be made first."""
        unit = UnitOfWork(answered=event.receipt is not None)
        missing = self.add_nack(unit, event)
        if missing:
            return self._reject_after(missing, event)
        self._submit_one(unit, event)
        return None

    async def _reject_after(self, missing: Iterable[QueueName], event: NackReceived) -> None:
        gateway = self._gateway
        await gateway.publishing.make_queues(missing)
        if gateway.finishing:
            gateway.release(event.deliveries)
        else:
            self.reject(event)

    def add_nack(self, unit: UnitOfWork, event: NackReceived) -> frozenset[QueueName]:
        """Add to `unit` what a NACK does, or return the queues that have to be made first.

        What is not to be requeued, or was returned too often already, is dead-lettered.
        """
        dead_letters = self._gateway.services.dead_letters
        reason = DeadLetterReason.REJECTED
        returned: list[Delivery] = []
        rejected = event.deliveries
        if event.requeue:
            reason = DeadLetterReason.DELIVERY_LIMIT
            rejected = [each for each in event.deliveries if dead_letters.over_return_limit(each)]
            returned = [each for each in event.deliveries if each not in rejected]
        missing = dead_letters.missing(rejected, reason)
        if not missing:
            part = dead_letters.reject(rejected, reason)
            unit.sends += part.sends
            unit.deletes += part.deletes
            unit.returns += returned
        return missing

    def credit(self, event: AckReceived | NackReceived) -> None:
        """The subscription may get as many messages as were settled."""
        count = len(event.deliveries)
        self._gateway.services.counters.settled(PROTOCOL, count)
        consumer = self._gateway.subscriptions.consumers.get(event.subscription)
        if consumer is not None:
            consumer.add_credit(count)

    def _submit_one(self, unit: UnitOfWork, event: AckReceived | NackReceived) -> None:
        answer = partial(self._settled, event.receipt)
        self._gateway.submit(unit, answer, in_order=unit.answered)
        self.credit(event)

    def _settled(self, receipt: str | None, unit: UnitOfWork) -> list[bytes]:
        gateway = self._gateway
        error = unit.error or next(iter(unit.failures.values()), None)
        if error is None:
            return gateway.receipts([receipt])
        gateway.refuse(error, receipt)
        gateway.release([*unit.deletes, *unit.returns])
        return []
