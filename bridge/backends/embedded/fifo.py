"""First-in-first-out queues: message groups and deduplication (SQS FIFO).

A group's next message is available unless an earlier one of the group is in flight. A receive
empties one group before it turns to the next. Groups take turns: one that comes back, since its
messages were settled or given back, stands behind those that waited, as AWS was recorded to do.
Like AWS, the queue looks for available groups among its first messages only
(`Limits.fifo_head_messages_max`); what lies behind is on disk.
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

DEDUPLICATION_WINDOW_MS = 300_000


class Group:
    """The messages of one group: those that wait, by id, and those in flight.

    `turn` is the number under which the group stands among the available ones.
    """

    __slots__ = ("_flying", "in_flight", "ready", "turn")

    def __init__(self) -> None:
        self.ready: list[tuple[int, Entry]] = []
        self.in_flight: set[int] = set()
        self.turn: int | None = None
        self._flying: list[int] = []

    def fly(self, entry_id: int) -> None:
        """A message of the group was handed out."""
        if entry_id not in self.in_flight:
            self.in_flight.add(entry_id)
            heappush(self._flying, entry_id)

    def oldest_in_flight(self) -> int | None:
        if not self.in_flight:
            self._flying.clear()
            return None
        while self._flying[0] not in self.in_flight:
            heappop(self._flying)
        return self._flying[0]


class Attempts:
    """What was received under which receive request attempt id, for 5 minutes (SQS FIFO)."""

    def __init__(self) -> None:
        self._noted: dict[str, tuple[int, list[tuple[Entry, int]]]] = {}

    def note(self, attempt_id: str, entries: list[Entry], now_ms: int) -> None:
        # They stand in the order in which they end.
        while self._noted and next(iter(self._noted.values()))[0] <= now_ms:
            del self._noted[next(iter(self._noted))]
        self._noted.pop(attempt_id, None)
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
        self._turns = 0
        self._loaded = 0
        self._loaded_bytes = 0
        self.uncommitted: dict[str, Entry] = {}
        """By sequence number, what was accepted and is not durable yet."""
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

    def take_back(self, entry: Entry) -> None:
        """An accepted send was not stored: its repetition is no duplicate."""
        number = entry.sequence_number
        if number is not None:
            self.uncommitted.pop(number, None)
        if entry.message.deduplication_id is not None:
            key = self._key(entry.message)
            seen = self.accepted.get(key)
            if seen is not None and seen[0].sequence_number == number:
                del self.accepted[key]

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

    def offer(self, lane: Lane, entry: Entry) -> bool:
        limits = self._limits
        if (
            lane.tail_count > 0
            or lane.loading
            or self._loaded >= limits.fifo_head_messages_max
            or self._loaded_bytes >= limits.fifo_head_bytes_max
        ):
            return False
        self.put_back(entry)
        return True

    def lane_of_tenant(self, message: Message, group_id: str) -> Lane:
        return self.lane_of(message.priority)

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
        self._loaded_bytes += len(entry.message.body)
        self._offer(group_id, group)

    def _pop(self, group: Group) -> Entry:
        entry = heappop(group.ready)[1]
        self._loaded -= 1
        self._loaded_bytes -= len(entry.message.body)
        return entry

    def settled(self, entry: Entry) -> None:
        group_id = entry.message.group_id or ""
        group = self._groups.get(group_id)
        if group is not None:
            group.in_flight.discard(entry.id)
            self._offer(group_id, group)

    def recover_held(self, entry: Entry) -> None:
        self._groups.setdefault(entry.message.group_id or "", Group()).fly(entry.id)

    def _offer(self, group_id: str, group: Group) -> None:
        """Let the group be found if it is available; forget it if nothing of it is left."""
        if self._is_available(group):
            if group.turn is None:
                self._turns += 1
                group.turn = self._turns
                heappush(self._available, (group.turn, group_id))
        elif not group.ready and not group.in_flight:
            del self._groups[group_id]

    def _is_available(self, group: Group) -> bool:
        """True if the oldest waiting message is older than all in flight."""
        while group.ready and (group.ready[0][1].status == GONE or group.ready[0][1].held):
            self._pop(group)
        if not group.ready:
            return False
        oldest = group.oldest_in_flight()
        return oldest is None or group.ready[0][0] < oldest

    def forget(self) -> None:
        super().forget()
        self.attempts.clear()
        for group in self._groups.values():
            group.ready.clear()
            group.in_flight.intersection_update(self.held)
            group.turn = None
        self._groups = {key: group for key, group in self._groups.items() if group.in_flight}
        self._available.clear()
        self._loaded = 0
        self._loaded_bytes = 0

    def waiting(self) -> list[Entry]:
        return [entry for group in self._groups.values() for _, entry in group.ready]

    def pop_oldest(self, keeper: Keeper) -> Entry | None:
        """Take the oldest message that waits in memory, of whatever group."""
        found: tuple[int, str] | None = None
        for group_id, group in list(self._groups.items()):
            self._is_available(group)
            if group.ready and (found is None or group.ready[0][0] < found[0]):
                found = (group.ready[0][0], group_id)
        if found is None:
            for lane in self.lanes:
                if lane.tail_count:
                    keeper.refill(self, lane)
            return None
        group = self._groups[found[1]]
        if group.ready[0][1].blocked:
            return None
        entry = self._pop(group)
        self._offer(found[1], group)
        return entry

    # -- taking

    def take(self, count: int, now_ms: int, keeper: Keeper) -> list[Entry]:
        taken: list[Entry] = []
        waiting: list[tuple[int, str]] = []
        while len(taken) < count and self._available:
            turn, group_id = heappop(self._available)
            group = self._groups.get(group_id)
            if group is None or group.turn != turn:
                continue
            group.turn = None
            if not self._is_available(group):
                self._offer(group_id, group)
                continue
            if self._take_group(group, count - len(taken), now_ms, keeper, taken):
                waiting.append((turn, group_id))
            else:
                self._offer(group_id, group)
        for turn, group_id in waiting:
            self._groups[group_id].turn = turn
            heappush(self._available, (turn, group_id))
        self.hold(taken, keeper)
        limits = self._limits
        for lane in self.lanes:
            if (
                lane.tail_count
                and not lane.loading
                and self._loaded < limits.fifo_head_messages_max // 2
                and self._loaded_bytes < limits.fifo_head_bytes_max // 2
            ):
                keeper.refill(self, lane)
        return taken

    def _take_group(
        self, group: Group, count: int, now_ms: int, keeper: Keeper, taken: list[Entry]
    ) -> bool:
        """Take in order from one group; True if its next message waits for its commit."""
        limit = group.oldest_in_flight()
        while count > 0 and group.ready:
            entry_id, entry = group.ready[0]
            if limit is not None and entry_id > limit:
                break
            if entry.status == GONE or entry.held:
                self._pop(group)
                continue
            if entry.blocked:
                return True
            self._pop(group)
            if self._leaves(entry, now_ms, keeper):
                continue
            # At once, as in `EmbeddedQueue`.
            entry.held = True
            taken.append(entry)
            group.fly(entry_id)
            count -= 1
        return False

    def _leaves(self, entry: Entry, now_ms: int, keeper: Keeper) -> bool:
        kept_since, receive_count_max = self.bounds(now_ms)
        expired = entry.expires_at is not None and entry.expires_at <= now_ms
        if expired or entry.message.sent_at <= kept_since:
            keeper.expired(entry)
            return True
        return entry.receive_count >= receive_count_max and keeper.redriven(entry)
