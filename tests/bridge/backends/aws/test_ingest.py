"""What is published to a topic in SNS comes in, against moto's SNS and our own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from bridge.api import ApiOptions
from bridge.api.simulation import Faults
from bridge.backends.aws import AwsBackend, Mode
from bridge.backends.aws.ingest import ingest_queue
from bridge.messaging.faces import TopicUse
from bridge.messaging.model import Delivery, QueueName, TopicName
from bridge.routing.rules import Rule
from tests.support.aws_api import running_api
from tests.support.aws_nodes import Cloud, eventually, subject, table_name
from tests.support.stores import Collector, consume, message, send

TOPIC = TopicName("/", "alarms")


class Uses:
    """One topic that somebody is subscribed to."""

    version = 1

    def __iter__(self) -> Iterator[TopicUse]:
        yield TopicUse(TOPIC, subscribed=True)

    def __contains__(self, topic: TopicName) -> bool:
        return topic == TOPIC


async def test_what_cloud_code_publishes_is_routed_once(aws: Cloud) -> None:
    async with aws.node(publish=Mode.ALWAYS) as one:
        durable, whole = await one.queue("kept"), await one.queue("whole")
        await one.bind("amq.topic", durable, "plant.*.meter")
        await one.bind("amq.topic", whole, "#")
        topic = await aws.ingested()
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


async def test_routes_from_sns_take_in(aws: Cloud) -> None:
    """Also where nobody is subscribed; and nothing goes back to where it came from."""
    rule = Rule("alarms", "sns:alarms", ["sqs:kept", "default"])
    async with aws.node(rules=(rule,), publish=Mode.ALWAYS) as one:
        topic = await aws.ingested("alarms")
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


async def test_nobody_listens_any_more(aws: Cloud) -> None:
    async with aws.node(bounds={"ingest_linger_seconds": 0.3}) as one:
        queue = await one.queue("kept")
        await one.bind("amq.topic", queue, "#")
        topic = await aws.ingested()
        (name,) = aws.endpoints(topic)
        await one.topology.remove_queue(queue)
        await eventually(lambda: not aws.endpoints(topic))
        await eventually(lambda: "QueueUrls" not in aws.sqs.list_queues(QueueNamePrefix=name))
        again = await one.queue("again")
        await one.bind("amq.topic", again, "#")
        await aws.ingested()
        aws.sns.publish(TopicArn=topic, Message="again")
        await (await consume(one.backend.store, again)).expect(1)


async def test_what_comes_while_no_node_runs_waits(aws: Cloud) -> None:
    # A poll that was given up may get the message yet, and it is seen again after the time.
    async with aws.node(bounds={"hold_seconds": 1, "renew_after_seconds": 0.5}) as one:
        queue = await one.queue("kept")
        await one.bind("amq.topic", queue, "#")
        topic = await aws.ingested()
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
        topic = await aws.ingested()
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


async def test_a_message_that_is_not_stored_for_hours_ends_nothing(
    opened_at_moto: Callable[..., Awaitable[AwsBackend]],
) -> None:
    backend = await opened_at_moto(
        hold_seconds_max=0.05, renew_after_seconds=0.02, topics_look_seconds=0.02
    )
    store = backend.store
    came: asyncio.Queue[tuple[str, Callable[[int], None]]] = asyncio.Queue()

    def incoming(_: TopicName, deliveries: Sequence[Delivery], done: Callable[[int], None]) -> None:
        for each in deliveries:
            came.put_nowait((each.message.body.decode(), done))

    backend.faces.follow(Uses(), lambda: None, incoming)
    name = ingest_queue(TOPIC)
    async with asyncio.timeout(60):
        while store.queue(name) is None:
            await asyncio.sleep(0)
        queue = store.queue(name)
        assert queue is not None
        await send(store, queue, message("first"))
        body, done = await came.get()
        assert body == "first"
        while queue.consumer_count:
            await asyncio.sleep(0)
        await send(store, queue, message("second"))
        body, done_too = await came.get()
        assert body == "second"
    done(1)
    done_too(1)


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
            topic = await aws.ingested()
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
