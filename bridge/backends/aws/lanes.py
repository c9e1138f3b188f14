"""Writes that wait go together: one group at a time, in the order of their submission."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Final

from bridge.backends.aws.changelog import ENTRY_BYTES_MAX, size_of
from bridge.backends.aws.entries import Entries, Write
from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.node import Node
from bridge.backends.aws.table import TRANSACTION_ITEMS_MAX
from bridge.messaging.errors import MessagingError, StoreUnavailable
from bridge.messaging.model import StateChange

CHANGES_MAX: Final = TRANSACTION_ITEMS_MAX - 1
"""Changes of one group; one item of a transaction is for the checkpoint."""

Numbered = tuple[StateChange, int]


class Lane(ABC):
    """See the head of this file. A lane has its kinds to itself."""

    changes_max = CHANGES_MAX
    """Of what is written at once."""
    bytes_max = ENTRY_BYTES_MAX

    def __init__(self, node: Node, entries: Entries) -> None:
        self._node = node
        self._entries = entries
        self._waiting: list[Write] = []
        self._writing = False

    async def write(self, write: Write) -> None:
        """Return once `write` is stored. Raises the error that refused it.

        Who stops waiting does not take it back: it is stored, or refused, all the same.
        """
        self._waiting.append(write)
        if not self._writing:
            self._writing = True
            self._node.tasks.spawn(self._write_waiting())
        error = await asyncio.shield(write.done)
        if error is not None:
            raise error

    async def _write_waiting(self) -> None:
        group: list[Write] = []
        try:
            while self._waiting:
                group = self._take_group()
                await self._write_group(group)
        finally:
            self._writing = False
            for write in [*group, *self._waiting]:
                self._answer(write, StoreUnavailable("the broker stops"))
            self._waiting = []

    def _take_group(self) -> list[Write]:
        """As many waiting writes, in order, as go together; at least one."""
        count, items, size = 0, 0, 0
        for write in self._waiting:
            items += len(write.changes)
            size += sum(size_of(change) for change, _ in write.changes)
            if count and (items > CHANGES_MAX or size > ENTRY_BYTES_MAX):
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _write_group(self, group: list[Write]) -> None:
        error: MessagingError | None = None
        try:
            await self._store(group)
        except AwsError as refused:
            error = messaging_error_from(refused)
        except MessagingError as refused:
            error = refused
        for write in group:
            self._answer(write, error)

    @abstractmethod
    async def _store(self, group: list[Write]) -> None:
        """Store the writes of `group`, or answer some of them with an error and store the others.

        Raises `AwsError` or `MessagingError` for all that it has not answered.
        """

    def _answer(self, write: Write, error: MessagingError | None) -> None:
        if write.done.done():
            return
        if error is not None:
            self._entries.revert(write.changes)
        write.done.set_result(error)

    def _outstanding(self, group: list[Write]) -> list[Numbered]:
        """The latest change of each key that is neither stored nor refused yet, as many as go
        together.
        """
        latest: dict[tuple[str, str], Numbered] = {}
        for write in group:
            if write.done.done():
                continue
            for change, number in write.changes:
                entry = self._entries.find(change.kind, change.key)
                if entry is not None and entry.waiting and number in entry.waiting:
                    latest[change.kind, change.key] = (change, number)
        chosen: list[Numbered] = []
        size = 0
        for change, number in latest.values():
            size += size_of(change)
            if chosen and (len(chosen) == self.changes_max or size > self.bytes_max):
                break
            chosen.append((change, number))
        return chosen
