"""The catalogue, routing and dead letters over the embedded store, through restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.limits import Limits
from bridge.messaging.model import (
    DEFAULT_NAMESPACE,
    DeadLetterTarget,
    Delivery,
    Message,
    Origin,
    Publish,
    QueueName,
    QueueSettings,
    TopicName,
    UnitOfWork,
)
from bridge.messaging.ports import Store
from bridge.routing.dead_letters import DeadLetters
from bridge.routing.router import Router
from bridge.routing.rules import Rule, compile_rules
from bridge.routing.topology import Topology
from tests.support.stores import commit, drain, name, release

METERS = TopicName(DEFAULT_NAMESPACE, "meters")
RULE = Rule("meters", "mqtt:plant/{line}/#", ["sns:meters", "sqs:line-{line}"])
WAIT_SECONDS = 60


class Node:
    """What the composition root puts on top of a backend, as far as routing goes."""

    def __init__(self, backend: EmbeddedBackend, tasks: asyncio.TaskGroup) -> None:
        clock, ids = SystemClock(), MessageIds()
        self.store: Store = backend.store
        self.topology = Topology(self.store, backend.state, clock, ids)
        self.topology.load()
        self.router = Router(self.topology, self.store, compile_rules([RULE]))
        self.dead_letters = DeadLetters(self.router, clock, tasks.create_task)
        self.store.use_dead_letterer(self.dead_letters)

    async def publish(self, *publishes: Publish) -> None:
        unit = UnitOfWork()
        while missing := self.router.route(publishes, unit).missing:
            for each in missing:
                await self.topology.ensure_queue(each)
        await commit(self.store, unit)

    async def receive(self, queue_name: QueueName) -> Delivery:
        while (queue := self.store.queue(queue_name)) is None:
            await asyncio.sleep(0)
        [delivery] = await self.store.receive(queue, count=1, wait_seconds=WAIT_SECONDS)
        return delivery


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[Node]:
    backend = EmbeddedBackend(path, durability="os", clock=SystemClock(), limits=Limits())
    await backend.open()
    try:
        async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as tasks:
            yield Node(backend, tasks)
    finally:
        await backend.close()


def reading(line: str, body: bytes = b"42") -> Publish:
    message = Message("m", body, SystemClock().epoch_ms(), topic="amq.topic")
    message.subject = f"plant.{line}.kwh"
    return Publish(Origin("mqtt", f"plant/{line}/kwh"), message)


async def test_catalogue_and_messages_survive_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.topology.declare_topic(METERS)
        await node.topology.ensure_queue(name("all"))
        await node.topology.ensure_queue(name("seven"))
        await node.topology.subscribe(METERS, name("all"))
        await node.topology.subscribe(METERS, name("seven"), pattern="plant.7.#")
        await node.publish(reading("7", b"one"), reading("8", b"two"))
    async with running(tmp_path) as node:
        await node.publish(reading("7", b"three"))
        found = {
            queue.name.name: await drain(node.store, queue) for queue in list(node.store.queues())
        }
    assert found == {
        "all": ["one", "two", "three"],
        "seven": ["one", "three"],
        "line-7": ["one", "three"],
        "line-8": ["two"],
    }


async def test_removed_queue_stays_removed_with_its_bindings(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.topology.declare_topic(METERS, auto_delete=True)
        queue = await node.topology.ensure_queue(name("all"))
        await node.topology.subscribe(METERS, name("all"))
        await node.topology.remove_queue(queue)
    async with running(tmp_path) as node:
        assert node.topology.topic(METERS) is None
        assert node.store.queue(name("all")) is None


async def test_rejected_message_is_in_the_default_dead_letter_queue(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await node.topology.declare_topic(METERS)
        await node.publish(reading("7"))
        delivery = await node.receive(name("line-7"))
        node.store.submit(node.dead_letters.reject([delivery], detail="not a number"))
        dead = await node.receive(name("landbridge-dead-letters"))
        assert dead.message.headers["landbridge-dead-letter-reason"] == "not a number"
        await release(node.store, dead)
    async with running(tmp_path) as node:
        line, dlq = (
            node.store.queue(name("line-7")),
            node.store.queue(name("landbridge-dead-letters")),
        )
        assert line is not None
        assert dlq is not None
        assert await drain(node.store, line) == []
        assert await drain(node.store, dlq) == ["42"]


async def test_expiring_messages_go_round_through_a_retry_queue(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        work = QueueSettings(dead_letter=DeadLetterTarget("", "retry"))
        retry = QueueSettings(dead_letter=DeadLetterTarget("", "work"), message_ttl_ms=1)
        await node.topology.ensure_queue(name("work"), work)
        await node.topology.ensure_queue(name("retry"), retry)
        message = Message("m", b"x", SystemClock().epoch_ms())
        await node.publish(Publish(Origin("amqp", "/work"), message, queue="work"))
        for round_number in range(1, 4):
            delivery = await node.receive(name("work"))
            deaths = delivery.message.headers.get("x-death", [])
            assert isinstance(deaths, list)
            counts = [death["count"] for death in deaths if isinstance(death, dict)]
            assert counts == [round_number - 1] * min(2, 2 * (round_number - 1))
            node.store.submit(node.dead_letters.reject([delivery]))
