"""connection.blocked, and the consumer timeout."""

from __future__ import annotations

import pytest

from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.limits import Limits
from bridge.messaging.model import QueueName
from tests.mappings.amqp091.broker import AmqpClient, Broker, bodies, connect, names


def is_read(client: AmqpClient) -> bool:
    return client.wire.reading


async def test_publishers_hear_of_a_store_that_takes_nothing() -> None:
    broker = Broker()
    client = await connect(broker)
    await client.declare("q")
    await client.call("Confirm.Select")
    broker.store.refusal = StoreUnavailable("the store cannot write: disk full")
    client.publish("q", b"1")
    nack, blocked = await client.read()
    assert (nack.name, blocked.name) == ("Basic.Nack", "Connection.Blocked")
    assert blocked.fields["reason"] == "the store cannot write: disk full"
    client.publish("q", b"2")
    assert names(await client.read()) == ["Basic.Nack"]
    assert await client.wait(5) == []
    broker.store.refusal = None
    assert names(await client.wait(1)) == ["Connection.Unblocked"]
    assert client.gateway.next_deadline() is None
    client.publish("q", b"3")
    assert names(await client.read()) == ["Basic.Ack"]


async def test_who_publishes_nothing_is_not_told() -> None:
    broker = Broker()
    client = await connect(broker)
    broker.store.refusal = StoreUnavailable("the store cannot write: disk full")
    assert await client.wait(5) == []


async def test_publishers_hear_when_they_are_held_back_for_long() -> None:
    broker = Broker(limits=Limits(unanswered_messages_max=2))
    client = await connect(broker)
    await client.declare("q")
    await client.call("Confirm.Select")
    broker.store.slow = True
    client.publish("q", b"1", b"2", b"3")
    assert await client.read() == []
    assert not is_read(client)
    (blocked,) = await client.wait(1)
    assert blocked.name == "Connection.Blocked"
    assert blocked.fields["reason"] == "3 publishes wait for the store"
    broker.store.catch_up()
    assert names(await client.read()) == ["Basic.Ack"]
    assert is_read(client)
    assert names(await client.wait(1)) == ["Connection.Unblocked"]


async def test_a_short_pause_is_not_told() -> None:
    broker = Broker(limits=Limits(unanswered_messages_max=2))
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"1", b"2", b"3")
    await client.read()
    assert await client.wait(5) == []


async def test_a_delivery_that_is_not_acknowledged_in_time_costs_its_channel() -> None:
    broker = Broker(limits=Limits(consumer_timeout_seconds=1800))
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"quick", b"slow")
    await client.call("Basic.Consume", queue="q", consumer_tag="c")
    await client.call("Basic.Ack", delivery_tag=1)
    assert await client.wait(1800) == []
    (close,) = await client.wait(1800 / 8)
    assert (close.name, close.fields["reply_code"]) == ("Channel.Close", 406)
    assert close.fields["reply_text"] == (
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used:"
        " 1800000 ms. This timeout value can be configured, see consumers doc guide to learn more"
    )
    assert broker.bodies("q") == ["slow"]
    await client.call("Channel.CloseOk")
    await client.call("Channel.Open")
    again = await client.call("Basic.Consume", queue="q")
    assert bodies(again) == [b"slow"]


async def test_who_acknowledges_in_time_keeps_the_channel() -> None:
    broker = Broker(limits=Limits(consumer_timeout_seconds=160))
    client = await connect(broker)
    await client.declare("q")
    await client.call("Basic.Consume", queue="q", consumer_tag="c")
    for tag in range(1, 20):
        client.publish("q", b"x")
        await client.read()
        assert await client.wait(100) == []
        await client.call("Basic.Ack", delivery_tag=tag)


@pytest.mark.parametrize("no_ack", [True, False])
async def test_without_the_option_nobody_is_timed_out(no_ack: bool) -> None:
    broker = Broker()
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"x")
    await client.call("Basic.Consume", queue="q", no_ack=no_ack)
    assert client.gateway.next_deadline() is None


async def test_a_message_held_for_longer_than_the_store_can_costs_its_channel() -> None:
    broker = Broker()
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"x")
    await client.call("Basic.Consume", queue="q")
    (subscription,) = broker.store.by_name[QueueName("/", "q")].consumers
    subscription.cancel()
    subscription.consumer.overdue(39_600)
    (closed,) = await client.read()
    assert (closed.name, closed.fields["reply_code"]) == ("Channel.Close", 406)
    assert closed.fields["reply_text"].startswith(
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out."
        " Timeout value used: 39600000 ms."
    )
    await client.call("Channel.CloseOk")
    await client.call("Channel.Open")
    assert bodies(await client.call("Basic.Consume", queue="q")) == [b"x"]
