"""How long wires wait: as long as their defaults say, or several times that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_factor = 1.0


def patient(seconds: float) -> float:
    """So many seconds, with the patience of this moment."""
    return seconds * _factor


@contextmanager
def patience(factor: float) -> Iterator[None]:
    """Have all wires of the process wait that many times as long."""
    global _factor  # noqa: PLW0603 - it is the process that waits
    _factor = factor
    try:
        yield
    finally:
        _factor = 1.0
