"""State in DynamoDB, on one node and on several: moto for the truth, a stub for answers that get
lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from bridge.backends.aws import AwsBackend, AwsLimits, AwsOptions
from bridge.backends.aws.state import AwsState
from bridge.messaging.errors import InvalidParameter, OverLimit, StateConflict, StoreUnavailable
from bridge.messaging.model import StateChange, UnitOfWork
from tests.bridge.backends.aws.conftest import Opened, OpenNode, quiet
from tests.support.aws_stub import Answer, aws_error
from tests.support.stores import commit

SLOW = AwsLimits(follow_seconds=1_000.0)
"""A node that hears of the others only when it asks."""
BEATING = AwsLimits(lease_beat_seconds=0.05)


async def put(
    backend: AwsBackend, *changes: tuple[str, str, bytes | None], agreed: bool = False
) -> None:
    unit = UnitOfWork()
    unit.agreed = agreed
    unit.state += [StateChange(*each) for each in changes]
    await commit(backend.store, unit)


KEYS = ["b", "", "\x00", "\x01x", "a" * 2_000, "ü" * 600]


async def test_state_is_found_again_by_another_node(node: OpenNode) -> None:
    first = await node()
    await put(first, *[("k", key, key.encode() + b"!") for key in KEYS])
    await put(first, ("k", "gone", b"x"), ("other", "b", b"y"))
    await put(first, ("k", "gone", None))
    second = await node()
    expected = [(key, key.encode() + b"!") for key in sorted(KEYS)]
    assert list(first.state.scan("k")) == expected
    assert list(second.state.scan("k")) == expected
    assert sorted(second.state.keys("k")) == [key for key, _ in expected]
    assert second.state.get("k", "gone") is None
    assert second.state.get("other", "b") == b"y"
    assert list(second.state.scan("k", "a")) == [("a" * 2_000, b"a" * 2_000 + b"!")]


async def test_readers_see_what_was_submitted(node: OpenNode) -> None:
    backend = await node()
    unit = UnitOfWork()
    unit.state.append(StateChange("k", "a", b"1"))
    backend.store.submit(unit)
    assert backend.state.get("k", "a") == b"1"


async def test_the_last_change_of_a_key_stays(node: OpenNode) -> None:
    first = await node()
    await asyncio.gather(*[put(first, ("k", "a", str(n).encode())) for n in range(30)])
    assert (await node()).state.get("k", "a") == b"29"


async def test_many_changes_at_once(node: OpenNode) -> None:
    first = await node()
    await put(first, *[("k", f"{n:03}", b"v") for n in range(250)])
    assert len(list((await node()).state.scan("k"))) == 250


async def test_the_last_change_stays_wherever_it_was_made(node: OpenNode) -> None:
    first, second = await node(), await node()
    await put(first, ("k", "a", b"first"))
    await put(second, ("k", "a", b"second"))
    await first.state.refresh("k")
    assert first.state.get("k", "a") == b"second"
    await put(first, ("k", "a", None))
    await second.state.refresh("k")
    assert second.state.get("k", "a") is None


async def test_what_has_to_be_agreed_is_refused_where_another_node_was_first(
    node: OpenNode,
) -> None:
    first, second = await node(), await node(SLOW)
    told: list[StateChange] = []
    second.state.watch(["k"], told.extend)
    await put(first, ("k", "a", b"first"))
    with pytest.raises(StateConflict, match="'a' was changed at another node"):
        await put(second, ("k", "a", b"second"), ("k", "b", b"x"), agreed=True)
    assert second.state.get("k", "a") == b"first"
    assert second.state.get("k", "b") is None
    assert StateChange("k", "a", b"first") in told
    await put(second, ("k", "a", b"second"), agreed=True)
    assert first.state.get("k", "a") == b"second"


async def test_the_same_change_at_two_nodes_is_no_conflict(node: OpenNode) -> None:
    first, second = await node(BEATING), await node(SLOW)
    await put(first, ("k", "a", b"same"))
    await put(second, ("k", "a", b"same"), agreed=True)
    await put(first, ("k", "a", None))
    await put(second, ("k", "a", None), agreed=True)
    assert first.state.get("k", "a") is None


async def test_one_refused_change_does_not_take_others_with_it(node: OpenNode) -> None:
    first, second = await node(), await node(SLOW)
    await put(first, ("k", "a", b"first"))
    results = await asyncio.gather(
        put(second, ("k", "b", b"1"), agreed=True),
        put(second, ("k", "a", b"2"), agreed=True),
        put(second, ("k", "c", b"3"), agreed=True),
        return_exceptions=True,
    )
    assert [isinstance(each, StateConflict) for each in results] == [False, True, False]


async def test_changes_are_live_at_other_nodes_soon(node: OpenNode) -> None:
    first, second = await node(), await node()
    told: list[StateChange] = []
    came = asyncio.Event()

    def follow(changes: Sequence[StateChange]) -> None:
        assert second.state.get("k", "a") == changes[-1].value
        told.extend(changes)
        came.set()

    second.state.watch(["k"], follow)
    await put(first, ("k", "a", b"1"), ("other", "a", b"2"))
    await asyncio.wait_for(came.wait(), 60)
    assert told == [StateChange("k", "a", b"1")]
    assert second.state.get("other", "a") == b"2"
    assert not await _told_of_own(first, second)


async def _told_of_own(first: AwsBackend, second: AwsBackend) -> list[StateChange]:
    told: list[StateChange] = []
    first.state.watch(["own"], told.extend)
    await put(first, ("own", "a", b"1"), agreed=True)
    await first.state.refresh("own")
    assert second.state.get("own", "a") == b"1"
    return told


async def test_many_nodes_change_one_key(node: OpenNode) -> None:
    nodes = [await node() for _ in range(3)]
    await asyncio.gather(
        *[
            put(each, ("k", f"{number}", b"%d" % index), ("k", "all", b"%d-%d" % (index, number)))
            for index, each in enumerate(nodes)
            for number in range(20)
        ]
    )
    for each in nodes:
        await each.state.refresh("k")
    contents = [list(each.state.scan("k")) for each in [*nodes, await node()]]
    assert contents == [contents[0]] * 4
    assert len(contents[0]) == 21


async def test_owned_entries_are_read_afresh_at_a_takeover(node: OpenNode) -> None:
    first, second = await node(), await node()
    for each in (first, second):
        each.state.own(["rows"])
    await put(first, ("rows", "s/1", b"1"), ("rows", "s/2", b"2"), ("rows", "t/1", b"other"))
    await second.state.refresh("rows", "s/")
    assert list(second.state.scan("rows")) == [("s/1", b"1"), ("s/2", b"2")]
    await put(second, ("rows", "s/1", None), ("rows", "s/2", b"3"))
    with pytest.raises(StateConflict, match="belongs to another node"):
        await put(first, ("rows", "s/2", b"stale"))
    await first.state.refresh("rows", "s/")
    assert list(first.state.scan("rows", "s/")) == [("s/2", b"3")]


async def test_the_log_is_carried_over_and_shortened(node: OpenNode, moto_url: str) -> None:
    first, second = await node(BEATING), await node(BEATING)
    for number in range(150):
        await put(first, ("k", f"{number:03}", b"v"))
    await put(second, ("k", "000", None), ("k", "long" * 500, b"w"))
    assert isinstance(first.state, AwsState)
    log = first.state._log
    async with asyncio.timeout(60):
        while await log.after(0):
            await asyncio.sleep(0)
    assert await log.checkpoint() >= 151
    third = await node()
    contents = dict(third.state.scan("k"))
    assert len(contents) == 150
    assert contents["long" * 500] == b"w"
    await put(third, ("k", "001", b"new"), agreed=True)
    assert first.state.get("k", "001") == b"new"


async def test_a_text_that_cannot_be_stored_is_refused(node: OpenNode) -> None:
    backend = await node()
    with pytest.raises(InvalidParameter):
        await put(backend, ("k", "\udc80", b"x"))
    assert list(backend.state.scan("k")) == []


async def test_a_value_that_no_item_holds_is_refused(node: OpenNode) -> None:
    backend = await node()
    with pytest.raises(OverLimit):
        await put(backend, ("k", "a", b"x" * 400 * 1024))
    assert backend.state.get("k", "a") is None


async def test_a_write_whose_answer_was_lost_is_known_in_the_log(opened: Opened) -> None:
    log: dict[str, Any] = {}
    lose = [True]

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "PutItem" and request["Item"]["kind"]["S"] == "#log":
            if log:
                return aws_error("ConditionalCheckFailedException")
            log.update(request["Item"])
            return None if lose and lose.pop() else (200, {})
        if action == "Query" and request["ExpressionAttributeValues"][":kind"]["S"] == "#log":
            return 200, {"Items": [log] if log else []}
        return quiet(action, request)

    backend, stub = await opened(answer)
    told: list[StateChange] = []
    backend.state.watch(["k"], told.extend)
    await put(backend, ("k", "a", b"1"), agreed=True)
    writes = [each for each in stub.requests("PutItem") if each["Item"]["kind"]["S"] == "#log"]
    assert len(writes) == 2
    assert backend.state.get("k", "a") == b"1"
    assert told == []


async def test_an_owned_write_whose_answer_was_lost_is_known_by_its_value(opened: Opened) -> None:
    items: dict[str, Any] = {}
    lose = [True]

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "PutItem" and request["Item"]["kind"]["S"] == "rows":
            if items:
                return aws_error("ConditionalCheckFailedException")
            items.update(request["Item"])
            return None if lose and lose.pop() else (200, {})
        if action == "GetItem" and request["Key"]["kind"]["S"] == "rows":
            return 200, {"Item": items}
        return quiet(action, request)

    backend, _ = await opened(answer)
    backend.state.own(["rows"])
    await put(backend, ("rows", "a", b"1"))
    assert backend.state.get("rows", "a") == b"1"


async def test_without_leave_to_create_the_table_has_to_be_there(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        return aws_error("ResourceNotFoundException")

    with pytest.raises(StoreUnavailable, match="does not exist and"):
        await opened(answer, AwsOptions(region="us-east-1", create=False))
