"""From publisher to subscriber: versions, QoS, overlaps, properties."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.mqtt.events import DeliveriesCompleted, DeliveriesReceived
from adapters.mqtt.packets import ProtocolVersion, Publish
from adapters.mqtt.wire import packets_of
from bridge.messaging.model import Overflow, QueueName, QueueSettings, TopicName, UnitOfWork
from mappings.submitter import SENDS_PER_UNIT_MAX
from tests.mappings.mqtt.broker import Broker
from tests.support.mqtt_client import texts
from tests.support.stores import delete

V3, V5 = ProtocolVersion.V3_1_1, ProtocolVersion.V5


@pytest.mark.parametrize("version", list(ProtocolVersion))
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_publish_reaches_its_subscriber(
    broker: Broker, version: ProtocolVersion, qos: int
) -> None:
    subscriber = await broker.client("s", version=version)
    assert await subscriber.subscribe("a/+/c", qos=qos) == [qos]
    publisher = await broker.client("p", version=version)
    await publisher.publish("a/b/c", "hello", qos=qos)
    await publisher.publish("a/b/d", "not this", qos=qos)
    (publish,) = await subscriber.publishes(1)
    assert (publish.topic, publish.payload, publish.qos) == ("a/b/c", b"hello", qos)
    assert (publish.retain, publish.dup) == (False, False)
    assert await subscriber.quiet()


@pytest.mark.parametrize("version", [V3, V5])
@pytest.mark.parametrize("receive_maximum", [3, 100])
async def test_what_is_alike_and_what_is_not_comes_in_order(
    broker: Broker, version: ProtocolVersion, receive_maximum: int
) -> None:
    options: dict[str, Any] = {"receive_maximum": receive_maximum} if version is V5 else {}
    subscriber = await broker.client("s", version=version, **options)
    await subscriber.subscribe("#", qos=1)
    publisher = await broker.client("p")
    sent: list[tuple[str, bytes, int]] = []
    for number in range(60):
        # Runs of four, cut by what has a property, another topic or another QoS.
        topic = "b" if number // 4 % 3 == 2 else "a"
        qos = 0 if number % 17 == 16 else 2 if number % 13 == 12 else 1
        properties: dict[str, Any] = {"message_expiry_interval": 9} if number % 7 == 6 else {}
        publisher.send(topic, str(number), qos=qos, **properties)
        if qos:
            sent.append((topic, str(number).encode(), 1))
    received = [each for each in await subscriber.publishes(60) if each.qos]
    assert [(each.topic, each.payload, each.qos) for each in received] == sent
    expiries = {each.properties.message_expiry_interval for each in received}
    assert expiries == ({None, 9} if version is V5 else {None})


@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
async def test_the_lower_qos_counts(broker: Broker, published: int, granted: int) -> None:
    client = await broker.client("c")
    await client.subscribe("t", qos=granted)
    await client.publish("t", qos=published)
    (publish,) = await client.publishes(1)
    assert publish.qos == min(published, granted)


async def test_overlapping_filters_deliver_once(broker: Broker) -> None:
    client = await broker.client("c")
    await client.subscribe("a/#", qos=1, identifier=7)
    await client.subscribe("a/+", qos=2, identifier=3)
    await client.subscribe("a/b", qos=0, identifier=9)
    for qos in (0, 1, 2):
        await client.publish("a/b", str(qos), qos=qos)
        (publish,) = await client.publishes(1)
        assert publish.qos == qos
        assert publish.properties.subscription_identifiers == (3, 7, 9)
    assert await client.quiet()


@pytest.mark.parametrize("expiry", [0, 60])
@pytest.mark.parametrize("granted", [1, 2])
async def test_ones_own_message_does_not_come_within_its_handshake(
    broker: Broker, granted: int, expiry: int
) -> None:
    client = await broker.client("c", session_expiry_interval=expiry)
    await client.subscribe("t", qos=granted)
    client.automatic = False
    for number in range(3):
        client.send("t", str(number), qos=2)
    packet_ids: list[int] = []
    while len(packet_ids) < 3:
        packet_ids += (await client.event(DeliveriesReceived)).packet_ids
    await (await broker.client("o")).publish("t", "another's", qos=2)
    assert await client.payloads(1) == [b"another's"]
    assert await client.quiet()
    for number, packet_id in enumerate(packet_ids):
        client.connection.release([packet_id])
        client.flush()
        await client.event(DeliveriesCompleted)
        assert await client.payloads(1) == [str(number).encode()]


async def test_ones_own_message_comes_to_the_next_connection(broker: Broker) -> None:
    client = await broker.client("c", session_expiry_interval=60)
    await client.subscribe("t", qos=2)
    client.automatic = False
    client.send("t", "once", qos=2)
    await client.event(DeliveriesReceived)
    client.cut()
    again = await broker.client("c", session_expiry_interval=60, clean=False)
    assert await again.payloads(1) == [b"once"]
    assert await again.quiet()


async def test_no_local(broker: Broker) -> None:
    client, other = await broker.client("c"), await broker.client("o")
    await client.subscribe("t", qos=1, no_local=True)
    for qos in (0, 1):
        await client.publish("t", "own", qos=qos)
        await other.publish("t", f"other {qos}", qos=qos)
    assert await client.payloads(2) == [b"other 0", b"other 1"]
    assert await client.quiet()


async def test_topics_beginning_with_a_dollar_are_not_for_wildcards(broker: Broker) -> None:
    client = await broker.client("c")
    await client.subscribe("#", "+/x", qos=1)
    await client.subscribe("$own/#", qos=1)
    for qos in (0, 1):
        await client.publish("$own/x", str(qos), qos=qos)
        await client.publish("$other/x", str(qos), qos=qos)
    assert texts(await client.publishes(2)) == ["$own/x 0", "$own/x 1"]
    assert await client.quiet()


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize(
    "topic",
    ["/", "//", "a.b/c", "a%2Eb", "*", "a/*/b", "%", "%e", " ", "\u00e9/\U0001f600", "a" * 65535],
)
async def test_topics_of_every_kind(broker: Broker, topic: str, qos: int) -> None:
    client = await broker.client("c")
    await client.subscribe(topic, qos=qos)
    await client.publish(topic, "x", qos=qos)
    (publish,) = await client.publishes(1)
    assert publish.topic == topic
    other = await broker.client("o")
    await other.subscribe("#", qos=qos)
    await client.publish(topic, "y", qos=qos)
    assert (await other.publishes(1))[0].topic == topic


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_properties_come_through_in_their_order(broker: Broker, qos: int) -> None:
    client = await broker.client("c")
    await client.subscribe("t", qos=qos)
    pairs = (("b", "1"), ("a", "2"), ("b", "3"))
    await client.publish(
        "t",
        "x",
        qos=qos,
        user_properties=pairs,
        content_type="text/plain",
        response_topic="reply/to",
        correlation_data=b"\xff\0",
        payload_format_indicator=1,
        message_expiry_interval=100,
    )
    properties = (await client.publishes(1))[0].properties
    assert properties.user_properties == pairs
    assert properties.content_type == "text/plain"
    assert properties.response_topic == "reply/to"
    assert properties.correlation_data == b"\xff\0"
    assert properties.payload_format_indicator == 1
    assert properties.message_expiry_interval in (99, 100)


async def test_pubacks_come_in_the_order_of_the_publishes(broker: Broker) -> None:
    client = await broker.client("c")
    for number in range(200):
        client.send("t", qos=1 + number % 2, token=number)
    await client.until(lambda: len(client.acknowledged) == 200)
    assert [each for each in client.acknowledged if not each % 2] == list(range(0, 200, 2))


async def test_each_publish_of_a_chunk_has_its_own_answer(broker: Broker) -> None:
    settings = QueueSettings(length_max=1, overflow=Overflow.REJECT_PUBLISH)
    for topic in ("full", "wide"):
        name = QueueName("/", topic)
        await broker.store.create_queue(name, settings if topic == "full" else QueueSettings())
        await broker.topology.subscribe(TopicName("/", "amq.topic"), name, pattern=topic)
    client = await broker.client("c")
    topics = ["wide", "full", "full", "wide", "$SYS/x", "full", "wide", "nobody", "$SYS/x", "full"]
    alone = [[each] for each in ("wide", "wide", "full", "nobody", "$SYS/x", "full")]
    for chunk in (topics, [each for each in topics if each != "nobody"], *alone):
        client.wire.seen.clear()
        client.connection.send([Publish(topic, b"x", 1) for topic in chunk], chunk)
        client.flush()
        await client.until(lambda: not client.session.awaiting_puback)
        codes = [
            packet[4] if packet[1] > 2 else 0
            for packet in packets_of(b"".join(client.wire.seen))
            if packet[0] == 0x40
        ]
        answers = {"wide": 0, "full": 0x97, "$SYS/x": 0x87, "nobody": 0x10}
        expected = [answers[topic] for topic in chunk]
        if chunk is topics:
            expected[1] = 0
        assert codes == expected


async def test_a_queue_that_is_gone_gets_nothing_until_it_is_there_again(broker: Broker) -> None:
    name = QueueName("/", "q")
    client = await broker.client("c")
    await broker.topology.subscribe(
        TopicName("/", "amq.topic"), (await broker.topology.ensure_queue(name)).name, pattern="t"
    )
    for round_ in range(2):
        await client.publish("t", qos=1)
        assert await broker.waiting("q") == 1
        queue = broker.store.queue(name)
        assert queue is not None
        # Past the catalogue, as another node's deletion may come first.
        await broker.store.delete_queue(queue)
        client.wire.seen.clear()
        await client.publish("t", qos=1)
        assert client.wire.seen == [b"\x40\x03\0" + bytes([2 + 2 * round_]) + b"\x10"]
        await broker.store.create_queue(name, QueueSettings())


async def test_nobody_is_told_apart_from_somebody(broker: Broker) -> None:
    client = await broker.client("c")
    client.send("nobody", qos=1, token=1)
    await client.until(lambda: client.acknowledged)
    assert not client.rejected


async def test_receive_maximum_of_the_client_is_kept(broker: Broker) -> None:
    client = await broker.client("c", receive_maximum=2)
    client.automatic = False
    await client.subscribe("t", qos=2)
    other = await broker.client("o")
    for number in range(5):
        await other.publish("t", str(number), qos=1 + number % 2)
    first = await client.publishes(2)
    assert await client.quiet()
    client.connection.acknowledge(first)
    client.automatic = True
    client.flush()
    rest = await client.publishes(3)
    assert sorted(each.payload for each in first + rest) == [b"0", b"1", b"2", b"3", b"4"]


async def test_maximum_packet_size_of_the_client_is_kept(broker: Broker) -> None:
    client = await broker.client("c", maximum_packet_size=200)
    await client.subscribe("t", qos=2)
    for qos in (0, 1, 2):
        await client.publish("t", b"x" * 300, qos=qos)
        await client.publish("t", str(qos), qos=qos)
    assert sorted(await client.payloads(3)) == [b"0", b"1", b"2"]
    assert await client.quiet()


async def test_publishes_to_very_many_queues_wait_for_the_store(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [QueueName("/", f"q{number}") for number in range(SENDS_PER_UNIT_MAX // 10)]
    for name in names:
        await broker.topology.ensure_queue(name)
        await broker.topology.subscribe(TopicName("/", "amq.topic"), name, pattern="t")
    client = await broker.client("c")
    submit = broker.store.submit
    sends: list[int] = []

    def counted(unit: UnitOfWork) -> None:
        sends.append(len(unit.sends))
        submit(unit)

    monkeypatch.setattr(broker.store, "submit", counted)
    tokens = list(range(100))
    publishes = [Publish("t", b"%d" % number, 1) for number in tokens]
    client.connection.send(publishes, tokens)
    client.flush()
    await client.until(lambda: len(client.acknowledged) == len(tokens))
    assert client.acknowledged == tokens
    assert max(sends) <= SENDS_PER_UNIT_MAX + len(names)
    assert [await broker.waiting(name.name) for name in names] == [100] * len(names)


@pytest.mark.parametrize("version", [V3, V5])
async def test_a_refused_publish_of_qos_2_is_taken_when_it_comes_again(
    broker: Broker, version: ProtocolVersion
) -> None:
    name = QueueName("/", "full")
    settings = QueueSettings(length_max=1, overflow=Overflow.REJECT_PUBLISH)
    full = await broker.store.create_queue(name, settings)
    await broker.topology.subscribe(TopicName("/", "amq.topic"), name, pattern="t")
    options: dict[str, Any] = {"version": version, "clean": False}
    if version is V5:
        options["session_expiry_interval"] = 60
    client = await broker.client("c", **options)
    await client.publish("t", "first", qos=2)
    client.send("t", "second", qos=2, token="second")
    await client.until(lambda: client.closed if version is V3 else client.rejected)
    await delete(broker.store, *await broker.store.receive(full, count=1))
    if version is V5:
        # Within the process, ids that were refused are not looked up.
        await broker.crash()
    session = client.session
    session.last_packet_id = 1
    again = await broker.client("c", session=session, **options)
    if version is V3:
        again.connection.resend([Publish("t", b"second", 2, dup=True)], [2])
        again.flush()
    else:
        # The id is free, and used for something else.
        again.send("t", "third", qos=2)
    await again.event(DeliveriesCompleted)
    assert await broker.waiting("full") == 1
