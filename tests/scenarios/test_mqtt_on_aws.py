"""MQTT sessions whose queues take their time to be made: the program on moto."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.moto_server import moto_server
from tests.support.mqtt_client import SocketClient, connect, texts
from tests.support.program import Program, running

KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    directory: Path = tmp_path_factory.mktemp("broker")
    with moto_server() as url:
        backend = {"kind": "aws", "region": "eu-west-1", "endpoint_url": url, "prefix": "mqtt-"}
        options = [f"--set=backend.{name}={value}" for name, value in backend.items()]
        with running(*options, directory=directory, environment=KEYS) as started:
            yield started


@pytest.mark.parametrize("expiry", [0, 60])
async def test_filters_of_one_subscribe_share_one_queue(program: Program, expiry: int) -> None:
    port = program.port("mqtt")
    client = await SocketClient.open(port, connect(f"c{expiry}", session_expiry_interval=expiry))
    topics = [f"many/{expiry}/{number}" for number in range(5)]
    assert await client.subscribe(*topics, qos=1) == [1] * 5
    other = await SocketClient.open(port, connect(f"o{expiry}"))
    for topic in topics:
        await other.publish(topic, "x", qos=1)
    assert sorted(texts(await client.publishes(5))) == [f"{topic} x" for topic in topics]
    assert await client.unsubscribe(*topics) == [0] * 5
    token = object()
    other.send(topics[0], "nobody", qos=1, token=token)
    await other.until(lambda: token in other.acknowledged)
    assert await client.quiet()
    await client.leave()
    await other.leave()
