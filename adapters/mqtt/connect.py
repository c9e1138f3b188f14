"""CONNECT, from bytes and to bytes (MQTT 5, 3.1; MQTT 3.1.1, 3.1; MQTT 3.1, 3.1).

It is read in two steps, since its first two fields decide how all the rest, a refusal included, is
spoken.
"""

from __future__ import annotations

from typing import Final

from adapters.mqtt.errors import MqttError, malformed, protocol_error
from adapters.mqtt.limits import ConnectionLimits
from adapters.mqtt.packets import Connect, ProtocolVersion, Will
from adapters.mqtt.properties import (
    NO_PROPERTIES,
    Carrier,
    Properties,
    decode_properties,
    encode_properties,
)
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.topic_filters import check_topic_name
from adapters.mqtt.wire import Reader, binary, string

_V5: Final = ProtocolVersion.V5
_V3_1: Final = ProtocolVersion.V3_1
_PROTOCOLS: Final = {
    (b"MQIsdp", 3): ProtocolVersion.V3_1,
    (b"MQTT", 4): ProtocolVersion.V3_1_1,
    (b"MQTT", 5): ProtocolVersion.V5,
}
_NAMES: Final = {version: name for (name, _), version in _PROTOCOLS.items()}
_BRIDGE_BIT: Final = 0x80
"""Set in the level by Mosquitto's bridges (option `try_private`); MQTT's own levels stay far below.
"""

_USER_NAME: Final = 0x80
_PASSWORD: Final = 0x40
_WILL_RETAIN: Final = 0x20
_WILL_QOS_SHIFT: Final = 3
_WILL: Final = 0x04
_CLEAN_START: Final = 0x02
_RESERVED: Final = 0x01


def decode_protocol(reader: Reader) -> tuple[ProtocolVersion, bool]:
    """Read protocol name and level: the version, and whether a bridge is calling.

    Raises UNSUPPORTED_PROTOCOL_VERSION for a level of MQTT that is not known here, and malformed
    for another protocol, which gets no answer (MQTT 3.1.1, 3.1.2.1).
    """
    name = reader.binary()
    level = reader.byte()
    version = _PROTOCOLS.get((name, level & ~_BRIDGE_BIT))
    if version is not None:
        return version, bool(level & _BRIDGE_BIT)
    if name in _NAMES.values() or level == _V5:  # MQTT 5, 3.1.2.1; MQTT 3.1.1, 3.1.2.2
        raise MqttError(
            ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, f"protocol level {level} is not supported"
        )
    raise malformed("this is not MQTT")


def decode_connect(
    reader: Reader, flags: int, version: ProtocolVersion, bridge: bool, limits: ConnectionLimits
) -> Connect:
    """Read what follows the level; `flags` are those of the fixed header."""
    connect_flags = reader.byte()
    if version is not _V3_1:  # which uses none of them
        _check_flags(connect_flags, flags, version)
    keep_alive = reader.two_byte_integer()
    properties = version_properties(reader, Carrier.CONNECT, version, limits)
    if properties.authentication_data is not None and properties.authentication_method is None:
        raise protocol_error("authentication data without a method")  # MQTT 5, 3.1.2.11.10
    client_id = reader.string()
    clean_start = bool(connect_flags & _CLEAN_START)
    # MQTT 3.1, 3.1; MQTT 3.1.1, 3.1.3.1 [MQTT-3.1.3-8]. In MQTT 5 the server makes one up.
    if not client_id and (version is _V3_1 or not (clean_start or version is _V5)):
        raise MqttError(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "the client identifier is empty")
    will = _decode_will(reader, connect_flags, version, limits)
    user_name = password = None
    # MQTT 3.1, 3.1: there the remaining length takes precedence over the two flags.
    if connect_flags & _USER_NAME and (reader or version is not _V3_1):
        user_name = reader.string()
    if connect_flags & _PASSWORD and (reader or version is not _V3_1):
        password = reader.binary()
    reader.expect_end()
    return Connect(
        version, client_id, clean_start, keep_alive, user_name, password, will, properties, bridge
    )


def _check_flags(connect_flags: int, flags: int, version: ProtocolVersion) -> None:
    if flags:  # MQTT 5, 2.1.3 [MQTT-2.1.3-1]
        raise malformed("the reserved flags of CONNECT are set")
    if connect_flags & _RESERVED:  # MQTT 5, 3.1.2.3 [MQTT-3.1.2-3]
        raise malformed("the reserved connect flag is set")
    if not connect_flags & _WILL and connect_flags & (_WILL_RETAIN | 3 << _WILL_QOS_SHIFT):
        raise malformed(
            "will QoS or will retain without a will"
        )  # [MQTT-3.1.2-11], [MQTT-3.1.2-13]
    # MQTT 3.1.1, 3.1.2.9 [MQTT-3.1.2-22]; MQTT 5 allows it.
    if version is not _V5 and connect_flags & _PASSWORD and not connect_flags & _USER_NAME:
        raise malformed("a password without a user name")


def _decode_will(
    reader: Reader, connect_flags: int, version: ProtocolVersion, limits: ConnectionLimits
) -> Will | None:
    if not connect_flags & _WILL:
        return None
    qos = connect_flags >> _WILL_QOS_SHIFT & 3
    if qos == 3:  # MQTT 5, 3.1.2.6 [MQTT-3.1.2-12]
        raise malformed("will QoS is 3")
    properties = version_properties(reader, Carrier.WILL, version, limits)
    check_response_topic(properties)
    topic = reader.string()
    check_topic_name(topic)
    payload = reader.binary()
    return Will(topic, payload, qos, bool(connect_flags & _WILL_RETAIN), properties)


def check_response_topic(properties: Properties) -> None:
    """A response topic is a topic name (MQTT 5, 3.3.2.3.5)."""
    topic = properties.response_topic
    if topic is not None and ("+" in topic or "#" in topic):  # [MQTT-3.3.2-14]
        raise protocol_error("the response topic has wildcards")


def version_properties(
    reader: Reader, carrier: Carrier, version: ProtocolVersion, limits: ConnectionLimits
) -> Properties:
    """The properties at the reader's place, where the version has any."""
    if version is not _V5:
        return NO_PROPERTIES
    return decode_properties(reader, carrier, limits.user_properties_max)


def encode_connect(connect: Connect) -> bytes:
    """The packet without its fixed header."""
    version, will = connect.version, connect.will
    connect_flags = _CLEAN_START if connect.clean_start else 0
    parts = [string(connect.client_id)]
    if will is not None:
        connect_flags |= _WILL | will.qos << _WILL_QOS_SHIFT | (_WILL_RETAIN if will.retain else 0)
        if version is _V5:
            parts.append(encode_properties(will.properties, Carrier.WILL))
        parts += (string(will.topic), binary(will.payload))
    if connect.user_name is not None:
        connect_flags |= _USER_NAME
        parts.append(string(connect.user_name))
    if connect.password is not None:
        connect_flags |= _PASSWORD
        parts.append(binary(connect.password))
    level = version | (_BRIDGE_BIT if connect.bridge else 0)
    head = [
        binary(_NAMES[version]),
        bytes((level, connect_flags)),
        connect.keep_alive_seconds.to_bytes(2, "big"),
    ]
    if version is _V5:
        head.append(encode_properties(connect.properties, Carrier.CONNECT))
    return b"".join(head + parts)
