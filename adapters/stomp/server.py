"""The server's side of one STOMP connection, 1.0 to 1.2, sans-IO.

Bytes in, typed events out; ERROR and heart-beats come out of `data_to_send`. CONNECTED, RECEIPT and
MESSAGE frames are encoded here (`accept`, `receipts`, `Subscription.message`) and written by the
gateway, since they wait for accounts and store. Where the specification is silent this does as
RabbitMQ does, down to the words of its errors; where it is not, an ERROR ends the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from adapters.connection import ConnectionFailed
from adapters.errors import LocalProtocolError
from adapters.stomp.codec import DecoderLimits, Frame, FrameDecoder
from adapters.stomp.events import (
    AckReceived,
    ConnectRequested,
    DisconnectRequested,
    Event,
    SendReceived,
    SubscribeRequested,
    TransactionAborted,
    TransactionBegun,
    TransactionCommitted,
    UnsubscribeReceived,
)
from adapters.stomp.frames import (
    HEARTBEAT,
    SUPPORTED_VERSIONS,
    FrameError,
    Version,
    encode_connected,
    encode_frame,
    encode_receipts,
)
from adapters.stomp.heartbeat import HeartBeats
from adapters.stomp.subscription import AckMode, Subscription
from adapters.stomp.subscriptions import Subscriptions, not_found
from adapters.stomp.transactions import Settlement, TransactionLimits, Transactions


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What all connections of a listener share."""

    server: str = "Landbridge"
    """The header `server` of CONNECTED."""
    connect_timeout_seconds: float = 10.0
    subscriptions_max: int = 1_000
    decoder: DecoderLimits = field(default_factory=DecoderLimits)
    transactions: TransactionLimits = field(default_factory=TransactionLimits)


class State(Enum):
    """Frames are taken in the second and third state only; the last two take nothing."""

    NEW = "no CONNECT yet"
    CONNECTING = "CONNECT was received, and not answered"
    CONNECTED = "CONNECTED was sent"
    DISCONNECTING = "DISCONNECT was received"
    FAILED = "an ERROR ended the connection"


class ServerConnection:
    """One client's connection; see `adapters.connection.Connection` for the order of calls."""

    __slots__ = (
        "_answer_owed",
        "_connect_deadline",
        "_decoder",
        "_events",
        "_heartbeats",
        "_open",
        "_options",
        "_output",
        "_subscriptions",
        "_transactions",
        "state",
        "version",
    )

    def __init__(self, options: ServerOptions, now: float) -> None:
        self.state = State.NEW
        self.version = Version.V1_0
        self._answer_owed = False
        self._open = False
        """In the states that take any frame: spares the hot loop the look at `state`."""
        self._options = options
        self._decoder = FrameDecoder(options.decoder)
        self._events: list[Event] = []
        self._output: list[bytes] = []
        self._heartbeats = HeartBeats()
        self._connect_deadline = now + options.connect_timeout_seconds
        self._subscriptions = Subscriptions(options.subscriptions_max)
        self._transactions = Transactions(options.transactions)

    # The contract of every connection.

    def receive_data(self, data: bytes, now: float) -> None:
        """Take in a chunk; an empty one says that the client's silence is not its own."""
        self._heartbeats.received(now)
        decoder = self._decoder
        frames = decoder.decode(data)
        while self._handle(frames) and decoder.paused:
            frames = decoder.decode(b"")

    def receive_eof(self, now: float) -> None:
        """The client has closed its half without DISCONNECT; an incomplete frame is discarded."""
        if self.state not in (State.DISCONNECTING, State.FAILED):
            self.state = State.DISCONNECTING
            self._open = False
            self._events.append(DisconnectRequested(None))

    def next_events(self) -> list[Event]:
        events = self._events
        self._events = []
        return events

    def data_to_send(self) -> list[bytes]:
        output = self._output
        if output:
            self._output = []
            self._heartbeats.sent()
        return output

    def next_deadline(self) -> float | None:
        if self.state is State.NEW:
            return self._connect_deadline
        if self.state is State.CONNECTED:
            return self._heartbeats.next_deadline()
        return None

    def handle_deadline(self, now: float) -> None:
        if self.state is State.NEW and now >= self._connect_deadline:
            seconds = self._options.connect_timeout_seconds
            self._fail(FrameError("Connect timeout", f"no CONNECT within {seconds:g} seconds\n"))
        elif self.state is State.CONNECTED:
            if self._heartbeats.is_silent(now):
                interval = self._heartbeats.receive_ms
                self._fail(
                    FrameError("Heart-beat missed", f"nothing received in 2 x {interval} ms\n")
                )
            elif self._heartbeats.is_due(now):
                self._output.append(HEARTBEAT)

    # Answers of the gateway.

    def accept(self, session: str, user: str | None, now: float) -> bytes:
        """Answer `ConnectRequested`: returns CONNECTED, to be written before anything else.

        By now the client may have sent more: its DISCONNECT, or its mistake, whose ERROR follows.
        """
        if not self._answer_owed:
            raise LocalProtocolError(f"nothing to accept: {self.state.value}")
        self._answer_owed = False
        if self.state is State.CONNECTING:
            self.state = State.CONNECTED
        heartbeats = self._heartbeats
        heartbeats.start(now)
        headers = [
            ("server", self._options.server),
            ("session", session),
            ("heart-beat", f"{heartbeats.send_ms},{heartbeats.receive_ms}"),
            ("version", self.version.value),
        ]
        if user is not None:
            headers.append(("user-name", user.replace("\n", " ")))
        heartbeats.sent()
        return encode_connected(headers)

    def refuse(
        self,
        title: str,
        detail: str,
        receipt: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """End the connection with an ERROR, which stands in `data_to_send`; yields no event."""
        if self.state is State.FAILED:
            return
        self.state = State.FAILED
        self._open = False
        error = [
            ("message", title),
            ("content-type", "text/plain"),
            ("version", SUPPORTED_VERSIONS),
            *headers,
        ]
        if receipt is not None:
            error.append(("receipt-id", receipt))
        self._output.append(encode_frame("ERROR", error, self.version, detail.encode()))

    def say_goodbye(self, receipt: str | None) -> None:
        """Answer `DisconnectRequested`, as the last thing that is written."""
        if receipt is not None:
            self._output.append(encode_receipts([receipt], self.version))

    def receipts(self, receipts: list[str]) -> bytes:
        """Encode RECEIPTs; the gateway writes them and says so by `sent`."""
        return encode_receipts(receipts, self.version)

    def sent(self) -> None:
        """The gateway wrote frames itself, so no heart-beat is due for now."""
        self._heartbeats.sent()

    def add_subscription(
        self, subscription_id: str, destination: str, ack_mode: AckMode, *, named: bool = True
    ) -> Subscription:
        """Open a subscription: the client's, or one on its behalf, as for replies."""
        return self._subscriptions.add(
            subscription_id, destination, ack_mode, self.version, named=named
        )

    def remove_subscription(self, subscription: Subscription) -> None:
        """Close a subscription; late ACKs for it are taken for a while and have no effect."""
        self._subscriptions.remove(subscription)

    # Frames.

    def _handle(self, frames: list[Frame]) -> bool:
        """Turn frames into events; False once nothing more is to be read."""
        handlers = self._HANDLERS
        for frame in frames:
            try:
                if not self._open:
                    if self.state in _DEAF:
                        return False
                    if frame.command not in _OPENING:
                        raise FrameError("Illegal command", "You must log in using CONNECT first\n")
                handlers[frame.command](self, frame)
            except FrameError as error:
                error.receipt = error.receipt or frame.receipt
                self._fail(error)
                return False
        if self.state in _DEAF:
            return False
        if self._decoder.error is not None:
            self._fail(self._decoder.error)
            return False
        return True

    def _fail(self, error: FrameError) -> None:
        self.refuse(error.title, error.detail, error.receipt)
        self._events.append(ConnectionFailed(str(error).rstrip("\n")))

    def _receive_connect(self, frame: Frame) -> None:
        if self.state is not State.NEW:
            raise FrameError("Already connected", f"{frame.command} was already received\n")
        headers = frame.headers
        offered = headers.get("accept-version", "1.0").split(",")
        common = [version for version in Version if version.value in map(str.strip, offered)]
        if not common:
            raise FrameError("Version mismatch", f"Supported versions are {SUPPORTED_VERSIONS}\n")
        self.version = self._decoder.version = common[-1]
        if self.version is Version.V1_0:
            headers = {name.strip(): value.strip() for name, value in headers.items()}
        self._heartbeats.negotiate(headers.get("heart-beat"))
        self.state = State.CONNECTING
        self._open = True
        self._answer_owed = True
        self._events.append(
            ConnectRequested(
                headers.get("login"),
                headers.get("passcode"),
                headers.get("host"),
                headers.get("client-id"),
                headers,
            )
        )

    def _receive_send(self, frame: Frame) -> None:
        headers = frame.headers
        destination = headers.get("destination")
        if destination is None:
            raise FrameError("Missing destination", "SEND must include a 'destination' header\n")
        event = SendReceived(destination, headers, frame.body, frame.receipt, frame.headers_kept)
        transaction = headers.get("transaction")
        if transaction is None:
            self._events.append(event)
        else:
            self._transactions.add(transaction, event)

    def _receive_subscribe(self, frame: Frame) -> None:
        headers = frame.headers
        destination = headers.get("destination")
        if destination is None:
            raise FrameError(
                "Missing destination", "SUBSCRIBE must include a 'destination' header\n"
            )
        subscription_id = headers.get("id")
        if subscription_id is None and self.version is not Version.V1_0:
            raise FrameError("Missing Header", "SUBSCRIBE must include an 'id' header\n")
        try:
            ack_mode = AckMode(headers.get("ack", "auto"))
        except ValueError:
            raise FrameError(
                "Invalid header",
                f"ack '{headers['ack'][:40]}' is not auto, client or client-individual\n",
            ) from None
        subscription = self.add_subscription(
            destination if subscription_id is None else subscription_id,
            destination,
            ack_mode,
            named=subscription_id is not None,
        )
        self._events.append(SubscribeRequested(subscription, headers, frame.receipt))

    def _receive_unsubscribe(self, frame: Frame) -> None:
        headers = frame.headers
        subscription_id = headers.get("id")
        if subscription_id is None and self.version is Version.V1_0:
            subscription_id = headers.get("destination")
        if subscription_id is None:
            raise FrameError(
                "Missing destination or id",
                "UNSUBSCRIBE must include a 'destination' or 'id' header\n"
                if self.version is Version.V1_0
                else "UNSUBSCRIBE must include an 'id' header\n",
            )
        subscription = self._subscriptions.named(subscription_id)
        if subscription is None and "id" not in headers:
            # 1.0: the id of SUBSCRIBE may be left out here, and the destination names it then.
            subscription = self._subscriptions.at(subscription_id)
        deliveries = []
        if subscription is not None:
            deliveries = subscription.take_unsettled()
            self.remove_subscription(subscription)
        self._events.append(
            UnsubscribeReceived(subscription, subscription_id, deliveries, headers, frame.receipt)
        )

    def _receive_ack(self, frame: Frame) -> None:
        subscription, key = self._subscriptions.find_unsettled(frame, self.version)
        headers = frame.headers
        receipt = frame.receipt
        if "transaction" in headers:
            self._settle_at_commit(frame, Settlement(subscription, key, receipt, None))
            return
        deliveries = subscription.settle(key)
        if deliveries is None:
            raise not_found(frame, key)
        events = self._events
        if events and receipt is None:
            # One event for a run of ACKs: they nearly always come in runs.
            last = events[-1]
            if (
                type(last) is AckReceived
                and last.subscription is subscription
                and last.receipt is None
            ):
                last.deliveries += deliveries
                return
        events.append(AckReceived(subscription, deliveries, receipt))

    def _receive_nack(self, frame: Frame) -> None:
        # 1.0 knows no NACK; RabbitMQ takes it all the same, and clients of its own send it.
        subscription, key = self._subscriptions.find_unsettled(frame, self.version)
        headers = frame.headers
        requeue = headers.get("requeue", "true").lower() != "false"
        settlement = Settlement(subscription, key, frame.receipt, requeue)
        if "transaction" in headers:
            self._settle_at_commit(frame, settlement)
            return
        event = settlement.resolve()
        if event is None:
            raise not_found(frame, key)
        self._events.append(event)

    def _settle_at_commit(self, frame: Frame, settlement: Settlement) -> None:
        subscription = settlement.subscription
        if settlement.key not in subscription.unsettled and not subscription.closed:
            raise not_found(frame, settlement.key)
        self._transactions.add(frame.headers["transaction"], settlement)

    def _receive_begin(self, frame: Frame) -> None:
        name = _transaction(frame)
        self._transactions.begin(name)
        self._events.append(TransactionBegun(name, frame.receipt))

    def _receive_commit(self, frame: Frame) -> None:
        name = _transaction(frame)
        actions = self._transactions.commit(name)
        self._events.append(TransactionCommitted(name, actions, frame.receipt))

    def _receive_abort(self, frame: Frame) -> None:
        name = _transaction(frame)
        self._transactions.abort(name)
        self._events.append(TransactionAborted(name, frame.receipt))

    def _receive_disconnect(self, frame: Frame) -> None:
        self.state = State.DISCONNECTING
        self._open = False
        self._events.append(DisconnectRequested(frame.receipt))

    _HANDLERS: ClassVar[dict[str, Callable[[ServerConnection, Frame], None]]] = {
        "ABORT": _receive_abort,
        "ACK": _receive_ack,
        "BEGIN": _receive_begin,
        "COMMIT": _receive_commit,
        "CONNECT": _receive_connect,
        "DISCONNECT": _receive_disconnect,
        "NACK": _receive_nack,
        "SEND": _receive_send,
        "STOMP": _receive_connect,
        "SUBSCRIBE": _receive_subscribe,
        "UNSUBSCRIBE": _receive_unsubscribe,
    }


_OPENING = ("CONNECT", "STOMP")
_DEAF = (State.DISCONNECTING, State.FAILED)


def _transaction(frame: Frame) -> str:
    name = frame.headers.get("transaction")
    if name is None:
        raise FrameError(
            "Missing transaction", f"{frame.command} must include a 'transaction' header\n"
        )
    return name
