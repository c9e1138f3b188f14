"""What a STOMP client did, as typed events.

A fact is a past participle; an event that is owed an answer ends in `Requested`. The `receipt` that
any frame may carry is owed a RECEIPT once the frame's effect is stored; `headers` are all others of
the frame, unescaped. `ConnectionFailed` (adapters.connection) ends a broken connection's list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from adapters.connection import ConnectionFailed

if TYPE_CHECKING:
    from adapters.stomp.subscription import Subscription


class ConnectRequested(msgspec.Struct, gc=False):
    """CONNECT or STOMP: owed `ServerConnection.accept` or `refuse`."""

    login: str | None
    passcode: str | None
    host: str | None
    client_id: str | None
    headers: dict[str, str]


class SendReceived(msgspec.Struct, gc=False):
    """SEND: one message for `destination`.

    `headers` must not be changed. `headers_kept`: the same dictionary comes with many SENDs, so
    what is worked out from it is worth remembering.
    """

    destination: str
    headers: dict[str, str]
    body: bytes
    receipt: str | None
    headers_kept: bool = False


class AckReceived(msgspec.Struct):
    """ACK: the client is done with these deliveries of one subscription, oldest first.

    `deliveries` are the tokens that the gateway gave to `Subscription.message`; a cumulative ACK
    names all up to the one that the client named, and a run of ACKs without receipts is one event.
    """

    subscription: Subscription
    deliveries: list[Any]
    receipt: str | None


class NackReceived(msgspec.Struct):
    """NACK: as `AckReceived`, but to be given back, or if not `requeue`, to be rejected."""

    subscription: Subscription
    deliveries: list[Any]
    receipt: str | None
    requeue: bool


class SubscribeRequested(msgspec.Struct):
    """SUBSCRIBE: the gateway opens the source, or fails the connection."""

    subscription: Subscription
    headers: dict[str, str]
    receipt: str | None


class UnsubscribeReceived(msgspec.Struct):
    """UNSUBSCRIBE: nothing more is delivered; `deliveries` were unsettled and go back.

    `subscription` is None where the client was not subscribed under this id; the headers may still
    name a durable subscription to delete.
    """

    subscription: Subscription | None
    subscription_id: str
    deliveries: list[Any]
    headers: dict[str, str]
    receipt: str | None


class TransactionBegun(msgspec.Struct, gc=False):
    """BEGIN; the connection keeps what follows under this transaction until COMMIT or ABORT."""

    transaction: str
    receipt: str | None


class TransactionCommitted(msgspec.Struct):
    """COMMIT: what the client did in the transaction, in order, to take effect as one."""

    transaction: str
    actions: list[SendReceived | AckReceived | NackReceived]
    receipt: str | None


class TransactionAborted(msgspec.Struct, gc=False):
    """ABORT: the transaction's sends are discarded, its acks leave their messages unsettled."""

    transaction: str
    receipt: str | None


class DisconnectRequested(msgspec.Struct, gc=False):
    """DISCONNECT: owed the RECEIPT, if one was asked for, and then the close."""

    receipt: str | None


Event: TypeAlias = (
    ConnectRequested
    | SendReceived
    | AckReceived
    | NackReceived
    | SubscribeRequested
    | UnsubscribeReceived
    | TransactionBegun
    | TransactionCommitted
    | TransactionAborted
    | DisconnectRequested
    | ConnectionFailed
)
