"""A queue's attributes: ranges, defaults and rules (SQS API reference), and how they become
settings.

Numbers and the two policies that the engine acts on are fields of `QueueSettings`; what only has to
be shown again (Policy, Kms..., the FIFO throughput attributes) stands in its `attributes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from bridge.api.errors import (
    INVALID_ATTRIBUTE_NAME,
    INVALID_ATTRIBUTE_VALUE,
    INVALID_PARAMETER_VALUE,
    ApiError,
)
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import QueueSettings, RedrivePolicy

LIMITS = ServiceLimits()
REDRIVE_COUNT_MAX = 1_000
REDRIVE_SOURCES_MAX = 10
POLICY_BYTES_MAX = 8_192


@dataclass(frozen=True, slots=True)
class Number:
    """An integer attribute that is a field of the settings."""

    field: str
    low: int
    high: int


NUMBERS: Mapping[str, Number] = {
    "DelaySeconds": Number("delay_seconds", 0, LIMITS.delay_seconds_max),
    "MaximumMessageSize": Number("message_size_max", 1_024, LIMITS.message_size_max),
    "MessageRetentionPeriod": Number(
        "retention_seconds", LIMITS.retention_seconds_min, LIMITS.retention_seconds_max
    ),
    "ReceiveMessageWaitTimeSeconds": Number("receive_wait_seconds", 0, LIMITS.wait_seconds_max),
    "VisibilityTimeout": Number(
        "visibility_timeout_seconds", 0, LIMITS.visibility_timeout_seconds_max
    ),
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
    "SqsManagedSseEnabled": ("true", "false"),
}
FIFO_DEFAULTS: Mapping[str, str] = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
BOOLEANS = frozenset({"ContentBasedDeduplication", "FifoQueue", "SqsManagedSseEnabled"})
KMS_REUSE_SECONDS = (60, 86_400, 300)
"""Least, most and default of KmsDataKeyReusePeriodSeconds."""
SETTABLE = frozenset(
    {
        *NUMBERS,
        *CHOICES,
        "FifoQueue",
        "KmsDataKeyReusePeriodSeconds",
        "KmsMasterKeyId",
        "Policy",
        "RedriveAllowPolicy",
        "RedrivePolicy",
    }
)
COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)
KNOWN = SETTABLE | {*COUNTS, "CreatedTimestamp", "LastModifiedTimestamp", "QueueArn", "All"}

API_DEFAULTS = QueueSettings(
    message_size_max=LIMITS.message_size_max,
    retention_seconds=LIMITS.retention_seconds_default,
)
"""Where queues that the API creates differ from those of legacy clients."""


class TargetRule:
    """Checks a dead-letter target: given (policy text, ARN, whether the source is FIFO) it names
    the queue.
    """

    def __init__(self, resolve: Callable[[str, str, bool], str]) -> None:
        self.resolve = resolve


def in_plain_case(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes with `True` and `FALSE`, which SQS takes as well, in small letters."""
    return {
        name: value.lower() if name in BOOLEANS else value for name, value in attributes.items()
    }


def new_settings(
    attributes: Mapping[str, str], tags: Mapping[str, str], targets: TargetRule
) -> QueueSettings:
    """The settings of a queue that CreateQueue makes."""
    fifo = attributes.get("FifoQueue")
    if fifo == "false":
        raise unknown("FifoQueue")
    if fifo not in (None, "true"):
        raise _invalid("FifoQueue")
    base = msgspec.structs.replace(API_DEFAULTS, fifo=fifo == "true", tags=dict(tags))
    settings = changed_settings(base, attributes, targets)
    return msgspec.structs.replace(
        settings,
        deduplication_per_group=settings.attributes.get("DeduplicationScope") == "messageGroup",
    )


def changed_settings(
    settings: QueueSettings, attributes: Mapping[str, str], targets: TargetRule
) -> QueueSettings:
    """The settings with `attributes` applied. Deduplication keeps the scope that it was created
    with.
    """
    changes: dict[str, Any] = {}
    kept = dict(settings.attributes)
    for name, value in attributes.items():
        if name not in SETTABLE:
            raise unknown(name)
        if name == "FifoQueue":
            _check_fifo(settings, value)
        elif number := NUMBERS.get(name):
            changes[number.field] = integer_within(name, value, number.low, number.high)
        elif name == "RedrivePolicy":
            changes["redrive"] = redrive_policy_from(value, settings.fifo, targets)
        elif name == "RedriveAllowPolicy":
            _set_text(kept, name, _checked_allow_policy(value))
        elif name in FIFO_DEFAULTS:
            _check_fifo_only(name, value, settings)
            kept[name] = value
        else:
            _set_text(kept, name, _checked_text(name, value))
    _check_throughput(kept)
    _settle_encryption(kept, attributes)
    if settings.fifo:
        changes["content_based_deduplication"] = kept.get("ContentBasedDeduplication") == "true"
    return msgspec.structs.replace(settings, attributes=kept, **changes)


def shown_attributes(settings: QueueSettings, arn_of: Callable[[str], str]) -> dict[str, str]:
    """The attributes as GetQueueAttributes shows them, without counts, times and the ARN."""
    shown = {}
    for name, number in NUMBERS.items():
        value = getattr(settings, number.field)
        shown[name] = str(number.high if value is None else value)
    kept = settings.attributes
    shown["SqsManagedSseEnabled"] = kept.get("SqsManagedSseEnabled", "true")
    if settings.fifo:
        shown["FifoQueue"] = "true"
        for name, default in FIFO_DEFAULTS.items():
            shown[name] = kept.get(name, default)
        shown["ContentBasedDeduplication"] = (
            "true" if settings.content_based_deduplication else "false"
        )
    for name in ("Policy", "RedriveAllowPolicy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"):
        if name in kept:
            shown[name] = kept[name]
    if settings.redrive is not None:
        shown["RedrivePolicy"] = _shown_redrive(settings.redrive, arn_of)
    return shown


def first_difference(
    settings: QueueSettings, attributes: Mapping[str, str], targets: TargetRule
) -> str | None:
    """The first of `attributes` whose value is not the queue's; for CreateQueue."""
    for name, value in attributes.items():
        if name == "FifoQueue":
            if (value == "true") != settings.fifo:
                return name
            continue
        wanted = changed_settings(settings, {name: value}, targets)
        if shown_attributes(wanted, str) != shown_attributes(settings, str):
            return name
    return None


_REDRIVE_MEMBERS = ("maxReceiveCount", "deadLetterTargetArn")
"""In the order in which SQS misses them."""


def redrive_policy_from(text: str, fifo: bool, targets: TargetRule) -> RedrivePolicy | None:
    """Parse and check a RedrivePolicy; the empty text removes it."""
    if not text:
        return None

    def refused(reason: str) -> ApiError:
        return INVALID_PARAMETER_VALUE(
            f"Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"
        )

    policy = _json_object(text)
    if policy is None:
        raise refused("Redrive policy is not a valid JSON map.")
    for mandatory in _REDRIVE_MEMBERS:
        if mandatory not in policy:
            raise refused(f"Redrive policy does not contain mandatory attribute: {mandatory}.")
    try:
        count = int(str(policy["maxReceiveCount"]))
    except ValueError:
        raise refused("Invalid value for maxReceiveCount: must be an integer.") from None
    if not 1 <= count <= REDRIVE_COUNT_MAX:
        raise refused(
            f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both"
            f" inclusive."
        )
    arn = policy["deadLetterTargetArn"]
    if not isinstance(arn, str) or arn.count(":") != 5 or not arn.startswith("arn:"):
        raise refused("Invalid value for deadLetterTargetArn.")
    if arn.split(":")[2] != "sqs":
        raise refused("Only SQS queues are valid resources for deadLetterTargetArn.")
    if not policy.keys() <= set(_REDRIVE_MEMBERS):
        raise refused(f"Only following attributes are supported: [{', '.join(_REDRIVE_MEMBERS)}].")
    return RedrivePolicy(targets.resolve(text, arn, fifo), count)


def integer_within(name: str, value: str, low: int, high: int) -> int:
    """An integer attribute's value, within its range."""
    if not (value.isascii() and value.isdigit() and len(value) < 10 and low <= int(value) <= high):
        raise _invalid(name)
    return int(value)


def unknown(name: str) -> ApiError:
    return INVALID_ATTRIBUTE_NAME(f"Unknown Attribute {name}.")


def _invalid(name: str, reason: str = "") -> ApiError:
    return INVALID_ATTRIBUTE_VALUE(
        f"Invalid value for the parameter {name}." + (f" Reason: {reason}" if reason else "")
    )


def _check_fifo(settings: QueueSettings, value: str) -> None:
    if not settings.fifo:
        raise unknown("FifoQueue")
    if value != "true":
        raise _invalid("FifoQueue", "Modifying queue type is not supported.")


def _check_fifo_only(name: str, value: str, settings: QueueSettings) -> None:
    if not settings.fifo:
        if name == "ContentBasedDeduplication":
            raise unknown(name)
        raise INVALID_ATTRIBUTE_NAME(
            f"You can specify the {name} only when FifoQueue is set to true."
        )
    if value not in CHOICES[name]:
        raise _invalid(name)


def _check_throughput(kept: Mapping[str, str]) -> None:
    per_group = kept.get("FifoThroughputLimit") == "perMessageGroupId"
    if per_group and kept.get("DeduplicationScope") != "messageGroup":
        raise INVALID_ATTRIBUTE_VALUE(
            "Invalid value for the parameter FifoThroughputLimit. Reason: To set"
            " FifoThroughputLimit to perMessageGroupId, the DeduplicationScope must be"
            " messageGroup."
        )


def _settle_encryption(kept: dict[str, str], attributes: Mapping[str, str]) -> None:
    """KMS and SQS's own encryption exclude each other; the one that was set last switches the other
    off.
    """
    wants_kms = bool(attributes.get("KmsMasterKeyId"))
    wants_sqs = attributes.get("SqsManagedSseEnabled") == "true"
    if wants_kms and wants_sqs:
        raise INVALID_ATTRIBUTE_NAME(
            "You can use one type of server-side encryption (SSE) at one time. You can either"
            " enable"
            " KMS SSE or SQS SSE."
        )
    if wants_kms:
        kept["SqsManagedSseEnabled"] = "false"
    elif wants_sqs:
        kept.pop("KmsMasterKeyId", None)
        kept.pop("KmsDataKeyReusePeriodSeconds", None)


def _set_text(kept: dict[str, str], name: str, value: str) -> None:
    if value:
        kept[name] = value
    else:
        kept.pop(name, None)


def _checked_text(name: str, value: str) -> str:
    if name == "KmsDataKeyReusePeriodSeconds":
        low, high, default = KMS_REUSE_SECONDS
        seconds = integer_within(name, value, low, high)
        return "" if seconds == default else str(seconds)
    if name in CHOICES and value not in CHOICES[name]:
        raise _invalid(name)
    too_long = len(value.encode()) > POLICY_BYTES_MAX
    if name == "Policy" and value and (too_long or _json_object(value) is None):
        raise _invalid("Policy")
    return value


def _checked_allow_policy(text: str) -> str:
    if not text:
        return ""

    cannot = "Amazon SQS can't create the redrive allow policy"

    def refused(reason: str) -> ApiError:
        return INVALID_PARAMETER_VALUE(
            f"Value {text} for parameter RedriveAllowPolicy is invalid. Reason: {cannot}. {reason}"
        )

    policy = _json_object(text) or {}
    permission, sources = policy.get("redrivePermission"), policy.get("sourceQueueArns")
    if permission not in ("allowAll", "denyAll", "byQueue") or not _is_list_of_arns(sources):
        raise INVALID_ATTRIBUTE_VALUE(
            "Invalid value for the parameter RedriveAllowPolicy."
            f" Reason: {cannot}, as it's in an unsupported format."
        )
    if permission != "byQueue":
        if sources is not None:
            raise refused(
                "You can specify source queue ARNs only when the permission type is byQueue."
            )
    elif not 1 <= len(sources or ()) <= REDRIVE_SOURCES_MAX:
        raise refused(
            "When you specify the byQueue permission type, you must also specify between 1 and 10"
            " source queue ARNs."
        )
    return text


def _is_list_of_arns(value: Any) -> bool:
    """Also when there is none."""
    return value is None or (
        isinstance(value, list)
        and all(isinstance(each, str) and each.startswith("arn:") for each in value)
    )


def allows_redrive_from(settings: QueueSettings, source_arn: str | None) -> bool:
    """Whether a dead-letter queue takes what a source sends; by name of the queue, any region."""
    policy = _json_object(settings.attributes.get("RedriveAllowPolicy", "")) or {}
    match policy.get("redrivePermission", "allowAll"):
        case "allowAll":
            return True
        case "byQueue":
            return source_arn is not None and source_arn in policy.get("sourceQueueArns", [])
        case _:
            return False


def _shown_redrive(redrive: RedrivePolicy, arn_of: Callable[[str], str]) -> str:
    return json.dumps(
        {
            "deadLetterTargetArn": arn_of(redrive.queue),
            "maxReceiveCount": redrive.receive_count_max,
        },
        separators=(",", ":"),
    )


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
