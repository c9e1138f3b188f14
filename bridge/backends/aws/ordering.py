"""Ordering profiles: which new queues are first-in-first-out in SQS, and by which groups.

The profile of a queue is fixed when the queue is made. `strict` is one group for all messages;
anything else is an expression that names a value of each message: `subject`, `topic`,
`header:NAME`, `property:NAME`. Messages without the value share one group.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from bridge.messaging.errors import InvalidParameter
from bridge.messaging.names import INTERNAL_NAMESPACE

if TYPE_CHECKING:
    from bridge.messaging.model import Message, QueueName, Value

STRICT: Final = "strict"
GROUP_EXPRESSION: Final = r"strict|subject|topic|(header|property):.+"

_LEGAL = re.compile(r"[\x21-\x7e]{1,128}")

GroupOf = Callable[["Message"], str | None]


@dataclass(frozen=True, slots=True)
class OrderingRule:
    """Queues whose name matches `queues` (`*` and `?`) are ordered by `group`."""

    queues: str
    group: str = STRICT

    def __post_init__(self) -> None:
        if re.fullmatch(GROUP_EXPRESSION, self.group) is None:
            raise InvalidParameter(
                f"group {self.group!r} is none of: strict, subject, topic, header:NAME,"
                " property:NAME"
            )


def rule_for(rules: tuple[OrderingRule, ...], name: QueueName) -> OrderingRule | None:
    """The first rule that speaks of a queue; None leaves it a standard one."""
    if name.namespace.startswith(INTERNAL_NAMESPACE):
        return None
    return next((rule for rule in rules if fnmatchcase(name.name, rule.queues)), None)


def group_of(rule: OrderingRule) -> GroupOf:
    """What gives a message its group; None where it has none of its own."""
    kind, _, name = rule.group.partition(":")
    match kind:
        case "subject":
            return lambda message: _group(message.subject)
        case "topic":
            return lambda message: _group(message.topic)
        case "header":
            return lambda message: _group(message.headers.get(name))
        case "property":
            return lambda message: _group(message.properties.get(name))
        case _:
            return lambda _: None


def _group(value: Value) -> str | None:
    """A value as a group id: as it is where SQS allows it, by its hash elsewhere."""
    if value is None:
        return None
    text = value if isinstance(value, str) else repr(value)
    if _LEGAL.fullmatch(text):
        return text
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
