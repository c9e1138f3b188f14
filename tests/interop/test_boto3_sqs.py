"""SQS through boto3: what each action answers when all is well."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import pytest

from tests.support.aws_api import RunningApi
from tests.support.aws_clients import REGION, api, name, query, queue_url, sqs

__all__ = ["api", "queue_url", "sqs"]

ACCOUNT = "000000000000"


def arn_of(url: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rpartition('/')[2]}"


def receive(sqs: Any, url: str, **arguments: Any) -> list[Any]:
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, **arguments)
    return list(answer.get("Messages", []))


def counts(sqs: Any, url: str) -> tuple[int, int, int]:
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    names = ("", "NotVisible", "Delayed")
    visible, hidden, delayed = (
        int(shown[f"ApproximateNumberOfMessages{suffix}"]) for suffix in names
    )
    return visible, hidden, delayed


# -- queues


def test_a_queue_url_leads_back_to_where_the_client_came_in(api: RunningApi, sqs: Any) -> None:
    queue = name()
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    assert url == f"{api.url}/{ACCOUNT}/{queue}"
    assert sqs.get_queue_url(QueueName=queue)["QueueUrl"] == url


def test_creating_again_answers_the_same_url(sqs: Any) -> None:
    queue = name()
    url = sqs.create_queue(QueueName=queue, Attributes={"DelaySeconds": "5"})["QueueUrl"]
    assert sqs.create_queue(QueueName=queue)["QueueUrl"] == url
    again = sqs.create_queue(QueueName=queue, Attributes={"DelaySeconds": "5"}, tags={"a": "b"})
    assert again["QueueUrl"] == url
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=url)


def test_all_attributes_of_a_fresh_queue(sqs: Any, queue_url: str) -> None:
    shown = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    assert shown.pop("CreatedTimestamp").isdigit()
    assert shown.pop("LastModifiedTimestamp").isdigit()
    assert shown == {
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "DelaySeconds": "0",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "QueueArn": arn_of(queue_url),
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "30",
    }


def test_no_attributes_unless_asked_for(sqs: Any, queue_url: str) -> None:
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=queue_url)
    asked = sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["VisibilityTimeout", "Policy"]
    )
    assert asked["Attributes"] == {"VisibilityTimeout": "30"}


def test_attributes_can_be_changed_and_removed(sqs: Any, queue_url: str) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    sqs.set_queue_attributes(
        QueueUrl=queue_url, Attributes={"Policy": policy, "VisibilityTimeout": "69"}
    )
    names = ["Policy", "VisibilityTimeout"]
    shown = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    assert shown == {"Policy": policy, "VisibilityTimeout": "69"}
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": ""})
    shown = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    assert shown == {"VisibilityTimeout": "69"}


def test_a_kms_key_turns_the_other_encryption_off(sqs: Any, queue_url: str) -> None:
    names = ["KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"]
    sqs.set_queue_attributes(
        QueueUrl=queue_url,
        Attributes={"KmsMasterKeyId": "testKeyId", "KmsDataKeyReusePeriodSeconds": "6000"},
    )
    shown = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    assert shown == {
        "KmsMasterKeyId": "testKeyId",
        "KmsDataKeyReusePeriodSeconds": "6000",
        "SqsManagedSseEnabled": "false",
    }


def test_queues_are_listed_by_prefix_and_in_pages(sqs: Any) -> None:
    stem = name("page")
    urls = [sqs.create_queue(QueueName=f"{stem}-{n}")["QueueUrl"] for n in range(3)]
    assert sqs.list_queues(QueueNamePrefix=f"{stem}-")["QueueUrls"] == urls
    first = sqs.list_queues(QueueNamePrefix=f"{stem}-", MaxResults=2)
    assert first["QueueUrls"] == urls[:2]
    rest = sqs.list_queues(QueueNamePrefix=f"{stem}-", MaxResults=2, NextToken=first["NextToken"])
    assert rest["QueueUrls"] == urls[2:]
    assert "NextToken" not in rest
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix="nothing-is-called-so")


def test_tags(sqs: Any, queue_url: str) -> None:
    sqs.tag_queue(QueueUrl=queue_url, Tags={"tag1": "value1", "tag2": "value2", "tag3": ""})
    tags = sqs.list_queue_tags(QueueUrl=queue_url)["Tags"]
    assert tags == {"tag1": "value1", "tag2": "value2", "tag3": ""}
    sqs.untag_queue(QueueUrl=queue_url, TagKeys=["tag1", "tag3", "Tag2"])
    assert sqs.list_queue_tags(QueueUrl=queue_url)["Tags"] == {"tag2": "value2"}
    sqs.untag_queue(QueueUrl=queue_url, TagKeys=["tag2"])
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=queue_url)


def test_permissions_are_statements_of_the_policy(sqs: Any, queue_url: str) -> None:
    def policy() -> Any:
        shown = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["Policy"])
        return json.loads(shown["Attributes"]["Policy"]) if "Attributes" in shown else None

    arn = arn_of(queue_url)
    sqs.add_permission(
        QueueUrl=queue_url, Label="one", AWSAccountIds=["111111111111"], Actions=["SendMessage"]
    )
    sqs.add_permission(
        QueueUrl=queue_url,
        Label="two",
        AWSAccountIds=["111111111111", "222222222222"],
        Actions=["SendMessage", "ReceiveMessage"],
    )
    shown = policy()
    assert shown["Version"] == "2008-10-17"
    assert shown["Id"] == f"{arn}/SQSDefaultPolicy"
    assert shown["Statement"][0] == {
        "Sid": "one",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
        "Action": "SQS:SendMessage",
        "Resource": arn,
    }
    assert shown["Statement"][1]["Action"] == ["SQS:SendMessage", "SQS:ReceiveMessage"]
    sqs.remove_permission(QueueUrl=queue_url, Label="one")
    sqs.remove_permission(QueueUrl=queue_url, Label="two")
    assert policy() is None


def test_purge_and_delete(sqs: Any, queue_url: str) -> None:
    for body in ("held", "visible"):
        sqs.send_message(QueueUrl=queue_url, MessageBody=body)
    sqs.send_message(QueueUrl=queue_url, MessageBody="delayed", DelaySeconds=900)
    assert len(sqs.receive_message(QueueUrl=queue_url)["Messages"]) == 1
    sqs.purge_queue(QueueUrl=queue_url)
    assert counts(sqs, queue_url) == (0, 0, 0)
    sqs.delete_queue(QueueUrl=queue_url)
    assert queue_url not in sqs.list_queues().get("QueueUrls", [])


# -- messages


def test_send_receive_delete(sqs: Any, queue_url: str) -> None:
    sent = sqs.send_message(QueueUrl=queue_url, MessageBody="grüße\r\n")
    digest = hashlib.md5("grüße\r\n".encode()).hexdigest()
    assert sent["MD5OfMessageBody"] == digest
    assert "SequenceNumber" not in sent
    (message,) = receive(sqs, queue_url)
    handle = message.pop("ReceiptHandle")
    assert message == {"MessageId": sent["MessageId"], "MD5OfBody": digest, "Body": "grüße\r\n"}
    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=handle)
    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=handle)
    assert counts(sqs, queue_url) == (0, 0, 0)
    assert "Messages" not in sqs.receive_message(QueueUrl=queue_url)


ATTRIBUTES: dict[str, Any] = {
    "General": {"DataType": "String", "StringValue": "Kenobi"},
    "Hello": {"DataType": "String", "StringValue": "There"},
    "Help.Me": {"DataType": "String", "StringValue": "Me"},
}


@pytest.mark.parametrize(
    ("asked", "found", "digest"),
    [
        (["All"], {"General", "Hello", "Help.Me"}, "4c360f3fdafd970e05fae2f149d997f5"),
        ([".*"], {"General", "Hello", "Help.Me"}, "4c360f3fdafd970e05fae2f149d997f5"),
        (["*"], {"General", "Hello", "Help.Me"}, "4c360f3fdafd970e05fae2f149d997f5"),
        (["General", "Hello"], {"General", "Hello"}, "fca026605781cb4126a1e9044df24232"),
        (["Hello", "Foo"], {"Hello"}, "a311262e065454b75da111d535b8dacd"),
        (["Hel.*"], {"Hello", "Help.Me"}, "83fee93c1bcd8b9a5a923ffacdc636c7"),
        (["Foo", "Help"], set(), None),
        ([], set(), None),
        (["AWS."], set(), None),
    ],
)
def test_message_attributes_are_given_as_asked_for(
    sqs: Any, queue_url: str, asked: list[str], found: set[str], digest: str | None
) -> None:
    sent = sqs.send_message(QueueUrl=queue_url, MessageBody="msg", MessageAttributes=ATTRIBUTES)
    assert sent["MD5OfMessageAttributes"] == "4c360f3fdafd970e05fae2f149d997f5"
    (message,) = receive(sqs, queue_url, MessageAttributeNames=asked)
    shown = message.get("MessageAttributes", {})
    assert shown == {each: ATTRIBUTES[each] for each in found}
    assert message.get("MD5OfMessageAttributes") == digest


@pytest.mark.parametrize(
    ("attributes", "digest"),
    [
        (
            {"attr1": {"DataType": "Number", "StringValue": "19.12"}},
            "1f07082409022a373fa2a2601f82b3cb",
        ),
        (
            {
                "attr1": {
                    "DataType": "Binary",
                    "BinaryValue": b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c"
                    b"-2d2482211f6489da-01",
                }
            },
            "8cbe4db156db8a94db8b801b7addb984",
        ),
        (
            {
                "content-type": {"DataType": "String", "StringValue": "a/b"},
                "n": {"DataType": "Number.int", "StringValue": "1.50"},
                "s": {"DataType": "String.custom", "StringValue": "x"},
                "b": {"DataType": "Binary.png", "BinaryValue": b"\0\1"},
            },
            None,
        ),
    ],
)
def test_message_attributes_come_back_to_the_letter(
    sqs: Any, queue_url: str, attributes: dict[str, Any], digest: str | None
) -> None:
    sent = sqs.send_message(QueueUrl=queue_url, MessageBody="msg", MessageAttributes=attributes)
    (message,) = receive(sqs, queue_url, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    if digest is not None:
        assert sent["MD5OfMessageAttributes"] == digest


def test_ten_attributes_with_a_trace_header(sqs: Any, queue_url: str) -> None:
    ten = {f"a{n}": {"DataType": "String", "StringValue": "v"} for n in range(10)}
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793"
    sent = sqs.send_message(
        QueueUrl=queue_url,
        MessageBody="x",
        MessageAttributes=ten,
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}},
    )
    assert sent["MD5OfMessageSystemAttributes"]
    (message,) = receive(
        sqs, queue_url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
    )
    assert message["MessageAttributes"] == ten
    assert message["Attributes"]["AWSTraceHeader"] == trace


def test_system_attributes(sqs: Any, queue_url: str) -> None:
    sqs.send_message(QueueUrl=queue_url, MessageBody="x")
    (first,) = receive(sqs, queue_url, VisibilityTimeout=0, AttributeNames=["All"])
    shown = first["Attributes"]
    assert set(shown) == {
        "ApproximateFirstReceiveTimestamp",
        "ApproximateReceiveCount",
        "SenderId",
        "SentTimestamp",
    }
    assert shown["ApproximateReceiveCount"] == "1"
    assert int(shown["SentTimestamp"]) <= int(shown["ApproximateFirstReceiveTimestamp"])
    (second,) = receive(
        sqs,
        queue_url,
        AttributeNames=["SentTimestamp"],
        MessageSystemAttributeNames=["ApproximateReceiveCount"],
    )
    assert second["Attributes"] == {
        "ApproximateReceiveCount": "2",
        "SentTimestamp": shown["SentTimestamp"],
    }


def test_batches(sqs: Any, queue_url: str) -> None:
    entries = [{"Id": str(n), "MessageBody": f"body {n}"} for n in range(10)]
    sent = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
    assert "Failed" not in sent
    assert [each["Id"] for each in sent["Successful"]] == [each["Id"] for each in entries]
    messages = receive(sqs, queue_url)
    assert [each["Body"] for each in messages] == [each["MessageBody"] for each in entries]
    handles = [
        {"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)
    ]
    changed = sqs.change_message_visibility_batch(
        QueueUrl=queue_url, Entries=[{**each, "VisibilityTimeout": 100} for each in handles]
    )
    assert len(changed["Successful"]) == 10
    deleted = sqs.delete_message_batch(QueueUrl=queue_url, Entries=handles)
    assert len(deleted["Successful"]) == 10
    assert "Failed" not in deleted
    assert counts(sqs, queue_url) == (0, 0, 0)


def test_a_batch_fails_by_entry(sqs: Any) -> None:
    url = sqs.create_queue(QueueName=name(), Attributes={"MaximumMessageSize": "1024"})["QueueUrl"]
    answer = sqs.send_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "long", "MessageBody": "a" * 1025},
            {"Id": "illegal", "MessageBody": "\x01"},
            {"Id": "good", "MessageBody": "a" * 1024},
        ],
    )
    assert [each["Id"] for each in answer["Successful"]] == ["good"]
    failed = {each["Id"]: each for each in answer["Failed"]}
    assert failed["long"] == {
        "Id": "long",
        "SenderFault": True,
        "Code": "InvalidParameterValue",
        "Message": "One or more parameters cannot be validated. Reason: Message must be shorter"
        " than 1024 bytes.",
    }
    assert failed["illegal"]["Code"] == "InvalidMessageContents"
    (message,) = receive(sqs, url)
    handles = sqs.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "good", "ReceiptHandle": message["ReceiptHandle"]},
            {"Id": "bad", "ReceiptHandle": "garbage"},
        ],
    )
    assert [each["Id"] for each in handles["Successful"]] == ["good"]
    assert handles["Failed"][0]["Code"] == "ReceiptHandleIsInvalid"


def test_sizes_at_the_limit(sqs: Any, queue_url: str) -> None:
    attribute = {"n" * 10: {"DataType": "String", "StringValue": "v" * 84}}
    limit = 1_048_576
    sqs.send_message(
        QueueUrl=queue_url, MessageBody="a" * (limit - 100), MessageAttributes=attribute
    )
    half = [{"Id": each, "MessageBody": "ä" * (limit // 4)} for each in ("a", "b")]
    assert len(sqs.send_message_batch(QueueUrl=queue_url, Entries=half)["Successful"]) == 2


def test_visibility_runs_out_and_can_be_changed(api: RunningApi, sqs: Any, queue_url: str) -> None:
    sqs.send_message(QueueUrl=queue_url, MessageBody="x")
    (message,) = receive(sqs, queue_url)
    handle = message["ReceiptHandle"]
    assert receive(sqs, queue_url) == []
    sqs.change_message_visibility(QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=0)
    (again,) = receive(sqs, queue_url)
    assert again["MessageId"] == message["MessageId"]
    assert again["ReceiptHandle"] != handle
    # An old handle of a standard queue still changes and deletes.
    sqs.change_message_visibility(QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=0)
    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=handle)
    assert counts(sqs, queue_url) == (0, 0, 0)


def test_a_long_poll_returns_early(sqs: Any, queue_url: str) -> None:
    sqs.send_message(QueueUrl=queue_url, MessageBody="later", DelaySeconds=3)
    assert receive(sqs, queue_url) == []
    assert counts(sqs, queue_url) == (0, 0, 1)
    (message,) = receive(sqs, queue_url, WaitTimeSeconds=20)
    assert message["Body"] == "later"


def test_a_group_on_a_standard_queue_is_shown_and_locks_nothing(sqs: Any, queue_url: str) -> None:
    for body in ("a", "b"):
        sent = sqs.send_message(QueueUrl=queue_url, MessageBody=body, MessageGroupId="tenant")
        assert "SequenceNumber" not in sent
    shown = [
        receive_one["Attributes"]
        for _ in range(2)
        for receive_one in sqs.receive_message(QueueUrl=queue_url, AttributeNames=["All"])[
            "Messages"
        ]
    ]
    assert [each["MessageGroupId"] for each in shown] == ["tenant", "tenant"]
    assert "MessageDeduplicationId" not in shown[0]


# -- dead letters


def with_dead_letters(sqs: Any, count: int = 1) -> tuple[str, str]:
    dead = sqs.create_queue(QueueName=name("dead"))["QueueUrl"]
    policy = {"deadLetterTargetArn": arn_of(dead), "maxReceiveCount": count}
    source = sqs.create_queue(
        QueueName=name("source"), Attributes={"RedrivePolicy": json.dumps(policy)}
    )["QueueUrl"]
    return source, dead


def test_a_message_moves_on_the_receive_after_the_last(sqs: Any) -> None:
    source, dead = with_dead_letters(sqs)
    sent = sqs.send_message(QueueUrl=source, MessageBody="poison")
    (first,) = receive(sqs, source, VisibilityTimeout=0, AttributeNames=["SentTimestamp"])
    assert receive(sqs, source) == []
    (moved,) = receive(sqs, dead, WaitTimeSeconds=20, AttributeNames=["All"])
    assert moved["MessageId"] == sent["MessageId"]
    assert moved["Attributes"]["DeadLetterQueueSourceArn"] == arn_of(source)
    assert moved["Attributes"]["ApproximateReceiveCount"] == "2"
    assert moved["Attributes"]["SentTimestamp"] == first["Attributes"]["SentTimestamp"]


def test_sources_of_a_dead_letter_queue(sqs: Any) -> None:
    source, dead = with_dead_letters(sqs, 3)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [source]
    shown = sqs.get_queue_attributes(QueueUrl=source, AttributeNames=["RedrivePolicy"])
    assert json.loads(shown["Attributes"]["RedrivePolicy"]) == {
        "deadLetterTargetArn": arn_of(dead),
        "maxReceiveCount": 3,
    }
    sqs.set_queue_attributes(QueueUrl=source, Attributes={"RedrivePolicy": ""})
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == []


def wait_for_task(sqs: Any, dead: str) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        (task,) = sqs.list_message_move_tasks(SourceArn=arn_of(dead))["Results"]
        if task["Status"] not in ("RUNNING", "CANCELLING"):
            return task
    raise AssertionError("the task does not end")


@pytest.mark.parametrize("back", [True, False])
def test_a_move_task_moves_dead_letters(sqs: Any, queue_url: str, back: bool) -> None:
    source, dead = with_dead_letters(sqs)
    sent = [sqs.send_message(QueueUrl=source, MessageBody=str(n))["MessageId"] for n in range(12)]
    for _ in range(4):
        receive(sqs, source, VisibilityTimeout=0)
    assert counts(sqs, dead)[0] == 12
    to = {} if back else {"DestinationArn": arn_of(queue_url)}
    started = sqs.start_message_move_task(SourceArn=arn_of(dead), **to)
    assert started["TaskHandle"]
    task = wait_for_task(sqs, dead)
    assert task["Status"] == "COMPLETED"
    assert task["SourceArn"] == arn_of(dead)
    assert task["ApproximateNumberOfMessagesMoved"] == 12
    assert "TaskHandle" not in task
    target = source if back else queue_url
    assert counts(sqs, dead) == (0, 0, 0)
    assert counts(sqs, target)[0] == 12
    messages = receive(sqs, target)
    assert not {each["MessageId"] for each in messages} & set(sent)


def test_a_move_task_is_cancelled(sqs: Any) -> None:
    source, dead = with_dead_letters(sqs)
    # It takes seconds.
    for n in range(9):
        sqs.send_message(QueueUrl=source, MessageBody=str(n))
    for _ in range(2):
        receive(sqs, source, VisibilityTimeout=0)
    handle = sqs.start_message_move_task(SourceArn=arn_of(dead), MaxNumberOfMessagesPerSecond=1)[
        "TaskHandle"
    ]
    (task,) = sqs.list_message_move_tasks(SourceArn=arn_of(dead))["Results"]
    assert task["TaskHandle"] == handle
    assert task["Status"] == "RUNNING"
    sqs.cancel_message_move_task(TaskHandle=handle)
    (task,) = sqs.list_message_move_tasks(SourceArn=arn_of(dead))["Results"]
    assert task["Status"] in ("CANCELLING", "CANCELLED")


def test_letters_of_any_script_in_names_of_attributes(sqs: Any, queue_url: str) -> None:
    attributes = {"attr.1øßä": {"DataType": "String", "StringValue": "v"}}
    sent = sqs.send_message(QueueUrl=queue_url, MessageBody="x", MessageAttributes=attributes)
    answer = sqs.receive_message(QueueUrl=queue_url, MessageAttributeNames=["All"])
    (message,) = answer["Messages"]
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]


def test_a_trace_header_comes_with_the_request_too(api: RunningApi, sqs: Any) -> None:
    url = sqs.create_queue(QueueName=name())["QueueUrl"]
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    answer = query(url, headers={"X-Amzn-Trace-Id": trace}, Action="SendMessage", MessageBody="x")
    assert answer.find("SendMessageResult/MD5OfMessageSystemAttributes") is None
    found = sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["AWSTraceHeader"])
    assert found["Messages"][0]["Attributes"] == {"AWSTraceHeader": trace}
