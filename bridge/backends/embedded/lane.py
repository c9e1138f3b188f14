"""A lane: one ordered band of one queue, its head in memory and its tail on disk. On the hot path.

Messages are handed out by id. What was handed out and came back has a lower id than all that waits,
so it goes to a small heap that is served first: that is its old place. When the head is full, new
entries are written and forgotten; the tail is read back in id order once the head has run low. A
lane never holds more than its bound, however long the queue is.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from bridge.backends.embedded.entry import GONE, LANE_BITS, Entry
from bridge.messaging.limits import Limits


class Lane:
    """Entries that wait, in order. Counting them is the queue's business."""

    __slots__ = (
        "cursor",
        "first_id",
        "floor",
        "generation",
        "head_bytes",
        "last_id",
        "loading",
        "next_id",
        "number",
        "ready",
        "recovered_id",
        "returned",
        "skipped",
        "tail_count",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.first_id = number << LANE_BITS
        self.last_id = self.first_id | ((1 << LANE_BITS) - 1)
        self.next_id = self.first_id + 1
        self.floor = self.first_id
        self.recovered_id = self.first_id
        self.ready: deque[Entry] = deque()
        self.returned: list[tuple[int, Entry]] = []
        self.head_bytes = 0
        self.tail_count = 0
        self.cursor = self.first_id
        self.loading = False
        self.generation = 0
        self.skipped: dict[int, Entry] = {}

    def append(self, entry: Entry) -> None:
        """Put a new entry behind all others, in memory."""
        self.ready.append(entry)
        self.head_bytes += len(entry.message.body)

    def extend(self, entries: list[Entry], size_bytes: int, limits: Limits) -> bool:
        """Put new entries, of which the bodies have `size_bytes`, behind all others, in memory;
        False if there is no room for all of them.
        """
        ready = self.ready
        if (
            self.tail_count
            or self.loading
            or len(ready) + len(entries) > limits.queue_head_messages_max
            or self.head_bytes + size_bytes > limits.queue_head_bytes_max
        ):
            return False
        ready.extend(entries)
        self.head_bytes += size_bytes
        return True

    def append_to_tail(self, entry_id: int) -> None:
        """Note that an entry is on disk only, or on its way there.

        All of the head has lower ids, and so has what was read back. Only what was delayed may
        stand in memory with a higher one: its time is on disk, and the tail has none.
        """
        if self.tail_count == 0:
            self.cursor = max(self.cursor, entry_id - 1)
        self.tail_count += 1

    def in_tail(self, entry_id: int) -> bool:
        """True if the lane knows the entry by its count only (given that it is not delayed)."""
        return entry_id > self.cursor and self.tail_count > 0 and entry_id not in self.skipped

    def skip(self, entry: Entry) -> None:
        """Take an entry out of the tail before its turn."""
        self.skipped[entry.id] = entry
        self.tail_count -= 1

    def put_back(self, entry: Entry) -> None:
        """Give an entry its old place again."""
        heappush(self.returned, (entry.id, entry))

    def pop(self) -> Entry | None:
        """Take the next entry that is in memory."""
        if self.returned:
            return heappop(self.returned)[1]
        if self.ready:
            entry = self.ready.popleft()
            self.head_bytes -= len(entry.message.body)
            return entry
        return None

    def take(self, count: int) -> list[Entry]:
        """Take up to `count` entries that are in memory."""
        returned, ready = self.returned, self.ready
        back = [heappop(returned)[1] for _ in range(min(count, len(returned)))]
        taken = [ready.popleft() for _ in range(min(count - len(back), len(ready)))]
        self.head_bytes -= sum([len(entry.message.body) for entry in taken])
        return back + taken if back else taken

    @property
    def blocked(self) -> bool:
        """True if the next entry may not be seen yet."""
        if self.returned:
            entry = self.returned[0][1]
        elif self.ready:
            entry = self.ready[0]
        else:
            return False
        return entry.blocked and entry.status != GONE and not entry.held

    def hungry(self, limits: Limits) -> bool:
        """True if the tail should be read now."""
        return (
            self.tail_count > 0
            and not self.loading
            and len(self.ready) < limits.queue_refill_messages // 2
            and self.head_bytes < limits.queue_head_bytes_max // 2
        )

    def in_memory(self) -> list[Entry]:
        """All entries of the head, for purges."""
        return [entry for _, entry in self.returned] + list(self.ready)

    def clear(self) -> None:
        """Forget every entry; what is being read is void, and so are ids up to `floor`."""
        self.ready.clear()
        self.returned.clear()
        self.skipped.clear()
        self.head_bytes = 0
        self.tail_count = 0
        self.cursor = self.floor = self.next_id - 1
        self.generation += 1
        self.loading = False
