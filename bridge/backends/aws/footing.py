"""What the state of a unit of work stands upon: sends of earlier units that are not answered yet.

A value of the state may hold what earlier units put there, as a row of packet ids does. Were it
stored while one of those is still sending, a crash would leave what says that its messages were
taken, without them. So the state of a unit waits for the sends of all earlier ones of its keys.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.messaging.model import UnitOfWork


class Footing:
    """Which keys of the state have units that are still sending."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str], asyncio.Future[bool]] = {}

    def take(self, unit: UnitOfWork) -> Stand:
        """The place of a unit behind those that were submitted before."""
        keys = [(change.kind, change.key) for change in unit.state]
        latest = self._latest
        earlier = {latest[key] for key in keys if key in latest} if latest else set()
        stand = Stand(self, keys, earlier)
        if unit.sends or earlier:
            for key in keys:
                latest[key] = stand.firm
        return stand

    def left(self, keys: list[tuple[str, str]], firm: asyncio.Future[bool]) -> None:
        for key in keys:
            if self._latest.get(key) is firm:
                del self._latest[key]


class Stand:
    """One unit's place. `firm`: whether what stands upon it may be stored, once that is known."""

    __slots__ = ("_earlier", "_footing", "_keys", "firm")

    def __init__(
        self,
        footing: Footing,
        keys: list[tuple[str, str]],
        earlier: set[asyncio.Future[bool]],
    ) -> None:
        self._footing = footing
        self._keys = keys
        self._earlier = earlier
        self.firm: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def wait(self) -> bool:
        """The unit's own sends are answered: wait for those before; False where one was not."""
        # One after the other, all of them: none is answered later for that.
        found = [await asyncio.shield(each) for each in self._earlier]
        self.end(firm=all(found))
        return self.firm.result()

    def end(self, *, firm: bool = False) -> None:
        """Let go of those that wait for the unit, unless that was done."""
        if not self.firm.done():
            self.firm.set_result(firm)
            self._footing.left(self._keys, self.firm)
