"""AMQP clients of a broker without sockets: gateways on a store in memory, driven by methods."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from adapters.amqp091.client import ClientConnection, MethodReceived
from adapters.amqp091.limits import ConnectionLimits
from mappings.amqp091.gateway import AmqpGateway
from tests.support.broker import MemoryBroker as Broker
from tests.support.broker import WireTap
from tests.support.gateways import Listener
from tests.support.routing import FixedClock

CAPABILITIES = {
    "authentication_failure_close": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
}


class AmqpClient:
    """One connection: `call` sends a method, lets everything settle and returns what came back."""

    def __init__(
        self, broker: Broker, *, loopback: bool = True, certificate: str | None = None
    ) -> None:
        self.wire = WireTap()
        self.wire.certificate_user = certificate
        self.wire.loopback = loopback
        self.gateway = AmqpGateway(broker.services, self.wire, Listener())
        self.protocol = ClientConnection(ConnectionLimits(), 0.0)
        self.channel = 1

    async def open(
        self,
        *,
        user: str = "guest",
        password: str = "guest",
        virtual_host: str = "/",
        mechanism: str = "PLAIN",
        response: bytes | None = None,
    ) -> list[MethodReceived]:
        """Shake hands; returns the answer to the last step that was reached."""
        await self.read()
        answer = await self.call(
            "Connection.StartOk",
            channel=0,
            client_properties={"product": "test", "capabilities": CAPABILITIES},
            mechanism=mechanism,
            response=f"\0{user}\0{password}".encode() if response is None else response,
            locale="en_US",
        )
        if names(answer) != ["Connection.Tune"]:
            return answer
        self.protocol.tuned(2047, 131_072, 0, 0.0)
        return await self.call("Connection.Open", channel=0, virtual_host=virtual_host)

    async def start(self) -> AmqpClient:
        assert names(await self.open()) == ["Connection.OpenOk"]
        assert names(await self.call("Channel.Open")) == ["Channel.OpenOk"]
        return self

    async def call(
        self, name: str, *, channel: int | None = None, **fields: Any
    ) -> list[MethodReceived]:
        self.send(name, channel=channel, **fields)
        return await self.read()

    async def one(self, name: str, **fields: Any) -> MethodReceived:
        """The only answer to a method."""
        (answer,) = await self.call(name, **fields)
        return answer

    async def error(self, name: str, **fields: Any) -> str:
        """The text with which a method closes a channel of its own."""
        await self.call("Channel.Open", channel=9)
        answer = (await self.call(name, channel=9, **fields))[-1]
        assert answer.name == "Channel.Close", answer
        await self.call("Channel.CloseOk", channel=9)
        return str(answer.fields["reply_text"])

    def send(self, name: str, *, channel: int | None = None, **fields: Any) -> None:
        self.protocol.send(self.channel if channel is None else channel, name, **fields)

    def publish(self, key: str, *bodies: bytes, exchange: str = "", **options: Any) -> None:
        for body in bodies:
            self.protocol.publish(self.channel, body, exchange=exchange, routing_key=key, **options)

    async def read(self) -> list[MethodReceived]:
        data = b"".join(self.protocol.data_to_send())
        if data:
            self.gateway.data_received(data)
        for _ in range(40):
            await asyncio.sleep(0)
        written, self.wire.written = self.wire.written, []
        self.protocol.receive_data(b"".join(written), 0.0)
        return [event for event in self.protocol.next_events() if hasattr(event, "name")]

    async def declare(self, queue: str = "", **options: Any) -> str:
        answer = await self.one("Queue.Declare", queue=queue, **{"durable": True, **options})
        assert answer.name == "Queue.DeclareOk", answer
        return str(answer.fields["queue"])

    async def wait(self, seconds: float) -> list[MethodReceived]:
        """Let time pass, as the network driver would."""
        clock = self.gateway.services.clock
        assert isinstance(clock, FixedClock)
        end = clock.now_ms + round(seconds * 1000)
        while (deadline := self.gateway.next_deadline()) is not None:
            due = math.ceil(deadline * 1000)
            if due > end:
                break
            clock.now_ms = max(clock.now_ms, due)
            self.gateway.handle_deadline(clock.monotonic())
        clock.now_ms = end
        return await self.read()

    async def lose(self) -> None:
        self.gateway.connection_lost("the cable was cut")
        for _ in range(40):
            await asyncio.sleep(0)


async def connect(broker: Broker) -> AmqpClient:
    return await AmqpClient(broker).start()


def names(methods: list[MethodReceived]) -> list[str]:
    return [method.name for method in methods]


def bodies(methods: list[MethodReceived]) -> list[bytes]:
    return [method.body for method in methods if method.name == "Basic.Deliver"]


__all__ = ["AmqpClient", "Broker", "bodies", "connect", "names"]
