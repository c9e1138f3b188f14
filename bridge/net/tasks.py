"""The owner of the tasks that connections need: barriers, TLS handshakes, HTTP requests.

One task group for all of them; a task that fails is logged and takes no other with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from mappings.gateway import Log


class TaskOwner:
    """An asynchronous context: tasks may be spawned inside it and are cancelled when it ends."""

    __slots__ = ("_group", "_log", "_tasks")

    def __init__(self, log: Log) -> None:
        self._log = log
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(error_type, error, traceback)

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run `coroutine` as a task of its own; what it raises is logged."""
        task = self.start(self._guard(coroutine))
        # Closing does nothing to one that ran, and is owed to one that was cancelled before.
        task.add_done_callback(lambda _: coroutine.close())

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine that raises nothing, for those who may have to cancel it."""
        task = self._group.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guard(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Exception as error:  # noqa: BLE001 - a bug in one task must not end the others
            self._log.failed("task", str(coroutine), error)
