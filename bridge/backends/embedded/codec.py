"""Messages to rows and back. The body stays as it is; the rest is one MessagePack blob.

MessagePack has no decimals and no integers above 64 bits: both travel as extensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bridge.backends.embedded.entry import STORED, Content, Entry
from bridge.messaging.model import Message, Value
from bridge.storage.batch import ABSENT

if TYPE_CHECKING:
    from bridge.backends.embedded.queue import EmbeddedQueue
    from bridge.storage import EntryRow

_DECIMAL: Final = 1
_BIG_INTEGER: Final = 2
_INTEGER_MIN: Final = -(2**63)
_INTEGER_MAX: Final = 2**64 - 1
_PLAIN: Final = frozenset({str, float, bool, bytes, type(None)})

ENTRY_COLUMNS: Final = (
    "e.id, e.visible_at, e.expires_at, e.receive_count, e.return_count, e.first_received_at,"
    " e.content, e.head, coalesce(e.body, c.body)"
    " FROM entry e LEFT JOIN content c ON c.id = e.content"
)
"""What `entry_from_row` expects of a query, with the tables that it comes from."""


class _Head(msgspec.Struct, omit_defaults=True):
    """A message without its body; one letter a field, since every stored message carries them."""

    i: str
    t: int
    p: Any = {}
    h: Any = {}
    x: str | None = None
    s: str | None = None
    u: str | None = None
    r: int | None = None
    e: int | None = None
    v: int | None = None
    g: str | None = None
    d: str | None = None
    n: str | None = None
    l: str | None = None  # noqa: E741 - a letter on disk
    o: tuple[str, bytes] | None = None


def _extension_to_value(code: int, data: memoryview) -> Any:
    text = bytes(data).decode("ascii")
    return Decimal(text) if code == _DECIMAL else int(text)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Head, ext_hook=_extension_to_value).decode


def head_from_message(message: Message, sequence_number: str | None) -> bytes:
    """Everything of a message but its body, and the number that its queue gave it."""
    return _encode(
        _Head(
            message.message_id,
            message.sent_at,
            _storable(message.properties),
            _storable(message.headers),
            message.topic,
            message.subject,
            message.sender,
            message.priority,
            message.expires_at,
            message.visible_at,
            message.group_id,
            message.deduplication_id,
            sequence_number,
            message.dead_letter_source,
            message.original,
        )
    )


def _storable(values: dict[str, Value]) -> Any:
    for value in values.values():
        if type(value) not in _PLAIN:
            return {name: _storable_value(value) for name, value in values.items()}
    return values


def _storable_value(value: Value) -> Any:
    match value:
        case bool():
            return value
        case int() if not _INTEGER_MIN <= value <= _INTEGER_MAX:
            return msgspec.msgpack.Ext(_BIG_INTEGER, str(value).encode())
        case Decimal():
            return msgspec.msgpack.Ext(_DECIMAL, str(value).encode())
        case list():
            return [_storable_value(item) for item in value]
        case dict():
            return {name: _storable_value(item) for name, item in value.items()}
        case _:
            return value


def message_from_row(head: bytes, body: bytes) -> tuple[Message, str | None]:
    """The inverse of `head_from_message`."""
    stored = _decode(head)
    message = Message(
        stored.i,
        body,
        stored.t,
        stored.p,
        stored.h,
        stored.x,
        stored.s,
        stored.u,
        stored.r,
        stored.e,
        stored.v,
        stored.g,
        stored.d,
        stored.l,
        stored.o,
    )
    return message, stored.n


def row_from_entry(entry: Entry) -> EntryRow:
    """An entry as it stands at this moment."""
    message = entry.message
    visible_at, expires_at = entry.visible_at, entry.expires_at
    first_received_at, content = entry.first_received_at, entry.content
    return (
        entry.id,
        ABSENT if visible_at is None else visible_at,
        ABSENT if expires_at is None else expires_at,
        entry.receive_count,
        entry.return_count,
        ABSENT if first_received_at is None else first_received_at,
        ABSENT if content is None else content.id,
        head_from_message(message, entry.sequence_number),
        message.body if content is None else ABSENT,
    )


def entry_from_row(queue: EmbeddedQueue, row: Sequence[Any]) -> Entry:
    """A stored entry, for `queue`, from a row of `ENTRY_COLUMNS`."""
    body = row[8] or b""
    message, sequence_number = message_from_row(row[7], body)
    return Entry(
        queue=queue,
        message=message,
        receive_count=row[3],
        return_count=row[4],
        first_received_at=row[5],
        sequence_number=sequence_number,
        id=row[0],
        status=STORED,
        content=None if row[6] is None else Content(row[6], body),
        counted=row[3],
        expires_at=row[2],
        visible_at=row[1],
    )
