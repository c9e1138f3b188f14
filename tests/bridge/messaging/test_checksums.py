"""Sums that AWS was recorded to answer with."""

from __future__ import annotations

import hashlib

import pytest

from bridge.messaging.attributes import Attribute
from bridge.messaging.checksums import md5_of_attributes, md5_of_body

TRACE = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"


def string(value: str) -> Attribute:
    return Attribute("String", value)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"MyAttribute": string("foobar")}, "adb59cd4678ea5a855436b949cd07ab6"),
        ({"attr1": Attribute("Number", "19.12")}, "1f07082409022a373fa2a2601f82b3cb"),
        (
            {"attr2": Attribute("Number", "109.12"), "attr1": Attribute("Number", "99.12")},
            "9b720b3af309c1c4b0d395c53b08c502",
        ),
        (
            {"Hello": string("There"), "General": string("Kenobi"), "Help.Me": string("Me")},
            "4c360f3fdafd970e05fae2f149d997f5",
        ),
        (
            {"Hello": string("There"), "General": string("Kenobi")},
            "fca026605781cb4126a1e9044df24232",
        ),
        ({"attr1": Attribute("Binary", None, TRACE)}, "8cbe4db156db8a94db8b801b7addb984"),
    ],
)
def test_attributes(attributes: dict[str, Attribute], expected: str) -> None:
    assert md5_of_attributes(attributes) == expected


def test_body() -> None:
    assert md5_of_body(b"hello") == "5d41402abc4b2a76b9719d911017c592"
    assert md5_of_body("\u00e4".encode()) == hashlib.md5(b"\xc3\xa4").hexdigest()


def test_the_label_of_a_type_is_part_of_it() -> None:
    assert md5_of_attributes({"n": Attribute("Number.int", "1")}) != md5_of_attributes(
        {"n": Attribute("Number", "1")}
    )
