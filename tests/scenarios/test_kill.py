"""kill -9 under load, again and again: nothing confirmed is lost, nothing settled comes back.

Real processes and real sockets. Several publishers send with receipts and several subscribers
acknowledge with receipts, in both client modes; the broker is killed after a random number of
receipts, whatever time they take, and started again on the same directory. What the clients were
told is counted against what is still there.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.program import FREE_PORTS, Program, start
from tests.support.stomp_client import StompClient

ROUNDS = 4
CONFIRMED_MIN, SETTLED_MIN = 300, 100
"""In each round, before the kill."""
QUEUES = 2
WINDOW = 20
WAIT_SECONDS = 120


@dataclass
class Ledger:
    """What the clients were told, by message number."""

    sent: int = 0
    confirmed: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    came_back: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def deliver(self, number: str) -> None:
        if number in self.settled:
            self.came_back.add(number)
        self.delivered.add(number)

    async def grow(self, confirmed: int, settled: int) -> None:
        """Wait until so many more are confirmed, and settled."""
        confirmed, settled = len(self.confirmed) + confirmed, len(self.settled) + settled
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.confirmed) < confirmed or len(self.settled) < settled:
                self.changed.clear()
                await self.changed.wait()


async def publish(client: StompClient, queue: int, ledger: Ledger) -> None:
    """Send with a window of receipts until the broker is gone."""
    waiting = 0
    try:
        while True:
            while waiting < WINDOW:
                ledger.sent += 1
                number = str(ledger.sent)
                client.send(
                    "SEND",
                    {"destination": f"/queue/q{queue}", "receipt": number},
                    number.encode().ljust(100),
                )
                waiting += 1
            frame = await client.receive()
            assert frame.command == "RECEIPT", frame
            ledger.confirmed.add(frame.headers["receipt-id"])
            ledger.changed.set()
            waiting -= 1
    except (ConnectionError, EOFError):
        await client.close()


async def subscribe(client: StompClient, queue: int, mode: str, ledger: Ledger) -> None:
    """Acknowledge every third message at once; cumulative mode then settles all before it."""
    client.send(
        "SUBSCRIBE",
        {"destination": f"/queue/q{queue}", "id": "0", "ack": mode, "prefetch-count": "50"},
    )
    settling: dict[str, list[str]] = {}
    held: list[str] = []
    try:
        while True:
            frame = await client.receive()
            if frame.command == "RECEIPT":
                ledger.settled.update(settling.pop(frame.headers["receipt-id"]))
                ledger.changed.set()
                continue
            number = frame.body.decode().strip()
            ledger.deliver(number)
            held.append(number)
            if len(held) % 3 and mode == "client":
                continue
            settling[number] = held if mode == "client" else [number]
            held = []
            client.send("ACK", {"id": frame.headers["ack"], "receipt": number})
    except (ConnectionError, EOFError):
        await client.close()


async def run_until_killed(program: Program, ledger: Ledger, confirmed: int) -> None:
    port = program.port("stomp")
    queues = 2 * list(range(QUEUES))
    modes = [(queue, mode) for queue in range(QUEUES) for mode in ("client", "client-individual")]
    # All are connected before the first one may lose the broker.
    publishers = [await StompClient.connect(port) for _ in queues]
    subscribers = [await StompClient.connect(port) for _ in modes]
    async with asyncio.TaskGroup() as clients:
        for client, queue in zip(publishers, queues, strict=True):
            clients.create_task(publish(client, queue, ledger))
        for client, (queue, mode) in zip(subscribers, modes, strict=True):
            clients.create_task(subscribe(client, queue, mode, ledger))
        await ledger.grow(confirmed, SETTLED_MIN)
        await asyncio.to_thread(program.kill)


async def drain(port: int, ledger: Ledger) -> None:
    """Take everything that is left; a message sent last to each queue marks its end."""
    for queue in range(QUEUES):
        client = await StompClient.connect(port)
        end = {"destination": f"/queue/q{queue}", "receipt": "end", "priority": "0"}
        client.send("SEND", end, b"end")
        assert (await client.receive()).command == "RECEIPT"
        client.send("SUBSCRIBE", {"destination": f"/queue/q{queue}", "id": "0", "ack": "auto"})
        while (body := (await client.receive()).body.strip()) != b"end":
            ledger.deliver(body.decode())
        await client.close()


@pytest.mark.timeout(600)
async def test_no_confirmed_message_is_lost_to_kill_9(tmp_path: Path) -> None:
    ledger = Ledger()
    dice = random.Random(7)
    for _ in range(ROUNDS):
        program = await asyncio.to_thread(start, *FREE_PORTS, directory=tmp_path)
        try:
            confirmed = dice.randint(CONFIRMED_MIN, 5 * CONFIRMED_MIN)
            await run_until_killed(program, ledger, confirmed)
        finally:
            await asyncio.to_thread(program.kill)
    program = await asyncio.to_thread(start, *FREE_PORTS, directory=tmp_path)
    try:
        await drain(program.port("stomp"), ledger)
        assert await asyncio.to_thread(program.stop) == 0
    finally:
        if program.process.poll() is None:
            program.kill()
    assert len(ledger.confirmed) >= ROUNDS * CONFIRMED_MIN
    assert len(ledger.settled) >= ROUNDS * SETTLED_MIN
    assert ledger.confirmed - ledger.delivered == set()
    assert ledger.came_back == set()
