"""What a user may publish and subscribe to: the user's topic filters, and what RabbitMQ's users
know as permissions of the exchange behind the topic tree. Asked for each topic, since a reload may
have changed the answer.
"""

from __future__ import annotations

from bridge.auth import User, checks
from bridge.auth.checks import Sending
from bridge.messaging.model import TOPIC_TREE
from bridge.messaging.subjects import dotted_from_subject
from mappings.mqtt.addresses import pattern_from_filter, subject_from_topic


def may_publish(user: User | None, namespace: str, topic: str, client_id: str | None) -> bool:
    """Whether a publish to `topic` is allowed."""
    return user is not None and (
        user.may_publish_topic(topic, client_id)
        and user.may_write(namespace, TOPIC_TREE)
        and user.may_write_subject(
            namespace, TOPIC_TREE, dotted_from_subject(subject_from_topic(topic)), client_id
        )
    )


def require_publish(user: User, sending: Sending) -> None:
    """`may_publish` in the words of the other protocols. Raises `AccessDenied`."""
    checks.require_publish(user, sending)


def may_subscribe(user: User | None, namespace: str, text: str, client_id: str | None) -> bool:
    """Whether the filter `text` is allowed, shared or not."""
    pattern = text
    if text.startswith("$share/"):
        pattern = text.split("/", 2)[2]
    return user is not None and (
        user.may_subscribe_topic(text, client_id)
        and user.may_read(namespace, TOPIC_TREE)
        and user.may_read_subject(
            namespace, TOPIC_TREE, dotted_from_subject(pattern_from_filter(pattern)), client_id
        )
    )
