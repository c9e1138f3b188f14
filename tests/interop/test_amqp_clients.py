"""Real AMQP clients: aio-pika, kombu and Celery, rabbitmq-c's tools, amqplib of Node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.patterns import RPC
from kombu.connection import Connection
from kombu.entity import Exchange, Queue

from tests.interop.lost_on_aws import AMQP_ORDER, in_order
from tests.support.program import Place, Program

HERE = Path(__file__).parent
NODE = HERE / "node"
WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def program(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with place.running(directory=tmp_path_factory.mktemp("broker")) as started:
        yield started


@pytest.fixture
def address(program: Program) -> str:
    return f"amqp://guest:guest@127.0.0.1:{program.port('amqp')}/"


async def test_aio_pika(place: Place, address: str) -> None:
    headers: dict[str, Any] = {"f": 1.5, "b": bytearray(b"\xff"), "t": [1, {"x": None}]}
    async with asyncio.timeout(WAIT_SECONDS), await aio_pika.connect_robust(address) as connection:
        channel = await connection.channel()
        await channel.set_qos(10)
        exchange = await channel.declare_exchange(
            "readings", aio_pika.ExchangeType.TOPIC, durable=True
        )
        queue = await channel.declare_queue("readings", durable=True)
        await queue.bind(exchange, "plant.*")
        for number in range(50):
            message = aio_pika.Message(b"%d" % number, headers=headers, delivery_mode=2)
            await exchange.publish(message, "plant.a")
        bodies = []
        async with queue.iterator() as messages:
            async for incoming in messages:
                async with incoming.process():
                    assert incoming.headers == headers
                    bodies.append(incoming.body)
                if len(bodies) == 50:
                    break
        assert in_order(place, AMQP_ORDER, bodies) == in_order(
            place, AMQP_ORDER, [b"%d" % number for number in range(50)]
        )
        await queue.delete()
        await exchange.delete()


async def test_aio_pika_remote_procedures(address: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS), await aio_pika.connect_robust(address) as connection:
        channel = await connection.channel()
        remote = await RPC.create(channel)

        async def multiply(one: int, other: int) -> int:
            return one * other

        await remote.register("multiply", multiply, auto_delete=True)
        assert await remote.call("multiply", {"one": 6, "other": 7}) == 42


async def test_aio_pika_transactions(place: Place, address: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS), await aio_pika.connect_robust(address) as connection:
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue("bookings", durable=True)
        async with channel.transaction():
            for body in (b"debit", b"credit"):
                await channel.default_exchange.publish(aio_pika.Message(body), "bookings")
        taken = [await queue.get(no_ack=True) for _ in range(2)]
        bodies = [each.body for each in taken if each is not None]
        assert in_order(place, AMQP_ORDER, bodies) == in_order(
            place, AMQP_ORDER, [b"debit", b"credit"]
        )


def test_kombu(address: str) -> None:
    exchange = Exchange("kombu", type="direct")  # type: ignore[no-untyped-call]
    queue = Queue("kombu", exchange, routing_key="k")  # type: ignore[no-untyped-call]
    got: list[Any] = []

    def take(body: Any, message: Any) -> None:
        got.append((body, message.headers))
        message.ack()

    options = {"confirm_publish": True}
    opened = Connection(f"{address}/", transport_options=options)  # type: ignore[no-untyped-call]
    with opened as connection:
        producer = connection.Producer(serializer="json")
        producer.publish(
            {"a": 1},
            exchange=queue.exchange,
            routing_key="k",
            declare=[queue],
            headers={"x": {"y": [1, 2.5, None]}},
        )
        with connection.Consumer(queue, callbacks=[take]):
            connection.drain_events(timeout=WAIT_SECONDS)
        connection.default_channel.queue_delete("kombu")
    assert got == [({"a": 1}, {"x": {"y": [1, 2.5, None]}})]


WORKER = ("worker", "-P", "solo", "-l", "WARNING")
CELERY_CALLS = """
from tests.interop.celery_tasks import add, app, flaky
results = [add.delay(number, number) for number in range(50)]
print(sum(result.get(timeout=120) for result in results))
print(flaky.delay().get(timeout=120))
print(add.apply_async((1, 2), countdown=1).get(timeout=120))
print(len(app.control.ping(timeout=60, limit=1)))
"""


CHORD_CALLS = """
from tests.interop.celery_tasks import add, chord, total
print(chord([add.s(number, number) for number in range(10)])(total.s()).get(timeout=120))
"""
HELD_CALLS = """
import sys
from tests.interop.celery_tasks import held
print(held.delay(sys.argv[1]).get(timeout=120))
"""


@contextmanager
def celery_worker(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tests.interop.celery_tasks", *WORKER],
        env=environment,
        cwd=HERE.parent.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait()


def celery_calls(environment: dict[str, str], calls: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", calls, *arguments],
        env=environment,
        cwd=HERE.parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.timeout(600)
def test_celery(address: str) -> None:
    environment = {**os.environ, "BROKER": f"{address}/"}
    with celery_worker(environment):
        said, errors = celery_calls(environment, CELERY_CALLS).communicate(timeout=300)
        assert said.split() == ["2450", "2", "3", "1"], errors


@pytest.mark.timeout(600)
def test_celery_chords_with_results_elsewhere(address: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "BROKER": f"{address}/",
        "RESULTS": f"db+sqlite:///{tmp_path}/results.db",
    }
    with celery_worker(environment):
        said, errors = celery_calls(environment, CHORD_CALLS).communicate(timeout=300)
        assert said.split() == ["90"], errors


@pytest.mark.timeout(600)
def test_another_celery_worker_takes_over_from_one_that_was_killed(
    address: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "BROKER": f"{address}/"}
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with celery_worker(environment) as worker:
        calls = celery_calls(environment, HELD_CALLS, str(pipe))
        assert pipe.read_text() == "running"
        worker.kill()
        worker.wait()
        with celery_worker(environment):
            said, errors = calls.communicate(timeout=300)
            assert said == "done by another\n", errors


@pytest.mark.skipif(shutil.which("amqp-publish") is None, reason="amqp-tools are not installed")
def test_amqp_tools(place: Place, address: str) -> None:
    def tool(name: str, *arguments: str) -> bytes:
        return subprocess.run(
            [f"amqp-{name}", "-u", f"{address}%2f", *arguments],
            capture_output=True,
            check=True,
            timeout=WAIT_SECONDS,
        ).stdout

    assert tool("declare-queue", "-q", "tools", "-d") == b"tools\n"
    tool("publish", "-r", "tools", "-p", "-b", "one")
    tool("publish", "-r", "tools", "-p", "-b", "two")
    bodies = [tool("get", "-q", "tools"), tool("consume", "-q", "tools", "-c", "1", "cat")]
    assert in_order(place, AMQP_ORDER, bodies) == [b"one", b"two"]
    assert tool("delete-queue", "-q", "tools") == b"0\n"


@pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules" / "amqplib").is_dir(),
    reason="node or amqplib is not installed: make node-clients",
)
def test_amqplib(place: Place, program: Program) -> None:
    done = subprocess.run(
        ["node", "amqplib_session.mjs", str(program.port("amqp"))],
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    said["consumed"] = in_order(place, AMQP_ORDER, said["consumed"])
    assert said == {
        "confirmed": 3,
        "consumed": ["0", "1", "2"],
        "headers": {"when": {"!": "timestamp", "value": 1700000000}, "deep": {"list": [1, "a"]}},
        "returned": ["NO_ROUTE", "nobody"],
        "reply": "pong",
        "error": "404 NOT_FOUND - no queue 'missing' in vhost '/'",
    }
