"""Queues so new that not all of SQS's servers know them.

SQS asks to wait a second after CreateQueue. Instead of that, a queue that was made within the last
seconds and "does not exist" is asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from bridge.backends.aws.node import Node

if TYPE_CHECKING:
    from bridge.backends.aws.queues import AwsQueue


class _Request(msgspec.Struct, rename="pascal"):
    queue_url: str = ""


_decode = msgspec.json.Decoder(_Request).decode


class Newborn:
    """Tells whether a request is for a queue that may not be known everywhere yet."""

    def __init__(self, node: Node, by_sqs_name: Callable[[str], AwsQueue | None]) -> None:
        self._node = node
        self._by_sqs_name = by_sqs_name

    def __call__(self, request: bytes) -> bool:
        queue = self._by_sqs_name(_decode(request).queue_url.rpartition("/")[2])
        if queue is None or queue.deleted:
            return False
        age_ms = self._node.clock.epoch_ms() - queue.created_at
        return age_ms < self._node.limits.new_queue_seconds * 1000
