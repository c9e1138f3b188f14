"""AMQP and MQTT clients on a broker whose queues are in SQS, and its restart; AWS good and bad."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pika
import pika.exceptions
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.bad_aws import bad_aws
from tests.support.moto_server import moto_server
from tests.support.program import Program, running

WAIT_SECONDS = 60
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(scope="module", params=[moto_server, bad_aws], ids=["moto", "bad-aws"])
def aws_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with request.param() as url:
        yield url


@contextmanager
def broker(aws_url: str, directory: Path, prefix: str) -> Iterator[Program]:
    directory.mkdir(exist_ok=True)
    given = {
        "kind": "aws",
        "region": "eu-west-1",
        "endpoint_url": aws_url,
        "prefix": f"{prefix}-",
        "state_table": prefix,
    }
    options = [f"--set=backend.{name}={value}" for name, value in given.items()]
    with running(*options, directory=directory, environment=KEYS) as program:
        yield program


@contextmanager
def amqp(program: Program) -> Iterator[Any]:
    parameters = pika.ConnectionParameters("127.0.0.1", program.port("amqp"))
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


def get(channel: Any, name: str) -> Any:
    """The next message of a queue; polls, since basic.get does not wait."""
    for _, properties, body in channel.consume(
        name, auto_ack=True, inactivity_timeout=WAIT_SECONDS
    ):
        channel.cancel()
        return properties, body
    raise AssertionError


class Session:
    """A persistent MQTT session; what comes is in `received`."""

    def __init__(self, program: Program, client_id: str) -> None:
        self.received: queue.Queue[tuple[str, bytes, int]] = queue.Queue()
        self._subscribed: queue.Queue[bool] = queue.Queue()
        self._connected: queue.Queue[bool] = queue.Queue()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False
        )
        self.client.on_message = lambda _c, _u, each: self.received.put(
            (each.topic, bytes(each.payload), each.qos)
        )
        self.client.on_subscribe = lambda *_: self._subscribed.put(True)
        self.client.on_connect = lambda *_: self._connected.put(True)
        self.client.connect("127.0.0.1", program.port("mqtt"))
        self.client.loop_start()
        self._connected.get(timeout=WAIT_SECONDS)

    def subscribe(self, topic: str, qos: int) -> None:
        self.client.subscribe(topic, qos)
        self._subscribed.get(timeout=WAIT_SECONDS)

    def publish(self, topic: str, body: str, qos: int) -> None:
        sent = self.client.publish(topic, body, qos)
        sent.wait_for_publish(WAIT_SECONDS)
        assert sent.is_published()

    def next(self) -> tuple[str, bytes, int]:
        return self.received.get(timeout=WAIT_SECONDS)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_exchanges_dead_letters_and_transient_queues(aws_url: str, tmp_path: Path) -> None:
    with broker(aws_url, tmp_path, "amqp") as program, amqp(program) as channel:
        channel.exchange_declare("ex", exchange_type="topic", durable=True)
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        channel.queue_declare("work", durable=True, arguments=arguments)
        channel.queue_declare("dead", durable=True)
        channel.queue_bind("work", "ex", "a.#")
        sent = {f"m{number}".encode() for number in range(30)}
        for body in sorted(sent):
            channel.basic_publish("ex", "a.b", body, mandatory=True)
        channel.basic_qos(prefetch_count=10)
        came = []
        for method, _, body in channel.consume("work", inactivity_timeout=WAIT_SECONDS):
            came.append(body)
            if body == b"m7":
                channel.basic_nack(method.delivery_tag, requeue=False)
            else:
                channel.basic_ack(method.delivery_tag)
            if len(came) == len(sent):
                break
        channel.cancel()
        assert set(came) == sent
        properties, body = get(channel, "dead")
        assert body == b"m7"
        assert properties.headers["x-death"][0]["queue"] == "work"
        own = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(own, "ex", "x.*")
        channel.basic_publish("ex", "x.y", b"hi", mandatory=True)
        assert get(channel, own)[1] == b"hi"
        with pytest.raises(pika.exceptions.UnroutableError):
            channel.basic_publish("ex", "nowhere", b"", mandatory=True)


def test_catalogue_and_sessions_survive_a_restart(aws_url: str, tmp_path: Path) -> None:
    with broker(aws_url, tmp_path / "first", "again") as program:
        with amqp(program) as channel:
            channel.queue_declare("kept", durable=True)
            channel.queue_bind("kept", "amq.topic", "t.#")
        subscriber, publisher = Session(program, "sub"), Session(program, "pub")
        subscriber.subscribe("t/#", 2)
        for qos in (0, 1, 2):
            publisher.publish("t/x", str(qos), qos)
        assert {subscriber.next() for _ in range(3)} == {
            ("t/x", str(qos).encode(), qos) for qos in (0, 1, 2)
        }
        subscriber.close()
        publisher.publish("t/off", "while away", 1)
        publisher.close()
    with broker(aws_url, tmp_path / "second", "again") as program:
        subscriber = Session(program, "sub")
        assert subscriber.next() == ("t/off", b"while away", 1)
        subscriber.close()
        with amqp(program) as channel:
            bodies = set()
            for method, _, body in channel.consume("kept", inactivity_timeout=WAIT_SECONDS):
                channel.basic_ack(method.delivery_tag)
                bodies.add(body)
                if len(bodies) == 4:
                    break
            assert bodies == {b"0", b"1", b"2", b"while away"}
