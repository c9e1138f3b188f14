"""Mutated sessions through gateways on a store: no bug, nothing held, no other client touched."""

from __future__ import annotations

import random

from bridge.messaging.limits import Limits
from tests.fuzz.test_stomp_decoder import CHUNK_MAX, mutated
from tests.mappings.stomp.broker import Broker, Client, send

LIMITS = Limits(message_size_max=1_024, consumers_per_connection_max=5, prefetch_default=3)
CONNECT = b"CONNECT\naccept-version:1.0,1.1,1.2\n\n\0"
SESSIONS = 400


async def drive(broker: Broker, wire: bytes, dice: random.Random) -> None:
    client = Client(broker)
    while wire and not client.wire.closed:
        cut = dice.randint(1, CHUNK_MAX)
        client.gateway.data_received(wire[:cut])
        wire = wire[cut:]
        if dice.random() < 0.3:
            await client.read()
        if dice.random() < 0.1:
            client.gateway.pause_writing()
        elif client.gateway.writing_paused:
            client.gateway.resume_writing()
    if dice.random() < 0.5:
        await client.read()
    await client.lose()


async def test_mutated_sessions() -> None:
    dice = random.Random(61615)
    broker = Broker(limits=LIMITS)
    bystander = await broker.client()
    for _ in range(SESSIONS):
        start = CONNECT if dice.random() < 0.8 else b""
        await drive(broker, start + mutated(dice), dice)
    assert (await bystander.send(send("/queue/b", "x", "receipt:r"))).startswith("RECEIPT\n")
    for queue in broker.store.by_name.values():
        assert not queue.held, f"{queue.name.name} has messages that nobody holds"
        assert not queue.consumers
        assert not queue.transient
