"""Shared subscriptions: work is spread, nothing is lost when a member leaves."""

from __future__ import annotations

from typing import Any

from adapters.mqtt.packets import Publish
from tests.mappings.mqtt.broker import Broker, WiredClient


async def member(broker: Broker, name: str, **options: Any) -> WiredClient:
    client = await broker.client(name, **options)
    assert await client.subscribe("$share/g/t/+", qos=1, identifier=3) == [1]
    return client


async def test_members_take_turns(broker: Broker) -> None:
    one, two = await member(broker, "1"), await member(broker, "2")
    other = await broker.client("o")
    await other.subscribe("t/#", qos=0)
    for number in range(20):
        await other.publish("t/x", str(number), qos=number % 2)
    await other.publishes(20)
    await one.until(lambda: len(one.inbox) + len(two.inbox) == 20)
    assert min(len(one.inbox), len(two.inbox)) >= 5
    taken = one.inbox + two.inbox
    assert {int(each.payload) for each in taken} == set(range(20))
    assert {each.properties.subscription_identifiers for each in taken} == {(3,)}
    assert {each.qos for each in taken} == {0, 1}


async def test_what_a_member_leaves_goes_to_another(broker: Broker) -> None:
    one = await member(broker, "1")
    one.automatic = False
    publisher = await broker.client("p")
    for number in range(10):
        await publisher.publish("t/x", str(number), qos=1)
    await one.publishes(10)
    two = await member(broker, "2")
    one.cut()
    assert sorted(await two.payloads(10)) == [str(number).encode() for number in range(10)]


async def test_what_waited_for_the_quota_of_one_that_says_goodbye_is_kept(broker: Broker) -> None:
    options: dict[str, Any] = {"clean": False, "session_expiry_interval": 100}
    one = await member(broker, "1", receive_maximum=1, **options)
    one.automatic = False
    await one.subscribe("own", qos=1)
    publisher = await broker.client("p")
    for topic in ("t/x", "own"):
        await publisher.publish(topic, topic, qos=1)
    (first,) = await one.publishes(1)
    assert first.topic == "t/x"
    # Once it is acknowledged the other one could be sent.
    one.connection.acknowledge([first])
    one.transmit(b"".join(one.connection.data_to_send()) + b"\xe0\x00")
    await one.until(lambda: one.closed)
    again = await broker.client("1", **options)
    assert await again.payloads(1) == [b"own"]


async def test_qos_2_stays_with_its_member(broker: Broker) -> None:
    options: dict[str, Any] = {"clean": False, "session_expiry_interval": 100}
    one = await broker.client("1", **options)
    one.automatic = False
    await one.subscribe("$share/g/t", qos=2)
    publisher = await broker.client("p")
    await publisher.publish("t", "once", qos=2)
    (first,) = await one.publishes(1)
    two = await broker.client("2")
    await two.subscribe("$share/g/t", qos=2)
    one.cut()
    assert await two.quiet()
    again = await broker.client("1", **options)
    (second,) = await again.publishes(1)
    assert (second.packet_id, second.dup, first.dup) == (first.packet_id, True, False)


async def test_messages_wait_for_members_that_are_away(broker: Broker) -> None:
    options: dict[str, Any] = {"clean": False, "session_expiry_interval": 100}
    one = await member(broker, "1", **options)
    await one.leave()
    publisher = await broker.client("p")
    await publisher.publish("t/x", "waits", qos=1)
    await broker.crash()
    one = await broker.client("1", **options)
    assert await one.payloads(1) == [b"waits"]


async def test_the_queue_goes_with_the_last_member(broker: Broker) -> None:
    one, two = await member(broker, "1"), await member(broker, "2")
    await one.unsubscribe("$share/g/t/+")
    assert any(name.startswith("mqtt-share-") for name in broker.queue_names())
    two.cut()
    await broker.at_rest()
    assert not any(name.startswith("mqtt-share-") for name in broker.queue_names())


async def test_groups_of_clean_sessions_do_not_survive_a_crash(broker: Broker) -> None:
    await member(broker, "1")
    await broker.crash()
    await broker.at_rest()
    assert broker.queue_names() == []


async def test_groups_are_told_apart(broker: Broker) -> None:
    one = await broker.client("1")
    await one.subscribe("$share/g/t", "$share/h/t", "t", qos=1)
    await one.publish("t", qos=1)
    publishes: list[Publish] = await one.publishes(3)
    assert {each.topic for each in publishes} == {"t"}
    assert await one.quiet()
