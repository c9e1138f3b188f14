"""The shared kinds of the state: written through the log, and followed from there.

A write that finds its version taken first applies what the others wrote, then decides: where it has
to be agreed and one of its keys changed, it is refused with `StateConflict`, unless it says the
same; any other change is made on top, so that the last one stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from bridge.backends.aws.changelog import (
    UNIT_BYTES_MAX,
    UNIT_CHANGES_MAX,
    ChangeLog,
    LogEntry,
    LogShortened,
    entries_from,
    whole_writes,
)
from bridge.backends.aws.entries import Entries, Write
from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.lanes import Lane, Numbered
from bridge.backends.aws.membership import Membership
from bridge.backends.aws.node import Node
from bridge.messaging.clock import MessageIds
from bridge.messaging.errors import StateConflict, StoreUnavailable
from bridge.messaging.model import StateChange

LOST: Final = "this node has lost its lease on the state table"


class SharedLane(Lane):
    """Writes and follows. `applied` is the version that readers of this node see."""

    changes_max = UNIT_CHANGES_MAX
    bytes_max = UNIT_BYTES_MAX

    def __init__(
        self, node: Node, entries: Entries, log: ChangeLog, membership: Membership
    ) -> None:
        super().__init__(node, entries)
        self._log = log
        self._membership = membership
        self._writer = MessageIds().next()
        self._number = 0
        self._under_way: dict[int, list[Numbered]] = {}
        self._following = asyncio.Lock()
        self._awaited_at = 0.0
        self._opened = False
        self.applied = 0

    # -- writing

    async def _store(self, group: list[Write]) -> None:
        service = self._node.dynamodb
        backoff, deadline = service.backoff(), self._node.control_deadline(service)
        while True:
            self._refuse_conflicts(group)
            changes = self._outstanding(group)
            if not changes:
                break
            before = self.applied
            await self._append(changes, awaited=any(write.awaited for write in group))
            if self.applied == before:
                # Neither written nor overtaken: somebody else's transaction is at it.
                if self._node.clock.monotonic() >= deadline:
                    raise AwsError("TransactWriteItems", 0, "", "the log takes no new entry")
                await asyncio.sleep(backoff.next_seconds())
        for write in group:
            write.version = self.applied

    async def _append(self, changes: list[Numbered], *, awaited: bool) -> None:
        """Write the next version, or apply the one that another node has written meanwhile."""
        if not self._membership.held:
            raise StoreUnavailable(LOST)
        self._number += 1
        number, version = self._number, self.applied + 1
        self._under_way[number] = changes
        stated = [change for change, _ in changes]
        first = LogEntry(version, self._writer, number, [], awaited)
        entries = entries_from(stated, first)
        try:
            written = await self._log.append(entries)
            if not self._membership.held:
                # The others may have gone on without this node and deleted that version already.
                raise StoreUnavailable(LOST)
            if written:
                self._apply(entries)
            else:
                # It may be this very entry: the answer to an earlier try got lost.
                await self.catch_up()
        finally:
            self._under_way.pop(number, None)

    def _refuse_conflicts(self, group: list[Write]) -> None:
        for write in group:
            if not write.agreed or write.done.done():
                continue
            for change, number in write.changes:
                entry = self._entries.find(change.kind, change.key)
                if entry is None or not entry.waiting or number not in entry.waiting:
                    continue
                if entry.elsewhere <= entry.base:
                    continue
                if entry.stored == change.value:
                    # Said once more below: the next one to be first may say something else.
                    continue
                self._entries.tell(self._entries.revert(write.changes))
                error = f"{change.kind} {change.key!r} was changed at another node first"
                self._answer(write, StateConflict(error))
                break

    # -- following

    async def follow(self) -> None:
        """Apply what other nodes write, soon after they did; until cancelled."""
        limits, clock = self._node.limits, self._node.clock

        def pause_seconds() -> float:
            # A client that declares its topology waits for every node with each step.
            lately = clock.monotonic() - self._awaited_at < limits.follow_closely_seconds_max
            return limits.follow_closely_seconds if lately else limits.follow_seconds

        async def turn() -> None:
            # Where it fails, and goes on to fail, the node's lease ends.
            if self._membership.held:
                await self.catch_up()

        await self._node.repeat("the state's log was not followed", pause_seconds, turn)

    async def catch_up(self) -> None:
        """Apply all that was written before this was called. Raises `AwsError`."""
        async with self._following:
            awaited = False
            for write in whole_writes(await self._log.after(self.applied)):
                if write[0].version > self.applied + 1:
                    if await self._log.checkpoint() > self.applied:
                        # The others went on without this node, and shortened the log.
                        self._membership.lapse()
                    # Or what is missing is part of a transaction, and not to be seen yet.
                    break
                self._apply(write)
                awaited = awaited or write[0].awaited
            if awaited:
                self._awaited_at = self._node.clock.monotonic()
                self._membership.report()

    def _apply(self, write: Sequence[LogEntry]) -> None:
        """Apply one write as a whole."""
        first, version = write[0], write[-1].version
        if first.version != self.applied + 1:
            return
        self.applied = self._membership.applied = version
        own = None
        if first.writer == self._writer:
            own = self._under_way.pop(first.number, None)
        if own is not None:
            for change, number in own:
                self._entries.settle(change, number)
        else:
            changes = [change for entry in write for change in entry.changes]
            self._entries.tell(self._entries.adopt(changes, version))

    # -- opening

    async def read(self, stored: list[StateChange], checkpoint: int, kinds: Iterable[str]) -> None:
        """Begin with the entries of the table and the log behind `checkpoint`, which was read
        before them; entries of `kinds` that are nowhere any more are gone. Watchers are told of
        what is not as it was, but not the first time. Raises `AwsError`, of which `LogShortened`.
        """
        async with self._following:
            now = {(each.kind, each.key): each for each in stored}
            version = checkpoint
            for write in whole_writes(await self._log.after(checkpoint)):
                if write[0].version != version + 1:
                    raise LogShortened
                for entry in write:
                    now |= {(each.kind, each.key): each for each in entry.changes}
                version = write[-1].version
            gone = [
                StateChange(kind, key, None)
                for kind in kinds
                for key in self._entries.of(kind)
                if (kind, key) not in now
            ]
            self.applied = version
            changes = [
                each
                for each in [*now.values(), *gone]
                if (found := self._entries.find(each.kind, each.key)) is None
                or found.stored != each.value
            ]
            seen = self._entries.adopt(changes, version)
            self._membership.applied = version
            if self._opened:
                self._entries.tell(seen)
            self._opened = True
