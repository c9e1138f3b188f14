"""How channels and connections end: what was asked for before is answered before the close."""

from __future__ import annotations

from typing import Any

import pytest

from mappings.gateway import StopReason
from tests.mappings.amqp091.broker import AmqpClient, Broker, connect, names


async def test_requests_are_answered_before_a_mistake_on_their_channel(broker: Broker) -> None:
    client = await connect(broker)
    client.send("Queue.Declare", queue="q", durable=True)
    client.send("Queue.Bind", queue="q", exchange="amq.direct", routing_key="k")
    client.send("Basic.Ack", delivery_tag=7)
    client.send("Queue.Declare", queue="never", durable=True)
    answers = await client.read()
    assert names(answers) == ["Queue.DeclareOk", "Queue.BindOk", "Channel.Close"]
    assert answers[-1].fields["reply_text"] == "PRECONDITION_FAILED - unknown delivery tag 7"
    assert broker.queue_names() == ["q"]
    assert await client.call("Channel.CloseOk") == []
    assert names(await client.call("Channel.Open")) == ["Channel.OpenOk"]


async def test_a_namespace_that_is_none_is_the_fault_of_connection_open(broker: Broker) -> None:
    (close,) = await AmqpClient(broker).open(virtual_host="nowhere")
    assert (close.fields["class_id"], close.fields["method_id"]) == (10, 40)


async def test_requests_are_answered_before_a_mistake_on_the_connection(broker: Broker) -> None:
    client = await connect(broker)
    client.send("Queue.Declare", queue="q", durable=True)
    client.send("Queue.Declare", channel=7, queue="never", durable=True)
    answers = await client.read()
    assert names(answers) == ["Queue.DeclareOk", "Connection.Close"]
    assert answers[-1].fields["reply_text"] == "CHANNEL_ERROR - expected 'channel.open'"
    assert broker.queue_names() == ["q"]
    assert not client.wire.closed
    await client.call("Connection.CloseOk", channel=0)
    assert client.wire.closed


async def test_requests_are_answered_before_the_client_s_closes(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"x")
    await client.read()
    client.send("Basic.Get", queue="q")
    client.send("Channel.Close", reply_code=200)
    assert names(await client.read()) == ["Basic.GetOk", "Channel.CloseOk"]
    assert broker.bodies("q") == ["x"]
    await client.call("Channel.Open")
    client.send("Queue.Declare", queue="other", durable=True)
    client.send("Connection.Close", channel=0)
    assert names(await client.read()) == ["Queue.DeclareOk", "Connection.CloseOk"]


async def test_a_mistake_behind_which_the_client_closes_is_told(broker: Broker) -> None:
    client = await connect(broker)
    client.publish("k", b"x", exchange="missing")
    client.send("Channel.Close", reply_code=200)
    close, closed = await client.read()
    assert close.fields["reply_text"] == "NOT_FOUND - no exchange 'missing' in vhost '/'"
    assert closed.name == "Channel.CloseOk"
    assert names(await client.call("Channel.Open")) == ["Channel.OpenOk"]


async def test_a_client_that_closes_its_half_is_answered(broker: Broker) -> None:
    client = await confirming(broker)
    broker.store.slow = True
    client.publish("q", b"x", b"y")
    client.send("Queue.Declare", queue="other", durable=True)
    assert names(await client.read()) == ["Queue.DeclareOk"]
    assert client.gateway.eof_received()
    assert not client.wire.closed
    broker.store.catch_up()
    assert names(await client.read()) == ["Basic.Ack"]
    assert client.wire.closed


async def test_a_client_that_closes_its_half_with_nothing_open_is_closed(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("mine", exclusive=True)
    assert not client.gateway.eof_received()
    assert client.wire.closed
    await client.lose()
    assert broker.queue_names() == []


async def test_a_stopping_broker_confirms_what_it_has(broker: Broker) -> None:
    client = await confirming(broker)
    broker.store.slow = True
    client.publish("q", b"x")
    assert await client.read() == []
    client.gateway.shut_down(StopReason.BROKER_STOPS)
    client.publish("q", b"too late")
    assert await client.read() == []
    broker.store.catch_up()
    confirm, close = await client.read()
    assert confirm.name == "Basic.Ack"
    assert close.fields["reply_text"] == (
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
    )
    assert client.wire.closed
    assert broker.bodies("q") == ["x"]


async def test_a_removed_listener_does_not_say_that_the_broker_stops(broker: Broker) -> None:
    client = await connect(broker)
    client.gateway.shut_down(StopReason.LISTENER_REMOVED)
    (close,) = await client.read()
    assert close.fields["reply_text"].endswith("with reason 'the listener was removed'")
    assert client.wire.closed


async def confirming(broker: Broker) -> AmqpClient:
    client = await connect(broker)
    await client.declare("q")
    assert names(await client.call("Confirm.Select")) == ["Confirm.SelectOk"]
    return client


@pytest.mark.parametrize(
    ("method", "fields", "left"),
    [
        ("Basic.Ack", {"delivery_tag": 1}, []),
        ("Basic.Nack", {"delivery_tag": 1, "requeue": True}, ["1"]),
        ("Basic.Recover", {"requeue": True}, ["1"]),
    ],
)
async def test_what_a_lost_client_settled_behind_a_request_is_settled(
    broker: Broker, method: str, fields: dict[str, Any], left: list[str]
) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"1")
    assert names(await client.call("Basic.Consume", queue="q"))[-1] == "Basic.Deliver"
    client.send("Queue.Declare", queue="other", durable=True)
    client.send(method, **fields)
    client.gateway.data_received(b"".join(client.protocol.data_to_send()))
    await client.lose()
    assert broker.bodies("q") == left


async def test_what_is_recovered_behind_a_mistake_is_held_by_nobody(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"1")
    await client.call("Basic.Consume", queue="q")
    client.publish("k", b"2", exchange="missing")
    client.send("Basic.Recover", requeue=True)
    assert names(await client.read()) == ["Channel.Close"]
    assert broker.bodies("q") == ["1"]


async def test_a_channel_is_not_opened_again_before_its_mistake_was_answered(
    broker: Broker,
) -> None:
    client = await connect(broker)
    client.send("Queue.Declare", queue="q", durable=True)
    client.send("Basic.Ack", delivery_tag=7)
    client.send("Channel.Close", reply_code=200)
    client.send("Channel.Open")
    answers = names(await client.read())
    assert answers == ["Queue.DeclareOk", "Channel.Close", "Channel.CloseOk", "Connection.Close"]
