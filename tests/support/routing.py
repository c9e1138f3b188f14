"""What tests of routing start from: a topology on a store in memory, and short ways to publish."""

from __future__ import annotations

from typing import Any

from bridge.messaging.clock import MessageIds
from bridge.messaging.model import (
    DEFAULT_NAMESPACE,
    TOPIC_TREE,
    Message,
    Origin,
    Publish,
    QueueName,
    QueueSettings,
    TopicName,
    UnitOfWork,
)
from bridge.routing.router import Routed, Router
from bridge.routing.rules import Rule, compile_rules
from bridge.routing.topology import Topology
from tests.support.memory_store import MemoryQueue, MemoryStore

TREE = TopicName(DEFAULT_NAMESPACE, TOPIC_TREE)
NOW_MS = 1_700_000_000_500


class FixedClock:
    """Stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def monotonic(self) -> float:
        return self.now_ms / 1000

    def epoch_ms(self) -> int:
        return self.now_ms


class Bench:
    """A store in memory with the topology and the router above it."""

    def __init__(self, *rules: Rule, store: MemoryStore | None = None, **options: Any) -> None:
        self.store = store or MemoryStore()
        self.clock = FixedClock()
        self.topology = Topology(self.store, self.store, self.clock, MessageIds(b"0123456789"))
        self.topology.load()
        self.router = Router(self.topology, self.store, compile_rules(rules), **options)

    async def queue(
        self, name: str, settings: QueueSettings | None = None, *, transient: bool = False
    ) -> MemoryQueue:
        return await self.store.create_queue(
            queue_name(name), settings or QueueSettings(), transient=transient
        )

    def route(self, *publishes: Publish) -> tuple[Routed, list[tuple[str, Message]]]:
        unit = UnitOfWork()
        routed = self.router.route(publishes, unit)
        return routed, [(queue.name.name, message) for queue, message in unit.sends]

    def reached(self, *publishes: Publish) -> list[str]:
        """The names of the queues that the publishes reach, sorted."""
        return sorted(name for name, _ in self.route(*publishes)[1])


def queue_name(name: str) -> QueueName:
    return QueueName(DEFAULT_NAMESPACE, name)


def topic_name(name: str) -> TopicName:
    return TopicName(DEFAULT_NAMESPACE, name)


def to_queue(
    name: str, body: bytes = b"x", *, source: str | None = None, create: bool = False, **fields: Any
) -> Publish:
    """A publish to a queue, as STOMP makes it unless `source` says otherwise."""
    return Publish(
        _origin(source or f"stomp:/queue/{name}"), _message(body, fields), queue=name, create=create
    )


def to_topic(
    topic: str, subject: str | None, body: bytes = b"x", *, source: str = "amqp:x/y", **fields: Any
) -> Publish:
    """A publish to a topic, as AMQP makes it unless `source` says otherwise."""
    return Publish(_origin(source), _message(body, {"topic": topic, "subject": subject, **fields}))


def from_mqtt(topic: str, body: bytes = b"x", **fields: Any) -> Publish:
    subject = topic.replace("/", ".")
    return to_topic(TOPIC_TREE, subject, body, source=f"mqtt:{topic}", **fields)


def _origin(source: str) -> Origin:
    protocol, _, address = source.partition(":")
    return Origin(protocol, address, "client-1", "alice")


def _message(body: bytes, fields: dict[str, Any]) -> Message:
    return Message(message_id="m", body=body, sent_at=NOW_MS, **fields)
