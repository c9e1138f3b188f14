"""Messages that cross between AMQP and its neighbours in one address space."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import boto3
import pika
import pytest

from tests.support.program import Program

HEADERS: dict[str, Any] = {
    "text": "x",
    "number": 2**40,
    "truth": True,
    "nothing": None,
    "decimal": Decimal("1.25"),
    "time": datetime(2026, 1, 2, tzinfo=UTC),
    "octets": b"\xff\x00",
    "list": [1, [2, "a"]],
    "table": {"a": {"b": None}},
    **{f"more-{number}": number for number in range(12)},
}


@pytest.fixture
def sqs(program: Program) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=f"http://127.0.0.1:{program.port('aws')}",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )


def comparable(headers: dict[str, Any]) -> dict[str, Any]:
    """pika reads timestamps as naive moments in UTC, and byte arrays as bytes."""
    return {
        name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for name, value in headers.items()
    }


def test_headers_of_every_type_survive_sqs_and_back(channel: Any, sqs: Any) -> None:
    for name in ("there", "back"):
        channel.queue_declare(name, durable=True)
    properties = pika.BasicProperties(
        headers=HEADERS, content_type="text/plain", correlation_id="c", priority=3, delivery_mode=2
    )
    channel.confirm_delivery()
    channel.basic_publish("", "there", "caf\u00e9".encode(), properties)
    url = sqs.get_queue_url(QueueName="there")["QueueUrl"]
    answer = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], WaitTimeSeconds=20)
    (message,) = answer["Messages"]
    assert message["Body"] == "caf\u00e9"
    assert len(message["MessageAttributes"]) <= 10
    sqs.send_message(
        QueueUrl=sqs.get_queue_url(QueueName="back")["QueueUrl"],
        MessageBody=message["Body"],
        MessageAttributes=message["MessageAttributes"],
    )
    method, seen, body = channel.basic_get("back", auto_ack=True)
    assert method is not None
    assert body == "caf\u00e9".encode()
    assert comparable(seen.headers) == HEADERS
    assert (seen.content_type, seen.correlation_id, seen.delivery_mode) == ("text/plain", "c", 2)


def test_plain_cloud_messages_reach_amqp(channel: Any, sqs: Any) -> None:
    url = sqs.create_queue(QueueName="cloud")["QueueUrl"]
    attributes = {"site": {"DataType": "String", "StringValue": "berlin"}}
    sqs.send_message(QueueUrl=url, MessageBody="hello", MessageAttributes=attributes)
    method, seen, body = channel.basic_get("cloud", auto_ack=True)
    assert (method.exchange, method.routing_key) == ("", "cloud")
    assert (seen.headers, body) == ({"site": "berlin"}, b"hello")


def test_stomp_subscribers_see_what_amqp_publishes(program: Program, channel: Any) -> None:
    with socket.create_connection(("127.0.0.1", program.port("stomp")), 60) as stomp:
        stomp.sendall(
            b"CONNECT\naccept-version:1.2\nhost:/\n\n\0"
            b"SUBSCRIBE\nid:0\ndestination:/topic/plant.*\nreceipt:r\n\n\0"
        )
        seen = read_until(stomp, b"receipt-id:r\n\n\0")
        channel.basic_publish(
            "amq.topic", "plant.a", b"42", pika.BasicProperties(headers={"unit": "kWh"})
        )
        seen = read_until(stomp, b"42\0")
    assert b"destination:/topic/plant.a\n" in seen
    assert b"unit:kWh\n" in seen


def test_amqp_consumers_see_what_stomp_sends(program: Program, channel: Any) -> None:
    channel.queue_declare("from-stomp", exclusive=True)
    channel.queue_bind("from-stomp", "amq.topic", "plant.#")
    with socket.create_connection(("127.0.0.1", program.port("stomp")), 60) as stomp:
        stomp.sendall(
            b"CONNECT\naccept-version:1.2\nhost:/\n\n\0"
            b"SEND\ndestination:/topic/plant.b\nunit:kWh\npersistent:true\nreceipt:r\n\n43\0"
        )
        read_until(stomp, b"receipt-id:r\n\n\0")
    method, seen, body = channel.basic_get("from-stomp", auto_ack=True)
    assert (method.exchange, method.routing_key, body) == ("amq.topic", "plant.b", b"43")
    assert (seen.headers, seen.delivery_mode) == ({"unit": "kWh"}, 2)


def read_until(stomp: socket.socket, end: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + 60
    while end not in seen:
        assert time.monotonic() < deadline, seen
        chunk = stomp.recv(65536)
        assert chunk, seen
        seen += chunk
    return seen
