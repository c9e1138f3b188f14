"""STOMP scripts: destinations, wildcards and the headers of messages."""

from __future__ import annotations

import time

from tests.interop.side_by_side import Outcome
from tests.interop.stomp_script import (
    connected,
    left,
    message_headers,
    script,
    sent,
    subscribed,
)
from tests.support.stomp_wire import fresh

for _destination in (
    "/foo/bar",
    "plain",
    "",
    "/queue/",
    "/queue",
    "/topic/",
    "/topic",
    "/queue/a/b",
    "queue/a",
    "/QUEUE/a",
    "/queue/a b",
    "/queue/ä",
    "/queue/a%2Fb",
    "/exchange/amq.topic/k",
    "/exchange/amq.direct/k",
    "/exchange/amq.fanout",
    "/exchange/nowhere/k",
    "/exchange/",
    "/exchange//k",
    "/exchange/a/b/c",
    "/amq/queue/nowhere",
    "/amq/queue/",
    "/temp-queue/t",
    "/temp-queue/",
    "/temp-topic/t",
    "/reply-queue/nowhere",
    "/reply-queue/",
    "/topic/a.b/c",
    "/topic/a/b",
    "/topic/a..b",
    "/topic/.",
):

    @script(_destination)
    def destination(port: int, name: str) -> Outcome:
        with connected(port) as wire:
            wire.frame("SEND", {"destination": name, "receipt": "sent"}, b"x")
            said = wire.quiet()
        with connected(port) as wire:
            wire.frame("SUBSCRIBE", {"id": "1", "destination": name, "receipt": "subscribed"})
            return [*said, *(each for each in wire.quiet() if each != "MESSAGE x")]


@script()
def sending_nowhere(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("SEND", {"receipt": "1"}, b"x")
        return wire.quiet()


@script()
def destinations_are_shown(port: int) -> Outcome:
    shown: Outcome = []
    for subscription, destination in (
        ("/queue/shown", "/queue/shown"),
        ("/queue/shown-b", "/amq/queue/shown-b"),
        ("/amq/queue/shown-b", "/queue/shown-b"),
        ("/topic/shown", "/topic/shown"),
        ("/topic/shown.*", "/topic/shown.a"),
        ("/exchange/amq.direct/shown", "/exchange/amq.direct/shown"),
        ("/exchange/amq.topic/shown.b", "/topic/shown.b"),
        ("/topic/shown.c", "/exchange/amq.topic/shown.c"),
        ("/queue/shown%2Fslash", "/queue/shown%2Fslash"),
        ("shown-plain", "shown-plain"),
    ):
        with connected(port) as wire:
            wire.frame("SUBSCRIBE", {"id": "1", "destination": subscription, "receipt": "r"})
            if (received := wire.read()).command != "RECEIPT":
                shown.append(f"{subscription} {received}")
                continue
            wire.frame("SEND", {"destination": destination}, b"x")
            received = wire.read()
            shown.append(f"{received.command} {received.headers.get('destination')}")
    return shown


_SUBJECTS = ("w", "w.a", "w.a.b", "w.b", "w.a.c.d", "w.A", "v.a", "w..a")

for _pattern in ("w.*", "w.>", "w.#", "*.a", "w.*.b", "#", ">", "w.a", "*", "w.a*", "#.b", "w.#.d"):

    @script(_pattern)
    def wildcards(port: int, pattern: str) -> Outcome:
        # Below a level of its own, where no other script publishes.
        tree = fresh("tree")
        with connected(port) as wire:
            headers = {"id": "1", "destination": f"/topic/{tree}.{pattern}", "receipt": "r"}
            wire.frame("SUBSCRIBE", headers)
            said = [str(wire.read())]
            for subject in _SUBJECTS:
                wire.frame("SEND", {"destination": f"/topic/{tree}.{subject}"}, subject.encode())
            return said + sorted(wire.quiet())


@script()
def headers_of_a_plain_message(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/plain")
        wire.frame("SEND", {"destination": "/queue/plain"}, b"x")
        return message_headers(wire.expect("MESSAGE"))


@script()
def headers_that_are_kept(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/kept")
        headers = {
            "destination": "/queue/kept",
            "content-type": "application/json",
            "content-encoding": "gzip",
            "correlation-id": "c",
            "reply-to": "/queue/answers",
            "type": "order",
            "app-id": "shop",
            "priority": "5",
            "persistent": "true",
            "custom": "value",
            "JMSXGroupID": "g",
            "amqp-message-id": "m",
        }
        wire.frame("SEND", headers, b"x")
        return message_headers(wire.expect("MESSAGE"))


for _header in (
    "persistent:false",
    "persistent:maybe",
    "priority:9",
    "priority:high",
    "priority:-1",
    "expires:0",
    "expires:soon",
    "expiration:60000",
    "expiration:soon",
    "timestamp:1234567890123",
    "timestamp:now",
    "user-id:guest",
    "user-id:somebody",
    "message-id:mine",
    "subscription:mine",
    "redelivered:true",
    "transformation:jms-map-json",
):

    @script(_header)
    def a_header(port: int, header: str) -> Outcome:
        with connected(port) as wire:
            queue = fresh("/queue/header")
            subscribed(wire, queue)
            name, _, value = header.partition(":")
            wire.frame("SEND", {"destination": queue, name: value}, b"x")
            received = wire.read()
            return [str(received), received.headers.get(name, "-") if name != "message-id" else ""]


@script()
def an_expired_message(port: int) -> Outcome:
    with connected(port) as wire:
        past = str(int(time.time() * 1000) - 60_000)
        sent(wire, "/queue/expired", "old", expires=past)
        sent(wire, "/queue/expired", "new")
    return left(port, "/queue/expired")


@script()
def an_expiration_that_has_passed(port: int) -> Outcome:
    with connected(port) as wire:
        sent(wire, "/queue/expiration", "old", expiration="1")
        sent(wire, "/queue/expiration", "new")
        wire.read(0.2)
    return left(port, "/queue/expiration")


@script()
def priorities(port: int) -> Outcome:
    with connected(port) as wire:
        for number, priority in enumerate(("1", "9", "4")):
            sent(wire, "/queue/priorities", f"{number}-{priority}", priority=priority)
    return left(port, "/queue/priorities")
