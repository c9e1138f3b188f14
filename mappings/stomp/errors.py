"""From the bridge's errors to ERROR frames: the one table.

The first word is what RabbitMQ puts into the header `message`, by which clients tell errors apart;
the body repeats it in capitals before the sentence, as RabbitMQ's does.
"""

from __future__ import annotations

from typing import Final

from adapters.stomp.frames import FrameError
from bridge.messaging import errors

TITLES: Final[tuple[tuple[type[errors.MessagingError], str], ...]] = (
    (errors.QueueDoesNotExist, "not_found"),
    (errors.TopicDoesNotExist, "not_found"),
    (errors.SubscriptionDoesNotExist, "not_found"),
    (errors.ReceiptHandleInvalid, "not_found"),
    (errors.AccessDenied, "access_refused"),
    (errors.AuthenticationFailed, "access_refused"),
    (errors.ResourceLocked, "resource_locked"),
    (errors.QueueNameExists, "precondition_failed"),
    (errors.TopicNameExists, "precondition_failed"),
    (errors.InvalidParameter, "precondition_failed"),
    (errors.InvalidAddress, "precondition_failed"),
    (errors.MessageTooLong, "precondition_failed"),
    (errors.QueueFull, "resource_error"),
    (errors.OverLimit, "resource_error"),
    (errors.UnsupportedOperation, "not_implemented"),
    (errors.StoreUnavailable, "internal_error"),
    (errors.MessagingError, "internal_error"),
)
"""The first type that fits counts."""


def title_of(error: errors.MessagingError) -> str:
    """The header `message` of the ERROR frame."""
    return next(title for kind, title in TITLES if isinstance(error, kind))


def frame_error_from(error: errors.MessagingError | FrameError) -> FrameError:
    """The ERROR frame's contents for what the bridge or a mapping refused."""
    if isinstance(error, FrameError):
        return error
    title = title_of(error)
    return FrameError(title, f"{title.upper()} - {error}\n")
