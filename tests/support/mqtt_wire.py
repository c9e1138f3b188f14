"""An MQTT client that says exactly the bytes it is told, and words for what came back.

wire = Wire(port, 5)
wire.connect("c")
wire.subscribe("a/#", 1)
assert wire.quiet() == ["SUBACK 1"]
"""

from __future__ import annotations

import socket
import time
from typing import Self

from tests.support.patience import patient

PATIENCE_SECONDS = 5.0
"""How long an answer that has to come may take."""
QUIET_SECONDS = 0.5
"""How long nothing comes where nothing is to come."""

CLOSED = "closed"
_WITH_REASON = {4: "PUBACK", 5: "PUBREC", 6: "PUBREL", 7: "PUBCOMP"}


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(2, "big") + data


def number(value: int) -> bytes:
    """A variable byte integer."""
    data = bytearray()
    while True:
        value, low = divmod(value, 128)
        data.append(low | (0x80 if value else 0))
        if not value:
            return bytes(data)


def packet(first: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes((first,)) + number(len(body)) + body


class Wire:
    """One connection, speaking 3.1 (3), 3.1.1 (4) or 5."""

    def __init__(self, port: int, version: int = 4) -> None:
        self.version = version
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self._input = b""
        self._closed = False
        self.packet_ids: list[int] = []
        """Of the publishes that came with one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *data: bytes) -> None:
        """Send bytes as they are; a connection that is gone takes them, and says so on reading."""
        try:
            self.socket.sendall(b"".join(data))
        except OSError:
            self._closed = True

    def properties(self, data: bytes = b"") -> bytes:
        """Properties, which older versions do not have."""
        return number(len(data)) + data if self.version == 5 else b""

    # -- packets

    def connect(
        self,
        client_id: str,
        *,
        clean: bool = True,
        properties: bytes = b"",
        will: tuple[str, str, int, bytes] | None = None,
    ) -> str:
        """CONNECT; the answer in words. `will`: topic, payload, flags, properties."""
        flags, rest = 2 * clean, b""
        if will is not None:
            topic, payload, bits, extra = will
            flags |= 4 | bits
            rest = self.properties(extra) + string(topic) + string(payload)
        name = "MQIsdp" if self.version == 3 else "MQTT"
        head = string(name) + bytes((self.version, flags, 0, 60))
        self.send(packet(0x10, head, self.properties(properties), string(client_id), rest))
        return self.read()

    def subscribe(self, *filters: tuple[str, int], properties: bytes = b"") -> None:
        pairs = [string(text) + bytes((options,)) for text, options in filters]
        self.send(packet(0x82, b"\0\1", self.properties(properties), *pairs))

    def unsubscribe(self, *filters: str) -> None:
        self.send(packet(0xA2, b"\0\2", self.properties(), *map(string, filters)))

    def publish(
        self, topic: str, payload: str, flags: int = 0, packet_id: int = 7, properties: bytes = b""
    ) -> None:
        """`flags`: the low bits of the first byte, QoS at 2."""
        identifier = packet_id.to_bytes(2, "big") if flags & 6 else b""
        self.send(
            packet(
                0x30 | flags,
                string(topic),
                identifier,
                self.properties(properties),
                payload.encode(),
            )
        )

    def answer(self, kind: int, packet_id: int) -> None:
        """PUBACK (4) and its like, successful."""
        first = kind << 4 | (2 if kind == 6 else 0)
        self.send(packet(first, packet_id.to_bytes(2, "big")))

    def ping(self) -> None:
        self.send(b"\xc0\0")

    def disconnect(self) -> None:
        self.send(b"\xe0\0")

    # -- what comes

    def read(self, seconds: float | None = None) -> str:
        """The next packet in words, or "closed", or "" within the time."""
        wait = patient(PATIENCE_SECONDS) if seconds is None else seconds
        deadline = time.monotonic() + wait
        while (found := self._take()) is None:
            if self._closed:
                return CLOSED
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                return ""
            except OSError:
                data = b""
            self._closed = not data
            self._input += data
        return self._words(*found)

    def quiet(self, seconds: float = QUIET_SECONDS) -> list[str]:
        """What comes until nothing more does, or the connection is closed."""
        said: list[str] = []
        while word := self.read(patient(seconds) if said else None):
            said.append(word)
            if word == CLOSED:
                break
        return said

    def _take(self) -> tuple[int, bytes] | None:
        data, size, at = self._input, 0, 1
        while True:
            if len(data) <= at:
                return None
            size |= (data[at] & 0x7F) << 7 * (at - 1)
            at += 1
            if not data[at - 1] & 0x80:
                break
        if len(data) < at + size:
            return None
        self._input = data[at + size :]
        return data[0], data[at : at + size]

    def _words(self, first: int, body: bytes) -> str:
        kind = first >> 4
        if kind == 3:
            return self._publish_in_words(first, body)
        if kind in _WITH_REASON:
            reason = body[2] if len(body) > 2 else 0
            return f"{_WITH_REASON[kind]} {int.from_bytes(body[:2], 'big')}" + f" {reason:#x}" * (
                reason > 0
            )
        match kind:
            case 2:
                return f"CONNACK {body[0]} {body[1]:#x}"
            case 9 | 11:
                codes = body[3 + body[2] :] if self.version == 5 else body[2:]
                name = "SUBACK" if kind == 9 else "UNSUBACK"
                return " ".join([name, *(f"{code:#x}" for code in codes)])
            case 13:
                return "PINGRESP"
            case 14:
                return f"DISCONNECT {body[0] if body else 0:#x}"
            case _:
                return f"packet {kind}"

    def _publish_in_words(self, first: int, body: bytes) -> str:
        end = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:end].decode()
        if first & 6:
            self.packet_ids.append(int.from_bytes(body[end : end + 2], "big"))
            end += 2
        extra = b""
        if self.version == 5:
            extra, end = body[end + 1 : end + 1 + body[end]], end + 1 + body[end]
        flags = "".join(name for bit, name in ((1, " retained"), (8, " dup")) if first & bit)
        shown = f" {extra.hex()}" if extra else ""
        return f"PUBLISH {topic} {body[end:].decode()} qos {first >> 1 & 3}{flags}{shown}"
