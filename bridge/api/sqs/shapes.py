"""Requests and results of SQS's 23 actions, as data: name, type, and whether it is required.

One definition serves the JSON protocol (msgspec decodes into it), the Query protocol (through
`NAMES`), the XML answers (through `RENDERING`) and the tests. Members keep the wire's spelling by
the renaming below.
"""

from __future__ import annotations

import msgspec

from bridge.api.wire.query import Names
from bridge.api.wire.xml import Rendering

_IRREGULAR = {
    "aws_account_ids": "AWSAccountIds",
    "queue_owner_aws_account_id": "QueueOwnerAWSAccountId",
    "md5_of_body": "MD5OfBody",
    "md5_of_message_body": "MD5OfMessageBody",
    "md5_of_message_attributes": "MD5OfMessageAttributes",
    "md5_of_message_system_attributes": "MD5OfMessageSystemAttributes",
    # These two begin with a small letter in SQS itself.
    "create_tags": "tags",
    "source_queue_urls": "queueUrls",
}


def wire_name(name: str) -> str:
    """`queue_url` -> `QueueUrl`, and the few that SQS spells otherwise."""
    return _IRREGULAR.get(name) or "".join(map(str.capitalize, name.split("_")))


class Shape(msgspec.Struct, rename=wire_name, omit_defaults=True, gc=False):
    """A request, a result or a part of one. Empty lists and maps are left out, as SQS does."""


class MessageAttributeValue(Shape):
    data_type: str | None = None
    string_value: str | None = None
    binary_value: bytes | None = None
    string_list_values: list[str] | None = None
    binary_list_values: list[bytes] | None = None


class BatchResultErrorEntry(Shape):
    id: str
    sender_fault: bool
    code: str
    message: str | None = None


# -- queues


class QueueRequest(Shape):
    """What most actions ask for; alone it is DeleteQueue, PurgeQueue and ListQueueTags."""

    queue_url: str


class CreateQueueRequest(Shape):
    queue_name: str
    attributes: dict[str, str] | None = None
    create_tags: dict[str, str] | None = None


class QueueUrlResult(Shape):
    queue_url: str


class GetQueueUrlRequest(Shape):
    queue_name: str
    queue_owner_aws_account_id: str | None = None


class ListQueuesRequest(Shape):
    queue_name_prefix: str | None = None
    next_token: str | None = None
    max_results: int | None = None


class ListQueuesResult(Shape):
    queue_urls: list[str] = []
    next_token: str | None = None


class ListDeadLetterSourceQueuesRequest(QueueRequest):
    next_token: str | None = None
    max_results: int | None = None


class ListDeadLetterSourceQueuesResult(Shape):
    source_queue_urls: list[str]
    next_token: str | None = None


class GetQueueAttributesRequest(QueueRequest):
    attribute_names: list[str] | None = None


class GetQueueAttributesResult(Shape):
    attributes: dict[str, str] = {}


class SetQueueAttributesRequest(QueueRequest):
    attributes: dict[str, str]


class TagQueueRequest(QueueRequest):
    tags: dict[str, str]


class UntagQueueRequest(QueueRequest):
    tag_keys: list[str]


class ListQueueTagsResult(Shape):
    tags: dict[str, str] = {}


class AddPermissionRequest(QueueRequest):
    label: str
    aws_account_ids: list[str]
    actions: list[str]


class RemovePermissionRequest(QueueRequest):
    label: str


# -- messages


class SendMessageRequest(QueueRequest):
    message_body: str
    delay_seconds: int | None = None
    message_attributes: dict[str, MessageAttributeValue] | None = None
    message_system_attributes: dict[str, MessageAttributeValue] | None = None
    message_deduplication_id: str | None = None
    message_group_id: str | None = None


class SendMessageResult(Shape):
    md5_of_message_body: str
    message_id: str
    md5_of_message_attributes: str | None = None
    md5_of_message_system_attributes: str | None = None
    sequence_number: str | None = None


class SendMessageBatchRequestEntry(Shape):
    id: str
    message_body: str
    delay_seconds: int | None = None
    message_attributes: dict[str, MessageAttributeValue] | None = None
    message_system_attributes: dict[str, MessageAttributeValue] | None = None
    message_deduplication_id: str | None = None
    message_group_id: str | None = None


class SendMessageBatchRequest(QueueRequest):
    entries: list[SendMessageBatchRequestEntry]


class SendMessageBatchResultEntry(Shape):
    id: str
    message_id: str
    md5_of_message_body: str
    md5_of_message_attributes: str | None = None
    md5_of_message_system_attributes: str | None = None
    sequence_number: str | None = None


class SendMessageBatchResult(Shape):
    successful: list[SendMessageBatchResultEntry] = []
    failed: list[BatchResultErrorEntry] = []


class ReceiveMessageRequest(QueueRequest):
    attribute_names: list[str] | None = None
    message_system_attribute_names: list[str] | None = None
    message_attribute_names: list[str] | None = None
    max_number_of_messages: int | None = None
    visibility_timeout: int | None = None
    wait_time_seconds: int | None = None
    receive_request_attempt_id: str | None = None


class ReceivedMessage(Shape):
    message_id: str
    receipt_handle: str
    md5_of_body: str
    body: str
    attributes: dict[str, str] = {}
    md5_of_message_attributes: str | None = None
    message_attributes: dict[str, MessageAttributeValue] = {}


class ReceiveMessageResult(Shape):
    messages: list[ReceivedMessage] = []


class DeleteMessageRequest(QueueRequest):
    receipt_handle: str


class DeleteMessageBatchRequestEntry(Shape):
    id: str
    receipt_handle: str


class DeleteMessageBatchRequest(QueueRequest):
    entries: list[DeleteMessageBatchRequestEntry]


class BatchResultEntry(Shape):
    id: str


class BatchResult(Shape):
    """The result of DeleteMessageBatch and ChangeMessageVisibilityBatch."""

    successful: list[BatchResultEntry] = []
    failed: list[BatchResultErrorEntry] = []


class ChangeMessageVisibilityRequest(QueueRequest):
    receipt_handle: str
    visibility_timeout: int


class ChangeMessageVisibilityBatchRequestEntry(Shape):
    id: str
    receipt_handle: str
    visibility_timeout: int | None = None


class ChangeMessageVisibilityBatchRequest(QueueRequest):
    entries: list[ChangeMessageVisibilityBatchRequestEntry]


# -- message move tasks


class StartMessageMoveTaskRequest(Shape):
    source_arn: str
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None


class StartMessageMoveTaskResult(Shape):
    task_handle: str


class ListMessageMoveTasksRequest(Shape):
    source_arn: str
    max_results: int | None = None


class ListMessageMoveTasksResultEntry(Shape):
    status: str
    source_arn: str
    started_timestamp: int
    approximate_number_of_messages_moved: int
    task_handle: str | None = None
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None
    approximate_number_of_messages_to_move: int | None = None
    failure_reason: str | None = None


class ListMessageMoveTasksResult(Shape):
    results: list[ListMessageMoveTasksResultEntry] = []


class CancelMessageMoveTaskRequest(Shape):
    task_handle: str


class CancelMessageMoveTaskResult(Shape):
    approximate_number_of_messages_moved: int


# -- the Query protocol's names

_REQUEST_LISTS = {
    "AttributeName": "AttributeNames",
    "MessageAttributeName": "MessageAttributeNames",
    "MessageSystemAttributeName": "MessageSystemAttributeNames",
    "AWSAccountId": "AWSAccountIds",
    "ActionName": "Actions",
    "TagKey": "TagKeys",
    "SendMessageBatchRequestEntry": "Entries",
    "DeleteMessageBatchRequestEntry": "Entries",
    "ChangeMessageVisibilityBatchRequestEntry": "Entries",
}
_MAPS = {
    "Attribute": ("Attributes", "Name", "Value"),
    "MessageAttribute": ("MessageAttributes", "Name", "Value"),
    "MessageSystemAttribute": ("MessageSystemAttributes", "Name", "Value"),
    "Tag": ("Tags", "Key", "Value"),
    # So the Java SDKs write it.
    "Tags": ("Tags", "Key", "Value"),
}
_LOWER_TAGS = ("tags", "Key", "Value")

NAMES = Names(lists=_REQUEST_LISTS, maps=_MAPS)
CREATE_QUEUE_NAMES = Names(
    lists=_REQUEST_LISTS, maps={**_MAPS, "Tag": _LOWER_TAGS, "Tags": _LOWER_TAGS}
)


def rendering_of(action: str) -> Rendering:
    """How the answer to `action` is written; the entries of batches are named after it."""
    return Rendering(
        namespace="http://queue.amazonaws.com/doc/2012-11-05/",
        lists={
            "QueueUrls": "QueueUrl",
            "queueUrls": "QueueUrl",
            "Messages": "Message",
            "Results": "ListMessageMoveTasksResultEntry",
            "Successful": f"{action}ResultEntry",
            "Failed": "BatchResultErrorEntry",
        },
        maps={
            "Attributes": ("Attribute", "Name", "Value"),
            "MessageAttributes": ("MessageAttribute", "Name", "Value"),
            "Tags": ("Tag", "Key", "Value"),
        },
        json_names={"Messages": "messages", "QueueUrls": "queueUrls"},
    )
