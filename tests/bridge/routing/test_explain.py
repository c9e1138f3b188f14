from __future__ import annotations

import pytest

from bridge.messaging.errors import InvalidAddress
from bridge.routing.explain import Explanation, explain, publish_from_source
from bridge.routing.rules import Rule
from tests.support.routing import TREE, Bench, queue_name, topic_name


async def example() -> Bench:
    bench = Bench(
        Rule(
            "meter readings",
            "mqtt:plant/{line}/meter/+",
            ["sns:meters", "sqs:line-{line}", "sqs:{header:unit}"],
            set_attributes={"site": "berlin"},
        ),
        Rule("kwh only", "mqtt:plant/#", ["default"], filter={"unit": ["kWh"]}),
        Rule("others", "mqtt:other", ["default"]),
        Rule("not asked", "stomp:/queue/x", ["default"]),
    )
    await bench.topology.declare_topic(topic_name("meters"))
    for name in ("meters", "tree"):
        await bench.queue(name)
    await bench.topology.subscribe(
        topic_name("meters"), queue_name("meters"), filter_policy={"site": ["berlin"]}
    )
    await bench.topology.subscribe(TREE, queue_name("tree"), pattern="plant.#")
    return bench


async def test_text_tells_route_by_route() -> None:
    bench = await example()
    publish = publish_from_source("mqtt:plant/7/meter/kwh")
    assert explain(bench.router, publish).text().splitlines() == [
        "mqtt:plant/7/meter/kwh in namespace /",
        "route 'meter readings' (from mqtt:plant/{line}/meter/+): matches with line=7",
        "  sets attribute site to 'berlin'",
        "  to sns:meters: topic meters, subject plant.7.meter.kwh -> queue meters",
        "  to sqs:line-{line}: queue line-7 (to be created)",
        (
            "  to sqs:{header:unit}: no value for {header:unit}; it goes to queue"
            " landbridge-dead-letters"
        ),
        "route 'kwh only' (from mqtt:plant/#): matches, but its filter does not",
        "route 'others' (from mqtt:other): does not match",
        "default mapping: replaced by the routes above",
    ]


async def test_attributes_decide_filters_and_templates() -> None:
    bench = await example()
    publish = publish_from_source("mqtt:plant/7/meter/kwh", attributes={"unit": "kWh"})
    lines = explain(bench.router, publish).text().splitlines()
    assert "  to sqs:{header:unit}: queue kWh (to be created)" in lines
    assert lines[-3:] == [
        "  to default: topic amq.topic, subject plant.7.meter.kwh -> queue tree",
        "route 'others' (from mqtt:other): does not match",
        "default mapping: replaced by the routes above",
    ]
    assert any(line.endswith("matches, and so does its filter") for line in lines)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("mqtt:plant/1", "topic amq.topic, subject plant.1 -> queue tree"),
        ("stomp:/topic/none", "topic amq.topic, subject none -> nothing is subscribed"),
        ("stomp:/queue/tree", "queue tree"),
        ("stomp:/queue/new", "queue new (to be created)"),
        ("stomp:new", "queue new (to be created)"),
        ("stomp:/amq/queue/new", "queue new: the queue does not exist"),
        ("amqp:/new", "queue new: the queue does not exist"),
        ("amqp:/queue/new", "queue queue/new: the queue does not exist"),
        ("amqp:amq.default/tree", "queue tree"),
        ("amqp:amq.topic", "topic amq.topic, subject %e -> nothing is subscribed"),
        ("amqp:none/k", "topic none, subject k: the topic does not exist"),
        ("sns:meters", "topic meters, subject meters -> nothing is subscribed"),
    ],
)
async def test_default_mapping(source: str, expected: str) -> None:
    bench = await example()
    lines = explain(bench.router, publish_from_source(source)).text().splitlines()
    assert lines[-1] == f"default mapping: {expected}"


async def test_steps_are_data_for_other_pages() -> None:
    bench = await example()
    await bench.topology.subscribe(TREE, protocol="https", endpoint="https://example.org/")
    found = explain(bench.router, publish_from_source("mqtt:plant/1"))
    assert isinstance(found, Explanation)
    assert [rule.matched for rule in found.rules] == [False, True, False]
    assert found.default is not None
    assert found.default.queues == ["tree"]
    assert found.default.elsewhere == ["https://example.org/"]


async def test_explaining_changes_nothing() -> None:
    bench = await example()
    submitted = len(bench.store.submitted)
    explain(bench.router, publish_from_source("mqtt:plant/7/meter/kwh"))
    assert len(bench.store.submitted) == submitted
    assert bench.store.queue(queue_name("line-7")) is None


def test_source_has_to_be_an_address() -> None:
    with pytest.raises(InvalidAddress, match="does not begin with one of"):
        publish_from_source("plant/7")
    for topic_filter in ("mqtt:a/#", "mqtt:+/a"):
        with pytest.raises(InvalidAddress, match="has wildcards, which stand for many topics"):
            publish_from_source(topic_filter)
