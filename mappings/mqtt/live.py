"""QoS 0 that a client is written past the store, as `fanout.py` finds out who gets it.

What no connection takes is dropped, and counted. While the client does not read, some is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.mqtt.packets import Publish
from adapters.mqtt.properties import NO_PROPERTIES, Properties
from bridge.messaging.model import Message
from mappings.mqtt.filters import Match
from mappings.mqtt.messages import publish_from_message

if TYPE_CHECKING:
    from mappings.mqtt.gateway import MqttGateway


class LiveWriter:
    """The base of `Outbound`, for what comes from publishers; the rest comes from queues."""

    __slots__ = ("_connection", "_late", "_late_bytes", "_stopped", "gateway", "shares_encodings")

    def __init__(self, gateway: MqttGateway) -> None:
        self.gateway = gateway
        self.shares_encodings = True
        """Whether `write_shared` may be used."""
        self._connection = gateway.connection
        self._stopped = True
        """Before the connection was accepted, and when it is over."""
        self._late: list[bytes] = []
        """What is kept for a client that does not read."""
        self._late_bytes = 0

    def write_shared(
        self,
        data: bytes,
        largest: int,
        count: int,
        publishes: Sequence[Publish],
        match: Match,
    ) -> None:
        """Write encoded publishes that other sessions get as well."""
        if not self._connection.fits(largest):
            self.write_publishes(publishes, match)
        elif not self._connection.closed:
            self._write([data], len(data), count)

    def write_publishes(self, publishes: Sequence[Publish], match: Match) -> None:
        """Write publishes with what this session adds to them."""
        properties = NO_PROPERTIES
        if match.identifiers:
            properties = Properties(subscription_identifiers=match.identifiers)
        self._send_live(
            [Publish(match.topic, each.payload, properties=properties) for each in publishes]
        )

    def write_message(self, message: Message, match: Match) -> None:
        """Write one message with QoS 0."""
        gateway = self.gateway
        now_ms = gateway.services.clock.epoch_ms()
        publish = publish_from_message(message, match, version_5=gateway.version_5, now_ms=now_ms)
        publish.qos = 0
        self._send_live([publish])

    def write_figures(self, publishes: list[Publish], identifier: int) -> None:
        """Write figures of the broker, which are nobody's messages."""
        if identifier:
            properties = Properties(subscription_identifiers=(identifier,))
            for publish in publishes:
                publish.properties = properties
        if publishes:
            self._send_live(publishes)

    def _send_live(self, publishes: list[Publish]) -> None:
        tokens: list[None] = [None] * len(publishes)
        self.gateway.flush()
        too_large = self._connection.send(publishes, tokens)
        pieces = self._connection.data_to_send()
        self.gateway.sessions.fanout.drop(len(too_large))
        count = len(publishes) - len(too_large)
        if pieces:
            self._write(pieces, sum(map(len, pieces)), count)

    def _write(self, pieces: list[bytes], size: int, count: int) -> None:
        gateway = self.gateway
        if self._stopped or gateway.lost:
            gateway.sessions.fanout.drop(count)
            return
        if gateway.writing_paused:
            if self._late_bytes + size > gateway.services.limits.mqtt_qos_0_buffer_bytes_max:
                gateway.sessions.fanout.drop(count)
                return
            self._late += pieces
            self._late_bytes += size
        else:
            gateway.transport.write(pieces)
        gateway.count_sent(count, size)

    def _write_late(self) -> None:
        """The client reads again."""
        late, self._late, self._late_bytes = self._late, [], 0
        if late:
            self.gateway.write(late)
