"""Two and three brokers on one state table: what a client does at one is so at the others.

moto stands for AWS. Nothing waits here but for answers: what is declared, bound or deleted at one
node counts at the others as soon as it is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pika
import pika.exceptions
import pytest
from botocore.exceptions import ClientError

from tests.scenarios.test_protocols_on_aws import KEYS, Session, amqp
from tests.support.aws_clients import client
from tests.support.moto_server import moto_server
from tests.support.program import Program, run_landbridge, running, start

WAIT_SECONDS = 30
DEFINITIONS = Path(__file__).parents[1] / "vectors" / "rabbitmq" / "definitions_3_10.json"


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


def options(moto_url: str, name: str) -> list[str]:
    given = {
        "kind": "aws",
        "region": "eu-west-1",
        "endpoint_url": moto_url,
        "prefix": f"{name}-",
        "state_table": name,
    }
    return [f"--set=backend.{key}={value}" for key, value in given.items()]


@contextmanager
def brokers(moto_url: str, directory: Path, name: str, count: int = 2) -> Iterator[list[Program]]:
    with ExitStack() as stack:
        programs = []
        for number in range(count):
            place = directory / str(number)
            place.mkdir()
            programs.append(
                stack.enter_context(
                    running(*options(moto_url, name), directory=place, environment=KEYS)
                )
            )
        yield programs


def next_body(channel: Any, queue: str) -> bytes:
    for _, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=WAIT_SECONDS):
        channel.cancel()
        assert body is not None, "nothing came"
        return bytes(body)
    raise AssertionError


def test_what_is_bound_at_one_node_counts_at_the_other_at_once(
    moto_url: str, tmp_path: Path
) -> None:
    with (
        brokers(moto_url, tmp_path, "bound") as (first, second),
        amqp(first) as here,
        amqp(second) as there,
    ):
        here.exchange_declare("ex", exchange_type="topic", durable=True)
        for number in range(5):
            queue = f"q{number}"
            here.queue_declare(queue, durable=True, arguments={"x-message-ttl": 600_000})
            here.queue_bind(queue, "ex", f"a.{number}")
            there.basic_publish("ex", f"a.{number}", b"%d" % number, mandatory=True)
        assert [next_body(here, f"q{number}") for number in range(5)] == [
            b"%d" % number for number in range(5)
        ]
        # The same declaration there is the same queue; another one is refused.
        there.queue_declare("q0", durable=True, arguments={"x-message-ttl": 600_000})
        here.queue_unbind("q0", "ex", "a.0")
        with pytest.raises(pika.exceptions.UnroutableError):
            there.basic_publish("ex", "a.0", b"", mandatory=True)
        here.queue_delete("q1")
        with pytest.raises(pika.exceptions.UnroutableError):
            there.basic_publish("", "q1", b"", mandatory=True)
        here.exchange_delete("ex")
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="404"):
            there.basic_publish("ex", "a.2", b"", mandatory=True)


def test_a_queue_deleted_at_one_node_cancels_consumers_at_the_other(
    moto_url: str, tmp_path: Path
) -> None:
    with (
        brokers(moto_url, tmp_path, "deleted") as (first, second),
        amqp(first) as here,
        amqp(second) as there,
    ):
        here.queue_declare("work", durable=True)
        there.basic_consume("work", lambda *_: None)
        cancelled: list[Any] = []
        there.add_on_cancel_callback(cancelled.append)
        here.queue_delete("work")
        there.connection.process_data_events(WAIT_SECONDS)
        assert cancelled


def test_consumers_at_one_node_keep_an_exclusive_one_out_at_the_other(
    moto_url: str, tmp_path: Path
) -> None:
    with (
        brokers(moto_url, tmp_path, "alone") as (first, second),
        amqp(first) as here,
        amqp(second) as there,
    ):
        here.queue_declare("work", durable=True)
        tag = here.basic_consume("work", lambda *_: None)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
            there.basic_consume("work", lambda *_: None, exclusive=True)
        assert refused.value.reply_code == 403
        here.basic_cancel(tag)
        again = there.connection.channel()
        again.basic_consume("work", lambda *_: None, exclusive=True)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
            here.basic_consume("work", lambda *_: None)
        assert refused.value.reply_code == 403


def test_what_is_in_the_memory_of_one_node_is_not_used_at_the_other(
    moto_url: str, tmp_path: Path
) -> None:
    with (
        brokers(moto_url, tmp_path, "memory") as (first, second),
        amqp(first) as here,
    ):
        here.queue_declare("mine", auto_delete=True)
        uses: list[Callable[[Any], object]] = [
            lambda there: there.basic_consume("mine", lambda *_: None),
            lambda there: there.basic_get("mine"),
            lambda there: there.queue_purge("mine"),
        ]
        for use in uses:
            with (
                amqp(second) as there,
                pytest.raises(
                    pika.exceptions.ChannelClosedByBroker,
                    match=r"405.*'mine' is in the memory of another node",
                ),
            ):
                use(there)
        with amqp(second) as there:
            assert there.queue_declare("mine", passive=True).method.message_count == 0
            there.basic_publish("", "mine", b"sent from there", mandatory=True)
        assert next_body(here, "mine") == b"sent from there"


def test_retained_messages_and_subscriptions_are_shared(moto_url: str, tmp_path: Path) -> None:
    with brokers(moto_url, tmp_path, "retained") as (first, second):
        publisher, subscriber = Session(first, "pub"), Session(second, "sub")
        sent = publisher.client.publish("room/lamp", "on", 1, retain=True)
        sent.wait_for_publish(WAIT_SECONDS)
        deadline = time.monotonic() + WAIT_SECONDS
        while subscriber.received.empty() and time.monotonic() < deadline:
            # Retained messages are live within a second, not before they are answered.
            subscriber.subscribe("room/#", 1)
        assert subscriber.next() == ("room/lamp", b"on", 1)
        publisher.publish("room/door", "open", 1)
        while (came := subscriber.next())[0] != "room/door":
            assert came == ("room/lamp", b"on", 1)
        publisher.close()
        subscriber.close()


def test_a_killed_node_holds_nobody_up_for_long(moto_url: str, tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    with brokers(moto_url, tmp_path, "killed-one") as (first, second), amqp(first) as here:
        third = start(
            "--port-offset=0",
            *[f"--set=listeners.{name}.port=0" for name in first.ports],
            *options(moto_url, "killed-one"),
            directory=tmp_path / "killed",
            environment=KEYS,
        )
        with amqp(third) as channel:
            channel.queue_declare("work", durable=True)
            channel.basic_publish("", "work", b"stored", mandatory=True)
        third.kill()
        started = time.monotonic()
        here.queue_declare("other", durable=True)
        here.queue_bind("other", "amq.topic", "t.#")
        assert time.monotonic() - started < 25
        assert next_body(here, "work") == b"stored"
        with amqp(second) as there:
            there.basic_publish("amq.topic", "t.x", b"routed", mandatory=True)
        assert next_body(here, "other") == b"routed"


def test_imported_users_and_namespaces_count_at_nodes_that_run(
    moto_url: str, tmp_path: Path
) -> None:
    with brokers(moto_url, tmp_path, "imported", count=1) as (program,):
        done = run_landbridge(
            "import",
            "rabbitmq",
            *options(moto_url, "imported"),
            str(DEFINITIONS),
            directory=tmp_path,
            environment=KEYS,
        )
        assert done.returncode == 0, done.stderr
        assert "into the state table 'imported', for all nodes" in done.stdout
        credentials = pika.PlainCredentials("orders", "orders-secret")
        parameters = pika.ConnectionParameters(
            "127.0.0.1", program.port("amqp"), virtual_host="shop", credentials=credentials
        )
        with pika.BlockingConnection(parameters) as connection:
            connection.channel().queue_declare("shop.q", passive=True)


def test_the_api_of_a_node_gives_the_ids_that_receivers_see(moto_url: str, tmp_path: Path) -> None:
    with brokers(moto_url, tmp_path, "ids", count=1) as (program,):
        sqs = client(f"http://127.0.0.1:{program.port('aws')}", "sqs")
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        sent = [sqs.send_message(QueueUrl=url, MessageBody="a")["MessageId"]]
        entries = [{"Id": each, "MessageBody": each} for each in "bc"]
        answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
        sent += [each["MessageId"] for each in answer["Successful"]]
        received: set[str] = set()
        while len(received) < len(sent):
            got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
            received |= {each["MessageId"] for each in got["Messages"]}
        assert received == set(sent)


def test_the_cloud_apis_of_two_nodes_are_one(moto_url: str, tmp_path: Path) -> None:
    with brokers(moto_url, tmp_path, "apis") as (first, second):
        here = client(f"http://127.0.0.1:{first.port('aws')}", "sns")
        there = client(f"http://127.0.0.1:{second.port('aws')}", "sns")
        fifo = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
        topic = here.create_topic(Name="orders.fifo", Attributes=fifo)["TopicArn"]
        once = {"TopicArn": topic, "Message": "once", "MessageGroupId": "g"}
        published = here.publish(**once)["MessageId"]
        # What is answered when all nodes have it, they have with all that was before.
        later = here.create_topic(Name="later")["TopicArn"]
        assert later in [each["TopicArn"] for each in there.list_topics()["Topics"]]
        assert there.publish(**once)["MessageId"] == published
        with pytest.raises(ClientError, match="already exists"):
            there.create_topic(Name="later", Attributes={"DisplayName": "other"})
