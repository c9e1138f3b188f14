"""What one MQTT client takes from a queue: the session's own, or that of a shared subscription.

Hot path: `deliver` hands a whole list to `outbound.py`, which knows what the client gets of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.mqtt.reason_codes import ReasonCode
from bridge.messaging.model import Delivery
from bridge.messaging.ports import Queue
from mappings.consumer import GatewayConsumer
from mappings.mqtt.filters import Filter

if TYPE_CHECKING:
    from mappings.mqtt.gateway import MqttGateway


class MqttConsumer(GatewayConsumer["MqttGateway"]):
    """`shared` is the session's subscription there; None for the session's own queue."""

    __slots__ = ("shared",)

    def __init__(
        self, gateway: MqttGateway, queue: Queue, prefetch: int, shared: Filter | None
    ) -> None:
        super().__init__(gateway, queue, prefetch)
        self.shared = shared

    @property
    def connection_name(self) -> str:
        """See `GatewayConsumer`; a session is one connection at a time."""
        return self.gateway.session.client_id

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.gateway.outbound.deliver(self, deliveries)

    def cancelled(self) -> None:
        """The queue is gone, and the subscriptions with it."""
        self.closed = True
        self.gateway.outbound.forget(self)

    def overdue(self, held_seconds: float) -> None:
        """The client is to connect again: it gets its messages anew then."""
        self.gateway.end(
            ReasonCode.ADMINISTRATIVE_ACTION,
            f"a message was not acknowledged for {round(held_seconds)} s",
        )
