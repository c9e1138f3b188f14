"""Retained messages, and the tree that finds them."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.events import SubscribeAnswered
from adapters.mqtt.packets import ProtocolVersion, Subscription
from adapters.mqtt.topic_filters import parse_topic_filter
from bridge.messaging.limits import Limits
from bridge.messaging.matcher import matches
from bridge.messaging.model import Message
from mappings.mqtt.addresses import pattern_from_filter, subject_from_topic
from mappings.mqtt.filters import covers
from mappings.mqtt.retained import RetainedMessages, TopicTree
from mappings.mqtt.subscribing import RETAINED_BATCH
from tests.mappings.mqtt.broker import Broker
from tests.support.memory_store import MemoryStore
from tests.support.mqtt_client import texts

LEVELS = st.sampled_from(["a", "b", "", "$s", "a.b"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = st.lists(st.sampled_from(["a", "b", "", "$s", "+"]), min_size=1, max_size=4)


@given(st.lists(TOPICS, max_size=20), FILTERS, st.booleans())
def test_the_tree_finds_what_a_filter_covers(
    topics: list[str], levels: list[str], rest: bool
) -> None:
    tree = TopicTree()
    for topic in topics:
        tree.add(topic)
    text = "/".join([*levels, "#"] if rest else levels) or "+"
    pattern = pattern_from_filter(text)
    expected = {topic for topic in topics if covers(pattern, subject_from_topic(topic))}
    assert sorted(tree.find(text)) == sorted(expected)
    assert tree.count == len(set(topics))


@given(st.lists(st.tuples(TOPICS, st.booleans()), max_size=40))
def test_the_tree_is_a_set(steps: list[tuple[str, bool]]) -> None:
    tree, model = TopicTree(), set[str]()
    for topic, add in steps:
        if add:
            assert tree.add(topic) is (topic not in model)
            model.add(topic)
        else:
            assert tree.remove(topic) is (topic in model)
            model.discard(topic)
    found = set(tree.find("#")) | {topic for topic in model if topic.startswith("$")}
    assert (found, tree.count) == (model, len(model))
    assert matches("#", "a")


def test_deep_topics_cost_what_they_are_long() -> None:
    tree = TopicTree()
    deep = "/".join(["a"] * 100)
    topics = {deep, deep + "/b", "/".join(["a"] * 33), "/".join(["a"] * 32), "a" + "/" * 65_000}
    for topic in topics:
        assert tree.add(topic)
        assert not tree.add(topic)
    assert set(tree.find("#")) == topics
    assert set(tree.find("/".join(["+"] * 100))) == {deep}
    assert set(tree.find("/".join(["a"] * 99) + "/#")) == {deep, deep + "/b"}
    assert set(tree.find("/".join(["+"] * 33))) == {"/".join(["a"] * 33)}
    assert set(tree.find("/".join(["+"] * 32))) == {"/".join(["a"] * 32)}
    for topic in topics:
        assert tree.remove(topic)
    assert (tree.count, list(tree.find("#"))) == (0, [])


async def test_a_new_subscriber_gets_what_is_retained(broker: Broker) -> None:
    publisher = await broker.client("p")
    for qos in (0, 1, 2):
        await publisher.publish(f"r/{qos}", f"m{qos}", qos=qos, retain=True)
    await publisher.publish("r", "parent", qos=1, retain=True)
    await publisher.publish("$r/0", "hidden", qos=1, retain=True)
    for crash in (False, True):
        if crash:
            await broker.crash()
        client = await broker.client("c")
        await client.subscribe("#", qos=1, identifier=4)
        publishes = await client.publishes(4)
        assert sorted(texts(publishes)) == ["r parent", "r/0 m0", "r/1 m1", "r/2 m2"]
        assert {each.qos for each in publishes} == {0, 1}
        assert all(each.retain for each in publishes)
        assert {each.properties.subscription_identifiers for each in publishes} == {(4,)}
        assert await client.quiet()
        await client.leave()


async def test_what_is_retained_comes_before_what_is_published_then(broker: Broker) -> None:
    client = await broker.client("c")
    await client.publish("t", "old", qos=1, retain=True)
    client.connection.subscribe([Subscription(parse_topic_filter("t"), 1)])
    client.send("t", "new", qos=1, retain=True)
    first, second = await client.publishes(2)
    assert (first.payload, first.retain) == (b"old", True)
    assert (second.payload, second.retain) == (b"new", False)
    assert await client.quiet()


async def test_an_empty_payload_clears(broker: Broker) -> None:
    client = await broker.client("c")
    await client.publish("r", "m", qos=1, retain=True)
    assert broker.sessions.retained.count == 1
    await client.publish("r", "", qos=1, retain=True)
    assert broker.sessions.retained.count == 0
    await client.subscribe("r", qos=1)
    assert await client.quiet()
    assert not list(broker.state.scan("retained"))


async def test_live_messages_lose_the_flag_unless_asked_for(broker: Broker) -> None:
    plain, kept = await broker.client("a"), await broker.client("b")
    await plain.subscribe("r", qos=1)
    await kept.subscribe("r", qos=1, retain_as_published=True)
    for qos in (0, 1):
        await plain.publish("r", "m", qos=qos, retain=True)
        assert not (await plain.publishes(1))[0].retain
        assert (await kept.publishes(1))[0].retain


async def test_retain_handling(broker: Broker) -> None:
    client = await broker.client("c")
    await client.publish("r", "m", qos=1, retain=True)
    await client.subscribe("r", qos=1, retain_handling=2)
    assert await client.quiet()
    await client.subscribe("r", qos=1, retain_handling=1)
    assert await client.quiet()
    await client.unsubscribe("r")
    await client.subscribe("r", qos=1, retain_handling=1)
    assert await client.payloads(1) == [b"m"]
    await client.subscribe("r", qos=1)
    assert await client.payloads(1) == [b"m"]


async def test_retained_messages_expire(broker: Broker) -> None:
    client = await broker.client("c")
    await client.publish("r", "m", qos=1, retain=True, message_expiry_interval=60)
    broker.move_on(20)
    await client.subscribe("r", qos=1)
    (publish,) = await client.publishes(1)
    assert publish.properties.message_expiry_interval in (39, 40)
    broker.move_on(41)
    await client.subscribe("r", qos=1)
    assert await client.quiet()
    assert broker.sessions.retained.count == 0


async def test_many_retained_messages_come_within_the_quota(broker: Broker) -> None:
    publisher = await broker.client("p")
    for number in range(1_000):
        publisher.send(f"many/{number}", str(number), qos=1, retain=True, token=number)
    await publisher.until(lambda: len(publisher.acknowledged) == 1_000)
    client = await broker.client("c", version=ProtocolVersion.V5, receive_maximum=10)
    await client.subscribe("many/+", qos=1)
    payloads = await client.payloads(1_000)
    assert {int(each) for each in payloads} == set(range(1_000))


async def test_shared_subscriptions_get_nothing_retained(broker: Broker) -> None:
    client = await broker.client("c")
    await client.publish("r", "m", qos=1, retain=True)
    await client.subscribe("$share/g/r", qos=1)
    assert await client.quiet()


async def test_the_number_of_retained_messages_is_bounded(broker: Broker) -> None:
    broker.sessions.retained._max = 2
    client = await broker.client("c")
    for topic in ("a", "b", "c", "a"):
        await client.publish(topic, "m", qos=1, retain=True)
    assert broker.sessions.retained.count == 2
    assert Limits().mqtt_retained_max > 1_000_000


async def test_what_is_retained_while_one_subscribes_comes_once(broker: Broker) -> None:
    publisher = await broker.client("p")
    await publisher.publish("t/old", "old", qos=1, retain=True)
    await publisher.publish("t/new", "before", qos=1, retain=True)
    client = await broker.client("c", session_expiry_interval=60)
    client.connection.subscribe([Subscription(parse_topic_filter("t/#"), 1)])
    client.flush()
    while not any(broker.topology.subscriptions_to(each.name) for each in broker.store.queues()):
        await asyncio.sleep(0)
    assert not any(isinstance(event, SubscribeAnswered) for event in client.events)
    await publisher.publish("t/new", "now", qos=1, retain=True)
    assert sorted(texts(await client.publishes(2))) == ["t/new now", "t/old old"]
    assert await client.quiet()


async def test_what_is_retained_while_much_is_sent_comes_once(broker: Broker) -> None:
    publisher = await broker.client("p")
    names = [f"t/{number}" for number in range(RETAINED_BATCH * 2)]
    for name in names:
        publisher.send(name, "before", qos=1, retain=True, token=name)
    await publisher.until(lambda: len(publisher.acknowledged) == len(names))
    client = await broker.client("c")
    await client.subscribe("t/#", qos=1)
    for name in names:
        publisher.send(name, "now", qos=1, retain=True, token=name)
    await publisher.until(lambda: len(publisher.acknowledged) == 2 * len(names))
    seen: dict[str, list[bytes]] = {}
    while len(seen) < len(names) or any(each[-1] != b"now" for each in seen.values()):
        (publish,) = await client.publishes(1)
        seen.setdefault(publish.topic, []).append(publish.payload)
    assert await client.quiet()
    assert all(each in ([b"before", b"now"], [b"now"]) for each in seen.values())


def test_what_other_nodes_retain_and_clear_is_followed() -> None:
    store, here, there = MemoryStore(), MemoryStore(), []
    retained = RetainedMessages(here, 10)
    retained.load()
    elsewhere = RetainedMessages(store, 10)
    for body in (b"on", b""):
        message = Message("id", body, 1, topic="amq.topic", subject="room.lamp")
        change = elsewhere.change("/", "room/lamp", message)
        assert change is not None
        here.change_elsewhere(change)
        there.append(list(retained.topics("/", "room/+")))
    assert there == [["room/lamp"], []]
    # What is retained elsewhere and not known here yet can be cleared, too.
    cleared = retained.change("/", "room/door", Message("id", b"", 1))
    assert cleared is not None
    assert cleared.value is None
