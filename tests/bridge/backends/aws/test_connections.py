"""Connections: kept alive, bounded, replaced when the server dropped them, TLS verified."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.backends.aws.connections import HttpFailure, Pool, Reply, endpoint_from_url
from bridge.backends.aws.limits import AwsLimits
from tests.bridge.net.certificates import Authority

MakePool = Callable[..., Awaitable[Pool]]

HEAD = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers every request with `answer`, and counts connections."""

    def __init__(self, answer: bytes = OK, *, close: bool = False) -> None:
        self.answer = answer
        self.close = close
        self.connections = 0
        self.open = 0
        self.most = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0)
                writer.write(self.answer)
                if self.close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def pool_for() -> AsyncIterator[MakePool]:
    """Make a pool in front of a server that listens; both are closed in the end."""
    opened: list[tuple[Server, asyncio.Server, Pool]] = []

    async def make(
        server: Server, tls: ssl.SSLContext | None = None, most: int = 4, **kwargs: Any
    ) -> Pool:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, **kwargs)
        port = listening.sockets[0].getsockname()[1]
        scheme = "https" if tls else "http"
        endpoint = endpoint_from_url(f"{scheme}://localhost:{port}")
        pool = Pool(endpoint, tls, AwsLimits(), most)
        opened.append((server, listening, pool))
        return pool

    yield make
    for server, listening, pool in opened:
        pool.close()
        listening.close()
        async with asyncio.timeout(60):
            while server.open:
                await asyncio.sleep(0)


async def test_a_connection_is_used_again(pool_for: MakePool) -> None:
    server = Server()
    pool = await pool_for(server)
    for _ in range(5):
        assert await pool.request(HEAD, b"", 60) == Reply(200, b"ok")
    assert server.connections == 1


async def test_there_are_no_more_than_allowed(pool_for: MakePool) -> None:
    server = Server()
    pool = await pool_for(server, most=3)
    await asyncio.gather(*[pool.request(HEAD, b"", 60) for _ in range(30)])
    assert server.most <= 3


async def test_a_server_that_closes_after_each_answer(pool_for: MakePool) -> None:
    server = Server(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), close=True)
    pool = await pool_for(server)
    for _ in range(3):
        assert (await pool.request(HEAD, b"", 60)).body == b"ok"
    assert server.connections == 3


async def test_chunked_answers(pool_for: MakePool) -> None:
    chunked = b"HTTP/1.1 400 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    pool = await pool_for(Server(chunked))
    assert await pool.request(HEAD, b"", 60) == Reply(400, b"abc")


async def test_what_is_not_http(pool_for: MakePool) -> None:
    pool = await pool_for(Server(b"SSH-2.0-x\r\n\r\n"))
    with pytest.raises(HttpFailure, match="not HTTP"):
        await pool.request(HEAD, b"", 60)


async def test_an_answer_that_is_late(pool_for: MakePool) -> None:
    server = Server(b"")
    pool = await pool_for(server)
    with pytest.raises(HttpFailure, match=r"no answer within 0\.05 s"):
        await pool.request(HEAD, b"", 0.05)


async def test_a_request_that_is_cancelled_leaves_no_answer_to_the_next(pool_for: MakePool) -> None:
    server = Server(b"")
    pool = await pool_for(server)
    waiting = asyncio.ensure_future(pool.request(HEAD, b"", 60))
    while not server.connections:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    server.answer = OK
    assert (await pool.request(HEAD, b"", 60)).body == b"ok"
    assert server.connections == 2


async def test_tls_is_spoken_and_verified(pool_for: MakePool, tmp_path: Path) -> None:
    authority = Authority("ours", tmp_path)
    issued = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    pool = await pool_for(Server(), authority.client_context(), ssl=context)
    assert (await pool.request(HEAD, b"", 60)).body == b"ok"
    stranger = await pool_for(Server(), ssl.create_default_context(), ssl=context)
    with pytest.raises(HttpFailure, match="cannot be reached"):
        await stranger.request(HEAD, b"", 60)


class ProxyServer:
    """Answers CONNECT with `status`, and hands on what follows."""

    def __init__(self, status: str = "200 Connection established") -> None:
        self.status = status
        self.heads: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        writer.write(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
        if self.status.startswith("200"):
            host, _, port = head.split()[1].rpartition(":")
            there, here = await asyncio.open_connection(host, int(port))
            await asyncio.gather(self._hand_on(reader, here), self._hand_on(there, writer))
        writer.close()

    async def _hand_on(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                to.write(data)
        except ConnectionError:
            pass
        finally:
            to.close()


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProxyServer]:
    proxy = ProxyServer()
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", "bypassed.example")
    yield proxy
    listening.close()


async def test_https_goes_through_the_environment_s_proxy(
    pool_for: MakePool, proxy: ProxyServer, tmp_path: Path
) -> None:
    authority = Authority("ours", tmp_path)
    issued = authority.issue("server")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(issued.certificate, issued.key)
    server = Server()
    pool = await pool_for(server, authority.client_context(), ssl=serving)
    for _ in range(2):
        assert await pool.request(HEAD, b"", 60) == Reply(200, b"ok")
    assert (server.connections, len(proxy.heads)) == (1, 1)
    head = proxy.heads[0]
    assert head.startswith(f"CONNECT localhost:{pool.endpoint.port} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in head


async def test_a_proxy_that_refuses_is_named(
    pool_for: MakePool, proxy: ProxyServer, tmp_path: Path
) -> None:
    proxy.status = "407 Proxy Authentication Required"
    pool = await pool_for(Server(), Authority("ours", tmp_path).client_context())
    with pytest.raises(HttpFailure, match="407 Proxy Authentication Required"):
        await pool.request(HEAD, b"", 60)


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("https://sqs.eu-west-1.amazonaws.com", True),
        ("https://bypassed.example", False),
        ("http://127.0.0.1:4566", False),
    ],
)
async def test_who_is_reached_through_a_proxy(
    proxy: ProxyServer, url: str, *, proxied: bool
) -> None:
    assert (endpoint_from_url(url).proxy is not None) is proxied


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ValueError, match="is not of the form"):
        endpoint_from_url("https://sqs.eu-west-1.amazonaws.com")
