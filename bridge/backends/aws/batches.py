"""Items collected into batches of ten, many batches under way. Hot path.

An idle queue's first item leaves at the end of the loop's iteration, so that what other connections
bring in the same iteration goes along; while batches are under way, items wait a few milliseconds
for company. Items that fail alone are tried again in their own batch, under its deadline.
"""

from __future__ import annotations

import asyncio
from typing import Generic, Protocol, TypeVar

import msgspec

from bridge.backends.aws.errors import THROTTLING, AwsError
from bridge.backends.aws.node import Node
from bridge.backends.aws.wire import BatchReply, Refused, Sent, decode_batch_reply
from bridge.messaging.limits import ServiceLimits

BATCH_MAX = ServiceLimits().batch_entries_max
IDS = tuple(str(number) for number in range(BATCH_MAX))


class Item(Protocol):
    """What is collected."""

    deadline: float


ItemT = TypeVar("ItemT", bound=Item)


class Batcher(Generic[ItemT]):
    """Collects items of one action on one queue."""

    action: str

    def __init__(self, node: Node, in_flight_max: int) -> None:
        self._node = node
        self._pending: list[ItemT] = []
        self._in_flight = 0
        self._preparing = 0
        """Items that will come once something else is done."""
        self._in_flight_max = in_flight_max
        self._timer: asyncio.Handle | None = None
        self._timer_is_lazy = False
        self._idle: asyncio.Future[None] | None = None

    # -- for the kinds of batches

    def encode(self, batch: list[ItemT]) -> bytes:
        """The request for a batch."""
        raise NotImplementedError

    def succeeded(self, item: ItemT, sent: Sent) -> None:
        raise NotImplementedError

    def failed(self, item: ItemT, error: AwsError) -> None:
        """AWS refuses the item, or did not take it before its deadline."""
        raise NotImplementedError

    def take_batch(self) -> list[ItemT]:
        """Take the next batch out of what waits; empty where nothing may leave now."""
        batch = self._pending[:BATCH_MAX]
        del self._pending[:BATCH_MAX]
        return batch

    def has_full_batch(self) -> bool:
        return len(self._pending) >= BATCH_MAX

    async def call(self, body: bytes, deadline: float) -> BatchReply:
        """Send the request. Raises `AwsError`, and `MsgspecError` for what is no answer."""
        return decode_batch_reply(await self._node.sqs.call(self.action, body, deadline=deadline))

    # -- in

    def add(self, item: ItemT, *, lazy: bool = False) -> None:
        """Take an item; a lazy one waits longer for company."""
        self._pending.append(item)
        if self.has_full_batch():
            self._flush(everything=False)
        if self._pending:
            self._arm(lazy=lazy)

    async def drain(self) -> None:
        """Send what waits, and return when nothing is under way."""
        while self.busy:
            self._flush(everything=True)
            self._idle = self._node.loop.create_future()
            await self._idle

    @property
    def busy(self) -> bool:
        return bool(self._pending or self._in_flight or self._preparing)

    # -- out

    def _arm(self, *, lazy: bool) -> None:
        if self._timer is not None:
            if lazy or not self._timer_is_lazy:
                return
            self._timer.cancel()
        limits, loop = self._node.limits, self._node.loop
        self._timer_is_lazy = lazy
        if lazy:
            self._timer = loop.call_later(limits.settle_linger_seconds, self._ring)
        elif self._in_flight:
            self._timer = loop.call_later(limits.batch_linger_seconds, self._ring)
        else:
            self._timer = loop.call_soon(self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._flush(everything=True)

    def _flush(self, *, everything: bool) -> None:
        while (
            self._pending
            and self._in_flight < self._in_flight_max
            and (everything or self.has_full_batch())
        ):
            batch = self.take_batch()
            if not batch:
                return
            self._in_flight += 1
            self._node.tasks.spawn(self._fly(batch))

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

    def forget_counts(self) -> None:
        """The queue's counts are not what they were."""
        raise NotImplementedError

    def _landed(self, batch: list[ItemT]) -> None:
        self.forget_counts()
        self._in_flight -= 1
        self._flush(everything=not self._in_flight)
        if self._pending:
            self._arm(lazy=False)
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
            reply = await self.call(self.encode(batch), deadline)
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
