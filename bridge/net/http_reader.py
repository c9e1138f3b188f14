"""From the bytes of an HTTP/1.1 connection (RFC 9112) to whole requests, on httptools and sans-IO.

The parser's callbacks that run per header are C functions of a dictionary, so that a request costs
four Python calls here. All bounds in bytes are held here; what passes one is answered by a last
response, after which nothing more is read. Bounds in time belong to the connection.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import httptools

from bridge.net.http_messages import HttpRequest, HttpResponse, lower_case_headers
from mappings.gateway import SPEAKS_TLS, TLS_HANDSHAKE

_METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
}
_KEEP_ALIVE = b"Connection: keep-alive\r\n"
CLOSE = b"Connection: close\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Reply(NamedTuple):
    """What the reader itself has to say at its place in the order of answers: a `response`, after
    which the connection ends, or (then it is None) the `interim` bytes. `problem` is what the log
    is told of the response.
    """

    response: HttpResponse | None
    interim: bytes = b""
    problem: str = ""


Received: TypeAlias = HttpRequest | Reply
"""What is to be answered next."""


class _BodyTooLong(Exception):
    """Stops the parser."""


class HttpReader:
    """Reads one connection's requests; `begun` tells whether one is incomplete."""

    __slots__ = (
        "_begun_bytes",
        "_body",
        "_body_bytes",
        "_body_bytes_max",
        "_expectation_met",
        "_fields",
        "_header_bytes_max",
        "_parser",
        "_peer",
        "_raw",
        "_received",
        "_scheme",
        "_stopped",
        "_target",
        "on_header",
        "on_message_begin",
    )

    def __init__(
        self, *, peer: str, scheme: str, header_bytes_max: int, body_bytes_max: int
    ) -> None:
        self._peer = peer
        self._scheme = scheme
        self._header_bytes_max = header_bytes_max
        self._body_bytes_max = body_bytes_max
        self._raw: dict[bytes, bytes] = {}
        self.on_header = self._raw.__setitem__
        self.on_message_begin = self._raw.clear
        self._parser = httptools.HttpRequestParser(self)
        self._received: list[Received] = []
        self._target = b""
        self._fields: dict[bytes, bytes] | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._begun_bytes = 0
        self._expectation_met = False
        self._stopped = False

    @property
    def begun(self) -> bool:
        """A request was begun and is not complete."""
        return bool(self._target)

    @property
    def headers_complete(self) -> bool:
        """Of the request that is begun."""
        return self._fields is not None

    def close(self) -> None:
        """Untie the parser, which refers back to this reader."""
        self._stopped = True
        del self._parser

    def feed(self, data: bytes) -> list[Received]:
        """Take in bytes; return what they completed, in order. Nothing follows a `last` one."""
        if self._stopped:
            return []
        received = self._received = []
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._ignore_upgrade(data[upgrade.args[0] :], received)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _BodyTooLong):
                raise
            self._reject(413, f"the body is longer than {self._body_bytes_max} bytes")
        except httptools.HttpParserError as error:
            if not self._stopped:
                problem = f"malformed request: {str(error).lower()}"
                self._reject(400, SPEAKS_TLS if data.startswith(TLS_HANDSHAKE) else problem)
        if not self._stopped:
            if self._target:
                self._check_begun(len(data))
            if len(data) > self._header_bytes_max:
                self._check_header_bytes()
        return received

    # -- the parser's callbacks

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_headers_complete(self) -> None:
        self._fields = self._raw.copy()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._body_bytes_max:
            raise _BodyTooLong

    def on_message_complete(self) -> None:
        if self._stopped:
            return
        fields = self._fields
        assert fields is not None
        parser = self._parser
        method = parser.get_method()
        body = b""
        if self._body:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._body = []
        request = HttpRequest(
            _METHODS.get(method) or method.decode("latin-1"),
            self._target.decode("latin-1"),
            None,
            body,
            self._peer,
            self._scheme,
            fields,
        )
        self._target = b""
        self._fields = None
        self._body_bytes = 0
        self._begun_bytes = 0
        self._expectation_met = False
        if not parser.should_keep_alive():
            self._stopped = True
            request.last = True
            request.connection = CLOSE
        elif (
            b"Connection" in fields or b"connection" in fields
        ) and parser.get_http_version() == "1.0":
            # RFC 9112, 9.3: only to a client of 1.0 must it be said.
            request.connection = _KEEP_ALIVE
        if b"Host" not in fields and b"host" not in fields and self._host_is_missing(request):
            self._reject(400, "the Host header is missing")
        else:
            self._received.append(request)

    # -- bounds and rare cases

    def _host_is_missing(self, request: HttpRequest) -> bool:
        """RFC 9112, 3.2: who speaks 1.1 names the host."""
        return self._parser.get_http_version() == "1.1" and "host" not in request.headers

    def _check_begun(self, size_bytes: int) -> None:
        """A request did not fit into its chunk: watch its size, and answer an expectation."""
        fields = self._fields
        self._begun_bytes += size_bytes
        if fields is None:
            if self._begun_bytes > self._header_bytes_max:
                self._reject_header_bytes()
            return
        if self._expectation_met:
            return
        self._expectation_met = True
        headers = lower_case_headers(fields)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._body_bytes_max:
            self._reject(413, f"the body is longer than {self._body_bytes_max} bytes")
        elif (
            headers.get("expect", "").lower() == "100-continue"
            and not self._body
            and self._parser.get_http_version() == "1.1"
        ):
            self._received.append(Reply(None, CONTINUE))

    def _check_header_bytes(self) -> None:
        """A chunk longer than the bound may have held headers longer than it."""
        for index, request in enumerate(self._received):
            if isinstance(request, Reply):
                continue
            size_bytes = len(request.target) + sum(
                len(name) + len(value) + 4 for name, value in request.headers.items()
            )
            if size_bytes > self._header_bytes_max:
                del self._received[index:]
                self._reject_header_bytes()
                return

    def _reject_header_bytes(self) -> None:
        self._reject(431, f"the headers are longer than {self._header_bytes_max} bytes")

    def _reject(self, status: int, reason: str) -> None:
        self._stopped = True
        self._target = b""
        response = HttpResponse(status, {"Content-Type": "text/plain"}, f"{reason}\n".encode())
        self._received.append(Reply(response, problem=reason))

    def _ignore_upgrade(self, rest: bytes, received: list[Received]) -> list[Received]:
        """RFC 9110, 7.8: a server may ignore the wish to change the protocol and go on.

        The parser cannot: it takes the headers for the whole request. A new one reads it again,
        without the wish, and goes on. After CONNECT there is no HTTP to come.
        """
        request = received[-1] if received else None
        if self._stopped or request is None or isinstance(request, Reply):
            return received
        if request.method == "CONNECT":
            self._stopped = True
            request.last = True
            request.connection = CLOSE
            return received
        lines = [f"{request.method} {request.target} HTTP/{self._parser.get_http_version()}"]
        lines += [
            f"{name}: {value}" for name, value in request.headers.items() if name != "upgrade"
        ]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self._parser = httptools.HttpRequestParser(self)
        return received[:-1] + self.feed(head + rest)


def timed_out() -> Reply:
    """The answer to a request that does not end."""
    response = HttpResponse(408, {"Content-Type": "text/plain"}, b"the request took too long\n")
    return Reply(response)
