"""Bodies of requests, as RabbitMQ reads and refuses them."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.amqp091.limits import TABLE_DEPTH_MAX
from adapters.amqp091.tables import decode_table
from bridge.admin.management.bodies import (
    SHORT_STRING_MAX,
    Body,
    payload_from,
    properties_from,
    require_short,
    whole_number,
)
from bridge.admin.management.refusals import Refused


def reason_of(call: Any, *arguments: Any) -> Any:
    with pytest.raises(Refused) as refused:
        call(*arguments)
    assert (refused.value.status, refused.value.error) == (400, "bad_request")
    return refused.value.reason


@pytest.mark.parametrize("text", [b"", b"null", b"undefined", b"{}"])
def test_nothing_is_an_empty_object(text: bytes) -> None:
    assert Body(text).get("name", 5) == 5


@pytest.mark.parametrize("text", [b"[]", b"5", b"{", b"\xff", b"[" * 5_000, b'{"a":"\\ud800"}'])
def test_what_is_no_object_is_no_json(text: bytes) -> None:
    assert reason_of(Body, text) == "not_json"


def test_json_in_json_is_named() -> None:
    assert "doubly-JSON-encoded" in reason_of(Body, b'"{}"')


def test_missing_keys_are_listed_in_lines_of_eighty() -> None:
    assert reason_of(Body(b'{"a": null}').require, "a") == "[{key_missing,a}]"
    names = ["routing_key", "properties", "payload", "payload_encoding"]
    shown = ",\n ".join(f"{{key_missing,{name}}}" for name in names)
    assert reason_of(Body(b"{}").require, *names) == f"[{shown}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"{}", False), (b'{"t": null}', False), (b'{"t": "true"}', True), (b'{"t": false}', False)],
)
def test_truths(text: bytes, expected: bool) -> None:
    assert Body(text).truth("t") is expected


@pytest.mark.parametrize("value", ["yes", 1, [], {}])
def test_what_is_no_truth(value: Any) -> None:
    body = Body(b"{}")
    body._values["t"] = value
    assert reason_of(body.truth, "t") == ["not_boolean", value]


def test_short_strings_at_their_bound() -> None:
    require_short("queue", "x" * SHORT_STRING_MAX)
    assert "actually was 256" in reason_of(require_short, "queue", "é" * 128)
    assert reason_of(Body(b'{"type": 5}').text, "type") == ["not_string", "type"]


@pytest.mark.parametrize(
    ("value", "expected"), [(5, 5), ("5", 5), ("-1", -1), (1.9, 1), ("0" * 19, 0)]
)
def test_whole_numbers(value: Any, expected: int) -> None:
    assert whole_number(value) == expected


@pytest.mark.parametrize("value", ["x", "", "1.5", True, [1], "9" * 20, "²"])
def test_what_is_no_whole_number(value: Any) -> None:
    assert reason_of(whole_number, value) == ["not_integer", value]


def nested(depth: int) -> bytes:
    return b'{"arguments": ' + b'{"t": ' * depth + b"1" + b"}" * (depth + 1)


def test_arguments() -> None:
    assert Body(b'{"arguments": []}').arguments() == {}
    assert Body(b'{"arguments": {"n": 1, "l": [true]}}').arguments() == {"n": 1, "l": [True]}
    assert reason_of(Body(b'{"arguments": {"l": [null]}}').arguments) == "null_not_allowed"
    assert reason_of(Body(b'{"arguments": "x"}').arguments) == "arguments must be an object"
    Body(nested(TABLE_DEPTH_MAX)).arguments()
    assert "nest deeper" in reason_of(Body(nested(TABLE_DEPTH_MAX + 1)).arguments)
    bound = 2**63 - 1
    assert Body(f'{{"arguments": {{"n": {bound}}}}}'.encode()).arguments() == {"n": bound}
    assert reason_of(Body(f'{{"arguments": {{"n": {bound + 1}}}}}'.encode()).arguments) == [
        "not_integer",
        str(bound + 1),
    ]


def test_payloads() -> None:
    assert payload_from("grün", "string") == "grün".encode()
    assert payload_from("AP8=", "base64") == b"\0\xff"
    assert reason_of(payload_from, 5, "string") == "payload_not_string"
    assert reason_of(payload_from, "x", "hex") == ["unsupported_encoding", "hex"]
    assert reason_of(payload_from, "x y", "base64") == ["not_base64", "x y"]


def test_properties_are_encoded_as_rabbitmq_does() -> None:
    properties = properties_from({"headers": {"n": 1, "l": [2], "b": True}, "priority": 255})
    assert (properties.priority, properties.headers) == (255, {"n": 1, "l": [2], "b": True})
    # Flags; then each number of the table is a long integer, whose type is `l`.
    assert decode_table(properties.raw, 2)[0] == properties.headers
    assert properties.raw.count(b"l\0\0\0\0\0\0\0") == 2
    assert properties_from([]).raw == b"\0\0"
    assert properties_from({"unknown": 1, "headers": None}).raw == b"\0\0"
    assert reason_of(properties_from, {"priority": 256}) == (
        "property value 256 is not within 0 to 255"
    )
    assert reason_of(properties_from, {"delivery_mode": True}) == ["not_int", "delivery_mode"]
    assert reason_of(properties_from, {"type": None}) == ["not_string", "type"]
