"""Whole nodes but for their listeners, on an AWS endpoint: backend, catalogue, router and faces.

async with node(url, tmp_path, publish=Mode.ALWAYS) as one:
    queue = await one.queue("orders")
    await one.bind("amq.topic", queue, "a.#")
    await one.publish("amq.topic", "a.b", b"x")
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import boto3

from bridge.backends.aws import AwsBackend, AwsLimits, AwsOptions
from bridge.backends.embedded import EmbeddedBackend
from bridge.declared import declare_topics
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.limits import Limits
from bridge.messaging.model import (
    DEFAULT_NAMESPACE,
    Message,
    Origin,
    Publish,
    QueueName,
    QueueSettings,
    TopicName,
    UnitOfWork,
)
from bridge.messaging.ports import Queue
from bridge.routing.dead_letters import DeadLetters
from bridge.routing.faces import FaceRouting, RoutedUses
from bridge.routing.router import Router
from bridge.routing.rules import Rule, compile_rules
from bridge.routing.topology import Topology
from tests.support.stores import commit

REGION: Final = "eu-west-1"
QUICK: Final = AwsLimits(
    retry_delay_seconds=0.01,
    retry_delay_seconds_max=0.1,
    poll_wait_seconds=1,
    close_seconds_max=20.0,
    topics_look_seconds=0.05,
    topic_retry_seconds=0.2,
)
_numbers = count(1)
_ids = MessageIds()


def table_name() -> str:
    """A table, and a prefix of queues and topics, that no other test uses."""
    return f"t{next(_numbers)}-"


def cloud(url: str, service: str) -> Any:
    """A boto3 client."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret",
    )


async def eventually(met: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Ask until the answer is true; asked in a thread, since boto3 blocks. Returns the answer."""
    async with asyncio.timeout(seconds):
        while not (answer := await asyncio.to_thread(met)):
            await asyncio.sleep(0.02)
        return answer


@dataclass
class Node:
    """One node."""

    backend: AwsBackend
    topology: Topology
    router: Router

    async def queue(self, name: str, *, transient: bool = False, **settings: Any) -> Queue:
        return await self.backend.store.create_queue(
            QueueName(DEFAULT_NAMESPACE, name), QueueSettings(**settings), transient=transient
        )

    async def bind(self, topic: str, queue: Queue, pattern: str | None = None) -> None:
        await self.topology.subscribe(
            TopicName(DEFAULT_NAMESPACE, topic), queue.name, pattern=pattern
        )

    async def publish(self, topic: str, subject: str, body: bytes = b"x", **fields: Any) -> bool:
        """Publish as a client would; False where it reached nothing. Raises what refused it."""
        message = Message(
            _ids.next(), body, SystemClock().epoch_ms(), topic=topic, subject=subject, **fields
        )
        return await self.route(Publish(Origin("amqp", f"{topic}/{subject}"), message))

    async def route(self, publish: Publish) -> bool:
        unit = UnitOfWork()
        routed = self.router.route([publish], unit)
        for name in routed.missing:
            await self.topology.ensure_queue(name)
        if routed.missing:
            routed = self.router.route([publish], unit)
        if unit.sends:
            await commit(self.backend.store, unit)
            for error in unit.failures.values():
                raise error
        return not routed.unrouted

    def calls(self, service: str) -> set[str]:
        """The actions that it called."""
        return {action for name, action in self.backend.counters.calls if name == service}


@asynccontextmanager
async def node(
    url: str,
    path: Path,
    *,
    rules: tuple[Rule, ...] = (),
    dynamodb: str | None = None,
    bounds: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Node]:
    """A node at the endpoint `url`; the caller's environment has the keys."""
    clock, ids = SystemClock(), MessageIds()
    endpoints = {**options.pop("endpoints", {}), **({"dynamodb": dynamodb} if dynamodb else {})}
    path.mkdir(exist_ok=True)
    backend = AwsBackend(
        AwsOptions(region=REGION, endpoint_url=url, endpoints=endpoints, **options),
        local=EmbeddedBackend(path, durability="memory", clock=clock, limits=Limits()),
        clock=clock,
        random=random.random,
        limits=replace(QUICK, **(bounds or {})),
    )
    await backend.open()
    try:
        async with asyncio.TaskGroup() as tasks:
            topology = Topology(backend.store, backend.state, clock, ids)
            topology.neighbours = neighbours = backend.neighbours
            topology.load()

            async def remove(queue: Queue) -> None:
                await topology.remove_queue(queue)

            neighbours.remove, neighbours.restore = remove, topology.restore
            router = Router(topology, backend.store, compile_rules(rules))
            backend.store.use_dead_letterer(DeadLetters(router, clock, tasks.create_task))
            topology.faces = backend.faces
            await declare_topics(router.rules, topology)
            incoming = FaceRouting(router, tasks.create_task).incoming
            backend.faces.follow(RoutedUses(router), topology.faces_changed, incoming)
            yield Node(backend, topology, router)
    finally:
        await backend.close()


@dataclass
class Cloud:
    """An endpoint with boto3's clients, and how to open a node there."""

    url: str
    dynamodb: str
    path: Path
    prefix: str

    def __post_init__(self) -> None:
        self.sns = cloud(self.url, "sns")
        self.sqs = cloud(self.url, "sqs")

    def node(self, **options: Any) -> AbstractAsyncContextManager[Node]:
        options.setdefault("topic_check_seconds", 0.2)
        return node(
            self.url,
            self.path / f"node-{len(list(self.path.iterdir()))}",
            dynamodb=self.dynamodb,
            prefix=self.prefix,
            table=self.prefix + "state",
            **options,
        )

    def topic(self, name: str) -> str | None:
        """The ARN of a topic, if there is one."""
        arns = [
            each["TopicArn"]
            for page in self.sns.get_paginator("list_topics").paginate()
            for each in page["Topics"]
        ]
        return next((arn for arn in arns if arn.endswith(f":{name}")), None)

    def subscribe(self, topic: str, queue: str, **attributes: str) -> str:
        """Subscribe a new queue to a topic, raw; returns its URL."""
        url: str = self.sqs.create_queue(QueueName=queue)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        self.sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true", **attributes},
        )
        return url

    def receive(self, url: str) -> list[dict[str, Any]]:
        reply = self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=1
        )
        messages: list[dict[str, Any]] = reply.get("Messages", [])
        return messages

    def is_empty(self, url: str) -> bool:
        """Whether a queue has nothing, received or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return all(count == "0" for count in counts.values())

    def endpoints(self, topic: str) -> list[str]:
        """The names of the queues that are subscribed to a topic."""
        found = self.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        return [each["Endpoint"].rpartition(":")[2] for each in found]

    async def ingested(self, name: str = "amq-topic") -> str:
        """The ARN of a topic, once what comes to it is taken in."""
        topic: str = await eventually(partial(self.topic, f"{self.prefix}{name}"))
        await eventually(partial(self.endpoints, topic))
        return topic


def subject(text: str) -> dict[str, Any]:
    """The message attribute that says what a message's subject is."""
    return {"landbridge-subject": {"DataType": "String", "StringValue": text}}
