"""What comes back from disk: tails of lanes, delays that end soon, what expired; all at a start.

Only what is due within `WINDOW_MS` has a timer in memory; what lies further ahead stays on disk and
is looked for once in a window. A message stands in memory at most once: the tail is what lies
behind a lane's cursor.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from bridge.backends.embedded.codec import ENTRY_COLUMNS, entry_from_row
from bridge.backends.embedded.entry import LANE_BITS, MEMORY, Entry
from bridge.backends.embedded.fifo import FifoQueue
from bridge.backends.embedded.queue import BANDS_MAX, EmbeddedQueue
from bridge.messaging.model import Accepted, QueueName, QueueSettings, UnitOfWork

if TYPE_CHECKING:
    from bridge.backends.embedded.committer import Committer
    from bridge.backends.embedded.lane import Lane
    from bridge.backends.embedded.schedule import Schedule
    from bridge.messaging.clock import Clock
    from bridge.messaging.limits import Limits
    from bridge.storage import Database

WINDOW_MS: Final = 60_000
EXPIRED_ROWS_MAX: Final = 1_000
"""Expired messages read from disk at once."""
SWEEP_SECONDS: Final = 1.0


class QueueRecord(msgspec.Struct):
    """What is stored of a queue besides its name."""

    settings: QueueSettings
    created_at: int
    modified_at: int


class Owner(Protocol):
    """What the loader needs of the engine."""

    committer: Committer
    schedule: Schedule

    def loaded(self, queue: EmbeddedQueue) -> None:
        """The queue has more in memory than before."""
        ...

    def leave_expired(self, entry: Entry) -> None:
        """The entry, in no lane, has expired."""
        ...

    def look_for_idle(self) -> None:
        """Report the queues that nobody uses any more."""
        ...

    def queue_by_id(self, queue_id: int) -> EmbeddedQueue | None: ...


class Loader:
    """Reads rows back; lives on the event loop's thread, queries on the reader's."""

    def __init__(self, database: Database, clock: Clock, limits: Limits, owner: Owner) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._horizon = clock.epoch_ms() + WINDOW_MS
        self._expiring_tails = False
        self._sweep: asyncio.TimerHandle | None = None
        self._window_due = self._loop.time() + WINDOW_MS / 2000
        self._hungry: dict[Lane, EmbeddedQueue] = {}
        self._arm()

    def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    # -- tails

    def refill(self, queue: EmbeddedQueue, lane: Lane) -> None:
        """Read the next part of a lane's tail, unless that is under way."""
        if lane.loading:
            return
        lane.loading = True
        generation = lane.generation

        def done(rows: list[Any], error: Exception | None) -> None:
            self._loop.call_soon_threadsafe(self._refilled, queue, lane, generation, rows, error)

        self._database.query(
            f"SELECT {ENTRY_COLUMNS}"
            " WHERE e.id > ? AND e.id <= ? AND e.visible_at IS NULL ORDER BY e.id LIMIT ?",
            (lane.cursor, lane.last_id, self._limits.queue_refill_messages),
            done,
        )

    def _refilled(
        self,
        queue: EmbeddedQueue,
        lane: Lane,
        generation: int,
        rows: list[Any],
        error: Exception | None,
    ) -> None:
        if queue.deleted or lane.generation != generation:
            return
        lane.loading = False
        for row in rows:
            lane.cursor = row[0]
            if row[0] in lane.skipped:
                lane.skipped.discard(row[0])
                continue
            entry = entry_from_row(queue, row)
            lane.tail_count -= 1
            queue.append(lane, entry)
            if entry.expires_at is not None:
                self.note_expiry(entry)
        if not rows and error is None and lane.tail_count and self._owner.committer.idle:
            # All is committed and nothing is there: the count was off, the disk is right.
            queue.visible -= lane.tail_count
            lane.tail_count = 0
        elif not rows:
            self._hungry[lane] = queue
        self._owner.loaded(queue)

    def committed(self) -> None:
        """Rows that were on their way to the disk can be read now."""
        hungry, self._hungry = self._hungry, {}
        for lane, queue in hungry.items():
            if lane.tail_count and not queue.deleted:
                self.refill(queue, lane)

    # -- times

    def note_delay(self, entry: Entry) -> None:
        """An entry is not visible before `entry.visible_at`."""
        queue, visible_at = entry.queue, entry.visible_at
        assert visible_at is not None
        near = visible_at <= self._horizon or isinstance(queue, FifoQueue)
        if near or entry.status == MEMORY:
            queue.delayed[entry.id] = entry
            self._owner.schedule.add(entry, visible_at)
        else:
            queue.delayed_on_disk += 1

    def note_expiry(self, entry: Entry) -> None:
        """An entry in memory ends at `entry.expires_at`."""
        expires_at = entry.expires_at
        assert expires_at is not None
        if expires_at <= self._horizon or entry.status == MEMORY:
            self._owner.schedule.add(entry, expires_at)

    def note_expiring_tail(self) -> None:
        """An entry that is on disk only will expire."""
        self._expiring_tails = True

    def _arm(self) -> None:
        self._sweep = self._loop.call_later(SWEEP_SECONDS, self._tick)

    def _tick(self) -> None:
        self._arm()
        if self._expiring_tails:
            self._sweep_expired()
        self._owner.look_for_idle()
        if self._loop.time() >= self._window_due:
            self._window_due = self._loop.time() + WINDOW_MS / 2000
            self._move_window()

    def _sweep_expired(self) -> None:
        def done(rows: list[Any], _error: Exception | None) -> None:
            self._loop.call_soon_threadsafe(self._expired_on_disk, rows)

        self._database.query(
            f"SELECT {ENTRY_COLUMNS} WHERE e.expires_at <= ? ORDER BY e.expires_at LIMIT ?",
            (self._clock.epoch_ms(), EXPIRED_ROWS_MAX),
            done,
        )

    def _expired_on_disk(self, rows: list[Any]) -> None:
        for row in rows:
            queue = self._owner.queue_by_id((row[0] >> LANE_BITS) // BANDS_MAX)
            if queue is None or queue.deleted:
                continue
            lane = queue.lane_of_entry(row[0])
            in_tail = row[1] is None and row[0] > lane.cursor and lane.tail_count > 0
            if in_tail and row[0] not in lane.skipped:
                lane.skipped.add(row[0])
                lane.tail_count -= 1
                self._owner.leave_expired(entry_from_row(queue, row))

    def _move_window(self) -> None:
        """Give timers to what comes near: first to new entries, then to those on disk."""
        start, self._horizon = self._horizon, self._clock.epoch_ms() + WINDOW_MS
        end = self._horizon

        def done(rows: list[Any], _error: Exception | None) -> None:
            self._loop.call_soon_threadsafe(self._window_loaded, rows)

        def committed(_: UnitOfWork) -> None:
            self._database.query(
                f"SELECT {ENTRY_COLUMNS} WHERE e.visible_at > ? AND e.visible_at <= ?"
                " AND e.receive_count = 0",
                (start, end),
                done,
            )

        unit = UnitOfWork(committed)
        self._owner.committer.wait(unit)
        self._owner.committer.consider()

    def _window_loaded(self, rows: list[Any]) -> None:
        for row in rows:
            queue = self._owner.queue_by_id((row[0] >> LANE_BITS) // BANDS_MAX)
            if queue is None or queue.deleted or row[0] in queue.delayed:
                continue
            queue.delayed_on_disk = max(queue.delayed_on_disk - 1, 0)
            self.note_delay(entry_from_row(queue, row))

    # -- at a start

    def recover(self) -> tuple[list[EmbeddedQueue], int, list[tuple[int, int]]]:
        """Read queues and counts; returns the queues, the last content id and ranges without a
        queue.
        """
        queues = {row[0]: self._queue_from_row(row) for row in self._queue_rows()}
        orphans = []
        ask = self._database.query_now
        for number, count, waiting, last in ask(
            f"SELECT id >> {LANE_BITS}, count(*), sum(visible_at IS NULL), max(id)"
            f" FROM entry GROUP BY id >> {LANE_BITS}"
        ):
            queue = queues.get(number // BANDS_MAX)
            if queue is None:
                orphans.append((number << LANE_BITS, ((number + 1) << LANE_BITS) - 1))
                continue
            lane = queue.lane_of_entry(last)
            lane.next_id = last + 1
            lane.tail_count = waiting
            queue.visible += waiting
            queue.delayed_on_disk += count - waiting
        for row in ask(
            f"SELECT {ENTRY_COLUMNS} WHERE e.visible_at IS NOT NULL"
            " AND (e.receive_count > 0 OR e.visible_at <= ?)",
            (self._horizon,),
        ):
            queue = queues.get((row[0] >> LANE_BITS) // BANDS_MAX)
            if queue is not None:
                self._recover_hidden(queue, entry_from_row(queue, row))
        self._recover_deduplications(queues)
        self._expiring_tails = bool(ask("SELECT 1 FROM entry WHERE expires_at IS NOT NULL LIMIT 1"))
        ((contents,),) = ask("SELECT coalesce(max(id), 0) FROM content")
        return list(queues.values()), contents, orphans

    def _queue_rows(self) -> list[Any]:
        return self._database.query_now("SELECT id, namespace, name, record FROM queue")

    def _queue_from_row(self, row: Any) -> EmbeddedQueue:
        record = msgspec.msgpack.decode(row[3], type=QueueRecord)
        make = FifoQueue if record.settings.fifo else EmbeddedQueue
        queue = make(QueueName(row[1], row[2]), record.settings, row[0], self._limits)
        queue.created_at, queue.modified_at = record.created_at, record.modified_at
        return queue

    def _recover_hidden(self, queue: EmbeddedQueue, entry: Entry) -> None:
        """An entry that was received over HTTP, or whose delay ends soon."""
        queue.delayed_on_disk -= 1
        now = self._clock.epoch_ms()
        assert entry.visible_at is not None
        if entry.receive_count:
            queue.received[entry.id] = entry
        if entry.visible_at <= now:
            queue.visible += 1
            queue.put_back(entry)
        elif entry.receive_count:
            entry.held = True
            entry.deadline = entry.visible_at
            queue.held[entry.id] = entry
            queue.recover_held(entry)
            self._owner.schedule.add(entry, entry.visible_at)
        else:
            self.note_delay(entry)

    def _recover_deduplications(self, queues: dict[int, EmbeddedQueue]) -> None:
        now = self._clock.epoch_ms()
        for number, key, message_id, sequence_number, ends_at in self._database.query_now(
            "SELECT queue, key, message_id, sequence_number, expires_at FROM deduplication"
            " WHERE expires_at > ? ORDER BY expires_at",
            (now,),
        ):
            queue = queues.get(number)
            if isinstance(queue, FifoQueue):
                queue.accepted[key] = (Accepted(message_id, sequence_number), ends_at)
