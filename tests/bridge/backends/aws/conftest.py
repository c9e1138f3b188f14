"""An AWS backend in front of a stub that answers as the test says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bridge.api import ApiOptions
from bridge.backends.aws import AwsBackend, AwsLimits, AwsOptions
from bridge.backends.aws.queues import AwsQueue
from bridge.backends.aws.store import AwsStore
from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import Clock, SystemClock
from bridge.messaging.limits import Limits
from bridge.messaging.ports import Queue
from tests.support.aws_api import running_api
from tests.support.aws_nodes import Cloud, table_name
from tests.support.aws_stub import Answer, Answerer, AwsStub, aws_error
from tests.support.moto_server import moto_server

QUICK = AwsLimits(
    retry_delay_seconds=0.001,
    retry_delay_seconds_max=0.01,
    close_seconds_max=10.0,
    poll_wait_seconds=1,
)
AT_MOTO = AwsLimits(
    poll_wait_seconds=1,
    duty_retry_seconds=0.05,
    sweep_seconds_min=0.05,
    length_look_seconds=0.05,
)
URL = "http://aws/000000000000/"

OpenNode = Callable[..., Awaitable[AwsBackend]]
Opened = Callable[..., Awaitable[tuple[AwsBackend, AwsStub]]]


def in_sqs(queue: Queue | None) -> AwsQueue:
    """A queue as what it is behind the port."""
    assert isinstance(queue, AwsQueue)
    return queue


def store_of(backend: AwsBackend) -> AwsStore:
    """The same of a store."""
    assert isinstance(backend.store, AwsStore)
    return backend.store


def quiet(action: str, request: dict[str, Any]) -> Answer:
    """An account without messages, that knows every queue and takes everything."""
    match action:
        case "DescribeTable":
            return 200, {"Table": {"TableStatus": "ACTIVE"}}
        case "GetQueueUrl":
            return 200, {"QueueUrl": URL + request["QueueName"]}
        case "GetQueueAttributes" if request["QueueUrl"].endswith(".fifo"):
            return 200, {"Attributes": {"FifoQueue": "true"}}
        case "SendMessageBatch":
            entries = request["Entries"]
            sent = [{"Id": each["Id"], "MessageId": f"m{each['Id']}"} for each in entries]
            return 200, {"Successful": sent}
        case "DeleteMessageBatch" | "ChangeMessageVisibilityBatch":
            return 200, {"Successful": [{"Id": each["Id"]} for each in request["Entries"]]}
        case _:
            return 200, {}


def empty_account(action: str, request: dict[str, Any]) -> Answer:
    """The same without queues."""
    if action == "GetQueueUrl":
        return aws_error("QueueDoesNotExist")
    if action == "CreateQueue":
        return 200, {"QueueUrl": URL + request["QueueName"]}
    return quiet(action, request)


def received(*bodies: str, count: int = 1) -> Answer:
    """What ReceiveMessage answers."""
    messages = [
        {
            "MessageId": f"id-{body}",
            "ReceiptHandle": f"handle-{body}",
            "Body": body,
            "Attributes": {"ApproximateReceiveCount": str(count), "SentTimestamp": "1"},
        }
        for body in bodies
    ]
    return 200, {"Messages": messages}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of the program: what it hands out differs from asyncio's in small things."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opened]:
    """Open a backend in front of a stub; `answer` may leave the rest to `quiet`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with AsyncExitStack() as stack:

        async def open_one(
            answer: Answerer = quiet, options: AwsOptions | None = None, **bounds: Any
        ) -> tuple[AwsBackend, AwsStub]:
            stub = AwsStub(answer)
            url = await stack.enter_async_context(stub.running())
            given = options or AwsOptions(region="us-east-1")
            backend = AwsBackend(
                replace(given, endpoint_url=url),
                local=EmbeddedBackend(
                    tmp_path, durability="memory", clock=SystemClock(), limits=Limits()
                ),
                clock=SystemClock(),
                random=random.random,
                limits=replace(QUICK, **bounds),
            )
            await backend.open()
            stack.push_async_callback(backend.close)
            return backend, stub

        yield open_one


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
async def node(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[OpenNode]:
    """Open one more node on the test's own table."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    table = "".join(each if each.isalnum() else "-" for each in request.node.name)[:100]
    async with AsyncExitStack() as stack:
        number = 0

        async def open_one(
            limits: AwsLimits | None = None, clock: Clock | None = None
        ) -> AwsBackend:
            nonlocal number
            number += 1
            backend = AwsBackend(
                AwsOptions(
                    region="us-east-1",
                    endpoint_url=moto_url,
                    table=table,
                    prefix=table[-40:] + "-",
                ),
                local=EmbeddedBackend(
                    tmp_path / str(number),
                    durability="memory",
                    clock=SystemClock(),
                    limits=Limits(),
                ),
                clock=clock or SystemClock(),
                random=random.random,
                limits=limits,
            )
            await backend.open()
            stack.push_async_callback(backend.close)
            return backend

        yield open_one


@pytest.fixture
def opened_at_moto(node: OpenNode) -> Callable[..., Awaitable[AwsBackend]]:
    """Open one more node, with short times and other bounds."""

    async def open_one(**bounds: Any) -> AwsBackend:
        return await node(replace(AT_MOTO, **bounds))

    return open_one


@pytest.fixture(params=["moto", "own"])
async def aws(
    request: pytest.FixtureRequest,
    moto_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Cloud]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    if request.param == "moto":
        yield Cloud(moto_url, moto_url, nodes, table_name())
        return
    options = ApiOptions(name_reuse_seconds=0, purge_interval_seconds=0)
    with running_api(tmp_path / "api", options) as api:
        yield Cloud(api.url, moto_url, nodes, table_name())
