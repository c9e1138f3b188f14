"""SNS's actions on subscriptions: subscribe, confirm, list, describe, change, unsubscribe."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import msgspec

from bridge.api.call import Call
from bridge.api.errors import (
    SNS_FILTER_POLICY_LIMIT_EXCEEDED,
    SNS_INVALID_PARAMETER,
    SNS_NOT_FOUND,
    SNS_SUBSCRIPTION_LIMIT_EXCEEDED,
    ApiError,
)
from bridge.api.sns import shapes
from bridge.api.sns.delivery_policy import check_delivery_policy, effective_policy, own_policy
from bridge.api.sns.notifications import BASE_URL, INTERNAL, REGION_OF
from bridge.api.sns.paging import page_of
from bridge.api.sns.pending import Pending
from bridge.api.sns.service import ARN_PARTS_MIN, SnsService, invalid, topic_name
from bridge.api.sns.topics import (
    LIMITED_SUBSCRIPTIONS_MAX,
    large_messages_refusal,
    takes_large_messages,
    too_many_for_large_messages,
)
from bridge.messaging.errors import InvalidParameter
from bridge.messaging.filters import FilterPolicy, FilterScope
from bridge.messaging.identifiers import ACCOUNT, caller_arn
from bridge.messaging.model import QueueName
from bridge.messaging.names import FIFO_SUFFIX, queue_from_sqs_name
from bridge.messaging.ownership import require_owner
from bridge.routing.catalogue import FilterScope as FilterScopeName
from bridge.routing.catalogue import Subscription, Topic

PENDING = "pending confirmation"
PENDING_ARN = "PendingConfirmation"
_PHONE_NUMBER = re.compile(r"\+?[0-9](?:[./ -]?[0-9])*")
_TOKEN = re.compile(r"[0-9a-fA-F]{1,512}")
FILTER_POLICIES_MAX = 200
"""Of one topic."""
SETTABLE = frozenset(
    {
        "DeliveryPolicy",
        "FilterPolicy",
        "FilterPolicyScope",
        "RawMessageDelivery",
        "RedrivePolicy",
        "ReplayPolicy",
        "SubscriptionRoleArn",
    }
)
PROTOCOLS = frozenset({"sqs", "http", "https"})
"""Those that are offered. The others are answered as SNS answers protocols that it does not know.
"""

PROTOCOLS_ELSEWHERE = frozenset({"application", "email", "email-json", "firehose", "lambda", "sms"})
"""SNS's others. Programs try filter policies on them, so that faults of attributes come first."""


async def subscribe(
    service: SnsService, call: Call, request: shapes.SubscribeRequest
) -> shapes.SubscriptionArnResult:
    topic = service.topic(call, request.topic_arn)
    protocol = request.protocol
    if protocol not in PROTOCOLS | PROTOCOLS_ELSEWHERE:
        raise _not_offered(protocol)
    endpoint = request.endpoint or ""
    attributes = {
        name: _in_plain_case(name, value) for name, value in (request.attributes or {}).items()
    }
    queue = _checked_endpoint(service, topic, protocol, endpoint)
    fifo = endpoint.endswith(FIFO_SUFFIX)
    for name, value in attributes.items():
        if name not in SETTABLE:
            raise invalid("Attributes", f"Unknown attribute: {name}")
        _check_attribute(attributes, name, value, within="Attributes Reason: ", fifo=fifo)
    if protocol not in PROTOCOLS:
        raise _not_offered(protocol)
    existing = _same_endpoint(service, topic, protocol, endpoint)
    if existing is not None:
        if attributes and not _has(existing, attributes):
            raise invalid("Attributes", "Subscription already exists with different attributes")
        return shapes.SubscriptionArnResult(service.subscription_arn(call, existing))
    _check_policy_count(service, topic, attributes)
    _check_subscription_count(service, topic, protocol)
    subscription = Subscription(
        id=service.message_ids.next(),
        topic=topic.name,
        queue=queue,
        protocol=protocol,
        endpoint=endpoint,
        outlives_queue=True,
        created_at=service.clock.epoch_ms(),
        attributes={**attributes, BASE_URL: call.base_url, REGION_OF: call.region},
    )
    if protocol == "sqs":
        await _enter(service, subscription)
        return shapes.SubscriptionArnResult(service.subscription_arn(call, subscription))
    pending = await service.pending.add(subscription)
    arn = service.subscription_arn(call, pending.subscription)
    return shapes.SubscriptionArnResult(arn if request.return_subscription_arn else PENDING)


async def confirm_subscription(
    service: SnsService, call: Call, request: shapes.ConfirmSubscriptionRequest
) -> shapes.SubscriptionArnResult:
    # Of the topic's ARN SNS was recorded to look at the region only; the token says the rest.
    parts = request.topic_arn.split(":")
    if len(parts) != ARN_PARTS_MIN:
        raise invalid("Topic")
    if not _TOKEN.fullmatch(request.token):
        raise SNS_INVALID_PARAMETER("Invalid token")
    pending = service.pending.by_token(request.token)
    if pending is None:
        known = service.pending.confirmed_by(request.token)
        subscription = None if known is None else service.topology.subscription(known)
    else:
        subscription = pending.subscription
    if subscription is None:
        raise invalid("Token")
    if parts[3] != subscription.attributes.get(REGION_OF, parts[3]):
        raise invalid("Topic")
    if pending is not None:
        await _enter(service, subscription)
        await service.pending.confirmed(pending)
    return shapes.SubscriptionArnResult(service.subscription_arn(call, subscription))


async def unsubscribe(service: SnsService, call: Call, request: shapes.SubscriptionRequest) -> None:
    try:
        subscription = service.subscription(call, request.subscription_arn)
    except ApiError as error:
        # To end what has ended succeeds, as recorded.
        if error.kind is SNS_NOT_FOUND:
            await service.pending.discard(request.subscription_arn.rpartition(":")[2])
            return
        raise
    await service.topology.unsubscribe(subscription.id)
    if subscription.protocol != "sqs":
        await service.pending.say_goodbye(subscription)


def get_subscription_attributes(
    service: SnsService, call: Call, request: shapes.SubscriptionRequest
) -> shapes.AttributesResult:
    subscription, is_pending = _found(service, call, request.subscription_arn)
    shown = {
        "ConfirmationWasAuthenticated": "false" if is_pending else "true",
        "Endpoint": _endpoint_of(service, call, subscription),
        "Owner": ACCOUNT,
        "PendingConfirmation": "true" if is_pending else "false",
        "Protocol": subscription.protocol,
        "RawMessageDelivery": "true" if subscription.raw else "false",
        "SubscriptionArn": service.subscription_arn(call, subscription),
        "SubscriptionPrincipal": caller_arn(call.region),
        "TopicArn": service.topic_arn(call, subscription.topic),
    }
    if subscription.outlives_queue:
        shown["RawMessageDelivery"] = "false"
        shown |= {k: v for k, v in subscription.attributes.items() if k not in INTERNAL and v}
        if "FilterPolicy" in shown:
            shown.setdefault("FilterPolicyScope", "MessageAttributes")
        else:
            shown.pop("FilterPolicyScope", None)
    if "DeliveryPolicy" in shown:
        shown["DeliveryPolicy"] = _dumped(own_policy(subscription))
    if subscription.protocol != "sqs":
        policy = effective_policy(service.topology.topic(subscription.topic), subscription)
        shown["EffectiveDeliveryPolicy"] = _dumped(policy)
    return shapes.AttributesResult(shown)


async def set_subscription_attributes(
    service: SnsService, call: Call, request: shapes.SetSubscriptionAttributesRequest
) -> None:
    subscription, is_pending = _found(service, call, request.subscription_arn)
    name = request.attribute_name
    value = _in_plain_case(name, request.attribute_value or "")
    if name not in SETTABLE:
        raise invalid("AttributeName")
    topic = service.topology.topic(subscription.topic)
    assert topic is not None
    attributes = {**subscription.attributes, name: value}
    if name == "FilterPolicy" and not value:
        del attributes[name]
    fifo = _endpoint_of(service, call, subscription).endswith(FIFO_SUFFIX)
    _check_attribute(attributes, name, value, within="", fifo=fifo)
    if name == "FilterPolicy" and name not in subscription.attributes:
        _check_policy_count(service, topic, attributes)
    changed = msgspec.structs.replace(subscription, attributes=attributes)
    if is_pending:
        await service.pending.replace(changed)
    else:
        await _enter(service, changed)


def list_subscriptions(
    service: SnsService, call: Call, request: shapes.PageRequest
) -> shapes.ListSubscriptionsResult:
    found = [each for topic in service.topology.topics() for each in _listed(service, topic)]
    return _page(service, call, found, service.pending.all(), request.next_token)


def list_subscriptions_by_topic(
    service: SnsService, call: Call, request: shapes.ListSubscriptionsByTopicRequest
) -> shapes.ListSubscriptionsResult:
    topic = service.topic(call, request.topic_arn)
    pending = service.pending.of_topic(topic.name)
    return _page(service, call, _listed(service, topic), pending, request.next_token)


def _listed(service: SnsService, topic: Topic) -> list[Subscription]:
    """What SNS would know of: durable, and to a queue or an endpoint."""
    return [
        each
        for each in service.topology.subscriptions_of(topic.name)
        if each.durable and each.destination is None
    ]


def _page(
    service: SnsService,
    call: Call,
    confirmed: Iterable[Subscription],
    pending: Iterable[Pending],
    token: str | None,
) -> shapes.ListSubscriptionsResult:
    waiting = {each.subscription.id: each.subscription for each in pending}
    by_id = {each.id: each for each in confirmed} | waiting
    ids, next_token = page_of(sorted(by_id), token)
    members = [
        shapes.SubscriptionMember(
            PENDING_ARN if each in waiting else service.subscription_arn(call, by_id[each]),
            ACCOUNT,
            by_id[each].protocol,
            _endpoint_of(service, call, by_id[each]),
            service.topic_arn(call, by_id[each].topic),
        )
        for each in ids
    ]
    return shapes.ListSubscriptionsResult(members, next_token)


def _found(service: SnsService, call: Call, arn: str) -> tuple[Subscription, bool]:
    """The subscription of an ARN, and whether it waits for its confirmation."""
    parts = arn.split(":")
    pending = service.pending.by_id(parts[6]) if len(parts) == 7 else None
    if pending is not None:
        return pending.subscription, True
    return service.subscription(call, arn), False


async def _enter(service: SnsService, subscription: Subscription) -> None:
    """Put a subscription, with what its attributes say, into the catalogue."""
    attributes = subscription.attributes
    policy = attributes.get("FilterPolicy") or None
    in_body = attributes.get("FilterPolicyScope") == "MessageBody"
    scope: FilterScopeName = "MessageBody" if in_body else "MessageAttributes"
    raw = attributes.get("RawMessageDelivery") == "true"
    if service.topology.subscription(subscription.id) is not None:
        await service.topology.change_subscription(
            subscription.id,
            filter_policy=policy,
            filter_scope=scope,
            raw=raw,
            attributes=attributes,
        )
        return
    await service.topology.subscribe(
        subscription.topic,
        subscription.queue,
        protocol=subscription.protocol,
        endpoint=subscription.endpoint,
        filter_policy=policy,
        filter_scope=scope,
        raw=raw,
        outlives_queue=True,
        attributes=attributes,
        subscription_id=subscription.id,
    )


def _not_offered(protocol: str) -> ApiError:
    return invalid(f"Amazon SNS does not support this protocol string: {protocol}")


def _checked_endpoint(
    service: SnsService, topic: Topic, protocol: str, endpoint: str
) -> QueueName | None:
    if topic.fifo and protocol != "sqs":
        raise invalid(f"Invalid protocol type: {protocol}")
    if protocol not in PROTOCOLS:
        if protocol == "sms" and not _PHONE_NUMBER.fullmatch(endpoint):
            raise SNS_INVALID_PARAMETER(f"Invalid SMS endpoint: {endpoint}")
        return None
    if protocol != "sqs":
        split = urlsplit(endpoint)
        if split.scheme != protocol or not split.hostname:
            raise invalid("Endpoint must match the specified protocol")
        return None
    parts = endpoint.split(":")
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "sqs":
        raise invalid("SQS endpoint ARN")
    name = parts[5]
    if name.endswith(FIFO_SUFFIX) and not topic.fifo:
        raise invalid(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard"
            " SNS topics"
        )
    queue = service.directory.by_name(name)
    if queue is None:
        return queue_from_sqs_name(name)
    require_owner(queue)
    return queue.name


def _in_plain_case(name: str, value: str) -> str:
    """`True` is taken for `true`; what is neither keeps its case for the refusal."""
    lower = value.lower()
    return lower if name == "RawMessageDelivery" and lower in ("true", "false") else value


def _check_attribute(
    attributes: Mapping[str, str], name: str, value: str, *, within: str, fifo: bool
) -> None:
    match name:
        case "RawMessageDelivery":
            if value not in ("true", "false"):
                raise invalid(
                    f"{within}RawMessageDelivery: Invalid value [{value}]. Must be true or false."
                )
        case "FilterPolicyScope":
            if value not in ("MessageAttributes", "MessageBody"):
                raise invalid(
                    f"{within}FilterPolicyScope: Invalid value [{value}]. Please use either"
                    " MessageBody or MessageAttributes"
                )
            if policy := attributes.get("FilterPolicy"):
                _check_filter(policy, value, within)
        case "FilterPolicy":
            if value:
                _check_filter(value, attributes.get("FilterPolicyScope"), within)
        case "RedrivePolicy":
            if value:
                _check_redrive(value, within, fifo=fifo)
        case "DeliveryPolicy":
            if value:
                check_delivery_policy(value, within)
        case "ReplayPolicy":
            if value:
                raise invalid(f"{within}ReplayPolicy: message replay is not supported")
        case _:
            pass


def _check_filter(text: str, scope: str | None, within: str) -> None:
    try:
        FilterPolicy(text, FilterScope(scope or "MessageAttributes"))
    except InvalidParameter as error:
        raise invalid(f"{within}{error}") from error
    except ValueError as error:
        raise invalid(f"{within}FilterPolicyScope: Invalid value [{scope}]") from error


def _check_redrive(text: str, within: str, *, fifo: bool) -> None:
    """What a subscription may have for its dead letters: a `fifo` queue needs one of its kind."""
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError):
        policy = None
    if not isinstance(policy, dict):
        raise invalid(f"{within}RedrivePolicy: failed to parse JSON.")
    for name in policy:
        if name != "deadLetterTargetArn":
            raise invalid(f"{within}RedrivePolicy: invalid JSON. Attribute {name} is unknown.")
    arn = policy.get("deadLetterTargetArn")
    if arn is None:
        raise invalid(f"{within}RedrivePolicy: Missing deadLetterTargetArn attribute")
    parts = arn.split(":") if isinstance(arn, str) else []
    if len(parts) < ARN_PARTS_MIN:
        raise invalid(f"{within}RedrivePolicy: deadLetterTargetArn is an invalid arn")
    if len(parts) != ARN_PARTS_MIN or parts[2] != "sqs":
        raise invalid(f"{within}RedrivePolicy: deadLetterTargetArn must be a SQS queue")
    if fifo and not parts[5].endswith(FIFO_SUFFIX):
        raise invalid(
            f"{within}RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO"
            " Topic."
        )


def _check_policy_count(service: SnsService, topic: Topic, attributes: Mapping[str, str]) -> None:
    if not attributes.get("FilterPolicy"):
        return
    subscriptions = service.topology.subscriptions_of(topic.name)
    if sum(bool(each.attributes.get("FilterPolicy")) for each in subscriptions) >= (
        FILTER_POLICIES_MAX
    ):
        raise SNS_FILTER_POLICY_LIMIT_EXCEEDED(
            f"Filter policy limit of {FILTER_POLICIES_MAX} for topic {topic_name(topic)} is"
            " reached."
        )


def _check_subscription_count(service: SnsService, topic: Topic, protocol: str) -> None:
    """Topics of two kinds take few subscriptions: FIFO ones, and those for large messages."""
    large = takes_large_messages(topic)
    if large and protocol != "sqs":
        raise large_messages_refusal([protocol])
    count = len(service.topology.subscriptions_of(topic.name))
    if count < LIMITED_SUBSCRIPTIONS_MAX:
        return
    if topic.fifo:
        raise SNS_SUBSCRIPTION_LIMIT_EXCEEDED(
            f"Subscription limit of {LIMITED_SUBSCRIPTIONS_MAX} for topic {topic_name(topic)} is"
            " reached."
        )
    if large:
        raise too_many_for_large_messages()


def _same_endpoint(
    service: SnsService, topic: Topic, protocol: str, endpoint: str
) -> Subscription | None:
    candidates = service.topology.subscriptions_of(topic.name)
    candidates += [each.subscription for each in service.pending.of_topic(topic.name)]
    for each in candidates:
        if each.outlives_queue and each.protocol == protocol and each.endpoint == endpoint:
            return each
    return None


def _has(subscription: Subscription, attributes: Mapping[str, str]) -> bool:
    shown = {
        "RawMessageDelivery": "false",
        "FilterPolicyScope": "MessageAttributes",
        **subscription.attributes,
    }
    return all(shown.get(name) == value for name, value in attributes.items())


def _dumped(policy: Mapping[str, object]) -> str:
    return json.dumps(policy, separators=(",", ":"))


def _endpoint_of(service: SnsService, call: Call, subscription: Subscription) -> str:
    if subscription.endpoint is not None:
        return subscription.endpoint
    if subscription.queue is None:
        return ""
    queue = service.store.queue(subscription.queue)
    return "" if queue is None else call.sqs_arn(service.directory.name_of(queue))
