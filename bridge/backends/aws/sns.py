"""The rare calls to SNS: finding and making topics, and what is subscribed to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple
from xml.etree import ElementTree as ET

from bridge.backends.aws import forms
from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.forms import Field
from bridge.backends.aws.node import Node
from bridge.messaging.errors import MessagingError

PENDING = "PendingConfirmation"
"""What stands for the ARN of a subscription whose endpoint has not agreed yet."""


class Subscribed(NamedTuple):
    """One subscription to a topic in SNS."""

    arn: str
    endpoint: str

    @property
    def confirmed(self) -> bool:
        return self.arn.startswith("arn:")


class SnsControl:
    """Coroutines over single calls. They raise the bridge's own errors."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def create(
        self, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]
    ) -> str | None:
        """The ARN of a topic, made if it is absent; None where it exists with other settings."""
        fields = [
            ("Name", name),
            *forms.entries("Attributes", attributes.items()),
            *forms.tags(tags.items()),
        ]
        try:
            root = await self._try("CreateTopic", fields)
        except AwsError as error:
            if error.code == "InvalidParameter" and "already exists" in error.message:
                return None
            raise messaging_error_from(error) from None
        return _required("CreateTopic", root, "CreateTopicResult", "TopicArn")

    async def find(self, name: str) -> str | None:
        """The ARN of the topic of that name in this account and region."""
        async for root in self._pages("ListTopics", []):
            for member in forms.members(root, "ListTopicsResult", "Topics"):
                arn = forms.text(member, "TopicArn") or ""
                if arn.rpartition(":")[2] == name:
                    return arn
        return None

    async def attributes(self, arn: str) -> dict[str, str]:
        root = await self._call("GetTopicAttributes", [("TopicArn", arn)])
        return forms.mapping(root, "GetTopicAttributesResult", "Attributes")

    async def subscriptions(self, arn: str) -> AsyncIterator[Subscribed]:
        """What is subscribed to a topic, a hundred at a time."""
        async for root in self._pages("ListSubscriptionsByTopic", [("TopicArn", arn)]):
            result = "ListSubscriptionsByTopicResult"
            for member in forms.members(root, result, "Subscriptions"):
                yield Subscribed(
                    forms.text(member, "SubscriptionArn") or "",
                    forms.text(member, "Endpoint") or "",
                )

    async def subscribe(self, arn: str, queue_arn: str, attributes: Mapping[str, str]) -> str:
        """Subscribe a queue; the same subscription made again is the one that there is."""
        fields = [
            ("TopicArn", arn),
            ("Protocol", "sqs"),
            ("Endpoint", queue_arn),
            ("ReturnSubscriptionArn", "true"),
            *forms.entries("Attributes", attributes.items()),
        ]
        root = await self._call("Subscribe", fields)
        return _required("Subscribe", root, "SubscribeResult", "SubscriptionArn")

    async def unsubscribe(self, subscription_arn: str) -> None:
        await self._call("Unsubscribe", [("SubscriptionArn", subscription_arn)])

    async def _pages(self, action: str, fields: list[Field]) -> AsyncIterator[ET.Element]:
        token: str | None = None
        while True:
            more = [("NextToken", token)] if token else []
            root = await self._call(action, [*fields, *more])
            yield root
            token = forms.text(root, f"{action}Result", "NextToken")
            if not token:
                return

    async def _call(self, action: str, fields: Iterable[Field]) -> ET.Element:
        try:
            return await self._try(action, fields)
        except AwsError as error:
            raise messaging_error_from(error) from None

    async def _try(self, action: str, fields: Iterable[Field]) -> ET.Element:
        service = self._node.sns
        deadline = service.deadline_in(self._node.limits.topic_seconds_max)
        body = await service.call(action, forms.form(action, fields), deadline=deadline)
        try:
            return forms.parse(body)
        except ValueError as error:
            raise AwsError(action, 0, "", f"the answer cannot be read: {error}") from None


def _required(action: str, root: ET.Element, *path: str) -> str:
    found = forms.text(root, *path)
    if not found:
        raise _unreadable(action, path[-1])
    return found


def _unreadable(action: str, what: str) -> MessagingError:
    return messaging_error_from(AwsError(action, 0, "", f"the answer has no {what}"))
