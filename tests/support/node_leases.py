"""Leases of several nodes in one process, one of which can die."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

from bridge.messaging.ports import Lease


class NodeLease:
    """See `bridge.messaging.ports.Lease`."""

    def __init__(self, node: NodeLeases, name: str, epoch: int) -> None:
        self.node = node
        self.name = name
        self.epoch = epoch
        self.on_lost: Callable[[Lease], None] = lambda _: None
        self.on_wanted: Callable[[Lease], None] | None = None

    @property
    def held(self) -> bool:
        return self.node.place.held.get(self.name) is self


class Place:
    """Where the leases of all nodes are."""

    def __init__(self) -> None:
        self.held: dict[str, NodeLease] = {}
        self.epochs = count(1)
        self.changed = asyncio.Event()

    def free(self, lease: NodeLease) -> None:
        if self.held.get(lease.name) is lease:
            del self.held[lease.name]
            self.changed.set()
            self.changed = asyncio.Event()


class NodeLeases:
    """One node's; see `bridge.messaging.ports.Leases`."""

    def __init__(self, place: Place, node_id: str) -> None:
        self.place = place
        self.node_id = node_id

    async def acquire(
        self,
        name: str,
        *,
        on_lost: Callable[[Lease], None],
        on_wanted: Callable[[Lease], None] | None = None,
        wait_seconds: float | None = 0.0,
    ) -> Lease | None:
        try:
            async with asyncio.timeout(wait_seconds or None):
                while (holder := self.place.held.get(name)) is not None:
                    if wait_seconds == 0:
                        return None
                    wanted, holder.on_wanted = holder.on_wanted, None
                    changed = self.place.changed
                    if wanted is not None:
                        wanted(holder)
                    await changed.wait()
        except TimeoutError:
            return None
        lease = self.place.held[name] = NodeLease(self, name, next(self.place.epochs))
        lease.on_lost, lease.on_wanted = on_lost, on_wanted
        return lease

    async def release(self, lease: Lease, *, forget: bool = False) -> None:
        assert isinstance(lease, NodeLease)
        self.place.free(lease)

    def holder(self, name: str) -> str | None:
        lease = self.place.held.get(name)
        return None if lease is None else lease.node.node_id

    def lapse(self) -> None:
        """The others take this node for dead; it finds out."""
        for lease in [each for each in self.place.held.values() if each.node is self]:
            self.place.free(lease)
            lease.on_lost(lease)

    def die(self) -> None:
        """The node is gone, and says nothing about it."""
        for lease in [each for each in self.place.held.values() if each.node is self]:
            self.place.free(lease)
