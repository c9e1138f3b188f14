"""How many log lines one host may cause where a line costs it next to nothing.

A connection is a line or two and costs a connection; the requests and channels of one connection
cost a few bytes each, and a broken client's loop would write a log full within hours. Of each kind
of line and host so many are written in a minute; the last of them says that the next ones are
left out, and the first one after that minute says how many they were.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

WINDOW_SECONDS: Final = 60.0
SOURCES_MAX: Final = 1_000
"""Kinds and hosts that are watched at once; the one that was quiet for longest is forgotten."""


class _Window:
    __slots__ = ("began_at", "left_out", "written")

    def __init__(self, now: float) -> None:
        self.began_at = now
        self.written = 0
        self.left_out = 0


class Repeats:
    """Decides about each line that is bounded."""

    __slots__ = ("_lines_max", "_windows")

    def __init__(self, lines_per_minute_max: int) -> None:
        self._lines_max = lines_per_minute_max
        self._windows: OrderedDict[tuple[str, ...], _Window] = OrderedDict()

    def note(self, source: tuple[str, ...], now: float) -> dict[str, object] | None:
        """What the line of `source` says about its like; None where it is left out."""
        windows = self._windows
        window = windows.get(source)
        said: dict[str, object] = {}
        if window is None or now - window.began_at >= WINDOW_SECONDS:
            if window is not None and window.left_out:
                said["left_out"] = window.left_out
            window = windows[source] = _Window(now)
        windows.move_to_end(source)
        if len(windows) > SOURCES_MAX:
            windows.popitem(last=False)
        if window.written >= self._lines_max:
            window.left_out += 1
            return None
        window.written += 1
        if window.written == self._lines_max:
            said["note"] = "more of these from this host are left out for a minute"
        return said
