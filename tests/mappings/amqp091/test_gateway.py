"""From the handshake to the end of a connection."""

from __future__ import annotations

import pytest

from adapters.amqp091.tables import encode_table
from bridge.auth import Account, Accounts
from bridge.auth.password_hashes import make_password_hash
from mappings.gateway import StopReason
from tests.mappings.amqp091.broker import AmqpClient, Broker, connect, names


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
