from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import decode as oracle

from adapters.amqp091.limits import TABLE_DEPTH_MAX
from adapters.amqp091.tables import FieldValue, decode_table, encode_table, field_octets

MOMENT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def table(field: bytes) -> bytes:
    encoded = b"\x01k" + field
    return struct.pack(">I", len(encoded)) + encoded


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"t\x01", True),
        (b"t\x00", False),
        (b"b\xff", -1),
        (b"B\xff", 255),
        (b"s\xff\xfe", -2),
        (b"U\xff\xfe", -2),
        (b"u\xff\xfe", 65534),
        (b"I\xff\xff\xff\xfd", -3),
        (b"i\xff\xff\xff\xfd", 4294967293),
        (b"l\xff\xff\xff\xff\xff\xff\xff\xfc", -4),
        (b"L\xff\xff\xff\xff\xff\xff\xff\xfc", -4),
        (b"f\x3f\xc0\x00\x00", 1.5),
        (b"d\x3f\xb9\x99\x99\x99\x99\x99\x9a", 0.1),
        (b"D\x02\x00\x00\x30\x39", Decimal("123.45")),
        (b"D\x02\xff\xff\xff\xff", Decimal("-0.01")),
        (b"S\0\0\0\x03abc", "abc"),
        (b"S\0\0\0\x02\xff\xfe", b"\xff\xfe"),
        (b"x\0\0\0\x02\xff\xfe", b"\xff\xfe"),
        (b"A\0\0\0\x04t\x01t\x00", [True, False]),
        (b"A\0\0\0\x00", []),
        (b"T" + struct.pack(">Q", int(MOMENT.timestamp())), MOMENT),
        (b"T" + b"\xff" * 8, 2**64 - 1),
        (b"F\0\0\0\x04\x01bb\x07", {"b": 7}),
        (b"F\0\0\0\0", {}),
        (b"V", None),
        (b"\0", None),
    ],
)
def test_every_type(field: bytes, value: object) -> None:
    decoded, end = decode_table(table(field))
    assert decoded == {"k": value}
    assert type(decoded["k"]) is type(value)
    assert end == len(table(field))


KNOWN_TO_PAMQP = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(max_size=20),
        st.none(),
        st.decimals(
            min_value=0, max_value=10_000_000, places=2, allow_nan=False, allow_infinity=False
        ),
        st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001
            lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=10), inner, max_size=4),
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=10), KNOWN_TO_PAMQP, max_size=6))
def test_round_trip_and_pamqp_agrees(values: dict[str, FieldValue]) -> None:
    encoded = encode_table(values)
    assert decode_table(encoded) == (values, len(encoded))
    assert oracle.field_table(encoded) == (len(encoded), values)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_byte_arrays_round_trip(value: bytes) -> None:
    assert decode_table(encode_table({"k": value}))[0] == {"k": value}


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        (2**63, str(2**63)),
        (Decimal("1E+40"), "1E+40"),
        (Decimal("NaN"), "NaN"),
        (Decimal("12345678901.5"), "12345678901.5"),
        (Decimal("1E+3"), Decimal(1000)),
        (datetime(1960, 1, 1, tzinfo=UTC), "1960-01-01T00:00:00+00:00"),
        ((1, 2), [1, 2]),
    ],
)
def test_what_has_no_type_of_its_own_becomes_the_nearest(value: object, decoded: object) -> None:
    assert decode_table(encode_table({"k": value}))[0] == {"k": decoded}


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\0\0",
        b"\0\0\0\x05\x01kt",
        table(b"?x"),
        table(b"t"),
        table(b"S\0\0\0\xffabc"),
        table(b"A\0\0\0\x01l"),
        table(b"F\0\0\0\x09\x01bb\x07"),
        b"\0\0\0\x02\x09k",
    ],
)
def test_malformed(encoded: bytes) -> None:
    with pytest.raises(ValueError):
        decode_table(encoded)


def test_names_that_are_no_utf_8_are_shown_as_such() -> None:
    encoded = b"\0\0\0\x04\x02\xfcbV"
    assert decode_table(encoded) == ({"\ufffdb": None}, len(encoded))
    assert field_octets(encoded) == {"\ufffdb": b"V"}


def nested(depth: int) -> bytes:
    field = b"V"
    for _ in range(depth):
        field = b"A" + struct.pack(">I", len(field)) + field
    return table(field)


def test_depth_is_bounded() -> None:
    decode_table(nested(TABLE_DEPTH_MAX))
    with pytest.raises(ValueError, match="nest deeper"):
        decode_table(nested(TABLE_DEPTH_MAX + 1))
    deep: list[object] = []
    for _ in range(TABLE_DEPTH_MAX + 1):
        deep = [deep]
    with pytest.raises(ValueError, match="nest deeper"):
        encode_table({"k": deep})


@pytest.mark.parametrize("table", [{"k" * 256: 1}, {"k": object()}])
def test_what_cannot_be_encoded(table: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        encode_table(table)
