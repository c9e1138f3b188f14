"""First-in-first-out queues: message groups and deduplication (SQS FIFO).

A group's next message is available unless an earlier one of the group is in flight. A receive
empties one group before it turns to the next, in the order of their oldest messages, as AWS was
recorded to do. Like AWS, the queue looks for available groups among the first 20,000 messages only;
what lies behind is on disk.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from bridge.backends.embedded.entry import GONE, Entry
from bridge.backends.embedded.queue import EmbeddedQueue, Keeper
from bridge.storage.batch import DeduplicationRow

if TYPE_CHECKING:
    from bridge.backends.embedded.lane import Lane
    from bridge.messaging.limits import Limits
    from bridge.messaging.model import Accepted, Message, QueueName, QueueSettings

HEAD_MESSAGES_MAX = 20_000
DEDUPLICATION_WINDOW_MS = 300_000


class Group:
    """The messages of one group: those that wait, by id, and the ids of those in flight."""

    __slots__ = ("in_flight", "ready")

    def __init__(self) -> None:
        self.ready: list[tuple[int, Entry]] = []
        self.in_flight: set[int] = set()

    def available(self) -> bool:
        """True if the oldest waiting message is older than all in flight."""
        while self.ready and (self.ready[0][1].status == GONE or self.ready[0][1].held):
            heappop(self.ready)
        return bool(self.ready) and (not self.in_flight or self.ready[0][0] < min(self.in_flight))


class Attempts:
    """What was received under which receive request attempt id, for 5 minutes (SQS FIFO)."""

    def __init__(self) -> None:
        self._noted: dict[str, tuple[int, list[tuple[Entry, int]]]] = {}

    def note(self, attempt_id: str, entries: list[Entry], now_ms: int) -> None:
        ended = [key for key, (at, _) in self._noted.items() if at <= now_ms]
        for key in ended:
            del self._noted[key]
        held = [(entry, entry.receive_count) for entry in entries]
        self._noted[attempt_id] = (now_ms + DEDUPLICATION_WINDOW_MS, held)

    def again(self, attempt_id: str, now_ms: int) -> list[Entry]:
        """The same messages, if none was settled, changed or received anew since."""
        ends_at, held = self._noted.get(attempt_id, (0, []))
        if ends_at <= now_ms:
            return []
        if any(not entry.held or entry.receive_count != count for entry, count in held):
            return []
        return [entry for entry, _ in held]

    def void(self, entry: Entry) -> None:
        """A message's visibility was changed: its receive cannot be repeated."""
        self._noted = {
            key: noted
            for key, noted in self._noted.items()
            if all(each is not entry for each, _ in noted[1])
        }

    def clear(self) -> None:
        self._noted.clear()


class FifoQueue(EmbeddedQueue):
    """A queue whose entries are handed out by group."""

    def __init__(
        self, name: QueueName, settings: QueueSettings, queue_id: int, limits: Limits
    ) -> None:
        super().__init__(name, settings, queue_id, limits)
        self._groups: dict[str, Group] = {}
        self._available: list[tuple[int, str]] = []
        self._loaded = 0
        self.accepted: dict[str, tuple[Accepted, int]] = {}
        """Deduplication key -> the answer, and the end of the window (epoch ms)."""
        self.attempts = Attempts()

    def duplicate_of(self, message: Message, now_ms: int) -> Accepted | None:
        """What the send that `message` repeats was answered with, within the window."""
        if message.deduplication_id is None:
            return None
        seen = self.accepted.get(self._key(message))
        return None if seen is None or seen[1] <= now_ms else seen[0]

    def accept(self, message: Message, accepted: Accepted, now_ms: int) -> DeduplicationRow | None:
        """Remember a send's deduplication id; returns what has to be stored of it."""
        self.forget_accepted(now_ms)
        if message.deduplication_id is None:
            return None
        key, ends_at = self._key(message), now_ms + DEDUPLICATION_WINDOW_MS
        self.accepted.pop(key, None)
        self.accepted[key] = (accepted, ends_at)
        return DeduplicationRow(self.id, key, *accepted, ends_at)

    def _key(self, message: Message) -> str:
        if self.settings.deduplication_per_group:
            return f"{message.group_id}\0{message.deduplication_id}"
        return message.deduplication_id or ""

    def forget_accepted(self, now_ms: int) -> None:
        """Drop the windows that have ended; they stand in the order in which they end."""
        ended = []
        for key, seen in self.accepted.items():
            if seen[1] > now_ms:
                break
            ended.append(key)
        for key in ended:
            del self.accepted[key]

    # -- places

    def full(self, lane: Lane) -> bool:
        return lane.tail_count > 0 or self._loaded >= HEAD_MESSAGES_MAX

    def append(self, lane: Lane, entry: Entry) -> None:
        self.put_back(entry)

    def put_back(self, entry: Entry) -> None:
        group_id = entry.message.group_id or ""
        group = self._groups.get(group_id)
        if group is None:
            group = self._groups[group_id] = Group()
        group.in_flight.discard(entry.id)
        heappush(group.ready, (entry.id, entry))
        self._loaded += 1
        self._offer(group_id, group)

    def settled(self, entry: Entry) -> None:
        group_id = entry.message.group_id or ""
        group = self._groups.get(group_id)
        if group is None:
            return
        group.in_flight.discard(entry.id)
        if group.ready:
            self._offer(group_id, group)
        elif not group.in_flight:
            del self._groups[group_id]

    def recover_held(self, entry: Entry) -> None:
        group = self._groups.setdefault(entry.message.group_id or "", Group())
        group.in_flight.add(entry.id)

    def _offer(self, group_id: str, group: Group) -> None:
        if group.available():
            heappush(self._available, (group.ready[0][0], group_id))

    def forget(self) -> None:
        super().forget()
        self.attempts.clear()
        for group in self._groups.values():
            group.ready.clear()
        self._groups = {key: group for key, group in self._groups.items() if group.in_flight}
        self._available.clear()
        self._loaded = 0

    def waiting(self) -> list[Entry]:
        return [entry for group in self._groups.values() for _, entry in group.ready]

    # -- taking

    def take(self, count: int, now_ms: int, keeper: Keeper) -> list[Entry]:
        taken: list[Entry] = []
        waiting: list[tuple[int, str]] = []
        while len(taken) < count and self._available:
            offered = heappop(self._available)
            group = self._groups.get(offered[1])
            if group is None or not group.available() or group.ready[0][0] != offered[0]:
                continue
            if self._take_group(group, count - len(taken), now_ms, keeper, taken):
                waiting.append(offered)
        for offered in waiting:
            heappush(self._available, offered)
        self.hold(taken, keeper)
        self._loaded -= len(taken)
        for lane in self.lanes:
            if lane.tail_count and not lane.loading and self._loaded < HEAD_MESSAGES_MAX // 2:
                keeper.refill(self, lane)
        return taken

    def _take_group(
        self, group: Group, count: int, now_ms: int, keeper: Keeper, taken: list[Entry]
    ) -> bool:
        """Take in order from one group; True if it must be offered again unchanged."""
        limit = min(group.in_flight, default=None)
        while count > 0 and group.ready:
            entry_id, entry = group.ready[0]
            if limit is not None and entry_id > limit:
                break
            if entry.blocked:
                return True
            heappop(group.ready)
            if entry.status == GONE or entry.held:
                continue
            if self._leaves(entry, now_ms, keeper):
                continue
            taken.append(entry)
            group.in_flight.add(entry_id)
            count -= 1
        return False

    def _leaves(self, entry: Entry, now_ms: int, keeper: Keeper) -> bool:
        expired = entry.expires_at is not None and entry.expires_at <= now_ms
        if expired or self.overdue(entry, now_ms):
            keeper.expired(entry)
            return True
        return self.over_received(entry) and keeper.redriven(entry)
