"""MQTT 3.1.1, QoS 0, 1 and 2; subscribers of QoS 1 and 2 keep a persistent session."""

from __future__ import annotations

from contextlib import closing

from tests.benchmarks.frames import Batch, Numbers
from tests.benchmarks.link import Link, PeerFailed
from tests.benchmarks.load import Options, Reading, Taken

PUBACK, PUBREC, PUBREL, PUBCOMP = 0x40, 0x50, 0x62, 0x70
PUBLISH = 0x30


def _string(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(2) + raw


def _packet(kind: int, body: bytes) -> bytes:
    return _head(kind, len(body)) + body


def _head(kind: int, length: int) -> bytes:
    digits = bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | 0x80 if length else digit)
        if not length:
            return bytes([kind]) + bytes(digits)


def _whole(data: bytes) -> int:
    """Where the first packet ends; 0 if incomplete."""
    length, shift, at = 0, 0, 1
    while at < len(data):
        length |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            end = at + length
            return end if end <= len(data) else 0
    return 0


class MqttWire:
    """See `tests.benchmarks.load.Wire`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.confirms = options.qos > 0
        self._topics = [f"bench/{number}" for number in range(options.destinations)]

    def _publish_head(self, destination: int) -> bytes:
        """What each packet to a destination begins with: all before packet id or payload."""
        options = self._options
        topic = _string(self._topics[destination])
        length = len(topic) + (2 if options.qos else 0) + options.size
        return _head(PUBLISH | options.qos << 1, length) + topic

    def batch(self, destination: int) -> Batch:
        options = self._options
        return Batch(self._publish_head(destination), options.size, with_id=options.qos > 0)

    def _open(self, link: Link, name: str, *, clean: bool) -> None:
        flags = b"\x02" if clean else b"\0"
        body = _string("MQTT") + b"\x04" + flags + (0).to_bytes(2) + _string(name)
        link.say(_packet(0x10, body))
        reply = link.expect(_whole)
        if reply[0] != 0x20 or reply[3] != 0:
            raise PeerFailed(f"{reply!r} where CONNACK was expected")

    def _forget(self, name: str) -> None:
        """Drop the session that an earlier run left, with what is queued in it."""
        with closing(Link(self._options.port)) as link:
            self._open(link, name, clean=True)
            link.say(_packet(0xE0, b""))

    def open_idle(self, number: int, link: Link) -> None:
        """A clean session that subscribes to nothing."""
        self._open(link, f"bench-idle-{number}", clean=True)

    def open_publisher(self, number: int, link: Link, destination: int) -> Reading:
        del destination
        self._open(link, f"bench-pub-{number}", clean=True)
        return Confirmations()

    def open_subscriber(
        self, number: int, link: Link, destination: int, numbers: Numbers
    ) -> Reading:
        name = f"bench-sub-{number}"
        self._forget(name)
        self._open(link, name, clean=self._options.qos == 0)
        body = b"\0\1" + _string(self._topics[destination]) + bytes([self._options.qos])
        link.say(_packet(0x82, body))
        reply = link.expect(_whole)
        if reply[0] != 0x90:
            raise PeerFailed(f"{reply!r} where SUBACK was expected")
        return Deliveries(self._publish_head(destination), self._options, numbers)


class Confirmations:
    """Packets of four bytes: PUBACK, or PUBREC, which is answered, and PUBCOMP."""

    def take(self, data: bytearray, end: int) -> Taken:
        end -= end % 4
        kinds = data[0:end:4]
        confirmed = kinds.count(PUBACK) + kinds.count(PUBCOMP)
        received = len(kinds) - confirmed
        replies = bytearray()
        if received:
            if kinds.count(PUBREC) != received:
                raise PeerFailed(f"{bytes(data[:end])!r} where acknowledgements were expected")
            for at, kind in enumerate(kinds):
                if kind == PUBREC:
                    replies += data[4 * at : 4 * at + 4]
            replies[::4] = bytes([PUBREL]) * received
        return Taken(end, confirmed, replies)


class Deliveries:
    """Packets of one length, and between them, with QoS 2, PUBRELs."""

    def __init__(self, head: bytes, options: Options, numbers: Numbers) -> None:
        self._head = head
        self._qos = options.qos
        self._numbers = numbers
        self._number_at = len(head) + (2 if options.qos else 0)
        self._length = self._number_at + options.size
        self._releases = PUBREL.to_bytes() + b"\x02"

    def take(self, data: bytearray, end: int) -> Taken:
        taken = Taken(0, 0, bytearray())
        while taken.end < end:
            if not (
                self._take_publishes(data, end, taken) or self._take_releases(data, end, taken)
            ):
                break
        return taken

    def _take_publishes(self, data: bytearray, end: int, taken: Taken) -> bool:
        head, length, begin = self._head, self._length, taken.end
        whole = begin + (end - begin) // length * length
        stop = begin
        while stop < whole and data.startswith(head, stop):
            stop += length
        count = (stop - begin) // length
        if not count:
            return False
        at = begin + self._number_at
        if not self._numbers.note_frames(data, at, length, count):
            self._numbers.note([bytes(data[at + n * length :][:4]) for n in range(count)])
        if self._qos:
            replies = bytearray((b"\x40\x02" if self._qos == 1 else b"\x50\x02") + b"\0\0") * count
            replies[2::4] = data[at - 2 : stop : length]
            replies[3::4] = data[at - 1 : stop : length]
            taken.replies += replies
        taken.end = stop
        taken.count += count
        return True

    def _take_releases(self, data: bytearray, end: int, taken: Taken) -> bool:
        begin = stop = taken.end
        while stop + 4 <= end and data.startswith(self._releases, stop):
            stop += 4
        if stop == begin:
            if end - begin >= self._length:
                raise PeerFailed(f"{bytes(data[begin : begin + 40])!r} where PUBLISH was expected")
            return False
        replies = data[begin:stop]
        replies[::4] = bytes([PUBCOMP]) * len(replies[::4])
        taken.replies += replies
        taken.end = stop
        return True
