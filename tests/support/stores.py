"""Driving a store from a test: sending, settling and consuming, each awaited until answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.model import (
    DEFAULT_NAMESPACE,
    Delivery,
    Message,
    QueueName,
    QueueSettings,
    UnitOfWork,
)
from bridge.messaging.ports import Queue, Store, Subscription

_ids = MessageIds()
_clock = SystemClock()


def name(text: str) -> QueueName:
    return QueueName(DEFAULT_NAMESPACE, text)


def message(body: str | bytes = b"", **fields: object) -> Message:
    """A message with an id and a time of its own."""
    raw = body.encode() if isinstance(body, str) else body
    return Message(_ids.next(), raw, _clock.epoch_ms(), **fields)  # type: ignore[arg-type]


def contents_of(sent: Message) -> Message:
    """A message without what a store may give it: id, time, sender."""
    return msgspec.structs.replace(sent, message_id="", sent_at=0, sender=None)


async def commit(store: Store, unit: UnitOfWork) -> UnitOfWork:
    """Submit a unit and wait for its answer; raises the error that refused it."""
    answered = asyncio.Event()
    unit.done = lambda _: answered.set()
    store.submit(unit)
    await asyncio.wait_for(answered.wait(), 60)
    if unit.error is not None:
        raise unit.error
    return unit


async def send(store: Store, queue: Queue, *messages: Message) -> UnitOfWork:
    unit = UnitOfWork()
    unit.sends += [(queue, each) for each in messages]
    return await commit(store, unit)


async def delete(store: Store, *deliveries: Delivery) -> None:
    unit = UnitOfWork(answered=True)
    unit.deletes += deliveries
    await commit(store, unit)


async def release(store: Store, *deliveries: Delivery) -> None:
    unit = UnitOfWork(answered=True)
    unit.releases += deliveries
    await commit(store, unit)


async def drain(store: Store, queue: Queue) -> list[str]:
    """Receive and delete until nothing is visible; returns the bodies in order."""
    bodies: list[str] = []
    while taken := await store.receive(queue, count=10, wait_seconds=0):
        bodies += [each.message.body.decode() for each in taken]
        await delete(store, *taken)
    return bodies


async def make_queue(store: Store, text: str = "orders", **settings: object) -> Queue:
    return await store.create_queue(name(text), QueueSettings(**settings))  # type: ignore[arg-type]


def found(store: Store, text: str = "orders") -> Queue:
    """The queue of that name, which is there."""
    queue = store.queue(name(text))
    assert queue is not None
    return queue


class Collector:
    """A consumer that keeps what it is given; `expect` waits until there are so many."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.was_cancelled = False
        self.was_overdue = False
        self.subscription: Subscription | None = None
        self.changed = asyncio.Event()

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries += deliveries
        self.changed.set()

    def cancelled(self) -> None:
        self.was_cancelled = True
        self.changed.set()

    def overdue(self, held_seconds: float) -> None:
        self.was_overdue = True
        self.changed.set()

    async def expect(self, count: int) -> list[Delivery]:
        async with asyncio.timeout(60):
            while len(self.deliveries) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.deliveries

    @property
    def bodies(self) -> list[str]:
        return [each.message.body.decode() for each in self.deliveries]


async def shares_of(collectors: Sequence[Collector], total: int) -> list[int]:
    """How many each collector has, once all of them together have `total` different messages.

    At least once: a duplicate now and then is no fault.
    """
    changed = asyncio.Event()
    for each in collectors:
        each.changed = changed
    async with asyncio.timeout(60):
        while (
            len({got.message.message_id for each in collectors for got in each.deliveries}) < total
        ):
            changed.clear()
            await changed.wait()
    shares = [len(each.deliveries) for each in collectors]
    assert sum(shares) <= total + total // 50
    return shares


async def consume(
    store: Store, queue: Queue, credit: int = 10, *, priority: int = 0, exclusive: bool = False
) -> Collector:
    collector = Collector()
    collector.subscription = await store.consume(
        queue, collector, credit=credit, priority=priority, exclusive=exclusive
    )
    return collector
