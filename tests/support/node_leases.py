"""Leases of several nodes in one process, one of which can die."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from bridge.backends.embedded.leases import EmbeddedLeases
from bridge.messaging.clock import SystemClock
from bridge.messaging.ports import Lease


class Place:
    """Where the leases of all nodes are."""

    def __init__(self) -> None:
        self.leases = EmbeddedLeases(SystemClock())
        self.holders: dict[str, str] = {}
        """The nodes that have leases, by their names; those that are held now among others."""

    def free(self, lease: Lease) -> None:
        with suppress(StopIteration):  # It waits for nothing.
            self.leases.release(lease).send(None)


class NodeLeases:
    """One node's; see `bridge.messaging.ports.Leases`."""

    def __init__(self, place: Place, node_id: str) -> None:
        self.place = place
        self.node_id = node_id
        self._held: dict[Lease, Callable[[Lease], None]] = {}

    async def acquire(
        self,
        name: str,
        *,
        on_lost: Callable[[Lease], None],
        on_wanted: Callable[[Lease], None] | None = None,
        wait_seconds: float | None = 0.0,
    ) -> Lease | None:
        lease = await self.place.leases.acquire(
            name, on_lost=on_lost, on_wanted=on_wanted, wait_seconds=wait_seconds
        )
        if lease is not None:
            self.place.holders[name] = self.node_id
            self._held[lease] = on_lost
        return lease

    async def release(self, lease: Lease) -> None:
        self._held.pop(lease, None)
        self.place.free(lease)

    def holder(self, name: str) -> str | None:
        return self.place.holders[name] if self.place.leases.holder(name) is not None else None

    def lapse(self) -> None:
        """The others take this node for dead; it finds out."""
        for lease, on_lost in self._given_up():
            on_lost(lease)

    def die(self) -> None:
        """The node is gone, and says nothing about it."""
        self._given_up()

    def _given_up(self) -> list[tuple[Lease, Callable[[Lease], None]]]:
        held, self._held = self._held, {}
        for lease in held:
            self.place.free(lease)
        return list(held.items())
