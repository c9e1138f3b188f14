"""STOMP heart-beats in both directions, from the negotiation to the deadlines.

STOMP 1.2, "Heart-beating". A client that announces `cx,cy` can send every cx milliseconds and wants
to hear from us every cy. We agree to both, within a bound, by answering `cy,cx`. What we send is
spaced so that two checks fit into an interval; what we receive may be late by one interval, since
networks and pauses of a client's collector are no reason to lose a connection.
"""

from __future__ import annotations

from adapters.stomp.frames import FrameError

INTERVAL_MS_MIN = 100
INTERVAL_MS_MAX = 24 * 60 * 60 * 1000
TOLERANCE = 2.0
"""Silence of this many intervals ends the connection."""
_CHECKS_PER_INTERVAL = 2.5


class HeartBeats:
    """The two timers of one connection."""

    __slots__ = (
        "_check_seconds",
        "_next_check",
        "_received_at",
        "_silence_seconds_max",
        "_was_quiet",
        "receive_ms",
        "send_ms",
    )

    def __init__(self) -> None:
        self.send_ms = 0
        self.receive_ms = 0
        self._check_seconds = 0.0
        self._silence_seconds_max = 0.0
        self._next_check: float | None = None
        self._received_at = 0.0
        self._was_quiet = True

    def negotiate(self, header: str | None) -> None:
        """Take the client's header `heart-beat`. Raises `FrameError` for a malformed one."""
        first, separator, second = (header or "0,0").partition(",")
        first, second = first.strip(), second.strip()
        if not (separator and first.isdecimal() and second.isdecimal()) or len(first + second) > 20:
            raise FrameError(
                "Invalid header",
                f"heart-beat '{(header or '')[:40]}' is not two numbers of milliseconds\n",
            )
        self.receive_ms = _within_bounds(int(first))
        self.send_ms = _within_bounds(int(second))

    def start(self, now: float) -> None:
        self._received_at = now
        self._silence_seconds_max = self.receive_ms / 1000 * TOLERANCE
        if self.send_ms:
            self._check_seconds = self.send_ms / 1000 / _CHECKS_PER_INTERVAL
            self._next_check = now + self._check_seconds

    def received(self, now: float) -> None:
        self._received_at = now

    def sent(self) -> None:
        self._was_quiet = False

    def next_deadline(self) -> float | None:
        check = self._next_check
        if self.receive_ms:
            silence = self._received_at + self._silence_seconds_max
            return silence if check is None else min(check, silence)
        return check

    def is_silent(self, now: float) -> bool:
        """Whether the client has been silent for too long."""
        return bool(self.receive_ms) and now >= self._received_at + self._silence_seconds_max

    def is_due(self, now: float) -> bool:
        """Whether to send a heart-beat now; schedules the next check."""
        if self._next_check is None or now < self._next_check:
            return False
        self._next_check = now + self._check_seconds
        was_quiet = self._was_quiet
        self._was_quiet = True
        return was_quiet


def _within_bounds(milliseconds: int) -> int:
    return min(max(milliseconds, INTERVAL_MS_MIN), INTERVAL_MS_MAX) if milliseconds else 0
