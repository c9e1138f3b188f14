"""Writes that are larger than one item of the log: seen whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.backends.aws import AwsBackend, AwsLimits
from bridge.backends.aws.changelog import (
    ENTRY_BYTES_MAX,
    ENTRY_CHANGES_MAX,
    UNIT_CHANGES_MAX,
    LogEntry,
    entries_from,
    size_of,
    whole_writes,
)
from bridge.backends.aws.state import AwsState
from bridge.messaging.errors import StateConflict
from bridge.messaging.model import StateChange
from tests.bridge.backends.aws.conftest import OpenNode
from tests.bridge.backends.aws.test_state import put

BEATING = AwsLimits(lease_beat_seconds=0.05)
SLOW = AwsLimits(follow_seconds=1_000.0)
FIRST = LogEntry(7, "writer", 3, [], awaited=True)


def changes(count: int, value: bytes = b"v") -> list[StateChange]:
    return [StateChange("k", f"{number:04}", value) for number in range(count)]


@given(st.lists(st.integers(0, ENTRY_BYTES_MAX // 2 - 100), min_size=1, max_size=250))
def test_a_write_is_as_many_entries_as_it_needs(sizes: list[int]) -> None:
    given_changes = [StateChange("k", str(place), b"x" * size) for place, size in enumerate(sizes)]
    entries = entries_from(given_changes, FIRST)
    assert [each for entry in entries for each in entry.changes] == given_changes
    assert [each.version for each in entries] == list(range(7, 7 + len(entries)))
    assert [each.rest for each in entries] == list(reversed(range(len(entries))))
    for entry in entries:
        assert 1 <= len(entry.changes) <= ENTRY_CHANGES_MAX
        assert sum(map(size_of, entry.changes)) <= ENTRY_BYTES_MAX
    assert list(whole_writes(entries)) == [entries]


def test_what_is_not_to_be_seen_as_a_whole_is_left_for_later() -> None:
    one = entries_from(changes(1), FIRST._replace(version=6))
    three = entries_from(changes(3 * ENTRY_CHANGES_MAX), FIRST)
    last = entries_from(changes(1), FIRST._replace(version=10))
    log = [*one, *three, *last]
    assert list(whole_writes(log)) == [one, three, last]
    for hidden in three[1:]:
        assert list(whole_writes([each for each in log if each is not hidden])) == [one]
    # What a checkpoint has taken of it is not missing.
    assert list(whole_writes(log[2:])) == [three[1:], last]


async def test_a_large_write_is_seen_whole(node: OpenNode) -> None:
    first, second = await node(), await node(SLOW)
    told: list[int] = []

    def count(followed: Sequence[StateChange]) -> None:
        told.append(len(followed))

    second.state.watch(["k"], count)
    many = changes(ENTRY_CHANGES_MAX * 3 + 1)
    await put(first, *many)
    await put(first, *changes(5, b"w" * 300 * 1024))
    await second.state.refresh("k")
    assert told == [len(many), 5]
    third = await node()
    expected = {each.key: each.value for each in [*many, *changes(5, b"w" * 300 * 1024)]}
    for each in (first, second, third):
        assert dict(each.state.scan("k")) == expected


async def test_a_large_write_that_is_refused_leaves_nothing(node: OpenNode) -> None:
    first, second = await node(), await node(SLOW)
    many = changes(ENTRY_CHANGES_MAX * 2)
    # One that stands in the last of its entries is changed at the other node first.
    await put(first, (*many[-1][:2], b"mine"))
    with pytest.raises(StateConflict):
        await put(second, *many, agreed=True)
    for each in (first, second):
        await each.state.refresh("k")
        assert list(each.state.scan("k")) == [(many[-1].key, b"mine")]
    await put(second, *many[:-1], agreed=True)
    assert len(list(first.state.scan("k"))) == len(many)


async def test_large_writes_race_for_their_versions(node: OpenNode) -> None:
    nodes = [await node(), await node()]

    async def write(backend: AwsBackend, name: str) -> None:
        for number in range(4):
            await put(backend, *[(name, each.key, b"%d" % number) for each in changes(150)])

    await asyncio.gather(*[write(each, name) for each, name in zip(nodes, "ab", strict=True)])
    for each in nodes:
        await each.state.refresh("a")
        for kind in "ab":
            assert {value for _, value in each.state.scan(kind)} == {b"3"}


async def test_a_large_write_is_carried_over(node: OpenNode) -> None:
    backend = await node(BEATING)
    many = changes(ENTRY_CHANGES_MAX * 2 + 10)
    await put(backend, *many)
    assert isinstance(backend.state, AwsState)
    log = backend.state._log
    async with asyncio.timeout(60):
        while await log.after(0):
            await asyncio.sleep(0.01)
    other = await node()
    assert len(list(other.state.scan("k"))) == len(many)


async def test_what_no_transaction_takes_is_several_writes(node: OpenNode) -> None:
    backend = await node()
    many = changes(UNIT_CHANGES_MAX + 1)
    await put(backend, *many)
    other = await node()
    assert len(list(other.state.scan("k"))) == len(many)
