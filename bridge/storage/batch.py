"""What one commit writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

Answer: TypeAlias = Callable[[Exception | None], object]

ABSENT: Final = -(2**63)
"""Stands for NULL in entries to be written: None takes `sqlite3` eight times what an integer does,
and an entry has four of them as a rule.
"""
EntryRow: TypeAlias = tuple[int, int, int, int, int, int, int, bytes, bytes | int]
"""Of table `entry`: id, visible_at, expires_at, receive_count, return_count, first_received_at,
content, head, body; times are epoch milliseconds. Without a body, it stands in `content`.
"""


class ReceiveRow(NamedTuple):
    """What receiving changed of an entry."""

    visible_at: int | None
    receive_count: int
    return_count: int
    first_received_at: int | None
    id: int


class ContentRow(NamedTuple):
    """A shared body and how many entries of this commit point to it."""

    id: int
    body: bytes
    copies: int


class DeduplicationRow(NamedTuple):
    """An id that a first-in-first-out queue has accepted."""

    queue: int
    key: str
    message_id: str
    sequence_number: str
    expires_at: int


class QueueRow(NamedTuple):
    """A row of table `queue`."""

    id: int
    namespace: str
    name: str
    record: bytes


class WriteBatch:
    """One commit: all of it is stored together, or nothing.

    `entries` may be a lazy iterable: the writer thread runs through it once, so encoding happens
    there. Deletes name entries that are stored by the time this batch runs; `released` names the
    contents that lose one copy for each time they stand in it.

    `written` is called on the writer's thread: with None once queries see the batch, with the error
    if nothing of it was written; `Unstorable` where a value of the batch is to blame, not the disk.
    What was written is `synced` afterwards, in the order of the commits, on some thread of the
    store: with None once it is as durable as it is to be, with the error where that is unknown.

    `follows` says that an earlier batch had not been `written` when this one was submitted, and may
    be what this one builds upon: if that one is refused, this one is refused with it.
    """

    __slots__ = (
        "contents",
        "deduplications",
        "deduplications_ended_at",
        "deletes",
        "entries",
        "follows",
        "forced",
        "forgotten_deduplications",
        "purges",
        "queue_deletes",
        "queues",
        "receives",
        "released",
        "state",
        "synced",
        "written",
    )

    def __init__(self, written: Answer, synced: Answer) -> None:
        self.entries: Iterable[EntryRow] = ()
        self.contents: list[ContentRow] = []
        self.deletes: list[int] = []
        self.released: list[int] = []
        self.receives: list[ReceiveRow] = []
        self.queues: Iterable[QueueRow] = ()
        self.queue_deletes: list[int] = []
        self.purges: list[tuple[int, int]] = []
        self.deduplications: list[DeduplicationRow] = []
        self.deduplications_ended_at = 0
        """Epoch ms: deduplication ids whose window has ended by then may go."""
        self.forgotten_deduplications: list[int] = []
        self.state: Sequence[tuple[str, str, bytes | None]] = ()
        self.forced = True
        """Whether somebody waits for the sync."""
        self.follows = False
        self.written = written
        self.synced = synced
