"""Typed values as attributes and as JSON, and back."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.messaging.attributes import Attribute, is_legal_text
from bridge.messaging.model import Value
from bridge.messaging.values import (
    DEPTH_MAX,
    attribute_from_value,
    is_canonical,
    json_from_value,
    same_value,
    value_from_attribute,
    value_from_json,
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(),
    st.text(),
    st.text(st.characters()),
    st.binary(),
    st.decimals(),
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(minutes=-210))])),
)
KEYS = st.one_of(st.text(), st.sampled_from(["$bytes", "$", "$object", ""]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)


def nested(depth: int) -> Any:
    value: Any = {"a": None}
    for _ in range(depth - 1):
        value = [value]
    return value


def same(one: Any, other: Any) -> bool:
    """Equal with equal types, NaN being equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float | Decimal):
        return str(one) == str(other)
    return bool(one == other)


@given(VALUES)
def test_values_come_back_from_json(value: Value) -> None:
    text = msgspec.json.encode(json_from_value(value)).decode()
    assert is_legal_text(text)
    assert same(value_from_json(msgspec.json.decode(text)), value)
    assert same(value_from_json(json.loads(text)), value)


@given(VALUES)
def test_values_come_back_from_attributes(value: Value) -> None:
    attribute = attribute_from_value(value)
    if attribute is not None:
        assert same(value_from_attribute(attribute), value)
        assert is_canonical(attribute, value)
        held = attribute.string_value or attribute.binary_value
        assert held
        assert isinstance(held, bytes) or is_legal_text(held)


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        ("x", Attribute("String", "x")),
        (5, Attribute("Number", "5")),
        (-1.5, Attribute("Number", "-1.5")),
        (1.0, Attribute("Number", "1.0")),
        (True, Attribute("String.Boolean", "true")),
        (b"\x00", Attribute("Binary", None, b"\x00")),
        (Decimal("1.10"), Attribute("Number.Decimal", "1.10")),
        (
            datetime(2026, 1, 2, tzinfo=UTC),
            Attribute("String.Timestamp", "2026-01-02T00:00:00+00:00"),
        ),
        (["a", 1, None], Attribute("String.Array", '["a", 1, null]')),
        ("", None),
        (b"", None),
        ("a\x01", None),
        (None, None),
        ({}, None),
        ([[]], None),
        ([b"x"], None),
        ([math.nan], None),
        (math.inf, None),
        (5e-324, None),
        (10**38, None),
        (Decimal("NaN"), None),
    ],
)
def test_what_attributes_hold(value: Value, attribute: Attribute | None) -> None:
    assert attribute_from_value(value) == attribute


@pytest.mark.parametrize(
    ("data_type", "text", "value"),
    [
        ("Number", "12", 12),
        ("Number", "012", Decimal(12)),
        ("Number", "1.10", Decimal("1.10")),
        ("Number", "1E5", Decimal("1E5")),
        ("Number", "-0", Decimal("-0")),
        ("Number", "x", "x"),
        ("Number.int", "7", 7),
        ("Number.Boolean", "1", True),
        ("Number.Boolean", "2", "2"),
        ("String.Boolean", "yes", "yes"),
        ("String.Array", "[1", "[1"),
        ("String.Array", '{"a": 1}', '{"a": 1}'),
        ("String.Array", '[{"a": 1}]', '[{"a": 1}]'),
        ("String.Array", "[" * 100_000, "[" * 100_000),
        ("String.Timestamp", "soon", "soon"),
        ("String.custom", "x", "x"),
    ],
)
def test_what_cloud_code_may_send(data_type: str, text: str, value: Value) -> None:
    assert same(value_from_attribute(Attribute(data_type, text)), value)


@pytest.mark.parametrize(
    "held",
    [
        {"$bytes": 5},
        {"$bytes": "!"},
        {"$text": "/w=="},
        {"$decimal": "x"},
        {"$time": "soon"},
        {"$float": "x"},
        {"$int": "x"},
        {"$object": "x"},
        {"$object": [1]},
        {"$object": [[1, 2]]},
        {"$other": "x"},
        nested(DEPTH_MAX + 1),
    ],
)
def test_spoilt_json(held: object) -> None:
    with pytest.raises(ValueError):
        value_from_json(held)


def test_the_bound_on_depth() -> None:
    deep = nested(DEPTH_MAX)
    assert json_from_value(value_from_json(deep)) == deep


def test_equal_values_of_other_types_are_not_the_same() -> None:
    assert same_value([1, "a"], [1, "a"])
    assert not same_value(1, True)
    assert not same_value([1], [True])
    assert not same_value(1, 1.0)
