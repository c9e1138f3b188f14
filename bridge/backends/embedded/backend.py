"""Opening and closing the embedded backend."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.backends.embedded.engine import Engine
from bridge.backends.embedded.leases import EmbeddedLeases
from bridge.backends.embedded.queue import EmbeddedQueue
from bridge.backends.embedded.state import EmbeddedState
from bridge.backends.embedded.store import EmbeddedStore
from bridge.messaging.errors import StoreUnavailable
from bridge.storage import Database, Durability
from bridge.storage.errors import StorageError

if TYPE_CHECKING:
    from bridge.messaging.clock import Clock
    from bridge.messaging.faces import TopicFaces
    from bridge.messaging.limits import Limits
    from bridge.messaging.neighbours import Neighbours
    from bridge.messaging.ports import Leases, Queue, StateStore, Store


class EmbeddedBackend:
    """See `bridge.messaging.ports.Backend`; `durability` is a value of `storage.Durability`."""

    def __init__(self, path: Path, *, durability: str, clock: Clock, limits: Limits) -> None:
        self.database = Database(path, Durability(durability))
        self._clock = clock
        self._limits = limits
        self._engine: Engine | None = None
        self._store: EmbeddedStore | None = None
        self._state: EmbeddedState | None = None
        self._leases = EmbeddedLeases(clock)

    @property
    def store(self) -> Store:
        assert self._store is not None, "open comes first"
        return self._store

    @property
    def state(self) -> StateStore:
        assert self._state is not None, "open comes first"
        return self._state

    @property
    def leases(self) -> Leases:
        return self._leases

    @property
    def neighbours(self) -> Neighbours | None:
        return None

    @property
    def faces(self) -> TopicFaces | None:
        return None

    @property
    def healthy(self) -> bool:
        return self._engine is not None and not self._engine.committer.failing

    def figures(self) -> dict[str, float]:
        return {}

    async def open(self) -> None:
        try:
            self.database.open()
        except StorageError as error:
            raise StoreUnavailable(str(error)) from error
        engine = Engine(self.database, self._clock, self._limits)
        try:
            recovered = engine.loader.recover()
        except Exception as error:
            engine.loader.close()
            self.database.close()
            raise StoreUnavailable(
                f"cannot read the store {self.database.path}: {error}"
            ) from error
        self._engine = engine
        engine.arrivals.continue_from(recovered.content_id, recovered.sequence)
        store = EmbeddedStore(engine, self._clock, self._limits)
        store.adopt(recovered.queues)
        store.number_above(recovered.orphans)
        self._store = store
        self._state = EmbeddedState(self.database, engine.committer)
        for first, last in recovered.orphans:
            engine.committer.purge(first, last)

    async def close(self, seconds_max: float | None = None) -> None:
        del seconds_max  # There is nobody else.
        engine, self._engine = self._engine, None
        if engine is None:
            return
        await engine.close()
        await asyncio.to_thread(self.database.close)

    def in_memory(self, queue: Queue) -> int:
        """How many of a queue's waiting messages are in memory; the others are on disk only."""
        assert isinstance(queue, EmbeddedQueue)
        return len(queue.waiting())

    @property
    def corrections(self) -> int:
        """How often a count turned out to be off since the start; it should never be."""
        return 0 if self._engine is None else self._engine.loader.corrections
