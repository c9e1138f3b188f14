"""STOMP clients of a broker without sockets, driven by text.

Clients write frames with `^@` for NUL and read what came back in the same form.
"""

from __future__ import annotations

import asyncio

from mappings.stomp.gateway import StompGateway
from tests.support.broker import MemoryBroker, WireTap
from tests.support.gateways import Listener


class Client:
    """One connection: `send` lets everything settle, then returns what was answered."""

    def __init__(self, broker: Broker) -> None:
        self.wire = WireTap()
        self.gateway = StompGateway(broker.services, self.wire, Listener())

    async def send(self, *frames: str) -> str:
        self.push(*frames)
        return await self.read()

    def push(self, *frames: str) -> None:
        self.gateway.data_received("".join(frames).replace("^@", "\0").encode())

    async def read(self) -> str:
        for _ in range(30):
            await asyncio.sleep(0)
        written, self.wire.written = self.wire.written, []
        return b"".join(written).decode().replace("\0\n", "^@")

    async def messages(self, *frames: str) -> list[dict[str, str]]:
        """The MESSAGE frames among what came back, body under `body`."""
        return messages_of(await self.send(*frames))

    async def lose(self) -> None:
        self.gateway.connection_lost("the cable was cut")
        await self.read()


class Broker(MemoryBroker):
    """A broker that STOMP clients come to."""

    async def client(self, version: str = "1.2", *headers: str) -> Client:
        client = Client(self)
        lines = "".join(f"{line}\n" for line in headers)
        answer = await client.send(f"CONNECT\naccept-version:{version}\n{lines}\n^@")
        assert answer.startswith("CONNECTED\n"), answer
        return client


def frames_of(answer: str) -> list[str]:
    return [frame for frame in answer.split("^@") if frame.strip()]


def messages_of(answer: str) -> list[dict[str, str]]:
    messages = []
    for frame in frames_of(answer):
        head, _, body = frame.partition("\n\n")
        command, *lines = head.split("\n")
        if command == "MESSAGE":
            headers = dict(reversed([line.partition(":")[::2] for line in lines]))
            messages.append({**headers, "body": body})
    return messages


def receipts_of(answer: str) -> list[str]:
    return [
        frame.split("receipt-id:")[1].strip()
        for frame in frames_of(answer)
        if frame.startswith("RECEIPT\n")
    ]


def send(destination: str, body: str = "x", *headers: str) -> str:
    lines = "".join(f"{line}\n" for line in headers)
    return f"SEND\ndestination:{destination}\n{lines}\n{body}^@"


def subscribe(destination: str, name: str = "0", *headers: str) -> str:
    lines = "".join(f"{line}\n" for line in headers)
    return f"SUBSCRIBE\nid:{name}\ndestination:{destination}\n{lines}\n^@"


def ack(key: str, *headers: str, command: str = "ACK") -> str:
    lines = "".join(f"{line}\n" for line in headers)
    return f"{command}\nid:{key}\n{lines}\n^@"
