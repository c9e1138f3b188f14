"""The form of names in SQS and SNS: frozen vectors, and that no two names share a form."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.messaging.model import DEFAULT_NAMESPACE, QueueName, TopicName
from bridge.messaging.names import (
    CLOUD_NAMESPACE,
    NAME_TAGS_MAX,
    is_legal_queue_name,
    is_legal_topic_name,
    looks_encoded,
    original_from_tags,
    queue_from_sqs_name,
    sns_name,
    sqs_name,
    tags_of_original,
    topic_from_sns_name,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "names.json").read_text()
)
NAMESPACES = st.sampled_from([DEFAULT_NAMESPACE, CLOUD_NAMESPACE, "sales", "a:b"])
NAMES = st.one_of(
    st.text(max_size=300),
    st.text("ab-_.", max_size=90),
    st.from_regex(r"[a-z-]{0,3}--[a-z2-7]{9,11}(\.fifo)?", fullmatch=True),
)


@pytest.mark.parametrize(("namespace", "name", "fifo", "form"), VECTORS["queues"])
def test_queue_vectors(namespace: str, name: str, fifo: bool, form: str) -> None:
    assert sqs_name(QueueName(namespace, name), fifo=fifo) == form
    assert is_legal_queue_name(form, fifo=fifo)


@pytest.mark.parametrize(("namespace", "name", "fifo", "form"), VECTORS["topics"])
def test_topic_vectors(namespace: str, name: str, fifo: bool, form: str) -> None:
    assert sns_name(TopicName(namespace, name), fifo=fifo) == form
    assert is_legal_topic_name(form, fifo=fifo)


@pytest.mark.parametrize(
    ("prefix", "namespace", "name", "fifo", "form"), VECTORS["queues_with_prefix"]
)
def test_queue_vectors_with_prefix(
    prefix: str, namespace: str, name: str, fifo: bool, form: str
) -> None:
    assert sqs_name(QueueName(namespace, name), fifo=fifo, prefix=prefix) == form
    assert is_legal_queue_name(form, fifo=fifo)


@given(NAMESPACES, NAMES, st.booleans())
def test_every_name_has_a_legal_form(namespace: str, name: str, fifo: bool) -> None:
    assert is_legal_queue_name(sqs_name(QueueName(namespace, name), fifo=fifo), fifo=fifo)
    assert is_legal_topic_name(sns_name(TopicName(namespace, name), fifo=fifo), fifo=fifo)


@given(NAMESPACES, NAMES, NAMESPACES, NAMES, st.booleans(), st.booleans())
def test_no_two_names_share_a_form(
    namespace: str, name: str, other_namespace: str, other: str, fifo: bool, other_fifo: bool
) -> None:
    if (namespace, name) == (other_namespace, other):
        return
    assert sqs_name(QueueName(namespace, name), fifo=fifo) != sqs_name(
        QueueName(other_namespace, other), fifo=other_fifo
    )
    assert sns_name(TopicName(namespace, name), fifo=fifo) != sns_name(
        TopicName(other_namespace, other), fifo=other_fifo
    )


@given(NAMESPACES, NAMES, NAMESPACES, st.booleans())
def test_a_form_as_a_name_has_another_form(
    namespace: str, name: str, other_namespace: str, fifo: bool
) -> None:
    # Somebody names a queue as another one's form is spelled.
    queue = QueueName(namespace, name)
    form = sqs_name(queue, fifo=fifo)
    thief = QueueName(other_namespace, form)
    if thief != queue and other_namespace != CLOUD_NAMESPACE:
        assert sqs_name(thief, fifo=fifo) != form


@given(st.from_regex(r"[A-Za-z0-9_-]{1,75}", fullmatch=True), st.booleans())
def test_names_from_the_cloud_stay_as_they_are(name: str, fifo: bool) -> None:
    if fifo:
        name += ".fifo"
    assert sqs_name(queue_from_sqs_name(name), fifo=fifo) == name
    assert sns_name(topic_from_sns_name(name), fifo=fifo) == name


def test_the_cloud_finds_the_fixed_topics() -> None:
    assert topic_from_sns_name("amq-topic") == TopicName("/", "amq.topic")
    assert topic_from_sns_name("orders") == TopicName("/", "orders")
    assert queue_from_sqs_name("amq-topic") == QueueName("/", "amq-topic")


@pytest.mark.parametrize(
    ("name", "fifo", "legal"),
    [
        ("a" * 80, False, True),
        ("a" * 81, False, False),
        ("", False, False),
        ("a.b", False, False),
        ("a.fifo", False, False),
        ("a.fifo", True, True),
        ("a" * 75 + ".fifo", True, True),
        ("a" * 76 + ".fifo", True, False),
        (".fifo", True, False),
        ("a", True, False),
        ("a\n", False, False),
        ("\u00e4", False, False),
    ],
)
def test_legal_queue_names(name: str, fifo: bool, legal: bool) -> None:
    assert is_legal_queue_name(name, fifo=fifo) is legal


def test_legal_topic_names_are_longer() -> None:
    assert is_legal_topic_name("a" * 256, fifo=False)
    assert not is_legal_topic_name("a" * 257, fifo=False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x--abcdefgh27", True),
        ("--abcdefghij", True),
        ("x--abcdefghij.fifo", True),
        ("x--abcdefghi1", False),
        ("x--abcdefghijk", False),
        ("x-abcdefghij", False),
    ],
)
def test_what_looks_encoded(name: str, expected: bool) -> None:
    assert looks_encoded(name) is expected


@given(NAMESPACES, NAMES)
def test_originals_come_back_from_tags(namespace: str, name: str) -> None:
    tags = tags_of_original(QueueName(namespace, name))
    assert original_from_tags(tags) == (namespace, name)
    for key, value in tags.items():
        assert len(key) <= 128
        assert re.fullmatch(r"[A-Za-z0-9_=-]{0,256}", value)


def test_an_original_that_tags_cannot_hold() -> None:
    room = NAME_TAGS_MAX * 192
    fits = QueueName("/", "n" * room)
    assert original_from_tags(tags_of_original(fits)) == fits
    assert tags_of_original(QueueName("/", "n" * (room + 1))) == {}


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"owner": "me"},
        {"landbridge-name": "????"},
        {"landbridge-namespace": "Lw==", "landbridge-name": "_w=="},
    ],
)
def test_tags_without_an_original(tags: dict[str, str]) -> None:
    assert original_from_tags(tags) is None
