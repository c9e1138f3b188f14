"""Messages that leave their queue unconsumed: expired, over length, received too often.

They are held on the engine's own behalf from the moment they are found, and go at the end of the
turn. What happens to a message and its own deletion are one atomic unit: if that fails, the message
is back in its queue, to be found again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from bridge.backends.embedded.entry import GONE, MEMORY, NEW, Entry
from bridge.backends.embedded.fifo import FifoQueue
from bridge.messaging.model import DeadLetterReason, QueueName, UnitOfWork

if TYPE_CHECKING:
    from bridge.backends.embedded.arrivals import Arrivals
    from bridge.backends.embedded.committer import Committer
    from bridge.backends.embedded.queue import EmbeddedQueue, Keeper
    from bridge.messaging.ports import DeadLetterer


class Owner(Protocol):
    """What departures need of the engine."""

    committer: Committer
    arrivals: Arrivals

    def submit(self, unit: UnitOfWork) -> None: ...

    def release(self, entry: Entry) -> None: ...

    def delete(self, entry: Entry) -> None: ...

    def wake_up(self) -> None: ...

    def report(self, message: str, error: Exception) -> None:
        """Tell the loop's exception handler."""
        ...

    def find(self, name: QueueName) -> EmbeddedQueue | None: ...


class Departures:
    """Collected during a turn; `go` sends them off."""

    def __init__(self, owner: Owner, later: Callable[[Callable[[], None]], None]) -> None:
        self._owner = owner
        self._later = later
        self.dead_letterer: DeadLetterer | None = None
        self._leaving: dict[tuple[EmbeddedQueue, DeadLetterReason], list[Entry]] = {}
        self._redriving: list[Entry] = []
        self._redriven: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        return bool(self._leaving or self._redriving)

    def leave(self, entry: Entry, reason: DeadLetterReason) -> None:
        """A visible entry is to be dead-lettered."""
        self._seize(entry)
        self._leaving.setdefault((entry.queue, reason), []).append(entry)
        self._owner.wake_up()

    def redrive(self, entry: Entry) -> bool:
        """A visible entry is to move to its queue's dead-letter queue; False if there is none."""
        if self._redrive_target(entry.queue) is None:
            return False
        self._seize(entry)
        self._redriving.append(entry)
        self._owner.wake_up()
        return True

    async def until_redriven(self, queue: FifoQueue) -> None:
        """Wait until what was found for the dead-letter queue can be received there.

        First-in-first-out queues show what was committed only. Who was told that a queue has
        nothing more looks among its dead letters next.
        """
        if any(entry.queue is queue for entry in self._redriving):
            redriven: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._redriven.append(redriven)
            await redriven

    def trim(self, queue: EmbeddedQueue, keeper: Keeper) -> None:
        """Drop the oldest messages of a queue that is over its length."""
        while queue.over_length() and (entry := queue.pop_oldest(keeper)) is not None:
            self.leave(entry, DeadLetterReason.MAXLEN)

    def _seize(self, entry: Entry) -> None:
        """Hold an entry on the engine's own behalf: lanes pass over it from now on."""
        queue = entry.queue
        entry.held = True
        queue.held[entry.id] = entry
        queue.visible -= 1
        if queue.weighed:
            queue.bytes -= len(entry.message.body)
        if entry.status == NEW:
            self._owner.committer.unheld -= 1

    def go(self) -> None:
        """Send off what was collected."""
        leaving, self._leaving = self._leaving, {}
        for (queue, reason), entries in leaving.items():
            self._dead_letter(queue, reason, [each for each in entries if each.status != GONE])
        redriving, self._redriving = self._redriving, []
        for entry in redriving:
            self._redrive(entry)
        if self._redriven:
            unit = UnitOfWork(done=self._answer(self._redriven))
            self._redriven = []
            self._owner.committer.wait(unit)

    @staticmethod
    def _answer(waiting: list[asyncio.Future[None]]) -> Callable[[UnitOfWork], None]:
        def answer(_: UnitOfWork) -> None:
            for each in waiting:
                if not each.done():
                    each.set_result(None)

        return answer

    def _dead_letter(
        self, queue: EmbeddedQueue, reason: DeadLetterReason, entries: list[Entry]
    ) -> None:
        unit = UnitOfWork()
        if self.dead_letterer is None:
            unit.deletes += entries
        else:
            try:
                unit = self.dead_letterer(queue, entries, reason)
            except Exception as error:  # noqa: BLE001 - reported; the messages must not stay held
                self._owner.report("the dead-letterer failed", error)
                self._later(lambda: self._give_back(entries))
                return
        if unit.sends:
            # A copy that some consumer settles before its commit must not let the original go.
            unit.atomic = True
        self._owner.submit(unit)

    def _give_back(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._owner.release(entry)

    def _redrive(self, entry: Entry) -> None:
        """Move an entry to its queue's dead-letter queue, keeping its id and its counts.

        Copy and deletion are in the same commit, and so is the answer to a publisher that still
        waits.
        """
        owner, queue = self._owner, entry.queue
        target = self._redrive_target(queue)
        if entry.status == GONE:
            return
        if target is None:
            owner.release(entry)
            return
        message = msgspec.structs.replace(
            entry.message, dead_letter_source=queue.name.name, visible_at=None
        )
        if isinstance(target, FifoQueue):
            message.deduplication_id = message.message_id
        lane = target.lane_of(message.priority)
        copy = Entry(
            queue=target,
            message=message,
            receive_count=entry.receive_count,
            first_received_at=entry.first_received_at,
            id=lane.next_id,
            status=MEMORY if target.transient else NEW,
            expires_at=message.expires_at,
        )
        lane.next_id += 1
        if copy.status == NEW:
            copy.unit, entry.unit = entry.unit, None
            owner.committer.add_all((copy,))
        if isinstance(target, FifoQueue):
            owner.arrivals.number(target, copy, UnitOfWork())
        owner.delete(entry)
        owner.arrivals.enqueue(copy, lane)

    def _redrive_target(self, queue: EmbeddedQueue) -> EmbeddedQueue | None:
        redrive = queue.settings.redrive
        if redrive is None:
            return None
        return self._owner.find(QueueName(queue.name.namespace, redrive.queue))
