"""What this node asked of AWS: calls by service and action, and what AWS charges for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from bridge.messaging.prices import CHARGED_BYTES, MILLION, READ_BYTES, WRITTEN_BYTES, Prices

_READS: Final = frozenset({"GetItem", "Query", "Scan", "BatchGetItem"})
_FREE: Final = frozenset({"DescribeTable", "CreateTable", "DeleteObject"})
_TRANSACTION: Final = "TransactWriteItems"


class CallCounters:
    """Counted per try: AWS charges for those that it refuses as well.

    Sizes are those of requests and answers, which are larger than what AWS counts.
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self._prices = prices or Prices()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._charged: Counter[str] = Counter()
        """By the field of `Prices`."""
        self._failed: Counter[tuple[str, str]] = Counter()
        self._carried: Counter[str] = Counter()

    def called(
        self, service: str, action: str, sent: int, received: int, *, fifo: bool = False
    ) -> None:
        """Count a call with so many bytes of request and answer; `fifo`: to a FIFO queue."""
        self._calls[service, action] += 1
        if service == "sqs":
            kind = "sqs_fifo" if fifo else "sqs"
            self._charged[kind] += -(-max(sent, received) // CHARGED_BYTES) or 1
        elif service == "sns":
            self._charged["sns"] += -(-sent // CHARGED_BYTES) or 1
        elif action in _FREE:
            return
        elif service == "s3":
            self._charged["s3_read" if action.startswith("Get") else "s3_write"] += 1
        elif action in _READS:
            self._charged["dynamodb_read"] += -(-received // READ_BYTES) or 1
        else:
            units = -(-sent // WRITTEN_BYTES) or 1
            self._charged["dynamodb_write"] += units * 2 if action == _TRANSACTION else units

    def failed(self, service: str, action: str) -> None:
        self._failed[service, action] += 1

    def carried(self, action: str, entries: int) -> None:
        """Count what a batch has done."""
        self._carried[action] += entries

    @property
    def calls(self) -> Mapping[tuple[str, str], int]:
        """By (service, action)."""
        return self._calls

    @property
    def charged(self) -> Mapping[str, int]:
        """Requests and units as AWS charges them, by the field of `Prices`."""
        return self._charged

    @property
    def failures(self) -> Mapping[tuple[str, str], int]:
        """Calls without an answer, or with one that says no."""
        return self._failed

    @property
    def messages(self) -> int:
        """Messages that went through this node: sent or deleted, whichever was more."""
        return max(self._carried["SendMessageBatch"], self._carried["DeleteMessageBatch"])

    @property
    def dollars(self) -> float:
        """What all of it costs by the list."""
        prices = self._prices
        spent = sum(getattr(prices, kind) * count for kind, count in self._charged.items())
        return float(spent / MILLION)

    def figures(self) -> dict[str, float]:
        """For `/metrics`."""
        figures: dict[str, float] = {}
        for (service, action), count in sorted(self._calls.items()):
            figures[f"aws_{service}_{snake_case(action)}_calls_total"] = count
        for name in Prices.__dataclass_fields__:
            unit = "units" if name.startswith("dynamodb") else "requests"
            figures[f"aws_{name}_billed_{unit}_total"] = self._charged[name]
        figures["aws_failed_calls_total"] = self._failed.total()
        figures["aws_messages_total"] = messages = self.messages
        figures["aws_dollars_total"] = self.dollars
        if messages:
            share = MILLION / messages
            calls = sum(count for (service, _), count in self._calls.items() if service == "sqs")
            figures["aws_sqs_calls_per_million_messages"] = round(calls * share)
            figures["aws_calls_per_million_messages"] = round(self._calls.total() * share)
            figures["aws_dollars_per_million_messages"] = round(self.dollars * share, 4)
        return figures


def snake_case(action: str) -> str:
    """`SendMessageBatch` as `send_message_batch`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()
