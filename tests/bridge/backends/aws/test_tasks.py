"""What goes on for ever goes on, and what ends leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

import botocore.exceptions
import pytest

from bridge.backends.aws.credentials import Credentials
from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.state import AwsState
from bridge.backends.aws.tasks import Tasks, repeat
from bridge.messaging.errors import StoreUnavailable
from tests.bridge.backends.aws.conftest import Opened, quiet
from tests.support.aws_stub import Answer, aws_error


class Stop(BaseException):
    """Ends a loop from within."""


async def test_a_loop_outlives_what_fails_in_it() -> None:
    wrong: list[Exception] = [
        AwsError("Query", 503, "", ""),
        ZeroDivisionError(),
        StoreUnavailable(""),
        KeyError(),
    ]
    left = list(wrong)
    told: list[Exception] = []
    asked = 0

    def pause() -> float:
        nonlocal asked
        asked += 1
        return 0.0

    async def turn() -> None:
        raise left.pop(0) if left else Stop

    with pytest.raises(Stop):
        await repeat(pause, turn, told.append)
    assert told == [wrong[1], wrong[3]]
    assert asked == len(wrong) + 1


async def test_a_loop_that_makes_mistakes_slows_down(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    mistakes = iter([True, True, True, False, True])

    async def turn() -> None:
        mistake = next(mistakes, None)
        if mistake is None:
            raise Stop
        if mistake:
            raise ZeroDivisionError

    with pytest.raises(Stop):
        await repeat(lambda: 1.0, turn, lambda _: None)
    assert slept == [1.0, 2.0, 4.0, 5.0, 1.0, 2.0]


async def test_closing_ends_what_began_while_it_closed() -> None:
    tasks = Tasks()
    await tasks.open()
    ended: list[str] = []

    async def wait(name: str, then: str | None = None) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)
            if then is not None:
                tasks.spawn(wait(then))

    tasks.spawn(wait("first", "second"))
    # Not begun yet: it has to be, for what waits for its end.
    await asyncio.wait_for(tasks.close(), 60)
    assert ended == ["first", "second"]


async def test_whoever_waits_for_all_nodes_outlives_an_error(opened: Opened) -> None:
    refused: list[str] = []

    def answer(action: str, request: dict[str, Any]) -> Answer:
        nodes = request.get("ExpressionAttributeValues", {}).get(":kind") == {"S": "#node"}
        if action == "Query" and nodes and refused:
            return aws_error(refused.pop())
        return quiet(action, request)

    backend, _ = await opened(answer, agree_seconds_max=1_000.0, lease_beat_seconds=1_000.0)
    assert isinstance(backend.state, AwsState)
    refused.append("AccessDeniedException")
    await asyncio.wait_for(backend.state.membership.agreed(1), 60)
    assert not refused


async def test_credentials_that_cannot_be_renewed_stay() -> None:
    class Source:
        def __init__(self) -> None:
            self.broken = False

        def get_frozen_credentials(self) -> Any:
            if self.broken:
                raise botocore.exceptions.MetadataRetrievalError(error_msg="timed out")
            return type("Frozen", (), {"access_key": "a", "secret_key": "s", "token": None})

    source = Source()
    credentials = Credentials(source)
    keys = credentials.keys
    source.broken = True
    await credentials.refresh()
    assert credentials.keys is keys
