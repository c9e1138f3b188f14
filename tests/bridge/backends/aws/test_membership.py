"""A node's place among the others, where it is lost at a bad moment, and what must not end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.backends.aws import AwsBackend, AwsLimits
from bridge.backends.aws.duty import Duty
from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.queues import AwsQueue
from bridge.backends.aws.state import AwsState
from tests.bridge.backends.aws.conftest import OpenNode
from tests.bridge.backends.aws.test_state import put
from tests.support.stores import make_queue


async def test_a_place_that_is_lost_while_joining_is_not_served_from(node: OpenNode) -> None:
    opened = await node()
    assert isinstance(opened.state, AwsState)
    membership = opened.state.membership
    membership.on_lapse = lambda: None
    membership.lapse()
    await membership.join()
    membership.lapse()
    with pytest.raises(AwsError, match="lost its place while it joined"):
        await membership.serve()
    assert not membership.held
    await membership.join()
    await membership.serve()
    assert membership.held


async def test_a_mistake_ends_neither_the_beat_nor_the_following(node: OpenNode) -> None:
    reported: list[str] = []

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        reported.append(context["message"])

    asyncio.get_running_loop().set_exception_handler(report)
    first = await node(AwsLimits(lease_beat_seconds=0.05, follow_seconds=0.01))
    second = await node()
    assert isinstance(first.state, AwsState)
    lane, membership = first.state._shared, first.state.membership
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lane, "catch_up", lambda: 1 // 0)
        patch.setattr(membership, "_beat", lambda: 1 // 0)
        async with asyncio.timeout(60):
            while len(set(reported)) < 2:
                await asyncio.sleep(0.01)
    assert set(reported) == {
        "the state's log was not followed",
        "the node's place was not looked after",
    }
    beat = membership.peers[membership.id].beat
    await put(second, ("k", "a", b"1"))
    async with asyncio.timeout(60):
        while first.state.get("k", "a") is None or membership.peers[membership.id].beat == beat:
            await asyncio.sleep(0.01)


class _Clumsy(Duty):
    """Makes a mistake at its first look."""

    def __init__(self, backend: AwsBackend, queue: AwsQueue) -> None:
        assert backend._node is not None
        super().__init__(backend._node, queue)
        self.looks = 0
        self.done = asyncio.Event()

    async def look(self) -> float | None:
        self.looks += 1
        if self.looks == 1:
            raise ZeroDivisionError
        self.done.set()
        return None

    async def leave(self) -> None:
        """It has nothing."""


async def test_a_duty_that_makes_a_mistake_looks_again(node: OpenNode) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    backend = await node(AwsLimits(duty_retry_seconds=0.01))
    queue = await make_queue(backend.store)
    assert isinstance(queue, AwsQueue)
    duty = _Clumsy(backend, queue)
    duty.look_in(0)
    await asyncio.wait_for(duty.done.wait(), 60)
    duty.end()
