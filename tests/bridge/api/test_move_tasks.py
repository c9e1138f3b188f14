"""Message move tasks while the store does not take everything."""

from __future__ import annotations

import asyncio

import pytest

from bridge.api.sqs import move_tasks
from bridge.api.sqs.directory import QueueDirectory
from bridge.api.sqs.move_tasks import FAILED, KIND, NO_QUEUE, MoveTask, MoveTasks
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.model import UnitOfWork
from tests.support.memory_store import MemoryStore
from tests.support.node_leases import NodeLeases, Place


class UnsteadyStore(MemoryStore):
    """One that cannot be read for once, and does not take the first end of a task."""

    def __init__(self) -> None:
        super().__init__()
        self.failing_reads = 1
        self.failing_ends = 1

    async def refresh(self, kind: str, prefix: str = "") -> None:
        if self.failing_reads:
            self.failing_reads -= 1
            raise StoreUnavailable("the table does not answer")

    def submit(self, unit: UnitOfWork) -> None:
        self.refusal = None
        if self.failing_ends and any(
            NO_QUEUE.encode() in (each.value or b"") for each in unit.state
        ):
            self.failing_ends -= 1
            self.refusal = StoreUnavailable("the table takes nothing")
        super().submit(unit)


async def test_a_task_is_done_though_the_store_fails_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(move_tasks, "RETRY_SECONDS", 0.001)
    store, leases = UnsteadyStore(), NodeLeases(Place(), "one")
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = MoveTasks(
            store,
            store,
            SystemClock(),
            MessageIds(),
            QueueDirectory(store),
            leases,
            group.create_task,  # type: ignore[arg-type]
        )
        await tasks.start(MoveTask("a", "absent", "arn:aws:sqs:::absent", 1))
    done = tasks.get("a")
    assert done is not None
    assert (done.status, done.failure) == (FAILED, NO_QUEUE)
    assert (store.failing_reads, store.failing_ends) == (0, 0)
    assert FAILED.encode() in (store.get(KIND, "a") or b"")
    assert leases.holder("move-task/a") is None
