"""The data types of MQTT on the wire: integers, UTF-8 strings, binary data (MQTT 5, 1.5)."""

from __future__ import annotations

from typing import Final

from adapters.errors import LocalProtocolError
from adapters.mqtt.errors import malformed

VARIABLE_INTEGER_MAX: Final = 268_435_455
STRING_SIZE_MAX: Final = 65_535


class Reader:
    """Reads a packet's body from `position` up to `end`; what runs over the end is malformed."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end

    def __bool__(self) -> bool:
        return self.position < self.end

    def byte(self) -> int:
        at = self._advance(1)
        return self.data[at]

    def two_byte_integer(self) -> int:
        at = self._advance(2)
        return self.data[at] << 8 | self.data[at + 1]

    def four_byte_integer(self) -> int:
        at = self._advance(4)
        return int.from_bytes(self.data[at : at + 4], "big")

    def variable_byte_integer(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:  # MQTT 5, 1.5.5 [MQTT-1.5.5-1]
                    raise malformed("variable byte integer is longer than needed")
                return value
        raise malformed("variable byte integer has more than 4 bytes")

    def binary(self) -> bytes:
        size = self.two_byte_integer()
        at = self._advance(size)
        return self.data[at : at + size]

    def string(self) -> str:
        return text_from_utf8(self.binary())

    def rest(self) -> bytes:
        at = self.position
        self.position = self.end
        return self.data[at : self.end]

    def expect_end(self) -> None:
        if self.position < self.end:
            raise malformed(f"{self.end - self.position} bytes too many at the end of the packet")

    def part(self, size: int) -> Reader:
        """A reader of the next `size` bytes alone."""
        at = self._advance(size)
        return Reader(self.data, at, at + size)

    def _advance(self, size: int) -> int:
        at = self.position
        position = at + size
        if position > self.end:
            raise malformed("the packet ends inside of a field")
        self.position = position
        return at


def text_from_utf8(raw: bytes) -> str:
    """Decode a UTF-8 encoded string (MQTT 5, 1.5.4; MQTT 3.1.1, 1.5.3).

    Surrogates and overlong forms are what Python's decoder refuses by itself. Control characters
    and non-characters SHOULD NOT be there, and are let through: servers that devices talk to today
    take them.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:  # [MQTT-1.5.4-1]
        raise malformed("a string is not UTF-8") from None
    if "\x00" in text:  # [MQTT-1.5.4-2]
        raise malformed("a string holds U+0000")
    return text


def variable_byte_integer(value: int) -> bytes:
    """In as few bytes as it needs (MQTT 5, 1.5.5)."""
    if value < 0x80:
        return _ONE_BYTE[value]
    if value > VARIABLE_INTEGER_MAX:
        raise LocalProtocolError(
            f"{value} is over the variable byte integer's {VARIABLE_INTEGER_MAX}"
        )
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def binary(value: bytes) -> bytes:
    """Binary data with its two-byte length."""
    if len(value) > STRING_SIZE_MAX:
        raise LocalProtocolError(f"{len(value)} bytes are over the field's {STRING_SIZE_MAX}")
    return len(value).to_bytes(2, "big") + value


def string(value: str) -> bytes:
    """A UTF-8 encoded string with its two-byte length."""
    return binary(value.encode())


def packets_of(data: bytes) -> list[bytes]:
    """Encoded output cut into its packets; what is no whole packet comes last, as it is."""
    packets: list[bytes] = []
    start, size = 0, len(data)
    while start < size:
        position, length, shift = start + 1, 0, 0
        while position < size:
            octet = data[position]
            position += 1
            length |= (octet & 0x7F) << shift
            if octet < 0x80:
                break
            shift += 7
        end = position + length
        packets.append(data[start:end])
        start = end
    return packets


_ONE_BYTE: Final = [bytes((value,)) for value in range(0x80)]
