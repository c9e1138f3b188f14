"""What the API answers survives a restart, and routes of the configuration apply to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bridge.routing.rules import Rule, compile_rules
from tests.support.aws_api import RunningApi, running_api
from tests.support.aws_clients import REGION, client, refusal

ACCOUNT = "000000000000"


def arn(service: str, name: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"


def at(api: RunningApi, name: str) -> str:
    return f"{api.url}/{ACCOUNT}/{name}"


def bodies(sqs: Any, url: str, **arguments: Any) -> list[str]:
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, **arguments)
    return [each["Body"] for each in answer.get("Messages", [])]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    attributes = {
        "VisibilityTimeout": "77",
        "Policy": '{"Statement":[]}',
        "KmsMasterKeyId": "key",
    }
    with running_api(tmp_path / "data", durability="os") as api:
        sqs, sns = client(api.url, "sqs"), client(api.url, "sns")
        url = sqs.create_queue(QueueName="q", Attributes=attributes, tags={"a": "b"})["QueueUrl"]
        sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})
        ordered = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
        first = sqs.send_message(QueueUrl=at(api, "q.fifo"), MessageBody="x", **ordered)
        sqs.send_message(QueueUrl=url, MessageBody="held")
        handle = sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
        topic = sns.create_topic(Name="t", Attributes={"DisplayName": "Shown"})["TopicArn"]
        policy = {"FilterPolicy": json.dumps({"k": ["v"]}), "RawMessageDelivery": "true"}
        subscription = sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=arn("sqs", "q"), Attributes=policy
        )["SubscriptionArn"]
        fifo = sns.create_topic(
            Name="t.fifo", Attributes={"FifoTopic": "true", "ContentBasedDeduplication": "true"}
        )["TopicArn"]
        published = sns.publish(TopicArn=fifo, Message="once", MessageGroupId="g")
    with running_api(tmp_path / "data", durability="os") as api:
        sqs, sns = client(api.url, "sqs"), client(api.url, "sns")
        url = at(api, "q")
        shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert {each: shown[each] for each in attributes} == attributes
        assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "b"}
        assert bodies(sqs, url) == []
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
        assert bodies(sqs, url) == ["held"]
        again = sqs.send_message(QueueUrl=at(api, "q.fifo"), MessageBody="x", **ordered)
        assert again["MessageId"] == first["MessageId"]
        again = sns.publish(TopicArn=fifo, Message="once", MessageGroupId="g")
        assert again["MessageId"] == published["MessageId"]
        kept = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
        assert {each: kept[each] for each in policy} == policy
        accepted = {"k": {"DataType": "String", "StringValue": "v"}}
        sns.publish(TopicArn=topic, Message="accepted", MessageAttributes=accepted)
        sns.publish(TopicArn=topic, Message="refused")
        assert bodies(sqs, url) == ["accepted"]


def test_a_move_task_goes_on_after_a_restart(tmp_path: Path) -> None:
    with running_api(tmp_path / "data", durability="os") as api:
        sqs = client(api.url, "sqs")
        dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
        redrive = {"deadLetterTargetArn": arn("sqs", "dead"), "maxReceiveCount": 1}
        sqs.create_queue(QueueName="q", Attributes={"RedrivePolicy": json.dumps(redrive)})
        sqs.create_queue(QueueName="target")
        for n in range(3):
            sqs.send_message(QueueUrl=dead, MessageBody=str(n))
        sqs.start_message_move_task(
            SourceArn=arn("sqs", "dead"),
            DestinationArn=arn("sqs", "target"),
            MaxNumberOfMessagesPerSecond=1,
        )
    with running_api(tmp_path / "data", durability="os") as api:
        sqs = client(api.url, "sqs")
        found: list[str] = []
        for _ in range(3):
            found += bodies(sqs, at(api, "target"), WaitTimeSeconds=20)
            if len(found) == 3:
                break
        assert sorted(found) == ["0", "1", "2"]


def test_routes_from_sqs_apply(tmp_path: Path) -> None:
    rule = Rule("copy", "sqs:orders", ["default", "sqs:audit"])
    with running_api(tmp_path / "data", durability="os") as api:
        api.router.use_rules(compile_rules([rule]))
        sqs = client(api.url, "sqs")
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="one")
        entries = [{"Id": each, "MessageBody": each} for each in ("two", "three")]
        answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
        assert len(answer["Successful"]) == 2
        assert bodies(sqs, url) == ["one", "two", "three"]
        assert bodies(sqs, at(api, "audit")) == ["one", "two", "three"]


def test_the_60_seconds_go_on_over_a_restart(tmp_path: Path) -> None:
    with running_api(tmp_path / "data", durability="os") as api:
        sqs = client(api.url, "sqs")
        sqs.delete_queue(QueueUrl=sqs.create_queue(QueueName="gone")["QueueUrl"])
        sqs.purge_queue(QueueUrl=sqs.create_queue(QueueName="purged")["QueueUrl"])
    with running_api(tmp_path / "data", durability="os") as api:
        sqs = client(api.url, "sqs")
        with api.clock.later(20):
            assert "60 seconds" in refusal(sqs.create_queue, QueueName="gone").message
            purged = at(api, "purged")
            assert refusal(sqs.purge_queue, QueueUrl=purged).status == 403
        with api.clock.later(70):
            sqs.create_queue(QueueName="gone")
            sqs.purge_queue(QueueUrl=purged)
            assert len(list(api.backend.state.scan("sqs-purged"))) == 1
