"""Scenarios of publishing and consuming; see `amqp_calls`."""

from __future__ import annotations

from functools import partial
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPConnectionError

from tests.interop.amqp_calls import MADE_UP, Session, consumed, plain, scenario, show


@scenario
def properties_survive(s: Session) -> Any:
    s.channel.queue_declare("props", auto_delete=True)
    everything: dict[str, Any] = {
        "content_type": "text/plain",
        "content_encoding": "utf-8",
        "headers": {"s": "x", "i": 1, "big": 2**40, "t": True, "n": None, "l": [1, "a", {"b": 2}]},
        "delivery_mode": 2,
        "priority": 7,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "100000",
        "message_id": "m",
        "timestamp": 1_700_000_000,
        "type": "t",
        "user_id": "guest",
        "app_id": "a",
    }
    s.publish("props", b"body", **everything)
    s.publish("props", b"")
    s.wait_for("props", 2)
    seen = show(*s.channel.basic_get("props")), show(*s.channel.basic_get("props"))
    s.channel.queue_delete("props")
    wrong = s.error(lambda c: c.basic_publish("", "x", b"", pika.BasicProperties(user_id="other")))
    bad = [
        s.error(partial(_publish_expiring, expiration=value))
        for value in ("abc", "1.5", "-1", "315360000000", "315360000001", " 5", "5 ", "+5", "0x5")
    ]
    return seen, wrong, bad


def _publish_expiring(channel: BlockingChannel, expiration: str) -> None:
    channel.basic_publish("", "x", b"", pika.BasicProperties(expiration=expiration))


@scenario
def acknowledging(s: Session) -> Any:
    c = s.channel
    c.queue_declare("acks", durable=True)
    s.publish("acks", *[b"%d" % n for n in range(6)])
    s.wait_for("acks", 6)
    got = consumed(c, "acks", 6)
    tags = [method.delivery_tag for method, _, _ in got]
    c.basic_nack(tags[4], requeue=True)
    c.basic_ack(tags[2], multiple=True)
    c.basic_reject(tags[3], requeue=True)
    returned = c.cancel()
    again: list[Any] = []
    for _ in range(4):
        method, _, body = c.basic_get("acks", auto_ack=True)
        again.append((body, method.redelivered) if method else None)
    unknown = s.error(lambda channel: channel.basic_ack(99))
    c.queue_delete("acks")
    return [body for _, _, body in got], returned, again, unknown


@scenario
def order_after_a_lost_connection(s: Session) -> Any:
    s.channel.queue_declare("lost", durable=True)
    s.publish("lost", *[b"%d" % n for n in range(5)])
    s.wait_for("lost", 5)
    other = s.connect()
    channel = other.channel()
    got = consumed(channel, "lost", 3)
    channel.basic_ack(got[1][0].delivery_tag)
    s.pause(0.2, other)
    other.close()
    s.wait_for("lost", 4)
    seen: list[Any] = []
    for _ in range(5):
        method, _, body = s.channel.basic_get("lost", auto_ack=True)
        seen.append(None if method is None else (body, method.redelivered))
    s.channel.queue_delete("lost")
    return seen


@scenario
def prefetch(s: Session) -> Any:
    c = s.channel
    c.queue_declare("qos", durable=True)
    s.publish("qos", *[b"%d" % n for n in range(10)])
    s.wait_for("qos", 10)
    outcomes = [_prefetched(s, global_qos=global_qos) for global_qos in (False, True)]
    c.queue_delete("qos")
    return outcomes


def _prefetched(s: Session, *, global_qos: bool) -> tuple[int, int]:
    channel = s.connection.channel()
    channel.basic_qos(prefetch_count=3, global_qos=global_qos)
    tags: list[int] = []
    channel.basic_consume("qos", lambda _c, m, _p, _b: tags.append(m.delivery_tag))
    s.pause(0.5)
    first = len(tags)
    channel.basic_ack(tags[1], multiple=True)
    s.pause(0.5)
    channel.close()
    return first, len(tags)


@scenario
def consumers(s: Session) -> Any:
    c = s.channel
    c.queue_declare("cons", durable=True)
    c.basic_consume("cons", lambda *_: None, consumer_tag="one")
    count = c.queue_declare("cons", passive=True).method.consumer_count
    outcomes = [
        count,
        s.error(lambda c2: c2.basic_consume("missing", lambda *_: None)),
        s.error(lambda c2: c2.basic_consume("cons", lambda *_: None, exclusive=True)),
    ]
    c.basic_cancel("one")
    c.basic_consume("cons", lambda *_: None, exclusive=True)
    outcomes.append(s.error(lambda c2: c2.basic_consume("cons", lambda *_: None)))
    c.queue_delete("cons")
    return outcomes


@scenario
def cancelled_by_the_server(s: Session) -> Any:
    c = s.channel
    c.queue_declare("gone", durable=True)
    cancelled = []
    c.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    c.basic_consume("gone", lambda *_: None, consumer_tag="mine")
    other = s.connect().channel()
    other.queue_delete("gone")
    s.pause(0.5)
    return cancelled


@scenario
def auto_delete(s: Session) -> Any:
    c = s.channel
    c.queue_declare("auto", auto_delete=True)
    c.exchange_declare("auto-ex", "fanout", auto_delete=True)
    c.queue_bind("auto", "auto-ex")
    tag = c.basic_consume("auto", lambda *_: None)
    c.basic_cancel(tag)
    return (
        s.error(lambda c2: c2.queue_declare("auto", passive=True)),
        s.error(lambda c2: c2.exchange_declare("auto-ex", passive=True)),
    )


@scenario
def transactions(s: Session) -> Any:
    c = s.channel
    c.queue_declare("tx", durable=True)
    c.tx_select()
    s.publish("tx", b"rolled back")
    c.tx_rollback()
    s.publish("tx", b"1", b"2")
    before = s.connect().channel().queue_declare("tx", passive=True).method.message_count
    c.tx_commit()
    after = s.wait_for("tx", 2)
    method, _, _ = c.basic_get("tx")
    c.basic_ack(method.delivery_tag)
    c.tx_rollback()
    c.basic_ack(method.delivery_tag)
    c.tx_commit()
    left = s.wait_for("tx", 1)
    refused = s.error(lambda c2: c2.tx_commit())
    mixed = s.error(lambda c2: (c2.tx_select(), c2.confirm_delivery()))
    c.queue_delete("tx")
    return before, after, left, refused, mixed


@scenario
def expiry_and_dead_letters(s: Session) -> Any:
    c = s.channel
    c.queue_declare("dead", durable=True)
    c.queue_declare(
        "retry",
        durable=True,
        arguments={
            "x-message-ttl": 200,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "dead",
        },
    )
    s.publish("retry", b"expired", headers={"a": 1}, expiration="50")
    s.wait_for("dead", 1)
    method, properties, body = c.basic_get("dead", auto_ack=True)
    first = method.exchange, method.routing_key, body, properties.expiration, deaths(properties)
    c.queue_declare("reject", arguments={"x-dead-letter-exchange": "amq.fanout"})
    c.queue_bind("dead", "amq.fanout")
    s.publish("reject", b"rejected")
    s.wait_for("reject", 1)
    method, _, _ = c.basic_get("reject")
    c.basic_reject(method.delivery_tag, requeue=False)
    s.wait_for("dead", 1)
    method, properties, body = c.basic_get("dead", auto_ack=True)
    second = method.exchange, method.routing_key, body, deaths(properties)
    for name in ("dead", "retry", "reject"):
        c.queue_delete(name)
    return first, second


def deaths(properties: Any) -> Any:
    seen = [
        {name: value for name, value in sorted(death.items()) if name != "time"}
        for death in properties.headers.get("x-death", [])
    ]
    firsts = {k: v for k, v in properties.headers.items() if k.startswith("x-first-death")}
    return seen, sorted(firsts.items())


@scenario
def length_limits(s: Session) -> Any:
    c = s.channel
    c.confirm_delivery()
    c.queue_declare("short", arguments={"x-max-length": 2})
    s.publish("short", b"1", b"2", b"3")
    s.wait_for("short", 2)
    kept = s.drain("short")
    c.queue_declare("full", arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    outcomes = []
    for body in (b"1", b"2", b"3"):
        try:
            c.basic_publish("", "full", body)
            outcomes.append("ack")
        except pika.exceptions.NackError:
            outcomes.append("nack")
    left = s.drain("full")
    c.queue_delete("short")
    c.queue_delete("full")
    return kept, outcomes, left


@scenario
def priorities(s: Session) -> Any:
    c = s.channel
    c.queue_declare("prio", arguments={"x-max-priority": 5})
    for body, priority in ((b"low", 1), (b"none", None), (b"high", 5), (b"over", 9), (b"mid", 3)):
        s.publish("prio", body, priority=priority)
    s.wait_for("prio", 5)
    order = s.drain("prio")
    c.queue_delete("prio")
    return order


@scenario
def direct_reply_to(s: Session) -> Any:
    c = s.channel
    c.queue_declare("rpc", durable=True)
    replies: list[Any] = []
    pseudo = "amq.rabbitmq.reply-to"
    c.basic_consume(pseudo, lambda _c, m, _p, b: replies.append((m.exchange, b)), auto_ack=True)
    c.basic_publish("", "rpc", b"ask", pika.BasicProperties(reply_to=pseudo, correlation_id="1"))
    s.wait_for("rpc", 1)
    worker = s.connect().channel()
    _, properties, _ = worker.basic_get("rpc", auto_ack=True)
    worker.basic_publish("", properties.reply_to, b"answer")
    s.pause(0.5)
    c.queue_delete("rpc")
    shown = MADE_UP.sub("<made up>", properties.reply_to)
    return (
        replies,
        shown,
        s.error(lambda c2: c2.basic_consume(pseudo, lambda *_: None)),
        s.error(lambda c2: c2.basic_publish("", "rpc", b"", pika.BasicProperties(reply_to=pseudo))),
    )


@scenario
def single_active_consumer(s: Session) -> Any:
    c = s.channel
    c.queue_declare("sac", arguments={"x-single-active-consumer": True})
    got: list[tuple[str, bytes]] = []
    for name in ("first", "second"):
        c.basic_consume(
            "sac",
            lambda _c, m, _p, b: got.append((m.consumer_tag, b)),
            auto_ack=True,
            consumer_tag=name,
        )
    s.publish("sac", b"1", b"2")
    s.pause(0.5)
    c.basic_cancel("first")
    s.publish("sac", b"3")
    s.pause(0.5)
    c.queue_delete("sac")
    return got


@scenario
def consumer_priorities(s: Session) -> Any:
    c = s.channel
    c.queue_declare("cprio", durable=True)
    got: list[str] = []
    for name, priority in (("low", 1), ("high", 10)):
        c.basic_consume(
            "cprio",
            lambda _c, m, _p, _b: got.append(m.consumer_tag),
            auto_ack=True,
            consumer_tag=name,
            arguments={"x-priority": priority},
        )
    s.publish("cprio", *[b"x"] * 4)
    s.pause(0.5)
    c.queue_delete("cprio")
    return got


@scenario
def large_bodies(s: Session) -> Any:
    c = s.channel
    c.queue_declare("large", durable=True)
    bodies = [bytes(range(256)) * 4 * size for size in (0, 1, 127, 128, 129, 1000)]
    s.publish("large", *bodies)
    s.wait_for("large", len(bodies))
    same = s.drain("large") == bodies
    c.queue_delete("large")
    return same


@scenario
def quorum_queues(s: Session) -> Any:
    c = s.channel
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 2}
    c.queue_declare("quorum", durable=True, arguments=arguments)
    s.publish("quorum", b"m", delivery_mode=2)
    s.wait_for("quorum", 1)
    seen: list[Any] = []
    for _ in range(4):
        method, properties, body = c.basic_get("quorum")
        if method is None:
            seen.append(None)
            break
        seen.append((body, method.redelivered, (properties.headers or {}).get("x-delivery-count")))
        c.basic_nack(method.delivery_tag, requeue=True)
        s.pause(0.2)
    c.queue_delete("quorum")
    return seen, s.error(
        lambda c2: c2.queue_declare("qq", durable=False, arguments={"x-queue-type": "quorum"})
    )


@scenario
def virtual_hosts_and_protocol(s: Session) -> Any:
    try:
        s.connect(virtual_host="nowhere")
    except AMQPConnectionError as error:
        return plain(error)
    return "let in"


@scenario
def copies_through_bound_exchanges(s: Session) -> Any:
    c = s.channel
    c.exchange_declare("cc-first", "direct")
    c.exchange_declare("cc-second", "topic")
    c.queue_declare("cc-queue")
    c.exchange_bind("cc-second", "cc-first", "one")
    c.queue_bind("cc-queue", "cc-second", "two")
    s.publish("", b"1", exchange="cc-first", headers={"CC": ["one"], "BCC": ["two"]})
    s.publish("", b"2", exchange="cc-first", headers={"CC": ["one"]})
    s.wait_for("cc-queue", 1)
    seen = [show(*c.basic_get("cc-queue", auto_ack=True)) for _ in range(2)]
    c.queue_delete("cc-queue")
    c.exchange_delete("cc-first")
    c.exchange_delete("cc-second")
    return seen


@scenario
def copies_and_dead_letters(s: Session) -> Any:
    c = s.channel
    seen: list[Any] = []
    extras: tuple[dict[str, Any], ...] = ({}, {"x-dead-letter-routing-key": "cc-dead"})
    for extra in extras:
        c.exchange_declare("cc-dlx", "direct")
        c.queue_declare("cc-dead")
        c.queue_bind("cc-dead", "cc-dlx", "cc-dead")
        c.queue_declare("cc-from", arguments={"x-dead-letter-exchange": "cc-dlx", **extra})
        s.publish("cc-from", b"x", headers={"CC": ["cc-dead", "nowhere"], "BCC": ["bcc"]})
        s.wait_for("cc-from", 1)
        method, _, _ = c.basic_get("cc-from")
        c.basic_reject(method.delivery_tag, requeue=False)
        s.wait_for("cc-dead", 2)
        taken = [c.basic_get("cc-dead", auto_ack=True) for _ in range(2)]
        for method, properties, _ in taken:
            if method is None:
                seen.append(None)
                continue
            death = (properties.headers.get("x-death") or [{}])[0]
            seen.append(
                (method.routing_key, properties.headers.get("CC"), death.get("routing-keys"))
            )
        for queue in ("cc-from", "cc-dead"):
            c.queue_delete(queue)
        c.exchange_delete("cc-dlx")
    return seen


@scenario
def deaths_that_were_not_counted(s: Session) -> Any:
    c = s.channel
    c.queue_declare("old-dead")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "old-dead"}
    c.queue_declare("old-from", arguments=arguments)
    old = {"reason": "rejected", "exchange": "", "routing-keys": ["k"]}
    deaths = [{**old, "queue": name} for name in ("a", "a", "b", "old-from", "a")]
    s.publish("old-from", b"x", headers={"x-death": deaths})
    s.wait_for("old-from", 1)
    method, _, _ = c.basic_get("old-from")
    c.basic_reject(method.delivery_tag, requeue=False)
    s.wait_for("old-dead", 1)
    _, properties, _ = c.basic_get("old-dead", auto_ack=True)
    c.queue_delete("old-from")
    c.queue_delete("old-dead")
    return sorted((death["queue"], death["count"]) for death in properties.headers["x-death"])


@scenario
def large_messages(s: Session) -> Any:
    c = s.channel
    c.queue_declare("large")
    c.confirm_delivery()
    body = bytes(range(256)) * (20 * 4096)
    s.publish("large", body)
    _, _, back = c.basic_get("large", auto_ack=True)
    c.queue_delete("large")
    return back == body
