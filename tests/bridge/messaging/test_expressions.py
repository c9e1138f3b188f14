"""Patterns answer as `re` does, whatever they look like, and in time that hostile names cannot
stretch.
"""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.messaging.expressions import NAME_LENGTH_MAX, Expression, PatternInvalid

PATTERNS = [
    ".*",
    "^orders",
    "^(orders|bills)-.*$",
    r"^amq\.(gen|default).*",
    r"^(?!amq\.).*",
    "(?<=a)b",
    "(?<!a)b",
    "a{2,4}",
    "^a?b+?c*$",
    "(a|ab)(c|bcd)*$",
    "[^a-c]",
    "[a-c0-9_]+x",
    r"\bab\b",
    r"\Bb",
    r"^\w+\.\d*$",
    "(?i)^AbC",
    "(?i)[^ab]c",
    "(?s:a.b)",
    "(?m:^b)",
    "^((a*)*b)?$",
    "x|",
    "(?=ab)a",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@given(name=st.text("abcABCx019_. \n-", max_size=12))
def test_a_pattern_answers_as_re_does(pattern: str, name: str) -> None:
    expected = re.search(pattern.replace("$", r"\Z"), name) is not None
    assert Expression(pattern).matches(name) is expected


@pytest.mark.filterwarnings("ignore:Possible .* at position:FutureWarning")
@given(pattern=st.text("ab()|*+?.^[]{}12,-", max_size=12), name=st.text("ab1", max_size=8))
def test_any_pattern_answers_as_re_does_or_is_refused(pattern: str, name: str) -> None:
    try:
        expression = Expression(pattern)
    except PatternInvalid:
        return
    expected = re.search(pattern, name) is not None if pattern else not name
    assert expression.matches(name) is expected


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|aa)*$", "(.*)*x", "^(a?){100}a{100}$"])
def test_a_hostile_name_costs_no_more_than_another(pattern: str) -> None:
    assert not Expression(pattern).matches("a" * (NAME_LENGTH_MAX - 1) + "!")


def test_the_empty_pattern_matches_nothing_but_the_empty_name() -> None:
    assert Expression("").matches("")
    assert not Expression("").matches("a")


def test_names_are_bounded_unless_everything_is_allowed() -> None:
    assert Expression("^a").matches("a" * NAME_LENGTH_MAX)
    assert not Expression("^a").matches("a" * (NAME_LENGTH_MAX + 1))
    assert Expression(".*").matches("a" * (NAME_LENGTH_MAX + 1))


def test_what_only_erlang_writes_is_understood() -> None:
    assert Expression(r"^[[:alpha:]]+\z").matches(string.ascii_letters)
    assert not Expression(r"^[[:alpha:]]+\z").matches("a1")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "no regular expression"),
        ("*", "no regular expression"),
        (r"(a)\1", "not offered: back reference"),
        (r"(a)?(?(1)b|c)", "not offered: condition"),
        ("*.orders", "nothing to repeat at position 0; `[.][*]` stands for anything"),
        ("(?>a)", "not offered: atomic group"),
        ("a*+", "not offered: possessive repeat"),
        ("[[:nonsense:]]", "unknown class"),
        ("((a{99}){99}){99}", "too large"),
        ("(?=(?=a))", "look around inside"),
        ("a" * 5000, "5000 characters"),
        ("(" * 2000 + ")" * 2000, "nested|regular expression"),
    ],
)
def test_what_cannot_be_matched_in_linear_time_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(PatternInvalid, match=reason):
        Expression(pattern)
