"""The AWS backend's own side against a stub of SQS (`tests.benchmarks.sqs_stub`): calls of SQS and
CPU time per message, and the time that a message takes from one node to another.

Messages come one by one at random times (a Poisson process), so that how full calls are is the
backend's doing, or ten by ten, as protocols hand over chunks, as fast as they are confirmed. Nodes
are stores without protocols, in this process; the same three calls in a boto3 loop stand beside
them. `aws-stomp-...` are two whole brokers, a client publishing at one and another one consuming at
the other.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import boto3
import msgspec

from bridge.app import GARBAGE_THRESHOLDS
from bridge.backends.aws import AwsBackend, AwsOptions
from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.limits import Limits
from bridge.messaging.model import Delivery, Message, QueueName, QueueSettings, UnitOfWork
from bridge.messaging.ports import Queue, Store, Subscription
from tests.benchmarks.load import Load, Options
from tests.benchmarks.peers import LandbridgeOnAws
from tests.benchmarks.sqs_stub import stub
from tests.benchmarks.stomp import StompWire

SIZE: Final = 256
PREFETCH: Final = 500
UNIT: Final = 10
"""Messages that come together where they are not paced."""
WARMUP_SECONDS: Final = 1.0
WINDOW: Final = 2_000
"""Unconfirmed messages of a publisher that is not paced."""
ACTIONS: Final = ("SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch")


class AwsCase(msgspec.Struct, frozen=True):
    """`rate` 0 sends as fast as it goes. With two nodes, one publishes and the other consumes;
    `mixed`: both do both. `scatter_seconds`: see the stub.
    """

    rate: int = 0
    consumers: int = 1
    nodes: int = 1
    mixed: bool = False
    delay_seconds: float = 0.0
    scatter_seconds: float = 0.0
    brokers: bool = False
    """Whole ones, with a client of STOMP at each."""


AWS_CASES: Final = {
    "aws": AwsCase(),
    **{f"aws-{rate}": AwsCase(rate, delay_seconds=0.01) for rate in (1, 100, 1_000, 5_000)},
    "aws-1000-at-once": AwsCase(1_000),
    "aws-1000-scattered": AwsCase(1_000, delay_seconds=0.01, scatter_seconds=0.01),
    "aws-1000-consumers4": AwsCase(1_000, consumers=4, delay_seconds=0.01),
    "aws-1000-nodes2": AwsCase(1_000, nodes=2, delay_seconds=0.01),
    "aws-1000-mixed2": AwsCase(1_000, consumers=2, nodes=2, mixed=True, delay_seconds=0.01),
    "aws-1-nodes2": AwsCase(1, nodes=2, delay_seconds=0.01),
    "aws-100-nodes2": AwsCase(100, nodes=2, delay_seconds=0.01),
    **{
        f"aws-stomp-{rate}": AwsCase(rate, nodes=2, delay_seconds=0.01, brokers=True)
        for rate in (1, 100, 1_000)
    },
}


class _Consumer:
    """Notes how long each message was under way, and deletes it."""

    def __init__(self, store: Store, measured: Measured) -> None:
        self._store = store
        self._measured = measured
        self.subscription: Subscription | None = None

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        now = time.perf_counter()
        self._measured.delivered += [now - float(each.message.body[:24]) for each in deliveries]
        unit = UnitOfWork()
        unit.deletes += deliveries
        self._store.submit(unit)
        if self.subscription is not None:
            self.subscription.add_credit(len(deliveries))

    def cancelled(self) -> None: ...

    def overdue(self, held_seconds: float) -> None: ...


class Measured:
    """Latencies in seconds."""

    def __init__(self) -> None:
        self.delivered: list[float] = []
        self.confirmed: list[float] = []
        self.sent = 0


class _Publisher:
    def __init__(self, store: Store, queue: Queue, measured: Measured) -> None:
        self._store = store
        self._queue = queue
        self._measured = measured
        self._ids = MessageIds()
        self.unconfirmed = 0
        self.confirmed = asyncio.Event()

    def send(self, count: int) -> None:
        """Hand over some messages together."""
        now = time.perf_counter()

        def answered(unit: UnitOfWork) -> None:
            assert not unit.failures, unit.failures
            self._measured.confirmed.append(time.perf_counter() - now)
            self.unconfirmed -= count
            self.confirmed.set()

        unit = UnitOfWork(answered)
        body = f"{now:024.9f}".ljust(SIZE, "x").encode()
        unit.sends = [(self._queue, Message(self._ids.next(), body, 0)) for _ in range(count)]
        self.unconfirmed += count
        self._measured.sent += count
        self._store.submit(unit)

    async def run(self, rate: float, until: float) -> None:
        """Publish until then: at `rate`, or with `WINDOW` unconfirmed ones."""
        gap = random.Random(1).expovariate
        due = time.perf_counter()
        while (now := time.perf_counter()) < until:
            if rate:
                while due <= now:
                    self.send(1)
                    due += gap(rate)
                await asyncio.sleep(max(0.001, due - time.perf_counter()))
            else:
                for _ in range((WINDOW - self.unconfirmed) // UNIT):
                    self.send(UNIT)
                self.confirmed.clear()
                await self.confirmed.wait()


@asynccontextmanager
async def _node(url: str) -> AsyncIterator[AwsBackend]:
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as directory:
        local = EmbeddedBackend(Path(directory), durability="memory", clock=clock, limits=Limits())
        options = AwsOptions(region="us-east-1", endpoint_url=url)
        backend = AwsBackend(options, local=local, clock=clock, random=random.random)
        await backend.open()
        try:
            yield backend
        finally:
            await backend.close()


async def run_case(url: str, case: AwsCase, seconds: float) -> str:
    """One line of the table: calls, CPU time of this process, latencies."""
    measured = Measured()
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(_node(url)) for _ in range(case.nodes)]
        queues = [
            await each.store.create_queue(QueueName("/", f"q{id(measured)}"), QueueSettings())
            for each in nodes
        ]
        for number in range(case.consumers):
            place = number % case.nodes if case.mixed else -1
            store = nodes[place].store
            consumer = _Consumer(store, measured)
            consumer.subscription = await store.consume(queues[place], consumer, credit=PREFETCH)
        publishers = [
            _Publisher(nodes[place].store, queues[place], measured)
            for place in range(case.nodes if case.mixed else 1)
        ]
        end = time.perf_counter() + WARMUP_SECONDS + seconds
        publishing = asyncio.gather(
            *[each.run(case.rate / len(publishers), end) for each in publishers]
        )
        await asyncio.sleep(WARMUP_SECONDS)
        first = Snapshot.of(nodes, measured)
        await publishing
        line = first.until(Snapshot.of(nodes, measured), measured)
        async with asyncio.timeout(30):
            while len(measured.delivered) < measured.sent or any(
                each.unconfirmed for each in publishers
            ):
                await asyncio.sleep(0.01)
        return line


class Snapshot(msgspec.Struct, frozen=True):
    """How far things are at one time."""

    time: float
    cpu: float
    sent: int
    confirmed: int
    delivered: int
    calls: list[int]

    @classmethod
    def of(cls, nodes: list[AwsBackend], measured: Measured) -> Snapshot:
        return cls(
            time.perf_counter(),
            time.process_time(),
            measured.sent,
            len(measured.confirmed),
            len(measured.delivered),
            [
                sum(each.counters.calls.get(("sqs", action), 0) for each in nodes)
                for action in ACTIONS
            ],
        )

    def until(self, end: Snapshot, measured: Measured) -> str:
        """What was between two."""
        count = end.sent - self.sent
        calls = [(last - first) / count for first, last in zip(self.calls, end.calls, strict=True)]
        return (
            f"{count / (end.time - self.time):,.0f} | {sum(calls):.3f}"
            f" ({', '.join(f'{each:.3f}' for each in calls)})"
            f" | {(end.cpu - self.cpu) / count * 1e6:.1f}"
            f" | {_quantiles(measured.confirmed[self.confirmed : end.confirmed])}"
            f" | {_quantiles(measured.delivered[self.delivered : end.delivered])} |"
        )


def run_brokers(url: str, case: AwsCase, seconds: float) -> str:
    """The same line for two brokers: CPU time is that of both processes."""
    with tempfile.TemporaryDirectory(prefix="landbridge-bench-") as directory:
        nodes = [LandbridgeOnAws(Path(directory), name, url) for name in ("one", "other")]
        try:
            for node in nodes:
                node.start()
            spent: list[float] = []

            def note() -> None:
                spent.append(sum(node.cpu_seconds() for node in nodes))

            ports = [node.ports["stomp"] for node in nodes]
            options = Options(
                "stomp",
                ports[1],
                ports[0],
                rate=case.rate,
                window=WINDOW,
                backlog=WINDOW,
                prefetch=PREFETCH,
                duration_seconds=seconds,
            )
            result = Load(StompWire(options), options).run(note, note)
        finally:
            for node in nodes:
                node.stop()
    if result.lost:
        raise SystemExit(f"{result.lost} messages were lost")
    count = max(result.received_per_second * seconds, 1)
    return (
        f"{result.received_per_second:,.0f} | | {(spent[1] - spent[0]) / count * 1e6:.1f}"
        f" | {result.confirm_p50:.1f} / {result.confirm_p99:.1f}"
        f" | {result.delivery_p50:.1f} / {result.delivery_p99:.1f} |"
    )


def _quantiles(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return ""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"{cuts[49] * 1e3:.1f} / {cuts[98] * 1e3:.1f}"


def boto_loop(url: str, count: int) -> float:
    """CPU microseconds per message of the same calls, ten at a time, in a boto3 loop."""
    sqs = boto3.client("sqs", region_name="us-east-1", endpoint_url=url)
    queue = sqs.get_queue_url(QueueName="boto")["QueueUrl"]
    entries = [{"Id": str(number), "MessageBody": "x" * SIZE} for number in range(10)]
    spent = time.process_time()
    for _ in range(count // 10):
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)
        got = sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )["Messages"]
        handles = [
            {"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]}
            for number, each in enumerate(got)
        ]
        sqs.delete_message_batch(QueueUrl=queue, Entries=handles)
    return (time.process_time() - spent) / count * 1e6


def measure(cases: list[str], runs: int, seconds: float, run: Callable[..., str]) -> None:
    """Print the table. `run` runs a coroutine."""
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "AKIATEST")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "secret")
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    print("| case | msg/s | calls of SQS per message (send, receive, delete) | CPU us/msg", end="")
    print(" | confirm p50 / p99 ms | delivery p50 / p99 ms |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in cases:
        case = AWS_CASES[name]
        for _ in range(runs):
            with stub(case.delay_seconds, case.scatter_seconds) as url:
                if case.brokers:
                    line = run_brokers(url, case, seconds)
                else:
                    line = run(run_case(url, case, seconds))
                print(f"| {name} | {line}", flush=True)
        if not case.rate:
            with stub() as url:
                print(f"| boto3 | | 0.300 | {boto_loop(url, 2_000):.1f} | | |", flush=True)
