"""How deliveries to HTTP endpoints are tried again (SNS developer guide, delivery retries)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.api.sns.service import invalid
from bridge.routing.catalogue import Subscription, Topic

RETRIES_MAX = 100
DELAY_SECONDS_MAX = 3_600
CONTENT_TYPE = "text/plain; charset=UTF-8"


class RetryPolicy(msgspec.Struct, rename="camel"):
    """The retries of one endpoint, in the order of their phases."""

    min_delay_target: int = 20
    max_delay_target: int = 20
    num_retries: int = 3
    num_no_delay_retries: int = 0
    num_min_delay_retries: int = 0
    num_max_delay_retries: int = 0
    backoff_function: str = "linear"

    def delay_of(self, retry: int) -> float | None:
        """Seconds before retry number `retry`, from 1; None when there are no more."""
        if retry > self.num_retries:
            return None
        if retry <= self.num_no_delay_retries:
            return 0.0
        retry -= self.num_no_delay_retries
        if retry <= self.num_min_delay_retries:
            return float(self.min_delay_target)
        retry -= self.num_min_delay_retries
        between = max(
            1,
            self.num_retries
            - self.num_no_delay_retries
            - self.num_min_delay_retries
            - self.num_max_delay_retries,
        )
        if retry > between:
            return float(self.max_delay_target)
        part = (retry - 1) / max(1, between - 1)
        match self.backoff_function:
            case "arithmetic":
                part *= part
            case "geometric" | "exponential":
                part = (2**part - 1) ** 2
            case _:
                pass
        return self.min_delay_target + (self.max_delay_target - self.min_delay_target) * part


def check_delivery_policy(text: str, within: str) -> None:
    """Raises InvalidParameter for a policy that cannot be followed."""
    policy = _object_of(text)
    if policy is None:
        raise invalid(f"{within}DeliveryPolicy: failed to parse JSON.")
    try:
        retries = msgspec.convert(policy.get("healthyRetryPolicy") or {}, RetryPolicy)
    except msgspec.ValidationError as error:
        raise invalid(f"{within}DeliveryPolicy: {error}") from error
    if (reason := _fault_of(retries)) is not None:
        raise invalid(f"{within}DeliveryPolicy: healthyRetryPolicy.{reason}")


def _fault_of(retries: RetryPolicy) -> str | None:
    """In SNS's words, with the member that is wrong in front."""
    phases = {
        "numNoDelayRetries": retries.num_no_delay_retries,
        "numMinDelayRetries": retries.num_min_delay_retries,
        "numMaxDelayRetries": retries.num_max_delay_retries,
    }
    for name, count in {"numRetries": retries.num_retries, **phases}.items():
        if count < 0:
            return f"{name} must be greater than or equal to 0"
    if retries.num_retries > RETRIES_MAX:
        return f"numRetries must be less than or equal to {RETRIES_MAX}"
    if sum(phases.values()) > retries.num_retries:
        return (
            "numRetries must be greater than or equal to total of numMinDelayRetries,"
            " numNoDelayRetries and numMaxDelayRetries"
        )
    if retries.min_delay_target < 1:
        return "minDelayTarget must be greater than or equal to 1"
    if retries.max_delay_target > DELAY_SECONDS_MAX:
        return f"maxDelayTarget must be less than or equal to {DELAY_SECONDS_MAX}"
    if retries.max_delay_target < retries.min_delay_target:
        return "maxDelayTarget must be greater than or equal to minDelayTarget"
    return None


def own_http_policy(topic: Topic) -> dict[str, Any]:
    """What a topic's DeliveryPolicy says for HTTP, without what it leaves to the default."""
    policy = _object_of(topic.attributes.get("DeliveryPolicy", "")) or {}
    http = policy.get("http")
    given = http if isinstance(http, dict) else {}
    said = {name: value for name, value in given.items() if value is not None}
    return {"disableSubscriptionOverrides": False, **said}


def effective_http_policy(own: Mapping[str, Any]) -> dict[str, Any]:
    """A topic's policy with the default in every place that it leaves open."""
    retries = own.get("defaultHealthyRetryPolicy")
    return {
        **own,
        "defaultHealthyRetryPolicy": _whole_retries(retries if isinstance(retries, dict) else {}),
        "disableSubscriptionOverrides": own.get("disableSubscriptionOverrides", False),
        "defaultRequestPolicy": own.get("defaultRequestPolicy")
        or {"headerContentType": CONTENT_TYPE},
    }


def own_policy(subscription: Subscription) -> dict[str, Any]:
    """A subscription's DeliveryPolicy, with every member that SNS shows."""
    own = _object_of(subscription.attributes.get("DeliveryPolicy", "")) or {}
    retries = own.get("healthyRetryPolicy")
    return {
        "healthyRetryPolicy": _whole_retries(retries) if isinstance(retries, dict) else None,
        "sicklyRetryPolicy": own.get("sicklyRetryPolicy"),
        "throttlePolicy": own.get("throttlePolicy"),
        "requestPolicy": own.get("requestPolicy"),
        "guaranteed": own.get("guaranteed", False),
    }


def effective_policy(topic: Topic | None, subscription: Subscription) -> dict[str, Any]:
    """The policy that a subscription's deliveries follow: its own, the topic's, or the default."""
    http = effective_http_policy({} if topic is None else own_http_policy(topic))
    own = own_policy(subscription)
    if http["disableSubscriptionOverrides"]:
        own = dict.fromkeys(own)
    return {
        **own,
        "healthyRetryPolicy": own["healthyRetryPolicy"] or http["defaultHealthyRetryPolicy"],
        "requestPolicy": own["requestPolicy"] or http["defaultRequestPolicy"],
        "guaranteed": own["guaranteed"] or False,
    }


def _whole_retries(given: Mapping[str, Any]) -> dict[str, Any]:
    return {**msgspec.to_builtins(RetryPolicy()), **given}


def retry_policy(effective: Mapping[str, Any]) -> RetryPolicy:
    """The retries of an effective policy; the default where it cannot be read."""
    try:
        return msgspec.convert(effective["healthyRetryPolicy"], RetryPolicy)
    except (msgspec.ValidationError, KeyError):
        return RetryPolicy()


def content_type(effective: Mapping[str, Any]) -> str:
    """The content type of requests to the endpoint."""
    policy = effective.get("requestPolicy")
    value = policy.get("headerContentType") if isinstance(policy, dict) else None
    return value if isinstance(value, str) and value.isprintable() else CONTENT_TYPE


def _object_of(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
