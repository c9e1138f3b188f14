"""Exclusive consumers beside those of other nodes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bridge.backends.aws import AwsBackend
from bridge.backends.aws.state import AwsState
from bridge.messaging.errors import ResourceLocked
from bridge.messaging.ports import Queue
from tests.bridge.backends.aws.conftest import AT_MOTO, OpenNode, in_sqs
from tests.support.stores import Collector, consume, found, make_queue


def leave(collector: Collector) -> None:
    assert collector.subscription is not None
    collector.subscription.cancel()


async def refused(backend: AwsBackend, queue: Queue) -> None:
    """An exclusive consumer is not taken."""
    with pytest.raises(ResourceLocked):
        await consume(backend.store, queue, exclusive=True)


async def is_free(backend: AwsBackend, queue: Queue) -> None:
    """Until nobody has the exclusive use of a queue, as far as a node knows."""
    async with asyncio.timeout(60):
        while backend.leases.holder(f"exclusive/{in_sqs(queue).sqs_name}") is not None:
            await asyncio.sleep(0.01)


async def test_consumers_of_another_node_keep_an_exclusive_one_out(node: OpenNode) -> None:
    # Shortening the log, which goes with the beat, would be counted below.
    seldom = replace(AT_MOTO, lease_beat_seconds=1_000.0, lease_seconds=1_000.0)
    first, second = await node(seldom), await node(AT_MOTO)
    here = await make_queue(first.store)
    there = found(second.store)
    ordinary = [await consume(first.store, here), await consume(first.store, here)]
    before = first.counters.calls["dynamodb", "TransactWriteItems"]
    for each in ordinary:
        await refused(second, there)
        await is_free(second, there)
        leave(each)
    # It said so twice; the consumers themselves cost nothing.
    assert first.counters.calls["dynamodb", "TransactWriteItems"] <= before + 2
    alone = await consume(second.store, there, exclusive=True)
    with pytest.raises(ResourceLocked):
        await consume(first.store, here)
    leave(alone)
    await is_free(first, here)
    await consume(first.store, here)


async def test_an_exclusive_consumer_moves_from_node_to_node(node: OpenNode) -> None:
    """It is not refused because the other node has not heard yet that it left the first one."""
    # What is heard of is what is looked for: not in between, by other means.
    seldom = replace(AT_MOTO, follow_seconds=0.5, exclusive_wait_seconds=60.0)
    nodes = [await node(seldom), await node(seldom)]
    await make_queue(nodes[0].store)
    for turn in range(4):
        backend = nodes[turn % 2]
        assert isinstance(backend.state, AwsState)
        await backend.state.refresh("queue")
        queue = found(backend.store)
        alone = await consume(backend.store, queue, exclusive=True)
        leave(alone)


async def test_a_node_objects_before_it_says_that_it_has_seen_the_lease(
    node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await node(AT_MOTO), await node(AT_MOTO)
    assert isinstance(first.state, AwsState)
    assert isinstance(second.state, AwsState)
    ordinary = await consume(first.store, await make_queue(first.store))
    members, others = first.state.membership, second.state.membership
    log, asked, go = first.state._log, asyncio.Event(), asyncio.Event()
    append = log.append

    async def append_late(*arguments: Any) -> bool:
        asked.set()
        await go.wait()
        return await append(*arguments)

    monkeypatch.setattr(log, "append", append_late)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        coming = tasks.create_task(refused(second, found(second.store)))
        await asked.wait()
        await members._beat()
        await others.look()
        assert others.peers[members.id].applied < others.applied
        assert not coming.done()
        go.set()
    assert not ordinary.was_cancelled
    assert others.applied == members.applied


async def test_an_exclusive_consumer_is_ended_by_a_node_that_was_not_heard_in_time(
    node: OpenNode,
) -> None:
    first = await node(replace(AT_MOTO, follow_seconds=1_000.0))
    second = await node(replace(AT_MOTO, agree_seconds_max=0.1))
    there = await make_queue(second.store)
    assert isinstance(first.state, AwsState)
    await first.state.refresh("queue")
    here = found(first.store)
    exclusive = await consume(second.store, there, exclusive=True)
    ordinary = await consume(first.store, here)
    await first.state.refresh("lease")
    async with asyncio.timeout(60):
        await exclusive.changed.wait()
    assert exclusive.was_cancelled
    assert not ordinary.was_cancelled
    await is_free(second, there)
