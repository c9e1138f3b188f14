"""The JSON that SQS takes and gives on the hot path, as msgspec types (SQS API reference).

Requests are encoded and answers decoded in one pass of C; fields that nobody reads are skipped
there.
"""

from __future__ import annotations

from typing import Final

import msgspec


class WireAttribute(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """MessageAttributeValue; JSON carries binary values in base64."""

    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None


class SendEntry(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """SendMessageBatchRequestEntry; `id` is given when its batch is packed."""

    message_body: str
    id: str = ""
    delay_seconds: int | None = None
    message_attributes: dict[str, WireAttribute] = {}
    message_group_id: str | None = None
    message_deduplication_id: str | None = None


class SendBatch(msgspec.Struct, rename="pascal", gc=False):
    """SendMessageBatch."""

    queue_url: str
    entries: list[SendEntry]


class HandleEntry(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """An entry of DeleteMessageBatch and of ChangeMessageVisibilityBatch."""

    id: str
    receipt_handle: str
    visibility_timeout: int | None = None


class HandleBatch(msgspec.Struct, rename="pascal", gc=False):
    """DeleteMessageBatch, ChangeMessageVisibilityBatch."""

    queue_url: str
    entries: list[HandleEntry]


class Sent(msgspec.Struct, rename="pascal", gc=False):
    """SendMessageBatchResultEntry, and DeleteMessageBatchResultEntry, which has the id alone."""

    id: str
    message_id: str = ""
    sequence_number: str | None = None


class Refused(msgspec.Struct, rename="pascal", gc=False):
    """BatchResultErrorEntry."""

    id: str
    sender_fault: bool = True
    code: str = ""
    message: str = ""


class BatchReply(msgspec.Struct, rename="pascal", gc=False):
    """What every batch is answered with."""

    successful: list[Sent] = []
    failed: list[Refused] = []


class Receive(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """ReceiveMessage."""

    queue_url: str
    max_number_of_messages: int
    wait_time_seconds: int | None = None
    visibility_timeout: int | None = None
    receive_request_attempt_id: str | None = None
    message_attribute_names: tuple[str, ...] = msgspec.field(default_factory=lambda: ("All",))
    message_system_attribute_names: tuple[str, ...] = msgspec.field(
        default_factory=lambda: ("All",)
    )


class SystemAttributes(msgspec.Struct, rename="pascal", gc=False):
    """What SQS tells of a message besides what was sent; all values are strings."""

    approximate_receive_count: str = "1"
    approximate_first_receive_timestamp: str | None = None
    sent_timestamp: str = "0"
    sender_id: str | None = None
    message_group_id: str | None = None
    message_deduplication_id: str | None = None
    sequence_number: str | None = None
    dead_letter_queue_source_arn: str | None = None


class Received(msgspec.Struct, rename="pascal", gc=False):
    """Message."""

    message_id: str
    receipt_handle: str
    body: str
    attributes: SystemAttributes = msgspec.field(default_factory=SystemAttributes)
    message_attributes: dict[str, WireAttribute] = {}


class ReceiveReply(msgspec.Struct, rename="pascal", gc=False):
    """What ReceiveMessage is answered with."""

    messages: list[Received] = []


encode: Final = msgspec.json.Encoder().encode
decode_batch_reply: Final = msgspec.json.Decoder(BatchReply).decode
decode_receive_reply: Final = msgspec.json.Decoder(ReceiveReply).decode
