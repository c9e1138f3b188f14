"""Clients that do not wait for answers: what is behind a refusal is not done, all else is."""

from __future__ import annotations

import pytest

from adapters.amqp091.limits import EARLY_BYTES_MAX
from adapters.amqp091.methods import PROTOCOL_HEADER, encode_method
from bridge.auth import Account, Accounts, Grants
from bridge.auth.password_hashes import make_password_hash
from bridge.auth.permissions import NamespacePermission
from tests.mappings.amqp091.broker import AmqpClient, Broker, names

START_OK = encode_method(
    0,
    "Connection.StartOk",
    {"mechanism": "PLAIN", "response": b"\0ada\0secret", "locale": "en_US"},
)
TUNE_OK = encode_method(0, "Connection.TuneOk", {"channel_max": 10, "frame_max": 131_072})
OPEN = encode_method(0, "Connection.Open", {"virtual_host": "/"})
CHANNEL_OPEN = encode_method(1, "Channel.Open")
DECLARE = encode_method(1, "Queue.Declare", {"queue": "q", "durable": True})
CLOSE = encode_method(0, "Connection.Close", {"reply_code": 200})


def broker_for(namespace: str) -> Broker:
    """One that knows `ada`, who may do everything in `namespace`, and nothing elsewhere."""
    grants = Grants(permissions=(NamespacePermission(namespace, ".*", ".*", ".*"),))
    account = Account("ada", make_password_hash(b"secret"), grants)
    return Broker(accounts=Accounts([account], secret=b"x"))


async def answers(broker: Broker, client: AmqpClient, *data: bytes) -> list[str]:
    client.gateway.data_received(b"".join(data))
    said = names(await client.read())
    await broker.at_rest()
    return said + names(await client.read())


async def handshaken(broker: Broker) -> AmqpClient:
    client = AmqpClient(broker, loopback=False)
    await client.read()
    assert await answers(broker, client, START_OK) == ["Connection.Tune"]
    return client


@pytest.mark.parametrize("behind", [b"", CLOSE])
async def test_nothing_is_done_in_a_namespace_that_was_refused(behind: bytes) -> None:
    broker = broker_for("other")
    client = await handshaken(broker)
    said = await answers(broker, client, TUNE_OK, OPEN, CHANNEL_OPEN, DECLARE, behind)
    assert broker.queue_names() == []
    assert said == ["Connection.CloseOk" if behind else "Connection.Close"]


async def test_all_is_done_in_a_namespace_that_was_opened() -> None:
    broker = broker_for("/")
    client = await handshaken(broker)
    said = await answers(broker, client, TUNE_OK, OPEN, CHANNEL_OPEN, DECLARE)
    assert said == ["Connection.OpenOk", "Channel.OpenOk", "Queue.DeclareOk"]


async def test_a_client_that_waits_for_nothing() -> None:
    broker = broker_for("/")
    client = AmqpClient(broker, loopback=False)
    everything = PROTOCOL_HEADER + START_OK + TUNE_OK + OPEN + CHANNEL_OPEN + DECLARE + CLOSE
    client.protocol.data_to_send()
    assert await answers(broker, client, everything[:90], everything[90:]) == [
        "Connection.Start",
        "Connection.Tune",
        "Connection.OpenOk",
        "Channel.OpenOk",
        "Queue.DeclareOk",
        "Connection.CloseOk",
    ]
    assert broker.queue_names() == ["q"]


@pytest.mark.parametrize("cut", [len(START_OK), len(START_OK) + 5])
async def test_nothing_is_done_for_a_client_with_a_wrong_password(cut: int) -> None:
    broker = broker_for("/")
    client = AmqpClient(broker, loopback=False)
    await client.read()
    wrong = START_OK.replace(b"secret", b"sesame")
    everything = wrong + TUNE_OK + OPEN + CHANNEL_OPEN + DECLARE
    said = await answers(broker, client, everything[:cut], everything[cut:])
    assert said == []
    assert client.wire.closed
    assert broker.queue_names() == []


async def test_what_is_sent_before_tune_is_bounded() -> None:
    broker = broker_for("/")
    client = AmqpClient(broker, loopback=False)
    await client.read()
    client.gateway.data_received(START_OK)
    for _ in range(EARLY_BYTES_MAX // 65_536 + 1):
        client.gateway.data_received(bytes(65_536))
    said = await answers(broker, client, TUNE_OK)
    assert said == ["Connection.Tune", "Connection.Close"]
