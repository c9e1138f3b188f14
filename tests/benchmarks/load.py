"""The load generator: publishers and subscribers over raw sockets, in a closed loop.

A publisher has at most `window` unconfirmed messages and a destination at most `backlog`
undelivered ones, so no broker is pushed into dropping; `rate` paces instead. Each payload begins
with the time of its publish in 16 hexadecimal digits. To cost little beside the server that it
measures, a protocol works on whole chunks: frames are templates, confirmations are counted,
acknowledgements joined.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

import msgspec

STAMP_LENGTH = 16


class Options(msgspec.Struct, frozen=True):
    """One case."""

    protocol: str
    port: int
    publishers: int = 1
    subscribers: int = 1
    destinations: int = 1
    size: int = 256
    window: int = 100
    backlog: int = 1_000
    prefetch: int = 200
    qos: int = 1
    rate: float = 0.0
    confirms: bool = True
    persistent: bool = True
    automatic_acks: bool = False
    fan_out: bool = False
    """Every subscriber of a destination gets each message."""
    warmup_seconds: float = 1.0
    duration_seconds: float = 3.0
    drain_seconds: float = 10.0


class Result(msgspec.Struct):
    """What one run measured; latencies in milliseconds."""

    received_per_second: float
    confirmed_per_second: float
    delivery_p50: float
    delivery_p99: float
    confirm_p50: float
    confirm_p99: float
    lost: int


class Wire(Protocol):
    """One protocol, spoken on chunks.

    `confirms` is False where the protocol says nothing to a publisher: its window is then the
    destination's backlog alone.
    """

    confirms: bool

    async def open_publisher(
        self, publisher: int, connection: Connection, destination: int
    ) -> None: ...

    async def open_subscriber(
        self, subscriber: int, connection: Connection, destination: int
    ) -> None: ...

    def publishes(self, publisher: int, destination: int, stamps: list[bytes]) -> bytes:
        """Frames for one chunk of messages."""
        ...

    def confirmations(self, publisher: int, data: bytes) -> tuple[int, bytes, bytes]:
        """How many confirmations a publisher was sent, its replies, and the incomplete rest."""
        ...

    def deliveries(self, subscriber: int, data: bytes) -> tuple[list[bytes], bytes, bytes]:
        """The stamps of what a subscriber was sent, its acknowledgements, the incomplete rest."""
        ...


class Connection(asyncio.Protocol):
    """One socket; `received` is given every chunk with what the last one left over."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.received: Callable[[bytes], bytes] = self._hold
        self._rest = b""
        self._more = asyncio.Event()

    def _hold(self, data: bytes) -> bytes:
        self._more.set()
        return data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not instances of asyncio.Transport.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._rest = self.received(self._rest + data)

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    async def until(self, complete: Callable[[bytes], int]) -> bytes:
        """Wait for a reply: `complete` gives its length, 0 while it is not all there."""
        async with asyncio.timeout(30):
            while not (length := complete(self._rest)):
                self._more.clear()
                await self._more.wait()
        reply, self._rest = self._rest[:length], self._rest[length:]
        return reply

    def take_over(self, received: Callable[[bytes], bytes]) -> None:
        self.received = received
        self._rest = received(self._rest)


def stamp_now() -> bytes:
    return b"%016x" % time.monotonic_ns()


@dataclass
class Tally:
    """Counts and latencies of the measured window."""

    measuring: bool = False
    received: int = 0
    confirmed: int = 0
    delivery_ns: list[int] = field(default_factory=list)
    confirm_ns: list[int] = field(default_factory=list)


class Publisher:
    """Keeps its window full, or its pace."""

    def __init__(self, load: Load, number: int, destination: int, connection: Connection) -> None:
        self._load = load
        self._number = number
        self._destination = destination
        self._connection = connection
        self._sent_at: list[int] = []
        self._confirmed = 0
        self.sent = 0

    @property
    def unconfirmed(self) -> int:
        return len(self._sent_at) - self._confirmed

    def data(self, data: bytes) -> bytes:
        count, replies, rest = self._load.wire.confirmations(self._number, data)
        if replies:
            self._connection.write(replies)
        now = time.monotonic_ns()
        first = self._confirmed
        self._confirmed += count
        tally = self._load.tally
        if tally.measuring:
            tally.confirmed += count
            tally.confirm_ns += [now - at for at in self._sent_at[first : self._confirmed]]
        if self._confirmed > 10_000:
            del self._sent_at[: self._confirmed]
            self._confirmed = 0
        self.fill()
        return rest

    def fill(self) -> None:
        """Publish what window and backlog allow, unless the load is paced."""
        if self._load.options.rate or self._load.stopping:
            return
        options = self._load.options
        room = options.backlog - self._load.undelivered(self._destination) // self._load.copies
        count = min(options.window - self.unconfirmed, room)
        if count > 0:
            self.publish(count)

    def publish(self, count: int) -> None:
        now = time.monotonic_ns()
        if self._load.wire.confirms:
            self._sent_at += [now] * count
        self.sent += count
        self._load.sent[self._destination] += count
        stamp = b"%016x" % now
        self._connection.write(
            self._load.wire.publishes(self._number, self._destination, [stamp] * count)
        )


class Load:
    """One run of one case against one port."""

    def __init__(self, wire: Wire, options: Options) -> None:
        self.wire = wire
        self.options = options
        self.tally = Tally()
        self.stopping = False
        self.sent = [0] * options.destinations
        self.delivered = [0] * options.destinations
        fan_out = options.fan_out or options.protocol == "mqtt"
        self.copies = options.subscribers // options.destinations if fan_out else 1
        self._publishers: list[list[Publisher]] = [[] for _ in range(options.destinations)]
        self._connections: list[Connection] = []

    def undelivered(self, destination: int) -> int:
        """Deliveries that are still to come, to all subscribers of the destination."""
        return self.sent[destination] * self.copies - self.delivered[destination]

    async def run(self, started: Callable[[], None], ended: Callable[[], None]) -> Result:
        """`started` and `ended` are called around the measured window."""
        options = self.options
        for number in range(options.subscribers):
            await self._subscribe(number, number % options.destinations)
        publishers = [
            await self._publish(number, number % options.destinations)
            for number in range(options.publishers)
        ]
        for publisher in publishers:
            publisher.fill()
        async with asyncio.TaskGroup() as tasks:
            if options.rate:
                tasks.create_task(self._pace(publishers))
            await asyncio.sleep(options.warmup_seconds)
            self.tally.measuring = True
            started()
            begin = time.monotonic()
            await asyncio.sleep(options.duration_seconds)
            ended()
            self.tally.measuring = False
            elapsed = time.monotonic() - begin
            self.stopping = True
        await self._drain()
        for connection in self._connections:
            assert connection.transport is not None
            connection.transport.abort()
        return self._result(elapsed)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self.options.port)
        self._connections.append(connection)
        return connection

    async def _subscribe(self, number: int, destination: int) -> None:
        connection = await self._connect()
        await self.wire.open_subscriber(number, connection, destination)

        def data(chunk: bytes) -> bytes:
            stamps, acknowledgements, rest = self.wire.deliveries(number, chunk)
            if acknowledgements:
                connection.write(acknowledgements)
            self._received(destination, stamps)
            return rest

        connection.take_over(data)

    def _received(self, destination: int, stamps: list[bytes]) -> None:
        self.delivered[destination] += len(stamps)
        if self.tally.measuring:
            now = time.monotonic_ns()
            self.tally.received += len(stamps)
            self.tally.delivery_ns += [now - int(stamp, 16) for stamp in stamps]
        for publisher in self._publishers[destination]:
            publisher.fill()

    async def _publish(self, number: int, destination: int) -> Publisher:
        connection = await self._connect()
        await self.wire.open_publisher(number, connection, destination)
        publisher = Publisher(self, number, destination, connection)
        self._publishers[destination].append(publisher)
        connection.take_over(publisher.data)
        return publisher

    async def _pace(self, publishers: list[Publisher]) -> None:
        """Publish `rate` messages a second over all publishers, one at a time."""
        begin = time.monotonic()
        count = 0
        while not self.stopping:
            due = begin + count / self.options.rate
            delay = due - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            publishers[count % len(publishers)].publish(1)
            count += 1

    async def _drain(self) -> None:
        deadline = time.monotonic() + self.options.drain_seconds
        while time.monotonic() < deadline and any(map(self.undelivered, range(len(self.sent)))):
            await asyncio.sleep(0.05)

    def _result(self, elapsed: float) -> Result:
        tally = self.tally
        return Result(
            received_per_second=tally.received / elapsed,
            confirmed_per_second=tally.confirmed / elapsed,
            delivery_p50=quantile(tally.delivery_ns, 0.5),
            delivery_p99=quantile(tally.delivery_ns, 0.99),
            confirm_p50=quantile(tally.confirm_ns, 0.5),
            confirm_p99=quantile(tally.confirm_ns, 0.99),
            lost=sum(map(self.undelivered, range(len(self.sent)))),
        )


def quantile(nanoseconds: list[int], part: float) -> float:
    """In milliseconds; 0 of nothing."""
    ordered = sorted(nanoseconds)
    return ordered[int(part * (len(ordered) - 1))] / 1e6 if ordered else 0.0
