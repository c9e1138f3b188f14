"""The figures of `/metrics`, through prometheus-client.

Gateways add to plain integers, once per batch; everything is turned into samples when somebody
asks. Queues get series of their own up to a bound, the longest first; the rest is summed up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from bridge.messaging.errors import QueueDoesNotExist
from bridge.messaging.limits import Limits
from bridge.messaging.model import QueueCounts
from bridge.messaging.ports import Queue, Store
from bridge.net.listener import Listener
from mappings.gateway import MessageCounts

QUEUES_AT_ONCE = 200
OTHER_QUEUES = "(others)"
_WITHOUT_LOGINS: Final = frozenset({"metrics"})
_WITH_CHANNELS: Final = frozenset({"amqp"})


class MessageCounters:
    """The `Counters` of all gateways."""

    __slots__ = ("channel_errors", "logins_failed", "protocols")

    def __init__(self) -> None:
        self.protocols: dict[str, MessageCounts] = {}
        self.logins_failed: Counter[str] = Counter()
        self.channel_errors: Counter[str] = Counter()

    def of(self, protocol: str) -> MessageCounts:
        counts = self.protocols.get(protocol)
        if counts is None:
            counts = self.protocols[protocol] = MessageCounts()
        return counts

    def published(self, protocol: str, count: int, size_bytes: int) -> None:
        counts = self.of(protocol)
        counts.published += count
        counts.published_bytes += size_bytes

    def delivered(self, protocol: str, count: int, size_bytes: int) -> None:
        counts = self.of(protocol)
        counts.delivered += count
        counts.delivered_bytes += size_bytes

    def settled(self, protocol: str, count: int) -> None:
        self.of(protocol).settled += count

    def dropped(self, protocol: str, count: int) -> None:
        self.of(protocol).dropped += count

    def login_failed(self, protocol: str) -> None:
        self.logins_failed[protocol] += 1

    def channel_error(self, protocol: str) -> None:
        self.channel_errors[protocol] += 1


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from. `figures`: others by name, in the store's own words.

    A name that ends in `_total` is a counter, every other one a gauge.
    """

    counters: MessageCounters
    store: Store
    listeners: Callable[[], Collection[Listener]]
    figures: Callable[[], Mapping[str, float]] = dict


class Metrics:
    """Answers scrapes."""

    def __init__(self, sources: Sources, limits: Limits, *, version: str) -> None:
        self._sources = sources
        self._queues_max = limits.metrics_queues_max
        self._version = version
        self._queue_counts: list[tuple[str, str, QueueCounts, int]] = []
        self._queue_total = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(self))
        ProcessCollector(registry=self._registry)

    async def scrape(self, accept: str = "") -> tuple[str, bytes]:
        """The content type and text of all figures, in the format that `accept` asks for."""
        await self._count_queues()
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    async def _count_queues(self) -> None:
        """Counting awaits the store, which a collector cannot: it is done before."""
        store = self._sources.store
        queues = list(store.queues())
        counted: list[tuple[Queue, QueueCounts]] = []
        for index, queue in enumerate(queues, 1):
            try:
                counted.append((queue, await store.counts(queue)))
            except QueueDoesNotExist:
                continue
            if index % QUEUES_AT_ONCE == 0:
                # A store that answers from memory would hold the loop for all of them.
                await asyncio.sleep(0)
        counted.sort(key=lambda pair: (-sum(pair[1]), pair[0].name))
        rows = [
            (queue.name.namespace, queue.name.name, counts, queue.consumer_count)
            for queue, counts in counted[: self._queues_max]
        ]
        rest = counted[self._queues_max :]
        if rest:
            sums = QueueCounts(*map(sum, zip(*[counts for _, counts in rest], strict=True)))
            consumers = sum(queue.consumer_count for queue, _ in rest)
            rows.append(("", OTHER_QUEUES, sums, consumers))
        self._queue_counts = rows
        self._queue_total = len(queues)

    def families(self) -> Iterator[Metric]:
        """All metric families of the broker itself."""
        info = GaugeMetricFamily("landbridge_info", "The running version.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        yield from _message_families(self._sources.counters)
        listeners = self._sources.listeners()
        yield from _refusal_families(self._sources.counters, listeners)
        yield from _listener_families(listeners)
        yield GaugeMetricFamily("landbridge_queues", "Queues.", value=self._queue_total)
        yield from _queue_families(self._queue_counts)
        yield from _figure_families(self._sources.figures())


class _Collector:
    """What the registry asks at each scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.families()


def _message_families(counters: MessageCounters) -> Iterator[Metric]:
    for name, text in (
        ("published_messages", "Messages taken from clients."),
        ("published_bytes", "Bytes of their bodies."),
        ("delivered_messages", "Messages handed to clients."),
        ("delivered_bytes", "Bytes of their bodies."),
        ("settled_messages", "Deliveries that clients acknowledged, rejected or returned."),
        (
            "dropped_messages",
            "Messages for clients that did not read, or for whom too many waited.",
        ),
    ):
        family = CounterMetricFamily(f"landbridge_{name}", text, labels=["protocol"])
        for protocol, counts in sorted(counters.protocols.items()):
            family.add_metric([protocol], getattr(counts, name.removesuffix("_messages")))
        yield family


def _refusal_families(
    counters: MessageCounters, listeners: Collection[Listener]
) -> Iterator[Metric]:
    """There from the start, at 0, so that an alert sees the first one."""
    spoken = {listener.protocol for listener in listeners}
    for name, text, counted, protocols in (
        (
            "logins_failed",
            "Logins refused for a wrong user, password, certificate or signature.",
            counters.logins_failed,
            spoken - _WITHOUT_LOGINS,
        ),
        (
            "channel_errors",
            "Channels that were closed for a mistake of their client.",
            counters.channel_errors,
            spoken & _WITH_CHANNELS,
        ),
    ):
        family = CounterMetricFamily(f"landbridge_{name}", text, labels=["protocol"])
        for protocol in sorted({*counted, *protocols}):
            family.add_metric([protocol], counted[protocol])
        yield family


def _listener_families(listeners: Collection[Listener]) -> Iterator[Metric]:
    labels = ["listener", "protocol"]
    opened = GaugeMetricFamily("landbridge_connections", "Open connections.", labels=labels)
    accepted = CounterMetricFamily(
        "landbridge_connections_accepted", "Connections since the start.", labels=labels
    )
    refused = CounterMetricFamily(
        "landbridge_connections_refused",
        "Connections that were closed at once: too many, a failed handshake, malformed HTTP.",
        labels=labels,
    )
    for listener in listeners:
        values = [listener.name, listener.protocol]
        opened.add_metric(values, listener.connection_count)
        accepted.add_metric(values, listener.accepted_count)
        refused.add_metric(values, listener.refused_count)
    yield opened
    yield accepted
    yield refused


def _queue_families(rows: list[tuple[str, str, QueueCounts, int]]) -> Iterator[Metric]:
    labels = ["namespace", "queue"]
    families = [
        GaugeMetricFamily(f"landbridge_queue_{name}", text, labels=labels)
        for name, text in (
            ("messages_visible", "Messages that can be received."),
            ("messages_not_visible", "Messages that a receiver holds."),
            ("messages_delayed", "Messages that are not due yet."),
            ("consumers", "Consumers that the queue pushes to."),
        )
    ]
    for namespace, queue, counts, consumers in rows:
        for family, value in zip(families, (*counts, consumers), strict=True):
            family.add_metric([namespace, queue], value)
    yield from families


def _figure_families(figures: Mapping[str, float]) -> Iterator[Metric]:
    for name, value in figures.items():
        text = name.replace("_", " ").capitalize() + "."
        if name.endswith("_total"):
            plain = name.removesuffix("_total")
            yield CounterMetricFamily(f"landbridge_{plain}", text, value=value)
        else:
            yield GaugeMetricFamily(f"landbridge_{name}", text, value=value)
