"""basic.publish: units of work, confirms, returns and refusals."""

from __future__ import annotations

import pytest

from adapters.amqp091.properties import encode_properties
from bridge.messaging.errors import (
    MessageTooLong,
    MessagingError,
    QueueFull,
    StoreUnavailable,
)
from bridge.messaging.model import QueueName
from mappings.amqp091.messages import AT_ONCE_MS
from mappings.submitter import SENDS_PER_UNIT_MAX
from tests.mappings.amqp091.broker import Broker, connect

TTL_0 = {"x-message-ttl": 0}


async def test_a_chunk_is_one_unit_of_work_and_one_confirm(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.call("Confirm.Select")
    before = len(broker.store.submitted)
    client.publish("q", *[b"%d" % n for n in range(50)])
    (ack,) = await client.read()
    assert (ack.name, ack.fields) == ("Basic.Ack", {"delivery_tag": 50, "multiple": True})
    assert len(broker.store.submitted) == before + 1
    assert broker.bodies("q") == [str(n) for n in range(50)]


async def test_what_reaches_no_queue_is_confirmed_by_itself(broker: Broker) -> None:
    client = await connect(broker)
    await client.call("Confirm.Select")
    client.publish("nowhere", b"1")
    client.publish("nowhere", b"2", mandatory=True)
    client.publish("nowhere", b"3", mandatory=True)
    answers = [
        (method.name, method.fields.get("delivery_tag"), method.fields.get("multiple"))
        for method in await client.read()
    ]
    assert answers == [
        ("Basic.Ack", 1, False),
        ("Basic.Return", None, None),
        ("Basic.Ack", 2, False),
        ("Basic.Return", None, None),
        ("Basic.Ack", 3, False),
    ]


async def test_what_the_store_refuses_is_refused(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.call("Confirm.Select")
    broker.store.refusal = StoreUnavailable("the disk is full")
    client.publish("q", b"1", b"2")
    nack, blocked = await client.read()
    assert blocked.name == "Connection.Blocked"
    assert (nack.name, nack.fields["delivery_tag"], nack.fields["multiple"]) == (
        "Basic.Nack",
        2,
        True,
    )


async def test_without_confirms_a_lost_publish_ends_the_connection(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    broker.store.refusal = StoreUnavailable("the disk is full")
    client.publish("q", b"1")
    (close,) = await client.read()
    assert close.name == "Connection.Close"
    assert close.fields["reply_code"] == 541


@pytest.mark.parametrize(
    ("error", "closes"),
    [
        (StoreUnavailable("SQS does not answer"), [("Connection.Close", 541)]),
        (MessageTooLong("1048577 bytes"), [("Channel.Close", 406)]),
        (QueueFull("queue 'q' is at its length limit"), []),
    ],
)
async def test_without_confirms_one_lost_publish_is_told(
    broker: Broker, error: MessagingError, closes: list[tuple[str, int]]
) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.declare("other")
    broker.store.refused[QueueName("/", "q")] = error
    client.publish("other", b"1")
    client.publish("q", b"2")
    answers = await client.read()
    assert [(each.name, each.fields["reply_code"]) for each in answers] == closes
    assert broker.bodies("other") == ["1"]


async def test_unroutable_messages(broker: Broker) -> None:
    client = await connect(broker)
    await client.call("Confirm.Select")
    client.publish("nowhere", b"x", mandatory=True)
    client.publish("nowhere", b"y")
    returned, *acks = await client.read()
    assert (returned.name, returned.fields["reply_code"], returned.body) == (
        "Basic.Return",
        312,
        b"x",
    )
    assert [ack.fields["delivery_tag"] for ack in acks] == [1, 2]


async def test_an_exchange_that_is_not_there(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"kept")
    client.publish("k", b"lost", exchange="missing")
    client.publish("q", b"discarded")
    (close,) = await client.read()
    assert close.fields["reply_text"] == "NOT_FOUND - no exchange 'missing' in vhost '/'"
    assert broker.bodies("q") == ["kept"]


async def test_user_ids_are_the_client_s_own(broker: Broker) -> None:
    client = await connect(broker)
    client.publish("q", b"", properties=encode_properties(user_id="guest"))
    assert await client.read() == []
    client.publish("q", b"", properties=encode_properties(user_id="root"))
    (close,) = await client.read()
    assert close.fields["reply_text"] == (
        "PRECONDITION_FAILED - user_id property set to 'root' but authenticated user was 'guest'"
    )


async def test_expiration_and_priority_reach_the_store(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"", properties=encode_properties(expiration="5000", priority=3))
    await client.read()
    (message,) = broker.bench_queue("q").messages
    assert message.expires_at == message.sent_at + 5000
    assert message.priority == 3
    client.publish("q", b"", properties=encode_properties(expiration="soon"))
    (close,) = await client.read()
    assert close.fields["reply_code"] == 406


async def test_a_time_to_live_of_0_leaves_the_moment_to_be_consumed(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q", arguments=TTL_0)
    assert broker.bench_queue("q").settings.message_ttl_ms == AT_ONCE_MS
    again = await client.one("Queue.Declare", queue="q", durable=True, arguments=TTL_0)
    assert again.name == "Queue.DeclareOk"
    client.publish("q", b"1", properties=encode_properties(expiration="0"))
    await client.read()
    (message,) = broker.bench_queue("q").messages
    assert message.expires_at == message.sent_at + AT_ONCE_MS


async def test_copies_by_cc_and_bcc(broker: Broker) -> None:
    client = await connect(broker)
    for name in ("a", "b", "c"):
        await client.declare(name)
    headers = {"CC": ["b", "a"], "BCC": ["c"]}
    client.publish("a", b"m", properties=encode_properties(headers=headers))
    client.publish("b", b"n")
    await client.read()
    assert [broker.bodies(name) for name in ("a", "b", "c")] == [["m"], ["m", "n"], ["m"]]
    assert broker.bench_queue("c").messages[0].headers == {"CC": ["b", "a"]}


async def test_publishes_to_very_many_queues_wait_for_the_store(broker: Broker) -> None:
    client = await connect(broker)
    await client.call("Confirm.Select")
    for number in range(SENDS_PER_UNIT_MAX // 10):
        name = await client.declare(f"q{number}")
        await client.call("Queue.Bind", queue=name, exchange="amq.fanout")
    broker.store.slow = True
    before = len(broker.store.submitted)
    client.publish("", *[b"%d" % number for number in range(100)], exchange="amq.fanout")
    assert await client.read() == []
    submitted = broker.store.submitted[before:]
    sends = sum(len(unit.sends) for unit in submitted)
    assert sends < broker.services.limits.unanswered_messages_max < 100 * SENDS_PER_UNIT_MAX // 10
    confirmed = 0
    while broker.store.submitted[before:]:
        before = len(broker.store.submitted)
        broker.store.catch_up()
        for confirm in await client.read():
            confirmed = confirm.fields["delivery_tag"]
    assert confirmed == 100
    assert broker.bodies("q7") == [str(number) for number in range(100)]
