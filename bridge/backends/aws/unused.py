"""Queues that go once nobody has used them for a while (AMQP's x-expires).

A use is a consumer, a receive or a declaration, at any node. Each node notes in the state store, at
most four times in that while, that it uses the queue; the node that finds the note too old takes it
away, which only one can do and none once there is a newer note, and removes the queue.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.backends.aws.duty import Duty
from bridge.messaging.errors import StateConflict
from bridge.messaging.model import StateChange, UnitOfWork

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.backends.aws.node import Node
    from bridge.backends.aws.queues import AwsQueue
    from bridge.messaging.ports import StateStore

KIND_USED = "queue-used"
"""By SQS name: when the queue was last used, in epoch milliseconds, in decimal."""
NOTES_PER_EXPIRY = 4
LOOK_SECONDS_MIN = 0.25


class Unused(Duty):
    """Whether one queue is used."""

    def __init__(
        self,
        node: Node,
        queue: AwsQueue,
        state: StateStore,
        submit: Callable[[UnitOfWork], None],
        remove: Callable[[AwsQueue], None],
    ) -> None:
        super().__init__(node, queue)
        self._state = state
        self._submit = submit
        self._remove = remove
        self._used_at = node.clock.epoch_ms()

    def used(self) -> None:
        """Somebody uses the queue."""
        self._used_at = self._node.clock.epoch_ms()
        self.look_in((self._queue.settings.idle_expiry_ms or 0) / 1000 / NOTES_PER_EXPIRY)

    async def look(self) -> float | None:
        queue, now = self._queue, self._node.clock.epoch_ms()
        expiry = queue.settings.idle_expiry_ms
        if queue.deleted or expiry is None:
            return None
        if queue.consumer_count:
            self._used_at = now
        stored = self._state.get(KIND_USED, queue.sqs_name)
        noted = 0 if stored is None else int(stored)
        interval = expiry // NOTES_PER_EXPIRY
        latest = max(self._used_at, noted)
        if stored is None or self._used_at - noted >= interval:
            await self._commit(str(self._used_at).encode())
        elif now - latest >= expiry + interval:
            try:
                await self._commit(None)
            except StateConflict:
                return interval / 1000
            self._remove(queue)
            # Where that does not succeed, it has another life.
            self._used_at = now
            return interval / 1000
        wait = interval if queue.consumer_count else latest + expiry + interval - now
        return max(wait / 1000, LOOK_SECONDS_MIN)

    async def leave(self) -> None:
        if self._queue.deleted and self._state.get(KIND_USED, self._queue.sqs_name) is not None:
            await self._commit(None)

    async def _commit(self, value: bytes | None) -> None:
        answered: asyncio.Future[None] = self._node.loop.create_future()

        def done(unit: UnitOfWork) -> None:
            if answered.done():
                return
            if unit.error is None:
                answered.set_result(None)
            else:
                answered.set_exception(unit.error)

        unit = UnitOfWork(done)
        unit.agreed = value is None
        unit.state.append(StateChange(KIND_USED, self._queue.sqs_name, value))
        self._submit(unit)
        await answered
