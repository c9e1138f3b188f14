"""What a client does with its messages: ack, nack, recover, transactions."""

from __future__ import annotations

from adapters.amqp091.properties import encode_properties
from bridge.messaging.errors import (
    StoreUnavailable,
)
from bridge.messaging.limits import Limits
from tests.mappings.amqp091.broker import Broker, bodies, connect, names


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
