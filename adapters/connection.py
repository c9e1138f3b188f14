"""The contract of every protocol's connection, sans-IO.

Bytes and the time go in; events and bytes come out. A connection opens no socket, reads no clock
and starts no task, so that a test can drive it byte by byte and one network driver serves them all.
Order of calls: ``receive_data`` -> ``next_events`` -> (answers) -> ``data_to_send``; the deadline
is asked for after each of these. A connection that has failed has queued the protocol's own error
and yields `ConnectionFailed` as its last event.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

Event = TypeVar("Event")


class ConnectionFailed:
    """The peer broke the protocol or went silent: send what is queued, then close the transport."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"ConnectionFailed({self.reason!r})"


class Connection(Protocol[Event]):
    """One protocol connection in the server role (or, where links need it, the client role)."""

    def receive_data(self, data: bytes, now: float) -> None:
        """Take in what the transport read at `now`, monotonic seconds; never raises for bad input.

        Empty data is a sign of life: reading was paused, so the silence was not the peer's.
        """
        ...

    def receive_eof(self, now: float) -> None:
        """The peer has closed its half; what was incomplete is discarded."""
        ...

    def next_events(self) -> list[Event]:
        """Return and forget the events since the last call, in wire order."""
        ...

    def data_to_send(self) -> list[bytes]:
        """Return and forget the encoded output, in order; meant for one joined write."""
        ...

    def next_deadline(self) -> float | None:
        """Monotonic seconds at which `handle_deadline` is due, or None; changes with every call."""
        ...

    def handle_deadline(self, now: float) -> None:
        """Act on the time (heart-beats, time-outs); calling it early or twice is harmless."""
        ...
