"""Deliveries to HTTP endpoints: a durable queue of requests, and the workers that make them.

A request that failed goes back into the queue with the delay of its policy; after the last one, or
an answer that says it is the subscriber's fault, it goes to the subscription's dead-letter queue,
if there is one. So nothing is lost in a crash; a request may then be made twice, as with SNS.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib import error as url_errors
from urllib import request as url_request

import msgspec

from bridge.api.sns.delivery_policy import content_type, effective_policy, retry_policy
from bridge.api.sns.notifications import (
    REGION_OF,
    Notifications,
    for_queue,
    natural,
    text_for,
    without_trace,
)
from bridge.api.sqs.directory import QueueDirectory
from bridge.messaging.blocking import in_thread
from bridge.messaging.clock import Clock, MessageIds
from bridge.messaging.commits import committed
from bridge.messaging.envelope import attributes_from_message
from bridge.messaging.errors import MessagingError
from bridge.messaging.identifiers import ACCOUNT, REGION, topic_arn
from bridge.messaging.model import Delivery, Message, QueueName, QueueSettings, UnitOfWork
from bridge.messaging.names import INTERNAL_NAMESPACE, sns_name
from bridge.messaging.ports import Queue, Store
from bridge.routing.catalogue import Subscription
from bridge.routing.topology import Topology
from mappings.gateway import Log

QUEUE = QueueName(INTERNAL_NAMESPACE, "sns-http")
WORKERS = 16
REQUEST_SECONDS_MAX = 15
VISIBILITY_SECONDS = 60
POLL_SECONDS = 20
USER_AGENT = "Amazon Simple Notification Service Agent"


class Outgoing(msgspec.Struct, omit_defaults=True):
    """One request to an endpoint, as it stands in the queue."""

    subscription_id: str
    url: str
    kind: str
    message_id: str
    topic_arn: str
    body: str
    raw: bool = False
    attempt: int = 0


class Outbound:
    """The queue of requests and what empties it; `start` once the store is open."""

    def __init__(
        self,
        store: Store,
        topology: Topology,
        clock: Clock,
        message_ids: MessageIds,
        notifications: Notifications,
        directory: QueueDirectory,
        log: Log,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._store = store
        self._topology = topology
        self._clock = clock
        self._message_ids = message_ids
        self._notifications = notifications
        self._directory = directory
        self._log = log
        self._spawn = spawn
        self._running = False

    def start(self) -> None:
        """Go on with what the process had not delivered when it stopped."""
        if self._store.queue(QUEUE) is not None:
            self._run_workers()

    async def ready(self) -> Queue:
        """The queue of requests, made when the first endpoint subscribes."""
        queue = self._store.queue(QUEUE)
        if queue is None:
            settings = QueueSettings(visibility_timeout_seconds=VISIBILITY_SECONDS)
            queue = await self._store.create_queue(QUEUE, settings)
        self._run_workers()
        return queue

    def deliver(
        self, subscription: Subscription, message: Message
    ) -> Iterable[tuple[Queue, Message]]:
        """What a publish sends towards an endpoint; the router asks for it."""
        if subscription.queue is not None:
            return self._deliver_dead(subscription, message)
        queue = self._store.queue(QUEUE)
        if queue is None or subscription.endpoint is None:
            return ()
        if subscription.raw:
            published = self._notifications.published_of(message)
            text = attributes_from_message(without_trace(message))[0]
            body = text_for(subscription.protocol, published, text)
        else:
            body = json.dumps(
                self._notifications.envelope(subscription, message), ensure_ascii=False
            )
        outgoing = Outgoing(
            subscription.id,
            subscription.endpoint,
            "Notification",
            message.message_id,
            _topic_arn(subscription),
            body,
            raw=subscription.raw,
        )
        return ((queue, self._message_of(outgoing)),)

    def _deliver_dead(
        self, subscription: Subscription, message: Message
    ) -> Iterable[tuple[Queue, Message]]:
        """The subscribed queue was deleted: what it would have got goes to the dead letters."""
        dead = dead_letter_queue_of(self._directory, subscription)
        if dead is None:
            endpoint = subscription.endpoint or ""
            note_loss(self._log, subscription, f"there is no queue {endpoint}")
            return ()
        if subscription.raw:
            message = natural(message, sns_name(subscription.topic, fifo=dead.settings.fifo))
        else:
            message = self._notifications.wrap(subscription, message)
        return ((dead, for_queue(dead, message)),)

    async def send_envelope(
        self, subscription: Subscription, envelope: Mapping[str, object], unit: UnitOfWork
    ) -> None:
        """Send an endpoint something else than a notification, with what `unit` holds already."""
        assert subscription.endpoint is not None
        outgoing = Outgoing(
            subscription.id,
            subscription.endpoint,
            str(envelope["Type"]),
            str(envelope["MessageId"]),
            str(envelope["TopicArn"]),
            json.dumps(envelope, ensure_ascii=False),
        )
        unit.sends.append((await self.ready(), self._message_of(outgoing)))
        await committed(self._store, unit)

    def _message_of(self, outgoing: Outgoing, delay_seconds: float = 0) -> Message:
        now = self._clock.epoch_ms()
        return Message(
            self._message_ids.next(),
            msgspec.msgpack.encode(outgoing),
            now,
            visible_at=now + int(delay_seconds * 1000) if delay_seconds else None,
        )

    # -- the workers

    def _run_workers(self) -> None:
        if not self._running:
            self._running = True
            for _ in range(WORKERS):
                self._spawn(self._work())

    async def _work(self) -> None:
        while True:
            queue = self._store.queue(QUEUE)
            if queue is None:
                self._running = False
                return
            try:
                for delivery in await self._store.receive(
                    queue, count=1, wait_seconds=POLL_SECONDS
                ):
                    await self._attempt(queue, delivery)
            except MessagingError as error:
                self._log.failed("sns", QUEUE.name, error)
                await asyncio.sleep(1)

    async def _attempt(self, queue: Queue, delivery: Delivery) -> None:
        outgoing = msgspec.msgpack.decode(delivery.message.body, type=Outgoing)
        subscription = self._topology.subscription(outgoing.subscription_id)
        unit = UnitOfWork(atomic=True, answered=True)
        unit.deletes.append(delivery)
        if subscription is not None or outgoing.kind != "Notification":
            status = await in_thread(partial(_post, outgoing, self._headers_of(outgoing)))
            if not 200 <= status < 300:
                self._try_again(queue, subscription, outgoing, status, unit)
        await committed(self._store, unit)

    def _headers_of(self, outgoing: Outgoing) -> dict[str, str]:
        subscription = self._topology.subscription(outgoing.subscription_id)
        headers = {
            "x-amz-sns-message-type": outgoing.kind,
            "x-amz-sns-message-id": outgoing.message_id,
            "x-amz-sns-topic-arn": outgoing.topic_arn,
            "Content-Type": "text/plain; charset=UTF-8",
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "gzip,deflate",
        }
        if subscription is not None:
            arn = f"{outgoing.topic_arn}:{outgoing.subscription_id}"
            headers["x-amz-sns-subscription-arn"] = arn
            topic = self._topology.topic(subscription.topic)
            headers["Content-Type"] = content_type(effective_policy(topic, subscription))
        if outgoing.raw:
            headers["x-amz-sns-rawdelivery"] = "true"
        return headers

    def _try_again(
        self,
        queue: Queue,
        subscription: Subscription | None,
        outgoing: Outgoing,
        status: int,
        unit: UnitOfWork,
    ) -> None:
        """Put it back with its delay, or give it up."""
        outgoing.attempt += 1
        if subscription is None:
            policy = retry_policy({})
        else:
            topic = self._topology.topic(subscription.topic)
            policy = retry_policy(effective_policy(topic, subscription))
        clients_fault = 400 <= status < 500 and status != HTTPStatus.TOO_MANY_REQUESTS
        delay = None if clients_fault else policy.delay_of(outgoing.attempt)
        if delay is not None:
            unit.sends.append((queue, self._message_of(outgoing, delay)))
        elif subscription is not None:
            target = dead_letter_queue_of(self._directory, subscription)
            if target is not None:
                unit.sends.append((target, self._dead_letter_of(outgoing)))

    def _dead_letter_of(self, outgoing: Outgoing) -> Message:
        return Message(self._message_ids.next(), outgoing.body.encode(), self._clock.epoch_ms())


def dead_letter_queue_of(directory: QueueDirectory, subscription: Subscription) -> Queue | None:
    """The queue for what a subscription could not be given (its RedrivePolicy)."""
    text = subscription.attributes.get("RedrivePolicy")
    if not text:
        return None
    return directory.by_arn(str(json.loads(text)["deadLetterTargetArn"]))


def note_loss(log: Log, subscription: Subscription, reason: str) -> None:
    """Say that a subscription without dead-letter queue did not get a message, as SNS's would."""
    name = f"{subscription.topic.name}:{subscription.id}"
    log.refused("sns", name, user=None, client=None, reason=reason)


def _topic_arn(subscription: Subscription) -> str:
    region = subscription.attributes.get(REGION_OF, REGION)
    return topic_arn(region, ACCOUNT, sns_name(subscription.topic))


def _post(outgoing: Outgoing, headers: dict[str, str]) -> int:
    """Make a request; its status, or 599 where there was no answer. In a thread."""
    made = url_request.Request(  # noqa: S310 - Subscribe takes no other schemes than HTTP's
        outgoing.url, outgoing.body.encode(), headers, method="POST"
    )
    try:
        with url_request.urlopen(made, timeout=REQUEST_SECONDS_MAX) as answer:  # noqa: S310
            return int(answer.status)
    except url_errors.HTTPError as error:
        with error:
            return error.code
    except (OSError, ValueError, HTTPException):
        # The last is for answers that are not HTTP's.
        return 599
