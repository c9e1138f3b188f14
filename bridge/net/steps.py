"""Responses that come later, without a task. On the hot path.

A task, its entry in a task group and its turn of the loop cost more than most requests. So a
handler that is called back by what it waits for returns a `Pending`, and one whose coroutine awaits
futures only may return `Steps` in its place. The first step runs at
once, and each later one when the future has come that the coroutine waits for. What needs a current
task (`asyncio.timeout`, task groups) cannot be used in such a coroutine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.net.http_messages import HttpResponse


class Pending:
    """A response on its way. `start` it, once; `cancel` it any time after."""

    __slots__ = ("_answer",)

    _answer: Callable[[HttpResponse], None] | None

    def start(self, answer: Callable[[HttpResponse], None]) -> HttpResponse | None:
        """Begin. The response, if it is there at once; otherwise `answer` will get it."""
        self._answer = answer
        return None

    def cancel(self) -> None:
        """Answer nobody any more."""
        self._answer = None


class Steps(Pending):
    """One coroutine on its way to a response."""

    __slots__ = ("_coroutine", "_future")

    def __init__(self, coroutine: Coroutine[Any, Any, HttpResponse]) -> None:
        """`coroutine` raises nothing but `CancelledError`."""
        self._coroutine = coroutine
        self._answer = None
        self._future: Any = None

    def start(self, answer: Callable[[HttpResponse], None]) -> HttpResponse | None:
        """Take the first step."""
        self._answer = answer
        return self._advance()

    def cancel(self) -> None:
        """Let the coroutine clean up; nobody is answered any more."""
        self._answer = None
        future, self._future = self._future, None
        if future is None:
            self._coroutine.close()
            return
        future.remove_done_callback(self._resume)
        try:
            self._wait_for(self._coroutine.throw(asyncio.CancelledError()))
        except (StopIteration, asyncio.CancelledError):
            return

    def _advance(self) -> HttpResponse | None:
        try:
            future = self._coroutine.send(None)
        except StopIteration as end:
            response: HttpResponse = end.value
            return response
        self._wait_for(future)
        return None

    def _wait_for(self, future: Any) -> None:
        if future is None:
            # `asyncio.sleep(0)` waits for nothing but its turn.
            future = asyncio.get_running_loop().create_future()
            future.set_result(None)
        # What `Task` does with the futures that come out of its coroutine.
        future._asyncio_future_blocking = False  # noqa: SLF001 - the protocol of futures (PEP 3156)
        self._future = future
        future.add_done_callback(self._resume)

    def _resume(self, _: Any) -> None:
        self._future = None
        try:
            response = self._advance()
        except asyncio.CancelledError:
            return
        if response is not None and self._answer is not None:
            self._answer(response)
