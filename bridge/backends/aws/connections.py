"""HTTP/1.1 to one endpoint over kept-alive connections, one request at a time on each.

Hot path: one call of ten messages costs one write and, mostly, one read. A connection that a
server closed while it was unused is replaced unseen; once a request was written, its failure is the
caller's to judge.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

from bridge.backends.aws.limits import AwsLimits
from bridge.backends.aws.tunnel import Proxy, proxy_for, tunnel

READ_BYTES_MAX = 32 * 1024 * 1024
"""Body of one answer; above it, the connection is given up."""


class Reply(NamedTuple):
    """An HTTP answer; services of AWS say all that matters in status and body."""

    status: int
    body: bytes


class HttpFailure(Exception):
    """No answer: refused, lost, or too late."""


class Unreachable(HttpFailure):
    """No connection, so the request was not sent."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is, and the proxy on the way there; `path` is `/` unless an endpoint URL says
    otherwise.
    """

    host: str
    port: int
    tls: bool
    path: str
    proxy: Proxy | None = None

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def endpoint_from_url(url: str) -> Endpoint:
    """Raises `ValueError` for what is not an http or https URL."""
    split = urlsplit(url)
    if split.scheme not in {"http", "https"} or not split.hostname:
        raise ValueError(f"endpoint URL {url!r} is not of the form http(s)://host[:port]")
    tls = split.scheme == "https"
    port = split.port or (443 if tls else 80)
    return Endpoint(split.hostname, port, tls, split.path or "/", proxy_for(url))


class _Connection(asyncio.Protocol):
    """One connection; it is its own parser's callback object."""

    __slots__ = (
        "_answer",
        "_body",
        "_loop",
        "_parser",
        "_size",
        "_transport",
        "closed",
        "unused_since",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[Reply] | None = None
        self._body: list[bytes] = []
        self._size = 0
        self.closed = False
        self.unused_since = 0.0

    async def request(self, head: bytes, body: bytes, seconds_max: float) -> Reply:
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._answer = answer
        timer = self._loop.call_later(seconds_max, self._time_out, seconds_max)
        self._transport.write(head + body)
        try:
            return await answer
        finally:
            timer.cancel()
            if self._answer is not None:
                # Nobody waits any more: what comes now must not be taken for a later answer.
                self.abort()

    def abort(self) -> None:
        self._answer = None
        self.closed = True
        self._transport.abort()

    def _time_out(self, seconds: float) -> None:
        self._fail(f"no answer within {seconds:g} s")

    def _fail(self, reason: str) -> None:
        answer, self._answer = self._answer, None
        if not self.closed:
            self.closed = True
            self._transport.abort()
        if answer is not None and not answer.done():
            answer.set_exception(HttpFailure(reason))

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods without the class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the answer is not HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._fail(f"connection lost: {exc or 'closed by the server'}")

    # -- httptools

    def on_body(self, piece: bytes) -> None:
        self._body.append(piece)
        self._size += len(piece)
        if self._size > READ_BYTES_MAX:
            self._fail(f"an answer of more than {READ_BYTES_MAX} bytes")

    def on_message_complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        self._size = 0
        status = self._parser.get_status_code()
        answer, self._answer = self._answer, None
        if answer is None or not self._parser.should_keep_alive():
            self.closed = True
            self._transport.abort()
        if answer is not None and not answer.done():
            answer.set_result(Reply(status, body))


class Pool:
    """Connections to one endpoint, opened on demand up to a bound."""

    def __init__(
        self,
        endpoint: Endpoint,
        tls: ssl.SSLContext | None,
        limits: AwsLimits,
        connections_max: int,
    ) -> None:
        self.endpoint = endpoint
        self._tls = tls if endpoint.tls else None
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._free = asyncio.Semaphore(connections_max)
        self._unused: list[_Connection] = []

    async def request(self, head: bytes, body: bytes, seconds_max: float) -> Reply:
        """Send one request and wait for its answer. Raises `HttpFailure`."""
        async with self._free:
            connection = self._reuse() or await self._connect()
            reply = await connection.request(head, body, seconds_max)
            if not connection.closed:
                connection.unused_since = self._loop.time()
                self._unused.append(connection)
            return reply

    def close(self) -> None:
        """Drop the connections that nobody uses; the others go when their request is cancelled."""
        while self._unused:
            self._unused.pop().abort()

    def _reuse(self) -> _Connection | None:
        oldest = self._loop.time() - self._limits.idle_connection_seconds_max
        while self._unused:
            connection = self._unused.pop()
            if connection.closed:
                continue
            if connection.unused_since >= oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> _Connection:
        endpoint = self.endpoint
        try:
            async with asyncio.timeout(self._limits.connect_seconds_max):
                if endpoint.proxy is not None:
                    return await self._connect_through(endpoint.proxy)
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self._loop), endpoint.host, endpoint.port, ssl=self._tls
                )
        except TimeoutError:
            raise Unreachable(
                f"{endpoint.authority} does not accept connections: no answer within"
                f" {self._limits.connect_seconds_max:g} s"
            ) from None
        except OSError as error:
            raise Unreachable(f"{endpoint.authority} cannot be reached: {error}") from None
        return connection

    async def _connect_through(self, proxy: Proxy) -> _Connection:
        endpoint = self.endpoint
        reached = await tunnel(proxy, endpoint.host, endpoint.port)
        try:
            _, connection = await self._loop.create_connection(
                lambda: _Connection(self._loop),
                sock=reached,
                ssl=self._tls,
                server_hostname=endpoint.host,
            )
        except BaseException:
            reached.close()
            raise
        return connection
