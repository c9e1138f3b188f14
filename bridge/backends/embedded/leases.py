"""The port of leases where one process has the store to itself: they keep its own parts apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.messaging.clock import Clock
    from bridge.messaging.ports import Lease

NODE_ID: Final = "local"


class EmbeddedLease:
    """See `bridge.messaging.ports.Lease`."""

    __slots__ = ("_on_wanted", "_wanted", "epoch", "name", "released")

    def __init__(self, name: str, epoch: int, on_wanted: Callable[[Lease], None] | None) -> None:
        self.name = name
        self.epoch = epoch
        self.released: asyncio.Event | None = asyncio.Event()
        """Set once others may have it; None when this object no longer stands for it."""
        self._on_wanted = on_wanted
        self._wanted = False

    @property
    def held(self) -> bool:
        return self.released is not None

    def want(self) -> None:
        """Somebody waits for it."""
        if not self._wanted and self._on_wanted is not None:
            self._wanted = True
            self._on_wanted(self)


class EmbeddedLeases:
    """See `bridge.messaging.ports.Leases`."""

    node_id = NODE_ID

    def __init__(self, clock: Clock) -> None:
        self._held: dict[str, EmbeddedLease] = {}
        # Higher than those of earlier runs, too.
        self._epoch = clock.epoch_ms()

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
                while (holder := self._held.get(name)) is not None:
                    if wait_seconds == 0:
                        return None
                    released = holder.released
                    holder.want()
                    if released is not None:
                        await released.wait()
        except TimeoutError:
            return None
        self._epoch += 1
        lease = self._held[name] = EmbeddedLease(name, self._epoch, on_wanted)
        return lease

    async def release(self, lease: Lease) -> None:
        held = self._held.get(lease.name)
        if held is lease and held.released is not None:
            del self._held[lease.name]
            held.released.set()
            held.released = None

    def holder(self, name: str) -> str | None:
        return NODE_ID if name in self._held else None
