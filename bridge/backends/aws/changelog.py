"""The log of the shared state: one item for each version, written once and never changed.

Writing item N + 1, on the condition that there is none, is the commit: of two nodes that try, one
wins and the other reads first what the winner wrote. Every node applies the items in order, so all
of them go through the same versions. A write that one item cannot hold is several, in one
transaction, and applied as one. What the log says is carried over into the entries of the table now
and then, in one transaction with the version up to which that is done (the checkpoint); log items
that are behind it, and that every node has applied, are deleted. A node that starts reads
checkpoint, entries and log, in this order, and has missed nothing.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.table import (
    TRANSACTION_ITEMS_MAX,
    Table,
    item_from_change,
    item_key,
    numbers,
    stored_key,
)
from bridge.messaging.model import StateChange

KIND_LOG: Final = "#log"
KIND_CHECKPOINT: Final = "#checkpoint"
ENTRY_BYTES_MAX: Final = 390 * 1024
"""Keys and values of one log item; DynamoDB takes 400 KiB for an item."""
ENTRY_CHANGES_MAX: Final = TRANSACTION_ITEMS_MAX - 1
"""Changes of one log item: it is carried over in one transaction, with the checkpoint."""
CHECKPOINT_BYTES_MAX: Final = 3 * 1024 * 1024
"""DynamoDB takes 4 MB for a transaction."""
UNIT_BYTES_MAX: Final = CHECKPOINT_BYTES_MAX
"""Of a unit of work that is written in one transaction; a larger one is several."""
UNIT_CHANGES_MAX: Final = 7_000
"""The same in changes, so that it has fewer items than a transaction takes."""

_VERSION_DIGITS: Final = 20
_CHECKPOINT_KEY: Final = "state"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, str, bytes | None]]).decode


class LogEntry(NamedTuple):
    """One version: who wrote it (a name that no other process ever has), as which of its writes.
    `awaited`: somebody is answered once every node has it, and may do more of the kind. `rest`: how
    many more entries belong to the same write.
    """

    version: int
    writer: str
    number: int
    changes: list[StateChange]
    awaited: bool
    rest: int = 0


class LogShortened(AwsError):
    """Entries are gone that were still to be read."""

    def __init__(self) -> None:
        super().__init__("Query", 0, "", "the log was shortened while it was read")


def size_of(change: StateChange) -> int:
    """What a change takes in a log item, about."""
    return (
        16
        + len(change.kind)
        + len(change.key.encode("utf-8", "surrogatepass"))
        + len(change.value or b"")
    )


def entries_from(changes: Sequence[StateChange], first: LogEntry) -> list[LogEntry]:
    """The entries that hold the changes of one write; `first` says all else of them."""
    parts: list[list[StateChange]] = []
    size = 0
    for change in changes:
        size += size_of(change)
        if not parts or len(parts[-1]) == ENTRY_CHANGES_MAX or size > ENTRY_BYTES_MAX:
            parts.append([])
            size = size_of(change)
        parts[-1].append(change)
    return [
        first._replace(version=first.version + place, changes=part, rest=len(parts) - 1 - place)
        for place, part in enumerate(parts)
    ]


def whole_writes(entries: Sequence[LogEntry]) -> Iterator[Sequence[LogEntry]]:
    """The entries of one write after the other. One that is not to be seen as a whole yet is left
    for later, with all behind it: a read may see a part of a transaction.
    """
    start = 0
    while start < len(entries):
        first = entries[start]
        write = entries[start : start + first.rest + 1]
        if write[-1].version != first.version + first.rest:
            return
        yield write
        start += len(write)


class ChangeLog:
    """Coroutines over single calls. They raise `AwsError`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def append(self, entries: Sequence[LogEntry]) -> bool:
        """Write the entries of one write; False where one of their versions is taken."""
        condition = "attribute_not_exists(kind)"
        if len(entries) == 1:
            return await self._table.put(_item(entries[0]), condition)
        return await self._table.transact(
            [{"Put": {"Item": _item(each), "ConditionExpression": condition}} for each in entries]
        )

    async def after(self, version: int) -> list[LogEntry]:
        """The entries behind `version`, in order."""
        return [_entry(item) for item in await self._table.after(KIND_LOG, _key(version))]

    async def checkpoint(self) -> int:
        """The version up to which the table's entries have everything; 0 at first."""
        item = await self._table.get(KIND_CHECKPOINT, _CHECKPOINT_KEY)
        return 0 if item is None else int(item["version"]["N"])

    async def advance(self, checkpoint: int, entries: Iterable[LogEntry]) -> int:
        """Carry as many entries over as one transaction takes; returns the new checkpoint.

        `entries` are those right behind `checkpoint`, in order. Where another node was at it, the
        checkpoint stays; where that node is, is for the next try to see.
        """
        latest: dict[tuple[str, str], StateChange] = {}
        version, size = checkpoint, 0
        for entry in entries:
            added = {(each.kind, stored_key(each.key)): each for each in entry.changes}
            size += sum(map(size_of, entry.changes))
            full = len(latest.keys() | added.keys()) >= TRANSACTION_ITEMS_MAX
            if entry.version != version + 1 or (
                version > checkpoint and (full or size > CHECKPOINT_BYTES_MAX)
            ):
                break
            latest |= added
            version = entry.version
        if version == checkpoint:
            return checkpoint
        done = await self._table.transact(
            [_advance(checkpoint, version), *map(_carry_over, latest.values())]
        )
        return version if done else checkpoint

    async def trim(self, version: int) -> None:
        """Delete the entries up to `version`."""
        versions = [
            item["key"]["S"]
            async for item in self._table.query(KIND_LOG, "#k <= :p", _key(version))
        ]
        await self._table.delete_all(KIND_LOG, versions)


def _advance(old: int, new: int) -> dict[str, Any]:
    condition = "version = :old" if old else "attribute_not_exists(version)"
    values = {"new": new, "old": old} if old else {"new": new}
    return {
        "Update": {
            "Key": item_key(KIND_CHECKPOINT, _CHECKPOINT_KEY),
            "UpdateExpression": "SET version = :new",
            "ConditionExpression": condition,
            "ExpressionAttributeValues": numbers(values),
        }
    }


def _carry_over(change: StateChange) -> dict[str, Any]:
    if change.value is None:
        return {"Delete": {"Key": item_key(change.kind, stored_key(change.key))}}
    return {"Put": {"Item": item_from_change(change, change.value)}}


def _key(version: int) -> str:
    return f"{version:0{_VERSION_DIGITS}d}"


def _item(entry: LogEntry) -> dict[str, Any]:
    item = {
        **item_key(KIND_LOG, _key(entry.version)),
        "writer": {"S": entry.writer},
        "number": {"N": str(entry.number)},
        "changes": {"B": b64encode(_encode(entry.changes)).decode()},
        "awaited": {"BOOL": entry.awaited},
    }
    if entry.rest:
        item["rest"] = {"N": str(entry.rest)}
    return item


def _entry(item: dict[str, Any]) -> LogEntry:
    changes: Sequence[tuple[str, str, bytes | None]] = _decode(b64decode(item["changes"]["B"]))
    return LogEntry(
        int(item["key"]["S"]),
        item["writer"]["S"],
        int(item["number"]["N"]),
        [StateChange(*each) for each in changes],
        item["awaited"]["BOOL"],
        int(item["rest"]["N"]) if "rest" in item else 0,
    )
