"""How SQS refuses, through boto3: both codes, the HTTP status and, where recorded, the text."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.support.aws_api import RunningApi
from tests.support.aws_clients import REGION, Refusal, api, fifo_url, name, queue_url, refusal, sqs

__all__ = ["api", "fifo_url", "queue_url", "sqs"]

SQS = "AWS.SimpleQueueService."


def invalid(message: str) -> Refusal:
    return Refusal("InvalidParameterValue", "InvalidParameterValueException", 400, message)


def missing(message: str) -> Refusal:
    return Refusal("MissingParameter", "MissingRequiredParameterException", 400, message)


def redrive(queue: str, count: int) -> str:
    arn = f"arn:aws:sqs:{REGION}:000000000000:{queue}"
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": count})


def test_a_queue_that_is_not_there(sqs: Any, api: RunningApi) -> None:
    expected = Refusal(
        SQS + "NonExistentQueue",
        "QueueDoesNotExist",
        400,
        "The specified queue does not exist.",
    )
    url = f"{api.url}/000000000000/not-there"
    assert refusal(sqs.get_queue_url, QueueName="not-there") == expected
    assert refusal(sqs.send_message, QueueUrl=url, MessageBody="x") == expected
    assert refusal(sqs.receive_message, QueueUrl=url) == expected
    assert refusal(sqs.delete_queue, QueueUrl=url) == expected
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.purge_queue(QueueUrl=url)


def test_the_same_name_with_another_attribute(sqs: Any) -> None:
    queue = name()
    sqs.create_queue(QueueName=queue, Attributes={"DelaySeconds": "1"})
    found = refusal(sqs.create_queue, QueueName=queue, Attributes={"DelaySeconds": "2"})
    assert found == Refusal(
        "QueueAlreadyExists",
        "QueueNameExists",
        400,
        "A queue already exists with the same name and a different value for attribute"
        " DelaySeconds",
    )


def test_a_name_is_free_60_seconds_after_its_queue(api: RunningApi, sqs: Any) -> None:
    queue = name()
    sqs.delete_queue(QueueUrl=sqs.create_queue(QueueName=queue)["QueueUrl"])
    found = refusal(sqs.create_queue, QueueName=queue)
    assert found == Refusal(
        SQS + "QueueDeletedRecently",
        "QueueDeletedRecently",
        400,
        "You must wait 60 seconds after deleting a queue before you can create another with the"
        " same name.",
    )
    with api.clock.later(60):
        assert sqs.create_queue(QueueName=queue)["QueueUrl"]


def test_one_purge_in_60_seconds(api: RunningApi, sqs: Any, queue_url: str) -> None:
    sqs.purge_queue(QueueUrl=queue_url)
    queue = queue_url.rpartition("/")[2]
    assert refusal(sqs.purge_queue, QueueUrl=queue_url) == Refusal(
        SQS + "PurgeQueueInProgress",
        "PurgeQueueInProgress",
        403,
        f"Only one PurgeQueue operation on {queue} is allowed every 60 seconds.",
    )
    with api.clock.later(60):
        sqs.purge_queue(QueueUrl=queue_url)


@pytest.mark.parametrize("queue", ["", "a b", "a.b", "a" * 81, "a.fifo", "ä"])
def test_illegal_queue_names(sqs: Any, queue: str) -> None:
    found = refusal(sqs.create_queue, QueueName=queue)
    assert found == invalid(
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
    )


@pytest.mark.parametrize(
    ("attributes", "code", "message"),
    [
        ({"Foo": "1"}, "InvalidAttributeName", "Unknown Attribute Foo."),
        ({"FifoQueue": "false"}, "InvalidAttributeName", "Unknown Attribute FifoQueue."),
        ({"DelaySeconds": "901"}, "InvalidAttributeValue", None),
        ({"DelaySeconds": "-1"}, "InvalidAttributeValue", None),
        ({"DelaySeconds": "x"}, "InvalidAttributeValue", None),
        ({"MaximumMessageSize": "1023"}, "InvalidAttributeValue", None),
        ({"MaximumMessageSize": "1048577"}, "InvalidAttributeValue", None),
        ({"MessageRetentionPeriod": "59"}, "InvalidAttributeValue", None),
        ({"MessageRetentionPeriod": "1209601"}, "InvalidAttributeValue", None),
        ({"ReceiveMessageWaitTimeSeconds": "21"}, "InvalidAttributeValue", None),
        ({"VisibilityTimeout": "43201"}, "InvalidAttributeValue", None),
        ({"KmsDataKeyReusePeriodSeconds": "59"}, "InvalidAttributeValue", None),
        ({"SqsManagedSseEnabled": "yes"}, "InvalidAttributeValue", None),
        ({"Policy": "no json"}, "InvalidAttributeValue", None),
        (
            {"DeduplicationScope": "queue"},
            "InvalidAttributeName",
            "You can specify the DeduplicationScope only when FifoQueue is set to true.",
        ),
        (
            {"SqsManagedSseEnabled": "true", "KmsMasterKeyId": "key"},
            "InvalidAttributeName",
            (
                "You can use one type of server-side encryption (SSE) at one time. You can either"
                " enable KMS SSE or SQS SSE."
            ),
        ),
    ],
)
def test_attributes_out_of_range(
    sqs: Any, queue_url: str, attributes: dict[str, str], code: str, message: str | None
) -> None:
    found = refusal(sqs.create_queue, QueueName=name(), Attributes=attributes)
    assert found[:3] == (code, code, 400)
    if message is not None:
        assert found.message == message
    changing = refusal(sqs.set_queue_attributes, QueueUrl=queue_url, Attributes=attributes)
    assert changing == found


def test_the_type_of_a_queue_cannot_be_changed(sqs: Any, queue_url: str, fifo_url: str) -> None:
    fifo = {"FifoQueue": "true"}
    assert refusal(sqs.set_queue_attributes, QueueUrl=queue_url, Attributes=fifo) == Refusal(
        "InvalidAttributeName", "InvalidAttributeName", 400, "Unknown Attribute FifoQueue."
    )
    found = refusal(sqs.set_queue_attributes, QueueUrl=fifo_url, Attributes={"FifoQueue": "false"})
    assert found == Refusal(
        "InvalidAttributeValue",
        "InvalidAttributeValue",
        400,
        "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
    )


def test_unknown_attributes_cannot_be_asked_for(sqs: Any, queue_url: str) -> None:
    found = refusal(sqs.get_queue_attributes, QueueUrl=queue_url, AttributeNames=["Foo"])
    assert found == Refusal(
        "InvalidAttributeName", "InvalidAttributeName", 400, "Unknown Attribute Foo."
    )


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (
            '{"deadLetterTargetArn": "dummy", "maxReceiveCount": 42}',
            "Invalid value for deadLetterTargetArn.",
        ),
        ('{"maxReceiveCount": 1}', None),
        ("[]", None),
        ("{", None),
        (
            redrive("no", 0),
            None,
        ),
        (
            redrive("no", 1001),
            None,
        ),
        (
            redrive("no", 1),
            "Dead letter target does not exist.",
        ),
    ],
)
def test_redrive_policies(sqs: Any, queue_url: str, policy: str, reason: str | None) -> None:
    found = refusal(
        sqs.set_queue_attributes, QueueUrl=queue_url, Attributes={"RedrivePolicy": policy}
    )
    assert found[:3] == ("InvalidParameterValue", "InvalidParameterValueException", 400)
    assert found.message.startswith(f"Value {policy} for parameter RedrivePolicy is invalid.")
    if reason is not None:
        assert found.message.endswith(f"Reason: {reason}")


def test_a_redrive_allow_policy_is_obeyed(sqs: Any, queue_url: str) -> None:
    dead = name("dead")
    url = sqs.create_queue(
        QueueName=dead, Attributes={"RedriveAllowPolicy": '{"redrivePermission": "denyAll"}'}
    )["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:000000000000:{dead}"
    policy = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})}
    found = refusal(sqs.set_queue_attributes, QueueUrl=queue_url, Attributes=policy)
    assert found.code == "InvalidParameterValue"
    source = f"arn:aws:sqs:{REGION}:000000000000:{queue_url.rpartition('/')[2]}"
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [source]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedriveAllowPolicy": json.dumps(allow)})
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes=policy)


# -- messages


def test_sending(sqs: Any, queue_url: str) -> None:
    def send(**arguments: Any) -> Refusal:
        return refusal(sqs.send_message, QueueUrl=queue_url, **arguments)

    assert send(MessageBody="") == missing("The request must contain the parameter MessageBody.")
    assert send(MessageBody="a" * 1_048_577) == invalid(
        "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."
    )
    assert send(MessageBody="x", DelaySeconds=901).code == "InvalidParameterValue"
    assert send(MessageBody="x", MessageDeduplicationId="d") == invalid(
        "Value d for parameter MessageDeduplicationId is invalid. Reason: The request includes a"
        " parameter that is not valid for this queue type."
    )
    assert send(MessageBody="x", MessageGroupId="a b") == invalid(
        "Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId can only"
        " include alphanumeric and punctuation characters. 1 to 128 in length."
    )
    assert send(MessageBody="\x01")[:3] == (
        "InvalidMessageContents",
        "InvalidMessageContents",
        400,
    )
    assert send(MessageBody="\ud800").code == "InvalidMessageContents"
    assert send(MessageBody="\uffff").code == "InvalidMessageContents"


def string(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"ErrorDetails": string("")},
            (
                "Message (user) attribute 'ErrorDetails' must contain a non-empty value of type"
                " 'String'."
            ),
        ),
        (
            {f"a{n}": string("v") for n in range(11)},
            "Number of message attributes [11] exceeds the allowed maximum [10].",
        ),
        ({"a b": string("v")}, None),
        ({".a": string("v")}, None),
        ({"a..b": string("v")}, None),
        ({"AWS.a": string("v")}, None),
        ({"amazon.a": string("v")}, None),
        ({"n" * 257: string("v")}, None),
        ({"a": string("\x01")}, None),
        ({"a": {"DataType": "Foo", "StringValue": "v"}}, None),
        ({"a": {"DataType": "Number", "StringValue": "one"}}, None),
        ({"a": {"DataType": "Number", "StringValue": "1" * 39}}, None),
        ({"a": {"DataType": "Binary", "StringValue": "v"}}, None),
        ({"a": {"DataType": "Binary", "BinaryValue": b""}}, None),
    ],
)
def test_message_attributes(
    sqs: Any, queue_url: str, attributes: dict[str, Any], message: str | None
) -> None:
    found = refusal(
        sqs.send_message, QueueUrl=queue_url, MessageBody="x", MessageAttributes=attributes
    )
    assert found[:3] == ("InvalidParameterValue", "InvalidParameterValueException", 400)
    if message is not None:
        assert found.message == message


def test_receiving(sqs: Any, queue_url: str) -> None:
    def receive(**arguments: Any) -> Refusal:
        return refusal(sqs.receive_message, QueueUrl=queue_url, **arguments)

    for count in (0, 11):
        assert receive(MaxNumberOfMessages=count) == invalid(
            f"Value {count} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1"
            " and 10, if provided."
        )
    assert receive(WaitTimeSeconds=21) == invalid(
        "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if"
        " provided."
    )
    assert receive(VisibilityTimeout=43201).code == "InvalidParameterValue"


def test_handles_of_another_queue(sqs: Any, queue_url: str) -> None:
    other = sqs.create_queue(QueueName=name())["QueueUrl"]
    sqs.send_message(QueueUrl=other, MessageBody="x")
    handle = sqs.receive_message(QueueUrl=other)["Messages"][0]["ReceiptHandle"]
    message = f'The receipt handle "{handle}" is not valid for this queue.'
    expected = Refusal("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404, message)
    foreign = {"QueueUrl": queue_url, "ReceiptHandle": handle}
    assert refusal(sqs.delete_message, **foreign) == expected
    assert refusal(sqs.change_message_visibility, **foreign, VisibilityTimeout=0) == expected
    entries = [{"Id": "1", "ReceiptHandle": handle}]
    answer = sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)
    assert answer["Failed"] == [
        {"Id": "1", "SenderFault": True, "Code": "ReceiptHandleIsInvalid", "Message": message}
    ]
    sqs.delete_message(QueueUrl=other, ReceiptHandle=handle)


def test_handles(sqs: Any, queue_url: str) -> None:
    expected = Refusal(
        "ReceiptHandleIsInvalid",
        "ReceiptHandleIsInvalid",
        404,
        'The input receipt handle "garbage" is not a valid receipt handle.',
    )
    garbage = {"QueueUrl": queue_url, "ReceiptHandle": "garbage"}
    assert refusal(sqs.delete_message, **garbage) == expected
    found = refusal(sqs.change_message_visibility, **garbage, VisibilityTimeout=1)
    assert found == expected
    sqs.send_message(QueueUrl=queue_url, MessageBody="x")
    handle = sqs.receive_message(QueueUrl=queue_url)["Messages"][0]["ReceiptHandle"]
    beyond = refusal(
        sqs.change_message_visibility,
        QueueUrl=queue_url,
        ReceiptHandle=handle,
        VisibilityTimeout=43_201,
    )
    assert beyond.code == "InvalidParameterValue"
    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=handle)
    gone = refusal(
        sqs.change_message_visibility,
        QueueUrl=queue_url,
        ReceiptHandle=handle,
        VisibilityTimeout=1,
    )
    assert gone == invalid(
        f"Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or"
        " is not available for visibility timeout change."
    )


def test_the_total_visibility_is_bounded(api: RunningApi, sqs: Any, queue_url: str) -> None:
    sqs.send_message(QueueUrl=queue_url, MessageBody="x")
    received = sqs.receive_message(QueueUrl=queue_url, VisibilityTimeout=43_200)
    handle = received["Messages"][0]["ReceiptHandle"]
    with api.clock.later(10):
        found = refusal(
            sqs.change_message_visibility,
            QueueUrl=queue_url,
            ReceiptHandle=handle,
            VisibilityTimeout=43_195,
        )
    assert found == invalid(
        "Value 43195 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout"
        " for the message is beyond the limit [43200 seconds]"
    )


# -- batches

BATCHES: list[tuple[str, dict[str, Any]]] = [
    ("send_message_batch", {"MessageBody": "x"}),
    ("delete_message_batch", {"ReceiptHandle": "x"}),
    ("change_message_visibility_batch", {"ReceiptHandle": "x", "VisibilityTimeout": 1}),
]


@pytest.mark.parametrize(("action", "entry"), BATCHES)
def test_batches_as_a_whole(sqs: Any, queue_url: str, action: str, entry: dict[str, Any]) -> None:
    def send(*ids: str) -> Refusal:
        entries = [{"Id": each, **entry} for each in ids]
        return refusal(getattr(sqs, action), QueueUrl=queue_url, Entries=entries)

    assert send()[:3] == (SQS + "EmptyBatchRequest", "EmptyBatchRequest", 400)
    assert send(*map(str, range(20))) == Refusal(
        SQS + "TooManyEntriesInBatchRequest",
        "TooManyEntriesInBatchRequest",
        400,
        "Maximum number of entries per request are 10. You have sent 20.",
    )
    for wrong in ("", "a" * 81, "invalid:id"):
        assert send(wrong) == Refusal(
            SQS + "InvalidBatchEntryId",
            "InvalidBatchEntryId",
            400,
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It"
            " can be at most 80 letters long.",
        )
    assert send("a", "a")[:3] == (
        SQS + "BatchEntryIdsNotDistinct",
        "BatchEntryIdsNotDistinct",
        400,
    )


def test_the_sum_of_a_batch(sqs: Any, queue_url: str) -> None:
    entries = [
        {"Id": "a", "MessageBody": "a" * 524_288},
        {"Id": "b", "MessageBody": "b" * 524_289},
    ]
    assert refusal(sqs.send_message_batch, QueueUrl=queue_url, Entries=entries) == Refusal(
        SQS + "BatchRequestTooLong",
        "BatchRequestTooLong",
        400,
        "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.",
    )


# -- permissions and move tasks


def test_permission_labels(sqs: Any, queue_url: str) -> None:
    permission = {
        "QueueUrl": queue_url,
        "Label": "label",
        "AWSAccountIds": ["111111111111"],
        "Actions": ["SendMessage"],
    }
    sqs.add_permission(**permission)
    assert refusal(sqs.add_permission, **permission) == invalid(
        "Value label for parameter Label is invalid. Reason: Already exists."
    )
    assert refusal(sqs.remove_permission, QueueUrl=queue_url, Label="other") == invalid(
        "Value other for parameter Label is invalid. Reason: can't find label."
    )
    assert refusal(sqs.add_permission, **{**permission, "Actions": []}) == missing(
        "The request must contain the parameter Actions."
    )
    assert refusal(sqs.add_permission, **{**permission, "AWSAccountIds": []}) == invalid(
        "Value [] for parameter PrincipalId is invalid. Reason: Unable to verify."
    )
    actions = {
        "DeleteQueue": "Only the queue owner is allowed to invoke this action.",
        "Nothing": "Please refer to the appropriate WSDL for a list of valid actions. ",
    }
    for action, reason in actions.items():
        assert refusal(sqs.add_permission, **{**permission, "Actions": [action]}) == invalid(
            f"Value SQS:{action} for parameter ActionName is invalid. Reason: {reason}"
        )
    eight = {**permission, "Label": "b", "Actions": ["SendMessage"] * 8}
    assert refusal(sqs.add_permission, **eight)[:3] == ("OverLimit", "OverLimit", 403)


def test_tags(sqs: Any, queue_url: str) -> None:
    own = queue_url.rpartition("/")[2]
    sqs.tag_queue(QueueUrl=queue_url, Tags={"a": ""})
    assert refusal(sqs.tag_queue, QueueUrl=queue_url, Tags={}) == missing(
        "The request must contain the parameter Tags."
    )
    fifty = {f"key-{number}": "" for number in range(50)}
    too_many = invalid(f"Too many tags added for queue {own}.")
    assert refusal(sqs.tag_queue, QueueUrl=queue_url, Tags=fifty) == too_many
    lengths = invalid("Tag keys must be between 1 and 128 characters in length.")
    assert refusal(sqs.tag_queue, QueueUrl=queue_url, Tags={"k" * 129: ""}) == lengths
    assert refusal(sqs.untag_queue, QueueUrl=queue_url, TagKeys=[]) == lengths
    assert sqs.list_queue_tags(QueueUrl=queue_url)["Tags"] == {"a": ""}


def test_move_tasks(sqs: Any, queue_url: str) -> None:
    arn = f"arn:aws:sqs:{REGION}:000000000000:{queue_url.rpartition('/')[2]}"
    assert refusal(sqs.start_message_move_task, SourceArn=arn) == invalid(
        "Source queue must be configured as a Dead Letter Queue."
    )
    assert refusal(sqs.list_message_move_tasks, SourceArn="queue") == invalid(
        "You must use this format to specify the SourceArn:"
        " arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
    )
    not_there = f"arn:aws:sqs:{REGION}:000000000000:not-there"
    assert refusal(sqs.start_message_move_task, SourceArn=not_there) == Refusal(
        "ResourceNotFoundException",
        "ResourceNotFoundException",
        404,
        "The resource that you specified for the SourceArn parameter doesn't exist.",
    )
    sqs.create_queue(
        QueueName=name(),
        Attributes={
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
        },
    )
    found = refusal(sqs.start_message_move_task, SourceArn=arn, DestinationArn=not_there)
    assert found.message == (
        "The resource that you specified for the DestinationArn parameter doesn't exist."
    )
    assert refusal(sqs.cancel_message_move_task, TaskHandle="garbage") == invalid(
        "Value for parameter TaskHandle is invalid."
    )
    for n in range(3):
        sqs.send_message(QueueUrl=queue_url, MessageBody=str(n))
    handle = sqs.start_message_move_task(
        SourceArn=arn, DestinationArn=arn, MaxNumberOfMessagesPerSecond=1
    )["TaskHandle"]
    assert refusal(sqs.start_message_move_task, SourceArn=arn) == invalid(
        "There is already a task running. Only one active task is allowed for a source queue arn at"
        " a given time."
    )
    sqs.cancel_message_move_task(TaskHandle=handle)


def test_cancelling_tasks_that_are_not_there(sqs: Any, queue_url: str) -> None:
    def cancel(source: str) -> Refusal:
        task = {
            "taskId": "10f57157-fc38-4da9-a113-4de7e12d05dd",
            "sourceArn": f"arn:aws:sqs:{REGION}:000000000000:{source}",
        }
        handle = base64.b64encode(json.dumps(task).encode()).decode()
        return refusal(sqs.cancel_message_move_task, TaskHandle=handle)

    not_found = ("ResourceNotFoundException", "ResourceNotFoundException", 404)
    assert cancel("not-there") == Refusal(
        *not_found, "The resource that you specified for the SourceArn parameter doesn't exist."
    )
    assert cancel(queue_url.rpartition("/")[2]) == Refusal(*not_found, "Task does not exist.")
