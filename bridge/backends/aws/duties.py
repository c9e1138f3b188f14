"""Which queues need what to be done for them though nobody may be consuming.

A queue whose settings ask for nothing has no duties, until a message is sent to it that ends at a
time of its own; then it is swept once that time has come, as long as there is something to be
found, by this node or, if it dies, by another one: a note of it is in the state. All else goes by
the settings, at every node; leases and notes in the state store see to it that one of them acts.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bridge.backends.aws.lengths import Length
from bridge.backends.aws.sweeping import Sweep
from bridge.backends.aws.unused import Unused
from bridge.messaging.model import StateChange, UnitOfWork

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.backends.aws.node import Node
    from bridge.backends.aws.queues import AwsQueue
    from bridge.messaging.model import Message
    from bridge.messaging.ports import Leases, Queue, StateStore


class Care:
    """The duties at one queue; those that it does not need are None."""

    __slots__ = ("length", "sweep", "unused")

    def __init__(self) -> None:
        self.sweep: Sweep | None = None
        self.length: Length | None = None
        self.unused: Unused | None = None

    def refuses(self, message: Message) -> bool:
        """Note a message that is about to be sent; True where the queue is full."""
        if self.length is not None and self.length.refuses(message):
            return True
        if self.sweep is not None:
            self.sweep.sent(message)
        return False

    def taken(self, count: int) -> None:
        """This node has received so many messages (below zero: given back)."""
        if self.length is not None:
            self.length.taken(count)

    def used(self) -> None:
        """Somebody at this node uses the queue."""
        if self.unused is not None:
            self.unused.used()

    def made(self) -> None:
        """This node has just made the queue."""
        if self.length is not None:
            self.length.made()

    def end(self) -> None:
        for duty in (self.sweep, self.length, self.unused):
            if duty is not None:
                duty.end()

    def stop(self) -> None:
        for duty in (self.sweep, self.length, self.unused):
            if duty is not None:
                duty.stop()


KIND_EXPIRING: Final = "queue-expiring"
"""By SQS name: when the first and the last of the messages end that were sent with an end of their
own, in epoch milliseconds; the last is guessed ahead, so that few messages make a note.
"""
AHEAD_MS_MIN: Final = 60_000


class Duties:
    """The duties at all queues, as far as this node is concerned."""

    def __init__(
        self,
        node: Node,
        state: StateStore,
        leases: Callable[[], Leases],
        submit: Callable[[UnitOfWork], None],
    ) -> None:
        """`leases` gives them once the backend is open."""
        self._node = node
        self._state = state
        self._leases = leases
        self._submit = submit
        self.idle_handler: Callable[[Queue], None] | None = None
        self._find: Callable[[str], AwsQueue | None] = lambda _: None

    def follow(self, find: Callable[[str], AwsQueue | None]) -> None:
        """Hear of what other nodes send; `find` knows queues by their SQS names."""
        self._find = find
        self._state.watch([KIND_EXPIRING], self._noted)

    def review(self, queue: AwsQueue) -> None:
        """A queue was found or made, has other settings, or is gone."""
        settings = queue.settings
        care = queue.care
        if queue.deleted:
            queue.care = None
            self._forget(queue)
            if care is not None:
                care.end()
            return
        self._take_note(queue)
        care = queue.care
        expires = settings.message_ttl_ms is not None
        limited = settings.length_max is not None or settings.bytes_max is not None
        idles = settings.idle_expiry_ms is not None
        if care is None:
            if not (expires or limited or idles):
                return
            care = queue.care = Care()
        if expires:
            self._sweep(queue, care).look_in(self._node.limits.sweep_seconds_min)
        if limited and care.length is None:
            care.length = Length(self._node, queue, self._leases())
        elif not limited and care.length is not None:
            care.length.end()
            care.length = None
        if idles:
            if care.unused is None:
                care.unused = Unused(self._node, queue, self._state, self._submit, self._remove)
            care.unused.used()
        elif care.unused is not None:
            care.unused.end()
            care.unused = None

    def refuses(self, queue: AwsQueue, message: Message) -> bool:
        """A message that ends by itself, or to a queue with duties, is about to be sent; True
        where the queue is full.
        """
        care = queue.care
        if care is None:
            care = queue.care = Care()
        if message.expires_at is not None:
            self._sweep(queue, care)
            if queue.settings.message_ttl_ms is None:
                self._note(queue, message.expires_at)
        return care.refuses(message)

    # -- messages with an end of their own

    def _note(self, queue: AwsQueue, end: int) -> None:
        """Let the other nodes know, unless they do."""
        now = self._node.clock.epoch_ms()
        known = self._state.get(KIND_EXPIRING, queue.sqs_name)
        if known is not None and end <= _times(known)[1]:
            return
        last = end + max(end - now, AHEAD_MS_MIN)
        self._change(queue, b"%d %d" % (end, last))

    def _noted(self, changes: Sequence[StateChange]) -> None:
        for _, sqs_name, value in changes:
            queue = self._find(sqs_name)
            if value is not None and queue is not None and not queue.deleted:
                self._take_note(queue)

    def _take_note(self, queue: AwsQueue) -> None:
        """See what is known of a queue's messages."""
        value = self._state.get(KIND_EXPIRING, queue.sqs_name)
        if value is None:
            return
        care = queue.care
        if care is None:
            care = queue.care = Care()
        self._sweep(queue, care).noted(*_times(value))

    def _forget(self, queue: AwsQueue) -> None:
        """Nothing is left that ends, as far as is known here; a note that another node has made
        meanwhile stays.
        """
        value = self._state.get(KIND_EXPIRING, queue.sqs_name)
        if value is not None and (queue.deleted or _times(value)[1] <= self._node.clock.epoch_ms()):
            self._change(queue, None)

    def _change(self, queue: AwsQueue, value: bytes | None) -> None:
        unit = UnitOfWork()
        unit.agreed = value is None
        unit.state.append(StateChange(KIND_EXPIRING, queue.sqs_name, value))
        self._submit(unit)

    # -- duties

    def _sweep(self, queue: AwsQueue, care: Care) -> Sweep:
        if care.sweep is None:
            done = partial(self._forget, queue)
            care.sweep = Sweep(self._node, queue, self._leases(), done)
        return care.sweep

    def _remove(self, queue: AwsQueue) -> None:
        if self.idle_handler is not None:
            self._node.call(self.idle_handler, queue)


def _times(value: bytes) -> tuple[int, int]:
    first, last = value.split()
    return int(first), int(last)
