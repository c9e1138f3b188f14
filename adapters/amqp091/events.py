"""What an AMQP client did, as typed events.

A fact is a past participle; an event that is owed an answer ends in `Requested`. Fields have the
names of the specification; `channel` is the number. `tokens` are what the gateway gave to
`Consumer.deliver` or `ServerConnection.get_ok`. `ConnectionRefused` and `ChannelRefused` are
mistakes, owed a close behind the answers to what came before them; `ConnectionFailed`
(adapters.connection) is always the last.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from adapters.amqp091.channel import Consumer
from adapters.amqp091.errors import AmqpError
from adapters.amqp091.properties import Properties
from adapters.amqp091.tables import FieldTable
from adapters.connection import ConnectionFailed


class PublishReceived(msgspec.Struct, gc=False):
    """basic.publish with its whole content; `sequence` is 0 where the channel confirms nothing."""

    channel: int
    sequence: int
    exchange: str
    routing_key: str
    mandatory: bool
    properties: Properties
    body: bytes


class AcksReceived(msgspec.Struct, gc=False):
    """basic.ack, several of one channel in one event."""

    channel: int
    tokens: list[Any]


class NacksReceived(msgspec.Struct, gc=False):
    """basic.nack or basic.reject: to go back, or without `requeue` to be dead-lettered."""

    channel: int
    tokens: list[Any]
    requeue: bool


class AuthenticationRequested(msgspec.Struct):
    """start-ok: owed `authenticated` or `authentication_failed`."""

    mechanism: str
    response: bytes
    client_properties: FieldTable
    locale: str


class OpenRequested(msgspec.Struct):
    """connection.open: owed `opened` or `refuse`. What follows on channels may already come."""

    virtual_host: str


class CloseRequested(msgspec.Struct):
    """connection.close by the client: owed `closed`."""

    reply_code: int
    reply_text: str


class ConnectionRefused(msgspec.Struct):
    """The client broke the protocol: owed `refuse` with this error. `ConnectionFailed` follows."""

    error: AmqpError


class UpdateSecretRequested(msgspec.Struct):
    """connection.update-secret: owed `secret_updated`, or `refuse`."""

    new_secret: bytes
    reason: str


class ChannelOpenRequested(msgspec.Struct):
    """channel.open: owed `channel_opened`."""

    channel: int


class ChannelCloseRequested(msgspec.Struct):
    """channel.close by the client: owed `channel_closed`."""

    channel: int
    reply_code: int
    reply_text: str


class ChannelRefused(msgspec.Struct):
    """A mistake of the client on a channel: owed `refuse_channel` with this error."""

    channel: int
    error: AmqpError


class ExchangeDeclareRequested(msgspec.Struct):
    """exchange.declare: owed `declare_exchange_ok`."""

    channel: int
    exchange: str
    exchange_type: str
    passive: bool
    durable: bool
    auto_delete: bool
    internal: bool
    nowait: bool
    arguments: FieldTable


class ExchangeDeleteRequested(msgspec.Struct):
    """exchange.delete."""

    channel: int
    exchange: str
    if_unused: bool
    nowait: bool


class ExchangeBindRequested(msgspec.Struct):
    """exchange.bind: RabbitMQ's exchange-to-exchange binding."""

    channel: int
    destination: str
    source: str
    routing_key: str
    nowait: bool
    arguments: FieldTable


class ExchangeUnbindRequested(msgspec.Struct):
    """exchange.unbind."""

    channel: int
    destination: str
    source: str
    routing_key: str
    nowait: bool
    arguments: FieldTable


class QueueDeclareRequested(msgspec.Struct):
    """queue.declare; `queue` is empty where the server is to name it."""

    channel: int
    queue: str
    passive: bool
    durable: bool
    exclusive: bool
    auto_delete: bool
    nowait: bool
    arguments: FieldTable


class QueueBindRequested(msgspec.Struct):
    """queue.bind."""

    channel: int
    queue: str
    exchange: str
    routing_key: str
    nowait: bool
    arguments: FieldTable


class QueueUnbindRequested(msgspec.Struct):
    """queue.unbind, which knows no nowait."""

    channel: int
    queue: str
    exchange: str
    routing_key: str
    arguments: FieldTable


class QueuePurgeRequested(msgspec.Struct):
    """queue.purge."""

    channel: int
    queue: str
    nowait: bool


class QueueDeleteRequested(msgspec.Struct):
    """queue.delete."""

    channel: int
    queue: str
    if_unused: bool
    if_empty: bool
    nowait: bool


class QosRequested(msgspec.Struct):
    """basic.qos; `global_` is RabbitMQ's meaning: per channel, else for each new consumer."""

    channel: int
    prefetch_count: int
    global_: bool


class ConsumeRequested(msgspec.Struct):
    """basic.consume: owed `consume_ok`; then deliveries go to `consumer`."""

    channel: int
    queue: str
    consumer: Consumer
    no_local: bool
    exclusive: bool
    nowait: bool
    arguments: FieldTable


class CancelRequested(msgspec.Struct):
    """basic.cancel: owed `cancel_ok`; `consumer` is None where the tag is unknown."""

    channel: int
    consumer_tag: str
    consumer: Consumer | None
    nowait: bool


class GetRequested(msgspec.Struct):
    """basic.get: owed `get_ok` or `get_empty`."""

    channel: int
    queue: str
    no_ack: bool


class RecoverRequested(msgspec.Struct):
    """basic.recover with requeue: `tokens` are no longer with the channel. Owed `recover_ok`."""

    channel: int
    tokens: list[Any]
    nowait: bool


class FlowRequested(msgspec.Struct):
    """channel.flow with active=true, the only one that RabbitMQ knows."""

    channel: int
    active: bool


class ConfirmSelectRequested(msgspec.Struct):
    """confirm.select; from here on publishes carry a sequence."""

    channel: int
    nowait: bool


class TxSelectRequested(msgspec.Struct):
    """tx.select; from here on publishes and acks wait for tx.commit."""

    channel: int


class TxCommitRequested(msgspec.Struct):
    """tx.commit."""

    channel: int


class TxRollbackRequested(msgspec.Struct):
    """tx.rollback: what was acknowledged goes back by `ServerConnection.restore`."""

    channel: int


class AccessRequested(msgspec.Struct):
    """access.request of AMQP 0-8: always granted."""

    channel: int
    realm: str


Event: TypeAlias = (
    PublishReceived
    | AcksReceived
    | NacksReceived
    | AuthenticationRequested
    | OpenRequested
    | CloseRequested
    | ConnectionRefused
    | UpdateSecretRequested
    | ChannelOpenRequested
    | ChannelCloseRequested
    | ChannelRefused
    | ExchangeDeclareRequested
    | ExchangeDeleteRequested
    | ExchangeBindRequested
    | ExchangeUnbindRequested
    | QueueDeclareRequested
    | QueueBindRequested
    | QueueUnbindRequested
    | QueuePurgeRequested
    | QueueDeleteRequested
    | QosRequested
    | ConsumeRequested
    | CancelRequested
    | GetRequested
    | RecoverRequested
    | FlowRequested
    | ConfirmSelectRequested
    | TxSelectRequested
    | TxCommitRequested
    | TxRollbackRequested
    | AccessRequested
    | ConnectionFailed
)
