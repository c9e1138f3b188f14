"""Scenarios of what queues do by themselves: expiry, length, dead letters; see `amqp_calls`."""

from __future__ import annotations

from typing import Any

from pika.exceptions import ChannelClosedByBroker

from tests.interop.amqp_calls import Session, plain, scenario

NEWER = ("x-last-death-", "landbridge-")
"""Headers that this RabbitMQ does not have yet, or that are ours."""


def dead_to(queue: str, **more: Any) -> dict[str, Any]:
    arguments = {name.replace("_", "-"): value for name, value in more.items()}
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue, **arguments}


def headers_of(properties: Any) -> Any:
    """Headers but times; integers with their types, which typed clients cast to."""
    shown: dict[str, Any] = {}
    for name, value in sorted((properties.headers or {}).items()):
        if name == "x-death":
            shown[name] = [
                sorted((key, repr(each)) for key, each in death.items() if key != "time")
                for death in value
            ]
        elif not name.startswith(NEWER):
            shown[name] = repr(value)
    return shown


@scenario
def retries_without_a_consumer(s: Session) -> Any:
    c = s.channel
    c.queue_declare("work", durable=True, arguments=dead_to("wait"))
    c.queue_declare("wait", durable=True, arguments=dead_to("work", x_message_ttl=100))
    s.publish("work", b"x", headers={"h": 1})
    seen = []
    for _ in range(3):
        s.wait_for("work", 1)
        method, properties, _ = c.basic_get("work")
        seen.append((method.exchange, method.redelivered, headers_of(properties)))
        c.basic_reject(method.delivery_tag, requeue=False)
    c.queue_delete("work")
    c.queue_delete("wait")
    return seen


@scenario
def a_cycle_of_expiry_ends(s: Session) -> Any:
    s.channel.queue_declare("cycle", arguments=dead_to("cycle", x_message_ttl=50))
    s.publish("cycle", b"x")
    left = s.wait_for("cycle", 0)
    s.channel.queue_delete("cycle")
    return left


@scenario
def over_the_length(s: Session) -> Any:
    c = s.channel
    c.queue_declare("over", durable=True)
    c.queue_declare("short", arguments=dead_to("over", x_max_length=1))
    s.publish("short", b"1", b"2")
    s.wait_for("over", 1)
    _, properties, body = c.basic_get("over", auto_ack=True)
    first = body, headers_of(properties)
    c.queue_delete("short")
    c.queue_declare(
        "short", arguments=dead_to("over", x_max_length=1, x_overflow="reject-publish-dlx")
    )
    s.publish("short", b"1", b"2")
    s.pause(0.3)
    second = s.drain("short")
    c.queue_delete("short")
    c.queue_delete("over")
    c.queue_declare("weighed", arguments={"x-max-length-bytes": 10})
    s.publish("weighed", b"12345", b"6789", b"abcdef")
    s.pause(0.3)
    third = s.drain("weighed")
    c.queue_delete("weighed")
    return first, second, third


@scenario
def a_time_to_live_of_0(s: Session) -> Any:
    c = s.channel
    c.queue_declare("now", arguments={"x-message-ttl": 0})
    s.publish("now", b"1")
    s.pause(0.2)
    nobody = s.drain("now")
    got: list[bytes] = []
    c.basic_consume("now", lambda _c, _m, _p, body: got.append(body), auto_ack=True)
    s.publish("now", b"2")
    s.pause(0.3)
    c.queue_delete("now")
    c.queue_declare("later")
    s.publish("later", b"3", expiration="0")
    s.pause(0.2)
    expired = s.drain("later")
    c.queue_delete("later")
    return nobody, got, expired


@scenario
def unused_queues_expire(s: Session) -> Any:
    s.channel.queue_declare("unused", arguments={"x-expires": 300})
    s.pause(2.5)
    return s.error(lambda c: c.queue_declare("unused", passive=True))


@scenario
def over_the_delivery_limit(s: Session) -> Any:
    c = s.channel
    c.queue_declare("over", durable=True)
    arguments = dead_to("over", x_queue_type="quorum", x_delivery_limit=1)
    c.queue_declare("limited", durable=True, arguments=arguments)
    s.publish("limited", b"m", delivery_mode=2)
    s.wait_for("limited", 1)
    for _ in range(2):
        method, _, _ = c.basic_get("limited")
        c.basic_nack(method.delivery_tag, requeue=True)
        s.pause(0.3)
    s.wait_for("over", 1)
    _, properties, body = c.basic_get("over", auto_ack=True)
    c.queue_delete("limited")
    c.queue_delete("over")
    return body, headers_of(properties)


@scenario
def requeued_to_their_places(s: Session) -> Any:
    c = s.channel
    c.queue_declare("places", durable=True)
    s.publish("places", *[b"%d" % number for number in range(6)])
    s.wait_for("places", 6)
    tags = [c.basic_get("places")[0].delivery_tag for _ in range(6)]
    for index in (3, 1, 5):
        c.basic_reject(tags[index], requeue=True)
    s.pause(0.2)
    again = [c.basic_get("places")[2] for _ in range(3)]
    c.basic_nack(0, multiple=True, requeue=True)
    s.pause(0.2)
    everything = s.drain("places")
    c.queue_delete("places")
    return again, everything


@scenario
def counts_of_a_queue(s: Session) -> Any:
    c = s.channel
    c.queue_declare("counted")
    s.publish("counted", b"1", b"2", b"3")
    s.wait_for("counted", 3)
    left = [c.basic_get("counted")[0].message_count for _ in range(3)]
    ready = c.queue_declare("counted", passive=True).method.message_count
    purged = c.queue_purge("counted").method.message_count
    return left, ready, purged, c.queue_delete("counted").method.message_count


@scenario
def unacknowledged_stay_with_the_channel(s: Session) -> Any:
    s.channel.queue_declare("kept")
    s.publish("kept", b"1")
    s.wait_for("kept", 1)
    channel = s.connection.channel()
    tag = channel.basic_consume("kept", lambda *_: None)
    s.pause(0.3)
    channel.basic_cancel(tag)
    cancelled = s.channel.queue_declare("kept", passive=True).method.message_count
    channel.close()
    closed = s.wait_for("kept", 1)
    method, _, _ = s.channel.basic_get("kept")
    s.channel.queue_delete("kept")
    return cancelled, closed, method.redelivered


@scenario
def exclusive_queues_declared_again(s: Session) -> Any:
    def declare(**options: Any) -> Any:
        channel = s.connection.channel()
        try:
            declared = channel.queue_declare("own", **options)
        except ChannelClosedByBroker as error:
            return plain(error)
        channel.close()
        return declared.method.queue

    declare(exclusive=True)
    return [
        declare(),
        declare(durable=True),
        declare(exclusive=True),
        declare(exclusive=True, durable=True),
        declare(exclusive=True, auto_delete=True),
        declare(passive=True),
    ]


@scenario
def declaring_begins_the_time_of_an_unused_queue_anew(s: Session) -> Any:
    for passive in (False, True):
        # No pause with patience, which would outlast the queue.
        s.channel.queue_declare("leased", arguments={"x-expires": 4000})
        for _ in range(2):
            s.connection.sleep(2.2)
            arguments = None if passive else {"x-expires": 4000}
            s.channel.queue_declare("leased", passive=passive, arguments=arguments)
        s.channel.queue_delete("leased")
    return "still there"
