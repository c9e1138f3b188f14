"""What AWS says to policies that it does not take, to the column, and where its limits are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.messaging.filters import FilterPolicy, FilterPolicyInvalid, FilterScope
from bridge.messaging.filters.source import POLICY_SIZE_MAX

BODY = FilterScope.MESSAGE_BODY

RECORDED = [
    ('[["value"]]', "Match value must be String, number, true, false, or null", 10),
    ('[{"wrong-operator":true}]', "Unrecognized match type wrong-operator", 31),
    ('[{"suffix":"value","prefix":"value2"}]', "Only one key allowed in match expression", 37),
    ('[{"suffix":100}]', "suffix match pattern must be a string", 22),
    ('[{"suffix":null}]', "suffix match pattern must be a string", 23),
    ('{"suffix":"value"}', '"suffix" must be an object or an array', 19),
    ('[{"suffix":[]}]', "suffix match pattern must be a string", 20),
    ('[{"suffix":["test","test2"]}]', "suffix match pattern must be a string", 20),
    ('{"suffix":"value","prefix":"value"}', '"suffix" must be an object or an array', 19),
    ('{"not-an-operator":"value"}', '"not-an-operator" must be an object or an array', 28),
    ('[{"numeric":[]}]', "Invalid member in numeric match: ]", 22),
    ('[{"numeric":["operator"]}]', "Unrecognized numeric range operator: operator", 32),
    ('[{"numeric":[1,"<="]}]', "Invalid member in numeric match: 1", 22),
    ('[{"numeric":["=","000"]}]', "Value of equals must be numeric", 26),
    ('[{"numeric":[">="]}]', "Value of >= must be numeric", 26),
    ('[{"numeric":["<",100,">",10]}]', "Too many elements in numeric expression", 30),
    ('[{"numeric":[">=",1,">",2]}]', "Bad numeric range operator: >", 31),
    ('[{"numeric":[">",3,"<",1]}]', "Bottom must be less than top", 33),
    ('[{"numeric":[">",20,"<="]}]', "Value of <= must be numeric", 33),
    ('[{"numeric":[">",20,30]}]', "Bad value in numeric range: 30", 30),
    ('[{"numeric":[">",20,"test"]}]', "Bad numeric range operator: test", 34),
    ('[{"numeric":[">","20","<","30"]}]', "Value of > must be numeric", 26),
    ('[{"numeric":[">",20,"<","30"]}]', "Value of < must be numeric", 33),
    (
        '[{"numeric":[">",20,"<",30,"<",50]}]',
        "Too many terms in numeric range expression",
        36,
    ),
    ('[{"exists":null}]', "exists match pattern must be either true or false.", 23),
    ('[{"exists":"no"}]', "exists match pattern must be either true or false.", 20),
    (
        '[{"anything-but":{"wrong-operator":null}}]',
        "Unsupported anything-but pattern: wrong-operator",
        47,
    ),
    ('[{"anything-but":{"suffix":"test"}}]', "Unsupported anything-but pattern: suffix", 36),
    ('[{"anything-but":{"exists":false}}]', "Unsupported anything-but pattern: exists", 40),
    ('[{"anything-but":{"prefix":false}}]', "prefix match pattern must be a string", 40),
]


def refusal(policy: str | dict[str, Any], scope: FilterScope | None = None) -> str:
    text = policy if isinstance(policy, str) else json.dumps(policy)
    with pytest.raises(FilterPolicyInvalid) as raised:
        FilterPolicy(text, scope or FilterScope.MESSAGE_ATTRIBUTES)
    return str(raised.value)


@pytest.mark.parametrize(("condition", "message", "column"), RECORDED)
def test_recorded_messages(condition: str, message: str, column: int) -> None:
    text = f'{{"key":{condition}}}'
    place = f'\n at [Source: (String)"{text}"; line: 1, column: {column}]'
    assert refusal(text) == f"FilterPolicy: {message}{place}"


def test_the_place_counts_lines_and_a_long_source_is_cut() -> None:
    assert refusal('{"key":\n  "x"}').endswith("line: 2, column: 4]")
    shown = refusal('{"key":"' + "x" * 600 + '"}')
    assert shown.endswith('x"[truncated 110 chars]; line: 1, column: 9]')


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("[]", "Filter is not an object"),
        ('"x"', "Filter is not an object"),
        ('{"key":[]}', "Empty arrays are not allowed"),
        ('{"key":{}}', "Empty objects are not allowed"),
        ('{"key":[{}]}', "Match expression name not found"),
        ('{"key":[{"numeric":"="}]}', "Value of numeric must be an array."),
        ('{"key":[{"wildcard":"*"}]}', "Unrecognized match type wildcard"),
        (
            '{"key":[{"anything-but":null}]}',
            "Value of anything-but must be an array or single string/number value.",
        ),
        (
            '{"key":[{"anything-but":[true]}]}',
            "Inside anything but list, start|null|boolean is not supported.",
        ),
        (
            '{"key":[{"anything-but":["x",1]}]}',
            (
                "Inside anything but list, either all values are number or string, mixed type is"
                " not supported"
            ),
        ),
        ('{"key":[{"anything-but":{"prefix":""}}]}', "Null prefix not allowed"),
        ('{"key":[{"cidr":1}]}', "prefix match pattern must be a string"),
        ('{"$or":[{"a":["b"]}]}', "There must have at least 2 Objects in $or relationship."),
        ('{"$or":["a","b"]}', "Only JSON object is allowed in array of $or relationship."),
        ('{"$or":{"a":["b"]}}', "It must be an Array followed with $or."),
        (
            '{"$or":[{"prefix":["b"]},{"a":["b"]}]}',
            "prefix is Ruler reserved fieldName which cannot be used inside $or.",
        ),
    ],
)
def test_messages_of_the_published_compiler(policy: str, message: str) -> None:
    assert refusal(policy).startswith(f"FilterPolicy: {message}\n at [Source: (String)")


@pytest.mark.parametrize(
    ("cidr", "message"),
    [
        ("10.0.0.0", "Malformed CIDR, one '/' required"),
        ("10.0.0.0/8/8", "Malformed CIDR, one '/' required"),
        ("10.0.0.0/x", "Malformed CIDR, mask bits must be an integer"),
        ("10.0.0.0/-1", "Malformed CIDR, mask bits must not be negative"),
        ("10.0.0/8", "Nonstandard IP address: 10.0.0"),
    ],
)
def test_malformed_networks(cidr: str, message: str) -> None:
    assert refusal({"key": [{"cidr": cidr}]}) == f"FilterPolicy: {message}"


@pytest.mark.parametrize("text", ["", "{", "{invalidjson}", '{"a":[NaN]}', "[" * 100_000])
def test_what_is_not_json(text: str) -> None:
    assert refusal(text) == "FilterPolicy: failed to parse JSON."


def test_nested_policies_are_for_bodies() -> None:
    policy = {"object": {"key": [{"prefix": "auto-"}]}}
    assert refusal(policy) == (
        "Filter policy scope MessageAttributes does not support nested filter policy"
    )
    FilterPolicy(json.dumps(policy), BODY)


def test_the_bound_on_keys() -> None:
    policy = {f"key{number}": ["x"] for number in range(6)}
    message = "FilterPolicy: Filter policy can not have more than 5 keys"
    assert refusal(policy) == message
    assert refusal(policy, BODY) == message
    del policy["key0"]
    FilterPolicy(json.dumps(policy))


def values(count: int) -> list[str]:
    return [f"value{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("policy", "scope"),
    [
        ({"key": values(151)}, FilterScope.MESSAGE_ATTRIBUTES),
        ({"key1": values(100), "key2": values(51)}, FilterScope.MESSAGE_ATTRIBUTES),
        (
            # 3 * 4 * 2 * 3 * 1 * 3 = 216
            {
                "key_a": {"key_b": {"key_c": values(4)}},
                "key_d": {"key_e": values(3)},
                "key_f": values(3),
            },
            BODY,
        ),
        (
            # 4 * 6 + 4 * 4 * 4 + 4 * 4 * 4 = 152
            {
                "source": values(4),
                "$or": [
                    {"metricName": values(6)},
                    {
                        "metricType": values(4),
                        "$or": [{"metricId": [1, 2, 3, 4]}, {"spaceId": [1, 2, 3, 4]}],
                    },
                ],
            },
            FilterScope.MESSAGE_ATTRIBUTES,
        ),
        (
            # 3 * 4 * 2 + 3 * 4 * 6 + 2 * 4 * 2 + 2 * 4 * 6 = 160
            {
                "$or": [{"metricName": values(3)}, {"namespace": values(2)}],
                "detail": {
                    "scope": values(2),
                    "$or": [{"source": values(1)}, {"type": values(3)}],
                },
            },
            BODY,
        ),
    ],
)
def test_recorded_policies_over_the_bound_on_complexity(
    policy: dict[str, Any], scope: FilterScope
) -> None:
    assert refusal(policy, scope) == "FilterPolicy: Filter policy is too complex"


def test_policies_at_the_bound_on_complexity() -> None:
    FilterPolicy(json.dumps({"key": values(150)}))
    # 3 * 6 + 3 * 4 * 4 + 3 * 4 * 7 = 150
    policy = {
        "source": values(3),
        "$or": [
            {"metricName": values(6)},
            {"metricType": values(4), "$or": [{"metricId": values(4)}, {"spaceId": values(7)}]},
        ],
    }
    FilterPolicy(json.dumps(policy))


def test_the_bound_on_size() -> None:
    text = '{"key":["' + "x" * (POLICY_SIZE_MAX - 12) + '"]}'
    FilterPolicy(text)
    assert "262144 bytes" in refusal(text + " ")


def test_alternatives_are_counted_before_they_are_multiplied_out() -> None:
    either = {"$or": [{"a": ["x"]}, {"b": ["x"]}]}
    policy = {"top": {f"key{number}": either for number in range(60)}}
    assert refusal(policy, BODY) == "FilterPolicy: Filter policy is too complex"


def test_depth_is_bounded() -> None:
    for depth in (200, 2_000, 40_000):
        text = '{"a":' * depth + '["x"]' + "}" * depth
        with pytest.raises(FilterPolicyInvalid):
            FilterPolicy(text, BODY)


@given(st.text(st.sampled_from('{}[]":,a$or1 existnumcprfx-<=\\'), max_size=60))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        FilterPolicy(text, BODY).matches_body(b'{"a":1}')
    except FilterPolicyInvalid:
        pass
