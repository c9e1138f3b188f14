"""State in DynamoDB: moto for the truth, a stub for answers that get lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bridge.backends.aws import AwsBackend, AwsOptions
from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import SystemClock
from bridge.messaging.errors import OverLimit, StoreUnavailable
from bridge.messaging.limits import Limits
from bridge.messaging.model import StateChange, UnitOfWork
from tests.bridge.backends.aws.conftest import Opened, quiet
from tests.support.aws_stub import Answer, aws_error
from tests.support.moto_server import moto_server
from tests.support.stores import commit


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
async def node(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Any]:
    """Open one more node on the same table."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    table = "".join(each if each.isalnum() else "-" for each in request.node.name)[:100]
    async with AsyncExitStack() as stack:
        number = 0

        async def open_one() -> AwsBackend:
            nonlocal number
            number += 1
            backend = AwsBackend(
                AwsOptions(
                    region="us-east-1",
                    endpoint_url=moto_url,
                    table=table,
                    prefix=table,
                    exclusive=False,
                ),
                local=EmbeddedBackend(
                    tmp_path / str(number),
                    durability="memory",
                    clock=SystemClock(),
                    limits=Limits(),
                ),
                clock=SystemClock(),
                random=random.random,
            )
            await backend.open()
            stack.push_async_callback(backend.close)
            return backend

        yield open_one


async def put(backend: AwsBackend, *changes: tuple[str, str, bytes | None]) -> None:
    unit = UnitOfWork()
    unit.state += [StateChange(*each) for each in changes]
    await commit(backend.store, unit)


KEYS = ["b", "", "\x00", "\x01x", "a" * 2_000, "ü" * 600]


async def test_state_is_found_again_by_another_node(node: Any) -> None:
    first = await node()
    await put(first, *[("k", key, key.encode() + b"!") for key in KEYS])
    await put(first, ("k", "gone", b"x"), ("other", "b", b"y"))
    await put(first, ("k", "gone", None))
    second = await node()
    expected = [(key, key.encode() + b"!") for key in sorted(KEYS)]
    assert list(first.state.scan("k")) == expected
    assert list(second.state.scan("k")) == expected
    assert second.state.get("k", "gone") is None
    assert second.state.get("other", "b") == b"y"
    assert list(second.state.scan("k", "a")) == [("a" * 2_000, b"a" * 2_000 + b"!")]


async def test_readers_see_what_was_submitted(node: Any) -> None:
    backend = await node()
    unit = UnitOfWork()
    unit.state.append(StateChange("k", "a", b"1"))
    backend.store.submit(unit)
    assert backend.state.get("k", "a") == b"1"


async def test_the_last_change_of_a_key_stays(node: Any) -> None:
    first = await node()
    await asyncio.gather(*[put(first, ("k", "a", str(n).encode())) for n in range(30)])
    assert (await node()).state.get("k", "a") == b"29"


async def test_many_changes_at_once(node: Any) -> None:
    first = await node()
    await put(first, *[("k", f"{n:03}", b"v") for n in range(250)])
    assert len(list((await node()).state.scan("k"))) == 250


async def test_nodes_do_not_overwrite_each_other(node: Any) -> None:
    first, second = await node(), await node()
    await put(first, ("k", "a", b"first"))
    with pytest.raises(StoreUnavailable, match="another node"):
        await put(second, ("k", "a", b"second"))
    assert second.state.get("k", "a") == b"first"
    await put(second, ("k", "a", b"second"))
    with pytest.raises(StoreUnavailable, match="another node"):
        await put(first, ("k", "a", None), ("k", "b", b"x"))
    assert first.state.get("k", "a") == b"second"
    assert first.state.get("k", "b") is None


async def test_one_refused_change_does_not_take_others_with_it(node: Any) -> None:
    first, second = await node(), await node()
    await put(first, ("k", "a", b"first"))
    results = await asyncio.gather(
        put(second, ("k", "b", b"1")),
        put(second, ("k", "a", b"2")),
        put(second, ("k", "c", b"3")),
        return_exceptions=True,
    )
    assert [isinstance(each, StoreUnavailable) for each in results] == [False, True, False]


async def test_a_value_that_no_item_holds_is_refused(node: Any) -> None:
    backend = await node()
    with pytest.raises(OverLimit):
        await put(backend, ("k", "a", b"x" * 400 * 1024))
    assert backend.state.get("k", "a") is None


async def test_a_write_whose_answer_was_lost_is_known_by_its_version(opened: Opened) -> None:
    items: dict[str, Any] = {}
    lose = [True]

    def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "PutItem":
            if items:
                return aws_error("ConditionalCheckFailedException")
            items.update(request["Item"])
            return None if lose and lose.pop() else (200, {})
        if action == "GetItem":
            return 200, {"Item": items}
        return quiet(action, request)

    backend, stub = await opened(answer, AwsOptions(region="us-east-1", exclusive=False))
    await put(backend, ("k", "a", b"1"))
    assert len(stub.requests("PutItem")) == 2
    assert backend.state.get("k", "a") == b"1"


async def test_without_leave_to_create_the_table_has_to_be_there(opened: Opened) -> None:
    def answer(action: str, request: dict[str, Any]) -> Answer:
        return aws_error("ResourceNotFoundException")

    with pytest.raises(StoreUnavailable, match="does not exist and"):
        await opened(answer, AwsOptions(region="us-east-1", create=False))
