from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.messaging.errors import InvalidParameter
from bridge.messaging.model import Value
from bridge.routing.exchanges import HeadersMatch
from tests.support.routing import TREE, Bench, queue_name, to_topic, topic_name


@pytest.mark.parametrize(
    ("arguments", "headers", "expected"),
    [
        ({}, {}, True),
        ({"x-match": "any"}, {"a": "1"}, False),
        ({"a": "1", "b": "2"}, {"a": "1", "b": "2", "c": "3"}, True),
        ({"a": "1", "b": "2"}, {"a": "1"}, False),
        ({"x-match": "any", "a": "1", "b": "2"}, {"b": "2"}, True),
        ({"x-match": "any", "a": "1"}, {"a": "2"}, False),
        ({"a": None}, {"a": "whatever"}, True),
        ({"a": None}, {}, False),
        ({"x-a": "1"}, {}, True),
        ({"x-match": "any", "x-a": "1"}, {"x-a": "1"}, False),
        ({"x-match": "all-with-x", "x-a": "1"}, {}, False),
        ({"x-match": "all-with-x", "x-a": "1"}, {"x-a": "1"}, True),
        ({"x-match": "any-with-x", "x-a": "1", "b": "2"}, {"x-a": "1"}, True),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": Decimal(1)}, {"a": 1}, True),
    ],
)
def test_headers_match_as_in_rabbitmq(
    arguments: dict[str, Value], headers: dict[str, Value], expected: bool
) -> None:
    assert HeadersMatch(arguments)(headers) is expected


@pytest.mark.parametrize("mode", ["", "some", 1, None])
def test_unknown_x_match_is_refused(mode: Value) -> None:
    with pytest.raises(InvalidParameter, match="invalid x-match field value"):
        HeadersMatch({"x-match": mode})


async def test_topic_kind_matches_levels() -> None:
    bench = Bench()
    for name, pattern in {"one": "a.*", "many": "a.#", "exact": "a.b", "other": "b.#"}.items():
        await bench.queue(name)
        await bench.topology.subscribe(TREE, queue_name(name), pattern=pattern)
    assert bench.reached(to_topic("amq.topic", "a.b")) == ["exact", "many", "one"]
    assert bench.reached(to_topic("amq.topic", "a")) == ["many"]
    assert bench.reached(to_topic("amq.topic", "a.b.c")) == ["many"]


async def test_dollar_subjects_of_the_tree_are_not_for_leading_wildcards() -> None:
    bench = Bench()
    await bench.topology.declare_topic(topic_name("ex"))
    for name, pattern in {"all": "#", "one": "*.x", "named": "$SYS.#"}.items():
        await bench.queue(name)
        await bench.topology.subscribe(TREE, queue_name(name), pattern=pattern)
        await bench.topology.subscribe(topic_name("ex"), queue_name(name), pattern=pattern)
    assert bench.reached(to_topic("amq.topic", "$SYS.x")) == ["named"]
    assert bench.reached(to_topic("ex", "$SYS.x")) == ["all", "named", "one"]


async def test_direct_fanout_and_everything() -> None:
    bench = Bench()
    direct, fanout = topic_name("amq.direct"), topic_name("amq.fanout")
    for name in ("a", "b", "all"):
        await bench.queue(name)
    await bench.topology.subscribe(direct, queue_name("a"), pattern="a.*")
    await bench.topology.subscribe(direct, queue_name("b"), pattern="b")
    await bench.topology.subscribe(direct, queue_name("all"))
    await bench.topology.subscribe(fanout, queue_name("a"), pattern="ignored")
    assert bench.reached(to_topic("amq.direct", "a.*")) == ["a", "all"]
    assert bench.reached(to_topic("amq.direct", "a.b")) == ["all"]
    assert bench.reached(to_topic("amq.fanout", "other")) == ["a"]
    assert bench.reached(to_topic("amq.fanout", None)) == ["a"]


async def test_headers_kind_looks_at_each_message() -> None:
    bench = Bench()
    await bench.queue("q")
    await bench.queue("all")
    headers = topic_name("amq.headers")
    await bench.topology.subscribe(headers, queue_name("q"), pattern="", arguments={"a": 1})
    await bench.topology.subscribe(headers, queue_name("all"))
    assert bench.reached(to_topic("amq.headers", "", headers={"a": 1})) == ["all", "q"]
    assert bench.reached(to_topic("amq.headers", "", headers={"a": 2})) == ["all"]
    assert bench.reached(to_topic("amq.headers", "", headers={"a": 1})) == ["all", "q"]


async def test_unsubscribing_each_kind() -> None:
    bench = Bench()
    await bench.queue("q")
    made = [
        await bench.topology.subscribe(
            topic_name(name), queue_name("q"), pattern=pattern, arguments={}
        )
        for name in ("amq.topic", "amq.direct", "amq.fanout", "amq.headers")
        for pattern in ("a.*", "b", None)
    ]
    for subscription in made:
        assert await bench.topology.unsubscribe(subscription.id)
    for topic in ("amq.topic", "amq.direct", "amq.fanout", "amq.headers"):
        assert bench.reached(to_topic(topic, "b")) == []


async def test_topics_subscribed_to_topics_end_in_cycles() -> None:
    bench = Bench()
    names = [topic_name(f"t{number}") for number in range(3)]
    for name in names:
        await bench.topology.declare_topic(name, "fanout")
        await bench.queue(name.name)
        await bench.topology.subscribe(name, queue_name(name.name), pattern="")
    for number, name in enumerate(names):
        await bench.topology.subscribe(name, destination=names[(number + 1) % 3], pattern="")
        await bench.topology.subscribe(name, destination=name, pattern="")
    assert bench.reached(to_topic("t1", "x")) == ["t0", "t1", "t2"]


async def test_headers_behind_a_topic_are_not_remembered() -> None:
    bench = Bench()
    await bench.queue("q")
    await bench.topology.subscribe(TREE, destination=topic_name("amq.headers"), pattern="#")
    await bench.topology.subscribe(
        topic_name("amq.headers"), queue_name("q"), pattern="", arguments={"a": 1}
    )
    assert bench.reached(to_topic("amq.topic", "x", headers={"a": 2})) == []
    assert bench.reached(to_topic("amq.topic", "x", headers={"a": 1})) == ["q"]


async def test_alternate_takes_what_finds_nothing() -> None:
    bench = Bench()
    await bench.topology.declare_topic(topic_name("a"), "direct", alternate="b")
    await bench.topology.declare_topic(topic_name("b"), "direct", alternate="a")
    await bench.queue("bound")
    await bench.queue("rest")
    await bench.topology.subscribe(topic_name("a"), queue_name("bound"), pattern="k")
    await bench.topology.subscribe(topic_name("b"), queue_name("rest"), pattern="other")
    assert bench.reached(to_topic("a", "k")) == ["bound"]
    assert bench.reached(to_topic("a", "other")) == ["rest"]
    assert bench.reached(to_topic("a", "none")) == []


async def test_alternate_takes_what_filters_refuse() -> None:
    bench = Bench()
    await bench.topology.declare_topic(topic_name("a"), alternate="amq.fanout")
    await bench.queue("bound")
    await bench.queue("rest")
    await bench.topology.subscribe(
        topic_name("a"), queue_name("bound"), filter_policy={"unit": ["kWh"]}
    )
    await bench.topology.subscribe(topic_name("amq.fanout"), queue_name("rest"), pattern="")
    assert bench.reached(to_topic("a", "k", headers={"unit": "kWh"})) == ["bound"]
    assert bench.reached(to_topic("a", "k", headers={"unit": "m"})) == ["rest"]


@given(
    edges=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20),
    bound=st.sets(st.integers(0, 5)),
    start=st.integers(0, 5),
)
async def test_fan_out_reaches_each_queue_once_whatever_the_graph(
    edges: set[tuple[int, int]], bound: set[int], start: int
) -> None:
    bench = Bench()
    for number in range(6):
        await bench.topology.declare_topic(topic_name(f"t{number}"), "fanout")
    for number in bound:
        await bench.queue(f"q{number}")
        await bench.topology.subscribe(topic_name(f"t{number}"), queue_name(f"q{number}"))
    for source, destination in edges:
        await bench.topology.subscribe(
            topic_name(f"t{source}"), destination=topic_name(f"t{destination}")
        )
    reachable, pending = {start}, [start]
    while pending:
        at = pending.pop()
        for source, destination in edges:
            if source == at and destination not in reachable:
                reachable.add(destination)
                pending.append(destination)
    expected = sorted(f"q{number}" for number in bound & reachable)
    assert bench.reached(to_topic(f"t{start}", "x")) == expected
