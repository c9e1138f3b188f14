"""From the bridge's errors to reason codes of MQTT 5: the one table. Older versions are spoken to
by the adapter, which knows what becomes of a code there.
"""

from __future__ import annotations

from typing import Final

from adapters.mqtt.reason_codes import ReasonCode
from bridge.messaging import errors

REASON_CODES: Final[tuple[tuple[type[errors.MessagingError], ReasonCode], ...]] = (
    (errors.AuthenticationFailed, ReasonCode.BAD_USER_NAME_OR_PASSWORD),
    (errors.AccessDenied, ReasonCode.NOT_AUTHORIZED),
    (errors.ResourceLocked, ReasonCode.NOT_AUTHORIZED),
    (errors.InvalidAddress, ReasonCode.TOPIC_NAME_INVALID),
    (errors.MessageTooLong, ReasonCode.PACKET_TOO_LARGE),
    (errors.OverLimit, ReasonCode.QUOTA_EXCEEDED),
    (errors.StoreUnavailable, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR),
    (errors.MessagingError, ReasonCode.UNSPECIFIED_ERROR),
)
"""The first type that fits counts."""


def reason_code_from(error: errors.MessagingError) -> ReasonCode:
    """How an error is told to a client."""
    return next(code for kind, code in REASON_CODES if isinstance(error, kind))


def filter_code_from(error: errors.MessagingError) -> ReasonCode:
    """The same in SUBACK, where a topic filter is what is invalid."""
    if isinstance(error, errors.InvalidAddress):
        return ReasonCode.TOPIC_FILTER_INVALID
    return reason_code_from(error)
