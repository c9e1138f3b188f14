"""What all connections of one listener share, and the way in which each of them ends.

A connection is an asyncio protocol, registered here while its transport is open. When it has
nothing more to say it leaves the transport to a `Farewell`, which sends the rest and waits, for a
bounded time, until the peer has read it: closing a socket with unread input would reset it and take
the last frames away from the peer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from bridge.messaging.clock import Clock
from bridge.messaging.limits import Limits
from bridge.net.deadlines import Deadlines
from bridge.net.tasks import TaskOwner
from mappings.gateway import Log, StopReason


@dataclass(frozen=True, slots=True)
class Network:
    """What all listeners of a process share."""

    clock: Clock
    log: Log
    limits: Limits
    tasks: TaskOwner


class OpenConnection(Protocol):
    """A registered connection, as its listener sees it."""

    def shut_down(self, reason: StopReason) -> None:
        """Finish what was begun, say goodbye, close."""
        ...

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        ...


class FlushedConnection(Protocol):
    """A connection that collects what it writes."""

    def flush(self) -> None:
        """Write what was collected; must not raise."""
        ...


class Endpoint:
    """The register of one listener's connections, with what they need to know of the listener."""

    __slots__ = (
        "_connections",
        "_empty",
        "_unflushed",
        "accepted_count",
        "deadlines",
        "limits",
        "log",
        "loop",
        "loop_collects_writes",
        "loopback",
        "monotonic",
        "network",
        "protocol",
        "refused_count",
        "secure",
    )

    def __init__(
        self,
        network: Network,
        loop: asyncio.AbstractEventLoop,
        *,
        protocol: str,
        loopback: bool,
        secure: bool,
    ) -> None:
        self.network = network
        self.loop = loop
        self.log = network.log
        self.limits = network.limits
        self.monotonic = network.clock.monotonic
        self.protocol = protocol
        self.loopback = loopback
        self.secure = secure
        self.loop_collects_writes = not secure and type(loop).__module__ == "uvloop"
        """Whether what is written to a transport leaves at the end of the loop's iteration."""
        self.deadlines = Deadlines(loop, self.monotonic)
        self.accepted_count = 0
        self.refused_count = 0
        self._connections: set[OpenConnection] = set()
        self._unflushed: list[FlushedConnection] = []
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    def connections(self) -> list[OpenConnection]:
        """Those open now; a copy, since ending one changes the register."""
        return list(self._connections)

    def admit(self, connection: OpenConnection, transport: asyncio.BaseTransport) -> bool:
        """Register a new connection, or close it where there are too many already."""
        # Over TLS the question was asked before the handshake.
        if self.full and not self.secure:
            self.refuse_as_full(peer_of(transport))
            transport.abort()  # type: ignore[attr-defined]  # all stream transports have it
            return False
        self.accepted_count += 1
        self.add(connection)
        return True

    @property
    def full(self) -> bool:
        return len(self._connections) >= self.limits.connections_max

    def refuse_as_full(self, peer: str) -> None:
        self.refuse(peer, f"more than {self.limits.connections_max} connections are open")

    def refuse(self, peer: str, reason: str) -> None:
        """Count and log a connection that is closed for not speaking its protocol."""
        self.refused_count += 1
        self.log.refused(self.protocol, peer, user=None, client=None, reason=reason)

    def add(self, connection: OpenConnection) -> None:
        self._connections.add(connection)
        self._empty.clear()

    def remove(self, connection: OpenConnection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def flush_soon(self, connection: FlushedConnection) -> None:
        """Flush a connection in this iteration of the loop, in one callback for all that ask."""
        if not self._unflushed:
            self.loop.call_soon(self._flush)
        self._unflushed.append(connection)

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()

    async def wait_empty(self) -> None:
        """Until no connection is open."""
        await self._empty.wait()


def peer_of(transport: asyncio.BaseTransport) -> str:
    """`host:port` of the other side, as logs show it."""
    return peer_from_address(transport.get_extra_info("peername"))


def peer_from_address(address: object) -> str:
    """The same for a socket's address."""
    if not isinstance(address, tuple):
        return "unknown"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Farewell(asyncio.Protocol):
    """The last protocol of a transport: discards what comes, aborts where nothing goes on."""

    __slots__ = ("_endpoint", "_timer", "_transport", "_unsent")

    def __init__(
        self,
        endpoint: Endpoint,
        transport: asyncio.Transport,
        leaving: OpenConnection,
        *,
        peer_has_finished: bool = False,
    ) -> None:
        """Take `transport` over from `leaving`, whose last bytes were written, and close it."""
        self._endpoint = endpoint
        self._transport = transport
        self._unsent = transport.get_write_buffer_size()
        endpoint.add(self)
        endpoint.remove(leaving)
        transport.set_protocol(self)
        limits = endpoint.limits
        seconds = limits.tls_close_seconds_max if endpoint.secure else limits.close_seconds_max
        self._timer = endpoint.loop.call_later(seconds, self._look)
        if transport.is_closing():
            return
        if peer_has_finished or not transport.can_write_eof():
            transport.close()
            return
        try:
            transport.write_eof()
            if not transport.is_reading():
                transport.resume_reading()
        except (OSError, RuntimeError):
            # The connection broke in this very moment.
            transport.abort()

    def _look(self) -> None:
        unsent = self._transport.get_write_buffer_size()
        if 0 < unsent < self._unsent:
            self._unsent = unsent
            self._timer = self._endpoint.loop.call_later(
                self._endpoint.limits.close_seconds_max, self._look
            )
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        pass

    def eof_received(self) -> bool | None:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._endpoint.remove(self)

    def shut_down(self, reason: StopReason) -> None:
        pass

    def abort(self) -> None:
        self._transport.abort()
