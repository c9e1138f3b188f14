"""What goes to a topic in SNS, and in which form, against moto's SNS and our own."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from functools import partial
from typing import Any

import pytest

from bridge.backends.aws import Mode
from bridge.messaging.errors import MessageTooLong
from bridge.messaging.model import QueueName
from bridge.routing.rules import Rule
from tests.support.aws_nodes import Cloud, cloud, eventually, subject
from tests.support.stores import consume, drain


def attributes_of(received: dict[str, Any]) -> dict[str, str]:
    found = received.get("MessageAttributes", {})
    return {name: each.get("StringValue", "") for name, each in found.items()}


async def test_a_publish_reaches_who_is_subscribed_in_sns(aws: Cloud) -> None:
    topic = aws.sns.create_topic(Name=f"{aws.prefix}amq-topic")["TopicArn"]
    outside = aws.subscribe(topic, f"{aws.prefix}outside")
    async with aws.node() as one:
        assert await one.publish("amq.topic", "plant.1.meter", b"42", headers={"unit": "kWh"})
        received = await eventually(partial(aws.receive, outside))
    assert [each["Body"] for each in received] == ["42"]
    attributes = attributes_of(received[0])
    assert attributes["landbridge-subject"] == "plant.1.meter"
    assert attributes["unit"] == "kWh"
    assert attributes.keys() == {"landbridge-subject", "unit", "landbridge-origin"}


async def test_routes_to_sns_publish_in_any_case(aws: Cloud) -> None:
    topic = aws.sns.create_topic(Name=f"{aws.prefix}meters")["TopicArn"]
    outside = aws.subscribe(topic, f"{aws.prefix}outside")
    rule = Rule("readings", "amqp:amq.topic/plant.#", ["sns:meters", "sqs:kept"])
    async with aws.node(rules=(rule,), publish=Mode.NEVER, ingest=Mode.NEVER) as one:
        assert await one.publish("amq.topic", "plant.1", b"reading")
        assert not await one.publish("amq.topic", "other", b"nobody's")
        received = await eventually(partial(aws.receive, outside))
        kept = one.backend.store.queue(QueueName("/", "kept"))
        assert kept is not None
        assert await drain(one.backend.store, kept) == ["reading"]
        assert aws.endpoints(topic) == [f"{aws.prefix}outside"]
    assert [each["Body"] for each in received] == ["reading"]


async def test_many_publishes_share_calls(aws: Cloud) -> None:
    async with aws.node(publish=Mode.ALWAYS, ingest=Mode.NEVER) as one:
        await one.publish("amq.topic", "a")
        before = one.backend.counters.calls["sns", "PublishBatch"]
        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(one.publish("amq.topic", "a", str(number).encode()))
        assert one.backend.counters.calls["sns", "PublishBatch"] - before <= 8
        assert one.backend.figures()["aws_sns_billed_requests_total"] > 0


async def test_many_headers_travel_in_ten_attributes(aws: Cloud) -> None:
    topic = aws.sns.create_topic(Name=f"{aws.prefix}amq-topic")["TopicArn"]
    outside = aws.subscribe(topic, f"{aws.prefix}outside")
    headers = {f"h{number}": str(number) for number in range(15)}
    async with aws.node(ingest=Mode.NEVER) as one:
        assert await one.publish("amq.topic", "a", b"\x00\xff", headers=headers)
        (received,) = await eventually(partial(aws.receive, outside))
    attributes = attributes_of(received)
    assert len(attributes) == 10
    assert attributes["landbridge-body"] == "base64"
    assert b64decode(received["Body"]) == b"\x00\xff"
    packed = json.loads(attributes["landbridge-properties"])["headers"]
    assert {name: attributes.get(name, packed.get(name)) for name in headers} == headers


async def test_what_sns_does_not_take_is_refused(aws: Cloud) -> None:
    async with aws.node(publish=Mode.ALWAYS, ingest=Mode.NEVER) as one:
        with pytest.raises(MessageTooLong, match="262144 are allowed"):
            await one.publish("amq.topic", "a", b"x" * 262_144)


async def test_bodies_over_the_limit_go_through_s3(aws: Cloud) -> None:
    s3 = cloud(aws.dynamodb, "s3")
    bucket = f"{aws.prefix}payloads"
    place = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    topic = aws.sns.create_topic(Name=f"{aws.prefix}amq-topic")["TopicArn"]
    outside = aws.subscribe(topic, f"{aws.prefix}outside")
    body = "x" * 300_000
    async with aws.node(endpoints={"s3": aws.dynamodb}, payload_bucket=bucket) as one:
        queue = await one.queue("kept")
        await one.bind("amq.topic", queue, "#")
        await ingested_beside(aws, topic)
        assert await one.publish("amq.topic", "a", body.encode())
        (received,) = await eventually(partial(aws.receive, outside))
        assert "ExtendedPayloadSize" in received["MessageAttributes"]
        pointer = json.loads(received["Body"])[1]
        found = s3.get_object(Bucket=pointer["s3BucketName"], Key=pointer["s3Key"])
        assert found["Body"].read().decode() == body
        # And in: what points to a payload brings it, and leaves it to the others.
        aws.sns.publish(
            TopicArn=topic,
            Message=received["Body"],
            MessageAttributes={
                **subject("back"),
                "ExtendedPayloadSize": {"DataType": "Number", "StringValue": str(len(body))},
            },
        )
        collector = await consume(one.backend.store, queue)
        await collector.expect(2)
        assert collector.bodies == [body, body]
        assert s3.get_object(Bucket=pointer["s3BucketName"], Key=pointer["s3Key"])


async def ingested_beside(aws: Cloud, topic: str) -> None:
    """Return once a topic with another subscriber is taken in as well."""
    await eventually(lambda: len(aws.endpoints(topic)) == 2)
