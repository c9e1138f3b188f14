"""A way to an endpoint that can go silent: connections are accepted and nothing is answered.

with relay(moto_url) as way:
    connect(way.url)
    way.fall_silent()
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

CHUNK_BYTES = 65_536


class Relay:
    """Passes bytes on, each way of each connection in a thread of its own."""

    def __init__(self, url: str) -> None:
        split = urlsplit(url)
        self._target = (split.hostname or "", split.port or 80)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._open: list[socket.socket] = []
        self._silent = threading.Event()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def fall_silent(self) -> None:
        """Answer nothing any more, of what is under way as well."""
        self._silent.set()

    def serve(self) -> None:
        """Accept until `stop_accepting`."""
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def stop_accepting(self) -> None:
        _end(self._listening)

    def close(self) -> None:
        for each in self._open:
            _end(each)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                if not self._silent.is_set():
                    sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)


def _end(each: socket.socket) -> None:
    # Who accepts or reads wakes up.
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


@contextmanager
def relay(url: str) -> Iterator[Relay]:
    """Start it."""
    way = Relay(url)
    accepting = threading.Thread(target=way.serve, daemon=True)
    accepting.start()
    try:
        yield way
    finally:
        way.stop_accepting()
        accepting.join()
        way.close()
