"""The catalogue goes by what other nodes change, and decides again where one of them was first."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from bridge.messaging.errors import StateConflict, TopicNameExists
from bridge.messaging.model import StateChange, TopicName
from bridge.routing.catalogue import (
    KIND_SUBSCRIPTION,
    KIND_TOPIC,
    Subscription,
    Topic,
    TopicKind,
    encode,
    topic_from_key,
    topic_key,
)
from bridge.routing.policies import KIND_POLICY, Policy, encode_policy
from tests.support.memory_store import MemoryStore
from tests.support.routing import Bench, queue_name, to_topic, topic_name

ORDERS = topic_name("orders")
MINE = queue_name("mine")


def topic(name: TopicName = ORDERS, kind: TopicKind = "topic", **fields: object) -> StateChange:
    record = Topic(name=name, kind=kind, **fields)  # type: ignore[arg-type]
    return StateChange(KIND_TOPIC, topic_key(name), encode(record))


def subscription(key: str = "s", pattern: str = "a.#", name: TopicName = ORDERS) -> StateChange:
    record = Subscription(id=key, topic=name, queue=MINE, pattern=pattern)
    return StateChange(KIND_SUBSCRIPTION, key, encode(record))


def without(change: StateChange) -> StateChange:
    return change._replace(value=None)


@pytest.mark.parametrize("name", [("/", "a/b"), ("a/b", "c"), ("%2F", "%"), ("", "")])
def test_keys_of_topics_can_be_read_back(name: tuple[str, str]) -> None:
    assert topic_from_key(topic_key(TopicName(*name))) == name


async def test_bindings_made_and_ended_elsewhere_count_at_once() -> None:
    bench = Bench()
    await bench.queue("mine")
    publish = to_topic("orders", "a.b")
    bench.store.change_elsewhere(topic(), subscription())
    assert bench.reached(publish) == ["mine"]
    bench.store.change_elsewhere(subscription(pattern="x"))
    assert bench.reached(publish) == []
    bench.store.change_elsewhere(subscription(), without(subscription()))
    assert bench.reached(publish) == []
    assert bench.topology.subscriptions_to(MINE) == []


async def test_a_topic_deleted_elsewhere_goes_with_what_this_node_had_on_it() -> None:
    bench = Bench()
    await bench.queue("own", transient=True)
    bench.store.change_elsewhere(topic())
    await bench.topology.subscribe(ORDERS, queue_name("own"), pattern="#")
    bench.store.change_elsewhere(without(topic()), without(subscription()))
    assert bench.topology.topic(ORDERS) is None
    assert bench.topology.subscriptions_to(queue_name("own")) == []
    bench.store.change_elsewhere(subscription())
    assert bench.topology.subscriptions_to(MINE) == []


async def test_topics_changed_elsewhere_keep_their_subscriptions() -> None:
    bench = Bench()
    await bench.queue("mine")
    bench.store.change_elsewhere(topic(), subscription(pattern="a.b"))
    bench.store.change_elsewhere(topic(tags={"a": "1"}))
    found = bench.topology.topic(ORDERS)
    assert found is not None
    assert found.tags == {"a": "1"}
    assert bench.reached(to_topic("orders", "a.b")) == ["mine"]
    bench.store.change_elsewhere(topic(kind="direct"))
    assert bench.reached(to_topic("orders", "a.b")) == ["mine"]


async def test_policies_are_followed() -> None:
    bench = Bench()
    policy = Policy(namespace="/", name="p", pattern=".*", definition={"max-length": 7})
    bench.store.change_elsewhere(StateChange(KIND_POLICY, policy.key, encode_policy(policy)))
    assert (await bench.topology.ensure_queue(MINE)).settings.length_max == 7


async def lose_race(bench: Bench, store: MemoryStore, *winners: StateChange) -> None:
    """What is under way finds that another node has made `winners` first."""
    await asyncio.sleep(0)
    store.change_elsewhere(*winners)
    store.refusal, store.slow = None, False
    store.catch_up()


@pytest.fixture
def racing() -> Bench:
    bench = Bench()
    bench.store.slow = True
    bench.store.refusal = StateConflict("another node was first")
    return bench


async def test_the_same_topic_at_two_nodes_is_that_of_the_first(racing: Bench) -> None:
    async with asyncio.TaskGroup() as group:
        declaring = group.create_task(racing.topology.declare_topic(ORDERS, "direct"))
        await lose_race(racing, racing.store, topic(kind="direct", created_at=5))
    assert declaring.result().created_at == 5
    assert racing.topology.topic(ORDERS) == declaring.result()


async def test_another_kind_of_topic_is_refused_as_if_it_had_been_there(racing: Bench) -> None:
    declaring = asyncio.ensure_future(racing.topology.declare_topic(ORDERS, "direct"))
    await lose_race(racing, racing.store, topic(kind="fanout"))
    with pytest.raises(TopicNameExists):
        await declaring
    found = racing.topology.topic(ORDERS)
    assert found is not None
    assert found.kind == "fanout"


async def test_a_change_is_made_on_top_of_the_other_nodes(racing: Bench) -> None:
    racing.store.change_elsewhere(topic())
    changing = asyncio.ensure_future(racing.topology.change_topic(ORDERS, tags={"mine": "1"}))
    await lose_race(racing, racing.store, topic(attributes={"theirs": "2"}))
    changed = await changing
    assert (changed.attributes, changed.tags) == ({"theirs": "2"}, {"mine": "1"})


async def test_what_two_nodes_delete_is_gone(racing: Bench) -> None:
    racing.store.change_elsewhere(topic(), subscription())
    leaving = asyncio.ensure_future(racing.topology.unsubscribe("s"))
    await lose_race(racing, racing.store, without(subscription()), without(topic()))
    assert await leaving is False
    assert racing.topology.topic(ORDERS) is None
    assert racing.topology.subscription("s") is None


async def test_equal_bindings_have_equal_ids_at_all_nodes() -> None:
    made: list[Subscription] = []
    for _ in range(2):
        bench = Bench()
        await bench.queue("mine")
        await bench.topology.declare_topic(ORDERS, "headers")
        made.append(
            await bench.topology.subscribe(
                ORDERS, MINE, pattern="", arguments={"x-match": "all", "number": 1}
            )
        )
    assert made[0].id == made[1].id


async def test_a_binding_changed_since_leaves_its_id_to_itself() -> None:
    bench = Bench()
    await bench.queue("mine")
    await bench.topology.declare_topic(ORDERS)
    first = await bench.topology.subscribe(ORDERS, MINE, pattern="a")
    await bench.topology.change_subscription(first.id, raw=False)
    second = await bench.topology.subscribe(ORDERS, MINE, pattern="a")
    assert second.id != first.id
    assert len(bench.topology.subscriptions_to(MINE)) == 2
    assert msgspec.structs.replace(first, raw=False) in bench.topology.subscriptions_to(MINE)
