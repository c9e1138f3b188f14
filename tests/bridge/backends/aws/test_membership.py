"""A node's place among the others, where it is lost at a bad moment, and what must not end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bridge.backends.aws import AwsBackend, AwsLimits
from bridge.backends.aws.duty import Duty
from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.membership import Membership
from bridge.backends.aws.queues import AwsQueue
from bridge.backends.aws.state import AwsState
from bridge.messaging.clock import SystemClock
from tests.bridge.backends.aws.conftest import AT_MOTO, OpenNode, in_sqs, store_of
from tests.bridge.backends.aws.test_state import put
from tests.support.stores import consume, make_queue, message, send


class _Clock(SystemClock):
    """Goes with the machine's, and ahead of it by what the test says."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def membership_of(backend: AwsBackend) -> Membership:
    assert isinstance(backend.state, AwsState)
    return backend.state.membership


async def beat_late(membership: Membership, answered: asyncio.Event) -> asyncio.Task[None]:
    """A beat that is sent now and reaches the table when `answered` is set."""
    update = membership._table.update

    async def update_late(*arguments: Any, **values: Any) -> bool:
        await answered.wait()
        return await update(*arguments, **values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership._table, "update", update_late)
        beat = asyncio.ensure_future(membership._beat())
        await asyncio.sleep(0)
    return beat


async def test_a_place_that_is_lost_while_joining_is_not_served_from(node: OpenNode) -> None:
    membership = membership_of(await node())
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


async def test_a_place_counts_from_when_it_was_asked_for(node: OpenNode) -> None:
    """The others may see a node long before it has its answer, and wait no longer from then on."""
    clock = _Clock()
    backend = await node(replace(AT_MOTO, lease_beat_seconds=1_000.0), clock)
    membership = membership_of(backend)
    membership.on_lapse = lambda: None
    membership.lapse()
    await membership.join()
    put = membership._table.put

    async def put_slowly(*arguments: Any) -> bool:
        done = await put(*arguments)
        clock.ahead += 9.0
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership._table, "put", put_slowly)
        await membership.serve()
    held = [membership.held]
    clock.ahead += 1.0
    held.append(membership.held)
    assert held == [True, False]


async def test_a_beat_for_a_former_place_says_nothing_of_the_next(node: OpenNode) -> None:
    backend = await node(replace(AT_MOTO, lease_beat_seconds=1_000.0))
    membership = membership_of(backend)
    membership.on_lapse = lambda: None
    rejoined = asyncio.Event()
    beat = await beat_late(membership, rejoined)
    membership.lapse()
    await membership.join()
    await membership.serve()
    rejoined.set()
    await beat
    assert membership.held


async def test_the_log_tells_of_nodes_that_come_and_die(
    node: OpenNode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "landbridge.aws")
    quick = replace(AT_MOTO, lease_seconds=0.5, lease_beat_seconds=0.05)
    first, second = await node(quick), await node(quick)
    membership = membership_of(first)
    async with asyncio.timeout(60):
        while second.figures()["aws_nodes"] != 2:
            await asyncio.sleep(0.01)
        dead = membership.id
        assert f"the other nodes know this one as {dead}" in caplog.messages
        # It beats no more, and comes back later.
        lapsed, membership.on_lapse = membership.on_lapse, lambda: None
        membership._joined = False
        said = f"node {dead} was not heard of for 0.5 s and is taken for dead: others go on for it"
        while said not in caplog.messages:
            await asyncio.sleep(0.01)
        lapsed()
        while not membership.held:
            await asyncio.sleep(0.01)
    own = f"this node, {dead}, was not heard of in time: others may go on for it, and it takes"
    (warning,) = [each for each in caplog.records if each.message.startswith(own)]
    assert warning.levelname == "WARNING"
    assert f"the other nodes know this one as {membership.id}" in caplog.messages


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


async def test_a_place_that_was_past_its_time_is_lost_though_a_beat_is_answered_late(
    node: OpenNode,
) -> None:
    """Who was refused meanwhile looks again then: here, a single active consumer for its poll."""
    clock, answered = _Clock(), asyncio.Event()
    backend = await node(replace(AT_MOTO, lease_beat_seconds=1_000.0), clock)
    membership = membership_of(backend)
    queue = await make_queue(backend.store, "orders", single_active_consumer=True)
    collector = await consume(backend.store, queue)
    clock.ahead += 9.0
    beat = await beat_late(membership, answered)
    clock.ahead += 2.0
    lapsed = store_of(backend).fenced
    assert lapsed(), "its timer has not rung yet"
    async with asyncio.timeout(60):
        while in_sqs(queue).intake._polls:
            await asyncio.sleep(0.01)
    answered.set()
    await beat
    assert lapsed(), "or nobody would tell those who were refused"
    async with asyncio.timeout(60):
        while lapsed():
            await asyncio.sleep(0.01)
    await send(backend.store, queue, message("x"))
    await collector.expect(1)


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
