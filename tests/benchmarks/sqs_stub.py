"""A fast endpoint with queues in memory, in a process of its own: what SQS does, and no more.

with stub(delay_seconds=0.01) as url: ...

A call is answered `delay_seconds` after it came: SQS takes about ten milliseconds. A poll that
finds nothing is answered with the next message. With `scatter_seconds`, the messages of a batch are
not there at once, but one after another, at random times within that many seconds. Of DynamoDB and
SNS there is only what lets a node start; each node on it believes that it is alone.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection
from random import Random
from time import time
from typing import Any, Final

import msgspec
import uvloop


class _Entry(msgspec.Struct, rename="pascal"):
    id: str
    message_body: str = ""
    message_attributes: msgspec.Raw = msgspec.Raw(b"{}")


class _Request(msgspec.Struct, rename="pascal"):
    queue_url: str = ""
    queue_name: str = ""
    entries: list[_Entry] = []
    max_number_of_messages: int = 1
    wait_time_seconds: int = 0


class _System(msgspec.Struct, rename="pascal"):
    sent_timestamp: str
    approximate_receive_count: str = "1"
    approximate_first_receive_timestamp: str = "1700000000001"
    sender_id: str = "AIDA"


class _Message(msgspec.Struct, rename="pascal"):
    message_id: str
    receipt_handle: str
    body: str
    attributes: _System
    message_attributes: msgspec.Raw


FIXED: Final = {
    b"ListQueues": b"{}",
    b"ListQueueTags": b"{}",
    b"GetQueueAttributes": b'{"Attributes":{}}',
    b"DescribeTable": b'{"Table":{"TableStatus":"ACTIVE"}}',
    b"Scan": b'{"Items":[]}',
    b"Query": b'{"Items":[]}',
    b"UpdateItem": b'{"Attributes":{"value":{"N":"1"}}}',
}
"""Answers that are always the same; all others are empty."""

_decode: Final = msgspec.json.Decoder(_Request).decode
_encode: Final = msgspec.json.Encoder().encode
_HANDLE: Final = "h" * 140


class _Poll:
    def __init__(self, connection: _Connection, wanted: int) -> None:
        self.connection = connection
        self.wanted = wanted
        self.timer: asyncio.TimerHandle | None = None


class _Queue:
    def __init__(self) -> None:
        self.messages: deque[_Message] = deque()
        self.polls: deque[_Poll] = deque()

    def hand_out(self) -> None:
        while self.messages and self.polls:
            poll = self.polls.popleft()
            if poll.timer is not None:
                poll.timer.cancel()
            some = [self.messages.popleft() for _ in range(min(poll.wanted, len(self.messages)))]
            poll.connection.reply(b'{"Messages":%b}' % _encode(some))

    def give_up(self, poll: _Poll) -> None:
        self.polls.remove(poll)
        poll.connection.reply(b"{}")


class _Endpoint:
    def __init__(self, delay_seconds: float, scatter_seconds: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.delay_seconds = delay_seconds
        self._scatter_seconds = scatter_seconds
        self._random = Random(1)
        self._queues: dict[str, _Queue] = {}
        self._numbers = count(1)

    def answer(self, connection: _Connection, action: bytes, body: bytes) -> None:
        match action:
            case b"SendMessageBatch":
                request = _decode(body)
                connection.reply(self._send(request))
                self._queue(request).hand_out()
            case b"ReceiveMessage":
                self._receive(connection, _decode(body))
            case b"DeleteMessageBatch" | b"ChangeMessageVisibilityBatch":
                done = [{"Id": each.id} for each in _decode(body).entries]
                connection.reply(_encode({"Successful": done}))
            case b"GetQueueUrl" | b"CreateQueue":
                url = f"http://127.0.0.1/000000000000/{_decode(body).queue_name}"
                connection.reply(_encode({"QueueUrl": url}))
            case _:
                connection.reply(FIXED.get(action, b"{}"))

    def _queue(self, request: _Request) -> _Queue:
        return self._queues.setdefault(request.queue_url, _Queue())

    def _send(self, request: _Request) -> bytes:
        queue, system = self._queue(request), _System(str(int(time() * 1000)))
        sent = []
        for entry in request.entries:
            number = next(self._numbers)
            message_id = f"{number:036d}"
            message = _Message(
                message_id,
                f"{_HANDLE}{number:040d}",
                entry.message_body,
                system,
                entry.message_attributes,
            )
            if self._scatter_seconds:
                wait = self._random.random() * self._scatter_seconds
                self.loop.call_later(wait, self._appear, queue, message)
            else:
                queue.messages.append(message)
            sent.append({"Id": entry.id, "MessageId": message_id, "MD5OfMessageBody": "0" * 32})
        return _encode({"Successful": sent})

    @staticmethod
    def _appear(queue: _Queue, message: _Message) -> None:
        queue.messages.append(message)
        queue.hand_out()

    def _receive(self, connection: _Connection, request: _Request) -> None:
        queue = self._queue(request)
        poll = _Poll(connection, request.max_number_of_messages)
        queue.polls.append(poll)
        queue.hand_out()
        if poll in queue.polls:
            poll.timer = self.loop.call_later(request.wait_time_seconds, queue.give_up, poll)


class _Connection(asyncio.Protocol):
    def __init__(self, endpoint: _Endpoint) -> None:
        self._endpoint = endpoint
        self._data = b""
        self._transport: Any = None

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
            body = self._data[end + 4 : end + 4 + length]
            at = head.find(b"x-amz-target:") + 13
            target = self._data[at : at + 80].split(b"\r\n")[0].strip()
            self._data = self._data[end + 4 + length :]
            self._come(target.rpartition(b".")[2], body)

    def _come(self, action: bytes, body: bytes) -> None:
        """Half of the delay is the way here, the other half the way back."""
        endpoint = self._endpoint
        if endpoint.delay_seconds:
            endpoint.loop.call_later(
                endpoint.delay_seconds / 2, endpoint.answer, self, action, body
            )
        else:
            endpoint.answer(self, action, body)

    def reply(self, content: bytes) -> None:
        endpoint = self._endpoint
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
        if endpoint.delay_seconds:
            endpoint.loop.call_later(endpoint.delay_seconds / 2, self._transport.write, answer)
        else:
            self._transport.write(answer)


def _serve(pipe: Connection, delay_seconds: float, scatter_seconds: float) -> None:
    async def run() -> None:
        endpoint = _Endpoint(delay_seconds, scatter_seconds)
        server = await endpoint.loop.create_server(lambda: _Connection(endpoint), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    uvloop.run(run())


@contextmanager
def stub(delay_seconds: float = 0.0, scatter_seconds: float = 0.0) -> Iterator[str]:
    """Run it; gives its URL."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(
        target=_serve, args=(there, delay_seconds, scatter_seconds), daemon=True
    )
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()
