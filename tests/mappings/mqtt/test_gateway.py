"""Letting in and refusing, limits, slow clients, other protocols and routes, the end."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.mqtt.packets import ProtocolVersion, Will
from adapters.mqtt.reason_codes import ReasonCode
from bridge.auth import Account, Accounts, Grants
from bridge.messaging.limits import Limits
from bridge.messaging.model import Message, Origin, Publish, QueueName, TopicName, UnitOfWork
from bridge.messaging.properties import CONTENT_TYPE, CORRELATION_ID, PERSISTENT, REPLY_TO
from bridge.routing.rules import Rule
from mappings.gateway import StopReason
from tests.mappings.mqtt.broker import Broker, WiredClient
from tests.support.mqtt_client import connect, texts
from tests.support.stores import Collector, commit

V3, V5 = ProtocolVersion.V3_1_1, ProtocolVersion.V5
HASH = b64encode(b"salt" + hashlib.sha256(b"saltpw").digest()).decode()


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Broker]:
    grants = Grants(publish=("m/{client_id}", "s/+"), subscribe=("m/{user}/#", "s/#"))
    accounts = Accounts([Account("meter", HASH, grants)], secret=b"s")
    async with Broker(tmp_path / "data", accounts=accounts) as broker:
        yield broker
    accounts.close()


async def meter(broker: Broker, version: ProtocolVersion, **options: Any) -> WiredClient:
    return await broker.client("c1", version=version, user="meter", password=b"pw", **options)


def limited(tmp_path: Path, **bounds: Any) -> Broker:
    return Broker(tmp_path / "limited", limits=replace(Limits(), **bounds))


# -- CONNECT


@pytest.mark.parametrize(("version", "code"), [(V3, 4), (V5, ReasonCode.BAD_USER_NAME_OR_PASSWORD)])
async def test_users_are_checked(secured: Broker, version: ProtocolVersion, code: int) -> None:
    client = secured.raw(connect("c", version=version, user="meter", password=b"no"))
    connack = await client.connected()
    assert connack.reason_code == code
    await client.until(lambda: client.closed)
    assert any(line.startswith("refused meter") for line in secured.log.lines)
    assert (await meter(secured, version)).connack


async def test_a_will_must_be_allowed(secured: Broker) -> None:
    packet = connect("c", user="meter", password=b"pw", will=Will("other", b""))
    assert (await secured.raw(packet).connected()).reason_code == ReasonCode.NOT_AUTHORIZED


async def test_an_empty_client_id_is_assigned(broker: Broker) -> None:
    client = await broker.client("")
    assert client.connack is not None
    assigned = client.connack.properties.assigned_client_identifier
    assert assigned
    other = await broker.client("")
    assert other.connack is not None
    assert other.connack.properties.assigned_client_identifier != assigned


async def test_what_is_limited_is_said_in_connack(tmp_path: Path) -> None:
    async with limited(
        tmp_path,
        mqtt_keep_alive_seconds_max=60,
        mqtt_session_expiry_seconds_max=100,
        mqtt_in_flight_max=7,
    ) as broker:
        client = await broker.client("c", keep_alive=600, session_expiry_interval=101)
        assert client.connack is not None
        properties = client.connack.properties
        assert properties.server_keep_alive == 60
        assert properties.session_expiry_interval == 100
        assert properties.receive_maximum == 7
        assert properties.maximum_packet_size is not None
        client = await broker.client("d", keep_alive=60, session_expiry_interval=100)
        assert client.connack is not None
        assert client.connack.properties.server_keep_alive is None
        assert client.connack.properties.session_expiry_interval is None


async def test_a_client_without_room_for_connack_leaves_nothing(broker: Broker) -> None:
    client = broker.raw(connect("c", maximum_packet_size=5))
    with pytest.raises(ConnectionError, match="without a CONNACK"):
        await client.connected()
    await broker.at_rest()
    assert broker.sessions.by_client == {}
    assert broker.log.lines == ["refused anonymous: the client has no room for CONNACK"]


async def test_enhanced_authentication_is_refused(broker: Broker) -> None:
    client = broker.raw(connect("c", authentication_method="SCRAM-SHA-1"))
    assert (await client.connected()).reason_code == ReasonCode.BAD_AUTHENTICATION_METHOD


# -- permissions


async def test_what_is_not_allowed_is_refused_in_mqtt_5(secured: Broker) -> None:
    client = await meter(secured, V5)
    assert await client.subscribe("m/meter/x", "m/#", "$share/g/x", "s/#", qos=1) == [
        1,
        ReasonCode.NOT_AUTHORIZED,
        ReasonCode.NOT_AUTHORIZED,
        1,
    ]
    await client.publish("s/1", "first", qos=1)
    await client.publish("m/other", qos=1)
    await client.publish("m/other", qos=2)
    await client.publish("m/other", qos=0)
    await client.publish("s/1", "last", qos=1)
    assert [each.reason_code for each in client.rejected] == [ReasonCode.NOT_AUTHORIZED] * 2
    assert await client.payloads(2) == [b"first", b"last"]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_what_is_not_allowed_can_end_a_3_1_1_connection(tmp_path: Path, qos: int) -> None:
    accounts = Accounts([Account("meter", HASH, Grants(publish=("s/+",)))], secret=b"s")
    limits = Limits(mqtt_denied_publish_disconnects=True)
    async with Broker(tmp_path / "data", limits=limits, accounts=accounts) as broker:
        client = await meter(broker, V3)
        await client.publish("s/1", "allowed", qos=1)
        client.send("other", qos=qos, token=1)
        await client.until(lambda: client.closed)
        assert 1 not in client.acknowledged
    accounts.close()


async def test_what_is_not_allowed_in_3_1_1(secured: Broker) -> None:
    client = await meter(secured, V3)
    assert await client.subscribe("m/#", "s/#", qos=1) == [0x80, 1]
    await client.publish("m/other", qos=1)
    await client.publish("m/other", qos=2)
    await client.publish("s/1", "last", qos=1)
    assert await client.payloads(1) == [b"last"]
    # The client is not told, so somebody else has to be.
    refused = [line for line in secured.log.lines if line.startswith("refused")]
    assert refused == [
        "refused meter: c1: not allowed to subscribe to 'm/#'",
        "refused meter: c1: not allowed to publish to 'm/other'",
        "refused meter: c1: not allowed to publish to 'm/other'",
    ]


# -- limits


async def test_the_number_of_subscriptions_is_bounded(tmp_path: Path) -> None:
    async with limited(tmp_path, mqtt_subscriptions_max=2) as broker:
        client = await broker.client("c")
        assert await client.subscribe("a", qos=1) == [1]
        assert await client.subscribe("$share/g/b", qos=1) == [1]
        assert await client.subscribe("c", qos=1) == [ReasonCode.QUOTA_EXCEEDED]
        assert await client.subscribe("a", qos=2) == [2]


async def test_filters_may_not_be_too_deep(broker: Broker) -> None:
    client = await broker.client("c")
    assert await client.subscribe("/".join(["+"] * 256)) == [0]
    assert await client.subscribe("/".join(["+"] * 257)) == [ReasonCode.TOPIC_FILTER_INVALID]


async def test_the_rate_of_publishes_is_bounded(tmp_path: Path) -> None:
    async with limited(tmp_path, mqtt_publish_rate_max=10) as broker:
        client = await broker.client("c")
        for _ in range(10):
            client.send("t")
        broker.clock.shift_seconds += 1.1
        for _ in range(10):
            client.send("t")
        assert not client.closed
        # More than any moment that this takes has room for.
        for _ in range(500):
            client.send("t")
        await client.until(lambda: client.closed)
        assert client.disconnected == ReasonCode.MESSAGE_RATE_TOO_HIGH


async def test_a_packet_over_the_limit_ends_the_connection(tmp_path: Path) -> None:
    async with limited(tmp_path, message_size_max=1000) as broker:
        client = await broker.client("c")
        client.connection._peer_packet_size_max = 10**9
        client.send("t", b"x" * 300_000, qos=1)
        await client.until(lambda: client.closed)
        assert client.disconnected == ReasonCode.PACKET_TOO_LARGE


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_client_that_does_not_read(tmp_path: Path, qos: int) -> None:
    async with limited(tmp_path, mqtt_qos_0_buffer_bytes_max=1000) as broker:
        slow, quick = await broker.client("slow"), await broker.client("quick")
        await slow.subscribe("t", qos=qos)
        await quick.subscribe("t", qos=qos)
        slow.gateway.pause_writing()
        for number in range(100):
            await quick.publish("t", f"{number:090d}", qos=qos)
        assert len(await quick.publishes(100)) == 100
        assert not slow.inbox
        slow.gateway.resume_writing()
        if qos:
            assert len(await slow.publishes(100)) == 100
            assert broker.sessions.fanout.dropped == 0
        else:
            assert len(await slow.publishes(10)) == 10
            assert broker.sessions.fanout.dropped == 90
        assert await slow.quiet()


async def test_reading_pauses_when_the_store_falls_behind(tmp_path: Path) -> None:
    async with limited(tmp_path, unanswered_messages_max=10) as broker:
        client = await broker.client("c")
        for number in range(40):
            client.send("t", qos=1, token=number, retain=True)
        assert not client.wire.reading
        await client.until(lambda: len(client.acknowledged) == 40)
        assert client.wire.reading


# -- other protocols and routes


async def publish_elsewhere(broker: Broker, subject: str, body: bytes, **fields: Any) -> None:
    message = Message(
        broker.services.message_ids.next(),
        body,
        broker.clock.epoch_ms(),
        topic="amq.topic",
        subject=subject,
        **fields,
    )
    unit = UnitOfWork()
    broker.router.route([Publish(Origin("stomp", "/topic/x"), message)], unit)
    await commit(broker.store, unit)


async def test_messages_of_other_protocols(broker: Broker) -> None:
    client = await broker.client("c")
    await client.subscribe("a/+", qos=2)
    await publish_elsewhere(
        broker,
        "a.b",
        b"body",
        properties={CONTENT_TYPE: "text/x", CORRELATION_ID: "7", REPLY_TO: "/topic/r.s"},
        headers={"number": 5, "flag": True},
        expires_at=broker.clock.epoch_ms() + 10_000,
    )
    await publish_elsewhere(broker, "a.c", b"light", properties={PERSISTENT: False})
    first, second = await client.publishes(2)
    if first.topic != "a/b":
        first, second = second, first
    assert (first.topic, first.payload, first.qos) == ("a/b", b"body", 1)
    properties = first.properties
    assert (properties.content_type, properties.correlation_data) == ("text/x", b"7")
    assert properties.response_topic == "r/s"
    assert properties.user_properties == (("number", "5"), ("flag", "true"))
    assert properties.message_expiry_interval in (9, 10)
    assert (second.topic, second.qos) == ("a/c", 0)


async def test_a_queue_bound_to_the_topic_tree_gets_publishes(broker: Broker) -> None:
    queue = await broker.topology.ensure_queue(QueueName("/", "all"))
    await broker.topology.subscribe(TopicName("/", "amq.topic"), queue.name, pattern="a.#")
    client = await broker.client("c")
    await client.subscribe("a/b", qos=1)
    collector = Collector()
    await broker.store.consume(queue, collector, credit=100)
    for qos in (0, 1, 2):
        await client.publish(
            "a/b", str(qos), qos=qos, user_properties=(("k", "v"),), content_type="t"
        )
    await collector.expect(3)
    assert collector.bodies == ["0", "1", "2"]
    assert {each.message.subject for each in collector.deliveries} == {"a.b"}
    assert collector.deliveries[0].message.headers == {"k": "v"}
    assert collector.deliveries[0].message.properties[CONTENT_TYPE] == "t"
    assert sorted(await client.payloads(3)) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_routes(tmp_path: Path, qos: int) -> None:
    rule = Rule(
        "lines",
        "mqtt:plant/{line}/+",
        ("sqs:line-{line}", "default"),
        set_attributes={"site": "berlin"},
    )
    async with Broker(tmp_path / "data", rule) as broker:
        client = await broker.client("c")
        await client.subscribe("#", qos=2)
        await client.publish("plant/7/x", "routed", qos=qos)
        await client.publish("other", "plain", qos=qos)
        routed, plain = await client.publishes(2)
        assert texts([routed, plain]) == ["plant/7/x routed", "other plain"]
        assert routed.properties.user_properties == (("site", "berlin"),)
        await broker.at_rest()
        assert await broker.waiting("line-7") == 1


async def test_nobody_subscribed_is_said_in_mqtt_5(broker: Broker) -> None:
    client = await broker.client("c")
    client.wire.seen.clear()
    await client.publish("nobody", qos=1)
    assert client.wire.seen == [b"\x40\x03\x00\x01\x10"]
    await client.publish("nobody", qos=2)
    assert b"\x50\x03\x00\x02\x10" in client.wire.seen


# -- figures


async def test_figures_come_at_once_and_again(broker: Broker) -> None:
    client = await broker.client("c")
    await client.publish("r", "m", qos=1, retain=True)
    await client.subscribe("$SYS/#", qos=1)
    publishes = await client.publishes(24)
    figures = {each.topic.removeprefix("$SYS/broker/"): each.payload for each in publishes}
    assert all(each.retain for each in publishes)
    assert figures["clients/connected"] == b"1"
    assert figures["retained messages/count"] == b"1"
    assert figures["subscriptions/count"] == b"1"
    assert figures["publish/messages/received"] == b"1"
    assert figures["publish/bytes/received"] == b"1"
    assert figures["version"].startswith(b"landbridge version ")
    assert figures["uptime"].endswith(b" seconds")
    client.inbox.clear()
    await broker.client("d")
    broker.clock.shift_seconds += 10
    assert broker.sessions.figures.tell()
    await client.until(lambda: "$SYS/broker/clients/connected 2" in texts(client.inbox))
    assert not any(each.retain for each in client.inbox)
    loads = {each.topic: float(each.payload) for each in client.inbox if "load" in each.topic}
    # One connection in ten seconds, forgotten by a sixth of a minute: 6 * (1 - e ** (-1 / 6)).
    assert 0.8 < loads["$SYS/broker/load/connections/1min"] < 1
    await client.unsubscribe("$SYS/#")
    assert not broker.sessions.figures.tell()


async def test_figures_cannot_be_forged(broker: Broker) -> None:
    client = await broker.client("c")
    await client.publish("$SYS/broker/uptime", "0", qos=1)
    assert client.rejected[0].reason_code == ReasonCode.NOT_AUTHORIZED
    assert broker.sessions.retained.count == 0


# -- the end


async def test_what_a_lost_client_acknowledged_behind_a_subscription_is_settled(
    broker: Broker,
) -> None:
    client = await broker.client("c", clean=False, session_expiry_interval=60)
    client.automatic = False
    await client.subscribe("t", qos=1)
    await client.publish("t", qos=1)
    await client.until(lambda: client.inbox)
    queue = client.gateway.session.queue
    assert queue is not None
    assert await broker.waiting(queue.name.name) == 1
    client.connection.acknowledge(client.inbox)
    subscribe = bytes.fromhex("82 08 0063 00 0002 6e65 01")
    client.transmit(subscribe + b"".join(client.connection.data_to_send()))
    client.cut()
    await broker.at_rest()
    assert await broker.waiting(queue.name.name) == 0


@pytest.mark.parametrize("last", [b"\xe0\x00", b"\x00\x00"], ids=["goodbye", "malformed"])
async def test_what_comes_for_a_client_whose_end_waits_is_kept(broker: Broker, last: bytes) -> None:
    options: dict[str, Any] = {"clean": False, "session_expiry_interval": 60}
    client = await broker.client("c", **options)
    await client.subscribe("t", qos=1)
    publisher = await broker.client("p")
    client.transmit(bytes.fromhex("82 08 0063 00 0002 6e65 01") + last)
    await publisher.publish("t", "kept", qos=1)
    await client.until(lambda: client.closed)
    again = await broker.client("c", **options)
    assert await again.payloads(1) == [b"kept"]


async def test_the_broker_stops(broker: Broker) -> None:
    client = await broker.client("c")
    client.send("t", qos=1, retain=True, token=1)
    client.gateway.shut_down(StopReason.BROKER_STOPS)
    await client.until(lambda: client.closed)
    assert client.acknowledged == [1]
    assert client.disconnected == ReasonCode.SERVER_SHUTTING_DOWN


async def test_a_removed_listener_does_not_say_that_the_broker_stops(broker: Broker) -> None:
    client = await broker.client("c")
    client.gateway.shut_down(StopReason.LISTENER_REMOVED)
    await client.until(lambda: client.closed)
    assert client.disconnected == ReasonCode.ADMINISTRATIVE_ACTION


async def test_what_follows_connect_in_one_chunk_is_heard(broker: Broker) -> None:
    client = WiredClient(broker, connect("c"), None)
    data = b"".join(client.connection.data_to_send())
    subscribe = b"\x82\x07\x00\x01\x00\x00\x01a\x01"
    client.connection._requests.add(1)
    client.transmit(data + subscribe + b"\x32\x07\x00\x01a\x00\x09\x00x")
    assert await client.payloads(1) == [b"x"]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_client_that_says_all_at_once_and_goes(broker: Broker, qos: int) -> None:
    watching = await broker.client("w")
    await watching.subscribe("t", qos=1)
    client = WiredClient(broker, connect("c", version=V3), None)
    head = b"".join(client.connection.data_to_send())
    publish = [b"\x30\x04\x00\x01tx", b"\x32\x06\x00\x01t\x00\x01x", b"\x34\x06\x00\x01t\x00\x01x"]
    client.transmit(head + publish[qos])
    assert client.gateway.eof_received()
    assert await watching.payloads(1) == [b"x"]
    await client.until(lambda: client.closed)


async def test_what_came_before_disconnect_is_answered(broker: Broker) -> None:
    client = WiredClient(broker, connect("c", version=V3, clean=False), None)
    head = b"".join(client.connection.data_to_send())
    client.connection._requests.add(1)
    subscribe = b"\x82\x06\x00\x01\x00\x01t\x00"
    client.transmit(head + subscribe + b"\x32\x06\x00\x01t\x00\x05x" + b"\xe0\x00")
    await client.until(lambda: client.closed)
    written = b"".join(client.wire.seen)
    assert written == b"\x20\x02\x00\x00\x90\x03\x00\x01\x00\x40\x02\x00\x05"


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_client_that_closes_its_half_is_answered(broker: Broker, at_once: bool) -> None:
    client = WiredClient(broker, connect("c", version=V3, clean=False), None)
    head = b"".join(client.connection.data_to_send())
    client.connection._requests.add(1)
    publishes = b"\x32\x06\x00\x01t\x00\x05x" + b"\x34\x06\x00\x01t\x00\x06x"
    if at_once:
        client.transmit(head + b"\x82\x06\x00\x01\x00\x01t\x00" + publishes)
    else:
        client.transmit(head)
        await client.until(lambda: client.connack)
        client.transmit(publishes)
    assert client.gateway.eof_received()
    await client.until(lambda: client.closed)
    written = b"".join(client.wire.seen)
    assert b"\x40\x02\x00\x05" in written
    assert b"\x50\x02\x00\x06" in written


async def test_bad_input_ends_this_connection_only(broker: Broker) -> None:
    client, other = await broker.client("c"), await broker.client("o")
    client.transmit(b"\x00\x00")
    await client.until(lambda: client.closed)
    assert client.disconnected == ReasonCode.MALFORMED_PACKET
    await other.subscribe("t")
    await other.publish("t")
    assert await other.payloads(1) == [b"x"]
