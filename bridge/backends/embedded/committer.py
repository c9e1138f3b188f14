"""What is written when: group commit with elision. On the hot path.

What a consumer has settled before its commit is handed over is never written, and its publisher is
answered then. So a commit of which every message is already with a consumer waits up to
`Limits.elision_delay_seconds`; any other one that somebody waits for leaves as soon as the writer
is idle, or before, where waiting could not spare the writing. Deletes and receive counts that
nobody waits for ride along, or leave unforced after `Limits.lazy_commit_delay_seconds`. Receive
counts and visibility timeouts join no commit before half of that has passed: most messages are
settled by then, and nothing has to be written.

A commit that fails refuses the units that wait for it, and what they settled is given back; what
nobody waits for is kept for the next commit, which is tried after `RETRY_SECONDS`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from bridge.backends.embedded.commit import Commit
from bridge.backends.embedded.entry import (
    GONE,
    MEMORY,
    NEW,
    ON_DISK,
    STORED,
    WRITING,
    Entry,
)
from bridge.messaging.errors import InvalidParameter, MessagingError, StoreUnavailable
from bridge.messaging.outage import Outage
from bridge.storage.errors import Unstorable

if TYPE_CHECKING:
    from bridge.messaging.clock import Clock
    from bridge.messaging.limits import Limits
    from bridge.messaging.model import StateChange, UnitOfWork
    from bridge.storage import Database
    from bridge.storage.batch import DeduplicationRow, QueueRow

_log = logging.getLogger("landbridge.store")

COMMITS_HANDED_MAX = 2
"""Commits that are with the writer at once: the one that it writes, and its next one."""
RETRY_SECONDS = 1.0
"""Pause after a commit that failed, before the next one is tried."""
NOTHING_TO_PURGE = (1, 0)
"""A range without ids: written to see whether the store takes anything again."""


class Owner(Protocol):
    """What the committer tells the engine."""

    def wake_up(self) -> None:
        """There is something to answer or to commit."""
        ...

    def answer(self) -> None:
        """Call back the units that have finished."""
        ...

    def stored(self, entries: list[Entry]) -> None:
        """These entries have been committed."""
        ...

    def read_on(self) -> None:
        """Rows that were on their way to the disk can be read now, or never will."""
        ...

    def refused(self, entry: Entry, error: MessagingError) -> None:
        """The entry was not stored, and its publisher has been told so."""
        ...

    def restore(self, entry: Entry, status: int) -> None:
        """The settling of an entry failed; it had `status` before."""
        ...


class Committer:
    """Collects for the next commit; lives on the event loop's thread.

    `finished` are units whose last wait has ended: the engine answers and clears them each turn,
    and at once after a sync, for which most of them have waited.
    """

    def __init__(self, database: Database, clock: Clock, limits: Limits, owner: Owner) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.pending: list[Entry] = []
        self.unheld = 0
        self.finished: list[UnitOfWork] = []
        self.failing = False
        self._outage = Outage(_log, "the store cannot be written", "the store is written again")
        self.answered = 0
        """Commits that were written, or could not be."""
        self._live = 0
        self._next = Commit()
        self._uncommitted: dict[tuple[str, str], bytes | None] = {}
        self.urgent = False
        """True if somebody waits for what has to be written anyway, or what nobody can settle."""
        self._handed: deque[Commit] = deque()
        """With the writer."""
        self._refused: list[Commit] = []
        """Back from the writer, while others that it refuses as well are not."""
        self._syncing: deque[Commit] = deque()
        self._doubtful: list[Commit] = []
        """Written, and not synced: refused, and on the disk or not. The next sync settles that."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._fresh: list[Sequence[Entry]] = []
        self._aging: list[Sequence[Entry]] = []
        self._rotation: asyncio.TimerHandle | None = None

    # -- collecting

    def add_all(self, entries: Sequence[Entry]) -> None:
        """Write new entries, unless they are settled before."""
        self.pending += entries
        self._live += len(entries)
        self.unheld += len(entries)

    @property
    def deletes(self) -> list[Entry]:
        """What the next commit deletes."""
        return self._next.deletes

    def settle(self, entry: Entry, joined: UnitOfWork | None = None) -> bool:
        """An entry leaves its queue: forgotten if it was not written yet, else deleted.

        `joined` is the unit whose other parts have to be durable with this one. Returns True if
        the disk has to follow.
        """
        status = entry.status
        entry.status = GONE
        if joined is not None:
            self._next.joined.append((entry, status, joined))
        if status == NEW:
            self._live -= 1
            if not entry.held:
                self.unheld -= 1
            unit = entry.unit
            if unit is not None:
                if joined is not None:
                    # What it was settled for is not durable yet, so neither is the message.
                    self._next.elided.append(entry)
                else:
                    entry.unit = None
                    self.ended(unit)
            return joined is not None
        if status == MEMORY:
            return False
        self._next.deletes.append(entry)
        return True

    def received(self, entries: Sequence[Entry]) -> None:
        """Write soon how often and until when entries were received, if they are still there."""
        self._fresh.append(entries)
        if self._rotation is None:
            self._rotate_later()

    def _rotate_later(self) -> None:
        delay = self._limits.lazy_commit_delay_seconds / 2
        self._rotation = self._loop.call_later(delay, self._rotate)

    def _rotate(self) -> None:
        """Write the receives of the time before the last rotation."""
        self._rotation = None
        ripe, self._aging, self._fresh = self._aging, self._fresh, []
        if self._aging:
            self._rotate_later()
        self._join_receives(ripe)
        if self._next.receives and not self._handed and not self.failing:
            self.hand_over()
        elif self.idle:
            # Who waits for a commit to read on waits for nothing: no receive had to be written.
            self._owner.read_on()

    def _join_receives(self, ripe: list[Sequence[Entry]]) -> None:
        receives = self._next.receives
        for entries in ripe:
            for entry in entries:
                if entry.status in ON_DISK:
                    receives[entry.id] = entry

    def write_receives(self) -> None:
        """Let the next commit hold every receive there was."""
        self._join_receives(self._aging)
        self._join_receives(self._fresh)
        self._aging, self._fresh = [], []

    def change_state(self, change: StateChange) -> None:
        self._next.state.append(change)
        self._uncommitted[change.kind, change.key] = change.value

    def uncommitted(self, kind: str) -> dict[str, bytes | None]:
        """State changes of a kind that queries do not see yet."""
        return {key: value for (each, key), value in self._uncommitted.items() if each == kind}

    def uncommitted_value(self, kind: str, key: str) -> tuple[bool, bytes | None]:
        """Whether the key was changed and is not committed yet, and to what."""
        if (kind, key) in self._uncommitted:
            return True, self._uncommitted[kind, key]
        return False, None

    def save_queue(self, row: QueueRow) -> None:
        self._next.queues[row.id] = row

    def delete_queue(self, queue_id: int) -> None:
        self._next.queues.pop(queue_id, None)
        self._next.queue_deletes.append(queue_id)
        self._drop_deduplications(queue_id)

    def purge(self, first: int, last: int) -> None:
        self._next.purges.append((first, last))

    def remember_deduplication(self, row: DeduplicationRow) -> None:
        self._next.deduplications.append(row)

    def forget_deduplications(self, queue_id: int) -> None:
        self._next.forgotten.append(queue_id)
        self._drop_deduplications(queue_id)

    def _drop_deduplications(self, queue_id: int) -> None:
        rows = self._next.deduplications
        self._next.deduplications = [row for row in rows if row.queue != queue_id]

    def writing(self) -> list[Entry]:
        """The entries of the commits that are under way."""
        under_way = [*self._doubtful, *self._syncing, *self._refused, *self._handed]
        return [entry for commit in under_way for entry in commit.entries]

    def settled_jointly(self) -> list[Entry]:
        """What is given back if the units that settled it are refused."""
        commits = [*self._refused, *self._handed, self._next]
        return [entry for commit in commits for entry, _, _ in commit.joined]

    def wait(self, unit: UnitOfWork) -> None:
        """Answer `unit` not before everything collected so far is durable."""
        unit.remaining += 1
        self._next.units.append(unit)
        self.urgent = True

    def ended(self, unit: UnitOfWork) -> None:
        """One of the things that `unit` waited for has come about."""
        unit.remaining -= 1
        if unit.remaining == 0:
            self.finished.append(unit)
            self._owner.wake_up()

    # -- deciding

    @property
    def idle(self) -> bool:
        """True if nothing is collected or being written, so that queries see everything."""
        return not self._handed and not (
            self._fresh
            or self._aging
            or self._live
            or self._next.holds_anything()
            or self._timer is not None
        )

    @property
    def busy(self) -> bool:
        """True while the collected waits for the writer, at whose answer it has its turn."""
        if not self._handed:
            return False
        may_follow = self.urgent and not self.failing and not self._refused
        return not may_follow or len(self._handed) == COMMITS_HANDED_MAX

    def consider(self) -> None:
        """Hand the collected over now, later, or not yet. Called at the end of each turn."""
        if self.busy or (self.failing and self._timer is not None):
            return
        if self._next.units or self.unheld > 0:
            self.hand_over()
        elif self._handed:
            return
        elif self._live:
            self._arm(self._limits.elision_delay_seconds)
        elif self._next.holds_anything():
            self._arm(self._limits.lazy_commit_delay_seconds)
        elif self.pending:
            self.pending.clear()

    def _arm(self, delay: float) -> None:
        due = self._loop.time() + delay
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_at(due, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        if self._handed:
            return
        if self.failing and not self._next.purges:
            # Without a write nobody would learn that the disk takes writes again.
            self._next.purges.append(NOTHING_TO_PURGE)
        if self._live or self._next.holds_anything():
            self.hand_over()
        else:
            self.pending.clear()

    def close(self) -> None:
        """Start no further commit."""
        if self._rotation is not None:
            self._rotation.cancel()
            self._rotation = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- writing

    def hand_over(self) -> None:
        """Give the writer all that was collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        commit, self._next = self._next, Commit()
        commit.entries = [entry for entry in self.pending if entry.status == NEW]
        for entry in commit.entries:
            entry.status = WRITING
        self.pending = []
        self._live = 0
        self.unheld = 0
        self.urgent = False
        call = self._loop.call_soon_threadsafe
        batch = commit.batch(
            lambda error: call(self._written, error),
            lambda error: call(self._synced, error),
            self._clock.epoch_ms(),
        )
        batch.follows = bool(self._handed)
        self._handed.append(commit)
        self._database.submit(batch)

    def _written(self, error: Exception | None) -> None:
        """The first of those that are with the writer is written or refused."""
        commit = self._handed.popleft()
        self.answered += 1
        if error is None:
            self.failing = False
            self._syncing.append(commit)
        else:
            self._refused.append(commit)
            if not self._handed:
                self._failed(error)
        if self._live or self._next.holds_anything() or error is not None:
            self._owner.wake_up()

    def _synced(self, error: Exception | None) -> None:
        """The first of those that are being synced is over."""
        commit = self._syncing.popleft()
        if error is None:
            stored, self._doubtful = [*self._doubtful, commit], []
            for each in stored:
                self._stored(each)
            self._owner.answer()
            self._outage.ends()
        else:
            self.failing = True
            self._outage.goes_on(error)
            self._arm(RETRY_SECONDS)
            self._doubt(commit, error)
            self._owner.read_on()
            self._owner.wake_up()

    def _doubt(self, commit: Commit, cause: Exception) -> None:
        """Refuse who waits; what it holds stays, and counts as stored only after a later sync."""
        self._doubtful.append(commit)
        for unit in commit.waiting().values():
            unit.error = StoreUnavailable(f"the store cannot sync: {cause}")
        for entry in commit.entries + commit.elided:
            self._end_wait(entry)
        for unit in commit.units:
            self.ended(unit)
        commit.elided, commit.units = [], []

    def _stored(self, commit: Commit) -> None:
        finished = self.finished
        for entry in commit.entries:
            if entry.status == WRITING:
                entry.status = STORED
            unit = entry.unit
            if unit is not None:
                entry.unit = None
                unit.remaining -= 1
                if unit.remaining == 0:
                    finished.append(unit)
        for entry in commit.elided:
            self._end_wait(entry)
        for unit in commit.units:
            unit.remaining -= 1
            if unit.remaining == 0:
                finished.append(unit)
        self._forget_state(commit.state)
        self._owner.stored(commit.entries)

    def _end_wait(self, entry: Entry) -> None:
        unit, entry.unit = entry.unit, None
        if unit is not None:
            self.ended(unit)

    def _forget_state(self, changes: list[StateChange]) -> None:
        """Queries see the database from now on, unless the key was changed again meanwhile."""
        for change in changes:
            key = (change.kind, change.key)
            if key in self._uncommitted and self._uncommitted[key] is change.value:
                del self._uncommitted[key]

    # -- when the store refuses

    def _failed(self, cause: Exception) -> None:
        """Nothing of the refused was stored: tell whom it concerns, keep the rest to try again."""
        commits, self._refused = self._refused, []
        unstorable = isinstance(cause, Unstorable)
        refused = [commit.unstorable() if unstorable else {} for commit in commits]
        error: MessagingError
        if any(refused):
            # One value spoilt the commit of all: without its unit the others can go at once.
            error = InvalidParameter(f"the message cannot be stored: {cause}")
        else:
            refused = [commit.waiting() for commit in commits]
            error = StoreUnavailable(f"the store cannot write: {cause}")
            self.failing = True
            self._outage.goes_on(cause)
            self._arm(RETRY_SECONDS)
        # From the last one on: what is kept of each goes before what was collected behind it.
        for commit, units in zip(reversed(commits), reversed(refused), strict=True):
            self._refuse(commit, units, error)
        live = [entry for entry in self.pending if entry.status == NEW]
        self._live = len(live)
        self.unheld = sum(not entry.held for entry in live)
        # Not before: until all that is kept is collected again, there seems to be nothing of it.
        self._owner.read_on()

    def _refuse(
        self, commit: Commit, refused: dict[int, UnitOfWork], error: MessagingError
    ) -> None:
        for unit in refused.values():
            unit.error = error
        kept = self._keep_entries(commit, refused, error)
        self._keep_settles(commit, refused, error)
        self._keep_rest(commit, refused, kept)
        self.pending = kept + self.pending

    def _keep_entries(
        self, commit: Commit, refused: dict[int, UnitOfWork], error: MessagingError
    ) -> list[Entry]:
        """Refuse the entries of refused units; returns the others, as new as before."""
        kept = []
        settled = set()
        for entry in commit.entries:
            if entry.unit is not None and id(entry.unit) in refused:
                self._owner.refused(entry, error)
                self._end_wait(entry)
            elif entry.status == WRITING:
                entry.status = NEW
                kept.append(entry)
            else:
                settled.add(id(entry))
        self._elide(settled)
        never_stored = {id(entry) for entry in commit.entries}
        following = self._next
        following.deletes = [each for each in following.deletes if id(each) not in never_stored]
        for entry in commit.entries:
            if id(entry) in settled and entry not in following.elided:
                self._end_wait(entry)
        return kept

    def _elide(self, settled: set[int]) -> None:
        """What was settled while its commit failed was settled before it was written."""
        following = self._next
        for index, (entry, _, unit) in enumerate(following.joined):
            if id(entry) in settled:
                following.joined[index] = (entry, NEW, unit)
                following.elided.append(entry)

    def _keep_settles(
        self, commit: Commit, refused: dict[int, UnitOfWork], error: MessagingError
    ) -> None:
        """Give back what refused units settled; the other settles are tried again."""
        following = self._next
        restored = set()
        for entry, status, unit in commit.joined:
            if id(unit) not in refused:
                following.joined.append((entry, status, unit))
                continue
            restored.add(id(entry))
            if status != NEW:
                self._owner.restore(entry, status)
            elif entry.unit is None or id(entry.unit) not in refused:
                self._owner.restore(entry, NEW)
                self.pending.append(entry)
        for entry in commit.elided:
            if entry.status == NEW:
                continue
            if entry.unit is not None and id(entry.unit) in refused:
                # It stays away, though what it was settled with may still be refused.
                self._owner.refused(entry, error)
                self._end_wait(entry)
            else:
                following.elided.append(entry)
        deletes = [entry for entry in commit.deletes if id(entry) not in restored]
        following.deletes = deletes + following.deletes

    def _keep_rest(self, commit: Commit, refused: dict[int, UnitOfWork], kept: list[Entry]) -> None:
        following = self._next
        waiting = [unit for unit in commit.units if id(unit) not in refused]
        lost = [unit for unit in commit.units if id(unit) in refused]
        for unit in lost:
            self._forget_state(unit.state)
            self.ended(unit)
        following.units = waiting + following.units
        following.state = [each for unit in waiting for each in unit.state] + following.state
        following.receives = {**commit.receives, **following.receives}
        deleted = set(following.queue_deletes)
        rows = {number: row for number, row in commit.queues.items() if number not in deleted}
        following.queues = {**rows, **following.queues}
        following.queue_deletes = commit.queue_deletes + following.queue_deletes
        following.purges = commit.purges + following.purges
        numbers = {entry.sequence_number for entry in kept}
        forgotten = {*following.queue_deletes, *following.forgotten}
        following.deduplications = [
            row
            for row in commit.deduplications
            if row.sequence_number in numbers and row.queue not in forgotten
        ] + following.deduplications
        following.forgotten = commit.forgotten + following.forgotten
