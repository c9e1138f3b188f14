"""An exclusive queue is its connection's alone, whatever protocol others come by."""

from __future__ import annotations

from collections.abc import Callable
from queue import Queue
from typing import Any

import boto3
import pika
import pytest
import stomp
from botocore.exceptions import ClientError

from adapters.mqtt.packets import ProtocolVersion
from adapters.mqtt.reason_codes import ReasonCode
from tests.support.mqtt_client import SocketClient, connect
from tests.support.program import Program

ARN = "arn:aws:sqs:us-east-1:000000000000:"
SECONDS = 60


def cloud(program: Program, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{program.port('aws')}",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )


class Frames(stomp.ConnectionListener):  # type: ignore[misc] # stomp.py has no types
    """What a STOMP connection is answered with."""

    def __init__(self) -> None:
        self.seen: Queue[Any] = Queue()

    def on_error(self, frame: Any) -> None:
        self.seen.put(frame)

    def on_receipt(self, frame: Any) -> None:
        self.seen.put(frame)

    def on_message(self, frame: Any) -> None:
        self.seen.put(frame)


def legacy(program: Program) -> tuple[Any, Frames]:
    connection, frames = stomp.Connection12([("127.0.0.1", program.port("stomp"))]), Frames()
    connection.set_listener("", frames)
    connection.connect("a", "b", wait=True)
    return connection, frames


LOCKED = (
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'own' in vhost '/'. It could"
    " be originally declared on another connection or the exclusive property value does not match"
    " that of the original declaration.\n"
)


@pytest.mark.parametrize(
    ("destination", "headers"),
    [
        ("/queue/own", {}),
        ("/amq/queue/own", {}),
        ("/topic/a", {"x-queue-name": "own"}),
        ("/topic/a", {"x-queue-name": "own", "durable": "true", "auto-delete": "false"}),
    ],
)
def test_stomp_subscribers_are_refused(
    program: Program, channel: Any, destination: str, headers: dict[str, str]
) -> None:
    channel.queue_declare("own", exclusive=True)
    channel.basic_publish("", "own", b"private")
    connection, frames = legacy(program)
    connection.subscribe(destination, id="1", headers={**headers, "receipt": "r"})
    error = frames.seen.get(timeout=SECONDS)
    assert (error.cmd, error.headers["message"]) == ("ERROR", "resource_locked")
    assert error.body == LOCKED
    assert channel.basic_get("own", auto_ack=True)[2] == b"private"
    channel.basic_publish("amq.topic", "a", b"not bound")
    assert channel.basic_get("own") == (None, None, None)


def test_stomp_clients_cannot_end_it(program: Program, channel: Any) -> None:
    channel.queue_declare("own", exclusive=True)
    connection, frames = legacy(program)
    named = {"destination": "/topic/a", "x-queue-name": "own", "durable": "true"}
    connection.unsubscribe("1", headers={**named, "auto-delete": "false", "receipt": "r"})
    assert frames.seen.get(timeout=SECONDS).cmd == "ERROR"
    assert channel.queue_declare("own", passive=True)


def test_everybody_may_send_to_it(program: Program, channel: Any) -> None:
    channel.queue_declare("own", exclusive=True)
    connection, frames = legacy(program)
    connection.send("/queue/own", "by STOMP", receipt="r")
    assert frames.seen.get(timeout=SECONDS).cmd == "RECEIPT"
    sqs = cloud(program, "sqs")
    url = sqs.get_queue_url(QueueName="own")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="by SQS")
    bodies = [channel.basic_get("own", auto_ack=True)[2] for _ in range(2)]
    assert bodies == [b"by STOMP", b"by SQS"]


Call = Callable[[Any, str], Any]


@pytest.mark.parametrize(
    "call",
    [
        lambda sqs, url: sqs.receive_message(QueueUrl=url),
        lambda sqs, url: sqs.purge_queue(QueueUrl=url),
        lambda sqs, url: sqs.delete_queue(QueueUrl=url),
        lambda sqs, url: sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "1"}),
        lambda sqs, url: sqs.untag_queue(QueueUrl=url, TagKeys=["landbridge-exclusive-owner"]),
        lambda sqs, _: sqs.create_queue(QueueName="own"),
        lambda sqs, _: sqs.start_message_move_task(SourceArn=f"{ARN}own"),
    ],
)
def test_sqs_clients_are_refused(program: Program, channel: Any, call: Call) -> None:
    channel.queue_declare("own", exclusive=True)
    channel.basic_publish("", "own", b"private")
    sqs = cloud(program, "sqs")
    with pytest.raises(ClientError, match="cannot obtain exclusive access") as caught:
        call(sqs, sqs.get_queue_url(QueueName="own")["QueueUrl"])
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    assert channel.basic_get("own", auto_ack=True)[2] == b"private"


def test_it_is_not_subscribed_to_a_topic_of_sns(program: Program, channel: Any) -> None:
    channel.queue_declare("own", exclusive=True)
    sns = cloud(program, "sns")
    topic = sns.create_topic(Name="news")["TopicArn"]
    with pytest.raises(ClientError, match="cannot obtain exclusive access") as caught:
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"{ARN}own")
    assert caught.value.response["Error"]["Code"] == "AuthorizationError"


async def test_an_mqtt_session_is_not_kept_in_it(program: Program, channel: Any) -> None:
    channel.queue_declare("mqtt-session-c1", exclusive=True)
    packet = connect("c1", version=ProtocolVersion.V5, session_expiry_interval=60)
    client = await SocketClient.open(program.port("mqtt"), packet)
    assert await client.subscribe("a") == [ReasonCode.NOT_AUTHORIZED]
    await client.leave()


def test_temporary_queues_are_exclusive_too(program: Program, channel: Any) -> None:
    channel.queue_declare("requests")
    connection, frames = legacy(program)
    connection.send("/queue/requests", "who?", headers={"reply-to": "/temp-queue/mine"})
    reply_to = None
    for _, properties, _ in channel.consume("requests", inactivity_timeout=SECONDS):
        reply_to = properties.reply_to
        break
    channel.cancel()
    channel.basic_publish("", reply_to, b"you")
    assert frames.seen.get(timeout=SECONDS).body == "you"
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="RESOURCE_LOCKED"):
        channel.basic_get(reply_to)


def test_a_tag_of_somebody_else_locks_nothing(program: Program, channel: Any) -> None:
    sqs = cloud(program, "sqs")
    sqs.create_queue(QueueName="tagged", tags={"landbridge-exclusive-owner": "nobody"})
    assert channel.queue_declare("tagged", durable=True, passive=True)
