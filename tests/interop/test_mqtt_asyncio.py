"""Clients for asyncio: aiomqtt, gmqtt, and amqtt's."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import aiomqtt
import gmqtt
import pytest
from amqtt.client import MQTTClient
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

from tests.support.program import Place, Program

WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def program(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with place.running(directory=tmp_path_factory.mktemp("asyncio")) as program:
        yield program


@pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5])
async def test_aiomqtt(program: Program, version: aiomqtt.ProtocolVersion) -> None:
    topic = f"aiomqtt/{version.name}"
    async with (
        asyncio.timeout(WAIT_SECONDS),
        aiomqtt.Client(
            "127.0.0.1", program.port("mqtt"), protocol=version, timeout=WAIT_SECONDS
        ) as client,
    ):
        await client.subscribe(f"{topic}/#", qos=2)
        for qos in (0, 1, 2):
            await client.publish(f"{topic}/{qos}", f"m{qos}", qos=qos)
        seen = {}
        async for message in client.messages:
            seen[str(message.topic)] = message.payload
            if len(seen) == 3:
                break
    assert seen == {f"{topic}/{qos}": f"m{qos}".encode() for qos in (0, 1, 2)}


@pytest.mark.parametrize("version", [MQTTv311, MQTTv50])
async def test_gmqtt(program: Program, version: int) -> None:
    messages: asyncio.Queue[tuple[str, bytes, int]] = asyncio.Queue()
    subscribed = asyncio.Event()
    client = gmqtt.Client(f"gmqtt-{version}")

    async def on_message(_c: Any, topic: str, payload: bytes, qos: int, _p: Any) -> int:
        await messages.put((topic, payload, qos))
        return 0

    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    async with asyncio.timeout(WAIT_SECONDS):
        await client.connect("127.0.0.1", program.port("mqtt"), version=version)
        client.subscribe(f"gmqtt/{version}", qos=2)
        await subscribed.wait()
        for qos in (0, 1, 2):
            client.publish(f"gmqtt/{version}", f"m{qos}", qos=qos)
        received = {await messages.get() for _ in range(3)}
        await client.disconnect()
    assert received == {(f"gmqtt/{version}", f"m{qos}".encode(), qos) for qos in (0, 1, 2)}


async def test_amqtt(program: Program) -> None:
    client = MQTTClient(client_id="amqtt", config={"auto_reconnect": False})
    async with asyncio.timeout(WAIT_SECONDS):
        await client.connect(f"mqtt://127.0.0.1:{program.port('mqtt')}/")
        await client.subscribe([("amqtt/+", 2)])
        for qos in (0, 1, 2):
            await client.publish(f"amqtt/{qos}", f"m{qos}".encode(), qos=qos)
        received = set()
        for _ in itertools.repeat(None, 3):
            message = await client.deliver_message()
            assert message is not None
            received.add((message.topic, bytes(message.data)))
        await client.disconnect()
    assert received == {(f"amqtt/{qos}", f"m{qos}".encode()) for qos in (0, 1, 2)}
