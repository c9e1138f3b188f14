"""The store's port over the engine: rare operations as coroutines, and receiving by pull."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from bridge.backends.embedded.engine import Engine
from bridge.backends.embedded.entry import GONE, Entry
from bridge.backends.embedded.fifo import FifoQueue
from bridge.backends.embedded.handles import handle_from_entry, parse_handle, ticket_from_handle
from bridge.backends.embedded.loader import QueueRecord
from bridge.backends.embedded.queue import EmbeddedQueue, queue_id_of
from bridge.backends.embedded.receivers import PullReceiver, PushReceiver
from bridge.messaging.errors import (
    InvalidParameter,
    MessagingError,
    OverLimit,
    QueueDoesNotExist,
    ReceiptHandleExpired,
    ReceiptHandleOfAnotherQueue,
    ResourceLocked,
)
from bridge.messaging.model import (
    Delivery,
    QueueCounts,
    QueueName,
    QueueSettings,
    UnitOfWork,
)
from bridge.storage.batch import QueueRow

if TYPE_CHECKING:
    from typing import Unpack

    from bridge.messaging.clock import Clock
    from bridge.messaging.limits import Limits
    from bridge.messaging.ports import Consumer, DeadLetterer, Queue, ReceiveOptions, Subscription

QUEUES_MAX = 2**17
"""Queues that the store can number."""
VISIBILITY_SECONDS_MAX = 43_200
"""SQS: total of a message's visibility timeouts since it was received."""


class EmbeddedStore:
    """See `bridge.messaging.ports.Store`."""

    def __init__(self, engine: Engine, clock: Clock, limits: Limits) -> None:
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._next_id = 1
        self._stored_settings: dict[EmbeddedQueue, QueueSettings] = {}
        """What the disk has of queues whose settings are being changed."""
        self.submit = engine.submit

    def adopt(self, queues: Iterable[EmbeddedQueue]) -> None:
        """Take over the queues that were stored."""
        for queue in queues:
            self._engine.queues[queue.name] = queue
            self._engine.by_id[queue.id] = queue
            self._next_id = max(self._next_id, queue.id + 1)
            self._watch(queue)

    def number_above(self, orphans: Iterable[tuple[int, int]]) -> None:
        """Give no new queue the number of one that left messages behind, which are to be purged."""
        for _, last in orphans:
            self._next_id = max(self._next_id, queue_id_of(last) + 1)

    def _watch(self, queue: EmbeddedQueue) -> None:
        """Note a use of the queue, and whether it is to be removed without any."""
        queue.used_at = self._clock.epoch_ms()
        if queue.settings.idle_expiry_ms is None:
            self._engine.expiring.pop(queue, None)
        else:
            self._engine.expiring[queue] = None

    def use_dead_letterer(self, dead_letterer: DeadLetterer) -> None:
        self._engine.departures.dead_letterer = dead_letterer

    def use_idle_handler(self, handler: Callable[[Queue], None]) -> None:
        self._engine.idle_handler = handler

    # -- receiving

    async def consume(
        self,
        queue: Queue,
        consumer: Consumer,
        *,
        credit: int,
        priority: int = 0,
        exclusive: bool = False,
    ) -> Subscription:
        own = _own(queue)
        pushed = [each for each in own.receivers if isinstance(each, PushReceiver)]
        if any(each.exclusive for each in pushed) or (exclusive and pushed):
            raise ResourceLocked(f"queue '{own.name.name}' is in exclusive use")
        receiver = PushReceiver(
            own, consumer, credit, priority, exclusive=exclusive, wake=self._engine.wake
        )
        own.receivers.append(receiver)
        self._engine.wake(own)
        return receiver

    async def receive(
        self, queue: Queue, *, count: int, **options: Unpack[ReceiveOptions]
    ) -> list[Delivery]:
        own = _own(queue)
        wait, attempt_id = options.get("wait_seconds"), options.get("attempt_id")
        visibility_seconds = options.get("visibility_seconds")
        if attempt_id is not None and isinstance(own, FifoQueue):
            repeated = own.attempts.again(attempt_id, self._clock.epoch_ms())
            if repeated:
                self._hide(repeated, visibility_seconds)
                return list(repeated)
        entries = await self._take(own, count)
        if wait is None:
            wait = own.settings.receive_wait_seconds
        if not entries and wait:
            entries = await self._wait(own, count, wait)
        if not entries and isinstance(own, FifoQueue):
            await self._engine.departures.until_redriven(own)
        self._hide(entries, visibility_seconds)
        if attempt_id is not None and isinstance(own, FifoQueue) and entries:
            own.attempts.note(attempt_id, entries, self._clock.epoch_ms())
        return list(entries)

    async def _take(self, queue: EmbeddedQueue, count: int) -> list[Entry]:
        """Take what is visible, waiting only for what is on its way from the disk.

        Raises `StoreUnavailable` where the disk cannot be read, `QueueDoesNotExist`.
        """
        queue.used_at = self._clock.epoch_ms()
        while not (entries := queue.take(count, self._clock.epoch_ms(), self._engine)):
            if not queue.loading:
                break
            loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            queue.load_waiters.append(loaded)
            await loaded
        if queue.deleted:
            raise QueueDoesNotExist(f"queue '{queue.name.name}' was deleted")
        if queue.particular or queue.receivers:
            self._engine.wake(queue)
        return entries

    async def _wait(self, queue: EmbeddedQueue, count: int, seconds: int) -> list[Entry]:
        receiver = PullReceiver(count)
        queue.receivers.append(receiver)
        self._engine.wake(queue)
        timer = asyncio.get_running_loop().call_later(seconds, receiver.end)
        try:
            entries = await receiver.future
        except asyncio.CancelledError:
            for entry in receiver.served():
                self._engine.release(entry)
            self._engine.wake(queue)
            raise
        finally:
            timer.cancel()
            if receiver in queue.receivers:
                queue.receivers.remove(receiver)
        if queue.deleted:
            # Since it was served: a queue that is gone must not get its messages back.
            raise QueueDoesNotExist(f"queue '{queue.name.name}' was deleted")
        return entries

    def _hide(self, entries: list[Entry], seconds: int | None) -> None:
        if not entries:
            return
        queue = entries[0].queue
        timeout = queue.settings.visibility_timeout_seconds if seconds is None else seconds
        now = self._clock.epoch_ms()
        self._engine.hide(entries, now, now + timeout * 1000)
        if timeout == 0:
            for entry in entries:
                self._engine.release(entry)
            self._engine.wake(queue)

    async def take(self, queue: Queue) -> Delivery | None:
        entries = await self._take(_own(queue), 1)
        self._engine.handed.note(entries)
        return entries[0] if entries else None

    # -- receipt handles

    def handle_of(self, delivery: Delivery) -> str:
        return handle_from_entry(_entry(delivery))

    def delivery_of(self, queue: Queue, handle: str) -> Delivery | None:
        own = _own(queue)
        entry = own.received.get(ticket_from_handle(handle))
        if entry is None:
            entry = self._received_before(own, handle)
        if entry is None or entry.status == GONE:
            return None
        if own.settings.fifo and not (entry.held and handle == handle_from_entry(entry)):
            raise ReceiptHandleExpired("the receipt handle has expired")
        return entry

    def _received_before(self, queue: EmbeddedQueue, handle: str) -> Entry | None:
        """What an earlier run gave the handle for, if it is still there. Raises
        `ReceiptHandleInvalid` for what is no handle of this queue.
        """
        entry_id, message_id = parse_handle(handle)
        first, last = queue.id_range()
        if not first <= entry_id <= last:
            raise ReceiptHandleOfAnotherQueue(f'"{handle}" is not a receipt handle of this queue')
        entry = self._engine.loader.lookup(queue, entry_id)
        if entry is None or entry.message.message_id != message_id:
            return None
        return entry

    async def change_visibility(self, delivery: Delivery, seconds: int) -> None:
        entry = _entry(delivery)
        now = self._clock.epoch_ms()
        if not entry.held:
            return
        if seconds and now + seconds * 1000 > entry.received_at + VISIBILITY_SECONDS_MAX * 1000:
            raise InvalidParameter(
                "total visibility timeout for the message is beyond the limit"
                f" [{VISIBILITY_SECONDS_MAX} seconds]"
            )
        self._engine.hold_until(entry, now + seconds * 1000)
        if isinstance(entry.queue, FifoQueue):
            entry.queue.attempts.void(entry)
        if seconds == 0:
            self._engine.release(entry)
        self._engine.wake(entry.queue)

    # -- queues

    def queue(self, name: QueueName) -> Queue | None:
        return self._engine.queues.get(name)

    def queues(self) -> Iterable[Queue]:
        return list(self._engine.queues.values())

    async def create_queue(
        self, name: QueueName, settings: QueueSettings, *, transient: bool = False
    ) -> Queue:
        existing = self._engine.queues.get(name)
        if existing is not None:
            existing.used_at = self._clock.epoch_ms()
            if existing.unsaved:
                await self._durable()
            return existing
        make = FifoQueue if settings.fifo else EmbeddedQueue
        queue = make(name, settings, self._allocate(), self._limits)
        queue.transient = transient
        queue.created_at = queue.modified_at = self._clock.epoch_ms()
        if not transient:
            self._save(queue)
        self.adopt([queue])
        if not transient:
            queue.unsaved = True
            await self._durable()
            queue.unsaved = False
        return queue

    def _allocate(self) -> int:
        """A number above all in use; once these are spent, a free one of which nothing is left."""
        for number in chain(range(self._next_id, QUEUES_MAX), range(1, self._next_id)):
            if number not in self._engine.by_id and not self._engine.loader.leftover(number):
                self._next_id = number + 1
                return number
        raise OverLimit(f"the store has {QUEUES_MAX} queues, which is all it can hold")

    async def change_queue(self, queue: Queue, settings: QueueSettings) -> None:
        own = _own(queue)
        if own.transient:
            self._use(own, settings)
            return
        self._stored_settings.setdefault(own, own.settings)
        self._use(own, settings)
        try:
            self._save(own)
            await self._durable()
        except MessagingError:
            if own.settings is settings:
                # Nothing newer is under way: what was stored last holds again.
                stored = self._stored_settings.pop(own, settings)
                if not own.deleted:
                    self._use(own, stored)
                    # The next commit would have tried the refused ones again.
                    self._save(own)
            raise
        except asyncio.CancelledError:
            # Who asked has gone; the settings are stored all the same.
            self._stored_settings.pop(own, None)
            raise
        if own.settings is settings:
            self._stored_settings.pop(own, None)
        else:
            self._stored_settings[own] = settings

    def _use(self, queue: EmbeddedQueue, settings: QueueSettings) -> None:
        delay_changed = queue.settings.delay_seconds != settings.delay_seconds
        queue.apply(settings)
        queue.modified_at = self._clock.epoch_ms()
        self._watch(queue)
        if delay_changed and isinstance(queue, FifoQueue):
            self._engine.delay_again(queue)
        self._engine.wake(queue)

    def _save(self, queue: EmbeddedQueue) -> None:
        """Write the queue with the next commit. Raises `InvalidParameter` for what cannot be."""
        record = QueueRecord(queue.settings, queue.created_at, queue.modified_at)
        try:
            encoded = msgspec.msgpack.encode(record)
            for part in queue.name:
                part.encode()
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidParameter(
                f"queue '{queue.name.name}' cannot be stored: {error}"
            ) from error
        self._engine.committer.save_queue(QueueRow(queue.id, *queue.name, encoded))

    async def delete_queue(self, queue: Queue) -> int:
        own = _own(queue)
        if own.deleted:
            return 0
        count = own.visible
        own.deleted = True
        del self._engine.queues[own.name]
        self._engine.expiring.pop(own, None)
        receivers, own.receivers = own.receivers, []
        self._engine.forget(own, held=True)
        if not own.transient:
            self._engine.committer.delete_queue(own.id)
        for receiver in receivers:
            if isinstance(receiver, PushReceiver):
                receiver.evict()
            elif isinstance(receiver, PullReceiver) and not receiver.future.done():
                receiver.future.set_exception(
                    QueueDoesNotExist(f"queue '{own.name.name}' was deleted")
                )
        if not own.transient or own.spilled:
            await self._durable()
        self._engine.by_id.pop(own.id, None)
        return count

    async def purge_queue(self, queue: Queue) -> int:
        own = _own(queue)
        count = own.visible
        self._engine.forget(own, held=False)
        if isinstance(own, FifoQueue):
            own.accepted.clear()
            self._engine.committer.forget_deduplications(own.id)
        await self._durable()
        return count

    async def counts(self, queue: Queue) -> QueueCounts:
        own = _own(queue)
        return QueueCounts(own.visible, len(own.held), len(own.delayed) + own.delayed_on_disk)

    async def _durable(self) -> None:
        """Return once everything submitted so far is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answer(unit: UnitOfWork) -> None:
            if done.cancelled():
                return
            if unit.error is None:
                done.set_result(None)
            else:
                done.set_exception(unit.error)

        self._engine.barrier(UnitOfWork(answer))
        await done


def _own(queue: Queue) -> EmbeddedQueue:
    assert isinstance(queue, EmbeddedQueue), "a queue of another store"
    return queue


def _entry(delivery: Delivery) -> Entry:
    assert isinstance(delivery, Entry), "a delivery of another store"
    return delivery
