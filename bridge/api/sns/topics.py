"""SNS's actions on topics: create, list, describe, change, delete; tags and permissions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bridge.api.call import Call
from bridge.api.errors import (
    SNS_NOT_FOUND,
    SNS_RESOURCE_NOT_FOUND,
    SNS_TAG_LIMIT_EXCEEDED,
    ApiError,
)
from bridge.api.sns import shapes
from bridge.api.sns.delivery_policy import effective_http_policy, own_http_policy
from bridge.api.sns.paging import page_of
from bridge.api.sns.service import SnsService, checked_arn, invalid, topic_name
from bridge.api.sns.shapes import Tag
from bridge.messaging.identifiers import ACCOUNT
from bridge.messaging.names import is_legal_topic_name, topic_from_sns_name
from bridge.routing.catalogue import Topic

TAGS_MAX = 50
DISPLAY_NAME_LENGTH_MAX = 100
SETTABLE = frozenset(
    {
        "ArchivePolicy",
        "ContentBasedDeduplication",
        "DeliveryPolicy",
        "DisplayName",
        "FifoThroughputScope",
        "FifoTopic",
        "KmsMasterKeyId",
        "MaximumMessageSize",
        "Policy",
        "SignatureVersion",
        "TracingConfig",
    }
)
_FEEDBACK = re.compile(
    r"(HTTP|SQS|Lambda|Firehose|Application)(Success|Failure)Feedback(RoleArn|SampleRate)"
)
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "ContentBasedDeduplication": ("true", "false"),
    "FifoThroughputScope": ("Topic", "MessageGroup"),
    "SignatureVersion": ("1", "2"),
    "TracingConfig": ("PassThrough", "Active"),
}
_BOOLEANS = frozenset({"ContentBasedDeduplication", "FifoTopic"})
_FIFO_ONLY = frozenset({"ArchivePolicy", "ContentBasedDeduplication", "FifoThroughputScope"})
_JSON = frozenset({"ArchivePolicy", "DeliveryPolicy", "Policy"})
MESSAGE_SIZE_RANGE = (1_024, 1_048_576)
LARGE_MESSAGE_SIZE = 262_144
"""A topic whose MaximumMessageSize is above this takes SQS subscriptions only, and few."""
LIMITED_SUBSCRIPTIONS_MAX = 100
"""Of such a topic, and of a FIFO one."""
DATA_PROTECTION = "DataProtectionPolicy"
_DEFAULT_ACTIONS = (
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
)


async def create_topic(
    service: SnsService, call: Call, request: shapes.CreateTopicRequest
) -> shapes.CreateTopicResult:
    attributes = {
        name: _in_plain_case(name, value) for name, value in (request.attributes or {}).items()
    }
    fifo = attributes.get("FifoTopic", "false")
    if fifo not in ("true", "false"):
        raise invalid("FifoTopic")
    _check_name(request.name, fifo=fifo == "true")
    for name, value in attributes.items():
        _check_attribute(name, value, fifo=fifo == "true", within="Attributes")
    tags = _tags_of(request.tags or [])
    existing = service.topic_by_name(request.name)
    if existing is not None:
        _compare(existing, attributes, tags if request.tags is not None else None)
        return shapes.CreateTopicResult(call.sns_arn(request.name))
    attributes.pop("FifoTopic", None)
    if request.data_protection_policy:
        attributes[DATA_PROTECTION] = request.data_protection_policy
    await service.topology.declare_topic(
        topic_from_sns_name(request.name), fifo=fifo == "true", attributes=attributes, tags=tags
    )
    return shapes.CreateTopicResult(call.sns_arn(request.name))


async def delete_topic(service: SnsService, call: Call, request: shapes.TopicRequest) -> None:
    try:
        topic = service.topic(call, request.topic_arn)
    except ApiError as error:
        # Deleting what is not there succeeds (SNS API reference, DeleteTopic).
        if error.kind is SNS_NOT_FOUND:
            return
        raise
    await service.pending.discard_topic(topic.name)
    await service.deduplication.forget_topic(topic_name(topic), service.store)
    await service.topology.delete_topic(topic.name)


def list_topics(
    service: SnsService, call: Call, request: shapes.PageRequest
) -> shapes.ListTopicsResult:
    names = sorted(
        topic_name(topic) for topic in service.topology.topics() if _is_listed(service, topic)
    )
    page, token = page_of(names, request.next_token)
    return shapes.ListTopicsResult([shapes.TopicMember(call.sns_arn(name)) for name in page], token)


def _is_listed(service: SnsService, topic: Topic) -> bool:
    """The topics that every namespace has are shown once somebody uses them."""
    if topic.built_in:
        return bool(service.topology.subscriptions_of(topic.name))
    return topic.durable and not topic.internal


def get_topic_attributes(
    service: SnsService, call: Call, request: shapes.TopicRequest
) -> shapes.AttributesResult:
    topic = service.topic(call, request.topic_arn)
    arn = call.sns_arn(topic_name(topic))
    subscriptions = service.topology.subscriptions_of(topic.name)
    pending = service.pending.of_topic(topic.name)
    shown = {
        "DisplayName": "",
        "EffectiveDeliveryPolicy": _dumped({"http": effective_http_policy({})}),
        "Owner": ACCOUNT,
        "Policy": _dumped(_default_policy(arn)),
        "SubscriptionsConfirmed": str(len(subscriptions)),
        "SubscriptionsDeleted": "0",
        "SubscriptionsPending": str(len(pending)),
        "TopicArn": arn,
    }
    if topic.fifo:
        shown["FifoTopic"] = "true"
        shown["ContentBasedDeduplication"] = "false"
    shown.update(topic.attributes)
    shown.pop(DATA_PROTECTION, None)
    if "DeliveryPolicy" in shown:
        own = own_http_policy(topic)
        shown["DeliveryPolicy"] = _dumped({"http": own})
        shown["EffectiveDeliveryPolicy"] = _dumped({"http": effective_http_policy(own)})
    return shapes.AttributesResult(shown)


async def set_topic_attributes(
    service: SnsService, call: Call, request: shapes.SetTopicAttributesRequest
) -> None:
    topic = service.topic(call, request.topic_arn)
    name = request.attribute_name
    value = _in_plain_case(name, request.attribute_value or "")
    if name == "FifoTopic":
        raise invalid("AttributeName")
    _check_attribute(name, value, fifo=topic.fifo, within="AttributeName")
    if name == "MaximumMessageSize":
        _check_subscriptions(service, topic, value)
    attributes = dict(topic.attributes)
    if value or name == "DisplayName":
        attributes[name] = value
    else:
        attributes.pop(name, None)
    await service.topology.change_topic(topic.name, attributes=attributes)


# -- tags


async def tag_resource(
    service: SnsService, call: Call, request: shapes.TagResourceRequest
) -> shapes.Empty:
    topic = _resource(service, call, request.resource_arn)
    tags = {**topic.tags, **_tags_of(request.tags)}
    if len(tags) > TAGS_MAX:
        raise SNS_TAG_LIMIT_EXCEEDED(
            "Could not complete request: tag quota of per resource exceeded"
        )
    await service.topology.change_topic(topic.name, tags=tags)
    return shapes.Empty()


async def untag_resource(
    service: SnsService, call: Call, request: shapes.UntagResourceRequest
) -> shapes.Empty:
    topic = _resource(service, call, request.resource_arn)
    tags = {key: value for key, value in topic.tags.items() if key not in request.tag_keys}
    await service.topology.change_topic(topic.name, tags=tags)
    return shapes.Empty()


def list_tags_for_resource(
    service: SnsService, call: Call, request: shapes.ResourceRequest
) -> shapes.ListTagsForResourceResult:
    topic = _resource(service, call, request.resource_arn)
    return shapes.ListTagsForResourceResult([Tag(*pair) for pair in topic.tags.items()])


# -- policies


async def add_permission(
    service: SnsService, call: Call, request: shapes.AddPermissionRequest
) -> None:
    topic = service.topic(call, request.topic_arn)
    arn = call.sns_arn(topic_name(topic))
    policy = _policy_of(topic, arn)
    if any(each.get("Sid") == request.label for each in policy["Statement"]):
        raise invalid("Statement already exists")
    for account in request.aws_account_id:
        if not re.fullmatch(r"\d{12}", account):
            raise invalid("AWSAccountId")
    for action in request.action_name:
        if action not in _DEFAULT_ACTIONS and action != "*":
            raise invalid("Policy statement action out of service scope!")
    principals = [f"arn:aws:iam::{account}:root" for account in request.aws_account_id]
    actions = [f"SNS:{action}" for action in request.action_name]
    policy["Statement"].append(
        {
            "Sid": request.label,
            "Effect": "Allow",
            "Principal": {"AWS": principals[0] if len(principals) == 1 else principals},
            "Action": actions[0] if len(actions) == 1 else actions,
            "Resource": arn,
        }
    )
    await _set_policy(service, topic, policy)


async def remove_permission(
    service: SnsService, call: Call, request: shapes.RemovePermissionRequest
) -> None:
    topic = service.topic(call, request.topic_arn)
    policy = _policy_of(topic, call.sns_arn(topic_name(topic)))
    left = [each for each in policy["Statement"] if each.get("Sid") != request.label]
    await _set_policy(service, topic, {**policy, "Statement": left})


async def put_data_protection_policy(
    service: SnsService, call: Call, request: shapes.PutDataProtectionPolicyRequest
) -> None:
    topic = service.topic(call, request.resource_arn, "ResourceArn")
    attributes = {**topic.attributes, DATA_PROTECTION: request.data_protection_policy}
    await service.topology.change_topic(topic.name, attributes=attributes)


def get_data_protection_policy(
    service: SnsService, call: Call, request: shapes.ResourceRequest
) -> shapes.DataProtectionPolicyResult:
    topic = service.topic(call, request.resource_arn, "ResourceArn")
    return shapes.DataProtectionPolicyResult(topic.attributes.get(DATA_PROTECTION, ""))


# -- checks


def _check_name(name: str, *, fifo: bool) -> None:
    if not is_legal_topic_name(name, fifo=fifo):
        raise invalid("Topic Name")


def _in_plain_case(name: str, value: str) -> str:
    """`True` is taken for `true`."""
    return value.lower() if name in _BOOLEANS else value


def _check_attribute(name: str, value: str, *, fifo: bool, within: str) -> None:
    known = name in SETTABLE or _FEEDBACK.fullmatch(name)
    if not known or (name in _FIFO_ONLY and not fifo):
        raise (
            invalid(within)
            if within == "AttributeName"
            else invalid(within, f"Unknown attribute {name}")
        )
    reason = _fault_in_text(name, value) or _fault_in_json(name, value)
    if reason is not None:
        # What creates a topic has them in a map, and SNS names the map first.
        raise invalid(reason) if within == "AttributeName" else invalid(within, reason)


def _fault_in_text(name: str, value: str) -> str | None:
    if name == "DisplayName" and len(value) > DISPLAY_NAME_LENGTH_MAX:
        return name
    if name == "MaximumMessageSize":
        low, high = MESSAGE_SIZE_RANGE
        if not (value.isascii() and value.isdigit() and low <= int(value[:9]) <= high):
            return f"{name}: {value} is not an integer between {low} and {high} bytes"
    if name not in _CHOICES or value in _CHOICES[name]:
        return None
    match name:
        case "SignatureVersion":
            return "SignatureVersion: Invalid value. Must be 1 or 2."
        case "TracingConfig":
            return f"Invalid tracing config value: {value}"
        case _:
            return name


def _fault_in_json(name: str, value: str) -> str | None:
    if name == "ArchivePolicy" and value not in ("", "{}"):
        return "ArchivePolicy: message archiving is not supported"
    if name not in _JSON or not value:
        return None
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return f"{name}: failed to parse JSON."
    return None if isinstance(parsed, dict) else f"{name}: must be a JSON object"


def takes_large_messages(topic: Topic) -> bool:
    return int(topic.attributes.get("MaximumMessageSize") or 0) > LARGE_MESSAGE_SIZE


def large_messages_refusal(protocols: Sequence[str]) -> ApiError:
    """Why a topic for large messages has no subscriptions of these protocols."""
    return invalid(
        f"MaximumMessageSize greater than {LARGE_MESSAGE_SIZE} bytes is not supported for the"
        f" following protocol: [{', '.join(protocols)}]"
    )


def too_many_for_large_messages() -> ApiError:
    """Why a topic for large messages has no more subscriptions."""
    return invalid(
        f"A topic with MaximumMessageSize greater than {LARGE_MESSAGE_SIZE} bytes supports a"
        f" maximum of {LIMITED_SUBSCRIPTIONS_MAX} subscriptions"
    )


def _check_subscriptions(service: SnsService, topic: Topic, value: str) -> None:
    """Whether the subscriptions that are there, confirmed or not, go with a larger limit."""
    if int(value) <= LARGE_MESSAGE_SIZE:
        return
    subscriptions = service.topology.subscriptions_of(topic.name)
    protocols = {each.protocol for each in subscriptions}
    protocols.update(each.subscription.protocol for each in service.pending.of_topic(topic.name))
    if others := sorted(protocols - {"sqs"}):
        raise large_messages_refusal(others)
    if len(subscriptions) > LIMITED_SUBSCRIPTIONS_MAX:
        raise too_many_for_large_messages()


def _compare(topic: Topic, attributes: Mapping[str, str], tags: Mapping[str, str] | None) -> None:
    shown = {"FifoTopic": "true" if topic.fifo else "false", "DisplayName": "", **topic.attributes}
    if topic.fifo:
        shown.setdefault("ContentBasedDeduplication", "false")
    if any(shown.get(name) != value for name, value in attributes.items()):
        raise invalid("Attributes", "Topic already exists with different attributes")
    # Fewer tags than it has are no difference.
    if tags is not None and not tags.items() <= topic.tags.items():
        raise invalid("Tags", "Topic already exists with different tags")


def _tags_of(tags: list[Tag]) -> dict[str, str]:
    found = {tag.key: tag.value for tag in tags}
    if len(found) != len(tags):
        raise invalid("Duplicated keys are not allowed.")
    if len(found) > TAGS_MAX:
        raise SNS_TAG_LIMIT_EXCEEDED(
            "Could not complete request: tag quota of per resource exceeded"
        )
    return found


def _resource(service: SnsService, call: Call, arn: str) -> Topic:
    parts = checked_arn(arn, "ResourceArn")
    topic = service.topic_by_name(":".join(parts[5:]))
    if topic is None:
        raise SNS_RESOURCE_NOT_FOUND("Resource does not exist")
    return topic


def _policy_of(topic: Topic, arn: str) -> dict[str, Any]:
    text = topic.attributes.get("Policy")
    policy: dict[str, Any] = json.loads(text) if text else _default_policy(arn)
    statements = policy.get("Statement", [])
    policy["Statement"] = [statements] if isinstance(statements, dict) else list(statements)
    return policy


async def _set_policy(service: SnsService, topic: Topic, policy: dict[str, Any]) -> None:
    text = _dumped(policy)
    await service.topology.change_topic(topic.name, attributes={**topic.attributes, "Policy": text})


def _dumped(policy: Mapping[str, Any]) -> str:
    return json.dumps(policy, separators=(",", ":"))


def _default_policy(arn: str) -> dict[str, Any]:
    return {
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [
            {
                "Sid": "__default_statement_ID",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": [f"SNS:{action}" for action in _DEFAULT_ACTIONS],
                "Resource": arn,
                "Condition": {"StringEquals": {"AWS:SourceOwner": ACCOUNT}},
            }
        ],
    }
