"""What abuse by others costs a well-behaved client: its latency quiet, then beside them.

The others: 1,000 idle connections, connections that never say a word, and a stream of malformed and
oversize frames, each on a connection of its own that the broker has to refuse. They are a process
of their own (`python -m tests.benchmarks.bystander PORT`), so that what they cost themselves is not
taken for what the broker makes the bystander wait.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from itertools import cycle

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
ABUSES_PER_SECOND = 200
REFUSAL_SECONDS_MAX = 0.03
READY = b"ready\n"


def measure(port: int) -> tuple[Result, Result]:
    """The bystander's figures at 1,000 messages a second, quiet and beside the abuse."""
    options = Options("stomp", port, rate=1_000, window=1_000, backlog=2_000)
    quiet = _bystander(options)
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name, str(port)], stdout=subprocess.PIPE
    ) as others:
        try:
            assert others.stdout is not None
            if others.stdout.readline() != READY:
                raise RuntimeError("the abusing process did not connect")
            beside = _bystander(options)
        finally:
            others.terminate()
    return quiet, beside


def _bystander(options: Options) -> Result:
    load = Load(StompWire(options), msgspec.structs.replace(options, duration_seconds=4.0))
    return load.run(lambda: None, lambda: None)


async def _misbehave(port: int) -> None:
    connections = [
        await asyncio.open_connection("127.0.0.1", port)
        for _ in range(IDLE_CONNECTIONS + HALF_OPEN_CONNECTIONS)
    ]
    for _, writer in connections[:IDLE_CONNECTIONS]:
        writer.write(CONNECT)
    for _, writer in connections[IDLE_CONNECTIONS:]:
        writer.write(CONNECT[:10])
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    await _abuse(port)


async def _abuse(port: int) -> None:
    """Bad connections, one after another at an even pace."""
    clock = asyncio.get_running_loop().time
    due = clock()
    for abuse in cycle(ABUSES):
        due = max(due + 1 / ABUSES_PER_SECOND, clock())
        await asyncio.sleep(due - clock())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(abuse)
            async with asyncio.timeout(REFUSAL_SECONDS_MAX):
                while await reader.read(65_536):
                    pass
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.transport.abort()


if __name__ == "__main__":
    asyncio.run(_misbehave(int(sys.argv[1])))
