"""Clients of all protocols on SQS when it is slow, throttles, fails in part, or is gone.

Whatever it does: publishers wait and stay connected, what is confirmed is stored, and afterwards
everything that was confirmed is delivered.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pika
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from bridge.api import ApiOptions
from bridge.api.simulation import Faults
from tests.support.aws_api import RunningApi, running_api
from tests.support.aws_clients import client
from tests.support.moto_server import moto_server
from tests.support.program import Program, running
from tests.support.stomp_client import StompClient

pytestmark = pytest.mark.timeout(900)
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret"}
WAIT_SECONDS = 180
GONE_SECONDS = 4.0
EACH = 40
"""Messages of each publisher."""

TROUBLES: dict[str, dict[str, Any]] = {
    "slow": {"slow_rate": 1.0, "slow_seconds": 0.6},
    "throttling": {"throttle_rate": 0.6},
    "failing half of each batch": {"batch_failure_rate": 0.5},
    "failing": {"error_rate": 0.5},
    "losing answers": {"lost_reply_rate": 0.3},
    "everything": {
        "duplicate_rate": 0.1,
        "duplicate_seconds": 0.5,
        "reorder_rate": 0.3,
        "reorder_seconds": 0.5,
        "partial_receive_rate": 0.3,
        "throttle_rate": 0.1,
        "error_rate": 0.1,
        "batch_failure_rate": 0.1,
        "slow_rate": 0.1,
        "slow_seconds": 0.3,
    },
    "gone": {},
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    options = ApiOptions(faults=Faults())
    with running_api(tmp_path_factory.mktemp("aws") / "data", options) as started:
        yield started


@pytest.fixture(scope="module")
def program(api: RunningApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with moto_server() as moto_url:
        given = {
            "kind": "aws",
            "region": "eu-west-1",
            "endpoint_url": api.url,
            "endpoints": f"{{dynamodb: '{moto_url}'}}",
        }
        options = [f"--set=backend.{name}={value}" for name, value in given.items()]
        directory: Path = tmp_path_factory.mktemp("broker")
        with running(*options, directory=directory, environment=KEYS) as started:
            yield started


class Publisher(threading.Thread):
    """Publishes `EACH` messages over one connection; `confirmed` are those that were."""

    def __init__(self, prefix: str, publish: Callable[[Publisher], None]) -> None:
        super().__init__(daemon=True)
        self.bodies = [f"{prefix}{number}" for number in range(EACH)]
        self.confirmed: set[str] = set()
        self.error: BaseException | None = None
        self.connected = threading.Event()
        self.go = threading.Event()
        self._publish = publish

    def run(self) -> None:
        try:
            self._publish(self)
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self.error = error
        finally:
            self.connected.set()

    def start_connected(self) -> None:
        self.start()
        assert self.connected.wait(WAIT_SECONDS)

    def finish(self) -> None:
        self.join(WAIT_SECONDS)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), f"{len(self.confirmed)} of {EACH} are confirmed"
        assert self.confirmed == set(self.bodies)


def over_amqp(port: int, queue: str) -> Callable[[Publisher], None]:
    def publish(self: Publisher) -> None:
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
        channel = connection.channel()
        channel.confirm_delivery()
        self.connected.set()
        self.go.wait()
        for body in self.bodies:
            # Returns once the broker has confirmed it, and raises for a nack.
            channel.basic_publish("", queue, body.encode(), mandatory=True)
            self.confirmed.add(body)
        connection.close()

    return publish


def over_mqtt(port: int, topic: str, qos: int = 1) -> Callable[[Publisher], None]:
    def publish(self: Publisher) -> None:
        lost: list[Any] = []
        one = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=topic.replace("/", "-"))
        one.max_inflight_messages_set(EACH)
        one.on_connect = lambda *_: self.connected.set()
        one.on_disconnect = lambda *arguments: lost.append(arguments[3])
        one.connect("127.0.0.1", port)
        one.loop_start()
        self.go.wait()
        sent = [(body, one.publish(topic, body, qos=qos)) for body in self.bodies]
        for body, each in sent:
            each.wait_for_publish(WAIT_SECONDS)
            assert each.is_published()
            self.confirmed.add(body)
        assert not lost, "it was disconnected"
        one.disconnect()
        one.loop_stop()

    return publish


def over_stomp(port: int, queue: str) -> Callable[[Publisher], None]:
    async def converse(self: Publisher) -> None:
        one = await StompClient.connect(port)
        one.TIMEOUT_SECONDS = WAIT_SECONDS
        self.connected.set()
        await asyncio.to_thread(self.go.wait)
        for body in self.bodies:
            one.send("SEND", {"destination": f"/queue/{queue}", "receipt": body}, body.encode())
        while len(self.confirmed) < EACH:
            frame = await one.receive()
            assert frame.command == "RECEIPT", frame
            self.confirmed.add(frame.headers["receipt-id"])
        await one.close()

    return lambda self: asyncio.run(converse(self))


def consumed(port: int, queue: str, wanted: set[str]) -> list[str]:
    """Bodies in the order in which they came, acknowledged, until all that are wanted have."""
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=20)
    came: list[str] = []
    for method, _, body in channel.consume(queue, inactivity_timeout=WAIT_SECONDS):
        assert method is not None, f"missing: {wanted - set(came)}"
        came.append(body.decode())
        channel.basic_ack(method.delivery_tag)
        if wanted <= set(came):
            break
    channel.cancel()
    connection.close()
    return came


def declare(port: int, *queues: str, topic: str) -> None:
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    channel = connection.channel()
    for name in queues:
        channel.queue_declare(name, durable=True)
    channel.queue_bind(queues[0], "amq.topic", topic.replace("/", "."))
    connection.close()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_publishers_wait_and_nothing_confirmed_is_lost(
    trouble: str, api: RunningApi, program: Program
) -> None:
    stem = trouble.split(maxsplit=1)[0] + ("-half" if "half" in trouble else "")
    amqp = program.port("amqp")
    queues = [f"{stem}-mqtt", f"{stem}-amqp", f"{stem}-stomp"]
    declare(amqp, *queues, topic=f"{stem}/t")
    publishers = [
        Publisher("m", over_mqtt(program.port("mqtt"), f"{stem}/t")),
        Publisher("a", over_amqp(amqp, queues[1])),
        Publisher("s", over_stomp(program.port("stomp"), queues[2])),
    ]
    for each in publishers:
        each.start_connected()
    api.use(seed=11, **TROUBLES[trouble])
    sqs = client(api.url, "sqs")
    with api.gone() if trouble == "gone" else nullcontext():
        for each in publishers:
            each.go.set()
        if trouble == "gone":
            publishers[0].join(GONE_SECONDS)
            assert [each.confirmed for each in publishers] == [set(), set(), set()]
            assert all(each.is_alive() for each in publishers)
    for each in publishers:
        each.finish()
    if trouble != "everything":
        api.use()
    for name, each in zip(queues, publishers, strict=True):
        came = consumed(amqp, name, each.confirmed)
        assert set(came) == set(each.bodies)
        if trouble not in {"losing answers", "everything", "gone"}:
            assert len(came) == EACH
    api.use()
    for name in queues:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        left = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10)
        # What is left is a copy: sent twice because the first answer was lost.
        assert {each["Body"] for each in left.get("Messages", [])} <= set(
            publishers[queues.index(name)].bodies
        )


def test_what_sqs_hands_out_twice_comes_once(api: RunningApi, program: Program) -> None:
    amqp = program.port("amqp")
    declare(amqp, "twice", topic="twice/t")
    came: queue.Queue[str] = queue.Queue()
    subscribed = threading.Event()
    one = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="twice", clean_session=False)
    one.on_message = lambda _c, _u, each: came.put(each.payload.decode())
    one.on_subscribe = lambda *_: subscribed.set()
    one.connect("127.0.0.1", program.port("mqtt"))
    one.loop_start()
    one.subscribe("twice/t", qos=2)
    assert subscribed.wait(WAIT_SECONDS)
    api.use(seed=11, duplicate_rate=1.0, duplicate_seconds=0.5)
    publisher = Publisher("d", over_mqtt(program.port("mqtt"), "twice/t", qos=2))
    publisher.start_connected()
    publisher.go.set()
    publisher.finish()
    consumer = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", amqp))
    channel = consumer.channel()
    consumed: list[str] = []
    # Copies are handed out within half a second, to polls that wait longer.
    deadline = time.monotonic() + WAIT_SECONDS
    for method, _, body in channel.consume("twice", inactivity_timeout=3):
        if method is None:
            if len(consumed) >= EACH and came.qsize() >= EACH:
                break
            assert time.monotonic() < deadline, (consumed, list(came.queue))
            continue
        consumed.append(body.decode())
        channel.basic_ack(method.delivery_tag)
    channel.cancel()
    consumer.close()
    api.use()
    one.disconnect()
    one.loop_stop()
    assert sorted(consumed) == sorted(publisher.bodies)
    assert sorted(came.queue) == sorted(publisher.bodies)


def test_copies_that_lost_answers_leave_are_marked(api: RunningApi, program: Program) -> None:
    declare(program.port("amqp"), "copies", topic="copies")
    sent = [str(number) for number in range(EACH)]
    came: list[tuple[str, bool]] = []
    parameters = pika.ConnectionParameters("127.0.0.1", program.port("amqp"))
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        api.use(seed=4, lost_reply_rate=0.5)
        for body in sent:
            channel.basic_publish("", "copies", body)
        api.use()
        for method, _, body in channel.consume("copies", inactivity_timeout=3):
            if method is None:
                break
            came.append((body.decode(), method.redelivered))
            channel.basic_ack(method.delivery_tag)
        channel.cancel()
    assert {body for body, _ in came} == set(sent)
    copies = len(came) - len(sent)
    assert copies > 0
    assert sum(redelivered for _, redelivered in came) == copies
