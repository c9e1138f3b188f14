"""Scenarios of channels: modes, windows, copies, and all that closes one; see `amqp_calls`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import UnroutableError
from pika.spec import Basic, Channel

from tests.interop.amqp_calls import Session, scenario, show

Call = Callable[[BlockingChannel], Any]


def send(channel: BlockingChannel, method: Any, content: Any = None) -> None:
    """A method that pika would not send like this."""
    channel._impl._send_method(method, content)
    channel.connection.sleep(0.3)


def own(channel: BlockingChannel, **arguments: Any) -> str:
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    declared: str = channel.queue_declare("", exclusive=True, arguments=named).method.queue
    return declared


def _acknowledged_twice(channel: BlockingChannel) -> None:
    queue = own(channel)
    channel.basic_publish("", queue, b"x")
    channel.connection.sleep(0.2)
    method, _, _ = channel.basic_get(queue)
    channel.basic_ack(method.delivery_tag)
    channel.basic_ack(method.delivery_tag)


def _tag_used_twice(channel: BlockingChannel) -> None:
    queue = own(channel)
    channel.basic_consume(queue, lambda *_: None, consumer_tag="x")
    send(channel, Basic.Consume(queue=queue, consumer_tag="x"))


def _bound_headers(channel: BlockingChannel) -> None:
    channel.queue_bind(own(channel), "amq.headers", "", {"x-match": 5})


def _missing_alternate(channel: BlockingChannel) -> None:
    arguments = {"alternate-exchange": "nope"}
    channel.exchange_declare("lonely", "direct", arguments=arguments)
    channel.basic_publish("lonely", "x", b"1")
    channel.exchange_delete("lonely")


CALLS: dict[str, Call] = {
    "immediate": lambda c: send(
        c,
        Basic.Publish(exchange="", routing_key="x", immediate=True),
        (pika.BasicProperties(), b""),
    ),
    "prefetch size": lambda c: c.basic_qos(prefetch_size=5),
    "flow": lambda c: send(c, Channel.Flow(active=False)),
    "consume without a queue": lambda c: send(c, Basic.Consume(queue="", consumer_tag="x")),
    "priority of a consumer": lambda c: c.basic_consume(
        own(c), lambda *_: None, arguments={"x-priority": "a"}
    ),
    "ack 0": lambda c: c.basic_ack(0),
    "ack 0 multiple": lambda c: c.basic_ack(0, multiple=True),
    "acknowledged twice": _acknowledged_twice,
    "tag used twice": _tag_used_twice,
    "bind the default exchange": lambda c: c.exchange_bind("amq.topic", "", "k"),
    "amq.topic again": lambda c: c.exchange_declare("amq.topic", "topic", durable=True),
    "amq.topic as direct": lambda c: c.exchange_declare("amq.topic", "direct", durable=True),
    "amq.direct transient": lambda c: c.exchange_declare("amq.direct", "direct"),
    "amq.topic passive": lambda c: c.exchange_declare("amq.topic", "direct", passive=True),
    "alternate is a number": lambda c: c.exchange_declare(
        "ae", "direct", arguments={"alternate-exchange": 5}
    ),
    "alternate is missing": _missing_alternate,
    "unbind what is not bound": lambda c: c.queue_unbind(own(c), "amq.topic", "never"),
    "unbind from nothing": lambda c: c.queue_unbind(own(c), "nope", "never"),
    "unbind nothing": lambda c: c.queue_unbind("nope", "amq.topic", "never"),
    "purge nothing": lambda c: c.queue_purge("nope"),
    "get from nothing": lambda c: c.basic_get("nope"),
    "cancel nobody": lambda c: send(c, Basic.Cancel(consumer_tag="nobody")),
    "dead letters to nowhere": lambda c: own(c, x_dead_letter_exchange="nope"),
    "exclusive quorum": lambda c: c.queue_declare(
        "q", durable=True, exclusive=True, arguments={"x-queue-type": "quorum"}
    ),
    "recover without requeue": lambda c: c.basic_recover(requeue=False),
    "bindings of headers": _bound_headers,
    "copies that are no list": lambda c: c.basic_publish(
        "", "a", b"", pika.BasicProperties(headers={"BCC": 5})
    ),
    "expiration below 0": lambda c: c.basic_publish(
        "", own(c), b"", pika.BasicProperties(expiration="-1")
    ),
    "somebody else's id": lambda c: c.basic_publish(
        "", "a", b"", pika.BasicProperties(user_id="x")
    ),
    "rollback without tx": lambda c: c.tx_rollback(),
    "tx after confirms": lambda c: (c.confirm_delivery(), c.tx_select()),
    "no-local": lambda c: send(c, Basic.Consume(queue=own(c), consumer_tag="x", no_local=True)),
}


@scenario
def what_closes_a_channel(s: Session) -> Any:
    return {name: s.error(call) for name, call in CALLS.items()}


@scenario
def copies_of_transactions(s: Session) -> Any:
    for name in ("copied", "copies"):
        s.channel.queue_declare(name)
    s.channel.tx_select()
    s.publish("copied", b"1", headers={"CC": ["copies"]})
    s.publish("copies", b"2")
    s.channel.tx_commit()
    found = s.drain("copied"), s.drain("copies")
    s.channel.tx_commit()
    for name in ("copied", "copies"):
        s.channel.queue_delete(name)
    return found


@scenario
def prefetch_that_changes(s: Session) -> Any:
    s.channel.queue_declare("window")
    s.publish("window", *[b"x"] * 20)
    s.wait_for("window", 20)
    channel = s.connection.channel()
    got: list[int] = []
    seen: list[int] = []

    def note() -> None:
        s.pause(0.3)
        seen.append(len(got))

    def take(*_: Any) -> None:
        got.append(1)

    channel.basic_qos(prefetch_count=3)
    channel.basic_consume("window", take)
    note()
    channel.basic_qos(prefetch_count=6)
    note()
    channel.basic_consume("window", take)
    note()
    channel.basic_qos(prefetch_count=10, global_qos=True)
    note()
    channel.basic_qos(prefetch_count=0, global_qos=True)
    note()
    s.channel.queue_delete("window")
    return seen


@scenario
def mandatory_through_an_alternate(s: Session) -> Any:
    c = s.channel
    c.exchange_declare("main", "direct", arguments={"alternate-exchange": "spare"})
    c.exchange_declare("spare", "fanout")
    c.confirm_delivery()
    outcomes: list[Any] = []
    try:
        c.basic_publish("main", "x", b"1", mandatory=True)
    except UnroutableError as error:
        outcomes.append(error.messages[0].method.exchange)
    c.queue_declare("spared")
    c.queue_bind("spared", "spare")
    c.basic_publish("main", "x", b"2", mandatory=True)
    outcomes.append(show(*c.basic_get("spared", auto_ack=True)))
    c.queue_delete("spared")
    c.exchange_delete("main")
    c.exchange_delete("spare")
    return outcomes


@scenario
def exchanges_in_a_circle(s: Session) -> Any:
    c = s.channel
    for name in ("round", "about"):
        c.exchange_declare(name, "fanout")
    c.queue_declare("circle")
    c.exchange_bind("round", "about")
    c.exchange_bind("about", "round")
    c.queue_bind("circle", "round")
    c.queue_bind("circle", "about")
    s.publish("", b"1", exchange="round")
    s.wait_for("circle", 1)
    found = s.drain("circle")
    c.queue_delete("circle")
    for name in ("round", "about"):
        c.exchange_delete(name)
    return found


@scenario
def auto_delete_exchanges(s: Session) -> Any:
    c = s.channel

    def gone() -> Any:
        return s.error(lambda other: other.exchange_declare("passing", passive=True))

    c.exchange_declare("passing", "direct", auto_delete=True)
    c.exchange_declare("target", "fanout")
    c.exchange_bind("target", "passing", "k")
    c.exchange_unbind("target", "passing", "k")
    outcomes = [gone()]
    c.exchange_declare("passing", "direct", auto_delete=True)
    c.queue_declare("bound")
    c.queue_bind("bound", "passing", "a")
    c.queue_bind("bound", "passing", "b")
    c.queue_unbind("bound", "passing", "a")
    outcomes.append(gone())
    c.queue_delete("bound")
    outcomes.append(gone())
    c.exchange_delete("target")
    return outcomes


@scenario
def recovering(s: Session) -> Any:
    c = s.channel
    c.queue_declare("recovered")
    s.publish("recovered", b"1", b"2")
    s.wait_for("recovered", 2)
    got: list[Any] = []
    c.basic_consume("recovered", lambda _c, m, _p, b: got.append((b, m.redelivered)))
    s.pause(0.3)
    c.basic_recover(requeue=True)
    s.pause(0.3)
    c.queue_delete("recovered")
    return got


@scenario
def a_prefetch_of_the_channel_that_changes(s: Session) -> Any:
    c = s.channel
    seen = []
    for first, second in ((1, 2), (1, 0), (2, 1)):
        c.queue_declare("window")
        s.publish("window", b"1", b"2", b"3", b"4")
        s.wait_for("window", 4)
        got: list[bytes] = []
        c.basic_qos(prefetch_count=first, global_qos=True)
        tag = c.basic_consume("window", lambda _c, _m, _p, body, got=got: got.append(body))
        s.pause(0.3)
        before = list(got)
        c.basic_qos(prefetch_count=second, global_qos=True)
        s.pause(0.3)
        seen.append((before, list(got)))
        c.basic_cancel(tag)
        c.queue_delete("window")
        c.basic_qos(prefetch_count=0, global_qos=True)
    return seen


@scenario
def a_full_channel_and_automatic_acks(s: Session) -> Any:
    c = s.channel
    got: list[bytes] = []
    tags: list[int] = []
    c.basic_qos(prefetch_count=1, global_qos=True)
    for queue in ("held", "free"):
        c.queue_declare(queue)

    def hold(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        tags.append(method.delivery_tag)
        got.append(body)

    c.basic_consume("held", hold)
    s.publish("held", b"1")
    s.pause(0.3)
    c.basic_consume("free", lambda _c, _m, _p, body: got.append(body), auto_ack=True)
    s.publish("free", b"2", b"3")
    s.pause(0.3)
    before = list(got)
    c.basic_ack(tags[0])
    s.pause(0.3)
    for queue in ("held", "free"):
        c.queue_delete(queue)
    return before, got


@scenario
def channels_of_any_number(s: Session) -> Any:
    return [s.connection.channel(number).channel_number for number in (2047, 60_000)]


@scenario
def basic_get_does_not_count_against_the_window(s: Session) -> Any:
    c = s.channel
    got: list[bytes] = []
    tags: list[int] = []
    c.basic_qos(prefetch_count=1, global_qos=True)
    c.queue_declare("windowed")

    def note(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        tags.append(method.delivery_tag)
        got.append(body)

    c.basic_consume("windowed", note)
    s.publish("windowed", b"1", b"2", b"3", b"4")
    s.pause(0.3)
    taken, _, body = c.basic_get("windowed")
    c.basic_ack(tags[0])
    s.pause(0.3)
    before = list(got)
    c.basic_ack(taken.delivery_tag)
    s.pause(0.3)
    c.queue_delete("windowed")
    return body, before, got
