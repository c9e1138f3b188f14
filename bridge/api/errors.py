"""Every error that the SQS and SNS APIs answer with: one table, and the bridge's errors in their
words.

An error has two names on SQS's wire: the shape (JSON `__type`; boto3's QueryErrorCode) and the
older code (Query `<Code>`, `x-amzn-query-error`; boto3's Error.Code). SNS has one. Calling a kind
makes the error: ``raise MISSING_PARAMETER("The request must contain the parameter QueueUrl.")``.
"""

from __future__ import annotations

from dataclasses import dataclass

from bridge.messaging import errors as messaging

_SQS_PREFIX = "AWS.SimpleQueueService."
_SQS_NAMESPACE = "com.amazonaws.sqs#"
_GENERIC_NAMESPACE = "com.amazon.coral.service#"


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the table; `generic` shapes are not in SQS's own model."""

    shape: str
    code: str
    status: int = 400
    generic: bool = False

    def __call__(self, message: str) -> ApiError:
        return ApiError(self, message)

    @property
    def type(self) -> str:
        """The JSON protocol's `__type`."""
        return (_GENERIC_NAMESPACE if self.generic else _SQS_NAMESPACE) + self.shape

    @property
    def fault(self) -> str:
        """Whose fault it was, in the words of both protocols."""
        return "Receiver" if self.status >= 500 else "Sender"


class ApiError(Exception):
    """A request that is answered with an error; `message` goes to the client as it is."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class ReplyLost(Exception):
    """What was asked for is done, and nobody is told: the connection ends without an answer."""


def _plain(shape: str, status: int = 400, *, generic: bool = False) -> ErrorKind:
    return ErrorKind(shape, shape, status, generic)


def _prefixed(shape: str, status: int = 400) -> ErrorKind:
    return ErrorKind(shape, _SQS_PREFIX + shape, status)


# -- SQS

QUEUE_DOES_NOT_EXIST = ErrorKind("QueueDoesNotExist", _SQS_PREFIX + "NonExistentQueue")
QUEUE_NAME_EXISTS = ErrorKind("QueueNameExists", "QueueAlreadyExists")
QUEUE_DELETED_RECENTLY = _prefixed("QueueDeletedRecently")
PURGE_QUEUE_IN_PROGRESS = _prefixed("PurgeQueueInProgress", 403)
TOO_MANY_ENTRIES_IN_BATCH_REQUEST = _prefixed("TooManyEntriesInBatchRequest")
EMPTY_BATCH_REQUEST = _prefixed("EmptyBatchRequest")
BATCH_ENTRY_IDS_NOT_DISTINCT = _prefixed("BatchEntryIdsNotDistinct")
INVALID_BATCH_ENTRY_ID = _prefixed("InvalidBatchEntryId")
BATCH_REQUEST_TOO_LONG = _prefixed("BatchRequestTooLong")
UNSUPPORTED_OPERATION = _prefixed("UnsupportedOperation")
INVALID_ATTRIBUTE_NAME = _plain("InvalidAttributeName")
INVALID_ATTRIBUTE_VALUE = _plain("InvalidAttributeValue")
INVALID_MESSAGE_CONTENTS = _plain("InvalidMessageContents")
INVALID_ADDRESS = _plain("InvalidAddress", 404)
RECEIPT_HANDLE_IS_INVALID = _plain("ReceiptHandleIsInvalid", 404)
RESOURCE_NOT_FOUND = _plain("ResourceNotFoundException", 404)
OVER_LIMIT = _plain("OverLimit", 403)
INVALID_PARAMETER_VALUE = ErrorKind(
    "InvalidParameterValueException", "InvalidParameterValue", generic=True
)
MISSING_PARAMETER = ErrorKind("MissingRequiredParameterException", "MissingParameter", generic=True)
INVALID_ACTION = ErrorKind("UnknownOperationException", "InvalidAction", generic=True)
UNKNOWN_OPERATION = _plain("UnknownOperationException", 404, generic=True)
SERIALIZATION = ErrorKind("SerializationException", "MalformedInput", generic=True)
REQUEST_THROTTLED = _plain("RequestThrottled", 403)
THROTTLING = _plain("ThrottlingException", generic=True)

# -- both services

ACCESS_DENIED = ErrorKind("AccessDeniedException", "AccessDenied", 403, generic=True)
INTERNAL_FAILURE = _plain("InternalFailure", 500, generic=True)
SERVICE_UNAVAILABLE = ErrorKind(
    "ServiceUnavailableException", "ServiceUnavailable", 503, generic=True
)
MISSING_AUTHENTICATION_TOKEN = ErrorKind(
    "MissingAuthenticationTokenException", "MissingAuthenticationToken", 403, generic=True
)
INCOMPLETE_SIGNATURE = ErrorKind(
    "IncompleteSignatureException", "IncompleteSignature", 400, generic=True
)
INVALID_CLIENT_TOKEN = ErrorKind(
    "UnrecognizedClientException", "InvalidClientTokenId", 403, generic=True
)
INVALID_SIGNATURE = ErrorKind(
    "InvalidSignatureException", "SignatureDoesNotMatch", 403, generic=True
)
REQUEST_EXPIRED = ErrorKind("RequestExpired", "RequestExpired", 400, generic=True)

# -- SNS

SNS_INVALID_PARAMETER = _plain("InvalidParameter")
SNS_PARAMETER_VALUE_INVALID = _plain("ParameterValueInvalid")
SNS_VALIDATION_ERROR = _plain("ValidationError")
SNS_NOT_FOUND = _plain("NotFound", 404)
SNS_RESOURCE_NOT_FOUND = _plain("ResourceNotFound", 404)
SNS_AUTHORIZATION_ERROR = _plain("AuthorizationError", 403)
SNS_INTERNAL_ERROR = _plain("InternalError", 500)
SNS_FILTER_POLICY_LIMIT_EXCEEDED = _plain("FilterPolicyLimitExceeded", 403)
SNS_SUBSCRIPTION_LIMIT_EXCEEDED = _plain("SubscriptionLimitExceeded", 403)
SNS_TOO_MANY_ENTRIES = _plain("TooManyEntriesInBatchRequest")
SNS_EMPTY_BATCH = _plain("EmptyBatchRequest")
SNS_IDS_NOT_DISTINCT = _plain("BatchEntryIdsNotDistinct")
SNS_BATCH_TOO_LONG = _plain("BatchRequestTooLong")
SNS_INVALID_BATCH_ENTRY_ID = _plain("InvalidBatchEntryId")
SNS_TAG_LIMIT_EXCEEDED = _plain("TagLimitExceeded")
SNS_THROTTLED = _plain("Throttled", 429)

QUEUE_DOES_NOT_EXIST_TEXT = "The specified queue does not exist."
"""Query answers say more: "... for this wsdl version."."""

_SQS_BRIDGE_ERRORS: tuple[tuple[type[messaging.MessagingError], ErrorKind], ...] = (
    (messaging.QueueDoesNotExist, QUEUE_DOES_NOT_EXIST),
    (messaging.QueueNameExists, QUEUE_NAME_EXISTS),
    (messaging.ReceiptHandleInvalid, RECEIPT_HANDLE_IS_INVALID),
    (messaging.AccessDenied, ACCESS_DENIED),
    (messaging.ResourceLocked, ACCESS_DENIED),
    (messaging.OverLimit, OVER_LIMIT),
    (messaging.UnsupportedOperation, UNSUPPORTED_OPERATION),
    (messaging.StoreUnavailable, SERVICE_UNAVAILABLE),
    (messaging.MessagingError, INVALID_PARAMETER_VALUE),
)

_SNS_BRIDGE_ERRORS: tuple[tuple[type[messaging.MessagingError], ErrorKind], ...] = (
    (messaging.TopicDoesNotExist, SNS_NOT_FOUND),
    (messaging.SubscriptionDoesNotExist, SNS_NOT_FOUND),
    (messaging.AccessDenied, SNS_AUTHORIZATION_ERROR),
    (messaging.ResourceLocked, SNS_AUTHORIZATION_ERROR),
    (messaging.OverLimit, SNS_SUBSCRIPTION_LIMIT_EXCEEDED),
    (messaging.StoreUnavailable, SERVICE_UNAVAILABLE),
    (messaging.MessagingError, SNS_INVALID_PARAMETER),
)


def api_error_from(error: messaging.MessagingError, *, sns: bool = False) -> ApiError:
    """The API's answer to an error of the bridge."""
    for known, kind in _SNS_BRIDGE_ERRORS if sns else _SQS_BRIDGE_ERRORS:
        if isinstance(error, known):
            if kind is QUEUE_DOES_NOT_EXIST:
                return kind(QUEUE_DOES_NOT_EXIST_TEXT)
            if kind is SNS_INVALID_PARAMETER:
                return kind(f"Invalid parameter: {error}")
            return kind(str(error))
    raise error  # pragma: no cover - the last row of each table takes every MessagingError
