"""The queues of a configuration in a store: made, given their settings, or left as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.backends.embedded import EmbeddedBackend
from bridge.chosen_backend import StartRefused
from bridge.config import Loaded, Sources, load
from bridge.declared import declare
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.errors import InvalidParameter
from bridge.messaging.limits import Limits
from bridge.messaging.model import QueueSettings
from bridge.messaging.ports import Queue, Store
from bridge.protocols import PROTOCOLS
from bridge.routing.topology import Topology
from tests.support.stores import name


class Choosy:
    """A store that gives one queue no other settings."""

    def __init__(self, store: Store, refused: str) -> None:
        self._store = store
        self._refused = refused

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._store, attribute)

    async def change_queue(self, queue: Queue, settings: QueueSettings) -> None:
        if queue.name.name == self._refused:
            raise InvalidParameter("not this one")
        await self._store.change_queue(queue, settings)


def configured(length_max: int) -> Loaded:
    queues = [f"queues[+]={{name: {each}, length_max: {length_max}}}" for each in "abc"]
    return load(Sources(None, tuple(queues), 0, {}, PROTOCOLS))


async def test_settings_are_given_to_all_queues_or_to_none(tmp_path: Path) -> None:
    clock = SystemClock()
    backend = EmbeddedBackend(tmp_path, durability="memory", clock=clock, limits=Limits())
    await backend.open()
    try:
        store = backend.store
        topology = Topology(store, backend.state, clock, MessageIds())

        def lengths() -> list[int | None]:
            queues = [store.queue(name(each)) for each in "abc"]
            return [None if queue is None else queue.settings.length_max for queue in queues]

        await declare(configured(1), topology, store)
        assert lengths() == [1, 1, 1]
        with pytest.raises(StartRefused, match="not this one"):
            await declare(configured(2), topology, Choosy(store, "b"))
        assert lengths() == [1, 1, 1]
        await declare(configured(3), topology, store)
        assert lengths() == [3, 3, 3]
    finally:
        await backend.close()
