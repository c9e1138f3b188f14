"""How often consumers gave messages back: what a return limit goes by.

SQS counts receives, and prefetched messages that are released count there too. So returns are
counted here: in the shared state for queues that have a limit, for whichever node and run gets the
message next, and in memory for others. Both are bounded; what is oldest goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from bridge.messaging.model import StateChange, UnitOfWork

if TYPE_CHECKING:
    from bridge.backends.aws.queues import AwsQueue
    from bridge.backends.aws.state import AwsState

KIND_RETURNS = "returns"
DROPPED_AT_ONCE = 1_000


class Counts:
    """A number for each of the latest message ids."""

    def __init__(self, most: int) -> None:
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._most = most

    def count_of(self, message_id: str) -> int:
        return self._counts.get(message_id, 0) if self._counts else 0

    def add(self, message_id: str, count: int) -> None:
        self._counts[message_id] = count
        self._counts.move_to_end(message_id)
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)

    def forget(self, message_id: str) -> None:
        if self._counts:
            self._counts.pop(message_id, None)


class Returns:
    """The returns of all queues; nobody waits until they are stored."""

    def __init__(self, state: AwsState, submit: Callable[[UnitOfWork], None], most: int) -> None:
        self._state = state
        self._submit = submit
        self._most = most
        self._here = Counts(most)

    def count_of(self, queue: AwsQueue, message_id: str) -> int:
        if queue.settings.return_limit is None:
            return self._here.count_of(message_id)
        value = self._state.get(KIND_RETURNS, message_id)
        return 0 if value is None else int(value)

    def add(self, queue: AwsQueue, message_id: str, count: int) -> None:
        if queue.settings.return_limit is None:
            self._here.add(message_id, count)
            return
        unit = UnitOfWork()
        unit.state.append(StateChange(KIND_RETURNS, message_id, b"%d" % count))
        if self._state.count(KIND_RETURNS) >= self._most:
            # Those of messages that went without being deleted (retention, a purge) pile up.
            oldest = list(self._state.keys(KIND_RETURNS))[:DROPPED_AT_ONCE]
            unit.state += [StateChange(KIND_RETURNS, each, None) for each in oldest]
        self._submit(unit)

    def forget(self, queue: AwsQueue, message_id: str) -> None:
        if queue.settings.return_limit is None:
            self._here.forget(message_id)
        elif self._state.get(KIND_RETURNS, message_id) is not None:
            unit = UnitOfWork()
            unit.state.append(StateChange(KIND_RETURNS, message_id, None))
            self._submit(unit)
