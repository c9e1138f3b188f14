"""Two brokers on one AWS account, one of them killed under load: no confirmed message is lost, and
what comes twice is what the killed one had handed out. moto for AWS.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pika
import pika.exceptions
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.moto_server import let_visibility_end, messages_in_sqs, moto_server
from tests.support.program import Program, node_on_aws
from tests.support.stomp_client import StompClient

QUEUE = "work"
WAIT_SECONDS = 20
PREFETCH = 20
BEFORE_THE_KILL = 150
AFTER_THE_KILL = 100


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


class Ledger:
    """What the clients were told, by body."""

    def __init__(self) -> None:
        self.confirmed: set[str] = set()
        self.delivered: dict[Program, Counter[str]] = {}
        self.changed = threading.Condition()
        self.over = threading.Event()

    def confirm(self, body: str) -> None:
        with self.changed:
            self.confirmed.add(body)
            self.changed.notify_all()

    def deliver(self, program: Program, body: str) -> None:
        with self.changed:
            self.delivered.setdefault(program, Counter())[body] += 1
            self.changed.notify_all()

    def all_delivered(self) -> Counter[str]:
        return sum(self.delivered.values(), Counter())

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_SECONDS)


def channel_of(program: Program) -> Any:
    return pika.BlockingConnection(
        pika.ConnectionParameters("127.0.0.1", program.port("amqp"))
    ).channel()


def publish_amqp(program: Program, name: str, ledger: Ledger) -> None:
    try:
        channel = channel_of(program)
        channel.confirm_delivery()
        number = 0
        while not ledger.over.is_set():
            number += 1
            body = f"{name}-{number}"
            channel.basic_publish("", QUEUE, body.encode(), mandatory=True)
            ledger.confirm(body)
        channel.connection.close()
    except pika.exceptions.AMQPError:
        return


def publish_stomp(program: Program, name: str, ledger: Ledger) -> None:
    async def publish() -> None:
        client = await StompClient.connect(program.port("stomp"))
        number = 0
        try:
            while not ledger.over.is_set():
                number += 1
                body = f"{name}-{number}"
                headers = {"destination": f"/queue/{QUEUE}", "receipt": body}
                client.send("SEND", headers, body.encode())
                ledger.confirm((await client.receive()).headers["receipt-id"])
        finally:
            await client.close()

    try:
        asyncio.run(publish())
    except (ConnectionError, EOFError):
        return


def publish_mqtt(program: Program, name: str, ledger: Ledger) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
    client.reconnect_delay_set(100, 100)
    client.connect("127.0.0.1", program.port("mqtt"))
    client.loop_start()
    number = 0
    while not ledger.over.is_set():
        number += 1
        body = f"{name}-{number}"
        sent = client.publish("work/mqtt", body, 1)
        while not sent.is_published() and not ledger.over.is_set():
            sent.wait_for_publish(0.1)
        if sent.is_published():
            ledger.confirm(body)
    client.disconnect()
    client.loop_stop()


def consume(program: Program, ledger: Ledger) -> None:
    try:
        channel = channel_of(program)
        channel.basic_qos(prefetch_count=PREFETCH)
        for method, _, body in channel.consume(QUEUE, inactivity_timeout=0.2):
            if body is not None:
                ledger.deliver(program, body.decode())
                channel.basic_ack(method.delivery_tag)
            elif ledger.over.is_set():
                channel.connection.close()
                return
    except pika.exceptions.AMQPError:
        return


def test_nothing_confirmed_is_lost(moto_url: str, tmp_path: Path) -> None:
    with (
        node_on_aws(moto_url, tmp_path / "one", "killed") as one,
        node_on_aws(moto_url, tmp_path / "two", "killed") as two,
    ):
        channel = channel_of(one)
        channel.queue_declare(QUEUE, durable=True)
        channel.queue_bind(QUEUE, "amq.topic", "work.#")
        channel.connection.close()
        ledger = Ledger()
        work: list[tuple[Any, ...]] = [
            (publish_amqp, one, "amqp-one"),
            (publish_amqp, two, "amqp-two"),
            (publish_stomp, one, "stomp-one"),
            (publish_mqtt, one, "mqtt-one"),
            (publish_mqtt, two, "mqtt-two"),
        ]
        threads = [threading.Thread(target=each[0], args=(*each[1:], ledger)) for each in work]
        threads += [threading.Thread(target=consume, args=(each, ledger)) for each in (one, two)]
        for each in threads:
            each.start()
        try:
            ledger.wait_for(lambda: len(ledger.confirmed) >= BEFORE_THE_KILL)
            ledger.wait_for(lambda: all(ledger.delivered.get(each) for each in (one, two)))
            one.kill()
            so_far = len(ledger.confirmed)
            ledger.wait_for(lambda: len(ledger.confirmed) >= so_far + AFTER_THE_KILL)
        finally:
            ledger.over.set()
            for each in threads:
                each.join(WAIT_SECONDS)
        deadline = time.monotonic() + WAIT_SECONDS
        while messages_in_sqs(f"killed-{QUEUE}") and time.monotonic() < deadline:
            let_visibility_end(f"killed-{QUEUE}")
            consume(two, ledger)
        delivered = ledger.all_delivered()
        assert ledger.confirmed <= set(delivered)
        twice = {body for body, times in delivered.items() if times > 1}
        assert twice <= set(ledger.delivered[one])
        assert len(twice) <= 2 * PREFETCH
        assert messages_in_sqs(f"killed-{QUEUE}") == []
