"""Opening the embedded backend again and again on one directory."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import SystemClock
from bridge.messaging.limits import Limits
from bridge.messaging.ports import Queue
from tests.support.stores import make_queue

Reopen = Callable[..., Awaitable[EmbeddedBackend]]


@contextmanager
def refusing(backend: EmbeddedBackend, event: str = "INSERT ON entry") -> Iterator[None]:
    """Let every commit fail that does `event`."""
    ask = backend.database.query_now
    ask(f"CREATE TRIGGER refuse BEFORE {event} BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    yield
    ask("DROP TRIGGER refuse")


@contextmanager
def slow_to_write(backend: EmbeddedBackend) -> Iterator[None]:
    """Let no commit be written before the end: somebody else has the file's write lock."""
    with closing(sqlite3.connect(backend.database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture
async def reopen(tmp_path: Path) -> AsyncIterator[Reopen]:
    """Close what is open and open the same directory again."""
    opened: list[EmbeddedBackend] = []

    async def open_again(
        durability: str = "fsync", limits: Limits | None = None
    ) -> EmbeddedBackend:
        while opened:
            await opened.pop().close()
        backend = EmbeddedBackend(
            tmp_path, durability=durability, clock=SystemClock(), limits=limits or Limits()
        )
        await backend.open()
        opened.append(backend)
        return backend

    yield open_again
    while opened:
        await opened.pop().close()


async def with_queue(
    reopen: Reopen,
    text: str = "orders",
    *,
    durability: str = "fsync",
    limits: Limits | None = None,
    **settings: object,
) -> tuple[EmbeddedBackend, Queue]:
    """What most tests begin with: an open backend with one queue."""
    backend = await reopen(durability, limits)
    return backend, await make_queue(backend.store, text, **settings)


async def healthy(backend: EmbeddedBackend) -> None:
    """Wait until the store has noticed that it can write again."""
    async with asyncio.timeout(60):
        while not backend.healthy:
            await asyncio.wait([asyncio.ensure_future(asyncio.to_thread(lambda: None))])


async def handed_over(*tasks: asyncio.Future[Any]) -> None:
    """Let the tasks begin, and the store have its turn after that."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
