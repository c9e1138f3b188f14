"""A process that loads an embedded store until it is killed, and says what it was told.

`python -m tests.bridge.backends.embedded.load DIRECTORY FIRST` numbers its messages from FIRST. A
line on standard output is a word and (queue, number) pairs: `confirmed` sends that were answered,
`settling` what is about to be submitted, `settled` what was answered. Each line is one write.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import SystemClock
from bridge.messaging.limits import Limits
from bridge.messaging.model import Delivery, QueueSettings, UnitOfWork
from bridge.messaging.ports import Queue, Store, Subscription
from tests.support.stores import message, name

QUEUES = {"a": QueueSettings(), "b": QueueSettings(), "f": QueueSettings(fifo=True)}
LIMITS = Limits(queue_head_messages_max=50, queue_refill_messages=40)
WINDOW = 8
"""Units of sends that may wait for their answer."""


def say(word: str, pairs: Iterable[tuple[str, int]]) -> None:
    text = " ".join([word, *(f"{label}{number}" for label, number in pairs)])
    os.write(1, f"{text}\n".encode())


class Worker:
    """Takes from one queue, and deletes: alone, or together with a send to another queue."""

    def __init__(self, load: Load, label: str) -> None:
        self.load = load
        self.label = label
        self.subscription: Subscription | None = None

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        # Some of each batch stay with this consumer, so that something is always held.
        worked = [each for each in deliveries if int(each.message.body) % 7]
        if not worked:
            return
        pairs = [(self.label, int(each.message.body)) for each in worked]
        moving = self.label == "a" and pairs[0][1] % 3 == 0
        unit = UnitOfWork(answered=True, atomic=moving and pairs[0][1] % 2 == 0)
        unit.deletes += worked
        sent = self.load.add(unit, ["b"]) if moving else []
        say("settling", pairs)

        def done(unit: UnitOfWork) -> None:
            assert unit.error is None
            say("settled", pairs)
            say("confirmed", sent)
            if self.subscription is not None:
                self.subscription.add_credit(len(worked))

        unit.done = done
        self.load.store.submit(unit)

    def cancelled(self) -> None:
        raise AssertionError("nobody deletes the queue")

    def overdue(self, held_seconds: float) -> None:
        raise AssertionError(held_seconds)


class Load:
    """Publishes to all queues within a window."""

    def __init__(self, store: Store, first: int) -> None:
        self.store = store
        self.numbers = count(first)
        self.queues: dict[str, Queue] = {}
        self.room = asyncio.Semaphore(WINDOW)

    def add(self, unit: UnitOfWork, labels: list[str]) -> list[tuple[str, int]]:
        """Add one message to `unit`, to all of these queues."""
        number = next(self.numbers)
        sent = message(str(number).zfill(600 if number % 2 else 1))
        sent.group_id, sent.deduplication_id = str(number % 5), str(number)
        unit.sends += [(self.queues[label], sent) for label in labels]
        return [(label, number) for label in labels]

    async def run(self) -> None:
        for label, settings in QUEUES.items():
            self.queues[label] = await self.store.create_queue(name(label), settings)
        for label in QUEUES:
            worker = Worker(self, label)
            worker.subscription = await self.store.consume(
                self.queues[label], worker, credit=10_000 if label == "a" else 20
            )
        while True:
            await self.room.acquire()
            self.publish()

    def publish(self) -> None:
        unit = UnitOfWork()
        sent = [pair for labels in (["a"], ["a", "b"], ["f"]) for pair in self.add(unit, labels)]

        def done(unit: UnitOfWork) -> None:
            assert unit.error is None
            assert not unit.failures
            say("confirmed", sent)
            self.room.release()

        unit.done = done
        self.store.submit(unit)


def open_backend(path: Path) -> EmbeddedBackend:
    return EmbeddedBackend(path, durability="fsync", clock=SystemClock(), limits=LIMITS)


async def main(path: str, first: str) -> None:
    backend = open_backend(Path(path))
    await backend.open()
    await Load(backend.store, int(first)).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
