"""MQTT 3.1.1 on chunks, QoS 0, 1 and 2; subscribers of QoS 1 and 2 keep a persistent session."""

from __future__ import annotations

import asyncio
from itertools import chain

from tests.benchmarks.load import STAMP_LENGTH, Connection, Options

PUBACK, PUBREC, PUBREL, PUBCOMP = 0x40, 0x50, 0x62, 0x70
PUBLISH = 0x30
PACKET_IDS = 60_000


def _string(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(2) + raw


def _packet(kind: int, body: bytes) -> bytes:
    length = len(body)
    digits = bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | 0x80 if length else digit)
        if not length:
            return bytes([kind]) + bytes(digits) + body


def _whole(data: bytes, start: int = 0) -> tuple[int, int]:
    """Where the packet at `start` has its body, and where it ends; (0, 0) if incomplete."""
    length, shift, at = 0, 0, start + 1
    while at < len(data):
        length |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            end = at + length
            return (at, end) if end <= len(data) else (0, 0)
    return 0, 0


class MqttWire:
    """See `tests.benchmarks.load.Wire`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.confirms = options.qos > 0
        self._topics = [f"bench/{number}" for number in range(options.destinations)]
        padding = b"x" * (options.size - STAMP_LENGTH)
        kind = PUBLISH | options.qos << 1
        identifier = b"\0\0" if options.qos else b""
        self._frames = [
            _packet(kind, _string(topic) + identifier + b"0" * STAMP_LENGTH + padding)
            for topic in self._topics
        ]
        self._padding = padding
        self._heads = [
            frame[: len(frame) - options.size - len(identifier)] for frame in self._frames
        ]
        self._ids = [0] * max(options.publishers, 1)

    async def _open(self, connection: Connection, name: str, *, clean: bool) -> None:
        flags = b"\x02" if clean else b"\0"
        body = _string("MQTT") + b"\x04" + flags + (0).to_bytes(2) + _string(name)
        connection.write(_packet(0x10, body))
        reply = await connection.until(lambda data: _whole(data)[1])
        if reply[0] != 0x20 or reply[3] != 0:
            raise SystemExit(f"{reply!r} where CONNACK was expected")

    async def _forget(self, name: str) -> None:
        """Drop the session that an earlier run left, with what is queued in it."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self._options.port)
        await self._open(connection, name, clean=True)
        connection.write(_packet(0xE0, b""))
        assert connection.transport is not None
        connection.transport.close()

    async def open_idle(self, number: int, connection: Connection) -> None:
        """A clean session that subscribes to nothing."""
        await self._open(connection, f"bench-idle-{number}", clean=True)

    async def open_publisher(
        self, publisher: int, connection: Connection, destination: int
    ) -> None:
        del destination
        await self._open(connection, f"bench-pub-{publisher}", clean=True)

    async def open_subscriber(
        self, subscriber: int, connection: Connection, destination: int
    ) -> None:
        name = f"bench-sub-{subscriber}"
        await self._forget(name)
        await self._open(connection, name, clean=self._options.qos == 0)
        body = b"\0\1" + _string(self._topics[destination]) + bytes([self._options.qos])
        connection.write(_packet(0x82, body))
        reply = await connection.until(lambda data: _whole(data)[1])
        if reply[0] != 0x90:
            raise SystemExit(f"{reply!r} where SUBACK was expected")

    def publishes(self, publisher: int, destination: int, stamps: list[bytes]) -> bytes:
        head, padding = self._heads[destination], self._padding
        if not self._options.qos:
            return b"".join(chain.from_iterable((head, stamp, padding) for stamp in stamps))
        number = self._ids[publisher]
        parts: list[bytes] = []
        for stamp in stamps:
            number = number % PACKET_IDS + 1
            parts += (head, number.to_bytes(2), stamp, padding)
        self._ids[publisher] = number
        return b"".join(parts)

    def confirmations(self, publisher: int, data: bytes) -> tuple[int, bytes, bytes]:
        del publisher
        end = len(data) - len(data) % 4
        kinds = data[0:end:4]
        count = kinds.count(PUBACK) + kinds.count(PUBCOMP)
        replies = b""
        if PUBREC in kinds:
            replies = b"".join(
                b"\x62\x02" + data[at + 2 : at + 4] for at in range(0, end, 4) if data[at] == PUBREC
            )
        return count, replies, data[end:]

    def deliveries(self, subscriber: int, data: bytes) -> tuple[list[bytes], bytes, bytes]:
        del subscriber
        stamps: list[bytes] = []
        replies: list[bytes] = []
        start, size = 0, self._options.size
        while start < len(data):
            body, end = _whole(data, start)
            if not end:
                break
            kind = data[start]
            if kind & 0xF0 == PUBLISH:
                at = end - size
                stamps.append(data[at : at + STAMP_LENGTH])
                qos = kind >> 1 & 3
                if qos:
                    replies += (b"\x40\x02" if qos == 1 else b"\x50\x02", data[at - 2 : at])
            elif kind == PUBREL:
                replies += (b"\x70\x02", data[body : body + 2])
            start = end
        return stamps, b"".join(replies), data[start:]
