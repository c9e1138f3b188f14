from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.messaging.model import (
    DeadLetterReason,
    DeadLetterTarget,
    Delivery,
    Message,
    QueueSettings,
    UnitOfWork,
)
from bridge.routing.dead_letters import DeadLetters
from bridge.routing.router import REASON_HEADER
from tests.support.memory_store import MemoryQueue
from tests.support.routing import NOW_MS, Bench, queue_name, to_queue, to_topic, topic_name

REJECTED, EXPIRED = DeadLetterReason.REJECTED, DeadLetterReason.EXPIRED
TIME = datetime.fromtimestamp(NOW_MS // 1000, UTC)


class DeadLetterBench(Bench):
    """With dead letters above it, and what they spawned, for `settle` to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[asyncio.Task[None]] = []
        self.dead_letters = DeadLetters(self.router, self.clock, self._spawn)
        self.store.use_dead_letterer(self.dead_letters)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.spawned.append(asyncio.get_running_loop().create_task(coroutine))

    async def settle(self) -> None:
        while self.spawned:
            await self.spawned.pop()

    async def targeted(self, name: str, topic: str, subject: str | None = None) -> MemoryQueue:
        target = DeadLetterTarget(topic, subject)
        return await self.queue(name, QueueSettings(dead_letter=target))

    async def delivery(self, queue: MemoryQueue, message: Message | None = None) -> Delivery:
        unit = UnitOfWork()
        unit.sends.append((queue, message or to_queue(queue.name.name).message))
        self.store.submit(unit)
        taken = await self.store.take(queue)
        assert taken is not None
        return taken

    async def reject(self, delivery: Delivery, **options: Any) -> None:
        self.store.submit(self.dead_letters.reject([delivery], **options))
        await self.settle()


@pytest.fixture
async def bench() -> AsyncIterator[DeadLetterBench]:
    made = DeadLetterBench()
    yield made
    await made.settle()


async def test_rejected_message_goes_to_the_default_queue_with_its_history(
    bench: DeadLetterBench,
) -> None:
    dead, queue = await bench.queue("landbridge-dead-letters"), await bench.queue("q")
    message = to_topic("ex", "a.b", headers={"k": "v"}, expires_at=NOW_MS + 5000).message
    delivery = await bench.delivery(queue, message)
    await bench.reject(delivery, detail="bad JSON")
    assert not queue.held
    [letter] = dead.messages
    assert (letter.body, letter.topic, letter.subject) == (b"x", "ex", "a.b")
    assert (letter.expires_at, letter.dead_letter_source) == (None, "q")
    assert letter.headers == {
        "k": "v",
        "x-death": [
            {
                "count": 1,
                "reason": "rejected",
                "queue": "q",
                "time": TIME,
                "exchange": "ex",
                "routing-keys": ["a.b"],
                "original-expiration": "5000",
            }
        ],
        "x-first-death-reason": "rejected",
        "x-first-death-queue": "q",
        "x-first-death-exchange": "ex",
        "x-last-death-reason": "rejected",
        "x-last-death-queue": "q",
        "x-last-death-exchange": "ex",
        REASON_HEADER: "bad JSON",
    }


async def test_sends_and_deletes_are_one_unit(bench: DeadLetterBench) -> None:
    await bench.queue("landbridge-dead-letters")
    queue = await bench.queue("q")
    deliveries = [await bench.delivery(queue) for _ in range(3)]
    unit = bench.dead_letters.reject(deliveries)
    assert len(unit.sends) == 3
    assert unit.deletes == deliveries


async def test_default_queue_is_made_on_first_use_without_waiting(bench: DeadLetterBench) -> None:
    queue = await bench.queue("q")
    delivery = await bench.delivery(queue)
    assert bench.dead_letters.missing([delivery]) == {queue_name("landbridge-dead-letters")}
    unit = bench.dead_letters.reject([delivery])
    assert (unit.sends, unit.deletes) == ([], [])
    await bench.settle()
    dead = bench.store.queue(queue_name("landbridge-dead-letters"))
    assert dead is not None
    assert len(dead.messages) == 1
    assert not queue.held
    assert bench.dead_letters.missing([await bench.delivery(queue)]) == frozenset()


async def test_what_expired_without_a_target_goes_away(bench: DeadLetterBench) -> None:
    dead, queue = await bench.queue("landbridge-dead-letters"), await bench.queue("q")
    await bench.reject(await bench.delivery(queue), reason=EXPIRED)
    assert not queue.held
    assert not dead.messages


async def test_rejecting_a_dead_letter_ends_it(bench: DeadLetterBench) -> None:
    dead = await bench.queue("landbridge-dead-letters")
    await bench.reject(await bench.delivery(dead))
    assert not dead.held
    assert not dead.messages


async def test_target_topic_and_subject(bench: DeadLetterBench) -> None:
    retry = await bench.queue("retry")
    await bench.topology.declare_topic(topic_name("dlx"), "direct")
    await bench.topology.subscribe(topic_name("dlx"), queue_name("retry"), pattern="own")
    await bench.topology.subscribe(topic_name("dlx"), queue_name("retry"), pattern="other")
    message = to_topic("ex", "own").message
    for subject, expected in ((None, "own"), ("other", "other")):
        queue = await bench.targeted(f"q-{expected}", "dlx", subject)
        await bench.reject(await bench.delivery(queue, message), reason=EXPIRED)
        letter = retry.messages[-1]
        assert (letter.topic, letter.subject) == ("dlx", expected)


@pytest.mark.parametrize("subject", ["retry", None])
async def test_default_exchange_as_target_names_a_queue(
    bench: DeadLetterBench, subject: str | None
) -> None:
    retry = await bench.queue("retry")
    queue = await bench.targeted("q", "", subject)
    message = to_topic("ex", "retry").message
    await bench.reject(await bench.delivery(queue, message), reason=EXPIRED)
    assert [(letter.topic, letter.subject) for letter in retry.messages] == [(None, None)]


async def test_target_that_reaches_nothing_falls_back_to_the_default_queue(
    bench: DeadLetterBench,
) -> None:
    dead = await bench.queue("landbridge-dead-letters")
    await bench.reject(await bench.delivery(await bench.targeted("q", "absent")))
    await bench.reject(await bench.delivery(await bench.targeted("r", "", "absent")))
    assert [letter.dead_letter_source for letter in dead.messages] == ["q", "r"]


async def test_repeated_deaths_are_counted_latest_first(bench: DeadLetterBench) -> None:
    work = await bench.targeted("work", "", "retry")
    retry = await bench.targeted("retry", "", "work")
    await bench.reject(await bench.delivery(work))
    for _ in range(2):
        bench.clock.now_ms += 60_000
        bench.store.expire(retry, EXPIRED)
        await asyncio.sleep(0)
        delivery = await bench.store.take(work)
        assert delivery is not None
        await bench.reject(delivery)
    [letter] = retry.messages
    deaths = letter.headers["x-death"]
    assert isinstance(deaths, list)
    assert [
        (death["queue"], death["reason"], death["count"])
        for death in deaths
        if isinstance(death, dict)
    ] == [("work", "rejected", 3), ("retry", "expired", 2)]
    first = deaths[0]
    assert isinstance(first, dict)
    assert first["time"] == TIME
    assert letter.headers["x-first-death-queue"] == "work"
    assert letter.headers["x-last-death-queue"] == "work"


async def test_cycle_without_a_rejection_is_dropped(bench: DeadLetterBench) -> None:
    first = await bench.targeted("first", "", "second")
    second = await bench.targeted("second", "", "first")
    unit = UnitOfWork()
    unit.sends.append((first, to_queue("first").message))
    bench.store.submit(unit)
    bench.store.expire(first, EXPIRED)
    assert len(second.messages) == 1
    bench.store.expire(second, EXPIRED)
    left = [*first.messages, *second.messages, *first.held, *second.held]
    assert left == []


async def test_queue_that_is_its_own_target_drops_what_expires_but_not_what_is_rejected(
    bench: DeadLetterBench,
) -> None:
    queue = await bench.targeted("q", "", "q")
    await bench.reject(await bench.delivery(queue))
    assert len(queue.messages) == 1
    bench.store.expire(queue, EXPIRED)
    assert not queue.messages


async def test_forged_history_is_not_trusted_to_have_a_form(bench: DeadLetterBench) -> None:
    dead, queue = await bench.queue("landbridge-dead-letters"), await bench.queue("q")
    forged: list[Any] = [1, {"queue": "q", "reason": "rejected", "count": "many"}]
    for history in (forged, "text", {"count": 1}):
        message = to_queue("q", headers={"x-death": history}).message
        await bench.reject(await bench.delivery(queue, message))
        deaths = dead.messages[-1].headers["x-death"]
        assert isinstance(deaths, list)
        assert isinstance(deaths[0], dict)
        assert deaths[0]["count"] == 1


async def test_return_limit(bench: DeadLetterBench) -> None:
    queue = await bench.queue("q", QueueSettings(return_limit=2))
    delivery = await bench.delivery(queue)
    for returns, expected in ((0, False), (1, False), (2, True), (3, True)):
        delivery.return_count = returns
        assert bench.dead_letters.over_return_limit(delivery) is expected
    unlimited = await bench.delivery(await bench.queue("r"))
    unlimited.return_count = 1_000
    assert not bench.dead_letters.over_return_limit(unlimited)
