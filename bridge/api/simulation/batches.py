"""Entries of batches that fail by themselves, as if their server had been too busy.

What fails has had no effect. In a FIFO queue or topic, what stands behind a failed entry in its
group fails too: nothing may overtake it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from bridge.api.errors import INTERNAL_FAILURE, SNS_INTERNAL_ERROR, ApiError
from bridge.api.simulation.faults import Dice
from bridge.api.sns.shapes import BatchResultErrorEntry as SnsErrorEntry
from bridge.api.sns.shapes import PublishBatchResult
from bridge.api.sqs.batches import failed_entry
from bridge.api.sqs.shapes import BatchResult, SendMessageBatchResult

_TEXT: Final = "The service is busy: the entry was not worked on. (simulated)"


class BatchAction(NamedTuple):
    """Where a batch action keeps its entries, and how it is answered without any."""

    entries: str
    nothing_done: Callable[[], Any]


BATCHES: Final = {
    "SendMessageBatch": BatchAction("entries", lambda: SendMessageBatchResult([], [])),
    "DeleteMessageBatch": BatchAction("entries", lambda: BatchResult([], [])),
    "ChangeMessageVisibilityBatch": BatchAction("entries", lambda: BatchResult([], [])),
    "PublishBatch": BatchAction(
        "publish_batch_request_entries", lambda: PublishBatchResult([], [])
    ),
}


def split(entries: Sequence[Any], dice: Dice, place: str) -> tuple[list[Any], list[Any]]:
    """Those that are worked on, and those that fail."""
    kept: list[Any] = []
    failing: list[Any] = []
    blocked: set[str] = set()
    for entry in entries:
        group = getattr(entry, "message_group_id", None)
        if dice.happens("batch_failure_rate", place) or group in blocked:
            failing.append(entry)
            if group is not None:
                blocked.add(group)
        else:
            kept.append(entry)
    return kept, failing


def failures_of(entries: Sequence[Any], *, sns: bool) -> list[Any]:
    """What a result says of entries that failed."""
    if not sns:
        return [failed_entry(each.id, ApiError(INTERNAL_FAILURE, _TEXT)) for each in entries]
    code = SNS_INTERNAL_ERROR.code
    return [SnsErrorEntry(each.id, code, sender_fault=False, message=_TEXT) for each in entries]
