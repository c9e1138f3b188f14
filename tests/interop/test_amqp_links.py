"""A real RabbitMQ whose shovel and federation point at Landbridge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.interop.lost_on_aws import AMQP_ORDER, in_order
from tests.support.program import Place
from tests.support.rabbitmq import INSTALLED, rabbitmq

WAIT_SECONDS = 60
USER = {
    "name": "guest",
    "password_hash": "kI3GCrswBLNZQzHJJ95QLoyfAVooYhnvf7jbqiW9BjOYUloe",
    "hashing_algorithm": "rabbit_password_hashing_sha256",
    "tags": ["administrator"],
}
EVERYTHING = {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}

pytestmark = [
    pytest.mark.skipif(not INSTALLED, reason="RabbitMQ is not installed"),
    pytest.mark.timeout(600),
]


def shovel(name: str, source: tuple[str, str], destination: tuple[str, str]) -> dict[str, Any]:
    value = {
        "src-protocol": "amqp091",
        "src-uri": source[0],
        "src-queue": source[1],
        "dest-protocol": "amqp091",
        "dest-uri": destination[0],
        "dest-queue": destination[1],
        "ack-mode": "on-confirm",
    }
    return {"vhost": "/", "component": "shovel", "name": name, "value": value}


def definitions(ours: int) -> Callable[[int], dict[str, Any]]:
    def of(theirs: int) -> dict[str, Any]:
        here, there = (f"amqp://guest:guest@127.0.0.1:{port}" for port in (ours, theirs))
        upstream = {"uri": here, "ack-mode": "on-confirm"}
        return {
            "vhosts": [{"name": "/"}],
            "users": [USER],
            "permissions": [EVERYTHING],
            "parameters": [
                shovel("out", (there, "out"), (here, "landbridge")),
                shovel("back", (here, "landbridge"), (there, "back")),
                {
                    "vhost": "/",
                    "component": "federation-upstream",
                    "name": "landbridge",
                    "value": upstream,
                },
            ],
            "policies": [
                {
                    "vhost": "/",
                    "name": "federated",
                    "pattern": "^fed\\.",
                    "apply-to": "exchanges",
                    "definition": {"federation-upstream-set": "all"},
                }
            ],
        }

    return of


@pytest.fixture(scope="module")
def ports(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    here, there = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    with place.running(directory=here) as program:
        ours = program.port("amqp")
        plugins = ("rabbitmq_shovel", "rabbitmq_federation")
        with rabbitmq(there, plugins=plugins, definitions=definitions(ours)) as theirs:
            yield ours, theirs


@contextmanager
def opened(port: int) -> Iterator[BlockingChannel]:
    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)) as connection:
        yield connection.channel()


def taken(channel: BlockingChannel, queue: str, count: int) -> list[bytes]:
    bodies: list[bytes] = []
    for _ in range(WAIT_SECONDS * 20):
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            bodies.append(got[2])
        if len(bodies) >= count:
            break
        channel.connection.sleep(0.05)
    return bodies


def test_shovels_in_both_directions(place: Place, ports: tuple[int, int]) -> None:
    with opened(ports[1]) as theirs:
        theirs.queue_declare("out", durable=True)
        theirs.queue_declare("back", durable=True)
        bodies = [b"%d" % number for number in range(200)]
        for body in bodies:
            theirs.basic_publish("", "out", body, pika.BasicProperties(delivery_mode=2))
        back = taken(theirs, "back", len(bodies))
        assert in_order(place, AMQP_ORDER, back) == in_order(place, AMQP_ORDER, bodies)


def test_a_federated_exchange(ports: tuple[int, int]) -> None:
    with opened(ports[0]) as ours, opened(ports[1]) as theirs:
        for channel in (ours, theirs):
            channel.exchange_declare("fed.readings", "topic", durable=True)
        queue = theirs.queue_declare("", exclusive=True).method.queue
        theirs.queue_bind(queue, "fed.readings", "plant.#")
        ours.confirm_delivery()
        for _ in range(WAIT_SECONDS * 20):
            try:
                # The link binds a queue of its own to the upstream exchange when it is up.
                ours.basic_publish("fed.readings", "plant.a", b"42", mandatory=True)
                break
            except pika.exceptions.UnroutableError:
                ours.connection.sleep(0.05)
        ours.basic_publish("fed.readings", "elsewhere", b"43")
        assert taken(theirs, queue, 1) == [b"42"]
