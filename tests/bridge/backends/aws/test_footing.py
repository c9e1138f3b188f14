"""State that builds upon what earlier units put there is stored after what those send."""

from __future__ import annotations

import asyncio
from typing import Any

from bridge.messaging.model import StateChange, UnitOfWork
from bridge.messaging.ports import Queue
from tests.bridge.backends.aws.conftest import Opened, quiet
from tests.support.aws_stub import Answer
from tests.support.stores import commit, make_queue, message


def row(value: bytes, *sends: tuple[Queue, str]) -> UnitOfWork:
    """A publish of QoS 2, as it were: messages, and a row that says that they were taken."""
    unit = UnitOfWork(atomic=True)
    unit.sends += [(queue, message(body)) for queue, body in sends]
    unit.state.append(StateChange("rows", "a", value))
    return unit


async def test_a_row_waits_for_what_earlier_units_send(opened: Opened) -> None:
    gate = asyncio.Event()
    written: list[str] = []
    seen = asyncio.Event()

    async def answer(action: str, request: dict[str, Any]) -> Answer:
        if action == "PutItem" and request["Item"]["kind"]["S"] == "rows":
            written.append(request["Item"]["value"]["B"])
        if action == "SendMessageBatch" and request["Entries"][0]["MessageBody"] == "slow":
            await gate.wait()
        elif action == "SendMessageBatch":
            seen.set()
        return quiet(action, request)

    backend, _ = await opened(answer)
    backend.state.own(["rows"])
    slow = await make_queue(backend.store, "slow")
    quick = await make_queue(backend.store, "quick")
    first = asyncio.ensure_future(commit(backend.store, row(b"1", (slow, "slow"))))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(commit(backend.store, row(b"12", (quick, "quick"))))
    await asyncio.sleep(0)
    third = asyncio.ensure_future(commit(backend.store, row(b"2")))
    await seen.wait()
    # What does not stand on it does not wait.
    other = UnitOfWork(atomic=True)
    other.sends.append((quick, message("other")))
    other.state.append(StateChange("rows", "b", b"x"))
    await commit(backend.store, other)
    assert len(written) == 1
    assert [each.done() for each in (first, second, third)] == [False] * 3
    gate.set()
    for each in (first, second, third):
        assert not (await each).failures
    assert backend.state.get("rows", "a") == b"2"
    assert not backend.store._footing._latest  # type: ignore[attr-defined]
