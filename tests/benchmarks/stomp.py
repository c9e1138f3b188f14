"""STOMP 1.2: durable SENDs with receipts, client-individual acknowledgements."""

from __future__ import annotations

from tests.benchmarks.frames import DIGITS, Batch, Numbers
from tests.benchmarks.link import Link, PeerFailed
from tests.benchmarks.load import Options, Reading, Taken


def _frame(data: bytes) -> int:
    """Length of the frame at the start, with line ends before and after it; 0 if incomplete."""
    end = data.find(b"\0")
    return end + 1 if end >= 0 else 0


class StompWire:
    """See `tests.benchmarks.load.Wire`."""

    confirms = True

    def __init__(self, options: Options) -> None:
        self._options = options

    def batch(self, destination: int) -> Batch:
        head = (
            b"SEND\ndestination:/queue/bench-%d\npersistent:true\ncontent-length:%d\nreceipt:r\n\n"
            % (destination, self._options.size)
        )
        return Batch(head, self._options.size, b"\0")

    def _open(self, link: Link) -> None:
        link.say(
            b"CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\n"
            b"login:guest\npasscode:guest\n\n\0"
        )
        self._expect(link, b"CONNECTED")

    @staticmethod
    def _expect(link: Link, command: bytes) -> None:
        reply = link.expect(_frame)
        if not reply.lstrip().startswith(command):
            raise PeerFailed(f"{reply!r} where {command.decode()} was expected")

    def open_idle(self, number: int, link: Link) -> None:
        """A connection that subscribes to nothing."""
        del number
        self._open(link)

    def open_publisher(self, number: int, link: Link, destination: int) -> Reading:
        del number, destination
        self._open(link)
        return Confirmations()

    def open_subscriber(
        self, number: int, link: Link, destination: int, numbers: Numbers
    ) -> Reading:
        del number
        self._open(link)
        link.say(
            b"SUBSCRIBE\nid:0\ndestination:/queue/bench-%d\nack:client-individual\n"
            b"prefetch-count:%d\nactivemq.prefetchSize:%d\nreceipt:s\n\n\0"
            % (destination, self._options.prefetch, self._options.prefetch)
        )
        self._expect(link, b"RECEIPT")
        return Deliveries(self._options.size, numbers)


class Confirmations:
    """RECEIPT frames."""

    def take(self, data: bytearray, end: int) -> Taken:
        end = data.rfind(b"\0", 0, end) + 1
        if data.find(b"ERROR\n", 0, end) >= 0:
            raise PeerFailed(data[:end].decode(errors="replace"))
        return Taken(end, data.count(b"RECEIPT\n", 0, end))


class Deliveries:
    """MESSAGE frames, each with an `ack` of its own; no NUL is in what the load publishes."""

    def __init__(self, size: int, numbers: Numbers) -> None:
        self._size = size
        self._numbers = numbers

    def take(self, data: bytearray, end: int) -> Taken:
        end = data.rfind(b"\0", 0, end) + 1
        numbers: list[bytes] = []
        replies: list[bytes] = []
        body, digits = -self._size, DIGITS - self._size
        for frame in bytes(data[: end - 1]).split(b"\0") if end else ():
            at = frame.find(b"\nack:") + 5
            if at < 5:
                raise PeerFailed(f"{frame!r} where MESSAGE was expected")
            replies += (b"ACK\nid:", frame[at : frame.index(b"\n", at)], b"\n\n\0")
            numbers.append(frame[body:digits])
        self._numbers.note(numbers)
        return Taken(end, len(numbers), b"".join(replies))
