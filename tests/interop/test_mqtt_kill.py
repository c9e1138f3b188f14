"""kill -9 of the program at every step of QoS 2, and under load: exactly once, nothing lost."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from adapters.mqtt.events import DeliveriesReceived, ReleasesReceived
from adapters.mqtt.packets import Publish
from adapters.mqtt.session import Inbound
from tests.support.mqtt_client import SocketClient, connect
from tests.support.program import FREE_PORTS, Program, start


def program_in(directory: Path) -> Program:
    return start(*FREE_PORTS, directory=directory)


async def open_durable(
    program: Program, name: str, before: SocketClient | None = None
) -> SocketClient:
    packet = connect(name, clean=False, session_expiry_interval=1000)
    session = before.session if before is not None else None
    return await SocketClient.open(program.port("mqtt"), packet, session)


@pytest.mark.parametrize("step", ["publish", "pubrec", "pubrel", "pubcomp"])
async def test_the_broker_is_killed_while_it_receives(tmp_path: Path, step: str) -> None:
    program = program_in(tmp_path)
    try:
        subscriber = await open_durable(program, "s")
        await subscriber.subscribe("t", qos=2)
        await subscriber.leave()
        client = await open_durable(program, "c")
        client.automatic = False
        client.send("t", "once", qos=2)
        if step != "publish":
            event = await client.event(DeliveriesReceived)
            if step != "pubrec":
                client.connection.release(event.packet_ids)
                client.flush()
            if step == "pubcomp":
                await client.until(lambda: not client.session.in_flight)
        program.kill()
        program = program_in(tmp_path)
        # What the client's session says is sent again, as any client does.
        session = client.session
        pending = list(session.awaiting_pubrec)
        for packet_id in list(session.awaiting_release):
            session.awaiting_pubcomp[packet_id] = session.awaiting_release.pop(packet_id)
        again = await open_durable(program, "c", client)
        again.connection.resend(
            [Publish("t", b"once", 2, False, True, packet_id) for packet_id in pending], pending
        )
        again.flush()
        await again.until(lambda: not again.session.in_flight)
        subscriber = await open_durable(program, "s")
        assert await subscriber.payloads(1) == [b"once"]
        assert await subscriber.quiet()
    finally:
        program.kill()


@pytest.mark.parametrize("step", ["publish", "pubrec", "pubrel", "pubcomp"])
async def test_the_broker_is_killed_while_it_sends(tmp_path: Path, step: str) -> None:
    program = program_in(tmp_path)
    try:
        client = await open_durable(program, "c")
        await client.subscribe("t", qos=2)
        client.automatic = False
        publisher = await SocketClient.open(program.port("mqtt"), connect("p"))
        await publisher.publish("t", "once", qos=2)
        received = await client.publishes(1)
        if step != "publish":
            client.connection.acknowledge(received)
            client.flush()
        if step in ("pubrel", "pubcomp"):
            released = await client.event(ReleasesReceived)
            if step == "pubcomp":
                client.connection.complete(released.packet_ids)
                client.flush()
        program.kill()
        program = program_in(tmp_path)
        held = [each for each, at in client.session.received.items() if at is Inbound.RELEASED]
        again = await open_durable(program, "c", client)
        again.connection.complete(held)
        if step == "publish":
            again.connection.acknowledge(received)
        again.flush()
        await again.until(lambda: not again.session.received)
        assert await again.quiet()
        await again.publish("t", "next", qos=2)
        assert await again.payloads(1) == [b"next"]
    finally:
        program.kill()


def _longer_than(numbers: list[int], count: int) -> bool:
    return len(numbers) > count


async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    program = program_in(tmp_path)
    try:
        subscriber = await open_durable(program, "s")
        await subscriber.subscribe("t", qos=1)
        await subscriber.leave()
        confirmed: set[int] = set()
        number = 0
        for _ in range(3):
            client = await SocketClient.open(program.port("mqtt"), connect("c"))
            for _ in range(1_000):
                number += 1
                client.send("t", str(number), qos=1, token=number)
            answered = client.acknowledged
            await client.until(partial(_longer_than, answered, 300))
            program.kill()
            confirmed.update(answered)
            program = program_in(tmp_path)
        subscriber = await open_durable(program, "s")
        await subscriber.until(
            lambda: confirmed <= {int(each.payload) for each in subscriber.inbox}
        )
        received = [int(each.payload) for each in subscriber.inbox]
        assert len(received) == len(set(received))
        assert received == sorted(received)
    finally:
        program.kill()
