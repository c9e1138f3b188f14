"""A way to an https endpoint through a proxy: CONNECT, and TLS with the endpoint inside.

RFC 9110, 9.3.6. The proxy is that of the environment (HTTPS_PROXY, NO_PROXY), as for botocore; it
is spoken to in the clear.
"""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from botocore.utils import get_environ_proxies

ANSWER_BYTES_MAX: Final = 16 * 1024
"""The head of a proxy's answer."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """`authorization` is the header's value, empty where the proxy asks for none."""

    host: str
    port: int
    authorization: str = ""


def proxy_for(url: str) -> Proxy | None:
    """The proxy that the environment names for an https URL; http ones are reached directly.

    Raises `ValueError` for a proxy that cannot be.
    """
    if urlsplit(url).scheme != "https":
        return None
    proxy: str | None = get_environ_proxies(url).get("https")
    if not proxy:
        return None
    split = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if split.scheme != "http" or not split.hostname:
        raise ValueError(f"proxy {proxy!r} is not of the form http://host[:port]")
    authorization = ""
    if split.username is not None:
        user = f"{unquote(split.username)}:{unquote(split.password or '')}"
        authorization = f"Basic {b64encode(user.encode()).decode()}"
    return Proxy(split.hostname, split.port or 80, authorization)


async def tunnel(proxy: Proxy, host: str, port: int) -> socket.socket:
    """A connected socket whose other end is the endpoint's. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    connected = socket.socket(family, kind, protocol)
    try:
        connected.setblocking(False)
        await loop.sock_connect(connected, address)
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
        if proxy.authorization:
            head += f"Proxy-Authorization: {proxy.authorization}\r\n"
        await loop.sock_sendall(connected, f"{head}\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            # Nothing of the endpoint's comes before it was spoken to.
            data = await loop.sock_recv(connected, ANSWER_BYTES_MAX)
            answer += data
            if not data or len(answer) > ANSWER_BYTES_MAX:
                raise ConnectionError(f"proxy {proxy.host}:{proxy.port} gives no answer")
        status = answer.split(b"\r\n", 1)[0].decode("latin-1")
        if status.split(" ")[1:2] != ["200"]:
            raise ConnectionError(f"proxy {proxy.host}:{proxy.port} refuses: {status}")
    except BaseException:
        connected.close()
        raise
    return connected
