"""A broker without sockets: STOMP gateways on a store in memory, driven by text.

Clients write frames with `^@` for NUL and read what came back in the same form.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.auth import Accounts
from bridge.messaging.clock import MessageIds
from bridge.messaging.limits import Limits
from bridge.routing.dead_letters import DeadLetters
from bridge.routing.rules import Rule
from mappings.gateway import Services
from mappings.stomp.gateway import StompGateway
from tests.support.memory_store import MemoryStore
from tests.support.routing import Bench


@dataclass
class Recorder:
    """`Log` and `Counters` that remember."""

    lines: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def connected(self, protocol: str, peer: str, *, user: str | None, client: str | None) -> None:
        self.lines.append(f"connected {user} {client}")

    def disconnected(
        self, protocol: str, peer: str, *, user: str | None, client: str | None, reason: str
    ) -> None:
        self.lines.append(f"disconnected {user}: {reason}")

    def refused(
        self, protocol: str, peer: str, *, user: str | None, client: str | None, reason: str
    ) -> None:
        self.lines.append(f"refused {user}: {reason}")

    def failed(self, protocol: str, peer: str, error: BaseException) -> None:
        raise error

    def published(self, protocol: str, count: int, size_bytes: int) -> None:
        self.counts["published"] = self.counts.get("published", 0) + count

    def delivered(self, protocol: str, count: int, size_bytes: int) -> None:
        self.counts["delivered"] = self.counts.get("delivered", 0) + count

    def settled(self, protocol: str, count: int) -> None:
        self.counts["settled"] = self.counts.get("settled", 0) + count

    def dropped(self, protocol: str, count: int) -> None:
        self.counts["dropped"] = self.counts.get("dropped", 0) + count


class WireTap:
    """A `Transport` that keeps what was written."""

    def __init__(self) -> None:
        self.peer = "127.0.0.1:1"
        self.certificate_user: str | None = None
        self.loopback = True
        self.written: list[bytes] = []
        self.closed = False
        self.reading = True
        self.deadline_changes = 0

    def write(self, data: Sequence[bytes]) -> None:
        assert not self.closed, f"written after close: {data!r}"
        self.written += data

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def deadline_changed(self) -> None:
        self.deadline_changes += 1


@dataclass(frozen=True)
class Listener:
    namespace: str = "/"


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


class Broker:
    """The services that gateways need, and clients of them."""

    def __init__(
        self,
        *rules: Rule,
        limits: Limits | None = None,
        accounts: Accounts | None = None,
        store: MemoryStore | None = None,
    ) -> None:
        bench = Bench(*rules, store=store)
        self.bench = bench
        self.store = bench.store
        self.topology = bench.topology
        self.clock = bench.clock
        self.log = Recorder()
        self.tasks: set[asyncio.Task[None]] = set()
        dead_letters = DeadLetters(bench.router, bench.clock, self.spawn)
        self.store.use_dead_letterer(dead_letters)
        self.services = Services(
            store=self.store,
            state=self.store,
            router=bench.router,
            dead_letters=dead_letters,
            topology=bench.topology,
            accounts=accounts or Accounts(secret=b"secret"),
            clock=bench.clock,
            message_ids=MessageIds(b"9876543210"),
            limits=limits or Limits(),
            log=self.log,
            counters=self.log,
            spawn=self.spawn,
            namespaces=frozenset({"/", "other"}),
            store_healthy=lambda: self.store.refusal is None,
        )

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.result()

    async def at_rest(self) -> None:
        """Wait for what runs, also on threads."""
        while self.tasks:
            await asyncio.gather(*self.tasks)

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
