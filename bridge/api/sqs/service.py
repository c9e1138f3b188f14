"""What SQS's actions share: the ports, the queues, the clock, and the short memory of AWS's service
rules.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.api.options import ApiOptions
from bridge.api.sqs.directory import QueueDirectory
from bridge.messaging.clock import Clock, MessageIds
from bridge.messaging.model import UnitOfWork
from bridge.messaging.ports import StateStore, Store
from bridge.routing.router import Router

if TYPE_CHECKING:
    from bridge.api.sqs.move_tasks import MoveTasks

REMEMBERED_MAX = 100_000
"""Names of deleted or purged queues that are remembered at once."""


@dataclass(slots=True)
class SqsService:
    """One SQS endpoint over one store."""

    store: Store
    state: StateStore
    router: Router
    clock: Clock
    message_ids: MessageIds
    options: ApiOptions
    directory: QueueDirectory
    move_tasks: MoveTasks
    deleted: RecentNames = field(init=False)
    purged: RecentNames = field(init=False)

    def __post_init__(self) -> None:
        self.deleted = RecentNames(self.clock, self.options.name_reuse_seconds)
        self.purged = RecentNames(self.clock, self.options.purge_interval_seconds)


class RecentNames:
    """Names to which something happened within the last seconds."""

    def __init__(self, clock: Clock, seconds: int) -> None:
        self._clock = clock
        self._milliseconds = seconds * 1000
        self._until: dict[str, int] = {}

    def add(self, name: str) -> None:
        now = self._clock.epoch_ms()
        if len(self._until) >= REMEMBERED_MAX:
            self._until = {known: until for known, until in self._until.items() if until > now}
        if len(self._until) < REMEMBERED_MAX:
            self._until[name] = now + self._milliseconds

    def discard(self, name: str) -> None:
        self._until.pop(name, None)

    def __contains__(self, name: str) -> bool:
        until = self._until.get(name)
        if until is None:
            return False
        if until > self._clock.epoch_ms():
            return True
        del self._until[name]
        return False


async def committed(store: Store, unit: UnitOfWork) -> None:
    """Submit a unit of work and wait for its answer. Raises the error that failed all of it."""
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(_: UnitOfWork) -> None:
        if not answered.done():
            answered.set_result(None)

    unit.done = done
    store.submit(unit)
    await answered
    if unit.error is not None:
        raise unit.error
