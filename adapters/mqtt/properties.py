"""The properties of MQTT 5 (2.2.2): one table says each one's identifier, type, packets and range.

`Properties` is one record for all packets; `None` is an absent property. Reading and writing walk
the table.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntFlag, auto
from typing import Any, Final, NamedTuple

import msgspec

from adapters.mqtt.errors import MqttError, malformed, protocol_error
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.wire import Reader, binary, string, variable_byte_integer

NO_PROPERTY_BYTES: Final = b"\x00"


class Carrier(IntFlag):
    """The packets that can carry properties; the will is one of its own (MQTT 5, table 2-4)."""

    WILL = 1 << 0
    CONNECT = 1 << 1
    CONNACK = 1 << 2
    PUBLISH = 1 << 3
    PUBACK = 1 << 4
    PUBREC = 1 << 5
    PUBREL = 1 << 6
    PUBCOMP = 1 << 7
    SUBSCRIBE = 1 << 8
    SUBACK = 1 << 9
    UNSUBSCRIBE = 1 << 10
    UNSUBACK = 1 << 11
    DISCONNECT = 1 << 14
    AUTH = 1 << 15


class Properties(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """All properties of one packet. Intervals are in seconds."""

    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_identifiers: tuple[int, ...] = ()
    session_expiry_interval: int | None = None
    assigned_client_identifier: str | None = None
    server_keep_alive: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_interval: int | None = None
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    maximum_packet_size: int | None = None
    wildcard_subscription_available: int | None = None
    subscription_identifier_available: int | None = None
    shared_subscription_available: int | None = None


NO_PROPERTIES: Final = Properties()


class Kind(Enum):
    """The wire types of property values."""

    BYTE = auto()
    TWO_BYTE_INTEGER = auto()
    FOUR_BYTE_INTEGER = auto()
    VARIABLE_BYTE_INTEGER = auto()
    STRING = auto()
    BINARY = auto()
    STRING_PAIR = auto()


class Specification(NamedTuple):
    """One property. A number outside of `lowest`..`highest` is a protocol error."""

    identifier: int
    name: str
    kind: Kind
    carriers: Carrier
    lowest: int = 0
    highest: int = 0xFFFFFFFF
    repeatable: bool = False


_REASON_STRING_CARRIERS: Final = (
    Carrier.CONNACK
    | Carrier.PUBACK
    | Carrier.PUBREC
    | Carrier.PUBREL
    | Carrier.PUBCOMP
    | Carrier.SUBACK
    | Carrier.UNSUBACK
    | Carrier.DISCONNECT
    | Carrier.AUTH
)
_MESSAGE: Final = Carrier.PUBLISH | Carrier.WILL
_EVERYWHERE: Final = (
    _REASON_STRING_CARRIERS | _MESSAGE | Carrier.CONNECT | Carrier.SUBSCRIBE | Carrier.UNSUBSCRIBE
)
_HELLO: Final = Carrier.CONNECT | Carrier.CONNACK
_S = Specification

SPECIFICATIONS: Final = (
    _S(0x01, "payload_format_indicator", Kind.BYTE, _MESSAGE, highest=1),
    _S(0x02, "message_expiry_interval", Kind.FOUR_BYTE_INTEGER, _MESSAGE),
    _S(0x03, "content_type", Kind.STRING, _MESSAGE),
    _S(0x08, "response_topic", Kind.STRING, _MESSAGE),
    _S(0x09, "correlation_data", Kind.BINARY, _MESSAGE),
    _S(
        0x0B,
        "subscription_identifiers",
        Kind.VARIABLE_BYTE_INTEGER,
        Carrier.PUBLISH | Carrier.SUBSCRIBE,
        lowest=1,
        repeatable=True,
    ),
    _S(
        0x11,
        "session_expiry_interval",
        Kind.FOUR_BYTE_INTEGER,
        _HELLO | Carrier.DISCONNECT,
    ),
    _S(0x12, "assigned_client_identifier", Kind.STRING, Carrier.CONNACK),
    _S(0x13, "server_keep_alive", Kind.TWO_BYTE_INTEGER, Carrier.CONNACK),
    _S(0x15, "authentication_method", Kind.STRING, _HELLO | Carrier.AUTH),
    _S(0x16, "authentication_data", Kind.BINARY, _HELLO | Carrier.AUTH),
    _S(0x17, "request_problem_information", Kind.BYTE, Carrier.CONNECT, highest=1),
    _S(0x18, "will_delay_interval", Kind.FOUR_BYTE_INTEGER, Carrier.WILL),
    _S(0x19, "request_response_information", Kind.BYTE, Carrier.CONNECT, highest=1),
    _S(0x1A, "response_information", Kind.STRING, Carrier.CONNACK),
    _S(0x1C, "server_reference", Kind.STRING, Carrier.CONNACK | Carrier.DISCONNECT),
    _S(0x1F, "reason_string", Kind.STRING, _REASON_STRING_CARRIERS),
    _S(0x21, "receive_maximum", Kind.TWO_BYTE_INTEGER, _HELLO, lowest=1),
    _S(0x22, "topic_alias_maximum", Kind.TWO_BYTE_INTEGER, _HELLO),
    _S(0x23, "topic_alias", Kind.TWO_BYTE_INTEGER, Carrier.PUBLISH),
    _S(0x24, "maximum_qos", Kind.BYTE, Carrier.CONNACK, highest=1),
    _S(0x25, "retain_available", Kind.BYTE, Carrier.CONNACK, highest=1),
    _S(0x26, "user_properties", Kind.STRING_PAIR, _EVERYWHERE, repeatable=True),
    _S(0x27, "maximum_packet_size", Kind.FOUR_BYTE_INTEGER, _HELLO, lowest=1),
    _S(0x28, "wildcard_subscription_available", Kind.BYTE, Carrier.CONNACK, highest=1),
    _S(0x29, "subscription_identifier_available", Kind.BYTE, Carrier.CONNACK, highest=1),
    _S(0x2A, "shared_subscription_available", Kind.BYTE, Carrier.CONNACK, highest=1),
)

_BY_IDENTIFIER: Final = {each.identifier: each for each in SPECIFICATIONS}
_BY_CARRIER: Final = {
    carrier: tuple(each for each in SPECIFICATIONS if carrier in each.carriers)
    for carrier in Carrier
}


def decode_properties(reader: Reader, carrier: Carrier, user_properties_max: int) -> Properties:
    """Read the property length and what it covers."""
    size = reader.variable_byte_integer()
    if not size:
        return NO_PROPERTIES
    return Properties(**decode_property_values(reader.part(size), carrier, user_properties_max))


def decode_property_values(
    reader: Reader, carrier: Carrier, user_properties_max: int
) -> dict[str, Any]:
    """Read properties up to the reader's end, as arguments for `Properties`."""
    values: dict[str, Any] = {}
    while reader:
        identifier = reader.variable_byte_integer()
        specification = _BY_IDENTIFIER.get(identifier)
        # MQTT 5, 2.2.2.2: an identifier that is unknown, or not of this packet, is malformed.
        if specification is None or carrier not in specification.carriers:
            raise malformed(f"property 0x{identifier:02x} is not one of {carrier.name}")
        name = specification.name
        value = _DECODERS[specification.kind](reader)
        if isinstance(value, int) and not specification.lowest <= value <= specification.highest:
            raise protocol_error(f"{name} is {value}")
        if not specification.repeatable:
            if name in values:
                raise protocol_error(f"{name} is there twice")
            values[name] = value
            continue
        # SUBSCRIBE has at most one identifier (3.8.2.1.2); a server's PUBLISH may have many.
        if name == "subscription_identifiers" and carrier is Carrier.SUBSCRIBE and name in values:
            raise protocol_error(f"{name} is there twice")
        several = values.setdefault(name, [])
        if len(several) >= user_properties_max:
            raise MqttError(
                ReasonCode.QUOTA_EXCEEDED, f"{name}: at most {user_properties_max} are allowed"
            )
        several.append(value)
    for name in ("user_properties", "subscription_identifiers"):
        if name in values:
            values[name] = tuple(values[name])
    return values


def encode_properties(properties: Properties, carrier: Carrier) -> bytes:
    """The property length and the properties, in the order of the table."""
    if properties is NO_PROPERTIES:
        return NO_PROPERTY_BYTES
    encoded = encode_property_values(properties, carrier)
    return variable_byte_integer(len(encoded)) + encoded


def encode_property_values(properties: Properties, carrier: Carrier) -> bytes:
    """The properties without their length; those that `carrier` cannot have are left out."""
    parts: list[bytes] = []
    for specification in _BY_CARRIER[carrier]:
        value = getattr(properties, specification.name)
        if value is None or value == ():
            continue
        identifier = specification.identifier.to_bytes(1, "big")
        encoder = _ENCODERS[specification.kind]
        for each in value if specification.repeatable else (value,):
            parts += (identifier, encoder(each))
    return b"".join(parts)


def _encode_pair(pair: tuple[str, str]) -> bytes:
    return string(pair[0]) + string(pair[1])


_DECODERS: Final[dict[Kind, Callable[[Reader], Any]]] = {
    Kind.BYTE: Reader.byte,
    Kind.TWO_BYTE_INTEGER: Reader.two_byte_integer,
    Kind.FOUR_BYTE_INTEGER: Reader.four_byte_integer,
    Kind.VARIABLE_BYTE_INTEGER: Reader.variable_byte_integer,
    Kind.STRING: Reader.string,
    Kind.BINARY: Reader.binary,
    Kind.STRING_PAIR: lambda reader: (reader.string(), reader.string()),
}
_ENCODERS: Final[dict[Kind, Callable[[Any], bytes]]] = {
    Kind.BYTE: lambda value: value.to_bytes(1, "big"),
    Kind.TWO_BYTE_INTEGER: lambda value: value.to_bytes(2, "big"),
    Kind.FOUR_BYTE_INTEGER: lambda value: value.to_bytes(4, "big"),
    Kind.VARIABLE_BYTE_INTEGER: variable_byte_integer,
    Kind.STRING: string,
    Kind.BINARY: binary,
    Kind.STRING_PAIR: _encode_pair,
}
