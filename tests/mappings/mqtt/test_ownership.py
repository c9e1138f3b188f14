"""Sessions on several nodes: one owner at a time, whatever node the client comes to.

The nodes share one store and one catalogue here; leases and memory are each node's own.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from adapters.mqtt.events import ReleasesReceived
from adapters.mqtt.packets import Will
from adapters.mqtt.properties import Properties
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.session import Inbound
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.model import UnitOfWork
from mappings.mqtt.orphans import KIND_NODE, LOOK_SECONDS, Orphans
from mappings.mqtt.session import KIND_SENT, KIND_SESSION
from mappings.mqtt.sessions import sessions_of
from tests.mappings.mqtt.broker import Broker, WiredClient
from tests.support.mqtt_client import connect as connect_packet
from tests.support.node_leases import NodeLeases, Place

WILL = Will("will", b"gone", 1, False, Properties(will_delay_interval=5))
LONG: dict[str, Any] = {"clean": False, "session_expiry_interval": 1000}


class Nodes:
    """Nodes on one store."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._place = Place()
        self._tasks: list[asyncio.Task[None]] = []
        self.leases: dict[Broker, NodeLeases] = {}

    def start(self, name: str) -> Broker:
        """A node more."""
        node = copy.copy(self._broker)
        self.leases[node] = NodeLeases(self._place, name)
        node.services = replace(
            node.services, leases=self.leases[node], shared={}, spawn=self._spawn
        )
        node.sessions = sessions_of(node.services)
        return node

    def die(self, node: Broker) -> None:
        """Nobody hears of the node any more; what it still does is done in vain."""
        self.leases[node].die()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if getattr(coroutine, "__name__", "") == Orphans.keep_looking.__name__:
            # It goes on for ever.
            self._tasks.append(asyncio.get_running_loop().create_task(coroutine))
        else:
            self._broker.spawn(coroutine)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()


@pytest.fixture
async def nodes(broker: Broker) -> AsyncIterator[Nodes]:
    nodes = Nodes(broker)
    yield nodes
    nodes.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def look(node: Broker) -> None:
    """Let a node look after sessions that nobody has, as it does every few seconds."""
    assert node.sessions.orphans is not None
    await node.sessions.orphans.look()


def present(client: WiredClient) -> bool:
    assert client.connack is not None
    return client.connack.session_present


async def test_a_connected_session_follows_its_client_to_another_node(nodes: Nodes) -> None:
    one, two = nodes.start("one"), nodes.start("two")
    first = await one.client("c", **LONG)
    await first.subscribe("t", qos=1)
    second = await two.client("c", **LONG)
    assert present(second)
    assert first.disconnected == ReasonCode.SESSION_TAKEN_OVER
    await second.publish("t", "x", qos=1)
    assert await second.payloads(1) == [b"x"]
    assert one.sessions.by_client == {}
    assert one.sessions.by_queue == {}
    third = await one.client("c", **LONG)
    assert present(third)
    assert second.disconnected == ReasonCode.SESSION_TAKEN_OVER


async def test_a_session_without_a_connection_follows_too(nodes: Nodes) -> None:
    one, two = nodes.start("one"), nodes.start("two")
    first = await one.client("c", **LONG)
    await first.subscribe("t", qos=1)
    await first.leave()
    other = await two.client("o")
    await other.publish("t", "while away", qos=1)
    second = await two.client("c", **LONG)
    assert present(second)
    assert await second.payloads(1) == [b"while away"]


async def test_a_clean_start_ends_the_session_of_another_node(nodes: Nodes) -> None:
    one, two = nodes.start("one"), nodes.start("two")
    first = await one.client("c", **LONG)
    await first.subscribe("t", qos=1)
    second = await two.client("c", clean=True)
    assert not present(second)
    assert first.disconnected == ReasonCode.SESSION_TAKEN_OVER
    assert not any(two.state.scan(KIND_SESSION))
    third = await one.client("c", clean=True)
    assert not present(third)
    assert second.disconnected == ReasonCode.SESSION_TAKEN_OVER


async def test_two_connections_of_a_client_to_one_node_come_one_after_the_other(
    nodes: Nodes,
) -> None:
    one = nodes.start("one")
    first = one.raw(connect_packet("c", **LONG))
    second = await one.client("c", **LONG)
    await until(lambda: first.closed)
    await second.publish("t", "x", qos=1)
    assert one.sessions.by_client["/", "c"].gateway is second.gateway


async def test_packet_ids_of_qos_2_go_along(nodes: Nodes) -> None:
    one, two = nodes.start("one"), nodes.start("two")
    await one.client("c", **LONG)
    session = one.sessions.by_client["/", "c"]
    await one.sessions.committed(*session.received([5, 300]))
    await one.sessions.committed(*session.sent(0, [9], ["sent"]))
    await two.client("c", **LONG)
    taken = two.sessions.by_client["/", "c"]
    assert taken.epoch > session.epoch
    assert taken.state.received == {5: Inbound.STORED, 300: Inbound.STORED}
    assert taken.resumed == {"sent": 9}


async def test_what_a_killed_node_had_no_time_to_delete_comes_late_and_not_again(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = nodes.start("one"), nodes.start("two"), nodes.start("three")
    first = await one.client("c", **LONG)
    await first.subscribe("t", qos=2)
    first.automatic = False
    await (await one.client("o")).publish("t", "once", qos=2)
    publishes = await first.publishes(1)
    left = UnitOfWork()
    submit = one.store.submit

    def submit_all_but_deletes(unit: UnitOfWork) -> None:
        left.releases += unit.deletes
        unit.deletes = []
        submit(unit)

    with monkeypatch.context() as patch:
        patch.setattr(one.store, "submit", submit_all_but_deletes)
        first.connection.acknowledge(publishes)
        first.flush()
        await first.event(ReleasesReceived)
    nodes.die(one)
    first.cut()
    second = await two.client("c", **LONG, session=first.session)
    second.connection.complete(list(second.session.received))
    second.flush()
    await until(lambda: not two.sessions.by_client["/", "c"].state.in_flight)
    third = await three.client("c", **LONG, session=second.session)
    third.automatic = True
    assert left.releases
    three.store.submit(left)
    await until(lambda: not three.sessions.by_client["/", "c"].discarded)
    await third.publish("t", "next", qos=2)
    assert await third.payloads(1) == [b"next"]
    assert await three.waiting("mqtt-session-c") == 0
    await three.client("c", clean=True)
    assert not any(three.state.scan(KIND_SENT))


async def test_what_a_former_owner_still_writes_changes_nothing(nodes: Nodes) -> None:
    one, two, three = nodes.start("one"), nodes.start("two"), nodes.start("three")
    await one.client("c", **LONG)
    former = one.sessions.by_client["/", "c"]
    await one.sessions.committed(*former.received([5]))
    nodes.die(one)
    await two.client("c", **LONG)
    await one.sessions.committed(*former.received([6]))
    await two.sessions.committed(*two.sessions.by_client["/", "c"].received([7]))
    nodes.die(two)
    await three.client("c", **LONG)
    session = three.sessions.by_client["/", "c"]
    assert set(session.state.received) == {5, 7}
    # Nor is anything left of it.
    nodes.die(three)
    four = nodes.start("four")
    await four.client("c", clean=True)
    assert not any(four.state.scan("mqtt-received"))


async def test_a_node_that_was_taken_for_dead_lets_go(nodes: Nodes) -> None:
    one, two = nodes.start("one"), nodes.start("two")
    first = await one.client("c", **LONG)
    clean = await one.client("d")
    nodes.leases[one].lapse()
    await first.until(lambda: first.closed)
    await clean.until(lambda: clean.closed)
    assert one.sessions.by_client == {}
    assert present(await two.client("c", **LONG))


async def test_the_will_of_a_dead_node_s_session_is_published(nodes: Nodes) -> None:
    one, two = nodes.start("one"), nodes.start("two")
    watcher = await two.client("w", **LONG)
    await watcher.subscribe("will", qos=1)
    await one.client("c", **LONG, will=WILL)
    await until(lambda: len(list(two.state.scan("mqtt-node"))) == 2)
    nodes.die(one)
    await look(two)
    assert await watcher.quiet()
    two.move_on(6)
    await look(two)
    two.sessions.handle_deadline(two.clock.epoch_ms())
    assert await watcher.payloads(1) == [b"gone"]
    # Its session is there for its client as before.
    assert present(await two.client("c", **LONG))


async def test_a_look_that_fails_is_made_up_for(nodes: Nodes) -> None:
    one, two = nodes.start("one"), nodes.start("two")

    async def refuse(*_: object, **__: object) -> None:
        raise StoreUnavailable("the table takes nothing")

    async def look_in_vain() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(two.sessions, "committed", refuse)
            with pytest.raises(StoreUnavailable):
                await look(two)

    def known() -> list[str]:
        return [key for key, _ in two.state.scan(KIND_NODE)]

    await look_in_vain()
    await look(one)
    await look(two)
    assert known() == ["one", "two"]
    nodes.die(one)
    await look_in_vain()
    assert known() == ["one", "two"]
    await look(two)
    assert known() == ["two"]


async def test_what_is_due_waits_for_the_store_and_no_longer(nodes: Nodes) -> None:
    one, two = nodes.start("one"), nodes.start("two")
    watcher = await two.client("w", **LONG)
    await watcher.subscribe("will", qos=1)
    await one.client("c", **LONG, will=WILL)
    await until(lambda: len(list(two.state.scan("mqtt-node"))) == 2)
    nodes.die(one)
    await look(two)
    two.move_on(6)

    async def refuse(*_: object) -> None:
        raise StoreUnavailable("the table cannot be read")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two.state, "refresh", refuse)
        await look(two)
    two.move_on(LOOK_SECONDS)
    await look(two)
    two.sessions.handle_deadline(two.clock.epoch_ms())
    assert await watcher.payloads(1) == [b"gone"]


async def test_a_dead_node_s_session_ends_in_time(nodes: Nodes) -> None:
    one, two = nodes.start("one"), nodes.start("two")
    client = await one.client("c", **LONG)
    await client.subscribe("t", qos=1)
    await until(lambda: len(list(two.state.scan("mqtt-node"))) == 2)
    nodes.die(one)
    await look(two)
    two.move_on(1001)
    await look(two)
    two.sessions.handle_deadline(two.clock.epoch_ms())
    await two.at_rest()
    assert not any(two.state.scan(KIND_SESSION))
    assert two.queue_names() == []


async def test_a_shared_queue_is_there_for_members_of_other_nodes(nodes: Nodes) -> None:
    one, two = nodes.start("one"), nodes.start("two")
    first, second = await one.client("a"), await two.client("b")
    await first.subscribe("$share/g/t", qos=1)
    await second.subscribe("$share/g/t", qos=1)
    await first.leave()
    await one.at_rest()
    other = await one.client("o")
    await other.publish("t", "x", qos=1)
    assert await second.payloads(1) == [b"x"]
    await second.leave()
    await two.at_rest()
    assert not [each for each in one.queue_names() if "share" in each]


async def test_a_shared_queue_goes_with_the_node_of_its_last_member(nodes: Nodes) -> None:
    one, two = nodes.start("one"), nodes.start("two")
    await (await one.client("a")).subscribe("$share/g/t", qos=1)
    await until(lambda: len(list(two.state.scan("mqtt-node"))) == 2)
    nodes.die(one)
    await look(two)
    assert not [each for each in two.queue_names() if "share" in each]
