from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest

from bridge.messaging.limits import Limits
from bridge.net.http_messages import NO_ANSWER, HttpAnswer, HttpHandler, HttpRequest, HttpResponse
from bridge.net.http_server import HttpConnection
from bridge.net.steps import Steps
from tests.bridge.net.certificates import Authority
from tests.bridge.net.recording import Running, closed, http, listening


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Sends bytes, reads answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, *, to_head: bool = False) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.split("\r\n")[:-2]
        assert status.startswith("HTTP/1.1 ")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        length = 0 if to_head else int(headers.get("content-length", "0"))
        return Answer(int(status.split()[1]), headers, await self.reader.readexactly(length))

    async def ended(self) -> bool:
        return await self.reader.read() == b""


@asynccontextmanager
async def serving(
    handler: HttpHandler, *, limits: Limits | None = None, body_bytes_max: int | None = None
) -> AsyncIterator[tuple[Running, Client]]:
    async with listening(http(handler, body_bytes_max), limits=limits, protocol="aws") as running:
        client = Client(*await running.connect())
        try:
            yield running, client
        finally:
            await closed(client.writer)


def echo(request: HttpRequest) -> HttpResponse:
    """Answers with what it got."""
    headers = {"X-Method": request.method, "X-Target": request.target}
    headers["X-Names"] = ",".join(request.headers)
    return HttpResponse(200, headers, request.body)


GET = b"GET /a?b=c HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"


async def test_request_and_answer() -> None:
    async with serving(echo) as (_, client):
        client.send(GET)
        answer = await client.answer()
        assert answer.status == 200
        assert answer.headers["x-method"] == "GET"
        assert answer.headers["x-target"] == "/a?b=c"
        assert answer.headers["content-length"] == "0"
        assert answer.headers["date"].endswith(" GMT")
        assert "connection" not in answer.headers


async def test_request_knows_where_it_came_from(authority: Authority) -> None:
    seen: list[HttpRequest] = []

    def look(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse(204)

    async with serving(look) as (_, client):
        client.send(GET)
        answer = await client.answer()
        assert answer.status == 204
        assert "content-length" not in answer.headers
        host, port = client.writer.get_extra_info("sockname")
        assert seen[0].peer == f"{host}:{port}"
        assert seen[0].scheme == "http"
    async with listening(http(look), tls=authority.server_files()) as running:
        secure = Client(*await running.connect(tls=authority.client_context()))
        secure.send(GET)
        assert (await secure.answer()).status == 204
        assert seen[1].scheme == "https"
        await closed(secure.writer)


async def test_header_names_are_lower_case_and_values_as_they_came() -> None:
    headers: list[dict[str, str]] = []

    def look(request: HttpRequest) -> HttpResponse:
        headers.append(request.headers)
        return HttpResponse(200)

    async with serving(look) as (_, client):
        client.send(
            b"GET / HTTP/1.1\r\nHOST: a\r\nX-Amz-Target:  AmazonSQS.Send \r\nEmpty:\r\n"
            b"Latin: \xe9\r\n\r\n"
        )
        await client.answer()
        assert headers == [
            {"host": "a", "x-amz-target": "AmazonSQS.Send", "empty": "", "latin": "\xe9"}
        ]


async def test_connection_is_kept() -> None:
    async with serving(echo) as (running, client):
        for _ in range(3):
            client.send(POST)
            assert (await client.answer()).body == b"hello"
        assert running.listener.accepted_count == 1


async def test_requests_may_be_split_anywhere() -> None:
    data = POST + GET + POST
    async with serving(echo) as (_, client):
        for index in range(len(data)):
            client.send(data[index : index + 1])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.answer()).body == b"hello"
        assert (await client.answer()).headers["x-method"] == "GET"
        assert (await client.answer()).body == b"hello"


async def test_chunked_body_and_trailers() -> None:
    async with serving(echo) as (_, client):
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n" + GET
        )
        answer = await client.answer()
        assert answer.body == b"hello"
        assert "trailer" not in answer.headers["x-names"]
        assert (await client.answer()).headers["x-names"] == "host"


async def test_head_gets_no_body() -> None:
    def answer_with_body(_: HttpRequest) -> HttpResponse:
        return HttpResponse(200, {}, b"12345")

    async with serving(answer_with_body) as (_, client):
        client.send(GET.replace(b"GET", b"HEAD") + GET)
        head = await client.answer(to_head=True)
        assert head.headers["content-length"] == "5"
        assert (await client.answer()).body == b"12345"


async def test_expectation_is_met_before_the_body_comes() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    async with serving(echo) as (_, client):
        client.send(head)
        assert (await client.answer()).status == 100
        client.send(b"hello")
        assert (await client.answer()).body == b"hello"
        # Whoever does not wait is not told.
        client.send(head + b"hello")
        assert (await client.answer()).status == 200


async def test_expectation_of_too_long_a_body_is_refused() -> None:
    async with serving(echo, body_bytes_max=10) as (_, client):
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = await client.answer()
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        assert await client.ended()


@pytest.mark.parametrize("size", [1000, 1001])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
async def test_body_is_bounded(size: int, chunked: bool, at_once: bool) -> None:
    body = bytes(size)
    if chunked:
        head = b"Transfer-Encoding: chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
    else:
        head = b"Content-Length: %d" % size
    head = b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n"
    async with serving(echo, body_bytes_max=1000) as (_, client):
        if at_once:
            client.send(head + body)
        else:
            client.send(head)
            await client.writer.drain()
            await asyncio.sleep(0)
            client.send(body)
        answer = await client.answer()
        if size <= 1000:
            assert answer.status == 200
            assert len(answer.body) == size
        else:
            assert answer.status == 413
            assert await client.ended()


async def test_refusal_arrives_although_the_body_was_not_read() -> None:
    async with serving(echo, body_bytes_max=1000) as (_, client):
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n")
        client.send(bytes(8_000_000))
        assert (await client.answer()).status == 413
        assert await client.ended()


@pytest.mark.parametrize("at_once", [False, True])
async def test_headers_are_bounded(at_once: bool) -> None:
    limits = Limits(http_header_bytes_max=1000)
    async with serving(echo, limits=limits) as (_, client):
        client.send(GET)
        assert (await client.answer()).status == 200
        begun = b"GET / HTTP/1.1\r\nHost: a\r\nLong: " + b"x" * 1000
        client.send(begun + b"\r\n\r\n" if at_once else begun)
        assert (await client.answer()).status == 431
        assert await client.ended()


async def test_long_target_is_bounded() -> None:
    async with serving(echo, limits=Limits(http_header_bytes_max=1000)) as (_, client):
        client.send(b"GET /" + b"x" * 1000)
        assert (await client.answer()).status == 431


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"CONNECT\naccept-version:1.2\n\n\0",
        b"GET / HTTP/1.1\r\nHost: a\r\nBad header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_malformed_request_is_refused(data: bytes) -> None:
    async with serving(echo) as (_, client):
        client.send(GET + data)
        assert (await client.answer()).status == 200
        answer = await client.answer()
        assert answer.status == 400
        assert answer.headers["connection"] == "close"
        assert await client.ended()


async def test_connection_ends_when_the_client_wishes() -> None:
    async with serving(echo) as (_, client):
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + GET)
        assert (await client.answer()).headers["connection"] == "close"
        assert await client.ended()


async def test_client_of_http_1_0() -> None:
    old = b"GET / HTTP/1.0\r\n"
    async with serving(echo) as (_, client):
        client.send(old + b"Connection: keep-alive\r\n\r\n")
        assert (await client.answer()).headers["connection"] == "keep-alive"
        client.send(old + b"\r\n")
        assert (await client.answer()).headers["connection"] == "close"
        assert await client.ended()


@pytest.mark.parametrize("body", [b"", b"hello"])
async def test_wish_to_upgrade_is_ignored(body: bytes) -> None:
    # Java's HttpClient asks for HTTP/2 with each first request.
    async with serving(echo) as (_, client):
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\nContent-Length: %d\r\n\r\n"
            % len(body)
            + body
            + GET
        )
        assert (await client.answer()).body == body
        assert (await client.answer()).headers["x-method"] == "GET"
        client.send(POST)
        assert (await client.answer()).body == b"hello"


async def test_pipelined_requests_are_answered_in_order() -> None:
    gates = [asyncio.Event() for _ in range(4)]
    begun = asyncio.Event()

    async def slow(number: int) -> HttpResponse:
        if number == 2:
            begun.set()
        await gates[number].wait()
        return HttpResponse(200, {}, b"slow %d" % number)

    def handler(request: HttpRequest) -> HttpResponse | Coroutine[Any, Any, HttpResponse]:
        number = int(request.target[1:])
        return slow(number) if number % 2 == 0 else HttpResponse(200, {}, b"%d" % number)

    async with serving(handler) as (_, client):
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(4)))
        await begun.wait()
        gates[2].set()
        await asyncio.sleep(0)
        gates[0].set()
        bodies = [(await client.answer()).body for _ in range(4)]
        assert bodies == [b"slow 0", b"1", b"slow 2", b"3"]


async def test_pipelined_requests_in_flight_are_bounded() -> None:
    gate, full = asyncio.Event(), asyncio.Event()
    working = 0
    most = 0

    async def slow() -> HttpResponse:
        nonlocal working, most
        working += 1
        most = max(most, working)
        if working == 3:
            full.set()
        await gate.wait()
        working -= 1
        return HttpResponse(200)

    limits = Limits(http_requests_in_flight_max=3)
    async with serving(lambda _: slow(), limits=limits) as (_, client):
        client.send(GET * 5)
        await full.wait()
        client.send(GET * 5)
        gate.set()
        for _ in range(10):
            assert (await client.answer()).status == 200
        assert most == 3


async def test_work_is_cancelled_when_the_client_goes_away() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def receive() -> HttpResponse:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return HttpResponse(200)

    async with serving(lambda _: receive()) as (running, client):
        client.send(GET)
        await begun.wait()
        client.writer.close()
        await cancelled.wait()
        await running.no_connections()
        assert running.log.errors == []


async def test_work_that_had_no_turn_yet_is_dropped_quietly() -> None:
    async def never() -> HttpResponse:
        raise AssertionError

    async with serving(lambda _: never()) as (running, client):
        endpoint = running.listener._endpoint
        assert endpoint is not None
        while not endpoint.connections():
            await asyncio.sleep(0)
        connection = cast("HttpConnection", endpoint.connections()[0])
        connection.data_received(GET)
        connection.eof_received()
        assert await client.ended()
        await closed(client.writer)
        await running.no_connections()


async def test_failing_handler_is_answered_and_logged() -> None:
    async def fail_later() -> HttpResponse:
        raise KeyError("later")

    def fail(request: HttpRequest) -> HttpResponse | Coroutine[Any, Any, HttpResponse]:
        if request.target == "/now":
            raise KeyError("now")
        if request.target == "/injection":
            return HttpResponse(200, {"X": "a\r\nSet-Cookie: b"})
        return fail_later()

    async with serving(fail) as (running, client):
        for target in (b"/now", b"/later", b"/injection"):
            client.send(GET.replace(b"/a?b=c", target))
            assert (await client.answer()).status == 500
        kinds = [type(error) for error in running.log.errors]
        assert kinds == [KeyError, KeyError, ValueError]


async def test_client_that_does_not_read_is_not_worked_for() -> None:
    handled = 0

    def large(_: HttpRequest) -> HttpResponse:
        nonlocal handled
        handled += 1
        return HttpResponse(200, {}, bytes(1024 * 1024))

    limits = Limits(write_buffer_bytes_max=64 * 1024)
    async with serving(large, limits=limits) as (_, client):
        client.send(GET * 200)
        for _ in range(5):
            assert len((await client.answer()).body) == 1024 * 1024
        # The kernel's buffers and one round of work, but not all that was asked for.
        assert handled < 150
        for _ in range(195):
            await client.answer()
        assert handled == 200


async def test_request_that_does_not_end_is_given_up() -> None:
    limits = Limits(http_header_seconds_max=0.4, http_request_seconds_max=0.6)
    for begun in (b"GET / HTTP/1.1\r\nHost:", POST[:-1]):
        async with serving(echo, limits=limits) as (_, client):
            client.send(begun)
            answer = await client.answer()
            assert answer.status == 408
            assert await client.ended()


async def test_connection_at_rest_is_closed() -> None:
    async with serving(echo, limits=Limits(http_idle_seconds_max=0.5)) as (_, client):
        client.send(GET)
        assert (await client.answer()).status == 200
        assert await client.ended()


async def test_long_work_is_no_rest() -> None:
    async def work() -> HttpResponse:
        await asyncio.sleep(1.0)
        return HttpResponse(200)

    limits = Limits(http_idle_seconds_max=0.5, http_header_seconds_max=0.5)
    async with serving(lambda _: work(), limits=limits) as (_, client):
        client.send(GET)
        assert (await client.answer()).status == 200
        assert await client.ended()


async def test_drain_answers_what_was_asked() -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def work() -> HttpResponse:
        begun.set()
        await gate.wait()
        return HttpResponse(200, {}, b"done")

    async with serving(lambda _: work()) as (running, client):
        idle = Client(*await running.connect())
        client.send(GET)
        await begun.wait()
        draining = asyncio.create_task(running.listener.drain(30))
        assert await idle.ended()
        await closed(idle.writer)
        gate.set()
        answer = await client.answer()
        assert answer.body == b"done"
        assert answer.headers["connection"] == "close"
        assert await client.ended()
        await closed(client.writer)
        assert await draining


async def test_absent_body_and_many_connections() -> None:
    async with serving(echo) as (running, _):
        clients = [Client(*await running.connect()) for _ in range(50)]
        for client in clients:
            client.send(POST)
        for client in clients:
            assert (await client.answer()).body == b"hello"
            await closed(client.writer)


async def _unanswered(*, pause: bool) -> HttpResponse:
    if pause:
        await asyncio.sleep(0)
    return NO_ANSWER


@pytest.mark.parametrize(
    "answer",
    [
        lambda: NO_ANSWER,
        lambda: _unanswered(pause=True),
        lambda: Steps(_unanswered(pause=False)),
        lambda: Steps(_unanswered(pause=True)),
    ],
    ids=["at-once", "task", "first-step", "later-step"],
)
async def test_a_connection_may_end_without_an_answer(answer: Callable[[], HttpAnswer]) -> None:
    answers = iter([lambda: HttpResponse(200, {}, b"first"), answer])
    async with serving(lambda _: next(answers)()) as (_, client):
        client.send(GET)
        assert (await client.answer()).body == b"first"
        client.send(GET)
        with suppress(ConnectionResetError):
            assert await client.ended()
