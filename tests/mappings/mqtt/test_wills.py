"""Wills: when they are published, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.mqtt.packets import ProtocolVersion, Will
from adapters.mqtt.properties import Properties
from adapters.mqtt.reason_codes import ReasonCode
from tests.mappings.mqtt.broker import Broker, WiredClient

WILL = Will("will/c", b"gone", 1)


def delayed(seconds: int) -> Will:
    return Will("will/c", b"gone", 1, False, Properties(will_delay_interval=seconds))


async def watcher(broker: Broker) -> WiredClient:
    client = await broker.client("watcher")
    await client.subscribe("will/#", qos=1)
    return client


@pytest.mark.parametrize("version", [ProtocolVersion.V3_1_1, ProtocolVersion.V5])
async def test_a_lost_connection_publishes_the_will(
    broker: Broker, version: ProtocolVersion
) -> None:
    watching = await watcher(broker)
    client = await broker.client("c", version=version, will=WILL)
    client.cut()
    (publish,) = await watching.publishes(1)
    assert (publish.topic, publish.payload, publish.qos) == ("will/c", b"gone", 1)


async def test_a_disconnect_that_came_before_the_loss_deletes_the_will(broker: Broker) -> None:
    watching = await watcher(broker)
    client = await broker.client("c", version=ProtocolVersion.V3_1_1, will=WILL)
    # The subscription is still being made when the client has gone.
    subscribe, publish = b"\x82\x06\x00\x01\x00\x01t\x00", b"\x30\x09\x00\x06will/dx"
    client.transmit(subscribe + publish + b"\xe0\x00")
    client.cut()
    await broker.at_rest()
    await (await broker.client("d")).publish("will/e", b"y")
    assert await watching.payloads(2) == [b"x", b"y"]


async def test_a_disconnect_deletes_the_will(broker: Broker) -> None:
    watching = await watcher(broker)
    await (await broker.client("c", will=WILL)).leave()
    assert await watching.quiet()


async def test_disconnect_with_will_publishes_it(broker: Broker) -> None:
    watching = await watcher(broker)
    await (await broker.client("c", will=WILL)).leave(ReasonCode.DISCONNECT_WITH_WILL)
    assert await watching.payloads(1) == [b"gone"]


@pytest.mark.parametrize(
    "reason", [ReasonCode.UNSPECIFIED_ERROR, ReasonCode.RECEIVE_MAXIMUM_EXCEEDED]
)
async def test_only_a_normal_disconnect_deletes_the_will(
    broker: Broker, reason: ReasonCode
) -> None:
    watching = await watcher(broker)
    await (await broker.client("c", will=WILL)).leave(reason)
    assert await watching.payloads(1) == [b"gone"]


async def test_a_protocol_error_publishes_the_will(broker: Broker) -> None:
    watching = await watcher(broker)
    client = await broker.client("c", will=WILL)
    client.transmit(b"\xf0\x00\xff")
    assert await watching.payloads(1) == [b"gone"]
    await client.until(lambda: client.closed)


async def test_a_take_over_publishes_the_will(broker: Broker) -> None:
    watching = await watcher(broker)
    await broker.client("c", will=WILL)
    await broker.client("c")
    assert await watching.payloads(1) == [b"gone"]


async def test_a_delayed_will_waits(broker: Broker) -> None:
    watching = await watcher(broker)
    client = await broker.client("c", clean=False, session_expiry_interval=100, will=delayed(30))
    client.cut()
    broker.move_on(29)
    assert await watching.quiet()
    broker.move_on(2)
    assert await watching.payloads(1) == [b"gone"]
    broker.move_on(200)
    assert await watching.quiet()


async def test_coming_back_in_time_cancels_a_delayed_will(broker: Broker) -> None:
    watching = await watcher(broker)
    options: dict[str, Any] = {"clean": False, "session_expiry_interval": 100}
    client = await broker.client("c", will=delayed(30), **options)
    client.cut()
    await broker.client("c", **options)
    broker.move_on(31)
    assert await watching.quiet()


async def test_the_end_of_the_session_publishes_a_delayed_will(broker: Broker) -> None:
    watching = await watcher(broker)
    client = await broker.client("c", clean=False, session_expiry_interval=10, will=delayed(30))
    client.cut()
    broker.move_on(11)
    assert await watching.payloads(1) == [b"gone"]


async def test_clean_start_publishes_a_delayed_will(broker: Broker) -> None:
    watching = await watcher(broker)
    client = await broker.client("c", clean=False, session_expiry_interval=100, will=delayed(30))
    client.cut()
    await broker.client("c", clean=True)
    assert await watching.payloads(1) == [b"gone"]


@pytest.mark.parametrize("delay", [5, 30])
async def test_the_will_of_a_stored_session_survives_a_crash(broker: Broker, delay: int) -> None:
    await broker.client("c", clean=False, session_expiry_interval=100, will=delayed(delay))
    await broker.crash()
    watching = await watcher(broker)
    assert await watching.quiet()
    broker.move_on(delay + 1)
    assert await watching.payloads(1) == [b"gone"]


async def test_a_will_has_properties_and_may_be_retained(broker: Broker) -> None:
    will = Will(
        "will/c",
        b"gone",
        2,
        True,
        Properties(
            user_properties=(("a", "1"), ("a", "2")),
            content_type="text/plain",
            message_expiry_interval=50,
            will_delay_interval=0,
        ),
    )
    client = await broker.client("c", will=will)
    client.cut()
    watching = await watcher(broker)
    (publish,) = await watching.publishes(1)
    assert publish.retain
    assert publish.properties.user_properties == (("a", "1"), ("a", "2"))
    assert publish.properties.content_type == "text/plain"
    assert publish.properties.message_expiry_interval in (49, 50)
