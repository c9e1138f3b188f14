"""kill -9 under load at the store's level, several times on one directory.

Nothing confirmed is lost, nothing whose settling was answered comes back, nothing stands twice.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from bridge.backends.embedded.queue import EmbeddedQueue
from tests.bridge.backends.embedded.load import QUEUES, open_backend
from tests.support.stores import name

ROUNDS = 5
NUMBERS_PER_ROUND = 1_000_000
ROOT = Path(__file__).parents[4]


async def kill_under_load(path: Path, round_number: int, lines: int) -> list[list[str]]:
    """Run the load until it has said so many lines, kill it, and return all that it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.bridge.backends.embedded.load"),
        *(str(path), str(round_number * NUMBERS_PER_ROUND + 1)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        limit=1024 * 1024,
    )
    assert process.stdout is not None
    said: list[bytes] = []
    while len(said) < lines:
        said.append(await process.stdout.readline())
        assert said[-1], "the load ended by itself"
    process.kill()
    said += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    # A line that was cut off was not said.
    return [line.decode().split() for line in said if line.endswith(b"\n")]


async def content(path: Path) -> list[str]:
    """What the store holds after a restart, as the load names it."""
    backend = open_backend(path)
    await backend.open()
    found: list[str] = []
    for label in QUEUES:
        queue = backend.store.queue(name(label))
        assert isinstance(queue, EmbeddedQueue)
        rows = backend.database.query_now(
            "SELECT coalesce(e.body, c.body) FROM entry e LEFT JOIN content c ON c.id = e.content"
            " WHERE e.id BETWEEN ? AND ?",
            queue.id_range(),
        )
        assert (await backend.store.counts(queue)).visible == len(rows)
        found += [f"{label}{int(body)}" for (body,) in rows]
    await backend.close()
    return found


async def test_promises_hold_through_kills(tmp_path: Path) -> None:
    chance = random.Random()
    confirmed: set[str] = set()
    settling: set[str] = set()
    settled: set[str] = set()
    words = {"confirmed": confirmed, "settling": settling, "settled": settled}
    for round_number in range(ROUNDS):
        lines = chance.randrange(20, 1_500)
        for word, *keys in await kill_under_load(tmp_path, round_number, lines):
            words[word].update(keys)
        found = await content(tmp_path)
        assert len(found) == len(set(found))
        assert confirmed - settling <= set(found)
        assert not settled & set(found)
    assert confirmed
    assert settled
