"""The state store in DynamoDB: read whole when opening, then answered from memory and kept up to
date.

Shared kinds are written through a log that every node follows (`shared`, `changelog`), owned ones
straight to their items (`owned`). Writes of one key keep the order of their submission; a unit of
work with both kinds writes the shared ones first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bridge.backends.aws.changelog import ENTRY_BYTES_MAX, ChangeLog, LogShortened, size_of
from bridge.backends.aws.entries import Entries, Watcher, Write
from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.lanes import Numbered
from bridge.backends.aws.membership import Membership
from bridge.backends.aws.node import Node
from bridge.backends.aws.owned import OwnedLane
from bridge.backends.aws.shared import SharedLane
from bridge.backends.aws.table import KEY_BYTES_MAX, Table
from bridge.messaging.errors import InvalidParameter, OverLimit
from bridge.messaging.model import StateChange

VALUE_BYTES_MAX: Final = ENTRY_BYTES_MAX
"""A state entry with its key."""
READS_MAX: Final = 5
"""How often a node that joins reads the table, where the log is shortened at the same time."""


class AwsState:
    """See `bridge.messaging.ports.StateStore`."""

    def __init__(self, node: Node, table: str) -> None:
        self._node = node
        self._table = Table(node, table)
        self._log = ChangeLog(self._table)
        self._entries = Entries()
        self._owned_kinds: set[str] = set()
        self._trimmed = 0
        self.membership = Membership(node, Table(node, table, node.limits.lease_seconds))
        self._shared = SharedLane(node, self._entries, self._log, self.membership)
        self._owned = OwnedLane(node, self._entries, self._table)

    # -- StateStore

    def get(self, kind: str, key: str) -> bytes | None:
        entry = self._entries.find(kind, key)
        return None if entry is None else entry.value

    def scan(self, kind: str, prefix: str = "") -> Iterable[tuple[str, bytes]]:
        found = [
            (key, entry.value)
            for key, entry in self._entries.of(kind).items()
            if entry.value is not None and key.startswith(prefix)
        ]
        return sorted(found)

    def keys(self, kind: str) -> Iterable[str]:
        # A list, as others come and go while the caller reads.
        entries = self._entries.of(kind).items()
        return [key for key, entry in entries if entry.value is not None]

    def count(self, kind: str) -> int:
        """About how many entries there are."""
        return len(self._entries.of(kind))

    def watch(self, kinds: Iterable[str], on_changes: Watcher) -> None:
        self._entries.watch(kinds, on_changes)

    def own(self, kinds: Iterable[str]) -> None:
        self._owned_kinds.update(kinds)

    async def refresh(self, kind: str, prefix: str = "") -> None:
        try:
            if kind in self._owned_kinds:
                await self._owned.refresh(kind, prefix)
            else:
                await self._shared.catch_up()
        except AwsError as error:
            raise messaging_error_from(error) from None

    # -- opening

    async def ensure_table(self, *, create: bool) -> None:
        """Make the table where it is absent and `create` allows it."""
        try:
            await self._table.ensure(create=create)
        except AwsError as error:
            raise self._table.unusable(error) from None

    async def join(self) -> None:
        """Become one of the nodes of the table, with all that stands in it; also after a lapse."""
        try:
            await self.membership.join()
            for left in reversed(range(READS_MAX)):
                try:
                    await self._read()
                    break
                except LogShortened:
                    # By one who had looked before this node was there, and does so once.
                    if not left:
                        raise
            await self.membership.serve()
            # What was committed before the others counted on this node, none of them waited for.
            await self._shared.catch_up()
            await self.membership.look()
        except AwsError as error:
            raise self._table.unusable(error) from None

    async def _read(self) -> None:
        checkpoint = await self._log.checkpoint()
        shared: list[StateChange] = []
        async for item in self._table.state():
            if item.kind in self._owned_kinds or item.version:
                self._owned.load(item)
            else:
                shared.append(StateChange(item.kind, item.key, item.value))
        kinds = [each for each in self._entries.kinds() if each not in self._owned_kinds]
        await self._shared.read(shared, checkpoint, kinds)

    async def follow(self) -> None:
        """Keep up with the other nodes; until cancelled."""
        await self._shared.follow()

    async def keep(self) -> None:
        """Keep this node's place, and the log short; until cancelled."""
        await self.membership.keep(self._shorten_log)

    async def _shorten_log(self) -> None:
        """Carry what the log says over into the entries, and delete what all nodes have applied."""
        if not self.membership.leads or self._trimmed == self._shared.applied:
            return
        try:
            checkpoint = await self._carry_over()
            # Who reads an older checkpoint is among those that are seen now, and holds the log.
            await self.membership.look()
            done = min(checkpoint, self.membership.applied_everywhere)
            if done > self._trimmed:
                await self._log.trim(done)
                self._trimmed = done
        except AwsError:
            # The next turn tries again; until then the log is longer.
            return

    async def _carry_over(self) -> int:
        """Bring the entries up to date; returns the checkpoint."""
        known = await self._log.checkpoint()
        entries = await self._log.after(known)
        while (checkpoint := await self._log.advance(known, entries)) != known:
            entries = [each for each in entries if each.version > checkpoint]
            known = checkpoint
        return known

    # -- writing

    def submit(self, changes: Sequence[StateChange], *, agreed: bool = False) -> Submission:
        """Apply changes for readers; `write` makes them durable."""
        shared: list[Numbered] = []
        owned: list[Numbered] = []
        for numbered in self._entries.submit(changes, self._shared.applied):
            (owned if numbered[0].kind in self._owned_kinds else shared).append(numbered)
        return Submission(
            Write(shared, agreed=agreed) if shared else None,
            Write(owned, agreed=agreed) if owned else None,
        )

    async def write(self, submission: Submission, *, everywhere: bool = False) -> int:
        """Return once DynamoDB has the changes, and every live node goes by them where that is
        asked for: the version with which they were written. Raises the error that refused them.
        """
        shared, owned = submission.shared, submission.owned
        try:
            _refuse_unfit(submission)
        except (OverLimit, InvalidParameter):
            self._revert(shared, owned)
            raise
        if shared is not None:
            shared.awaited = everywhere
            try:
                await self._shared.write(shared)
            except BaseException:
                self._revert(owned)
                raise
        if owned is not None:
            await self._owned.write(owned)
        if shared is None:
            return 0
        if everywhere:
            await self.membership.agreed(shared.version)
        return shared.version

    def withdraw(self, submission: Submission) -> None:
        """Have what was submitted undone, instead of `write`."""
        self._revert(submission.shared, submission.owned)

    def _revert(self, *writes: Write | None) -> None:
        for write in writes:
            if write is not None:
                self._entries.revert(write.changes)


class Submission:
    """What `AwsState.submit` gives to `AwsState.write`."""

    __slots__ = ("owned", "shared")

    def __init__(self, shared: Write | None, owned: Write | None) -> None:
        self.shared = shared
        self.owned = owned


def _refuse_unfit(submission: Submission) -> None:
    """Raise for what no item can hold."""
    for write in (submission.shared, submission.owned):
        for change, _ in write.changes if write is not None else ():
            if size_of(change) > VALUE_BYTES_MAX:
                raise OverLimit(
                    f"a state entry of {size_of(change)} bytes is over the {VALUE_BYTES_MAX} that"
                    " DynamoDB takes"
                )
            try:
                key = change.key.encode()
            except UnicodeEncodeError:
                raise InvalidParameter(f"{change.key!r} is no text that can be stored") from None
            if write is submission.owned and len(key) > KEY_BYTES_MAX:
                raise OverLimit(f"a key of {len(key)} bytes is over the limit of {KEY_BYTES_MAX}")
