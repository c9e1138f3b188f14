"""How often each fault happens, and the dice that decide when.

Every decision is a hash of the seed, the fault, its place (action and queue or topic) and how many
decisions that place has had: the same requests get the same faults, whatever goes on elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, TypeVar

from bridge.messaging.limits import ServiceLimits

T = TypeVar("T")

PLACES_MAX: Final = 100_000
"""Pairs of fault and place whose decisions are counted; above it, all counts begin again."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates go from 0 (never) to 1 (always). Without arguments, nothing ever goes wrong.

    What configuration leaves out has the defaults of `bridge.config.simulation`.
    """

    seed: int = 1
    duplicate_rate: float = 0.0
    duplicate_seconds: float = 0.0
    reorder_rate: float = 0.0
    reorder_seconds: float = 0.0
    empty_receive_rate: float = 0.0
    partial_receive_rate: float = 0.0
    counts_lag_seconds: float = 0.0
    list_lag_seconds: float = 0.0
    settings_lag_seconds: float = 0.0
    filter_policy_lag_seconds: float = 0.0
    new_queue_seconds: float = 0.0
    throttle_rate: float = 0.0
    error_rate: float = 0.0
    lost_reply_rate: float = 0.0
    batch_failure_rate: float = 0.0
    slow_rate: float = 0.0
    slow_seconds: float = 0.0
    fifo_calls_per_second: int = 0
    """0 sets no bound."""
    in_flight_max: int = ServiceLimits().in_flight_max
    filter_policies_max: int = 0
    """Of all topics together; 0 sets no bound."""


class Dice:
    """Decides, repeatably. `faults` may be replaced at any time."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._thrown: dict[tuple[str, str], int] = {}

    def throw(self, fault: str, place: str) -> float:
        """The place's next number for a fault, from 0 up to 1."""
        key = (fault, place)
        count = self._thrown.get(key, 0)
        if not count and len(self._thrown) >= PLACES_MAX:
            self._thrown.clear()
        self._thrown[key] = count + 1
        text = f"{self.faults.seed}\0{fault}\0{place}\0{count}".encode()
        return int.from_bytes(blake2b(text, digest_size=6).digest(), "big") / 2**48

    def happens(self, fault: str, place: str) -> bool:
        """Whether a fault, named after the field of its rate, happens now."""
        rate: float = getattr(self.faults, fault)
        return rate > 0 and self.throw(fault, place) < rate

    def shuffle(self, items: list[T], place: str) -> None:
        """Put items into another order."""
        items.sort(key=lambda _: self.throw("order", place))
