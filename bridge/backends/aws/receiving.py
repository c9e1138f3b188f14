"""Pushing one queue's messages to its consumers at this node: long polls scaled by demand.

No consumer with credit, no poll. When polls leave, and how many are open, is a matter of how fast
messages come (`bridge.backends.aws.pacing`). A poll asks for no more than the credit that no other
poll has reserved, so what comes has a taker, unless that one left meanwhile: then it is offered to
the others for a while and released.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from bridge.backends.aws.batches import BATCH_MAX
from bridge.backends.aws.claims import deliveries_from
from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.messages import AwsDelivery
from bridge.backends.aws.node import Node
from bridge.backends.aws.pacing import PollPace
from bridge.backends.aws.pulling import ask
from bridge.backends.aws.single_active import ExclusiveUse, Turn
from bridge.backends.aws.wire import Receive
from bridge.messaging.clock import MessageIds
from bridge.messaging.errors import QueueDoesNotExist, ResourceLocked

if TYPE_CHECKING:
    from bridge.backends.aws.leases import AwsLeases
    from bridge.backends.aws.queues import AwsQueue
    from bridge.backends.aws.service import Backoff
    from bridge.messaging.ports import Consumer


class Receiver:
    """One consumer at one queue; see `bridge.messaging.ports.Subscription`."""

    __slots__ = ("_intake", "cancelled", "consumer", "credit", "exclusive", "paused", "priority")

    def __init__(
        self, intake: Intake, consumer: Consumer, credit: int, priority: int, *, exclusive: bool
    ) -> None:
        self._intake = intake
        self.consumer = consumer
        self.credit = credit
        self.priority = priority
        self.exclusive = exclusive
        self.paused = False
        self.cancelled = False

    def add_credit(self, count: int) -> None:
        self.credit += count
        self._intake.consider()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._intake.consider()

    def cancel(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self._intake.leave(self)

    def overdue(self, held_seconds: float) -> None:
        """The consumer held a message for too long."""
        if not self.cancelled:
            self.cancel()
            self.consumer.overdue(held_seconds)

    def evict(self) -> None:
        """The queue is gone, or the use of it."""
        if not self.cancelled:
            self.cancel()
            self.consumer.cancelled()


class Intake:
    """What comes in from one queue, and who gets it."""

    def __init__(self, node: Node, queue: AwsQueue, leases: AwsLeases) -> None:
        self._node = node
        self._queue = queue
        self.receivers: list[Receiver] = []
        self._surplus: deque[AwsDelivery] = deque()
        self._surplus_timer: asyncio.TimerHandle | None = None
        self._polls = 0
        self._pace = PollPace(node.limits)
        self._pace_timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._reserved = 0
        self._turn = 0
        self._backoff: Backoff | None = None
        self._turn_of_node = Turn(node, leases, queue.sqs_name, self.consider)
        self._use = ExclusiveUse(node, leases, queue.sqs_name, self._evict_all)
        self._attempt_ids = MessageIds() if queue.fifo else None
        self._lost_attempts: deque[tuple[float, str]] = deque()
        """Receives from a first-in-first-out queue without an answer, with the time of each."""

    async def join(
        self, consumer: Consumer, credit: int, priority: int, *, exclusive: bool
    ) -> Receiver:
        """Add a consumer. Raises `ResourceLocked` and `QueueDoesNotExist`."""
        alone = self._queue.settings.single_active_consumer
        try:
            if alone:
                await self._turn_of_node.ask()
            await self._admit(exclusive=exclusive)
        except BaseException:
            if not self.receivers:
                self._turn_of_node.drop()
            raise
        receiver = Receiver(self, consumer, credit, priority, exclusive=exclusive)
        self.receivers.append(receiver)
        self._use.begin()
        if alone:
            # Whoever was here and has left meanwhile gave the turn back.
            self._turn_of_node.want()
        if self._queue.care is not None:
            self._queue.care.used()
        # Not at once: nothing is delivered before the caller has its subscription.
        self._node.loop.call_soon(self.consider)
        return receiver

    async def _admit(self, *, exclusive: bool) -> None:
        """Return if one more consumer may join, which is to do so at once."""
        locked = ResourceLocked(f"queue '{self._queue.name.name}' is in exclusive use")
        if await self._use.elsewhere() or self._is_ours_alone(exclusive=exclusive):
            raise locked
        if exclusive:
            if not await self._use.take():
                raise locked
            if self._is_ours_alone(exclusive=True):
                # Somebody came while the others were asked.
                self._use.drop()
                raise locked
        if self._queue.deleted:
            self._use.drop()
            raise QueueDoesNotExist(f"queue '{self._queue.name.name}' is gone")

    def _is_ours_alone(self, *, exclusive: bool) -> bool:
        """Whether a consumer here keeps another one from joining."""
        return any(each.exclusive for each in self.receivers) or bool(exclusive and self.receivers)

    def leave(self, receiver: Receiver) -> None:
        self.receivers.remove(receiver)
        if receiver.exclusive:
            self._use.drop()
        if self.receivers:
            self.consider()
        else:
            self._release_surplus()
            self._turn_of_node.drop()
            self._use.end()

    def _evict_all(self) -> None:
        """The node has lost the exclusive use that it had."""
        for receiver in list(self.receivers):
            receiver.evict()

    @property
    def thirsty(self) -> bool:
        """Whether what becomes visible is received here at once."""
        return bool(self._eligible())

    def consider(self) -> None:
        """Hand out what is here, and poll for what the consumers could take besides."""
        if self._surplus:
            self._offer_surplus()
        if self._pace_timer is not None or self._stopped:
            return
        pace, loop = self._pace, self._node.loop
        while self._polls < pace.open_max:
            count = min(self._free_credit(), BATCH_MAX)
            if count <= 0 or (count < BATCH_MAX and self._polls):
                # A second poll is worth its price only if it can bring a full batch.
                return
            if loop.time() < pace.at:
                self._wait_for(pace)
                return
            self._open_poll(count, self._queue)

    def stop(self) -> None:
        """The node closes: no further polls."""
        self._stopped = True

    def _pace_of(self, source: AwsQueue) -> PollPace:
        """The pace at which messages come from a part of the queue."""
        del source
        return self._pace

    def _wait_for(self, pace: PollPace) -> None:
        """Consider again when the next poll may leave."""
        self._pace_timer = self._node.loop.call_at(pace.at, self._its_time)

    def _its_time(self) -> None:
        self._pace_timer = None
        self.consider()

    def _open_poll(self, count: int, source: AwsQueue) -> None:
        self._pace_of(source).left(self._node.loop.time())
        self._polls += 1
        self._reserved += count
        self._node.tasks.spawn(self._poll(count, source))

    def _free_credit(self) -> int:
        if self._queue.deleted:
            return 0
        eligible = self._eligible()
        if not eligible:
            return 0
        if self._queue.fifo:
            # A run stays with one consumer, and SQS hands out no more of its groups meanwhile.
            return max(each.credit for each in eligible) - self._reserved
        return sum(each.credit for each in eligible) - self._reserved

    # -- polling

    async def _poll(self, count: int, source: AwsQueue) -> None:
        """Receive once, hand out what came and consider the next poll, later if this one failed."""
        pause = 0.0
        empty = False
        try:
            try:
                deliveries = await self._receive(count, source)
            finally:
                self._reserved -= count
            empty = not deliveries
            if deliveries:
                self._arrived(deliveries, source)
            self._backoff = None
        except AwsError as error:
            pause = self._refused(error)
        except Exception as error:  # noqa: BLE001 - reported; the consumers wait for further polls
            self._node.report(f"a poll of {source.sqs_name} failed", error)
            pause = self._next_pause()
        try:
            if pause:
                self._pace_of(source).failed()
                await asyncio.sleep(pause)
        finally:
            self._polls -= 1
        self._answered(source, empty=empty)
        self.consider()

    async def _receive(self, count: int, source: AwsQueue) -> list[AwsDelivery]:
        """What one poll brings. Raises `AwsError`."""
        attempt = self._next_attempt()
        request = Receive(
            source.url,
            count,
            wait_time_seconds=self._node.limits.poll_wait_seconds,
            visibility_timeout=self._node.limits.hold_seconds,
            receive_request_attempt_id=attempt,
        )
        since = self._node.loop.time()
        try:
            messages = await ask(self._node, request)
        except AwsError as error:
            if attempt is not None and (error.status == 0 or error.status >= 500):
                self._lost_attempts.append((self._node.clock.monotonic(), attempt))
            raise
        now = self._node.loop.time()
        self._pace_of(source).came(len(messages), count, now - since, now)
        return await deliveries_from(self._node, source, messages) if messages else []

    def _answered(self, source: AwsQueue, *, empty: bool) -> None:
        """A poll is over, `empty` if it brought nothing; for who keeps count of them."""

    def _next_attempt(self) -> str | None:
        """The id of a receive from a first-in-first-out queue.

        One without an answer may have locked groups: under the same id, what it received comes.
        """
        if self._attempt_ids is None:
            return None
        oldest = self._node.clock.monotonic() - self._node.limits.hold_seconds
        while self._lost_attempts:
            at, attempt = self._lost_attempts.popleft()
            if at >= oldest:
                return attempt
        return self._attempt_ids.next()

    def _refused(self, error: AwsError) -> float:
        """What a failed poll means; returns how long to wait before the next."""
        if error.queue_is_gone:
            self._queue.vanish()
            return 0.0
        return self._next_pause()

    def _next_pause(self) -> float:
        """How long to wait after one more poll that failed, in seconds; never 0."""
        self._backoff = self._backoff or self._node.sqs.backoff()
        return self._backoff.next_seconds() + self._node.limits.retry_delay_seconds

    def _arrived(self, deliveries: list[AwsDelivery], source: AwsQueue) -> None:
        queue = self._queue
        queue.counted = None
        deliveries = source.without_copies(deliveries)
        if queue.care is not None:
            queue.care.taken(len(deliveries))
        queue.holder.hold(deliveries)
        try:
            self._hand_out(source.sort_out(deliveries))
        except BaseException:
            # What nobody got is not to be renewed for ever: it comes again from SQS.
            for delivery in deliveries:
                if delivery.receiver is None:
                    queue.holder.drop(delivery)
            raise

    # -- handing out

    def _eligible(self) -> list[Receiver]:
        receivers = self.receivers
        if self._queue.settings.single_active_consumer:
            receivers = receivers[:1] if self._turn_of_node.held else []
        eligible = [each for each in receivers if each.credit > 0 and not each.paused]
        if len(eligible) > 1:
            highest = max(each.priority for each in eligible)
            eligible = [each for each in eligible if each.priority == highest]
        return eligible

    def _hand_out(self, deliveries: list[AwsDelivery]) -> None:
        """Share deliveries among those that want them, in equal parts by turns."""
        while deliveries:
            eligible = self._eligible()
            if not eligible:
                self._keep(deliveries)
                return
            share = -(-len(deliveries) // len(eligible))
            if self._queue.fifo:
                eligible = [max(eligible, key=lambda each: each.credit)]
                share = len(deliveries)
            self._turn += 1
            start = self._turn % len(eligible)
            for receiver in eligible[start:] + eligible[:start]:
                count = min(share, receiver.credit, len(deliveries))
                if not count or receiver.cancelled:
                    continue
                part, deliveries = deliveries[:count], deliveries[count:]
                receiver.credit -= count
                for delivery in part:
                    delivery.receiver = receiver
                self._node.call(receiver.consumer.deliver, part)

    def _keep(self, deliveries: list[AwsDelivery]) -> None:
        """Nobody has credit for these now."""
        self._surplus.extend(deliveries)
        if not self.receivers:
            self._release_surplus()
        elif self._surplus_timer is None:
            self._surplus_timer = self._node.loop.call_later(
                self._node.limits.surplus_seconds_max, self._release_surplus
            )

    def _offer_surplus(self) -> None:
        if self._eligible():
            deliveries = list(self._surplus)
            self._surplus.clear()
            self._hand_out(deliveries)

    def _release_surplus(self) -> None:
        if self._surplus_timer is not None:
            self._surplus_timer.cancel()
            self._surplus_timer = None
        while self._surplus:
            delivery = self._surplus.popleft()
            if self._queue.care is not None:
                self._queue.care.taken(-1)
            delivery.queue.looked_at(delivery)
