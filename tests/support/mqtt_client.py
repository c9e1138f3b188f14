"""An MQTT client on the sans-IO connection of `adapters`: every packet by hand, over any transport.

    client = await SocketClient.open(port, connect("a"))
    await client.subscribe("t/#", qos=1)
    (publish,) = await client.publishes(1)

Nothing is acknowledged unless the test says so or `automatic` is set.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from adapters.connection import ConnectionFailed
from adapters.mqtt.client import ClientConnection
from adapters.mqtt.events import (
    ConnectAnswered,
    DeliveriesAcknowledged,
    DeliveriesCompleted,
    DeliveriesReceived,
    DeliveryRejected,
    DisconnectReceived,
    Event,
    PublishesReceived,
    ReleasesReceived,
    SubscribeAnswered,
    UnsubscribeAnswered,
)
from adapters.mqtt.packets import Connack, Connect, ProtocolVersion, Publish, Subscription, Will
from adapters.mqtt.properties import NO_PROPERTIES, Properties
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.session import SessionState
from adapters.mqtt.topic_filters import parse_topic_filter

WAIT_SECONDS = 60
E = TypeVar("E")


def connect(
    client_id: str = "",
    *,
    version: ProtocolVersion = ProtocolVersion.V5,
    clean: bool = True,
    will: Will | None = None,
    keep_alive: int = 0,
    user: str | None = None,
    password: bytes | None = None,
    bridge: bool = False,
    **properties: Any,
) -> Connect:
    """A CONNECT; keywords that are no others are properties."""
    carried = Properties(**properties) if properties else NO_PROPERTIES
    return Connect(version, client_id, clean, keep_alive, user, password, will, carried, bridge)


class MqttClient(ABC):
    """One connection. A subclass moves the bytes: `transmit` out, `received` in."""

    def __init__(self, packet: Connect, session: SessionState | None = None) -> None:
        self.session = session or SessionState()
        self.connection = ClientConnection(packet, 0.0, session=self.session)
        self.automatic = True
        self.connack: Connack | None = None
        self.inbox: list[Publish] = []
        self.events: list[Event] = []
        self.acknowledged: list[Any] = []
        self.rejected: list[DeliveryRejected] = []
        self.disconnected: int | None = None
        self.closed = False
        self._changed = asyncio.Event()

    @abstractmethod
    def transmit(self, data: bytes) -> None: ...

    def flush(self) -> None:
        data = b"".join(self.connection.data_to_send())
        if data and not self.closed:
            self.transmit(data)

    def received(self, data: bytes) -> None:
        self.connection.receive_data(data, 0.0)
        for event in self.connection.next_events():
            self._take(event)
        self.flush()
        self._changed.set()

    def lost(self) -> None:
        self.closed = True
        self._changed.set()

    def _take(self, event: Event) -> None:
        self.events.append(event)
        match event:
            case ConnectAnswered():
                self.connack = event.connack
            case PublishesReceived():
                self.inbox += event.publishes
                if self.automatic:
                    self.connection.acknowledge(event.publishes)
            case ReleasesReceived():
                if self.automatic:
                    self.connection.complete(event.packet_ids)
            case DeliveriesReceived():
                if self.automatic:
                    self.connection.release(event.packet_ids)
            case DeliveriesAcknowledged() | DeliveriesCompleted():
                self.acknowledged += event.tokens
            case DeliveryRejected():
                self.rejected.append(event)
            case DisconnectReceived():
                self.disconnected = event.disconnect.reason_code
            case ConnectionFailed():
                raise AssertionError(event.reason)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that came makes `condition` true."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                if self.closed and self.disconnected is None and self.connack is None:
                    raise ConnectionError("closed without a CONNACK")
                self._changed.clear()
                await self._changed.wait()

    async def event(self, kind: type[E]) -> E:
        """The next event of a kind; those before it are forgotten."""

        def found() -> bool:
            return any(isinstance(event, kind) for event in self.events)

        await self.until(found)
        while True:
            event = self.events.pop(0)
            if isinstance(event, kind):
                return event

    async def connected(self) -> Connack:
        self.flush()
        await self.until(lambda: self.connack is not None)
        assert self.connack is not None
        return self.connack

    async def subscribe(
        self, *filters: str, qos: int = 0, identifier: int | None = None, **options: Any
    ) -> list[int]:
        subscriptions = [Subscription(parse_topic_filter(each), qos, **options) for each in filters]
        properties = NO_PROPERTIES
        if identifier is not None:
            properties = Properties(subscription_identifiers=(identifier,))
        self.connection.subscribe(subscriptions, properties)
        self.flush()
        return (await self.event(SubscribeAnswered)).suback.reason_codes

    async def unsubscribe(self, *filters: str) -> list[int]:
        self.connection.unsubscribe(filters)
        self.flush()
        return (await self.event(UnsubscribeAnswered)).unsuback.reason_codes

    def send(
        self,
        topic: str,
        payload: bytes | str = b"x",
        *,
        qos: int = 0,
        retain: bool = False,
        token: Any = None,
        **properties: Any,
    ) -> None:
        """Write a publish; QoS 2 goes under an id of its own at once."""
        body = payload.encode() if isinstance(payload, str) else payload
        carried = Properties(**properties) if properties else NO_PROPERTIES
        publish = Publish(topic, body, qos, retain, False, 0, carried)
        if qos == 2:
            ids = self.connection.reserve([token])
            self.connection.send_reserved([publish], ids)
        else:
            self.connection.send([publish], [token])
        self.flush()

    async def publish(self, topic: str, payload: bytes | str = b"x", **options: Any) -> None:
        """Write a publish and wait until it is acknowledged."""
        token = object()
        self.send(topic, payload, token=token, **options)
        if options.get("qos"):
            await self.until(
                lambda: (
                    token in self.acknowledged or any(each.token is token for each in self.rejected)
                )
            )

    async def publishes(self, count: int) -> list[Publish]:
        """The first `count` publishes that came and were not taken yet."""
        await self.until(lambda: len(self.inbox) >= count)
        taken, self.inbox = self.inbox[:count], self.inbox[count:]
        return taken

    async def payloads(self, count: int) -> list[bytes]:
        return [publish.payload for publish in await self.publishes(count)]

    async def quiet(self) -> bool:
        """Whether nothing came that was not taken; asks with a PINGREQ's round trip."""
        await self.subscribe("quiet/" + str(id(self)))
        return not self.inbox

    async def leave(self, reason: ReasonCode = ReasonCode.SUCCESS, **properties: Any) -> None:
        """DISCONNECT, and wait for the end."""
        self.connection.disconnect(
            reason, Properties(**properties) if properties else NO_PROPERTIES
        )
        self.flush()
        await self.until(lambda: self.closed)


class SocketClient(MqttClient, asyncio.Protocol):
    """Over TCP on loopback."""

    def __init__(self, packet: Connect, session: SessionState | None = None) -> None:
        super().__init__(packet, session)
        self._socket: asyncio.Transport | None = None

    @classmethod
    async def open(
        cls, port: int, packet: Connect, session: SessionState | None = None
    ) -> SocketClient:
        client = cls(packet, session)
        await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
        await client.connected()
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._socket = transport

    def data_received(self, data: bytes) -> None:
        self.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost()

    def transmit(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.write(data)

    def cut(self) -> None:
        """Drop the connection without a word."""
        assert self._socket is not None
        self._socket.abort()


def texts(publishes: Sequence[Publish]) -> list[str]:
    return [f"{each.topic} {each.payload.decode()}" for each in publishes]
