"""Receiving by pull: one answer to one question, from queues that SQS holds.

What is pushed to consumers is `bridge.backends.aws.receiving`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.backends.aws.batches import BATCH_MAX
from bridge.backends.aws.claims import deliveries_from
from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.wire import Receive, Received, decode_receive_reply, encode
from bridge.messaging.clock import MessageIds
from bridge.messaging.errors import MessagingError, QueueDoesNotExist, StoreUnavailable
from bridge.messaging.limits import ServiceLimits

if TYPE_CHECKING:
    from bridge.backends.aws.holding import Holder
    from bridge.backends.aws.messages import AwsDelivery
    from bridge.backends.aws.node import Node
    from bridge.backends.aws.queues import AwsQueue
    from bridge.messaging.ports import ReceiveOptions

WAIT_SECONDS_MAX: Final = ServiceLimits().wait_seconds_max


async def ask(node: Node, request: Receive, deadline: float | None = None) -> list[Received]:
    """Receive once, until `deadline` (monotonic). Raises `AwsError`, also for what is no answer."""
    wait = request.wait_time_seconds or 0
    reply = await node.sqs.poll("ReceiveMessage", encode(request), wait, deadline=deadline)
    try:
        return decode_receive_reply(reply).messages
    except msgspec.MsgspecError as error:
        raise AwsError("ReceiveMessage", 0, "", f"unreadable answer: {error}") from error


class Puller:
    """Both of its ways raise `QueueDoesNotExist` and `StoreUnavailable`."""

    def __init__(self, node: Node, holder: Holder) -> None:
        self._node = node
        self._holder = holder
        self._attempt_ids = MessageIds()
        """For receives from first-in-first-out queues: tried again, they get the same messages."""

    async def receive(
        self, queue: AwsQueue, count: int, options: ReceiveOptions
    ) -> list[AwsDelivery]:
        """As ReceiveMessage: what comes is not renewed."""
        wait, attempt_id = options.get("wait_seconds"), options.get("attempt_id")
        if wait is None:
            wait = queue.settings.receive_wait_seconds
        if queue.fifo and attempt_id is None:
            attempt_id = self._attempt_ids.next()
        request = Receive(
            queue.url,
            min(count, BATCH_MAX),
            wait_time_seconds=min(wait, WAIT_SECONDS_MAX),
            visibility_timeout=options.get("visibility_seconds"),
            receive_request_attempt_id=attempt_id,
        )
        return await self._from_bands(queue, request)

    async def take(self, queue: AwsQueue) -> AwsDelivery | None:
        """One message, if there is one, that is renewed until it is settled."""
        # One second of waiting makes SQS ask all of its servers; a short poll may miss messages.
        request = Receive(
            queue.url,
            1,
            wait_time_seconds=1,
            visibility_timeout=self._node.limits.hold_seconds,
            receive_request_attempt_id=self._attempt_ids.next() if queue.fifo else None,
        )
        while pulled := await self._from_bands(queue, request):
            for delivery in pulled[0].queue.without_copies(pulled):
                self._holder.hold([delivery])
                return delivery
        return None

    async def _from_bands(self, queue: AwsQueue, request: Receive) -> list[AwsDelivery]:
        """Receive from the highest band that has something, and on from there."""
        if not queue.bands:
            return await self._pull(queue, request)
        if queue.care is not None:
            queue.care.used()
        received: list[AwsDelivery] = []
        try:
            await self._ask_bands(queue, request, received)
        except BaseException:
            for delivery in received:
                delivery.queue.release(delivery, None)
            raise
        return received

    async def _ask_bands(
        self, queue: AwsQueue, request: Receive, received: list[AwsDelivery]
    ) -> None:
        """Add to `received` what the bands have: at once, or if none has, in their waiting time."""
        wanted = request.max_number_of_messages
        share = (request.wait_time_seconds or 0) // len(queue.bands)
        for wait in (0, share):
            for band in queue.bands:
                received += await self._pull(
                    band,
                    msgspec.structs.replace(
                        request,
                        queue_url=band.url,
                        wait_time_seconds=wait,
                        max_number_of_messages=wanted - len(received),
                    ),
                )
                if len(received) == wanted or (received and wait):
                    return
            if received:
                return

    async def _pull(self, queue: AwsQueue, request: Receive) -> list[AwsDelivery]:
        """Receive once; who stops waiting has what still comes released."""
        if queue.deleted:
            raise QueueDoesNotExist(f"queue '{queue.name.name}' is gone")
        if queue.care is not None:
            queue.care.used()
        answer: asyncio.Future[list[AwsDelivery]] = self._node.loop.create_future()
        self._node.tasks.spawn(self._receive(queue, request, answer))
        try:
            return await answer
        finally:
            answer.cancel()

    async def _receive(
        self, queue: AwsQueue, request: Receive, answer: asyncio.Future[list[AwsDelivery]]
    ) -> None:
        deliveries: list[AwsDelivery] = []
        error: MessagingError = StoreUnavailable("the broker stops")
        try:
            wait = request.wait_time_seconds or 0
            deadline = self._node.sqs.deadline_in(wait + self._node.limits.call_seconds_max)
            received = await ask(self._node, request, deadline)
            queue.counted = None
            if queue.owner.care is not None:
                queue.owner.care.taken(len(received))
            deliveries = queue.sort_out(await deliveries_from(self._node, queue, received))
        except AwsError as refused:
            if refused.queue_is_gone:
                queue.vanish()
            error = messaging_error_from(refused)
        else:
            if not answer.done():
                answer.set_result(deliveries)
            else:
                for delivery in deliveries:
                    queue.release(delivery, None)
        finally:
            if not answer.done():
                answer.set_exception(error)
