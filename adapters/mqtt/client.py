"""The client role, for tests and for links to other brokers.

connect -> ConnectAnswered -> publishes and subscriptions as the server's answers come in
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.errors import LocalProtocolError
from adapters.mqtt.aliases import OutboundAliases
from adapters.mqtt.codec import encode_packet
from adapters.mqtt.connection import MqttConnection
from adapters.mqtt.errors import MqttError, protocol_error
from adapters.mqtt.events import (
    ConnectAnswered,
    DisconnectReceived,
    SubscribeAnswered,
    UnsubscribeAnswered,
)
from adapters.mqtt.limits import DEFAULT_LIMITS, PACKET_ID_MAX, PACKET_SIZE_MAX, ConnectionLimits
from adapters.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    Pingreq,
    Pingresp,
    ProtocolVersion,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
)
from adapters.mqtt.properties import NO_PROPERTIES, Properties
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.session import SessionState
from adapters.mqtt.topic_filters import TopicFilter, parse_topic_filter


class ClientConnection(MqttConnection):
    """One connection to a server, for the session `session`."""

    __slots__ = ("_connect", "_keep_alive_seconds", "_last_sent", "_requests")

    def __init__(
        self,
        connect: Connect,
        now: float,
        *,
        session: SessionState | None = None,
        limits: ConnectionLimits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(limits, now)
        self.version = connect.version
        self._version_5 = connect.version is ProtocolVersion.V5
        self._packet_size_max = limits.packet_size_max
        if session is not None:
            self.session = session
        self._connect = connect
        self._keep_alive_seconds = connect.keep_alive_seconds
        self._last_sent = now
        self._requests: set[int] = set()
        """Packet ids of SUBSCRIBEs and UNSUBSCRIBEs without an answer."""
        self._receive_maximum = connect.properties.receive_maximum or 0xFFFF
        self._aliases_in_max = connect.properties.topic_alias_maximum or 0
        if connect.properties.maximum_packet_size is not None:
            self._packet_size_max = connect.properties.maximum_packet_size
        self._out.append(encode_packet(connect, connect.version))

    # -- time

    def next_deadline(self) -> float | None:
        """When the next PINGREQ is due."""
        if self.closed or not self._open or not self._keep_alive_seconds:
            return None
        return self._last_sent + self._keep_alive_seconds

    def handle_deadline(self, now: float) -> None:
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline:
            self._last_sent = now
            self._send_packet(Pingreq())

    # -- requests

    def subscribe(
        self, subscriptions: Sequence[Subscription], properties: Properties = NO_PROPERTIES
    ) -> int:
        """Ask for subscriptions; returns the packet id that the answer will have."""
        packet_id = self._request_id()
        self._send_packet(Subscribe(packet_id, list(subscriptions), properties))
        return packet_id

    def unsubscribe(
        self, topic_filters: Sequence[str], properties: Properties = NO_PROPERTIES
    ) -> int:
        """Give subscriptions up; returns the packet id that the answer will have."""
        parsed: list[TopicFilter] = [parse_topic_filter(each) for each in topic_filters]
        packet_id = self._request_id()
        self._send_packet(Unsubscribe(packet_id, parsed, properties))
        return packet_id

    def _request_id(self) -> int:
        for _ in range(PACKET_ID_MAX):
            packet_id = self.session.next_packet_id()
            if packet_id not in self._requests:
                self._requests.add(packet_id)
                return packet_id
        raise LocalProtocolError("all packet identifiers are in use")

    def disconnect(
        self, reason: ReasonCode = ReasonCode.SUCCESS, properties: Properties = NO_PROPERTIES
    ) -> None:
        """Take leave; the transport is to be closed then."""
        self._send_packet(Disconnect(reason, properties))
        self._stop()

    # -- answers

    def _check_first(self, first: int) -> None:
        if first >> 4 != PacketType.CONNACK:
            raise protocol_error("the first packet is not CONNACK")

    def _on_packet(self, packet: Packet) -> None:
        match packet:
            case Connack():
                self._on_connack(packet)
            case Suback() if packet.packet_id in self._requests:
                self._requests.discard(packet.packet_id)
                self._events.append(SubscribeAnswered(packet))
            case Unsuback() if packet.packet_id in self._requests:
                self._requests.discard(packet.packet_id)
                self._events.append(UnsubscribeAnswered(packet))
            case Pingresp():
                pass
            case Disconnect() if self._version_5:
                self._stop()
                self._events.append(DisconnectReceived(packet))
            case _:
                raise protocol_error(f"{type(packet).__name__.upper()} was not expected")

    def _on_connack(self, packet: Connack) -> None:
        if self._open:
            raise protocol_error("a second CONNACK")
        if packet.reason_code:
            self._stop()
        else:
            self._open = True
            theirs = packet.properties
            if theirs.server_keep_alive is not None:
                self._keep_alive_seconds = theirs.server_keep_alive
            self._peer_packet_size_max = theirs.maximum_packet_size or PACKET_SIZE_MAX
            if self._version_5:
                quota = theirs.receive_maximum or 0xFFFF
                self.send_quota = self._send_quota_max = min(quota, self._limits.send_maximum)
                aliases = min(theirs.topic_alias_maximum or 0, self._limits.topic_aliases_out_max)
                self._aliases_out = OutboundAliases(aliases) if aliases else None
            for packet_id in self.session.awaiting_pubcomp:
                self._send_packet(Pubrel(packet_id))
        self._events.append(ConnectAnswered(packet))

    def _say_error(self, error: MqttError) -> None:
        if self._version_5 and self._open:
            self._send_packet(Disconnect(error.reason, Properties(reason_string=str(error))))
