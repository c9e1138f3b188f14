"""What is wrong with a text that is not YAML, in words of the text instead of the parser's.

The parser says what it expected; people want to know which line to look at, and what to do there.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ruamel.yaml.error import MarkedYAMLError

_INDENTED: Final = frozenset({"?", "<block mapping start>", "<block sequence start>"})
"""What the parser meets where a line begins at a column that it should not."""
_UNEXPECTED: Final = re.compile(r"expected <block end>, but found '(.*)'", re.DOTALL)
_UNCLOSED: Final = re.compile(r"expected ',' or '([}\]])', but got .*", re.DOTALL)
_PROBLEMS: Final = (
    (
        r"found character '\\t' that cannot start any token",
        "a tab stands where YAML takes only spaces",
    ),
    (
        r"found character '(.*)' that cannot start any token",
        "text that begins with `{}` goes in quotes",
    ),
    (
        r"found undefined alias '(.*)'",
        "text that begins with `*` goes in quotes (there is no anchor `&{}`)",
    ),
    (
        r"found unknown escape character '(.*)'",
        "`\\{}` means nothing in double quotes: take single ones, or write `\\\\`",
    ),
    (
        r"mapping values are not allowed here",
        (
            "a `:` where no key can be: the line is indented too far, one above lacks its `:`, or"
            " text with `: ` in it is not in quotes"
        ),
    ),
    (
        r"sequence entries are not allowed here",
        "a list begins on a line of its own (or in brackets: `[a, b]`)",
    ),
)
_CONTEXTS: Final = {
    "while scanning an alias": "text that begins with `*` goes in quotes",
    "while scanning an anchor": "text that begins with `&` goes in quotes",
    "while scanning a block scalar": "behind `|` and `>` the line ends; text that begins with them"
    " goes in quotes",
}
"""Whatever the problem is."""


class Complaint(NamedTuple):
    """`line` counts from 1; None where the parser knows none."""

    line: int | None
    text: str


def complaint_of(error: MarkedYAMLError) -> Complaint:
    """The line to look at, and what is wrong there."""
    problem = error.problem or "it is unreadable"
    if problem == "could not find expected ':'":
        return Complaint(_line(error.context_mark), "a key without a `:` behind it")
    if problem == "found unexpected end of stream":
        return Complaint(_line(error.context_mark), "the quote that begins here is never closed")
    line = _line(error.problem_mark or error.context_mark)
    return Complaint(line, _words(error, problem))


def _words(error: MarkedYAMLError, problem: str) -> str:
    context = error.context or ""
    if found := _UNEXPECTED.fullmatch(problem):
        return _misplaced(error, found[1])
    if found := _UNCLOSED.fullmatch(problem):
        opening = "{" if found[1] == "}" else "["
        return f"a `,` or `{found[1]}` is missing: the `{opening}` {_where(error)} is still open"
    for pattern, words in _PROBLEMS:
        if found := re.fullmatch(pattern, problem, re.DOTALL):
            return words.format(*found.groups())
    if context in _CONTEXTS:
        return _CONTEXTS[context]
    return f"{context}, {problem}" if problem.startswith("but ") else problem


def _misplaced(error: MarkedYAMLError, found: str) -> str:
    """Something that is neither part of the block around it nor its end."""
    if found in {"}", "]"}:
        return f"a `{found}` that closes nothing"
    if found not in _INDENTED or error.problem_mark is None or error.context_mark is None:
        return "something behind a value that has ended: put quotes around all of it"
    spaces, wanted = error.problem_mark.column, error.context_mark.column
    if spaces == wanted:
        return f"a `- ` is missing, or more spaces: a list began {_where(error)}"
    return (
        f"indented by {spaces} spaces, and the block that it would belong to ({_where(error)}) by"
        f" {wanted}"
    )


def _where(error: MarkedYAMLError) -> str:
    """The place of what is not finished."""
    before, here = _line(error.context_mark), _line(error.problem_mark)
    return "before it" if before is None or before == here else f"in line {before}"


def _line(mark: object) -> int | None:
    line = getattr(mark, "line", None)
    return line + 1 if isinstance(line, int) else None
