"""What an earlier connection of a session had sent and its client has not acknowledged: it is sent
again under its packet id when it comes from the queue once more (MQTT 5, 4.4), or settled where the
client has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.messaging.model import Delivery
from mappings.mqtt.messages import publish_from_message

if TYPE_CHECKING:
    from adapters.mqtt.packets import Publish
    from mappings.mqtt.filters import Match
    from mappings.mqtt.gateway import MqttGateway


class Resending:
    """One for each connection; `held` waits for the client's quota."""

    __slots__ = ("_gateway", "held")

    def __init__(self, gateway: MqttGateway) -> None:
        self._gateway = gateway
        self.held: list[tuple[Publish, Delivery]] = []

    def take(self, delivery: Delivery, match: Match | None, settled: list[Delivery]) -> bool:
        """Do with a delivery what is to be done; False for one that was not sent before. What the
        client has goes into `settled`.
        """
        session, message = self._gateway.session, delivery.message
        if message.message_id in session.discarded:
            del session.discarded[message.message_id]
            settled.append(delivery)
            return True
        packet_id = session.resumed.pop(message.message_id, None)
        if packet_id is None:
            return False
        awaiting = self._awaiting(packet_id)
        if awaiting is None:
            return False
        awaiting[packet_id] = delivery
        publish = publish_from_message(
            message,
            match,
            version_5=self._gateway.version_5,
            now_ms=self._gateway.services.clock.epoch_ms(),
        )
        publish.qos = 1 if awaiting is session.state.awaiting_puback else 2
        publish.dup = True
        publish.packet_id = packet_id
        self.held.append((publish, delivery))
        self.go_on()
        return True

    def go_on(self) -> None:
        """Send what the quota allows now."""
        gateway = self._gateway
        connection = gateway.connection
        while self.held and connection.send_quota:
            publish, delivery = self.held.pop(0)
            packet_id = publish.packet_id
            awaiting = self._awaiting(packet_id)
            if awaiting is None or awaiting[packet_id] is not delivery:
                # The client had it, and has said so meanwhile.
                continue
            if connection.resend([publish], [packet_id]):
                # MQTT 5, 3.1.2.11.4 [MQTT-3.1.2-25]: too large, so it is as if it had been sent.
                gateway.settle([delivery], [packet_id] if publish.qos == 2 else [])
                continue
            gateway.count_sent(1, len(publish.payload))
            gateway.flush()

    def stop(self) -> None:
        """The connection is over; its deliveries stand in the session's state."""
        self.held.clear()

    def _awaiting(self, packet_id: int) -> dict[int, Delivery | None] | None:
        """Where the id of a PUBLISH stands that was not acknowledged."""
        state = self._gateway.session.state
        for awaiting in (state.awaiting_puback, state.awaiting_pubrec):
            if packet_id in awaiting:
                return awaiting
        return None
