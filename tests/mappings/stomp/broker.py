"""A broker without sockets: STOMP gateways on a store in memory, driven by text.

Clients write frames with `^@` for NUL and read what came back in the same form.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bridge.auth import Accounts
from bridge.messaging.clock import MessageIds
from bridge.messaging.limits import Limits
from bridge.routing.rules import Rule
from mappings.stomp.gateway import StompGateway
from tests.support.gateways import Line, Listener, Recorder, Tasks, services
from tests.support.memory_store import MemoryStore
from tests.support.routing import Bench


class WireTap(Line):
    """A `Transport` that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Sequence[bytes]) -> None:
        assert not self.closed, f"written after close: {data!r}"
        self.written += data

    def close(self) -> None:
        self.closed = True


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


class Broker(Tasks):
    """The services that gateways need, and clients of them."""

    def __init__(
        self,
        *rules: Rule,
        limits: Limits | None = None,
        accounts: Accounts | None = None,
        store: MemoryStore | None = None,
    ) -> None:
        super().__init__()
        bench = Bench(*rules, store=store)
        self.bench = bench
        self.store = bench.store
        self.topology = bench.topology
        self.clock = bench.clock
        self.log = Recorder()
        self.services = services(
            self,
            self.log,
            store=self.store,
            state=self.store,
            router=bench.router,
            topology=bench.topology,
            accounts=accounts,
            clock=bench.clock,
            message_ids=MessageIds(b"9876543210"),
            limits=limits,
            namespaces=frozenset({"/", "other"}),
            store_healthy=lambda: self.store.refusal is None,
        )

    async def client(self, version: str = "1.2", *headers: str) -> Client:
        client = Client(self)
        lines = "".join(f"{line}\n" for line in headers)
        answer = await client.send(f"CONNECT\naccept-version:{version}\n{lines}\n^@")
        assert answer.startswith("CONNECTED\n"), answer
        return client

    def bodies(self, queue: str) -> list[str]:
        """What waits in a queue of the default namespace."""
        return [message.body.decode() for message in self.bench_queue(queue).messages]

    def bench_queue(self, queue: str) -> Any:
        return next(each for name, each in self.store.by_name.items() if name.name == queue)

    def queue_names(self) -> list[str]:
        return sorted(name.name for name in self.store.by_name)


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
