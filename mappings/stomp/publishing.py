"""From a SEND to a publish.

Hot path: 1.6 us per SEND to a destination that was met before. What a destination means is worked
out once and kept for the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from adapters.stomp.events import SendReceived
from bridge.messaging.errors import AccessDenied
from bridge.messaging.model import Message, Origin, Publish, TopicName
from mappings.stomp.addresses import (
    TEMP_QUEUE,
    QueueAddress,
    TopicAddress,
    address_from_destination,
)
from mappings.stomp.messages import Content, content_from_send

if TYPE_CHECKING:
    from mappings.stomp.gateway import StompGateway

TARGETS_MAX: Final = 4_096
"""Destinations of one connection whose meaning is remembered."""


CONTENTS_MAX: Final = 128
"""Header dictionaries of one connection of which it is remembered what they say."""


class Target(NamedTuple):
    """What a destination means: a queue, or a topic and subject."""

    origin: Origin
    queue: str | None
    create: bool
    topic: str | None
    subject: str | None


class Publishing:
    """Makes the publishes of one connection."""

    __slots__ = ("_client", "_contents", "_gateway", "_namespace", "_next_id", "_targets", "_user")

    def __init__(self, gateway: StompGateway) -> None:
        self._gateway = gateway
        self._next_id = gateway.services.message_ids.next
        self._namespace = gateway.namespace
        self._user: str | None = None
        self._client: str | None = None
        self._targets: dict[str, Target] = {}
        self._contents: dict[int, tuple[dict[str, str], Content]] = {}

    def start(self, namespace: str, user: str | None, client: str | None) -> None:
        """The client was let in, as this."""
        self._namespace = namespace
        self._user = user
        self._client = client

    def publish_from_send(self, send: SendReceived, now_ms: int) -> Publish | None:
        """None where a temporary queue has to be made first.

        Raises `FrameError` and `MessagingError` for what cannot be published.
        """
        target = self._targets.get(send.destination) or self._target(send.destination)
        if target is None:
            return None
        headers = send.headers
        if "reply-to" in headers and headers["reply-to"].startswith(TEMP_QUEUE):
            queue = self._gateway.subscriptions.temporary_queue(headers["reply-to"])
            if queue is None:
                return None
            # Another client's reply has to find it: the queue's own name, as AMQP has it.
            headers = {**headers, "reply-to": queue.name.name}
        content = (
            self._kept_content(send, now_ms)
            if send.headers_kept and headers is send.headers
            else content_from_send(headers, send.body, now_ms)
        )
        message = Message(
            self._next_id(),
            send.body,
            now_ms,
            content.properties,
            content.headers,
            target.topic,
            target.subject,
            self._user,
            content.priority,
            content.expires_at,
        )
        return Publish(target.origin, message, self._namespace, target.queue, target.create)

    def _kept_content(self, send: SendReceived, now_ms: int) -> Content:
        """What was made of the same headers before, unless the body or the time has a say in it."""
        headers = send.headers
        found = self._contents.get(id(headers))
        if found is not None and found[0] is headers:
            return found[1]
        content = content_from_send(headers, send.body, now_ms)
        if "content-length" in headers and "expiration" not in headers:
            if len(self._contents) >= CONTENTS_MAX:
                self._contents.clear()
            self._contents[id(headers)] = (headers, content)
        return content

    def _target(self, destination: str) -> Target | None:
        address = address_from_destination(destination)
        origin = Origin("stomp", destination, self._client, self._user)
        match address:
            case QueueAddress():
                if "/" not in destination:
                    origin = origin._replace(address=f"/queue/{destination}")
                target = Target(origin, address.name, address.create, None, None)
            case TopicAddress():
                topic = self._gateway.services.topology.topic(
                    TopicName(self._namespace, address.topic)
                )
                if topic is not None and topic.internal:
                    raise AccessDenied(f"cannot publish to internal exchange '{address.topic}'")
                target = Target(origin, None, False, address.topic, address.subject)
            case _:
                queue = self._gateway.subscriptions.temporary_queue(destination)
                if queue is None:
                    return None
                return Target(origin, queue.name.name, False, None, None)
        if len(self._targets) >= TARGETS_MAX:
            self._targets.clear()
        self._targets[destination] = target
        return target
