"""The owner of the backend's tasks: batches under way, long polls, renewals."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """One task group from `open` to `close`; a task that fails takes no other with it."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        await self._group.__aenter__()

    async def close(self) -> None:
        """Cancel what still runs, and wait until it is gone."""
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `coroutine` as a task of its own; what it raises is reported, with its traceback."""
        task = self._group.create_task(_guarded(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Closing does nothing to one that ran, and is owed to one that was cancelled before.
        task.add_done_callback(lambda _: coroutine.close())
        return task


async def _guarded(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        await coroutine
    except Exception as error:  # noqa: BLE001 - a bug in one task must not end the others
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"{coroutine!r} failed", "exception": error}
        )
