"""A connection's SENDs: from frames to publishes, and through the router into units of work.

Hot path: 1 us per SEND to a destination that was met before, with headers that were. What a
destination and a set of headers mean is worked out once and kept for the connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from adapters.stomp.events import SendReceived
from bridge.auth import User
from bridge.auth.checks import Sending, require_configure
from bridge.messaging.errors import (
    AccessDenied,
    InvalidParameter,
    MessagingError,
    QueueDoesNotExist,
)
from bridge.messaging.model import Message, Origin, Publish, QueueName, TopicName, UnitOfWork
from bridge.routing.router import Routed
from mappings.stomp.addresses import (
    REPLY_QUEUE,
    TEMP_QUEUE,
    TEMP_TOPIC,
    QueueAddress,
    TempTopicAddress,
    TopicAddress,
    address_from_destination,
    reply_to_from_temporary,
)
from mappings.stomp.messages import DELAY, PROTOCOL, Content, content_from_send
from mappings.stomp.permissions import require_publish
from mappings.stomp.queues import require_dead_letters, settings_from_headers

if TYPE_CHECKING:
    from mappings.gateway import Barrier
    from mappings.stomp.gateway import StompGateway

TARGETS_MAX: Final = 4_096
"""Destinations of one connection whose meaning is remembered."""


CONTENTS_MAX: Final = 128
"""Header dictionaries of one connection of which it is remembered what they say."""

_RELATIVE: Final = frozenset({"expiration", DELAY})
"""Headers that mean another time with each SEND."""


class Target(NamedTuple):
    """What a destination means: a queue, or a topic and subject."""

    origin: Origin
    queue: str | None
    create: bool
    topic: str | None
    subject: str | None


class Publishing:
    """The publishes of one connection. `publishes` and `sends` are those of the chunk at hand."""

    __slots__ = (
        "_client",
        "_contents",
        "_gateway",
        "_namespace",
        "_next_id",
        "_rights",
        "_rights_version",
        "_targets",
        "_user",
        "publishes",
        "sends",
    )

    def __init__(self, gateway: StompGateway) -> None:
        self.publishes: list[Publish] = []
        self.sends: list[SendReceived] = []
        self._gateway = gateway
        self._next_id = gateway.services.message_ids.next
        self._namespace = gateway.namespace
        self._user: str | None = None
        self._rights = gateway.rights
        self._rights_version = 0
        self._client: str | None = None
        self._targets: dict[str, Target] = {}
        self._contents: dict[int, tuple[dict[str, str], Content]] = {}

    def start(self, namespace: str, user: User, client: str | None) -> None:
        """The client was let in, as this."""
        self._namespace = namespace
        self._user = user.name
        self._rights = user
        self._client = client

    def begin_chunk(self) -> None:
        """Forget what destinations mean where the user may do other things by now."""
        version = self._rights.permissions.version
        if version != self._rights_version:
            self._rights_version = version
            self._targets.clear()

    # -- into units of work

    def submit(self) -> Barrier | None:
        """Submit the chunk's publishes; a coroutine for those that have to wait."""
        if not self.publishes:
            return None
        missing = self._submit_some()
        return self._submit_rest(missing) if self.publishes else None

    def _submit_some(self) -> frozenset[QueueName]:
        """Submit as many publishes as one unit takes, or none where queues are missing."""
        gateway = self._gateway
        publishes, sends = self.publishes, self.sends
        unit = UnitOfWork()
        routed = gateway.route(publishes, unit)
        if routed.missing:
            return routed.missing
        self.publishes, self.sends = publishes[routed.count :], sends[routed.count :]
        refused = first_refused(publishes, routed)
        if refused is not None:
            index, error = refused
            self.publishes, self.sends = publishes[:index], sends[:index]
            if index:
                self._submit_some()
            gateway.refuse(error, sends[index].receipt)
            return frozenset()
        del sends[routed.count :]
        size_bytes = 0
        for send in sends:
            size_bytes += len(send.body)
        gateway.services.counters.published(PROTOCOL, len(sends), size_bytes)
        answer = partial(self._answered, sends, routed)
        count = max(len(sends), len(unit.sends))
        gateway.submit(unit, answer, messages=count, size_bytes=size_bytes)
        return routed.missing

    async def _submit_rest(self, missing: frozenset[QueueName]) -> None:
        """Make the queues that are missing; submit on as the store takes it."""
        gateway = self._gateway
        while self.publishes and not gateway.finishing:
            if missing:
                await self.make_queues(missing, self.publishes, self.sends)
            await gateway.room()
            if not gateway.finishing:
                missing = self._submit_some()

    def _answered(self, sends: list[SendReceived], routed: Routed, unit: UnitOfWork) -> list[bytes]:
        gateway = self._gateway
        if unit.error is None and not unit.failures:
            return gateway.receipts([send.receipt for send in sends])
        if unit.error is not None:
            index, error = 0, unit.error
        else:
            failed = min(unit.failures)
            index, error = routed.publish_of(failed), unit.failures[failed]
        gateway.refuse(error, sends[index].receipt)
        return gateway.receipts([send.receipt for send in sends[:index]])

    async def make_queues(
        self,
        missing: Iterable[QueueName],
        publishes: Sequence[Publish] = (),
        sends: Sequence[SendReceived] = (),
    ) -> None:
        """Make queues on demand, as the first SEND to each asks for it."""
        wanted: dict[QueueName, SendReceived] = {}
        for publish, send in zip(publishes, sends, strict=True):
            if publish.queue is not None:
                wanted.setdefault(QueueName(publish.namespace, publish.queue), send)
        for name in missing:
            asking = wanted.get(name)
            try:
                if asking is not None:
                    require_configure(self._rights, name.namespace, "queue", name.name)
                    require_dead_letters(self._rights, name.namespace, asking.headers)
                settings = settings_from_headers({} if asking is None else asking.headers)
                await self._gateway.services.topology.ensure_queue(name, settings)
            except MessagingError as error:
                self._gateway.refuse(error, None if asking is None else asking.receipt)
                return

    # -- from frames

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
        elif "reply-to" in headers and headers["reply-to"].startswith(TEMP_TOPIC):
            reply_to = reply_to_from_temporary(headers["reply-to"], self._gateway.session)
            headers = {**headers, "reply-to": reply_to}
        content = (
            self._kept_content(send, now_ms)
            if send.headers_kept and headers is send.headers
            else self._content(headers, send.body, now_ms)
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
            content.visible_at,
        )
        return Publish(target.origin, message, self._namespace, target.queue, target.create)

    def _kept_content(self, send: SendReceived, now_ms: int) -> Content:
        """What was made of the same headers before, unless the body or the time has a say in it."""
        headers = send.headers
        found = self._contents.get(id(headers))
        if found is not None and found[0] is headers:
            return found[1]
        content = self._content(headers, send.body, now_ms)
        if "content-length" in headers and not (headers.keys() & _RELATIVE):
            if len(self._contents) >= CONTENTS_MAX:
                self._contents.clear()
            self._contents[id(headers)] = (headers, content)
        return content

    def _content(self, headers: dict[str, str], body: bytes, now_ms: int) -> Content:
        """What a SEND says, if it may: nobody claims to be another user, as with RabbitMQ."""
        content = content_from_send(headers, body, now_ms)
        claimed = headers.get("user-id", self._user)
        if claimed != self._user and self._rights.verified:
            raise InvalidParameter(
                f"user_id property set to '{claimed}' but authenticated user was '{self._user}'"
            )
        return content

    def _target(self, destination: str) -> Target | None:
        address = address_from_destination(destination)
        origin = Origin(PROTOCOL, destination, self._client, self._user)
        if isinstance(address, TempTopicAddress):
            address = address.topic(self._gateway.session)
        match address:
            case QueueAddress():
                require_publish(self._rights, Sending(self._namespace, address.name))
                if "/" not in destination:
                    origin = origin._replace(address=f"/queue/{destination}")
                target = Target(origin, address.name, address.create, None, None)
            case TopicAddress():
                topic = self._gateway.services.topology.topic(
                    TopicName(self._namespace, address.topic)
                )
                if topic is not None and topic.internal:
                    raise AccessDenied(f"cannot publish to internal exchange '{address.topic}'")
                subject = address.subject
                by_subject = topic is not None and topic.kind == "topic"
                sending = Sending(
                    self._namespace, None, address.topic, subject, by_subject, self._client
                )
                require_publish(self._rights, sending)
                target = Target(origin, None, False, address.topic, subject)
            case _:
                queue = self._gateway.subscriptions.temporary_queue(destination)
                if queue is None:
                    return None
                return Target(origin, queue.name.name, False, None, None)
        if len(self._targets) >= TARGETS_MAX:
            self._targets.clear()
        self._targets[destination] = target
        return target


def first_refused(
    publishes: Sequence[Publish], routed: Routed
) -> tuple[int, MessagingError] | None:
    """The first publish that cannot be taken, and why.

    What reaches nobody is no failure in STOMP, unless it was sent to a queue that ought to exist;
    a reply queue is gone with the client that waited there.
    """
    refused = dict(routed.failed)
    for index in routed.unrouted:
        publish = publishes[index]
        if publish.queue is not None and not publish.origin.address.startswith(REPLY_QUEUE):
            refused[index] = QueueDoesNotExist(
                f"no queue '{publish.queue}' in vhost '{publish.namespace}'"
            )
    return min(refused.items(), key=lambda item: item[0]) if refused else None
