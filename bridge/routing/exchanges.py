"""Which subscriptions of one topic want a subject: one index for each kind of topic.

AMQP 0-9-1, 3.1.3, and RabbitMQ for what it leaves open (types in headers matching, `*-with-x`). A
subscription without a pattern wants everything, whatever the kind: that is what SNS's subscriptions
are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from bridge.messaging.envelope import attributes_for_filter
from bridge.messaging.errors import InvalidParameter
from bridge.messaging.filters import FilterPolicy, FilterScope
from bridge.messaging.matcher import PatternIndex
from bridge.messaging.model import TOPIC_TREE, Message, Value
from bridge.routing.catalogue import Subscription, Topic

X_MATCH: Final = frozenset({"all", "any", "all-with-x", "any-with-x"})
"""How a binding of a headers topic may combine its headers."""


class Entry:
    """A subscription with its filter and its headers match compiled. Equal to itself only."""

    __slots__ = ("headers", "policy", "subscription")

    def __init__(self, subscription: Subscription, topic: Topic) -> None:
        """Raises `InvalidParameter` for a filter policy or an `x-match` that cannot be."""
        self.subscription = subscription
        self.policy = compiled_policy(subscription.filter_policy, subscription.filter_scope)
        self.headers = (
            HeadersMatch(subscription.arguments)
            if topic.kind == "headers" and subscription.pattern is not None
            else None
        )

    @property
    def conditional(self) -> bool:
        """Whether each message has to be looked at, or made another one, or leaves the queues."""
        return self.policy is not None or not self.subscription.raw or self.elsewhere

    @property
    def elsewhere(self) -> bool:
        return self.subscription.queue is None and self.subscription.destination is None

    def accepts(self, message: Message) -> bool:
        """Whether the filter policy, if there is one, lets `message` through."""
        return self.policy is None or passes(self.policy, message)


class TopicIndex:
    """The subscriptions of one topic, found by subject."""

    __slots__ = ("_by_headers", "_by_pattern", "_by_subject", "_everything", "_is_tree", "kind")

    def __init__(self, topic: Topic) -> None:
        self.kind = topic.kind
        self._is_tree = topic.name.name == TOPIC_TREE
        self._everything: dict[Entry, None] = {}
        self._by_subject: dict[str, dict[Entry, None]] = {}
        self._by_pattern: PatternIndex[Entry] = PatternIndex()
        self._by_headers: dict[Entry, HeadersMatch] = {}

    @property
    def looks_at_headers(self) -> bool:
        """Whether what is found depends on more than the subject."""
        return bool(self._by_headers)

    def add(self, entry: Entry) -> None:
        """Raises `InvalidAddress` for a pattern that cannot be."""
        pattern = entry.subscription.pattern
        if pattern is None or self.kind == "fanout":
            self._everything[entry] = None
        elif self.kind == "topic":
            self._by_pattern.add(pattern, entry)
        elif self.kind == "direct":
            self._by_subject.setdefault(pattern, {})[entry] = None
        elif entry.headers is not None:
            self._by_headers[entry] = entry.headers

    def remove(self, entry: Entry) -> None:
        pattern = entry.subscription.pattern
        if pattern is None or self.kind == "fanout":
            del self._everything[entry]
        elif self.kind == "topic":
            self._by_pattern.remove(pattern, entry)
        elif self.kind == "direct":
            entries = self._by_subject[pattern]
            del entries[entry]
            if not entries:
                del self._by_subject[pattern]
        else:
            del self._by_headers[entry]

    def find(self, subject: str, headers: Mapping[str, Value]) -> list[Entry]:
        """The subscriptions for `subject`, each once; their filters are not yet asked."""
        found = list(self._everything)
        if self.kind == "topic":
            # MQTT 5, 4.7.2: what begins with $ in the tree is not for a leading wildcard.
            wildcards = not (self._is_tree and subject.startswith("$"))
            found += self._by_pattern.find(subject, leading_wildcards=wildcards)
        elif self.kind == "direct":
            found += self._by_subject.get(subject, ())
        elif self._by_headers:
            found += [entry for entry, match in self._by_headers.items() if match(headers)]
        return found


class HeadersMatch:
    """The headers that a binding wants, and whether it wants all of them or any."""

    __slots__ = ("_all", "_wanted")

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Raises `InvalidParameter` for an unknown `x-match`."""
        mode = arguments.get("x-match", "all")
        if mode not in X_MATCH:
            raise InvalidParameter(
                f"invalid x-match field value {mode!r}; expected all, any, all-with-x or any-with-x"
            )
        self._all = mode.startswith("all")
        with_x = mode.endswith("-with-x")
        self._wanted = [
            (name, value)
            for name, value in arguments.items()
            if name != "x-match" and (with_x or not name.startswith("x-"))
        ]

    def __call__(self, headers: Mapping[str, Value]) -> bool:
        hits: Iterable[bool] = (
            name in headers and (value is None or _same(value, headers[name]))
            for name, value in self._wanted
        )
        return all(hits) if self._all else any(hits)


def compiled_policy(policy: str | None, scope: str) -> FilterPolicy | None:
    """Compile the JSON text of a filter policy. Raises `InvalidParameter`."""
    return None if policy is None else FilterPolicy(policy, FilterScope(scope))


def passes(policy: FilterPolicy, message: Message) -> bool:
    """Whether a filter policy, of a subscription or of a rule, lets the message through."""
    if policy.scope is FilterScope.MESSAGE_BODY:
        return policy.matches_body(message.body)
    return policy.matches_attributes(attributes_for_filter(message))


def _same(wanted: Value, value: Value) -> bool:
    """Equal and of the same class of types, as RabbitMQ compares: 1 is neither "1" nor 1.0 nor
    true.
    """
    return wanted == value and _type_class(wanted) is _type_class(value)


def _type_class(value: Value) -> type:
    return int if isinstance(value, Decimal) else type(value)
