"""What this node asked of AWS: calls by service and action, and what AWS charges for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

BILLED_BYTES = 64 * 1024
"""SQS and SNS charge one request for every 64 KiB of payload."""


class CallCounters:
    """Counted per try: AWS charges for those that it refuses as well."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str]] = Counter()
        self._billed: Counter[tuple[str, str]] = Counter()
        self._failed: Counter[tuple[str, str]] = Counter()

    def called(self, service: str, action: str, payload_bytes: int) -> None:
        key = (service, action)
        self._calls[key] += 1
        self._billed[key] += -(-payload_bytes // BILLED_BYTES) or 1

    def failed(self, service: str, action: str) -> None:
        self._failed[service, action] += 1

    @property
    def calls(self) -> Mapping[tuple[str, str], int]:
        """By (service, action)."""
        return self._calls

    @property
    def billed(self) -> Mapping[tuple[str, str], int]:
        """The same in requests as they are charged."""
        return self._billed

    @property
    def failures(self) -> Mapping[tuple[str, str], int]:
        """Calls without an answer, or with one that says no."""
        return self._failed


def snake_case(action: str) -> str:
    """`SendMessageBatch` as `send_message_batch`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()
