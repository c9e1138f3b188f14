"""An HTTP request and its response, as the handlers of the API and of management see them."""

from __future__ import annotations

import http
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import msgspec

from bridge.net.steps import Steps


class HttpRequest:
    """One request. Names in `headers` are in lower case; `target` is path and query as they came.

    The headers are decoded when they are first asked for: many requests are answered after two
    look-ups.
    """

    __slots__ = ("_headers", "_raw", "body", "method", "peer", "scheme", "target")

    def __init__(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        peer: str = "",
        scheme: str = "http",
        *,
        raw: dict[bytes, bytes] | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self._headers = headers
        self.body = body
        self.peer = peer
        self.scheme = scheme
        self._raw = raw

    @property
    def headers(self) -> dict[str, str]:
        headers = self._headers
        if headers is None:
            headers = self._headers = lower_case_headers(self._raw or {})
        return headers

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {self.target}, {len(self.body)} bytes)"


class HttpResponse(msgspec.Struct, gc=False):
    """One response; the server adds the length, the date and what the connection needs."""

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""


NO_ANSWER = HttpResponse(0)
"""In place of a response: the connection is closed without one."""

HttpAnswer: TypeAlias = HttpResponse | Coroutine[Any, Any, HttpResponse] | Steps
HttpHandler: TypeAlias = Callable[[HttpRequest], HttpAnswer]
"""Answers at once, or returns a coroutine; that one is cancelled when its client goes away."""

_NAMES: dict[bytes, str] = {}
_NAMES_MAX = 512

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in http.HTTPStatus
}


def lower_case_headers(raw: dict[bytes, bytes]) -> dict[str, str]:
    """Decode header fields (RFC 9110, 5.5: Latin-1 loses nothing)."""
    names = _NAMES
    headers: dict[str, str] = {}
    for name, value in raw.items():
        known = names.get(name)
        if known is None:
            known = name.decode("latin-1").lower()
            if len(names) < _NAMES_MAX:
                names[name] = known
        # RFC 9110, 5.5: the parser has cut white space before the value, but not after it.
        headers[known] = value.decode("latin-1").rstrip()
    return headers


def encode_response(
    response: HttpResponse, *, date: str, connection: str = "", head_only: bool = False
) -> bytes:
    """The response's bytes; `connection` is a ready header line or empty.

    Raises ValueError for a header that would break out of its line.
    """
    status = response.status
    body = response.body
    lines = "".join([f"{name}: {value}\r\n" for name, value in response.headers.items()])
    if lines.count("\n") != len(response.headers) or lines.count("\r") != len(response.headers):
        raise ValueError(f"a header of the response holds a line break: {response.headers!r}")
    # RFC 9110, 8.6: no length where there can be no body.
    length = "" if status in {204, 304} else f"Content-Length: {len(body)}\r\n"
    head = f"{_status_line(status)}{lines}{length}{date}{connection}\r\n".encode("latin-1")
    if head_only or not length:
        return head
    return head + body


def _status_line(status: int) -> str:
    return _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n"
