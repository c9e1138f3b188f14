"""Topics and their faces in SNS, against moto's SNS and our own."""

from __future__ import annotations

import asyncio
import json
import socket
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from bridge.api import ApiOptions
from bridge.api.simulation import Faults
from bridge.backends.aws import Mode, TopicRule
from bridge.backends.aws.sns import Subscribed
from bridge.backends.aws.topics import AwsTopics
from bridge.messaging.errors import MessageTooLong, StoreUnavailable, TopicDoesNotExist
from bridge.messaging.model import QueueName, TopicName
from bridge.messaging.names import original_from_tags, sns_name
from bridge.routing.rules import Rule
from tests.support.aws_api import running_api
from tests.support.aws_nodes import Cloud, Node, cloud, eventually, table_name
from tests.support.moto_server import moto_server
from tests.support.stores import Collector, consume, drain

TREE = TopicName("/", "amq.topic")


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(params=["moto", "own"])
async def aws(
    request: pytest.FixtureRequest,
    moto_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Cloud]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    if request.param == "moto":
        yield Cloud(moto_url, moto_url, nodes, table_name())
        return
    options = ApiOptions(name_reuse_seconds=0, purge_interval_seconds=0)
    with running_api(tmp_path / "api", options) as api:
        yield Cloud(api.url, moto_url, nodes, table_name())


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


async def ingested(aws: Cloud, name: str = "amq-topic") -> str:
    """The ARN of a topic, once what comes to it is taken in."""
    topic: str = await eventually(partial(aws.topic, f"{aws.prefix}{name}"))
    await eventually(partial(aws.endpoints, topic))
    return topic


def subject(text: str) -> dict[str, Any]:
    return {"landbridge-subject": {"DataType": "String", "StringValue": text}}


async def test_what_cloud_code_publishes_is_routed_once(aws: Cloud) -> None:
    async with aws.node(publish=Mode.ALWAYS) as one:
        durable, whole = await one.queue("kept"), await one.queue("whole")
        await one.bind("amq.topic", durable, "plant.*.meter")
        await one.bind("amq.topic", whole, "#")
        topic = await ingested(aws)
        unit = {"unit": {"DataType": "String", "StringValue": "kWh"}}
        aws.sns.publish(
            TopicArn=topic, Message="hello", MessageAttributes={**subject("plant.7.meter"), **unit}
        )
        collector = await consume(one.backend.store, durable)
        (delivery,) = await collector.expect(1)
        # What a node publishes does not come back.
        assert await one.publish("amq.topic", "plant.8.meter", b"own")
        aws.sns.publish(TopicArn=topic, Message="last")
        everything = await consume(one.backend.store, whole)
        await everything.expect(3)
        assert sorted(everything.bodies) == ["hello", "last", "own"]
        await collector.expect(2)
        assert sorted(collector.bodies) == ["hello", "own"]
    message = delivery.message
    assert message.body == b"hello"
    assert (message.topic, message.subject) == ("amq.topic", "plant.7.meter")
    assert message.headers == {"unit": "kWh"}
    subjects = {each.message.body: each.message.subject for each in everything.deliveries}
    assert subjects[b"last"] == f"{aws.prefix}amq-topic".removeprefix(aws.prefix)


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


async def test_routes_from_sns_take_in(aws: Cloud) -> None:
    """Also where nobody is subscribed; and nothing goes back to where it came from."""
    rule = Rule("alarms", "sns:alarms", ["sqs:kept", "default"])
    async with aws.node(rules=(rule,), publish=Mode.ALWAYS) as one:
        topic = await ingested(aws, "alarms")
        outside = aws.subscribe(topic, f"{aws.prefix}outside")
        aws.sns.publish(TopicArn=topic, Message="fire")
        name = QueueName("/", "kept")
        kept = await eventually(lambda: one.backend.store.queue(name))
        collector = await consume(one.backend.store, kept)
        await collector.expect(1)
        assert await one.publish("alarms", "x", b"drill")
        received: list[str] = []
        while "drill" not in received:
            received += [each["Body"] for each in await eventually(partial(aws.receive, outside))]
        assert collector.bodies == ["fire"]
    assert received == ["fire", "drill"]


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


async def test_nobody_listens_any_more(aws: Cloud) -> None:
    async with aws.node(bounds={"ingest_linger_seconds": 0.3}) as one:
        queue = await one.queue("kept")
        await one.bind("amq.topic", queue, "#")
        topic = await ingested(aws)
        (name,) = aws.endpoints(topic)
        await one.topology.remove_queue(queue)
        await eventually(lambda: not aws.endpoints(topic))
        await eventually(lambda: "QueueUrls" not in aws.sqs.list_queues(QueueNamePrefix=name))
        again = await one.queue("again")
        await one.bind("amq.topic", again, "#")
        await ingested(aws)
        aws.sns.publish(TopicArn=topic, Message="again")
        await (await consume(one.backend.store, again)).expect(1)


async def test_what_comes_while_no_node_runs_waits(aws: Cloud) -> None:
    # A poll that was given up may get the message yet, and it is seen again after the time.
    async with aws.node(bounds={"hold_seconds": 1, "renew_after_seconds": 0.5}) as one:
        queue = await one.queue("kept")
        await one.bind("amq.topic", queue, "#")
        topic = await ingested(aws)
    aws.sns.publish(TopicArn=topic, Message="meanwhile")
    async with aws.node() as one:
        kept = one.backend.store.queue(QueueName("/", "kept"))
        assert kept is not None
        await (await consume(one.backend.store, kept)).expect(1)


async def test_what_no_queue_takes_is_dead_lettered(aws: Cloud) -> None:
    async with aws.node() as one:
        small, large = await one.queue("small", message_size_max=1024), await one.queue("large")
        for queue in (small, large):
            await one.bind("amq.topic", queue, "#")
        topic = await ingested(aws)
        aws.sns.publish(TopicArn=topic, Message="x" * 2000)
        name = QueueName("/", "landbridge-dead-letters")
        dead = await eventually(lambda: one.backend.store.queue(name))
        (delivery,) = await (await consume(one.backend.store, dead)).expect(1)
        aws.sns.publish(TopicArn=topic, Message="y")
        (taken,) = await (await consume(one.backend.store, small)).expect(1)
        assert taken.message.body == b"y"
        await (await consume(one.backend.store, large)).expect(2)
    reason = delivery.message.headers["landbridge-dead-letter-reason"]
    assert isinstance(reason, str)
    assert reason.startswith("published to SNS topic 'amq.topic': ")


async def test_filter_policies_take_effect_late(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nodes published comes back until then."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    options = ApiOptions(name_reuse_seconds=0, faults=Faults(filter_policy_lag_seconds=900))
    with running_api(tmp_path / "api", options) as api:
        aws = Cloud(api.url, moto_url, nodes, table_name())
        async with aws.node(publish=Mode.ALWAYS) as one:
            queue = await one.queue("kept")
            await one.bind("amq.topic", queue, "#")
            topic = await ingested(aws)
            for number in range(15):
                assert await one.publish("amq.topic", "a", str(number).encode())
            aws.sns.publish(TopicArn=topic, Message="last")
            collector = await consume(one.backend.store, queue, credit=100)
            await collector.expect(16)
            (name,) = aws.endpoints(topic)
            url = aws.sqs.get_queue_url(QueueName=name)["QueueUrl"]
            await eventually(lambda: aws.is_empty(url))
            assert len(collector.deliveries) == 16


async def test_nothing_is_lost_at_its_worst(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    faults = Faults(
        duplicate_rate=0.1,
        duplicate_seconds=0.2,
        reorder_rate=0.2,
        reorder_seconds=0.1,
        empty_receive_rate=0.2,
        partial_receive_rate=0.2,
        filter_policy_lag_seconds=900,
        throttle_rate=0.1,
        error_rate=0.1,
        lost_reply_rate=0.1,
        batch_failure_rate=0.1,
    )
    with running_api(tmp_path / "api", ApiOptions(name_reuse_seconds=0, faults=faults)) as api:
        aws = Cloud(api.url, moto_url, nodes, table_name())
        bounds = {"hold_seconds": 2, "renew_after_seconds": 1.0, "topic_seconds_max": 60.0}
        async with (
            aws.node(publish=Mode.ALWAYS, bounds=bounds) as one,
            aws.node(publish=Mode.ALWAYS, bounds=bounds) as other,
        ):
            kept, there = await one.queue("kept"), await other.queue("there", transient=True)
            await one.bind("amq.topic", kept, "#")
            await other.bind("amq.topic", there, "#")
            topic = await eventually(partial(quietly, aws.topic, f"{aws.prefix}amq-topic"))
            await eventually(partial(quietly, aws.endpoints, topic))
            collectors = [await consume(one.backend.store, kept, credit=1000)]
            collectors.append(await consume(other.backend.store, there, credit=1000))
            wanted = {f"own {number}" for number in range(40)}
            async with asyncio.TaskGroup() as group:
                for body in wanted:
                    group.create_task(one.publish("amq.topic", "a", body.encode()))
            for number in range(10):
                wanted.add(f"cloud {number}")
                publish = partial(aws.sns.publish, TopicArn=topic, Message=f"cloud {number}")
                await eventually(partial(quietly, publish))
            for collector in collectors:
                await eventually(partial(has_all, collector, wanted))


def has_all(collector: Collector, bodies: set[str]) -> bool:
    return bodies <= set(collector.bodies)


def quietly(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call answers; None where it is refused."""
    try:
        return call(*arguments)
    except (ClientError, HTTPClientError):
        return None
