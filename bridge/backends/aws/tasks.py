"""The owner of the backend's tasks: batches under way, long polls, renewals, and what goes on for
ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from bridge.backends.aws.errors import AwsError
from bridge.messaging.errors import MessagingError

PAUSE_SECONDS_MAX: Final = 5.0
"""How long a loop pauses that makes one mistake after another, unless it always pauses longer."""


class Tasks:
    """One task group from `open` to `close`; a task that fails takes no other with it."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False
        """Whether no task can begin any more."""

    async def open(self) -> None:
        await self._group.__aenter__()

    async def close(self) -> None:
        """Cancel what still runs, and what that begins as it ends; return when all is gone."""
        while self._tasks:
            # What was begun just now has its first turn, so that it can tidy up behind itself.
            await asyncio.sleep(0)
            ending = list(self._tasks)
            for task in ending:
                task.cancel()
            if ending:
                await asyncio.wait(ending)
        self.closed = True
        await self._group.__aexit__(None, None, None)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `coroutine` as a task of its own; what it raises is reported, with its traceback."""
        task = self._group.create_task(_guarded(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Closing does nothing to one that ran, and is owed to one that was cancelled before.
        task.add_done_callback(lambda _: coroutine.close())
        return task


async def repeat(
    pause_seconds: Callable[[], float],
    turn: Callable[[], Awaitable[None]],
    failed: Callable[[Exception], None],
) -> None:
    """Pause and do `turn`, again and again, until cancelled: what goes on for ever goes by this.

    See `attempt` for what goes wrong; with one mistake after another, the pauses grow.
    """
    mistakes = 0
    while True:
        pause = pause_seconds()
        await asyncio.sleep(min(pause * 2.0**mistakes, max(pause, PAUSE_SECONDS_MAX)))
        mistakes = 0 if await attempt(turn, failed) else min(mistakes + 1, 30)


async def attempt(turn: Callable[[], Awaitable[None]], failed: Callable[[Exception], None]) -> bool:
    """Do `turn` once, of what is done again and again; False where it made a mistake.

    What AWS or the store refuses is for the next turn, since the calls themselves were tried again
    for a while. Anything else is a mistake in here, of which `failed` is told.
    """
    try:
        await turn()
    except (AwsError, MessagingError):
        pass
    except Exception as error:  # noqa: BLE001 - reported; nobody else would do what this does
        failed(error)
        return False
    return True


async def _guarded(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        await coroutine
    except Exception as error:  # noqa: BLE001 - a bug in one task must not end the others
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"{coroutine!r} failed", "exception": error}
        )
