"""What SNS's actions share: the ports, and how topics and subscriptions are found by their ARNs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.api.call import Call
from bridge.api.errors import SNS_INVALID_PARAMETER, SNS_NOT_FOUND, ApiError
from bridge.api.sns.deduplication import TopicDeduplication
from bridge.api.sns.notifications import Notifications
from bridge.api.sqs.directory import QueueDirectory
from bridge.messaging.clock import Clock, MessageIds
from bridge.messaging.identifiers import ACCOUNT
from bridge.messaging.model import TopicName
from bridge.messaging.names import looks_encoded, sns_name, topic_from_sns_name
from bridge.messaging.ports import StateStore, Store
from bridge.routing.catalogue import Subscription, Topic
from bridge.routing.router import Router
from bridge.routing.topology import Topology
from mappings.gateway import Counters, Log

if TYPE_CHECKING:
    from bridge.api.sns.pending import PendingSubscriptions

ARN_PARTS_MIN = 6


@dataclass(slots=True)
class SnsService:
    """One SNS endpoint over one catalogue."""

    store: Store
    state: StateStore
    topology: Topology
    router: Router
    clock: Clock
    message_ids: MessageIds
    directory: QueueDirectory
    notifications: Notifications
    pending: PendingSubscriptions
    log: Log
    counters: Counters
    deduplication: TopicDeduplication = field(init=False)

    def __post_init__(self) -> None:
        self.deduplication = TopicDeduplication(self.state, self.clock)

    def topic(self, call: Call, arn: str, parameter: str = "TopicArn") -> Topic:
        """The topic of an ARN. Raises InvalidParameter, and NotFound for what is gone."""
        parts = checked_arn(arn, parameter)
        if parts[2] != "sns" or (call.service is not None and parts[3] != call.region):
            raise invalid(parameter)
        topic = self.topic_by_name(":".join(parts[5:])) if parts[4] == ACCOUNT else None
        if topic is None:
            raise SNS_NOT_FOUND("Topic does not exist")
        return topic

    def topic_by_name(self, name: str) -> Topic | None:
        """The topic that SNS calls so."""
        topic = self.topology.topic(topic_from_sns_name(name))
        if topic is not None and topic_name(topic) == name:
            return topic
        if not looks_encoded(name):
            return None
        return next((each for each in self.topology.topics() if topic_name(each) == name), None)

    def topic_arn(self, call: Call, name: TopicName) -> str:
        topic = self.topology.topic(name)
        return call.sns_arn(sns_name(name) if topic is None else topic_name(topic))

    def subscription(self, call: Call, arn: str) -> Subscription:
        """The subscription of an ARN. Raises InvalidParameter and NotFound."""
        parts = checked_arn(arn, "SubscriptionArn")
        if len(parts) != ARN_PARTS_MIN + 1:
            raise invalid("SubscriptionId")
        subscription = self.topology.subscription(parts[6])
        topic = None if subscription is None else self.topology.topic(subscription.topic)
        if subscription is None or topic is None or topic_name(topic) != parts[5]:
            raise SNS_NOT_FOUND("Subscription does not exist")
        return subscription

    def subscription_arn(self, call: Call, subscription: Subscription) -> str:
        return f"{self.topic_arn(call, subscription.topic)}:{subscription.id}"


def topic_name(topic: Topic) -> str:
    """What SNS calls a topic."""
    return sns_name(topic.name, fifo=topic.fifo)


def checked_arn(arn: str, parameter: str) -> list[str]:
    """An ARN's parts."""
    parts = arn.split(":")
    if len(parts) < ARN_PARTS_MIN:
        raise invalid(parameter, f"An ARN must have at least 6 elements, not {len(parts)}")
    return parts


def invalid(parameter: str, reason: str | None = None) -> ApiError:
    """InvalidParameter in SNS's form."""
    text = f"Invalid parameter: {parameter}"
    return SNS_INVALID_PARAMETER(text if reason is None else f"{text} Reason: {reason}")
