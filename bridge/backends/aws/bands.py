"""Priorities of a standard queue: up to four queues in SQS, of which the higher come first.

The lowest band is the queue's own; the others have names that no queue of a client can have. Which
band a message goes to is fixed when it is sent. Who begins to consume is first given what the bands
have, all at once. Then each band has a long poll of its own; that of a lower one is opened when the
higher ones have waited for a moment, or were just found empty.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final

from bridge.backends.aws.batches import BATCH_MAX
from bridge.backends.aws.claims import deliveries_from
from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.pacing import PollPace
from bridge.backends.aws.pulling import ask
from bridge.backends.aws.receiving import Intake
from bridge.backends.aws.wire import Receive
from bridge.messaging.model import QueueName

if TYPE_CHECKING:
    from bridge.backends.aws.leases import AwsLeases
    from bridge.backends.aws.messages import AwsDelivery
    from bridge.backends.aws.node import Node
    from bridge.backends.aws.queues import AwsQueue
    from bridge.backends.aws.receiving import Receiver
    from bridge.messaging.model import Message, QueueSettings

BANDS_MAX: Final = 4


def band_count(settings: QueueSettings, *, fifo: bool) -> int:
    """How many queues in SQS a queue with these settings is to be."""
    return 1 if fifo else min(settings.priority_max + 1, BANDS_MAX)


def band_name(name: QueueName, band: int) -> QueueName:
    """What the SQS name of a band above the lowest is made of."""
    return QueueName(name.namespace, f"{name.name}\0p{band}")


def band_of(message: Message, settings: QueueSettings, count: int) -> int:
    """The band of a message, 0 for the lowest of `count`."""
    priority = settings.priority_default if message.priority is None else message.priority
    return min(priority, settings.priority_max) * count // (settings.priority_max + 1)


class BandedIntake(Intake):
    """What comes in from the bands of one queue."""

    def __init__(self, node: Node, queue: AwsQueue, leases: AwsLeases) -> None:
        super().__init__(node, queue, leases)
        self._opened: dict[AwsQueue, float] = {}
        """Bands with an open poll, and since when they are waited for (the loop's time)."""
        self._found_empty: dict[AwsQueue, float] = {}
        """When a poll of a band brought nothing at last (the loop's time)."""
        self._patience: asyncio.TimerHandle | None = None
        self._paces: dict[AwsQueue, PollPace] = {}
        self._looked = self._looking = False
        """Whether the bands were looked at for those who consume now, and are being looked at."""

    def leave(self, receiver: Receiver) -> None:
        super().leave(receiver)
        if not self.receivers:
            self._looked = self._looking

    def consider(self) -> None:
        if self._surplus:
            bands = self._queue.bands
            self._surplus = type(self._surplus)(
                sorted(self._surplus, key=lambda each: bands.index(each.queue))
            )
            self._offer_surplus()
        if self._queue.deleted or self._stopped or self._looking:
            return
        if not self._looked:
            if self._wanted() > 0:
                self._looked = self._looking = True
                self._node.tasks.spawn(self._look())
            return
        if self._patience is not None or self._pace_timer is not None:
            return
        patience, now = self._node.limits.band_patience_seconds, self._node.loop.time()
        for band in self._queue.bands:
            count = min(self._wanted(), BATCH_MAX)
            if count <= 0:
                return
            since = self._opened.get(band)
            if since is None:
                pace = self._pace_of(band)
                if now < pace.at:
                    self._wait_for(pace)
                    return
                # What was found empty a moment ago is not waited for once more.
                recently = now - self._found_empty.get(band, -inf) < patience
                since = self._opened[band] = -inf if recently else now
                self._open_poll(count, band)
            if since + patience > now:
                self._patience = self._node.loop.call_at(since + patience, self._lost_patience)
                return

    async def _look(self) -> None:
        """Hand out what the bands have now, the higher before the lower, and poll from then on."""
        came: list[tuple[list[AwsDelivery], AwsQueue]] = []
        try:
            await self._ask_each(came)
        except AwsError as error:
            # The polls that follow go on from there.
            self._refused(error)
        except Exception as error:  # noqa: BLE001 - reported; the consumers wait for further polls
            self._node.report(f"a look at {self._queue.sqs_name} failed", error)
        finally:
            self._looking = False
        for deliveries, band in came:
            self._arrived(deliveries, band)
        self.consider()

    async def _ask_each(self, came: list[tuple[list[AwsDelivery], AwsQueue]]) -> None:
        """Add to `came` what the consumers can take of what each band has. Raises `AwsError`."""
        for band in self._queue.bands:
            count = min(self._wanted() - sum(len(each) for each, _ in came), BATCH_MAX)
            if count <= 0:
                return
            hold = self._node.limits.hold_seconds
            request = Receive(band.url, count, wait_time_seconds=0, visibility_timeout=hold)
            messages = await ask(self._node, request)
            came.append((await deliveries_from(self._node, band, messages), band))
            if len(messages) == count:
                # There may be more, which comes before what is below.
                return
            if not messages:
                self._found_empty[band] = self._node.loop.time()

    def _pace_of(self, source: AwsQueue) -> PollPace:
        return self._paces.setdefault(source, PollPace(self._node.limits))

    def _wanted(self) -> int:
        """What the consumers can take. Open polls of empty bands do not count: what comes beside
        it waits for a moment.
        """
        return sum(each.credit for each in self._eligible()) - len(self._surplus)

    def _lost_patience(self) -> None:
        self._patience = None
        self.consider()

    def _answered(self, source: AwsQueue, *, empty: bool) -> None:
        self._opened.pop(source, None)
        if empty:
            self._found_empty[source] = self._node.loop.time()
        if self._patience is not None:
            # The highest band has its turn again.
            self._patience.cancel()
            self._patience = None
