"""A STOMP 1.2 client of a few lines on asyncio streams: for tests that count frames."""

from __future__ import annotations

import asyncio
from typing import NamedTuple


class Frame(NamedTuple):
    command: str
    headers: dict[str, str]
    body: bytes


class StompClient:
    """One connection; every wait ends after `TIMEOUT_SECONDS`."""

    TIMEOUT_SECONDS = 60

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int, **headers: str) -> StompClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = cls(reader, writer)
        client.send("CONNECT", {"accept-version": "1.2", "host": "/", **headers})
        frame = await client.receive()
        assert frame.command == "CONNECTED", frame
        return client

    def send(self, command: str, headers: dict[str, str], body: bytes = b"") -> None:
        head = "".join(f"{name}:{value}\n" for name, value in headers.items())
        self._writer.write(f"{command}\n{head}\n".encode() + body + b"\0")

    async def receive(self) -> Frame:
        """The next frame. Raises ConnectionError or EOFError when the broker is gone."""
        async with asyncio.timeout(self.TIMEOUT_SECONDS):
            data = (await self._reader.readuntil(b"\0")).lstrip(b"\n")
        head, _, body = data[:-1].partition(b"\n\n")
        command, *lines = head.decode().split("\n")
        return Frame(command, dict(line.split(":", 1) for line in lines), body)

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return
