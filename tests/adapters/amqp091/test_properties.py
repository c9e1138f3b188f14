from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands

from adapters.amqp091.properties import decode_properties, encode_properties

ALL: dict[str, Any] = {
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "headers": {"a": 1, "b": ["x", {"c": None}]},
    "delivery_mode": 2,
    "priority": 9,
    "correlation_id": "42",
    "reply_to": "amq.rabbitmq.reply-to",
    "expiration": "60000",
    "message_id": "m-1",
    "timestamp": 1_750_000_000,
    "type": "order",
    "user_id": "guest",
    "app_id": "shop",
    "cluster_id": "",
}


def decoded(raw: bytes) -> dict[str, Any]:
    properties = decode_properties(raw)
    return {name: value for name in ALL if (value := getattr(properties, name)) is not None}


@pytest.mark.parametrize("count", range(len(ALL) + 1))
def test_all_combinations(count: int) -> None:
    for names in combinations(ALL, count):
        given_properties = {name: ALL[name] for name in names}
        raw = encode_properties(**given_properties)
        assert decoded(raw) == given_properties
        assert decode_properties(raw).raw == raw


@pytest.mark.parametrize("count", [0, 1, 2, 13])
def test_pamqp_agrees(count: int) -> None:
    for names in combinations([name for name in ALL if name != "cluster_id"], count):
        given_properties = {name: ALL[name] for name in names}
        raw = encode_properties(**given_properties)
        oracle = commands.Basic.Properties()
        oracle.unmarshal(int.from_bytes(raw[:2], "big"), raw[2:])
        for name, value in given_properties.items():
            seen = getattr(oracle, "message_type" if name == "type" else name)
            assert (int(seen.timestamp()) if name == "timestamp" else seen) == value


def test_timestamps_may_be_moments() -> None:
    raw = encode_properties(timestamp=datetime(2026, 1, 1, tzinfo=UTC))
    assert decode_properties(raw).timestamp == 1767225600


@pytest.mark.parametrize("octets", [b"\xff\x00\xfe", b"", b"abc"])
def test_correlation_ids_may_be_octets(octets: bytes) -> None:
    raw = encode_properties(correlation_id=octets, reply_to="r")
    properties = decode_properties(raw)
    value = properties.correlation_id
    assert (value.encode() if isinstance(value, str) else value) == octets
    assert properties.reply_to == "r"


def test_a_replacement_character_is_text() -> None:
    assert decode_properties(encode_properties(correlation_id="\ufffd")).correlation_id == "\ufffd"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x80",
        b"\x80\x00",
        b"\x80\x00\x05ab",
        b"\x00\x01",
        b"\x00\x00x",
        b"\x10\x00",
        b"\x20\x00\0\0",
    ],
)
def test_malformed(raw: bytes) -> None:
    with pytest.raises(ValueError):
        decode_properties(raw)


@pytest.mark.parametrize(
    "fields",
    [{"priority": 256}, {"type": "x" * 256}, {"correlation_id": b"x" * 256}, {"timestamp": -1}],
)
def test_what_does_not_fit(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        encode_properties(**fields)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_octets_decode_or_are_refused(raw: bytes) -> None:
    try:
        decode_properties(raw)
    except ValueError:
        pass
