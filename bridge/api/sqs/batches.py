"""What all batch actions check before they look at a single entry (SQS API reference, common
errors).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from bridge.api.errors import (
    BATCH_ENTRY_IDS_NOT_DISTINCT,
    EMPTY_BATCH_REQUEST,
    INVALID_BATCH_ENTRY_ID,
    TOO_MANY_ENTRIES_IN_BATCH_REQUEST,
    ApiError,
)
from bridge.api.sqs.shapes import BatchResultErrorEntry
from bridge.messaging.limits import ServiceLimits

ENTRIES_MAX = ServiceLimits().batch_entries_max
ID_LENGTH_MAX = 80
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Entry(Protocol):
    """One entry of any batch request."""

    @property
    def id(self) -> str: ...


def check_entries(entries: Sequence[Entry], entry_type: str) -> list[str]:
    """Their number and each one's id, in the order in which SQS complains. Returns the ids."""
    if not entries:
        raise EMPTY_BATCH_REQUEST(f"There should be at least one {entry_type} in the request.")
    if len(entries) > ENTRIES_MAX:
        raise TOO_MANY_ENTRIES_IN_BATCH_REQUEST(
            f"Maximum number of entries per request are {ENTRIES_MAX}. You have sent"
            f" {len(entries)}."
        )
    ids = [entry.id for entry in entries]
    together = "".join(ids)
    if together.isalnum() and together.isascii() and len(together) <= ID_LENGTH_MAX and all(ids):
        # Most are short numbers or words.
        return ids
    for own in ids:
        if not _ID.fullmatch(own):
            raise INVALID_BATCH_ENTRY_ID(
                "A batch entry id can only contain alphanumeric characters, hyphens and"
                " underscores."
                " It can be at most 80 letters long."
            )
    return ids


def check_distinct(ids: Sequence[str]) -> None:
    """No id stands for two entries."""
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    for each in ids:
        if each in seen:
            raise BATCH_ENTRY_IDS_NOT_DISTINCT(f"Id {each} repeated.")
        seen.add(each)


def failed_entry(entry_id: str, error: ApiError) -> BatchResultErrorEntry:
    """An entry's own failure, in the words that the whole request would have had."""
    return BatchResultErrorEntry(
        id=entry_id,
        sender_fault=error.kind.status < 500,
        code=error.kind.code,
        message=error.message,
    )
