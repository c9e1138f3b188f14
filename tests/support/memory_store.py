"""A store in memory: the ports of `bridge.messaging.ports`, small enough to read in one go.

For tests of what stands above a store. It keeps the contracts (units of work are answered once, on
a later turn of the loop; deliveries are held until settled; requeued messages go back to their
place) and leaves out what needs a clock: messages do not expire or become visible by themselves,
`expire` and `change_visibility` do it.
"""

from __future__ import annotations

import asyncio
import itertools
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bridge.messaging.errors import (
    MessagingError,
    QueueDoesNotExist,
    ReceiptHandleInvalid,
    ResourceLocked,
)
from bridge.messaging.model import (
    DeadLetterReason,
    Delivery,
    Message,
    QueueCounts,
    QueueName,
    QueueSettings,
    StateChange,
    UnitOfWork,
)
from bridge.messaging.ports import Consumer, DeadLetterer, Queue


class MemoryQueue:
    """One queue. `waiting` holds (place, delivery) in order, `held` what was handed out."""

    def __init__(self, name: QueueName, settings: QueueSettings, *, transient: bool) -> None:
        self.name = name
        self.settings = settings
        self.transient = transient
        self.created_at = 0
        self.modified_at = 0
        self.deleted = False
        self.waiting: list[MemoryDelivery] = []
        self.held: dict[MemoryDelivery, None] = {}
        self.consumers: list[MemorySubscription] = []

    @property
    def consumer_count(self) -> int:
        return len(self.consumers)

    @property
    def messages(self) -> list[Message]:
        """What waits, in order."""
        return [delivery.message for delivery in self.waiting]


class MemoryDelivery(Delivery, kw_only=True, eq=False):
    """A delivery that knows its place in the queue."""

    if TYPE_CHECKING:
        queue: MemoryQueue
    place: int

    def __lt__(self, other: MemoryDelivery) -> bool:
        return self.place < other.place


class MemorySubscription:
    """A consumer at a queue."""

    def __init__(
        self, store: MemoryStore, queue: MemoryQueue, consumer: Consumer, credit: int, priority: int
    ) -> None:
        self._store = store
        self._queue = queue
        self.consumer = consumer
        self.credit = credit
        self.priority = priority
        self.exclusive = False
        self.paused = False

    def add_credit(self, count: int) -> None:
        self.credit += count
        self._store.serve(self._queue)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._store.serve(self._queue)

    def cancel(self) -> None:
        if self in self._queue.consumers:
            self._queue.consumers.remove(self)


class MemoryStore:
    """Queues, state and nothing else; `Store` and `StateStore` in one."""

    def __init__(self) -> None:
        self.by_name: dict[QueueName, MemoryQueue] = {}
        self.state: dict[tuple[str, str], bytes] = {}
        self.submitted: list[UnitOfWork] = []
        self.refusal: MessagingError | None = None
        """While set, every unit of work is refused with it."""
        self.refused: dict[QueueName, MessagingError] = {}
        """What is sent to these queues is refused."""
        self.slow = False
        """While set, units of work are answered by `catch_up`."""
        self._unanswered: list[UnitOfWork] = []
        self._watchers: dict[str, list[Callable[[Sequence[StateChange]], None]]] = {}
        self._places = itertools.count()
        self._dead_letterer: DeadLetterer | None = None

    # -- the hot path

    def submit(self, unit: UnitOfWork) -> None:
        self.submitted.append(unit)
        unit.error = self.refusal
        if unit.error is None:
            self._apply(unit)
        self._unanswered.append(unit)
        if not self.slow:
            self.catch_up()

    def catch_up(self) -> None:
        """Answer what was submitted."""
        unanswered, self._unanswered = self._unanswered, []
        for unit in unanswered:
            if unit.done is not None:
                asyncio.get_running_loop().call_soon(unit.done, unit)

    def _apply(self, unit: UnitOfWork) -> None:
        touched: dict[MemoryQueue, None] = {}
        for index, (port, message) in enumerate(unit.sends):
            queue = self.by_name.get(port.name)
            if queue is None:
                unit.failures[index] = QueueDoesNotExist(f"queue {port.name.name!r} does not exist")
            elif port.name in self.refused:
                unit.failures[index] = self.refused[port.name]
            else:
                queue.waiting.append(
                    MemoryDelivery(queue=queue, message=message, place=next(self._places))
                )
                touched[queue] = None
        for delivery in unit.deletes:
            _own(delivery).queue.held.pop(_own(delivery), None)
        for delivery in [*unit.releases, *unit.returns]:
            touched[self._put_back(_own(delivery))] = None
        for delivery in unit.returns:
            delivery.return_count += 1
        self._change(unit.state)
        for queue in touched:
            self.serve(queue)

    def _change(self, changes: Iterable[StateChange]) -> None:
        for kind, key, value in changes:
            if value is None:
                self.state.pop((kind, key), None)
            else:
                self.state[kind, key] = value

    def _put_back(self, delivery: MemoryDelivery) -> MemoryQueue:
        queue = delivery.queue
        if delivery in queue.held:
            del queue.held[delivery]
            insort(queue.waiting, delivery)
        return queue

    def serve(self, queue: MemoryQueue) -> None:
        """Hand waiting messages to the consumers with credit, in turns."""
        given: dict[MemorySubscription, list[Delivery]] = {}
        while queue.waiting:
            ready = [each for each in queue.consumers if each.credit > 0 and not each.paused]
            if not ready:
                break
            highest = max(each.priority for each in ready)
            chosen = next(each for each in ready if each.priority == highest)
            queue.consumers.remove(chosen)
            queue.consumers.append(chosen)
            chosen.credit -= 1
            given.setdefault(chosen, []).append(self._hand_out(queue))
        for subscription, deliveries in given.items():
            subscription.consumer.deliver(deliveries)

    def _hand_out(self, queue: MemoryQueue) -> MemoryDelivery:
        delivery = queue.waiting.pop(0)
        delivery.receive_count += 1
        queue.held[delivery] = None
        return delivery

    async def consume(
        self,
        queue: Queue,
        consumer: Consumer,
        *,
        credit: int,
        priority: int = 0,
        exclusive: bool = False,
    ) -> MemorySubscription:
        found = self._existing(queue)
        if found.consumers and (exclusive or found.consumers[0].exclusive):
            raise ResourceLocked(f"queue {queue.name.name!r} is in exclusive use")
        subscription = MemorySubscription(self, found, consumer, credit, priority)
        subscription.exclusive = exclusive
        found.consumers.append(subscription)
        asyncio.get_running_loop().call_soon(self.serve, found)
        return subscription

    async def receive(
        self,
        queue: Queue,
        *,
        count: int,
        visibility_seconds: int | None = None,
        wait_seconds: int | None = None,
        attempt_id: str | None = None,
    ) -> list[Delivery]:
        found = self._existing(queue)
        return [self._hand_out(found) for _ in range(min(count, len(found.waiting)))]

    async def take(self, queue: Queue) -> Delivery | None:
        found = self._existing(queue)
        return self._hand_out(found) if found.waiting else None

    # -- receipt handles

    def handle_of(self, delivery: Delivery) -> str:
        return f"{_own(delivery).place}/{delivery.receive_count}"

    def delivery_of(self, queue: Queue, handle: str) -> Delivery | None:
        place, slash, count = handle.partition("/")
        if not (slash and place.isdigit() and count.isdigit()):
            raise ReceiptHandleInvalid(f"{handle!r} is not a receipt handle")
        for delivery in self._existing(queue).held:
            if delivery.place == int(place):
                return delivery
        return None

    async def change_visibility(self, delivery: Delivery, seconds: int) -> None:
        if seconds == 0:
            self.serve(self._put_back(_own(delivery)))

    # -- queues

    def queue(self, name: QueueName) -> MemoryQueue | None:
        return self.by_name.get(name)

    def queues(self) -> Iterable[MemoryQueue]:
        return list(self.by_name.values())

    async def create_queue(
        self, name: QueueName, settings: QueueSettings, *, transient: bool = False
    ) -> MemoryQueue:
        await asyncio.sleep(0)
        return self.by_name.setdefault(name, MemoryQueue(name, settings, transient=transient))

    async def change_queue(self, queue: Queue, settings: QueueSettings) -> None:
        self._existing(queue).settings = settings

    async def delete_queue(self, queue: Queue) -> int:
        found = self._existing(queue)
        await asyncio.sleep(0)
        if found.deleted:
            return 0
        del self.by_name[found.name]
        found.deleted = True
        count = len(found.waiting)
        found.waiting.clear()
        found.held.clear()
        consumers, found.consumers = found.consumers, []
        for subscription in consumers:
            subscription.consumer.cancelled()
        return count

    async def purge_queue(self, queue: Queue) -> int:
        found = self._existing(queue)
        count = len(found.waiting)
        found.waiting.clear()
        return count

    async def counts(self, queue: Queue) -> QueueCounts:
        found = self._existing(queue)
        return QueueCounts(len(found.waiting), len(found.held), 0)

    def _existing(self, queue: Queue) -> MemoryQueue:
        found = self.by_name.get(queue.name)
        if found is None:
            raise QueueDoesNotExist(f"queue {queue.name.name!r} does not exist")
        return found

    # -- composition

    def use_idle_handler(self, handler: Callable[[Queue], None]) -> None:
        """Nothing here goes by the clock; `handler` is for the test to call."""
        self.idle_handler = handler

    def use_dead_letterer(self, dead_letterer: DeadLetterer) -> None:
        self._dead_letterer = dead_letterer

    def expire(self, queue: MemoryQueue, reason: DeadLetterReason) -> None:
        """Let all that waits in a queue leave it, as time or a length limit would."""
        assert self._dead_letterer is not None
        deliveries = [self._hand_out(queue) for _ in range(len(queue.waiting))]
        self.submit(self._dead_letterer(queue, deliveries, reason))

    # -- state

    def get(self, kind: str, key: str) -> bytes | None:
        return self.state.get((kind, key))

    def scan(self, kind: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        for (each, key), value in sorted(self.state.items()):
            if each == kind and key.startswith(prefix):
                yield key, value

    def keys(self, kind: str) -> list[str]:
        return [key for each, key in self.state if each == kind]

    def watch(
        self, kinds: Iterable[str], on_changes: Callable[[Sequence[StateChange]], None]
    ) -> None:
        for kind in kinds:
            self._watchers.setdefault(kind, []).append(on_changes)

    def own(self, kinds: Iterable[str]) -> None:
        """There is one node only, but for `change_elsewhere`."""

    async def refresh(self, kind: str, prefix: str = "") -> None:
        """Reads see everything."""

    def change_elsewhere(self, *changes: StateChange) -> None:
        """What another node would have done."""
        self._change(changes)
        for change in changes:
            for watcher in self._watchers.get(change.kind, ()):
                watcher([change])


def _own(delivery: Delivery) -> MemoryDelivery:
    assert isinstance(delivery, MemoryDelivery)
    return delivery
