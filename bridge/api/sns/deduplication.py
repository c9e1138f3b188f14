"""Deduplication of FIFO topics: five minutes from acceptance, for a topic or for each group,
durable.

The records are written with the publish itself, in one unit of work. SNS developer guide, message
deduplication.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bridge.messaging.clock import Clock
from bridge.messaging.commits import committed
from bridge.messaging.model import StateChange, UnitOfWork
from bridge.messaging.ports import StateStore, Store

KIND = "sns-deduplication"
SEPARATOR = "\0"
"""Between the parts of a key, of which the topic's name is the first."""
WINDOW_MS = 300_000
_SEQUENCE_STEP = 1 << 20
"""Sequence numbers begin at the clock's milliseconds times this, so that they also rise over
restarts.
"""


class Published(msgspec.Struct, array_like=True):
    """What a publish within the window was answered with."""

    message_id: str
    sequence_number: str
    until: int


class TopicDeduplication:
    """What FIFO topics have accepted within the window."""

    def __init__(self, state: StateStore, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._accepted: dict[str, Published] | None = None
        self._sequence = 0

    def duplicate_of(self, key: str) -> Published | None:
        """The earlier publish that one with this key repeats."""
        found = self._loaded().get(key)
        return found if found is not None and found.until > self._clock.epoch_ms() else None

    def next_sequence_number(self) -> str:
        """Twenty digits, rising, not consecutive."""
        self._sequence = max(self._sequence + 1, self._clock.epoch_ms() * _SEQUENCE_STEP)
        return f"{self._sequence:020d}"

    def accept(self, key: str, message_id: str, sequence_number: str, unit: UnitOfWork) -> None:
        """Note a publish, and let its unit of work write that down."""
        accepted = self._loaded()
        now = self._clock.epoch_ms()
        for old, published in list(accepted.items()):
            # They stand in the order in which their windows end.
            if published.until > now:
                break
            del accepted[old]
            unit.state.append(StateChange(KIND, old, None))
        published = Published(message_id, sequence_number, now + WINDOW_MS)
        accepted.pop(key, None)
        accepted[key] = published
        unit.state.append(StateChange(KIND, key, msgspec.msgpack.encode(published)))

    def forget(self, key: str) -> None:
        """The publish failed after all."""
        self._loaded().pop(key, None)

    async def forget_topic(self, name: str, store: Store) -> None:
        """Forget what a topic accepted: one that is made anew under its name begins anew."""
        accepted = self._loaded()
        unit = UnitOfWork(answered=True)
        for key in [key for key in accepted if key.partition(SEPARATOR)[0] == name]:
            del accepted[key]
            unit.state.append(StateChange(KIND, key, None))
        if unit.state:
            await committed(store, unit)

    def _follow(self, changes: Iterable[StateChange]) -> None:
        """Another node has published, or has forgotten what is over."""
        accepted = self._loaded()
        for _, key, value in changes:
            accepted.pop(key, None)
            if value is not None:
                accepted[key] = msgspec.msgpack.decode(value, type=Published)

    def _loaded(self) -> dict[str, Published]:
        if self._accepted is None:
            self._state.watch([KIND], self._follow)
            stored = [
                (key, msgspec.msgpack.decode(value, type=Published))
                for key, value in self._state.scan(KIND)
            ]
            stored.sort(key=lambda pair: pair[1].until)
            self._accepted = dict(stored)
        return self._accepted
