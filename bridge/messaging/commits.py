"""Waiting for the store's answer to one unit of work, for those who have nothing else to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.messaging.model import UnitOfWork
    from bridge.messaging.ports import Store


async def committed(store: Store, unit: UnitOfWork) -> None:
    """Submit a unit of work, whose `done` is taken, and wait for its answer.

    Raises the error that failed all of it; what failed by itself is in `unit.failures`. A waiter
    that is cancelled takes nothing back.
    """
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(_: UnitOfWork) -> None:
        if not answered.done():
            answered.set_result(None)

    unit.done = done
    store.submit(unit)
    await answered
    if unit.error is not None:
        raise unit.error
