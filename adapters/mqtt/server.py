"""The server role: CONNECT and its answer, subscriptions, keep-alive, ending a connection.

    receive_data -> ConnectRequested -> accept | refuse -> everything else
    any violation -> CONNACK or DISCONNECT (MQTT 5), nothing (3.x) -> ConnectionFailed

Nothing that follows CONNECT is read before `accept`, whose caller then asks for events again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from adapters.connection import ConnectionFailed
from adapters.errors import LocalProtocolError
from adapters.mqtt.aliases import OutboundAliases
from adapters.mqtt.connect import decode_connect, decode_protocol
from adapters.mqtt.connection import MqttConnection
from adapters.mqtt.errors import MqttError, protocol_error
from adapters.mqtt.events import (
    ConnectRequested,
    DisconnectReceived,
    SubscribeRequested,
    UnsubscribeRequested,
)
from adapters.mqtt.limits import PACKET_SIZE_MAX, ConnectionLimits
from adapters.mqtt.packets import (
    Auth,
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
    Unsuback,
    Unsubscribe,
)
from adapters.mqtt.properties import NO_PROPERTIES, Properties
from adapters.mqtt.reason_codes import ReasonCode, connect_return_code, suback_return_code
from adapters.mqtt.session import SessionState
from adapters.mqtt.wire import Reader

KEEP_ALIVE_GRACE: Final = 1.5
"""MQTT 5, 3.1.2.10 [MQTT-3.1.2-22]."""
_REASON_STRING_LENGTH_MAX: Final = 110
"""Characters of the reason strings that are made here; they keep a packet below 128 bytes."""


class ServerConnection(MqttConnection):
    """One client's connection. `now` is when its transport was opened."""

    __slots__ = ("_connect", "_keep_alive_seconds")

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        super().__init__(limits, now)
        self._connect: Connect | None = None
        """The CONNECT, from when it was read."""
        self._keep_alive_seconds = 0

    @property
    def accepted(self) -> bool:
        return self._open

    # -- time

    def next_deadline(self) -> float | None:
        if self.closed:
            return None
        if self._open:
            if not self._keep_alive_seconds:
                return None
            return self._last_received + KEEP_ALIVE_GRACE * self._keep_alive_seconds
        if self._connect is None:
            return self._last_received + self._limits.connect_timeout_seconds
        return None

    def handle_deadline(self, now: float) -> None:
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return
        if self._open:
            self._fail(MqttError(ReasonCode.KEEP_ALIVE_TIMEOUT, "nothing came within keep alive"))
        else:  # MQTT 5, 3.1.4: there is nobody yet who could be told
            self._stop()
            self._events.append(ConnectionFailed("no CONNECT within the time allowed"))

    # -- CONNECT

    def accept(
        self,
        *,
        session: SessionState | None = None,
        session_present: bool = False,
        properties: Properties = NO_PROPERTIES,
    ) -> None:
        """Answer CONNECT well; `properties` are those of CONNACK (MQTT 5, 3.2.2.3).

        What this connection enforces by itself (maximum packet size, receive maximum, topic
        aliases) it adds to them; a Server Keep Alive among them is the one that counts. PUBRELs of
        a resumed `session` are sent again; its publishes are for `resend`. There may be events
        afterwards.
        """
        connect = self._connect
        if connect is None or self._open or self.closed:
            if self.closed:
                return
            raise LocalProtocolError("there is no CONNECT to accept")
        if session is not None:
            self.session = session
        self._keep_alive_seconds = connect.keep_alive_seconds
        self._packet_size_max = self._limits.packet_size_max
        if self._version_5:
            properties = self._negotiate(connect.properties, properties)
        if not self._send_explained(Connack(session_present, 0, properties)):
            self._stop()
            self._events.append(ConnectionFailed("the client has no room for CONNACK"))
            return
        self._open = True
        for packet_id in self.session.awaiting_pubcomp:  # MQTT 5, 4.4 [MQTT-4.4.0-1]
            self._send_packet(Pubrel(packet_id))
        held = self._partial
        self._partial = None
        if held:
            self._read(bytes(held))

    def _negotiate(self, theirs: Properties, ours: Properties) -> Properties:
        """Set what each side allows the other; returns the properties of CONNACK."""
        limits = self._limits
        self.send_quota = min(theirs.receive_maximum or 0xFFFF, limits.send_maximum)
        self._send_quota_max = self.send_quota
        aliases_out_max = min(theirs.topic_alias_maximum or 0, limits.topic_aliases_out_max)
        if aliases_out_max:
            self._aliases_out = OutboundAliases(aliases_out_max)
        self._receive_maximum = ours.receive_maximum or limits.receive_maximum
        self._aliases_in_max = limits.topic_aliases_in_max
        if ours.server_keep_alive is not None:  # 3.2.2.3.14 [MQTT-3.2.2-21]
            self._keep_alive_seconds = ours.server_keep_alive
        return msgspec.structs.replace(
            ours,
            receive_maximum=self._receive_maximum,
            maximum_packet_size=limits.packet_size_max,
            topic_alias_maximum=limits.topic_aliases_in_max or None,
        )

    def refuse(
        self,
        reason: ReasonCode,
        *,
        reason_string: str | None = None,
        server_reference: str | None = None,
    ) -> None:
        """Answer CONNECT with a failure; the transport is to be closed then.

        3.x has five failures; for what is none of them the connection just ends (MQTT 3.1.1,
        3.2.2.3).
        """
        if self._open:
            raise LocalProtocolError("CONNECT was accepted before")
        if self._version_5:
            properties = _explained(reason_string, server_reference)
            self._send_explained(Connack(reason_code=reason, properties=properties))
        else:
            return_code = connect_return_code(reason)
            if return_code is not None:
                self._send_explained(Connack(reason_code=return_code))
        self._stop()

    def _check_first(self, first: int) -> None:
        if first >> 4 != PacketType.CONNECT:  # MQTT 5, 3.1.0 [MQTT-3.1.0-1]
            raise protocol_error("the first packet is not CONNECT")

    def _packet(self, first: int, body: bytes) -> None:
        if first >> 4 != PacketType.CONNECT:
            super()._packet(first, body)
            return
        if self._connect is not None:  # MQTT 5, 3.1.0 [MQTT-3.1.0-2]
            raise protocol_error("a second CONNECT")
        reader = Reader(body)
        try:
            version, bridge = decode_protocol(reader)
        except MqttError as error:
            if error.reason is ReasonCode.UNSUPPORTED_PROTOCOL_VERSION:
                self._speak(self._dialect(body))
            raise
        self._speak(version)
        connect = decode_connect(reader, first & 0x0F, version, bridge, self._limits)
        theirs = connect.properties
        self._peer_packet_size_max = theirs.maximum_packet_size or PACKET_SIZE_MAX
        self._problem_information = theirs.request_problem_information != 0
        if theirs.authentication_method is not None:  # MQTT 5, 4.12 [MQTT-4.12.0-1]
            raise MqttError(
                ReasonCode.BAD_AUTHENTICATION_METHOD, "enhanced authentication is not offered"
            )
        self._connect = connect
        # What follows is held back until `accept`; the loop ends with this packet.
        self._partial = bytearray()
        self._needed = sys.maxsize
        self._events.append(ConnectRequested(connect))

    def _speak(self, version: ProtocolVersion) -> None:
        self.version = version
        self._version_5 = version is ProtocolVersion.V5

    @staticmethod
    def _dialect(body: bytes) -> ProtocolVersion:
        """In whose CONNACK a client of an unknown level is refused: that of the nearest version."""
        reader = Reader(body)
        reader.binary()
        return ProtocolVersion.V5 if reader.byte() >= ProtocolVersion.V5 else ProtocolVersion.V3_1_1

    def _check_held(self, size: int) -> None:
        if not self._open and self._connect is not None and size > self._limits.packet_size_max:
            self._fail(MqttError(ReasonCode.QUOTA_EXCEEDED, "too much before CONNACK"))

    # -- what clients ask for

    def _on_packet(self, packet: Packet) -> None:
        match packet:
            case Pingreq():
                self._send_packet(Pingresp())
            case Subscribe():
                self._events.append(SubscribeRequested(packet))
            case Unsubscribe():
                self._events.append(UnsubscribeRequested(packet))
            case Disconnect():
                self._on_disconnect(packet)
            case Auth():  # MQTT 5, 4.12: none is under way
                raise protocol_error("AUTH without an authentication method")
            case _:
                raise protocol_error(f"{type(packet).__name__.upper()} comes from servers only")

    def _check_publish(self, properties: Properties) -> None:
        if properties.subscription_identifiers:  # MQTT 5, 3.3.4 [MQTT-3.3.4-6]
            raise protocol_error("a client's PUBLISH has a subscription identifier")

    def _on_disconnect(self, packet: Disconnect) -> None:
        assert self._connect is not None
        expiry = packet.properties.session_expiry_interval
        # MQTT 5, 3.14.2.2.2: what ended with the connection cannot be made to last by leaving.
        if expiry and not self._connect.properties.session_expiry_interval:
            raise protocol_error("DISCONNECT raises a session expiry interval of 0")
        if packet.properties.server_reference is not None:  # 3.14.2.2.5
            raise protocol_error("a client's DISCONNECT has a server reference")
        self._stop()
        self._answers_only = True
        self._events.append(DisconnectReceived(packet))

    def answer_subscribe(
        self, packet_id: int, reason_codes: Sequence[int], *, reason_string: str | None = None
    ) -> None:
        """SUBACK, with one code for each subscription: the granted QoS or a failure."""
        codes = list(reason_codes)
        if not self._version_5:
            codes = [suback_return_code(code) for code in codes]
        self._send_explained(Suback(packet_id, codes, _explained(reason_string)))

    def answer_unsubscribe(
        self, packet_id: int, reason_codes: Sequence[int], *, reason_string: str | None = None
    ) -> None:
        """UNSUBACK, with one code for each filter, of which 3.x is told nothing."""
        self._send_explained(Unsuback(packet_id, list(reason_codes), _explained(reason_string)))

    # -- the end

    def disconnect(
        self,
        reason: ReasonCode,
        *,
        reason_string: str | None = None,
        server_reference: str | None = None,
    ) -> None:
        """End the connection from our side; the transport is to be closed then.

        3.x has no word for it (MQTT 3.1.1, 3.14), nor has anybody before CONNACK (MQTT 5, 3.14).
        """
        if self._version_5 and self._open and not self.closed:
            self._send_explained(Disconnect(reason, _explained(reason_string, server_reference)))
        self._stop()

    def _say_error(self, error: MqttError) -> None:
        reason_string = (
            str(error)[:_REASON_STRING_LENGTH_MAX] if self._problem_information else None
        )
        if self._open:
            self.disconnect(error.reason, reason_string=reason_string)
        elif self._version_5 or error.reason is not ReasonCode.MALFORMED_PACKET:
            self.refuse(error.reason, reason_string=reason_string)


def _explained(reason_string: str | None, server_reference: str | None = None) -> Properties:
    if reason_string is None and server_reference is None:
        return NO_PROPERTIES
    return Properties(reason_string=reason_string, server_reference=server_reference)
