"""One socket of the load: blocking while it shakes hands, then read whenever it can be."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

HANDSHAKE_SECONDS = 30.0
BUFFER_BYTES = 512 * 1024


class PeerFailed(Exception):
    """The server did what ends the run: it closed a connection, or said what nobody had asked."""


_buffer = bytearray(BUFFER_BYTES)
_view = memoryview(_buffer)


class Link:
    """All links read into the same buffer, one after the other."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), HANDSHAKE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._unwritten = b""
        self._epoll: select.epoll | None = None

    def expect(self, complete: Callable[[bytes], int]) -> bytes:
        """Wait for a reply: `complete` gives its length, 0 while it is not all there."""
        while not (length := complete(self._rest)):
            data = self.socket.recv(BUFFER_BYTES)
            if not data:
                raise PeerFailed(f"it closed a connection behind {self._rest!r}")
            self._rest += data
        reply, self._rest = self._rest[:length], self._rest[length:]
        return reply

    def say(self, data: bytes) -> None:
        """Write a request of the handshake."""
        self.socket.sendall(data)

    def start(self, epoll: select.epoll) -> int:
        """The handshake is over; from now on nothing blocks. The number that `epoll` knows."""
        self.socket.setblocking(False)
        self._epoll = epoll
        epoll.register(self.socket, select.EPOLLIN)
        return self.socket.fileno()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write what the socket takes, and keep the rest for `flush`."""
        if self._unwritten:
            self._unwritten += data
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unwritten = bytes(data[sent:])
            self._watch(select.EPOLLIN | select.EPOLLOUT)

    def flush(self) -> None:
        """The socket takes more."""
        data, self._unwritten = self._unwritten, b""
        self._watch(select.EPOLLIN)
        self.write(data)

    def _watch(self, events: int) -> None:
        assert self._epoll is not None
        self._epoll.modify(self.socket, events)

    def read(self, take: Callable[[bytearray, int], int]) -> None:
        """Read what has come: `take` gets the buffer and where it ends, returns what is left."""
        start = len(self._rest)
        _buffer[:start] = self._rest
        try:
            received = self.socket.recv_into(_view[start:])
        except BlockingIOError:
            return
        if not received:
            raise PeerFailed("it closed a connection")
        end = start + received
        done = take(_buffer, end)
        self._rest = bytes(_view[done:end])

    def close(self) -> None:
        self.socket.close()
