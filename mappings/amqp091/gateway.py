"""The AMQP gateway: drives one connection and calls the ports.

Hot path: `collected.py` makes one unit of work of a chunk's publishes and one of its acks.
Everything else is a barrier, handled in wire order: `requests.py` has the methods on channels,
`settling.py` nacks and transactions. Errors of a channel close it and leave the others alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import ClassVar, Final

from adapters.amqp091 import events
from adapters.amqp091.errors import AmqpError, HardError, ReplyCode, not_allowed
from adapters.amqp091.events import (
    AcksReceived,
    Event,
    NacksReceived,
    PublishReceived,
    RecoverRequested,
)
from adapters.amqp091.limits import ConnectionLimits
from adapters.amqp091.methods import NUMBER_OF, SPECIFICATIONS
from adapters.amqp091.server import SERVER_CAPABILITIES, ServerConnection
from adapters.connection import ConnectionFailed
from bridge.auth import NOBODY
from bridge.auth.checks import require_open
from bridge.messaging.errors import (
    AccessDenied,
    AuthenticationFailed,
    MessagingError,
)
from bridge.messaging.limits import Limits
from bridge.messaging.ports import Queue
from mappings.amqp091.authentication import EXTERNAL, MECHANISMS, credentials_from
from mappings.amqp091.channel import GatewayChannel, Token
from mappings.amqp091.collected import Collected
from mappings.amqp091.consumer import AmqpConsumer
from mappings.amqp091.details import connection_details
from mappings.amqp091.errors import amqp_error_from
from mappings.amqp091.messages import PROTOCOL
from mappings.amqp091.publishing import Publishing
from mappings.amqp091.requests import Requests
from mappings.amqp091.settling import Settling
from mappings.amqp091.topology import Declarations
from mappings.amqp091.watch import Watch
from mappings.connection_gateway import ConnectionGateway
from mappings.connections import ConnectionDetails
from mappings.gateway import Barrier, ListenerSettings, Services, StopReason, Transport

VERSION = version("landbridge")
DIALECT = "3.13.7"
"""The RabbitMQ whose dialect is spoken."""
_OPEN_METHOD: Final = NUMBER_OF["Connection.Open"]
_GOODBYES: Final = {
    StopReason.BROKER_STOPS: "shutdown",
    StopReason.LISTENER_REMOVED: "the listener was removed",
    StopReason.CLOSED_BY_ADMINISTRATOR: "closed by an administrator",
}


class AmqpGateway(ConnectionGateway[Event]):
    """One AMQP client."""

    protocol: ClassVar[str] = PROTOCOL

    def __init__(self, services: Services, transport: Transport, options: ListenerSettings) -> None:
        self.name = services.message_ids.next()
        mechanisms = (*MECHANISMS, EXTERNAL) if transport.certificate_user else MECHANISMS
        self.connection = ServerConnection(
            connection_limits(services.limits),
            services.clock.monotonic(),
            name=self.name,
            server_properties=server_properties(),
            mechanisms=mechanisms,
        )
        super().__init__(services, transport, self.connection)
        self.namespace = options.namespace
        self._account = NOBODY
        self.channels: dict[int, GatewayChannel] = {}
        self.declarations = Declarations(services, self.name)
        self.publishing = Publishing(self)
        self.collected = Collected(self)
        self.settling = Settling(self)
        self._requests = Requests(self)
        self.watch = Watch(self)
        self._orphans: list[Queue] = []
        self._ended: list[AmqpConsumer] = []
        self._refused = False
        """The connection is closed for a mistake; no channel is opened any more."""
        self.deleting = False
        """The client is deleting a queue: its consumers hear of it behind the answer."""

    def details(self) -> ConnectionDetails:
        return connection_details(self)

    # Time

    def next_deadline(self) -> float | None:
        return self.watch.next_deadline(super().next_deadline())

    def handle_deadline(self, now: float) -> None:
        self.watch.handle_deadline(now)
        super().handle_deadline(now)

    def flow_changed(self) -> None:
        self.watch.flow_changed()

    # Events

    def handle_events(self, events: list[Event]) -> None:
        collected = self.collected
        index = 0
        while index < len(events):
            event = events[index]
            if type(event) is PublishReceived:
                reached = collected.take_run(events, index)
                if reached != index:
                    index = reached
                    continue
                barrier = collected.take_publish(event)
            elif type(event) is AcksReceived:
                barrier = collected.take_acks(event)
            else:
                barrier = collected.submit()
                if barrier is not None:
                    self.wait_for(barrier, events[index:])
                    return
                barrier = self._control(event)
            index += 1
            if barrier is not None:
                self.wait_for(barrier, events[index:])
                return
            if self.finishing:
                self.discard(events[index:])
                return
        barrier = collected.submit()
        if barrier is not None:
            self.wait_for(barrier, ())

    def _control(self, event: Event) -> Barrier | None:
        match event:
            case events.NacksReceived():
                return self.settling.nack(event)
            case events.AuthenticationRequested():
                return self._authenticate(event)
            case events.OpenRequested():
                self._open(event)
            case events.UpdateSecretRequested():
                self.connection.secret_updated()
            case events.ChannelOpenRequested() if not self._refused:
                self.channels[event.channel] = GatewayChannel(event.channel)
                self.connection.channel_opened(event.channel)
            case events.ChannelCloseRequested():
                self.drop_channel(event.channel, self.connection.take_unacked(event.channel))
                return self._close_channel(event.channel)
            case events.ChannelRefused():
                self.refuse_channel(event.channel, event.error)
            case events.CloseRequested():
                self.stop_deliveries()
                return self._close()
            case events.ConnectionRefused():
                self.refuse_connection(event.error)
            case ConnectionFailed():
                self.note_refusal(event.reason)
                self.stop_deliveries()
                self.finish(event.reason)
            case _:
                return self._requests.handle(event)
        return None

    # The connection class

    async def _authenticate(self, event: events.AuthenticationRequested) -> None:
        services, transport = self.services, self.transport
        now = services.clock.monotonic()
        properties = event.client_properties
        name = properties.get("connection_name") or properties.get("product")
        self.client = name if isinstance(name, str) else None
        try:
            login, password = credentials_from(event.mechanism, event.response)
            certificate_user = transport.certificate_user if event.mechanism == EXTERNAL else None
            user = await services.accounts.authenticate(
                login, password, loopback=transport.loopback, certificate_user=certificate_user
            )
        except HardError as error:
            self.refuse_connection(error)
        except AuthenticationFailed as error:
            services.counters.login_failed(PROTOCOL)
            self.note_refusal(str(error))
            self.connection.authentication_failed(
                f"Login was refused using authentication mechanism {event.mechanism}."
                " For details see the broker logfile.",
                now,
            )
            self._look_after_connection()
        else:
            self.user = user.name
            self._account = user
            self.connection.authenticated()
            # What the client has sent without waiting.
            self._backlog += self.connection.next_events()

    def _open(self, event: events.OpenRequested) -> None:
        services = self.services
        name = event.virtual_host
        if name == "/":
            name = self.namespace
        if name not in services.namespaces and name != self.namespace:
            self.refuse_connection(not_allowed(f"vhost {name} not found", _OPEN_METHOD))
            return
        try:
            require_open(self._account, name)
        except AccessDenied as error:
            self.refuse_connection(not_allowed(str(error), _OPEN_METHOD))
            return
        self.namespace = name
        self.declarations.start(name, self._account)
        self.publishing.start(name, self._account, self.client)
        self.connection.opened()
        self.watch.start()
        self.greeted = True
        services.log.connected(PROTOCOL, self.transport.peer, user=self.user, client=self.client)

    async def _close(self) -> None:
        await self.dispose()
        self.connection.closed(self.services.clock.monotonic())
        self._look_after_connection()

    def refuse_connection(self, error: AmqpError) -> None:
        """Close the connection with an error; its client answers before it goes."""
        self._refused = True
        if self.connection.refuse(error, self.services.clock.monotonic()):
            self.note_refusal(error.reply_text)
            # However the client goes then, this is why.
            self._reason = self._reason or error.reply_text
            self.stop_deliveries()
            self.services.spawn(self.dispose())
        self._look_after_connection()

    def _look_after_connection(self) -> None:
        """Handle what the adapter says of an end that we brought about ourselves."""
        for event in self.connection.next_events():
            if isinstance(event, ConnectionFailed):
                self.stop_deliveries()
                self.finish(event.reason)
        self.flush()
        self.transport.deadline_changed()

    # Channels

    async def _close_channel(self, number: int) -> None:
        await self.forget_orphans()
        self.connection.channel_closed(number)

    def refuse_channel(
        self, number: int, error: AmqpError | MessagingError, method: int = 0
    ) -> None:
        """Answer a mistake: close its channel, or for a hard error the connection."""
        refusal = amqp_error_from(error, method)
        if not refusal.method:
            refusal.method = method
        if isinstance(refusal, HardError):
            self.refuse_connection(refusal)
            return
        self._note_channel_error(number, refusal)
        self.drop_channel(number, self.connection.refuse_channel(number, refusal))
        if self._orphans:
            self.services.spawn(self.forget_orphans())
        self.flush()

    def _note_channel_error(self, number: int, error: AmqpError) -> None:
        """Tell operators, who search for the name of the queue or exchange."""
        specification = SPECIFICATIONS.get(error.method)
        self.services.counters.channel_error(PROTOCOL)
        self.services.log.channel_closed(
            PROTOCOL,
            self.transport.peer,
            user=self.user,
            client=self.client,
            channel=number,
            operation=specification.name.lower() if specification else None,
            reason=error.reply_text,
        )

    def drop_channel(self, number: int, tokens: Sequence[Token]) -> None:
        """Forget a channel: release what it held, cancel its consumers."""
        channel = self.channels.pop(number, None)
        held = [delivery for delivery, _ in tokens]
        if channel is not None:
            for consumer in channel.consumers.values():
                # All of them first, or one would be given what another gives back.
                consumer.cancel()
            for consumer in list(channel.consumers.values()):
                self.end_consumer(channel, consumer)
            held += channel.take_surplus()
        self.release(held)

    def _drop_all(self, tokens: Sequence[Token]) -> None:
        for channel in self.channels.values():
            for consumer in channel.consumers.values():
                consumer.cancel()
        for number in list(self.channels):
            self.drop_channel(number, ())
        self.release([delivery for delivery, _ in tokens])

    def end_consumer(self, channel: GatewayChannel, consumer: AmqpConsumer) -> None:
        """A consumer has gone; an auto-delete queue goes with its last one."""
        consumer.cancel()
        channel.consumers.pop(consumer.protocol_consumer.tag, None)
        self.release(channel.take_surplus(consumer))
        queue = consumer.queue
        if not queue.deleted and queue.settings.auto_delete and not queue.consumer_count:
            self._orphans.append(queue)
        if channel.reply_queue == queue.name.name:
            channel.reply_queue = None

    def consumer_ended(self, consumer: AmqpConsumer) -> None:
        """Its queue is gone: what the client still has of it settles nothing any more."""
        channel = consumer.channel
        channel.consumers.pop(consumer.protocol_consumer.tag, None)
        channel.take_surplus(consumer)
        self._ended.append(consumer)
        if not self.deleting:
            self.tell_ended()

    def tell_ended(self) -> None:
        """Send basic.cancel for the consumers that have ended."""
        ended, self._ended = self._ended, []
        for consumer in ended:
            self.connection.cancel_consumer(consumer.protocol_consumer)
        self.flush()

    async def forget_orphans(self) -> None:
        """Remove the auto-delete queues that have lost their last consumer."""
        while self._orphans:
            queue = self._orphans.pop()
            if not queue.consumer_count:
                await self.declarations.forget(queue)

    # What the other parts use

    def count_delivered(self, count: int, size_bytes: int) -> None:
        self.services.counters.delivered(PROTOCOL, count, size_bytes)

    # What the base class asks for

    def stop_deliveries(self) -> None:
        self._drop_all(self.connection.take_unacked())

    def pause_deliveries(self) -> None:
        for channel in self.channels.values():
            for consumer in channel.consumers.values():
                consumer.pause()

    def resume_deliveries(self) -> None:
        for channel in list(self.channels.values()):
            for consumer in list(channel.consumers.values()):
                consumer.resume()

    def say_goodbye(self, reason: StopReason) -> None:
        explanation = self.farewell
        if explanation is None:
            explanation = f"broker forced connection closure with reason '{_GOODBYES[reason]}'"
        self.connection.refuse(
            HardError(ReplyCode.CONNECTION_FORCED, explanation), self.services.clock.monotonic()
        )

    def discard(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, AcksReceived | NacksReceived):
                channel = self.connection.channels.get(event.channel)
                if channel is not None and channel.transactional:
                    # The adapter holds them until tx.commit.
                    continue
                self.release([delivery for delivery, _ in event.tokens])
            elif isinstance(event, RecoverRequested):
                self.release([delivery for delivery, _ in event.tokens])

    def refuse_all(self, error: Exception) -> None:
        self.connection.refuse(
            HardError(ReplyCode.INTERNAL_ERROR, "see the broker's log"),
            self.services.clock.monotonic(),
        )
        self.stop_deliveries()

    async def dispose(self) -> None:
        await self.forget_orphans()
        await self.declarations.forget_exclusive_queues()


def connection_limits(limits: Limits) -> ConnectionLimits:
    """The adapter's bounds, from those of the product."""
    return ConnectionLimits(
        message_size_max=limits.message_size_max,
        partial_bytes_max=max(ConnectionLimits().partial_bytes_max, limits.message_size_max),
    )


def server_properties() -> dict[str, object]:
    """What connection.start says of the server.

    Clients look at product and version to choose RabbitMQ's dialect, and RabbitMQ's it is.
    """
    return {
        "product": "RabbitMQ",
        "version": DIALECT,
        "platform": f"Landbridge {VERSION}",
        "information": "Landbridge speaks AMQP 0-9-1 in RabbitMQ's dialect",
        "cluster_name": "landbridge",
        "capabilities": SERVER_CAPABILITIES,
    }
