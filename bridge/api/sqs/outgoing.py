"""From a send request to a message: the checks that SQS makes, in its order and words. On the hot
path.

What a queue's type decides is checked for the whole request first (`check_fifo_parameters`), what
belongs to one message afterwards (`message_of`), so that a batch can fail by entry.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, TypeAlias

from bridge.api.errors import (
    INVALID_MESSAGE_CONTENTS,
    INVALID_PARAMETER_VALUE,
    MISSING_PARAMETER,
    ApiError,
)
from bridge.api.sqs import message_attributes
from bridge.api.sqs.shapes import SendMessageBatchRequestEntry, SendMessageRequest
from bridge.messaging.attributes import is_legal_text
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import Message

if TYPE_CHECKING:
    from bridge.messaging.model import QueueSettings

Send: TypeAlias = SendMessageRequest | SendMessageBatchRequestEntry

LIMITS = ServiceLimits()
_TOKEN = re.compile(r"[!-~]{1,128}")
_NO_DEDUPLICATION = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId"
    " provided"
    " explicitly"
)
_ILLEGAL_CHARACTERS = (
    "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF |"
    " #xE000 to #xFFFD | #x10000 to #x10FFFF"
)


def check_characters(body: str) -> None:
    """Raises InvalidMessageContents for a body that SQS does not take."""
    if not is_legal_text(body):
        raise INVALID_MESSAGE_CONTENTS(_ILLEGAL_CHARACTERS)


def size_of(send: Send, body: bytes) -> int:
    """What counts towards the limits: the body, and of each attribute its name, type and value."""
    if send.message_attributes:
        return len(body) + message_attributes.size_of(send.message_attributes)
    return len(body)


def check_fifo_parameters(send: Send, settings: QueueSettings, *, batch: bool) -> None:
    """What makes a request to a first-in-first-out queue fail as a whole."""
    group, deduplication = send.message_group_id, send.message_deduplication_id
    if group is None:
        # SQS was recorded to use two codes for the same sentence.
        missing = INVALID_PARAMETER_VALUE if batch else MISSING_PARAMETER
        raise missing("The request must contain the parameter MessageGroupId.")
    check_token("MessageGroupId", group)
    if deduplication is not None:
        check_token("MessageDeduplicationId", deduplication)
    elif not settings.content_based_deduplication:
        raise INVALID_PARAMETER_VALUE(_NO_DEDUPLICATION)


def check_token(parameter: str, value: str) -> None:
    """Group, deduplication and attempt ids."""
    if not _TOKEN.fullmatch(value):
        raise INVALID_PARAMETER_VALUE(
            f"Value {value} for parameter {parameter} is invalid. Reason: {parameter} can only"
            f" include"
            " alphanumeric and punctuation characters. 1 to 128 in length."
        )


def message_of(
    send: Send, body: bytes, settings: QueueSettings, message_id: str, sent_at: int
) -> Message:
    """The message that a request, or one entry of a batch, sends. Raises its `ApiError`."""
    if not body:
        raise MISSING_PARAMETER("The request must contain the parameter MessageBody.")
    message = Message(message_id, body, sent_at)
    if send.message_attributes or send.message_system_attributes:
        message = message_attributes.message_with(
            message,
            send.message_body,
            send.message_attributes or {},
            send.message_system_attributes or {},
        )
    if send.delay_seconds is not None:
        message.visible_at = _visible_at(send.delay_seconds, settings, sent_at)
    if settings.fifo:
        message.group_id = send.message_group_id
        message.deduplication_id = send.message_deduplication_id or hashlib.sha256(body).hexdigest()
    elif send.message_group_id is not None:
        check_token("MessageGroupId", send.message_group_id)
        message.group_id = send.message_group_id
    if send.message_deduplication_id is not None and not settings.fifo:
        raise _not_for_this_type(
            send.message_deduplication_id, "MessageDeduplicationId", "includes a parameter"
        )
    return message


def size_limit(settings: QueueSettings) -> int:
    """The size of the largest message that a queue takes by the API."""
    limit = settings.message_size_max
    return LIMITS.message_size_max if limit is None else min(limit, LIMITS.message_size_max)


def too_long(size: int, settings: QueueSettings) -> int | None:
    """The limit that a message of `size` is over, if it is over one."""
    limit = size_limit(settings)
    return limit if size > limit else None


def _visible_at(delay_seconds: int, settings: QueueSettings, sent_at: int) -> int | None:
    if not 0 <= delay_seconds <= LIMITS.delay_seconds_max:
        raise INVALID_PARAMETER_VALUE(
            f"Value {delay_seconds} for parameter DelaySeconds is invalid. Reason: DelaySeconds"
            f" must be"
            f" >= 0 and <= {LIMITS.delay_seconds_max}."
        )
    if settings.fifo:
        if delay_seconds:
            raise _not_for_this_type(str(delay_seconds), "DelaySeconds", "include parameter")
        return None
    if delay_seconds or settings.delay_seconds:
        return sent_at + delay_seconds * 1000
    return None


def _not_for_this_type(value: str, parameter: str, includes: str) -> ApiError:
    return INVALID_PARAMETER_VALUE(
        f"Value {value} for parameter {parameter} is invalid. Reason: The request {includes} that"
        f" is"
        " not valid for this queue type."
    )
