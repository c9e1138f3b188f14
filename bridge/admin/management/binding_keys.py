"""`properties_key`: how RabbitMQ tells bindings of the same two ends apart.

That is the routing key, and for a binding with arguments a hash of them besides, as Erlang has
them. Integers are taken for those of 32 bits where they fit, as most clients write them.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote_plus

import msgspec

from bridge.admin.management.erlang_hash import Atom, phash2

_SHORT_INTEGERS: Final = range(-(1 << 31), 1 << 31)
_HASH_BYTES: Final = 4
_REMEMBERED_MAX: Final = 16_384


def properties_key(key: str, arguments: Mapping[str, Any]) -> str:
    """The key of one binding."""
    quoted = quote_plus(key).replace("~", "%7E")
    if not arguments:
        return quoted or "~"
    return f"{quoted}~{_digest(msgspec.msgpack.encode(arguments, order='sorted'))}"


@lru_cache(_REMEMBERED_MAX)
def _digest(packed: bytes) -> str:
    """The hash of arguments, remembered since whoever polls asks for all of them each time."""
    digest = phash2(_table(msgspec.msgpack.decode(packed))).to_bytes(_HASH_BYTES)
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _table(table: Mapping[str, Any]) -> list[Any]:
    """A field table as RabbitMQ holds it, by name."""
    return [(_octets(name), *_field(table[name])) for name in sorted(table)]


def _field(value: Any) -> tuple[Atom, Any]:
    """Type and value."""
    match value:
        case bool():
            return Atom("bool"), Atom("true" if value else "false")
        case int() if value in _SHORT_INTEGERS:
            return Atom("signedint"), value
        case int():
            return Atom("long"), value
        case float():
            return Atom("double"), value
        case bytes():
            return Atom("binary"), value
        case datetime():
            return Atom("timestamp"), int(value.timestamp())
        case list():
            return Atom("array"), [_field(each) for each in value]
        case dict():
            return Atom("table"), _table(value)
        case None:
            return Atom("void"), Atom("undefined")
    return Atom("longstr"), _octets(str(value))


def _octets(text: str) -> bytes:
    return text.encode(errors="replace")
