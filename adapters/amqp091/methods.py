"""All methods of AMQP 0-9-1 and RabbitMQ's additions, decoded and encoded field by field.

The fields and their order come from pamqp's generated specification; the values are read and
written here, in one pass without copies, because pamqp's own marshalling refuses names that Rabbit
takes (`a*b`, more than 127 bytes). The frequent methods are decoded in `codec` instead.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from pamqp import commands
from pamqp.base import Frame

from adapters.amqp091.errors import cannot_decode, command_invalid, malformed_utf8, unknown_frame
from adapters.amqp091.tables import decode_table, encode_short_string, encode_table

FRAME_METHOD: Final = 1
FRAME_HEADER: Final = 2
FRAME_BODY: Final = 3
FRAME_HEARTBEAT: Final = 8
FRAME_END: Final = 0xCE
HEARTBEAT: Final = b"\x08\0\0\0\0\0\0\xce"
PROTOCOL_HEADER: Final = b"AMQP\0\0\x09\x01"
PROTOCOL_HEADER_0_9: Final = b"AMQP\x01\x01\0\x09"
"""That of AMQP 0-9, as py-amqp 1 and its age send it: what follows is the same as in 0-9-1."""

FRAME_HEAD: Final = struct.Struct(">BHI")
METHOD_HEAD: Final = struct.Struct(">BHII")
INDEX: Final = struct.Struct(">I")

_WORD: Final = {
    "octet": struct.Struct(">B"),
    "short": struct.Struct(">H"),
    "long": struct.Struct(">I"),
    "longlong": struct.Struct(">Q"),
}


class Method(NamedTuple):
    """A decoded method: its number (class << 16 | method), name and fields."""

    number: int
    name: str
    fields: dict[str, Any]


class Specification(NamedTuple):
    """What pamqp knows of one method; fields are (name, type) in wire order."""

    number: int
    name: str
    fields: tuple[tuple[str, str], ...]


def _specifications() -> dict[int, Specification]:
    known: dict[int, Specification] = {}
    for number, command in commands.INDEX_MAPPING.items():
        assert issubclass(command, Frame)
        fields = tuple((name, command.amqp_type(name)) for name in command.attributes())
        known[number] = Specification(number, command.name, fields)
    # The class `access` of AMQP 0-8, which RabbitMQ still answers for old clients.
    bits = ("exclusive", "passive", "active", "write", "read")
    request = (("realm", "shortstr"), *((bit, "bit") for bit in bits))
    known[0x001E000A] = Specification(0x001E000A, "Access.Request", request)
    known[0x001E000B] = Specification(0x001E000B, "Access.RequestOk", (("ticket", "short"),))
    return known


SPECIFICATIONS: Final = _specifications()
NUMBER_OF: Final = {method.name: method.number for method in SPECIFICATIONS.values()}


def name_of(index: int) -> str:
    """`queue.declare`, as RabbitMQ writes it in its error texts."""
    specification = SPECIFICATIONS.get(index)
    if specification is None:
        return f"{index >> 16}.{index & 0xFFFF}"
    class_name, _, method_name = specification.name.partition(".")
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in method_name).lstrip("_")
    return f"{class_name.lower()}.{words}"


def decode_method(payload: bytes) -> Method:
    """Decode a method frame's payload; every octet of it must belong to a field."""
    if len(payload) < 4:
        raise unknown_frame(FRAME_METHOD, payload)
    (index,) = INDEX.unpack_from(payload)
    specification = SPECIFICATIONS.get(index)
    if specification is None:
        raise command_invalid(f"unknown method {index >> 16}.{index & 0xFFFF}", index)
    try:
        fields, position = _decode_fields(specification.fields, payload)
    except UnicodeDecodeError:
        raise malformed_utf8() from None
    except (struct.error, IndexError, ValueError) as error:
        raise cannot_decode(payload[4:], f"{name_of(index)}: {error}", index) from error
    if position != len(payload):
        problem = f"{name_of(index)} has {len(payload)} octets, {position} expected"
        raise cannot_decode(payload[4:], problem, index)
    return Method(index, specification.name, fields)


def _decode_fields(
    specified: tuple[tuple[str, str], ...], payload: bytes
) -> tuple[dict[str, Any], int]:
    fields: dict[str, Any] = {}
    position, bit = 4, 0
    for name, kind in specified:
        if kind == "bit":
            # Up to eight neighbouring bits share an octet, the first one lowest.
            fields[name] = payload[position] >> bit & 1 == 1
            bit += 1
            continue
        if bit:
            position, bit = position + 1, 0
        fields[name], position = _DECODERS[kind](payload, position)
    return fields, position + (bit > 0)


def _decode_word(kind: str) -> Callable[[bytes, int], tuple[int, int]]:
    word = _WORD[kind]
    return lambda payload, position: (word.unpack_from(payload, position)[0], position + word.size)


def _decode_short_string(payload: bytes, position: int) -> tuple[str, int]:
    start = position + 1
    end = start + payload[position]
    if end > len(payload):
        raise ValueError("short string exceeds the frame")
    return payload[start:end].decode(), end


def _decode_long_string(payload: bytes, position: int) -> tuple[bytes, int]:
    start = position + 4
    end = start + INDEX.unpack_from(payload, position)[0]
    if end > len(payload):
        raise ValueError("long string exceeds the frame")
    return payload[start:end], end


_DECODERS: Final[dict[str, Callable[[bytes, int], tuple[Any, int]]]] = {
    "octet": _decode_word("octet"),
    "short": _decode_word("short"),
    "long": _decode_word("long"),
    "longlong": _decode_word("longlong"),
    "shortstr": _decode_short_string,
    "longstr": _decode_long_string,
    "table": decode_table,
}


def encode_method(channel: int, name: str, fields: Mapping[str, Any] | None = None) -> bytes:
    """Encode a whole method frame; absent fields are zero or empty.

    Raises `ValueError` for a string that is too long.
    """
    specification = SPECIFICATIONS[NUMBER_OF[name]]
    given = fields or {}
    parts: list[bytes] = []
    bits = position = 0
    for field, kind in specification.fields:
        value = given.get(field)
        if kind == "bit":
            bits |= (1 if value else 0) << position
            position += 1
            continue
        if position:
            parts.append(bytes((bits,)))
            bits = position = 0
        parts.append(_encode_field(kind, value))
    if position:
        parts.append(bytes((bits,)))
    arguments = b"".join(parts)
    head = METHOD_HEAD.pack(FRAME_METHOD, channel, len(arguments) + 4, specification.number)
    return head + arguments + b"\xce"


def _encode_field(kind: str, value: Any) -> bytes:
    if kind == "shortstr":
        return encode_short_string(value or "")
    if kind == "longstr":
        raw = value.encode() if isinstance(value, str) else bytes(value or b"")
        return INDEX.pack(len(raw)) + raw
    if kind == "table":
        return encode_table(value or {})
    return _WORD[kind].pack(value or 0)


def truncate_short_string(text: str) -> str:
    """Cut a text to the 255 bytes of a short string, at a character."""
    return text.encode()[:255].decode(errors="ignore")
