"""What SQS's actions share: the ports, the queues, the clock, and the short memory of AWS's service
rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from bridge.api.options import ApiOptions
from bridge.api.sqs.directory import QueueDirectory
from bridge.messaging.clock import Clock, MessageIds
from bridge.messaging.commits import committed
from bridge.messaging.model import StateChange, UnitOfWork
from bridge.messaging.ports import StateStore, Store
from bridge.routing.router import Router
from mappings.gateway import Counters

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
    counters: Counters
    deleted: RecentNames = field(init=False)
    purged: RecentNames = field(init=False)

    def __post_init__(self) -> None:
        self.deleted = RecentNames(self, "sqs-deleted", self.options.name_reuse_seconds)
        self.purged = RecentNames(self, "sqs-purged", self.options.purge_interval_seconds)


class RecentNames:
    """Names to which something happened within the last seconds, also before a restart."""

    def __init__(self, service: SqsService, kind: str, seconds: int) -> None:
        """`kind` is that of the records in the state store."""
        self._clock = service.clock
        self._state = service.state
        self._store = service.store
        self._kind = kind
        self._milliseconds = seconds * 1000
        self._until: dict[str, int] = {}

    def load(self) -> None:
        """Read what is stored, and follow it. Called once, when the store is open."""
        self._state.watch([self._kind], self._follow)
        known = [(name, int(value)) for name, value in self._state.scan(self._kind)]
        # They stand in the order in which they end.
        self._until = dict(sorted(known, key=itemgetter(1)))

    def _follow(self, changes: Iterable[StateChange]) -> None:
        for _, name, value in changes:
            self._until.pop(name, None)
            if value is not None:
                self._until[name] = int(value)

    async def add(self, name: str) -> None:
        if not self._milliseconds:
            return
        now = self._clock.epoch_ms()
        unit = UnitOfWork(answered=True)
        for old, until in list(self._until.items()):
            if until > now and len(self._until) < REMEMBERED_MAX:
                break
            del self._until[old]
            unit.state.append(StateChange(self._kind, old, None))
        self._until.pop(name, None)
        self._until[name] = now + self._milliseconds
        unit.state.append(StateChange(self._kind, name, b"%d" % self._until[name]))
        await committed(self._store, unit)

    def discard(self, name: str) -> None:
        """Forget a name; its record goes with the next one that ends."""
        if self._until.pop(name, None) is not None:
            self._until = {name: 0, **self._until}

    def __contains__(self, name: str) -> bool:
        return self._until.get(name, 0) > self._clock.epoch_ms()
