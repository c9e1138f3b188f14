"""The AMQP gateway: drives one connection and calls the ports.

Hot path: a chunk's publishes become one unit of work and its acks another; confirms leave in one
frame per channel and unit. Everything else is a barrier, handled in wire order: `requests.py` has
the methods on channels, `settling.py` nacks and transactions. Errors of a channel close it and
leave the others alone.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar, Final, Protocol

from adapters.amqp091 import events
from adapters.amqp091.errors import AmqpError, HardError, ReplyCode, SoftError
from adapters.amqp091.events import AcksReceived, Event, PublishReceived
from adapters.amqp091.limits import ConnectionLimits
from adapters.amqp091.server import SERVER_CAPABILITIES, ServerConnection
from adapters.connection import ConnectionFailed
from bridge.auth import User
from bridge.auth.checks import require_open
from bridge.messaging.errors import (
    AccessDenied,
    AuthenticationFailed,
    MessagingError,
    StoreUnavailable,
    TopicDoesNotExist,
)
from bridge.messaging.limits import Limits
from bridge.messaging.model import Delivery, Publish, QueueName, UnitOfWork
from bridge.messaging.ports import Queue
from bridge.routing.router import Routed
from mappings.amqp091.authentication import EXTERNAL, MECHANISMS, credentials_from
from mappings.amqp091.channel import GatewayChannel, Token
from mappings.amqp091.consumer import AmqpConsumer
from mappings.amqp091.details import connection_details
from mappings.amqp091.errors import amqp_error_from
from mappings.amqp091.messages import translation_of
from mappings.amqp091.publishing import PUBLISH_METHOD, Publishing, has_copies
from mappings.amqp091.requests import Requests
from mappings.amqp091.settling import Settling
from mappings.amqp091.topology import Declarations
from mappings.amqp091.watch import Watch
from mappings.connection_gateway import ConnectionGateway
from mappings.connections import ConnectionDetails
from mappings.gateway import Services, StopReason, Transport

PROTOCOL = "amqp"
VERSION = version("landbridge")
DIALECT = "3.13.7"
"""The RabbitMQ whose dialect is spoken."""
Barrier = Coroutine[Any, Any, None]
_GOODBYES: Final = {
    StopReason.BROKER_STOPS: "shutdown",
    StopReason.LISTENER_REMOVED: "the listener was removed",
}


class ListenerSettings(Protocol):
    """What a gateway asks of its listener."""

    @property
    def namespace(self) -> str:
        """What the virtual host `/` stands for."""
        ...


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
        self._account = User("")
        self.channels: dict[int, GatewayChannel] = {}
        self.declarations = Declarations(services, self.name)
        self.publishing = Publishing(self)
        self.settling = Settling(self)
        self._requests = Requests(self)
        self._watch = Watch(self)
        self._publishes: list[Publish] = []
        self._received: list[PublishReceived] = []
        self._acked: list[Token] = []
        self._orphans: list[Queue] = []
        self._ended: list[AmqpConsumer] = []
        self._refusal_noted = False
        self.deleting = False
        """The client is deleting a queue: its consumers hear of it behind the answer."""

    def details(self) -> ConnectionDetails:
        return connection_details(self)

    # Time

    def next_deadline(self) -> float | None:
        return self._watch.next_deadline(super().next_deadline())

    def handle_deadline(self, now: float) -> None:
        self._watch.handle_deadline(now)
        super().handle_deadline(now)

    def flow_changed(self) -> None:
        self._watch.flow_changed()

    # Events

    def handle_events(self, events: list[Event]) -> None:
        index = 0
        while index < len(events):
            event = events[index]
            kind = type(event)
            if kind is PublishReceived:
                reached = self.publishing.take_run(
                    events, index, self.channels, self._publishes, self._received
                )
                if reached != index:
                    index = reached
                    continue
                barrier = self._take_publish(event)  # type: ignore[arg-type]
            elif kind is AcksReceived:
                barrier = self._take_acks(event)  # type: ignore[arg-type]
            else:
                barrier = self._submit_all()
                if barrier is not None:
                    self.wait_for(barrier, events[index:])
                    return
                barrier = self._control(event)
            index += 1
            if barrier is not None:
                self.wait_for(barrier, events[index:])
                return
            if self.finishing:
                return
        barrier = self._submit_all()
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
            case events.ChannelOpenRequested():
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
                self._note_refusal(event.reason)
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
            self._note_refusal(str(error))
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

    def _open(self, event: events.OpenRequested) -> None:
        services = self.services
        name = event.virtual_host
        if name == "/":
            name = self.namespace
        if name not in services.namespaces and name != self.namespace:
            self.refuse_connection(HardError(ReplyCode.NOT_ALLOWED, f"vhost {name} not found"))
            return
        try:
            require_open(self._account, name)
        except AccessDenied as error:
            self.refuse_connection(HardError(ReplyCode.NOT_ALLOWED, str(error)))
            return
        self.namespace = name
        self.declarations.start(name, self._account)
        self.publishing.start(name, self._account, self.client)
        self.connection.opened()
        self._watch.start()
        self.greeted = True
        services.log.connected(PROTOCOL, self.transport.peer, user=self.user, client=self.client)

    async def _close(self) -> None:
        await self.dispose()
        self.connection.closed(self.services.clock.monotonic())
        self._look_after_connection()

    def refuse_connection(self, error: AmqpError) -> None:
        """Close the connection with an error; its client answers before it goes."""
        if self.connection.refuse(error, self.services.clock.monotonic()):
            self._note_refusal(error.reply_text)
            self.stop_deliveries()
            self.services.spawn(self.dispose())
        self._look_after_connection()

    def _look_after_connection(self) -> None:
        """Handle what the adapter says of an end that we brought about ourselves."""
        for event in self.connection.next_events():
            if isinstance(event, ConnectionFailed):
                self.stop_deliveries()
                self.finish(event.reason)
        self.write_out()
        self.transport.deadline_changed()

    # Channels

    async def _close_channel(self, number: int) -> None:
        await self._forget_orphans()
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
        self.drop_channel(number, self.connection.refuse_channel(number, refusal))
        if self._orphans:
            self.services.spawn(self._forget_orphans())
        self.write_out()

    def drop_channel(self, number: int, tokens: Sequence[Token]) -> None:
        """Forget a channel: release what it held, cancel its consumers."""
        channel = self.channels.pop(number, None)
        held = [delivery for delivery, _ in tokens]
        if channel is not None:
            for consumer in channel.consumers.values():
                # All of them first, or one would be given what another gives back.
                consumer.close()
            for consumer in list(channel.consumers.values()):
                self.end_consumer(channel, consumer)
            held += channel.take_surplus()
        self.release(held)

    def _drop_all(self, tokens: Sequence[Token]) -> None:
        for channel in self.channels.values():
            for consumer in channel.consumers.values():
                consumer.close()
        for number in list(self.channels):
            self.drop_channel(number, ())
        self.release([delivery for delivery, _ in tokens])

    def end_consumer(self, channel: GatewayChannel, consumer: AmqpConsumer) -> None:
        """A consumer has gone; an auto-delete queue goes with its last one."""
        consumer.close()
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
        self.write_out()

    async def forget_orphans(self) -> None:
        """Remove the auto-delete queues that have lost their last consumer."""
        await self._forget_orphans()

    async def _forget_orphans(self) -> None:
        while self._orphans:
            queue = self._orphans.pop()
            if not queue.consumer_count:
                await self.declarations.forget(queue)

    # Publishes

    def _take_publish(self, event: PublishReceived) -> Barrier | None:
        channel = self.channels.get(event.channel)
        if channel is None:
            return None
        translation = translation_of(event.properties)
        try:
            if translation.particular:
                translation = translation_of(self.publishing.checked(event, channel))
            publish = self.publishing.publish_from(event, translation)
            if channel.transaction is not None:
                self.settling.add_publish(channel.transaction, event, publish)
                return None
        except (AmqpError, AccessDenied) as error:
            barrier = self._submit_all()
            if barrier is None:
                self.refuse_channel(event.channel, error, PUBLISH_METHOD)
                return None
            return self._refuse_after(barrier, event.channel, error)
        self._publishes.append(publish)
        self._received.append(event)
        if translation.particular and has_copies(event):
            # Its copies are sent last in its unit, and later publishes are to stay behind them.
            return self._submit_all()
        return None

    async def _refuse_after(
        self, barrier: Barrier, number: int, error: AmqpError | MessagingError
    ) -> None:
        await barrier
        self.refuse_channel(number, error, PUBLISH_METHOD)

    def _submit_all(self) -> Barrier | None:
        """Submit what was collected; a coroutine where queues have to be made first."""
        if self._acked:
            self._submit_acks()
        return self._submit_publishes() if self._publishes else None

    def _submit_publishes(self) -> Barrier | None:
        publishes, received = self._publishes, self._received
        unit = UnitOfWork()
        routed = self.services.router.route(publishes, unit)
        if routed.missing:
            return self._make_queues(routed.missing)
        self._publishes, self._received = [], []
        size_bytes = 0
        for event in received:
            size_bytes += len(event.body)
        self.services.counters.published(PROTOCOL, len(received), size_bytes)
        self.add_copies(publishes, received, unit, routed)
        if routed.unrouted or routed.failed:
            self.return_unrouted(received, routed)
        answer = partial(self._publishes_answered, received, routed)
        if unit.sends:
            self.submit(unit, answer, messages=len(received), size_bytes=size_bytes, in_order=False)
        else:
            answer(unit)
        return None

    async def _make_queues(self, missing: Iterable[QueueName]) -> None:
        """Queues that routes send to are made on demand; then on with the publishes."""
        for name in missing:
            await self.services.topology.ensure_queue(name)
        if not self.finishing:
            barrier = self._submit_publishes()
            if barrier is not None:
                await barrier

    def add_copies(
        self,
        publishes: Sequence[Publish],
        received: Sequence[PublishReceived],
        unit: UnitOfWork,
        routed: Routed,
    ) -> None:
        """CC and BCC; rare, so that it is done behind the routing of the whole chunk."""
        for index, event in enumerate(received):
            if event.properties.headers and has_copies(event):
                before = len(unit.sends)
                self.publishing.add_copies(event, publishes[index].message, unit)
                if len(unit.sends) > before and index in routed.unrouted:
                    routed.unrouted.remove(index)

    def return_unrouted(self, received: Sequence[PublishReceived], routed: Routed) -> None:
        """Mandatory messages that reached no queue go back; an exchange that is gone is 404."""
        for index in routed.unrouted:
            event = received[index]
            if event.mandatory:
                self.connection.return_message(event, ReplyCode.NO_ROUTE)
        for index, error in routed.failed.items():
            event = received[index]
            if isinstance(error, TopicDoesNotExist):
                explanation = f"no exchange '{event.exchange}' in vhost '{self.namespace}'"
                refusal: AmqpError | MessagingError = SoftError(ReplyCode.NOT_FOUND, explanation)
            else:
                refusal = error
            self.refuse_channel(event.channel, refusal, PUBLISH_METHOD)
        self.write_out()

    def _publishes_answered(
        self, received: Sequence[PublishReceived], routed: Routed, unit: UnitOfWork
    ) -> list[bytes]:
        """Confirm what the store has, by channel; refuse what it has not."""
        failed: set[int] = set()
        if unit.error is not None:
            failed = set(range(len(received)))
        elif unit.failures:
            # The sends behind those that were routed are copies of the last publish.
            last = len(received) - 1
            failed = {min(routed.publish_of(index), last) for index in unit.failures}
        confirmed: dict[int, list[int]] = {}
        refused: dict[int, list[int]] = {}
        for index, event in enumerate(received):
            if event.sequence:
                verdict = refused if index in failed else confirmed
                verdict.setdefault(event.channel, []).append(event.sequence)
        for number, sequences in confirmed.items():
            self.connection.confirm(number, sequences)
        for number, sequences in refused.items():
            self.connection.confirm(number, sequences, accepted=False)
        if unit.error is not None and any(not event.sequence for event in received):
            # Nobody waits for a confirm there, and silence would be a lie.
            self.refuse_connection(
                HardError(ReplyCode.INTERNAL_ERROR, str(unit.error), PUBLISH_METHOD)
            )
        elif isinstance(unit.error, StoreUnavailable):
            self._watch.refused(str(unit.error))
        self.write_out()
        return []

    # Acknowledgements

    def _take_acks(self, event: AcksReceived) -> Barrier | None:
        channel = self.channels.get(event.channel)
        if channel is not None and channel.transaction is not None:
            try:
                self.settling.add_acks(channel, event.tokens)
            except AmqpError as error:
                self.refuse_channel(event.channel, error)
        else:
            self._acked += event.tokens
            if channel is not None:
                channel.settled(event.tokens)
        return None

    def _submit_acks(self) -> None:
        """Settle what nobody waits for, and give the consumers their credit back."""
        tokens, self._acked = self._acked, []
        unit = UnitOfWork()
        unit.deletes = [delivery for delivery, _ in tokens]
        self.services.counters.settled(PROTOCOL, len(tokens))
        self.submit(unit, partial(self.settling.settled), in_order=False)
        give_credit(tokens)

    # What the other parts use

    def write_out(self) -> None:
        """Write what the connection has encoded."""
        if not self.lost:
            data = self.connection.data_to_send()
            if data:
                self.transport.write(data)

    def count_delivered(self, count: int, size_bytes: int) -> None:
        self.services.counters.delivered(PROTOCOL, count, size_bytes)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give back what the client did not work on; never counted as returned."""
        if deliveries:
            unit = UnitOfWork()
            unit.releases += deliveries
            self.services.store.submit(unit)

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
        self.connection.refuse(
            HardError(
                ReplyCode.CONNECTION_FORCED,
                f"broker forced connection closure with reason '{_GOODBYES[reason]}'",
            ),
            self.services.clock.monotonic(),
        )

    def refuse_all(self, error: Exception) -> None:
        self.connection.refuse(
            HardError(ReplyCode.INTERNAL_ERROR, "see the broker's log"),
            self.services.clock.monotonic(),
        )
        self.stop_deliveries()

    async def dispose(self) -> None:
        await self._forget_orphans()
        await self.declarations.forget_exclusive_queues()

    def _note_refusal(self, reason: str) -> None:
        if not (self.greeted or self._refusal_noted):
            self._refusal_noted = True
            self.services.log.refused(
                PROTOCOL, self.transport.peer, user=self.user, client=self.client, reason=reason
            )


def give_credit(tokens: Sequence[Token]) -> None:
    """Give the consumers of settled deliveries their credit back, in as few calls as possible."""
    last: AmqpConsumer | None = None
    count = 0
    for _, consumer in tokens:
        if consumer is last:
            count += 1
            continue
        if last is not None:
            last.add_credit(count)
        last, count = consumer, 1
    if last is not None:
        last.add_credit(count)


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
