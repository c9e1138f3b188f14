"""The plan: what would be made, and a policy that covers what a node calls."""

from __future__ import annotations

from bridge.backends.aws import AwsOptions, OrderingRule
from bridge.backends.aws.plan import plan_lines, policy
from bridge.messaging.model import QueueName, QueueSettings, StateChange, UnitOfWork
from tests.bridge.backends.aws.conftest import Opened
from tests.bridge.backends.aws.test_ordering import empty_account
from tests.support.stores import commit, make_queue, message

COVERED_BY = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
    "TransactWriteItems": "PutItem",
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
