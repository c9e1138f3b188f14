"""Coroutines that are run step by step, without a task."""

from __future__ import annotations

import asyncio

from bridge.net.http_messages import HttpResponse
from bridge.net.steps import Steps


def future() -> asyncio.Future[int]:
    return asyncio.get_running_loop().create_future()


async def response_after(*waits: asyncio.Future[int]) -> HttpResponse:
    return HttpResponse(200 + sum([await each for each in waits]))


async def test_without_a_wait_the_response_is_there_at_once() -> None:
    answers: list[HttpResponse] = []
    response = Steps(response_after()).start(answers.append)
    assert response is not None
    assert response.status == 200
    assert answers == []


async def test_each_future_brings_it_one_step_on() -> None:
    first, second = future(), future()
    answered = future()
    steps = Steps(response_after(first, second))
    assert steps.start(lambda response: answered.set_result(response.status)) is None
    first.set_result(1)
    await asyncio.sleep(0)
    assert not answered.done()
    second.set_result(2)
    assert await answered == 203


async def test_a_future_that_has_come_already() -> None:
    first = future()
    first.set_result(3)
    response = Steps(response_after(first)).start(lambda _: None)
    assert response is not None
    assert response.status == 203


async def test_a_cancelled_one_cleans_up_and_answers_nobody() -> None:
    waiting, cleaning = future(), future()
    cleaned = future()

    async def coroutine() -> HttpResponse:
        try:
            return await response_after(waiting)
        finally:
            cleaned.set_result(await cleaning)

    answers: list[HttpResponse] = []
    steps = Steps(coroutine())
    assert steps.start(answers.append) is None
    steps.cancel()
    waiting.set_result(1)
    cleaning.set_result(7)
    assert await cleaned == 7
    assert answers == []


async def test_cancelling_before_the_start_runs_nothing() -> None:
    Steps(response_after()).cancel()


async def test_giving_way_to_others_is_a_step() -> None:
    answered = future()

    async def coroutine() -> HttpResponse:
        await asyncio.sleep(0)
        return HttpResponse(204)

    steps = Steps(coroutine())
    assert steps.start(lambda response: answered.set_result(response.status)) is None
    assert await answered == 204
    steps = Steps(coroutine())
    answers: list[HttpResponse] = []
    assert steps.start(answers.append) is None
    steps.cancel()
    await asyncio.sleep(0)
    assert answers == []
