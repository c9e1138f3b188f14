"""Messages on their way into their queues. On the hot path.

Every send of a unit of work becomes an entry: numbered, put into its place in memory or counted to
the tail, and noted for the next commit. What may not be seen before that is blocked until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bridge.backends.embedded.entry import MEMORY, NEW, Content, Entry
from bridge.backends.embedded.fifo import FifoQueue
from bridge.messaging.errors import MessagingError, QueueDoesNotExist, QueueFull
from bridge.messaging.model import Accepted

if TYPE_CHECKING:
    from bridge.backends.embedded.committer import Committer
    from bridge.backends.embedded.expiry import Expiry
    from bridge.backends.embedded.lane import Lane
    from bridge.backends.embedded.loader import Loader
    from bridge.backends.embedded.queue import EmbeddedQueue
    from bridge.messaging.clock import Clock
    from bridge.messaging.limits import Limits
    from bridge.messaging.model import Message, UnitOfWork

SHARED_BODY_BYTES_MIN = 512
"""Bodies below this are stored with each copy: that is cheaper than sharing them."""


class Owner(Protocol):
    """What arrivals need of the engine."""

    committer: Committer
    expiry: Expiry
    loader: Loader
    dirty: dict[EmbeddedQueue, None]

    def wake(self, queue: EmbeddedQueue) -> None:
        """Look at a queue again in this turn."""
        ...

    def delete(self, entry: Entry) -> None: ...


class Arrivals:
    """Makes entries of sends, and knows who waits for them to be durable."""

    def __init__(self, clock: Clock, limits: Limits, owner: Owner) -> None:
        self._clock = clock
        self._limits = limits
        self._owner = owner
        self._committer = owner.committer
        self._blocked: dict[int, list[Entry]] = {}
        self._followers: dict[str, list[tuple[UnitOfWork, int]]] = {}
        """By sequence number, the repetitions of first-in-first-out sends not yet durable."""
        self._contents = 0
        self._sequence = 0

    def continue_from(self, content_id: int, sequence: int) -> None:
        """Number shared bodies and first-in-first-out sends above those that are stored."""
        self._contents = content_id
        self._sequence = sequence

    def send(self, unit: UnitOfWork) -> None:
        """Append every send to its queue; one loop, since it runs once per message."""
        if self._send_alike(unit):
            return
        now = self._clock.epoch_ms()
        new: list[Entry] = []
        last: Entry | None = None
        for index, (target, message) in enumerate(unit.sends):
            queue: EmbeddedQueue = target  # type: ignore[assignment]
            if queue.deleted:
                unit.failures[index] = QueueDoesNotExist(f"queue '{queue.name.name}' is gone")
                continue
            if queue.particular and not self._admitted(queue, message, unit, index, now):
                continue
            if message.group_id is not None:
                lane = queue.lane_of_tenant(message, message.group_id)
            elif message.priority is not None or (usual := queue.usual_lane) is None:
                lane = queue.lane_of(message.priority)
            else:
                lane = usual
            entry = Entry(queue=queue, message=message, id=lane.next_id, status=MEMORY)
            lane.next_id += 1
            if last is not None and message.body is last.message.body:
                self._share(entry, last)
            last = entry
            if not queue.transient:
                entry.status = NEW
                entry.unit = unit
                new.append(entry)
            if isinstance(queue, FifoQueue):
                self.number(queue, entry, unit, index)
            elif unit.atomic:
                self._block(entry, unit)
            if (
                message.expires_at is not None or message.visible_at is not None or queue.particular
            ) and self._put_off(entry, now):
                continue
            self.enqueue(entry, lane, unit)
        unit.remaining += len(new)
        self._committer.add_all(new)

    def _send_alike(self, unit: UnitOfWork) -> bool:
        """Append sends that all go to one queue and have nothing of their own, as most do, at once;
        False for others.
        """
        queue: EmbeddedQueue = unit.sends[0][0]  # type: ignore[assignment]
        lane = queue.usual_lane
        if lane is None or unit.atomic or queue.transient or queue.particular or queue.deleted:
            return False
        next_id, size_bytes = lane.next_id, 0
        entries: list[Entry] = []
        for target, message in unit.sends:
            if (
                target is not queue
                or message.group_id is not None
                or message.priority is not None
                or message.expires_at is not None
                or message.visible_at is not None
            ):
                return False
            entries.append(Entry(queue=queue, message=message, id=next_id, status=NEW, unit=unit))
            next_id += 1
            size_bytes += len(message.body)
        if not lane.extend(entries, size_bytes, self._limits):
            return False
        lane.next_id = next_id
        queue.visible += len(entries)
        if queue.receivers:
            self._owner.dirty[queue] = None
        else:
            self._committer.urgent = True
        unit.remaining += len(entries)
        self._committer.add_all(entries)
        return True

    def _admitted(
        self, queue: EmbeddedQueue, message: Message, unit: UnitOfWork, index: int, now: int
    ) -> bool:
        """Hold a queue to its length, and a first-in-first-out queue to its deduplication."""
        if isinstance(queue, FifoQueue):
            original = queue.duplicate_of(message, now)
            if original is not None:
                unit.accepted[index] = original
                if original.sequence_number in queue.uncommitted:
                    unit.remaining += 1
                    followers = self._followers.setdefault(original.sequence_number, [])
                    followers.append((unit, index))
                return False
        if queue.refuses(message):
            unit.failures[index] = QueueFull(f"queue '{queue.name.name}' is at its length limit")
            return False
        return True

    def number(self, queue: FifoQueue, entry: Entry, unit: UnitOfWork, index: int = 0) -> None:
        """Number a first-in-first-out send; it is seen only once it was committed."""
        now = self._clock.epoch_ms()
        self._sequence = max(self._sequence + 1, now << 20)
        accepted = Accepted(entry.message.message_id, f"{self._sequence:020d}")
        entry.sequence_number = accepted.sequence_number
        unit.accepted[index] = accepted
        row = queue.accept(entry.message, accepted, now)
        if entry.status == NEW:
            entry.blocked = True
            queue.uncommitted[accepted.sequence_number] = entry
            if row is not None:
                self._committer.remember_deduplication(row)

    def end_followers(self, entry: Entry, error: MessagingError | None) -> None:
        """Answer the repetitions of a send with what became of it."""
        for unit, index in self._followers.pop(entry.sequence_number or "", ()):
            if error is not None:
                unit.accepted.pop(index, None)
                unit.failures[index] = error
            self._committer.ended(unit)

    def enqueue(self, entry: Entry, lane: Lane, unit: UnitOfWork | None = None) -> None:
        """A visible entry takes its place, in memory or on disk only."""
        queue = entry.queue
        queue.visible += 1
        if queue.weighed:
            queue.bytes += len(entry.message.body)
        if queue.offer(lane, entry):
            if entry.expires_at is not None:
                self._owner.expiry.note(queue, entry.expires_at)
        else:
            lane.append_to_tail(entry.id)
            entry.away = True
            if entry.status == MEMORY:
                # A transient queue spills: what does not fit in memory is written and read back.
                # Its publisher waits as for any write, or memory would fill with what is written.
                entry.status = NEW
                queue.spilled = True
                if unit is not None:
                    entry.unit = unit
                    unit.remaining += 1
                self._committer.add_all((entry,))
            if entry.expires_at is not None:
                self._owner.expiry.tails = True
        if queue.receivers or queue.particular:
            self._owner.dirty[queue] = None
        if not queue.receivers or entry.blocked:
            self._committer.urgent = True

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
        entry.blocked = True
        if entry.status == MEMORY:
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
        self._owner.loader.note_delay(entry)
        return True

    def unblock(self, unit: UnitOfWork) -> None:
        """Show or drop what an atomic unit sent to transient queues."""
        for entry in self._blocked.pop(id(unit), ()):
            entry.blocked = False
            if unit.error is not None and entry.status == MEMORY:
                self._owner.delete(entry)
            self._owner.wake(entry.queue)
