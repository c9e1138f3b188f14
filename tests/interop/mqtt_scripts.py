"""What an MQTT client may do to a broker, as scripts that say in words what came of it.

Each runs on names and connections of its own, for every version that it is about. Where the
specification leaves an order open, or what a broker says before it closes, the words do not tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.interop.side_by_side import Outcome
from tests.support.mqtt_wire import CLOSED, QUIET_SECONDS, Wire, packet, string

RETAIN = 1
QOS_1, QOS_2 = 2, 4
WILL_QOS_1, WILL_RETAIN = 0x08, 0x20
EXPIRY = b"\x11\0\0\0\x3c"
NO_LOCAL, AS_PUBLISHED, RETAIN_IF_NEW, RETAIN_NEVER = 4, 8, 0x10, 0x20


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    run: Callable[[int], Outcome]


SCRIPTS: list[Script] = []


class Broker:
    """A broker at a port, for one run of a script: names get its name in front."""

    def __init__(self, port: int, version: int, name: str) -> None:
        self.port = port
        self.version = version
        self.name = name.replace("+", "plus").replace("#", "hash").replace("$", "dollar")

    def client(self, client_id: str = "c", *, expect: str | None = None, **options: object) -> Wire:
        wire = Wire(self.port, self.version)
        answer = wire.connect(f"{self.name}-{client_id}", **options)  # type: ignore[arg-type]
        assert answer == (expect or "CONNACK 0 0x0"), answer
        return wire

    def topic(self, topic: str) -> str:
        return f"{self.name}/{topic}"

    def told(self, said: Outcome) -> Outcome:
        return [word.replace(f"{self.name}/", "").replace(self.name, "") for word in said]


def script(
    *arguments: object, versions: tuple[int, ...] = (4, 5)
) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Register a script for each version, with its arguments after the broker."""

    def register(function: Callable[..., Outcome]) -> Callable[..., Outcome]:
        for version in versions:
            words = "-".join(map(repr, arguments))
            name = f"{function.__name__}[{version}{'-' if words else ''}{words}]"
            unique = f"{function.__name__}{version}{len(SCRIPTS)}"

            def run(port: int, version: int = version, unique: str = unique) -> Outcome:
                broker = Broker(port, version, unique)
                return broker.told(function(broker, *arguments))

            SCRIPTS.append(Script(name, run))
        return function

    return register


def end(said: Outcome) -> Outcome:
    """What a broker says as it closes: the first word of it is enough where there is one."""
    return [*said[:-2], CLOSED] if said[-1:] == [CLOSED] and len(said) > 1 else said


# -- publishing and subscribing


def flow(broker: Broker, published: int, granted: int) -> Outcome:
    with broker.client("s") as subscriber, broker.client("p") as publisher:
        subscriber.subscribe((broker.topic("t"), granted))
        said = subscriber.quiet()
        publisher.publish(broker.topic("t"), "x", published << 1)
        if published:
            said.append(publisher.read())
        if published == 2:
            publisher.answer(6, 7)
            said.append(publisher.read())
        return [*said, subscriber.read()]


for _published in range(3):
    for _granted in range(3):
        script(_published, _granted, versions=(3, 4, 5))(flow)


@script(
    "a/b",
    "a/#",
    "+/b",
    "a/+",
    "#",
    "+",
    "a",
    "a/b/#",
    "a/b/+",
    "/a/b",
    "a//b",
    "A/b",
    versions=(4,),
)
@script("a", "a/#", "+/#", "+", "#", "a/+", versions=(4,))
@script("/a", "+/+", "/+", "+", "#", "a", versions=(4,))
@script("a/", "a/+", "a/#", "a", "+/", "+/+", versions=(4,))
@script("a//b", "a/+/b", "a//+", "a/#", "+/+/+", "a/b", versions=(4,))
def matching(broker: Broker, topic: str, *filters: str) -> Outcome:
    said = []
    with broker.client("p") as publisher:
        for index, text in enumerate(filters):
            with broker.client(f"s{index}") as subscriber:
                subscriber.subscribe((broker.topic(text), 0))
                subscriber.read()
                publisher.publish(broker.topic(topic), "x")
                publisher.ping()
                publisher.read()
                subscriber.ping()
                said.append(f"{text}: {subscriber.read()}")
    return said


@script("a/#/b")
@script("a#")
@script("#a")
@script("a+")
@script("+a/b")
@script("")
@script("a\0b")
@script("$share//a", versions=(5,))
@script("$share/g", versions=(5,))
@script("$share/g/", versions=(5,))
@script("$share/g+/a", versions=(5,))
@script("$share/g#/a", versions=(5,))
@script("$share/g/a", versions=(5,))
@script("$share/g/#", versions=(5,))
@script("$other/a")
def a_filter(broker: Broker, text: str) -> Outcome:
    with broker.client() as wire:
        wire.subscribe((text, 1))
        answer = wire.read()
    return ["refused" if answer in (CLOSED, "DISCONNECT 0x81") or "0x8" in answer else answer]


@script("")
@script("a/+")
@script("a/#")
@script("+")
@script("a\0b")
def a_topic(broker: Broker, topic: str) -> Outcome:
    with broker.client() as wire:
        wire.publish(topic, "x", QOS_1)
        return end(wire.quiet())


@script()
def overlapping_filters(broker: Broker) -> Outcome:
    with broker.client() as wire:
        for index, text in enumerate(("o/#", "o/+", "o/a")):
            wire.subscribe((broker.topic(text), index))
            wire.read()
        wire.publish(broker.topic("o/a"), "x", QOS_1)
        said = wire.quiet()
        return [f"{word} once" for word in set(said)]


@script()
def many_filters_in_one(broker: Broker) -> Outcome:
    with broker.client() as wire:
        wire.subscribe((broker.topic("a"), 0), (broker.topic("b"), 1), (broker.topic("a"), 2))
        said = wire.quiet()
        wire.publish(broker.topic("a"), "x", QOS_1)
        said += sorted(wire.quiet())
        wire.unsubscribe(broker.topic("a"), broker.topic("nothing"))
        said += wire.quiet()
        wire.publish(broker.topic("a"), "y", QOS_1)
        return [*said, wire.read()]


@script(versions=(5,))
def options_of_a_subscription(broker: Broker) -> Outcome:
    with broker.client() as wire, broker.client("p") as other:
        wire.subscribe((broker.topic("t"), 1 | NO_LOCAL | AS_PUBLISHED), properties=b"\x0b\x05")
        said = wire.quiet()
        wire.publish(broker.topic("t"), "own", QOS_1)
        said += wire.quiet()
        other.publish(broker.topic("t"), "other", QOS_1 | RETAIN)
        return [*said, *wire.quiet()]


@script(versions=(5,))
def properties_of_a_publish(broker: Broker) -> Outcome:
    properties = [
        b"\x26" + string("a") + string("1"),
        b"\x26" + string("b") + string("2"),
        b"\x26" + string("a") + string("3"),
    ]
    with broker.client() as wire:
        wire.subscribe((broker.topic("t"), 1))
        wire.read()
        said = []
        for one in (
            b"\x01\x01",
            b"\x03" + string("text/plain"),
            b"\x08" + string("answers/here"),
            b"\x09" + string(b"\0\xff"),
            b"".join(properties),
        ):
            wire.publish(broker.topic("t"), "x", 0, properties=one)
            said.append(wire.read())
        return said


# -- retained messages


@script(0)
@script(RETAIN_IF_NEW, versions=(5,))
@script(RETAIN_NEVER, versions=(5,))
def retained(broker: Broker, options: int) -> Outcome:
    with broker.client("p") as publisher, broker.client() as wire:
        for level in range(3):
            publisher.publish(broker.topic(f"r/{level}"), "kept", level << 1 | RETAIN, 7 + level)
        publisher.quiet()
        publisher.answer(6, 9)
        publisher.read()
        said = []
        for _ in range(2):
            wire.subscribe((broker.topic("r/#"), 1 | options))
            said += sorted(wire.quiet())
        publisher.publish(broker.topic("r/0"), "live", RETAIN)
        said.append(wire.read())
        publisher.publish(broker.topic("r/0"), "", RETAIN)
        said.append(wire.read())
        wire.unsubscribe(broker.topic("r/#"))
        wire.read()
        wire.subscribe((broker.topic("r/#"), 1 | options))
        return [*said, *sorted(wire.quiet())]


# -- sessions


def session(broker: Broker, client_id: str, *, present: bool = False) -> Wire:
    properties = EXPIRY if broker.version == 5 else b""
    return broker.client(
        client_id, clean=False, properties=properties, expect=f"CONNACK {int(present)} 0x0"
    )


@script()
def a_session_keeps_messages(broker: Broker) -> Outcome:
    with session(broker, "s") as wire:
        wire.subscribe((broker.topic("t"), 1))
        said = wire.quiet()
    with broker.client("p") as publisher:
        for level in range(3):
            publisher.publish(broker.topic("t"), str(level), level << 1, 7 + level)
            if level:
                publisher.read()
        publisher.answer(6, 9)
        said += publisher.quiet()
    with session(broker, "s", present=True) as wire:
        return [*said, *[word for word in wire.quiet() if " 0 qos" not in word]]


@script(1)
@script(2)
def what_was_not_acknowledged_comes_again(broker: Broker, level: int) -> Outcome:
    with session(broker, "s") as wire, broker.client("p") as publisher:
        wire.subscribe((broker.topic("t"), level))
        wire.read()
        publisher.publish(broker.topic("t"), "x", level << 1)
        publisher.read()
        publisher.answer(6, 7)
        said = [wire.read()]
        first = wire.packet_ids[-1]
    with session(broker, "s", present=True) as wire:
        said += [wire.read(), f"same id {wire.packet_ids[-1] == first}"]
        wire.answer(4 if level == 1 else 5, first)
        if level == 2:
            said += [wire.read().replace(str(first), "id")]
    with session(broker, "s", present=True) as wire:
        said += [word.replace(str(first), "id") for word in wire.quiet(QUIET_SECONDS)]
    return said


@script()
def a_publish_of_qos_2_twice(broker: Broker) -> Outcome:
    with broker.client("s") as subscriber:
        subscriber.subscribe((broker.topic("t"), 2))
        subscriber.read()
        with session(broker, "p") as wire:
            wire.publish(broker.topic("t"), "x", QOS_2)
            said = [wire.read()]
        with session(broker, "p", present=True) as wire:
            wire.publish(broker.topic("t"), "x", QOS_2 | 8)
            said += [wire.read()]
            wire.answer(6, 7)
            said += [wire.read()]
        said.append(subscriber.read())
        subscriber.ping()
        return [*said, subscriber.read()]


@script()
def clean_start_ends_a_session(broker: Broker) -> Outcome:
    with session(broker, "s") as wire:
        wire.subscribe((broker.topic("t"), 1))
        wire.read()
    with broker.client("s"):
        pass
    with session(broker, "s") as wire, broker.client("p") as publisher:
        publisher.publish(broker.topic("t"), "x", QOS_1)
        said = [publisher.read().partition(" 0x")[0]]
        wire.ping()
        return [*said, wire.read()]


@script()
def a_client_id_twice(broker: Broker) -> Outcome:
    with broker.client("c") as first, broker.client("c") as second:
        second.ping()
        return [*first.quiet(), second.read()]


# -- wills


@script(0)
@script(WILL_QOS_1)
@script(WILL_QOS_1 | WILL_RETAIN)
def a_will(broker: Broker, flags: int) -> Outcome:
    with broker.client("w") as watcher:
        watcher.subscribe((broker.topic("will"), 1))
        watcher.read()
        will = (broker.topic("will"), "gone", flags, b"")
        broker.client("c", will=will).socket.close()
        said = [watcher.read()]
        with broker.client("c", will=will) as wire:
            wire.disconnect()
        watcher.ping()
        said.append(watcher.read())
        with broker.client("late") as late:
            late.subscribe((broker.topic("will"), 0))
            return [*said, *late.quiet()]


# -- mistakes


@script(b"\x10\x00")
@script(packet(0x82, b"\0\1"))
@script(packet(0x80, b"\0\1\0", string("a"), b"\0"))
@script(packet(0xA2, b"\0\1\0"))
@script(packet(0x36, string("a"), b"\0\1\0x"))
@script(packet(0x38, string("a"), b"\0x"))
@script(packet(0x60, b"\0\1"))
@script(packet(0x20, b"\0\0"))
@script(packet(0xB0, b"\0\1"))
@script(packet(0xD0))
@script(packet(0x00))
@script(packet(0xC0, b"x"))
@script(packet(0x32, string("a"), b"\0\0\0x"))
@script(b"\x30\xff\xff\xff\xff\x01")
def a_mistake(broker: Broker, data: bytes) -> Outcome:
    with broker.client() as wire:
        wire.send(data)
        wire.ping()
        return end(wire.quiet())


@script(b"\0\4MQTT\x09\2\0\0\0\0")
@script(b"\0\4MQTX\4\2\0\0\0\0")
@script(b"\0\4MQTT\4\3\0\0\0\0")
@script(b"\0\4MQTT\4\0\0\0\0\0")
@script(b"\0\4MQTT\4\x42\0\0\0\1a")
@script(b"\0\4MQTT\4\x1e\0\0\0\1a\0\1t\0\1p")
@script(b"\0\4MQTT\4\x22\0\0\0\1a")
@script(b"\0\4MQTT\4\2\0\0\0\1a-more")
@script(b"\0\4MQTT\4\2\0\0\0\3\xff\xfe\xfd")
def a_connect(broker: Broker, body: bytes) -> Outcome:
    with Wire(broker.port) as wire:
        wire.send(packet(0x10, body))
        return wire.quiet()


@script()
def packets_before_connect(broker: Broker) -> Outcome:
    with Wire(broker.port, broker.version) as wire:
        wire.publish("a", "x", QOS_1)
        return wire.quiet()


@script(4)
@script(5)
@script(6)
@script(7)
def an_answer_to_nothing(broker: Broker, kind: int) -> Outcome:
    with broker.client() as wire:
        wire.answer(kind, 99)
        wire.ping()
        return end(wire.quiet())
