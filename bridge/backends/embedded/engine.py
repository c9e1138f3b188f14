"""The engine: takes units of work in and pushes deliveries out. On the hot path.

Everything happens on the event loop's thread in turns: calls mark queues as dirty, and one turn at
the end of the loop's iteration dispatches them all, then considers a commit, then answers the units
that are done. So messages of many connections share one dispatch and one commit. A message may
reach a consumer before it is durable; its publisher is answered only after (see `committer`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bridge.backends.embedded.arrivals import Arrivals
from bridge.backends.embedded.committer import RETRY_SECONDS, Committer
from bridge.backends.embedded.departures import Departures
from bridge.backends.embedded.entry import GONE, MEMORY, NEW, STORED, Entry
from bridge.backends.embedded.expiry import Expiry
from bridge.backends.embedded.fifo import FifoQueue
from bridge.backends.embedded.handed import Handed
from bridge.backends.embedded.handles import ticket_from_entry
from bridge.backends.embedded.loader import Loader
from bridge.backends.embedded.schedule import Schedule
from bridge.messaging.errors import MessagingError, StoreUnavailable
from bridge.messaging.model import DeadLetterReason, QueueName, UnitOfWork

if TYPE_CHECKING:
    from bridge.backends.embedded.lane import Lane
    from bridge.backends.embedded.queue import EmbeddedQueue
    from bridge.messaging.clock import Clock
    from bridge.messaging.limits import Limits
    from bridge.messaging.ports import Queue
    from bridge.storage import Database


class Engine:
    """Queues by name, and what happens to the messages in them."""

    def __init__(self, database: Database, clock: Clock, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._limits = limits
        self.queues: dict[QueueName, EmbeddedQueue] = {}
        self.by_id: dict[int, EmbeddedQueue] = {}
        self.idle_handler: Callable[[Queue], None] | None = None
        self.expiring: dict[EmbeddedQueue, None] = {}
        """Queues that are removed when nobody uses them."""
        self.committer = Committer(database, clock, limits, self)
        self.schedule: Schedule[Entry] = Schedule(clock, self._due, _still_due)
        self.expiry = Expiry(database, clock, limits, self)
        self.loader = Loader(database, clock, limits, self)
        self.handed = Handed(limits, self)
        self.departures = Departures(self, self._later)
        self.arrivals = Arrivals(clock, limits, self)
        self.dirty: dict[EmbeddedQueue, None] = {}
        """Queues that the next turn looks at."""
        self._scheduled = False

    async def close(self) -> None:
        """Commit what was submitted; nothing may be submitted after."""
        self.schedule.close()
        self.expiry.close()
        self.loader.close()
        self.handed.close()
        for queue in self.queues.values():
            queue.end_waits(None)
            for receiver in queue.receivers:
                receiver.end()
        done: asyncio.Future[None] = self._loop.create_future()
        self.barrier(UnitOfWork(lambda _: done.set_result(None)))
        await done
        self.committer.close()

    # -- in

    def submit(self, unit: UnitOfWork) -> None:
        """See `bridge.messaging.ports.Store.submit`."""
        unit.remaining += 1
        atomic = unit.atomic
        durable = bool(unit.state)
        if unit.sends:
            self.arrivals.send(unit)
        if unit.deletes:
            # What was settled together with a send or a change must not go without it.
            joined = unit if atomic or durable or unit.remaining > 1 else None
            durable |= self.delete_all(unit.deletes, joined)  # type: ignore[arg-type]
        for delivery in unit.releases:
            self.release(delivery)  # type: ignore[arg-type]
        for delivery in unit.returns:
            self.release(delivery, counted=True)  # type: ignore[arg-type]
        for change in unit.state:
            self.committer.change_state(change)
        if atomic or (durable and (unit.answered or unit.state)):
            self.committer.wait(unit)
        self.committer.ended(unit)
        if self.dirty or not self.committer.busy:
            # Otherwise the commit that is being written has a turn at its end.
            self.wake_up()

    # -- settling

    def delete(self, entry: Entry) -> None:
        """Take an entry out of its queue."""
        self.delete_all((entry,))

    def delete_all(self, entries: Sequence[Entry], joined: UnitOfWork | None = None) -> bool:
        """Take entries out of their queues; True if the disk has to follow."""
        committer = self.committer
        delete_stored = committer.deletes.append
        durable = False
        for entry in entries:
            queue, status = entry.queue, entry.status
            if status == GONE:
                # Settled before, which may not be durable yet.
                durable |= not queue.transient
                continue
            if status == STORED and joined is None:
                entry.status = GONE
                delete_stored(entry)
                durable = True
            else:
                durable |= committer.settle(entry, joined)
            if entry.held:
                del queue.held[entry.id]
                entry.held = False
            elif queue.delayed.pop(entry.id, None) is None:
                queue.visible -= 1
                if queue.weighed:
                    queue.bytes -= len(entry.message.body)
            if entry.ticket:
                queue.received.pop(entry.ticket, None)
            if queue.particular:
                queue.settled(entry)
                self.dirty[queue] = None
        return durable

    def release(self, entry: Entry, *, counted: bool = False) -> None:
        """Make a held entry visible again, in its old place."""
        if not entry.held or entry.status == GONE:
            return
        queue = entry.queue
        if entry.refused:
            # Its publisher will send it again, so nobody else gets it.
            self.delete(entry)
            return
        entry.held = False
        entry.deadline = None
        del queue.held[entry.id]
        queue.visible += 1
        if queue.weighed:
            queue.bytes += len(entry.message.body)
        if entry.status == NEW:
            self.committer.unheld += 1
        if counted:
            entry.return_count += 1
        if entry.visible_at is not None:
            entry.visible_at = self._clock.epoch_ms()
        if counted or entry.visible_at is not None or entry.counted != entry.receive_count:
            self.committer.received((entry,))
        queue.put_back(entry)
        if entry.expires_at is not None:
            self.expiry.note(queue, entry.expires_at)
        self.dirty[queue] = None

    def hold_until(self, entry: Entry, deadline: int) -> None:
        """Put a held entry under a visibility timeout that ends at `deadline` (epoch ms)."""
        entry.deadline = entry.visible_at = deadline
        entry.queue.note_received(entry)
        self.committer.received((entry,))
        self.schedule.add(entry, deadline)

    def hide(self, entries: Sequence[Entry], now: int, deadline: int) -> None:
        """Put entries of one queue, received `now`, under a visibility timeout (in epoch ms)."""
        received = entries[0].queue.received
        for entry in entries:
            entry.received_at = now
            if entry.first_received_at is None:
                entry.first_received_at = now
            entry.deadline = entry.visible_at = deadline
            ticket = entry.ticket = entry.ticket or ticket_from_entry(entry)
            received[ticket] = entry
        self.committer.received(entries)
        self.schedule.add_all(entries, deadline)

    # -- turns

    def wake(self, queue: EmbeddedQueue) -> None:
        """Look at a queue again in this turn."""
        self.dirty[queue] = None
        self.wake_up()

    def wake_up(self) -> None:
        """Have a turn in this iteration of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _later(self, callback: Callable[[], None]) -> None:
        def run() -> None:
            callback()
            self.wake_up()

        self._loop.call_later(RETRY_SECONDS, run)

    def _turn(self) -> None:
        """Dispatch, then commit, then answer."""
        self._scheduled = False
        dirty, self.dirty = self.dirty, {}
        if dirty:
            now = self._clock.epoch_ms()
            for queue in dirty:
                if queue.particular:
                    self.departures.trim(queue, self)
                if queue.visible > 0 and queue.receivers:
                    self._dispatch(queue, now)
        if self.departures:
            self.departures.go()
        self.committer.consider()
        self.answer()
        if self.dirty:
            # Something left for another queue, or came back, after that one had had its turn.
            self.wake_up()

    def answer(self) -> None:
        """Call back the units that have finished."""
        finished, self.committer.finished = self.committer.finished, []
        for unit in finished:
            self.arrivals.unblock(unit)
            if unit.done is not None:
                self._call(unit.done, unit)

    def _call(self, callback: Callable[[Any], None], argument: Any) -> None:
        """Call out; a mistake of one callee must not cost the others their turn."""
        try:
            callback(argument)
        except Exception as error:  # noqa: BLE001 - reported, with its traceback
            # Not its repr: that of a partial shows its arguments, and so what clients sent.
            name = getattr(callback, "__qualname__", type(callback).__name__)
            self.report(f"{name} failed in the store's turn", error)

    def report(self, message: str, error: Exception) -> None:
        self._loop.call_exception_handler({"message": message, "exception": error})

    def _dispatch(self, queue: EmbeddedQueue, now: int) -> None:
        for receiver, entries in queue.dispatch(now, self):
            if receiver.gone:
                # Cancelled by another receiver of this very turn.
                for entry in entries:
                    self.release(entry)
                continue
            if not receiver.pulls:
                self.handed.note(entries)
            self._call(receiver.hand, entries)

    def _due(self, entry: Entry, at: int) -> None:
        """A time has come for an entry; see `Schedule`."""
        queue = entry.queue
        if entry.status == GONE:
            return
        if entry.held:
            if entry.deadline == at:
                self.release(entry)
        elif entry.id in queue.delayed:
            if entry.visible_at is not None and entry.visible_at > at:
                return
            del queue.delayed[entry.id]
            queue.visible += 1
            if queue.weighed:
                queue.bytes += len(entry.message.body)
            queue.put_back(entry)
            if entry.expires_at is not None:
                self.expiry.note(queue, entry.expires_at)
            self.dirty[queue] = None
        self.wake_up()

    def delay_again(self, queue: FifoQueue) -> None:
        """Another delay applies to what waits already (SQS: first-in-first-out queues only)."""
        for entry in list(queue.delayed.values()):
            visible_at = entry.message.sent_at + queue.settings.delay_seconds * 1000
            if entry.visible_at != visible_at:
                entry.visible_at = visible_at
                self.committer.received((entry,))
                self.schedule.add(entry, visible_at)

    # -- what the committer reports

    def stored(self, entries: list[Entry]) -> None:
        """A commit is through: what waited for it becomes visible, tails can be read."""
        for entry in entries:
            if entry.blocked:
                entry.blocked = False
                queue = entry.queue
                self.wake(queue)
                if isinstance(queue, FifoQueue):
                    queue.uncommitted.pop(entry.sequence_number or "", None)
                    self.arrivals.end_followers(entry, None)
        self.read_on()

    def read_on(self) -> None:
        """Look again for rows that were on their way to the disk."""
        self.loader.committed()

    def refused(self, entry: Entry, error: MessagingError) -> None:
        """An entry was not stored: it leaves, unless somebody holds it already."""
        queue = entry.queue
        entry.refused = True
        if isinstance(queue, FifoQueue):
            queue.take_back(entry)
            self.arrivals.end_followers(entry, error)
        if entry.status == GONE:
            return
        if entry.held:
            entry.status = MEMORY
            return
        entry.status = GONE
        if entry.visible_at is not None and entry.away:
            queue.delayed_on_disk -= 1
        elif queue.delayed.pop(entry.id, None) is None:
            queue.visible -= 1
            if queue.weighed:
                queue.bytes -= len(entry.message.body)
            if entry.away:
                queue.lane_of_entry(entry.id).tail_count -= 1
        queue.settled(entry)

    def restore(self, entry: Entry, status: int) -> None:
        """An entry whose settling failed is held by nobody and becomes visible again."""
        queue = entry.queue
        if entry.refused or queue.deleted:
            return
        # WRITING stays: where its own commit was refused as well, it is to be tried again.
        entry.status = status
        entry.held = True
        queue.held[entry.id] = entry
        if entry.received_at:
            queue.note_received(entry)
        self.release(entry)

    # -- what the queue and the loader report

    def taken(self, unwritten: int) -> None:
        self.committer.unheld -= unwritten

    def refill(self, queue: EmbeddedQueue, lane: Lane) -> None:
        self.loader.refill(queue, lane)

    def loaded(self, queue: EmbeddedQueue, error: Exception | None = None) -> None:
        queue.end_waits(StoreUnavailable(f"the store cannot read: {error}") if error else None)
        self.wake(queue)

    def expired(self, entry: Entry) -> None:
        self.departures.leave(entry, DeadLetterReason.EXPIRED)

    def redriven(self, entry: Entry) -> bool:
        return self.departures.redrive(entry)

    def look_for_idle(self) -> None:
        now = self._clock.epoch_ms()
        for queue in [each for each in self.expiring if each.idle(now)]:
            del self.expiring[queue]
            if self.idle_handler is not None and not queue.deleted:
                self._call(self.idle_handler, queue)

    def queue_by_id(self, queue_id: int) -> EmbeddedQueue | None:
        return self.by_id.get(queue_id)

    def find(self, name: QueueName) -> EmbeddedQueue | None:
        return self.queues.get(name)

    # -- whole queues

    def barrier(self, unit: UnitOfWork) -> None:
        """Answer `unit` once everything submitted so far is durable, receives included."""
        self.committer.write_receives()
        self.committer.wait(unit)
        self.wake_up()

    def forget(self, queue: EmbeddedQueue, *, held: bool) -> None:
        """Drop a queue's messages: all, or (purge) those that no connection holds."""
        kept = {} if held else {i: e for i, e in queue.held.items() if e.deadline is None}
        gone = [entry for entry in queue.held.values() if entry.id not in kept]
        gone += queue.waiting()
        gone += queue.delayed.values()
        gone += [
            entry
            for entry in self.committer.pending + self.committer.writing()
            if entry.queue is queue
        ]
        for entry in gone:
            if entry.id in kept:
                continue
            if entry.status == NEW:
                self.committer.settle(entry)
            entry.status = GONE
            if isinstance(queue, FifoQueue):
                queue.uncommitted.pop(entry.sequence_number or "", None)
                self.arrivals.end_followers(entry, None)
        for entry in self.committer.settled_jointly():
            if entry.queue is queue:
                entry.refused = True
        if not queue.transient or queue.spilled:
            for lane in queue.lanes:
                for first, last in _ranges_between(lane.first_id, lane.next_id - 1, kept):
                    self.committer.purge(first, last)
        queue.held = kept
        queue.received.clear()
        queue.forget()
        queue.end_waits(None)


def _ranges_between(first: int, last: int, kept: Iterable[int]) -> Iterator[tuple[int, int]]:
    """What is left of first..last without the ids in `kept`."""
    for number in sorted(number for number in kept if first <= number <= last):
        if number > first:
            yield first, number - 1
        first = number + 1
    if first <= last:
        yield first, last


def _still_due(entry: Entry, at: int) -> bool:
    """Whether anything is to happen to an entry at a time for which it was scheduled."""
    if entry.status == GONE:
        return False
    if entry.held:
        return entry.deadline == at
    visible_at = entry.visible_at
    return entry.id in entry.queue.delayed and (visible_at is None or visible_at <= at)
