from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands, frame
from pamqp.base import Frame

from adapters.amqp091.errors import HardError, ReplyCode
from adapters.amqp091.methods import (
    SPECIFICATIONS,
    Specification,
    decode_method,
    encode_method,
    name_of,
    truncate_short_string,
)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bit": st.booleans(),
    "octet": st.integers(0, 0xFF),
    "short": st.integers(0, 0xFFFF),
    "long": st.integers(0, 0xFFFFFFFF),
    "longlong": st.integers(0, 0x7FFFFFFFFFFFFFFF),
    "shortstr": st.text("abcdef-_.:@#,/+ ", max_size=20),
    "longstr": st.text(max_size=30),
    "table": st.dictionaries(st.text("abc", max_size=5), st.integers(0, 100), max_size=3),
}
SPECIFIED = sorted(SPECIFICATIONS.values())
FIXED = {"ticket": 0, "capabilities": "", "insist": False, "out_of_band": "", "cluster_id": ""}


@pytest.mark.parametrize("method", SPECIFIED, ids=lambda method: method.name)
def test_round_trip_and_pamqp_agrees(method: Specification) -> None:
    @settings(max_examples=15, deadline=None)
    @given(st.fixed_dictionaries({name: VALUES[kind] for name, kind in method.fields}))
    def check(fields: dict[str, Any]) -> None:
        fields |= {name: value for name, value in FIXED.items() if name in fields}
        encoded = encode_method(7, method.name, fields)
        assert encoded[:3] == b"\x01\x00\x07"
        decoded = decode_method(encoded[7:-1])
        assert (decoded.number, decoded.name) == (method.number, method.name)
        raw = {n: v.decode() if isinstance(v, bytes) else v for n, v in decoded.fields.items()}
        assert raw == fields
        if method.name.startswith("Access."):
            return
        consumed, channel, oracle = frame.unmarshal(encoded)
        assert (consumed, channel) == (len(encoded), 7)
        assert isinstance(oracle, Frame)
        assert oracle.name == method.name
        assert {name: getattr(oracle, name) for name, _ in method.fields} == fields

    check()


def test_pamqp_s_encoding_is_understood() -> None:
    declare = commands.Queue.Declare(queue="q", durable=True, arguments={"x-max-length": 5})
    encoded = frame.marshal(declare, 3)
    assert decode_method(encoded[7:-1]).fields == {
        "ticket": 0,
        "queue": "q",
        "passive": False,
        "durable": True,
        "exclusive": False,
        "auto_delete": False,
        "nowait": False,
        "arguments": {"x-max-length": 5},
    }


def test_names_that_rabbitmq_takes() -> None:
    encoded = encode_method(1, "Queue.DeclareOk", {"queue": "a*b{" + "ü" * 100})
    assert decode_method(encoded[7:-1]).fields["queue"] == "a*b{" + "ü" * 100


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", ReplyCode.FRAME_ERROR),
        (b"\0\x0a\0", ReplyCode.FRAME_ERROR),
        (b"\0\x0a\0\xff", ReplyCode.COMMAND_INVALID),
        (b"\0\x0a\0\x1f\0", ReplyCode.FRAME_ERROR),
        (b"\0\x3c\0\x50\0\0\0\0\0\0\0\1\0\0", ReplyCode.FRAME_ERROR),
        (b"\0\x0a\0\x28\xffabc", ReplyCode.FRAME_ERROR),
        (b"\0\x0a\0\x28\x01\xff\0\0", ReplyCode.FRAME_ERROR),
        (b"\0\x0a\0\x46\0\0\0\x09x", ReplyCode.FRAME_ERROR),
    ],
)
def test_malformed(payload: bytes, code: ReplyCode) -> None:
    with pytest.raises(HardError) as caught:
        decode_method(payload)
    assert caught.value.code is code


def test_names_in_error_texts() -> None:
    assert name_of(0x0032000A) == "queue.declare"
    assert name_of(0x000A000B) == "connection.start_ok"
    assert name_of(0x00990001) == "153.1"


def test_reply_texts_are_cut_at_a_character() -> None:
    assert truncate_short_string("ü" * 200) == "ü" * 127


def test_a_string_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="255 allowed"):
        encode_method(1, "Basic.ConsumeOk", {"consumer_tag": "x" * 256})
