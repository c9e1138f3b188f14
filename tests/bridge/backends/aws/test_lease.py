"""One node at a time has a table: taken over when its holder is gone, never before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bridge.backends.aws import AwsBackend, AwsLimits, AwsOptions
from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import SystemClock
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.limits import Limits
from bridge.messaging.model import StateChange, UnitOfWork
from tests.bridge.backends.aws.conftest import Opened, quiet
from tests.support.aws_stub import Answer, aws_error
from tests.support.moto_server import moto_server
from tests.support.stores import commit, make_queue, message, send

QUICK = AwsLimits(lease_seconds=0.6, lease_beat_seconds=0.05)


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
async def node(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    name = request.node.name.replace("_", "-")[:70]
    async with AsyncExitStack() as stack:
        number = 0

        async def open_one(limits: AwsLimits = QUICK) -> AwsBackend:
            nonlocal number
            number += 1
            backend = AwsBackend(
                AwsOptions(region="us-east-1", endpoint_url=moto_url, table=name, prefix=name[:9]),
                local=EmbeddedBackend(
                    tmp_path / str(number),
                    durability="memory",
                    clock=SystemClock(),
                    limits=Limits(),
                ),
                clock=SystemClock(),
                random=random.random,
                limits=limits,
            )
            await backend.open()
            stack.push_async_callback(backend.close)
            return backend

        yield open_one


async def test_a_table_in_use_is_refused(node: Any) -> None:
    first = await node()
    with pytest.raises(StoreUnavailable, match="in use by another broker"):
        await node()
    assert first.healthy


async def test_a_closed_node_is_followed_at_once(node: Any) -> None:
    first = await node()
    await first.close()
    second = await node(AwsLimits(lease_seconds=1_000.0))
    assert second.healthy


async def test_a_dead_node_is_followed_and_fenced(node: Any) -> None:
    # It beats no more, as a process that hangs.
    first = await node(AwsLimits(lease_seconds=0.6, lease_beat_seconds=1_000.0))
    queue = await make_queue(first.store)
    second = await node()
    assert second.store.queue(queue.name) is not None
    assert not first.healthy
    unit = UnitOfWork()
    unit.sends.append((queue, message("x")))
    unit.state.append(StateChange("k", "a", b"1"))
    with pytest.raises(StoreUnavailable, match="lost its lease"):
        await commit(first.store, unit)
    assert (await second.store.counts(second.store.queue(queue.name))).visible == 0


async def test_a_node_that_cannot_beat_takes_nothing_until_it_can(opened: Opened) -> None:
    down: list[bool] = []

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "PutItem" and down:
            return aws_error("ServiceUnavailable")
        return quiet(action, request)

    backend, _ = await opened(answer, lease_seconds=0.2, lease_beat_seconds=0.02)
    queue = await make_queue(backend.store)
    down.append(True)
    assert backend._lease is not None
    lease = backend._lease
    await _until(lambda: not lease.held)
    assert not backend.healthy
    with pytest.raises(StoreUnavailable):
        await send(backend.store, queue, message("x"))
    down.clear()
    await _until(lambda: backend.healthy)
    assert not (await send(backend.store, queue, message("x"))).failures


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)
