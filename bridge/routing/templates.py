"""Templates of routing rules: text with values of the message in it.

    {line}             a level that the rule's `from` captured
    {header:unit}      an attribute of the message (its application header)
    {property:type}    a standard property, by its name in `bridge.messaging.properties`
    {subject}          the subject in the topic, levels joined with "."
    {address}          where it was published, in the protocol's own syntax
    {client_id} {user} who published it
    {{ and }}          the braces themselves

A value that is absent, or is not text, a number or a truth value, is missing: `MissingValue` says
which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from bridge.messaging.model import Message, Origin, Value

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class MissingValue(Exception):
    """A template needs a value that this message does not have."""


class TemplateInvalid(Exception):
    """The text of a template cannot be understood."""


class Values(NamedTuple):
    """What a template is rendered with."""

    captures: Mapping[str, str]
    message: Message
    origin: Origin


_Part: TypeAlias = Callable[[Values], Value]

_IDENTITY: Final[dict[str, _Part]] = {
    "subject": lambda values: values.message.subject,
    "address": lambda values: values.origin.address,
    "client_id": lambda values: values.origin.client_id,
    "user": lambda values: values.origin.user,
}

RESERVED: Final = frozenset(_IDENTITY)
"""Names that a capture may not take."""


class Template:
    """One compiled template. `constant` is its text where it needs no value."""

    __slots__ = ("_parts", "constant", "prefix", "text")

    def __init__(self, text: str, captures: Collection[str] = ()) -> None:
        """Raises `TemplateInvalid` for an unknown name or a brace that is not closed."""
        self.text = text
        self._parts: list[str | tuple[str, _Part]] = _parsed(text, captures)
        first = self._parts[0] if self._parts else ""
        self.prefix = first if isinstance(first, str) else ""
        self.constant = self.prefix if not self._parts or self._parts == [self.prefix] else None

    @property
    def literal(self) -> str:
        """The text besides the values."""
        return "".join([part for part in self._parts if isinstance(part, str)])

    def render(self, values: Values) -> str:
        """Raises `MissingValue`."""
        if self.constant is not None:
            return self.constant
        return "".join(
            [part if isinstance(part, str) else _text(*part, values) for part in self._parts]
        )


def _parsed(text: str, captures: Collection[str]) -> list[str | tuple[str, _Part]]:
    parts: list[str | tuple[str, _Part]] = []
    literal = ""
    end = 0
    for match in _TOKEN.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        token = match[0]
        if token in ("{{", "}}"):
            literal += token[0]
        elif match[1] is None:
            raise TemplateInvalid(f"{text!r} has a single {token!r}; write {token * 2!r}")
        else:
            if literal:
                parts.append(literal)
                literal = ""
            parts.append((token, _part(match[1], captures)))
    literal += text[end:]
    if literal:
        parts.append(literal)
    return parts


def _part(name: str, captures: Collection[str]) -> _Part:
    kind, colon, key = name.partition(":")
    if kind == "header" and key:
        return lambda values: values.message.headers.get(key)
    if kind == "property" and key:
        return lambda values: values.message.properties.get(key)
    if not colon and name in captures:
        return lambda values: values.captures[name]
    if not colon and name in _IDENTITY:
        return _IDENTITY[name]
    known = [*sorted(captures), *sorted(_IDENTITY), "header:NAME", "property:NAME"]
    raise TemplateInvalid(f"{{{name}}} is unknown; known are {', '.join(known)}")


def _text(token: str, part: _Part, values: Values) -> str:
    value = part(values)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    if value is None:
        raise MissingValue(f"no value for {token}")
    raise MissingValue(f"the value for {token} is neither text nor a number nor a truth value")
