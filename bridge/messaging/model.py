"""The model that every protocol, the router and both backends share: SQS's and SNS's own words.

A `Message` is immutable once it was sent and may stand in many queues at once. A `Delivery` is one
message in one queue; the store hands it out and takes it back in a `UnitOfWork`, which commits as a
whole and is answered once. This file is on the hot path: structs, `gc=False` where no cycle can
arise, because a collector that walks a million messages stalls every connection.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

if TYPE_CHECKING:
    from bridge.messaging.errors import MessagingError
    from bridge.messaging.ports import Queue

Value: TypeAlias = (
    "str | int | float | bool | bytes | Decimal | datetime | list[Value] | dict[str, Value] | None"
)
"""A typed property: what an AMQP table, an MQTT property or an SQS attribute can carry."""

DEFAULT_NAMESPACE = "/"
"""The namespace of listeners that name none; AMQP's default virtual host."""


class QueueName(NamedTuple):
    """A queue as legacy clients call it; `bridge.messaging.names` gives its SQS form."""

    namespace: str
    name: str


class TopicName(NamedTuple):
    """A topic (AMQP exchange, MQTT or STOMP topic tree) as legacy clients call it."""

    namespace: str
    name: str


TOPIC_TREE = "amq.topic"
"""The topic whose subjects are MQTT's topics and STOMP's `/topic/` destinations."""

DEFAULT_EXCHANGE = "amq.default"
"""What people and patterns call AMQP's default exchange, whose name is empty."""


class Message(msgspec.Struct, gc=False, omit_defaults=True):
    """One message; never changed after it was sent.

    `properties` are the standard ones, under the names of `bridge.messaging.properties`; `headers`
    are the application's own. `topic` and `subject` say where it was published (None for a plain
    send to a queue). Times are epoch milliseconds. `original` holds the publisher's own encoding of
    what the neutral form would lose, as (protocol, bytes); only that protocol's mapping reads it.
    """

    message_id: str
    body: bytes
    sent_at: int
    properties: dict[str, Value] = {}
    headers: dict[str, Value] = {}
    topic: str | None = None
    subject: str | None = None
    sender: str | None = None
    priority: int | None = None
    expires_at: int | None = None
    visible_at: int | None = None
    group_id: str | None = None
    deduplication_id: str | None = None
    dead_letter_source: str | None = None
    original: tuple[str, bytes] | None = None


class Delivery(msgspec.Struct, eq=False):
    """One message in one queue, handed out to one receiver.

    The store owns it; the receiver reads `message` and `receive_count` and hands it back in a unit
    of work: deleted, released or returned. After that, or after its visibility ended, it must not
    be used. `return_count` counts explicit returns (nack with requeue), which SQS's own count
    cannot tell apart; `first_received_at` is in epoch milliseconds; `sequence_number` only
    first-in-first-out queues give.
    """

    queue: Queue
    message: Message
    receive_count: int = 0
    return_count: int = 0
    first_received_at: int | None = None
    sequence_number: str | None = None

    @property
    def redelivered(self) -> bool:
        return self.receive_count > 1


class StateChange(NamedTuple):
    """One write to the state store; `value` None deletes the key."""

    kind: str
    key: str
    value: bytes | None


class Accepted(NamedTuple):
    """How a queue took a send; a duplicate has the original's values. Only first-in-first-out
    queues number what they take.
    """

    message_id: str
    sequence_number: str = ""


class UnitOfWork(msgspec.Struct, eq=False):
    """What commits together and is answered once, through `done`.

    `sends` are (queue, message) in publish order. `deletes` acknowledge; `releases` give back what
    was not worked on (connection lost, consumer cancelled) and `returns` what the client returned
    itself, which counts against a queue's return limit. `atomic`: nothing of it is visible or
    elided before the commit (transactions, QoS 2). `answered`: somebody waits for the settles, so
    their commit is not put off. `agreed`: its state is of the catalogue, so it is answered once
    every live node goes by it, and fails with `StateConflict` where another node changed one of
    its keys first; without it the last change of a key stays.

    `done` is called exactly once, on the event loop, never before `submit` returned. By then
    `error` says why all of it failed, and `failures` which sends failed by themselves (index ->
    error); `accepted` says under which ids sends were taken (index -> ids), by first-in-first-out
    queues always, and in units that are `answered` wherever it is not the message's own id.
    """

    done: Callable[[UnitOfWork], None] | None = None
    atomic: bool = False
    answered: bool = False
    agreed: bool = False
    sends: list[tuple[Queue, Message]] = []
    deletes: list[Delivery] = []
    releases: list[Delivery] = []
    returns: list[Delivery] = []
    state: list[StateChange] = []
    error: MessagingError | None = None
    failures: dict[int, MessagingError] = {}
    accepted: dict[int, Accepted] = {}
    remaining: int = 0
    """For the store alone: what it still waits for."""


class Overflow(Enum):
    """What a queue at its length limit does."""

    DROP_HEAD = "drop-head"
    REJECT_PUBLISH = "reject-publish"


class DeadLetterReason(Enum):
    """Why a message left its queue for the dead letters."""

    REJECTED = "rejected"
    EXPIRED = "expired"
    MAXLEN = "maxlen"
    DELIVERY_LIMIT = "delivery_limit"


class RedrivePolicy(msgspec.Struct, frozen=True):
    """SQS's own dead-lettering: on receive number `receive_count_max` + 1 a message moves to
    `queue`.
    """

    queue: str
    receive_count_max: int


class DeadLetterTarget(msgspec.Struct, frozen=True):
    """Landbridge's dead-lettering: where rejected, expired and over-returned messages go.

    `topic` "" is the default exchange: `subject` then names a queue. `subject` None keeps the
    message's own.
    """

    topic: str
    subject: str | None = None


class QueueSettings(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """All that decides how a queue behaves. SQS's attributes keep their SQS meaning and unit.

    `retention_seconds` None keeps messages for ever (queues of legacy clients). `attributes` are
    the SQS attributes without effect on the engine (Policy, Kms...), `tags` the queue's tags.
    `priority_max` 0 keeps one band; messages without a priority of their own go to
    `priority_default`. `arguments` are the legacy declaration as it was, for equivalence checks and
    management.
    """

    visibility_timeout_seconds: int = 30
    delay_seconds: int = 0
    retention_seconds: int | None = None
    receive_wait_seconds: int = 0
    message_size_max: int | None = None
    redrive: RedrivePolicy | None = None
    fifo: bool = False
    content_based_deduplication: bool = False
    deduplication_per_group: bool = False
    message_ttl_ms: int | None = None
    idle_expiry_ms: int | None = None
    length_max: int | None = None
    bytes_max: int | None = None
    overflow: Overflow = Overflow.DROP_HEAD
    dead_letter: DeadLetterTarget | None = None
    return_limit: int | None = None
    priority_max: int = 0
    priority_default: int = 0
    single_active_consumer: bool = False
    auto_delete: bool = False
    arguments: dict[str, Any] = {}
    attributes: dict[str, str] = {}
    tags: dict[str, str] = {}


class QueueCounts(NamedTuple):
    """Exact when embedded, approximate on AWS."""

    visible: int
    not_visible: int
    delayed: int


class Origin(NamedTuple):
    """Where a publish came from; what routing rules match on. `address` is in the protocol's own
    syntax.
    """

    protocol: str
    address: str
    client_id: str | None = None
    user: str | None = None


class Publish(msgspec.Struct):
    """One publish on its way in: to `queue`, or to `message.topic` with `message.subject`.

    `create` makes an absent `queue` on demand.
    """

    origin: Origin
    message: Message
    namespace: str = DEFAULT_NAMESPACE
    queue: str | None = None
    create: bool = False
