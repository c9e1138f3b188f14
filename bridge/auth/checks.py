"""Refusals in RabbitMQ's words, which operators and tests of applications search for.

Each function raises `AccessDenied` whose text begins after the protocol's own word for it
(`ACCESS_REFUSED - `), or does nothing. Subjects and patterns are in the escaped form of
`bridge.messaging.subjects`; for the topic tree the user's MQTT topic filters are asked too.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, NoReturn, TypeAlias

from bridge.auth.accounts import User
from bridge.messaging.errors import AccessDenied
from bridge.messaging.model import DEFAULT_EXCHANGE, TOPIC_TREE
from bridge.messaging.subjects import (
    dotted_from_subject,
    levels_of,
    literal_from_pattern,
    slashed_from_subject,
)

Kind: TypeAlias = Literal["queue", "exchange"]


class Sending(NamedTuple):
    """What somebody wants to publish, as each protocol's `require_publish` is asked about it: to a
    queue (`topic` is "" then), or to a topic with a subject.

    `by_subject`: the topic is of the kind "topic", so that permissions of subjects count.
    """

    namespace: str
    queue: str | None
    topic: str = ""
    subject: str = ""
    by_subject: bool = False
    client_id: str | None = None


_WILDCARDS: Final = {"*": "+", "#": "#"}
"""A pattern's wildcards as MQTT's topic filters write them."""


def require_open(user: User, namespace: str) -> None:
    """Be in the namespace."""
    if not user.may_open(namespace):
        raise AccessDenied(f"access to vhost '{namespace}' refused for user '{user.name}'")


def require_configure(user: User, namespace: str, kind: Kind, name: str) -> None:
    """Create, change or delete it."""
    if not user.may_configure(namespace, name):
        _refuse(user, "configure", namespace, kind, name)


def require_write(user: User, namespace: str, kind: Kind, name: str) -> None:
    """Publish to the exchange, or bind the queue or exchange to another."""
    if not user.may_write(namespace, name):
        _refuse(user, "write", namespace, kind, name)


def require_send(user: User, namespace: str, queue: str) -> None:
    """Publish straight to a queue by a protocol that knows no default exchange: allowed by write
    access to that one, as RabbitMQ has it, or to the queue itself.
    """
    if not (user.may_write(namespace, "") or user.may_write(namespace, queue)):
        _refuse(user, "write", namespace, "exchange", "")


def require_publish(user: User, sending: Sending) -> None:
    """Publish to the topic, the default exchange where that is ""."""
    require_write(user, sending.namespace, "exchange", sending.topic)
    if sending.by_subject:
        require_write_subject(
            user, sending.namespace, sending.topic, sending.subject, sending.client_id
        )


def require_read(user: User, namespace: str, kind: Kind, name: str) -> None:
    """Consume from the queue, or bind to the exchange."""
    if not user.may_read(namespace, name):
        _refuse(user, "read", namespace, kind, name)


def require_write_subject(
    user: User, namespace: str, topic: str, subject: str, client_id: str | None = None
) -> None:
    """Publish with this subject to a topic of kind "topic"."""
    key = dotted_from_subject(subject)
    allowed = user.may_write_subject(namespace, topic, key, client_id)
    if allowed and topic == TOPIC_TREE:
        allowed = user.may_publish_topic(slashed_from_subject(subject), client_id)
    if not allowed:
        _refuse_subject(user, "write", namespace, topic, key)


def require_read_subject(
    user: User, namespace: str, topic: str, pattern: str, client_id: str | None = None
) -> None:
    """Subscribe or bind with this pattern to a topic of kind "topic"."""
    key = dotted_from_subject(pattern)
    allowed = user.may_read_subject(namespace, topic, key, client_id)
    if allowed and topic == TOPIC_TREE:
        allowed = user.may_subscribe_topic(_filter_from_pattern(pattern), client_id)
    if not allowed:
        _refuse_subject(user, "read", namespace, topic, key)


def _filter_from_pattern(pattern: str) -> str:
    return "/".join(
        _WILDCARDS.get(level) or slashed_from_subject(literal_from_pattern(level))
        for level in levels_of(pattern)
    )


def _refuse(user: User, deed: str, namespace: str, kind: Kind, name: str) -> NoReturn:
    raise AccessDenied(
        f"{deed} access to {kind} '{name or DEFAULT_EXCHANGE}' in vhost '{namespace}'"
        f" refused for user '{user.name}'"
    )


def _refuse_subject(user: User, deed: str, namespace: str, topic: str, key: str) -> NoReturn:
    raise AccessDenied(
        f"{deed} access to topic '{key}' in exchange '{topic}' in vhost '{namespace}'"
        f" refused for user '{user.name}'"
    )
