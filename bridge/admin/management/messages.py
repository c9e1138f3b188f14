"""Single messages by way of the API: publish, and get with RabbitMQ's four ways to settle.

A message that is published is routed, stored and answered as one that came over AMQP with
`mandatory` and a confirm. What is got is held while the answer is made, and settled before it
leaves; whoever goes away before that leaves the messages where they were.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from adapters.amqp091.errors import AmqpError
from adapters.amqp091.events import PublishReceived
from adapters.amqp091.properties import decode_properties
from bridge.admin.management.bodies import (
    Body,
    payload_from,
    properties_from,
    require_short,
    whole_number,
)
from bridge.admin.management.refusals import (
    bad_request,
    refused_on_channel,
    refused_publish,
)
from bridge.admin.management.sources import PROTOCOL, Json
from bridge.auth import User
from bridge.messaging.errors import MessagingError, QueueFull, TopicDoesNotExist
from bridge.messaging.model import (
    DeadLetterReason,
    Delivery,
    Publish,
    TopicName,
    UnitOfWork,
)
from bridge.messaging.ports import Queue
from mappings.amqp091.channel import GatewayChannel
from mappings.amqp091.errors import not_found_exchange, precondition_failed
from mappings.amqp091.messages import counts_deliveries, outgoing_of, translation_of
from mappings.amqp091.publishing import Publishing, has_copies
from mappings.amqp091.topology import Declarations
from mappings.gateway import Services

MESSAGES_MAX: Final = 50_000
"""Of one answer; whoever asks for more asks again."""
BYTES_MAX: Final = 64 * 1024 * 1024
"""Of the bodies in one answer, beyond which it ends."""
_AT_ONCE: Final = 200
_SIZE_AT_ONCE: Final = 1024 * 1024
"""Bytes that are made into an answer while everybody else waits."""
_MESSAGE_SIZE: Final = 4 * 1024
"""What a message costs besides its body, in the same measure."""
_SETTLED_AT_ONCE: Final = 2_000
_SENDS_MAX: Final = 2_000
_ACK_MODES: Final = (
    "ack_requeue_true",
    "ack_requeue_false",
    "reject_requeue_true",
    "reject_requeue_false",
)
_PROPERTIES: Final = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)


class Messages:
    """Publishes and gets for one user in one virtual host. Raises `Refused`."""

    def __init__(
        self,
        services: Services,
        user: User,
        namespace: str,
        declarations: Declarations,
        *,
        wanted: Callable[[], bool],
    ) -> None:
        """`wanted`: whether somebody still waits for the answer."""
        self.services = services
        self._user = user
        self._namespace = namespace
        self._declarations = declarations
        self._wanted = wanted

    # -- publish

    async def publish(self, exchange: str, body: Body) -> Json:
        """Publish to an exchange; says whether it reached a queue, once the store has it."""
        key, given, payload, encoding = body.require(
            "routing_key", "properties", "payload", "payload_encoding"
        )
        if not isinstance(key, str):
            raise bad_request(["not_string", "routing_key"])
        require_short("routing_key", key)
        octets = payload_from(payload, encoding)
        event = PublishReceived(
            channel=1,
            sequence=1,
            exchange=exchange,
            routing_key=key,
            mandatory=True,
            properties=properties_from(given),
            body=octets,
        )
        try:
            return {"routed": await self._publish(event)}
        except QueueFull as error:
            text = "rejected Unable to publish message. Check queue limits."
            raise bad_request(text) from error
        except (AmqpError, MessagingError) as error:
            raise refused_publish(error) from error

    async def _publish(self, event: PublishReceived) -> bool:
        size, size_max = len(event.body), self.services.limits.message_size_max
        if size > size_max:
            raise precondition_failed(
                f"message size {size} is larger than configured max size {size_max}"
            )
        publishing = Publishing(self)
        publishing.start(self._namespace, self._user, None)
        translation = translation_of(event.properties)
        if translation.particular:
            translation = translation_of(publishing.checked(event, GatewayChannel(1)))
        publish = publishing.publish_from(event, translation)
        unit, routed = await self._routed(publish)
        if has_copies(event):
            before = len(unit.sends)
            publishing.add_copies(event, publish.message, unit)
            routed = routed or len(unit.sends) > before
        self.services.counters.published(PROTOCOL, 1, size)
        if unit.sends:
            await self._committed(unit)
        for failure in unit.failures.values():
            raise failure
        return routed

    async def _routed(self, publish: Publish) -> tuple[UnitOfWork, bool]:
        """The sends of a publish, and whether it reached anything; queues of routes are made."""
        while True:
            unit = UnitOfWork(answered=True)
            routed = self.services.router.route([publish], unit, _SENDS_MAX)
            for error in routed.failed.values():
                if isinstance(error, TopicDoesNotExist):
                    absent = TopicName(self._namespace, publish.message.topic or "")
                    raise not_found_exchange(absent)
                raise error
            if not routed.missing:
                return unit, not routed.unrouted
            for name in routed.missing:
                await self.services.topology.ensure_queue(name)

    # -- get

    async def get(self, name: str, body: Body) -> list[Json]:
        """Get some messages from a queue's head, and settle them as `ackmode` says."""
        mode, count, encoding = body.require("ackmode", "count", "encoding")
        wanted = whole_number(count)
        if encoding not in {"auto", "base64"}:
            raise bad_request("Unsupported encoding. Please use auto or base64.")
        if mode not in _ACK_MODES:
            raise bad_request(f"ackmode {mode!r} is not one of {', '.join(_ACK_MODES)}")
        given = body.get("truncate")
        length = None if given is None else max(0, whole_number(given))
        held: list[Delivery] = []
        try:
            queue = self._declarations.queue_to_read(name, "")
            remaining = await self._take(
                queue, MESSAGES_MAX if wanted < 0 else min(wanted, MESSAGES_MAX), held, length
            )
            shown = await _all_shown(held, remaining, encoding, length)
            size = sum(len(delivery.message.body) for delivery in held)
            self.services.counters.delivered(PROTOCOL, len(held), size)
            await self._settle(mode, held)
        except (AmqpError, MessagingError) as error:
            raise refused_on_channel(error) from error
        finally:
            self._release(held)
        return shown

    async def _take(
        self, queue: Queue, count: int, held: list[Delivery], length: int | None
    ) -> int:
        """Take up to `count` messages into `held`; returns how many were behind the first."""
        store = self.services.store
        remaining = size = 0
        while len(held) < count and size < BYTES_MAX and self._wanted():
            delivery = await store.take(queue)
            if delivery is None and not held and (await store.counts(queue)).visible:
                # What is counted and cannot be taken is being committed.
                await self._committed(UnitOfWork(atomic=True))
                delivery = await store.take(queue)
            if delivery is None:
                break
            held.append(delivery)
            if len(held) == 1:
                remaining = (await store.counts(queue)).visible
            octets = len(delivery.message.body)
            size += octets if length is None else min(octets, length)
            if len(held) % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return max(remaining, len(held) - 1)

    async def _settle(self, mode: str, held: list[Delivery]) -> None:
        """Settle what is held, and hold it no more, for as long as somebody waits for that."""
        if mode != "ack_requeue_true":
            self.services.counters.settled(PROTOCOL, len(held))
        while held and self._wanted():
            some = held[:_SETTLED_AT_ONCE]
            unit = await self._verdict(mode, some)
            await self._committed(unit)
            for failure in unit.failures.values():
                raise failure
            del held[: len(some)]

    async def _verdict(self, mode: str, deliveries: Sequence[Delivery]) -> UnitOfWork:
        """The unit of work that settles deliveries."""
        unit = UnitOfWork(answered=True)
        if mode == "ack_requeue_true":
            unit.releases += deliveries
            return unit
        if mode == "ack_requeue_false":
            unit.deletes += deliveries
            return unit
        dead_letters = self.services.dead_letters
        rejected: list[Delivery] = []
        over_limit: list[Delivery] = []
        for delivery in deliveries:
            if mode == "reject_requeue_false":
                rejected.append(delivery)
            elif dead_letters.over_return_limit(delivery):
                over_limit.append(delivery)
            else:
                unit.returns.append(delivery)
        for dead, reason in (
            (rejected, DeadLetterReason.REJECTED),
            (over_limit, DeadLetterReason.DELIVERY_LIMIT),
        ):
            for name in dead_letters.missing(dead, reason):
                await self.services.topology.ensure_queue(name)
            part = dead_letters.reject(dead, reason)
            unit.sends += part.sends
            unit.deletes += part.deletes
        return unit

    def _release(self, held: list[Delivery]) -> None:
        if held:
            unit = UnitOfWork()
            unit.releases += held
            self.services.store.submit(unit)

    async def _committed(self, unit: UnitOfWork) -> None:
        """Submit a unit of work and wait for the store. Raises its `MessagingError`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        unit.done = lambda _: None if done.done() else done.set_result(None)
        self.services.store.submit(unit)
        await done
        if unit.error is not None:
            raise unit.error


async def _all_shown(
    deliveries: Sequence[Delivery], remaining: int, encoding: str, length: int | None
) -> list[Json]:
    """Messages as they are answered, others having their turn in between."""
    shown: list[Json] = []
    size = 0
    for index, delivery in enumerate(deliveries):
        shown.append(_shown(delivery, remaining - index, encoding, length))
        size += len(delivery.message.body) + _MESSAGE_SIZE
        if size > _SIZE_AT_ONCE:
            size = 0
            await asyncio.sleep(0)
    return shown


def _shown(delivery: Delivery, remaining: int, encoding: str, length: int | None) -> Json:
    queue = delivery.queue
    outgoing = outgoing_of(delivery, None, queue.name.name, counts=counts_deliveries(queue))
    _, redelivered, exchange, key, raw, body = outgoing
    return {
        "payload_bytes": len(body),
        "redelivered": redelivered,
        "exchange": exchange,
        "routing_key": key,
        "message_count": max(0, remaining),
        "properties": _properties_shown(raw),
        **_payload_shown(body if length is None else body[:length], encoding),
    }


def _payload_shown(body: bytes, encoding: str) -> Json:
    if encoding == "auto":
        try:
            return {"payload": body.decode(), "payload_encoding": "string"}
        except UnicodeDecodeError:
            pass
    return {"payload": b64encode(body).decode(), "payload_encoding": "base64"}


def _properties_shown(raw: bytes) -> Json | list[Any]:
    """Properties that are there; RabbitMQ shows none of them as an empty list."""
    properties = decode_properties(raw)
    found = {name: getattr(properties, name) for name in _PROPERTIES}
    return {name: _value_shown(value) for name, value in found.items() if value is not None} or []


def _value_shown(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode(errors="replace")
        case datetime():
            return int(value.timestamp())
        case Decimal():
            return float(value)
        case list():
            return [_value_shown(each) for each in value]
        case dict():
            return {key: _value_shown(each) for key, each in value.items()}
    return value
