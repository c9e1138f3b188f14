"""Every packet but PUBLISH, from bytes and to bytes (MQTT 5, 3; MQTT 3.1.1, 3).

`decode_packet` gets one complete packet without its fixed header; what it raises says with which
reason code the peer has to be told. CONNECT stands in `connect`, PUBLISH, which is hot, in
`publishes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, assert_never

from adapters.errors import LocalProtocolError
from adapters.mqtt.connect import encode_connect, version_properties
from adapters.mqtt.errors import MqttError, malformed, protocol_error
from adapters.mqtt.limits import ConnectionLimits
from adapters.mqtt.packets import (
    Acknowledgement,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    Pingreq,
    Pingresp,
    ProtocolVersion,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
)
from adapters.mqtt.properties import (
    NO_PROPERTIES,
    Carrier,
    Properties,
    decode_properties,
    encode_properties,
)
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.topic_filters import TopicFilter, parse_topic_filter
from adapters.mqtt.wire import Reader, string, variable_byte_integer

_Decoder: TypeAlias = Callable[[Reader, ProtocolVersion, ConnectionLimits], Packet]

_V5: Final = ProtocolVersion.V5
_FLAGS: Final = {PacketType.PUBREL: 2, PacketType.SUBSCRIBE: 2, PacketType.UNSUBSCRIBE: 2}
_NO_LOCAL: Final = 0x04

_RECEIVED: Final = frozenset({0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99})
"""Reason codes of PUBACK and PUBREC (MQTT 5, 3.4.2.1 and 3.5.2.1)."""
_RELEASED: Final = frozenset({0x00, 0x92})
"""Reason codes of PUBREL and PUBCOMP (MQTT 5, 3.6.2.1 and 3.7.2.1)."""
_FROM_CLIENT: Final = frozenset(
    {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99}
)
_FROM_SERVER: Final = frozenset(
    {0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, *range(0x8B, 0x9B), *range(0x9B, 0xA3)} - {0x8C}
)
_DISCONNECTED: Final = _FROM_CLIENT | _FROM_SERVER
"""Reason codes of DISCONNECT (MQTT 5, 3.14.2.1)."""
_AUTHENTICATED: Final = frozenset({0x00, 0x18, 0x19})
"""Reason codes of AUTH (MQTT 5, 3.15.2.1)."""


def decode_packet(
    first: int, body: bytes, version: ProtocolVersion, limits: ConnectionLimits
) -> Packet:
    """Read any packet but CONNECT and PUBLISH; `first` is its first byte."""
    decoder = _DECODERS.get(first >> 4)
    if decoder is None or (first >> 4 == PacketType.AUTH and version is not _V5):
        raise malformed(f"packet type {first >> 4} cannot come here")
    # MQTT 5, 2.1.3 [MQTT-2.1.3-1]. MQTT 3.1 sends DUP in some of them and leaves the rest open.
    if (
        first & 0x0F != _FLAGS.get(PacketType(first >> 4), 0)
        and version is not ProtocolVersion.V3_1
    ):
        raise malformed(f"the reserved flags of {PacketType(first >> 4).name} are wrong")
    reader = Reader(body)
    packet = decoder(reader, version, limits)
    reader.expect_end()
    return packet


def _packet_id(reader: Reader) -> int:
    packet_id = reader.two_byte_integer()
    if not packet_id:  # MQTT 5, 2.2.1 [MQTT-2.2.1-3]
        raise protocol_error("packet identifier 0")
    return packet_id


def _reason(
    reader: Reader, carrier: Carrier, allowed: frozenset[int], limits: ConnectionLimits
) -> tuple[int, Properties]:
    """A reason code and properties at a packet's end, either of which may be left out."""
    if not reader:  # MQTT 5, 3.4.2.1 and its like: the reason is then 0
        return 0, NO_PROPERTIES
    reason_code = reader.byte()
    if reason_code not in allowed:
        raise protocol_error(f"reason code 0x{reason_code:02x} is not one of {carrier.name}")
    if not reader:  # MQTT 5, 3.4.2.2.1 and its like
        return reason_code, NO_PROPERTIES
    return reason_code, decode_properties(reader, carrier, limits.user_properties_max)


def _decode_acknowledgement(
    kind: type[Acknowledgement], carrier: Carrier, allowed: frozenset[int]
) -> _Decoder:
    def decode(reader: Reader, version: ProtocolVersion, limits: ConnectionLimits) -> Packet:
        packet_id = _packet_id(reader)
        if version is not _V5:
            return kind(packet_id)
        return kind(packet_id, *_reason(reader, carrier, allowed, limits))

    return decode


def _decode_connack(reader: Reader, version: ProtocolVersion, limits: ConnectionLimits) -> Packet:
    flags = reader.byte()
    if flags > 1:  # MQTT 5, 3.2.2.1 [MQTT-3.2.2-1]
        raise malformed("reserved acknowledge flags are set")
    reason_code = reader.byte()
    # A server that does not know the version may answer in the shape of an older one.
    properties = (
        version_properties(reader, Carrier.CONNACK, version, limits) if reader else NO_PROPERTIES
    )
    return Connack(bool(flags), reason_code, properties)


def _decode_subscribe(reader: Reader, version: ProtocolVersion, limits: ConnectionLimits) -> Packet:
    packet_id = _packet_id(reader)
    properties = version_properties(reader, Carrier.SUBSCRIBE, version, limits)
    subscriptions: list[Subscription] = []
    while reader:
        subscriptions.append(_decode_subscription(reader, version))
        _check_count(subscriptions, limits)
    if not subscriptions:  # MQTT 5, 3.8.3 [MQTT-3.8.3-2]
        raise protocol_error("SUBSCRIBE without a topic filter")
    return Subscribe(packet_id, subscriptions, properties)


def _decode_subscription(reader: Reader, version: ProtocolVersion) -> Subscription:
    topic_filter = parse_topic_filter(reader.string())
    options = reader.byte()
    if options & (0xC0 if version is _V5 else 0xFC):  # MQTT 5, 3.8.3.1 [MQTT-3.8.3-5]
        raise malformed("reserved subscription options are set")
    qos, retain_handling = options & 3, options >> 4 & 3
    if qos == 3:  # MQTT 5, 3.8.3.1; MQTT 3.1.1, 3.8.3 [MQTT-3-8.3-4]
        raise protocol_error("requested QoS is 3")
    if retain_handling == 3:
        raise protocol_error("retain handling is 3")
    no_local = bool(options & _NO_LOCAL)
    if no_local and topic_filter.share_name is not None:  # [MQTT-3.8.3-4]
        raise protocol_error("no local on a shared subscription")
    return Subscription(topic_filter, qos, no_local, bool(options & 0x08), retain_handling)


def _decode_unsubscribe(
    reader: Reader, version: ProtocolVersion, limits: ConnectionLimits
) -> Packet:
    packet_id = _packet_id(reader)
    properties = version_properties(reader, Carrier.UNSUBSCRIBE, version, limits)
    filters = []
    while reader:
        filters.append(parse_topic_filter(reader.string()))
        _check_count(filters, limits)
    if not filters:  # MQTT 5, 3.10.3 [MQTT-3.10.3-2]
        raise protocol_error("UNSUBSCRIBE without a topic filter")
    return Unsubscribe(packet_id, filters, properties)


def _check_count(filters: list[Subscription] | list[TopicFilter], limits: ConnectionLimits) -> None:
    if len(filters) > limits.filters_per_packet_max:
        raise MqttError(
            ReasonCode.QUOTA_EXCEEDED,
            f"at most {limits.filters_per_packet_max} topic filters are allowed in one packet",
        )


def _decode_suback(reader: Reader, version: ProtocolVersion, limits: ConnectionLimits) -> Packet:
    packet_id = _packet_id(reader)
    properties = version_properties(reader, Carrier.SUBACK, version, limits)
    return Suback(packet_id, list(reader.rest()), properties)


def _decode_unsuback(reader: Reader, version: ProtocolVersion, limits: ConnectionLimits) -> Packet:
    packet_id = _packet_id(reader)
    properties = version_properties(reader, Carrier.UNSUBACK, version, limits)
    return Unsuback(packet_id, list(reader.rest()) if version is _V5 else [], properties)


def _decode_disconnect(
    reader: Reader, version: ProtocolVersion, limits: ConnectionLimits
) -> Packet:
    if version is not _V5:
        return Disconnect()
    return Disconnect(*_reason(reader, Carrier.DISCONNECT, _DISCONNECTED, limits))


def _decode_auth(reader: Reader, _: ProtocolVersion, limits: ConnectionLimits) -> Packet:
    return Auth(*_reason(reader, Carrier.AUTH, _AUTHENTICATED, limits))


_DECODERS: Final[dict[int, _Decoder]] = {
    PacketType.CONNACK: _decode_connack,
    PacketType.PUBACK: _decode_acknowledgement(Puback, Carrier.PUBACK, _RECEIVED),
    PacketType.PUBREC: _decode_acknowledgement(Pubrec, Carrier.PUBREC, _RECEIVED),
    PacketType.PUBREL: _decode_acknowledgement(Pubrel, Carrier.PUBREL, _RELEASED),
    PacketType.PUBCOMP: _decode_acknowledgement(Pubcomp, Carrier.PUBCOMP, _RELEASED),
    PacketType.SUBSCRIBE: _decode_subscribe,
    PacketType.SUBACK: _decode_suback,
    PacketType.UNSUBSCRIBE: _decode_unsubscribe,
    PacketType.UNSUBACK: _decode_unsuback,
    PacketType.PINGREQ: lambda *_: Pingreq(),
    PacketType.PINGRESP: lambda *_: Pingresp(),
    PacketType.DISCONNECT: _decode_disconnect,
    PacketType.AUTH: _decode_auth,
}


def encode_packet(packet: Packet, version: ProtocolVersion) -> bytes:
    """The complete packet. PUBLISH is refused: `publishes` has it."""
    first, body = _encode_body(packet, version)
    return bytes((first,)) + variable_byte_integer(len(body)) + body


def _encode_body(  # noqa: PLR0911 - a line for each packet
    packet: Packet, version: ProtocolVersion
) -> tuple[int, bytes]:
    """The first byte of a packet and what follows its length."""
    match packet:
        case Connect():
            return 0x10, encode_connect(packet)
        case Connack():
            return 0x20, _encode_connack(packet, version)
        case Puback():
            return 0x40, _encode_acknowledgement(packet, Carrier.PUBACK, version)
        case Pubrec():
            return 0x50, _encode_acknowledgement(packet, Carrier.PUBREC, version)
        case Pubrel():
            return 0x62, _encode_acknowledgement(packet, Carrier.PUBREL, version)
        case Pubcomp():
            return 0x70, _encode_acknowledgement(packet, Carrier.PUBCOMP, version)
        case Subscribe() | Unsubscribe():
            return _encode_request(packet, version)
        case Suback() | Unsuback():
            return _encode_answer(packet, version)
        case Pingreq():
            return 0xC0, b""
        case Pingresp():
            return 0xD0, b""
        case Disconnect() if version is not _V5:
            return 0xE0, b""
        case Disconnect():
            return 0xE0, _encode_reason(packet.reason_code, packet.properties, Carrier.DISCONNECT)
        case Auth():
            return 0xF0, _encode_reason(packet.reason_code, packet.properties, Carrier.AUTH)
        case Publish():
            raise LocalProtocolError("PUBLISH is encoded by encode_publish")
        case _:
            assert_never(packet)


def _encode_connack(connack: Connack, version: ProtocolVersion) -> bytes:
    # MQTT 3.1 has no Session Present.
    flags = int(connack.session_present and version is not ProtocolVersion.V3_1)
    head = bytes((flags, connack.reason_code))
    if version is not _V5:
        return head
    return head + encode_properties(connack.properties, Carrier.CONNACK)


def _encode_acknowledgement(
    packet: Acknowledgement, carrier: Carrier, version: ProtocolVersion
) -> bytes:
    packet_id = packet.packet_id.to_bytes(2, "big")
    if version is not _V5:
        return packet_id
    return packet_id + _encode_reason(packet.reason_code, packet.properties, carrier)


def _encode_reason(reason_code: int, properties: Properties, carrier: Carrier) -> bytes:
    """In the shortest form that the specification allows."""
    if properties is NO_PROPERTIES:
        return bytes((reason_code,)) if reason_code else b""
    return bytes((reason_code,)) + encode_properties(properties, carrier)


def _encode_request(packet: Subscribe | Unsubscribe, version: ProtocolVersion) -> tuple[int, bytes]:
    parts = [packet.packet_id.to_bytes(2, "big")]
    if isinstance(packet, Unsubscribe):
        if version is _V5:
            parts.append(encode_properties(packet.properties, Carrier.UNSUBSCRIBE))
        parts += [string(each.text) for each in packet.topic_filters]
        return 0xA2, b"".join(parts)
    if version is _V5:
        parts.append(encode_properties(packet.properties, Carrier.SUBSCRIBE))
    for each in packet.subscriptions:
        options = each.qos
        if version is _V5:
            options |= (
                each.no_local << 2 | each.retain_as_published << 3 | each.retain_handling << 4
            )
        parts += (string(each.topic_filter.text), bytes((options,)))
    return 0x82, b"".join(parts)


def _encode_answer(packet: Suback | Unsuback, version: ProtocolVersion) -> tuple[int, bytes]:
    packet_id = packet.packet_id.to_bytes(2, "big")
    codes = bytes(packet.reason_codes)
    if isinstance(packet, Suback):
        if version is not _V5:
            return 0x90, packet_id + codes
        return 0x90, packet_id + encode_properties(packet.properties, Carrier.SUBACK) + codes
    if version is not _V5:  # MQTT 3.1.1, 3.11.3: no payload
        return 0xB0, packet_id
    return 0xB0, packet_id + encode_properties(packet.properties, Carrier.UNSUBACK) + codes
