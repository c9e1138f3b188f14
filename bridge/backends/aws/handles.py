"""Receipt handles for HTTP receivers: SQS's own, behind the message's id and a checksum.

The checksum covers the queue, so what was never a handle of this queue is refused without asking
SQS; any node can read the handles of any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from bridge.messaging.errors import ReceiptHandleInvalid

if TYPE_CHECKING:
    from bridge.backends.aws.messages import AwsDelivery


class Handle(NamedTuple):
    """What stands in a receipt handle."""

    message_id: str
    receipt_handle: str


def handle_from_delivery(delivery: AwsDelivery) -> str:
    """The handle of the delivery's receive."""
    message_id, receipt = delivery.message.message_id, delivery.handle
    return f"{message_id}/{_checksum(delivery.queue.sqs_name, message_id, receipt)}/{receipt}"


def parse_handle(sqs_name: str, handle: str) -> Handle:
    """Raises `ReceiptHandleInvalid` for what was never a handle of that queue."""
    message_id, _, rest = handle.partition("/")
    checksum, _, receipt = rest.partition("/")
    if not receipt or checksum != _checksum(sqs_name, message_id, receipt):
        raise ReceiptHandleInvalid(f'"{handle}" is not a receipt handle of this queue')
    return Handle(message_id, receipt)


def _checksum(sqs_name: str, message_id: str, receipt: str) -> str:
    text = f"{sqs_name}/{message_id}/{receipt}"
    return f"{crc32(text.encode('utf-8', 'surrogatepass')):08x}"
