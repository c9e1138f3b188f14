"""What AWS answers when it does not do what it was asked, and what that is in our own words.

Codes are those of the JSON protocols' `__type`, without namespace, and of the Query protocol's
`<Code>`; lists of codes that are worth another try are botocore's (`botocore.retries.standard`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from bridge.backends.aws import forms
from bridge.messaging.errors import (
    AccessDenied,
    InvalidParameter,
    MessageTooLong,
    MessagingError,
    OverLimit,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleInvalid,
    StoreUnavailable,
    TopicDoesNotExist,
)

THROTTLING: Final = frozenset(
    {
        "Throttling",
        "Throttled",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "SlowDown",
        "PriorRequestNotComplete",
        "KmsThrottled",
        "KMSThrottling",
        "OverLimit",
    }
)
TRANSIENT: Final = frozenset(
    {
        "RequestTimeout",
        "RequestTimeoutException",
        "TransactionInProgressException",
        "TransactionConflictException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
    }
)
EXPIRED_CREDENTIALS: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
)
_GONE: Final = frozenset(
    {"QueueDoesNotExist", "NonExistentQueue", "AWS.SimpleQueueService.NonExistentQueue"}
)
_HANDLES: Final = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidIdFormat"})
_CREDENTIALS: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "InvalidSecurity",
        "MissingAuthenticationToken",
        "KmsAccessDenied",
        "KMSAccessDenied",
    }
)


_TOO_LONG: Final = ("must be shorter than", "Message too long")


class AwsError(Exception):
    """A call that was answered with an error, or not at all (`status` 0)."""

    def __init__(
        self, action: str, status: int, code: str, message: str, *, sent: bool = True
    ) -> None:
        """`sent`: the request may have reached the service."""
        super().__init__(f"{action}: {code}: {message}" if code else f"{action}: {message}")
        self.action = action
        self.status = status
        self.sent = sent
        self.code = code
        self.message = message

    @property
    def throttled(self) -> bool:
        return self.code in THROTTLING or self.status == 429

    @property
    def perhaps_done(self) -> bool:
        """Whether what was asked for may have been done all the same."""
        return self.sent and (self.status == 0 or self.status >= 500)

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed a little later."""
        return (
            self.status == 0
            or self.status >= 500
            or self.throttled
            or self.code in TRANSIENT
            or self.code in EXPIRED_CREDENTIALS
        )

    @property
    def queue_is_gone(self) -> bool:
        return self.code in _GONE

    @property
    def topic_is_gone(self) -> bool:
        """SNS's word, which no other service has."""
        return self.code == "NotFound"


class _ErrorBody(msgspec.Struct):
    type: str = msgspec.field(default="", name="__type")
    message: str | None = None
    capital_message: str | None = msgspec.field(default=None, name="Message")


_error_decoder = msgspec.json.Decoder(_ErrorBody)


def error_from_reply(action: str, status: int, body: bytes) -> AwsError:
    """The error in an answer whose status is not 200."""
    try:
        read = _error_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return AwsError(action, status, "", f"HTTP status {status}")
    code = read.type.rpartition("#")[2].partition(":")[0]
    message = read.message or read.capital_message or f"HTTP status {status}"
    return AwsError(action, status, code, message)


def error_from_xml(action: str, status: int, body: bytes) -> AwsError:
    """The error in an answer of the Query protocol."""
    try:
        root = forms.parse(body)
    except ValueError:
        return AwsError(action, status, "", f"HTTP status {status}")
    code = forms.text(root, "Error", "Code") or ""
    message = forms.text(root, "Error", "Message") or f"HTTP status {status}"
    return AwsError(action, status, code, message)


def messaging_error_from(error: AwsError) -> MessagingError:
    """The same in the bridge's words."""
    code, text = error.code, f"{error.message} ({error.code or error.action})"
    if error.queue_is_gone:
        return QueueDoesNotExist(text)
    if error.topic_is_gone:
        return TopicDoesNotExist(text)
    if code in _HANDLES:
        return ReceiptHandleInvalid(text)
    if code == "BatchRequestTooLong" or any(hint in error.message for hint in _TOO_LONG):
        return MessageTooLong(text)
    if code in {"QueueNameExists", "QueueAlreadyExists"}:
        return QueueNameExists(text)
    if code in _CREDENTIALS:
        return AccessDenied(f"AWS refuses {error.action}: {text}")
    if code == "OverLimit":
        return OverLimit(text)
    if error.retryable:
        return StoreUnavailable(f"AWS did not take it: {error}")
    return InvalidParameter(text)
