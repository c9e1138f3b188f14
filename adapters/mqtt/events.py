"""What a connection tells its gateway. Messages and acknowledgements come as one event per run, not
one each.

An event that is owed an answer says which call answers it. The token of a delivery is whatever the
gateway gave with it; a connection never looks inside.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from adapters.connection import ConnectionFailed
from adapters.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)

Token: TypeAlias = Any
"""What the gateway calls a delivery."""


class ConnectRequested(msgspec.Struct, gc=False):
    """A valid CONNECT; owed `accept` or `refuse`. Nothing more is read until then."""

    connect: Connect


class PublishesReceived(msgspec.Struct, gc=False):
    """Publishes in wire order; those of QoS 1 and 2 are owed `acknowledge`, in the same order."""

    publishes: list[Publish]


class ReleasesReceived(msgspec.Struct, gc=False):
    """PUBRELs for known packet ids; owed `complete` once it is stored that the ids are free."""

    packet_ids: list[int]


class DeliveriesAcknowledged(msgspec.Struct, gc=False):
    """PUBACKs: these QoS 1 deliveries are done."""

    tokens: list[Token]


class DeliveriesReceived(msgspec.Struct, gc=False):
    """PUBRECs: the client has these QoS 2 messages; owed `release` once that is stored."""

    packet_ids: list[int]
    tokens: list[Token]


class DeliveriesCompleted(msgspec.Struct, gc=False):
    """PUBCOMPs: these QoS 2 packet ids are free again."""

    packet_ids: list[int]
    tokens: list[Token]


class DeliveryRejected(msgspec.Struct, gc=False):
    """A PUBACK or PUBREC that refuses: done, and never sent again (MQTT 5, 4.4)."""

    packet_id: int
    token: Token
    qos: int
    reason_code: int
    reason_string: str | None


class SubscribeRequested(msgspec.Struct, gc=False):
    """Owed `answer_subscribe` with a reason code for each subscription."""

    subscribe: Subscribe


class UnsubscribeRequested(msgspec.Struct, gc=False):
    """Owed `answer_unsubscribe` with a reason code for each filter."""

    unsubscribe: Unsubscribe


class DisconnectReceived(msgspec.Struct, gc=False):
    """The peer takes its leave and is read no further; 3.x servers never say it."""

    disconnect: Disconnect


class ConnectAnswered(msgspec.Struct, gc=False):
    """For a client: the server's CONNACK, whatever it says."""

    connack: Connack


class SubscribeAnswered(msgspec.Struct, gc=False):
    """For a client."""

    suback: Suback


class UnsubscribeAnswered(msgspec.Struct, gc=False):
    """For a client."""

    unsuback: Unsuback


Event: TypeAlias = (
    ConnectRequested
    | PublishesReceived
    | ReleasesReceived
    | DeliveriesAcknowledged
    | DeliveriesReceived
    | DeliveriesCompleted
    | DeliveryRejected
    | SubscribeRequested
    | UnsubscribeRequested
    | DisconnectReceived
    | ConnectAnswered
    | SubscribeAnswered
    | UnsubscribeAnswered
    | ConnectionFailed
)
