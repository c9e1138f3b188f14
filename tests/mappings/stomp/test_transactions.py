"""Transactions."""

from __future__ import annotations

from tests.mappings.stomp.broker import (
    Broker,
    ack,
    receipts_of,
    send,
    subscribe,
)


async def test_a_transaction_is_one_unit_at_its_commit(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/in", "work"), subscribe("/queue/in", "0", "ack:client"))
    before = len(broker.store.submitted)
    answer = await client.send(
        "BEGIN\ntransaction:t\n\n^@",
        send("/queue/out", "1", "transaction:t", "receipt:1"),
        send("/topic/out", "2", "transaction:t"),
        ack("1-1", "transaction:t", "receipt:2"),
    )
    assert answer == ""
    assert len(broker.store.submitted) == before
    answer = await client.send("COMMIT\ntransaction:t\nreceipt:3\n\n^@")
    assert receipts_of(answer) == ["1", "2", "3"]
    (unit,) = broker.store.submitted[before:]
    assert unit.atomic
    assert (len(unit.sends), len(unit.deletes)) == (1, 1)
    assert broker.bodies("out") == ["1"]


async def test_an_aborted_transaction_leaves_nothing(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/in", "work"), subscribe("/queue/in", "0", "ack:client"))
    await client.send(
        "BEGIN\ntransaction:t\n\n^@",
        send("/queue/in", "1", "transaction:t"),
        ack("1-1", "transaction:t"),
    )
    assert receipts_of(await client.send("ABORT\ntransaction:t\nreceipt:r\n\n^@")) == ["r"]
    await client.lose()
    assert broker.bodies("in") == ["work"]


async def test_a_failing_transaction_does_nothing(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/in", "work"), subscribe("/queue/in", "0", "ack:client"))
    answer = await client.send(
        "BEGIN\ntransaction:t\n\n^@",
        send("/queue/in", "1", "transaction:t"),
        ack("1-1", "transaction:t"),
        send("/exchange/none", "2", "transaction:t"),
        "COMMIT\ntransaction:t\nreceipt:r\n\n^@",
    )
    assert answer.startswith("ERROR\nmessage:not_found\n")
    assert broker.bodies("in") == ["work"]


async def test_a_transaction_may_reject(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/in", "work"), subscribe("/queue/in", "0", "ack:client"))
    await client.send(
        "BEGIN\ntransaction:t\n\n^@",
        ack("1-1", "transaction:t", "requeue:false", command="NACK"),
        "COMMIT\ntransaction:t\n\n^@",
    )
    assert broker.bodies("landbridge-dead-letters") == ["work"]
    assert broker.bodies("in") == []
