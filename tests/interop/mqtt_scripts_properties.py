"""Scripts about what MQTT 5 has beyond 3.1.1: properties, reason codes, their limits."""

from __future__ import annotations

from tests.interop.mqtt_scripts import (
    EXPIRY,
    NO_LOCAL,
    QOS_1,
    QOS_2,
    RETAIN,
    Broker,
    end,
    script,
    session,
)
from tests.interop.side_by_side import Outcome
from tests.support.mqtt_wire import Wire, packet, string

ONLY_5 = (5,)


def alias(number: int) -> bytes:
    return b"\x23" + number.to_bytes(2, "big")


@script(versions=ONLY_5)
def receive_maximum(broker: Broker) -> Outcome:
    with broker.client(properties=b"\x21\0\1") as wire, broker.client("p") as publisher:
        wire.subscribe((broker.topic("t"), 1))
        said = wire.quiet()
        for number in (1, 2):
            publisher.publish(broker.topic("t"), str(number), QOS_1, number)
        said += wire.quiet()
        wire.answer(4, wire.packet_ids[-1])
        return [*said, *wire.quiet()]


@script(versions=ONLY_5)
def maximum_packet_size(broker: Broker) -> Outcome:
    with broker.client(properties=b"\x27\0\0\0\x50") as wire:
        wire.subscribe((broker.topic("t"), 1))
        said = wire.quiet()
        wire.publish(broker.topic("t"), "x" * 90, QOS_1, 7)
        wire.publish(broker.topic("t"), "fits", QOS_1, 8)
        return [*said, *sorted(wire.quiet())]


@script(versions=ONLY_5)
def topic_aliases(broker: Broker) -> Outcome:
    with broker.client() as wire, broker.client("s") as subscriber:
        subscriber.subscribe((broker.topic("#"), 1))
        subscriber.read()
        said = []
        for number, topic in enumerate((broker.topic("t"), "", broker.topic("u"), "")):
            wire.publish(topic, str(number), QOS_1, 7 + number, alias(1))
            said.append(wire.read())
        return [*said, *subscriber.quiet()]


@script(0, "t", versions=ONLY_5)
@script(99, "t", versions=ONLY_5)
@script(2, "", versions=ONLY_5)
def an_alias_that_is_none(broker: Broker, number: int, topic: str) -> Outcome:
    with broker.client() as wire:
        wire.publish(topic, "x", QOS_1, 7, alias(number))
        return end(wire.quiet())


@script(b"\x11\0\0\0\1\x11\0\0\0\1", versions=ONLY_5)
@script(b"\x21\0\0", versions=ONLY_5)
@script(b"\x27\0\0\0\0", versions=ONLY_5)
@script(b"\x19\2", versions=ONLY_5)
@script(b"\x17\2", versions=ONLY_5)
@script(b"\x7f\1", versions=ONLY_5)
@script(b"\x02\0\0\0\1", versions=ONLY_5)
@script(b"\x15" + string("SCRAM"), versions=ONLY_5)
@script(b"\x26\0\1a\0\1b\x26\0\1a\0\1b", versions=ONLY_5)
@script(b"\x19\1\x17\0", versions=ONLY_5)
def properties_of_connect(broker: Broker, properties: bytes) -> Outcome:
    with Wire(broker.port, 5) as wire:
        answer = wire.connect(broker.name, properties=properties)
        return ["let in" if answer == "CONNACK 0 0x0" else "refused"]


@script(b"\x0b\1", versions=ONLY_5)
@script(b"\x01\2", versions=ONLY_5)
@script(b"\x08" + string("a/#"), versions=ONLY_5)
@script(b"\x11\0\0\0\1", versions=ONLY_5)
def a_property_of_publish(broker: Broker, properties: bytes) -> Outcome:
    with broker.client() as wire:
        wire.publish(broker.topic("t"), "x", QOS_1, 7, properties)
        return end(wire.quiet())


@script(0x03)
@script(0x43)
@script(0xC0, versions=ONLY_5)
@script(RETAIN | 0x30, versions=ONLY_5)
def options_that_are_none(broker: Broker, options: int) -> Outcome:
    with broker.client() as wire:
        wire.subscribe((broker.topic("t"), options))
        return end(wire.quiet())


@script(b"\x0b\0", versions=ONLY_5)
@script(b"\x0b\xff\xff\xff\x7f", versions=ONLY_5)
def a_subscription_identifier(broker: Broker, properties: bytes) -> Outcome:
    with broker.client() as wire:
        wire.subscribe((broker.topic("t"), 1), properties=properties)
        return end(wire.quiet())


@script(versions=ONLY_5)
def an_expiry_that_comes_late(broker: Broker) -> Outcome:
    with broker.client() as wire:
        wire.send(packet(0xE0, b"\0\x05", EXPIRY))
        return end(wire.quiet())


@script(versions=ONLY_5)
def a_disconnect_that_keeps_the_will(broker: Broker) -> Outcome:
    with broker.client("w") as watcher:
        watcher.subscribe((broker.topic("will"), 1))
        watcher.read()
        with broker.client("c", will=(broker.topic("will"), "gone", 0, b"")) as wire:
            wire.send(packet(0xE0, b"\x04"))
            return [watcher.read()]


@script(versions=ONLY_5)
def a_refused_delivery_is_done_with(broker: Broker) -> Outcome:
    said = []
    with broker.client("p") as publisher:
        for level, answer in ((1, 0x40), (2, 0x50)):
            with session(broker, f"s{level}") as wire:
                wire.subscribe((broker.topic("t"), level))
                wire.read()
                publisher.publish(broker.topic("t"), "x", QOS_2)
                publisher.read()
                publisher.answer(6, 7)
                publisher.read()
                said.append(wire.read())
                identifier = wire.packet_ids[-1].to_bytes(2, "big")
                wire.send(packet(answer, identifier, b"\x80"))
                wire.ping()
                said.append(wire.read())
            with session(broker, f"s{level}", present=True) as wire:
                wire.unsubscribe(broker.topic("t"))
                said += wire.quiet()
    return said


@script(versions=ONLY_5)
def a_shared_subscription_takes_turns(broker: Broker) -> Outcome:
    shared = f"$share/g/{broker.topic('t')}"
    with broker.client("1") as one, broker.client("2") as two, broker.client("p") as publisher:
        for wire in (one, two):
            wire.subscribe((shared, 1))
            wire.read()
        for number in range(4):
            publisher.publish(broker.topic("t"), str(number), QOS_1, 7 + number)
        publisher.quiet()
        first, second = one.quiet(), two.quiet()
        return [f"{len(first) + len(second)} in all", f"shared {bool(first and second)}"]


@script(NO_LOCAL, versions=ONLY_5)
@script(0, versions=ONLY_5)
def a_shared_subscription(broker: Broker, options: int) -> Outcome:
    with broker.client() as wire:
        wire.publish(broker.topic("t"), "kept", RETAIN)
        wire.subscribe((f"$share/g/{broker.topic('t')}", 1 | options))
        return end(wire.quiet())


@script("$SYS/x")
@script("$other/x")
def a_topic_of_the_broker(broker: Broker, topic: str) -> Outcome:
    with broker.client() as wire:
        wire.publish(topic, "x", QOS_1)
        return end(wire.quiet())


@script(versions=ONLY_5)
def an_auth_out_of_nowhere(broker: Broker) -> Outcome:
    with broker.client() as wire:
        wire.send(packet(0xF0, b"\x18\0"))
        return end(wire.quiet())
