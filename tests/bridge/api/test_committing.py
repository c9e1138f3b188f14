"""Outcomes that end with a commit, answered from its callback or awaited."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from bridge.api.committing import CommittedResponse, Committing
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.model import UnitOfWork
from bridge.messaging.ports import Store
from bridge.net.http_messages import HttpResponse


class OpenUnits:
    """A store that commits nothing before it is told to."""

    def __init__(self) -> None:
        self.units: list[UnitOfWork] = []

    def submit(self, unit: UnitOfWork) -> None:
        self.units.append(unit)

    def answer(self, error: StoreUnavailable | None = None) -> None:
        unit = self.units.pop()
        unit.error = error
        assert unit.done is not None
        unit.done(unit)


def outcome_at(store: OpenUnits) -> Committing[str]:
    return Committing(cast("Store", store), UnitOfWork(), lambda _: "done")


def response_to(outcome: Committing[Any]) -> HttpResponse:
    return HttpResponse(503 if outcome.unit.error else 200)


def test_the_commit_brings_the_answer() -> None:
    store, answers = OpenUnits(), list[HttpResponse]()
    response = CommittedResponse(outcome_at(store), response_to)
    assert response.start(answers.append) is None
    assert answers == []
    store.answer()
    assert [each.status for each in answers] == [200]


def test_the_answer_of_a_commit_that_failed() -> None:
    store, answers = OpenUnits(), list[HttpResponse]()
    CommittedResponse(outcome_at(store), response_to).start(answers.append)
    store.answer(StoreUnavailable("disk full"))
    assert [each.status for each in answers] == [503]


def test_who_has_gone_is_not_answered() -> None:
    store, answers = OpenUnits(), list[HttpResponse]()
    response = CommittedResponse(outcome_at(store), response_to)
    response.start(answers.append)
    response.cancel()
    store.answer()
    assert answers == []


async def test_awaited_it_is_the_result() -> None:
    store = OpenUnits()

    async def wait() -> str:
        return await outcome_at(store)

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        store.answer()
    assert waiting.result() == "done"


async def test_awaited_it_raises_what_failed_the_commit() -> None:
    store = OpenUnits()
    asyncio.get_running_loop().call_soon(lambda: store.answer(StoreUnavailable("disk full")))
    with pytest.raises(StoreUnavailable, match="disk full"):
        await outcome_at(store)
