"""Two brokers on one AWS account: what one of them does for all is taken over when it is killed;
moto for AWS.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pika.exceptions
import pytest

from tests.support.moto_server import let_visibility_end, moto_server
from tests.support.program import Program, node_on_aws

WAIT_SECONDS = 25
TAKE_OVER_SECONDS_MAX = 15


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


def channel_of(program: Program) -> Any:
    parameters = pika.ConnectionParameters("127.0.0.1", program.port("amqp"))
    channel = pika.BlockingConnection(parameters).channel()
    channel.confirm_delivery()
    return channel


def expect(channel: Any, came: list[bytes], *bodies: bytes, killed: bool = False) -> None:
    """Wait until all of these have come; some may have come twice.

    The last poll of a killed node may have taken them.
    """
    end = time.monotonic() + WAIT_SECONDS
    while not set(bodies) <= set(came):
        assert time.monotonic() < end, came
        if killed:
            let_visibility_end("")
        channel.connection.process_data_events(0.2)


@pytest.mark.timeout(300)
def test_duties_outlive_their_node(moto_url: str, tmp_path: Path) -> None:
    with (
        node_on_aws(moto_url, tmp_path / "one", "duties") as one,
        node_on_aws(moto_url, tmp_path / "two", "duties") as two,
    ):
        here, there = channel_of(one), channel_of(two)
        here.queue_declare("single", durable=True, arguments={"x-single-active-consumer": True})
        here.queue_declare("dead", durable=True)
        short = {
            "x-message-ttl": 1_000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "dead",
        }
        here.queue_declare("short", durable=True, arguments=short)
        first: list[bytes] = []
        second: list[bytes] = []
        dead: list[bytes] = []
        here.basic_consume("single", lambda *each: first.append(each[3]), auto_ack=True)
        here.connection.process_data_events(0)
        there.basic_consume("single", lambda *each: second.append(each[3]), auto_ack=True)
        there.basic_consume("dead", lambda *each: dead.append(each[3]), auto_ack=True)
        # While both are there: one node consumes, and one of them sweeps.
        for number in range(3):
            there.basic_publish("", "single", b"%d" % number)
        expect(here, first, b"0", b"1", b"2")
        there.basic_publish("", "short", b"expired")
        expect(there, dead, b"expired")
        there.connection.process_data_events(0)
        assert second == []
        one.kill()
        killed_at = time.monotonic()
        there.basic_publish("", "single", b"after")
        there.basic_publish("", "short", b"expired after")
        expect(there, second, b"after", killed=True)
        assert time.monotonic() - killed_at < TAKE_OVER_SECONDS_MAX
        expect(there, dead, b"expired after", killed=True)
        with pytest.raises(pika.exceptions.AMQPError):
            here.connection.process_data_events(1)
        there.connection.close()
