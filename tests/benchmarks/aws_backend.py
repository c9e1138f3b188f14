"""CPU per message of the AWS backend's own side, against a stub endpoint in another process.

    python -m tests.benchmarks.aws_backend [messages]

Sends through `Store.submit` in units of ten, receives through a consumer, deletes; then the same
three calls in a boto3 loop. The stub answers at once with what was made beforehand.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import boto3
import uvloop

from bridge.backends.aws import AwsBackend, AwsOptions
from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.limits import Limits
from bridge.messaging.model import Delivery, Message, QueueName, QueueSettings, UnitOfWork
from bridge.messaging.ports import Store, Subscription

BODY = b"x" * 256
UNIT = 10
WINDOW = 2_000


def _reply(value: object) -> bytes:
    content = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


def _answers() -> dict[bytes, bytes]:
    ids = [str(number) for number in range(UNIT)]
    message = {
        "MessageId": "0" * 36,
        "ReceiptHandle": "h" * 180,
        "MD5OfBody": "0" * 32,
        "Body": BODY.decode(),
        "Attributes": {
            "SenderId": "AIDA",
            "SentTimestamp": "1700000000000",
            "ApproximateReceiveCount": "1",
            "ApproximateFirstReceiveTimestamp": "1700000000001",
        },
    }
    url = {"QueueUrl": "http://127.0.0.1/000000000000/q"}
    return {
        b"SendMessageBatch": _reply(
            {
                "Successful": [
                    {"Id": each, "MessageId": "0" * 36, "MD5OfMessageBody": "0" * 32}
                    for each in ids
                ]
            }
        ),
        b"ReceiveMessage": _reply({"Messages": [message] * UNIT}),
        b"DeleteMessageBatch": _reply({"Successful": [{"Id": each} for each in ids]}),
        b"ChangeMessageVisibilityBatch": _reply({"Successful": [{"Id": each} for each in ids]}),
        b"ListQueues": _reply({}),
        b"GetQueueUrl": _reply(url),
        b"GetQueueAttributes": _reply({"Attributes": {}}),
        b"ListQueueTags": _reply({}),
        b"DescribeTable": _reply({"Table": {"TableStatus": "ACTIVE"}}),
        b"Scan": _reply({"Items": []}),
        b"Query": _reply({"Items": []}),
        b"UpdateItem": _reply({"Attributes": {"value": {"N": "1"}}}),
        b"GetItem": _reply({}),
        b"PutItem": _reply({}),
        b"DeleteItem": _reply({}),
    }


class _Stub(asyncio.Protocol):
    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._data[:end].lower()
            start = head.index(b"content-length:") + 15
            length = int(head[start : start + 12].split(b"\r\n")[0])
            if len(self._data) < end + 4 + length:
                return
            at = head.index(b"x-amz-target:") + 13
            target = self._data[at : at + 80].split(b"\r\n")[0].strip()
            self._data = self._data[end + 4 + length :]
            self._transport.write(self._answers[target.rpartition(b".")[2]])


def _serve(pipe: Connection) -> None:
    async def run() -> None:
        answers = _answers()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Stub(answers), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    uvloop.run(run())


class _Consumer:
    def __init__(self, store: Store, wanted: int) -> None:
        self._store = store
        self._wanted = wanted
        self.subscription: Subscription | None = None
        self.done = asyncio.Event()

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        unit = UnitOfWork()
        unit.deletes += deliveries
        self._store.submit(unit)
        self._wanted -= len(deliveries)
        if self._wanted <= 0:
            self.done.set()
        elif self.subscription is not None:
            self.subscription.add_credit(len(deliveries))

    def cancelled(self) -> None: ...

    def overdue(self, held_seconds: float) -> None: ...


async def _measure(url: str, count: int) -> None:
    clock, ids = SystemClock(), MessageIds()
    with tempfile.TemporaryDirectory() as directory:
        local = EmbeddedBackend(Path(directory), durability="memory", clock=clock, limits=Limits())
        backend = AwsBackend(
            AwsOptions(region="us-east-1", endpoint_url=url),
            local=local,
            clock=clock,
            random=random.random,
        )
        await backend.open()
        store = backend.store
        queue = await store.create_queue(QueueName("/", "q"), QueueSettings())
        cpu, wall = time.process_time(), time.perf_counter()
        await _send(store, queue, ids, count)
        sent_cpu, sent_wall = time.process_time() - cpu, time.perf_counter() - wall
        cpu, wall = time.process_time(), time.perf_counter()
        consumer = _Consumer(store, count)
        consumer.subscription = await store.consume(queue, consumer, credit=WINDOW)
        await consumer.done.wait()
        consumer.subscription.cancel()
        got_cpu, got_wall = time.process_time() - cpu, time.perf_counter() - wall
        print(f"send            {sent_cpu / count * 1e6:6.1f} us CPU  {count / sent_wall:8.0f}/s")
        print(f"receive, delete {got_cpu / count * 1e6:6.1f} us CPU  {count / got_wall:8.0f}/s")
        print(f"together        {(sent_cpu + got_cpu) / count * 1e6:6.1f} us CPU per message")
        hot = ("SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch")
        calls = {action: backend.counters.calls.get(("sqs", action), 0) for action in hot}
        print(f"calls per message {sum(calls.values()) / count:.3f}  {calls}")
        dollars = backend.figures()["aws_dollars_per_million_messages"]
        print(f"dollars per million messages, state included  {dollars:.3f}")
        await backend.close()


async def _send(store: Store, queue: Any, ids: MessageIds, count: int) -> None:
    left, open_units = count, 0
    wake = asyncio.Event()

    def answered(unit: UnitOfWork) -> None:
        nonlocal open_units
        assert not unit.failures, unit.failures
        open_units -= 1
        wake.set()

    while left or open_units:
        while left and open_units * UNIT < WINDOW:
            unit = UnitOfWork(answered)
            unit.sends = [(queue, Message(ids.next(), BODY, 0)) for _ in range(UNIT)]
            store.submit(unit)
            open_units += 1
            left -= UNIT
        wake.clear()
        await wake.wait()


def _boto(url: str, count: int) -> None:
    sqs = boto3.client("sqs", region_name="us-east-1", endpoint_url=url)
    queue = "http://127.0.0.1/000000000000/q"
    entries = [{"Id": str(number), "MessageBody": BODY.decode()} for number in range(UNIT)]
    handles = [{"Id": str(number), "ReceiptHandle": "h" * 180} for number in range(UNIT)]
    cpu = time.process_time()
    for _ in range(count // UNIT):
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)
        sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=UNIT, AttributeNames=["All"])
        sqs.delete_message_batch(QueueUrl=queue, Entries=handles)
    print(f"boto3 loop      {(time.process_time() - cpu) / count * 1e6:6.1f} us CPU per message")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "AKIATEST")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "secret")
    here, there = multiprocessing.Pipe()
    stub = multiprocessing.Process(target=_serve, args=(there,), daemon=True)
    stub.start()
    url = f"http://127.0.0.1:{here.recv()}"
    uvloop.run(_measure(url, count))
    _boto(url, max(UNIT, count // 50))
    stub.terminate()


if __name__ == "__main__":
    main()
