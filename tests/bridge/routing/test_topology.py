from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bridge.messaging.errors import (
    AccessDenied,
    InvalidParameter,
    QueueDoesNotExist,
    StoreUnavailable,
    SubscriptionDoesNotExist,
    TopicDoesNotExist,
    TopicNameExists,
)
from bridge.messaging.model import TopicName
from bridge.routing.catalogue import (
    Subscription,
    Topic,
    decode_subscription,
    decode_topic,
    encode,
    topic_key,
)
from tests.support.routing import TREE, Bench, queue_name, topic_name

ORDERS = topic_name("orders")


async def test_built_in_topics_are_in_every_namespace() -> None:
    topology = Bench().topology
    kinds = {topic.name.name: topic.kind for topic in topology.topics()}
    assert kinds == {
        "amq.topic": "topic",
        "amq.direct": "direct",
        "amq.fanout": "fanout",
        "amq.headers": "headers",
        "amq.match": "headers",
    }
    elsewhere = topology.topic(TopicName("prod", "amq.fanout"))
    assert elsewhere is not None
    assert elsewhere.kind == "fanout"
    assert elsewhere.built_in
    assert topology.topic(TopicName("prod", "orders")) is None


async def test_declared_topic_is_stored_and_found_after_a_restart() -> None:
    bench = Bench()
    made = await bench.topology.declare_topic(
        ORDERS, "direct", alternate="rest", internal=True, attributes={"a": "b"}, tags={"t": "u"}
    )
    again = Bench(store=bench.store).topology.topic(ORDERS)
    assert again == made


async def test_declaring_again_returns_the_existing_topic() -> None:
    topology = Bench().topology
    first = await topology.declare_topic(ORDERS, "fanout", tags={"a": "1"})
    version = topology.version
    assert await topology.declare_topic(ORDERS, "fanout") is first
    assert topology.version == version


async def test_declaring_as_another_kind_is_refused() -> None:
    topology = Bench().topology
    await topology.declare_topic(ORDERS, "fanout")
    with pytest.raises(TopicNameExists, match="'direct' but exists as 'fanout'"):
        await topology.declare_topic(ORDERS, "direct")
    with pytest.raises(InvalidParameter, match="'stream' is unknown"):
        await topology.declare_topic(topic_name("s"), "stream")  # type: ignore[arg-type]


async def test_non_durable_topic_is_not_stored_nor_what_is_subscribed_to_it() -> None:
    bench = Bench()
    await bench.queue("q")
    await bench.topology.declare_topic(ORDERS, durable=False)
    await bench.topology.subscribe(ORDERS, queue_name("q"))
    assert bench.store.state == {}


async def test_subscriptions_survive_a_restart_with_every_type_of_argument() -> None:
    bench = Bench()
    await bench.queue("q")
    arguments = {
        "x-match": "any",
        "decimal": Decimal("1.50"),
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "bytes": b"\x00\xff",
        "table": {"list": [1, True, None, 2.5, Decimal(3)]},
    }
    made = await bench.topology.subscribe(
        topic_name("amq.headers"), queue_name("q"), pattern="", arguments=arguments
    )
    again = Bench(store=bench.store).topology
    assert again.subscription(made.id) == made
    assert again.subscriptions_to(queue_name("q")) == [made]
    assert made.arguments == arguments


async def test_subscriptions_of_transient_queues_and_ephemeral_ones_are_not_stored() -> None:
    bench = Bench()
    await bench.queue("transient", transient=True)
    await bench.queue("durable")
    await bench.topology.subscribe(TREE, queue_name("transient"))
    await bench.topology.subscribe(TREE, queue_name("durable"), ephemeral=True)
    assert bench.store.state == {}
    assert len(bench.topology.subscriptions_of(TREE)) == 2


async def test_same_subscription_is_made_once() -> None:
    bench = Bench()
    await bench.queue("q")
    first = await bench.topology.subscribe(TREE, queue_name("q"), pattern="a.#")
    assert await bench.topology.subscribe(TREE, queue_name("q"), pattern="a.#") is first
    other = await bench.topology.subscribe(TREE, queue_name("q"), pattern="a.*")
    assert bench.topology.subscriptions_of(TREE) == [first, other]
    assert bench.topology.binding(TREE, queue_name("q"), pattern="a.*") == other
    assert bench.topology.binding(TREE, queue_name("q"), pattern="b") is None


async def test_known_id_gets_the_new_contents() -> None:
    bench = Bench()
    await bench.queue("q")
    await bench.topology.subscribe(TREE, queue_name("q"), pattern="a", subscription_id="s")
    await bench.topology.subscribe(TREE, queue_name("q"), pattern="b", subscription_id="s")
    assert [each.pattern for each in bench.topology.subscriptions_to(queue_name("q"))] == ["b"]
    again = Bench(store=bench.store).topology.subscription("s")
    assert again is not None
    assert again.pattern == "b"


async def test_subscribing_needs_the_topic_and_the_queue() -> None:
    bench = Bench()
    with pytest.raises(TopicDoesNotExist, match="'orders' does not exist"):
        await bench.topology.subscribe(ORDERS, queue_name("q"))
    with pytest.raises(QueueDoesNotExist, match="'q' does not exist"):
        await bench.topology.subscribe(TREE, queue_name("q"))
    with pytest.raises(TopicDoesNotExist):
        await bench.topology.subscribe(TREE, destination=ORDERS)
    await bench.topology.subscribe(TREE, queue_name("q"), outlives_queue=True)


async def test_what_cannot_be_evaluated_is_refused_and_changes_nothing() -> None:
    bench = Bench()
    await bench.queue("q")
    version = bench.topology.version
    with pytest.raises(InvalidParameter):
        await bench.topology.subscribe(TREE, queue_name("q"), filter_policy="{")
    with pytest.raises(InvalidParameter, match="invalid x-match field value 'some'"):
        await bench.topology.subscribe(
            topic_name("amq.match"), queue_name("q"), pattern="", arguments={"x-match": "some"}
        )
    assert bench.topology.version == version
    assert bench.store.submitted == []


async def test_removing_a_queue_removes_its_bindings_but_not_what_outlives_it() -> None:
    bench = Bench()
    queue = await bench.queue("q")
    await bench.topology.subscribe(TREE, queue_name("q"), pattern="a")
    kept = await bench.topology.subscribe(TREE, queue_name("q"), outlives_queue=True)
    await bench.topology.remove_queue(queue)
    assert bench.store.queue(queue_name("q")) is None
    assert bench.topology.subscriptions_of(TREE) == [kept]
    assert Bench(store=bench.store).topology.subscriptions_of(TREE) == [kept]


async def test_bindings_of_vanished_queues_are_dropped_at_start_and_from_the_store() -> None:
    bench = Bench()
    queue = await bench.queue("q")
    await bench.topology.subscribe(TREE, queue_name("q"), pattern="a")
    await bench.store.delete_queue(queue)
    again = Bench(store=bench.store)
    assert again.topology.subscriptions_of(TREE) == []
    await again.topology.declare_topic(ORDERS)
    assert [kind for kind, _ in bench.store.state] == ["topic"]


async def test_auto_delete_topic_goes_with_its_last_subscription_through_a_chain() -> None:
    bench = Bench()
    queue = await bench.queue("q")
    first, second = topic_name("first"), topic_name("second")
    for name in (first, second):
        await bench.topology.declare_topic(name, "fanout", auto_delete=True)
    await bench.topology.subscribe(first, destination=second, pattern="")
    await bench.topology.subscribe(second, queue_name("q"), pattern="")
    await bench.topology.remove_queue(queue)
    assert bench.topology.topic(second) is None
    assert bench.topology.topic(first) is None
    assert bench.store.state == {}


async def test_deleting_a_topic_takes_along_what_is_attached_to_it() -> None:
    bench = Bench()
    await bench.queue("q")
    await bench.topology.declare_topic(ORDERS)
    made = await bench.topology.subscribe(ORDERS, queue_name("q"))
    await bench.topology.subscribe(TREE, destination=ORDERS)
    await bench.topology.delete_topic(ORDERS)
    assert bench.topology.subscription(made.id) is None
    assert bench.topology.subscriptions_of(TREE) == []
    assert bench.store.state == {}
    with pytest.raises(TopicDoesNotExist):
        await bench.topology.delete_topic(ORDERS)
    with pytest.raises(AccessDenied, match=r"'amq\.topic' is built in"):
        await bench.topology.delete_topic(TREE)


async def test_deleting_an_auto_delete_topic_with_subscriptions() -> None:
    bench = Bench()
    await bench.queue("q")
    await bench.topology.declare_topic(ORDERS, auto_delete=True)
    await bench.topology.subscribe(ORDERS, queue_name("q"))
    await bench.topology.delete_topic(ORDERS)
    assert bench.topology.topic(ORDERS) is None
    assert bench.store.state == {}


async def test_changes_of_attributes_are_stored() -> None:
    bench = Bench()
    await bench.queue("q")
    await bench.topology.declare_topic(ORDERS, tags={"a": "1"}, alternate="x")
    await bench.topology.change_topic(ORDERS, attributes={"DisplayName": "d"})
    made = await bench.topology.subscribe(ORDERS, queue_name("q"), raw=False)
    await bench.topology.change_subscription(made.id, raw=True, filter_policy={"a": ["b"]})
    again = Bench(store=bench.store).topology
    topic, subscription = again.topic(ORDERS), again.subscription(made.id)
    assert topic is not None
    assert (topic.attributes, topic.tags, topic.alternate) == (
        {"DisplayName": "d"},
        {"a": "1"},
        "x",
    )
    assert subscription is not None
    assert subscription.raw
    assert subscription.filter_policy == '{"a":["b"]}'
    with pytest.raises(SubscriptionDoesNotExist):
        await again.change_subscription("none", raw=True)
    assert not await again.unsubscribe("none")


async def test_what_the_store_refuses_is_undone() -> None:
    bench = Bench()
    await bench.queue("q")
    await bench.topology.declare_topic(ORDERS, tags={"a": "1"})
    made = await bench.topology.subscribe(ORDERS, queue_name("q"), pattern="a")
    onward = await bench.topology.subscribe(TREE, destination=ORDERS)
    bench.store.refusal = StoreUnavailable("disk full")
    with pytest.raises(StoreUnavailable):
        await bench.topology.declare_topic(topic_name("other"))
    with pytest.raises(StoreUnavailable):
        await bench.topology.subscribe(ORDERS, queue_name("q"), pattern="b")
    with pytest.raises(StoreUnavailable):
        await bench.topology.subscribe(TREE, queue_name("q"), subscription_id=made.id)
    with pytest.raises(StoreUnavailable):
        await bench.topology.change_topic(ORDERS, tags={})
    with pytest.raises(StoreUnavailable):
        await bench.topology.unsubscribe(made.id)
    with pytest.raises(StoreUnavailable):
        await bench.topology.delete_topic(ORDERS)
    topic = bench.topology.topic(ORDERS)
    assert topic is not None
    assert topic.tags == {"a": "1"}
    assert bench.topology.topic(topic_name("other")) is None
    assert bench.topology.subscriptions_of(ORDERS) == [made]
    assert bench.topology.subscriptions_of(TREE) == [onward]


async def test_no_caller_is_answered_before_the_store_was() -> None:
    bench = Bench()
    bench.store.refusal = StoreUnavailable("disk full")
    results = await asyncio.gather(
        bench.topology.declare_topic(ORDERS),
        bench.topology.declare_topic(ORDERS),
        return_exceptions=True,
    )
    assert [type(each) for each in results] == [StoreUnavailable, StoreUnavailable]


async def test_a_caller_that_goes_away_does_not_disturb_another_one() -> None:
    bench = Bench()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(bench.topology.declare_topic(ORDERS))
        second = tasks.create_task(bench.topology.declare_topic(ORDERS))
        await asyncio.sleep(0)
        first.cancel()
    assert first.cancelled()
    assert second.result().name == ORDERS


async def test_queues_are_made_on_demand_once() -> None:
    bench = Bench()
    first = await bench.topology.ensure_queue(queue_name("q"))
    assert await bench.topology.ensure_queue(queue_name("q")) is first


def test_records_and_keys_round_trip() -> None:
    topic = Topic(name=TopicName("a/b", "c"), kind="headers", arguments={"n": Decimal("0.1")})
    assert decode_topic(encode(topic)) == topic
    subscription = Subscription(id="1", topic=topic.name, protocol="https", endpoint="https://x/")
    assert decode_subscription(encode(subscription)) == subscription
    assert topic_key(TopicName("a/b", "c")) != topic_key(TopicName("a", "b/c"))
