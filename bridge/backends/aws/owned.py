"""The owned kinds of the state: written straight to their items, each on the version seen last.

Nobody follows them, so they cost one write and nothing else. A node that is no longer the owner
finds other versions than it knows, and is refused.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from bridge.backends.aws.entries import Entries, Write
from bridge.backends.aws.lanes import Lane, Numbered
from bridge.backends.aws.node import Node
from bridge.backends.aws.table import (
    StoredItem,
    Table,
    item_from_change,
    item_key,
    numbers,
    stored_key,
)
from bridge.messaging.errors import StateConflict
from bridge.messaging.model import StateChange


class OwnedLane(Lane):
    """See the head of this file."""

    def __init__(self, node: Node, entries: Entries, table: Table) -> None:
        super().__init__(node, entries)
        self._table = table

    def load(self, item: StoredItem) -> None:
        """Take an item as the table has it; what is still to be written stays for readers."""
        entry = self._entries.get(item.kind, item.key)
        entry.stored, entry.version = item.value, item.version
        if not entry.pending:
            entry.value = item.value

    async def refresh(self, kind: str, prefix: str) -> None:
        """Read entries anew. Raises `AwsError`."""
        found = await self._table.entries(kind, stored_key(prefix) if prefix else "")
        present = {item.key for item in found}
        for key, entry in list(self._entries.of(kind).items()):
            if key.startswith(prefix) and key not in present:
                entry.stored, entry.version = None, 0
                if not entry.pending:
                    entry.value = None
                    self._entries.tidy(kind, key)
        for item in found:
            self.load(item)

    async def _store(self, group: list[Write]) -> None:
        while changes := self._outstanding(group):
            if await self._transact(changes):
                self._settle(changes)
            elif len(group) > 1:
                # One of them is at fault: let each speak for itself.
                for write in group:
                    await self._store([write])
            elif not await self._landed(group[0]):
                error = "the entry belongs to another node now; the change was not made"
                self._answer(group[0], StateConflict(error))

    def _settle(self, changes: list[Numbered]) -> None:
        for change, number in changes:
            entry = self._entries.get(change.kind, change.key)
            entry.version = 0 if change.value is None else entry.version + 1
            self._entries.settle(change, number)

    async def _landed(self, write: Write) -> bool:
        """After a lost race, read what the winner wrote: it may have been this node itself, when
        the answer to its first try got lost.
        """
        own = True
        for change, number in write.changes:
            found = await self._table.get(change.kind, stored_key(change.key))
            entry = self._entries.get(change.kind, change.key)
            entry.stored = b64decode(found["value"]["B"]) if found else None
            entry.version = int(found["version"]["N"]) if found else 0
            if entry.stored != change.value:
                own = False
            else:
                self._entries.settle(change, number)
        return own

    async def _transact(self, changes: list[Numbered]) -> bool:
        """Write changes on the versions that are known; False where one of them is another."""
        requests = [self._request(change) for change, _ in changes]
        if len(requests) > 1:
            return await self._table.transact(requests)
        change, _ = changes[0]
        version = self._entries.get(change.kind, change.key).version
        condition = "version = :seen" if version else "attribute_not_exists(version)"
        values = {"seen": version} if version else {}
        if change.value is None:
            key = stored_key(change.key)
            return await self._table.delete(change.kind, key, condition, **values)
        return await self._table.put(self._item(change, change.value), condition, **values)

    def _request(self, change: StateChange) -> dict[str, Any]:
        version = self._entries.get(change.kind, change.key).version
        request: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(version)"}
        if version:
            request = {
                "ConditionExpression": "version = :seen",
                "ExpressionAttributeValues": numbers({"seen": version}),
            }
        if change.value is None:
            return {"Delete": {**request, "Key": item_key(change.kind, stored_key(change.key))}}
        return {"Put": {**request, "Item": self._item(change, change.value)}}

    def _item(self, change: StateChange, value: bytes) -> dict[str, Any]:
        version = self._entries.get(change.kind, change.key).version
        return {**item_from_change(change, value), "version": {"N": str(version + 1)}}
