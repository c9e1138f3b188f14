"""Items collected into batches of ten, many batches under way. Hot path.

A full batch leaves at once, and others when their first item has waited for company long enough:
- while ten come within a few milliseconds (`bridge.backends.aws.pacing`), until they are there, or
  nobody comes for most of the time that this should take: then they come in clumps, or only when
  others are answered, and the next few batches do not wait; twice as many each time;
- otherwise until the loop's iteration ends, so that what other connections bring in the same one
  goes along, and while batches are under way for a few milliseconds or until they are back;
- lazy ones, which nobody waits for, for longer.
Items that fail alone are tried again in their own batch, under its deadline.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from bridge.backends.aws.errors import THROTTLING, AwsError
from bridge.backends.aws.node import Node
from bridge.backends.aws.pacing import Rate
from bridge.backends.aws.wire import BatchReply, Refused, Sent, decode_batch_reply
from bridge.messaging.limits import ServiceLimits

BATCH_MAX: Final = ServiceLimits().batch_entries_max
IDS: Final = tuple(str(number) for number in range(BATCH_MAX))
LOOK_AGAIN: Final = 0.7
"""After which part of the time that ten should take it is looked whether any have come."""
DOUBT_BATCHES: Final = 8
"""Batches that do not wait after one that waited in vain."""
DOUBT_BATCHES_MAX: Final = 1024


class Item(Protocol):
    """What is collected."""

    deadline: float


ItemT = TypeVar("ItemT", bound=Item)


class Batcher(ABC, Generic[ItemT]):
    """Collects items of one action on one queue."""

    action: str

    def __init__(self, node: Node, in_flight_max: int) -> None:
        self._node = node
        self._pending: list[ItemT] = []
        """What waits here, unless the kind of batches keeps it elsewhere."""
        self._waiting = 0
        """How many items wait."""
        self._in_flight = 0
        self._preparing = 0
        """Items that will come once something else is done."""
        self._in_flight_max = in_flight_max
        self._rate = Rate()
        self._taken = 0
        """Items that have left, ever."""
        self._since = 0.0
        """Since when the first of what waits has waited, or a little before (the loop's time)."""
        self._lazy = True
        """Whether nobody waits for anything of what waits here."""
        self._overdue = False
        """Whether it has waited long enough, and leaves as soon as it can."""
        self._seen = -1
        """How many had come when it was looked last; -1 where company is not waited for."""
        self._doubt = 0
        """Batches that did not wait after the last one that waited in vain."""
        self._hasty = 0
        """Batches that are still to leave without waiting."""
        self._timer: asyncio.Handle | None = None
        self._timer_is_lazy = False
        self._idle: asyncio.Future[None] | None = None

    # -- for the kinds of batches

    @abstractmethod
    def encode(self, batch: list[ItemT]) -> bytes:
        """The request for a batch."""

    @abstractmethod
    def succeeded(self, item: ItemT, sent: Sent) -> None:
        """AWS has taken the item."""

    @abstractmethod
    def failed(self, item: ItemT, error: AwsError) -> None:
        """AWS refuses the item, or did not take it before its deadline."""

    @abstractmethod
    def forget_counts(self) -> None:
        """The queue's counts are not what they were."""

    def lazy_seconds(self) -> float:
        """How long a lazy item waits for company."""
        return self._node.limits.settle_linger_seconds

    def keep(self, item: ItemT) -> None:
        """Let an item wait."""
        self._pending.append(item)

    def take_batch(self) -> list[ItemT]:
        """Take the next batch out of what waits; empty where nothing may leave now."""
        batch = self._pending[:BATCH_MAX]
        del self._pending[:BATCH_MAX]
        return batch

    def take_all(self) -> list[ItemT]:
        """Take all that waits, whether it may leave or not."""
        batch, self._pending = self._pending, []
        return batch

    def has_full_batch(self) -> bool:
        """Whether so much of what may leave now waits that nothing else would go along."""
        return self._waiting >= BATCH_MAX

    async def call(
        self, body: bytes, deadline: float, again: Callable[[], bytes] | None = None
    ) -> BatchReply:
        """Send the request. Raises `AwsError`, and `MsgspecError` for what is no answer."""
        return decode_batch_reply(
            await self._node.sqs.call(self.action, body, deadline=deadline, again=again)
        )

    def again(self, batch: list[ItemT]) -> Callable[[], bytes] | None:
        """What makes the request for a batch that may have been taken already; None: the same."""
        return None

    # -- in

    def add(self, item: ItemT, *, lazy: bool = False) -> None:
        """Take an item; a lazy one waits longer for company."""
        if not self._waiting:
            self._since = self._node.loop.time()
            self._lazy = True
        self.keep(item)
        self._waiting += 1
        if not lazy:
            self._lazy = False
        if self.has_full_batch():
            self._flush(everything=False)
            self._since = self._node.loop.time()
        if self._waiting and (self._timer is None or (self._timer_is_lazy and not self._lazy)):
            self._arm()

    async def drain(self) -> None:
        """Send what waits, and return when nothing is under way."""
        while self.busy:
            self._overdue = True
            self._flush(everything=True)
            self._idle = self._node.loop.create_future()
            await self._idle

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._in_flight or self._preparing)

    # -- out

    def _arm(self) -> None:
        """See that what waits is looked at in time."""
        lazy = self._lazy
        if self._timer is not None:
            if lazy or not self._timer_is_lazy:
                return
            self._timer.cancel()
        limits, loop = self._node.limits, self._node.loop
        self._timer_is_lazy = lazy
        self._seen = -1
        if lazy:
            wait = self._since + self.lazy_seconds() - loop.time()
        else:
            wait = self._filled_in() * LOOK_AGAIN
            if wait:
                self._seen = self._taken + self._waiting
            elif self._in_flight:
                wait = limits.batch_linger_seconds
        if wait > 0.0:
            self._timer = loop.call_later(wait, self._ring)
        else:
            self._timer = loop.call_soon(self._ring)

    def _filled_in(self) -> float:
        """How long ten items take to come; 0 if it does not pay to wait for them."""
        if self._hasty:
            return 0.0
        fill = self._rate.seconds_for(BATCH_MAX, self._node.loop.time())
        return fill if fill <= self._node.limits.fill_seconds_max else 0.0

    def _ring(self) -> None:
        self._timer = None
        if self._waiting and self._may_wait():
            self._arm()
        else:
            self._overdue = True
            self._flush(everything=True)

    def _may_wait(self) -> bool:
        waited = self._node.loop.time() - self._since
        if self._lazy:
            return waited < self.lazy_seconds() * LOOK_AGAIN
        if self._seen == self._taken + self._waiting:
            self._doubt = min(self._doubt * 2, DOUBT_BATCHES_MAX) or DOUBT_BATCHES
            self._hasty = self._doubt
            return False
        if not self._filled_in():
            return False
        self._doubt = 0
        return waited < self._node.limits.fill_seconds_max

    def _flush(self, *, everything: bool) -> None:
        if self._node.tasks.closed:
            self._refuse_all()
        while (
            self._waiting
            and self._in_flight < self._in_flight_max
            and (everything or self.has_full_batch())
        ):
            batch = self.take_batch()
            if not batch:
                return
            self._in_flight += 1
            self._waiting -= len(batch)
            self._taken += len(batch)
            if self._hasty:
                self._hasty -= 1
            self._rate.add(len(batch), self._node.loop.time())
            self._node.tasks.spawn(self._fly(batch))
        if not self._waiting:
            self._overdue = False

    def _refuse_all(self) -> None:
        """Too late: what came or waited until now finds the node closed."""
        self._waiting = 0
        for item in self.take_all():
            self.failed(item, AwsError(self.action, 0, "", "the broker stops"))

    async def _fly(self, batch: list[ItemT]) -> None:
        left = batch
        try:
            deadline = batch[0].deadline
            backoff = None
            while left := await self._try(left, deadline):
                backoff = backoff or self._node.sqs.backoff()
                await asyncio.sleep(backoff.next_seconds())
        except asyncio.CancelledError:
            error = AwsError(self.action, 0, "", "the broker stops")
            for item in left:
                self.failed(item, error)
            raise
        finally:
            self._landed(batch)

    def _landed(self, batch: list[ItemT]) -> None:
        self.forget_counts()
        self._in_flight -= 1
        alone = not (self._in_flight or self._lazy or self._filled_in())
        self._flush(everything=self._overdue or alone)
        if self._waiting:
            self._arm()
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self._idle is not None and not self.busy and not self._idle.done():
            self._idle.set_result(None)

    async def _try(self, batch: list[ItemT], deadline: float) -> list[ItemT]:
        """Send a batch; returns what is worth another try. By then all else has its answer,
        whatever has happened.
        """
        left = dict(zip(IDS, batch, strict=False))
        try:
            reply = await self.call(self.encode(batch), deadline, self.again(batch))
            self._node.sqs.carried(self.action, len(reply.successful))
            for sent in reply.successful:
                if (item := left.get(sent.id)) is not None:
                    self.succeeded(item, sent)
                    del left[sent.id]
            if left:
                self._refused(left, reply, deadline)
        except AwsError as error:
            self._fail(left, error)
        except msgspec.MsgspecError as error:
            self._fail(left, AwsError(self.action, 0, "", f"the answer cannot be read: {error}"))
        except Exception as error:  # noqa: BLE001 - reported; who waits must hear of it as well
            self._node.report(f"{self.action} failed", error)
            self._fail(left, AwsError(self.action, 0, "", "the broker made a mistake"))
        return list(left.values())

    def _fail(self, left: dict[str, ItemT], error: AwsError) -> None:
        for key in list(left):
            self.failed(left.pop(key), error)

    def _refused(self, left: dict[str, ItemT], reply: BatchReply, deadline: float) -> None:
        """Answer what is refused for good, or too late for another try; leave the rest."""
        late = self._node.clock.monotonic() >= deadline
        for refused in reply.failed:
            if refused.id in left and (late or not is_worth_another_try(refused)):
                error = AwsError(self.action, 400, refused.code, refused.message)
                self.failed(left.pop(refused.id), error)
        if late:
            # Nothing was said of these.
            self._fail(left, AwsError(self.action, 0, "", "the answer does not name the entry"))


def is_worth_another_try(refused: Refused) -> bool:
    """Whether an entry that failed by itself may succeed a little later."""
    return not refused.sender_fault or refused.code in THROTTLING
