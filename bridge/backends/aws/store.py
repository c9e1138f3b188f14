"""The store's port over SQS: units of work split by queue, steps of a unit, rare operations.

A unit that is more than sends, or more than settles, runs in steps: sends, then state, then deletes
and releases. A crash between them leaves messages twice, never lost; where a send fails, what the
unit would have deleted is released instead. Transient queues are the business of a store in this
process's memory, which the composition root provides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from bridge.backends.aws.claims import RETRY_SECONDS
from bridge.backends.aws.directory import Directory
from bridge.backends.aws.duties import Duties
from bridge.backends.aws.finished import Finished
from bridge.backends.aws.footing import Footing, Stand
from bridge.backends.aws.handles import Handle, handle_from_delivery, parse_handle
from bridge.backends.aws.holding import Holder
from bridge.backends.aws.messages import AwsDelivery
from bridge.backends.aws.newborn import Newborn
from bridge.backends.aws.node import Node
from bridge.backends.aws.options import AwsOptions
from bridge.backends.aws.parcels import Refused
from bridge.backends.aws.pulling import Puller
from bridge.backends.aws.purging import purge
from bridge.backends.aws.queues import AwsQueue, Seen, Surroundings
from bridge.backends.aws.returns import Counts, Returns
from bridge.backends.aws.state import AwsState, Submission
from bridge.backends.aws.topics import TopicFace
from bridge.backends.aws.transient import RemoteQueue, TransientQueues
from bridge.messaging.errors import (
    MessagingError,
    QueueDoesNotExist,
    QueueElsewhere,
    QueueFull,
    ReceiptHandleInvalid,
    StoreUnavailable,
)
from bridge.messaging.model import (
    DeadLetterReason,
    Delivery,
    Message,
    QueueCounts,
    QueueName,
    QueueSettings,
    StateChange,
    UnitOfWork,
)

if TYPE_CHECKING:
    from typing import Unpack

    from bridge.backends.aws.leases import AwsLeases
    from bridge.messaging.ports import (
        Consumer,
        DeadLetterer,
        Queue,
        ReceiveOptions,
        Store,
        Subscription,
    )


class AwsStore:
    """See `bridge.messaging.ports.Store`; `local` keeps the transient queues."""

    def __init__(
        self,
        node: Node,
        state: AwsState,
        options: AwsOptions,
        local: Store,
        leases: Callable[[], AwsLeases],
    ) -> None:
        """`leases` gives them once the backend is open."""
        self._node = node
        self._state = state
        self._local = local
        self._holder = Holder(node)
        most = node.limits.return_counts_max
        self._seen = Seen(
            Returns(state, self.submit, most),
            Counts(most),
            Finished(node.limits.finished_messages_min),
        )
        self._dead_letterer: DeadLetterer | None = None
        self._puller = Puller(node, self._holder)
        self._steps: dict[asyncio.Task[None], UnitOfWork] = {}
        self._footing = Footing()
        self.fenced: Callable[[], bool] = lambda: False
        """Whether another node may have taken over, so that nothing may be accepted here."""
        self.directory = Directory(node, state, options, self._commit, self._make_queue)
        self.duties = Duties(node, state, leases, self.submit)
        self.duties.follow(self.directory.by_sqs_name)
        self.transient = TransientQueues(
            node, state, self.directory, local, self._commit, self.submit, self._dead_letter
        )
        node.sqs.not_known_yet = Newborn(node, self.directory.by_sqs_name)
        self._surroundings = Surroundings(
            self.directory.name_of_sqs_name,
            self.directory.drop,
            self._dead_letter,
            self.duties.review,
            leases,
        )

    def _make_queue(
        self, name: QueueName, settings: QueueSettings, sqs_name: str, url: str
    ) -> AwsQueue:
        queue = AwsQueue(
            self._node,
            name,
            settings,
            sqs_name=sqs_name,
            url=url,
            holder=self._holder,
            seen=self._seen,
            surroundings=self._surroundings,
        )
        self.duties.review(queue)
        return queue

    async def close(self) -> None:
        """Give back what is held, and finish what was submitted."""
        for queue in self.directory.all():
            queue.intake.stop()
            if queue.care is not None:
                queue.care.stop()
        # At once: however long the steps of units take, others can have it.
        self._give_back()
        while self._steps:
            await asyncio.wait(self._steps)
        self._give_back()
        while busy := [each for queue in self.directory.all() for each in queue.batchers_busy]:
            await asyncio.gather(*[each.drain() for each in busy])

    def _give_back(self) -> None:
        """Release what is held, but for what units of several steps are about to settle."""
        settling = {
            id(each)
            for unit in self._steps.values()
            for each in (*unit.deletes, *unit.releases, *unit.returns)
        }
        for delivery in self._holder.close():
            if id(delivery) not in settling:
                delivery.queue.release(delivery, None)

    def use_dead_letterer(self, dead_letterer: DeadLetterer) -> None:
        self._dead_letterer = dead_letterer
        self._local.use_dead_letterer(self._dead_letter_local)

    def use_idle_handler(self, handler: Callable[[Queue], None]) -> None:
        self.duties.idle_handler = handler
        self._local.use_idle_handler(handler)

    # -- units of work

    def submit(self, unit: UnitOfWork) -> None:
        unit.remaining += 1
        if self.fenced() and (unit.sends or unit.state):
            unit.error = StoreUnavailable("this node has lost its lease on the state table")
            unit.releases = [*unit.deletes, *unit.releases]
            unit.sends, unit.deletes, unit.state = [], [], []
        if unit.state or (unit.sends and (unit.deletes or unit.releases or unit.returns)):
            changes = self._state.submit(unit.state, agreed=unit.agreed)
            stand = self._footing.take(unit)
            steps = self._node.tasks.spawn(self._in_steps(unit, changes, stand))
            self._steps[steps] = unit
            steps.add_done_callback(self._steps.pop)
            return
        if unit.sends:
            self._send(unit)
        else:
            self._settle(unit)
        if unit.remaining == 1:
            self._node.loop.call_soon(self._node.part_done, unit)
        else:
            unit.remaining -= 1

    def _send(self, unit: UnitOfWork) -> None:
        """Hand every send to its queue; one loop, since it runs once per message."""
        deadline = self._node.clock.monotonic() + self._node.limits.send_seconds_max
        elsewhere: list[int] = []
        remote: list[int] = []
        for index, (target, message) in enumerate(unit.sends):
            if not isinstance(target, AwsQueue):
                if isinstance(target, TopicFace):
                    target.send(unit, index, message, deadline)
                elif isinstance(target, RemoteQueue):
                    remote.append(index)
                else:
                    elsewhere.append(index)
            elif target.deleted:
                unit.failures[index] = QueueDoesNotExist(f"queue '{target.name.name}' is gone")
            elif (
                target.care is not None or message.expires_at is not None
            ) and self.duties.refuses(target, message):
                unit.failures[index] = QueueFull(
                    f"queue '{target.name.name}' is at its length limit"
                )
            else:
                part = target.band_of(message) if target.bands else target
                part.sender.send(unit, index, message, deadline)
        if elsewhere:
            self._send_local(unit, elsewhere)
        if remote:
            self.transient.send(unit, remote, deadline)

    def _send_local(self, unit: UnitOfWork, indexes: list[int]) -> None:
        def sent(part: UnitOfWork) -> None:
            for position, index in enumerate(indexes):
                error = part.error or part.failures.get(position)
                if error is not None:
                    unit.failures[index] = error
                accepted = part.accepted.get(position)
                if accepted is not None:
                    unit.accepted[index] = accepted
            self._node.part_done(unit)

        part = UnitOfWork(sent, atomic=unit.atomic)
        part.sends = [unit.sends[index] for index in indexes]
        unit.remaining += 1
        self._local.submit(part)

    def _settle(self, unit: UnitOfWork) -> None:
        waiting = unit if unit.answered or unit.atomic else None
        local = UnitOfWork(answered=unit.answered, atomic=unit.atomic)
        for delivery in unit.deletes:
            if isinstance(delivery, AwsDelivery):
                delivery.queue.delete(delivery, waiting)
            elif isinstance(delivery, Refused):
                delivery.settle(True)
            else:
                local.deletes.append(delivery)
        for delivery in unit.releases:
            if isinstance(delivery, AwsDelivery):
                delivery.queue.release(delivery, waiting)
            elif isinstance(delivery, Refused):
                delivery.settle(False)
            else:
                local.releases.append(delivery)
        for delivery in unit.returns:
            if isinstance(delivery, AwsDelivery):
                delivery.queue.release(delivery, waiting, counted=True)
            else:
                local.returns.append(delivery)
        if local.deletes or local.releases or local.returns:
            self._settle_local(unit, local)

    def _settle_local(self, unit: UnitOfWork, local: UnitOfWork) -> None:
        def settled(part: UnitOfWork) -> None:
            unit.error = unit.error or part.error
            self._node.part_done(unit)

        unit.remaining += 1
        local.done = settled
        self._local.submit(local)

    async def _in_steps(self, unit: UnitOfWork, changes: Submission, stand: Stand) -> None:
        """Sends, state, settles, each after the one before was answered."""
        try:
            if unit.sends:
                await self._step(unit, self._send)
            if unit.state:
                await self._store_state(unit, changes, stand)
            if unit.error is not None or unit.failures:
                unit.releases = [*unit.deletes, *unit.releases]
                unit.deletes = []
            if unit.deletes or unit.releases or unit.returns:
                await self._step(unit, self._settle)
        except asyncio.CancelledError:
            unit.error = StoreUnavailable("the broker stops")
            raise
        except Exception:
            # What is left of it was not done, and nobody may be told that it was.
            unit.error = StoreUnavailable("the broker made a mistake")
            raise
        finally:
            stand.end()
            self._node.part_done(unit)

    async def _store_state(self, unit: UnitOfWork, changes: Submission, stand: Stand) -> None:
        if unit.error is None and not await stand.wait():
            unit.error = StoreUnavailable("what it builds upon was not stored")
        if unit.error is not None:
            self._state.withdraw(changes)
            return
        try:
            await self._state.write(changes, everywhere=unit.agreed)
        except MessagingError as error:
            unit.error = error

    async def _step(self, unit: UnitOfWork, act: Callable[[UnitOfWork], None]) -> None:
        """One step of a unit, on a unit of its own that shares the lists."""
        done: asyncio.Future[None] = self._node.loop.create_future()

        def answered(_: UnitOfWork) -> None:
            if not done.done():
                done.set_result(None)

        part = UnitOfWork(answered, atomic=unit.atomic, answered=unit.answered)
        part.sends, part.failures, part.accepted = unit.sends, unit.failures, unit.accepted
        part.deletes, part.releases, part.returns = unit.deletes, unit.releases, unit.returns
        part.remaining = 1
        act(part)
        self._node.part_done(part)
        await done
        unit.error = unit.error or part.error

    async def _commit(self, changes: list[StateChange], *, agreed: bool = False) -> None:
        submission = self._state.submit(changes, agreed=agreed)
        await self._state.write(submission, everywhere=True)

    # -- dead letters

    def _dead_letter(
        self, queue: Queue, deliveries: Sequence[Delivery], reason: DeadLetterReason
    ) -> None:
        unit = UnitOfWork()
        if self._dead_letterer is None:
            unit.deletes += deliveries
        else:
            try:
                unit = self._dead_letterer(queue, deliveries, reason)
            except Exception as error:  # noqa: BLE001 - reported; the queue's others go on
                self._node.report(f"{len(deliveries)} messages were not dead-lettered", error)
                self._put_off(deliveries)
                return
        self.submit(unit)

    def _put_off(self, deliveries: Iterable[Delivery]) -> None:
        """Let messages come again after a while, from SQS."""
        for delivery in deliveries:
            if isinstance(delivery, AwsDelivery):
                delivery.queue.hide(delivery, RETRY_SECONDS)
            elif isinstance(delivery, Refused):
                delivery.settle(False)

    def _dead_letter_local(
        self, queue: Queue, deliveries: Iterable[Delivery], reason: DeadLetterReason
    ) -> UnitOfWork:
        """For the local store, which cannot send to queues that are not its own."""
        assert self._dead_letterer is not None, "it was asked through this one"
        self.submit(self._dead_letterer(queue, list(deliveries), reason))
        return UnitOfWork()

    # -- receiving

    async def consume(
        self,
        queue: Queue,
        consumer: Consumer,
        *,
        credit: int,
        priority: int = 0,
        exclusive: bool = False,
    ) -> Subscription:
        if not isinstance(queue, AwsQueue):
            _require_here(queue)
            return await self._local.consume(
                queue, consumer, credit=credit, priority=priority, exclusive=exclusive
            )
        if queue.deleted:
            raise QueueDoesNotExist(f"queue '{queue.name.name}' is gone")
        return await queue.intake.join(consumer, credit, priority, exclusive=exclusive)

    async def receive(
        self, queue: Queue, *, count: int, **options: Unpack[ReceiveOptions]
    ) -> list[Delivery]:
        if not isinstance(queue, AwsQueue):
            _require_here(queue)
            return await self._local.receive(queue, count=count, **options)
        return list(await self._puller.receive(queue, count, options))

    async def take(self, queue: Queue) -> Delivery | None:
        if not isinstance(queue, AwsQueue):
            _require_here(queue)
            return await self._local.take(queue)
        return await self._puller.take(queue)

    # -- receipt handles

    def handle_of(self, delivery: Delivery) -> str:
        if not isinstance(delivery, AwsDelivery):
            return self._local.handle_of(delivery)
        return handle_from_delivery(delivery)

    def delivery_of(self, queue: Queue, handle: str) -> Delivery | None:
        """For settling only: the message's id is all that a handle says about it."""
        if not isinstance(queue, AwsQueue):
            _require_here(queue)
            return self._local.delivery_of(queue, handle)
        part, parsed = _parsed(queue, handle)
        message = Message(parsed.message_id, b"", 0)
        return AwsDelivery(queue=part, message=message, handle=parsed.receipt_handle)

    async def change_visibility(self, delivery: Delivery, seconds: int) -> None:
        if not isinstance(delivery, AwsDelivery):
            await self._local.change_visibility(delivery, seconds)
            return
        delivery.queue.counted = None
        await self.directory.control.change_visibility(delivery.queue.url, delivery.handle, seconds)

    # -- queues

    def queue(self, name: QueueName) -> Queue | None:
        return (
            self.directory.queues.get(name) or self._local.queue(name) or self.transient.get(name)
        )

    def queues(self) -> Iterable[Queue]:
        return [*self.directory.all(), *self._local.queues()]

    async def create_queue(
        self, name: QueueName, settings: QueueSettings, *, transient: bool = False
    ) -> Queue:
        existing = self.queue(name)
        if existing is not None:
            if isinstance(existing, AwsQueue):
                if existing.unfinished:
                    return await self.directory.create(name, settings)
                if existing.care is not None:
                    existing.care.used()
            return existing
        if transient:
            queue = await self._local.create_queue(name, settings, transient=True)
            return await self.transient.add(queue)
        return await self.directory.create(name, settings)

    async def change_queue(self, queue: Queue, settings: QueueSettings) -> None:
        if isinstance(queue, AwsQueue):
            await self.directory.change(queue, settings)
        else:
            _require_here(queue)
            await self._local.change_queue(queue, settings)

    async def delete_queue(self, queue: Queue) -> int:
        if isinstance(queue, AwsQueue):
            return 0 if queue.deleted else await self.directory.delete(queue)
        count = 0
        if not isinstance(queue, RemoteQueue):
            count = await self._local.delete_queue(queue)
        elif queue.deleted:
            return 0
        await self.transient.gone(queue.name)
        return count

    async def purge_queue(self, queue: Queue) -> int:
        if isinstance(queue, AwsQueue):
            queue.counted = None
            return sum(await asyncio.gather(*[purge(self._node, each) for each in queue.parts]))
        _require_here(queue)
        return await self._local.purge_queue(queue)

    async def counts(self, queue: Queue) -> QueueCounts:
        if isinstance(queue, AwsQueue):
            return await self._counts(queue)
        if isinstance(queue, RemoteQueue):
            return QueueCounts(0, 0, 0)
        return await self._local.counts(queue)

    async def _counts(self, queue: AwsQueue) -> QueueCounts:
        """What SQS says, or said a while ago of a queue that rests: SQS charges for each answer."""
        now = self._node.clock.monotonic()
        known = queue.counted
        if known is not None and now - known[0] < self._node.limits.counts_seconds_max:
            return known[1]
        queue.counted = None
        busy = queue.busy
        counts = await self.directory.control.counts(*[part.url for part in queue.parts])
        if not (busy or queue.busy or queue.bands):
            queue.counted = (now, counts)
        return counts


def _parsed(queue: AwsQueue, text: str) -> tuple[AwsQueue, Handle]:
    """A receipt handle, and which part of a queue it is of. Raises `ReceiptHandleInvalid`."""
    for part in queue.bands[:-1]:
        try:
            return part, parse_handle(part.sqs_name, text)
        except ReceiptHandleInvalid:
            continue
    return queue, parse_handle(queue.sqs_name, text)


def _require_here(queue: Queue) -> None:
    """Raise `QueueElsewhere` for a transient queue of another node."""
    if isinstance(queue, RemoteQueue):
        raise QueueElsewhere(
            f"queue '{queue.name.name}' is in the memory of another node, at which alone it can be"
            " used"
        )
