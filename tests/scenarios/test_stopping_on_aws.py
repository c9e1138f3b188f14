"""A node is stopped while AWS accepts connections and answers nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import boto3
import pika
import pika.exceptions
import pytest

from bridge.messaging.limits import Limits
from tests.support.moto_server import moto_server
from tests.support.program import (
    AWS_KEYS,
    FREE_PORTS,
    PAYLOAD_BUCKET,
    Program,
    options_on_aws,
    start,
)
from tests.support.relay import relay

SECONDS_MAX: Final = Limits().stop_seconds_max + 10.0
"""The end of the process takes its time as well, on a busy machine; the clients' own bounds, which
would hold without a deadline, add up to much more.
"""
LARGE: Final = b"x" * 2_000_000


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as started:
        s3 = boto3.client(
            "s3",
            endpoint_url=started,
            region_name="us-east-1",
            aws_access_key_id="AKIATEST",
            aws_secret_access_key="secret",
        )
        s3.create_bucket(Bucket=PAYLOAD_BUCKET)
        yield started


def node(url: str, directory: Path) -> Program:
    directory.mkdir()
    options = options_on_aws(url, "stopping", payload_bucket=PAYLOAD_BUCKET)
    return start(*FREE_PORTS, *options, directory=directory, environment=AWS_KEYS)


def test_a_stop_has_one_deadline_whatever_aws_does(url: str, tmp_path: Path) -> None:
    other = node(url, tmp_path / "other")
    with relay(url) as way:
        program = node(way.url, tmp_path / "one")
        connection = pika.BlockingConnection(
            pika.ConnectionParameters("127.0.0.1", program.port("amqp"))
        )
        channel = connection.channel()
        # What there is to be let go of: deliveries, a turn, an inbox, publishes, a body in S3.
        turn = {"x-single-active-consumer": True}
        channel.queue_declare("orders", durable=True, arguments=turn)
        channel.queue_declare("mine", exclusive=True)
        for _ in range(5):
            channel.basic_publish("", "orders", b"x")
        deliveries = channel.consume("orders")
        next(deliveries)
        next(deliveries)
        way.fall_silent()
        for body in (b"y", LARGE):
            channel.basic_publish("", "orders", body)
        connection.process_data_events(0.5)
        since = time.monotonic()
        assert program.stop() == 0, "\n".join(program.log)
        took = time.monotonic() - since
        with suppress(pika.exceptions.AMQPError):
            connection.close()
    assert other.stop() == 0
    assert took < SECONDS_MAX, "\n".join(program.log)
