"""How fast messages come, and when it pays to wait for ten of them. Hot path: once per call.

SQS charges by the call, so a call is to carry ten messages wherever that costs no latency that
anybody would notice. Where ten come within `AwsLimits.fill_seconds_max`, a send waits until they
are there (`bridge.backends.aws.batches`), and polls leave as far apart as ten take to come.
Where they do not, nothing waits for them: a message leaves, and is polled for, as soon as it can.
"""

from __future__ import annotations

from math import exp, inf
from typing import Final

from bridge.backends.aws.limits import AwsLimits
from bridge.messaging.limits import ServiceLimits

TEN: Final = ServiceLimits().batch_entries_max
MEMORY_SECONDS: Final = 0.25
"""What came longer ago hardly counts; after such a silence it is counted anew."""
DOUBT_SECONDS: Final = 0.05
"""So long nothing is taken to have come before a count begins."""
FILLING: Final = 0.95
"""How full polls are to be, on average: at 1 a backlog would stay for ever."""
BEHIND_POLLS: Final = 12
"""Full polls in a row, after which more is there than was thought, and polls follow at once."""
BACKLOG_POLLS: Final = 48
"""Full polls in a row, after which there is a backlog, and each one lets one more be opened."""
SLOWDOWN: Final = 1.05
"""By how much a poll's way may seem to grow with each one: most of its time may be waiting."""


class Rate:
    """Messages per second, those of a moment ago counting most."""

    __slots__ = ("_at", "_count", "_seconds")

    def __init__(self) -> None:
        self._count = 0.0
        self._seconds = 0.0
        self._at = -inf

    def add(self, count: int, now: float) -> None:
        """`count` messages came; `now` is the loop's time."""
        if now - self._at > MEMORY_SECONDS:
            self._count, self._seconds = 0.0, DOUBT_SECONDS
        else:
            kept = exp((self._at - now) / MEMORY_SECONDS)
            self._count = self._count * kept + count
            self._seconds = self._seconds * kept + MEMORY_SECONDS * (1.0 - kept)
        self._at = now

    def seconds_for(self, count: float, now: float) -> float:
        """How long so many take to come; infinite if none have."""
        kept = exp((self._at - now) / MEMORY_SECONDS)
        if not self._count * kept:
            return inf
        seconds = self._seconds * kept + MEMORY_SECONDS * (1.0 - kept)
        return count * seconds / (self._count * kept)


class PollPace:
    """When the next poll of a queue may leave, and how many may be open.

    While ten messages come within `fill_seconds_max`, a poll leaves once as many may be there as it
    can bring, on average a little earlier: it would be answered with the first one. That begins
    when a poll brings fewer than it asked for, so all there was. Full polls in a row say that more
    is there: they follow one another at once then, and in the end more and more of them are open.
    Otherwise as many are open as it takes to have one answered each time that ten have come. Slower
    messages are waited for where one may come within `poll_linger_seconds`.
    """

    __slots__ = ("_full", "_limits", "_rate", "_way", "at", "open_max")

    def __init__(self, limits: AwsLimits) -> None:
        self._limits = limits
        self._rate = Rate()
        self._full = BACKLOG_POLLS
        """Full polls in a row. What is not known to come at a pace may be a backlog."""
        self._way = inf
        """About how long a poll takes that does not wait."""
        self.at = 0.0
        """When the next poll may leave (the loop's time)."""
        self.open_max = 1

    def left(self, now: float) -> None:
        """A poll was opened."""
        fill = self._rate.seconds_for(TEN * FILLING, now)
        # After a silence the pace of before says nothing.
        if self._full < BEHIND_POLLS and fill <= self._limits.fill_seconds_max:
            self.at = now + fill

    def came(self, count: int, asked: int, seconds: float, now: float) -> None:
        """A poll for `asked` messages has brought `count`, after so many seconds."""
        limits = self._limits
        self._rate.add(count, now)
        self._way = min(self._way * SLOWDOWN, seconds)
        fill = self._rate.seconds_for(TEN * FILLING, now)
        needed = 1 + int(self._way / fill)
        if count < asked:
            paced = fill <= limits.fill_seconds_max
            self._full = 0 if paced else BACKLOG_POLLS
            self.at = now + (fill if paced else self._linger(now))
        elif self._full < BACKLOG_POLLS:
            self._full += 1
        else:
            needed = max(needed, self.open_max) + 1
        self.open_max = min(needed, limits.polls_per_queue_max)

    def _linger(self, now: float) -> float:
        linger = self._limits.poll_linger_seconds
        return linger if self._rate.seconds_for(1, now) <= linger else 0.0

    def failed(self) -> None:
        """A poll was not answered."""
        self.open_max = 1
