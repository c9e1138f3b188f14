"""A STOMP connection driven by bytes, with its answers as text, on a clock that the test sets."""

from __future__ import annotations

from typing import TypeVar

from adapters.stomp.events import ConnectRequested, Event
from adapters.stomp.server import ServerConnection, ServerOptions

E = TypeVar("E")


class Transcript:
    """`send` takes frames with `^@` for NUL; `answers` returns what came back in the same form."""

    def __init__(self, options: ServerOptions | None = None) -> None:
        self.now = 0.0
        self.connection = ServerConnection(options or ServerOptions(server="test"), self.now)

    def send(self, *frames: str) -> list[Event]:
        data = "".join(frames).replace("^@", "\0")
        self.connection.receive_data(data.encode(), self.now)
        return self.connection.next_events()

    def send_one(self, kind: type[E], *frames: str) -> E:
        (event,) = self.send(*frames)
        assert isinstance(event, kind)
        return event

    def answers(self) -> str:
        output = b"".join(self.connection.data_to_send())
        return output.decode().replace("\0\n", "^@")

    def connect(self, version: str = "1.2", *headers: str) -> None:
        lines = "".join(f"{line}\n" for line in headers)
        self.send_one(ConnectRequested, f"CONNECT\naccept-version:{version}\n{lines}\n^@")
        self.connection.accept("s1", None, self.now)
