"""Settings of a queue that the store refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from bridge.messaging.errors import InvalidParameter, StoreUnavailable
from bridge.messaging.model import QueueSettings
from tests.bridge.backends.embedded.conftest import Reopen, refusing, with_queue
from tests.support.aws_api import running_api
from tests.support.aws_clients import client
from tests.support.stores import drain, found, message, send


def changed(queue_settings: QueueSettings, **fields: object) -> QueueSettings:
    return msgspec.structs.replace(queue_settings, **fields)


async def test_refused_settings_hold_neither_now_nor_later(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, message_ttl_ms=7_000_000)
    settings = queue.settings
    with refusing(backend, "INSERT ON queue"), pytest.raises(StoreUnavailable):
        await backend.store.change_queue(queue, changed(settings, message_ttl_ms=1))
    assert queue.settings == settings
    await send(backend.store, queue, message("x"))
    backend = await reopen()
    queue = found(backend.store)
    assert queue.settings == settings
    assert await drain(backend.store, queue) == ["x"]


async def test_settings_that_cannot_be_stored_do_not_hold(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, tags={"a": "b"})
    settings = queue.settings
    with pytest.raises(InvalidParameter):
        await backend.store.change_queue(queue, changed(settings, tags={"a": "\ud800"}))
    assert queue.settings == settings


async def test_of_changes_at_once_what_was_stored_last_comes_back(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen, delay_seconds=1)
    store = backend.store
    settings = queue.settings
    with refusing(backend, "INSERT ON queue"):
        first = asyncio.ensure_future(store.change_queue(queue, changed(settings, delay_seconds=2)))
        await asyncio.sleep(0)
        second = changed(queue.settings, delay_seconds=3)
        assert second.delay_seconds == 3
        results = await asyncio.gather(
            first, store.change_queue(queue, second), return_exceptions=True
        )
    assert [type(each) for each in results] == [StoreUnavailable, StoreUnavailable]
    assert queue.settings == settings
    await store.change_queue(queue, second)
    backend = await reopen()
    assert found(backend.store).settings == second


async def test_a_queue_that_was_deleted_meanwhile_stays_away(reopen: Reopen) -> None:
    backend, queue = await with_queue(reopen)
    store = backend.store
    with refusing(backend, "INSERT ON queue"):
        change = asyncio.ensure_future(
            store.change_queue(queue, changed(queue.settings, delay_seconds=2))
        )
        await asyncio.sleep(0)
        await asyncio.gather(change, store.delete_queue(queue), return_exceptions=True)
    assert isinstance(change.exception(), StoreUnavailable | None)
    backend = await reopen()
    assert list(backend.store.queues()) == []


def test_sqs_shows_the_settings_that_hold(tmp_path: Path) -> None:
    with running_api(tmp_path / "data", durability="os") as api:
        sqs = client(api.url, "sqs")
        url = sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "7"})["QueueUrl"]

        def shown() -> str:
            answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
            return str(answer["Attributes"]["VisibilityTimeout"])

        async def ask(text: str) -> None:
            api.backend.database.query_now(text)

        api.run(lambda: ask(_REFUSAL))
        with pytest.raises(sqs.exceptions.ClientError, match="ServiceUnavailable"):
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "9"})
        assert shown() == "7"
        api.run(lambda: ask("DROP TRIGGER refuse"))
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "8"})
        assert shown() == "8"


_REFUSAL = (
    "CREATE TRIGGER refuse BEFORE INSERT ON queue BEGIN SELECT RAISE(ABORT, 'disk full'); END"
)
