"""Messages whose time to live ends before anybody takes them.

Those in memory are found by looking through their queue's head, when the earliest of them is due:
one timer for a queue, however many messages come and go. Those on disk only are looked for once a
second, in pages, through the index over `expires_at`; each page is committed before the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from bridge.backends.embedded.codec import ENTRY_COLUMNS, entry_from_row
from bridge.backends.embedded.entry import GONE, Entry
from bridge.backends.embedded.queue import EmbeddedQueue, queue_id_of
from bridge.backends.embedded.schedule import Schedule
from bridge.messaging.model import UnitOfWork

if TYPE_CHECKING:
    from bridge.backends.embedded.committer import Committer
    from bridge.backends.embedded.lane import Lane
    from bridge.messaging.clock import Clock
    from bridge.messaging.limits import Limits
    from bridge.storage import Database

PAGE_ROWS_MAX: Final = 1_000
"""Expired messages read from disk at once."""
LOOK_MS: Final = 20
"""Shortest time between two looks through one queue's head."""


class Owner(Protocol):
    """What expiry needs of the engine."""

    committer: Committer

    def expired(self, entry: Entry) -> None:
        """The entry has expired; it waits in a lane, or nowhere if it was just read from disk."""
        ...

    def wake_up(self) -> None:
        """Something waits for a commit."""
        ...

    def queue_by_id(self, queue_id: int) -> EmbeddedQueue | None: ...


class Expiry:
    """Lives on the event loop's thread, queries on the reader's."""

    def __init__(self, database: Database, clock: Clock, limits: Limits, owner: Owner) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._heads: Schedule[EmbeddedQueue] = Schedule(clock, self._look_through)
        self.tails = False
        """Something that is on disk only will expire."""
        self._sweeping = False
        self._skipping: dict[Lane, None] = {}

    def close(self) -> None:
        self._heads.close()

    # -- in memory

    def note(self, queue: EmbeddedQueue, expires_at: int) -> None:
        """A message that waits in memory ends at `expires_at`."""
        if queue.next_expiry is None or expires_at < queue.next_expiry:
            queue.next_expiry = expires_at
            self._heads.add(queue, expires_at)

    def _look_through(self, queue: EmbeddedQueue, at: int) -> None:
        if queue.next_expiry != at or queue.deleted:
            return
        queue.next_expiry = None
        now = self._clock.epoch_ms()
        following: int | None = None
        for entry in queue.waiting():
            expires_at = entry.expires_at
            if expires_at is None or entry.status == GONE or entry.held:
                continue
            if expires_at <= now and not entry.blocked:
                self._owner.expired(entry)
            elif following is None or expires_at < following:
                following = expires_at
        if following is not None:
            self.note(queue, max(following, now + LOOK_MS))

    # -- on disk

    def sweep(self) -> None:
        """Look for what has expired on disk, unless that is under way. Called once a second."""
        if not self._sweeping and (self.tails or self._skipping):
            self._sweeping = True
            self._next_page(self._clock.epoch_ms(), (-(2**63), 0))

    def _next_page(self, now: int, after: tuple[int, int]) -> None:
        self._ask(
            "SELECT expires_at, id FROM entry WHERE expires_at <= ?"
            " AND (expires_at, id) > (?, ?) ORDER BY expires_at, id LIMIT ?",
            (now, *after, PAGE_ROWS_MAX),
            lambda rows: self._paged(now, rows),
        )

    def _ask(
        self,
        sql: str,
        parameters: Sequence[int],
        then: Callable[[list[Any]], None],
        *,
        bytes_max: int | None = None,
    ) -> None:
        def done(rows: list[Any], error: Exception | None) -> None:
            if error is None:
                self._loop.call_soon_threadsafe(then, rows)
            else:
                self._loop.call_soon_threadsafe(self._end)

        self._database.query(sql, parameters, done, bytes_max=bytes_max)

    def _end(self) -> None:
        self._sweeping = False

    def _paged(self, now: int, rows: list[Any]) -> None:
        follow = self._end
        if len(rows) == PAGE_ROWS_MAX:
            follow = partial(self._next_page, now, rows[-1])
        found = [number for _, number in rows if self._tail_of(number) is not None]
        if not found:
            self._when_committed(follow)
            return

        def fetched(rows: list[Any]) -> None:
            for row in rows:
                self._leave_tail(row)
            self._when_committed(follow)

        self._ask(
            f"SELECT {ENTRY_COLUMNS} WHERE e.visible_at IS NULL"
            f" AND e.id IN ({','.join('?' * len(found))})",
            found,
            fetched,
            bytes_max=self._limits.queue_head_bytes_max,
        )

    def _tail_of(self, number: int) -> tuple[EmbeddedQueue, Lane] | None:
        """The queue and lane of an id that is on disk only."""
        queue = self._owner.queue_by_id(queue_id_of(number))
        if queue is None or queue.deleted:
            return None
        lane = queue.lane_of_entry(number)
        return (queue, lane) if lane.in_tail(number) else None

    def _leave_tail(self, row: Any) -> None:
        place = self._tail_of(row[0])
        if place is not None:
            queue, lane = place
            entry = entry_from_row(queue, row)
            self.skip(lane, entry)
            self._owner.expired(entry)

    def skip(self, lane: Lane, entry: Entry) -> None:
        """An entry was taken out of the middle of a tail: reading the tail passes over it."""
        lane.skip(entry)
        self._skipping[lane] = None

    def _when_committed(self, follow: Callable[[], None]) -> None:
        """Go on once all is committed; what was skipped and is deleted by then can be forgotten."""
        if not self._skipping:
            follow()
            return
        gone = [
            (lane, entry)
            for lane in self._skipping
            for entry in lane.skipped.values()
            if entry.status == GONE
        ]

        def committed(unit: UnitOfWork) -> None:
            if unit.error is not None:
                self._end()
                return
            for lane, entry in gone:
                # What is being read was asked for before and may still hold the row.
                if not lane.loading:
                    lane.skipped.pop(entry.id, None)
            self._skipping = {lane: None for lane in self._skipping if lane.skipped}
            follow()

        self._owner.committer.wait(UnitOfWork(committed))
        self._owner.wake_up()
