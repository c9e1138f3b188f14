"""What is written when: group commit with elision. On the hot path.

One commit is under way at a time; meanwhile the next one collects. What a consumer has settled
before its commit is handed over is never written, and its publisher is answered then. So a commit
of which every message is already with a consumer waits up to `Limits.elision_delay_seconds`; any
other one that somebody waits for leaves as soon as the writer is idle. Deletes and receive counts
that nobody waits for ride along, or leave unforced after `Limits.lazy_commit_delay_seconds`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bridge.backends.embedded.codec import row_from_entry
from bridge.backends.embedded.entry import GONE, MEMORY, NEW, STORED, WRITING, Content, Entry
from bridge.messaging.errors import StoreUnavailable
from bridge.storage import WriteBatch
from bridge.storage.batch import ContentRow, DeduplicationRow, QueueRow, ReceiveRow

if TYPE_CHECKING:
    from bridge.messaging.limits import Limits
    from bridge.messaging.model import StateChange, UnitOfWork
    from bridge.storage import Database

RETRY_SECONDS = 1.0
"""Pause after a commit that failed, before deletes are tried again."""


class _Commit:
    """What stands in one batch, for its answer."""

    __slots__ = ("deletes", "entries", "released", "state", "units")

    def __init__(
        self,
        entries: list[Entry],
        deletes: list[int],
        released: list[int],
        units: list[UnitOfWork],
        state: list[StateChange],
    ) -> None:
        self.entries = entries
        self.deletes = deletes
        self.released = released
        self.units = units
        self.state = state


class Committer:
    """Collects for the next commit; lives on the event loop's thread.

    `finished` are units whose last wait has ended: the engine answers and clears them each turn.
    `after_commit` is called with the entries that were stored; `wake` when there is something to
    answer.
    """

    def __init__(
        self,
        database: Database,
        limits: Limits,
        after_commit: Callable[[list[Entry]], None],
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._limits = limits
        self._after_commit = after_commit
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self.pending: list[Entry] = []
        self.unheld = 0
        self.finished: list[UnitOfWork] = []
        self.failing = False
        self._live = 0
        self._deletes: list[int] = []
        self._released: list[int] = []
        self._receives: dict[int, Entry] = {}
        self._units: list[UnitOfWork] = []
        self._state: list[StateChange] = []
        self._uncommitted: dict[tuple[str, str], bytes | None] = {}
        self._queues: list[QueueRow] = []
        self._queue_deletes: list[int] = []
        self._purges: list[tuple[int, int]] = []
        self._deduplications: list[DeduplicationRow] = []
        self._forgotten: list[int] = []
        self._commit: _Commit | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    # -- collecting

    def add(self, entry: Entry) -> None:
        """Write a new entry, unless it is settled before."""
        self.pending.append(entry)
        self._live += 1
        self.unheld += 1

    def settle(self, entry: Entry, *, atomic: bool = False) -> None:
        """An entry leaves its queue: forgotten if it was not written yet, else deleted."""
        status = entry.status
        if status == NEW:
            if atomic:
                # Its deletion may yet fail with the rest of its unit, so the entry must be written
                # first.
                entry.doomed = True
                self._delete_row(entry)
                return
            entry.status = GONE
            self._live -= 1
            if not entry.held:
                self.unheld -= 1
            unit = entry.unit
            if unit is not None:
                entry.unit = None
                self.ended(unit)
            return
        entry.status = GONE
        if status != MEMORY:
            self._delete_row(entry)

    def _delete_row(self, entry: Entry) -> None:
        self._deletes.append(entry.id)
        if entry.content is not None:
            self._released.append(entry.content.id)

    def received(self, entry: Entry) -> None:
        """Write how often and until when an entry was received, with the next commit."""
        if entry.status in (WRITING, STORED):
            self._receives[entry.id] = entry

    def change_state(self, change: StateChange) -> None:
        self._state.append(change)
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
        self._queues.append(row)

    def delete_queue(self, queue_id: int) -> None:
        self._queue_deletes.append(queue_id)

    def purge(self, first: int, last: int) -> None:
        self._purges.append((first, last))

    def remember_deduplication(self, row: DeduplicationRow) -> None:
        self._deduplications.append(row)

    def forget_deduplications(self, queue_id: int) -> None:
        self._forgotten.append(queue_id)

    def wait(self, unit: UnitOfWork) -> None:
        """Answer `unit` not before everything collected so far is durable."""
        unit.remaining += 1
        self._units.append(unit)

    def ended(self, unit: UnitOfWork) -> None:
        """One of the things that `unit` waited for has come about."""
        unit.remaining -= 1
        if unit.remaining == 0:
            self.finished.append(unit)
            self._wake()

    # -- deciding

    @property
    def idle(self) -> bool:
        """True if nothing is collected or being written."""
        return self._commit is None and not (
            self._live or self._units or self._has_lazy() or self._timer is not None
        )

    def _has_lazy(self) -> bool:
        return bool(
            self._deletes
            or self._receives
            or self._state
            or self._queues
            or self._queue_deletes
            or self._purges
            or self._deduplications
            or self._forgotten
        )

    def consider(self) -> None:
        """Hand the collected over now, later, or not yet. Called at the end of each turn."""
        if self._commit is not None:
            return
        if self._units or self.unheld > 0:
            if not self.failing or self._timer is None:
                self.hand_over()
        elif self._live:
            self._arm(self._limits.elision_delay_seconds)
        elif self._has_lazy():
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
        if self._commit is None:
            if self._live or self._units or self._has_lazy():
                self.hand_over()
            else:
                self.pending.clear()

    # -- writing

    def hand_over(self) -> None:
        """Give the writer all that was collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        entries = [entry for entry in self.pending if entry.status == NEW]
        for entry in entries:
            entry.status = WRITING
        self.pending = []
        self._live = 0
        self.unheld = 0
        commit = _Commit(entries, self._deletes, self._released, self._units, self._state)
        batch = WriteBatch(lambda error: self._answer(commit, error))
        batch.entries = map(row_from_entry, entries)
        batch.contents = _contents_of(entries)
        batch.deletes = self._deletes
        batch.released = self._released
        batch.receives = [
            _receive_row(entry) for entry in self._receives.values() if entry.status != GONE
        ]
        batch.state = list(self._state)
        batch.queues = self._queues
        batch.queue_deletes = self._queue_deletes
        batch.purges = self._purges
        batch.deduplications = self._deduplications
        batch.forgotten_deduplications = self._forgotten
        batch.forced = bool(entries or self._units or self._queue_deletes)
        self._deletes, self._released, self._receives = [], [], {}
        self._units, self._state = [], []
        self._queues, self._queue_deletes, self._purges = [], [], []
        self._deduplications, self._forgotten = [], []
        self._commit = commit
        self._database.submit(batch)

    def _answer(self, commit: _Commit, error: Exception | None) -> None:
        """On the writer's thread."""
        self._loop.call_soon_threadsafe(self._committed, commit, error)

    def _committed(self, commit: _Commit, error: Exception | None) -> None:
        self._commit = None
        if error is None:
            self.failing = False
            self._stored(commit)
        else:
            self.failing = True
            self._failed(commit, StoreUnavailable(f"the store cannot write: {error}"))
        self._wake()

    def _stored(self, commit: _Commit) -> None:
        finished = self.finished
        for entry in commit.entries:
            if entry.status == WRITING:
                entry.status = GONE if entry.doomed else STORED
            unit = entry.unit
            if unit is not None:
                entry.unit = None
                unit.remaining -= 1
                if unit.remaining == 0:
                    finished.append(unit)
        for unit in commit.units:
            self.ended(unit)
        self._forget_state(commit)
        self._after_commit(commit.entries)

    def _forget_state(self, commit: _Commit) -> None:
        """Queries see the database from now on, unless the key was changed again meanwhile."""
        for change in commit.state:
            key = (change.kind, change.key)
            if key in self._uncommitted and self._uncommitted[key] is change.value:
                del self._uncommitted[key]

    def _failed(self, commit: _Commit, error: StoreUnavailable) -> None:
        """Nothing was stored: refuse the units, keep the deletes for another try."""
        for unit in {id(unit): unit for unit in _units_of(commit)}.values():
            unit.error = error
        for entry in commit.entries:
            waiting, entry.unit = entry.unit, None
            if entry.status == WRITING:
                # Who holds it may finish; nobody else gets it, since its publisher was refused.
                entry.status = MEMORY if entry.held else GONE
                if not entry.held and not entry.doomed:
                    entry.queue.visible -= 1
            if waiting is not None:
                self.ended(waiting)
        for unit in commit.units:
            self.ended(unit)
        self._forget_state(commit)
        written = {entry.id for entry in commit.entries}
        self._deletes += [number for number in commit.deletes if number not in written]
        self._released += commit.released
        self._arm(RETRY_SECONDS)


def _units_of(commit: _Commit) -> Iterable[UnitOfWork]:
    yield from commit.units
    for entry in commit.entries:
        if entry.unit is not None:
            yield entry.unit


def _contents_of(entries: list[Entry]) -> list[ContentRow]:
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
