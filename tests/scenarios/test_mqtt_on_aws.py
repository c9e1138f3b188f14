"""MQTT sessions on moto: their queues take their time to be made, and each call counts."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.mqtt.packets import ProtocolVersion
from tests.support.moto_server import moto_server
from tests.support.mqtt_client import SocketClient, connect, texts
from tests.support.program import Program, running

BURST = 600
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


async def test_a_burst_of_qos_2_to_oneself_shares_its_calls(program: Program) -> None:
    port = program.port("mqtt")
    packet = connect("burst", version=ProtocolVersion.V3_1_1, clean=False)
    client = await SocketClient.open(port, packet)
    await client.subscribe("burst/#", qos=2)
    before = await calls(program)
    for number in range(BURST):
        client.send("burst/x", str(number), qos=2, token=number)
    # Others are served meanwhile.
    other = await SocketClient.open(port, connect("bystander", session_expiry_interval=60))
    assert await other.subscribe("bystander/#", qos=1) == [1]
    bodies = sorted(int(payload) for payload in await client.payloads(BURST))
    assert bodies == list(range(BURST))
    await client.until(lambda: len(client.acknowledged) == BURST)
    assert client.acknowledged == list(range(BURST))
    await client.leave()
    await other.leave()
    made = await calls(program) - before
    assert made["sqs_send_message_batch"] <= BURST / 5
    assert made["sqs_delete_message_batch"] <= BURST / 5
    rows = ("put_item", "delete_item", "transact_write_items")
    assert sum(made[f"dynamodb_{action}"] for action in rows) <= BURST / 5


async def calls(program: Program) -> Counter[str]:
    """How often the program has called AWS, by service and action."""
    url = f"http://127.0.0.1:{program.port('metrics')}/metrics"
    with await asyncio.to_thread(urllib.request.urlopen, url, timeout=10) as response:
        text = response.read().decode()
    found = re.findall(r"^\w*?aws_(\w+)_calls_total (\d+)", text, re.MULTILINE)
    return Counter({name: int(count) for name, count in found})
