"""Getting and publishing by way of the API, above a store that a test can hold up."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bridge.admin.management import ManagementHandler
from bridge.admin.management import messages as limits_of_messages
from bridge.messaging.errors import QueueFull, StoreUnavailable
from bridge.messaging.model import Delivery, QueueName
from bridge.messaging.ports import Queue
from bridge.net.http_messages import HttpRequest, HttpResponse
from bridge.routing.rules import Rule
from tests.support.broker import MemoryBroker
from tests.support.management_sources import management_sources
from tests.support.memory_store import MemoryStore

AUTHORIZED = {"authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="}
GET = "/api/queues/%2F/q/get"


class HeldStore(MemoryStore):
    """Takes nothing beyond `taken_max` messages until `go_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0
        self.taken_max = 1_000
        self.go_on = asyncio.Event()

    async def take(self, queue: Queue) -> Delivery | None:
        if self.taken >= self.taken_max:
            await self.go_on.wait()
        self.taken += 1
        return await super().take(queue)


class Management:
    """The handler of a listener on loopback, above a broker in memory."""

    def __init__(self, *rules: Rule) -> None:
        self.store = HeldStore()
        self.broker = MemoryBroker(*rules, store=self.store)
        accounts = self.broker.services.accounts
        handler = ManagementHandler(management_sources(self.broker))
        self._handle = handler.at(accounts, loopback=True)

    async def ask(self, method: str, path: str, body: object = None) -> HttpResponse:
        data = b"" if body is None else json.dumps(body).encode()
        return await self._handle(HttpRequest(method, path, AUTHORIZED, data))

    async def filled(self, count: int) -> None:
        await self.ask("PUT", "/api/queues/%2F/q", {"durable": True})
        for number in range(count):
            answer = await self.publish(str(number))
            assert json.loads(answer.body) == {"routed": True}

    async def publish(self, payload: str) -> HttpResponse:
        message = {
            "properties": {},
            "routing_key": "q",
            "payload": payload,
            "payload_encoding": "string",
        }
        return await self.ask("POST", "/api/exchanges/%2F/amq.default/publish", message)

    async def get(self, mode: str = "ack_requeue_false", **options: Any) -> list[Any]:
        wanted = {"count": -1, "ackmode": mode, "encoding": "auto", **options}
        answer = await self.ask("POST", GET, wanted)
        assert answer.status == 200, answer
        found: list[Any] = json.loads(answer.body)
        return found


@pytest.fixture
async def management() -> Management:
    return Management()


async def passed() -> None:
    for _ in range(40):
        await asyncio.sleep(0)


@pytest.mark.parametrize("mode", ["ack_requeue_false", "reject_requeue_false"])
async def test_who_goes_away_before_the_answer_leaves_the_messages(
    management: Management, mode: str
) -> None:
    await management.filled(3)
    management.store.taken_max = 2
    asking = asyncio.create_task(management.get(mode))
    await passed()
    assert management.broker.bodies("q") == ["2"]
    asking.cancel()
    await passed()
    management.store.go_on.set()
    await passed()
    assert management.broker.bodies("q") == ["0", "1", "2"]


async def test_who_goes_away_while_the_store_settles_has_them_settled(
    management: Management,
) -> None:
    await management.filled(2)
    management.store.slow = True
    asking = asyncio.create_task(management.get())
    await passed()
    asking.cancel()
    await passed()
    management.store.catch_up()
    await passed()
    assert management.broker.bodies("q") == []
    assert not management.store.by_name[QueueName("/", "q")].held


async def test_nothing_is_lost_where_the_store_refuses(management: Management) -> None:
    await management.filled(2)
    management.store.refusal = StoreUnavailable("the disk is full")
    answer = await management.ask(
        "POST", GET, {"count": 2, "ackmode": "ack_requeue_false", "encoding": "auto"}
    )
    assert (answer.status, json.loads(answer.body)) == (
        503,
        {"error": "service_unavailable", "reason": "the disk is full"},
    )
    assert (await management.publish("x")).status == 503


async def test_an_answer_has_bounds(
    management: Management, monkeypatch: pytest.MonkeyPatch
) -> None:
    await management.filled(12)
    monkeypatch.setattr(limits_of_messages, "MESSAGES_MAX", 11)
    assert len(await management.get("ack_requeue_true")) == 11
    assert len(await management.get("ack_requeue_true", count=12)) == 11
    monkeypatch.setattr(limits_of_messages, "BYTES_MAX", 3)
    assert [each["payload"] for each in await management.get("ack_requeue_true")] == ["0", "1", "2"]
    # What is cut off does not count.
    assert len(await management.get("ack_requeue_true", truncate=0)) == 11


async def test_more_messages_than_are_settled_at_once(
    management: Management, monkeypatch: pytest.MonkeyPatch
) -> None:
    await management.filled(7)
    monkeypatch.setattr(limits_of_messages, "_SETTLED_AT_ONCE", 3)
    got = await management.get()
    assert [each["payload"] for each in got] == [str(number) for number in range(7)]
    assert [each["message_count"] for each in got] == [6, 5, 4, 3, 2, 1, 0]
    assert not management.store.by_name[QueueName("/", "q")].held


async def test_routes_from_amqp_hold_and_their_queues_are_made() -> None:
    management = Management(Rule("copied", "amqp:/#", ("sqs:copies-of-q", "default")))
    await management.filled(1)
    assert management.broker.bodies("copies-of-q") == ["0"]
    assert management.broker.bodies("q") == ["0"]


async def test_a_full_queue_rejects_a_publish(management: Management) -> None:
    await management.filled(0)
    management.store.refused[QueueName("/", "q")] = QueueFull("full")
    answer = await management.publish("x")
    assert (answer.status, json.loads(answer.body)["reason"]) == (
        400,
        "rejected Unable to publish message. Check queue limits.",
    )


async def test_a_message_over_the_limit_is_refused(management: Management) -> None:
    await management.filled(0)
    size_max = management.broker.services.limits.message_size_max
    answer = await management.publish("x" * (size_max + 1))
    assert answer.status == 400
    assert json.loads(answer.body)["reason"].startswith("406 PRECONDITION_FAILED - message size")
    assert (await management.publish("x" * size_max)).status == 200


async def test_without_credentials_nothing_is_changed(management: Management) -> None:
    await management.filled(1)
    wanted = json.dumps({"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}).encode()
    handle = management._handle
    answer = await handle(HttpRequest("POST", GET, {}, wanted))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert management.broker.bodies("q") == ["0"]
    assert (await handle(HttpRequest("GET", "/api/queues/%2F/q", {}))).status == 200
