"""An HTTP request and its response, as the handlers of the API and of management see them."""

from __future__ import annotations

import http
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import msgspec

from bridge.net.steps import Pending


class HttpRequest:
    """One request. Names in `headers` are in lower case; `target` is path and query as they came.

    `connection` is the header line that its answer carries; `last`: the connection ends with it.
    """

    __slots__ = (
        "_fields",
        "_headers",
        "_raw",
        "body",
        "connection",
        "last",
        "method",
        "peer",
        "scheme",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        peer: str = "",
        scheme: str = "http",
        raw: dict[bytes, bytes] | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self._headers = headers
        self.body = body
        self.peer = peer
        self.scheme = scheme
        self._raw = raw or {}
        self._fields: dict[str, bytes] | None = None
        self.connection = b""
        self.last = False

    @property
    def headers(self) -> dict[str, str]:
        """Decoded when they are first asked for; `header` does without that."""
        headers = self._headers
        if headers is None:
            headers = self._headers = lower_case_headers(self._raw)
        return headers

    def header(self, name: str) -> str | None:
        """One of the headers, by its name in lower case."""
        if self._headers is not None:
            return self._headers.get(name)
        value = self._raw.get(_USUAL_SPELLINGS.get(name, b""))
        if value is None:
            if self._fields is None:
                known = _NAMES
                self._fields = {known[each]: value for each, value in self._raw.items()}
            value = self._fields.get(name)
            if value is None:
                return None
        return _text_of(value)

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {self.target}, {len(self.body)} bytes)"


class HttpResponse(msgspec.Struct, gc=False):
    """One response; the server adds the length, the date and what the connection needs.

    `lines` are headers, too: ready ones, each with its line's end, made of nothing that came from
    outside.
    """

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""
    lines: bytes = b""


NO_ANSWER = HttpResponse(0)
"""In place of a response: the connection is closed without one."""

HttpAnswer: TypeAlias = HttpResponse | Coroutine[Any, Any, HttpResponse] | Pending
HttpHandler: TypeAlias = Callable[[HttpRequest], HttpAnswer]
"""Answers at once, or returns a coroutine; that one is cancelled when its client goes away."""

NAMES_MAX = 512
"""Spellings of header names that are remembered."""


_USUAL_SPELLINGS = {"x-amz-target": b"X-Amz-Target"}
"""Headers that are looked for under one spelling first."""


class _Names(dict[bytes, str]):
    """From header names as they came to those in lower case."""

    def __missing__(self, name: bytes) -> str:
        known = name.decode("latin-1").lower()
        if len(self) < NAMES_MAX:
            self[name] = known
        return known


_NAMES = _Names()

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in http.HTTPStatus
}


def lower_case_headers(raw: dict[bytes, bytes]) -> dict[str, str]:
    """Decode header fields."""
    names = _NAMES
    return {names[name]: _text_of(value) for name, value in raw.items()}


def _text_of(value: bytes) -> str:
    # RFC 9110, 5.5: Latin-1 loses nothing; the parser has cut white space before the value, but
    # not after it.
    return value.decode("latin-1").rstrip()


def encode_response(
    response: HttpResponse, *, date: bytes, connection: bytes = b"", head_only: bool = False
) -> bytes:
    """The response's bytes; `connection` is a ready header line or empty.

    Raises ValueError for a header that would break out of its line.
    """
    status = response.status
    body = response.body
    lines = response.lines
    if response.headers:
        lines += _lines_of(response.headers)
    # RFC 9110, 8.6: no length where there can be no body.
    bodiless = status in (204, 304)
    length = b"" if bodiless else b"Content-Length: %d\r\n" % len(body)
    if head_only or bodiless:
        body = b""
    status_line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
    return b"%b%b%b%b%b\r\n%b" % (status_line, lines, length, date, connection, body)


def _lines_of(headers: dict[str, str]) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError(f"a header of the response holds a line break: {headers!r}")
    return lines.encode("latin-1")
