"""Sends to one queue or topic. Hot path: batches of ten, packed up to AWS's size limit.

Standard queues have many batches under way and so keep no order among them. In a
first-in-first-out queue a group has one batch under way at a time, so its order holds, and the
deduplication id stays with a message through all tries.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Protocol

from bridge.backends.aws.batches import BATCH_MAX, IDS, Batcher
from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.groups import Groups
from bridge.backends.aws.messages import ATTRIBUTES_MAX, entry_from_message
from bridge.backends.aws.node import Node
from bridge.backends.aws.payloads import body_from_pointer
from bridge.backends.aws.wire import SendBatch, SendEntry, Sent, WireAttribute, encode
from bridge.messaging.envelope import AGAIN_ATTRIBUTE
from bridge.messaging.errors import MessageTooLong, MessagingError, StoreUnavailable
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import Accepted

if TYPE_CHECKING:
    from bridge.backends.aws.queues import AwsQueue
    from bridge.messaging.model import Message, UnitOfWork

SIZE_MAX = ServiceLimits().message_size_max
POINTER_BYTES_MAX = 2_048
"""A pointer into S3 with the attribute that goes with it; keys have at most 1,024 bytes."""
MARK_SIZE_MAX = 512
"""What the mark of a message that is sent again adds, with the room that is made for it."""

_MARK = WireAttribute("String", "1")


class Outgoing:
    """One send on its way: the `index`th of `unit`."""

    __slots__ = ("deadline", "entry", "index", "message", "place", "ready", "size", "unit")

    def __init__(
        self,
        unit: UnitOfWork,
        index: int,
        message: Message,
        entry: SendEntry,
        size: int,
        deadline: float,
    ) -> None:
        self.unit = unit
        self.index = index
        self.message = message
        """What the entry carries; a parcel for another node is not the unit's own."""
        self.entry = entry
        self.size = size
        self.deadline = deadline
        self.ready = True
        """False while its payload is on its way to S3; its group waits for it."""
        self.place = 0
        """Where it stands among all that wait in groups, and have waited."""


class Destination(Protocol):
    """What can be sent to: a queue, or a topic in SNS."""

    @property
    def fifo(self) -> bool: ...

    def vanish(self) -> None:
        """AWS says that it does not exist."""
        ...


class Sender(Batcher[Outgoing]):
    """What one queue, or one topic in SNS, is sent."""

    size_max = SIZE_MAX
    """Of one message, and of all messages of a batch together."""
    attributes_max = ATTRIBUTES_MAX

    def __init__(self, node: Node, to: Destination) -> None:
        super().__init__(node, node.limits.sends_in_flight_max)
        self._to = to
        self._size = 0
        """Of what waits without groups, in bytes."""
        self._groups = Groups() if to.fifo else None
        """What waits, if it is first-in-first-out."""

    @abstractmethod
    def entry_from(self, message: Message, attributes_max: int) -> tuple[SendEntry, int]:
        """The entry that carries `message`, and its size. Raises `MessagingError`."""

    def send(self, unit: UnitOfWork, index: int, message: Message, deadline: float) -> None:
        """Take one send; its answer is one part of `unit`."""
        try:
            entry, size = self.entry_from(message, self.attributes_max)
        except MessagingError as error:
            unit.failures[index] = error
            return
        threshold = self._node.payloads.threshold_bytes
        if size > threshold or (size > self.size_max and threshold < inf):
            self._offload(unit, index, message, deadline)
            return
        if size > self.size_max:
            unit.failures[index] = MessageTooLong(
                f"the message has {size} bytes as AWS counts them, {self.size_max} are allowed"
                " without backend.payload_bucket"
            )
            return
        unit.remaining += 1
        self.add(Outgoing(unit, index, message, entry, size, deadline))

    # -- payloads over the limit

    def _offload(self, unit: UnitOfWork, index: int, message: Message, deadline: float) -> None:
        """Put the body of a message into S3, then send what points to it."""
        # One attribute is taken by the body's size, another one by the mark of a second try.
        entry, size = self.entry_from(message, self.attributes_max - 2)
        text = entry.message_body
        length = len(text.encode("utf-8", "surrogatepass"))
        rest = size - length + POINTER_BYTES_MAX
        if rest > self.size_max:
            unit.failures[index] = MessageTooLong(
                f"the message's attributes have {rest} bytes, {self.size_max} are allowed"
            )
            return
        name = self._node.payloads.size_attribute
        entry.message_attributes = {
            **entry.message_attributes,
            name: WireAttribute("Number", str(length)),
        }
        item = Outgoing(unit, index, message, entry, rest, deadline)
        item.ready = False
        unit.remaining += 1
        self._preparing += 1
        if self._groups is not None:
            # It takes its place now, and the others of its group wait behind it.
            self.add(item)
        self._node.tasks.spawn(self._put(item, text))

    async def _put(self, item: Outgoing, text: str) -> None:
        error: MessagingError | None = StoreUnavailable("the broker stops")
        try:
            pointer = await self._node.payloads.put(text)
            item.entry.message_body = body_from_pointer(pointer)
            error = None
        except MessagingError as refused:
            error = refused
        finally:
            self._preparing -= 1
            self._was_put(item, error)

    def _was_put(self, item: Outgoing, error: MessagingError | None) -> None:
        item.ready = True
        groups = self._groups
        if error is not None:
            if groups is not None:
                groups.remove(item)
                self._waiting -= 1
            item.unit.failures[item.index] = error
            self._node.part_done(item.unit)
        elif groups is not None:
            groups.became_ready(item)
        else:
            self.add(item)
        if groups is not None and self._waiting:
            # Those behind it have waited for longer than for company.
            self._overdue = True
            self._flush(everything=True)
        self._tell_idle()

    # -- Batcher

    def keep(self, item: Outgoing) -> None:
        if self._groups is not None:
            self._groups.add(item)
        else:
            self._size += item.size
            self._pending.append(item)

    def has_full_batch(self) -> bool:
        groups = self._groups
        if groups is not None:
            return groups.free_count >= BATCH_MAX or groups.free_size >= self.size_max
        return self._waiting >= BATCH_MAX or self._size >= self.size_max

    def take_batch(self) -> list[Outgoing]:
        if self._groups is not None:
            return self._groups.take(BATCH_MAX, self.size_max)
        pending = self._pending
        size, count = 0, 0
        for item in pending[:BATCH_MAX]:
            size += item.size
            # What is too long by now, since the limit is another one, is for AWS to refuse.
            if size > self.size_max and count:
                size -= item.size
                break
            count += 1
        batch = pending[:count]
        del pending[:count]
        self._size -= size
        return batch

    def take_all(self) -> list[Outgoing]:
        self._size = 0
        return super().take_all() if self._groups is None else self._groups.take_all()

    def _landed(self, batch: list[Outgoing]) -> None:
        if self._groups is not None:
            self._groups.landed(batch)
        super()._landed(batch)

    def succeeded(self, item: Outgoing, sent: Sent) -> None:
        if sent.sequence_number is not None or item.unit.answered:
            item.unit.accepted[item.index] = Accepted(sent.message_id, sent.sequence_number or "")
        self._node.part_done(item.unit)

    def failed(self, item: Outgoing, error: AwsError) -> None:
        if error.queue_is_gone or error.topic_is_gone:
            self._to.vanish()
        item.unit.failures[item.index] = messaging_error_from(error)
        self._node.part_done(item.unit)


class QueueSender(Sender):
    """What one queue is sent."""

    action = "SendMessageBatch"

    def __init__(self, node: Node, queue: AwsQueue) -> None:
        super().__init__(node, queue)
        self._queue = queue

    def entry_from(self, message: Message, attributes_max: int) -> tuple[SendEntry, int]:
        return entry_from_message(message, self._queue, self._node.clock, attributes_max)

    def forget_counts(self) -> None:
        self._queue.counted = None

    def encode(self, batch: list[Outgoing]) -> bytes:
        entries: list[SendEntry] = []
        for number, item in enumerate(batch):
            entry = item.entry
            entry.id = IDS[number]
            entries.append(entry)
        return encode(SendBatch(self._queue.url, entries))

    def again(self, batch: list[Outgoing]) -> Callable[[], bytes] | None:
        # In a first-in-first-out queue the deduplication id sees to it.
        return None if self._to.fifo else partial(self._encode_again, batch)

    def _encode_again(self, batch: list[Outgoing]) -> bytes:
        """SQS may have the batch, so what it is sent now says that it may be a second copy.

        Not where the batch is so full that the mark would be too much.
        """
        if sum(item.size for item in batch) + len(batch) * MARK_SIZE_MAX <= self.size_max:
            for item in batch:
                self._mark(item)
        return self.encode(batch)

    def _mark(self, item: Outgoing) -> None:
        entry = item.entry
        if len(entry.message_attributes) >= ATTRIBUTES_MAX:
            # One that may be packed makes room.
            smaller, _ = self.entry_from(item.message, ATTRIBUTES_MAX - 1)
            entry.message_attributes = smaller.message_attributes
        entry.message_attributes = {**entry.message_attributes, AGAIN_ATTRIBUTE: _MARK}
