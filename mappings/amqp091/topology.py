"""Exchanges, queues and bindings: what declare, bind, delete and purge do, and RabbitMQ's rules.

Each operation is a coroutine that returns the fields of its answer or raises: an AMQP error with
RabbitMQ's words where a rule of the protocol is broken, a `MessagingError` from below. An exchange
is a topic, a binding a subscription, keys are subjects and patterns in the escaped form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from adapters.amqp091 import events
from adapters.amqp091.errors import HardError, ReplyCode, SoftError
from adapters.amqp091.names import name_from_octets
from bridge.auth import NOBODY, User, checks
from bridge.auth.checks import Kind
from bridge.messaging.errors import InvalidParameter
from bridge.messaging.model import QueueName, TopicName
from bridge.messaging.ownership import locked, owner_of, require_owner
from bridge.messaging.ports import Queue
from bridge.messaging.subjects import pattern_from_dotted, subject_from_dotted
from bridge.routing.catalogue import BUILT_IN, TOPIC_KINDS, Topic, TopicKind
from bridge.routing.exchanges import X_MATCH
from mappings.amqp091.arguments import (
    NOT_DURABLE_TAG,
    check_equivalent,
    check_type,
    known_arguments,
    settings_from_declare,
    type_name,
)
from mappings.amqp091.errors import (
    access_refused,
    not_found_exchange,
    not_found_queue,
    precondition_failed,
)
from mappings.gateway import Services

RESERVED: Final = "amq."
DELAYED: Final = "x-delayed-message"
_EXCHANGE_ARGUMENTS: Final[dict[str, object]] = {"alternate-exchange": None, "x-delayed-type": None}


class Declarations:
    """The operations of one connection; `owner` is its name, by which exclusive queues know it."""

    __slots__ = ("_namespace", "_owner", "_services", "_user", "exclusive_queues")

    def __init__(self, services: Services, owner: str) -> None:
        self._services = services
        self._owner = owner
        self._namespace = "/"
        self._user = NOBODY
        self.exclusive_queues: dict[QueueName, Queue] = {}

    def start(self, namespace: str, user: User) -> None:
        """The client was let in, into this virtual host."""
        self._namespace, self._user = namespace, user

    # Permissions

    def _require_configure(self, kind: Kind, name: str) -> None:
        checks.require_configure(self._user, self._namespace, kind, name)

    def _require_write(self, kind: Kind, name: str) -> None:
        checks.require_write(self._user, self._namespace, kind, name)

    def _require_read(self, kind: Kind, name: str) -> None:
        checks.require_read(self._user, self._namespace, kind, name)

    def _require_binding(self, source: str, key: str, kind: Kind, target: str) -> None:
        """Binding is writing to what is bound and reading from the exchange."""
        self._require_write(kind, target)
        self._require_read("exchange", source)
        topic = self._services.topology.topic(TopicName(self._namespace, source))
        if topic is not None and topic.kind == "topic":
            checks.require_read_subject(
                self._user, self._namespace, source, pattern_from_dotted(key)
            )

    # Looking up

    def queue_name(self, name: str, last_queue: str) -> QueueName:
        """The queue that a method names; an empty name is the channel's last declared queue."""
        if not (name or last_queue):
            raise SoftError(ReplyCode.NOT_FOUND, "no previously declared queue")
        return QueueName(self._namespace, name or last_queue)

    def queue_to_read(self, name: str, last_queue: str) -> Queue:
        """The existing queue that a method reads from."""
        self._require_read("queue", self.queue_name(name, last_queue).name)
        return self.queue(name, last_queue)

    def queue(self, name: str, last_queue: str) -> Queue:
        """The existing queue that a method names, which no other connection owns."""
        full_name = self.queue_name(name, last_queue)
        queue = self._services.store.queue(full_name)
        if queue is None:
            raise not_found_queue(full_name)
        self.check_owner(queue)
        return queue

    def check_owner(self, queue: Queue) -> None:
        """Raise `ResourceLocked` for an exclusive queue of another connection."""
        require_owner(queue, self._owner)

    def topic(self, name: str) -> Topic:
        """The existing exchange of that name."""
        full_name = TopicName(self._namespace, name)
        topic = self._services.topology.topic(full_name)
        if topic is None:
            raise not_found_exchange(full_name)
        return topic

    # Exchanges

    async def declare_exchange(self, event: events.ExchangeDeclareRequested) -> dict[str, Any]:
        name = _without_line_ends(event.exchange)
        _refuse_default(name)
        if event.passive:
            self.topic(name)
            return {}
        self._require_configure("exchange", name)
        kind, delayed = self._kind_of(event)
        full_name = TopicName(self._namespace, name)
        existing = self._services.topology.topic(full_name)
        if existing is None and name.startswith(RESERVED):
            raise access_refused(f"exchange name '{name}' contains reserved prefix 'amq.*'")
        if existing is not None:
            self._check_same_exchange(event, existing)
            return {}
        alternate = event.arguments.get("alternate-exchange")
        if alternate is not None and not isinstance(alternate, str):
            raise precondition_failed(
                f"invalid type '{type_name(alternate)}' for arg 'alternate-exchange' in exchange"
                f" '{name}' in vhost '{self._namespace}'"
            )
        if alternate is not None:
            self._require_read("exchange", name)
            self._require_write("exchange", alternate)
        await self._services.topology.declare_topic(
            full_name,
            kind,
            durable=event.durable,
            auto_delete=event.auto_delete,
            internal=event.internal,
            delayed=delayed,
            alternate=alternate,
            arguments=event.arguments,
        )
        return {}

    def _kind_of(self, event: events.ExchangeDeclareRequested) -> tuple[TopicKind, bool]:
        kind: object = event.exchange_type
        delayed = kind == DELAYED
        if delayed:
            kind = event.arguments.get("x-delayed-type")
            if kind not in TOPIC_KINDS:
                raise precondition_failed(
                    "Invalid argument, 'x-delayed-type' must be an existing exchange type"
                )
        if kind not in TOPIC_KINDS:
            raise HardError(ReplyCode.COMMAND_INVALID, f"unknown exchange type '{kind}'")
        return cast("TopicKind", kind), delayed

    def _check_same_exchange(self, event: events.ExchangeDeclareRequested, existing: Topic) -> None:
        current_type = DELAYED if existing.delayed else existing.kind
        check_equivalent(
            f"exchange '{event.exchange}' in vhost '{self._namespace}'",
            {
                "type": (event.exchange_type, current_type),
                "durable": (event.durable, existing.durable),
                "auto_delete": (event.auto_delete, existing.auto_delete),
                "internal": (event.internal, existing.internal),
            },
            event.arguments,
            existing.arguments,
            _EXCHANGE_ARGUMENTS,
        )

    async def delete_exchange(self, event: events.ExchangeDeleteRequested) -> dict[str, Any]:
        _refuse_default(event.exchange)
        name = TopicName(self._namespace, event.exchange)
        if event.exchange in BUILT_IN or event.exchange.startswith(RESERVED):
            raise access_refused(
                f"deletion of system exchange '{name.name}' in vhost '{name.namespace}' not allowed"
            )
        self._require_configure("exchange", event.exchange)
        topology = self._services.topology
        # Deleting what is not there succeeds, as it does in RabbitMQ.
        if topology.topic(name) is not None:
            if event.if_unused and topology.subscriptions_of(name):
                raise precondition_failed(
                    f"exchange '{name.name}' in vhost '{name.namespace}' in use"
                )
            await topology.delete_topic(name)
        return {}

    async def bind_exchange(self, event: events.ExchangeBindRequested) -> dict[str, Any]:
        _refuse_default(event.source)
        _refuse_default(event.destination)
        self._require_binding(event.source, event.routing_key, "exchange", event.destination)
        source, destination = self.topic(event.source), self.topic(event.destination)
        await self._subscribe(source, event.routing_key, event.arguments, destination.name)
        return {}

    async def unbind_exchange(self, event: events.ExchangeUnbindRequested) -> dict[str, Any]:
        _refuse_default(event.source)
        _refuse_default(event.destination)
        self._require_binding(event.source, event.routing_key, "exchange", event.destination)
        await self._unsubscribe(
            TopicName(self._namespace, event.source),
            TopicName(self._namespace, event.destination),
            event.routing_key,
            event.arguments,
        )
        return {}

    # Queues

    async def declare_queue(
        self, event: events.QueueDeclareRequested, last_queue: str
    ) -> dict[str, Any]:
        """Returns the fields of declare-ok."""
        store = self._services.store
        if event.passive:
            queue = self.queue(event.queue, last_queue)
        else:
            name = _without_line_ends(event.queue)
            full_name = QueueName(self._namespace, name or self._generated_name())
            where = f"queue '{full_name.name}' in vhost '{self._namespace}'"
            existing = store.queue(full_name)
            self._require_configure("queue", full_name.name)
            if name.startswith(RESERVED):
                raise access_refused(f"queue name '{name}' contains reserved prefix 'amq.*'")
            if existing is not None:
                self._check_same_queue(event, existing, where)
            settings = settings_from_declare(event, where, self._owner)
            if existing is None:
                check_type(event.arguments, where)
            dead_letter = settings.dead_letter
            if dead_letter is not None:
                self._require_read("queue", full_name.name)
                self._require_write("exchange", dead_letter.topic)
            transient = event.exclusive or not event.durable
            if transient and self._is_for_all_nodes(event):
                transient = False
                settings = msgspec.structs.replace(settings, tags={NOT_DURABLE_TAG: "true"})
            queue = await self._services.topology.ensure_queue(
                full_name, settings, transient=transient
            )
            # Somebody else may have been faster.
            self.check_owner(queue)
            if event.exclusive:
                self.exclusive_queues[full_name] = queue
        if queue.settings.idle_expiry_ms is not None:
            # Whoever declares it uses it: creating what is there begins its time anew.
            queue = await store.create_queue(queue.name, queue.settings, transient=queue.transient)
        counts = await store.counts(queue)
        return {
            "queue": queue.name.name,
            "message_count": counts.visible,
            "consumer_count": queue.consumer_count,
        }

    def _is_for_all_nodes(self, event: events.QueueDeclareRequested) -> bool:
        """Whether connections at other nodes may use a queue, which no node's memory is for.

        One that deletes itself goes by the consumers of one node.
        """
        if self._services.topology.neighbours is None:
            return False
        return bool(event.queue) and not (event.exclusive or event.auto_delete)

    def _generated_name(self) -> str:
        octets = bytes.fromhex(self._services.message_ids.next().replace("-", ""))
        return f"amq.gen-{name_from_octets(octets)}"

    def _check_same_queue(
        self, event: events.QueueDeclareRequested, existing: Queue, where: str
    ) -> None:
        self.check_owner(existing)
        settings = existing.settings
        exclusive = owner_of(existing) is not None
        if event.exclusive != exclusive:
            raise locked(existing.name)
        durable = not (existing.transient or NOT_DURABLE_TAG in settings.tags)
        if exclusive:
            durable = event.durable
        check_equivalent(
            where,
            {
                "durable": (event.durable, durable),
                "auto_delete": (event.auto_delete, settings.auto_delete),
            },
            event.arguments,
            settings.arguments,
            known_arguments(settings.arguments),
        )

    async def delete_queue(
        self, event: events.QueueDeleteRequested, last_queue: str
    ) -> dict[str, Any]:
        """Returns the fields of delete-ok."""
        name = self.queue_name(event.queue, last_queue)
        self._require_configure("queue", name.name)
        queue = self._services.store.queue(name)
        if queue is None:
            # Deleting what is not there succeeds, as it does in RabbitMQ.
            return {"message_count": 0}
        self.check_owner(queue)
        where = f"queue '{name.name}' in vhost '{name.namespace}'"
        if event.if_unused and queue.consumer_count:
            raise precondition_failed(f"{where} in use")
        if event.if_empty and (await self._services.store.counts(queue)).visible:
            raise precondition_failed(f"{where} not empty")
        self.exclusive_queues.pop(name, None)
        return {"message_count": await self._services.topology.remove_queue(queue)}

    async def purge_queue(
        self, event: events.QueuePurgeRequested, last_queue: str
    ) -> dict[str, Any]:
        """Returns the fields of purge-ok."""
        queue = self.queue_to_read(event.queue, last_queue)
        return {"message_count": await self._services.store.purge_queue(queue)}

    async def bind_queue(self, event: events.QueueBindRequested, last_queue: str) -> dict[str, Any]:
        _refuse_default(event.exchange)
        name = self.queue_name(event.queue, last_queue).name
        # 1.7.2.3: with neither key nor queue, the key is the name of the last declared queue.
        key = event.routing_key if event.routing_key or event.queue else name
        self._require_binding(event.exchange, key, "queue", name)
        queue = self.queue(event.queue, last_queue)
        await self._subscribe(self.topic(event.exchange), key, event.arguments, queue.name)
        return {}

    async def unbind_queue(
        self, event: events.QueueUnbindRequested, last_queue: str
    ) -> dict[str, Any]:
        _refuse_default(event.exchange)
        name = self.queue_name(event.queue, last_queue)
        self._require_binding(event.exchange, event.routing_key, "queue", name.name)
        queue = self._services.store.queue(name)
        if queue is not None:
            self.check_owner(queue)
        source = TopicName(self._namespace, event.exchange)
        await self._unsubscribe(source, name, event.routing_key, event.arguments)
        return {}

    async def reply_queue(self, name: str) -> Queue:
        """The queue behind a consumer of `amq.rabbitmq.reply-to`."""
        full_name = QueueName(self._namespace, name)
        settings = settings_from_declare(
            events.QueueDeclareRequested(0, name, False, False, True, True, False, {}),
            f"queue '{name}'",
            self._owner,
        )
        queue = await self._services.store.create_queue(full_name, settings, transient=True)
        self.exclusive_queues[full_name] = queue
        return queue

    # The end

    async def forget(self, queue: Queue) -> None:
        """Remove a queue that has lost what it lived for: its consumers or its connection."""
        self.exclusive_queues.pop(queue.name, None)
        if not queue.deleted:
            await self._services.topology.remove_queue(queue)

    async def forget_exclusive_queues(self) -> None:
        """Remove the connection's own queues."""
        while self.exclusive_queues:
            _, queue = self.exclusive_queues.popitem()
            await self.forget(queue)

    # Bindings

    async def _subscribe(
        self,
        source: Topic,
        key: str,
        arguments: dict[str, Any],
        target: QueueName | TopicName,
    ) -> None:
        pattern = pattern_of(source.kind, key)
        if source.kind == "headers":
            _check_match(arguments)
        topology = self._services.topology
        known = topology.binding(source.name, target, pattern=pattern, arguments=arguments)
        if known is not None:
            return
        try:
            if isinstance(target, QueueName):
                await topology.subscribe(source.name, target, pattern=pattern, arguments=arguments)
            else:
                await topology.subscribe(
                    source.name, destination=target, pattern=pattern, arguments=arguments
                )
        except InvalidParameter as error:
            raise precondition_failed(str(error)) from error

    async def _unsubscribe(
        self,
        source: TopicName,
        target: QueueName | TopicName,
        key: str,
        arguments: dict[str, Any],
    ) -> None:
        topology = self._services.topology
        topic = topology.topic(source)
        if topic is None:
            return
        binding = topology.binding(
            source, target, pattern=pattern_of(topic.kind, key), arguments=arguments
        )
        if binding is not None:
            await topology.unsubscribe(binding.id)


def pattern_of(kind: str, key: str) -> str:
    """A binding key as the catalogue has it."""
    return pattern_from_dotted(key) if kind == "topic" else subject_from_dotted(key)


def _check_match(arguments: Mapping[str, Any]) -> None:
    mode = arguments.get("x-match", "all")
    if not isinstance(mode, str):
        raise precondition_failed(
            f"Invalid x-match field type {type_name(mode)} (value {mode}); expected longstr"
        )
    if mode not in X_MATCH:
        raise precondition_failed(
            f'Invalid x-match field value <<"{mode}">>;'
            " expected all, any, all-with-x, or any-with-x"
        )


def _refuse_default(name: str) -> None:
    if not name:
        raise access_refused("operation not permitted on the default exchange")


def _without_line_ends(name: str) -> str:
    """RabbitMQ takes line ends out of the names that it is to create."""
    return name.replace("\r", "").replace("\n", "")
