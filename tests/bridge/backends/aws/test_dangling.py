"""Bindings to queues that another node deletes at the same time: none is left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bridge.backends.aws import Mode
from bridge.messaging.errors import QueueDoesNotExist
from bridge.messaging.model import TopicName
from bridge.messaging.ports import Queue
from bridge.routing.catalogue import KIND_SUBSCRIPTION
from tests.support.aws_nodes import Node, node, table_name
from tests.support.moto_server import moto_server

TREE = TopicName("/", "amq.topic")


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
async def nodes(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Node]]:
    """Two, of which the second one follows the other only when it has to."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    prefix = table_name()
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                node(
                    moto_url,
                    tmp_path / str(number),
                    prefix=prefix,
                    table=f"{prefix}state",
                    publish=Mode.NEVER,
                    ingest=Mode.NEVER,
                    bounds={"agree_seconds_max": 0.1, "follow_seconds": follow_seconds},
                )
            )
            for number, follow_seconds in enumerate((0.25, 1_000.0))
        ]


async def stored(nodes: list[Node]) -> list[list[str]]:
    """The subscriptions that each node knows to be stored, and those that it goes by."""
    for each in nodes:
        await each.backend.state.refresh(KIND_SUBSCRIPTION)
    return [
        [
            *each.backend.state.keys(KIND_SUBSCRIPTION),
            *[found.id for found in each.topology.subscriptions_of(TREE)],
        ]
        for each in nodes
    ]


@pytest.mark.parametrize("transient", [False, True])
async def test_a_bind_behind_the_deletion_is_refused(nodes: list[Node], *, transient: bool) -> None:
    one, late = nodes
    queue = await one.queue("short", transient=transient)
    await late.backend.state.refresh("queue")
    there = late.backend.store.queue(queue.name)
    assert there is not None
    await one.topology.remove_queue(queue)
    with pytest.raises(QueueDoesNotExist, match="'short' does not exist"):
        await late.bind("amq.topic", there, "a.#")
    assert await stored(nodes) == [[], []]


async def test_a_bind_before_the_deletion_goes_with_the_queue(nodes: list[Node]) -> None:
    one, late = nodes
    queue = await one.queue("short")
    await late.backend.state.refresh("queue")
    delete = one.backend.store.delete_queue

    async def delete_late(doomed: Queue) -> int:
        # Its bindings are gone by now, and the other node does not know of anything.
        await late.bind("amq.topic", doomed, "a.#")
        return await delete(doomed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one.backend.store, "delete_queue", delete_late)
        await one.topology.remove_queue(queue)
    assert await stored(nodes) == [[], []]
