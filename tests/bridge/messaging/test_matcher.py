"""The level matcher against a naive one, at its bounds, and its work counted in lines of code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.messaging.errors import InvalidAddress
from bridge.messaging.matcher import LEVELS_MAX, PatternIndex, matches

LEVELS = st.sampled_from(["a", "b", "", "%2A", "%25", "$x"])
PATTERNS = st.lists(st.one_of(LEVELS, st.sampled_from(["*", "#"])), min_size=1, max_size=7).map(
    ".".join
)
SUBJECTS = st.lists(st.one_of(LEVELS, st.just("*")), max_size=7).map(
    lambda it: ".".join(it) or "%e"
)


def naive(pattern: list[str], levels: list[str]) -> bool:
    if not pattern:
        return not levels
    if pattern[0] == "#":
        return any(naive(pattern[1:], levels[count:]) for count in range(len(levels) + 1))
    if not levels:
        return False
    literal = {"%2A": "*", "%23": "#"}.get(pattern[0], pattern[0])
    return (pattern[0] == "*" or literal == levels[0]) and naive(pattern[1:], levels[1:])


def covers(pattern: str, subject: str) -> bool:
    return naive(
        pattern.split(".") if pattern else [], [] if subject == "%e" else subject.split(".")
    )


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.*", "a.", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.#", "ab", False),
        ("#", "%e", True),
        ("*", "%e", False),
        ("", "%e", True),
        ("%e", "%e", True),
        ("#.a", "a", True),
        ("#.a.#", "b.a.c.d", True),
        ("a.#.z", "a.z", True),
        ("a.#.z", "a.z.y", False),
        ("#.*", "%e", False),
        ("*.#.*", "a", False),
        ("*.#.*", "a.b", True),
        ("%2A", "*", True),
        ("%2A", "a", False),
        ("*", "*", True),
        ("a#", "a#", True),
        ("a#", "ab", False),
    ],
)
def test_patterns(pattern: str, subject: str, expected: bool) -> None:
    assert matches(pattern, subject) is expected
    index: PatternIndex[int] = PatternIndex()
    index.add(pattern, 1)
    assert index.find(subject) == ({1} if expected else set())


@given(PATTERNS, SUBJECTS)
def test_one_pattern_as_the_naive_matcher_says(pattern: str, subject: str) -> None:
    assert matches(pattern, subject) is covers(pattern, subject)


@given(
    st.lists(st.tuples(PATTERNS, st.integers(0, 3)), max_size=12),
    st.lists(SUBJECTS, max_size=4),
    st.data(),
)
def test_many_patterns_as_the_naive_matcher_says(
    pairs: list[tuple[str, int]], subjects: list[str], data: st.DataObject
) -> None:
    index: PatternIndex[int] = PatternIndex()
    for pattern, value in pairs:
        index.add(pattern, value)
    assert len(index) == len(list(index.patterns()))
    for subject in subjects:
        assert index.find(subject) == {
            value for pattern, value in pairs if covers(pattern, subject)
        }
        assert index.find(subject, leading_wildcards=False) == {
            value
            for pattern, value in pairs
            if covers(pattern, subject) and pattern[:1] not in ("*", "#")
        } | {value for pattern, value in pairs if covers(pattern, subject) and pattern[:3] == "%2A"}
    normal = set(index.patterns())
    for pair in data.draw(st.permutations(sorted(normal))):
        index.remove(*pair)
        normal.discard(pair)
        assert set(index.patterns()) == normal
    assert len(index) == 0
    assert index._root.bare
    assert not index._exact


def test_a_pair_counts_once_and_values_are_distinct() -> None:
    index: PatternIndex[str] = PatternIndex()
    for pattern in ("a.*", "a.*", "a.b", "#", "#.#", "*.#", "#.*"):
        index.add(pattern, "q")
    assert index.find("a.b") == {"q"}
    assert sorted(index.patterns()) == [("#", "q"), ("*.#", "q"), ("a.*", "q"), ("a.b", "q")]
    assert len(index) == 4


@pytest.mark.parametrize("pattern", ["a", "a.*", "#", "b.*.c"])
def test_removing_what_is_not_there(pattern: str) -> None:
    index: PatternIndex[int] = PatternIndex()
    index.add("a", 1)
    index.add("a.*", 1)
    with pytest.raises(KeyError):
        index.remove(pattern, 2)
    assert len(index) == 2
    assert index.find("a.b") == {1}


@pytest.mark.parametrize("pattern", ["a.b", "a.*"])
def test_many_values_of_one_pattern(pattern: str) -> None:
    index: PatternIndex[int] = PatternIndex()
    for value in range(100):
        index.add(pattern, value)
    assert index.find("a.b") == set(range(100))
    for value in range(99):
        index.remove(pattern, value)
    assert index.find("a.b") == {99}
    index.remove(pattern, 99)
    assert index.find("a.b") == set()


def test_the_found_set_is_the_callers_own() -> None:
    index: PatternIndex[int] = PatternIndex()
    for value in range(20):
        index.add("a.#", value)
    index.find("a").clear()
    assert len(index.find("a")) == 20


def test_leading_wildcards_can_be_left_out() -> None:
    index: PatternIndex[str] = PatternIndex()
    for pattern in ("#", "*.a", "$x.#", "$x.a", "$x.*"):
        index.add(pattern, pattern)
    assert index.find("$x.a", leading_wildcards=False) == {"$x.#", "$x.a", "$x.*"}
    assert index.find("$x", leading_wildcards=False) == {"$x.#"}
    assert index.find("$x.a") == {"#", "*.a", "$x.#", "$x.a", "$x.*"}
    assert index.find("%e", leading_wildcards=False) == set()


def test_the_bound_on_levels() -> None:
    index: PatternIndex[int] = PatternIndex()
    index.add(".".join(["*"] * LEVELS_MAX), 1)
    with pytest.raises(InvalidAddress, match="257 levels, 256 are allowed"):
        index.add(".".join(["*"] * (LEVELS_MAX + 1)), 1)
    assert index.find(".".join(["x"] * LEVELS_MAX)) == {1}
    assert index.find(".".join(["x"] * 10_000)) == set()


def lines_run(call: Callable[[], Any]) -> int:
    """How many lines of the matcher `call` executes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        nonlocal count
        # The garbage collector may call other code in between.
        if not frame.f_code.co_filename.endswith("messaging/matcher.py"):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


HOSTILE = [
    "#.#.#.#.#.#.#.#.a",
    "#.a.#.a.#.a.#.a.#.a.#.b",
    "#.*.#.*.#.*.#.*.#.b",
    "*.#.*.a.#.*.a.#.a.#.*.b",
]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_hostile_patterns_cost_no_more_than_their_length_at_each_level(pattern: str) -> None:
    index: PatternIndex[int] = PatternIndex()
    index.add(pattern, 1)
    subject = ".".join(["a"] * 60)
    nodes = len(pattern.split(".")) + 1
    assert lines_run(lambda: index.find(subject)) < 20 * 60 * nodes
    assert lines_run(lambda: matches(pattern, subject)) < 10 * 60 * nodes


def test_the_work_grows_in_line_with_the_levels() -> None:
    index: PatternIndex[int] = PatternIndex()
    for number, pattern in enumerate(HOSTILE):
        index.add(pattern, number)
    short = lines_run(lambda: index.find(".".join(["a"] * 50)))
    long = lines_run(lambda: index.find(".".join(["a"] * 100)))
    assert long < 2.2 * short


def test_patterns_that_do_not_concern_a_subject_cost_it_nothing() -> None:
    few: PatternIndex[int] = PatternIndex()
    many: PatternIndex[int] = PatternIndex()
    few.add("plant.*.meter", 1)
    many.add("plant.*.meter", 1)
    for number in range(2_000):
        many.add(f"site{number}.*.#", number)
    assert lines_run(lambda: few.find("plant.7.meter")) == lines_run(
        lambda: many.find("plant.7.meter")
    )
