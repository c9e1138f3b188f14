"""The log of the shared state: one item for each version, written once and never changed.

Writing item N + 1, on the condition that there is none, is the commit: of two nodes that try, one
wins and the other reads first what the winner wrote. Every node applies the items in order, so all
of them go through the same versions. What the log says is carried over into the entries of the
table now and then, in one transaction with the version up to which that is done (the checkpoint);
log items that are behind it, and that every node has applied, are deleted. A node that starts reads
checkpoint, entries and log, in this order, and has missed nothing.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

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
CHECKPOINT_BYTES_MAX: Final = 3 * 1024 * 1024
"""DynamoDB takes 4 MB for a transaction."""

_VERSION_DIGITS: Final = 20
_CHECKPOINT_KEY: Final = "state"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, str, bytes | None]]).decode


class LogEntry(NamedTuple):
    """One version: who wrote it (a name that no other process ever has), as which of its writes.
    `awaited`: somebody is answered once every node has it, and may do more of the kind.
    """

    version: int
    writer: str
    number: int
    changes: list[StateChange]
    awaited: bool


def size_of(change: StateChange) -> int:
    """What a change takes in a log item, about."""
    return (
        16
        + len(change.kind)
        + len(change.key.encode("utf-8", "surrogatepass"))
        + len(change.value or b"")
    )


class ChangeLog:
    """Coroutines over single calls. They raise `AwsError`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def append(self, entry: LogEntry) -> bool:
        """Write an entry; False where its version is taken."""
        item = {
            **item_key(KIND_LOG, _key(entry.version)),
            "writer": {"S": entry.writer},
            "number": {"N": str(entry.number)},
            "changes": {"B": b64encode(_encode(entry.changes)).decode()},
            "awaited": {"BOOL": entry.awaited},
        }
        return await self._table.put(item, "attribute_not_exists(kind)")

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


def _entry(item: dict[str, Any]) -> LogEntry:
    changes: Sequence[tuple[str, str, bytes | None]] = _decode(b64decode(item["changes"]["B"]))
    return LogEntry(
        int(item["key"]["S"]),
        item["writer"]["S"],
        int(item["number"]["N"]),
        [StateChange(*each) for each in changes],
        item["awaited"]["BOOL"],
    )
