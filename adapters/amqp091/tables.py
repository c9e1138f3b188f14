"""Field tables, arrays and their values, in RabbitMQ's dialect of the types.

AMQP 0-9-1, 4.2.5, with https://www.rabbitmq.com/amqp-0-9-1-errata: `l` and `L` are signed 64-bit,
`s` and `U` signed 16-bit, `S` is the only string. pamqp's codec serves as the oracle in tests, not
here: it copies the rest of an array at each element (quadratic), writes floats in 32 bits, sorts
tables and cuts their keys, and has no bound on depth. Malformed input raises `ValueError`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final, TypeAlias

from adapters.amqp091.limits import TABLE_DEPTH_MAX

FieldValue: TypeAlias = (
    "str | int | float | bool | bytes | Decimal | datetime"
    " | list[FieldValue] | dict[str, FieldValue] | None"
)
FieldTable: TypeAlias = "dict[str, FieldValue]"

_U8 = struct.Struct(">B")
_U32 = struct.Struct(">I")
_DECIMAL = struct.Struct(">Bi")
_TIMESTAMP = struct.Struct(">Q")
TIMESTAMP_MAX: Final = 253_402_300_799
"""The last second of the year 9999, which a datetime can hold; later ones stay integers."""

_FIXED: Final[dict[int, struct.Struct]] = {
    ord("b"): struct.Struct(">b"),
    ord("B"): struct.Struct(">B"),
    ord("s"): struct.Struct(">h"),
    ord("U"): struct.Struct(">h"),
    ord("u"): struct.Struct(">H"),
    ord("I"): struct.Struct(">i"),
    ord("i"): struct.Struct(">I"),
    ord("l"): struct.Struct(">q"),
    ord("L"): struct.Struct(">q"),
    ord("f"): struct.Struct(">f"),
    ord("d"): struct.Struct(">d"),
}


class Long(int):
    """An integer that is written as `l` however small it is."""


class EncodedValue(bytes):
    """A field's value in its octets, type and all, to be written as they are."""


def decode_table(data: bytes, position: int = 0) -> tuple[FieldTable, int]:
    """Decode the table at `position`; returns it and the position behind it."""
    try:
        return _table(data, position, 0)
    except (struct.error, IndexError) as error:
        raise ValueError("truncated field table") from error


def field_octets(data: bytes, position: int = 0) -> dict[str, EncodedValue]:
    """The values of the well-formed table at `position`, as they are encoded."""
    fields: dict[str, EncodedValue] = {}
    position, end = _end(data, position)
    while position < end:
        stop = position + 1 + data[position]
        name = _name(data[position + 1 : stop])
        _, position = _value(data, stop, 1)
        fields[name] = EncodedValue(data[stop:position])
    return fields


def encode_table(table: Mapping[str, object]) -> bytes:
    """Encode a table with its length; raises `ValueError` for what AMQP cannot carry."""
    if not table:
        return b"\0\0\0\0"
    encoded = b"".join(
        [encode_short_string(key) + _encode_value(value, 0) for key, value in table.items()]
    )
    return _U32.pack(len(encoded)) + encoded


def encode_short_string(text: str) -> bytes:
    """Encode a string of at most 255 bytes; `ValueError` for a longer one."""
    encoded = text.encode()
    if len(encoded) > 255:
        raise ValueError(f"short string of {len(encoded)} bytes, 255 allowed")
    return _U8.pack(len(encoded)) + encoded


def _end(data: bytes, position: int, limit: int | None = None) -> tuple[int, int]:
    """Where the content of a length-prefixed value begins and ends."""
    (length,) = _U32.unpack_from(data, position)
    position += 4
    end = position + length
    if end > (len(data) if limit is None else limit):
        raise ValueError("field length exceeds the data")
    return position, end


def _table(data: bytes, position: int, depth: int) -> tuple[FieldTable, int]:
    if depth > TABLE_DEPTH_MAX:
        raise ValueError(f"tables nest deeper than {TABLE_DEPTH_MAX}")
    position, end = _end(data, position)
    table: FieldTable = {}
    while position < end:
        stop = position + 1 + data[position]
        name = _name(data[position + 1 : stop])
        table[name], position = _value(data, stop, depth)
    if position != end:
        raise ValueError("a field runs over the end of its table")
    return table, end


def _array(data: bytes, position: int, depth: int) -> tuple[list[FieldValue], int]:
    if depth > TABLE_DEPTH_MAX:
        raise ValueError(f"arrays nest deeper than {TABLE_DEPTH_MAX}")
    position, end = _end(data, position)
    array: list[FieldValue] = []
    while position < end:
        value, position = _value(data, position, depth)
        array.append(value)
    if position != end:
        raise ValueError("an element runs over the end of its array")
    return array, end


def _value(data: bytes, position: int, depth: int) -> tuple[FieldValue, int]:
    kind = data[position]
    position += 1
    if kind == 0x53:  # S
        position, end = _end(data, position)
        return _text(data[position:end]), end
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed.unpack_from(data, position)[0], position + fixed.size
    if kind == 0x74:  # t
        return data[position] != 0, position + 1
    if kind == 0x46:  # F
        return _table(data, position, depth + 1)
    if kind == 0x41:  # A
        return _array(data, position, depth + 1)
    if kind in {0x56, 0x00}:  # V, and what some clients send for it
        return None, position
    return _rare_value(kind, data, position)


def _rare_value(kind: int, data: bytes, position: int) -> tuple[FieldValue, int]:
    if kind == 0x54:  # T
        (seconds,) = _TIMESTAMP.unpack_from(data, position)
        return timestamp_value(seconds), position + 8
    if kind == 0x44:  # D
        scale, unscaled = _DECIMAL.unpack_from(data, position)
        return Decimal(unscaled).scaleb(-scale), position + 5
    if kind == 0x78:  # x
        position, end = _end(data, position)
        return data[position:end], end
    raise ValueError(f"unknown field type {chr(kind)!r}")


def _name(raw: bytes) -> str:
    """A field's name; RabbitMQ does not ask whether it is UTF-8, and old clients do not know."""
    return raw.decode(errors="replace")


def _text(raw: bytes) -> str | bytes:
    """Long strings are octets in AMQP; nearly all of them are text."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def timestamp_value(seconds: int) -> datetime | int:
    """What a timestamp of a table is in Python."""
    return datetime.fromtimestamp(seconds, UTC) if seconds <= TIMESTAMP_MAX else seconds


def _encode_value(value: object, depth: int) -> bytes:
    if depth > TABLE_DEPTH_MAX:
        raise ValueError(f"values nest deeper than {TABLE_DEPTH_MAX}")
    encoder = _ENCODERS.get(type(value))
    if encoder is not None:
        return encoder(value)
    if value is None:
        return b"V"
    if isinstance(value, Mapping):
        parts = [
            encode_short_string(str(k)) + _encode_value(v, depth + 1) for k, v in value.items()
        ]
        return _lengthened(b"F", b"".join(parts))
    if isinstance(value, Sequence):
        return _lengthened(b"A", b"".join([_encode_value(item, depth + 1) for item in value]))
    raise ValueError(f"a field table cannot carry {type(value).__name__}")


def _lengthened(kind: bytes, encoded: bytes) -> bytes:
    return kind + _U32.pack(len(encoded)) + encoded


def _encode_text(value: str) -> bytes:
    return _lengthened(b"S", value.encode())


def _encode_integer(value: int) -> bytes:
    """`I` and `l`, which every client of RabbitMQ reads; beyond 64 bits the digits."""
    if -0x80000000 <= value <= 0x7FFFFFFF:
        return struct.pack(">ci", b"I", value)
    if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
        return struct.pack(">cq", b"l", value)
    return _encode_text(str(value))


def _encode_decimal(value: Decimal) -> bytes:
    """Where scale or digits do not fit into `D`, the digits as a string."""
    _, digits, exponent = value.as_tuple()
    try:
        if isinstance(exponent, int) and -255 <= exponent <= 20 and len(digits) <= 10:
            scale = max(0, -exponent)
            return b"D" + _DECIMAL.pack(scale, int(value.scaleb(scale)))
    except (struct.error, InvalidOperation):
        pass
    return _encode_text(str(value))


def _encode_timestamp(value: datetime) -> bytes:
    moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    seconds = int(moment.timestamp())
    return b"T" + _TIMESTAMP.pack(seconds) if seconds >= 0 else _encode_text(value.isoformat())


_ENCODERS: Final[dict[type, Callable[..., bytes]]] = {
    str: _encode_text,
    bool: lambda value: b"t\1" if value else b"t\0",
    int: _encode_integer,
    Long: lambda value: struct.pack(">cq", b"l", value),
    EncodedValue: bytes,
    float: lambda value: b"d" + struct.pack(">d", value),
    bytes: lambda value: _lengthened(b"x", value),
    bytearray: lambda value: _lengthened(b"x", bytes(value)),
    Decimal: _encode_decimal,
    datetime: _encode_timestamp,
}
