"""Properties across: AMQP to AMQP untouched, and from and to the neutral form."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from adapters.amqp091.properties import (
    decode_properties,
    encode_properties,
    raw_header_values,
)
from adapters.amqp091.tables import Long
from bridge.messaging.model import Message
from mappings.amqp091.messages import (
    encode_message_properties,
    raw_properties_of,
    routing_of,
    translation_of,
)

HEADERS: dict[str, Any] = {
    "text": "x",
    "octets": b"\xff",
    "number": 2**40,
    "float": 0.1,
    "truth": True,
    "nothing": None,
    "decimal": Decimal("1.25"),
    "time": datetime(2026, 1, 2, tzinfo=UTC),
    "list": [1, [2, "a"]],
    "table": {"a": {"b": None}},
}
EVERYTHING = encode_properties(
    content_type="text/plain",
    content_encoding="utf-8",
    headers=HEADERS,
    delivery_mode=2,
    priority=4,
    correlation_id=b"\xff\x00",
    reply_to="r",
    expiration="100",
    message_id="m",
    timestamp=1_700_000_000,
    type="t",
    user_id="u",
    app_id="a",
)


def message_from(raw: bytes) -> Message:
    translation = translation_of(decode_properties(raw))
    expires_at = None if translation.expiration_ms is None else 1000 + translation.expiration_ms
    return Message(
        "id",
        b"",
        1000,
        translation.properties,
        translation.headers,
        priority=translation.priority,
        expires_at=expires_at,
        original=translation.original,
    )


@pytest.mark.parametrize("raw", [b"\0\0", encode_properties(delivery_mode=2), EVERYTHING])
def test_octets_go_out_as_they_came(raw: bytes) -> None:
    assert raw_properties_of(message_from(raw)) == raw


def test_nothing_is_lost_without_the_octets() -> None:
    message = msgspec.structs.replace(message_from(EVERYTHING), original=None)
    encoded = decode_properties(raw_properties_of(message))
    for name in decode_properties(EVERYTHING).__slots__:
        if name not in {"raw", "translation"}:
            assert getattr(encoded, name) == getattr(decode_properties(EVERYTHING), name)


def test_a_changed_message_is_encoded_anew() -> None:
    message = message_from(EVERYTHING)
    changed = msgspec.structs.replace(
        message, headers={**message.headers, "x-death": []}, expires_at=None
    )
    properties = decode_properties(raw_properties_of(changed))
    assert properties.headers == {**HEADERS, "x-death": []}
    assert properties.expiration is None
    added = msgspec.structs.replace(message_from(b"\0\0"), headers={"site": "berlin"})
    assert decode_properties(raw_properties_of(added)).headers == {"site": "berlin"}


def headers_octets(raw: bytes) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in raw_header_values(raw).items()}


def test_the_headers_of_a_changed_message_keep_their_types() -> None:
    table = encode_properties(
        content_type="a/b", headers={"long": Long(5), "text": "x", "gone": 1, "flag": True}
    )
    message = message_from(table)
    headers = {"long": 5, "text": "y", "flag": 1, "x-death": [{"count": 3, "queue": "q"}, "odd"]}
    changed = msgspec.structs.replace(message, headers=headers)
    octets = headers_octets(raw_properties_of(changed))
    assert octets["long"] == b"l" + (5).to_bytes(8)
    assert octets["text"] == b"S\0\0\0\1y"
    assert octets["flag"] == b"I\0\0\0\1"
    assert b"\5countl" + (3).to_bytes(8) in octets["x-death"]
    assert "gone" not in octets


def test_deliveries_are_counted_in_long_integers() -> None:
    raw = encode_message_properties(message_from(b"\0\0"), {"x-delivery-count": 2})
    assert headers_octets(raw) == {"x-delivery-count": b"l" + (2).to_bytes(8)}


def test_what_other_protocols_allow_is_made_to_fit() -> None:
    message = Message(
        "id",
        b"",
        0,
        {"content-type": "x" * 300, "correlation-id": b"y" * 300, "timestamp": -5},
        {"k" * 300: 2**70},
        priority=900,
    )
    properties = decode_properties(encode_message_properties(message))
    assert properties.content_type == "x" * 255
    assert properties.correlation_id == "y" * 255
    assert properties.timestamp is None
    assert properties.priority == 255
    assert properties.headers == {"k" * 255: str(2**70)}


@pytest.mark.parametrize(
    ("expiration", "milliseconds"),
    [("0", 10), ("11", 11), ("60000", 60000), ("315360000000", 315_360_000_000)],
)
def test_expirations(expiration: str, milliseconds: int) -> None:
    properties = decode_properties(encode_properties(expiration=expiration))
    assert translation_of(properties).expiration_ms == milliseconds


@pytest.mark.parametrize("expiration", ["", "-1", "1.5", "x", "315360000001", "9" * 200, "\u0661"])
def test_expirations_that_are_none(expiration: str) -> None:
    properties = decode_properties(encode_properties(expiration=expiration))
    assert translation_of(properties).problem is not None


def test_exchange_and_key() -> None:
    message = Message("id", b"", 0)
    assert routing_of(message, "q") == ("", "q")
    assert routing_of(msgspec.structs.replace(message, subject="k"), "q") == ("", "k")
    there = msgspec.structs.replace(message, topic="ex", subject="a%2Fb")
    assert routing_of(there, "q") == ("ex", "a%2Fb")
    assert routing_of(msgspec.structs.replace(message, topic="ex", subject="%e"), "q") == ("ex", "")
