"""Scenarios of declaring and routing; see `amqp_calls`."""

from __future__ import annotations

from functools import partial
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.interop.amqp_calls import MADE_UP, Session, scenario, show


@scenario
def queue_declarations(s: Session) -> Any:
    declare = s.channel.queue_declare
    first = declare("q1", durable=True, arguments={"x-max-length": 5}).method
    again = declare("q1", durable=True, arguments={"x-max-length": 5}).method
    made = declare("", exclusive=True).method.queue
    last = declare("", exclusive=True, passive=False).method.queue
    return (
        (first.queue, first.message_count, first.consumer_count),
        again.message_count,
        MADE_UP.sub("", made),
        made != last,
        s.error(lambda c: c.queue_declare("q1", durable=False, arguments={"x-max-length": 5})),
        s.error(lambda c: c.queue_declare("q1", durable=True, auto_delete=True)),
        s.error(lambda c: c.queue_declare("q1", durable=True)),
        s.error(lambda c: c.queue_declare("q1", durable=True, arguments={"x-max-length": 6})),
        s.error(
            lambda c: c.queue_declare(
                "q1", durable=True, arguments={"x-max-length": 5, "x-message-ttl": 1000}
            )
        ),
        s.error(lambda c: c.queue_declare("missing", passive=True)),
        s.error(lambda c: c.queue_declare("amq.mine")),
        s.error(lambda c: c.queue_declare(made, passive=True)),
        s.error(lambda c: c.queue_declare(made, exclusive=True)),
        s.error(lambda c: c.basic_get(made)),
        s.error(lambda c: c.queue_delete(made)),
        s.error(lambda c: c.queue_purge(made)),
        s.error(lambda c: c.queue_bind("", "amq.topic", "x")),
        s.channel.queue_delete("q1").method.message_count,
        s.channel.queue_delete("never-there").method.message_count,
    )


@scenario
def queue_arguments(s: Session) -> Any:
    def refused(**arguments: Any) -> Any:
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        return s.error(lambda c: c.queue_declare("bad", durable=True, arguments=named))

    outcomes = (
        refused(x_message_ttl=-1),
        refused(x_message_ttl="60"),
        refused(x_expires=0),
        refused(x_expires=315_360_000_001),
        refused(x_message_ttl=315_360_000_001),
        refused(x_max_length=-5),
        refused(x_dead_letter_routing_key="k"),
        refused(x_overflow=1),
        refused(x_overflow="what"),
        refused(x_max_priority=256),
        refused(x_single_active_consumer="yes"),
        refused(x_queue_mode="eager"),
        refused(x_queue_type="nonsense"),
        refused(x_dead_letter_exchange=5),
        refused(x_unknown_thing="fine"),
        refused(x_unknown_thing="other"),
        refused(x_message_ttl=5),
    )
    s.channel.queue_delete("bad")
    return outcomes


NOT_OF_CLASSIC_QUEUES: dict[str, Any] = {
    "x-max-age": "1h",
    "x-stream-max-segment-size-bytes": 1000,
    "x-initial-cluster-size": 1,
    "x-quorum-initial-group-size": 1,
    "x-max-in-memory-length": 5,
    "x-max-in-memory-bytes": 5,
    "x-dead-letter-strategy": "at-most-once",
    "x-delivery-limit": 3,
}
OF_CLASSIC_QUEUES: dict[str, Any] = {
    "x-max-priority": 3,
    "x-queue-mode": "lazy",
    "x-queue-version": 1,
    "x-queue-master-locator": "min-masters",
    # Known to no type of this RabbitMQ.
    "x-max-segment-size": 1,
}


@scenario
def arguments_of_other_types_of_queues(s: Session) -> Any:
    def outcome(arguments: dict[str, Any]) -> Any:
        said = s.error(lambda c: c.queue_declare("typed", durable=True, arguments=arguments))
        s.channel.queue_delete("typed")
        return said

    outcomes = [
        outcome({**typed, name: value})
        for typed in ({}, {"x-queue-type": "classic"}, {"x-queue-type": "quorum"})
        for name, value in {**NOT_OF_CLASSIC_QUEUES, **OF_CLASSIC_QUEUES}.items()
    ]
    quorum = {"x-queue-type": "quorum"}
    outcomes += [
        outcome({**quorum, "x-dead-letter-strategy": "sometimes"}),
        outcome({**quorum, "x-quorum-initial-group-size": 0}),
        outcome({**quorum, "x-max-in-memory-length": -1}),
        outcome({**quorum, "x-queue-leader-locator": "nobody"}),
    ]
    return outcomes


@scenario
def arguments_of_other_types_are_nothing_to_a_queue_that_is_there(s: Session) -> Any:
    declared: dict[str, Any] = {"queue": "there", "durable": True}
    s.channel.queue_declare(**declared)
    outcomes = [
        s.error(partial(BlockingChannel.queue_declare, **declared, arguments={name: value}))
        for name, value in NOT_OF_CLASSIC_QUEUES.items()
    ]
    s.channel.queue_delete("there")
    return outcomes


class Latin(str):
    """A name that a client sends in Latin-1."""

    __slots__ = ()

    def encode(self, encoding: str = "", errors: str = "strict") -> bytes:
        return super().encode("latin-1", errors)


@scenario
def names_that_are_not_utf_8(s: Session) -> Any:
    name = Latin("gr\xf6\xdfe")
    return (
        s.error(lambda c: c.queue_declare(name)),
        s.error(lambda c: c.queue_delete(name)),
        s.error(lambda c: c.basic_get(name)),
        s.error(lambda c: c.exchange_declare(name)),
        s.error(lambda c: c.queue_bind("q", "amq.topic", name)),
        s.error(lambda c: c.basic_consume("q", lambda *_: None, consumer_tag=name)),
    )


@scenario
def exchange_declarations(s: Session) -> Any:
    declare = s.channel.exchange_declare
    declare("ex1", "topic", durable=True)
    declare("ex1", "topic", durable=True)
    declare("ex1", passive=True)
    outcomes = (
        s.error(lambda c: c.exchange_declare("ex1", "fanout", durable=True)),
        s.error(lambda c: c.exchange_declare("ex1", "topic", durable=False)),
        s.error(lambda c: c.exchange_declare("ex1", "topic", durable=True, auto_delete=True)),
        s.error(lambda c: c.exchange_declare("ex1", "topic", durable=True, internal=True)),
        s.error(lambda c: c.exchange_declare("missing", passive=True)),
        s.error(lambda c: c.exchange_declare("amq.mine", "topic")),
        s.error(lambda c: c.exchange_declare("", "direct")),
        s.error(lambda c: c.exchange_declare("ex2", "nonsense")),
        s.error(lambda c: c.exchange_delete("amq.topic")),
        s.error(lambda c: c.exchange_delete("")),
        s.error(lambda c: c.exchange_bind("ex1", "missing", "k")),
        s.error(lambda c: c.queue_bind("missing", "ex1", "k")),
        s.error(lambda c: c.exchange_delete("never-there")),
        s.error(lambda c: c.basic_publish("missing", "k", b"x")),
        s.error(lambda c: c.queue_bind("probe", "", "k")),
    )
    s.channel.exchange_delete("ex1")
    return outcomes


@scenario
def deleting_what_is_used(s: Session) -> Any:
    s.channel.queue_declare("used", durable=True)
    s.channel.exchange_declare("used-ex", "fanout")
    s.channel.queue_bind("used", "used-ex")
    s.publish("used", b"1", b"2")
    s.wait_for("used", 2)
    outcomes = [
        s.error(lambda c: c.queue_delete("used", if_empty=True)),
        s.error(lambda c: c.exchange_delete("used-ex", if_unused=True)),
    ]
    s.channel.basic_consume("used", lambda *_: None)
    outcomes.append(s.error(lambda c: c.queue_delete("used", if_unused=True)))
    s.pause(0.2)
    s.channel.exchange_delete("used-ex")
    outcomes.append(s.channel.queue_purge("used").method.message_count)
    s.channel.queue_delete("used")
    return outcomes


@scenario
def topic_routing(s: Session) -> Any:
    s.channel.exchange_declare("t", "topic")
    patterns = ["a.b", "a.*", "a.#", "#", "*.b", "*", "#.b", "a.*.#", ""]
    for number, pattern in enumerate(patterns):
        s.channel.queue_declare(f"t{number}", auto_delete=True)
        s.channel.queue_bind(f"t{number}", "t", pattern)
    for key in ("a.b", "a", "a.b.c", "", "b", "a..b", "x.y.b"):
        s.publish(key, key.encode(), exchange="t")
    s.pause(0.3)
    found = {pattern: s.drain(f"t{number}") for number, pattern in enumerate(patterns)}
    for number in range(len(patterns)):
        s.channel.queue_delete(f"t{number}")
    s.channel.exchange_delete("t")
    return found


@scenario
def headers_routing(s: Session) -> Any:
    s.channel.exchange_declare("h", "headers")
    bindings: dict[str, dict[str, Any]] = {
        "all": {"x-match": "all", "a": 1, "b": "x"},
        "any": {"x-match": "any", "a": 1, "b": "x"},
        "default": {"a": 1},
        "present": {"a": None},
        "with-x": {"x-match": "any-with-x", "x-a": 1},
        "none": {},
    }
    for name, arguments in bindings.items():
        s.channel.queue_declare(f"h-{name}", auto_delete=True)
        s.channel.queue_bind(f"h-{name}", "h", "", arguments)
    for number, headers in enumerate(
        ({"a": 1, "b": "x"}, {"a": 1}, {"b": "x"}, {"a": 2}, {"x-a": 1}, {"a": "1"}, {})
    ):
        s.publish("", b"%d" % number, exchange="h", headers=headers)
    s.pause(0.3)
    found = {name: s.drain(f"h-{name}") for name in bindings}
    bad = s.error(lambda c: c.queue_bind("h-all", "h", "", {"x-match": "some"}))
    for name in bindings:
        s.channel.queue_delete(f"h-{name}")
    s.channel.exchange_delete("h")
    return found, bad


@scenario
def exchange_to_exchange_and_alternate(s: Session) -> Any:
    c = s.channel
    c.exchange_declare("outer", "topic", arguments={"alternate-exchange": "spare"})
    c.exchange_declare("inner", "fanout", internal=True)
    c.exchange_declare("spare", "fanout")
    for name in ("in-q", "spare-q"):
        c.queue_declare(name, auto_delete=True)
    c.exchange_bind("inner", "outer", "a.#")
    c.queue_bind("in-q", "inner")
    c.queue_bind("spare-q", "spare")
    s.publish("a.b", b"in", exchange="outer")
    s.publish("b", b"spared", exchange="outer")
    s.pause(0.3)
    found = s.drain("in-q"), s.drain("spare-q")
    refused = s.error(lambda c: c.basic_publish("inner", "k", b"x"))
    c.exchange_unbind("inner", "outer", "a.#")
    s.publish("a.b", b"late", exchange="outer")
    s.pause(0.3)
    after = s.drain("in-q"), s.drain("spare-q")
    for name in ("in-q", "spare-q"):
        c.queue_delete(name)
    for name in ("outer", "inner", "spare"):
        c.exchange_delete(name)
    return found, refused, after


@scenario
def mandatory_and_confirms(s: Session) -> Any:
    s.channel.confirm_delivery()
    outcomes: list[Any] = []
    for exchange, key, mandatory in (
        ("", "nowhere", True),
        ("", "nowhere", False),
        ("amq.topic", "no.one", True),
    ):
        try:
            s.channel.basic_publish(exchange, key, b"x", mandatory=mandatory)
            outcomes.append("confirmed")
        except pika.exceptions.UnroutableError as error:
            returned = error.messages[0]
            outcomes.append(
                (
                    returned.method.reply_code,
                    returned.method.reply_text,
                    returned.method.exchange,
                    returned.method.routing_key,
                    returned.body,
                )
            )
    return outcomes


@scenario
def copies(s: Session) -> Any:
    for name in ("cc0", "cc1", "cc2"):
        s.channel.queue_declare(name, auto_delete=True)
    s.publish("cc0", b"m", headers={"CC": ["cc1", "cc0"], "BCC": ["cc2"], "other": 1})
    s.pause(0.3)
    found = {name: show(*s.channel.basic_get(name)) for name in ("cc0", "cc1", "cc2")}
    bad = s.error(
        lambda c: c.basic_publish("", "cc0", b"", pika.BasicProperties(headers={"CC": "x"}))
    )
    for name in ("cc0", "cc1", "cc2"):
        s.channel.queue_delete(name)
    return found, bad
