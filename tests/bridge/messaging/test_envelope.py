"""Messages in SQS's form: nothing is lost either way, and what can look natural does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.messaging import properties as standard
from bridge.messaging.attributes import Attribute, is_legal_name, is_legal_text
from bridge.messaging.envelope import (
    BODY_ATTRIBUTE,
    PROPERTIES_ATTRIBUTE,
    SUBJECT_ATTRIBUTE,
    attributes_for_filter,
    attributes_from_message,
    message_from_attributes,
)
from bridge.messaging.model import TOPIC_TREE, Message
from tests.bridge.messaging.test_values import VALUES, same

TEXTS = st.one_of(st.text(), st.sampled_from(["", "a\x00", "-", "amq.topic", "a.b"]))
HEADER_NAMES = st.one_of(
    st.text(max_size=8),
    st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True),
    st.sampled_from(
        [
            *sorted(standard.STANDARD),
            "AWS.x",
            "Amazon.y",
            "landbridge-body",
            "landbridge-subject",
            "landbridge-properties",
            "$bytes",
            "n" * 257,
        ]
    ),
)
PROPERTIES: dict[str, st.SearchStrategy[Any]] = {
    name: st.text(max_size=5) for name in sorted(standard.STANDARD)
}
PROPERTIES[standard.CORRELATION_ID] = st.one_of(st.text(max_size=5), st.binary(max_size=5))
PROPERTIES[standard.TIMESTAMP] = st.integers(-(2**63), 2**64)
PROPERTIES[standard.PERSISTENT] = PROPERTIES[standard.PAYLOAD_IS_TEXT] = st.booleans()

MESSAGES = st.builds(
    Message,
    message_id=st.just("id"),
    body=st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode), st.just(b"-")),
    sent_at=st.just(5),
    properties=st.fixed_dictionaries({}, optional=PROPERTIES),
    headers=st.dictionaries(HEADER_NAMES, VALUES, max_size=14),
    topic=st.one_of(st.none(), TEXTS),
    subject=st.one_of(st.none(), TEXTS),
    priority=st.one_of(st.none(), st.integers(0, 255)),
    expires_at=st.one_of(st.none(), st.integers(0, 2**62)),
    original=st.one_of(st.none(), st.tuples(st.sampled_from(["amqp", "mqtt"]), st.binary())),
)
CARRIED = ("body", "topic", "subject", "priority", "expires_at", "original")

USER_NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,9}(\.[a-z]{1,3})?", fullmatch=True).filter(
    is_legal_name
)
LEGAL = st.text(min_size=1, max_size=12).filter(is_legal_text)
USER_ATTRIBUTES = st.one_of(
    st.builds(Attribute, st.sampled_from(["String", "String.x", "String.Array"]), LEGAL),
    st.builds(
        Attribute,
        st.sampled_from(["Number", "Number.int", "Number.Decimal", "Number.Boolean"]),
        st.sampled_from(["0", "1", "1.0", "1.10", "-0", "007", "1E5", "+3", "9" * 38, "0.1"]),
    ),
    st.builds(
        Attribute,
        st.sampled_from(["String.Array", "String.Boolean", "String.Timestamp"]),
        st.sampled_from(['["a",1]', '["a", 1]', "[]", "true", "no", "2026-01-02", "[[1]]"]),
    ),
    st.builds(
        Attribute,
        st.sampled_from(["Binary", "Binary.gif"]),
        st.none(),
        st.binary(min_size=1, max_size=9),
    ),
)


def sent(body: bytes, **fields: Any) -> Message:
    return Message("id", body, 5, **fields)


def received(message: Message) -> Message:
    body, attributes = attributes_from_message(message)
    return message_from_attributes(body, attributes, message_id="id", sent_at=5)


@given(MESSAGES)
def test_nothing_is_lost_in_sqs(message: Message) -> None:
    body, attributes = attributes_from_message(message)
    assert body
    assert is_legal_text(body)
    assert len(attributes) <= 10
    for name, attribute in attributes.items():
        assert is_legal_name(name)
        assert attribute.string_value or attribute.binary_value
        assert attribute.string_value is None or is_legal_text(attribute.string_value)
    back = message_from_attributes(body, attributes, message_id="id", sent_at=5)
    for field in CARRIED:
        assert same(getattr(back, field), getattr(message, field)), field
    assert same(back.headers, message.headers)
    assert same(back.properties, message.properties)


@given(LEGAL, st.dictionaries(USER_NAMES, USER_ATTRIBUTES, max_size=10))
def test_what_cloud_code_sent_it_receives(body: str, attributes: dict[str, Attribute]) -> None:
    message = message_from_attributes(body, attributes, message_id="id", sent_at=5)
    assert attributes_from_message(message) == (body, attributes)


@given(
    st.sampled_from(["aGVsbG8=", "/w==", "-", "hello", "aGVsbG8"]),
    st.dictionaries(
        st.sampled_from([BODY_ATTRIBUTE, SUBJECT_ATTRIBUTE, PROPERTIES_ATTRIBUTE, "timestamp"]),
        st.builds(
            Attribute,
            st.sampled_from(["String", "String.x"]),
            st.sampled_from(["base64", "empty", "a.b", "{", "[]", '{"priority":true}']),
        ),
    ),
)
def test_cloud_code_may_use_our_names_for_what_it_likes(
    body: str, attributes: dict[str, Attribute]
) -> None:
    message = message_from_attributes(body, attributes, message_id="id", sent_at=5)
    assert attributes_from_message(message) == (body, attributes)


def test_a_plain_message_has_no_attributes() -> None:
    assert attributes_from_message(sent("h\u00e4llo\n".encode())) == ("h\u00e4llo\n", {})


def test_simple_headers_and_properties_are_natural_attributes() -> None:
    message = sent(
        b"{}",
        headers={"site": "berlin", "line": 7, "load": 0.5, "raw": b"\x00", "live": True},
        properties={standard.CONTENT_TYPE: "application/json", standard.TIMESTAMP: 1_767_312_000},
    )
    body, attributes = attributes_from_message(message)
    assert body == "{}"
    assert attributes == {
        "content-type": Attribute("String", "application/json"),
        "timestamp": Attribute("Number", "1767312000"),
        "site": Attribute("String", "berlin"),
        "line": Attribute("Number", "7"),
        "load": Attribute("Number", "0.5"),
        "raw": Attribute("Binary", None, b"\x00"),
        "live": Attribute("String.Boolean", "true"),
    }


def test_a_subject_of_the_topic_tree_is_one_attribute() -> None:
    message = sent(b"x", topic=TOPIC_TREE, subject="a.b")
    assert attributes_from_message(message)[1] == {SUBJECT_ATTRIBUTE: Attribute("String", "a.b")}
    _, attributes = attributes_from_message(sent(b"x", topic="logs", subject="a.b"))
    assert attributes[SUBJECT_ATTRIBUTE] == Attribute("String", "a.b")
    assert json.loads(attributes[PROPERTIES_ATTRIBUTE].string_value or "") == {"topic": "logs"}


@pytest.mark.parametrize(
    ("body", "text", "flag"),
    [
        (b"", "-", "empty"),
        (b"\xff", "/w==", "base64"),
        (b"a\x00", "YQA=", "base64"),
        (b"-", "-", None),
        (b"empty", "empty", None),
    ],
)
def test_bodies(body: bytes, text: str, flag: str | None) -> None:
    written, attributes = attributes_from_message(sent(body))
    assert written == text
    assert attributes == ({BODY_ATTRIBUTE: Attribute("String", flag)} if flag else {})
    assert received(sent(body)).body == body


@pytest.mark.parametrize("count", [9, 10, 11, 40])
def test_ten_headers_fit_and_the_eleventh_is_packed_with_the_tenth(count: int) -> None:
    headers: dict[str, Any] = {f"h{number}": str(number) for number in range(count)}
    _, attributes = attributes_from_message(sent(b"x", headers=headers))
    assert len(attributes) == min(count, 10)
    assert (PROPERTIES_ATTRIBUTE in attributes) is (count > 10)
    assert received(sent(b"x", headers=headers)).headers == headers


def test_what_is_packed_can_be_read_without_us() -> None:
    message = sent(
        b"x",
        headers={"x-death": [{"count": 1, "queue": "q"}], "none": None},
        properties={standard.PERSISTENT: True},
        priority=4,
        expires_at=9,
        original=("amqp", b"\x00"),
    )
    _, attributes = attributes_from_message(message)
    assert json.loads(attributes[PROPERTIES_ATTRIBUTE].string_value or "") == {
        "headers": {"x-death": [{"count": 1, "queue": "q"}], "none": None},
        "properties": {"persistent": True},
        "priority": 4,
        "expires_at": 9,
        "sent_at": 5,
        "original": ["amqp", "AA=="],
    }


def test_the_time_to_expiry_stays_the_publisher_s() -> None:
    body, attributes = attributes_from_message(sent(b"x", expires_at=65))
    back = message_from_attributes(body, attributes, message_id="id", sent_at=30)
    assert (back.sent_at, back.expires_at) == (5, 65)
    body, attributes = attributes_from_message(sent(b"x"))
    assert message_from_attributes(body, attributes, message_id="id", sent_at=30).sent_at == 30


def test_what_cloud_code_adds_wins_over_what_is_packed() -> None:
    body, attributes = attributes_from_message(sent(b"x", headers={"a": None, "b": ""}))
    attributes["a"] = Attribute("String", "new")
    back = message_from_attributes(body, attributes, message_id="id", sent_at=5)
    assert back.headers == {"a": "new", "b": ""}


def test_cloud_code_can_set_standard_properties() -> None:
    attributes = {
        "reply-to": Attribute("String", "/queue/answers"),
        "correlation-id": Attribute("Binary", None, b"\x01"),
        "timestamp": Attribute("String", "yesterday"),
    }
    message = message_from_attributes("x", attributes, message_id="id", sent_at=5)
    assert message.properties == {"reply-to": "/queue/answers", "correlation-id": b"\x01"}
    assert message.headers == {"timestamp": "yesterday"}


def test_a_value_that_was_changed_on_the_way_loses_its_old_text() -> None:
    message = message_from_attributes(
        "x",
        {"n": Attribute("Number", "1.10"), "m": Attribute("Number.int", "1")},
        message_id="id",
        sent_at=5,
    )
    message.headers["m"] = 2
    _, attributes = attributes_from_message(message)
    assert attributes == {"n": Attribute("Number", "1.10"), "m": Attribute("Number", "2")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"headers":[]}',
        '{"subject":5}',
        '{"priority":"x"}',
        '{"original":["amqp"]}',
        '{"original":["amqp","!"]}',
        '{"other":1}',
        '{"headers":{"a":{"$bytes":5}}}',
        '{"headers":' + '{"a":' * 50_000,
        '{"headers":{"a":' + "[" * 900 + "]" * 900 + "}}",
        '{"headers":{"a":' + "[" * 250 + "]" * 250 + "}}",
    ],
)
def test_what_only_looks_packed_is_an_attribute_like_any_other(text: str) -> None:
    attributes = {PROPERTIES_ATTRIBUTE: Attribute("String", text)}
    message = message_from_attributes("x", attributes, message_id="id", sent_at=5)
    assert attributes_from_message(message) == ("x", attributes)


def test_packed_properties_of_the_wrong_type_are_headers() -> None:
    attributes = {
        PROPERTIES_ATTRIBUTE: Attribute("String", '{"properties":{"timestamp":"x","type":"t"}}')
    }
    message = message_from_attributes("x", attributes, message_id="id", sent_at=5)
    assert message.properties == {"type": "t"}
    assert message.headers == {"timestamp": "x"}


def test_filters_see_headers_properties_and_the_subject() -> None:
    headers = {"site": "berlin"}
    assert attributes_for_filter(sent(b"x", headers=headers)) == headers
    message = sent(b"x", headers=headers, properties={"type": "t"}, subject="a.b")
    assert attributes_for_filter(message) == {
        "site": "berlin",
        "type": "t",
        "landbridge-subject": "a.b",
    }


def test_a_delay_travels_where_it_has_to() -> None:
    message = Message("id", b"x", 5, visible_at=10**13)
    assert attributes_from_message(message) == ("x", {})
    body, attributes = attributes_from_message(message, carry_delay=True)
    read = message_from_attributes(body, attributes, message_id="id", sent_at=5)
    assert read == message
