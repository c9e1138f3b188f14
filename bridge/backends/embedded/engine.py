"""The engine: takes units of work in and pushes deliveries out. On the hot path.

Everything happens on the event loop's thread in turns: calls mark queues as dirty, and one turn at
the end of the loop's iteration dispatches them all, then considers a commit, then answers the units
that are done. So messages of many connections share one dispatch and one commit. A message may
reach a consumer before it is durable; its publisher is answered only after (see `committer`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from bridge.backends.embedded.committer import Committer
from bridge.backends.embedded.entry import GONE, MEMORY, NEW, STORED, Content, Entry
from bridge.backends.embedded.fifo import FifoQueue
from bridge.backends.embedded.loader import Loader
from bridge.backends.embedded.schedule import Schedule
from bridge.messaging.errors import QueueDoesNotExist, QueueFull
from bridge.messaging.model import (
    Accepted,
    DeadLetterReason,
    Message,
    QueueName,
    UnitOfWork,
)

if TYPE_CHECKING:
    from bridge.backends.embedded.lane import Lane
    from bridge.backends.embedded.queue import EmbeddedQueue
    from bridge.messaging.clock import Clock
    from bridge.messaging.limits import Limits
    from bridge.messaging.ports import DeadLetterer, Queue
    from bridge.storage import Database

SHARED_BODY_BYTES_MIN = 512
"""Bodies below this are stored with each copy: that is cheaper than sharing them."""


class Engine:
    """Queues by name, and what happens to the messages in them."""

    def __init__(self, database: Database, clock: Clock, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._limits = limits
        self.queues: dict[QueueName, EmbeddedQueue] = {}
        self.by_id: dict[int, EmbeddedQueue] = {}
        self.dead_letterer: DeadLetterer | None = None
        self.idle_handler: Callable[[Queue], None] | None = None
        self.expiring: dict[EmbeddedQueue, None] = {}
        """Queues that are removed when nobody uses them."""
        self.committer = Committer(database, limits, self._committed, self._wake)
        self.schedule = Schedule(clock, self._due)
        self.loader = Loader(database, clock, limits, self)
        self._dirty: dict[EmbeddedQueue, None] = {}
        self._scheduled = False
        self._blocked: dict[int, list[Entry]] = {}
        self._leaving: dict[tuple[EmbeddedQueue, DeadLetterReason], list[Entry]] = {}
        self._redriving: list[Entry] = []
        self._handed: deque[tuple[float, list[Entry]]] = deque()
        self._handed_timer: asyncio.TimerHandle | None = None
        self._contents = 0
        self._sequence = 0

    def continue_contents(self, last_id: int) -> None:
        """Number shared bodies above those that are stored."""
        self._contents = last_id

    async def close(self) -> None:
        """Commit what was submitted; nothing may be submitted after."""
        self.schedule.close()
        self.loader.close()
        if self._handed_timer is not None:
            self._handed_timer.cancel()
        self._handed_all()
        done: asyncio.Future[None] = self._loop.create_future()
        self.barrier(UnitOfWork(lambda _: done.set_result(None)))
        await done

    # -- in

    def submit(self, unit: UnitOfWork) -> None:
        """See `bridge.messaging.ports.Store.submit`."""
        unit.remaining += 1
        atomic = unit.atomic
        durable = bool(unit.state)
        if unit.sends:
            self._send(unit)
        for delivery in unit.deletes:
            durable |= self._delete(delivery, atomic=atomic)  # type: ignore[arg-type]
        for delivery in unit.releases:
            self.release(delivery)  # type: ignore[arg-type]
        for delivery in unit.returns:
            self.release(delivery, counted=True)  # type: ignore[arg-type]
        for change in unit.state:
            self.committer.change_state(change)
        if durable and (atomic or unit.answered or unit.state):
            self.committer.wait(unit)
        self.committer.ended(unit)
        self._wake()

    def _send(self, unit: UnitOfWork) -> None:
        """Append every send to its queue; one loop, since it runs once per message."""
        now = self._clock.epoch_ms()
        add = self.committer.add
        last: Entry | None = None
        for index, (target, message) in enumerate(unit.sends):
            queue: EmbeddedQueue = target  # type: ignore[assignment]
            if queue.deleted:
                unit.failures[index] = QueueDoesNotExist(f"queue '{queue.name.name}' is gone")
                continue
            if queue.particular and not self._admitted(queue, message, unit, index, now):
                continue
            lane = queue.lane_of(message.priority)
            entry = Entry(queue, message, lane.next_id, MEMORY)
            lane.next_id += 1
            if last is not None and message is last.message:
                self._share(entry, last)
            last = entry
            if not queue.transient:
                entry.status = NEW
                entry.unit = unit
                unit.remaining += 1
                add(entry)
            if isinstance(queue, FifoQueue):
                self._number(queue, entry, unit, index, now)
            elif unit.atomic:
                self._block(entry, unit)
            if (
                message.expires_at is not None or message.visible_at is not None or queue.particular
            ) and self._put_off(entry, now):
                continue
            self._enqueue(entry, lane)

    def _admitted(
        self, queue: EmbeddedQueue, message: Message, unit: UnitOfWork, index: int, now: int
    ) -> bool:
        """Hold a queue to its length, and a first-in-first-out queue to its deduplication."""
        if isinstance(queue, FifoQueue):
            original = queue.duplicate_of(message, now)
            if original is not None:
                unit.accepted[index] = original
                return False
        if queue.refuses(message):
            unit.failures[index] = QueueFull(f"queue '{queue.name.name}' is at its length limit")
            return False
        return True

    def _number(
        self, queue: FifoQueue, entry: Entry, unit: UnitOfWork, index: int, now: int
    ) -> None:
        """Number a first-in-first-out send; it is seen only once it was committed."""
        self._sequence = max(self._sequence + 1, now << 20)
        accepted = Accepted(entry.message.message_id, f"{self._sequence:020d}")
        entry.sequence_number = accepted.sequence_number
        entry.blocked = entry.status == NEW
        unit.accepted[index] = accepted
        row = queue.accept(entry.message, accepted, now)
        if row is not None:
            self.committer.remember_deduplication(row)

    def _enqueue(self, entry: Entry, lane: Lane) -> None:
        """A visible entry takes its place, in memory or on disk only."""
        queue = entry.queue
        queue.visible += 1
        queue.bytes += len(entry.message.body)
        if queue.full(lane):
            lane.append_to_tail(entry.id)
            if entry.status == MEMORY:
                # A transient queue spills: what does not fit in memory is written and read back.
                entry.status = NEW
                queue.spilled = True
                self.committer.add(entry)
            if entry.expires_at is not None:
                self.loader.note_expiring_tail()
        else:
            queue.append(lane, entry)
            if entry.expires_at is not None:
                self.loader.note_expiry(entry)
        self._dirty[queue] = None

    def _share(self, entry: Entry, first: Entry) -> None:
        """Store the body of a fan-out once."""
        if len(entry.message.body) < SHARED_BODY_BYTES_MIN:
            return
        if first.content is None:
            self._contents += 1
            first.content = Content(self._contents, entry.message.body)
        entry.content = first.content

    def _block(self, entry: Entry, unit: UnitOfWork) -> None:
        """Keep an entry from its receivers until its unit has been committed."""
        if entry.status == NEW:
            entry.blocked = True
        elif unit.atomic:
            entry.blocked = True
            self._blocked.setdefault(id(unit), []).append(entry)

    def _put_off(self, entry: Entry, now: int) -> bool:
        """Note when the entry expires and when it becomes visible; True if that is later."""
        queue, message = entry.queue, entry.message
        settings = queue.settings
        entry.expires_at = message.expires_at
        if settings.message_ttl_ms is not None:
            end = now + settings.message_ttl_ms
            entry.expires_at = end if entry.expires_at is None else min(entry.expires_at, end)
        visible_at = message.visible_at
        if visible_at is None and settings.delay_seconds:
            visible_at = now + settings.delay_seconds * 1000
        if visible_at is None or visible_at <= now:
            return False
        entry.visible_at = visible_at
        self.loader.note_delay(entry)
        return True

    # -- settling

    def _delete(self, entry: Entry, *, atomic: bool = False) -> bool:
        """Take an entry out of its queue; True if the disk has to follow."""
        if entry.status == GONE or entry.doomed:
            return False
        queue = entry.queue
        self.committer.settle(entry, atomic=atomic)
        queue.bytes -= len(entry.message.body)
        if entry.held:
            del queue.held[entry.id]
            entry.held = False
        elif queue.delayed.pop(entry.id, None) is None:
            queue.visible -= 1
        if queue.received:
            queue.received.pop(entry.id, None)
        if queue.particular:
            queue.settled(entry)
            self._dirty[queue] = None
        return entry.status != MEMORY

    def release(self, entry: Entry, *, counted: bool = False) -> None:
        """Make a held entry visible again, in its old place."""
        if not entry.held or entry.status == GONE:
            return
        queue = entry.queue
        entry.held = False
        entry.deadline = None
        del queue.held[entry.id]
        queue.visible += 1
        if entry.status == NEW:
            self.committer.unheld += 1
        if counted:
            entry.return_count += 1
        if entry.visible_at is not None:
            entry.visible_at = self._clock.epoch_ms()
        if counted or entry.visible_at is not None or entry.counted != entry.receive_count:
            self.committer.received(entry)
        queue.put_back(entry)
        self._dirty[queue] = None

    def hold_until(self, entry: Entry, deadline: int) -> None:
        """Put a held entry under a visibility timeout that ends at `deadline` (epoch ms)."""
        entry.deadline = deadline
        entry.visible_at = deadline
        entry.queue.received[entry.id] = entry
        self.committer.received(entry)
        self.schedule.add(entry, deadline)

    # -- turns

    def wake(self, queue: EmbeddedQueue) -> None:
        """Look at a queue again in this turn."""
        self._dirty[queue] = None
        self._wake()

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Dispatch, then commit, then answer."""
        self._scheduled = False
        dirty, self._dirty = self._dirty, {}
        if dirty:
            now = self._clock.epoch_ms()
            for queue in dirty:
                if queue.particular:
                    self._trim(queue)
                if queue.visible > 0 and queue.receivers:
                    self._dispatch(queue, now)
        if self._leaving or self._redriving:
            self._let_leave()
        self.committer.consider()
        finished, self.committer.finished = self.committer.finished, []
        for unit in finished:
            for entry in self._blocked.pop(id(unit), ()):
                entry.blocked = False
                self.wake(entry.queue)
            if unit.error is not None and unit.atomic:
                self._undo(unit)
            if unit.done is not None:
                self._call(unit.done, unit)

    def _call(self, callback: Callable[[Any], None], argument: Any) -> None:
        """Call out; a mistake of one callee must not cost the others their turn."""
        try:
            callback(argument)
        except Exception as error:  # noqa: BLE001 - reported, with its traceback
            self._loop.call_exception_handler(
                {"message": f"{callback!r} failed in the store's turn", "exception": error}
            )

    def _dispatch(self, queue: EmbeddedQueue, now: int) -> None:
        for receiver, entries in queue.dispatch(now, self):
            if not receiver.pulls:
                self._note_handed(entries)
            self._call(receiver.hand, entries)

    def _undo(self, unit: UnitOfWork) -> None:
        """An atomic unit failed: what it settled is held by nobody and becomes visible again."""
        for delivery in unit.deletes:
            entry: Entry = delivery  # type: ignore[assignment]
            entry.status = STORED
            entry.held = True
            entry.queue.held[entry.id] = entry
            self.release(entry)

    def _committed(self, entries: list[Entry]) -> None:
        """A commit is through: what waited for it becomes visible, tails can be read."""
        for entry in entries:
            if entry.blocked:
                entry.blocked = False
                self._dirty[entry.queue] = None
        self.loader.committed()

    def _due(self, entry: Entry, at: int) -> None:
        """A time has come for an entry; see `Schedule`."""
        queue = entry.queue
        if entry.held:
            if entry.deadline == at:
                self.release(entry)
        elif entry.id in queue.delayed:
            if entry.visible_at is not None and entry.visible_at > at:
                return
            del queue.delayed[entry.id]
            queue.visible += 1
            queue.put_back(entry)
            if entry.expires_at is not None:
                self.loader.note_expiry(entry)
            self._dirty[queue] = None
        elif entry.expires_at is not None and entry.expires_at <= at:
            self.expired(entry)
        self._wake()

    def delay_again(self, queue: FifoQueue) -> None:
        """Another delay applies to what waits already (SQS: first-in-first-out queues only)."""
        for entry in list(queue.delayed.values()):
            visible_at = entry.message.sent_at + queue.settings.delay_seconds * 1000
            if entry.visible_at != visible_at:
                entry.visible_at = visible_at
                self.committer.received(entry)
                self.schedule.add(entry, visible_at)

    # -- what the queue and the loader report

    def taken(self, unwritten: int) -> None:
        self.committer.unheld -= unwritten

    def refill(self, queue: EmbeddedQueue, lane: Lane) -> None:
        self.loader.refill(queue, lane)

    def loaded(self, queue: EmbeddedQueue) -> None:
        waiters, queue.load_waiters = queue.load_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.wake(queue)

    def expired(self, entry: Entry) -> None:
        self._leave(entry, DeadLetterReason.EXPIRED)

    def leave_expired(self, entry: Entry) -> None:
        self._leave(entry, DeadLetterReason.EXPIRED)

    def redriven(self, entry: Entry) -> bool:
        if self._redrive_target(entry.queue) is None:
            return False
        self._seize(entry)
        self._redriving.append(entry)
        self._wake()
        return True

    def look_for_idle(self) -> None:
        now = self._clock.epoch_ms()
        for queue in [each for each in self.expiring if each.idle(now)]:
            del self.expiring[queue]
            if self.idle_handler is not None and not queue.deleted:
                self._call(self.idle_handler, queue)

    def queue_by_id(self, queue_id: int) -> EmbeddedQueue | None:
        return self.by_id.get(queue_id)

    # -- leaving for the dead letters

    def _seize(self, entry: Entry) -> None:
        """Hold an entry on the engine's own behalf: lanes pass over it from now on."""
        entry.held = True
        entry.queue.held[entry.id] = entry
        entry.queue.visible -= 1
        if entry.status == NEW:
            self.committer.unheld -= 1

    def _leave(self, entry: Entry, reason: DeadLetterReason) -> None:
        self._seize(entry)
        self._leaving.setdefault((entry.queue, reason), []).append(entry)
        self._wake()

    def _trim(self, queue: EmbeddedQueue) -> None:
        """Drop the oldest messages of a queue that is over its length."""
        while queue.over_length() and (entry := queue.pop_oldest()) is not None:
            self._leave(entry, DeadLetterReason.MAXLEN)

    def _let_leave(self) -> None:
        leaving, self._leaving = self._leaving, {}
        for (queue, reason), entries in leaving.items():
            if self.dead_letterer is None:
                unit = UnitOfWork()
                unit.deletes = list(entries)
            else:
                unit = self.dead_letterer(queue, entries, reason)
            self.submit(unit)
        redriving, self._redriving = self._redriving, []
        for entry in redriving:
            self._redrive(entry)

    def _redrive(self, entry: Entry) -> None:
        """Move an entry to its queue's dead-letter queue, keeping its id and its counts.

        Copy and deletion are in the same commit, and so is the answer to a publisher that still
        waits.
        """
        queue = entry.queue
        target = self._redrive_target(queue)
        if target is None or entry.status == GONE:
            return
        message = msgspec.structs.replace(
            entry.message, dead_letter_source=queue.name.name, visible_at=None
        )
        if isinstance(target, FifoQueue):
            message.deduplication_id = message.message_id
        lane = target.lane_of(message.priority)
        copy = Entry(target, message, lane.next_id, NEW)
        lane.next_id += 1
        copy.receive_count = entry.receive_count
        copy.first_received_at = entry.first_received_at
        copy.unit, entry.unit = entry.unit, None
        self.committer.add(copy)
        if isinstance(target, FifoQueue):
            self._number(target, copy, UnitOfWork(), 0, self._clock.epoch_ms())
        self._delete(entry)
        self._enqueue(copy, lane)

    def _redrive_target(self, queue: EmbeddedQueue) -> EmbeddedQueue | None:
        redrive = queue.settings.redrive
        if redrive is None:
            return None
        return self.queues.get(QueueName(queue.name.namespace, redrive.queue))

    # -- whole queues

    def barrier(self, unit: UnitOfWork) -> None:
        """Answer `unit` once everything submitted so far is durable."""
        self.committer.wait(unit)
        self._wake()

    def forget(self, queue: EmbeddedQueue, *, held: bool) -> None:
        """Drop a queue's messages: all, or (purge) those that no connection holds."""
        kept = {} if held else {i: e for i, e in queue.held.items() if e.deadline is None}
        gone = [entry for entry in queue.held.values() if entry.id not in kept]
        gone += queue.waiting()
        gone += queue.delayed.values()
        gone += [
            entry
            for entry in self.committer.pending
            if entry.queue is queue and entry.status == NEW and entry.id not in kept
        ]
        for entry in gone:
            if entry.status == NEW:
                self.committer.settle(entry)
            entry.status = GONE
        if not queue.transient or queue.spilled:
            for lane in queue.lanes:
                for first, last in _ranges_between(lane.first_id, lane.next_id - 1, kept):
                    self.committer.purge(first, last)
        queue.held = kept
        queue.received.clear()
        queue.bytes = sum(len(entry.message.body) for entry in kept.values())
        queue.forget()

    # -- receive counts

    def _note_handed(self, entries: list[Entry]) -> None:
        """Write the receive counts of those that are still held after a while."""
        self._handed.append((self._loop.time(), entries))
        if self._handed_timer is None:
            self._arm_handed()

    def _arm_handed(self) -> None:
        self._handed_timer = self._loop.call_later(
            self._limits.receive_count_delay_seconds, self._write_handed
        )

    def _handed_all(self) -> None:
        for _, entries in self._handed:
            for entry in entries:
                if entry.held and entry.counted != entry.receive_count:
                    self.committer.received(entry)
        self._handed.clear()

    def _write_handed(self) -> None:
        self._handed_timer = None
        before = self._loop.time() - self._limits.receive_count_delay_seconds
        received = self.committer.received
        while self._handed and self._handed[0][0] <= before:
            for entry in self._handed.popleft()[1]:
                if entry.held and entry.counted != entry.receive_count:
                    received(entry)
        self._wake()
        if self._handed:
            self._arm_handed()


def _ranges_between(first: int, last: int, kept: Iterable[int]) -> Iterator[tuple[int, int]]:
    """What is left of first..last without the ids in `kept`."""
    for number in sorted(number for number in kept if first <= number <= last):
        if number > first:
            yield first, number - 1
        first = number + 1
    if first <= last:
        yield first, last
