"""HTTP/1.1 connections for the SQS and SNS API and for management.

A handler that answers at once costs no task, and the answers of one chunk leave in one write. One
that returns a coroutine gets a task, one that returns a `Pending` calls back; both are cancelled
when their client goes away. Pipelined requests are worked on side by side up to a bound and
answered in order; beyond it, and while the client does not read, reading pauses.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Coroutine
from email.utils import formatdate
from functools import partial
from typing import Any, cast

from bridge.messaging.clock import Clock
from bridge.net.endpoint import Endpoint, Farewell, peer_of
from bridge.net.http_messages import (
    NO_ANSWER,
    HttpHandler,
    HttpRequest,
    HttpResponse,
    encode_response,
)
from bridge.net.http_reader import CLOSE, HttpReader, Received, Reply, timed_out
from bridge.net.steps import Pending
from mappings.gateway import StopReason

NEVER = float("inf")
TIMER_STEP_SECONDS = 0.001
_FAILED = HttpResponse(500, {"Content-Type": "text/plain"}, b"internal error\n")


class DateHeader:
    """The ready `Date` header (RFC 9110, 6.6.1), made anew once a second."""

    __slots__ = ("_clock", "_line", "_valid_until")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._line = b""
        self._valid_until = 0.0

    def line(self, now: float) -> bytes:
        """The header's line; `now` in the loop's seconds."""
        if now >= self._valid_until:
            epoch_ms = self._clock.epoch_ms()
            self._line = f"Date: {formatdate(epoch_ms // 1000, usegmt=True)}\r\n".encode()
            self._valid_until = now + (1000 - epoch_ms % 1000) / 1000
        return self._line


class _Slot:
    """An answer's place in their order; `data` is None while it is worked on."""

    __slots__ = ("coroutine", "data", "last", "pending", "task")

    def __init__(self, data: bytes | None = None, *, last: bool) -> None:
        self.data = data
        self.last = last
        self.task: asyncio.Task[None] | None = None
        self.coroutine: Coroutine[Any, Any, HttpResponse] | None = None
        self.pending: Pending | None = None


class HttpConnection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_active_at",
        "_armed_at",
        "_begun_at",
        "_body_bytes_max",
        "_closing",
        "_date",
        "_endpoint",
        "_handler",
        "_in_flight_max",
        "_out",
        "_peer",
        "_reader",
        "_reading_paused",
        "_received",
        "_shutting_down",
        "_slots",
        "_timer",
        "_transport",
        "_writing_paused",
    )

    _transport: asyncio.Transport
    _reader: HttpReader

    def __init__(
        self, endpoint: Endpoint, handler: HttpHandler, date: DateHeader, body_bytes_max: int
    ) -> None:
        self._endpoint = endpoint
        self._handler = handler
        self._date = date
        self._body_bytes_max = body_bytes_max
        self._in_flight_max = endpoint.limits.http_requests_in_flight_max
        self._peer = ""
        self._closing = False
        self._shutting_down = False
        self._reading_paused = False
        self._writing_paused = False
        self._received: deque[Received] = deque()
        self._slots: deque[_Slot] = deque()
        self._out: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._armed_at = NEVER
        self._active_at = 0.0
        self._begun_at: float | None = None

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)
        endpoint = self._endpoint
        self._transport = transport
        self._peer = peer_of(transport)
        self._reader = HttpReader(
            peer=self._peer,
            scheme="https" if endpoint.secure else "http",
            header_bytes_max=endpoint.limits.http_header_bytes_max,
            body_bytes_max=self._body_bytes_max,
        )
        if not endpoint.admit(self, transport):
            self._closing = True
            return
        transport.set_write_buffer_limits(high=endpoint.limits.write_buffer_bytes_max)
        self._active_at = endpoint.loop.time()
        self._arm(self._active_at + endpoint.limits.http_idle_seconds_max)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._active_at = self._endpoint.loop.time()
        reader = self._reader
        received = reader.feed(data)
        if reader.begun:
            self._watch_request()
        else:
            self._begun_at = None
        if received:
            self._received += received
            self._work()

    def eof_received(self) -> bool | None:
        # Half-closed and gone look the same; a receive for one who is gone would hide messages.
        if not self._closing:
            self._close(peer_has_finished=True)
        return self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._endpoint.remove(self)
        self._end()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._active_at = self._endpoint.loop.time()
        self._work()

    # -- the listener's side

    def shut_down(self, reason: StopReason) -> None:
        """Answer what was asked, then close."""
        self._shutting_down = True
        self._flush()

    def abort(self) -> None:
        self._transport.abort()

    # -- requests and their answers

    def _work(self) -> None:
        """Hand requests to the handler for as long as there is room, and write what is ready."""
        received = self._received
        in_flight_max = self._in_flight_max
        while received and not self._closing and not self._writing_paused:
            if len(self._slots) >= in_flight_max:
                break
            self._begin(received.popleft())
            if len(self._out) >= in_flight_max:
                # Lets the transport say whether the client still reads.
                self._write_out()
        self._flush()
        if received or self._writing_paused or self._reading_paused:
            self._pace()

    def _begin(self, request: Received) -> None:
        if isinstance(request, Reply):
            self._reply(request)
            return
        try:
            result = self._handler(request)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is answered
            self._endpoint.log.failed(self._endpoint.protocol, self._peer, error)
            result = _FAILED
        if isinstance(result, HttpResponse):
            self._respond(request, result)
            return
        slot = _Slot(last=request.last)
        if isinstance(result, Pending):
            response = result.start(partial(self._finish, slot, request))
            if response is not None:
                self._respond(request, response)
                return
            slot.pending = result
            self._slots.append(slot)
            return
        slot.coroutine = result
        self._slots.append(slot)
        slot.task = self._endpoint.network.tasks.start(self._run(slot, request, result))

    async def _run(
        self, slot: _Slot, request: HttpRequest, coroutine: Coroutine[Any, Any, HttpResponse]
    ) -> None:
        try:
            response = await coroutine
        except Exception as error:  # noqa: BLE001 - as above
            self._endpoint.log.failed(self._endpoint.protocol, self._peer, error)
            response = _FAILED
        self._finish(slot, request, response)

    def _finish(self, slot: _Slot, request: HttpRequest, response: HttpResponse) -> None:
        if self._closing:
            return
        slot.task = slot.coroutine = slot.pending = None
        if response is NO_ANSWER:
            self.abort()
            return
        slot.data = self._encode(request, response)
        self._active_at = self._endpoint.loop.time()
        if self._slots[0] is slot:
            self._release()
            if self._received:
                self._work()
            else:
                self._flush()
                if self._writing_paused or self._reading_paused:
                    self._pace()

    def _respond(self, request: HttpRequest, response: HttpResponse) -> None:
        if response is NO_ANSWER:
            self.abort()
        else:
            self._answer(self._encode(request, response), last=request.last)

    def _reply(self, reply: Reply) -> None:
        response = reply.response
        if response is None:
            self._answer(reply.interim, last=False)
        else:
            if reply.problem:
                self._endpoint.refuse(self._peer, reply.problem)
            date = self._date.line(self._active_at)
            self._answer(encode_response(response, date=date, connection=CLOSE), last=True)

    def _answer(self, data: bytes, *, last: bool) -> None:
        if self._slots:
            self._slots.append(_Slot(data, last=last))
        else:
            self._out.append(data)
            if last:
                self._stop_working()

    def _release(self) -> None:
        """Let answers leave that no longer stand behind an open one."""
        slots = self._slots
        while slots and (data := slots[0].data) is not None:
            self._out.append(data)
            if slots.popleft().last:
                self._stop_working()

    def _stop_working(self) -> None:
        self._received.clear()
        self._shutting_down = True

    def _encode(self, request: HttpRequest, response: HttpResponse) -> bytes:
        connection = request.connection
        if self._shutting_down and not connection:
            connection = CLOSE
        head_only = request.method == "HEAD"
        date = self._date.line(self._active_at)
        try:
            return encode_response(response, date=date, connection=connection, head_only=head_only)
        except (ValueError, TypeError, AttributeError) as error:
            self._endpoint.log.failed(self._endpoint.protocol, self._peer, error)
            return encode_response(_FAILED, date=date, connection=connection, head_only=head_only)

    def _write_out(self) -> None:
        out = self._out
        self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()

    def _flush(self) -> None:
        if self._out:
            self._write_out()
        if self._shutting_down and not self._closing and not self._slots and not self._received:
            self._close()

    def _pace(self) -> None:
        """Read only while there is room for what would be read."""
        wanted = bool(self._received) or self._writing_paused
        if wanted is not self._reading_paused and not self._closing:
            self._reading_paused = wanted
            if wanted:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # -- time

    def _watch_request(self) -> None:
        if self._begun_at is None:
            self._begun_at = self._active_at
            self._arm(self._active_at + self._endpoint.limits.http_header_seconds_max)

    def _deadline(self) -> float:
        limits = self._endpoint.limits
        if self._writing_paused:
            return self._active_at + limits.http_idle_seconds_max
        if self._slots or self._received:
            return NEVER
        if self._begun_at is None:
            return self._active_at + limits.http_idle_seconds_max
        if self._reader.headers_complete:
            return self._begun_at + limits.http_request_seconds_max
        return self._begun_at + limits.http_header_seconds_max

    def _arm(self, deadline: float) -> None:
        if deadline >= self._armed_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        loop = self._endpoint.loop
        delay = max(deadline - loop.time(), 0.0) + TIMER_STEP_SECONDS
        self._timer = loop.call_later(delay, self._timer_fired)
        self._armed_at = deadline

    def _timer_fired(self) -> None:
        self._timer = None
        self._armed_at = NEVER
        if self._closing:
            return
        now = self._endpoint.loop.time()
        deadline = self._deadline()
        if deadline > now:
            self._arm(min(deadline, now + self._endpoint.limits.http_idle_seconds_max))
        elif self._writing_paused:
            self.abort()
        elif self._begun_at is not None:
            self._received.append(timed_out())
            self._work()
        else:
            self._close()

    # -- the end

    def _close(self, *, peer_has_finished: bool = False) -> None:
        if self._out:
            self._write_out()
        self._end()
        Farewell(self._endpoint, self._transport, self, peer_has_finished=peer_has_finished)

    def _end(self) -> None:
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._reader.close()
        self._received.clear()
        slots, self._slots = self._slots, deque()
        for slot in slots:
            if slot.task is not None:
                slot.task.cancel()
            if slot.pending is not None:
                slot.pending.cancel()
            if (
                slot.coroutine is not None
                and inspect.getcoroutinestate(slot.coroutine) == inspect.CORO_CREATED
            ):
                # Its task had no turn yet.
                slot.coroutine.close()


__all__ = ["DateHeader", "HttpConnection", "HttpHandler", "HttpRequest", "HttpResponse"]
