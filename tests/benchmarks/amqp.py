"""AMQP 0-9-1 on chunks: durable queues, persistent messages, confirms, manual acknowledgements."""

from __future__ import annotations

import struct
from itertools import chain

from tests.benchmarks.load import STAMP_LENGTH, Connection, Options

PROTOCOL_HEADER = b"AMQP\0\0\x09\x01"
FAN = "amq.fanout"
DELIVER, ACK = (60, 60), (60, 80)


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def _method(channel: int, number: tuple[int, int], arguments: bytes = b"") -> bytes:
    return _frame(1, channel, struct.pack(">HH", *number) + arguments)


def _whole(data: bytes, start: int = 0) -> int:
    """Where the frame at `start` ends; 0 if incomplete."""
    if len(data) < start + 7:
        return 0
    end = start + 8 + int.from_bytes(data[start + 3 : start + 7])
    return end if end <= len(data) else 0


class AmqpWire:
    """See `tests.benchmarks.load.Wire`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.confirms = options.confirms
        self._queues = [f"bench-{number}" for number in range(options.destinations)]
        self._padding = b"x" * (options.size - STAMP_LENGTH) + b"\xce"
        properties = struct.pack(
            ">HHQHB", 60, 0, options.size, 0x1000, 2 if options.persistent else 1
        )
        body = struct.pack(">BHI", 3, 1, options.size)
        self._heads = [
            _method(
                1,
                (60, 40),
                struct.pack(">H", 0)
                + _short(FAN if options.fan_out else "")
                + _short(queue)
                + b"\0",
            )
            + _frame(2, 1, properties)
            + body
            for queue in self._queues
        ]
        self._confirmed = [0] * options.publishers

    async def _expect(self, connection: Connection, number: tuple[int, int]) -> bytes:
        reply = await connection.until(_whole)
        if struct.unpack_from(">HH", reply, 7) != number:
            raise SystemExit(f"{reply!r} where {number} was expected")
        return reply

    async def open_idle(self, number: int, connection: Connection) -> None:
        """A connection with one channel."""
        del number
        await self._handshake(connection)

    async def _open(self, connection: Connection, name: str) -> None:
        await self._handshake(connection)
        queue = _short(name)
        connection.write(
            _method(1, (50, 10), struct.pack(">H", 0) + queue + b"\x02" + struct.pack(">I", 0))
        )
        await self._expect(connection, (50, 11))

    async def _handshake(self, connection: Connection) -> None:
        connection.write(PROTOCOL_HEADER)
        await self._expect(connection, (10, 10))
        plain = b"\0guest\0guest"
        connection.write(
            _method(
                0,
                (10, 11),
                struct.pack(">I", 0)
                + _short("PLAIN")
                + struct.pack(">I", len(plain))
                + plain
                + _short("en_US"),
            )
        )
        tune = await self._expect(connection, (10, 30))
        channels, frame, _ = struct.unpack_from(">HIH", tune, 11)
        connection.write(_method(0, (10, 31), struct.pack(">HIH", channels, frame, 0)))
        connection.write(_method(0, (10, 40), _short("/") + _short("") + b"\0"))
        await self._expect(connection, (10, 41))
        connection.write(_method(1, (20, 10), _short("")))
        await self._expect(connection, (20, 11))

    async def open_publisher(
        self, publisher: int, connection: Connection, destination: int
    ) -> None:
        del publisher
        if self._options.fan_out:
            await self._handshake(connection)
        else:
            await self._open(connection, self._queues[destination])
        if self.confirms:
            connection.write(_method(1, (85, 10), b"\0"))
            await self._expect(connection, (85, 11))

    async def open_subscriber(
        self, subscriber: int, connection: Connection, destination: int
    ) -> None:
        queue = self._queues[destination]
        if self._options.fan_out:
            queue = f"{queue}-{subscriber}"
        await self._open(connection, queue)
        if self._options.fan_out:
            arguments = _short(queue) + _short(FAN) + _short("") + b"\0" + struct.pack(">I", 0)
            connection.write(_method(1, (50, 20), struct.pack(">H", 0) + arguments))
            await self._expect(connection, (50, 21))
        connection.write(_method(1, (60, 10), struct.pack(">IHB", 0, self._options.prefetch, 0)))
        await self._expect(connection, (60, 11))
        connection.write(
            _method(
                1,
                (60, 20),
                struct.pack(">H", 0)
                + _short(queue)
                + _short("c")
                + (b"\x02" if self._options.automatic_acks else b"\0")
                + struct.pack(">I", 0),
            )
        )
        await self._expect(connection, (60, 21))

    def publishes(self, publisher: int, destination: int, stamps: list[bytes]) -> bytes:
        del publisher
        head, tail = self._heads[destination], self._padding
        return b"".join(chain.from_iterable((head, stamp, tail) for stamp in stamps))

    def confirmations(self, publisher: int, data: bytes) -> tuple[int, bytes, bytes]:
        start, count = 0, 0
        while end := _whole(data, start):
            if data[start] == 1 and struct.unpack_from(">HH", data, start + 7) == ACK:
                tag, multiple = struct.unpack_from(">QB", data, start + 11)
                count += tag - self._confirmed[publisher] if multiple else 1
                if multiple or tag == self._confirmed[publisher] + 1:
                    self._confirmed[publisher] = tag
            start = end
        return count, b"", data[start:]

    def deliveries(self, subscriber: int, data: bytes) -> tuple[list[bytes], bytes, bytes]:
        del subscriber
        stamps: list[bytes] = []
        tag = 0
        start = 0
        while end := _whole(data, start):
            # A message is three frames; take them together, or leave them for the next chunk.
            header = _whole(data, end)
            body = _whole(data, header) if header else 0
            if not body:
                break
            tag_at = start + 11 + 1 + data[start + 11]
            tag = int.from_bytes(data[tag_at : tag_at + 8])
            stamps.append(data[header + 7 : header + 7 + STAMP_LENGTH])
            start = body
        acknowledged = bool(stamps) and not self._options.automatic_acks
        replies = _method(1, ACK, struct.pack(">QB", tag, 1)) if acknowledged else b""
        return stamps, replies, data[start:]
