"""What comes back from disk: tails of lanes, delays that end soon; all at a start.

Only what is due within `WINDOW_MS` has a timer in memory; what lies further ahead stays on disk and
is looked for once in a window. A message stands in memory at most once: the tail is what lies
behind a lane's cursor.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from bridge.backends.embedded.codec import ENTRY_COLUMNS, entry_from_row, message_from_row
from bridge.backends.embedded.entry import GONE, LANE_BITS, MEMORY, Entry
from bridge.backends.embedded.fifo import FifoQueue
from bridge.backends.embedded.queue import BANDS_MAX, EmbeddedQueue, queue_id_of
from bridge.messaging.model import Accepted, QueueName, QueueSettings, UnitOfWork

if TYPE_CHECKING:
    from bridge.backends.embedded.committer import Committer
    from bridge.backends.embedded.expiry import Expiry
    from bridge.backends.embedded.lane import Lane
    from bridge.backends.embedded.schedule import Schedule
    from bridge.messaging.clock import Clock
    from bridge.messaging.limits import Limits
    from bridge.storage import Database

WINDOW_MS: Final = 60_000
SWEEP_SECONDS: Final = 1.0
"""Time between two looks at what has expired on disk and at unused queues."""
RETRY_SECONDS: Final = 1.0
"""Pause after a read that failed."""


class QueueRecord(msgspec.Struct):
    """What is stored of a queue besides its name."""

    settings: QueueSettings
    created_at: int
    modified_at: int


class Recovered(NamedTuple):
    """What a start found: the queues, the last numbers, and ranges of ids without a queue."""

    queues: list[EmbeddedQueue]
    content_id: int
    sequence: int
    orphans: list[tuple[int, int]]


class Owner(Protocol):
    """What the loader needs of the engine."""

    committer: Committer
    schedule: Schedule[Entry]
    expiry: Expiry

    def loaded(self, queue: EmbeddedQueue, error: Exception | None = None) -> None:
        """The queue has more in memory than before, or its tail could not be read."""
        ...

    def report(self, message: str, error: Exception) -> None:
        """Tell the loop's exception handler."""
        ...

    def look_for_idle(self) -> None:
        """Report the queues that nobody uses any more."""
        ...

    def barrier(self, unit: UnitOfWork) -> None:
        """Answer `unit` once everything submitted so far is durable."""
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
        self._sweep: asyncio.TimerHandle | None = None
        self._window_due = self._loop.time() + WINDOW_MS / 2000
        self._hungry: dict[Lane, EmbeddedQueue] = {}
        self.corrections = 0
        """How often a count turned out to be off, which it should never be."""
        self._arm()

    def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    # -- tails

    def refill(self, queue: EmbeddedQueue, lane: Lane) -> None:
        """Read the next part of a lane's tail, unless that is under way."""
        if not lane.loading:
            lane.loading = True
            self._read(queue, lane)

    def _read(self, queue: EmbeddedQueue, lane: Lane) -> None:
        generation = lane.generation
        # It may stand there from before a purge, and would be read a second time.
        self._hungry.pop(lane, None)
        committer = self._owner.committer
        # What the reader sees depends on when it looks, so the state is noted before it is asked.
        complete, answered = committer.idle, committer.answered

        def done(rows: list[Any], error: Exception | None) -> None:
            answer = partial(self._refilled, queue, lane, generation, complete, answered)
            self._loop.call_soon_threadsafe(answer, rows, error)

        self._database.query(
            f"SELECT {ENTRY_COLUMNS}"
            " WHERE e.id > ? AND e.id <= ? AND e.visible_at IS NULL ORDER BY e.id LIMIT ?",
            (lane.cursor, lane.last_id, self._limits.queue_refill_messages),
            done,
            bytes_max=self._limits.queue_head_bytes_max,
        )

    def _refilled(
        self,
        queue: EmbeddedQueue,
        lane: Lane,
        generation: int,
        complete: bool,
        answered: int,
        rows: list[Any],
        error: Exception | None,
    ) -> None:
        """Everything was committed when the rows were asked for if `complete`; `answered` is the
        number of commits until then.
        """
        if queue.deleted or lane.generation != generation:
            return
        if error is not None:
            # The lane counts as being read until the pause is over; who waits for it is told.
            self._loop.call_later(RETRY_SECONDS, self._read_again, queue, lane, generation)
            self._owner.loaded(queue, error)
            return
        for row in rows:
            lane.cursor = row[0]
            if row[0] not in lane.skipped:
                lane.tail_count -= 1
                self._append(queue, lane, row)
        if not rows and lane.tail_count and not complete:
            # The rest was on its way to the disk; until it is read, the lane is being read.
            if self._owner.committer.answered != answered:
                self._read(queue, lane)
            else:
                self._hungry[lane] = queue
            return
        lane.loading = False
        if not rows and lane.tail_count:
            # All was committed and nothing is there: the count was off, the disk is right.
            self.corrections += 1
            queue.visible -= lane.tail_count
            lane.tail_count = 0
        self._owner.loaded(queue)

    def _append(self, queue: EmbeddedQueue, lane: Lane, row: Any) -> None:
        try:
            entry = entry_from_row(queue, row)
        except Exception as error:  # noqa: BLE001 - one damaged row must not stop its queue
            self._owner.report(f"cannot decode message {row[0]} of '{queue.name.name}'", error)
            queue.visible -= 1
            return
        queue.append(lane, entry)
        if entry.expires_at is not None:
            self._owner.expiry.note(queue, entry.expires_at)

    def _read_again(self, queue: EmbeddedQueue, lane: Lane, generation: int) -> None:
        if not queue.deleted and lane.generation == generation:
            lane.loading = False
            self._owner.loaded(queue)

    def committed(self) -> None:
        """Rows that were on their way to the disk can be read now, or never will."""
        hungry, self._hungry = self._hungry, {}
        for lane, queue in hungry.items():
            if queue.deleted or not lane.loading:
                continue
            if lane.tail_count:
                self._read(queue, lane)
            else:
                lane.loading = False
                self._owner.loaded(queue)

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
            entry.away = True
            queue.delayed_on_disk += 1

    def _arm(self) -> None:
        self._sweep = self._loop.call_later(SWEEP_SECONDS, self._tick)

    def _tick(self) -> None:
        self._arm()
        self._owner.expiry.sweep()
        self._owner.look_for_idle()
        if self._loop.time() >= self._window_due:
            self._window_due = self._loop.time() + WINDOW_MS / 2000
            self._move_window()

    def _move_window(self) -> None:
        """Give timers to what comes near: first to new entries, then to those on disk."""
        start = self._horizon
        # It never goes back, or what has a timer already would be read a second time.
        end = self._horizon = max(start, self._clock.epoch_ms() + WINDOW_MS)
        self._load_window(start, end)

    def _load_window(self, start: int, end: int) -> None:
        def done(rows: list[Any], error: Exception | None) -> None:
            self._loop.call_soon_threadsafe(self._window_loaded, start, end, rows, error)

        def committed(_: UnitOfWork) -> None:
            self._database.query(
                f"SELECT {ENTRY_COLUMNS} WHERE e.visible_at > ? AND e.visible_at <= ?"
                " AND e.receive_count = 0",
                (start, end),
                done,
            )

        self._owner.barrier(UnitOfWork(committed))

    def _window_loaded(
        self, start: int, end: int, rows: list[Any], error: Exception | None
    ) -> None:
        if error is not None:
            self._loop.call_later(RETRY_SECONDS, self._load_window, start, end)
            return
        for row in rows:
            queue = self._owner.queue_by_id(queue_id_of(row[0]))
            if queue is None or queue.deleted or row[0] in queue.delayed:
                continue
            if row[0] <= queue.lane_of_entry(row[0]).floor:
                # Purged; the row only waits to be deleted.
                continue
            queue.delayed_on_disk = max(queue.delayed_on_disk - 1, 0)
            self.note_delay(entry_from_row(queue, row))

    # -- at a start

    def recover(self) -> Recovered:
        """Read queues and counts."""
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
            lane.recovered_id = last
            lane.tail_count = waiting
            queue.visible += waiting
            queue.delayed_on_disk += count - waiting
            if queue.weighed:
                queue.bytes += self._weigh(lane)
        for row in ask(
            f"SELECT {ENTRY_COLUMNS} WHERE e.visible_at IS NOT NULL"
            " AND (e.receive_count > 0 OR e.visible_at <= ?)",
            (self._horizon,),
        ):
            queue = queues.get(queue_id_of(row[0]))
            if queue is not None:
                self._recover_hidden(queue, entry_from_row(queue, row))
        self._owner.expiry.tails = bool(
            ask("SELECT 1 FROM entry WHERE expires_at IS NOT NULL LIMIT 1")
        )
        ((contents,),) = ask("SELECT coalesce(max(id), 0) FROM content")
        sequence = self._recover_sequences(queues)
        return Recovered(list(queues.values()), contents, sequence, orphans)

    def _weigh(self, lane: Lane) -> int:
        ((weight,),) = self._database.query_now(
            "SELECT coalesce(sum(coalesce(length(e.body), length(c.body))), 0)"
            " FROM entry e LEFT JOIN content c ON c.id = e.content"
            " WHERE e.id BETWEEN ? AND ? AND e.visible_at IS NULL",
            (lane.first_id, lane.last_id),
        )
        return int(weight)

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
            queue.note_received(entry)
        if entry.visible_at <= now:
            queue.visible += 1
            if queue.weighed:
                queue.bytes += len(entry.message.body)
            queue.put_back(entry)
            if entry.expires_at is not None:
                self._owner.expiry.note(queue, entry.expires_at)
        elif entry.receive_count:
            entry.held = True
            entry.deadline = entry.visible_at
            queue.held[entry.id] = entry
            queue.recover_held(entry)
            self._owner.schedule.add(entry, entry.visible_at)
        else:
            self.note_delay(entry)

    def lookup(self, queue: EmbeddedQueue, entry_id: int) -> Entry | None:
        """Find an entry that was stored before this start, wherever it is now.

        It may have been received then, and the process killed before that was written.
        """
        lane = queue.lane_of_entry(entry_id)
        if entry_id > lane.recovered_id:
            return None
        if entry_id in queue.held:
            return queue.held[entry_id]
        for entry in queue.waiting():
            if entry.id == entry_id and entry.status != GONE:
                return entry
        if not lane.in_tail(entry_id):
            return None
        rows = self._database.query_now(
            f"SELECT {ENTRY_COLUMNS} WHERE e.id = ? AND e.visible_at IS NULL", (entry_id,)
        )
        if not rows:
            return None
        entry = entry_from_row(queue, rows[0])
        self._owner.expiry.skip(lane, entry)
        queue.put_back(entry)
        return entry

    def leftover(self, queue_id: int) -> bool:
        """True while something of an earlier queue with that number is still to be deleted."""
        first = (queue_id * BANDS_MAX) << LANE_BITS
        last = ((queue_id + 1) * BANDS_MAX << LANE_BITS) - 1
        return bool(
            self._database.query_now(
                "SELECT 1 FROM purge WHERE first <= ? AND last >= ? LIMIT 1", (last, first)
            )
        )

    def _recover_sequences(self, queues: dict[int, EmbeddedQueue]) -> int:
        """Read what first-in-first-out queues accepted lately.

        Returns the highest sequence number that can be found: the clock may have gone back since.
        """
        now = self._clock.epoch_ms()
        highest = 0
        for number, key, message_id, sequence_number, ends_at in self._database.query_now(
            "SELECT queue, key, message_id, sequence_number, expires_at FROM deduplication"
            " ORDER BY expires_at"
        ):
            highest = max(highest, int(sequence_number))
            queue = queues.get(number)
            if isinstance(queue, FifoQueue) and ends_at > now:
                queue.accepted[key] = (Accepted(message_id, sequence_number), ends_at)
        for queue in queues.values():
            if isinstance(queue, FifoQueue):
                highest = max([highest, *map(self._last_sequence, queue.lanes)])
        return highest

    def _last_sequence(self, lane: Lane) -> int:
        rows = self._database.query_now(
            "SELECT head FROM entry WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
            (lane.first_id, lane.last_id),
        )
        return int(message_from_row(rows[0][0], b"")[1] or 0) if rows else 0
