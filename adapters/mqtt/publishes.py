"""PUBLISH to bytes, and the strings that it is made of; on the hot path.

An encoded publish is two pieces, so that a fan-out shares them and each receiver adds its packet id
between. Topics are few and come again and again, so both directions remember the recent ones; and
what goes out together mostly differs in its payload alone, so heads are made where the topic or the
size is another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from adapters.mqtt.packets import Publish
from adapters.mqtt.properties import (
    NO_PROPERTIES,
    NO_PROPERTY_BYTES,
    Carrier,
    encode_properties,
)
from adapters.mqtt.topic_filters import check_topic_name
from adapters.mqtt.wire import string, text_from_utf8, variable_byte_integer

REMEMBERED_TOPICS_MAX: Final = 8_192
"""Topics of each direction that are remembered, by all connections together."""
REMEMBERED_HEADERS_MAX: Final = 4_096
"""Fixed headers that are remembered, by first byte and size."""
REMEMBERED_TOPIC_SIZE_MAX: Final = 256
"""Bytes of a topic worth remembering; together 2 MiB and what Python adds."""

received_topics: Final[dict[bytes, str]] = {}
"""Filled by `known_topic`; the decoding loop looks here first."""
_topic_fields: Final[dict[str, bytes]] = {}
_headers: Final[dict[int, bytes]] = {}


EncodedPublish: TypeAlias = tuple[bytes, bytes]
"""Head and tail of a packet; the packet id of QoS 1 and 2 goes between them."""


def encode_publish(
    publish: Publish,
    *,
    version_5: bool,
    properties: bytes | None = None,
    without_topic: bool = False,
) -> EncodedPublish:
    """Encode a publish without its packet id.

    `properties` replace its own; `without_topic` leaves the name out, where an alias among them
    stands for it.
    """
    payload = publish.payload
    if version_5:
        if properties is None:
            properties = (
                NO_PROPERTY_BYTES
                if publish.properties is NO_PROPERTIES
                else encode_properties(publish.properties, Carrier.PUBLISH)
            )
        payload = properties + payload
    first = 0x30 | publish.retain | publish.qos << 1 | publish.dup << 3
    size = len(payload) + (2 if publish.qos else 0)
    return publish_head("" if without_topic else publish.topic, first, size), payload


def encode_publishes(publishes: Iterable[Publish], *, version_5: bool) -> list[EncodedPublish]:
    """The same for many: those behind one another that differ in their payload alone share their
    head.
    """
    encoded: list[EncodedPublish] = []
    topic, qos, retain, dup, size, head = "", -1, False, False, -1, b""
    for publish in publishes:
        payload = publish.payload
        if publish.properties is not NO_PROPERTIES:
            encoded.append(encode_publish(publish, version_5=version_5))
            continue
        if (
            len(payload) != size
            or publish.topic != topic
            or publish.qos != qos
            or publish.retain is not retain
            or publish.dup is not dup
        ):
            topic, qos, retain, dup = publish.topic, publish.qos, publish.retain, publish.dup
            size = len(payload)
            first = 0x30 | retain | qos << 1 | dup << 3
            head = publish_head(topic, first, size + (2 if qos else 0) + version_5)
        encoded.append((head, NO_PROPERTY_BYTES + payload if version_5 else payload))
    return encoded


def publish_head(topic: str, first: int, rest_size: int) -> bytes:
    """What a publish begins with, up to the end of its topic; `rest_size` bytes come behind it."""
    field = _topic_fields.get(topic) or topic_field(topic)
    size = len(field) + rest_size
    return (_headers.get(size << 8 | first) or _header(first, size)) + field


def _header(first: int, size: int) -> bytes:
    if len(_headers) >= REMEMBERED_HEADERS_MAX:
        _headers.clear()
    header = _headers[size << 8 | first] = bytes((first,)) + variable_byte_integer(size)
    return header


def topic_field(topic: str) -> bytes:
    """A topic with its length, as it stands in PUBLISH; remembered if it is not too long."""
    field = _topic_fields.get(topic)
    if field is None:
        field = string(topic)
        if len(field) <= REMEMBERED_TOPIC_SIZE_MAX:
            if len(_topic_fields) >= REMEMBERED_TOPICS_MAX:
                _topic_fields.clear()
            _topic_fields[topic] = field
    return field


def known_topic(raw: bytes) -> str:
    """Decode and check the topic name of a received PUBLISH."""
    topic = received_topics.get(raw)
    if topic is None:
        topic = text_from_utf8(raw)
        check_topic_name(topic)
        if len(raw) <= REMEMBERED_TOPIC_SIZE_MAX:
            if len(received_topics) >= REMEMBERED_TOPICS_MAX:
                received_topics.clear()
            received_topics[raw] = topic
    return topic
