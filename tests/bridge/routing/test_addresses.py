from __future__ import annotations

import pytest

from bridge.messaging.errors import InvalidAddress
from bridge.messaging.model import QueueName, TopicName
from bridge.routing.addresses import (
    ADDRESS_LENGTH_MAX,
    Destination,
    compiled_source,
    destination,
    split_protocol,
)
from bridge.routing.rules import Rule, compile_rules
from tests.support.routing import to_queue


def captures(source: str, address: str) -> dict[str, str] | None:
    """What `source` captures in `address` (with the same prefix); None where it does not match."""
    rules = compile_rules([Rule("r", source, ["default"])])
    found = rules.matching(to_queue("q", source=address).origin)
    return dict(found[0].captures) if found else None


@pytest.mark.parametrize(
    ("source", "address", "expected"),
    [
        ("mqtt:plant/{line}/meter/+", "mqtt:plant/7/meter/kwh", {"line": "7"}),
        ("mqtt:plant/{line}/meter/+", "mqtt:plant/7/meter", None),
        ("mqtt:plant/{line}/#", "mqtt:plant/7", {"line": "7"}),
        ("mqtt:plant/{line}/#", "mqtt:plant/7/a/b", {"line": "7"}),
        ("mqtt:{a}/{b}", "mqtt:x.y/50%", {"a": "x.y", "b": "50%"}),
        ("mqtt:a.b", "mqtt:a.b", {}),
        ("mqtt:a.b", "mqtt:a/b", None),
        ("mqtt:a/*", "mqtt:a/*", {}),
        ("mqtt:a/*", "mqtt:a/b", None),
        ("mqtt:a//{x}", "mqtt:a//b", {"x": "b"}),
        ("mqtt:/{x}", "mqtt:/", {"x": ""}),
        ("mqtt:#", "mqtt:$SYS/x", None),
        ("mqtt:$SYS/{x}", "mqtt:$SYS/x", {"x": "x"}),
        ("stomp:/topic/a.*.>", "stomp:/topic/a.b.c.d", {}),
        ("stomp:/topic/a.{x}.#", "stomp:/topic/a.b", {"x": "b"}),
        ("stomp:/topic/a.b", "stomp:/queue/a.b", None),
        ("stomp:/queue/{name}", "stomp:/queue/orders", {"name": "orders"}),
        ("stomp:/queue/{name}", "stomp:/queue/orders.eu", None),
        ("stomp:/exchange/{ex}/#", "stomp:/exchange/a.b/k.l", {"ex": "a.b"}),
        ("stomp:/exchange/ex", "stomp:/exchange/ex", {}),
        ("stomp:/amq/queue/{x}", "stomp:/amq/queue/q", {"x": "q"}),
        ("stomp:#", "stomp:/queue/orders.eu", {}),
        ("amqp:orders/{country}.#", "amqp:orders/de.new", {"country": "de"}),
        ("amqp:orders", "amqp:orders/de.new", {}),
        ("amqp:orders", "amqp:others/de.new", None),
        ("amqp:/{queue}", "amqp:/q", {"queue": "q"}),
        ("amqp:ex/a.#.{last}", "amqp:ex/a.b.c.d", {"last": "d"}),
        ("amqp:ex/a.#.{last}", "amqp:ex/a", None),
        ("amqp:ex/{first}.#.b.#.{last}", "amqp:ex/a.x.b.c", {"first": "a", "last": "c"}),
        ("sqs:{queue}", "sqs:line.1", {"queue": "line.1"}),
        ("sqs:*", "sqs:anything", {}),
        ("sns:meters", "sns:meters", {}),
        ("sns:meters", "sqs:meters", None),
    ],
)
def test_sources_match_and_capture(
    source: str, address: str, expected: dict[str, str] | None
) -> None:
    assert captures(source, address) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("plant/#", "does not begin with one of mqtt:, amqp:, stomp:, sqs:, sns:"),
        ("kafka:x", "does not begin with one of"),
        ("mqtt:", "has nothing after mqtt:"),
        ("mqtt:a/#/b", "'#' in .* is only allowed as the last level"),
        ("stomp:/topic/a.>.b", "'>' in .* is only allowed as the last level"),
        ("mqtt:a+/b", "contains '\\+'; a wildcard or {capture} stands for a whole level"),
        ("mqtt:line-{line}", "contains '{'"),
        ("mqtt:{line}/{line}", "captures {line} twice"),
        ("mqtt:{0}", "contains '{'"),
        ("amqp:ex/#.{x}.#", "{x} in .* stands between two wildcards"),
        ("sqs:orders-*", "contains '\\*'"),
    ],
)
def test_sources_that_cannot_be_are_refused(source: str, message: str) -> None:
    with pytest.raises(InvalidAddress, match=message):
        compiled_source(source)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("sqs:orders", Destination(queue=QueueName("/", "orders"))),
        ("sns:meters", Destination(topic=TopicName("/", "meters"))),
        ("sns:amq-topic", Destination(topic=TopicName("/", "amq.topic"))),
        ("stomp:/queue/a.b", Destination(queue=QueueName("ns", "a.b"))),
        ("stomp:/amq/queue/x", Destination(queue=QueueName("ns", "x"))),
        ("stomp:/topic/a.b", Destination(None, TopicName("ns", "amq.topic"), "a.b")),
        ("stomp:/exchange/ex/k.l", Destination(None, TopicName("ns", "ex"), "k.l")),
        ("stomp:/exchange/ex", Destination(None, TopicName("ns", "ex"), None)),
        ("mqtt:a.b/c", Destination(None, TopicName("ns", "amq.topic"), "a%2Eb.c")),
        ("amqp:ex/k", Destination(None, TopicName("ns", "ex"), "k")),
        ("amqp:ex", Destination(None, TopicName("ns", "ex"), None)),
        ("amqp:/q", Destination(queue=QueueName("ns", "q"))),
    ],
)
def test_destinations(address: str, expected: Destination) -> None:
    assert destination(*split_protocol(address), "ns") == expected


@pytest.mark.parametrize(
    "address", ["stomp:/temp-queue/x", "stomp:orders", "stomp:/queue/", "stomp:/topic/", "amqp:/"]
)
def test_destinations_that_cannot_be_are_refused(address: str) -> None:
    with pytest.raises(InvalidAddress):
        destination(*split_protocol(address), "ns")


def test_length_of_a_destination_is_bounded() -> None:
    assert destination("sqs", "x" * ADDRESS_LENGTH_MAX, "/").queue is not None
    with pytest.raises(InvalidAddress, match="1025 characters; 1024 are allowed"):
        destination("sqs", "x" * (ADDRESS_LENGTH_MAX + 1), "/")
