"""What one commit holds, and the batch that the writer gets of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bridge.backends.embedded.codec import row_from_entry
from bridge.backends.embedded.entry import GONE, Content, Entry
from bridge.storage import WriteBatch
from bridge.storage.batch import Answer, ContentRow, DeduplicationRow, QueueRow, ReceiveRow

if TYPE_CHECKING:
    from bridge.messaging.model import StateChange, UnitOfWork

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**63 - 1


class Commit:
    """Collected on the event loop's thread until it is handed over; then it waits for its answer.

    `elided` are new entries that were settled together with something that must be durable first,
    so their publishers wait for this commit. `joined` are the settles that fail with their unit:
    the entry, its status before, the unit.
    """

    __slots__ = (
        "deduplications",
        "deletes",
        "elided",
        "entries",
        "forgotten",
        "joined",
        "purges",
        "queue_deletes",
        "queues",
        "receives",
        "state",
        "units",
    )

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.elided: list[Entry] = []
        self.joined: list[tuple[Entry, int, UnitOfWork]] = []
        self.deletes: list[Entry] = []
        self.receives: dict[int, Entry] = {}
        self.units: list[UnitOfWork] = []
        self.state: list[StateChange] = []
        self.queues: dict[int, QueueRow] = {}
        self.queue_deletes: list[int] = []
        self.purges: list[tuple[int, int]] = []
        self.deduplications: list[DeduplicationRow] = []
        self.forgotten: list[int] = []

    def holds_anything(self) -> bool:
        """True if something other than new entries has to be written or answered."""
        return bool(
            self.deletes
            or self.receives
            or self.units
            or self.elided
            or self.state
            or self.queues
            or self.queue_deletes
            or self.purges
            or self.deduplications
            or self.forgotten
        )

    def batch(self, written: Answer, synced: Answer, now_ms: int) -> WriteBatch:
        """The batch; entries are encoded by whoever writes it."""
        batch = WriteBatch(written, synced)
        batch.entries = map(row_from_entry, self.entries)
        batch.contents = _contents_of(self.entries)
        batch.deletes = [entry.id for entry in self.deletes]
        batch.released = [entry.content.id for entry in self.deletes if entry.content is not None]
        batch.receives = [
            _receive_row(entry) for entry in self.receives.values() if entry.status != GONE
        ]
        batch.state = list(self.state)
        batch.queues = list(self.queues.values())
        batch.queue_deletes = self.queue_deletes
        batch.purges = self.purges
        batch.deduplications = self.deduplications
        batch.deduplications_ended_at = now_ms
        batch.forgotten_deduplications = self.forgotten
        batch.forced = bool(self.entries or self.units or self.queue_deletes)
        return batch

    def waiting(self) -> dict[int, UnitOfWork]:
        """Every unit that waits for this commit, by its identity."""
        units = {id(unit): unit for unit in self.units}
        for entry in self.entries + self.elided:
            if entry.unit is not None:
                units[id(entry.unit)] = entry.unit
        return units

    def unstorable(self) -> dict[int, UnitOfWork]:
        """The units that hold something which no store could write, by their identity."""
        found = {
            id(entry.unit): entry.unit
            for entry in self.entries
            if entry.unit is not None and not _entry_is_storable(entry)
        }
        for unit in self.units:
            if not all(map(_change_is_storable, unit.state)):
                found[id(unit)] = unit
        return found


def _entry_is_storable(entry: Entry) -> bool:
    try:
        row = row_from_entry(entry)
    except Exception:  # noqa: BLE001 - whatever the encoder says, it cannot be written
        return False
    _, visible_at, expires_at, *_ = row
    return all(INTEGER_MIN <= value <= INTEGER_MAX for value in (visible_at, expires_at))


def _change_is_storable(change: StateChange) -> bool:
    try:
        change.kind.encode()
        change.key.encode()
    except UnicodeError:
        return False
    return True


def _contents_of(entries: Iterable[Entry]) -> list[ContentRow]:
    """The shared bodies among `entries`, with the number of copies."""
    shared: dict[int, tuple[Content, int]] = {}
    for entry in entries:
        content = entry.content
        if content is not None:
            known = shared.get(content.id)
            shared[content.id] = (content, 1 if known is None else known[1] + 1)
    return [ContentRow(content.id, content.body, copies) for content, copies in shared.values()]


def _receive_row(entry: Entry) -> ReceiveRow:
    entry.counted = entry.receive_count
    return ReceiveRow(
        entry.visible_at,
        entry.receive_count,
        entry.return_count,
        entry.first_received_at,
        entry.id,
    )
