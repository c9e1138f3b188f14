"""AMQP 0-9-1: durable queues; confirms and manual acknowledgements, or neither."""

from __future__ import annotations

import struct

from tests.benchmarks.frames import DIGITS, Batch, Numbers
from tests.benchmarks.link import Link, PeerFailed
from tests.benchmarks.load import Options, Reading, Taken

PROTOCOL_HEADER = b"AMQP\0\0\x09\x01"
FAN = "amq.fanout"
DELIVER, ACK = (60, 60), (60, 80)
_ACK = struct.Struct(">BHIHHQBB")
"""A whole frame of basic.ack: type, channel, length, class, method, tag, multiple, end."""


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def _method(channel: int, number: tuple[int, int], arguments: bytes = b"") -> bytes:
    return _frame(1, channel, struct.pack(">HH", *number) + arguments)


def _whole(data: bytes | bytearray, start: int = 0, stop: int | None = None) -> int:
    """Where the frame at `start` ends; 0 if incomplete."""
    stop = len(data) if stop is None else stop
    if stop < start + 7:
        return 0
    end = start + 8 + int.from_bytes(data[start + 3 : start + 7])
    return end if end <= stop else 0


class AmqpWire:
    """See `tests.benchmarks.load.Wire`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.confirms = options.confirms
        self._queues = [f"bench-{number}" for number in range(options.destinations)]

    def batch(self, destination: int) -> Batch:
        options = self._options
        exchange = _short(FAN if options.fan_out else "")
        arguments = struct.pack(">H", 0) + exchange + _short(self._queues[destination]) + b"\0"
        mode = 2 if options.persistent else 1
        properties = struct.pack(">HHQHB", 60, 0, options.size, 0x1000, mode)
        body = struct.pack(">BHI", 3, 1, options.size)
        head = _method(1, (60, 40), arguments) + _frame(2, 1, properties) + body
        return Batch(head, options.size, b"\xce")

    def _expect(self, link: Link, number: tuple[int, int]) -> bytes:
        reply = link.expect(_whole)
        if struct.unpack_from(">HH", reply, 7) != number:
            raise PeerFailed(f"{reply!r} where {number} was expected")
        return reply

    def open_idle(self, number: int, link: Link) -> None:
        """A connection with one channel."""
        del number
        self._handshake(link)

    def _open(self, link: Link, name: str) -> None:
        self._handshake(link)
        queue = _short(name)
        link.say(
            _method(1, (50, 10), struct.pack(">H", 0) + queue + b"\x02" + struct.pack(">I", 0))
        )
        self._expect(link, (50, 11))

    def _handshake(self, link: Link) -> None:
        link.say(PROTOCOL_HEADER)
        self._expect(link, (10, 10))
        plain = b"\0guest\0guest"
        link.say(
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
        tune = self._expect(link, (10, 30))
        channels, frame, _ = struct.unpack_from(">HIH", tune, 11)
        link.say(_method(0, (10, 31), struct.pack(">HIH", channels, frame, 0)))
        link.say(_method(0, (10, 40), _short("/") + _short("") + b"\0"))
        self._expect(link, (10, 41))
        link.say(_method(1, (20, 10), _short("")))
        self._expect(link, (20, 11))

    def open_publisher(self, number: int, link: Link, destination: int) -> Reading:
        del number
        if self._options.fan_out:
            self._handshake(link)
        else:
            self._open(link, self._queues[destination])
        if self.confirms:
            link.say(_method(1, (85, 10), b"\0"))
            self._expect(link, (85, 11))
        return Confirmations()

    def open_subscriber(
        self, number: int, link: Link, destination: int, numbers: Numbers
    ) -> Reading:
        queue = self._queues[destination]
        if self._options.fan_out:
            queue = f"{queue}-{number}"
        self._open(link, queue)
        # What an earlier run left.
        link.say(_method(1, (50, 30), struct.pack(">H", 0) + _short(queue) + b"\0"))
        self._expect(link, (50, 31))
        if self._options.fan_out:
            arguments = _short(queue) + _short(FAN) + _short("") + b"\0" + struct.pack(">I", 0)
            link.say(_method(1, (50, 20), struct.pack(">H", 0) + arguments))
            self._expect(link, (50, 21))
        link.say(_method(1, (60, 10), struct.pack(">IHB", 0, self._options.prefetch, 0)))
        self._expect(link, (60, 11))
        automatic = self._options.automatic_acks
        link.say(
            _method(
                1,
                (60, 20),
                struct.pack(">H", 0)
                + _short(queue)
                + _short("c")
                + (b"\x02" if automatic else b"\0")
                + struct.pack(">I", 0),
            )
        )
        self._expect(link, (60, 21))
        return Deliveries(self._options.size, numbers, automatic_acks=automatic)


class Confirmations:
    """basic.ack, of one message or of all up to one."""

    def __init__(self) -> None:
        self._up_to = 0
        self._single: set[int] = set()

    def take(self, data: bytearray, end: int) -> Taken:
        end -= end % _ACK.size
        before = self._up_to + len(self._single)
        for _, _, _, class_id, method, tag, multiple, _ in _ACK.iter_unpack(memoryview(data)[:end]):
            if (class_id, method) != ACK:
                raise PeerFailed(f"{bytes(data[:end])!r} where basic.ack was expected")
            if not multiple:
                self._single.add(tag)
            else:
                self._up_to = tag
                if self._single:
                    self._single = {each for each in self._single if each > tag}
            while self._up_to + 1 in self._single:
                self._up_to += 1
                self._single.remove(self._up_to)
        return Taken(end, self._up_to + len(self._single) - before)


class Deliveries:
    """Three frames each, of the same lengths from message to message."""

    def __init__(self, size: int, numbers: Numbers, *, automatic_acks: bool) -> None:
        self._size = size
        self._numbers = numbers
        self._automatic_acks = automatic_acks
        self._length = 0
        self._head = b""
        """Up to the delivery tag, which follows the consumer tag."""

    def take(self, data: bytearray, end: int) -> Taken:
        if not self._length and not self._learn(data, end):
            return Taken(0, 0)
        length, head = self._length, self._head
        count = end // length
        if not count:
            return Taken(0, 0)
        end = count * length
        if any(not data.startswith(head, at) for at in range(0, end, length)):
            raise PeerFailed("something else where a delivery was expected")
        at = length - 1 - self._size
        if not self._numbers.note_frames(data, at, length, count):
            starts = range(at, end, length)
            self._numbers.note([bytes(data[start : start + DIGITS]) for start in starts])
        if self._automatic_acks:
            return Taken(end, count)
        tag_at = end - length + len(head)
        tag = int.from_bytes(data[tag_at : tag_at + 8])
        return Taken(end, count, _method(1, ACK, struct.pack(">QB", tag, 1)))

    def _learn(self, data: bytearray, end: int) -> bool:
        """See how long a delivery is; False while none is complete."""
        header = _whole(data, 0, end)
        body = _whole(data, header, end) if header else 0
        self._length = _whole(data, body, end) if body else 0
        if not self._length:
            return False
        if struct.unpack_from(">HH", data, 7) != DELIVER:
            raise PeerFailed(f"{bytes(data[:end])!r} where basic.deliver was expected")
        self._head = bytes(data[: 12 + data[11]])
        return True
