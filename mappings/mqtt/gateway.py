"""The MQTT gateway: drives one connection and calls the ports.

Hot path: a chunk's publishes become one unit of work (`publishing.py`), or go straight to
connections (`fanout.py`, `live.py`); what a queue delivers becomes one write (`outbound.py`). What
has to wait for the store (CONNECT, SUBSCRIBE, UNSUBSCRIBE, a queue to be made) runs as a barrier.
The state of a session is kept by `sessions.py`, which all connections share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final, assert_never

from adapters.connection import ConnectionFailed
from adapters.mqtt.events import (
    ConnectAnswered,
    ConnectRequested,
    DeliveriesAcknowledged,
    DeliveriesCompleted,
    DeliveriesReceived,
    DeliveryRejected,
    DisconnectReceived,
    Event,
    PublishesReceived,
    ReleasesReceived,
    SubscribeAnswered,
    SubscribeRequested,
    Token,
    UnsubscribeAnswered,
    UnsubscribeRequested,
)
from adapters.mqtt.limits import ConnectionLimits
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.server import ServerConnection
from bridge.auth import User
from bridge.messaging.commits import committed
from bridge.messaging.errors import MessagingError
from bridge.messaging.limits import Limits
from bridge.messaging.model import StateChange, UnitOfWork
from mappings.connection_gateway import ConnectionGateway
from mappings.connections import ChannelDetails, ConnectionDetails, ConsumerDetails
from mappings.gateway import Barrier, ListenerSettings, Services, StopReason, Transport
from mappings.mqtt.connecting import connect
from mappings.mqtt.errors import filter_code_from
from mappings.mqtt.messages import PROTOCOL
from mappings.mqtt.outbound import Outbound
from mappings.mqtt.permissions import may_subscribe
from mappings.mqtt.publishing import Publishing
from mappings.mqtt.session import NO_SESSION, Session
from mappings.mqtt.sessions import sessions_of
from mappings.mqtt.subscribing import subscribe, unsubscribe

_PACKET_OVERHEAD_BYTES = 256 * 1024
"""What a PUBLISH may have around its payload: topic and properties."""


_GOODBYES: Final = {
    StopReason.BROKER_STOPS: (ReasonCode.SERVER_SHUTTING_DOWN, "the broker is shutting down"),
    StopReason.LISTENER_REMOVED: (ReasonCode.ADMINISTRATIVE_ACTION, "the listener was removed"),
    StopReason.CLOSED_BY_ADMINISTRATOR: (
        ReasonCode.ADMINISTRATIVE_ACTION,
        "closed by an administrator",
    ),
}


class MqttGateway(ConnectionGateway[Event]):
    """One MQTT client."""

    __slots__ = (
        "_figures",
        "_in_session",
        "_publishing",
        "_will_stands",
        "account",
        "connection",
        "counts",
        "is_bridge",
        "outbound",
        "session",
        "sessions",
        "version_5",
    )

    protocol: ClassVar[str] = PROTOCOL

    def __init__(self, services: Services, transport: Transport, options: ListenerSettings) -> None:
        self.connection = ServerConnection(
            connection_limits(services.limits), services.clock.monotonic()
        )
        super().__init__(services, transport, self.connection)
        self.namespace = options.namespace
        self.sessions = sessions_of(services)
        self._figures = self.sessions.figures
        self.counts = self._figures.counts
        self.version_5 = False
        self.is_bridge = False
        self.account: User | None = None
        self.session = NO_SESSION
        self.outbound = Outbound(self)
        self._publishing = Publishing(self)
        self._in_session = False
        self._will_stands = True

    def details(self) -> ConnectionDetails:
        queue = self.session.queue
        consumers = [] if queue is None else [ConsumerDetails(self.client or "", queue.name, 0)]
        return ConnectionDetails(
            version="MQTT 5-0" if self.version_5 else "MQTT 3-1-1",
            client_properties={"client_id": self.client or ""},
            channels=[ChannelDetails(1, consumers)],
        )

    # -- events

    def data_received(self, data: bytes) -> None:
        self._figures.bytes_received += len(data)
        if self._waiting or self._finishing or self._stopping:
            event = None
        else:
            event = self.connection.take_one(data, self._monotonic())
        if event is None:
            super().data_received(data)
            return
        # Nearly all that comes from a client that waits for each answer.
        try:
            if isinstance(event, DeliveriesAcknowledged):
                self.settle(event.tokens)
            elif not self._publishing.take_one(event.publishes):
                self.handle_events([event])
                self._flush_unless_held()
        except Exception as error:  # noqa: BLE001 - as in the base class
            self._fail(error)

    def handle_events(self, events: list[Event]) -> None:
        publishing = self._publishing
        for index, event in enumerate(events):
            if type(event) is PublishesReceived:
                if not publishing.take(event.publishes):
                    barrier = publishing.submit()
                    if barrier is not None:
                        self.services.spawn(barrier)
                    self.discard(events[index + 1 :])
                    return
                continue
            if type(event) is DeliveriesAcknowledged:
                self.settle(event.tokens)
                continue
            barrier = publishing.submit()
            if barrier is not None:
                self.wait_for(barrier, events[index:])
                return
            barrier = self._control(event)
            if barrier is not None:
                self.wait_for(barrier, events[index + 1 :])
                return
            if self.finishing:
                self.discard(events[index + 1 :])
                return
        barrier = publishing.submit()
        if barrier is not None:
            self.wait_for(barrier, ())

    def _control(self, event: Event) -> Barrier | None:
        match event:
            case ReleasesReceived():
                self._complete(event.packet_ids)
            case DeliveriesReceived():
                self.outbound.received(event.packet_ids, event.tokens)
            case DeliveriesCompleted():
                self.outbound.completed(event.packet_ids, event.tokens)
            case DeliveryRejected():
                self.settle([event.token], [event.packet_id] if event.qos == 2 else [])
            case SubscribeRequested():
                return subscribe(self, event.subscribe)
            case UnsubscribeRequested():
                return unsubscribe(self, event.unsubscribe)
            case ConnectRequested():
                return connect(self, event.connect)
            case DisconnectReceived():
                self._disconnected(event)
            case ConnectionFailed():
                self.note_refusal(event.reason)
                self.stop_deliveries()
                self.finish(event.reason)
            case PublishesReceived() | DeliveriesAcknowledged():
                raise AssertionError(event)
            case ConnectAnswered() | SubscribeAnswered() | UnsubscribeAnswered():
                raise AssertionError(event)
            case _:
                assert_never(event)
        return None

    def _disconnected(self, event: DisconnectReceived) -> None:
        packet = event.disconnect
        # MQTT 5, 3.14.4 [MQTT-3.14.4-3]: only a normal one deletes the will.
        self._will_stands = packet.reason_code != ReasonCode.SUCCESS
        expiry = packet.properties.session_expiry_interval
        if expiry is not None:
            longest = self.services.limits.mqtt_session_expiry_seconds_max
            self.session.expiry_seconds = min(expiry, longest)
        self.stop_deliveries()
        self.finish("disconnected by the client")

    def _complete(self, packet_ids: list[int]) -> None:
        """PUBRELs: the ids are free, which is stored before it is answered."""
        session = self.session
        if not session.outlives_process:
            self.connection.complete(packet_ids)
            self.outbound.let_go(packet_ids)
            return
        unit = UnitOfWork(answered=True)
        unit.state += session.received(packet_ids, free=True)

        def completed(unit: UnitOfWork) -> list[bytes]:
            if unit.error is not None:
                self.fail_store(unit.error)
                return []
            self.flush()
            self.connection.complete(packet_ids)
            # Behind PUBCOMP, which is written when this returns.
            asyncio.get_running_loop().call_soon(self.outbound.let_go, packet_ids)
            return self.connection.data_to_send()

        self.submit(unit, completed)

    # -- settling

    def settle(self, tokens: list[Token], packet_ids: Sequence[int] = ()) -> None:
        """The client has these, or refuses them: they leave their queues. Nobody waits for it.

        Tokens are deliveries, or None for what an earlier connection had sent.
        """
        if None in tokens:
            tokens = [each for each in tokens if each is not None]
        unit = UnitOfWork()
        unit.deletes = tokens
        if packet_ids and self.session.outlives_process:
            unit.state += self.session.completed(packet_ids)
        self.services.store.submit(unit)
        self.counts.settled += len(tokens)
        self.outbound.done(tokens)

    # -- what the other parts use

    def count_sent(self, count: int, size_bytes: int) -> None:
        counts = self.counts
        counts.delivered += count
        counts.delivered_bytes += size_bytes

    async def committed(self, unit: UnitOfWork) -> None:
        """Submit a unit and wait for the store. Raises its error."""
        unit.answered = True
        await committed(self.services.store, unit)

    async def stored(self, *changes: StateChange) -> None:
        """Store state changes and wait for it."""
        unit = UnitOfWork()
        unit.state += changes
        await self.committed(unit)

    def may_subscribe(self, text: str) -> bool:
        return may_subscribe(self.account, self.namespace, text, self.client)

    def filter_code(self, error: MessagingError) -> int:
        return filter_code_from(error)

    def entered(self, session: Session) -> None:
        """The connection has a session, which waits for it to end."""
        self.session = session
        self._in_session = True

    def greet(self, events: list[Event]) -> None:
        """CONNACK has said yes; `events` came with CONNECT."""
        self._publishing.start()
        self.greeted = True
        self._backlog += events
        self._figures.connections += 1
        self.services.log.connected(
            PROTOCOL, self.transport.peer, user=self.user, client=self.client
        )

    def log_refused(self, reason: str) -> None:
        """Something was refused for want of a permission, and the connection goes on."""
        self.services.log.request_refused(
            PROTOCOL, self.transport.peer, user=self.user, reason=reason
        )

    def taken_over(self) -> None:
        """Another connection has come for the session (MQTT 5, 3.1.4 [MQTT-3.1.4-3])."""
        self.end(ReasonCode.SESSION_TAKEN_OVER, "the session was taken over")

    def end(self, reason: ReasonCode, text: str) -> None:
        """End the connection from our side, behind the answers that are still to come."""
        self.stop_deliveries()
        if not self.finishing:
            self.connection.disconnect(reason, reason_string=text)
            self.finish(text)
        self.leave_session()

    def fail_store(self, error: MessagingError) -> None:
        """What the client waits for could not be stored: it is to come again."""
        self.end(ReasonCode.SERVER_BUSY, str(error))

    def leave_session(self) -> None:
        if self._in_session:
            self._in_session = False
            self.sessions.left(self.session, will=self._will_stands)

    # -- what the base class asks for

    def connection_lost(self, reason: str) -> None:
        super().connection_lost(reason)
        if self.finishing:
            self.leave_session()

    def stop_deliveries(self) -> None:
        self.outbound.stop()

    def pause_deliveries(self) -> None:
        self.outbound.pause()

    def resume_deliveries(self) -> None:
        self.outbound.resume()

    def say_goodbye(self, reason: StopReason) -> None:
        code, text = _GOODBYES[reason]
        self.connection.disconnect(code, reason_string=self.farewell or text)

    def discard(self, events: Sequence[Event]) -> None:
        """What the client has acknowledged it has, whatever became of the connection since."""
        for event in events:
            match event:
                case DeliveriesAcknowledged():
                    self.settle(event.tokens)
                case DeliveriesReceived() | DeliveriesCompleted() | DeliveryRejected():
                    self._control(event)
                case _:
                    pass

    def refuse_all(self, error: Exception) -> None:
        if self.connection.accepted:
            self.connection.disconnect(ReasonCode.UNSPECIFIED_ERROR)
        elif not self.connection.closed:
            self.connection.refuse(ReasonCode.UNSPECIFIED_ERROR)
        self.stop_deliveries()

    async def dispose(self) -> None:
        self.leave_session()


def connection_limits(limits: Limits) -> ConnectionLimits:
    """The adapter's bounds, from those of the product."""
    return ConnectionLimits(
        packet_size_max=limits.message_size_max + _PACKET_OVERHEAD_BYTES,
        receive_maximum=limits.mqtt_in_flight_max,
        send_maximum=limits.mqtt_in_flight_max,
    )
