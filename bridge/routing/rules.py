"""Routing rules from the configuration, compiled: which of them match an address, and where they
send.

A `Rule` is what the file says. `compile_rules` reports every mistake with the key it is under. A
compiled rule matches what came in by the protocol of its `from`; every rule that matches applies
(`bridge.routing.router`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from bridge.messaging.errors import InvalidAddress, MessagingError
from bridge.messaging.filters import FilterPolicy
from bridge.messaging.limits import Limits
from bridge.messaging.matcher import PatternIndex
from bridge.messaging.model import DEFAULT_NAMESPACE, Message, Origin, QueueName, TopicName, Value
from bridge.messaging.names import topic_from_sns_name
from bridge.routing.addresses import (
    Destination,
    SourcePattern,
    compiled_source,
    destination,
    levels_of,
    require_one_topic,
    split_protocol,
    subject_of,
)
from bridge.routing.catalogue import FilterScope
from bridge.routing.exchanges import compiled_policy, passes
from bridge.routing.templates import (
    RESERVED,
    MissingValue,
    Template,
    TemplateInvalid,
    Values,
)

DEFAULT_TARGET: Final = "default"
"""The target that keeps the default mapping beside the others."""

SCOPES: Final[dict[str, FilterScope]] = {
    "attributes": "MessageAttributes",
    "body": "MessageBody",
}
"""What `filter_scope` may be, and SNS's words for it."""

_STOMP_KINDS = ("/queue/", "/topic/", "/exchange/", "/amq/queue/")
_STOMP_SOURCES = (*_STOMP_KINDS, "/reply-queue/", "/temp-queue/", "/temp-topic/")
_FIRST_LEVEL_WILDCARDS = ("*", "#", ">", "{")


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of `routes:`. `source` is its `from`, `targets` its `to`, `set_attributes` its
    `set: {attributes}`.
    """

    name: str
    source: str
    targets: Sequence[str]
    filter: Mapping[str, Any] | None = None
    filter_scope: str = "attributes"
    set_attributes: Mapping[str, Value] = field(default_factory=dict)


class RuleInvalid(Exception):
    """A mistake in one rule; `path` leads to it from the list of rules: index, key, index or key in
    that.
    """

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


class RulesInvalid(Exception):
    """All mistakes of a list of rules."""

    def __init__(self, mistakes: Sequence[RuleInvalid]) -> None:
        super().__init__("; ".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


class Target:
    """One `to` of a rule; `template` None is the default mapping."""

    __slots__ = ("protocol", "template", "text")

    def __init__(self, text: str, protocol: str, template: Template | None) -> None:
        self.text = text
        self.protocol = protocol
        self.template = template

    def destination(self, values: Values, namespace: str) -> Destination:
        """Render the template. Raises `MissingValue`, `InvalidAddress`."""
        assert self.template is not None
        return destination(self.protocol, self.template.render(values), namespace)


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """A rule ready to be applied."""

    rule: Rule
    position: int
    source: SourcePattern
    policy: FilterPolicy | None
    targets: tuple[Target, ...]
    attributes: tuple[tuple[str, Template | Value], ...]

    def accepts(self, message: Message) -> bool:
        """Whether the rule's filter lets the message through."""
        return self.policy is None or passes(self.policy, message)

    def with_attributes(self, values: Values) -> Message:
        """The message that the rule's targets get. Raises `MissingValue`."""
        message = values.message
        if not self.attributes:
            return message
        headers = dict(message.headers)
        for name, value in self.attributes:
            headers[name] = value.render(values) if isinstance(value, Template) else value
        return msgspec.structs.replace(message, headers=headers)


class Match(NamedTuple):
    """A rule whose `from` covers an address, with what it captured there."""

    rule: CompiledRule
    captures: Mapping[str, str]


class Rules:
    """All rules, by the protocol that they listen to."""

    def __init__(self, compiled: Iterable[CompiledRule] = (), limits: Limits | None = None) -> None:
        self.all = tuple(compiled)
        self.protocols = frozenset(each.source.protocol for each in self.all)
        self._indexes: dict[str, PatternIndex[CompiledRule]] = {
            protocol: PatternIndex() for protocol in self.protocols
        }
        for each in self.all:
            self._indexes[each.source.protocol].add(each.source.pattern, each)
        self._matches: dict[tuple[str, str], tuple[Match, ...]] = {}
        self._entries_max = (limits or Limits()).routing_cache_entries_max

    def matching(self, origin: Origin) -> tuple[Match, ...]:
        """The rules whose `from` covers where a publish came from, in the order of the file;
        filters not asked.
        """
        key = (origin.protocol, origin.address)
        found = self._matches.get(key)
        if found is None:
            found = self._find(*key)
            if len(self._matches) >= self._entries_max:
                self._matches.clear()
            self._matches[key] = found
        return found

    def topics(self) -> frozenset[TopicName]:
        """The SNS topics that targets without values name; to be declared at
        start.
        """
        return frozenset(
            each.topic for each in self._constant_destinations("sns") if each.topic is not None
        )

    def source_topics(self) -> frozenset[TopicName]:
        """The SNS topics that rules without wildcards begin at."""
        sources = [split_protocol(each.rule.source) for each in self.all]
        return frozenset(
            topic_from_sns_name(address)
            for protocol, address in sources
            if protocol == "sns" and not set("*{").intersection(address)
        )

    def queues(self) -> frozenset[QueueName]:
        """The SQS queues that targets without values name."""
        return frozenset(
            each.queue for each in self._constant_destinations("sqs") if each.queue is not None
        )

    def _constant_destinations(self, protocol: str) -> list[Destination]:
        return [
            destination(protocol, target.template.constant, DEFAULT_NAMESPACE)
            for each in self.all
            for target in each.targets
            if target.protocol == protocol
            and target.template is not None
            and target.template.constant is not None
        ]

    def _find(self, protocol: str, address: str) -> tuple[Match, ...]:
        index = self._indexes.get(protocol)
        if index is None:
            return ()
        # MQTT 5, 4.7.2: what begins with $ is not for filters that begin with a wildcard.
        wildcards = protocol != "mqtt" or not address.startswith("$")
        rules = index.find(subject_of(protocol, address), leading_wildcards=wildcards)
        levels = levels_of(protocol, address)
        return tuple(
            Match(each, {name: levels[at] for name, at in each.source.captures.items()})
            for each in sorted(rules, key=lambda rule: rule.position)
        )


NO_RULES: Final = Rules()


def compile_rules(rules: Sequence[Rule], limits: Limits | None = None) -> Rules:
    """Compile all rules. Raises `RulesInvalid` with every mistake."""
    mistakes: list[RuleInvalid] = []
    compiled = [_compiled(rule, position, mistakes) for position, rule in enumerate(rules)]
    if mistakes:
        raise RulesInvalid(mistakes)
    return Rules([each for each in compiled if each is not None], limits)


def _compiled(rule: Rule, position: int, mistakes: list[RuleInvalid]) -> CompiledRule | None:
    checked = _Checked(position, mistakes)
    source = checked.source(rule)
    captures = source.captures if source is not None else None
    scope = SCOPES.get(rule.filter_scope)
    if scope is None:
        checked.mistake("filter_scope", f"{rule.filter_scope!r} is neither attributes nor body")
    policy = checked.policy(rule, scope or "MessageAttributes")
    targets = tuple(checked.target(text, at, captures) for at, text in enumerate(rule.targets))
    if not targets:
        checked.mistake("to", "a rule needs at least one target")
    attributes = tuple(
        (name, checked.attribute(name, value, captures))
        for name, value in rule.set_attributes.items()
    )
    if source is None or scope is None:
        return None
    kept = tuple(target for target in targets if target is not None)
    return CompiledRule(rule, position, source, policy, kept, attributes)


_Captures: TypeAlias = Mapping[str, int] | None


class _Checked:
    """The compiled parts of one rule; what is wrong with them is noted instead of raised."""

    def __init__(self, position: int, mistakes: list[RuleInvalid]) -> None:
        self._position = position
        self._mistakes = mistakes

    def mistake(self, *path_and_message: str | int) -> None:
        *path, message = path_and_message
        self._mistakes.append(RuleInvalid((self._position, *path), str(message)))

    def source(self, rule: Rule) -> SourcePattern | None:
        try:
            source = compiled_source(rule.source)
        except InvalidAddress as error:
            self.mistake("from", str(error))
            return None
        address = rule.source.removeprefix("stomp:")
        if source.protocol == "stomp" and not address.startswith(
            (*_STOMP_SOURCES, *_FIRST_LEVEL_WILDCARDS)
        ):
            kinds = ", ".join(_STOMP_SOURCES)
            self.mistake("from", f"{rule.source!r} does not begin with one of {kinds}")
        for name in sorted(RESERVED & source.captures.keys()):
            self.mistake("from", f"{{{name}}} has a meaning of its own; capture under another name")
        return source

    def policy(self, rule: Rule, scope: FilterScope) -> FilterPolicy | None:
        if rule.filter is None:
            return None
        try:
            return compiled_policy(msgspec.json.encode(rule.filter).decode(), scope)
        except (MessagingError, TypeError) as error:
            self.mistake("filter", str(error))
            return None

    def target(self, text: str, at: int, captures: _Captures) -> Target | None:
        if text == DEFAULT_TARGET:
            return Target(text, "", None)
        try:
            protocol, address = split_protocol(text)
        except InvalidAddress as error:
            self.mistake("to", at, f"{error}, nor is it {DEFAULT_TARGET!r}")
            return None
        template = self._template(address, captures, "to", at)
        if template is None:
            return None
        if protocol == "stomp" and not template.prefix.startswith(_STOMP_KINDS):
            self.mistake("to", at, f"{text!r} does not begin with one of {', '.join(_STOMP_KINDS)}")
            return None
        try:
            require_one_topic(protocol, template.literal)
            if template.constant is not None:
                destination(protocol, template.constant, DEFAULT_NAMESPACE)
        except InvalidAddress as error:
            self.mistake("to", at, str(error))
            return None
        return Target(text, protocol, template)

    def attribute(self, name: str, value: Value, captures: _Captures) -> Template | Value:
        if not isinstance(value, str):
            return value
        template = self._template(value, captures, "set", "attributes", name)
        if template is None or template.constant is None:
            return template
        return template.constant

    def _template(self, text: str, captures: _Captures, *path: str | int) -> Template | None:
        try:
            return Template(text, captures or ())
        except TemplateInvalid as error:
            # Where `from` itself is wrong its captures are unknown, and this would be noise.
            if captures is not None:
                self.mistake(*path, str(error))
            return None


__all__ = [
    "DEFAULT_TARGET",
    "NO_RULES",
    "CompiledRule",
    "Match",
    "MissingValue",
    "Rule",
    "RuleInvalid",
    "Rules",
    "RulesInvalid",
    "Target",
    "compile_rules",
]
