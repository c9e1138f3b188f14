from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from bridge.messaging.limits import Limits
from bridge.messaging.model import Value
from bridge.routing.rules import Rule, RuleInvalid, RulesInvalid, compile_rules
from bridge.routing.templates import MissingValue, Template, TemplateInvalid, Values
from tests.support.routing import queue_name, to_topic, topic_name


def render(text: str, **fields: Any) -> str:
    publish = to_topic("ex", "a.b", source="amqp:ex/a.b", **fields)
    values = Values({"line": "7"}, publish.message, publish.origin)
    return Template(text, {"line"}).render(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("line-{line}", "line-7"),
        ("{line}{line}", "77"),
        ("{{{line}}}", "{7}"),
        ("{{line}}", "{line}"),
        ("{subject} {address} {client_id} {user}", "a.b ex/a.b client-1 alice"),
        ("{header:unit}-{property:type}", "kWh-reading"),
        ("{header:a:b}", "colon"),
    ],
)
def test_templates_render(text: str, expected: str) -> None:
    headers = {"unit": "kWh", "a:b": "colon"}
    assert render(text, headers=headers, properties={"type": "reading"}) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (1.5, "1.5"),
        (Decimal("2.50"), "2.50"),
    ],
)
def test_values_render_as_text(value: Value, expected: str) -> None:
    assert render("{header:h}", headers={"h": value}) == expected


@pytest.mark.parametrize("value", [None, b"x", [1], {"a": 1}])
def test_values_that_are_not_text_are_missing(value: Value) -> None:
    with pytest.raises(MissingValue, match=r"\{header:h\}"):
        render("{header:h}", headers={"h": value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{lines}", "{lines} is unknown; known are line, address, client_id, subject, user"),
        ("{}", "{} is unknown"),
        ("{header:}", "{header:} is unknown"),
        ("a{", "has a single '{'; write '{{'"),
        ("a}", "has a single '}'"),
    ],
)
def test_templates_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises(TemplateInvalid, match=message):
        Template(text, {"line"})


def mistakes_of(*rules: Rule) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(RulesInvalid) as caught:
        compile_rules(rules)
    mistakes: list[RuleInvalid] = list(caught.value.mistakes)
    return [(mistake.path, str(mistake)) for mistake in mistakes]


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"source": "plant/#"}, ("from",), "does not begin with one of"),
        (
            {"source": "stomp:/quue/{line}"},
            ("from",),
            "'stomp:/quue/{line}' does not begin with one of /queue/, /topic/,",
        ),
        ({"source": "stomp:a.{line}"}, ("from",), "does not begin with one of /queue/"),
        ({"source": "mqtt:{user}/x"}, ("from",), "{user} has a meaning of its own"),
        ({"targets": []}, ("to",), "at least one target"),
        ({"targets": ["sqs:a", "nowhere"]}, ("to", 1), "nor is it 'default'"),
        ({"targets": ["sqs:{x}"]}, ("to", 0), "{x} is unknown; known are line"),
        ({"targets": ["stomp:{line}"]}, ("to", 0), "does not begin with one of /queue/"),
        ({"targets": ["mqtt:out/{line}/#"]}, ("to", 0), "has wildcards"),
        ({"targets": ["stomp:/queue/"]}, ("to", 0), "is empty"),
        ({"targets": ["sqs:a{"]}, ("to", 0), "single '{'"),
        ({"filter": {"unit": "kWh"}}, ("filter",), "must be an object or an array"),
        ({"filter_scope": "headers"}, ("filter_scope",), "neither attributes nor body"),
        (
            {"set_attributes": {"site": "{x}"}},
            ("set", "attributes", "site"),
            "{x} is unknown",
        ),
    ],
)
def test_mistakes_say_where_they_are(
    fields: dict[str, Any], path: tuple[str | int, ...], message: str
) -> None:
    good: dict[str, Any] = {"source": "mqtt:a/{line}", "targets": ["sqs:{line}"]}
    found = mistakes_of(Rule("fine", **good), Rule("wrong", **{**good, **fields}))
    assert [each[0] for each in found if message in each[1]] == [(1, *path)]


def test_all_mistakes_are_reported_at_once() -> None:
    found = mistakes_of(
        Rule("a", "mqtt", ["sqs:{line}", "x"]),
        Rule("b", "mqtt:a", ["sqs:{line}", "sqs:{other}"], filter_scope="none"),
    )
    assert [path for path, _ in found] == [
        (0, "from"),
        (0, "to", 1),
        (1, "filter_scope"),
        (1, "to", 0),
        (1, "to", 1),
    ]


def test_constant_targets_are_known_before_the_first_message() -> None:
    rules = compile_rules(
        [Rule("r", "mqtt:{a}/#", ["sns:meters", "sns:{a}", "sqs:q", "stomp:/queue/s", "default"])]
    )
    assert rules.topics() == {topic_name("meters")}
    assert rules.queues() == {queue_name("q")}


def test_rules_match_in_the_order_of_the_file_within_bounded_memory() -> None:
    rules = compile_rules(
        [Rule(str(number), "amqp:ex/#", ["default"]) for number in range(20)],
        Limits(routing_cache_entries_max=2),
    )
    for number in range(5):
        found = rules.matching(to_topic("ex", "x", source=f"amqp:ex/{number}").origin)
        assert [match.rule.rule.name for match in found] == [str(each) for each in range(20)]
        assert len(rules._matches) <= 2
