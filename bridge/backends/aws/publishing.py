"""What a topic in SNS is sent: PublishBatch of ten, in the form that cloud code understands.

Hot path. A message looks as it does in SQS (`bridge.messaging.envelope`), and carries the id of the
node that published it, by which ingest queues leave out what came from here. Delays are SQS's: SNS
hands on at once.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import msgspec

from bridge.backends.aws import forms
from bridge.backends.aws.batches import IDS
from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.forms import Field
from bridge.backends.aws.messages import DEFAULT_GROUP
from bridge.backends.aws.node import Node
from bridge.backends.aws.sending import Outgoing, Sender
from bridge.backends.aws.wire import BatchReply, Refused, SendEntry, Sent, WireAttribute
from bridge.messaging.attributes import Attribute, message_size
from bridge.messaging.envelope import ORIGIN_ATTRIBUTE, attributes_from_message
from bridge.messaging.limits import ServiceLimits

if TYPE_CHECKING:
    from bridge.backends.aws.topics import AwsTopic
    from bridge.messaging.model import Message

ATTRIBUTES_MAX: Final = ServiceLimits().attributes_max - 1
"""Raw deliveries drop messages with more than ten attributes, and one says where it is from."""
SIZE_DEFAULT: Final = ServiceLimits().topic_message_size_max
"""Of a topic that has no MaximumMessageSize of its own."""


class Publisher(Sender):
    """What one topic in SNS is sent."""

    action = "PublishBatch"
    attributes_max = ATTRIBUTES_MAX

    def __init__(self, node: Node, topic: AwsTopic, node_id: Callable[[], str]) -> None:
        super().__init__(node, topic)
        self._topic = topic
        self.size_max = SIZE_DEFAULT
        self._node_id = node_id

    def entry_from(self, message: Message, attributes_max: int) -> tuple[SendEntry, int]:
        if message.visible_at is not None:
            message = msgspec.structs.replace(message, visible_at=None)
        body, attributes = attributes_from_message(message, attributes_max=attributes_max)
        attributes[ORIGIN_ATTRIBUTE] = Attribute("String", self._node_id())
        entry = SendEntry(body)
        entry.message_attributes = {
            name: WireAttribute(each.data_type, each.string_value, each.binary_value)
            for name, each in attributes.items()
        }
        if self._topic.fifo:
            entry.message_group_id = message.group_id or DEFAULT_GROUP
            entry.message_deduplication_id = message.deduplication_id or message.message_id
        return entry, message_size(body, attributes)

    def forget_counts(self) -> None:
        """Topics count nothing."""

    def encode(self, batch: list[Outgoing]) -> bytes:
        fields: list[Field] = [("TopicArn", self._topic.arn or "")]
        for number, item in enumerate(batch):
            item.entry.id = IDS[number]
            fields += _fields_of(f"PublishBatchRequestEntries.member.{number + 1}", item.entry)
        return forms.form(self.action, fields)

    async def call(
        self, body: bytes, deadline: float, again: Callable[[], bytes] | None = None
    ) -> BatchReply:
        answer = await self._node.sns.call(self.action, body, deadline=deadline, again=again)
        try:
            return _reply(forms.parse(answer))
        except (ValueError, KeyError) as error:
            raise AwsError(self.action, 0, "", f"the answer cannot be read: {error}") from None

    def succeeded(self, item: Outgoing, sent: Sent) -> None:
        # `accepted` says how queues took a send; a topic's numbers are its own.
        self._node.part_done(item.unit)

    def failed(self, item: Outgoing, error: AwsError) -> None:
        if error.topic_is_gone and self._topic.optional:
            # Nobody can be subscribed to it any more.
            self._topic.vanish()
            self._node.part_done(item.unit)
        else:
            super().failed(item, error)


def _reply(root: ET.Element) -> BatchReply:
    """What became of each entry. Raises `KeyError` for one without an id."""
    result = "PublishBatchResult"
    return BatchReply(
        [_sent(forms.texts(each)) for each in forms.members(root, result, "Successful")],
        [_refused(forms.texts(each)) for each in forms.members(root, result, "Failed")],
    )


def _sent(texts: dict[str, str]) -> Sent:
    return Sent(texts["Id"], texts.get("MessageId", ""), texts.get("SequenceNumber"))


def _refused(texts: dict[str, str]) -> Refused:
    fault = texts.get("SenderFault") == "true"
    return Refused(texts["Id"], fault, texts.get("Code", ""), texts.get("Message", ""))


def _fields_of(prefix: str, entry: SendEntry) -> list[Field]:
    fields = [(f"{prefix}.Id", entry.id), (f"{prefix}.Message", entry.message_body)]
    for number, (name, each) in enumerate(entry.message_attributes.items(), 1):
        place = f"{prefix}.MessageAttributes.entry.{number}"
        fields.append((f"{place}.Name", name))
        fields.append((f"{place}.Value.DataType", each.data_type))
        if each.binary_value is not None:
            fields.append((f"{place}.Value.BinaryValue", b64encode(each.binary_value).decode()))
        else:
            fields.append((f"{place}.Value.StringValue", each.string_value or ""))
    if entry.message_group_id is not None:
        fields.append((f"{prefix}.MessageGroupId", entry.message_group_id))
    if entry.message_deduplication_id is not None:
        fields.append((f"{prefix}.MessageDeduplicationId", entry.message_deduplication_id))
    return fields
