"""A reference model of the store: what each queue holds, and what was promised about it.

`World` does each operation on the store and on the model, and compares. Messages are numbers; a
queue's model is the sorted numbers that wait, and the deliveries that somebody has.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from bridge.backends.embedded import EmbeddedBackend
from bridge.backends.embedded.queue import EmbeddedQueue
from bridge.messaging.clock import SystemClock
from bridge.messaging.limits import Limits
from bridge.messaging.model import Delivery, Message, QueueSettings, UnitOfWork
from bridge.messaging.ports import Queue, Store, Subscription
from bridge.storage.directory import STORE_FILE
from tests.support.stores import commit, consume, message, name

LIMITS = Limits(
    queue_head_messages_max=5,
    queue_refill_messages=4,
    fifo_head_messages_max=6,
    elision_delay_seconds=0.0005,
    lazy_commit_delay_seconds=0.001,
    receive_count_delay_seconds=0.001,
)
KINDS = {
    "durable": QueueSettings(),
    "other": QueueSettings(),
    "transient": QueueSettings(),
    "fifo": QueueSettings(fifo=True),
}
HOUR_MS = 3_600_000
TURNS_MAX = 5_000
"""Commits after which the store must be at rest."""

Key = tuple[str, int]
"""A message in a queue: the queue's label and the message's number."""


class ModelQueue:
    """What a queue holds. `held` are with connections, `hidden` under a visibility timeout."""

    def __init__(self, label: str, queue: Queue) -> None:
        self.label = label
        self.queue = queue
        self.waiting: list[int] = []
        self.delayed: set[int] = set()
        self.held: dict[int, Delivery] = {}
        self.hidden: dict[int, Delivery] = {}

    def put(self, numbers: Iterable[int]) -> None:
        self.waiting = sorted([*self.waiting, *numbers])

    def take(self, numbers: list[int]) -> None:
        """Check that these may be handed out next, in this order."""
        if self.label != "fifo":
            assert numbers == self.waiting[: len(numbers)]
        for group in {group_of(number) for number in numbers} if self.label == "fifo" else ():
            mine = [number for number in numbers if group_of(number) == group]
            waiting = [number for number in self.waiting if group_of(number) == group]
            assert mine == waiting[: len(mine)]
            away = [n for n in (*self.held, *self.hidden) if group_of(n) == group]
            assert all(number > mine[-1] for number in away)
        for number in numbers:
            self.waiting.remove(number)

    @property
    def all(self) -> set[int]:
        return {*self.waiting, *self.delayed, *self.held, *self.hidden}

    def keys(self, numbers: Iterable[int]) -> set[Key]:
        return {(self.label, number) for number in numbers}

    def clear(self) -> None:
        self.waiting, self.delayed, self.held, self.hidden = [], set(), {}, {}


class ModelConsumer:
    """A consumer that checks what it is given."""

    def __init__(self, model: ModelQueue, credit: int) -> None:
        self.model = model
        self.credit = credit
        self.paused = False
        self.subscription: Subscription | None = None
        self.mistakes: list[Exception] = []

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        try:
            assert self.subscription is not None
            assert not self.paused
            assert len(deliveries) <= self.credit
            self.credit -= len(deliveries)
            self.model.take([number_of(each) for each in deliveries])
        except AssertionError as mistake:
            # The store would report it and go on.
            self.mistakes.append(mistake)
        self.model.held.update({number_of(each): each for each in deliveries})

    def cancelled(self) -> None:
        self.subscription = None

    def overdue(self, held_seconds: float) -> None:
        raise AssertionError(held_seconds)


def number_of(delivery: Delivery) -> int:
    return int(delivery.message.body)


def group_of(number: int) -> str:
    return "abc"[number % 3]


async def opened(path: Path) -> EmbeddedBackend:
    backend = EmbeddedBackend(path, durability="os", clock=SystemClock(), limits=LIMITS)
    await backend.open()
    return backend


class World:
    """The store and its model."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.crashes = 0
        self.last = 0
        self.queues: dict[str, ModelQueue] = {}
        self.consumers: list[ModelConsumer] = []
        self.confirmed: set[Key] = set()
        """Durable sends that were answered."""
        self.settled: set[Key] = set()
        """Settled, purged or gone with their queue, answered or not."""
        self.answered: set[Key] = set()
        """The same, and answered: they may never come back."""
        self.mistakes: list[object] = []
        self.backend: EmbeddedBackend

    @property
    def store(self) -> Store:
        return self.backend.store

    async def open(self) -> None:
        self.backend = await opened(self.path)
        for label in KINDS:
            await self.make(label)

    async def make(self, label: str) -> None:
        transient = label == "transient"
        queue = await self.store.create_queue(name(label), KINDS[label], transient=transient)
        if label in self.queues:
            self.queues[label].queue = queue
        else:
            self.queues[label] = ModelQueue(label, queue)

    # -- operations that are not waited for

    def send(
        self, labels: Sequence[str], count: int, *, atomic: bool = False, delayed: bool = False
    ) -> None:
        """Send `count` messages, each to all of `labels`."""
        unit = UnitOfWork(atomic=atomic)
        self._submit(unit, self._add_sends(unit, labels, count, delayed=delayed), set())

    def settle(self, label: str, picks: Sequence[int], *, answered: bool) -> None:
        """Delete some of what is held or hidden."""
        unit = UnitOfWork(answered=answered)
        self._submit(unit, set(), self._add_deletes(unit, label, picks))

    def move(self, source: str, picks: Sequence[int], target: str, *, atomic: bool) -> None:
        """Delete some and send as many, as one."""
        unit = UnitOfWork(atomic=atomic, answered=True)
        gone = self._add_deletes(unit, source, picks)
        self._submit(unit, self._add_sends(unit, [target], len(gone), delayed=False), gone)

    def give_back(self, label: str, picks: Sequence[int], *, returned: bool) -> None:
        """Release or return some of what connections hold."""
        unit = UnitOfWork()
        model = self.queues[label]
        numbers = _picked(model.held, picks)
        deliveries = [model.held.pop(number) for number in numbers]
        (unit.returns if returned else unit.releases).extend(deliveries)
        model.put(numbers)
        self._submit(unit, set(), set())

    def _submit(self, unit: UnitOfWork, sent: set[Key], gone: set[Key]) -> None:
        def done(unit: UnitOfWork) -> None:
            if unit.error is not None or unit.failures:
                self.mistakes.append((unit.error, unit.failures))
            self.confirmed |= sent
            if unit.answered or unit.atomic:
                self.answered |= gone

        unit.done = done
        self.settled |= gone
        self.store.submit(unit)

    def _add_sends(
        self, unit: UnitOfWork, labels: Sequence[str], count: int, *, delayed: bool
    ) -> set[Key]:
        sent = set()
        for _ in range(count):
            self.last += 1
            shared = self._message(self.last, delayed=delayed)
            for label in labels:
                model = self.queues[label]
                unit.sends.append((model.queue, shared))
                if delayed:
                    model.delayed.add(self.last)
                else:
                    model.put([self.last])
                if not model.queue.transient:
                    sent.add((label, self.last))
        return sent

    def _message(self, number: int, *, delayed: bool) -> Message:
        # Every second one is long enough to be stored once for all its copies.
        each = message(str(number).zfill(600 if number % 2 else 1))
        each.group_id, each.deduplication_id = group_of(number), str(number)
        if delayed:
            each.visible_at = each.sent_at + HOUR_MS
        return each

    def _add_deletes(self, unit: UnitOfWork, label: str, picks: Sequence[int]) -> set[Key]:
        model = self.queues[label]
        had = {**model.held, **model.hidden}
        numbers = _picked(had, picks)
        unit.deletes += [had[number] for number in numbers]
        for number in numbers:
            model.held.pop(number, None)
            model.hidden.pop(number, None)
        return model.keys(numbers)

    # -- operations that are waited for

    async def receive(self, label: str, count: int) -> None:
        model = self.queues[label]
        if not any(each.model is model for each in self.consumers):
            await self.quiesce()
        free = model.label != "fifo" or not (model.held or model.hidden)
        received = await self.store.receive(model.queue, count=count, visibility_seconds=3_600)
        if model.waiting and free and not any(each.model is model for each in self.consumers):
            assert received
        model.take([number_of(each) for each in received])
        model.hidden.update({number_of(each): each for each in received})

    async def show(self, label: str, picks: Sequence[int]) -> None:
        """End the visibility timeouts of some."""
        model = self.queues[label]
        for number in _picked(model.hidden, picks):
            delivery = model.hidden.pop(number)
            model.put([number])
            await self.store.change_visibility(delivery, 0)

    async def consume(self, label: str, credit: int) -> None:
        consumer = ModelConsumer(self.queues[label], credit)
        self.consumers.append(consumer)
        consumer.subscription = await self.store.consume(
            consumer.model.queue, consumer, credit=credit
        )

    def cancel(self, consumer: ModelConsumer) -> None:
        self.consumers.remove(consumer)
        assert consumer.subscription is not None
        consumer.subscription.cancel()
        consumer.subscription = None

    async def purge(self, label: str) -> None:
        model = self.queues[label]
        gone = model.keys(model.all - set(model.held))
        held = model.held
        model.clear()
        model.held = held
        self.settled |= gone
        await self.store.purge_queue(model.queue)
        self.answered |= gone

    async def delete_and_make(self, label: str) -> None:
        model = self.queues[label]
        gone = model.keys(model.all)
        self.consumers = [each for each in self.consumers if each.model is not model]
        model.clear()
        self.settled |= gone
        await asyncio.gather(self.store.delete_queue(model.queue), self.make(label))
        self.answered |= gone

    # -- comparing

    async def quiesce(self) -> None:
        """Wait until all is committed and everything that can be delivered is."""
        await commit(self.store, UnitOfWork(atomic=True))
        turns = 0
        while not self._at_rest():
            turns += 1
            assert turns < TURNS_MAX, self._places()
            await commit(self.store, UnitOfWork(atomic=True))
        await commit(self.store, UnitOfWork(atomic=True))

    def _places(self) -> list[object]:
        """Where things stand, for the report of a store that does not come to rest."""
        return [
            (model.label, model.waiting, lane.tail_count, lane.cursor, lane.next_id, lane.loading)
            for model in self.queues.values()
            if isinstance(model.queue, EmbeddedQueue)
            for lane in model.queue.lanes
        ]

    def _at_rest(self) -> bool:
        for model in self.queues.values():
            credit = sum(
                each.credit for each in self.consumers if each.model is model and not each.paused
            )
            if credit and model.waiting and model.label != "fifo":
                return False
            if isinstance(model.queue, EmbeddedQueue) and model.queue.loading:
                return False
        return True

    async def check(self) -> None:
        """Compare the counts of every queue, at rest."""
        await self.quiesce()
        for consumer in self.consumers:
            assert not consumer.mistakes
        for model in self.queues.values():
            counts = await self.store.counts(model.queue)
            expected = (
                len(model.waiting),
                len(model.held) + len(model.hidden),
                len(model.delayed),
            )
            assert counts == expected, model.label
        assert self.backend.corrections == 0

    async def restart(self) -> None:
        """Close and open: what connections held waits again, transient queues are new."""
        for consumer in list(self.consumers):
            self.cancel(consumer)
        await self.backend.close()
        for model in self.queues.values():
            if model.label == "transient":
                model.clear()
            model.put(model.held)
            model.held.clear()
        handles = {
            model.label: {n: self.store.handle_of(each) for n, each in model.hidden.items()}
            for model in self.queues.values()
        }
        await self.open()
        for label, of_queue in handles.items():
            model = self.queues[label]
            found = {n: self.store.delivery_of(model.queue, h) for n, h in of_queue.items()}
            model.hidden = {n: each for n, each in found.items() if each is not None}
            assert model.hidden.keys() == of_queue.keys()

    async def crash(self) -> None:
        """Open a copy of the running store: the promises hold there as if it had been killed."""
        self.crashes += 1
        copy = self.path.with_name(f"{self.path.name}-{self.crashes}")
        copy.mkdir()
        for suffix in ("", "-wal"):
            shutil.copyfile(self.path / (STORE_FILE + suffix), copy / (STORE_FILE + suffix))
        confirmed, settled, answered = (
            set(self.confirmed),
            set(self.settled),
            set(self.answered),
        )
        backend = await opened(copy)
        found: set[Key] = set()
        for label in KINDS:
            queue = backend.store.queue(name(label))
            if queue is not None:
                found |= {(label, number) for number in await _content(backend, queue)}
        assert backend.corrections == 0
        await backend.close()
        shutil.rmtree(copy)
        assert confirmed - settled <= found
        assert not answered & found

    async def close(self) -> None:
        await self.backend.close()


async def _content(backend: EmbeddedBackend, queue: Queue) -> set[int]:
    """The numbers in a queue of a store that was just opened; each may be there once."""
    assert isinstance(queue, EmbeddedQueue)
    first, last = queue.id_range()
    rows = backend.database.query_now(
        "SELECT coalesce(e.body, c.body) FROM entry e LEFT JOIN content c ON c.id = e.content"
        " WHERE e.id BETWEEN ? AND ?",
        (first, last),
    )
    numbers = [int(body) for (body,) in rows]
    assert len(set(numbers)) == len(numbers)
    visible, not_visible, delayed = await backend.store.counts(queue)
    assert visible + not_visible + delayed == len(numbers)
    if queue.settings.fifo:
        return set(numbers)
    collector = await consume(backend.store, queue, credit=len(numbers) + 1)
    received = [number_of(each) for each in await collector.expect(visible)]
    assert received == sorted(received)
    assert set(received) <= set(numbers)
    return set(numbers)


def _picked(available: dict[int, Delivery], picks: Sequence[int]) -> list[int]:
    """Some of the numbers, chosen by any integers."""
    numbers = sorted(available)
    return sorted({numbers[pick % len(numbers)] for pick in picks}) if numbers else []
