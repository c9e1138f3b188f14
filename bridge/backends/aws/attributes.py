"""Settings of queues as SQS's attributes, and back (SQS API reference, CreateQueue)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import QueueSettings, RedrivePolicy

_LIMITS: Final = ServiceLimits()

READ_ONLY: Final = frozenset(
    {
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
        "CreatedTimestamp",
        "LastModifiedTimestamp",
        "QueueArn",
    }
)
_IMMUTABLE: Final = frozenset({"FifoQueue"})
_MAPPED: Final = frozenset(
    {
        "VisibilityTimeout",
        "DelaySeconds",
        "MessageRetentionPeriod",
        "ReceiveMessageWaitTimeSeconds",
        "MaximumMessageSize",
        "RedrivePolicy",
        "FifoQueue",
        "ContentBasedDeduplication",
        "DeduplicationScope",
    }
)


def attributes_from_settings(
    settings: QueueSettings, redrive_arn: str | None, *, fifo: bool, changing: bool = False
) -> dict[str, str]:
    """What to create a queue with, or (`changing`) to give to an existing one.

    `fifo`: the queue is first-in-first-out in SQS, which its ordering profile may have decided.

    SQS keeps nothing for ever: a queue without a retention period gets SQS's longest.
    """
    retention = settings.retention_seconds
    attributes = {
        "VisibilityTimeout": str(settings.visibility_timeout_seconds),
        "DelaySeconds": str(settings.delay_seconds),
        "MessageRetentionPeriod": str(
            _LIMITS.retention_seconds_max if retention is None else retention
        ),
        "ReceiveMessageWaitTimeSeconds": str(settings.receive_wait_seconds),
    }
    if settings.message_size_max is not None:
        attributes["MaximumMessageSize"] = str(settings.message_size_max)
    if settings.redrive is not None and redrive_arn is not None:
        attributes["RedrivePolicy"] = msgspec.json.encode(
            {
                "deadLetterTargetArn": redrive_arn,
                "maxReceiveCount": settings.redrive.receive_count_max,
            }
        ).decode()
    elif changing:
        attributes["RedrivePolicy"] = ""
    if fifo:
        attributes["ContentBasedDeduplication"] = str(settings.content_based_deduplication).lower()
        if settings.deduplication_per_group:
            attributes["DeduplicationScope"] = "messageGroup"
        if not changing:
            attributes["FifoQueue"] = "true"
    attributes.update(settings.attributes)
    return attributes


def settings_from_attributes(
    attributes: Mapping[str, str], tags: Mapping[str, str], redrive_name: str | None
) -> QueueSettings:
    """The settings of a queue that is taken as it is; `redrive_name` is its dead-letter queue's."""
    redrive: RedrivePolicy | None = None
    if redrive_name is not None:
        policy = _redrive_policy(attributes)
        redrive = RedrivePolicy(redrive_name, int(policy.get("maxReceiveCount", 10)))
    size = attributes.get("MaximumMessageSize")
    return QueueSettings(
        visibility_timeout_seconds=int(attributes.get("VisibilityTimeout", 30)),
        delay_seconds=int(attributes.get("DelaySeconds", 0)),
        retention_seconds=int(
            attributes.get("MessageRetentionPeriod", _LIMITS.retention_seconds_default)
        ),
        receive_wait_seconds=int(attributes.get("ReceiveMessageWaitTimeSeconds", 0)),
        message_size_max=None if size is None else int(size),
        redrive=redrive,
        fifo=attributes.get("FifoQueue") == "true",
        content_based_deduplication=attributes.get("ContentBasedDeduplication") == "true",
        deduplication_per_group=attributes.get("DeduplicationScope") == "messageGroup",
        attributes={
            name: value
            for name, value in attributes.items()
            if name not in READ_ONLY and name not in _MAPPED and name not in _IMMUTABLE
        },
        tags=dict(tags),
    )


def redrive_arn_of(attributes: Mapping[str, str]) -> str | None:
    """The ARN of the dead-letter queue that attributes name."""
    arn = _redrive_policy(attributes).get("deadLetterTargetArn")
    return arn if isinstance(arn, str) else None


def _redrive_policy(attributes: Mapping[str, str]) -> dict[str, Any]:
    text = attributes.get("RedrivePolicy")
    if not text:
        return {}
    try:
        policy = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return policy if isinstance(policy, dict) else {}
