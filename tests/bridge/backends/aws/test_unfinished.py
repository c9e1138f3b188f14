"""Queues whose maker was interrupted between SQS and the state table."""

from __future__ import annotations

import asyncio

import pytest

from bridge.backends.aws import AwsBackend
from bridge.backends.aws.directory import MADE_TAG
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.model import QueueSettings
from tests.bridge.backends.aws.conftest import OpenNode, in_sqs, store_of
from tests.support.stores import consume, message, name, send

SETTINGS = QueueSettings(
    message_ttl_ms=60_000, priority_max=2, arguments={"x-message-ttl": 60_000, "x-max-priority": 2}
)


async def interrupted(backend: AwsBackend) -> None:
    """Make the queue as one that is killed before it can tell."""
    directory = store_of(backend).directory
    sqs_name = directory.sqs_name_of(name("orders"), fifo=False)
    await directory.control.create(sqs_name, {"VisibilityTimeout": "30"}, {MADE_TAG: "1"})


@pytest.mark.parametrize("known", [False, True])
async def test_it_gets_its_settings_when_it_is_declared_again(
    node: OpenNode, *, known: bool
) -> None:
    first = await node()
    await interrupted(first)
    backend = await node() if known else first
    assert (backend.store.queue(name("orders")) is not None) is known
    queue = in_sqs(await backend.store.create_queue(name("orders"), SETTINGS))
    assert queue.settings == SETTINGS
    assert len(queue.parts) == 3
    later = await node()
    there = in_sqs(later.store.queue(name("orders")))
    assert (there.settings, len(there.parts)) == (SETTINGS, 3)
    for priority in (0, 1, 2):
        await send(later.store, there, message(str(priority), priority=priority))
    collector = await consume(backend.store, queue)
    await collector.expect(3)
    assert sorted(collector.bodies) == ["0", "1", "2"]
    # It is finished: whatever is declared now, it stays as it is.
    again = await later.store.create_queue(name("orders"), QueueSettings())
    assert again.settings == SETTINGS


async def test_a_state_table_that_fails_for_a_moment(node: OpenNode) -> None:
    backend, other = await node(), await node()
    directory = store_of(backend).directory

    async def refuse(*_: object, **__: object) -> None:
        raise StoreUnavailable("the table takes nothing")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory, "_commit", refuse)
        with pytest.raises(StoreUnavailable):
            await backend.store.create_queue(name("orders"), SETTINGS)
    made = await backend.store.create_queue(name("orders"), SETTINGS)
    await other.state.refresh("queue")
    there = other.store.queue(name("orders"))
    assert there is not None
    assert made.settings == there.settings == SETTINGS


async def test_the_first_of_two_decides(node: OpenNode) -> None:
    backend = await node()
    first, second = await asyncio.gather(
        backend.store.create_queue(name("orders"), SETTINGS),
        backend.store.create_queue(name("orders"), QueueSettings(message_ttl_ms=1)),
    )
    assert first is second
    assert first.settings == SETTINGS
