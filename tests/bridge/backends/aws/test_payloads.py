"""Claim checks: moto's SQS and S3, and messages as AWS's extended clients write and read them."""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest

from bridge.backends.aws import AwsBackend, AwsLimits, AwsOptions
from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import SystemClock
from bridge.messaging.errors import MessageTooLong, StoreUnavailable
from bridge.messaging.limits import Limits
from bridge.messaging.model import DeadLetterReason, Delivery, UnitOfWork
from bridge.messaging.ports import Queue
from tests.support.moto_server import moto_server
from tests.support.stores import consume, contents_of, delete, make_queue, message, send

BUCKET = "payloads"
NEW_CLASS = "software.amazon.payloadoffloading.PayloadS3Pointer"
OLD_CLASS = "com.amazon.sqs.javamessaging.MessageS3Pointer"


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def cloud(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Cloud code's clients: SQS and S3, with an empty bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    class Cloud:
        sqs = boto3.client("sqs", region_name="us-east-1", endpoint_url=moto_url)
        s3 = boto3.client("s3", region_name="us-east-1", endpoint_url=moto_url)

        def all_keys(self) -> list[str]:
            listed = self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
            return [each["Key"] for each in listed]

    made = Cloud()
    made.s3.create_bucket(Bucket=BUCKET)
    for key in made.all_keys():
        made.s3.delete_object(Bucket=BUCKET, Key=key)
    return made


@pytest.fixture
async def opened(
    moto_url: str, cloud: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Any]:
    name = f"t{zlib.crc32(request.node.name.encode())}"
    async with AsyncExitStack() as stack:

        async def open_one(**options: Any) -> AwsBackend:
            limits = options.pop("limits", None)
            given = {"payload_bucket": BUCKET, "payload_prefix": "lb/", **options}
            backend = AwsBackend(
                AwsOptions(
                    region="us-east-1",
                    endpoint_url=moto_url,
                    prefix=f"{name}-",
                    table=f"{name}-table",
                    **given,
                ),
                local=EmbeddedBackend(
                    tmp_path, durability="memory", clock=SystemClock(), limits=Limits()
                ),
                clock=SystemClock(),
                random=random.random,
                limits=limits,
            )
            await backend.open()
            stack.push_async_callback(backend.close)
            return backend

        yield open_one


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def test_a_payload_over_the_limit_comes_back_and_goes_with_its_message(
    opened: Any, cloud: Any
) -> None:
    backend = await opened()
    queue = await make_queue(backend.store)
    headers = {f"h{number}": number for number in range(12)}
    sent = message(b"\x00\xff" * 1_000_000, headers=headers, subject="a.b", topic="amq.topic")
    assert not (await send(backend.store, queue, sent, message("small"))).failures
    (key,) = cloud.all_keys()
    assert key.startswith("lb/")
    collector = await consume(backend.store, queue, credit=2)
    deliveries = await collector.expect(2)
    found = {len(each.message.body): each for each in deliveries}
    assert contents_of(found[2_000_000].message) == contents_of(sent)
    await delete(backend.store, *deliveries)
    await until(lambda: not cloud.all_keys())
    calls = {
        action: n for (service, action), n in backend.counters.calls.items() if service == "s3"
    }
    assert calls == {"PutObject": 1, "GetObject": 1, "DeleteObject": 1}


async def test_a_pulled_payload(opened: Any, cloud: Any) -> None:
    backend = await opened(payload_bytes_max=1_024)
    queue = await make_queue(backend.store)
    await send(backend.store, queue, message("x" * 2_000))
    (received,) = await backend.store.receive(queue, count=1)
    assert received.message.body == b"x" * 2_000
    assert received.message.headers == {}


@pytest.mark.parametrize("legacy", [False, True])
async def test_extended_clients_can_read_it(opened: Any, cloud: Any, legacy: bool) -> None:
    backend = await opened(payload_bytes_max=1_024, legacy_payload_attribute=legacy)
    queue: Any = await make_queue(backend.store)
    await send(backend.store, queue, message("ü" * 2_000, headers={"unit": "kWh"}))
    (raw,) = cloud.sqs.receive_message(QueueUrl=queue.url, MessageAttributeNames=["All"])[
        "Messages"
    ]
    name = "SQSLargePayloadSize" if legacy else "ExtendedPayloadSize"
    assert raw["MessageAttributes"][name] == {"DataType": "Number", "StringValue": "4000"}
    assert raw["MessageAttributes"]["unit"]["StringValue"] == "kWh"
    kind, pointer = json.loads(raw["Body"])
    assert kind == NEW_CLASS
    stored = cloud.s3.get_object(Bucket=pointer["s3BucketName"], Key=pointer["s3Key"])
    assert stored["Body"].read().decode() == "ü" * 2_000


@pytest.mark.parametrize("name", ["ExtendedPayloadSize", "SQSLargePayloadSize"])
@pytest.mark.parametrize("kind", [NEW_CLASS, OLD_CLASS])
@pytest.mark.parametrize("bucket", [BUCKET, None])
async def test_what_extended_clients_wrote_is_read(
    opened: Any, cloud: Any, name: str, kind: str, bucket: str | None
) -> None:
    backend = await opened(payload_bucket=bucket)
    queue: Any = await make_queue(backend.store)
    cloud.s3.put_object(Bucket=BUCKET, Key="theirs", Body="from Java")
    cloud.sqs.send_message(
        QueueUrl=queue.url,
        MessageBody=json.dumps([kind, {"s3BucketName": BUCKET, "s3Key": "theirs"}]),
        MessageAttributes={
            name: {"DataType": "Number", "StringValue": "9"},
            "unit": {"DataType": "String", "StringValue": "kWh"},
        },
    )
    (received,) = await backend.store.receive(queue, count=1)
    assert received.message.body == b"from Java"
    assert received.message.headers == {"unit": "kWh"}


async def test_what_only_looks_like_a_pointer_is_delivered(opened: Any, cloud: Any) -> None:
    backend = await opened()
    queue = await make_queue(backend.store)
    sent = message('["x", {}]', headers={"ExtendedPayloadSize": 7})
    await send(backend.store, queue, sent)
    (received,) = await backend.store.receive(queue, count=1)
    assert contents_of(received.message) == contents_of(sent)


async def test_a_payload_that_is_gone_is_dead_lettered(opened: Any, cloud: Any) -> None:
    backend = await opened(payload_bytes_max=1_024)
    queue = await make_queue(backend.store)
    dead: list[DeadLetterReason] = []

    def dead_letter(_: Any, deliveries: Any, reason: DeadLetterReason) -> UnitOfWork:
        dead.append(reason)
        unit = UnitOfWork()
        unit.deletes += deliveries
        return unit

    backend.store.use_dead_letterer(dead_letter)
    await send(backend.store, queue, message("x" * 2_000))
    (key,) = cloud.all_keys()
    cloud.s3.delete_object(Bucket=BUCKET, Key=key)
    assert await backend.store.receive(queue, count=1) == []
    assert dead == [DeadLetterReason.REJECTED]


async def test_a_group_keeps_its_order_around_a_payload(opened: Any, cloud: Any) -> None:
    backend = await opened(payload_bytes_max=1_024)
    queue = await make_queue(backend.store, "orders.fifo", fifo=True)
    bodies = ["a", "b" * 2_000, "c", "d" * 2_000, "e"]
    await send(backend.store, queue, *[message(each, group_id="g") for each in bodies])
    received = await backend.store.receive(queue, count=10)
    assert [each.message.body.decode() for each in received] == bodies


async def test_where_the_bucket_is_not_there_the_send_fails(opened: Any, cloud: Any) -> None:
    backend = await opened(payload_bucket="nowhere", payload_bytes_max=1_024)
    for name, fifo in (("q", False), ("q.fifo", True)):
        queue = await make_queue(backend.store, name, fifo=fifo)
        unit = await send(backend.store, queue, message("x" * 2_000), message("small"))
        assert list(unit.failures) == [0]
        assert isinstance(unit.failures[0], StoreUnavailable)


async def test_without_a_bucket_it_is_refused(opened: Any, cloud: Any) -> None:
    backend = await opened(payload_bucket=None)
    queue = await make_queue(backend.store)
    unit = await send(backend.store, queue, message("x" * 1_048_577))
    assert isinstance(unit.failures[0], MessageTooLong)


async def test_a_purge_takes_the_payloads_along(opened: Any, cloud: Any) -> None:
    backend = await opened(payload_bytes_max=1_024)
    queue = await make_queue(backend.store)
    await send(backend.store, queue, *[message("x" * 2_000) for _ in range(3)])
    assert len(cloud.all_keys()) == 3
    assert await backend.store.purge_queue(queue) == 3
    await until(lambda: not cloud.all_keys())


@pytest.mark.parametrize("payload", [b"x" * 3_001, b"\xff" * 3_000])
async def test_a_payload_that_is_none_is_dead_lettered(
    opened: Any, cloud: Any, payload: bytes
) -> None:
    """Whoever may send to a queue may point to anything."""
    backend = await opened(limits=AwsLimits(payload_read_bytes_max=3_000), payload_bytes_max=1_024)
    dead: list[bytes] = []

    def dead_letter(_: Queue, deliveries: Sequence[Delivery], __: DeadLetterReason) -> UnitOfWork:
        dead.extend(each.message.body for each in deliveries)
        unit = UnitOfWork()
        unit.deletes += deliveries
        return unit

    backend.store.use_dead_letterer(dead_letter)
    queue: Any = await make_queue(backend.store)
    cloud.s3.put_object(Bucket=BUCKET, Key="theirs", Body=payload)
    pointer = json.dumps([NEW_CLASS, {"s3BucketName": BUCKET, "s3Key": "theirs"}])
    size = {"ExtendedPayloadSize": {"DataType": "Number", "StringValue": "3000"}}
    cloud.sqs.send_message(QueueUrl=queue.url, MessageBody=pointer, MessageAttributes=size)
    await send(backend.store, queue, message("y" * 3_000))
    collector = await consume(backend.store, queue)
    await collector.expect(1)
    await until(lambda: dead)
    assert collector.bodies == ["y" * 3_000]
    assert dead == [pointer.encode()]


async def test_where_s3_cannot_be_used_messages_wait(opened: Any, cloud: Any) -> None:
    backend = await opened(payload_bytes_max=1_024)
    payloads = backend._node.payloads

    def none() -> Any:
        raise ValueError("no model of S3")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payloads, "_make_client", none)
        queue = await make_queue(backend.store)
        unit = await send(backend.store, queue, message("x" * 2_000))
        assert isinstance(unit.failures[0], StoreUnavailable)
        assert "no model of S3" in str(unit.failures[0])
    assert not (await send(backend.store, queue, message("x" * 2_000))).failures
