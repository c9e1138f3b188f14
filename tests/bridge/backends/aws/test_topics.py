"""Topics and their faces in SNS, against moto's SNS and our own: which are there, and when."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from bridge.backends.aws import Mode, TopicRule
from bridge.backends.aws.sns import Subscribed
from bridge.backends.aws.topics import AwsTopics
from bridge.messaging.errors import StoreUnavailable, TopicDoesNotExist
from bridge.messaging.model import TopicName
from bridge.messaging.names import original_from_tags, sns_name
from tests.support.aws_nodes import Cloud, Node, eventually
from tests.support.stores import drain

TREE = TopicName("/", "amq.topic")


async def test_auto_publishes_while_somebody_outside_listens(aws: Cloud) -> None:
    async with aws.node() as one:
        # Nobody: nothing is published, but the topic is there to be subscribed to.
        assert not await one.publish("amq.topic", "a", b"before")
        topic = aws.topic(f"{aws.prefix}amq-topic")
        assert topic is not None
        outside = aws.subscribe(topic, f"{aws.prefix}outside")
        await eventually(lambda: one.backend.faces.face(TREE) is not None)
        assert await one.publish("amq.topic", "a", b"after")
        received = await eventually(partial(aws.receive, outside))
        assert [each["Body"] for each in received] == ["after"]
        for each in aws.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
            aws.sns.unsubscribe(SubscriptionArn=each["SubscriptionArn"])
        await eventually(lambda: one.backend.faces.face(TREE) is None)
        assert not await one.publish("amq.topic", "a", b"later")


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.ALWAYS])
async def test_a_topic_that_must_not_be_made(aws: Cloud, mode: Mode) -> None:
    async with aws.node() as first:
        # The table has to be there.
        await first.queue("kept")
    async with aws.node(create=False, publish=mode) as one:
        queue = await one.queue("kept")
        await one.bind("amq.topic", queue, "#")
        if mode is Mode.AUTO:
            assert await one.publish("amq.topic", "a")
        else:
            with pytest.raises(TopicDoesNotExist, match=r"backend\.create is never"):
                await one.publish("amq.topic", "a")
        assert aws.topic(f"{aws.prefix}amq-topic") is None
        aws.sns.create_topic(Name=f"{aws.prefix}amq-topic")
        await eventually(lambda: one.backend.faces.face(TREE) is None or mode is Mode.ALWAYS)
        if mode is Mode.ALWAYS:
            await until_published(one)


async def until_published(one: Node) -> None:
    """Publish until it is taken, as clients do that are refused."""
    async with asyncio.timeout(60):
        while True:
            try:
                assert await one.publish("amq.topic", "a")
            except TopicDoesNotExist:
                await asyncio.sleep(0.05)
            else:
                return


async def test_rules_and_pins(aws: Cloud) -> None:
    pinned = aws.sns.create_topic(Name=f"{aws.prefix}theirs")["TopicArn"]
    outside = aws.subscribe(pinned, f"{aws.prefix}outside")
    options: dict[str, Any] = {
        "publish": Mode.NEVER,
        "ingest": Mode.NEVER,
        "topic_rules": (TopicRule("or*", publish=Mode.AUTO),),
    }
    for given in (pinned, f"{aws.prefix}theirs"):
        async with aws.node(topics={"orders": given}, **options) as one:
            await one.topology.declare_topic(TopicName("/", "orders"))
            await one.topology.declare_topic(TopicName("/", "quiet"))
            assert await one.publish("orders", "new", b"1")
            assert not await one.publish("quiet", "new", b"2")
            received = await eventually(partial(aws.receive, outside))
            assert [each["Body"] for each in received] == ["1"]
            aws.sqs.delete_message(QueueUrl=outside, ReceiptHandle=received[0]["ReceiptHandle"])
    assert aws.topic(f"{aws.prefix}orders") is None
    assert aws.topic(f"{aws.prefix}quiet") is None


async def test_names_that_sns_forbids(aws: Cloud) -> None:
    name = TopicName("/", "a/b c")
    async with aws.node() as one:
        await one.topology.declare_topic(name)
        await one.publish("a/b c", "x")
        topic = aws.topic(sns_name(name, prefix=aws.prefix))
        assert topic is not None
        tags = aws.sns.list_tags_for_resource(ResourceArn=topic)["Tags"]
    assert original_from_tags({each["Key"]: each["Value"] for each in tags}) == name


async def test_fifo_topics_keep_the_order_of_groups(aws: Cloud) -> None:
    name = f"{aws.prefix}events.fifo"
    async with aws.node(publish=Mode.ALWAYS) as one:
        await one.topology.declare_topic(TopicName("/", "events.fifo"), fifo=True)
        kept = await one.queue("kept.fifo", fifo=True)
        await one.bind("events.fifo", kept)
        assert await one.publish("events.fifo", "a", b"first")
        topic = await eventually(partial(aws.topic, name))
        url = aws.sqs.create_queue(
            QueueName=f"{aws.prefix}out.fifo", Attributes={"FifoQueue": "true"}
        )["QueueUrl"]
        arn = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        aws.sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        for number in range(25):
            await one.publish("events.fifo", "a", str(number).encode(), group_id="g")
        received: list[str] = []
        while len(received) < 25:
            for each in await eventually(partial(aws.receive, url)):
                received.append(each["Body"])
                aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        assert received == [str(number) for number in range(25)]
        await eventually(lambda: len(aws.endpoints(topic)) == 2)
        for number in range(5):
            aws.sns.publish(
                TopicArn=topic,
                Message=f"cloud {number}",
                MessageGroupId="g",
                MessageDeduplicationId=str(number),
            )
        came: list[str] = []
        async with asyncio.timeout(60):
            while len(came) < 31:
                came += await drain(one.backend.store, kept)
        clouds = [body for body in came if body.startswith("cloud")]
        assert clouds == [f"cloud {number}" for number in range(5)]


async def test_a_topic_that_is_deleted_in_sns(aws: Cloud) -> None:
    async with aws.node(publish=Mode.ALWAYS, ingest=Mode.NEVER) as one:
        await one.publish("amq.topic", "a")
        topic = aws.topic(f"{aws.prefix}amq-topic")
        aws.sns.delete_topic(TopicArn=topic)
        with pytest.raises(TopicDoesNotExist):
            await one.publish("amq.topic", "a")
        await until_published(one)
        assert aws.topic(f"{aws.prefix}amq-topic") == topic


async def test_without_an_endpoint_auto_does_without(aws: Cloud) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        options = {"bounds": {"topic_seconds_max": 0.2}, "endpoints": {"sns": nowhere}}
        async with aws.node(**options) as one:
            queue = await one.queue("kept")
            await one.bind("amq.topic", queue, "#")
            assert await one.publish("amq.topic", "a", b"kept")
            assert await drain(one.backend.store, queue) == ["kept"]
            # Known by now: nobody waits for another topic to learn the same.
            await one.topology.declare_topic(TopicName("/", "another"))
            assert one.backend.faces.face(TopicName("/", "another")) is None
        async with aws.node(publish=Mode.ALWAYS, **options) as one:
            with pytest.raises(StoreUnavailable):
                await one.publish("amq.topic", "a", b"refused")


async def test_who_is_known_to_listen_misses_nothing(aws: Cloud) -> None:
    topic = aws.sns.create_topic(Name=f"{aws.prefix}amq-topic")["TopicArn"]
    outside = aws.subscribe(topic, f"{aws.prefix}outside")
    async with aws.node(ingest=Mode.NEVER) as one:
        assert await one.publish("amq.topic", "a", b"before")
        faces = one.backend.faces
        assert isinstance(faces, AwsTopics)
        asked: list[str] = []

        async def throttled(arn: str) -> AsyncIterator[Subscribed]:
            asked.append(arn)
            for each in list[Subscribed]():
                yield each
            raise StoreUnavailable("SNS asks to be asked less often")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(faces.control, "subscriptions", throttled)
            await eventually(lambda: len(asked) >= 2)
            assert await one.publish("amq.topic", "a", b"meanwhile")
        came: set[str] = set()
        while len(came) < 2:
            came |= {each["Body"] for each in await asyncio.to_thread(aws.receive, outside)}
        assert came == {"before", "meanwhile"}


async def test_a_publish_waits_for_the_first_look_at_its_topic(aws: Cloud) -> None:
    async with aws.node() as one:
        faces = one.backend.faces
        assert isinstance(faces, AwsTopics)
        subscriptions = faces.control.subscriptions
        asked, answer = asyncio.Event(), asyncio.Event()

        async def slow(arn: str) -> AsyncIterator[Subscribed]:
            asked.set()
            await answer.wait()
            async for each in subscriptions(arn):
                yield each

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(faces.control, "subscriptions", slow)
            await one.bind("amq.topic", await one.queue("kept"), "only.this")
            await asyncio.wait_for(asked.wait(), 10)
            publishing = asyncio.create_task(one.publish("amq.topic", "another"))
            await asyncio.sleep(0)
            answer.set()
            assert not await publishing


async def test_topics_that_come_and_go_leave_nothing_here(aws: Cloud) -> None:
    async with aws.node(bounds={"ingest_linger_seconds": 0.1}) as one:
        faces = one.backend.faces
        assert isinstance(faces, AwsTopics)
        queue = await one.queue("kept")
        await one.topology.declare_topic(TopicName("/", "stays"))
        assert not await one.publish("stays", "a")
        for number in range(5):
            name = TopicName("/", f"goes{number}")
            await one.topology.declare_topic(name)
            await one.bind(name.name, queue)
            assert await one.publish(name.name, "a")
            await one.topology.delete_topic(name)
        await eventually(lambda: [each.name.name for each in faces.topics] == ["stays"])
        await one.topology.declare_topic(TopicName("/", "goes0"))
        assert not await one.publish("goes0", "a")
        assert len(faces.topics) == 2
