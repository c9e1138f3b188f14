"""A STOMP client that says exactly the bytes it is told, and words for what came back.

wire = Wire(port)
wire.connect("1.2")
wire.frame("SEND", {"destination": "/queue/a", "receipt": "1"}, b"hello")
assert wire.read() == "RECEIPT 1"
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping
from itertools import count
from typing import NamedTuple

from tests.support.patience import patient

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

PATIENCE_SECONDS = 5.0
"""How long an answer that has to come may take."""
QUIET_SECONDS = 0.6
"""How long nothing comes where nothing is to come."""

REFUSED = "refused"
"""An ERROR, or the end of the connection."""


class Received(NamedTuple):
    """A frame; of repeated headers the first."""

    command: str
    headers: dict[str, str]
    body: bytes

    def __str__(self) -> str:
        return described(self)


class Wire:
    """One connection. What it reads is a frame, or CLOSED, or NOTHING within the time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self.version = "1.0"
        self.beats = 0
        """Line feeds between frames, but for the one that ends each."""
        self._input = b""
        self._aside: list[Received] = []
        self._closed = False

    def send(self, data: bytes) -> None:
        """Send bytes as they are; a connection that is gone takes them, and says so on reading."""
        try:
            self.socket.sendall(data)
        except OSError:
            self._closed = True

    def frame(self, command: str, headers: Headers = (), body: bytes = b"") -> None:
        self.send(frame(command, headers, body))

    def connect(self, version: str = "1.2", **headers: str) -> Received:
        self.version = version
        self.frame(
            "CONNECT",
            {
                "accept-version": version,
                "host": "/",
                "login": "guest",
                "passcode": "guest",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        return self.expect("CONNECTED")

    def read(self, seconds: float | None = None) -> Received:
        """The next frame; `Received("CLOSED")` and `Received("NOTHING")` where there is none."""
        if self._aside:
            return self._aside.pop(0)
        return self._read(patient(PATIENCE_SECONDS) if seconds is None else seconds)

    def _read(self, seconds: float) -> Received:
        deadline = time.monotonic() + seconds
        while (found := self._take()) is None:
            if self._closed:
                return Received("CLOSED", {}, b"")
            # Heart-beats are no frames: they do not put the end off.
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self.socket.recv(1 << 14)
            except TimeoutError:
                return Received("NOTHING", {}, b"")
            except OSError:
                data = b""
            self._closed = not data
            self._input += data
        return found

    def expect(self, command: str) -> Received:
        """The next frame of this kind; MESSAGEs on the way to it are read later."""
        aside: list[Received] = []
        while (received := self.read()).command != command:
            assert received.command == "MESSAGE", received
            aside.append(received)
        self._aside = aside + self._aside
        return received

    def quiet(self) -> list[str]:
        """What comes until nothing more does, or the client is refused, in words."""
        said: list[str] = []
        while (received := self.read(patient(QUIET_SECONDS))).command != "NOTHING":
            said.append(str(received))
            if said[-1] == REFUSED:
                break
        return said

    def done(self) -> list[str]:
        """What comes until the server closes the connection, in words."""
        said: list[str] = []
        while (received := self.read()).command not in ("NOTHING", "CLOSED"):
            said.append(str(received))
        return [*said, received.command.lower()]

    def settle(self, command: str, message: Received, **headers: str) -> None:
        """ACK or NACK a message as the version in use names it."""
        self.frame(command, {**reference(self.version, message), **headers})

    def close(self) -> None:
        self.socket.close()

    def _take(self) -> Received | None:
        while self._input[:1] == b"\n":
            self._input = self._input[1:]
            self.beats += 1
        head, blank, rest = self._input.partition(b"\n\n")
        if not blank:
            return None
        command, *lines = head.decode(errors="replace").split("\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name, value)
        length = headers.get("content-length")
        size = rest.find(b"\0") if length is None else int(length)
        if size < 0 or len(rest) <= size:
            return None
        body, self._input = rest[:size], rest[size + 1 :]
        self._input = self._input.removeprefix(b"\n")
        return Received(command, headers, body)


_names = count(1)


def fresh(prefix: str) -> str:
    """A name that nothing else has."""
    return f"{prefix}{next(_names)}"


def frame(command: str, headers: Headers = (), body: bytes = b"") -> bytes:
    """The bytes of a frame; nothing is escaped, nothing is added."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = "".join(f"{name}:{value}\n" for name, value in pairs)
    return f"{command}\n{lines}\n".encode() + body + b"\0"


def reference(version: str, message: Received) -> dict[str, str]:
    """The headers by which an ACK or NACK names a message."""
    if version == "1.2":
        return {"id": message.headers["ack"]}
    headers = {"message-id": message.headers["message-id"]}
    if "subscription" in message.headers:
        headers["subscription"] = message.headers["subscription"]
    return headers


def described(received: Received) -> str:
    """A frame in words that do not depend on whose it is."""
    headers = received.headers
    match received.command:
        case "RECEIPT":
            return f"RECEIPT {headers.get('receipt-id')}"
        case "MESSAGE":
            body = received.body.decode(errors="backslashreplace")
            again = " again" if headers.get("redelivered") == "true" else ""
            return f"MESSAGE {body}{again}"
        case "CONNECTED":
            return f"CONNECTED {headers.get('version', '1.0')}"
        case "ERROR" | "CLOSED":
            # Brokers differ in whether they explain a refusal, and in when they close.
            return REFUSED
        case command:
            return command
