"""Several nodes on one table: who counts, who is waited for, and what a dead one held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from bridge.backends.aws import AwsLimits
from bridge.backends.aws.leases import KIND_LEASE
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.model import QueueSettings, StateChange, UnitOfWork
from bridge.messaging.ports import Lease
from tests.bridge.backends.aws.conftest import Opened, OpenNode, quiet, store_of
from tests.bridge.backends.aws.test_state import put
from tests.support.aws_stub import Answer, aws_error
from tests.support.stores import commit, consume, delete, make_queue, message, name, send

QUICK = AwsLimits(lease_seconds=3.0, lease_beat_seconds=0.1)
HANGING = AwsLimits(lease_seconds=3.0, lease_beat_seconds=1_000.0, follow_seconds=1_000.0)
"""A node that does nothing by itself, as a process that hangs."""


def unexpected(lease: Lease) -> None:
    raise AssertionError(lease.name)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_queue_made_at_one_node_is_there_at_the_others(node: OpenNode) -> None:
    first, second = await node(), await node()
    settings = QueueSettings(message_ttl_ms=5_000, arguments={"x-message-ttl": 5_000})
    queue = await first.store.create_queue(name("orders"), settings)
    there = second.store.queue(name("orders"))
    assert there is not None
    assert there.settings == settings
    assert there.created_at == queue.created_at
    await first.store.change_queue(queue, QueueSettings(message_ttl_ms=7_000))
    assert there.settings.message_ttl_ms == 7_000
    consumer = await consume(second.store, there)
    await first.store.delete_queue(queue)
    assert there.deleted
    assert consumer.was_cancelled
    assert second.store.queue(name("orders")) is None


async def test_two_nodes_make_the_same_queue_at_once(node: OpenNode) -> None:
    nodes = [await node(), await node()]
    settings = QueueSettings(message_ttl_ms=5_000)
    made = await asyncio.gather(
        *[each.store.create_queue(name("orders"), settings) for each in nodes]
    )
    assert [each.settings for each in made] == [settings, settings]
    assert made[0].created_at == made[1].created_at
    await send(nodes[0].store, made[0], message("x"))
    consumer = await consume(nodes[1].store, made[1])
    assert (await consumer.expect(1))[0].message.body == b"x"


async def test_a_queue_that_was_in_sqs_before_is_known_everywhere(node: OpenNode) -> None:
    first, second = await node(), await node()
    await store_of(first).directory.control.create(
        f"{first._options.prefix}found", {"VisibilityTimeout": "77"}, {}
    )
    queue = await first.store.create_queue(name("found"), QueueSettings())
    there = second.store.queue(name("found"))
    assert there is not None
    assert there.settings.visibility_timeout_seconds == 77
    await first.store.delete_queue(queue)
    assert there.deleted


async def test_a_node_that_hangs_is_waited_for_until_its_lease_ends(node: OpenNode) -> None:
    first = await node(QUICK)
    await node(HANGING)
    started = asyncio.get_running_loop().time()
    await put(first, ("k", "a", b"1"), agreed=True)
    waited = asyncio.get_running_loop().time() - started
    assert waited > 1.5


async def test_a_node_without_its_lease_takes_nothing(node: OpenNode) -> None:
    hanging = await node(HANGING)
    queue = await make_queue(hanging.store)
    first = await node(QUICK)
    await until(lambda: not hanging.healthy)
    unit = UnitOfWork()
    unit.sends.append((queue, message("x")))
    unit.state.append(StateChange("k", "a", b"1"))
    with pytest.raises(StoreUnavailable, match="lost its lease"):
        await commit(hanging.store, unit)
    there = first.store.queue(queue.name)
    assert there is not None
    assert (await first.store.counts(there)).visible == 0


async def test_a_node_that_was_given_up_comes_back_with_what_it_missed(node: OpenNode) -> None:
    first = await node(QUICK)
    hanging = await node(HANGING)
    told: list[StateChange] = []
    hanging.state.watch(["k"], told.extend)
    await put(hanging, ("k", "gone", b"x"))
    await first.state.refresh("k")
    await put(first, ("k", "gone", None), ("k", "a", b"1"), agreed=True)
    # Its timer says so, and it joins again by itself.
    await until(lambda: hanging.healthy)
    assert sorted(told) == [StateChange("k", "a", b"1"), StateChange("k", "gone", None)]
    assert list(hanging.state.scan("k")) == [("a", b"1")]


async def test_leases_of_a_dead_node_are_free(node: OpenNode) -> None:
    hanging, second = await node(HANGING), await node(QUICK)
    lost: list[Lease] = []
    lease = await hanging.leases.acquire("duty", on_lost=lost.append)
    assert lease is not None
    assert await second.leases.acquire("duty", on_lost=unexpected) is None
    taken = await asyncio.wait_for(
        second.leases.acquire("duty", on_lost=unexpected, wait_seconds=None), 60
    )
    assert taken is not None
    assert taken.epoch > lease.epoch
    assert lost == [lease]
    assert [lease.held, taken.held] == [False, True]


async def test_a_lease_goes_from_node_to_node(node: OpenNode) -> None:
    first, second = await node(), await node()
    asked = asyncio.Event()
    lease = await first.leases.acquire(
        "session", on_lost=unexpected, on_wanted=lambda _: asked.set()
    )
    assert lease is not None
    async with asyncio.TaskGroup() as group:
        getting = group.create_task(
            second.leases.acquire("session", on_lost=unexpected, wait_seconds=60)
        )
        await asyncio.wait_for(asked.wait(), 60)
        assert second.leases.holder("session") == first.leases.node_id
        await first.leases.release(lease)
    got = getting.result()
    assert got is not None
    await first.state.refresh("lease")
    assert first.leases.holder("session") == second.leases.node_id


async def test_a_node_that_leaves_is_followed_at_once(node: OpenNode) -> None:
    patient = AwsLimits(lease_seconds=1_000.0)
    first, second = await node(patient), await node(patient)
    await first.leases.acquire("duty", on_lost=unexpected)
    async with asyncio.TaskGroup() as group:
        getting = group.create_task(
            second.leases.acquire("duty", on_lost=unexpected, wait_seconds=60)
        )
        await first.close()
    assert getting.result() is not None
    # For longer than this, nothing waits; a lease would end later.
    async with asyncio.timeout(60):
        await put(second, ("k", "a", b"1"), agreed=True)


async def test_a_node_that_cannot_beat_takes_nothing_until_it_can(opened: Opened) -> None:
    down: list[bool] = []

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action in {"PutItem", "UpdateItem"} and down:
            return aws_error("ServiceUnavailable")
        return quiet(action, request)

    backend, _ = await opened(answer, lease_seconds=3.0, lease_beat_seconds=0.05)
    queue = await make_queue(backend.store)
    down.append(True)
    fenced = store_of(backend).fenced
    await until(fenced)
    assert not backend.healthy
    with pytest.raises(StoreUnavailable):
        await send(backend.store, queue, message("x"))
    down.clear()
    await until(lambda: backend.healthy)
    await put(backend, ("k", "a", b"1"))


async def test_returns_are_counted_by_all_nodes_together(node: OpenNode) -> None:
    first, second = await node(), await node()
    queue = await make_queue(first.store, return_limit=5)
    there = second.store.queue(queue.name)
    assert there is not None
    await send(first.store, queue, message("x"))
    for count, (backend, handle) in enumerate(2 * [(first, queue), (second, there)]):
        await backend.state.refresh("returns")
        (delivery,) = await backend.store.receive(handle, count=1, wait_seconds=20)
        assert delivery.return_count == count
        unit = UnitOfWork(answered=True)
        unit.returns.append(delivery)
        await commit(backend.store, unit)
        # Writes keep their order: the count is stored when this is.
        await put(backend, ("k", "after", b""))
    third = await node()
    again = third.store.queue(queue.name)
    assert again is not None
    (delivery,) = await third.store.receive(again, count=1, wait_seconds=20)
    assert delivery.return_count == 4
    await delete(third.store, delivery)
    await until(lambda: not list(third.state.scan("returns")))


async def test_counts_of_returns_are_bounded(node: OpenNode) -> None:
    backend = await node(AwsLimits(return_counts_max=3))
    queue = await make_queue(backend.store, return_limit=5)
    await send(backend.store, queue, *[message(str(number)) for number in range(8)])
    for _ in range(8):
        (delivery,) = await backend.store.receive(queue, count=1, wait_seconds=20)
        unit = UnitOfWork(answered=True)
        unit.returns.append(delivery)
        await commit(backend.store, unit)
        assert len(list(backend.state.scan("returns"))) <= 3


async def test_a_change_whose_author_went_away_is_stored_all_the_same(node: OpenNode) -> None:
    first, second = await node(), await node()
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(put(first, ("k", "a", b"1")))
        taking = group.create_task(first.leases.acquire("a", on_lost=unexpected))
        await asyncio.sleep(0)
        assert first.state.get("k", "a") == b"1"
        assert first.leases.holder("a") == first.leases.node_id
        writing.cancel()
        taking.cancel()
    await until(lambda: second.state.get("k", "a") == b"1")
    lease = await second.leases.acquire("a", on_lost=unexpected, wait_seconds=60)
    assert lease is not None
    await until(lambda: first.leases.holder("a") == second.leases.node_id)


async def test_a_lease_in_the_name_of_a_node_that_does_not_have_it_is_free(node: OpenNode) -> None:
    first, second = await node(), await node()
    # As it comes to be where the answer to a write was lost for good.
    await put(second, (KIND_LEASE, "a", msgspec.msgpack.encode([first.leases.node_id, False])))
    lease = await second.leases.acquire("a", on_lost=unexpected, wait_seconds=60)
    assert lease is not None
    assert lease.held


async def test_a_lease_that_is_taken_again_while_it_is_given_back_is_held(node: OpenNode) -> None:
    first, second = await node(), await node()
    lease = await first.leases.acquire("duty", on_lost=unexpected)
    assert lease is not None
    releasing = asyncio.ensure_future(first.leases.release(lease))
    await asyncio.sleep(0)
    again = await first.leases.acquire("duty", on_lost=unexpected)
    await releasing
    assert again is not None
    assert again.held
    await second.state.refresh("lease")
    assert second.leases.holder("duty") == first.leases.node_id
    assert await second.leases.acquire("duty", on_lost=unexpected) is None
