"""SNS's actions that are offered: the table from their names to their requests and to what carries
them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.api.operation import Handler, Operation
from bridge.api.sns import publishing, shapes, subscriptions, topics
from bridge.api.sns.service import SnsService, invalid
from bridge.api.sqs.shapes import wire_name
from bridge.api.wire.query import Names
from bridge.api.wire.xml import Rendering

RENDERING = Rendering("http://sns.amazonaws.com/doc/2010-03-31/")
_NAMES = Names(missing=lambda name: invalid(name, "no value for required parameter"))
_ACTIONS: tuple[tuple[type[msgspec.Struct], Handler[SnsService]], ...] = (
    (shapes.AddPermissionRequest, topics.add_permission),
    (shapes.ConfirmSubscriptionRequest, subscriptions.confirm_subscription),
    (shapes.CreateTopicRequest, topics.create_topic),
    (shapes.TopicRequest, topics.delete_topic),
    (shapes.ResourceRequest, topics.get_data_protection_policy),
    (shapes.SubscriptionRequest, subscriptions.get_subscription_attributes),
    (shapes.TopicRequest, topics.get_topic_attributes),
    (shapes.PageRequest, subscriptions.list_subscriptions),
    (shapes.ListSubscriptionsByTopicRequest, subscriptions.list_subscriptions_by_topic),
    (shapes.ResourceRequest, topics.list_tags_for_resource),
    (shapes.PageRequest, topics.list_topics),
    (shapes.PublishRequest, publishing.publish),
    (shapes.PublishBatchRequest, publishing.publish_batch),
    (shapes.PutDataProtectionPolicyRequest, topics.put_data_protection_policy),
    (shapes.RemovePermissionRequest, topics.remove_permission),
    (shapes.SetSubscriptionAttributesRequest, subscriptions.set_subscription_attributes),
    (shapes.SetTopicAttributesRequest, topics.set_topic_attributes),
    (shapes.SubscribeRequest, subscriptions.subscribe),
    (shapes.TagResourceRequest, topics.tag_resource),
    (shapes.SubscriptionRequest, subscriptions.unsubscribe),
    (shapes.UntagResourceRequest, topics.untag_resource),
)

OPERATIONS: Mapping[str, Operation[Any]] = {
    action: Operation(action, request_type, handler, _NAMES, RENDERING)
    for request_type, handler in _ACTIONS
    for action in (wire_name(handler.__name__),)
}
