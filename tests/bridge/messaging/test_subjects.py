"""The two shapes of a topic name, there and back, and what one shows of the other."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.messaging.matcher import matches
from bridge.messaging.subjects import (
    dotted_from_subject,
    levels_of,
    literal_from_pattern,
    literal_level,
    pattern_from_dotted,
    pattern_from_slashed,
    slashed_from_subject,
    subject_from_dotted,
    subject_from_slashed,
)

ODD = st.text(
    st.sampled_from(
        [
            "a",
            "%",
            "2",
            "5",
            "e",
            "E",
            "F",
            "B",
            "0",
            "1",
            "3",
            ".",
            "/",
            "\x01",
            "\ufffe",
            "*",
            "A",
        ]
    )
)
TOPICS = st.one_of(st.text(), ODD)
LEGAL = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


@pytest.mark.parametrize(
    ("topic", "subject"),
    [
        ("a/b", "a.b"),
        ("a", "a"),
        ("/a/", ".a."),
        ("plant.1/50%", "plant%2E1.50%25"),
        ("a%2Fb/c", "a/b.c"),
        ("a%2Eb", "a%252Eb"),
        ("a\x01b", "a%01b"),
        ("a%01b", "a%2501b"),
        ("a%00b", "a%00b"),
        ("*", "*"),
        ("%e", "%e"),
        ("\u00e9/\U0001f600", "\u00e9.\U0001f600"),
    ],
)
def test_slashed_topics_there_and_back(topic: str, subject: str) -> None:
    assert subject_from_slashed(topic) == subject
    assert slashed_from_subject(subject) == topic


@pytest.mark.parametrize(
    ("key", "subject"),
    [
        ("a.b", "a.b"),
        ("", "%e"),
        ("%e", "%25e"),
        ("%25e", "%2525e"),
        ("a..b", "a..b"),
        ("50%", "50%"),
        ("a/b.c", "a/b.c"),
        ("a%2Eb", "a%2Eb"),
        ("a\x01b", "a%01b"),
        ("a%01b", "a%2501b"),
        ("a\uffffb", "a%EF%BF%BFb"),
        ("a\udc80b", "a%ED%B2%80b"),
    ],
)
def test_dotted_keys_there_and_back(key: str, subject: str) -> None:
    assert subject_from_dotted(key) == subject
    assert dotted_from_subject(subject) == key


@pytest.mark.parametrize(
    ("key", "topic"),
    [("a/b.c", "a%2Fb/c"), ("a+.#", "a%2B/%23"), ("\x00", "%00"), ("", "%e"), ("50%", "50%")],
)
def test_what_a_slashed_client_sees_of_a_dotted_key(key: str, topic: str) -> None:
    assert slashed_from_subject(subject_from_dotted(key)) == topic


@pytest.mark.parametrize(("topic", "key"), [("plant.1/x", "plant%2E1.x"), ("a%b", "a%25b")])
def test_what_a_dotted_client_sees_of_a_slashed_topic(topic: str, key: str) -> None:
    assert dotted_from_subject(subject_from_slashed(topic)) == key
    assert slashed_from_subject(subject_from_dotted(key)) == topic


@given(TOPICS)
def test_every_dotted_key_comes_back(key: str) -> None:
    subject = subject_from_dotted(key)
    assert dotted_from_subject(subject) == key
    assert LEGAL.fullmatch(subject)
    assert len(levels_of(subject)) == (len(key.split(".")) if key else 0)


@given(TOPICS)
def test_every_slashed_topic_comes_back(topic: str) -> None:
    topic = re.sub("[+#\x00]", "", topic)
    if not topic:
        return
    subject = subject_from_slashed(topic)
    assert slashed_from_subject(subject) == topic
    assert LEGAL.fullmatch(subject)


@given(TOPICS)
def test_what_a_slashed_client_is_shown_it_can_subscribe_to(key: str) -> None:
    # A "%" that a dotted client wrote itself is shown as it is, and so means another subject.
    key = key.replace("%", "")
    subject = subject_from_dotted(key)
    assert matches(pattern_from_slashed(slashed_from_subject(subject)), subject)


@given(TOPICS)
def test_a_topic_as_a_filter_covers_itself_only(topic: str) -> None:
    topic = re.sub("[+#\x00]", "", topic) or "x"
    pattern = pattern_from_slashed(topic)
    assert matches(pattern, subject_from_slashed(topic))
    assert not matches(pattern, subject_from_slashed(topic + "x"))


@given(TOPICS)
def test_literal_levels_come_back(level: str) -> None:
    assert literal_level(level) not in ("*", "#")
    assert literal_from_pattern(literal_level(level)) == level


@pytest.mark.parametrize(
    ("topic_filter", "pattern"),
    [
        ("a/+/#", "a.*.#"),
        ("#", "#"),
        ("*/a.b", "%2A.a%2Eb"),
        ("+", "*"),
        ("a%2Fb", "a/b"),
        ("/", "."),
        ("%e", "%e"),
    ],
)
def test_slashed_filters(topic_filter: str, pattern: str) -> None:
    assert pattern_from_slashed(topic_filter) == pattern


@pytest.mark.parametrize(
    ("key", "pattern"), [("a.*.#", "a.*.#"), ("", "%e"), ("%2A.*", "%252A.*"), ("a%2Eb", "a%2Eb")]
)
def test_dotted_patterns(key: str, pattern: str) -> None:
    assert pattern_from_dotted(key) == pattern
