"""What both ends of an AMQP connection share: frames out of chunks, heartbeats, the output.

AMQP 0-9-1, 4.2.3 (frames) and 4.2.7 (heartbeats). An incomplete frame is kept in the pieces in
which it came and joined once it is whole, so that time is linear in the octets received; memory is
bounded by the negotiated frame size plus one chunk.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any

from adapters.amqp091.errors import (
    AmqpError,
    HardError,
    frame_error,
    octets_shown,
    too_early,
    unexpected_frame,
    unknown_frame,
)
from adapters.amqp091.limits import (
    EARLY_BYTES_MAX,
    FRAME_OVERHEAD,
    FRAME_SIZE_MIN,
    ConnectionLimits,
)
from adapters.amqp091.methods import (
    FRAME_BODY,
    FRAME_END,
    FRAME_HEAD,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    HEARTBEAT,
)
from adapters.connection import ConnectionFailed

_FRAME_TYPES = frozenset({FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT})
_HEAD_SIZE = 7


class AmqpConnection(ABC):
    """The framing layer; a role implements `_preamble`, `_frame`, `_broken` and may add `_fast`."""

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        self.limits = limits
        self.frame_size_max = min(limits.frame_size_max, FRAME_SIZE_MIN)
        """Until a larger one is negotiated, peers need take no more than this (4.2.3)."""
        self.channel_max = limits.channel_max
        self.heartbeat_seconds = 0.0
        self._payload_max = limits.frame_size_max - FRAME_OVERHEAD
        self._pieces: list[bytes] = []
        self._held = 0
        self._needed = 8
        self._preamble_done = False
        self._holding = False
        """What comes is kept, and not looked at until `_go_on`."""
        self._finished = False
        self._events: list[Any] = []
        self._output: list[bytes] = []
        self._wrote = False
        self._received_at = now
        self._beat_at: float | None = None
        self._give_up_at: float | None = None
        self._give_up_reason = ""

    # The contract of adapters.connection

    def receive_data(self, data: bytes, now: float) -> None:
        """Take in a chunk; never raises for bad input."""
        self._received_at = now
        if self._finished or not data:
            return
        if self._held:
            self._pieces.append(data)
            self._held += len(data)
            if self._held < self._needed:
                if self._holding and self._held > EARLY_BYTES_MAX:
                    self._keep(b"")
                    self._broken(too_early(EARLY_BYTES_MAX), now)
                return
            data = b"".join(self._pieces)
        elif len(data) < self._needed:
            self._keep(data)
            return
        self._take(data, now)

    def _take(self, data: bytes, now: float) -> None:
        """Decode what is complete and keep the rest."""
        try:
            position = self._decode(data, now)
        except HardError as error:
            self._keep(b"")
            self._broken(error, now)
            return
        self._keep(b"" if self._finished else data[position:])

    def receive_eof(self, now: float) -> None:
        """The peer has closed its half."""
        self.finish("the peer closed the connection")

    def next_events(self) -> list[Any]:
        """Return and forget the events since the last call."""
        events = self._events
        self._events = []
        return events

    def data_to_send(self) -> list[bytes]:
        """Return and forget the encoded output."""
        if not self._output:
            return []
        self._wrote = True
        # Consumers hold on to the list itself.
        output = self._output[:]
        self._output.clear()
        return output

    def next_deadline(self) -> float | None:
        """When `handle_deadline` is due."""
        if self._finished:
            return None
        deadlines = [at for at in (self._give_up_at, self._beat_at) if at is not None]
        if self.heartbeat_seconds:
            deadlines.append(self._received_at + 2 * self.heartbeat_seconds)
        return min(deadlines, default=None)

    def handle_deadline(self, now: float) -> None:
        """Send a heartbeat where nothing else was sent; give up on a peer that is silent."""
        if self._finished:
            return
        if self._give_up_at is not None and now >= self._give_up_at:
            self.finish(self._give_up_reason)
            return
        if not self.heartbeat_seconds:
            return
        if now >= self._received_at + 2 * self.heartbeat_seconds:
            # Two intervals without a sign of life (4.2.7); there is nobody left to send a close to.
            self.finish(f"missed heartbeats, timeout: {self.heartbeat_seconds:g}s")
        elif self._beat_at is not None and now >= self._beat_at:
            if not self._wrote and not self._output:
                self._output.append(HEARTBEAT)
            self._wrote = False
            self._beat_at = now + self.heartbeat_seconds / 2

    def finish(self, reason: str) -> None:
        """Nothing more is read or owed: the last event."""
        if not self._finished:
            self._finished = True
            self._keep(b"")
            self._events.append(ConnectionFailed(reason))

    # For the roles

    def _hold(self) -> None:
        """Look at nothing more until `_go_on`: what comes next depends on an answer."""
        self._holding = True

    def _go_on(self) -> None:
        """Look at what came in the meantime."""
        if not self._holding:
            return
        self._holding = False
        data = b"".join(self._pieces)
        self._keep(b"")
        if data:
            self._take(data, self._received_at)

    def _start_heartbeats(self, seconds: int, now: float) -> None:
        self.heartbeat_seconds = float(seconds)
        self._beat_at = now + seconds / 2 if seconds else None

    def _stop_heartbeats(self) -> None:
        self.heartbeat_seconds = 0.0
        self._beat_at = None

    def _use_frame_size(self, frame_size_max: int) -> None:
        self.frame_size_max = frame_size_max
        self._payload_max = frame_size_max - FRAME_OVERHEAD

    def _give_up(self, at: float | None, reason: str = "") -> None:
        self._give_up_at, self._give_up_reason = at, reason

    def _keep(self, rest: bytes) -> None:
        """Hold an incomplete frame, with a note of how much it needs."""
        self._pieces = [rest] if rest else []
        self._held = len(rest)
        if self._holding:
            self._needed = sys.maxsize
        elif not self._preamble_done:
            self._needed = 8
        elif self._held < _HEAD_SIZE:
            self._needed = _HEAD_SIZE
        else:
            self._needed = FRAME_HEAD.unpack_from(rest)[2] + FRAME_OVERHEAD

    def _decode(self, data: bytes, now: float) -> int:
        """Handle every complete frame; return where the incomplete one begins."""
        position, end = 0, len(data)
        if not self._preamble_done:
            if not self._preamble(data[:8], now):
                return end
            self._preamble_done = True
            position = 8
        while end - position >= _HEAD_SIZE and not (self._finished or self._holding):
            kind, number, size = FRAME_HEAD.unpack_from(data, position)
            if kind not in _FRAME_TYPES:
                raise unknown_frame(kind, data[position + _HEAD_SIZE :][:size])
            if size > self.frame_size_max:
                # As RabbitMQ does, forgive those who do not count the octets around the payload.
                raise frame_error(
                    f"{octets_shown(kind, b'')}:"
                    f" {{frame_too_large,{size},{self.frame_size_max - FRAME_OVERHEAD}}}"
                )
            stop = position + _HEAD_SIZE + size
            if stop >= end:
                break
            if kind == FRAME_METHOD:
                reached = self._fast(data, position, number)
                if reached != position:
                    position = reached
                    continue
            payload = data[position + _HEAD_SIZE : stop]
            if data[stop] != FRAME_END:
                raise frame_error(
                    f"{octets_shown(kind, payload)}: {{invalid_frame_end_marker,{data[stop]}}}"
                )
            position = stop + 1
            if kind == FRAME_HEARTBEAT:
                if size:
                    raise unknown_frame(kind, payload)
                if number:
                    raise unexpected_frame(octets_shown(kind, payload))
            else:
                try:
                    self._frame(kind, number, payload, now)
                except HardError as error:
                    # The frames are in order, so that those behind it can still be told apart.
                    self._broken(error, now)
        return position

    def _fast(self, data: bytes, position: int, number: int) -> int:
        """Handle frequent frames in bulk; returns the position that it reached."""
        return position

    @abstractmethod
    def _preamble(self, header: bytes, now: float) -> bool:
        """Judge the first eight octets; False discards everything behind them."""

    @abstractmethod
    def _frame(self, kind: int, number: int, payload: bytes, now: float) -> None:
        """Handle a frame. Raises `HardError`."""

    @abstractmethod
    def _broken(self, error: AmqpError, now: float) -> None:
        """What came was no frame, or not the right one."""
