"""A listener: one bound address, what is spoken there, and the stops in their order.

`start` binds, `stop_accepting` frees the address, `drain` asks every connection to finish, `close`
ends those that did not. Options of accepted sockets are set on the listening one, which they
inherit them from.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from bridge.net.driver import Driver, GatewayFactory
from bridge.net.endpoint import Endpoint, Network
from bridge.net.http_server import DateHeader, HttpConnection, HttpHandler
from bridge.net.tls import ServerTls, TlsAcceptor
from bridge.net.websocket import WebSocketDriver, WebSocketOptions
from mappings.gateway import StopReason

KEEPALIVE_IDLE_SECONDS = 120
"""After this silence the kernel probes whether a peer still exists."""


@dataclass(frozen=True, slots=True)
class LegacyService:
    """A legacy protocol: gateways, over the bare stream or over WebSocket."""

    factory: GatewayFactory
    websocket: WebSocketOptions | None = None


@dataclass(frozen=True, slots=True)
class HttpService:
    """HTTP requests, answered by one handler."""

    handler: HttpHandler
    body_bytes_max: int | None = None
    """None takes `Limits.http_body_bytes_max`."""


Service: TypeAlias = LegacyService | HttpService


class ListenError(Exception):
    """An address cannot be bound; `reason` says why, in the system's words."""

    def __init__(self, listener: Listener, reason: str, *, in_use: bool) -> None:
        super().__init__(f"{listener.name}: cannot listen on {listener.address}: {reason}")
        self.listener = listener
        self.reason = reason
        self.in_use = in_use


@dataclass(slots=True)
class Listener:
    """One listener; `port` 0 lets the system choose, after `start` it is the real one."""

    name: str
    protocol: str
    bind: str
    port: int
    service: Service
    network: Network
    tls: ServerTls | None = None
    _endpoint: Endpoint | None = field(default=None, init=False)
    _servers: list[asyncio.Server | TlsAcceptor] = field(default_factory=list, init=False)

    @property
    def address(self) -> str:
        """`host:port` as it is bound."""
        host = self.bind or "*"
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """True where only this machine can connect."""
        return is_loopback(self.bind)

    @property
    def accepting(self) -> bool:
        return bool(self._servers)

    @property
    def connection_count(self) -> int:
        return self._endpoint.connection_count if self._endpoint else 0

    @property
    def accepted_count(self) -> int:
        return self._endpoint.accepted_count if self._endpoint else 0

    @property
    def refused_count(self) -> int:
        return self._endpoint.refused_count if self._endpoint else 0

    async def start(self) -> None:
        """Bind and accept. Raises `ListenError`; then nothing stays bound."""
        loop = asyncio.get_running_loop()
        endpoint = Endpoint(
            self.network,
            loop,
            protocol=self.protocol,
            loopback=self.loopback,
            secure=self.tls is not None,
        )
        self._endpoint = endpoint
        make = self._connection_maker(endpoint)
        for listening in await self._sockets(loop):
            server = (
                TlsAcceptor(endpoint, self.tls, make, listening)
                if self.tls
                else await loop.create_server(
                    make, sock=listening, backlog=self.network.limits.listen_backlog
                )
            )
            self._servers.append(server)

    async def stop_accepting(self) -> None:
        """Free the address; open connections go on."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()

    async def drain(
        self, timeout_seconds: float, reason: StopReason = StopReason.BROKER_STOPS
    ) -> bool:
        """Ask every connection to finish; True when all did in time."""
        if self._endpoint is None:
            return True
        for connection in self._endpoint.connections():
            connection.shut_down(reason)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._endpoint.wait_empty()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End what is still open, at once."""
        await self.stop_accepting()
        if self._endpoint is None:
            return
        for connection in self._endpoint.connections():
            connection.abort()
        await self._endpoint.wait_empty()

    def _connection_maker(self, endpoint: Endpoint) -> Callable[[], asyncio.Protocol]:
        service = self.service
        if isinstance(service, HttpService):
            handler = service.handler
            body_max = service.body_bytes_max or endpoint.limits.http_body_bytes_max
            date = DateHeader(self.network.clock)
            return lambda: HttpConnection(endpoint, handler, date, body_max)
        factory, websocket = service.factory, service.websocket
        if websocket is None:
            return lambda: Driver(endpoint, factory)
        return lambda: WebSocketDriver(endpoint, factory, websocket)

    async def _sockets(self, loop: asyncio.AbstractEventLoop) -> list[socket.socket]:
        """Bound sockets for every address that the bind name stands for."""
        host = None if self.bind in {"", "*"} else self.bind
        sockets: list[socket.socket] = []
        try:
            found = await loop.getaddrinfo(
                host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, _, _, _, address in dict.fromkeys(found):
                bound = self._bound(family, (address[0], self.port, *address[2:]))
                if bound is not None:
                    sockets.append(bound)
                    self.port = bound.getsockname()[1]
            if not sockets:
                raise OSError("it names no address of this machine")
        except OSError as error:
            for bound in sockets:
                bound.close()
            in_use = error.errno == errno.EADDRINUSE
            reason = (error.strerror or str(error)).lower()
            raise ListenError(self, reason, in_use=in_use) from error
        return sockets

    def _bound(self, family: int, address: tuple[object, ...]) -> socket.socket | None:
        """One bound socket; None where the machine has none of that family."""
        try:
            bound = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            return None
        try:
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _set_inherited_options(bound)
            bound.bind(address)
        except OSError as error:
            bound.close()
            if family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL:
                # `localhost` may name ::1 on a machine without IPv6.
                return None
            raise
        return bound


def _set_inherited_options(listening: socket.socket) -> None:
    """What every accepted socket is to have; setting it here costs connections nothing."""
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)


def is_loopback(bind: str) -> bool:
    """True for addresses and names that only this machine can reach."""
    if bind.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return False
