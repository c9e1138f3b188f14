"""One client's subscription at one queue of the store, as it is in every protocol: credit and flow.

`prefetch` is what the client may hold unsettled; `add_credit` gives it back as messages are
settled. What a protocol settles by writing it gets its credit back at once (`settle_written`),
unless the client does not read: then it is owed until it does.

A protocol's consumer derives from it and implements the methods marked so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from bridge.messaging.model import Delivery, UnitOfWork
from bridge.messaging.ownership import require_owner
from bridge.messaging.ports import Queue
from bridge.messaging.ports import Subscription as StoreSubscription
from mappings.connection_gateway import ConnectionGateway

AnyGateway = TypeVar("AnyGateway", bound=ConnectionGateway[Any])


class GatewayConsumer(ABC, Generic[AnyGateway]):
    """A `bridge.messaging.ports.Consumer`; the derived class gives it a protocol."""

    __slots__ = ("_credit_owed", "_store_subscription", "closed", "gateway", "prefetch", "queue")

    def __init__(self, gateway: AnyGateway, queue: Queue, prefetch: int) -> None:
        self.gateway = gateway
        self.queue = queue
        self.prefetch = prefetch
        self.closed = False
        self._credit_owed = 0
        self._store_subscription: StoreSubscription | None = None

    # -- to be implemented; see `bridge.messaging.ports.Consumer`

    @abstractmethod
    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries; what comes when the consumer is closed is to be released."""

    @abstractmethod
    def cancelled(self) -> None:
        """The queue is gone."""

    @abstractmethod
    def overdue(self, held_seconds: float) -> None:
        """The client held a message for too long."""

    @property
    def connection_name(self) -> str | None:
        """By which exclusive queues know their connection; None where the protocol has none."""
        return None

    # -- for the derived class and its gateway

    async def open(self, *, priority: int = 0, exclusive: bool = False) -> None:
        """Register at the store, without credit: `start` gives it. Raises `ResourceLocked`."""
        require_owner(self.queue, self.connection_name)
        self._store_subscription = await self.gateway.services.store.consume(
            self.queue, self, credit=0, priority=priority, exclusive=exclusive
        )
        if self.closed:
            self._store_subscription.cancel()

    def start(self) -> None:
        """The client knows of the subscription: let messages come."""
        if self._store_subscription is None or self.closed:
            return
        if self.gateway.writing_paused:
            self._store_subscription.pause()
        self._store_subscription.add_credit(self.prefetch)

    def add_credit(self, count: int) -> None:
        """The client has settled `count` messages."""
        if self._store_subscription is not None and count and not self.closed:
            self._store_subscription.add_credit(count)

    def settle_written(self, deliveries: list[Delivery]) -> None:
        """Settle what the client does not acknowledge."""
        unit = UnitOfWork()
        unit.deletes = deliveries
        self.gateway.services.store.submit(unit)
        if self.gateway.writing_paused:
            self._credit_owed += len(deliveries)
        else:
            self.add_credit(len(deliveries))

    def pause(self) -> None:
        """The client does not read."""
        if self._store_subscription is not None and not self.closed:
            self._store_subscription.pause()

    def resume(self) -> None:
        """It does again."""
        if self._store_subscription is not None and not self.closed:
            self._store_subscription.resume()
            owed, self._credit_owed = self._credit_owed, 0
            self.add_credit(owed)

    def cancel(self) -> None:
        """Take nothing more; what is unsettled stays with who holds it."""
        if not self.closed:
            self.closed = True
            if self._store_subscription is not None:
                self._store_subscription.cancel()
