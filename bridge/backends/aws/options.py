"""What configuration says about the AWS backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bridge.backends.aws.ordering import OrderingRule
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import DEFAULT_NAMESPACE
from bridge.messaging.prices import Prices

if TYPE_CHECKING:
    from bridge.messaging.model import TopicName


class Mode(Enum):
    """When a topic has to do with the one in SNS. AUTO: while there is somebody to have it."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class TopicRule:
    """What holds of topics whose name matches `topics` (`*` and `?`); None leaves it as it is."""

    topics: str
    publish: Mode | None = None
    ingest: Mode | None = None


@dataclass(frozen=True, slots=True)
class AwsOptions:
    """Names and places; bounds are in `limits`.

    `region` None takes the environment's. `endpoints` give single services (`sqs`, `sns`,
    `dynamodb`, `s3`) an endpoint of their own, before `endpoint_url` for all of them, before AWS's
    variables. `create` False takes queues, topics and the table as they are. `queues` and `topics`
    pin names of the default namespace to existing SQS queues and SNS topics (names or ARNs).
    `publish`: whether what comes to a topic here also goes to the one in SNS; `ingest`: whether
    what comes to that one is taken in; the first of `topic_rules` that says something counts.
    `ordering` says which new queues are first-in-first-out; the first rule counts. Messages over
    `payload_bytes_max` leave their body in `payload_bucket`; readers with an old extended client
    for Java want the legacy attribute.
    """

    region: str | None = None
    prefix: str = ""
    endpoint_url: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    create: bool = True
    table: str = "landbridge"
    queues: Mapping[str, str] = field(default_factory=dict)
    topics: Mapping[str, str] = field(default_factory=dict)
    publish: Mode = Mode.AUTO
    ingest: Mode = Mode.AUTO
    topic_rules: tuple[TopicRule, ...] = ()
    topic_check_seconds: float = 60.0
    ordering: tuple[OrderingRule, ...] = ()
    payload_bucket: str | None = None
    payload_prefix: str = ""
    payload_bytes_max: int = ServiceLimits().message_size_max
    legacy_payload_attribute: bool = False
    prices: Prices = field(default_factory=Prices)

    def endpoint_of(self, service: str) -> str | None:
        return self.endpoints.get(service) or self.endpoint_url

    def topic_pinned(self, topic: TopicName) -> str | None:
        """Name or ARN of the topic in SNS that `topic` is pinned to."""
        return self.topics.get(topic.name) if topic.namespace == DEFAULT_NAMESPACE else None

    def publish_of(self, topic: TopicName) -> Mode:
        return next(
            (
                each.publish
                for each in self.topic_rules
                if each.publish is not None and fnmatchcase(topic.name, each.topics)
            ),
            self.publish,
        )

    def ingest_of(self, topic: TopicName) -> Mode:
        return next(
            (
                each.ingest
                for each in self.topic_rules
                if each.ingest is not None and fnmatchcase(topic.name, each.topics)
            ),
            self.ingest,
        )
