"""The STOMP gateway: drives one connection and calls the ports.

A chunk's SENDs become one unit of work (`publishing.py`) and its ACKs another (`settling.py`). What
has to wait for the store (CONNECT, SUBSCRIBE, a queue to be made) runs as a barrier. RECEIPTs leave
in the order of their frames, once the store has what they stand for. Whatever fails is an ERROR
with the frame's receipt-id, and the end of the connection: `refuse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import ClassVar, Final, assert_never

from adapters.connection import ConnectionFailed
from adapters.stomp.codec import DecoderLimits
from adapters.stomp.events import (
    AckReceived,
    ConnectRequested,
    DisconnectRequested,
    Event,
    NackReceived,
    SendReceived,
    SubscribeRequested,
    TransactionAborted,
    TransactionBegun,
    TransactionCommitted,
    UnsubscribeReceived,
)
from adapters.stomp.frames import FrameError
from adapters.stomp.server import ServerConnection, ServerOptions
from adapters.stomp.subscription import AckMode
from adapters.stomp.transactions import TransactionLimits
from bridge.auth import NOBODY
from bridge.auth.checks import require_open
from bridge.messaging.errors import AccessDenied, AuthenticationFailed, MessagingError
from bridge.messaging.limits import Limits
from mappings.connection_gateway import ConnectionGateway
from mappings.connections import ChannelDetails, ConnectionDetails, ConsumerDetails
from mappings.gateway import Barrier, ListenerSettings, Services, StopReason, Transport
from mappings.stomp.errors import frame_error_from
from mappings.stomp.messages import PROTOCOL
from mappings.stomp.publishing import Publishing
from mappings.stomp.settling import Settling
from mappings.stomp.subscriptions import Subscriptions
from mappings.stomp.transactions import Transactions

SERVER = f"Landbridge/{version('landbridge')}"
_GOODBYES: Final = {
    StopReason.BROKER_STOPS: "the broker is shutting down",
    StopReason.LISTENER_REMOVED: "the listener was removed",
    StopReason.CLOSED_BY_ADMINISTRATOR: "closed by an administrator",
}


class StompGateway(ConnectionGateway[Event]):
    """One STOMP client."""

    protocol: ClassVar[str] = PROTOCOL

    def __init__(self, services: Services, transport: Transport, options: ListenerSettings) -> None:
        self.connection = ServerConnection(
            server_options(services.limits), services.clock.monotonic()
        )
        super().__init__(services, transport, self.connection)
        self.namespace = options.namespace
        self.session = ""
        self.rights = NOBODY
        """Who the client is, once it was let in."""
        self.subscriptions = Subscriptions(self)
        self.publishing = Publishing(self)
        self.settling = Settling(self)
        self._transactions = Transactions(self)

    # -- events

    def handle_events(self, events: list[Event]) -> None:
        publishing = self.publishing
        publishing.begin_chunk()
        now_ms = self.services.clock.epoch_ms()
        for index, event in enumerate(events):
            if type(event) is SendReceived:
                try:
                    publish = publishing.publish_from_send(event, now_ms)
                except (FrameError, MessagingError) as error:
                    self._refuse_send(event, error, events[index:])
                    return
                if publish is not None:
                    publishing.publishes.append(publish)
                    publishing.sends.append(event)
                    continue
                barrier: Barrier | None = self._make_temporary(event)
                rest = events[index:]
            elif type(event) is AckReceived and event.receipt is None:
                self.settling.collect(event)
                continue
            elif (barrier := self._submit_collected()) is not None:
                rest = events[index:]
            else:
                barrier = self._control(event)
                rest = events[index + 1 :]
            if barrier is not None:
                self.wait_for(barrier, rest)
                return
            if self.finishing:
                self.discard(rest)
                return
        if (barrier := self._submit_collected()) is not None:
            self.wait_for(barrier, ())

    def _control(self, event: Event) -> Barrier | None:
        """Handle what is no plain SEND or ACK; a coroutine where it has to wait."""
        match event:
            case AckReceived():
                self.settling.acknowledge(event)
            case NackReceived():
                return self.settling.reject(event)
            case TransactionCommitted():
                return self._transactions.commit(event)
            case TransactionBegun() | TransactionAborted():
                self.answer_receipt(event.receipt)
            case SubscribeRequested():
                return self.subscriptions.open(event)
            case UnsubscribeReceived():
                return self.subscriptions.close(event)
            case ConnectRequested():
                return self._connect(event)
            case DisconnectRequested():
                self.stop_deliveries()
                if self.subscriptions.leaves_queues:
                    return self._disconnect(event)
                self._say_farewell(event)
            case ConnectionFailed():
                self.note_refusal(event.reason)
                self.stop_deliveries()
                self.finish(event.reason)
            case SendReceived():
                raise AssertionError(event)
            case _:
                assert_never(event)
        return None

    def _submit_collected(self) -> Barrier | None:
        """Submit the SENDs and ACKs so far; a coroutine where queues have to be made first."""
        self.settling.submit()
        return self.publishing.submit()

    def _refuse_send(
        self, event: SendReceived, error: FrameError | MessagingError, rest: Sequence[Event]
    ) -> None:
        """What came before goes its way first; where that has to wait, this SEND is met again."""
        barrier = self._submit_collected()
        if barrier is None:
            self.refuse(error, event.receipt)
            self.discard(rest)
        else:
            self.wait_for(barrier, rest)

    async def _make_temporary(self, event: SendReceived) -> None:
        """A SEND to, or with replies to, a temporary queue that does not exist yet."""
        barrier = self._submit_collected()
        if barrier is not None:
            await barrier
        await self.subscriptions.make_temporary(event)

    # -- CONNECT

    async def _connect(self, event: ConnectRequested) -> None:
        services, transport = self.services, self.transport
        self.client = event.headers.get("client-id")
        password = None if event.passcode is None else event.passcode.encode()
        try:
            user = await services.accounts.authenticate(
                event.login,
                password,
                loopback=transport.loopback,
                certificate_user=transport.certificate_user,
            )
        except AuthenticationFailed as error:
            services.counters.login_failed(PROTOCOL)
            self.user = event.login
            self.note_refusal(str(error))
            name = event.login or transport.certificate_user or ""
            self.connection.refuse("Bad CONNECT", f"Access refused for user '{name}'\n")
            self.finish(str(error))
            return
        if self.lost:
            return
        self.user = user.name
        if event.host in services.namespaces:
            self.namespace = event.host
        try:
            require_open(user, self.namespace)
        except AccessDenied as error:
            self.note_refusal(str(error))
            denied = f"Virtual host '{self.namespace}' access denied\n"
            self.connection.refuse("Bad CONNECT", denied)
            self.finish(str(error))
            return
        self.rights = user
        self.publishing.start(self.namespace, user, self.client)
        self.session = f"session-{services.message_ids.next()}"
        shown = user.name if user.verified else None
        self.write([self.connection.accept(self.session, shown, services.clock.monotonic())])
        self.greeted = True
        services.log.connected(PROTOCOL, transport.peer, user=self.user, client=self.client)

    # -- what the other parts use

    def refuse(
        self,
        error: FrameError | MessagingError,
        receipt: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """End the connection with an ERROR, behind the answers that are still to come."""
        if self.finishing:
            return
        frame_error = frame_error_from(error)
        self.note_refusal(frame_error.detail)
        self.connection.refuse(
            frame_error.title, frame_error.detail, frame_error.receipt or receipt, headers
        )
        self.stop_deliveries()
        reason = frame_error.detail.strip()
        # A sentence of RabbitMQ's begins with its title.
        said = reason.startswith(frame_error.title.upper())
        self.finish(reason if said else f"{frame_error.title}: {reason}")

    def receipts(self, receipts: Iterable[str | None]) -> list[bytes]:
        """RECEIPT frames for those frames that asked for one."""
        wanted = [receipt for receipt in receipts if receipt is not None]
        if not wanted:
            return []
        self.connection.sent()
        return [self.connection.receipts(wanted)]

    def answer_receipt(self, receipt: str | None) -> None:
        """Write a RECEIPT for which nothing has to be stored (any more)."""
        self.answer_in_order(self.receipts([receipt]))

    def write_messages(self, frames: list[bytes], size_bytes: int) -> None:
        self.transport.write(frames)
        self.connection.sent()
        self.services.counters.delivered(PROTOCOL, len(frames), size_bytes)

    # -- DISCONNECT

    async def _disconnect(self, event: DisconnectRequested) -> None:
        """The queues that go with the connection are gone when the client hears of it."""
        await self.dispose()
        self._say_farewell(event)

    def _say_farewell(self, event: DisconnectRequested) -> None:
        self.connection.say_goodbye(event.receipt)
        self.finish("disconnected by the client")

    # -- what the base class asks for

    def details(self) -> ConnectionDetails:
        unlimited = self.services.limits.prefetch_max
        consumers = [
            ConsumerDetails(
                subscription.id,
                consumer.source.queue.name,
                consumer.prefetch if consumer.prefetch < unlimited else 0,
                subscription.ack_mode is not AckMode.AUTO,
            )
            for subscription, consumer in self.subscriptions.consumers.items()
        ]
        return ConnectionDetails(
            version=f"STOMP {self.connection.version.value}",
            channels=[ChannelDetails(1, consumers)],
        )

    def stop_deliveries(self) -> None:
        self.release(self.subscriptions.stop())

    def pause_deliveries(self) -> None:
        for consumer in self.subscriptions.consumers.values():
            consumer.pause()

    def resume_deliveries(self) -> None:
        for consumer in list(self.subscriptions.consumers.values()):
            consumer.resume()

    def say_goodbye(self, reason: StopReason) -> None:
        self.connection.refuse("Connection closed", f"{self.farewell or _GOODBYES[reason]}\n")

    def discard(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case AckReceived() | NackReceived() | UnsubscribeReceived():
                    self.release(event.deliveries)
                case TransactionCommitted():
                    self.discard(event.actions)
                case _:
                    pass

    def refuse_all(self, error: Exception) -> None:
        self.connection.refuse("internal_error", "INTERNAL_ERROR - see the broker's log\n")
        self.stop_deliveries()

    async def dispose(self) -> None:
        await self.subscriptions.dispose()


@lru_cache(maxsize=16)
def server_options(limits: Limits) -> ServerOptions:
    """The adapter's bounds, from those of the product."""
    return ServerOptions(
        server=SERVER,
        subscriptions_max=limits.consumers_per_connection_max,
        decoder=DecoderLimits(body_bytes_max=limits.message_size_max),
        transactions=TransactionLimits(
            actions_max=limits.transaction_messages_max, bytes_max=limits.transaction_bytes_max
        ),
    )
