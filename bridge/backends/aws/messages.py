"""Messages on their way into SQS and out of it, in the form of `bridge.messaging.envelope`.

Hot path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.backends.aws.wire import Received, SendEntry, WireAttribute
from bridge.messaging.attributes import Attribute, message_size
from bridge.messaging.envelope import (
    AGAIN_ATTRIBUTE,
    ORIGIN_ATTRIBUTE,
    attributes_from_message,
    message_from_attributes,
)
from bridge.messaging.errors import UnsupportedOperation
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import Delivery

if TYPE_CHECKING:
    from bridge.backends.aws.payloads import Pointer
    from bridge.backends.aws.queues import AwsQueue
    from bridge.backends.aws.receiving import Receiver
    from bridge.messaging.clock import Clock
    from bridge.messaging.model import Message

DELAY_SECONDS_MAX = ServiceLimits().delay_seconds_max
ATTRIBUTES_MAX = ServiceLimits().attributes_max
RETENTION_SECONDS_MAX = ServiceLimits().retention_seconds_max
HIDE_SECONDS_MAX = ServiceLimits().visibility_timeout_seconds_max - 60
"""For how long a received message can be hidden: SQS counts 12 hours from the receive, which was a
little earlier.
"""

DEFAULT_GROUP = "landbridge"
"""The group of messages to first-in-first-out queues that name none: they keep one order."""


class AwsDelivery(Delivery, kw_only=True, eq=False):
    """A message that SQS handed to this node.

    `held`: a connection has it, and this node renews its visibility (`renew_at`, monotonic);
    `received_at` is monotonic. `payload`: where its body was found, if not in SQS. `from_sns`: a
    node of Landbridge published it there.
    """

    if TYPE_CHECKING:
        queue: AwsQueue
    handle: str
    held: bool = False
    received_at: float = 0.0
    renew_at: float = 0.0
    receiver: Receiver | None = None
    payload: Pointer | None = None
    from_sns: bool = False


def entry_from_message(
    message: Message, queue: AwsQueue, clock: Clock, attributes_max: int = ATTRIBUTES_MAX
) -> tuple[SendEntry, int]:
    """The entry of a batch that carries `message`, and its size as SQS counts it.

    Raises `UnsupportedOperation` for a delay that the queue cannot give.
    """
    delay = None
    if message.visible_at is not None:
        delay = _delay(message.visible_at - clock.epoch_ms(), queue)
    far = delay is not None and delay > DELAY_SECONDS_MAX
    body, attributes = attributes_from_message(
        message, carry_delay=far, attributes_max=attributes_max
    )
    entry = SendEntry(body)
    if attributes:
        entry.message_attributes = {
            name: WireAttribute(each.data_type, each.string_value, each.binary_value)
            for name, each in attributes.items()
        }
    if delay is not None:
        entry.delay_seconds = min(delay, DELAY_SECONDS_MAX)
    if queue.fifo:
        group = message.group_id
        if group is None and queue.group_of is not None:
            group = queue.group_of(message)
        entry.message_group_id = group or DEFAULT_GROUP
        if message.deduplication_id is not None:
            entry.message_deduplication_id = message.deduplication_id
        elif not queue.settings.content_based_deduplication:
            entry.message_deduplication_id = message.message_id
    elif message.group_id is not None:
        entry.message_group_id = message.group_id
    return entry, message_size(body, attributes)


def _delay(milliseconds: int, queue: AwsQueue) -> int | None:
    seconds = max(0, -(-milliseconds // 1000))
    if queue.fifo:
        if seconds:
            raise UnsupportedOperation(
                f"queue '{queue.name.name}' is first-in-first-out: SQS delays all of its messages"
                " alike or none"
            )
        return None
    retention = queue.settings.retention_seconds or RETENTION_SECONDS_MAX
    if seconds >= retention:
        raise UnsupportedOperation(
            f"a delay of {seconds} s is more than the {retention} s that SQS keeps messages"
        )
    # Zero is told only where the queue would delay by itself.
    return seconds if seconds or queue.settings.delay_seconds else None


def delivery_from_received(received: Received, queue: AwsQueue) -> AwsDelivery:
    """The delivery of one message of a ReceiveMessage answer."""
    attributes = received.message_attributes
    from_sns = attributes.pop(ORIGIN_ATTRIBUTE, None) is not None
    again = attributes.pop(AGAIN_ATTRIBUTE, None) is not None
    system = received.attributes
    message = message_from_attributes(
        received.body,
        {
            name: Attribute(each.data_type, each.string_value, each.binary_value)
            for name, each in attributes.items()
        }
        if attributes
        else {},
        message_id=received.message_id,
        sent_at=int(system.sent_timestamp),
    )
    message.sender = system.sender_id
    message.group_id = system.message_group_id
    message.deduplication_id = system.message_deduplication_id
    source = system.dead_letter_queue_source_arn
    if source is not None:
        message.dead_letter_source = queue.name_of_arn(source)
    delivery = AwsDelivery(queue=queue, message=message, handle=received.receipt_handle)
    delivery.from_sns = from_sns
    looks = queue.looks.count_of(received.message_id)
    # What was sent once more, since no answer had come, may have been received as another one.
    delivery.receive_count = max(1, int(system.approximate_receive_count) - looks) + again
    first = system.approximate_first_receive_timestamp
    delivery.first_received_at = int(first) if first else None
    delivery.sequence_number = system.sequence_number
    delivery.return_count = queue.returns.count_of(queue, received.message_id)
    return delivery


def receives_while_delayed(message: Message) -> int:
    """How often a message was received only to be hidden again, before its delay had ended."""
    if message.visible_at is None:
        return 0
    seconds = (message.visible_at - message.sent_at) // 1000 - DELAY_SECONDS_MAX
    return max(0, -(-seconds // HIDE_SECONDS_MAX))
