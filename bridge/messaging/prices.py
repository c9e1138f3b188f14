"""What AWS charges for calls, and what a million messages cost by that.

List prices of us-east-1 of November 2026, in dollars, of the first tier and without free calls (AWS
price lists of SQS, SNS, DynamoDB on demand and S3 Standard). Configuration may give others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from bridge.messaging.limits import ServiceLimits

CHARGED_BYTES: Final = 64 * 1024
"""SQS and SNS charge one request for every 64 KiB of payload of a call."""
READ_BYTES: Final = 4 * 1024
"""DynamoDB charges one unit for every 4 KiB that are read, consistently."""
WRITTEN_BYTES: Final = 1024
"""DynamoDB charges one unit for every KiB that is written, and two in a transaction."""
MILLION: Final = 1_000_000
_SERVICE: Final = ServiceLimits()


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars for a million."""

    sqs: float = 0.40
    """Requests to standard queues."""
    sqs_fifo: float = 0.50
    sns: float = 0.50
    """Publishes; what SNS hands to SQS is free."""
    dynamodb_write: float = 0.625
    """Write request units."""
    dynamodb_read: float = 0.125
    s3_write: float = 5.00
    s3_read: float = 0.40


class MessageCost(NamedTuple):
    """Of a million messages: calls to SQS and SNS, other calls, and dollars."""

    calls: float
    s3_calls: float
    dollars: float

    def plus(self, other: MessageCost) -> MessageCost:
        return MessageCost(*[mine + its for mine, its in zip(self, other, strict=True)])

    def __str__(self) -> str:
        more = f" and {_counted(self.s3_calls)} to S3" if self.s3_calls else ""
        return f"{_counted(self.calls)} calls{more}, ${self.dollars:,.2f}"


NOTHING: Final = MessageCost(0.0, 0.0, 0.0)


def cost_in_queue(
    size: int, prices: Prices, *, fifo: bool, batch_max: int, claim_bytes: int | None
) -> MessageCost:
    """A million messages of `size` bytes sent to a queue, received and deleted once.

    `batch_max` messages go into one call, if they fit. `claim_bytes`: bodies above go to S3.
    """
    claimed = claim_bytes is not None and size > claim_bytes
    carried = 0 if claimed else size
    batch = max(1, min(batch_max, _SERVICE.message_size_max // max(carried, 1)))
    price = prices.sqs_fifo if fifo else prices.sqs
    charged = _charged(batch * carried)
    dollars = (2 * charged + 1) / batch * price
    s3_calls = 0.0
    if claimed:
        s3_calls = 2.0 * MILLION
        dollars += prices.s3_write + prices.s3_read
    return MessageCost(3 / batch * MILLION, s3_calls, dollars)


def cost_in_topic(size: int, prices: Prices, *, batch_max: int) -> MessageCost:
    """A million messages of `size` bytes published to an SNS topic."""
    batch = max(1, min(batch_max, _SERVICE.topic_message_size_max // max(size, 1)))
    return MessageCost(MILLION / batch, 0.0, _charged(batch * size) / batch * prices.sns)


def _charged(payload: int) -> int:
    return -(-payload // CHARGED_BYTES) or 1


def _counted(count: float) -> str:
    return f"{round(count):,}"
