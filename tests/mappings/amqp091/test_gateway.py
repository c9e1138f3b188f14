"""Connections, publishes and confirms, deliveries and their settling."""

from __future__ import annotations

import re

import pytest

from adapters.amqp091.properties import encode_properties
from adapters.amqp091.tables import encode_table
from bridge.auth import Account, Accounts
from bridge.auth.password_hashes import make_password_hash
from bridge.messaging.errors import (
    MessageTooLong,
    MessagingError,
    QueueFull,
    StoreUnavailable,
)
from bridge.messaging.limits import Limits
from bridge.messaging.model import QueueName
from mappings.amqp091.messages import AT_ONCE_MS
from mappings.gateway import StopReason
from mappings.submitter import SENDS_PER_UNIT_MAX
from tests.mappings.amqp091.broker import AmqpClient, Broker, bodies, connect, names

TTL_0 = {"x-message-ttl": 0}


@pytest.fixture
async def broker() -> Broker:
    return Broker()


# Connections


async def test_users_are_checked() -> None:
    accounts = Accounts([Account("ada", make_password_hash(b"secret"))], secret=b"x")
    broker = Broker(accounts=accounts)
    client = AmqpClient(broker)
    answer = await client.open(user="ada", password="wrong")
    await broker.at_rest()
    answer += await client.read()
    (close,) = answer
    assert close.fields["reply_code"] == 403
    assert close.fields["reply_text"].startswith(
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN."
    )
    assert any(line.startswith("refused") for line in broker.log.lines)


@pytest.mark.parametrize(
    ("mechanism", "response", "certificate"),
    [
        ("EXTERNAL", b"", "ada"),
        ("AMQPLAIN", encode_table({"LOGIN": "ada", "PASSWORD": "secret"})[4:], None),
    ],
)
async def test_other_mechanisms(mechanism: str, response: bytes, certificate: str | None) -> None:
    accounts = Accounts([Account("ada", make_password_hash(b"secret"))], secret=b"x")
    broker = Broker(accounts=accounts)
    client = AmqpClient(broker, loopback=False, certificate=certificate)
    answer = await client.open(mechanism=mechanism, response=response)
    await broker.at_rest()
    assert names(answer + await client.read())[0] in {"Connection.Tune", "Connection.OpenOk"}
    assert client.gateway.user == "ada"


async def test_virtual_hosts_are_namespaces(broker: Broker) -> None:
    client = AmqpClient(broker)
    assert names(await client.open(virtual_host="other")) == ["Connection.OpenOk"]
    await client.call("Channel.Open")
    await client.declare("q")
    assert [name.namespace for name in broker.store.by_name] == ["other"]
    (refused,) = await AmqpClient(broker).open(virtual_host="nowhere")
    assert refused.fields["reply_text"] == "NOT_ALLOWED - vhost nowhere not found"


async def test_the_client_closes(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("mine", exclusive=True)
    assert names(await client.call("Connection.Close", channel=0)) == ["Connection.CloseOk"]
    assert broker.queue_names() == []
    stayed_open = not client.wire.closed
    client.gateway.eof_received()
    assert (stayed_open, client.wire.closed) == (True, True)


async def test_the_broker_stops(broker: Broker) -> None:
    client = await connect(broker)
    client.gateway.shut_down(StopReason.BROKER_STOPS)
    (close,) = await client.read()
    assert close.fields["reply_code"] == 320
    assert client.wire.closed


async def test_a_mistake_costs_its_channel_only(broker: Broker) -> None:
    client = await connect(broker)
    error = await client.error("Queue.Declare", queue="missing", passive=True)
    assert error == "NOT_FOUND - no queue 'missing' in vhost '/'"
    await client.declare("q")


# Publishes


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


# Deliveries


async def test_deliveries_within_the_prefetch(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", *[b"%d" % n for n in range(6)])
    await client.call("Basic.Qos", prefetch_count=2)
    started = await client.call("Basic.Consume", queue="q", consumer_tag="c")
    assert names(started)[0] == "Basic.ConsumeOk"
    assert bodies(started) == [b"0", b"1"]
    assert bodies(await client.call("Basic.Ack", delivery_tag=1)) == [b"2"]
    assert bodies(await client.call("Basic.Ack", delivery_tag=3, multiple=True)) == [b"3", b"4"]


async def test_a_prefetch_for_the_channel(broker: Broker) -> None:
    client = await connect(broker)
    for name in ("a", "b"):
        await client.declare(name)
        client.publish(name, *[b"%d" % n for n in range(5)])
    await client.call("Basic.Qos", prefetch_count=3, global_=True)
    got = bodies(await client.call("Basic.Consume", queue="a"))
    got += bodies(await client.call("Basic.Consume", queue="b"))
    assert len(got) == 3
    assert len(bodies(await client.call("Basic.Ack", delivery_tag=2, multiple=True))) == 2
    await client.lose()
    assert broker.bodies("a") + broker.bodies("b") == ["2", "3", "4", *"01234"]


async def test_a_lost_connection_gives_everything_back_in_place(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"1", b"2", b"3")
    await client.call("Basic.Consume", queue="q")
    await client.call("Basic.Ack", delivery_tag=2)
    await client.lose()
    assert broker.bodies("q") == ["1", "3"]
    assert broker.bench_queue("q").consumer_count == 0


async def test_nack_with_and_without_requeue(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("dead")
    await client.declare(
        "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    )
    client.publish("q", b"1", b"2", b"3")
    await client.read()
    for _ in range(3):
        await client.call("Basic.Get", queue="q")
    await client.call("Basic.Nack", delivery_tag=2, multiple=True, requeue=True)
    await client.call("Basic.Reject", delivery_tag=3, requeue=False)
    assert broker.bodies("q") == ["1", "2"]
    assert broker.bodies("dead") == ["3"]
    (message,) = broker.bench_queue("dead").messages
    assert message.headers["x-first-death-reason"] == "rejected"


async def test_rejected_messages_without_a_target_are_not_lost(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"1")
    await client.call("Basic.Get", queue="q")
    await client.call("Basic.Reject", delivery_tag=1, requeue=False)
    await broker.at_rest()
    assert broker.bodies("landbridge-dead-letters") == ["1"]


async def test_delivery_limits(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("dead")
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 1,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
    }
    await client.declare("q", arguments=arguments)
    client.publish("q", b"poison")
    counts = []
    for tag in (1, 2):
        (got,) = await client.call("Basic.Get", queue="q")
        assert got.properties is not None
        counts.append((got.properties.headers or {})["x-delivery-count"])
        await client.call("Basic.Nack", delivery_tag=tag, requeue=True)
    assert counts == [0, 1]
    assert broker.bodies("dead") == ["poison"]


async def test_recover(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"1")
    await client.call("Basic.Consume", queue="q")
    again = await client.call("Basic.Recover", requeue=True)
    assert names(again) == ["Basic.RecoverOk", "Basic.Deliver"]
    assert again[1].fields["redelivered"] is True


async def test_automatic_acknowledgement(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"1", b"2")
    assert bodies(await client.call("Basic.Consume", queue="q", no_ack=True)) == [b"1", b"2"]
    await client.lose()
    assert broker.bodies("q") == []


async def test_a_client_that_does_not_read_gets_nothing_more(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.call("Basic.Consume", queue="q", no_ack=True)
    client.gateway.pause_writing()
    client.publish("q", b"1")
    assert await client.read() == []
    client.gateway.resume_writing()
    assert bodies(await client.read()) == [b"1"]


async def test_cancelling(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.call("Basic.Consume", queue="q", consumer_tag="c")
    assert names(await client.call("Basic.Cancel", consumer_tag="c")) == ["Basic.CancelOk"]
    client.publish("q", b"1")
    assert await client.read() == []
    await client.call("Basic.Consume", queue="q", consumer_tag="d")
    other = await connect(broker)
    await other.call("Queue.Delete", queue="q")
    (cancel,) = await client.read()
    assert (cancel.name, cancel.fields["consumer_tag"]) == ("Basic.Cancel", "d")
    # What it still holds settles nothing any more, and is no mistake.
    assert await client.call("Basic.Ack", delivery_tag=1) == []


async def test_who_deletes_a_queue_hears_of_its_consumers_last(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.call("Basic.Consume", queue="q", consumer_tag="c")
    answer = await client.call("Queue.Delete", queue="q")
    assert names(answer) == ["Queue.DeleteOk", "Basic.Cancel"]


async def test_exclusive_consumers(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.call("Basic.Consume", queue="q", exclusive=True)
    error = await client.error("Basic.Consume", queue="q")
    assert error == "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"


async def test_direct_replies(broker: Broker) -> None:
    pseudo = "amq.rabbitmq.reply-to"
    client, worker = await connect(broker), await connect(broker)
    await worker.declare("rpc")
    await client.call("Basic.Consume", queue=pseudo, no_ack=True)
    client.publish("rpc", b"ask", properties=encode_properties(reply_to=pseudo))
    await client.read()
    (asked,) = await worker.call("Basic.Get", queue="rpc", no_ack=True)
    assert asked.properties is not None
    reply_to = asked.properties.reply_to
    assert reply_to is not None
    assert re.fullmatch(rf"{re.escape(pseudo)}\.[\w-]+\.[\w-]{{22}}==", reply_to)
    worker.publish(reply_to, b"answer")
    await worker.read()
    assert bodies(await client.read()) == [b"answer"]
    await client.lose()
    assert broker.queue_names() == ["rpc"]


# Transactions


async def test_transactions(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.declare("in")
    client.publish("in", b"job")
    await client.call("Tx.Select")
    await client.call("Basic.Get", queue="in")
    client.send("Basic.Ack", delivery_tag=1)
    client.publish("q", b"1", b"2")
    assert await client.read() == []
    assert broker.bodies("q") == []
    assert names(await client.call("Tx.Commit")) == ["Tx.CommitOk"]
    assert broker.bodies("q") == ["1", "2"]
    client.publish("q", b"3")
    assert names(await client.call("Tx.Rollback")) == ["Tx.RollbackOk"]
    await client.lose()
    assert broker.bodies("q") == ["1", "2"]
    assert broker.bodies("in") == []


async def test_copies_of_a_transaction_keep_the_order(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.declare("other")
    await client.call("Tx.Select")
    client.publish("q", b"1", properties=encode_properties(headers={"CC": ["other"]}))
    client.publish("other", b"2")
    client.publish("nowhere", b"3", mandatory=True)
    client.publish("other", b"4", properties=encode_properties(headers={"BCC": ["q"]}))
    answer = await client.call("Tx.Commit")
    assert [(each.name, each.body) for each in answer] == [
        ("Basic.Return", b"3"),
        ("Tx.CommitOk", b""),
    ]
    assert (broker.bodies("q"), broker.bodies("other")) == (["1", "4"], ["1", "2", "4"])


async def test_a_transaction_that_fails_does_nothing(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("in")
    client.publish("in", b"job")
    await client.call("Tx.Select")
    await client.call("Basic.Get", queue="in")
    client.send("Basic.Ack", delivery_tag=1)
    broker.store.refusal = StoreUnavailable("the disk is full")
    client.send("Tx.Commit")
    client.gateway.data_received(b"".join(client.protocol.data_to_send()))
    broker.store.refusal = None
    (close,) = await client.read()
    assert close.fields["reply_text"] == "PRECONDITION_FAILED - partial tx completion"
    await client.lose()
    assert broker.bodies("in") == ["job"]


async def test_transactions_are_bounded() -> None:
    broker = Broker(limits=Limits(transaction_messages_max=2))
    client = await connect(broker)
    await client.declare("q")
    await client.call("Tx.Select")
    client.publish("q", b"1", b"2", b"3")
    (close,) = await client.read()
    assert close.fields["reply_code"] == 406
    assert broker.bodies("q") == []


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
