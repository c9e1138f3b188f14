"""The load generator: publishers and subscribers over raw sockets, in a closed loop.

A publisher has at most `window` unconfirmed messages and a destination, of which there is one for
each publisher, at most `backlog` undelivered ones, so no broker is pushed into dropping; `rate`
paces instead. To cost little beside the server that it measures, a protocol works on whole chunks
(see `frames`), and one process, apart from the servers', serves all sockets. That each message came
once and in its turn is checked nevertheless.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from tests.benchmarks.frames import FRAMES_MAX, PACKET_IDS, Batch, Numbers
from tests.benchmarks.link import Link, PeerFailed

PACE_SECONDS_MIN = 0.0002
"""Between publishes at a rate: what is due in less is published together."""


class Options(msgspec.Struct, frozen=True):
    """One case."""

    protocol: str
    port: int
    """Subscribers connect to it, and publishers unless they have a port of their own."""
    publish_port: int = 0
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

    @property
    def copies(self) -> int:
        """Deliveries of each message."""
        every = self.fan_out or self.protocol == "mqtt"
        return self.subscribers // self.destinations if every else 1


class Result(msgspec.Struct):
    """What one run measured; latencies in milliseconds.

    `disordered` came out of their turn; `generator_cores` is what the generator used itself: near 1
    it was the limit.
    """

    received_per_second: float
    confirmed_per_second: float
    delivery_p50: float
    delivery_p99: float
    confirm_p50: float
    confirm_p99: float
    lost: int
    disordered: int = 0
    generator_cores: float = 0.0


class Taken(msgspec.Struct):
    """What a chunk was: where its complete frames end, how many messages or confirmations it had,
    and what is to be answered.
    """

    end: int
    count: int
    replies: bytes | bytearray = b""


class Reading(Protocol):
    """One direction of one connection."""

    def take(self, data: bytearray, end: int) -> Taken:
        """Read `data` up to `end`."""
        ...


class Wire(Protocol):
    """One protocol.

    `confirms` is False where the protocol says nothing to a publisher: its window is then the
    destination's backlog alone.
    """

    confirms: bool

    def open_publisher(self, number: int, link: Link, destination: int) -> Reading:
        """Shake hands; how the confirmations are read."""
        ...

    def open_subscriber(
        self, number: int, link: Link, destination: int, numbers: Numbers
    ) -> Reading:
        """Shake hands; how the deliveries are read, whose numbers are noted in `numbers`."""
        ...

    def batch(self, destination: int) -> Batch:
        """The frames that a publisher sends."""
        ...


@dataclass
class Tally:
    """Counts and latencies of the measured window; latencies with how many messages had them."""

    measuring: bool = False
    received: int = 0
    confirmed: int = 0
    delivery_ns: list[tuple[int, int]] = field(default_factory=list)
    confirm_ns: list[tuple[int, int]] = field(default_factory=list)


class Times:
    """When a destination's messages were published, batch by batch."""

    def __init__(self) -> None:
        self.count = 0
        self.ends: list[int] = []
        self.at_ns: list[int] = []

    def add(self, count: int, now_ns: int) -> None:
        self.count += count
        self.ends.append(self.count)
        self.at_ns.append(now_ns)


class Progress:
    """How far one side is with a destination's messages."""

    def __init__(self, times: Times) -> None:
        self.count = 0
        self._times = times
        self._batch = 0

    def advance(self, count: int, now_ns: int) -> list[tuple[int, int]]:
        """`count` more are done; the latencies of these."""
        ends, at_ns, batch = self._times.ends, self._times.at_ns, self._batch
        latencies = []
        done, target = self.count, min(self.count + count, self._times.count)
        while done < target:
            part = min(ends[batch], target) - done
            latencies.append((now_ns - at_ns[batch], part))
            done += part
            if done == ends[batch]:
                batch += 1
        self._batch = batch
        self.count += count
        return latencies


class Publisher:
    """Keeps its window full, or its pace; and the destination's backlog."""

    def __init__(self, load: Load, number: int, link: Link) -> None:
        self.link = link
        self.subscribers: list[Subscriber] = []
        self.times = Times()
        self._confirmed = Progress(self.times)
        self._load = load
        self._reading = load.wire.open_publisher(number, link, number)
        self._batch = load.wire.batch(number)
        options = load.options
        confirms = load.wire.confirms
        self._window = min(options.window, PACKET_IDS) if confirms else options.backlog
        self._confirms = confirms

    def take(self, data: bytearray, end: int) -> int:
        """Confirmations came."""
        taken = self._reading.take(data, end)
        if taken.replies:
            self.link.write(taken.replies)
        if taken.count:
            tally = self._load.tally
            latencies = self._confirmed.advance(taken.count, time.monotonic_ns())
            if tally.measuring:
                tally.confirmed += taken.count
                tally.confirm_ns += latencies
            self._load.hungry[self] = None
        return taken.end

    @property
    def undelivered(self) -> int:
        """Deliveries that are still to come, to all subscribers."""
        sent = self.times.count
        return sum(sent - each.numbers.received for each in self.subscribers)

    @property
    def room(self) -> int:
        """How many more messages may be undelivered."""
        return self._load.options.backlog - self.undelivered // len(self.subscribers)

    def fill(self) -> None:
        """Publish what window and backlog allow, unless the load is paced."""
        load = self._load
        if load.options.rate or load.stopping:
            return
        count = self.room
        if self._confirms:
            count = min(count, self._window - self.times.count + self._confirmed.count)
        if count > 0:
            self.publish(count)

    def publish(self, count: int) -> None:
        times = self.times
        now_ns = time.monotonic_ns()
        while count > 0:
            part = min(count, FRAMES_MAX)
            frames = self._batch.take(times.count, part)
            times.add(part, now_ns)
            self.link.write(frames)
            count -= part


class Subscriber:
    """Counts, checks and acknowledges."""

    def __init__(self, load: Load, number: int, link: Link, destination: int) -> None:
        self.link = link
        self.numbers = Numbers()
        self.publisher: Publisher | None = None
        self._delivered: Progress | None = None
        self._load = load
        self._reading = load.wire.open_subscriber(number, link, destination, self.numbers)

    def attach(self, publisher: Publisher) -> None:
        """Say whose messages come here."""
        self.publisher = publisher
        self._delivered = Progress(publisher.times)
        publisher.subscribers.append(self)

    def take(self, data: bytearray, end: int) -> int:
        """Deliveries came."""
        taken = self._reading.take(data, end)
        if taken.replies:
            self.link.write(taken.replies)
        if taken.count and self._delivered is not None and self.publisher is not None:
            tally = self._load.tally
            latencies = self._delivered.advance(taken.count, time.monotonic_ns())
            if tally.measuring:
                tally.received += taken.count
                tally.delivery_ns += latencies
            self._load.hungry[self.publisher] = None
        return taken.end


class Load:
    """One run of one case against one port."""

    def __init__(self, wire: Wire, options: Options) -> None:
        if options.publishers != options.destinations:
            raise ValueError("each destination has one publisher")
        self.wire = wire
        self.options = options
        self.tally = Tally()
        self.stopping = False
        self.hungry: dict[Publisher, None] = {}
        """Those whose window may have room again."""
        self._publishers: list[Publisher] = []
        self._subscribers: list[Subscriber] = []
        self._epoll = select.epoll()
        self._links: list[Link] = []
        self._sides: dict[int, Publisher | Subscriber] = {}
        self._paced = 0
        self._paced_since = 0.0
        self._paced_next = 0.0

    def run(self, started: Callable[[], None], ended: Callable[[], None]) -> Result:
        """`started` and `ended` are called around the measured window. Raises `PeerFailed`."""
        try:
            self._open()
            return self._measure(started, ended)
        except OSError as error:
            raise PeerFailed(f"a connection failed: {error}") from error
        finally:
            self._epoll.close()
            for link in self._links:
                link.close()

    def _measure(self, started: Callable[[], None], ended: Callable[[], None]) -> Result:
        options = self.options
        self._paced_since = time.monotonic()
        self.hungry.update(dict.fromkeys(self._publishers))
        self._serve_until(self._paced_since + options.warmup_seconds)
        started()
        begin, spent = time.monotonic(), time.process_time()
        self.tally.measuring = True
        self._serve_until(begin + options.duration_seconds)
        self.tally.measuring = False
        ended()
        elapsed, spent = time.monotonic() - begin, time.process_time() - spent
        self.stopping = True
        deadline = time.monotonic() + options.drain_seconds
        while any(each.undelivered for each in self._publishers) and time.monotonic() < deadline:
            self._serve_until(min(time.monotonic() + 0.05, deadline))
        return self._result(elapsed, spent)

    def _open(self) -> None:
        options = self.options
        for number in range(options.subscribers):
            link = self._link(options.port)
            side = Subscriber(self, number, link, number % options.destinations)
            self._subscribers.append(side)
            self._watch(side)
        for number in range(options.publishers):
            publisher = Publisher(self, number, self._link(options.publish_port or options.port))
            self._publishers.append(publisher)
            self._watch(publisher)
        for number, subscriber in enumerate(self._subscribers):
            subscriber.attach(self._publishers[number % options.destinations])

    def _link(self, port: int) -> Link:
        link = Link(port)
        self._links.append(link)
        return link

    def _watch(self, side: Publisher | Subscriber) -> None:
        self._sides[side.link.start(self._epoll)] = side

    # -- serving the sockets

    def _serve_until(self, deadline: float) -> None:
        poll, sides = self._epoll.poll, self._sides
        while (now := time.monotonic()) < deadline:
            if self.options.rate and not self.stopping:
                # Only `select` waits for parts of a millisecond.
                select.select([self._epoll], [], [], min(self._pace(now), deadline - now))
                ready = poll(0)
            else:
                ready = poll(deadline - now)
            for number, event in ready:
                side = sides[number]
                if event & select.EPOLLOUT:
                    side.link.flush()
                if event & ~select.EPOLLOUT:
                    side.link.read(side.take)
            if self.hungry:
                hungry, self.hungry = self.hungry, {}
                for publisher in hungry:
                    publisher.fill()

    def _pace(self, now: float) -> float:
        """Publish what is due at `rate` messages a second, by turns; seconds until the next.

        What exceeds the backlog is left out: a broker that cannot follow is not made to drop it.
        """
        if now < self._paced_next:
            return self._paced_next - now
        rate = self.options.rate
        due = int((now - self._paced_since) * rate) + 1
        count, self._paced = due - self._paced, due
        publishers = self._publishers
        share, more = divmod(count, len(publishers))
        for _ in range(len(publishers) if share else more):
            publisher = publishers.pop(0)
            publishers.append(publisher)
            publisher.publish(min(share + (more > 0), publisher.room))
            more -= 1
        self._paced_next = max(self._paced_since + due / rate, now + PACE_SECONDS_MIN)
        return max(self._paced_next - time.monotonic(), 0.0)

    def _result(self, elapsed: float, spent: float) -> Result:
        tally = self.tally
        return Result(
            received_per_second=tally.received / elapsed,
            confirmed_per_second=tally.confirmed / elapsed,
            delivery_p50=quantile(tally.delivery_ns, 0.5),
            delivery_p99=quantile(tally.delivery_ns, 0.99),
            confirm_p50=quantile(tally.confirm_ns, 0.5),
            confirm_p99=quantile(tally.confirm_ns, 0.99),
            lost=sum(each.undelivered for each in self._publishers),
            disordered=sum(each.numbers.disordered for each in self._subscribers),
            generator_cores=spent / elapsed,
        )


def quantile(latencies_ns: list[tuple[int, int]], part: float) -> float:
    """In milliseconds, of latencies with how many messages had them; 0 of nothing."""
    left = part * sum(count for _, count in latencies_ns)
    for latency, count in sorted(latencies_ns):
        left -= count
        if left <= 0:
            return latency / 1e6
    return 0.0
