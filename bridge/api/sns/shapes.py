"""Requests and results of the SNS actions that are offered, as data. SNS speaks the Query protocol
only.
"""

from __future__ import annotations

import msgspec

from bridge.api.sqs.shapes import MessageAttributeValue, Shape

__all__ = ["MessageAttributeValue"]


class Empty(Shape):
    """The result of actions that answer with an empty element."""


class Tag(Shape):
    key: str
    value: str


class TopicRequest(Shape):
    topic_arn: str


class CreateTopicRequest(Shape):
    name: str
    attributes: dict[str, str] | None = None
    tags: list[Tag] | None = None
    data_protection_policy: str | None = None


class CreateTopicResult(Shape):
    topic_arn: str


class SetTopicAttributesRequest(TopicRequest):
    attribute_name: str
    attribute_value: str | None = None


class AttributesResult(Shape):
    attributes: dict[str, str]


class PageRequest(Shape):
    next_token: str | None = None


class TopicMember(Shape):
    topic_arn: str


class ListTopicsResult(Shape):
    topics: list[TopicMember]
    next_token: str | None = None


class SubscribeRequest(TopicRequest):
    protocol: str
    endpoint: str | None = None
    attributes: dict[str, str] | None = None
    return_subscription_arn: bool = False


class SubscriptionArnResult(Shape):
    subscription_arn: str


class ConfirmSubscriptionRequest(TopicRequest):
    token: str
    authenticate_on_unsubscribe: str | None = None


class SubscriptionRequest(Shape):
    subscription_arn: str


class SetSubscriptionAttributesRequest(SubscriptionRequest):
    attribute_name: str
    attribute_value: str | None = None


class SubscriptionMember(Shape):
    subscription_arn: str
    owner: str
    protocol: str
    endpoint: str
    topic_arn: str


class ListSubscriptionsByTopicRequest(TopicRequest):
    next_token: str | None = None


class ListSubscriptionsResult(Shape):
    subscriptions: list[SubscriptionMember]
    next_token: str | None = None


class PublishRequest(Shape):
    message: str
    topic_arn: str | None = None
    target_arn: str | None = None
    phone_number: str | None = None
    subject: str | None = None
    message_structure: str | None = None
    message_attributes: dict[str, MessageAttributeValue] | None = None
    message_deduplication_id: str | None = None
    message_group_id: str | None = None


class PublishResult(Shape):
    message_id: str
    sequence_number: str | None = None


class PublishBatchRequestEntry(Shape):
    id: str
    message: str
    subject: str | None = None
    message_structure: str | None = None
    message_attributes: dict[str, MessageAttributeValue] | None = None
    message_deduplication_id: str | None = None
    message_group_id: str | None = None


class PublishBatchRequest(TopicRequest):
    publish_batch_request_entries: list[PublishBatchRequestEntry]


class PublishBatchResultEntry(Shape):
    id: str
    message_id: str
    sequence_number: str | None = None


class BatchResultErrorEntry(Shape):
    id: str
    code: str
    sender_fault: bool
    message: str | None = None


class PublishBatchResult(msgspec.Struct, rename="pascal"):
    """Both lists are always there, unlike those of SQS."""

    successful: list[PublishBatchResultEntry]
    failed: list[BatchResultErrorEntry]


class AddPermissionRequest(TopicRequest):
    label: str
    action_name: list[str]
    aws_account_id: list[str] = msgspec.field(name="AWSAccountId")


class RemovePermissionRequest(TopicRequest):
    label: str


class ResourceRequest(Shape):
    resource_arn: str


class TagResourceRequest(ResourceRequest):
    tags: list[Tag]


class UntagResourceRequest(ResourceRequest):
    tag_keys: list[str]


class ListTagsForResourceResult(Shape):
    tags: list[Tag]


class PutDataProtectionPolicyRequest(ResourceRequest):
    data_protection_policy: str


class DataProtectionPolicyResult(Shape):
    data_protection_policy: str
