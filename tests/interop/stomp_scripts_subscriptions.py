"""STOMP scripts: subscriptions, replies and durable subscriptions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.interop.side_by_side import Outcome
from tests.interop.stomp_script import (
    connected,
    left,
    script,
    sent,
    sent_by_another,
    subscribed,
)
from tests.support.stomp_wire import PATIENCE_SECONDS, Wire


@script()
def a_subscription_id_twice(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("SUBSCRIBE", {"id": "1", "destination": "/queue/dup", "receipt": "1"})
        wire.frame("SUBSCRIBE", {"id": "1", "destination": "/queue/dup2", "receipt": "2"})
        return wire.quiet()


@script()
def a_subscription_id_again_after_unsubscribe(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("SUBSCRIBE", {"id": "1", "destination": "/queue/again", "receipt": "1"})
        wire.frame("UNSUBSCRIBE", {"id": "1", "receipt": "2"})
        wire.frame("SUBSCRIBE", {"id": "1", "destination": "/queue/again2", "receipt": "3"})
        said = wire.quiet()
        wire.frame("SEND", {"destination": "/queue/again2"}, b"x")
        return [*said, *wire.quiet()]


for _version in ("1.0", "1.1", "1.2"):

    @script(_version)
    def subscribing_without_id(port: int, version: str) -> Outcome:
        with connected(port, version) as wire:
            wire.frame("SUBSCRIBE", {"destination": f"/queue/no-id-{version}", "receipt": "1"})
            wire.frame("SEND", {"destination": f"/queue/no-id-{version}"}, b"x")
            return wire.quiet()

    @script(_version)
    def unsubscribing_by_destination(port: int, version: str) -> Outcome:
        with connected(port, version) as wire:
            headers = {"destination": f"/queue/by-{version}"}
            wire.frame("SUBSCRIBE", {**headers, "id": "1", "receipt": "1"})
            wire.frame("UNSUBSCRIBE", {**headers, "receipt": "2"})
            return wire.quiet()


@script()
def unsubscribing_in_1_0_what_had_no_id(port: int) -> Outcome:
    with connected(port, "1.0") as wire:
        wire.frame("SUBSCRIBE", {"destination": "/queue/none-old", "receipt": "1"})
        wire.frame("UNSUBSCRIBE", {"destination": "/queue/none-old", "receipt": "2"})
        wire.frame("SEND", {"destination": "/queue/none-old", "receipt": "3"}, b"x")
        return wire.quiet()


@script()
def unsubscribing_the_unknown(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("UNSUBSCRIBE", {"id": "nothing", "receipt": "1"})
        return wire.quiet()


@script()
def unsubscribing_nothing(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("UNSUBSCRIBE", {"receipt": "1"})
        return wire.quiet()


@script()
def unsubscribe_gives_back(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/back", ack="client")
        sent(wire, "/queue/back", "a", "b")
        messages = [wire.expect("MESSAGE") for _ in range(2)]
        wire.frame("UNSUBSCRIBE", {"id": "s", "receipt": "u"})
        wire.expect("RECEIPT")
        subscribed(wire, "/queue/back", "t")
        return [*map(str, messages), *wire.quiet()]


@script()
def nothing_comes_after_unsubscribe(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/gone")
        wire.frame("UNSUBSCRIBE", {"id": "s", "receipt": "u"})
        wire.frame("SEND", {"destination": "/queue/gone", "receipt": "1"}, b"x")
        return wire.quiet()


@script()
def a_wrong_ack_mode(port: int) -> Outcome:
    with connected(port) as wire:
        headers = {"id": "1", "destination": "/queue/mode", "receipt": "1", "ack": "sometimes"}
        wire.frame("SUBSCRIBE", headers)
        return wire.quiet()


@script()
def subscribing_without_destination(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("SUBSCRIBE", {"id": "1", "receipt": "1"})
        return wire.quiet()


@script()
def two_consumers_get_shares(port: int) -> Outcome:
    with connected(port) as wire:
        for name in ("1", "2"):
            subscribed(
                wire,
                "/queue/shares",
                name,
                ack="client",
                **{"prefetch_count": "1", "activemq.prefetchSize": "1"},
            )
        sent_by_another(port, "/queue/shares", "a", "b", "c", "d")
        return (
            sorted((wire.expect("MESSAGE").headers["subscription"]) for _ in range(2))
            + wire.quiet()
        )


@script()
def two_subscribers_of_a_topic(port: int) -> Outcome:
    with connected(port) as wire:
        for name in ("1", "2"):
            subscribed(wire, "/topic/both", name)
        wire.frame("SEND", {"destination": "/topic/both"}, b"x")
        return (
            sorted(wire.expect("MESSAGE").headers["subscription"] for _ in range(2)) + wire.quiet()
        )


@script()
def a_topic_subscriber_gets_nothing_of_before(port: int) -> Outcome:
    with connected(port) as wire:
        sent(wire, "/topic/before", "a")
        subscribed(wire, "/topic/before")
        sent_by_another(port, "/topic/before", "b")
        return wire.quiet()


@script()
def a_publisher_gets_its_own(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/topic/own")
        wire.frame("SEND", {"destination": "/topic/own"}, b"x")
        return wire.quiet()


@script()
def selectors(port: int) -> Outcome:
    with connected(port) as wire:
        headers = {"id": "1", "destination": "/queue/selected", "selector": "a = 1", "receipt": "1"}
        wire.frame("SUBSCRIBE", headers)
        return wire.quiet()


@script()
def a_reply_through_a_temporary_queue(port: int) -> Outcome:
    with connected(port) as server, connected(port) as client:
        subscribed(server, "/queue/service")
        client.frame("SUBSCRIBE", {"id": "r", "destination": "/temp-queue/replies", "receipt": "1"})
        first = client.read()
        client.frame(
            "SEND", {"destination": "/queue/service", "reply-to": "/temp-queue/replies"}, b"ask"
        )
        request = server.expect("MESSAGE")
        server.frame("SEND", {"destination": request.headers["reply-to"]}, b"answer")
        received = client.read()
        return [
            str(first),
            str(received),
            received.headers.get("subscription", "-"),
            received.headers.get("destination", "-"),
        ]


@script()
def a_reply_without_a_subscription(port: int) -> Outcome:
    with connected(port) as server, connected(port) as client:
        subscribed(server, "/queue/service2")
        client.frame(
            "SEND", {"destination": "/queue/service2", "reply-to": "/temp-queue/here"}, b"ask"
        )
        request = server.expect("MESSAGE")
        server.frame(
            "SEND", {"destination": request.headers["reply-to"], "receipt": "1"}, b"answer"
        )
        received = client.read(1)
        return [
            str(server.read()),
            str(received),
            received.headers.get("subscription", "-"),
            received.headers.get("destination", "-"),
        ]


@script()
def a_reply_to_a_client_that_is_gone(port: int) -> Outcome:
    with connected(port) as server:
        subscribed(server, "/queue/service3")
        with connected(port) as client:
            client.frame(
                "SUBSCRIBE", {"id": "r", "destination": "/temp-queue/gone", "receipt": "1"}
            )
            client.read()
            client.frame(
                "SEND", {"destination": "/queue/service3", "reply-to": "/temp-queue/gone"}, b"ask"
            )
            request = server.expect("MESSAGE")
            client.frame("DISCONNECT", {"receipt": "bye"})
            client.done()
        server.frame("SEND", {"destination": request.headers["reply-to"], "receipt": "1"}, b"late")
        return server.quiet()


@script()
def a_reply_to_an_ordinary_queue(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/service4")
        wire.frame("SEND", {"destination": "/queue/service4", "reply-to": "/queue/answers"}, b"ask")
        return [wire.expect("MESSAGE").headers["reply-to"]]


@script()
def a_reply_through_a_temporary_topic(port: int) -> Outcome:
    with connected(port) as asking, connected(port) as answering:
        subscribed(answering, "/queue/questions-t")
        asking.frame("SUBSCRIBE", {"id": "t", "destination": "/temp-topic/mine", "receipt": "1"})
        said = [str(asking.read())]
        asking.frame("SEND", {"destination": "/queue/questions-t", "reply-to": "/temp-topic/mine"})
        question = answering.read()
        answering.frame("SEND", {"destination": question.headers["reply-to"]}, b"answer")
        reply = asking.read()
        return [*said, str(question), str(reply), reply.headers["destination"]]


@script()
def a_browser(port: int) -> Outcome:
    sent_by_another(port, "/queue/browsed", "a")
    with connected(port) as wire:
        wire.frame("SUBSCRIBE", {"id": "b", "destination": "/queue/browsed", "browser": "true"})
        said = wire.quiet()
    return [*said, "left", *left(port, "/queue/browsed")]


@script()
def an_exclusive_queue(port: int) -> Outcome:
    with connected(port) as wire, connected(port) as other:
        subscribed(wire, "/queue/own", exclusive="true", ack="client")
        other.frame("SUBSCRIBE", {"id": "1", "destination": "/queue/own", "receipt": "1"})
        said = other.quiet()
        sent(wire, "/queue/own", "a")
        said += wire.quiet()
        # Else the next one may come while the queue is still this one's alone.
        wire.frame("DISCONNECT", {"receipt": "left"})
        said += wire.done()
    return [*said, "left", *left(port, "/queue/own")]


@script()
def durable_as_in_rabbitmq(port: int) -> Outcome:
    headers = {"durable": "true", "auto_delete": "false"}
    with connected(port) as wire:
        subscribed(wire, "/topic/durable", "d", **headers)
        wire.frame("DISCONNECT", {"receipt": "1"})
        wire.done()
    sent_by_another(port, "/topic/durable", "meanwhile")
    with connected(port) as wire:
        subscribed(wire, "/topic/durable", "d", **headers)
        said = wire.quiet()
        wire.frame("UNSUBSCRIBE", {"id": "d", "durable": "true", "receipt": "u"})
        said += wire.quiet()
    sent_by_another(port, "/topic/durable", "afterwards")
    with connected(port) as wire:
        subscribed(wire, "/topic/durable", "d", **headers)
        return [*said, *wire.quiet()]


@script()
def durable_as_in_activemq(port: int) -> Outcome:
    with connected_as("client", port) as wire:
        subscribed(wire, "/topic/durable-a", "d", **{"activemq.subscriptionName": "name"})
    sent_by_another(port, "/topic/durable-a", "meanwhile")
    with connected_as("client", port) as wire:
        subscribed(wire, "/topic/durable-a", "d", **{"activemq.subscriptionName": "name"})
        said = wire.quiet()
        wire.frame("UNSUBSCRIBE", {"id": "d", "receipt": "u"})
        said.append(str(wire.read()))
        wire.frame("UNSUBSCRIBE", {"id": "x", "activemq.subscriptionName": "name", "receipt": "v"})
        said.append(str(wire.read()))
    sent_by_another(port, "/topic/durable-a", "afterwards")
    with connected_as("client", port) as wire:
        subscribed(wire, "/topic/durable-a", "d", **{"activemq.subscriptionName": "name"})
        return [*said, *wire.quiet()]


@contextmanager
def connected_as(client_id: str, port: int) -> Iterator[Wire]:
    """ActiveMQ takes a moment to see that the client of this id has gone."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        wire = Wire(port)
        with closing(wire):
            try:
                wire.connect("1.2", client_id=client_id)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                continue
            yield wire
            wire.frame("DISCONNECT", {"receipt": "bye"})
            wire.done()
            return


@script()
def durable_without_client_id(port: int) -> Outcome:
    with connected(port) as wire:
        headers = {
            "id": "1",
            "destination": "/topic/dwc",
            "activemq.subscriptionName": "n",
            "receipt": "1",
        }
        wire.frame("SUBSCRIBE", headers)
        return wire.quiet()


@script()
def a_client_id_twice(port: int) -> Outcome:
    with connected(port, client_id="twice"), closing(Wire(port)) as other:
        other.frame(
            "CONNECT",
            {
                "accept-version": "1.2",
                "host": "/",
                "login": "guest",
                "passcode": "guest",
                "client-id": "twice",
            },
        )
        return other.quiet()


@script()
def durable_without_id(port: int) -> Outcome:
    with connected(port, "1.0") as wire:
        wire.frame("SUBSCRIBE", {"destination": "/topic/dwi", "durable": "true", "receipt": "1"})
        return wire.quiet()
