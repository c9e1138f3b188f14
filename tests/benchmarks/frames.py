"""Frames of one length, encoded once, and the check that each came, in order.

A payload begins with the number of its message, in hexadecimal digits. A batch of frames is one
buffer, in which the digits are changed for all of them together (a slice with the frames' length as
its step), and looked at in the same way when it comes back: what is done once per message is done
in C, so that a generator in Python is not what a measurement shows.
"""

from __future__ import annotations

from typing import Final

DIGITS: Final = 4
"""At the start of a payload."""
CYCLE: Final = 16**DIGITS
"""Numbers begin again behind this."""
NUMBERS: Final = b"".join(b"%04x" % number for number in range(CYCLE)) * 2
"""All numbers one behind the other, twice, so that no slice has to wrap around."""
PACKET_IDS: Final = 60_000
"""Those of MQTT that a publisher uses, in turn."""
FRAMES_MAX: Final = 1_000
"""Frames that are written at once."""

_BY_DIGIT: Final = [NUMBERS[digit::DIGITS] for digit in range(DIGITS)]
_IDS: Final = b"".join(number.to_bytes(2, "big") for number in range(1, PACKET_IDS + 1)) * 2
_BY_ID_BYTE: Final = [_IDS[0::2], _IDS[1::2]]


class Batch:
    """The frames that one publisher sends; `with_id`: behind the head is a packet id."""

    def __init__(self, head: bytes, size: int, tail: bytes = b"", *, with_id: bool = False) -> None:
        payload = b"0" * DIGITS + b"x" * (size - DIGITS)
        frame = head + (b"\0\1" if with_id else b"") + payload + tail
        self._length = len(frame)
        self._data = bytearray(frame * FRAMES_MAX)
        self._view = memoryview(self._data)
        self._id_at = len(head) if with_id else None
        self._number_at = len(head) + (2 if with_id else 0)

    def take(self, first: int, count: int) -> memoryview:
        """The frames of messages number `first` and on; good until the next call."""
        data, length = self._data, self._length
        end = count * length
        begin = first % CYCLE
        for at, digits in enumerate(_BY_DIGIT, self._number_at):
            data[at:end:length] = digits[begin : begin + count]
        if self._id_at is not None:
            begin = first % PACKET_IDS
            for at, id_bytes in enumerate(_BY_ID_BYTE, self._id_at):
                data[at:end:length] = id_bytes[begin : begin + count]
        return self._view[:end]


class Numbers:
    """What one subscriber received of one publisher: how many, and how many not in their turn."""

    def __init__(self) -> None:
        self.received = 0
        self.disordered = 0
        self._next = 0

    def note_frames(self, data: bytearray, at: int, length: int, count: int) -> bool:
        """`count` frames of `length` bytes, the first number `at`; False if others are expected."""
        end = at + (count - 1) * length + 1
        first = self._next
        for digit, digits in enumerate(_BY_DIGIT):
            if data[at + digit : end + digit : length] != digits[first : first + count]:
                return False
        self._advance(count)
        return True

    def note(self, numbers: list[bytes]) -> None:
        """These numbers came."""
        first = self._next
        if b"".join(numbers) == NUMBERS[first * DIGITS : (first + len(numbers)) * DIGITS]:
            self._advance(len(numbers))
            return
        for digits in numbers:
            number = int(digits, 16)
            self.disordered += number != self._next
            self._next = (number + 1) % CYCLE
        self.received += len(numbers)

    def _advance(self, count: int) -> None:
        self.received += count
        self._next = (self._next + count) % CYCLE
