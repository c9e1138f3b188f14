"""A policy's JSON as tokens that know where they stand, and the error that says so.

AWS reads policies with a streaming parser and ends its messages with that parser's place in the
text. It looks ahead by one value and no further than it has to: a string counts as read once its
opening quote is, until its text is asked for, and a name once the value behind it is.
"""

from __future__ import annotations

import json
import re
from typing import Final, Literal, NamedTuple, NoReturn, cast

from bridge.messaging.errors import InvalidParameter

POLICY_SIZE_MAX: Final = 262_144
"""Bytes of one policy (SNS, filter policy constraints)."""

_SOURCE_SHOWN_MAX = 500
_TOKEN = re.compile(
    r"""[\s:,]*(?:(?P<mark>[{}\[\]])|(?P<string>"(?:[^"\\]|\\.)*")(?P<name>\s*:)?"""
    r"""|(?P<value>-?\d[0-9.eE+-]*|true|false|null))"""
)

Scalar = str | int | float | bool | None
Kind = Literal["{", "}", "[", "]", "name", "string", "number", "constant", "end"]


class FilterPolicyInvalid(InvalidParameter):
    """SNS takes no such policy; the message is what AWS says behind "Invalid parameter: "."""


class Token(NamedTuple):
    """One token; `read_to` is how far AWS's parser has read when it is the current one.

    `end` is how far once that parser was asked for the token's text.
    """

    kind: Kind
    text: str
    value: Scalar
    read_to: int
    end: int


class Source:
    """The tokens of one policy, taken one by one.

    Raises `FilterPolicyInvalid` for what is not JSON.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text.encode("utf-8", "surrogatepass")) > POLICY_SIZE_MAX:
            raise FilterPolicyInvalid(
                f"FilterPolicy: Filter policy can not be larger than {POLICY_SIZE_MAX} bytes"
            )
        try:
            json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise FilterPolicyInvalid("FilterPolicy: failed to parse JSON.") from None
        self._tokens = _tokens_of(text)
        self._next = 0
        self.current = Token("end", "", None, 0, 0)

    def take(self) -> Token:
        """Make the next token the current one."""
        if self._next < len(self._tokens):
            self.current = self._tokens[self._next]
            self._next += 1
        else:
            self.current = Token("end", "", None, len(self.text), len(self.text))
        return self.current

    def take_text(self) -> str:
        """The whole text of the current token."""
        self.current = self.current._replace(read_to=self.current.end)
        return self.current.text

    def fail(self, message: str) -> NoReturn:
        """Refuse the policy at the current token."""
        read = self.text[: self.current.read_to]
        line = read.count("\n") + 1
        column = len(read) - read.rfind("\n")
        shown = f'"{self.text[:_SOURCE_SHOWN_MAX]}"'
        if len(self.text) > _SOURCE_SHOWN_MAX:
            shown += f"[truncated {len(self.text) - _SOURCE_SHOWN_MAX} chars]"
        place = f"at [Source: (String){shown}; line: {line}, column: {column}]"
        raise FilterPolicyInvalid(f"FilterPolicy: {message}\n {place}")


def _tokens_of(text: str) -> list[Token]:
    """The tokens of valid JSON."""
    tokens: list[Token] = []
    position = 0
    while (match := _TOKEN.match(text, position)) is not None:
        position = match.end()
        if (mark := match["mark"]) is not None:
            tokens.append(Token(cast("Kind", mark), mark, None, position, position))
        elif (written := match["string"]) is not None:
            value = json.loads(written)
            kind: Kind = "string" if match["name"] is None else "name"
            start, end = match.span("string")
            tokens.append(Token(kind, value, value, start + 1, end))
        else:
            written = match["value"]
            kind = "constant" if written[0] in "tfn" else "number"
            tokens.append(Token(kind, written, json.loads(written), position, position))
    for index in range(len(tokens) - 1):
        if tokens[index].kind == "name":
            tokens[index] = tokens[index]._replace(read_to=tokens[index + 1].read_to)
    return tokens


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(constant)
