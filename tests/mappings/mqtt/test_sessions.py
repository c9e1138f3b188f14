"""Sessions that outlive connections and the process: subscriptions, messages, packet ids."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from adapters.mqtt.events import DeliveriesReceived, PublishesReceived, ReleasesReceived
from adapters.mqtt.packets import ProtocolVersion, Publish
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.session import Inbound
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.limits import Limits
from bridge.messaging.model import QueueName, UnitOfWork
from tests.mappings.mqtt.broker import Broker, WiredClient

V3, V5 = ProtocolVersion.V3_1_1, ProtocolVersion.V5
DURABLE: dict[ProtocolVersion, dict[str, Any]] = {
    V3: {"version": V3, "clean": False},
    V5: {"version": V5, "clean": False, "session_expiry_interval": 1000},
}


async def durable(broker: Broker, version: ProtocolVersion = V5, **options: Any) -> WiredClient:
    return await broker.client("c", **{**DURABLE[version], **options})


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("version", [V3, V5])
async def test_messages_wait_for_a_session(
    broker: Broker, version: ProtocolVersion, crash: bool
) -> None:
    client = await durable(broker, version)
    assert client.connack is not None
    assert not client.connack.session_present
    await client.subscribe("a/+", qos=2)
    await client.subscribe("b", qos=1)
    await client.leave()
    other = await broker.client("o")
    for qos in (0, 1, 2):
        await other.publish("a/x", f"a{qos}", qos=qos)
        await other.publish("b", f"b{qos}", qos=qos)
    if crash:
        await broker.crash()
    client = await durable(broker, version)
    assert client.connack is not None
    assert client.connack.session_present
    publishes = await client.publishes(4)
    assert {(each.payload, each.qos) for each in publishes} == {
        (b"a1", 1),
        (b"b1", 1),
        (b"b2", 1),
        (b"a2", 2),
    }
    assert await client.quiet()


async def test_clean_start_forgets_the_session(broker: Broker) -> None:
    client = await durable(broker)
    await client.subscribe("t", qos=1)
    await client.leave()
    assert "mqtt-session-c" in broker.queue_names()
    again = await broker.client("c", clean=True)
    assert again.connack is not None
    assert not again.connack.session_present
    assert broker.queue_names() == []
    await again.publish("t", qos=1)
    assert await again.quiet()


async def test_a_clean_session_leaves_nothing_behind(broker: Broker) -> None:
    client = await broker.client("c")
    await client.subscribe("t", qos=1)
    assert len(broker.queue_names()) == 1
    client.cut()
    await broker.at_rest()
    assert broker.queue_names() == []
    assert not list(broker.state.scan("mqtt-session"))
    assert not broker.sessions.by_client


@pytest.mark.parametrize("qos", [1, 2])
async def test_messages_expire_while_they_wait(broker: Broker, qos: int) -> None:
    client = await durable(broker)
    await client.subscribe("t", qos=2)
    await client.leave()
    other = await broker.client("o")
    await other.publish("t", "short", qos=qos, message_expiry_interval=10)
    await other.publish("t", "long", qos=qos, message_expiry_interval=100)
    await other.publish("t", "endless", qos=qos)
    broker.move_on(20)
    client = await durable(broker)
    long, endless = await client.publishes(2)
    assert (long.payload, endless.payload) == (b"long", b"endless")
    assert long.properties.message_expiry_interval in (79, 80)
    assert endless.properties.message_expiry_interval is None
    assert await client.quiet()


async def test_the_oldest_go_when_too_many_wait(tmp_path: Path) -> None:
    limits = Limits(mqtt_session_messages_max=5)
    async with Broker(tmp_path / "limited", limits=limits) as broker:
        client = await durable(broker)
        await client.subscribe("t", qos=1)
        await client.leave()
        other = await broker.client("o")
        for number in range(8):
            await other.publish("t", str(number), qos=1)
        client = await durable(broker)
        assert await client.payloads(5) == [b"3", b"4", b"5", b"6", b"7"]
        assert await client.quiet()
        assert broker.log.counts["dropped"] == 3
        assert broker.sessions.figures.current()["$SYS/broker/publish/messages/dropped"] == b"3"


async def test_a_session_expires(broker: Broker) -> None:
    client = await broker.client("c", clean=False, session_expiry_interval=60)
    await client.subscribe("t", qos=1)
    client.cut()
    broker.move_on(59)
    await broker.at_rest()
    assert broker.queue_names() == ["mqtt-session-c"]
    broker.move_on(2)
    await broker.at_rest()
    assert broker.sessions.figures.current()["$SYS/broker/clients/expired"] == b"1"
    assert broker.queue_names() == []
    assert not list(broker.state.scan("mqtt-session"))


async def test_a_session_expires_after_a_crash(broker: Broker) -> None:
    client = await broker.client("c", clean=False, session_expiry_interval=60)
    await client.subscribe("t", qos=1)
    await broker.crash()
    broker.move_on(61)
    await broker.at_rest()
    assert broker.queue_names() == []


async def test_disconnect_can_change_the_expiry(broker: Broker) -> None:
    client = await broker.client("c", clean=False, session_expiry_interval=60)
    await client.subscribe("t", qos=1)
    await client.leave(session_expiry_interval=0)
    await broker.at_rest()
    assert broker.queue_names() == []


@pytest.mark.parametrize("clean", [True, False])
async def test_a_session_is_taken_over(broker: Broker, clean: bool) -> None:
    first = await broker.client("c", clean=False, session_expiry_interval=60)
    await first.subscribe("t", qos=1)
    second = await broker.client("c", clean=clean, session_expiry_interval=60)
    await first.until(lambda: first.closed)
    assert first.disconnected == ReasonCode.SESSION_TAKEN_OVER
    assert second.connack is not None
    assert second.connack.session_present is not clean
    await second.publish("t", qos=1)
    if clean:
        assert await second.quiet()
    else:
        assert await second.payloads(1) == [b"x"]


async def test_a_message_held_for_longer_than_the_store_can_ends_the_connection(
    broker: Broker,
) -> None:
    client = await durable(broker)
    await client.subscribe("t", qos=1)
    queue: Any = broker.sessions.by_client["/", "c"].queue
    (receiver,) = queue.receivers
    receiver.consumer.overdue(39_600)
    await client.until(lambda: client.closed)
    assert client.disconnected == ReasonCode.ADMINISTRATIVE_ACTION


async def test_options_of_a_filter_survive(broker: Broker) -> None:
    client = await durable(broker)
    await client.subscribe("t", qos=2, identifier=5, no_local=True, retain_as_published=True)
    await client.subscribe("t", qos=1, identifier=6, no_local=True, retain_as_published=True)
    await broker.crash()
    client = await durable(broker)
    await client.publish("t", "own", qos=1)
    other = await broker.client("o")
    await other.publish("t", "kept", qos=2, retain=True)
    (publish,) = await client.publishes(1)
    assert (publish.payload, publish.qos, publish.retain) == (b"kept", 1, True)
    assert publish.properties.subscription_identifiers == (6,)


async def test_unsubscribed_stays_so(broker: Broker) -> None:
    client = await durable(broker)
    await client.subscribe("t", "u", qos=1)
    assert await client.unsubscribe("t", "x") == [
        ReasonCode.SUCCESS,
        ReasonCode.NO_SUBSCRIPTION_EXISTED,
    ]
    await client.publish("t", qos=1)
    await broker.crash()
    client = await durable(broker)
    await client.publish("t", qos=1)
    await client.publish("u", "u", qos=1)
    assert await client.payloads(1) == [b"u"]
    assert await client.quiet()


@pytest.mark.parametrize("version", [V3, V5])
async def test_what_is_unacknowledged_comes_again_under_its_id(
    broker: Broker, version: ProtocolVersion
) -> None:
    client = await durable(broker, version)
    await client.subscribe("t", qos=2)
    client.automatic = False
    for number in range(6):
        await (await broker.client("o")).publish("t", str(number), qos=1 + number % 2)
    before = await client.publishes(6)
    client.cut()
    again = await durable(broker, version)
    again.automatic = False
    after = await again.publishes(6)
    assert all(each.dup for each in after)
    assert {(each.packet_id, each.payload) for each in after} == {
        (each.packet_id, each.payload) for each in before
    }
    for qos in (1, 2):
        assert [each.payload for each in after if each.qos == qos] == [
            each.payload for each in before if each.qos == qos
        ]
    assert await again.quiet()


async def test_what_the_client_has_is_not_sent_again_though_the_store_failed(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await durable(broker)
    await client.subscribe("t", qos=2)
    client.automatic = False
    await (await broker.client("o")).publish("t", "once", qos=2)
    received = await client.publishes(1)
    released = UnitOfWork()

    def refuse(unit: UnitOfWork) -> None:
        released.releases += [*unit.deletes, *unit.releases]
        unit.error = StoreUnavailable("the disk is full")
        if unit.done is not None:
            asyncio.get_running_loop().call_soon(unit.done, unit)

    with monkeypatch.context() as patch:
        patch.setattr(broker.store, "submit", refuse)
        client.connection.acknowledge(received)
        client.flush()
        await client.until(lambda: client.closed)
    broker.store.submit(released)
    again = await durable(broker, session=client.session)
    again.automatic = False
    event = await again.event(ReleasesReceived)
    again.connection.complete(event.packet_ids)
    again.flush()
    again.automatic = True
    await again.publish("t", "next", qos=2)
    assert await again.payloads(1) == [b"next"]
    assert await again.quiet()


@pytest.mark.parametrize("qos", [1, 2])
async def test_what_comes_again_waits_for_the_quota(broker: Broker, qos: int) -> None:
    client = await durable(broker, receive_maximum=1)
    await client.subscribe("t", qos=qos)
    await client.subscribe("$share/g/s", qos=1)
    client.automatic = False
    other = await broker.client("o")
    await other.publish("t", "first", qos=qos)
    (before,) = await client.publishes(1)
    client.cut()
    queue = broker.store.queue(QueueName("/", "mqtt-session-c"))
    assert queue is not None
    held = await broker.store.take(queue)
    assert held is not None
    again = await durable(broker, receive_maximum=1)
    again.automatic = False
    await other.publish("s", "shared", qos=1)
    (shared,) = await again.publishes(1)
    unit = UnitOfWork()
    unit.releases.append(held)
    broker.store.submit(unit)
    assert await again.quiet()
    again.connection.acknowledge([shared])
    again.flush()
    (after,) = await again.publishes(1)
    assert (after.payload, after.packet_id, after.dup) == (b"first", before.packet_id, True)


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("step", ["publish", "pubrec", "pubrel"])
async def test_outbound_qos_2_is_exactly_once(broker: Broker, step: str, crash: bool) -> None:
    client = await durable(broker)
    await client.subscribe("t", qos=2)
    client.automatic = False
    other = await broker.client("o")
    await other.publish("t", "once", qos=2)
    received = list(await client.publishes(1))
    if step != "publish":
        client.connection.acknowledge(received)
        client.flush()
        if step == "pubrel":
            await client.event(ReleasesReceived)
    if crash:
        await broker.crash()
    else:
        client.cut()
    # The client remembers by its session which packet ids it has taken: nothing comes twice.
    released = [each for each, step in client.session.received.items() if step is Inbound.RELEASED]
    again = await durable(broker, session=client.session)
    again.connection.complete(released)
    if step == "publish":
        again.connection.acknowledge(received)
        again.flush()
    await again.until(lambda: not again.session.received)
    await again.publish("t", "next", qos=2)
    assert await again.payloads(1) == [b"next"]
    assert await broker.waiting("mqtt-session-c") == 0
    await again.until(lambda: not again.session.received)
    assert await again.quiet()
    assert not list(broker.state.scan("mqtt-sent"))


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("step", ["publish", "pubrec", "pubrel"])
async def test_inbound_qos_2_is_exactly_once(broker: Broker, step: str, crash: bool) -> None:
    subscriber = await broker.client("s", clean=False, session_expiry_interval=1000)
    await subscriber.subscribe("t", qos=2)
    await subscriber.leave()
    client = await durable(broker)
    client.automatic = False
    client.send("t", "once", qos=2)
    if step != "publish":
        event = await client.event(DeliveriesReceived)
        if step == "pubrel":
            client.connection.release(event.packet_ids)
            client.flush()
    if crash:
        await broker.crash()
    else:
        client.cut()
    # PUBLISH goes out again with DUP where no PUBREC came, else PUBREL does.
    session = client.session
    pending = dict(session.awaiting_pubrec)
    for packet_id in list(session.awaiting_release):
        session.awaiting_pubcomp[packet_id] = session.awaiting_release.pop(packet_id)
    again = await durable(broker, session=session)
    if pending:
        again.connection.resend([_publish(packet_id) for packet_id in pending], list(pending))
        again.flush()
    await again.until(lambda: not again.session.in_flight)
    subscriber = await broker.client("s", clean=False, session_expiry_interval=1000)
    assert await subscriber.payloads(1) == [b"once"]
    assert await subscriber.quiet()
    assert not list(broker.state.scan("mqtt-received"))


def _publish(packet_id: int) -> Any:
    return Publish("t", b"once", 2, False, True, packet_id)


async def test_a_resent_packet_id_is_taken_once(broker: Broker) -> None:
    client = await durable(broker)
    client.automatic = False
    subscriber = await broker.client("s")
    await subscriber.subscribe("t", qos=2)
    client.send("t", "once", qos=2)
    await client.event(DeliveriesReceived)
    (packet_id,) = client.session.awaiting_release
    client.cut()
    again = await durable(broker, session=client.session)
    again.session.awaiting_release.clear()
    again.session.awaiting_pubrec[packet_id] = None
    again.connection.resend([_publish(packet_id)], [packet_id])
    again.flush()
    await again.event(DeliveriesReceived)
    assert await subscriber.payloads(1) == [b"once"]
    assert await subscriber.quiet()


async def test_acknowledged_messages_do_not_come_back(broker: Broker) -> None:
    client = await durable(broker)
    await client.subscribe("t", qos=1)
    for number in range(10):
        await client.publish("t", str(number), qos=1)
    await client.publishes(10)
    assert isinstance(client.events, list)
    assert any(isinstance(each, PublishesReceived) for each in client.events)
    client.cut()
    again = await durable(broker, session=client.session)
    assert await again.quiet()
