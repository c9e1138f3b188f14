"""What cloud code publishes to a topic in SNS comes in through one queue per topic.

The queue is subscribed with raw delivery and a filter policy that leaves out what nodes of
Landbridge published; every node receives from it, and each message comes to one of them. Where
nobody wants it any more, queue and subscription go after a while: a client that connects again
should find them, since a new subscription in SNS takes its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.backends.aws.messages import AwsDelivery
from bridge.backends.aws.node import Node
from bridge.backends.aws.queues import AwsQueue
from bridge.messaging.envelope import ORIGIN_ATTRIBUTE
from bridge.messaging.identifiers import parse_arn, queue_arn
from bridge.messaging.model import DEFAULT_NAMESPACE, QueueName, QueueSettings, TopicName
from bridge.messaging.names import INTERNAL_NAMESPACE

if TYPE_CHECKING:
    from bridge.backends.aws.receiving import Receiver
    from bridge.backends.aws.topics import AwsTopic, AwsTopics
    from bridge.messaging.faces import Incoming
    from bridge.messaging.model import Delivery

FILTER_POLICY: Final = msgspec.json.encode({ORIGIN_ATTRIBUTE: [{"exists": False}]}).decode()
"""Leaves out what Landbridge published."""

_PREFIX: Final = "ingest-"


def ingest_queue(topic: TopicName) -> QueueName:
    """The queue for what comes in from a topic in SNS."""
    namespace = INTERNAL_NAMESPACE
    if topic.namespace != DEFAULT_NAMESPACE:
        namespace += topic.namespace
    return QueueName(namespace, _PREFIX + topic.name)


def topic_of_ingest_queue(queue: QueueName) -> TopicName | None:
    """The other way round; None for other queues."""
    if not queue.namespace.startswith(INTERNAL_NAMESPACE) or not queue.name.startswith(_PREFIX):
        return None
    namespace = queue.namespace.removeprefix(INTERNAL_NAMESPACE) or DEFAULT_NAMESPACE
    return TopicName(namespace, queue.name.removeprefix(_PREFIX))


def queue_policy(queue: str, topic: str) -> str:
    """The access policy by which the topic of an ARN may send to the queue of an ARN."""
    statement = {
        "Sid": "landbridge-ingest",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": [statement]}).decode()


class Ingest:
    """The queue of one topic, its subscription, and this node's receiving from it.

    It is the consumer of that queue: see `bridge.messaging.ports.Consumer`.
    """

    def __init__(self, node: Node, topics: AwsTopics, topic: AwsTopic, incoming: Incoming) -> None:
        self._node = node
        self._topics = topics
        self._topic = topic
        self._incoming = incoming
        self._queue: AwsQueue | None = None
        self._receiver: Receiver | None = None
        self._unwanted_since: float | None = None
        self._under_way = 0
        self._idle: asyncio.Future[None] | None = None

    # -- what is wanted

    def wanted(self) -> None:
        self._unwanted_since = None

    def unwanted(self) -> None:
        if self._unwanted_since is None:
            self._unwanted_since = self._node.clock.monotonic()

    async def keep(self, topic_arn: str, subscription: str | None) -> bool:
        """Make what is missing, or end what nobody wants; False once it has ended.

        `subscription` is the ARN of the queue's subscription, if there is one. Raises
        `MessagingError`.
        """
        since = self._unwanted_since
        if since is None:
            await self._start(topic_arn, subscription)
            return True
        if self._node.clock.monotonic() - since < self._node.limits.ingest_linger_seconds:
            if subscription is not None:
                await self._start(topic_arn, subscription)
            return True
        await self._end(subscription)
        return False

    async def _start(self, topic_arn: str, subscription: str | None) -> None:
        queue = await self._usable_queue(topic_arn)
        if subscription is None and self._topics.options.create:
            assert queue.arn is not None, "it was just looked at"
            attributes = {"RawMessageDelivery": "true", "FilterPolicy": FILTER_POLICY}
            await self._topics.control.subscribe(topic_arn, queue.arn, attributes)
        if self._receiver is None:
            credit = self._node.limits.ingest_messages_max
            self._receiver = await queue.intake.join(self, credit, 0, exclusive=False)

    async def _usable_queue(self, topic_arn: str) -> AwsQueue:
        """The queue, with a policy that lets the topic send to it."""
        if self._queue is not None and not self._queue.deleted:
            return self._queue
        directory, topic = self._topics.directory, self._topic
        place = parse_arn(topic_arn)
        arn = queue_arn(place.region, place.account, self._topics.ingest_queue_name(topic))
        policy = {"Policy": queue_policy(arn, topic_arn)}
        settings = QueueSettings(fifo=topic.fifo, attributes=policy)
        name = ingest_queue(topic.name)
        queue = directory.queues.get(name) or await directory.create(name, settings)
        assert isinstance(queue, AwsQueue), "it is in SQS"
        queue.arn = queue.arn or arn
        allowed = queue.settings.attributes.get("Policy", "")
        if self._topics.options.create and topic_arn not in allowed:
            attributes = {**queue.settings.attributes, **policy}
            changed = msgspec.structs.replace(queue.settings, attributes=attributes)
            await directory.change(queue, changed)
        self._queue = queue
        return queue

    async def _end(self, subscription: str | None) -> None:
        self.stop()
        if not self._topics.options.create:
            return
        if subscription is not None:
            await self._topics.control.unsubscribe(subscription)
        queue = self._topics.directory.queues.get(ingest_queue(self._topic.name))
        if queue is not None:
            await self._topics.directory.delete(queue)

    async def close(self) -> None:
        """Receive no more, and return once what was received is settled."""
        self.stop()
        if self._under_way:
            self._idle = self._node.loop.create_future()
            await self._idle

    def stop(self) -> None:
        """Receive no more; what comes in waits in the queue."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.cancel()

    # -- Consumer

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        foreign: list[Delivery] = []
        for delivery in deliveries:
            assert isinstance(delivery, AwsDelivery), "the queue is in SQS"
            # A body in S3 is for whoever else is subscribed to the topic, too.
            delivery.payload = None
            if delivery.from_sns:
                # A new filter policy takes its time, up to 15 minutes.
                delivery.queue.delete(delivery, None)
            else:
                foreign.append(delivery)
        self._under_way += len(deliveries)
        own = len(deliveries) - len(foreign)
        if own:
            self._node.loop.call_soon(self._done, self._receiver, own)
        if foreign:
            done = partial(self._done, self._receiver)
            self._incoming(self._topic.name, foreign, done)

    def cancelled(self) -> None:
        """The queue is gone; the next look makes it anew."""
        self._receiver = None
        self._topic.check_at = 0.0

    def overdue(self, held_seconds: float) -> None:
        """What was received could not be stored for hours, which cost the receiver; the next look
        gets another one.
        """
        self.cancelled()

    def _done(self, receiver: Receiver | None, count: int) -> None:
        self._under_way -= count
        if receiver is not None and receiver is self._receiver:
            receiver.add_credit(count)
        if self._idle is not None and not self._under_way and not self._idle.done():
            self._idle.set_result(None)
