"""Exchanges, queues, bindings and permissions; RabbitMQ's words are held by tests/interop."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.amqp091.properties import encode_properties
from bridge.auth import Account, Accounts, Grants, NamespacePermission
from bridge.auth.password_hashes import make_password_hash
from tests.mappings.amqp091.broker import AmqpClient, Broker, connect, names


async def test_topics_and_bindings(broker: Broker) -> None:
    client = await connect(broker)
    await client.call("Exchange.Declare", exchange="ex", exchange_type="topic", durable=True)
    await client.declare("q")
    await client.call("Queue.Bind", queue="q", exchange="ex", routing_key="a.*")
    await client.call("Queue.Bind", queue="q", exchange="ex", routing_key="a.*")
    client.publish("a.b", b"1", exchange="ex")
    client.publish("b", b"2", exchange="ex")
    await client.read()
    assert broker.bodies("q") == ["1"]
    (got,) = await client.call("Basic.Get", queue="q")
    assert (got.fields["exchange"], got.fields["routing_key"]) == ("ex", "a.b")
    await client.call("Queue.Unbind", queue="q", exchange="ex", routing_key="a.*")
    client.publish("a.b", b"3", exchange="ex")
    await client.read()
    assert broker.bodies("q") == []


@pytest.mark.parametrize("key", ["a/b", "100%", "%e", "", "a b", "ü", "\x01", "a.*.b", "#"])
async def test_keys_come_back_as_they_were(broker: Broker, key: str) -> None:
    client = await connect(broker)
    await client.declare("q")
    for exchange in ("amq.direct", "amq.topic", "amq.fanout"):
        pattern = key if exchange == "amq.direct" else "#"
        await client.call("Queue.Bind", queue="q", exchange=exchange, routing_key=pattern)
        client.publish(key, b"", exchange=exchange)
        (got,) = await client.call("Basic.Get", queue="q", no_ack=True)
        assert (got.fields["exchange"], got.fields["routing_key"]) == (exchange, key)


async def test_exclusive_queues(broker: Broker) -> None:
    owner, other = await connect(broker), await connect(broker)
    name = await owner.declare("", exclusive=True)
    assert name.startswith("amq.gen-")
    await owner.declare("named", exclusive=True)
    await owner.declare("named", exclusive=True)
    for method, fields in (
        ("Queue.Declare", {"queue": "named", "exclusive": True}),
        ("Queue.Declare", {"queue": "named", "passive": True}),
        ("Queue.Bind", {"queue": "named", "exchange": "amq.topic"}),
        ("Basic.Consume", {"queue": "named"}),
        ("Queue.Delete", {"queue": "named"}),
    ):
        error = await other.error(method, **fields)
        assert error.startswith("RESOURCE_LOCKED - cannot obtain exclusive access")
    await owner.lose()
    assert broker.queue_names() == []


async def test_auto_delete_queues(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q", auto_delete=True)
    await client.call("Basic.Consume", queue="q", consumer_tag="a")
    await client.call("Basic.Consume", queue="q", consumer_tag="b")
    await client.call("Basic.Cancel", consumer_tag="a")
    assert broker.queue_names() == ["q"]
    await client.call("Basic.Cancel", consumer_tag="b")
    assert broker.queue_names() == []
    await client.declare("q", auto_delete=True)
    await client.call("Basic.Consume", queue="q")
    assert names(await client.call("Channel.Close")) == ["Channel.CloseOk"]
    assert broker.queue_names() == []


async def test_transient_queues_stay_out_of_the_catalogue(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q", durable=False)
    assert broker.bench_queue("q").transient
    await client.declare("d")
    assert not broker.bench_queue("d").transient


async def test_settings_of_a_queue(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare(
        "q",
        arguments={
            "x-message-ttl": 1000,
            "x-expires": 2000,
            "x-max-length": 3,
            "x-max-length-bytes": 400,
            "x-overflow": "reject-publish",
            "x-dead-letter-exchange": "dlx",
            "x-dead-letter-routing-key": "k",
            "x-max-priority": 5,
            "x-single-active-consumer": True,
        },
    )
    settings = broker.bench_queue("q").settings
    assert settings.message_ttl_ms == 1000
    assert settings.idle_expiry_ms == 2000
    assert (settings.length_max, settings.bytes_max) == (3, 400)
    assert settings.overflow.value == "reject-publish"
    assert settings.dead_letter == type(settings.dead_letter)("dlx", "k")
    assert settings.priority_max == 5
    assert settings.single_active_consumer


async def test_streams_are_refused_clearly(broker: Broker) -> None:
    client = await connect(broker)
    error = await client.error(
        "Queue.Declare", queue="s", durable=True, arguments={"x-queue-type": "stream"}
    )
    assert error == (
        "PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 's' in vhost '/':"
        " streams are not offered, classic and quorum queues are"
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("classic", "x-max-age"),
        ("classic", "x-delivery-limit"),
        ("quorum", "x-stream-max-segment-size-bytes"),
        ("quorum", "x-max-priority"),
    ],
)
async def test_arguments_of_other_types_of_queues_are_refused(
    broker: Broker, kind: str, name: str
) -> None:
    client = await connect(broker)
    arguments = {"x-queue-type": kind, name: 1}
    error = await client.error("Queue.Declare", queue="q", durable=True, arguments=arguments)
    assert error == (
        f"PRECONDITION_FAILED - invalid arg '{name}' for queue 'q' in vhost '/' of queue type"
        f" rabbit_{kind}_queue"
    )
    assert broker.queue_names() == []
    assert broker.log.lines[-1] == f"channel 9 closed guest: queue.declare: {error}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("x-dead-letter-exchange", "invalid type 'signedint' for arg '{}' in queue 'q'"),
        ("x-dead-letter-routing-key", "invalid arg '{}' for queue 'q'"),
    ],
)
async def test_where_dead_letters_go_is_text(broker: Broker, name: str, problem: str) -> None:
    client = await connect(broker)
    error = await client.error("Queue.Declare", queue="q", arguments={name: 5})
    assert error.startswith(f"PRECONDITION_FAILED - {problem.format(name)} in vhost '/'")


async def test_delayed_exchanges(broker: Broker) -> None:
    client = await connect(broker)
    arguments = {"x-delayed-type": "direct"}
    await client.call(
        "Exchange.Declare", exchange="later", exchange_type="x-delayed-message", arguments=arguments
    )
    assert await client.error(
        "Exchange.Declare", exchange="later", exchange_type="direct", arguments=arguments
    ) == (
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'later' in vhost '/':"
        " received 'direct' but current is 'x-delayed-message'"
    )
    wrong = await client.error(
        "Exchange.Declare", exchange="never", exchange_type="x-delayed-message"
    )
    assert "'x-delayed-type' must be an existing exchange type" in wrong


async def test_the_last_declared_queue_needs_no_name(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.call("Queue.Bind", exchange="amq.direct")
    client.publish("q", b"1", exchange="amq.direct")
    await client.read()
    assert broker.bodies("q") == ["1"]
    assert (await client.one("Queue.Purge")).fields == {"message_count": 1}
    assert await client.error("Queue.Purge") == "NOT_FOUND - no previously declared queue"


PERMITTED: list[tuple[str, dict[str, Any], str]] = [
    ("Queue.Declare", {"queue": "other"}, "configure access to queue 'other' in vhost '/'"),
    ("Queue.Delete", {"queue": "other"}, "configure access to queue 'other' in vhost '/'"),
    ("Queue.Purge", {"queue": "other"}, "read access to queue 'other' in vhost '/'"),
    ("Basic.Consume", {"queue": "other"}, "read access to queue 'other' in vhost '/'"),
    ("Basic.Get", {"queue": "other"}, "read access to queue 'other' in vhost '/'"),
    (
        "Exchange.Declare",
        {"exchange": "other", "exchange_type": "topic"},
        "configure access to exchange 'other' in vhost '/'",
    ),
    (
        "Queue.Bind",
        {"queue": "my-q", "exchange": "amq.topic"},
        "read access to exchange 'amq.topic' in vhost '/'",
    ),
    (
        "Queue.Bind",
        {"queue": "other", "exchange": "my-ex"},
        "write access to queue 'other' in vhost '/'",
    ),
]


async def permitted() -> AmqpClient:
    grants = Grants(permissions=(NamespacePermission("/", "my-.*", "my-.*", "my-.*"),))
    accounts = Accounts([Account("ada", make_password_hash(b"pw"), grants)], secret=b"x")
    broker = Broker(accounts=accounts)
    client = AmqpClient(broker)
    await client.read()
    client.send(
        "Connection.StartOk",
        channel=0,
        client_properties={},
        mechanism="PLAIN",
        response=b"\0ada\0pw",
        locale="en_US",
    )
    await client.read()
    await broker.at_rest()
    await client.read()
    client.protocol.tuned(2047, 131_072, 0, 0.0)
    assert names(await client.call("Connection.Open", channel=0, virtual_host="/")) == [
        "Connection.OpenOk"
    ]
    await client.call("Channel.Open")
    return client


@pytest.mark.parametrize(("method", "fields", "text"), PERMITTED)
async def test_what_is_not_permitted_is_refused(
    method: str, fields: dict[str, Any], text: str
) -> None:
    client = await permitted()
    await client.declare("my-q")
    error = await client.error(method, **fields)
    assert error == f"ACCESS_REFUSED - {text} refused for user 'ada'"


@pytest.mark.parametrize("name", ["CC", "BCC"])
async def test_copies_need_permission(name: str) -> None:
    client = await permitted()
    await client.declare("my-q")
    properties = encode_properties(headers={name: ["my-q", "other"]})
    client.publish("my-q", b"1", properties=properties)
    (close,) = await client.read()
    assert close.fields["reply_text"] == (
        "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user"
        " 'ada'"
    )


@pytest.mark.parametrize(("exchange", "shown"), [("", "amq.default"), ("amq.topic", "amq.topic")])
async def test_publishing_needs_permission(exchange: str, shown: str) -> None:
    client = await permitted()
    await client.declare("my-q")
    await client.call("Exchange.Declare", exchange="my-x", exchange_type="fanout")
    client.publish("k", b"1", exchange="my-x")
    assert await client.read() == []
    # As in RabbitMQ, the queue's own name does not help.
    client.publish("my-q", b"2", exchange=exchange)
    (close,) = await client.read()
    assert close.fields["reply_text"] == (
        f"ACCESS_REFUSED - write access to exchange '{shown}' in vhost '/' refused for user 'ada'"
    )
