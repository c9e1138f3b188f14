"""STOMP 1.2 on chunks: durable SENDs with receipts, client-individual acknowledgements."""

from __future__ import annotations

import re

from tests.benchmarks.load import STAMP_LENGTH, Connection, Options

_DELIVERY = re.compile(rb"\nack:([^\n]*)\n(?:[^\n]+\n)*\n([0-9a-f]{16})x*\0\n?")


def _frame(data: bytes) -> int:
    """Length of the frame at the start, with line ends before and after it; 0 if incomplete."""
    end = data.find(b"\0")
    return end + 1 if end >= 0 else 0


class StompWire:
    """See `tests.benchmarks.load.Wire`."""

    confirms = True

    def __init__(self, options: Options) -> None:
        self._options = options
        padding = b"x" * (options.size - STAMP_LENGTH)
        self._heads = [
            b"SEND\ndestination:/queue/bench-%d\npersistent:true\ncontent-length:%d\nreceipt:r\n\n"
            % (number, options.size)
            for number in range(options.destinations)
        ]
        self._tail = padding + b"\0"

    async def _open(self, connection: Connection) -> None:
        connection.write(
            b"CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\n"
            b"login:guest\npasscode:guest\n\n\0"
        )
        await self._expect(connection, b"CONNECTED")

    @staticmethod
    async def _expect(connection: Connection, command: bytes) -> None:
        reply = await connection.until(_frame)
        if not reply.lstrip().startswith(command):
            raise SystemExit(f"{reply!r} where {command.decode()} was expected")

    async def open_idle(self, number: int, connection: Connection) -> None:
        """A connection that subscribes to nothing."""
        del number
        await self._open(connection)

    async def open_publisher(
        self, publisher: int, connection: Connection, destination: int
    ) -> None:
        del publisher, destination
        await self._open(connection)

    async def open_subscriber(
        self, subscriber: int, connection: Connection, destination: int
    ) -> None:
        del subscriber
        await self._open(connection)
        connection.write(
            b"SUBSCRIBE\nid:0\ndestination:/queue/bench-%d\nack:client-individual\n"
            b"prefetch-count:%d\nactivemq.prefetchSize:%d\nreceipt:s\n\n\0"
            % (destination, self._options.prefetch, self._options.prefetch)
        )
        await self._expect(connection, b"RECEIPT")

    def publishes(self, publisher: int, destination: int, stamps: list[bytes]) -> bytes:
        del publisher
        head, tail = self._heads[destination], self._tail
        return b"".join([part for stamp in stamps for part in (head, stamp, tail)])

    def confirmations(self, publisher: int, data: bytes) -> tuple[int, bytes, bytes]:
        del publisher
        end = data.rfind(b"\0") + 1
        complete = data[:end]
        if b"ERROR" in complete:
            raise SystemExit(complete.decode(errors="replace"))
        return complete.count(b"RECEIPT\n"), b"", data[end:]

    def deliveries(self, subscriber: int, data: bytes) -> tuple[list[bytes], bytes, bytes]:
        del subscriber
        stamps: list[bytes] = []
        acknowledgements: list[bytes] = []
        end = 0
        for match in _DELIVERY.finditer(data):
            acknowledgements += (b"ACK\nid:", match[1], b"\n\n\0")
            stamps.append(match[2])
            end = match.end()
        return stamps, b"".join(acknowledgements), data[end:]
