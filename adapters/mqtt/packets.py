"""The control packets of MQTT (MQTT 5, 3), one record each, for all versions.

What a version does not have keeps its default: reason codes and properties in 3.x, the bridge flag
in 5. Plain msgspec structs, because publishes are made by the million.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import msgspec

from adapters.mqtt.properties import NO_PROPERTIES, Properties
from adapters.mqtt.topic_filters import TopicFilter


class ProtocolVersion(IntEnum):
    """The protocol level of CONNECT."""

    V3_1 = 3
    V3_1_1 = 4
    V5 = 5


class PacketType(IntEnum):
    """The upper half of a packet's first byte (MQTT 5, 2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Will(msgspec.Struct, gc=False):
    """What is published when the client goes without a DISCONNECT."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES


class Connect(msgspec.Struct, gc=False):
    """`clean_start` is the Clean Session flag in 3.x. `bridge`: the top bit of the level was set,
    which is how Mosquitto's bridges say that they are one.
    """

    version: ProtocolVersion
    client_id: str
    clean_start: bool = True
    keep_alive_seconds: int = 0
    user_name: str | None = None
    password: bytes | None = None
    will: Will | None = None
    properties: Properties = NO_PROPERTIES
    bridge: bool = False


class Connack(msgspec.Struct, gc=False):
    """`reason_code` is the return code in 3.x."""

    session_present: bool = False
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Publish(msgspec.Struct, gc=False):
    """`packet_id` is 0 with QoS 0, and until a connection gives one. `topic` is never an alias."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties = NO_PROPERTIES


class Puback(msgspec.Struct, gc=False):
    """The answer to a QoS 1 PUBLISH."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Pubrec(msgspec.Struct, gc=False):
    """The first answer to a QoS 2 PUBLISH."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Pubrel(msgspec.Struct, gc=False):
    """The sender of a QoS 2 PUBLISH lets go of it."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Pubcomp(msgspec.Struct, gc=False):
    """The last word about a QoS 2 PUBLISH."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Subscription(msgspec.Struct, gc=False):
    """One filter of a SUBSCRIBE with its options; 3.x has the QoS alone."""

    topic_filter: TopicFilter
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


class Subscribe(msgspec.Struct, gc=False):
    """A request for subscriptions; at least one."""

    packet_id: int
    subscriptions: list[Subscription]
    properties: Properties = NO_PROPERTIES


class Suback(msgspec.Struct, gc=False):
    """A granted QoS or a failure for each subscription."""

    packet_id: int
    reason_codes: list[int]
    properties: Properties = NO_PROPERTIES


class Unsubscribe(msgspec.Struct, gc=False):
    """A request to end subscriptions; at least one."""

    packet_id: int
    topic_filters: list[TopicFilter]
    properties: Properties = NO_PROPERTIES


class Unsuback(msgspec.Struct, gc=False):
    """3.x has no reason codes here."""

    packet_id: int
    reason_codes: list[int]
    properties: Properties = NO_PROPERTIES


class Pingreq(msgspec.Struct, gc=False):
    """A sign of life."""


class Pingresp(msgspec.Struct, gc=False):
    """The answer to it."""


class Disconnect(msgspec.Struct, gc=False):
    """The last packet of a connection."""

    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Auth(msgspec.Struct, gc=False):
    """A step of an enhanced authentication; MQTT 5 only."""

    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


Acknowledgement: TypeAlias = Puback | Pubrec | Pubrel | Pubcomp
Packet: TypeAlias = (
    Connect
    | Connack
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
