"""What abuse by others costs a well-behaved client: its latency quiet, then beside them.

The others: 1,000 idle connections, connections that never say a word, and a stream of malformed and
oversize frames, each on a connection of its own that the broker has to refuse.
"""

from __future__ import annotations

import asyncio

import msgspec

from tests.benchmarks.load import Load, Options, Result
from tests.benchmarks.stomp import StompWire

IDLE_CONNECTIONS = 1_000
HALF_OPEN_CONNECTIONS = 100
CONNECT = b"CONNECT\naccept-version:1.2\nhost:/\n\n\0"
ABUSES = (
    b"\xff\xfe\x00\x01 not a frame\n\n\0",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    CONNECT + b"SEND\n\n\0",
    CONNECT + b"SEND\ndestination:/queue/x\ncontent-length:99999999999\n\n",
    CONNECT + b"SEND\n" + b"header:" + b"x" * 1_000_000,
    CONNECT + b"NOSUCHCOMMAND\n\n\0",
)


async def measure(port: int) -> tuple[Result, Result]:
    """The bystander's figures at 1,000 messages a second, quiet and beside the abuse."""
    options = Options("stomp", port, rate=1_000, window=1_000, backlog=2_000)
    quiet = await _bystander(options)
    connections = [
        await asyncio.open_connection("127.0.0.1", port)
        for _ in range(IDLE_CONNECTIONS + HALF_OPEN_CONNECTIONS)
    ]
    for _, writer in connections[:IDLE_CONNECTIONS]:
        writer.write(CONNECT)
    for _, writer in connections[IDLE_CONNECTIONS:]:
        writer.write(CONNECT[:10])
    async with asyncio.TaskGroup() as tasks:
        abuse = tasks.create_task(_abuse(port))
        beside = await _bystander(options)
        abuse.cancel()
    for _, writer in connections:
        writer.transport.abort()
    return quiet, beside


async def _bystander(options: Options) -> Result:
    load = Load(StompWire(options), msgspec.structs.replace(options, duration_seconds=4.0))
    return await load.run(lambda: None, lambda: None)


async def _abuse(port: int) -> None:
    """About 200 bad connections a second."""
    while True:
        for abuse in ABUSES:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(abuse)
                async with asyncio.timeout(0.03):
                    while await reader.read(65_536):
                        pass
            except (TimeoutError, ConnectionError):
                pass
            finally:
                writer.transport.abort()
