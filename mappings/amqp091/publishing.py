"""From basic.publish to a publish of the bridge.

Hot path: `take_run` costs 0.9 us per publish to an exchange and key that were met before. What an
exchange and key mean is worked out once and kept for the connection. A publish that needs a closer
look (copies by CC and BCC, a user id, a direct reply) is `particular`, and goes the long way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from adapters.amqp091.events import PublishReceived
from adapters.amqp091.properties import Properties
from bridge.auth import NOBODY, User
from bridge.auth.checks import Sending
from bridge.messaging.model import Message, Origin, Publish, QueueName, TopicName, UnitOfWork
from bridge.messaging.ports import Queue
from bridge.messaging.subjects import subject_from_dotted
from mappings.amqp091.arguments import type_name
from mappings.amqp091.channel import GatewayChannel
from mappings.amqp091.errors import access_refused, not_found_exchange, precondition_failed
from mappings.amqp091.messages import (
    DIRECT_REPLY,
    PROTOCOL,
    Translation,
    translation_of,
    with_changes,
)
from mappings.amqp091.permissions import require_publish

if TYPE_CHECKING:
    from mappings.gateway import Services

TARGETS_MAX: Final = 4_096
"""Exchanges with keys of one connection whose meaning is remembered."""
PUBLISH_METHOD: Final = 0x003C0028


class Publisher(Protocol):
    """Whoever publishes: a connection, or management on behalf of a user."""

    @property
    def services(self) -> Services: ...


class Publishing:
    """Makes the publishes of one publisher."""

    __slots__ = (
        "_account",
        "_client",
        "_namespace",
        "_permissions_version",
        "_publisher",
        "_targets",
        "_topology_version",
        "_user",
    )

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._namespace = "/"
        self._user: str | None = None
        self._account = NOBODY
        self._client: str | None = None
        self._targets: dict[tuple[str, str], tuple[Origin, str | None, str | None]] = {}
        self._topology_version = -1
        self._permissions_version = -1

    def start(self, namespace: str, user: User, client: str | None) -> None:
        """The client was let in, as this."""
        self._namespace, self._client = namespace, client
        self._account, self._user = user, user.name

    def take_run(
        self,
        events: Sequence[object],
        index: int,
        channels: Mapping[int, GatewayChannel],
        publishes: list[Publish],
        received: list[PublishReceived],
    ) -> int:
        """Take the run of plain publishes at `index`, each to where one went before.

        Returns the index behind it: of another event, or of a publish to be looked at closely.
        """
        self._refresh()
        services = self._publisher.services
        now_ms = services.clock.epoch_ms()
        next_id = services.message_ids.next
        targets, namespace, user = self._targets, self._namespace, self._user
        run: tuple[PublishReceived, Translation, Origin, str | None, str | None] | None = None
        for position in range(index, len(events)):
            event = events[position]
            if type(event) is not PublishReceived:
                return position
            if (
                run is None
                or event.properties is not run[0].properties
                or event.routing_key is not run[0].routing_key
                or event.exchange is not run[0].exchange
                or event.channel != run[0].channel
            ):
                channel = channels.get(event.channel)
                known: Translation | None = event.properties.translation
                target = targets.get((event.exchange, event.routing_key))
                if (
                    channel is None
                    or known is None
                    or target is None
                    or known.particular
                    or channel.transaction is not None
                ):
                    return position
                run = event, known, *target
            first, translation, origin, topic, subject = run
            message = _message(next_id(), event.body, now_ms, translation, topic, subject, user)
            queue = None if topic else first.routing_key
            publishes.append(Publish(origin, message, namespace, queue))
            received.append(event)
        return len(events)

    def _refresh(self) -> None:
        """Forget what exchanges mean where the catalogue or the permissions have changed."""
        topology_version = self._publisher.services.topology.version
        permissions_version = self._account.permissions.version
        if (
            self._topology_version != topology_version
            or self._permissions_version != permissions_version
        ):
            self._targets.clear()
            self._topology_version = topology_version
            self._permissions_version = permissions_version

    def publish_from(self, event: PublishReceived, translation: Translation) -> Publish:
        """The publish of one basic.publish.

        Raises `AmqpError` and `AccessDenied` for what cannot be published.
        """
        exchange, key = event.exchange, event.routing_key
        services = self._publisher.services
        self._refresh()
        target = self._targets.get((exchange, key))
        if target is None:
            target = self._target(exchange, key)
        origin, topic, subject = target
        now_ms = services.clock.epoch_ms()
        if topic is None and translation.particular and has_copies(event):
            # The queues of the copies show the key that it was published with.
            subject = subject_from_dotted(key)
        message = _message(
            services.message_ids.next(), event.body, now_ms, translation, topic, subject, self._user
        )
        return Publish(origin, message, self._namespace, None if topic else key)

    def _target(self, exchange: str, key: str) -> tuple[Origin, str | None, str | None]:
        """Origin, topic and subject of an exchange and key; without topic the key is a queue."""
        origin = Origin(PROTOCOL, f"{exchange}/{key}", self._client, self._user)
        target: tuple[Origin, str | None, str | None] = (origin, None, None)
        namespace = self._namespace
        if not exchange:
            require_publish(self._account, Sending(namespace, key))
        else:
            name = TopicName(namespace, exchange)
            topic = self._publisher.services.topology.topic(name)
            subject = subject_from_dotted(key)
            by_subject = topic is not None and topic.kind == "topic"
            require_publish(self._account, Sending(namespace, None, exchange, subject, by_subject))
            if topic is None:
                raise not_found_exchange(name, PUBLISH_METHOD)
            if topic.internal:
                raise access_refused(
                    f"cannot publish to internal exchange '{exchange}' in vhost '{namespace}'",
                    PUBLISH_METHOD,
                )
            target = origin, exchange, subject
        if len(self._targets) >= TARGETS_MAX:
            self._targets.clear()
        self._targets[exchange, key] = target
        return target

    # The long way

    def checked(self, event: PublishReceived, channel: GatewayChannel) -> Properties:
        """The properties of a particular publish as they are to travel.

        Raises `AmqpError`, and `AccessDenied` for a copy that may not be sent.
        """
        properties = event.properties
        translation = translation_of(properties)
        if translation.problem is not None:
            raise precondition_failed(translation.problem, PUBLISH_METHOD)
        if properties.user_id is not None and properties.user_id != self._user:
            raise precondition_failed(
                f"user_id property set to '{properties.user_id}' but authenticated user was"
                f" '{self._user}'",
                PUBLISH_METHOD,
            )
        if properties.reply_to == DIRECT_REPLY:
            if channel.reply_queue is None:
                raise precondition_failed("fast reply consumer does not exist", PUBLISH_METHOD)
            properties = with_changes(properties, reply_to=channel.reply_queue)
        if "BCC" in translation.headers:
            headers = {k: v for k, v in translation.headers.items() if k != "BCC"}
            properties = with_changes(properties, headers=headers)
        if has_copies(event):
            for key in copies_of(event):
                # Each copy is a publish with a key of its own, which may be forbidden.
                self._target(event.exchange, key)
        return properties

    def add_copies(self, event: PublishReceived, message: Message, unit: UnitOfWork) -> None:
        """Send a message to what its CC and BCC name as well; each queue gets it once."""
        reached = {queue.name for queue, sent in unit.sends if sent is message}
        for queue in self._queues_for(event.exchange, copies_of(event), message):
            if queue.name not in reached:
                reached.add(queue.name)
                unit.sends.append((queue, message))

    def _queues_for(self, exchange: str, keys: Sequence[str], message: Message) -> list[Queue]:
        services = self._publisher.services
        if not exchange:
            found = [services.store.queue(QueueName(self._namespace, key)) for key in keys]
            return [queue for queue in found if queue is not None]
        topic = TopicName(self._namespace, exchange)
        subjects = [subject_from_dotted(key) for key in keys]
        return [queue for queue, _ in services.router.sends_to_topic(topic, message, subjects)]


def _message(
    message_id: str,
    body: bytes,
    now_ms: int,
    translation: Translation,
    topic: str | None,
    subject: str | None,
    user: str | None,
) -> Message:
    expiration_ms = translation.expiration_ms
    return Message(
        message_id,
        body,
        now_ms,
        translation.properties,
        translation.headers,
        topic,
        subject,
        user,
        translation.priority,
        None if expiration_ms is None else now_ms + expiration_ms,
        original=translation.original,
    )


def has_copies(event: PublishReceived) -> bool:
    """Whether a publish names further keys in its headers."""
    headers = event.properties.headers
    return headers is not None and ("CC" in headers or "BCC" in headers)


def copies_of(event: PublishReceived) -> list[str]:
    """The keys in CC and BCC. Raises 406 where one is not a list."""
    keys: list[str] = []
    for name in ("CC", "BCC"):
        value = (event.properties.headers or {}).get(name, [])
        if not isinstance(value, list):
            raise precondition_failed(
                f'invalid message: {{unacceptable_type_in_header,"{name}",{type_name(value)}}}',
                PUBLISH_METHOD,
            )
        keys += [key for key in value if isinstance(key, str)]
    return keys
