"""Topics and transient queues of two brokers on AWS: clients of all protocols, and boto3.

moto stands for AWS. What is published at one node or by boto3 reaches every subscriber once, at
whichever node it is.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import paho.mqtt.client as mqtt
import pika
import pytest
import stomp
from paho.mqtt.enums import CallbackAPIVersion

from tests.scenarios.test_nodes_on_aws import brokers, next_body, options
from tests.scenarios.test_protocols_on_aws import KEYS, amqp
from tests.support.aws_nodes import cloud
from tests.support.moto_server import moto_server
from tests.support.program import Program, start

WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


class Outside:
    """A queue of SQS that is subscribed to a topic in SNS, which is made."""

    def __init__(self, url: str, prefix: str, topic: str = "amq-topic") -> None:
        self.sqs, self.sns = cloud(url, "sqs"), cloud(url, "sns")
        self.topic = self.sns.create_topic(Name=f"{prefix}-{topic}")["TopicArn"]
        name = f"outside-{prefix}"
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        self.sns.subscribe(
            TopicArn=self.topic,
            Protocol="sqs",
            Endpoint=self.topic.replace(":sns:", ":sqs:").rpartition(":")[0] + f":{name}",
            Attributes={"RawMessageDelivery": "true"},
        )

    def publish(self, body: str, subject: str) -> None:
        attribute = {"DataType": "String", "StringValue": subject}
        self.sns.publish(
            TopicArn=self.topic,
            Message=body,
            MessageAttributes={"landbridge-subject": attribute},
        )

    def receive(self, count: int) -> list[tuple[str, str]]:
        """Bodies with their subjects, in their order as far as SQS keeps it."""
        came: list[tuple[str, str]] = []
        deadline = time.monotonic() + WAIT_SECONDS
        while len(came) < count:
            assert time.monotonic() < deadline, came
            came += self._some()
        return came

    def _some(self) -> list[tuple[str, str]]:
        reply = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1,
            MessageAttributeNames=["All"],
        )
        messages = reply.get("Messages", [])
        for each in messages:
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=each["ReceiptHandle"])
        return [
            (each["Body"], each["MessageAttributes"]["landbridge-subject"]["StringValue"])
            for each in messages
        ]

    def wait_for_ingest(self) -> None:
        """Until Landbridge is subscribed, too."""
        until(
            lambda: (
                len(self.sns.list_subscriptions_by_topic(TopicArn=self.topic)["Subscriptions"]) > 1
            )
        )


def until(met: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not met():
        assert time.monotonic() < deadline, "waited in vain"


class CleanSession:
    """An MQTT client with a clean session; what comes is in `received`."""

    def __init__(self, program: Program, topic: str) -> None:
        self.received: queue.Queue[tuple[str, bytes]] = queue.Queue()
        subscribed: queue.Queue[bool] = queue.Queue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, clean_session=True)
        self.client.on_message = lambda _c, _u, each: self.received.put(
            (each.topic, bytes(each.payload))
        )
        self.client.on_connect = lambda *_: self._subscribe(topic)
        self.client.on_subscribe = lambda *_: subscribed.put(True)
        self.client.connect("127.0.0.1", program.port("mqtt"))
        self.client.loop_start()
        subscribed.get(timeout=WAIT_SECONDS)

    def _subscribe(self, topic: str) -> None:
        self.client.subscribe(topic, 1)

    def publish(self, topic: str, body: str, qos: int = 1) -> None:
        sent = self.client.publish(topic, body, qos)
        sent.wait_for_publish(WAIT_SECONDS)
        assert sent.is_published()

    def next(self) -> tuple[str, bytes]:
        return self.received.get(timeout=WAIT_SECONDS)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def stomp_client(program: Program) -> Iterator[tuple[Any, queue.Queue[tuple[str, str]]]]:
    """A connection and what it receives: destination and body."""
    received: queue.Queue[tuple[str, str]] = queue.Queue()

    class Listener(stomp.ConnectionListener):  # type: ignore[misc]
        def on_message(self, frame: Any) -> None:
            received.put((frame.headers.get("reply-to", ""), frame.body))

        def on_receipt(self, frame: Any) -> None:
            received.put(("receipt", frame.headers["receipt-id"]))

    connection = stomp.Connection12([("127.0.0.1", program.port("stomp"))])
    connection.set_listener("", Listener())
    connection.connect(wait=True)
    yield connection, received
    connection.disconnect()


def subscribe(connection: Any, received: queue.Queue[tuple[str, str]], destination: str) -> None:
    connection.subscribe(destination, id=destination, ack="auto", headers={"receipt": "s"})
    assert received.get(timeout=WAIT_SECONDS) == ("receipt", "s")


def test_a_publish_reaches_another_node_and_sns(moto_url: str, tmp_path: Path) -> None:
    outside = Outside(moto_url, "outward")
    with brokers(moto_url, tmp_path, "outward") as (first, second):
        subscriber = CleanSession(second, "plant/+/meter")
        publisher = CleanSession(first, "nothing")
        sent = [(f"plant/{number}/meter", str(number).encode()) for number in range(10)]
        for qos, (topic, body) in zip([0, 1, 2, 1, 1, 1, 1, 2, 2, 1], sent, strict=True):
            publisher.publish(topic, body.decode(), qos)
        assert sorted(subscriber.next() for _ in sent) == sent
        assert sorted(outside.receive(len(sent))) == [
            (str(number), f"plant.{number}.meter") for number in range(10)
        ]
        publisher.publish("other", "last")
        assert outside.receive(1) == [("last", "other")]
        assert subscriber.received.empty()
        publisher.close()
        subscriber.close()


def test_what_boto3_publishes_reaches_each_subscriber_once(moto_url: str, tmp_path: Path) -> None:
    outside = Outside(moto_url, "inward")
    with (
        brokers(moto_url, tmp_path, "inward") as (first, second),
        amqp(first) as here,
        stomp_client(second) as (connection, received),
    ):
        here.queue_declare("kept", durable=True)
        here.queue_bind("kept", "amq.topic", "plant.#")
        subscribe(connection, received, "/topic/plant.*")
        sessions = [CleanSession(program, "plant/+") for program in (first, second)]
        outside.wait_for_ingest()
        bodies = [str(number) for number in range(10)]
        for body in bodies:
            outside.publish(body, f"plant.{body}")
        expected = [(f"plant/{body}", body.encode()) for body in bodies]
        for session in sessions:
            assert sorted(session.next() for _ in bodies) == expected
        assert sorted(received.get(timeout=WAIT_SECONDS)[1] for _ in bodies) == bodies
        kept = []
        for method, _, body in here.consume("kept", inactivity_timeout=WAIT_SECONDS):
            here.basic_ack(method.delivery_tag)
            kept.append(body.decode())
            if len(kept) == len(bodies):
                break
        assert sorted(kept) == bodies
        # What comes after is the next message for all: none came twice.
        outside.publish("last", "plant.last")
        for session in sessions:
            assert session.next() == ("plant/last", b"last")
            session.close()
        assert received.get(timeout=WAIT_SECONDS)[1] == "last"
        # And nothing of it was published to SNS again.
        came = outside.receive(11)
        assert sorted(came) == [
            *[(body, f"plant.{body}") for body in bodies],
            ("last", "plant.last"),
        ]


def serve(program: Program, name: str) -> tuple[pika.BlockingConnection, Thread]:
    """Answer what comes to a queue, in capitals, to whom it says."""
    connection = pika.BlockingConnection(
        pika.ConnectionParameters("127.0.0.1", program.port("amqp"))
    )
    channel = connection.channel()
    channel.queue_declare(name, durable=True)

    def answer(at: Any, method: Any, properties: Any, body: bytes) -> None:
        reply = pika.BasicProperties(correlation_id=properties.correlation_id)
        at.basic_publish("", properties.reply_to, body.upper(), reply)
        at.basic_ack(method.delivery_tag)

    channel.basic_consume(name, answer)
    thread = Thread(target=channel.start_consuming)
    thread.start()
    return connection, thread


@pytest.mark.parametrize("direct", [False, True], ids=["exclusive", "direct"])
def test_replies_find_their_queue_at_another_node(
    moto_url: str, tmp_path: Path, direct: bool
) -> None:
    with brokers(moto_url, tmp_path, f"rpc{direct}") as (first, second):
        server, thread = serve(first, "rpc")
        with amqp(second) as channel:
            replies = "amq.rabbitmq.reply-to"
            if not direct:
                replies = channel.queue_declare("", exclusive=True).method.queue
            came: list[tuple[str, bytes]] = []
            channel.basic_consume(
                replies,
                lambda _c, _m, properties, body: came.append((properties.correlation_id, body)),
                auto_ack=True,
            )
            for number in range(5):
                ask = pika.BasicProperties(reply_to=replies, correlation_id=str(number))
                channel.basic_publish("", "rpc", b"ask %d" % number, ask)
            deadline = time.monotonic() + WAIT_SECONDS
            while len(came) < 5 and time.monotonic() < deadline:
                channel.connection.process_data_events(0.1)
        assert sorted(came) == [(str(number), b"ASK %d" % number) for number in range(5)]
        server.add_callback_threadsafe(server.close)
        thread.join(WAIT_SECONDS)


def test_a_queue_that_is_not_durable_is_for_all_nodes(moto_url: str, tmp_path: Path) -> None:
    with (
        brokers(moto_url, tmp_path, "hello") as (first, second),
        amqp(first) as here,
        amqp(second) as there,
    ):
        here.queue_declare("hello")
        there.queue_declare("hello")
        here.basic_publish("", "hello", b"1", mandatory=True)
        assert next_body(there, "hello") == b"1"
        there.basic_publish("", "hello", b"2", mandatory=True)
        assert next_body(here, "hello") == b"2"
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="406"):
            there.queue_declare("hello", durable=True)


def test_a_temporary_queue_of_stomp_at_another_node(moto_url: str, tmp_path: Path) -> None:
    with (
        brokers(moto_url, tmp_path, "temp") as (first, second),
        stomp_client(first) as (asking, answers),
        stomp_client(second) as (serving, requests),
    ):
        subscribe(serving, requests, "/queue/ask")
        asking.send("/queue/ask", "hello", headers={"reply-to": "/temp-queue/mine"})
        reply_to, body = requests.get(timeout=WAIT_SECONDS)
        assert body == "hello"
        serving.send(reply_to, "world")
        assert answers.get(timeout=WAIT_SECONDS)[1] == "world"


def test_what_a_killed_node_had_is_swept_up(moto_url: str, tmp_path: Path) -> None:
    sqs = cloud(moto_url, "sqs")
    (tmp_path / "killed").mkdir()

    def queues() -> list[str]:
        return list(sqs.list_queues(QueueNamePrefix="swept-").get("QueueUrls", []))

    with brokers(moto_url, tmp_path, "swept", count=1) as (first,):
        victim = start(
            *[f"--set=listeners.{name}.port=0" for name in first.ports],
            *options(moto_url, "swept"),
            directory=tmp_path / "killed",
            environment=KEYS,
        )
        session = CleanSession(victim, "a/#")
        with amqp(first) as channel:
            until(lambda: any("swept-inbox-" in url for url in queues()))
            channel.basic_publish("amq.topic", "a.b", b"reached", mandatory=True)
            assert session.next() == ("a/b", b"reached")
            victim.kill()
            session.close()

            def nobody() -> bool:
                try:
                    channel.basic_publish("amq.topic", "a.b", b"nobody", mandatory=True)
                except pika.exceptions.UnroutableError:
                    return True
                return False

            # The inbox stays for a while: the node could have been cut off, and come back.
            until(nobody)
