"""What a client does with its messages: ACK, NACK, prefetch."""

from __future__ import annotations

import pytest

from bridge.messaging.model import QueueSettings
from tests.mappings.stomp.broker import (
    Broker,
    ack,
    receipts_of,
    send,
    subscribe,
)
from tests.support.routing import queue_name


async def test_mode_auto_settles_what_was_written(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "prefetch-count:3"))
    messages = await client.messages(*[send("/queue/a", str(n)) for n in range(10)])
    assert [message["body"] for message in messages] == [str(n) for n in range(10)]
    assert not broker.bench_queue("a").held


@pytest.mark.parametrize("header", ["prefetch-count", "activemq.prefetchSize"])
async def test_prefetch_bounds_what_is_unsettled(broker: Broker, header: str) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client-individual", f"{header}:3"))
    messages = await client.messages(*[send("/queue/a", str(n)) for n in range(10)])
    assert [message["body"] for message in messages] == ["0", "1", "2"]
    messages = await client.messages(ack(messages[1]["ack"]), ack(messages[0]["ack"]))
    assert [message["body"] for message in messages] == ["3", "4"]


async def test_cumulative_acks_settle_what_came_before(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"))
    messages = await client.messages(*[send("/queue/a", str(n)) for n in range(5)])
    assert receipts_of(await client.send(ack(messages[3]["ack"], "receipt:r"))) == ["r"]
    await client.lose()
    assert broker.bodies("a") == ["4"]


async def test_nack_returns_a_message(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client-individual", "prefetch-count:1"))
    (first,) = await client.messages(send("/queue/a", "hello"))
    (again,) = await client.messages(ack(first["ack"], command="NACK"))
    assert (again["body"], again["redelivered"]) == ("hello", "true")
    assert again["message-id"] == first["message-id"]


async def test_nack_without_requeue_dead_letters(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client-individual"))
    (first,) = await client.messages(send("/queue/a", "hello", "foo:bar"))
    answer = await client.send(ack(first["ack"], "requeue:false", "receipt:r", command="NACK"))
    assert receipts_of(answer) == ["r"]
    assert broker.bodies("landbridge-dead-letters") == ["hello"]
    (dead,) = await client.messages(subscribe("/queue/landbridge-dead-letters", "1"))
    assert dead["foo"] == "bar"
    assert dead["landbridge-dead-letter-reason"] == "rejected"
    assert '"queue"\\c"a"' in dead["x-death"]


async def test_too_many_returns_dead_letter(broker: Broker) -> None:
    await broker.store.create_queue(queue_name("a"), QueueSettings(return_limit=2))
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client-individual"))
    (message,) = await client.messages(send("/queue/a", "hello"))
    for _ in range(2):
        (message,) = await client.messages(ack(message["ack"], command="NACK"))
    assert await client.messages(ack(message["ack"], command="NACK")) == []
    assert broker.bodies("landbridge-dead-letters") == ["hello"]


@pytest.mark.parametrize(("command", "left"), [("ACK", []), ("NACK", ["1"])])
async def test_what_a_lost_client_settled_behind_a_subscription_is_settled(
    broker: Broker, command: str, left: list[str]
) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"))
    (message,) = await client.messages(send("/queue/a", "1"))
    client.push(subscribe("/queue/new", "1"), ack(message["ack"], command=command))
    await client.lose()
    assert broker.bodies("a") == left


@pytest.mark.parametrize("mistake", ["SEND\n\nx^@", send("/foo/bar")])
async def test_what_is_acknowledged_behind_a_mistake_is_held_by_nobody(
    broker: Broker, mistake: str
) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"))
    (message,) = await client.messages(send("/queue/a", "1"))
    assert "ERROR\n" in await client.send(mistake, ack(message["ack"]))
    assert broker.bodies("a") == ["1"]


async def test_a_message_held_for_longer_than_the_store_can_ends_the_connection(
    broker: Broker,
) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"), send("/queue/a", "1"))
    (subscription,) = broker.bench_queue("a").consumers
    subscription.cancel()
    subscription.consumer.overdue(39_600)
    answer = await client.read()
    assert "message:precondition_failed\n" in answer
    assert "a message was held for 39600 s" in answer
    assert client.wire.closed
    assert broker.bodies("a") == ["1"]
