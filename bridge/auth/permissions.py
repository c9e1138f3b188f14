"""What one user may do: RabbitMQ's permissions per namespace, and MQTT's topic filters.

Nothing given permits everything. What is given is compiled once; answers are remembered under the
address asked about, up to a bound, since this is asked for each publish to an address that a
gateway has not met. A `Permissions` lives as long as its user is configured: a reload changes it in
place, so that those who are connected are held to what is permitted now.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from bridge.auth.topic_filters import PermittedFilter, wanted_filter, wanted_topic
from bridge.messaging.expressions import Expression, PatternInvalid
from bridge.messaging.model import DEFAULT_EXCHANGE

REMEMBERED_MAX: Final = 4_096
"""Answers of one user that are remembered."""
REMEMBERED_LENGTH_MAX: Final = 1_024
"""Characters of a question up to which its answer is remembered."""
_CLIENT_ID: Final = "{client_id}"
_PLACEHOLDER: Final = re.compile(r"\{(?:(username)|vhost)\}")


@dataclass(frozen=True, slots=True)
class NamespacePermission:
    """Regular expressions over the names of queues and topics (exchanges) of one namespace."""

    namespace: str
    configure: str
    write: str
    read: str


@dataclass(frozen=True, slots=True)
class SubjectPermission:
    """Regular expressions over the subjects (routing keys) of one topic (exchange).

    They may contain `{username}`, `{vhost}` and `{client_id}`, which stand for literal text.
    """

    namespace: str
    topic: str
    write: str
    read: str


@dataclass(frozen=True, slots=True)
class Grants:
    """What somebody was given; None is no restriction of that kind.

    `namespaces` that may be opened; `permissions` open their own namespaces only. `publish` and
    `subscribe` are MQTT topic filters with `{client_id}` and `{user}`.
    """

    namespaces: frozenset[str] | None = None
    permissions: tuple[NamespacePermission, ...] | None = None
    subjects: tuple[SubjectPermission, ...] = ()
    publish: tuple[str, ...] | None = None
    subscribe: tuple[str, ...] | None = None


EVERYTHING: Final = Grants()
NOTHING: Final = Grants(namespaces=frozenset(), permissions=(), publish=(), subscribe=())

_Question: TypeAlias = tuple[str | None, ...]


@dataclass(slots=True)
class _NamespaceRules:
    """The compiled patterns of one namespace."""

    configure: Expression
    write: Expression
    read: Expression


class _ClientPattern:
    """A pattern with the client's id in it, compiled for each client."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[str]) -> None:
        """Raises `PatternInvalid`."""
        self._parts = parts
        self.of("client")

    def of(self, client_id: str) -> Expression:
        """Raises `PatternInvalid` where the client's id makes it too long."""
        return Expression(re.escape(client_id).join(self._parts))


@dataclass(slots=True)
class _SubjectRules:
    """The compiled patterns of one topic."""

    write: Expression | _ClientPattern
    read: Expression | _ClientPattern


@dataclass(slots=True)
class _Rules:
    """The compiled form of `Grants`."""

    namespaces: frozenset[str] | None
    permissions: dict[str, _NamespaceRules] | None
    publish: tuple[PermittedFilter, ...] | None
    subscribe: tuple[PermittedFilter, ...] | None
    subjects: dict[tuple[str, str], _SubjectRules]


class Permissions:
    """Answers about one user. Every method is cheap when it was asked the same lately."""

    __slots__ = ("_answers", "_rules", "_user", "grants", "version")

    def __init__(self, user: str, grants: Grants = EVERYTHING) -> None:
        """Raises `PatternInvalid`."""
        self._user = user
        self.version = 0
        """Goes up with each change, for those who remember answers themselves."""
        self.become(grants)

    def become(self, grants: Grants) -> None:
        """Take other grants, for those who are connected as well. Raises `PatternInvalid`."""
        self._rules = _compiled(grants, self._user)
        self.grants = grants
        self.version += 1
        self._answers: dict[_Question, bool] = {}

    def may_open(self, namespace: str) -> bool:
        """Whether the user may be in the namespace at all."""
        rules = self._rules
        if rules.namespaces is not None and namespace not in rules.namespaces:
            return False
        return rules.permissions is None or namespace in rules.permissions

    def may_configure(self, namespace: str, name: str) -> bool:
        """Create, change or delete the queue or topic."""
        if self._rules.permissions is None:
            return True
        return self._remembered(("configure", namespace, name), self._allowed)

    def may_write(self, namespace: str, name: str) -> bool:
        """Publish to the topic ("" is the default exchange), or bind something to it."""
        if self._rules.permissions is None:
            return True
        return self._remembered(("write", namespace, name), self._allowed)

    def may_read(self, namespace: str, name: str) -> bool:
        """Consume from the queue, purge it, or bind it or others to the topic."""
        if self._rules.permissions is None:
            return True
        return self._remembered(("read", namespace, name), self._allowed)

    def may_publish_topic(self, topic: str, client_id: str | None) -> bool:
        """Publish to an MQTT topic, written as MQTT writes it."""
        if self._rules.publish is None:
            return True
        return self._remembered(("publish", topic, client_id), self._publishable)

    def may_subscribe_topic(self, topic_filter: str, client_id: str | None) -> bool:
        """Subscribe to all of an MQTT topic filter, a shared one included."""
        if self._rules.subscribe is None:
            return True
        return self._remembered(("subscribe", topic_filter, client_id), self._subscribable)

    def may_write_subject(
        self, namespace: str, topic: str, subject: str, client_id: str | None = None
    ) -> bool:
        """Publish with this routing key to a topic exchange."""
        if (namespace, topic) not in self._rules.subjects:
            return True
        question = ("write subject", namespace, topic, subject, client_id)
        return self._remembered(question, self._subject_allowed)

    def may_read_subject(
        self, namespace: str, topic: str, subject: str, client_id: str | None = None
    ) -> bool:
        """Bind to a topic exchange with this routing key."""
        if (namespace, topic) not in self._rules.subjects:
            return True
        question = ("read subject", namespace, topic, subject, client_id)
        return self._remembered(question, self._subject_allowed)

    def _remembered(self, question: _Question, judge: Callable[..., bool]) -> bool:
        answers = self._answers
        answer = answers.get(question)
        if answer is None:
            answer = judge(*question)
            if sum(len(text) for text in question if text) <= REMEMBERED_LENGTH_MAX:
                if len(answers) >= REMEMBERED_MAX:
                    answers.clear()
                answers[question] = answer
        return answer

    def _allowed(self, deed: str, namespace: str, name: str) -> bool:
        rules = (self._rules.permissions or {}).get(namespace)
        if rules is None or not self.may_open(namespace):
            return False
        expression: Expression = getattr(rules, deed)
        return expression.matches(name or DEFAULT_EXCHANGE)

    def _publishable(self, _deed: str, topic: str, client_id: str | None) -> bool:
        wanted = wanted_topic(topic)
        permitted = self._rules.publish or ()
        return any(each.covers(wanted, client_id, self._user) for each in permitted)

    def _subscribable(self, _deed: str, topic_filter: str, client_id: str | None) -> bool:
        wanted = wanted_filter(topic_filter)
        permitted = self._rules.subscribe or ()
        return any(each.covers(wanted, client_id, self._user) for each in permitted)

    def _subject_allowed(
        self, deed: str, namespace: str, topic: str, subject: str, client_id: str | None
    ) -> bool:
        rules = self._rules.subjects[namespace, topic]
        pattern = rules.write if deed.startswith("write") else rules.read
        if isinstance(pattern, _ClientPattern):
            if client_id is None:
                return False
            try:
                pattern = pattern.of(client_id)
            except PatternInvalid:
                return False
        return pattern.matches(subject)


def _compiled(grants: Grants, user: str) -> _Rules:
    permissions: dict[str, _NamespaceRules] | None = None
    if grants.permissions is not None:
        permissions = {
            each.namespace: _NamespaceRules(
                Expression(each.configure), Expression(each.write), Expression(each.read)
            )
            for each in grants.permissions
        }
    return _Rules(
        grants.namespaces,
        permissions,
        _filters(grants.publish),
        _filters(grants.subscribe),
        {
            (each.namespace, each.topic): _SubjectRules(
                _subject_pattern(each.write, each.namespace, user),
                _subject_pattern(each.read, each.namespace, user),
            )
            for each in grants.subjects
        },
    )


def _subject_pattern(text: str, namespace: str, user: str) -> Expression | _ClientPattern:
    """Placeholders stand for literal text; the client's id is filled in when it is known."""
    parts = [
        _PLACEHOLDER.sub(lambda found: re.escape(user if found[1] else namespace), part)
        for part in text.split(_CLIENT_ID)
    ]
    return Expression(parts[0]) if len(parts) == 1 else _ClientPattern(parts)


def _filters(texts: Sequence[str] | None) -> tuple[PermittedFilter, ...] | None:
    return None if texts is None else tuple(PermittedFilter(text) for text in texts)
