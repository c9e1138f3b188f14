"""The properties of a basic content: the flags and values behind a content header's size.

AMQP 0-9-1, 4.2.6.1. One `Properties` is made per distinct octets and shared by all messages that
carry them, so it is never changed; `raw` goes out again untouched, whatever types it holds.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from adapters.amqp091.tables import (
    EncodedValue,
    FieldTable,
    decode_table,
    encode_short_string,
    encode_table,
    field_octets,
)

_FLAGS = struct.Struct(">H")
_TIMESTAMP = struct.Struct(">Q")

CONTENT_TYPE: Final = 1 << 15
CONTENT_ENCODING: Final = 1 << 14
HEADERS: Final = 1 << 13
DELIVERY_MODE: Final = 1 << 12
PRIORITY: Final = 1 << 11
CORRELATION_ID: Final = 1 << 10
REPLY_TO: Final = 1 << 9
EXPIRATION: Final = 1 << 8
MESSAGE_ID: Final = 1 << 7
TIMESTAMP: Final = 1 << 6
TYPE: Final = 1 << 5
USER_ID: Final = 1 << 4
APP_ID: Final = 1 << 3
CLUSTER_ID: Final = 1 << 2
_UNKNOWN: Final = 0b11

_STRINGS_AFTER_PRIORITY: Final = (
    (CORRELATION_ID, "correlation_id"),
    (REPLY_TO, "reply_to"),
    (EXPIRATION, "expiration"),
    (MESSAGE_ID, "message_id"),
)
_STRINGS_AFTER_TIMESTAMP: Final = (
    (TYPE, "type"),
    (USER_ID, "user_id"),
    (APP_ID, "app_id"),
    (CLUSTER_ID, "cluster_id"),
)


class Properties:
    """Decoded properties; None where a property is absent.

    `timestamp` is in epoch seconds. `correlation_id` is bytes where it is not UTF-8. `translation`
    belongs to the mapping, which keeps there what it made of these properties.
    """

    __slots__ = (
        "app_id",
        "cluster_id",
        "content_encoding",
        "content_type",
        "correlation_id",
        "delivery_mode",
        "expiration",
        "headers",
        "message_id",
        "priority",
        "raw",
        "reply_to",
        "timestamp",
        "translation",
        "type",
        "user_id",
    )

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.content_type: str | None = None
        self.content_encoding: str | None = None
        self.headers: FieldTable | None = None
        self.delivery_mode: int | None = None
        self.priority: int | None = None
        self.correlation_id: str | bytes | None = None
        self.reply_to: str | None = None
        self.expiration: str | None = None
        self.message_id: str | None = None
        self.timestamp: int | None = None
        self.type: str | None = None
        self.user_id: str | None = None
        self.app_id: str | None = None
        self.cluster_id: str | None = None
        self.translation: Any = None

    def __repr__(self) -> str:
        return f"Properties({self.raw!r})"


def decode_properties(raw: bytes) -> Properties:
    """Decode what stands behind the body size of a content header; `ValueError` if malformed."""
    try:
        return _decode(raw)
    except (struct.error, IndexError) as error:
        raise ValueError("truncated properties") from error


def _decode(raw: bytes) -> Properties:
    properties = Properties(raw)
    (flags,) = _FLAGS.unpack_from(raw)
    if flags & _UNKNOWN:
        raise ValueError(f"unknown property flags {flags & _UNKNOWN:#06x}")
    position = 2
    if flags & CONTENT_TYPE:
        properties.content_type, position = _text(raw, position)
    if flags & CONTENT_ENCODING:
        properties.content_encoding, position = _text(raw, position)
    if flags & HEADERS:
        properties.headers, position = decode_table(raw, position)
    if flags & DELIVERY_MODE:
        properties.delivery_mode = raw[position]
        position += 1
    if flags & PRIORITY:
        properties.priority = raw[position]
        position += 1
    if flags & 0x0780:
        position = _decode_strings(properties, raw, position, flags, _STRINGS_AFTER_PRIORITY)
    if flags & TIMESTAMP:
        (properties.timestamp,) = _TIMESTAMP.unpack_from(raw, position)
        position += 8
    if flags & 0x003C:
        position = _decode_strings(properties, raw, position, flags, _STRINGS_AFTER_TIMESTAMP)
    if position != len(raw):
        raise ValueError(f"{len(raw)} octets of properties where {position} were announced")
    return properties


def raw_header_values(raw: bytes) -> dict[str, EncodedValue]:
    """The headers in well-formed properties, each value as it is encoded."""
    (flags,) = _FLAGS.unpack_from(raw)
    if not flags & HEADERS:
        return {}
    position = 2
    for flag in (CONTENT_TYPE, CONTENT_ENCODING):
        if flags & flag:
            position += 1 + raw[position]
    return field_octets(raw, position)


def _decode_strings(
    properties: Properties,
    raw: bytes,
    position: int,
    flags: int,
    fields: tuple[tuple[int, str], ...],
) -> int:
    for flag, name in fields:
        if flags & flag:
            text, end = _text(raw, position)
            if flag == CORRELATION_ID and "\ufffd" in text:
                octets = raw[position + 1 : end]
                properties.correlation_id = text if text.encode() == octets else octets
            else:
                setattr(properties, name, text)
            position = end
    return position


def _text(raw: bytes, position: int) -> tuple[str, int]:
    """A short string; octets that are no UTF-8 are shown as such, `raw` still has them."""
    start = position + 1
    end = start + raw[position]
    if end > len(raw):
        raise ValueError("short string exceeds the data")
    return raw[start:end].decode(errors="replace"), end


def encode_properties(  # noqa: PLR0913 - the fourteen properties of the specification
    *,
    content_type: str | None = None,
    content_encoding: str | None = None,
    headers: Mapping[str, object] | None = None,
    delivery_mode: int | None = None,
    priority: int | None = None,
    correlation_id: str | bytes | None = None,
    reply_to: str | None = None,
    expiration: str | None = None,
    message_id: str | None = None,
    timestamp: int | datetime | None = None,
    type: str | None = None,  # noqa: A002 - the specification's name
    user_id: str | None = None,
    app_id: str | None = None,
    cluster_id: str | None = None,
) -> bytes:
    """Encode properties as a content header carries them; `ValueError` for what does not fit."""
    flags = 0
    parts = [b""]
    fields: tuple[tuple[int, object], ...] = (
        (CONTENT_TYPE, content_type),
        (CONTENT_ENCODING, content_encoding),
        (HEADERS, headers),
        (DELIVERY_MODE, delivery_mode),
        (PRIORITY, priority),
        (CORRELATION_ID, correlation_id),
        (REPLY_TO, reply_to),
        (EXPIRATION, expiration),
        (MESSAGE_ID, message_id),
        (TIMESTAMP, timestamp),
        (TYPE, type),
        (USER_ID, user_id),
        (APP_ID, app_id),
        (CLUSTER_ID, cluster_id),
    )
    for flag, value in fields:
        if value is not None:
            flags |= flag
            parts.append(_encode_field(flag, value))
    parts[0] = _FLAGS.pack(flags)
    return b"".join(parts)


def _encode_field(flag: int, value: object) -> bytes:
    if flag == HEADERS:
        assert isinstance(value, Mapping)
        return encode_table(value)
    if isinstance(value, str):
        return encode_short_string(value)
    if isinstance(value, bytes):
        if len(value) > 255:
            raise ValueError(f"short string of {len(value)} bytes, 255 allowed")
        return bytes((len(value),)) + value
    seconds = int(value.timestamp()) if isinstance(value, datetime) else value
    assert isinstance(seconds, int)
    bounds = 0xFFFFFFFFFFFFFFFF if flag == TIMESTAMP else 0xFF
    if not 0 <= seconds <= bounds:
        raise ValueError(f"property value {seconds} is not within 0 to {bounds}")
    return _TIMESTAMP.pack(seconds) if flag == TIMESTAMP else bytes((seconds,))
