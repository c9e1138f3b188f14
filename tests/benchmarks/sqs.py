"""The SQS API over raw HTTP (AWS JSON 1.0): send, receive and delete ten at a time, in turn.

Each connection has a queue and a keep-alive socket of its own. `delivery` is from the start of a
batch's send to the end of its first receive. A rate is kept by starting turns evenly.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress

from tests.benchmarks.link import PeerFailed
from tests.benchmarks.load import Options, Result, quantile

BATCH = 10


class SqsConnection:
    """One client."""

    def __init__(self, options: Options, number: int) -> None:
        self._options = options
        self._queue = f"bench-{number}"
        self._url = ""

    async def connect(self) -> None:
        try:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self._options.port
            )
        except OSError as error:
            raise PeerFailed(f"a connection failed: {error}") from error

    async def open(self) -> None:
        """Make the queue, once connected."""
        answer = await self._call("CreateQueue", {"QueueName": self._queue})
        self._url = answer["QueueUrl"]
        entry = {"MessageBody": "x" * self._options.size}
        self._entries = [{"Id": str(number), **entry} for number in range(BATCH)]

    async def _call(self, action: str, body: dict[str, object]) -> dict[str, str]:
        data = json.dumps(body).encode()
        self._writer.write(
            b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Amz-Target: AmazonSQS.%s\r\n"
            b"Content-Type: application/x-amz-json-1.0\r\nX-Amz-Date: 20260101T000000Z\r\n"
            b"Authorization: AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/sqs/aws4_request,"
            b" SignedHeaders=host;x-amz-date, Signature=00\r\nContent-Length: %d\r\n\r\n"
            % (self._options.port, action.encode(), len(data))
            + data
        )
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            answer = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise PeerFailed(f"it closed a connection: {error}") from error
        status = head.split(b" ", 2)[1]
        if b"\r\nconnection: close\r\n" in head.lower() or head.startswith(b"HTTP/1.0"):
            self._writer.close()
            await self.connect()
        if status != b"200":
            raise PeerFailed(f"{action}: {answer.decode(errors='replace')}")
        decoded: dict[str, str] = json.loads(answer or b"{}")
        return decoded

    async def turn(self) -> tuple[int, int]:
        """Send ten, receive ten, delete them; nanoseconds of the send and until the receipt."""
        begin = time.monotonic_ns()
        await self._call("SendMessageBatch", {"QueueUrl": self._url, "Entries": self._entries})
        sent = time.monotonic_ns()
        received, delivered = 0, 0
        while received < BATCH:
            answer = await self._call(
                "ReceiveMessage", {"QueueUrl": self._url, "MaxNumberOfMessages": BATCH}
            )
            messages: list[dict[str, str]] = answer.get("Messages", [])  # type: ignore[assignment]
            if received == 0:
                delivered = time.monotonic_ns()
            received += len(messages)
            entries = [
                {"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]}
                for number, each in enumerate(messages)
            ]
            if entries:
                await self._call("DeleteMessageBatch", {"QueueUrl": self._url, "Entries": entries})
        return sent - begin, delivered - begin

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class SqsLoad:
    """One run; see `tests.benchmarks.load.Load`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._sends: list[tuple[int, int]] = []
        self._receives: list[tuple[int, int]] = []
        self._measuring = False
        self._stopping = False

    async def run(self, started: Callable[[], None], ended: Callable[[], None]) -> Result:
        connections: list[SqsConnection] = []
        try:
            for number in range(self._options.publishers):
                connection = SqsConnection(self._options, number)
                await connection.connect()
                connections.append(connection)
                await connection.open()
            return await self._measure(connections, started, ended)
        finally:
            for connection in connections:
                await connection.close()

    async def _measure(
        self,
        connections: list[SqsConnection],
        started: Callable[[], None],
        ended: Callable[[], None],
    ) -> Result:
        async with asyncio.TaskGroup() as tasks:
            for connection in connections:
                tasks.create_task(self._work(connection))
            await asyncio.sleep(self._options.warmup_seconds)
            self._measuring = True
            started()
            begin = time.monotonic()
            await asyncio.sleep(self._options.duration_seconds)
            ended()
            elapsed = time.monotonic() - begin
            self._measuring, self._stopping = False, True
        rate = len(self._receives) * BATCH / elapsed
        return Result(
            received_per_second=rate,
            confirmed_per_second=rate,
            delivery_p50=quantile(self._receives, 0.5),
            delivery_p99=quantile(self._receives, 0.99),
            confirm_p50=quantile(self._sends, 0.5),
            confirm_p99=quantile(self._sends, 0.99),
            lost=0,
        )

    async def _work(self, connection: SqsConnection) -> None:
        options = self._options
        interval = options.publishers * BATCH / options.rate if options.rate else 0.0
        due = time.monotonic()
        while not self._stopping:
            if interval:
                due += interval
                await asyncio.sleep(max(due - time.monotonic(), 0.0))
            send, receive = await connection.turn()
            if self._measuring:
                self._sends.append((send, BATCH))
                self._receives.append((receive, BATCH))
