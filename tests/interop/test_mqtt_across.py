"""One address space: MQTT on one side, STOMP, SNS and SQS on the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.aws_clients import client as aws_client
from tests.support.mqtt_client import SocketClient, connect
from tests.support.program import Place, Program
from tests.support.stomp_client import StompClient


@pytest.fixture(scope="module")
def program(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with place.running(directory=tmp_path_factory.mktemp("across")) as program:
        yield program


def aws(program: Program, service: str) -> Any:
    return aws_client(f"http://127.0.0.1:{program.port('aws')}", service)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_mqtt_to_stomp(program: Program, qos: int) -> None:
    stomp = await StompClient.connect(program.port("stomp"))
    topic = {"destination": f"/topic/plant.{qos}.*", "id": "1", "receipt": "r"}
    stomp.send("SUBSCRIBE", topic)
    assert (await stomp.receive()).command == "RECEIPT"
    mqtt = await SocketClient.open(program.port("mqtt"), connect())
    await mqtt.publish(
        f"plant/{qos}/x", "27", qos=qos, content_type="text/plain", user_properties=(("k", "v"),)
    )
    frame = await stomp.receive()
    assert (frame.headers["destination"], frame.body) == (f"/topic/plant.{qos}.x", b"27")
    assert (frame.headers["content-type"], frame.headers["k"]) == ("text/plain", "v")
    await stomp.close()
    await mqtt.leave()


async def test_stomp_to_mqtt(program: Program) -> None:
    mqtt = await SocketClient.open(program.port("mqtt"), connect())
    await mqtt.subscribe("from/stomp/+", qos=1)
    stomp = await StompClient.connect(program.port("stomp"))
    stomp.send(
        "SEND", {"destination": "/topic/from.stomp.x", "content-type": "a/b", "k": "v"}, b"hello"
    )
    (publish,) = await mqtt.publishes(1)
    assert (publish.topic, publish.payload) == ("from/stomp/x", b"hello")
    assert publish.properties.content_type == "a/b"
    assert ("k", "v") in publish.properties.user_properties
    await stomp.close()
    await mqtt.leave()


async def test_mqtt_to_a_queue_subscribed_to_the_topic(program: Program) -> None:
    def subscribe() -> str:
        sns, sqs = aws(program, "sns"), aws(program, "sqs")
        topic = sns.create_topic(Name="amq-topic")["TopicArn"]
        url = sqs.create_queue(QueueName="cloud")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        return str(url)

    def receive(url: str) -> Any:
        sqs = aws(program, "sqs")
        answer = sqs.receive_message(
            QueueUrl=url, WaitTimeSeconds=20, MessageAttributeNames=["All"]
        )
        return answer["Messages"][0]

    url = await asyncio.to_thread(subscribe)
    mqtt = await SocketClient.open(program.port("mqtt"), connect())
    await mqtt.publish("cloud/1", json.dumps({"a": 1}), qos=1, user_properties=(("k", "v"),))
    message = await asyncio.to_thread(receive, url)
    assert json.loads(message["Body"]) == {"a": 1}
    attributes = message["MessageAttributes"]
    assert attributes["landbridge-subject"]["StringValue"] == "cloud.1"
    assert attributes["k"]["StringValue"] == "v"
    await mqtt.leave()


async def test_boto3_to_mqtt(program: Program) -> None:
    mqtt = await SocketClient.open(program.port("mqtt"), connect())
    await mqtt.subscribe("to/mqtt/#", "amq-topic", "amq/topic", "amq.topic", qos=1)

    def publish() -> None:
        sns = aws(program, "sns")
        topic = sns.create_topic(Name="amq-topic")["TopicArn"]
        subject = {"DataType": "String", "StringValue": "to.mqtt.x"}
        sns.publish(
            TopicArn=topic,
            Message="from the cloud",
            MessageAttributes={
                "landbridge-subject": subject,
                "k": {"DataType": "String", "StringValue": "v"},
            },
        )

    await asyncio.to_thread(publish)
    (received,) = await mqtt.publishes(1)
    assert (received.topic, received.payload) == ("to/mqtt/x", b"from the cloud")
    assert ("k", "v") in received.properties.user_properties
    await mqtt.leave()
