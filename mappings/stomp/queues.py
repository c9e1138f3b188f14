"""Where a subscription's messages come from: opening the queue behind a SUBSCRIBE, and closing it.

Queues are made durably on demand. A plain subscriber to a topic or exchange gets a transient queue
of its own. Durable topic subscriptions come in both conventions: RabbitMQ's (`durable:true`, by
destination and `id`, possibly shared) and ActiveMQ's (`activemq.subscriptionName`, by the
connection's `client-id` and that name, for one subscriber at a time).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from bridge.auth import User
from bridge.auth.checks import (
    require_configure,
    require_read,
    require_read_subject,
    require_write,
)
from bridge.messaging.errors import (
    InvalidParameter,
    QueueDoesNotExist,
    TopicDoesNotExist,
    UnsupportedOperation,
)
from bridge.messaging.model import DeadLetterTarget, QueueName, QueueSettings, TopicName
from bridge.messaging.ownership import OWNER_TAG, require_owner
from bridge.messaging.ports import Queue
from bridge.messaging.subjects import subject_from_dotted
from bridge.routing.catalogue import Topic
from mappings.gateway import Services
from mappings.stomp.addresses import Address, QueueAddress, TopicAddress

DURABLE_NAME: Final = "activemq.subscriptionName"
_NUMBER_DIGITS_MAX: Final = 15


@dataclass(frozen=True, slots=True)
class Source:
    """An open queue. `temporary`: it goes with the subscription. `exclusive`: for nobody else."""

    queue: Queue
    temporary: bool = False
    exclusive: bool = False


def refuse_idioms(headers: Mapping[str, str]) -> None:
    """Refuse what a subscriber asks for that would change which messages it gets.

    What only tunes ActiveMQ's dispatching is ignored, as RabbitMQ ignores it.
    """
    for name, what in (
        ("selector", "selectors"),
        ("browser", "queue browsers"),
        ("no-local", "no-local subscriptions"),
        ("activemq.noLocal", "no-local subscriptions"),
        ("activemq.exclusive", "exclusive consumers"),
        ("activemq.retroactive", "retroactive subscriptions"),
        ("x-stream-offset", "streams"),
        ("x-stream-filter", "streams"),
    ):
        if headers.get(name, "false").strip().lower() not in ("false", ""):
            raise UnsupportedOperation(f"{what} are not offered: header '{name}'")


def is_durable(headers: Mapping[str, str]) -> bool:
    """Whether SUBSCRIBE or UNSUBSCRIBE means a durable subscription in either convention."""
    return DURABLE_NAME in headers or (
        "true" in (headers.get("durable", "").lower(), headers.get("persistent", "").lower())
        and headers.get("auto-delete", "false").lower() != "true"
    )


def is_exclusive(headers: Mapping[str, str]) -> bool:
    """RabbitMQ: the queue that SUBSCRIBE makes is for this subscriber alone, and goes with it."""
    return headers.get("exclusive", "").lower() == "true"


def durable_queue_name(
    address: TopicAddress, headers: Mapping[str, str], subscription_id: str, client_id: str | None
) -> str:
    """A name that the same client finds again and no other; legal everywhere."""
    given = headers.get("x-queue-name")
    if given:
        return given
    name = headers.get(DURABLE_NAME)
    if name is None:
        key = f"rabbitmq\0{address.topic}\0{address.key}\0{subscription_id}"
    else:
        key = f"activemq\0{client_id or name}\0{name}"
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return f"stomp-subscription-{base64.b32encode(digest[:15]).decode().lower()}"


async def open_source(
    services: Services,
    namespace: str,
    user: User,
    address: Address,
    headers: Mapping[str, str],
    subscription_id: str,
    client_id: str | None,
    connection: str,
) -> Source:
    """Find or make the queue that a SUBSCRIBE reads from. Raises `MessagingError`."""
    if isinstance(address, QueueAddress):
        return await _open_queue(
            services, user, QueueName(namespace, address.name), address, headers
        )
    if not isinstance(address, TopicAddress):
        return Source(await own_queue(services, namespace, connection), temporary=True)
    topic = _existing_topic(services, namespace, address.topic)
    pattern = address.pattern(topic.kind)
    require_read(user, namespace, "exchange", topic.name.name)
    if topic.kind == "topic":
        require_read_subject(user, namespace, topic.name.name, pattern, client_id)
    require_dead_letters(user, namespace, headers)
    if given := headers.get("x-queue-name"):
        _require_own_queue(services, user, QueueName(namespace, given), headers)
        require_write(user, namespace, "queue", given)
    if is_durable(headers):
        name = QueueName(
            namespace, durable_queue_name(address, headers, subscription_id, client_id)
        )
        if DURABLE_NAME in headers:
            await _forget_other_topic(services, name, topic.name, pattern)
        queue = await services.topology.ensure_queue(name, settings_from_headers(headers))
        await services.topology.subscribe(topic.name, queue.name, pattern=pattern)
        return Source(queue, exclusive=DURABLE_NAME in headers)
    settings = settings_from_headers(headers)
    if given:
        queue = await services.topology.ensure_queue(
            QueueName(namespace, given), settings, transient=True
        )
    else:
        queue = await own_queue(services, namespace, connection, settings)
    await services.topology.subscribe(topic.name, queue.name, pattern=pattern)
    # A name of the client's choice may be that of a queue which is there to stay.
    return Source(queue, temporary=queue.transient)


async def _open_queue(
    services: Services,
    user: User,
    name: QueueName,
    address: QueueAddress,
    headers: Mapping[str, str],
) -> Source:
    queue = services.store.queue(name)
    if queue is None and not address.create:
        raise QueueDoesNotExist(f"no queue '{name.name}' in vhost '{name.namespace}'")
    _require_own_queue(services, user, name, headers)
    if queue is None:
        queue = await services.topology.ensure_queue(name, settings_from_headers(headers))
    return Source(queue, exclusive=is_exclusive(headers))


def _require_own_queue(
    services: Services, user: User, name: QueueName, headers: Mapping[str, str]
) -> None:
    """Read from a queue that a client names, and make it if it is absent. Names that are made here
    ask for no permission: nobody else can know them.
    """
    queue = services.store.queue(name)
    if queue is None:
        require_configure(user, name.namespace, "queue", name.name)
        require_dead_letters(user, name.namespace, headers)
    require_read(user, name.namespace, "queue", name.name)
    if queue is not None:
        require_owner(queue)


def require_dead_letters(user: User, namespace: str, headers: Mapping[str, str]) -> None:
    """Dead letters are published: whoever makes a queue that sends some may do that himself."""
    if "x-dead-letter-exchange" in headers:
        require_write(user, namespace, "exchange", headers["x-dead-letter-exchange"])


def _existing_topic(services: Services, namespace: str, name: str) -> Topic:
    topic = services.topology.topic(TopicName(namespace, name))
    if topic is None:
        raise TopicDoesNotExist(f"no exchange '{name}' in vhost '{namespace}'")
    return topic


async def _forget_other_topic(
    services: Services, name: QueueName, topic: TopicName, pattern: str
) -> None:
    """ActiveMQ: subscribing elsewhere under the same name ends the old subscription."""
    queue = services.store.queue(name)
    if queue is not None and any(
        (subscription.topic, subscription.pattern) != (topic, pattern)
        for subscription in services.topology.subscriptions_to(name)
    ):
        await services.topology.remove_queue(queue)


async def own_queue(
    services: Services, namespace: str, connection: str, settings: QueueSettings | None = None
) -> Queue:
    """A queue in memory of a name of ours, exclusive to one connection."""
    name = QueueName(namespace, f"stomp.gen-{services.message_ids.next()}")
    exclusive = msgspec.structs.replace(settings or QueueSettings(), tags={OWNER_TAG: connection})
    return await services.topology.ensure_queue(name, exclusive, transient=True)


def goes_with_its_consumers(source: Source) -> bool:
    """Whether its queue is removed when nobody consumes it any more."""
    return source.temporary or source.queue.settings.auto_delete


async def close_source(services: Services, source: Source) -> None:
    """After its consumer was cancelled: remove the queue if nobody is to find it again."""
    queue = source.queue
    if queue.deleted:
        return
    if source.temporary or (queue.settings.auto_delete and not queue.consumer_count):
        await services.topology.remove_queue(queue)


async def delete_durable(
    services: Services,
    namespace: str,
    user: User,
    address: TopicAddress | None,
    headers: Mapping[str, str],
    subscription_id: str,
    client_id: str | None,
) -> bool:
    """End a durable subscription that nobody is reading; False where there is none."""
    if address is None and DURABLE_NAME not in headers:
        return False
    wanted = address or TopicAddress("", "")
    name = durable_queue_name(wanted, headers, subscription_id, client_id)
    queue = services.store.queue(QueueName(namespace, name))
    if queue is None:
        return False
    if "x-queue-name" in headers:
        require_configure(user, namespace, "queue", name)
    require_owner(queue)
    await services.topology.remove_queue(queue)
    return True


def settings_from_headers(headers: Mapping[str, str]) -> QueueSettings:
    """The settings of a queue that this frame makes: RabbitMQ's `x-` arguments as headers.

    Raises `InvalidParameter` and `UnsupportedOperation`.
    """
    numbers = {name: _number(name, headers[name]) for name in _NUMBERS if name in headers}
    texts = {name: headers[name] for name in _TEXTS if name in headers}
    queue_type = texts.get("x-queue-type", "classic")
    if queue_type == "stream":
        raise UnsupportedOperation("streams are not offered: header 'x-queue-type'")
    if queue_type not in _QUEUE_TYPES:
        raise InvalidParameter(f"x-queue-type '{queue_type[:40]}' is not classic or quorum")
    exchange = texts.get("x-dead-letter-exchange")
    key = texts.get("x-dead-letter-routing-key")
    subject = None if key is None else subject_from_dotted(key)
    return QueueSettings(
        message_ttl_ms=numbers.get("x-message-ttl"),
        idle_expiry_ms=numbers.get("x-expires"),
        length_max=numbers.get("x-max-length"),
        bytes_max=numbers.get("x-max-length-bytes"),
        priority_max=numbers.get("x-max-priority", 0),
        dead_letter=None if exchange is None else DeadLetterTarget(exchange, subject),
        auto_delete=headers.get("auto-delete", "").lower() == "true" or is_exclusive(headers),
        arguments={**numbers, **texts},
    )


_NUMBERS: Final = (
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
)
_TEXTS: Final = ("x-dead-letter-exchange", "x-dead-letter-routing-key", "x-queue-type")
_QUEUE_TYPES: Final = ("classic", "quorum")


def _number(name: str, text: str) -> int:
    digits = text.strip()
    if not digits.isdecimal() or len(digits) > _NUMBER_DIGITS_MAX:
        raise InvalidParameter(f"{name} '{text[:40]}' is not a number")
    return int(digits)
