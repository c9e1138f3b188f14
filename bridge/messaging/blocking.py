"""Blocking calls to others, in threads that nobody waits for when the process ends.

Those of asyncio's own pool are waited for: one call that is not answered would hold up a stop for
as long as its library goes on trying. How many run at once is for the callers to bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TypeVar

ResultT = TypeVar("ResultT")


async def in_thread(call: Callable[[], ResultT]) -> ResultT:
    """What `call` returns or raises. Who is cancelled meanwhile leaves it to itself."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[ResultT] = loop.create_future()

    def answer(settle: Callable[[], None]) -> None:
        if not answered.done():
            settle()

    def run() -> None:
        try:
            settle = partial(answered.set_result, call())
        except BaseException as error:  # noqa: BLE001 - the caller's
            settle = partial(answered.set_exception, error)
        # The loop may have ended meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(answer, settle)

    Thread(target=run, name="blocking-call", daemon=True).start()
    return await answered
