"""One asyncio protocol for all legacy protocols: it carries bytes and time between a socket and a
gateway.

The hot path is `data_received`: the chunk goes to the gateway, what the gateway wrote leaves in one
write, and the timer is touched only if the gateway's deadline came nearer. Writes made outside of
it are collected until the end of the loop's iteration, by the loop where it does so of itself: a
flush of our own would come an iteration later. The timer is armed lazily: a deadline that
moved away is noticed when the old one fires. A connection at rest has no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from bridge.net.deadlines import SHARED_FROM_SECONDS, Slot
from bridge.net.endpoint import Endpoint, Farewell, peer_from_address, peer_of
from bridge.net.tls import certificate_user_of
from mappings.gateway import Gateway, StopReason, Transport

GatewayFactory = Callable[[Transport], Gateway]

INTERNAL_ERROR = "internal error"
NEVER = float("inf")
TIMER_STEP_SECONDS = 0.001
"""Loops count in milliseconds and may fire up to half of one early."""
DEADLINE_GAP_SECONDS = 0.010
"""Least time between two calls of `handle_deadline`, so that one that stays due does not spin."""


class Driver(asyncio.Protocol):
    """One connection: the gateway's `Transport` on one side, an asyncio protocol on the other."""

    __slots__ = (
        "_armed_at",
        "_close_reason",
        "_closing",
        "_eof_received",
        "_factory",
        "_flush_due",
        "_gateway",
        "_input_held",
        "_out",
        "_reading_paused",
        "_silence_is_ours",
        "_timer",
        "_transport",
        "_writes_at_once",
        "_writing_paused",
        "certificate_user",
        "endpoint",
        "peer",
    )

    _transport: asyncio.Transport

    def __init__(self, endpoint: Endpoint, factory: GatewayFactory) -> None:
        self.endpoint = endpoint
        self.peer = ""
        self.certificate_user: str | None = None
        self._factory = factory
        self._gateway: Gateway | None = None
        self._out: list[bytes] = []
        self._flush_due = False
        self._closing = False
        self._close_reason = "closed by the broker"
        self._eof_received = False
        self._reading_paused = False
        self._input_held = False
        self._silence_is_ours = False
        self._writing_paused = False
        self._writes_at_once = endpoint.loop_collects_writes
        self._timer: asyncio.TimerHandle | Slot | None = None
        self._armed_at = NEVER

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        if not self.endpoint.admit(self, transport):
            self._closing = True
            return
        self.peer = peer_of(transport)
        if self.endpoint.secure:
            self.certificate_user = certificate_user_of(transport)
        transport.set_write_buffer_limits(high=self.endpoint.limits.write_buffer_bytes_max)
        self._begin()

    def _begin(self) -> None:
        """The transport carries bytes: start what is to be spoken over it."""
        self._open_gateway()

    def _open_gateway(self) -> None:
        try:
            self._gateway = self._factory(self)
            self._watch_deadline(self._gateway)
        except Exception as error:  # noqa: BLE001 - what a gateway raises ends its connection
            self._fail(error)

    def data_received(self, data: bytes) -> None:
        gateway = self._gateway
        if gateway is None or self._closing:
            return
        self._flush_due = True
        try:
            gateway.data_received(data)
            if self._out or self._closing:
                self.flush()
            else:
                self._flush_due = False
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def eof_received(self) -> bool | None:
        self._eof_received = True
        gateway = self._gateway
        if gateway is None or self._closing:
            return False
        self._flush_due = True
        try:
            answers_owed = gateway.eof_received()
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
            return self._transport.can_write_eof()
        if not self._closing:
            self._close_reason = "closed by the client"
            if answers_owed:
                self._restart_timer(self.endpoint.limits.half_open_seconds_max)
            else:
                self._closing = True
        self.flush()
        # Over TLS there is no half-closed state: asyncio closes, whatever is returned.
        return self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.endpoint.remove(self)
        if isinstance(exc, OSError) and exc.strerror:
            reason = exc.strerror.lower()
        elif exc is not None:
            reason = str(exc) or type(exc).__name__
        else:
            reason = self._close_reason if self._closing else "closed by the client"
        self._leave(reason)

    def pause_writing(self) -> None:
        self._writing_paused = True
        if self._writes_at_once:
            # It may be said from within a write, which the gateway is in the middle of.
            self.endpoint.loop.call_soon(self._tell_paused)
        else:
            self._tell_paused()

    def _tell_paused(self) -> None:
        if self._gateway is not None and self._writing_paused:
            try:
                self._gateway.pause_writing()
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(error)

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._input_held:
            self._input_held = False
            if not self._reading_paused:
                self._transport.resume_reading()
        if self._gateway is not None:
            try:
                self._gateway.resume_writing()
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(error)

    # -- the gateway's side

    @property
    def local(self) -> str:
        return peer_from_address(self._transport.get_extra_info("sockname"))

    @property
    def secure(self) -> bool:
        return self.endpoint.secure

    @property
    def loopback(self) -> bool:
        return self.endpoint.loopback

    def write(self, data: Sequence[bytes]) -> None:
        if self._closing:
            return
        if self._flush_due:
            self._out += data
        elif self._writes_at_once:
            # As `_send_all`, whose calls would cost 1 % of a message that is alone in its chunk.
            try:
                self._transport.write(data[0] if len(data) == 1 else b"".join(data))
                if self._writing_paused:
                    self._hold_input()
            except Exception as error:  # noqa: BLE001 - as above
                self._fail_sending(error)
        else:
            self._out += data
            self._flush_due = True
            self.endpoint.flush_soon(self)

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if not self._flush_due:
            self._flush_due = True
            self.endpoint.flush_soon(self)

    def pause_reading(self) -> None:
        if self._reading_paused or self._closing:
            return
        self._reading_paused = True
        if not self._input_held:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading_paused:
            return
        self._reading_paused = False
        self._silence_is_ours = True
        if not self._input_held and not self._closing:
            self._transport.resume_reading()

    def deadline_changed(self) -> None:
        if self._gateway is not None and not self._closing:
            self._watch_deadline(self._gateway)

    # -- the listener's side

    def shut_down(self, reason: StopReason) -> None:
        gateway = self._gateway
        if gateway is None:
            self.close()
            return
        try:
            gateway.shut_down(reason)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def abort(self) -> None:
        self._transport.abort()

    # -- output

    def flush(self) -> None:
        """Send what was written; see `Endpoint.flush_soon`."""
        self._flush_due = False
        out = self._out
        if out:
            self._out = []
            self._send_all(out)
        if self._closing:
            try:
                self._finish()
            except Exception as error:  # noqa: BLE001 - as above
                self._fail_sending(error)

    def _send_all(self, pieces: Sequence[bytes]) -> None:
        try:
            self._send(pieces)
            if self._writing_paused:
                self._hold_input()
        except Exception as error:  # noqa: BLE001 - as above
            self._fail_sending(error)

    def _fail_sending(self, error: Exception) -> None:
        self.endpoint.log.failed(self.endpoint.protocol, self.peer, error)
        self._transport.abort()

    def _send(self, pieces: Sequence[bytes]) -> None:
        self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _hold_input(self) -> None:
        """Stop reading a client that goes on asking without reading the answers."""
        if self._input_held or self._closing:
            return
        if (
            self._transport.get_write_buffer_size()
            > 2 * self.endpoint.limits.write_buffer_bytes_max
        ):
            self._input_held = True
            if not self._reading_paused:
                self._transport.pause_reading()

    # -- time

    def _watch_deadline(self, gateway: Gateway) -> None:
        deadline = gateway.next_deadline()
        if deadline is not None and deadline < self._armed_at:
            self._arm(deadline)

    def _arm(self, deadline: float) -> None:
        self._stop_timer()
        endpoint = self.endpoint
        delay = max(deadline - endpoint.monotonic(), 0.0) + TIMER_STEP_SECONDS
        self._timer = (
            endpoint.loop.call_later(delay, self.deadline_passed)
            if delay < SHARED_FROM_SECONDS
            else endpoint.deadlines.add(self, deadline)
        )
        self._armed_at = deadline

    def deadline_passed(self) -> None:
        """The timer fired: see whether the gateway's deadline is still where it was."""
        self._timer = None
        # Whatever the gateway says of its deadline until it is asked below.
        self._armed_at = -NEVER
        gateway = self._gateway
        if gateway is None or self._closing:
            return
        try:
            now = self.endpoint.monotonic()
            deadline = gateway.next_deadline()
            if deadline is not None and deadline <= now:
                self._handle_deadline(gateway, now)
                deadline = gateway.next_deadline()
                if deadline is not None:
                    deadline = max(deadline, now + DEADLINE_GAP_SECONDS)
            self._armed_at = NEVER
            if deadline is not None and not self._closing:
                self._arm(deadline)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def _handle_deadline(self, gateway: Gateway, now: float) -> None:
        self._flush_due = True
        if self._reading_paused or self._silence_is_ours:
            # Time in which we did not read does not count against the client (design 3).
            self._silence_is_ours = False
            gateway.data_received(b"")
        gateway.handle_deadline(now)
        self.flush()

    # -- the end

    def _restart_timer(self, seconds: float) -> None:
        """Bound a phase in which the gateway's deadlines do not matter; see `_too_long`."""
        self._stop_timer()
        self._timer = self.endpoint.loop.call_later(seconds, self._too_long)
        self._armed_at = -NEVER

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if isinstance(timer, Slot):
            timer.discard(self)
        elif timer is not None:
            timer.cancel()
        self._armed_at = NEVER

    def _too_long(self) -> None:
        """The client has closed its half long ago and the gateway still owes it answers."""
        self.close()

    def _fail(self, error: Exception) -> None:
        """A bug here: it costs this connection, and no other."""
        self.endpoint.log.failed(self.endpoint.protocol, self.peer, error)
        self._close_reason = INTERNAL_ERROR
        self._closing = True
        self.flush()

    def _finish(self) -> None:
        """All was written: leave the transport, let the gateway release what the client held."""
        if self._transport.get_protocol() is not self:
            return
        self._goodbye()
        Farewell(self.endpoint, self._transport, self, peer_has_finished=self._eof_received)
        self._leave(self._close_reason)

    def _goodbye(self) -> None:
        """Write what the transport's own protocol owes at the end."""

    def _leave(self, reason: str) -> None:
        self._closing = True
        self._out = []
        self._stop_timer()
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            try:
                gateway.connection_lost(reason)
            except Exception as error:  # noqa: BLE001 - as above
                self.endpoint.log.failed(self.endpoint.protocol, self.peer, error)
