"""The store as SQS's fleet of servers shows it: what is received twice, out of order, or not yet.

References: SQS developer guide, at-least-once delivery, and short and long polling. Queues that are
first in, first out keep their order and hand out once; only their short polls may come back empty.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bridge.api.simulation.faults import Dice
from bridge.messaging.model import Delivery, Message, QueueSettings, UnitOfWork

if TYPE_CHECKING:
    from typing import Unpack

    from bridge.messaging.clock import Clock
    from bridge.messaging.ports import Queue, ReceiveOptions, Store

DUPLICATES_MAX = 10_000
"""Of one queue, copies that wait to be handed out once more; further ones are not made."""
DUPLICATED_MAX = 100_000
"""Messages that are remembered as handed out twice, so that none comes a third time."""
OVERDUE_SECONDS = 60.0
"""A copy that nobody has fetched by then is dropped: it would be no duplicate any more."""

ChangeSettings = Callable[["Queue", QueueSettings], Any]


class Copy(Delivery, kw_only=True, eq=False):
    """A message that comes once more, deleted or not; it has the handle of its first receive."""

    handle: str


class _Due(NamedTuple):
    at: float
    copy: Copy


class SimulatedStore:
    """A `Store` for the actions of SQS; what is not here is the exact store's."""

    def __init__(
        self, store: Store, dice: Dice, clock: Clock, change_settings: ChangeSettings
    ) -> None:
        """`change_settings` is a coroutine function that changes a queue's settings, later."""
        self._store = store
        self._dice = dice
        self._clock = clock
        self.change_queue = change_settings
        self._copies: dict[Queue, deque[_Due]] = {}
        self._duplicated: OrderedDict[str, None] = OrderedDict()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    # -- sending

    def submit(self, unit: UnitOfWork) -> None:
        """Let some messages to standard queues be found a little later than those behind them."""
        if unit.sends and self._dice.faults.reorder_rate:
            unit.sends = [
                (queue, message if queue.settings.fifo else self._displaced(queue, message))
                for queue, message in unit.sends
            ]
        self._store.submit(unit)

    def _displaced(self, queue: Queue, message: Message) -> Message:
        dice, place = self._dice, queue.name.name
        if not dice.happens("reorder_rate", place):
            return message
        visible_at = message.visible_at
        if visible_at is None:
            visible_at = self._clock.epoch_ms() + queue.settings.delay_seconds * 1000
        later = dice.throw("reorder_seconds", place) * dice.faults.reorder_seconds
        return msgspec.structs.replace(message, visible_at=visible_at + int(later * 1000))

    # -- receiving

    async def receive(
        self, queue: Queue, *, count: int, **options: Unpack[ReceiveOptions]
    ) -> list[Delivery]:
        wait = options.get("wait_seconds")
        if wait is None:
            wait = queue.settings.receive_wait_seconds
        dice, place = self._dice, queue.name.name
        if not wait and dice.happens("empty_receive_rate", place):
            return []
        if queue.settings.fifo:
            return await self._store.receive(queue, count=count, **options)
        if count > 1 and dice.happens("partial_receive_rate", place):
            count = 1 + int(dice.throw("partial_receive", place) * count)
        end = self._clock.monotonic() + wait
        rest = options.copy()
        while True:
            copies = self._due_copies(queue, count)
            if copies:
                return list(copies)
            rest["wait_seconds"] = self._until_next_copy(queue, end)
            deliveries = await self._store.receive(queue, count=count, **rest)
            if deliveries or self._clock.monotonic() >= end:
                break
        self._make_copies(queue, deliveries)
        dice.shuffle(deliveries, place)
        return deliveries

    def handle_of(self, delivery: Delivery) -> str:
        return delivery.handle if isinstance(delivery, Copy) else self._store.handle_of(delivery)

    async def purge_queue(self, queue: Queue) -> int:
        self._copies.pop(queue, None)
        return await self._store.purge_queue(queue)

    async def delete_queue(self, queue: Queue) -> int:
        self._copies.pop(queue, None)
        return await self._store.delete_queue(queue)

    # -- copies

    def _make_copies(self, queue: Queue, deliveries: list[Delivery]) -> None:
        dice, place = self._dice, queue.name.name
        for delivery in deliveries:
            message_id = delivery.message.message_id
            if message_id in self._duplicated or not dice.happens("duplicate_rate", place):
                continue
            copies = self._copies.setdefault(queue, deque())
            if len(copies) >= DUPLICATES_MAX:
                return
            self._duplicated[message_id] = None
            if len(self._duplicated) > DUPLICATED_MAX:
                self._duplicated.popitem(last=False)
            wait = dice.throw("duplicate_seconds", place) * dice.faults.duplicate_seconds
            copy = Copy(
                delivery.queue,
                delivery.message,
                receive_count=delivery.receive_count + 1,
                first_received_at=delivery.first_received_at,
                handle=self._store.handle_of(delivery),
            )
            copies.append(_Due(self._clock.monotonic() + wait, copy))

    def _due_copies(self, queue: Queue, count: int) -> list[Copy]:
        copies = self._copies.get(queue)
        if copies is None:
            return []
        now = self._clock.monotonic()
        due: list[Copy] = []
        for _ in range(len(copies)):
            each = copies.popleft()
            if now - each.at > OVERDUE_SECONDS:
                continue
            if each.at <= now and len(due) < count:
                due.append(each.copy)
            else:
                copies.append(each)
        if not copies:
            del self._copies[queue]
        return due

    def _until_next_copy(self, queue: Queue, end: float) -> int:
        """How many seconds to wait for a message before looking for copies again."""
        for each in self._copies.get(queue, ()):
            end = min(end, each.at)
        return max(0, ceil(end - self._clock.monotonic()))
