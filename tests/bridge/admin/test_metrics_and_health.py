from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.admin.health import AdminHandler
from bridge.admin.metrics import OTHER_QUEUES, MessageCounters, Metrics, Sources
from bridge.messaging.limits import Limits
from bridge.messaging.model import Message, QueueName, QueueSettings, UnitOfWork
from bridge.net.http_messages import HttpRequest, HttpResponse
from bridge.net.listener import Listener
from tests.bridge.net.recording import Running, http, listening
from tests.support.memory_store import MemoryStore


class Admin:
    """The figures and health of a store, as a scraper sees them."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.counters = MessageCounters()
        self.store = MemoryStore()
        self.listeners: list[Listener] = []
        self.figures: dict[str, float] = {}
        self.healthy = True
        sources = Sources(self.counters, self.store, lambda: self.listeners, lambda: self.figures)
        self.handler = AdminHandler(
            Metrics(sources, limits or Limits(), version="1.2.3"),
            store_healthy=lambda: self.healthy,
            listeners=lambda: self.listeners,
        )

    async def get(self, target: str, *, method: str = "GET", accept: str = "") -> HttpResponse:
        headers = {"accept": accept} if accept else {}
        result = self.handler.handle(HttpRequest(method, target, headers))
        return result if isinstance(result, HttpResponse) else await result

    async def samples(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """(name, label values) -> value."""
        response = await self.get("/metrics")
        assert response.status == 200
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(response.body.decode())
            for sample in family.samples
        }

    async def send(self, queue: str, count: int) -> None:
        handle = await self.store.create_queue(QueueName("/", queue), QueueSettings())
        done = asyncio.Event()
        unit = UnitOfWork(lambda _: done.set())
        unit.sends = [(handle, Message(f"{queue}-{n}", b"x", 0)) for n in range(count)]
        self.store.submit(unit)
        await done.wait()


@asynccontextmanager
async def serving(admin: Admin) -> AsyncIterator[Running]:
    async with listening(http(admin.handler.handle), protocol="metrics") as running:
        admin.listeners.append(running.listener)
        yield running


async def test_what_gateways_count_is_shown_by_protocol() -> None:
    admin = Admin()
    admin.counters.published("mqtt", 3, 300)
    admin.counters.published("mqtt", 2, 20)
    admin.counters.delivered("stomp", 4, 40)
    admin.counters.settled("stomp", 5)
    admin.counters.dropped("stomp", 6)
    samples = await admin.samples()
    assert samples["landbridge_info", ("1.2.3",)] == 1
    assert samples["landbridge_published_messages_total", ("mqtt",)] == 5
    assert samples["landbridge_published_bytes_total", ("mqtt",)] == 320
    assert samples["landbridge_delivered_messages_total", ("stomp",)] == 4
    assert samples["landbridge_delivered_bytes_total", ("stomp",)] == 40
    assert samples["landbridge_settled_messages_total", ("stomp",)] == 5
    assert samples["landbridge_dropped_messages_total", ("stomp",)] == 6
    assert samples["landbridge_published_messages_total", ("stomp",)] == 0


async def test_refusals_are_counted_from_the_start() -> None:
    admin = Admin()
    async with listening(http(admin.handler.handle), protocol="amqp") as running, serving(admin):
        admin.listeners.append(running.listener)
        samples = await admin.samples()
        assert samples["landbridge_logins_failed_total", ("amqp",)] == 0
        assert samples["landbridge_channel_errors_total", ("amqp",)] == 0
        assert ("landbridge_logins_failed_total", ("metrics",)) not in samples
    admin.counters.login_failed("management")
    admin.counters.channel_error("amqp")
    samples = await admin.samples()
    assert samples["landbridge_logins_failed_total", ("management",)] == 1
    assert samples["landbridge_channel_errors_total", ("amqp",)] == 1
    assert ("landbridge_published_messages_total", ("management",)) not in samples


async def test_queues_are_counted_at_the_scrape() -> None:
    admin = Admin()
    await admin.send("orders", 3)
    samples = await admin.samples()
    assert samples["landbridge_queues", ()] == 1
    assert samples["landbridge_queue_messages_visible", ("/", "orders")] == 3
    assert samples["landbridge_queue_messages_not_visible", ("/", "orders")] == 0
    assert samples["landbridge_queue_messages_delayed", ("/", "orders")] == 0
    assert samples["landbridge_queue_consumers", ("/", "orders")] == 0


async def test_number_of_queues_shown_is_bounded() -> None:
    admin = Admin(Limits(metrics_queues_max=2))
    for name, count in (("a", 1), ("b", 4), ("c", 2), ("d", 3)):
        await admin.send(name, count)
    samples = await admin.samples()
    shown = {
        labels: value
        for (name, labels), value in samples.items()
        if name == "landbridge_queue_messages_visible"
    }
    assert shown == {("/", "b"): 4, ("/", "d"): 3, ("", OTHER_QUEUES): 3}
    assert samples["landbridge_queues", ()] == 4


async def test_odd_names_are_escaped() -> None:
    admin = Admin()
    await admin.send('a"b\\c\nd', 1)
    samples = await admin.samples()
    assert samples["landbridge_queue_messages_visible", ("/", 'a"b\\c\nd')] == 1


async def test_figures_of_the_store_and_the_process() -> None:
    admin = Admin()
    admin.figures = {"store_commits_total": 7, "store_commit_seconds_mean": 0.25}
    samples = await admin.samples()
    assert samples["landbridge_store_commits_total", ()] == 7
    assert samples["landbridge_store_commit_seconds_mean", ()] == 0.25
    assert samples["process_resident_memory_bytes", ()] > 1_000_000


async def test_connections_are_shown_by_listener_over_http() -> None:
    admin = Admin()
    async with serving(admin) as running:
        reader, writer = await running.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=")
        assert 'landbridge_connections{listener="test",protocol="metrics"} 1.0' in body
        assert (
            'landbridge_connections_accepted_total{listener="test",protocol="metrics"} 1.0' in body
        )
        writer.close()
        await writer.wait_closed()


async def test_openmetrics_is_offered() -> None:
    response = await Admin().get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert response.body.endswith(b"# EOF\n")


async def test_alive() -> None:
    admin = Admin()
    admin.healthy = False
    for target in ("/healthz", "/healthz?verbose"):
        response = await admin.get(target)
        assert (response.status, response.body) == (200, b"ok\n")


async def test_ready_says_what_is_missing() -> None:
    admin = Admin()
    async with serving(admin) as running:
        response = await admin.get("/readyz")
        assert response.status == 200
        assert json.loads(response.body) == {"ready": True, "problems": []}
        admin.healthy = False
        await running.listener.stop_accepting()
        response = await admin.get("/readyz")
        assert response.status == 503
        assert json.loads(response.body)["problems"] == [
            "the store takes nothing",
            "listener test does not accept connections",
        ]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/healthz", 405),
        ("HEAD", "/readyz", 200),
    ],
)
async def test_other_requests(method: str, target: str, status: int) -> None:
    assert (await Admin().get(target, method=method)).status == status
