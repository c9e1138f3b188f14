"""Sends to one queue. Hot path: batches of ten, packed up to SQS's size limit across units.

Standard queues have many batches under way and so keep no order among them. In a
first-in-first-out queue a group has one batch under way at a time, so its order holds, and the
deduplication id stays with a message through all tries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.backends.aws.batches import BATCH_MAX, IDS, Batcher
from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.messages import entry_from_message
from bridge.backends.aws.node import Node
from bridge.backends.aws.wire import SendBatch, SendEntry, Sent, encode
from bridge.messaging.errors import MessageTooLong, MessagingError
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import Accepted

if TYPE_CHECKING:
    from bridge.backends.aws.queues import AwsQueue
    from bridge.messaging.model import Message, UnitOfWork

SIZE_MAX = ServiceLimits().message_size_max


class Outgoing:
    """One send on its way: the `index`th of `unit`."""

    __slots__ = ("deadline", "entry", "index", "size", "unit")

    def __init__(
        self, unit: UnitOfWork, index: int, entry: SendEntry, size: int, deadline: float
    ) -> None:
        self.unit = unit
        self.index = index
        self.entry = entry
        self.size = size
        self.deadline = deadline


class Sender(Batcher[Outgoing]):
    """What one queue is sent."""

    action = "SendMessageBatch"

    def __init__(self, node: Node, queue: AwsQueue) -> None:
        super().__init__(node, node.limits.sends_in_flight_max)
        self._queue = queue
        self._size = 0
        self._groups: set[str] = set()
        """Of a first-in-first-out queue, those with a batch under way."""

    def send(self, unit: UnitOfWork, index: int, message: Message, deadline: float) -> None:
        """Take one send; its answer is one part of `unit`."""
        try:
            entry, size = entry_from_message(message, self._queue, self._node.clock)
        except MessagingError as error:
            unit.failures[index] = error
            return
        if size > SIZE_MAX:
            unit.failures[index] = MessageTooLong(
                f"the message has {size} bytes as SQS counts them, {SIZE_MAX} are allowed"
            )
            return
        unit.remaining += 1
        self._size += size
        self.add(Outgoing(unit, index, entry, size, deadline))

    # -- Batcher

    def has_full_batch(self) -> bool:
        return len(self._pending) >= BATCH_MAX or self._size >= SIZE_MAX

    def take_batch(self) -> list[Outgoing]:
        if self._queue.fifo:
            return self._take_by_group()
        pending = self._pending
        size, count = 0, 0
        for item in pending[:BATCH_MAX]:
            size += item.size
            if size > SIZE_MAX:
                size -= item.size
                break
            count += 1
        batch = pending[:count]
        del pending[:count]
        self._size -= size
        return batch

    def _take_by_group(self) -> list[Outgoing]:
        """The first items whose group has nothing under way; none of a group overtakes another."""
        batch: list[Outgoing] = []
        left: list[Outgoing] = []
        passed: set[str] = set(self._groups)
        size = 0
        for position, item in enumerate(self._pending):
            group = item.entry.message_group_id or ""
            if len(batch) == BATCH_MAX:
                left += self._pending[position:]
                break
            if group in passed or size + item.size > SIZE_MAX:
                passed.add(group)
                left.append(item)
            else:
                batch.append(item)
                size += item.size
        self._pending = left
        self._size -= size
        self._groups.update([item.entry.message_group_id or "" for item in batch])
        return batch

    def encode(self, batch: list[Outgoing]) -> bytes:
        entries: list[SendEntry] = []
        for number, item in enumerate(batch):
            entry = item.entry
            entry.id = IDS[number]
            entries.append(entry)
        return encode(SendBatch(self._queue.url, entries))

    def _landed(self, batch: list[Outgoing]) -> None:
        if self._queue.fifo:
            self._groups.difference_update([item.entry.message_group_id or "" for item in batch])
        super()._landed(batch)

    def succeeded(self, item: Outgoing, sent: Sent) -> None:
        if sent.sequence_number is not None:
            item.unit.accepted[item.index] = Accepted(sent.message_id, sent.sequence_number)
        self._node.part_done(item.unit)

    def failed(self, item: Outgoing, error: AwsError) -> None:
        if error.queue_is_gone:
            self._queue.vanish()
        item.unit.failures[item.index] = messaging_error_from(error)
        self._node.part_done(item.unit)
