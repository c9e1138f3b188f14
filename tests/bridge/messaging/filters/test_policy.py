"""Which messages pass which policies, in both scopes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.messaging.filters import FilterPolicy, FilterScope
from bridge.messaging.model import Value


def attributes_pass(condition: Any, value: Value) -> bool:
    return FilterPolicy(json.dumps({"key": condition})).matches_attributes({"key": value})


def body_passes(policy: dict[str, Any], body: Any) -> bool:
    compiled = FilterPolicy(json.dumps(policy), FilterScope.MESSAGE_BODY)
    return compiled.matches_body(body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("condition", "passing", "failing"),
    [
        (["a", "b"], ["a", "b", ["x", "b"]], ["A", "", 1, None, b"a", ["x"], [], {"a": "a"}]),
        ([1], [1, 1.0, Decimal("1.00"), [2, 1]], ["1", True, 2, float("nan"), Decimal("NaN")]),
        ([0.1], [0.1, Decimal("0.1")], [0.2]),
        ([10.123456789], [10.1234567, Decimal("10.1234568")], [10.123455, 10.123459]),
        ([{"numeric": [">", 10.123456789]}], [10.123459], [10.1234569]),
        ([{"anything-but": [-0.5]}], [-0.500002, 0.5], [-0.5]),
        ([10**400, -6e9], [10**400, -6e9], [10**400 + 1, 1e308, float("inf"), -6e9 - 1]),
        ([{"numeric": [">", 5e9, "<", 1e300]}], [5.5e9, 6_000_000_000], [5e9, 4e9, -6e9, 10**400]),
        ([True], [True, [True]], [False, 1, "True"]),
        (["true"], ["true", True], [False]),
        ([None], [[None], None], ["null", 0, False]),
        ([{"prefix": "ab"}], ["ab", "abc", ["x", "abc"]], ["a", "xab", 5]),
        ([{"suffix": ".gif"}], ["a.gif", ".gif"], ["a.GIF", "gif"]),
        ([{"equals-ignore-case": "Alice"}], ["alice", "ALICE"], ["alic", 5]),
        ([{"anything-but": "a"}], ["b", 1, ["a", "b"], True], ["a", ["a"], [], b"b"]),
        ([{"anything-but": ["a", "b"]}], ["c"], ["a", "b"]),
        ([{"anything-but": [1, 2]}], [3, "1"], [1, 2.0]),
        ([{"anything-but": "true"}], [False], [True]),
        ([{"anything-but": {"prefix": "a-"}}], ["b-a", 5], ["a-b"]),
        ([{"numeric": ["=", 5]}], [5, 5.0, Decimal(5)], [5.1, "5", True]),
        ([{"numeric": [">", 0, "<=", 100]}], [1, 100, 0.5], [0, 100.1, -1]),
        ([{"numeric": ["<", 10]}], [9], [10]),
        ([{"numeric": ["<=", 10]}], [10], [11]),
        ([{"numeric": [">=", -10.5]}], [-10.5], [-11]),
        ([{"exists": True}], ["", 0, None, b"x", [], {"a": 1}], []),
        ([{"exists": False}], [], ["", 0, None]),
        ([{"cidr": "10.0.0.0/8"}], ["10.1.2.3"], ["11.0.0.1", "10", 10, "::1"]),
        ([{"cidr": "2001:db8::/32"}], ["2001:db8::1"], ["10.0.0.1"]),
        ([{"prefix": "x"}, 5, {"exists": False}], ["xy", 5], ["y", 6]),
        (["2026-01-02T03:04:05+00:00"], [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)], []),
    ],
)
def test_operators_on_attributes(
    condition: Any, passing: list[Value], failing: list[Value]
) -> None:
    assert [value for value in passing if not attributes_pass(condition, value)] == []
    assert [value for value in failing if attributes_pass(condition, value)] == []


def test_keys_are_joined_by_and_and_absent_ones_fail() -> None:
    policy = FilterPolicy('{"a":["1"],"b":[{"exists":false}]}')
    assert policy.matches_attributes({"a": "1"})
    assert not policy.matches_attributes({"a": "1", "b": "x"})
    assert not policy.matches_attributes({})
    # Recorded: null and anything-but do not match what is not there.
    assert not FilterPolicy('{"a":[null,{"anything-but":"x"}]}').matches_attributes({})


def test_an_empty_policy_passes_everything() -> None:
    assert FilterPolicy("{}").matches_attributes({})
    assert FilterPolicy("{}", FilterScope.MESSAGE_BODY).matches_body(b"{}")


def test_a_dot_in_an_attributes_name_is_a_dot() -> None:
    policy = FilterPolicy('{"a.b":["x"]}')
    assert policy.matches_attributes({"a.b": "x"})
    assert not policy.matches_attributes({"a": {"b": "x"}})


def test_alternatives() -> None:
    policy = FilterPolicy(
        '{"source":["s"],"$or":[{"a":["1"]},{"b":["2"],"$or":[{"c":["3"]},{"d":["4"]}]}]}'
    )
    assert policy.matches_attributes({"source": "s", "a": "1"})
    assert policy.matches_attributes({"source": "s", "b": "2", "d": "4"})
    assert not policy.matches_attributes({"source": "s", "b": "2"})
    assert not policy.matches_attributes({"a": "1"})


def test_matches_takes_what_its_scope_says() -> None:
    assert FilterPolicy('{"a":["1"]}').matches({"a": "1"}, b"")
    body = FilterPolicy('{"a":["1"]}', FilterScope.MESSAGE_BODY)
    assert body.matches({}, b'{"a":"1"}')
    assert not body.matches({"a": "1"}, b"{}")


NESTED = {
    "object": {"key": [{"prefix": "auto-"}, "hardcodedvalue"], "nested_key": [{"exists": False}]},
    "test": [{"exists": False}],
}
S3 = {
    "Records": {
        "s3": {"object": {"key": [{"prefix": "auto-"}]}},
        "eventName": [{"prefix": "ObjectCreated:"}],
    }
}
CREATED = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": "auto-1.xml", "size": 17}}}
REMOVED = {"eventName": "ObjectRemoved:Delete", "s3": {"object": {"key": "home-1.xml"}}}


@pytest.mark.parametrize(
    ("policy", "passing", "failing"),
    [
        (
            NESTED,
            [{"object": {"key": "auto-test"}}, {"object": {"key": "hardcodedvalue"}}],
            [
                {"object": {"key": "test-auto"}},
                {"object": {"key": "auto-test"}, "test": "just-exists"},
                {"object": {"key": "auto-test", "nested_key": "just-exists"}},
                {"object": {"test": "auto-test"}},
                {"test": "auto-test"},
                b"Regular string message",
                b'"Regular string message"',
                b"\xff{}",
                b"[" * 100_000,
                b"",
            ],
        ),
        (
            {"object.nested.test": ["v"]},
            [
                {"object": {"nested": {"test": "v"}}},
                {"object.nested.test": "v"},
                {"object.nested": {"test": "v"}},
                {"object": {"nested.test": "v"}},
            ],
            [{"object": {"nested": {"test": "w"}}}],
        ),
        (
            {"headers": {"route-to": ["queue1"]}},
            [{"headers": {"route-to": ["queue1", "queue2"]}}, {"headers": {"route-to": "queue1"}}],
            [{"headers": {"route-to": ["queue3"]}}, {"headers": "queue1"}, {"headers": None}],
        ),
        (
            S3,
            [
                {"Records": [CREATED]},
                {"Records": [{**CREATED, "s3": {"object": [[{"key": "auto-1"}]]}}, REMOVED]},
            ],
            [
                {"Records": [{**CREATED, "eventName": "ObjectRemoved:Delete"}]},
                {"Records": [{**CREATED, "s3": {"object": {"key": "home-1"}}}]},
                # What is asked of one record has to hold in one record.
                {"Records": [{**CREATED, "s3": REMOVED["s3"]}, {**REMOVED, "s3": CREATED["s3"]}]},
                {"Records": []},
            ],
        ),
        (
            {
                "$or": [
                    {"metricName": ["CPUUtilization", "ReadLatency"]},
                    {"namespace": ["AWS/EC2", "AWS/ES"]},
                ],
                "detail": {
                    "scope": ["Service"],
                    "$or": [{"source": ["aws.cloudwatch"]}, {"type": ["CloudWatch"]}],
                },
            },
            [
                {"metricName": "ReadLatency", "detail": {"scope": "Service", "type": "CloudWatch"}},
                {"namespace": "AWS/ES", "detail": {"scope": "Service", "source": "aws.cloudwatch"}},
            ],
            [
                {"metricName": "ReadLatency", "detail": {"type": "CloudWatch"}},
                {"metricName": "ReadLatency", "detail": {"scope": "Service"}},
                {"metricName": "x", "detail": {"scope": "Service", "type": "CloudWatch"}},
            ],
        ),
        (
            {"a": [{"exists": False}], "b": [{"exists": True}]},
            [{"b": None}, {"b": 1, "a": {"x": 1}}, {"b": [1], "a": []}],
            [{"b": 1, "a": None}, {}, {"b": {}}],
        ),
        ({"a": [None, True, 5]}, [{"a": None}, {"a": True}, {"a": 5.0}], [{"a": 1}, {"a": "5"}]),
        ({"a": [{"anything-but": "x"}]}, [{"a": None}, {"a": 1}], [{"a": "x"}, {}, {"a": {}}]),
        ({"a": ["x"], "a.b": ["y"]}, [{"a": ["x", {"b": "y"}]}], [{"a": "x"}, {"a": {"b": "y"}}]),
    ],
)
def test_bodies(policy: dict[str, Any], passing: list[Any], failing: list[Any]) -> None:
    assert [body for body in passing if not body_passes(policy, body)] == []
    assert [body for body in failing if body_passes(policy, body)] == []


def test_arrays_beside_one_another_are_not_multiplied_out() -> None:
    keys = ["a", "b", "c", "d", "e"]
    policy = {key: {"x": ["y"]} for key in keys}
    body: dict[str, Any] = {key: [{"x": number} for number in range(500)] for key in keys}
    assert not body_passes(policy, body)
    for key in keys:
        body[key].append({"x": "y"})
    assert body_passes(policy, body)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(["a", "b", "a.b"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "c", "a.b"]), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "a.b"]), JSON, max_size=3))
def test_any_object_passes_or_not(body: dict[str, Any]) -> None:
    assert body_passes({"a": [{"exists": True}, {"exists": False}]}, body)
    policy = {"a": {"b": ["a", 1]}, "c": [{"anything-but": "a"}]}
    branch_by_branch = body_passes({"a": {"b": ["a", 1]}}, body) and body_passes(
        {"c": [{"anything-but": "a"}]}, body
    )
    assert body_passes(policy, body) is branch_by_branch
