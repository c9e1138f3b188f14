"""From the bridge's errors to AMQP's: the one table, and the sentences that RabbitMQ has for them.

A `SoftError` closes the channel, a `HardError` the connection. What a mapping finds out itself it
raises as one of the two; what the bridge raises goes through `amqp_error_from`.
"""

from __future__ import annotations

from typing import Final

from adapters.amqp091.errors import AmqpError, HardError, ReplyCode, SoftError
from bridge.messaging import errors
from bridge.messaging.model import QueueName, TopicName

CODES: Final[tuple[tuple[type[errors.MessagingError], ReplyCode], ...]] = (
    (errors.QueueDoesNotExist, ReplyCode.NOT_FOUND),
    (errors.TopicDoesNotExist, ReplyCode.NOT_FOUND),
    (errors.SubscriptionDoesNotExist, ReplyCode.NOT_FOUND),
    (errors.AccessDenied, ReplyCode.ACCESS_REFUSED),
    (errors.AuthenticationFailed, ReplyCode.ACCESS_REFUSED),
    (errors.ResourceLocked, ReplyCode.RESOURCE_LOCKED),
    (errors.QueueNameExists, ReplyCode.PRECONDITION_FAILED),
    (errors.TopicNameExists, ReplyCode.PRECONDITION_FAILED),
    (errors.InvalidParameter, ReplyCode.PRECONDITION_FAILED),
    (errors.InvalidAddress, ReplyCode.PRECONDITION_FAILED),
    (errors.MessageTooLong, ReplyCode.PRECONDITION_FAILED),
    (errors.ReceiptHandleInvalid, ReplyCode.PRECONDITION_FAILED),
    (errors.UnsupportedOperation, ReplyCode.NOT_IMPLEMENTED),
    (errors.OverLimit, ReplyCode.RESOURCE_ERROR),
    (errors.StoreUnavailable, ReplyCode.INTERNAL_ERROR),
    (errors.MessagingError, ReplyCode.INTERNAL_ERROR),
)
"""The first type that fits counts."""


def amqp_error_from(error: errors.MessagingError | AmqpError, method: int = 0) -> AmqpError:
    """The close that an error is answered with; `method` is the one at fault."""
    if isinstance(error, AmqpError):
        return error
    code = next(code for kind, code in CODES if isinstance(error, kind))
    kind = HardError if code.hard else SoftError
    return kind(code, str(error), method)


def not_found_queue(name: QueueName, method: int = 0) -> SoftError:
    """404, as RabbitMQ words it."""
    explanation = f"no queue '{name.name}' in vhost '{name.namespace}'"
    return SoftError(ReplyCode.NOT_FOUND, explanation, method)


def not_found_exchange(name: TopicName, method: int = 0) -> SoftError:
    """404, as RabbitMQ words it."""
    explanation = f"no exchange '{name.name}' in vhost '{name.namespace}'"
    return SoftError(ReplyCode.NOT_FOUND, explanation, method)


def access_refused(explanation: str, method: int = 0) -> SoftError:
    """403."""
    return SoftError(ReplyCode.ACCESS_REFUSED, explanation, method)


def precondition_failed(explanation: str, method: int = 0) -> SoftError:
    """406."""
    return SoftError(ReplyCode.PRECONDITION_FAILED, explanation, method)


def delivery_timed_out(channel: int, seconds: float) -> SoftError:
    """406: a delivery was not acknowledged in time."""
    return precondition_failed(
        f"delivery acknowledgement on channel {channel} timed out. Timeout value used:"
        f" {round(seconds * 1000)} ms. This timeout value can be configured, see consumers doc"
        " guide to learn more"
    )
