"""Blocking calls in threads of their own."""

from __future__ import annotations

import asyncio
import threading

import pytest

from bridge.messaging.blocking import in_thread


async def test_what_a_call_returns_or_raises_comes_back() -> None:
    def fail() -> None:
        raise KeyError("x")

    assert await in_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(KeyError, match="x"):
        await in_thread(fail)


async def test_nobody_waits_for_a_call_that_was_given_up() -> None:
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def call() -> bool:
        begun.set()
        go.wait(60)
        ended.set()
        return threading.current_thread().daemon

    given_up = asyncio.ensure_future(in_thread(call))
    await in_thread(begun.wait)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert not ended.is_set()
    go.set()
    await in_thread(ended.wait)
    assert await in_thread(call)
