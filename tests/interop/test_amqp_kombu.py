"""kombu over AMQP: priorities seen in one look, what is returned and rejected, a window, expiry."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from kombu import connection as kombu_connection
from kombu import entity, messaging

from tests.interop.lost_on_aws import AMQP_ORDER, in_order
from tests.support.program import AWS_SIMULATED, Place, Program

WAIT_SECONDS = 60
QUIET_SECONDS = 0.5

# kombu has no types.
connect: Any = kombu_connection.Connection
make_queue: Any = entity.Queue
make_consumer: Any = messaging.Consumer
make_producer: Any = messaging.Producer


@pytest.fixture(scope="module")
def program(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with place.running(directory=tmp_path_factory.mktemp("broker")) as started:
        yield started


@pytest.fixture
def connection(program: Program) -> Iterator[Any]:
    address = f"pyamqp://guest:guest@127.0.0.1:{program.port('amqp')}//"
    with connect(address, transport_options={"confirm_publish": True}) as opened:
        yield opened


def declared(connection: Any, name: str, **arguments: Any) -> Any:
    """A queue of that name, which the default exchange brings to."""
    queue = make_queue(name, routing_key=name, channel=connection.default_channel, **arguments)
    queue.declare()
    return queue


def publish(connection: Any, queue: Any, *bodies: str, **properties: Any) -> None:
    producer = make_producer(connection.default_channel)
    for body in bodies:
        producer.publish(body, routing_key=queue.name, **properties)


def drain(connection: Any, met: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Handle what comes until that is enough."""
    deadline = time.monotonic() + seconds
    while not met() and time.monotonic() < deadline:
        with suppress(TimeoutError):
            connection.drain_events(timeout=0.1)


def test_one_look_shows_all_priorities(place: Place, connection: Any) -> None:
    """Who cancels after the first delivery gets what was sent to him before that is answered."""
    if place.backend == AWS_SIMULATED:
        pytest.skip("one look at SQS at its worst may show nothing")
    queue = declared(connection, "kombu-priorities", max_priority=9)
    for body, priority in (("low", 3), ("high", 6), ("low again", 3)):
        publish(connection, queue, body, priority=priority)
    came: list[str] = []

    def take(body: str, message: Any) -> None:
        came.append(body)
        message.ack()

    with make_consumer(connection, [queue], callbacks=[take]):
        connection.drain_events(timeout=WAIT_SECONDS)
    assert came[0] == "high"
    assert in_order(place, AMQP_ORDER, came[1:]) == ["low", "low again"]


def test_what_is_requeued_and_rejected(connection: Any) -> None:
    dead = declared(connection, "kombu-dead")
    queue = declared(
        connection,
        "kombu-work",
        queue_arguments={
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead.name,
        },
    )
    bodies = [str(number) for number in range(10)]
    publish(connection, queue, *bodies)
    seen: list[tuple[str, bool]] = []
    buried: list[tuple[str, str]] = []

    def work(body: str, message: Any) -> None:
        again = message.delivery_info["redelivered"]
        seen.append((body, again))
        if again:
            message.reject()
        else:
            message.requeue()

    def bury(body: str, message: Any) -> None:
        buried.append((body, message.headers["x-death"][0]["reason"]))
        message.ack()

    with (
        make_consumer(connection, [queue], callbacks=[work]),
        make_consumer(connection, [dead], callbacks=[bury]),
    ):
        drain(connection, lambda: len(buried) >= len(bodies))
    assert sorted(seen) == sorted((body, again) for body in bodies for again in (False, True))
    assert sorted(buried) == [(body, "rejected") for body in bodies]


def test_a_window_moves_with_what_is_settled(connection: Any) -> None:
    queue = declared(connection, "kombu-window")
    publish(connection, queue, *[str(number) for number in range(20)])
    came: list[Any] = []
    with make_consumer(
        connection, [queue], prefetch_count=5, callbacks=[lambda _, message: came.append(message)]
    ):
        counts = []
        for settled in (0, 3, 2):
            for message in came[len(came) - settled :]:
                message.ack()
            wanted = len(came) + (settled or 5)
            drain(connection, lambda wanted=wanted: len(came) >= wanted)  # type: ignore[misc]
            drain(connection, lambda: False, QUIET_SECONDS)
            counts.append(len(came))
    assert counts == [5, 8, 10]


def test_what_expires_goes_to_its_dead_letters(place: Place, connection: Any) -> None:
    if place.backend == AWS_SIMULATED:
        pytest.skip("our own API goes by a message's expiration itself, and lets nothing be found")
    dead = declared(connection, "kombu-expired")
    queue = declared(
        connection,
        "kombu-brief",
        message_ttl=30.0,
        queue_arguments={
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead.name,
        },
    )
    publish(connection, queue, "brief", expiration=0.5)
    buried: list[tuple[str, str]] = []

    def bury(body: str, message: Any) -> None:
        buried.append((body, message.headers["x-death"][0]["reason"]))
        message.ack()

    with make_consumer(connection, [dead], callbacks=[bury]):
        drain(connection, lambda: bool(buried))
    assert buried == [("brief", "expired")]
