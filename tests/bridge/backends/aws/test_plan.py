"""The plan: what would be made, and a policy that covers what a node calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.backends.aws import AwsOptions, Mode, OrderingRule, TopicRule
from bridge.backends.aws.plan import plan_lines, policy
from bridge.messaging.errors import TopicDoesNotExist
from bridge.messaging.model import (
    QueueName,
    QueueSettings,
    StateChange,
    TopicName,
    UnitOfWork,
)
from bridge.messaging.names import sns_name
from tests.bridge.backends.aws.conftest import Opened, empty_account
from tests.support.aws_nodes import cloud, eventually, node
from tests.support.moto_server import moto_server
from tests.support.stores import commit, make_queue, message

COVERED_BY = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
    "TransactWriteItems": "PutItem",
    "PublishBatch": "Publish",
}


async def test_the_policy_covers_what_a_node_calls(opened: Opened) -> None:
    backend, _ = await opened(empty_account)
    store = backend.store
    queue = await make_queue(store, tags={"team": "a"})
    unit = UnitOfWork()
    unit.sends.append((queue, message("x")))
    unit.state += [StateChange("k", key, b"v") for key in "ab"]
    await commit(store, unit)
    await store.receive(queue, count=1)
    await store.change_queue(queue, QueueSettings(tags={"team": "b"}))
    await store.purge_queue(queue)
    await store.delete_queue(queue)
    await backend.close()
    allowed = {
        action
        for statement in policy(AwsOptions(), "eu-west-1")["Statement"]
        for action in statement["Action"]
    }
    called = {f"{name}:{COVERED_BY.get(action, action)}" for name, action in backend.counters.calls}
    assert called <= allowed
    assert len(called) > 12


def test_without_leave_to_create_the_policy_has_none() -> None:
    text = str(policy(AwsOptions(create=False), "eu-west-1"))
    assert "Create" not in text
    assert "DeleteQueue" not in text


def test_resources() -> None:
    options = AwsOptions(
        prefix="lb-",
        table="state",
        queues={"orders": "prod-orders"},
        topics={"events": "prod-events", "alarms": "arn:aws-cn:sns:cn-north-1:1:alarms"},
        payload_bucket="big",
        payload_prefix="lb/",
    )
    resources = [
        resource
        for statement in policy(options, "cn-north-1")["Statement"]
        for resource in statement["Resource"]
    ]
    assert resources == [
        "arn:aws-cn:sqs:cn-north-1:*:lb-*",
        "arn:aws-cn:sqs:cn-north-1:*:prod-orders",
        "*",
        "arn:aws-cn:dynamodb:cn-north-1:*:table/state",
        "arn:aws-cn:sns:cn-north-1:*:lb-*",
        "arn:aws-cn:sns:cn-north-1:*:prod-events",
        "arn:aws-cn:sns:cn-north-1:1:alarms",
        "*",
        "arn:aws-cn:s3:::big/lb/*",
    ]


def test_lines() -> None:
    options = AwsOptions(
        prefix="lb-", queues={"pinned": "theirs"}, ordering=(OrderingRule("audit"),), create=False
    )
    queues = {QueueName("/", name): QueueSettings() for name in ("pinned", "audit", "a.b")}
    lines = plan_lines(options, "eu-west-1", queues)
    assert lines[1] == "table  landbridge: has to be there"
    assert lines[2].startswith("queue  a.b as lb-a-b--")
    assert "in order by strict" in lines[3]
    assert ".fifo" in lines[3]
    assert lines[4].startswith("queue  pinned as theirs: has to be there")


async def test_figures(opened: Opened) -> None:
    backend, _ = await opened(empty_account)
    queue = await make_queue(backend.store)
    unit = UnitOfWork()
    unit.sends += [(queue, message("x" * 100_000)) for _ in range(10)]
    await commit(backend.store, unit)
    figures = backend.figures()
    assert figures["aws_sqs_send_message_batch_calls_total"] == 1
    assert figures["aws_sqs_billed_requests_total"] >= 16
    assert figures["aws_failed_calls_total"] == 1


def test_topic_lines() -> None:
    options = AwsOptions(
        prefix="lb-",
        topics={"events": "theirs"},
        topic_rules=(TopicRule("al*", publish=Mode.NEVER, ingest=Mode.NEVER),),
    )
    targets = [TopicName("/", "meters")]
    sources = [TopicName("/", "events")]
    lines = plan_lines(options, "eu-west-1", {}, targets, [*sources, TopicName("/", "alarms")])
    shown = {line.split()[1]: line for line in lines if line.startswith("topic ")}
    assert shown["alarms"].endswith("as lb-alarms: made if it is absent; published to: never")
    assert shown["events"].endswith("as theirs: has to be there; published to: auto")
    assert shown["meters"].endswith("as lb-meters: made if it is absent; published to: always")
    ingested = {line.split()[1]: line for line in lines if line.startswith("ingest ")}
    assert "through lb-ingest-events--" in ingested["events"]
    assert 'raw, filter {"landbridge-origin":[{"exists":false}]}' in ingested["alarms"]
    assert "subscribed while somebody here listens" in ingested["meters"]
    assert ingested.keys() == {"alarms", "events", "meters"}


def test_without_leave_to_create_topics_the_policy_has_none() -> None:
    text = str(policy(AwsOptions(create=False), "eu-west-1"))
    assert "sns:Publish" in text
    assert "Subscribe'" not in text


async def test_the_policy_covers_what_topics_and_inboxes_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bounds = {"ingest_linger_seconds": 0.1, "inbox_look_seconds": 0.05}
    options: dict[str, Any] = {"publish": Mode.ALWAYS, "topic_check_seconds": 0.1, "bounds": bounds}
    options |= {"prefix": "plan-", "table": "plan-state"}
    with moto_server() as url:
        async with (
            node(url, tmp_path / "one", **options) as one,
            node(url, tmp_path / "other", **options) as other,
        ):
            await other.topology.declare_topic(TopicName("/", "a b"))
            there = await other.queue("there", transient=True)
            await other.bind("a b", there)
            await one.publish("a b", "x")
            sns = cloud(url, "sns")
            arn = sns.create_topic(Name=sns_name(TopicName("/", "a b"), prefix="plan-"))["TopicArn"]

            def subscribed() -> bool:
                found = sns.list_subscriptions_by_topic(TopicArn=arn)
                return bool(found["Subscriptions"])

            await eventually(subscribed)
            await other.topology.remove_queue(there)
            await eventually(lambda: not subscribed())
            sns.delete_topic(TopicArn=arn)
            with pytest.raises(TopicDoesNotExist):
                await one.publish("a b", "x")
    assert {"Unsubscribe", "PublishBatch"} <= one.calls("sns") | other.calls("sns")
    allowed = {
        action
        for statement in policy(AwsOptions(), "eu-west-1")["Statement"]
        for action in statement["Action"]
    }
    calls = {*one.backend.counters.calls, *other.backend.counters.calls}
    assert {f"{name}:{COVERED_BY.get(action, action)}" for name, action in calls} <= allowed


def test_the_plan_tells_of_bands() -> None:
    options = AwsOptions(prefix="p-", queues={"pinned": "theirs"})
    settings = QueueSettings(priority_max=9)
    names = [QueueName("/", "orders"), QueueName("/", "pinned")]
    lines = plan_lines(options, "eu-west-1", dict.fromkeys(names, settings))
    orders, pinned = [line for line in lines if line.startswith("queue  ")]
    assert "; 4 queues by priority; " in orders
    assert "by priority" not in pinned
