"""The records of the catalogue, topics and subscriptions, and the form in which the state store
keeps them.

A record is never changed, only replaced, so that whoever holds one may keep it. Values are
MessagePack; arguments keep every type of an AMQP table, decimals as an extension.
"""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote, unquote

import msgspec

from bridge.messaging.model import QueueName, TopicName

TopicKind: TypeAlias = Literal["topic", "direct", "fanout", "headers"]
"""How a topic finds the subscriptions for a subject."""

FilterScope: TypeAlias = Literal["MessageAttributes", "MessageBody"]
"""What a filter policy looks at, in SNS's words."""

TOPIC_KINDS: Final = frozenset({"topic", "direct", "fanout", "headers"})

BUILT_IN: Final[dict[str, TopicKind]] = {
    "amq.topic": "topic",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.headers": "headers",
    "amq.match": "headers",
}
"""The topics that every namespace has without declaring them."""

KIND_TOPIC: Final = "topic"
KIND_SUBSCRIPTION: Final = "subscription"

_EXTENSION_DECIMAL = 1


class Topic(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A topic: SNS's topic, AMQP's exchange.

    `alternate` names the topic of the same namespace that takes what finds no subscription here.
    `internal`: clients may not publish to it. `delayed`: a message waits for the milliseconds of
    its header `x-delay`. `arguments` are the legacy declaration as it was; `attributes` and `tags`
    are SNS's.
    """

    name: TopicName
    kind: TopicKind = "topic"
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    delayed: bool = False
    fifo: bool = False
    alternate: str | None = None
    created_at: int = 0
    arguments: dict[str, Any] = {}
    attributes: dict[str, str] = {}
    tags: dict[str, str] = {}

    @property
    def built_in(self) -> bool:
        return self.name.name in BUILT_IN

    @property
    def has_face(self) -> bool:
        """Whether it may have a face outside: it is there to stay, and clients publish to it."""
        return self.durable and not self.auto_delete and not self.internal


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a topic hands on, and to whom: to `queue`, to the topic `destination`, or elsewhere
    (`protocol`, `endpoint`).

    `pattern` None takes everything; else it is a pattern over levels for a topic of kind "topic",
    the very subject for "direct", and without effect for the other kinds. `arguments` are AMQP's
    binding arguments (kind "headers"). `filter_policy` is the JSON text of an SNS filter policy.
    `raw` False wraps messages in SNS's notification. `outlives_queue`: it stays when its queue is
    deleted, as in SNS; a binding goes with its queue.
    """

    id: str
    topic: TopicName
    queue: QueueName | None = None
    destination: TopicName | None = None
    protocol: str = "sqs"
    endpoint: str | None = None
    pattern: str | None = None
    filter_policy: str | None = None
    filter_scope: FilterScope = "MessageAttributes"
    raw: bool = True
    outlives_queue: bool = False
    durable: bool = True
    created_at: int = 0
    arguments: dict[str, Any] = {}
    attributes: dict[str, str] = {}


def topic_key(name: TopicName) -> str:
    """The key of a topic in the state store; different for different names."""
    return f"{quote(name.namespace, safe='')}/{name.name}"


def topic_from_key(key: str) -> TopicName:
    """The topic that has this key."""
    namespace, _, name = key.partition("/")
    return TopicName(unquote(namespace), name)


Binding: TypeAlias = tuple[object, ...]


def binding_of(subscription: Subscription) -> Binding:
    """What makes two subscriptions the same."""
    return (
        subscription.topic,
        subscription.queue,
        subscription.destination,
        subscription.protocol,
        subscription.endpoint,
        subscription.pattern,
        subscription.filter_policy,
        subscription.filter_scope,
        subscription.raw,
        subscription.durable,
        encode(Subscription(id="", topic=subscription.topic, arguments=subscription.arguments)),
    )


def derived_id(subscription: Subscription) -> str:
    """An id that looks like others and is the same for all subscriptions that say the same."""
    record = Subscription(
        id="",
        topic=subscription.topic,
        queue=subscription.queue,
        destination=subscription.destination,
        protocol=subscription.protocol,
        endpoint=subscription.endpoint,
        pattern=subscription.pattern,
        filter_policy=subscription.filter_policy,
        filter_scope=subscription.filter_scope,
        raw=subscription.raw,
        durable=subscription.durable,
        arguments=subscription.arguments,
    )
    digits = sha256(encode(record)).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def encode(record: Topic | Subscription) -> bytes:
    """The record as the state store keeps it."""
    return _ENCODER.encode(
        msgspec.structs.replace(record, arguments=_with_extensions(record.arguments))
        if record.arguments
        else record
    )


def decode_topic(data: bytes) -> Topic:
    """Read a record of kind `KIND_TOPIC`."""
    return _TOPIC_DECODER.decode(data)


def decode_subscription(data: bytes) -> Subscription:
    """Read a record of kind `KIND_SUBSCRIPTION`."""
    return _SUBSCRIPTION_DECODER.decode(data)


def _with_extensions(value: Any) -> Any:
    if isinstance(value, Decimal):
        return msgspec.msgpack.Ext(_EXTENSION_DECIMAL, str(value).encode())
    if isinstance(value, dict):
        return {key: _with_extensions(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_extensions(each) for each in value]
    return value


def _from_extension(code: int, data: memoryview) -> Any:
    if code == _EXTENSION_DECIMAL:
        return Decimal(bytes(data).decode())
    raise ValueError(f"extension {code} in the catalogue, known is {_EXTENSION_DECIMAL}")


_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_TOPIC_DECODER = msgspec.msgpack.Decoder(Topic, ext_hook=_from_extension)
_SUBSCRIPTION_DECODER = msgspec.msgpack.Decoder(Subscription, ext_hook=_from_extension)
