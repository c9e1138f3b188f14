"""What SQS takes in a message, at the bounds, and what it weighs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.messaging.attributes import (
    Attribute,
    base_type,
    first_illegal_name_character,
    is_legal_name,
    is_legal_number,
    is_legal_text,
    is_reserved_name,
    legal_text_of,
    message_size,
)

ILLEGAL = [chr(code) for code in range(32) if code not in (9, 10, 13)] + [
    "\ud800",
    "\udfff",
    "\ufffe",
    "\uffff",
]
EDGES = [
    "\t",
    "\n",
    "\r",
    " ",
    "\x7f",
    "\x85",
    "\ud7ff",
    "\ue000",
    "\ufffd",
    "\U00010000",
    "\U0010ffff",
]


@pytest.mark.parametrize("character", ILLEGAL)
def test_illegal_characters(character: str) -> None:
    assert not is_legal_text(f"a{character}b")
    assert legal_text_of(f"a{character}b".encode("utf-8", "surrogatepass")) is None


@pytest.mark.parametrize("character", EDGES)
def test_legal_characters(character: str) -> None:
    assert is_legal_text(character)
    assert legal_text_of(character.encode()) == character


@given(st.text())
def test_bodies_and_texts_are_judged_alike(text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    assert legal_text_of(body) == (text if is_legal_text(text) else None)


@given(st.binary())
def test_any_body_is_text_or_not(body: bytes) -> None:
    text = legal_text_of(body)
    assert text is None or (is_legal_text(text) and text.encode() == body)


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("a", True),
        ("a.b-c_D9", True),
        ("a" * 256, True),
        ("a" * 257, False),
        ("", False),
        (".a", False),
        ("a.", False),
        ("a..b", False),
        ("a b", False),
        ("a\n", False),
        ("\u00e4", True),
        ("AWS.x", False),
        ("aws.x", False),
        ("Amazon.x", False),
        ("awsx", True),
        ("amazon", True),
    ],
)
def test_names(name: str, legal: bool) -> None:
    assert is_legal_name(name) is legal


def test_what_is_wrong_with_a_name() -> None:
    assert first_illegal_name_character("a^b") == "^"
    assert first_illegal_name_character("a.b") is None
    assert is_reserved_name("aMaZoN.x")
    assert not is_reserved_name("x.amazon.")


@pytest.mark.parametrize(
    ("data_type", "expected"),
    [
        ("String", "String"),
        ("Number.int", "Number"),
        ("Binary.gif", "Binary"),
        ("String.", "String"),
        ("string", None),
        ("Stringx", None),
        ("", None),
        (".String", None),
    ],
)
def test_types(data_type: str, expected: str | None) -> None:
    assert base_type(data_type) == expected


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ("0", True),
        ("-1.50", True),
        ("+1", True),
        ("1e126", True),
        ("1e127", False),
        ("1E-128", True),
        ("1E-129", False),
        ("9" * 38, True),
        ("9" * 39, False),
        ("1" + "0" * 60, True),
        ("0.000", True),
        (".5", True),
        ("5.", True),
        ("", False),
        ("a", False),
        ("NaN", False),
        ("Infinity", False),
        ("1_0", False),
        ("1e99999", False),
        (" 1", False),
        ("\u0661", False),
    ],
)
def test_numbers(text: str, legal: bool) -> None:
    assert is_legal_number(text) is legal


def test_sizes_to_the_byte() -> None:
    assert message_size("abc", {}) == 3
    assert message_size("\u00e4\U0001f600", {}) == 6
    assert message_size("", {"n\u00e4": Attribute("String", "\u00e4")}) == 3 + 6 + 2
    assert message_size("x", {"n": Attribute("Binary", None, b"\x00\x01")}) == 1 + 1 + 6 + 2
