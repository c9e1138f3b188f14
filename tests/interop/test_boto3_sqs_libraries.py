"""Messages as AWS's own libraries write them, by hand: the extended clients (large payloads in S3)
and the JMS library. Their other ends find every one as it was, and legacy clients find its
attributes as headers of their own kinds.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import aio_pika
import pytest

from tests.support.aws_clients import REGION, client, name
from tests.support.program import Program, running
from tests.support.stomp_client import StompClient

ACCOUNT = "000000000000"
WAIT_SECONDS = 60
CLASSES = (
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
)
MARKERS = ("ExtendedPayloadSize", "SQSLargePayloadSize")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running(directory=tmp_path_factory.mktemp("libraries")) as started:
        yield started


@pytest.fixture(scope="module")
def sqs(program: Program) -> Any:
    return client(f"http://127.0.0.1:{program.port('aws')}", "sqs")


@pytest.fixture
def queue(sqs: Any) -> tuple[str, str]:
    """Name and URL of a new queue."""
    own = name("library")
    return own, str(sqs.create_queue(QueueName=own)["QueueUrl"])


def text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def number(value: str, label: str = "") -> dict[str, str]:
    return {"DataType": f"Number{label}", "StringValue": value}


def receive(sqs: Any, url: str, *names: str) -> dict[str, Any]:
    """The one message of a queue, with the attributes that a library asks for."""
    [message] = sqs.receive_message(
        QueueUrl=url, MessageAttributeNames=list(names), AttributeNames=["All"]
    )["Messages"]
    return dict(message)


async def read_by_amqp(program: Program, own: str) -> aio_pika.abc.AbstractIncomingMessage:
    address = f"amqp://guest:guest@127.0.0.1:{program.port('amqp')}/"
    async with asyncio.timeout(WAIT_SECONDS), await aio_pika.connect(address) as connection:
        channel = await connection.channel()
        found = await channel.get_queue(own, ensure=False)
        message = await found.get(fail=True)
        assert message is not None
        await message.ack()
        return message


# -- extended clients


def pointer(kind: str) -> str:
    return json.dumps(
        [kind, {"s3BucketName": "payloads", "s3Key": "6f0c-1"}], separators=(",", ":")
    )


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("marker", MARKERS)
def test_a_pointer_into_s3(sqs: Any, queue: tuple[str, str], kind: str, marker: str) -> None:
    _, url = queue
    attributes = {marker: number("300000"), "unit": text("kWh")}
    sent = sqs.send_message(QueueUrl=url, MessageBody=pointer(kind), MessageAttributes=attributes)
    # Readers ask for both names, since they cannot know which one the writer has used.
    message = receive(sqs, url, *MARKERS, "unit")
    assert message["Body"] == pointer(kind)
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfBody"] == hashlib.md5(pointer(kind).encode()).hexdigest()
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    # They write bucket and key around the handle, and take them off again before they use it.
    handle = message["ReceiptHandle"]
    wrapped = f"-..s3BucketName..-payloads-..s3BucketName..--..s3Key..-6f0c-1-..s3Key..-{handle}"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=wrapped.rpartition("-")[2])
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("marker", MARKERS)
def test_a_pointer_through_a_topic(
    program: Program, sqs: Any, queue: tuple[str, str], kind: str, marker: str
) -> None:
    own, url = queue
    sns = client(f"http://127.0.0.1:{program.port('aws')}", "sns")
    topic = sns.create_topic(Name=name("topic"))["TopicArn"]
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{own}",
        Attributes={"RawMessageDelivery": "true"},
    )
    attributes = {marker: number("300000")}
    sns.publish(TopicArn=topic, Message=pointer(kind), MessageAttributes=attributes)
    message = receive(sqs, url, *MARKERS)
    assert (message["Body"], message["MessageAttributes"]) == (pointer(kind), attributes)


async def test_a_legacy_client_sees_the_pointer(
    program: Program, sqs: Any, queue: tuple[str, str]
) -> None:
    own, url = queue
    attributes = {MARKERS[0]: number("300000")}
    body = pointer(CLASSES[0])
    sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
    message = await read_by_amqp(program, own)
    assert message.body.decode() == body
    assert message.headers[MARKERS[0]] == 300_000


# -- the JMS library


JMS_PROPERTIES = {
    "text": text("grün"),
    "int": number("7", ".int"),
    "yes": number("1", ".Boolean"),
    "byte": number("-3", ".byte"),
    "double": number("0.5", ".double"),
    "long": number("9007199254740993", ".long"),
}
JMS_HEADERS = {
    "JMS_SQSMessageType": text("text"),
    "JMS_SQSCorrelationID": text("order-1"),
    "JMS_SQSReplyToQueueName": text("answers"),
    "JMS_SQSReplyToQueueURL": text("http://localhost:4566/000000000000/answers"),
}


def test_a_jms_text_message(sqs: Any, queue: tuple[str, str]) -> None:
    _, url = queue
    attributes = {**JMS_HEADERS, **JMS_PROPERTIES}
    sent = sqs.send_message(QueueUrl=url, MessageBody="<a>&\r\nü</a>", MessageAttributes=attributes)
    message = receive(sqs, url, "All")
    assert message["Body"] == "<a>&\r\nü</a>"
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
    )
    again = receive(sqs, url, "All")
    # JMSXDeliveryCount; above 1 a message is JMSRedelivered.
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    assert again["MessageId"] == message["MessageId"]


@pytest.mark.parametrize("kind", ["byte", "object"])
def test_a_jms_message_of_bytes(sqs: Any, queue: tuple[str, str], kind: str) -> None:
    _, url = queue
    content = bytes(range(256))
    attributes = {"JMS_SQSMessageType": text(kind)}
    body = base64.b64encode(content).decode()
    sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
    message = receive(sqs, url, "All")
    assert base64.b64decode(message["Body"]) == content
    assert message["MessageAttributes"] == attributes


def test_a_jms_message_in_a_group(sqs: Any) -> None:
    made = sqs.create_queue(QueueName=name("jms") + ".fifo", Attributes={"FifoQueue": "true"})
    url = made["QueueUrl"]
    sent = sqs.send_message(
        QueueUrl=url,
        MessageBody="text",
        MessageAttributes={"JMS_SQSMessageType": text("text")},
        MessageGroupId="jmsx-group",
        MessageDeduplicationId="jms-deduplication",
    )
    system = receive(sqs, url, "All")["Attributes"]
    assert system["MessageGroupId"] == "jmsx-group"
    assert system["MessageDeduplicationId"] == "jms-deduplication"
    assert system["SequenceNumber"] == sent["SequenceNumber"]


async def test_a_legacy_client_sees_jms_properties_by_their_types(
    program: Program, sqs: Any, queue: tuple[str, str]
) -> None:
    own, url = queue
    attributes = {"JMS_SQSMessageType": text("text"), **JMS_PROPERTIES}
    for body in ("by AMQP", "by STOMP"):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
    message = await read_by_amqp(program, own)
    assert message.body == b"by AMQP"
    expected = {
        "JMS_SQSMessageType": "text",
        "text": "grün",
        "int": 7,
        "yes": True,
        "byte": -3,
        "double": 0.5,
        "long": 9_007_199_254_740_993,
    }
    assert {key: message.headers[key] for key in expected} == expected
    stomp = await StompClient.connect(program.port("stomp"))
    stomp.send("SUBSCRIBE", {"id": "1", "destination": f"/queue/{own}", "ack": "auto"})
    frame = await stomp.receive()
    assert (frame.command, frame.body) == ("MESSAGE", b"by STOMP")
    shown = {key: str(value).lower() for key, value in expected.items()}
    assert {key: frame.headers[key] for key in expected} == {**shown, "text": "grün"}
    await stomp.close()
