"""An endpoint that answers AWS's JSON calls as a test tells it to: late, never, with errors.

stub = AwsStub(answer)          # answer(action, request) -> (status, value), or None: no answer
async with stub.running() as url: ...
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

Answer: TypeAlias = tuple[int, Any] | None
Answerer: TypeAlias = Callable[[str, dict[str, Any]], Answer | Awaitable[Answer]]


def aws_error(code: str, message: str = "") -> Answer:
    status = 503 if code == "ServiceUnavailable" else 400
    return status, {"__type": f"com.amazonaws.sqs#{code}", "message": message}


class AwsStub:
    """Keeps the calls that it got, as (action, request)."""

    def __init__(self, answer: Answerer) -> None:
        self.answer = answer
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._writers: set[asyncio.StreamWriter] = set()

    def requests(self, action: str) -> list[dict[str, Any]]:
        return [request for called, request in self.calls if called == action]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.close()
            for writer in self._writers:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        action = next(line for line in head if line.startswith("X-Amz-Target")).rpartition(".")[2]
        request = json.loads(body)
        self.calls.append((action, request))
        answer = self.answer(action, request)
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer is None:
            return False
        status, value = answer
        content = json.dumps(value).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(content)))
        writer.write(content)
        return True
