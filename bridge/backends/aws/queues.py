"""One SQS queue at this node: its settings and the parts that send, receive and settle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from bridge.backends.aws.bands import BandedIntake, band_of
from bridge.backends.aws.finished import Finished
from bridge.backends.aws.holding import Holder
from bridge.backends.aws.messages import (
    HIDE_SECONDS_MAX,
    AwsDelivery,
    receives_while_delayed,
)
from bridge.backends.aws.node import Node
from bridge.backends.aws.receiving import Intake, Receiver
from bridge.backends.aws.returns import Counts, Returns
from bridge.backends.aws.sending import QueueSender
from bridge.backends.aws.settling import Deleter, VisibilityChanger
from bridge.messaging.model import DeadLetterReason
from bridge.messaging.names import FIFO_SUFFIX

if TYPE_CHECKING:
    from bridge.backends.aws.duties import Care
    from bridge.backends.aws.leases import AwsLeases
    from bridge.backends.aws.ordering import GroupOf
    from bridge.messaging.model import Message, QueueCounts, QueueName, QueueSettings, UnitOfWork


class Seen(NamedTuple):
    """What this node knows of messages that it had before."""

    returns: Returns
    """How often their consumers returned them."""
    looks: Counts
    """How often they were received only to be looked at."""
    finished: Finished
    """Which of them were deleted."""


class AwsQueue:
    """See `bridge.messaging.ports.Queue`. `sqs_name` is with prefix."""

    transient = False

    def __init__(
        self,
        node: Node,
        name: QueueName,
        settings: QueueSettings,
        *,
        sqs_name: str,
        url: str,
        holder: Holder,
        seen: Seen,
        surroundings: Surroundings,
    ) -> None:
        self._node = node
        self.name = name
        self._settings = settings
        self.sqs_name = sqs_name
        self.url = url
        self.arn: str | None = None
        self.fifo = sqs_name.endswith(FIFO_SUFFIX)
        self.group_of: GroupOf | None = None
        """Of a first-in-first-out queue, what gives messages the group that they lack."""
        self.created_at = 0
        self.modified_at = 0
        self.deleted = False
        self.unfinished = False
        """Whether a node made it and had no time to tell with which settings."""
        self.counted: tuple[float, QueueCounts] | None = None
        """The latest counts with their time; forgotten with everything that this node does."""
        self.holder = holder
        self.returns, self.looks, self.finished = seen
        self.care: Care | None = None
        """What is done for the queue though nobody may be consuming."""
        self.owner: AwsQueue = self
        """Of a band, the queue that it is a part of."""
        self.bands: list[AwsQueue] = []
        """Of a queue with priorities, the highest first; this one is the last."""
        self._surroundings = surroundings
        self.sender = QueueSender(node, self)
        self.deleter = Deleter(node, self)
        self.visibility = VisibilityChanger(node, self)
        self.intake = Intake(node, self, surroundings.leases())

    @property
    def settings(self) -> QueueSettings:
        return self._settings if self.owner is self else self.owner.settings

    @settings.setter
    def settings(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._surroundings.review(self)

    @property
    def consumer_count(self) -> int:
        return len(self.intake.receivers)

    @property
    def busy(self) -> bool:
        """True while something is under way to SQS."""
        return bool(self.batchers_busy)

    @property
    def batchers_busy(self) -> list[QueueSender | Deleter | VisibilityChanger]:
        """Those that have something under way."""
        return [
            each
            for part in self.parts
            for each in (part.sender, part.deleter, part.visibility)
            if each.busy
        ]

    @property
    def parts(self) -> list[AwsQueue]:
        """What it is in SQS, the highest band first."""
        return self.bands or [self]

    def add_bands(self, places: list[tuple[str, str]]) -> None:
        """Have bands besides this one, the highest first: their SQS names and URLs."""
        for sqs_name, url in places:
            band = AwsQueue(
                self._node,
                self.name,
                self._settings,
                sqs_name=sqs_name,
                url=url,
                holder=self.holder,
                seen=Seen(self.returns, self.looks, self.finished),
                surroundings=self._surroundings,
            )
            band.owner = self
            self.bands.append(band)
        self.bands.append(self)
        self.intake = BandedIntake(self._node, self, self._surroundings.leases())

    def band_of(self, message: Message) -> AwsQueue:
        """Where a message goes."""
        count = len(self.bands)
        return self.bands[count - 1 - band_of(message, self._settings, count)]

    def name_of_arn(self, arn: str) -> str:
        """What the queue of an ARN is called here."""
        return self._surroundings.name_of_sqs_name(arn.rpartition(":")[2]).name

    def vanish(self) -> None:
        """SQS says that the queue does not exist, or it was just deleted."""
        if self.owner is not self:
            self.owner.vanish()
        if self.deleted:
            return
        for part in self.parts:
            part.deleted = True
        self._surroundings.vanished(self)
        self._surroundings.review(self)
        for receiver in list(self.intake.receivers):
            self._node.call(Receiver.evict, receiver)

    # -- deliveries

    def delete(self, delivery: AwsDelivery, unit: UnitOfWork | None) -> None:
        """Delete a message; `unit`, if given, waits for it."""
        self.holder.drop(delivery)
        message_id = delivery.message.message_id
        self.returns.forget(self, message_id)
        self.finished.add(message_id, self.sqs_name)
        self.deleter.delete(delivery, unit, self._deadline())

    def without_copies(self, deliveries: list[AwsDelivery]) -> list[AwsDelivery]:
        """Leave out what SQS hands out once more although this node deleted it, or still has it.

        Also what says that it was never received: of two polls, the first one's answer may be last.
        """
        kept: dict[str, AwsDelivery] = {}
        for delivery in deliveries:
            message_id = delivery.message.message_id
            place = self.finished.place_of(message_id)
            if place is not None and (place == self.sqs_name or delivery.receive_count > 1):
                self.deleter.delete(delivery, None, self._deadline())
            elif not self.holder.renew_handle(delivery):
                first = kept.setdefault(message_id, delivery)
                if first is not delivery and delivery.receive_count >= first.receive_count:
                    # The second copy in one answer: what SQS goes by is the latest handle.
                    first.handle = delivery.handle
        return list(kept.values())

    def release(
        self, delivery: AwsDelivery, unit: UnitOfWork | None, *, counted: bool = False
    ) -> None:
        """Make a message visible again; `counted` as one that its consumer returned."""
        if counted:
            delivery.return_count += 1
            self.returns.add(self, delivery.message.message_id, delivery.return_count)
        if self.owner.care is not None:
            self.owner.care.taken(-1)
        self.holder.drop(delivery)
        self.visibility.change(delivery, 0, unit, self._deadline())

    def hide(self, delivery: AwsDelivery, seconds: int) -> None:
        """Give a message back, to be visible in so many seconds."""
        self.holder.drop(delivery)
        self.visibility.change(delivery, min(seconds, HIDE_SECONDS_MAX), None, self._deadline())

    def looked_at(self, delivery: AwsDelivery) -> None:
        """Give back a message that nobody was to have: its receive does not count here."""
        self.looks.add(
            delivery.message.message_id, self.looks.count_of(delivery.message.message_id) + 1
        )
        self.holder.drop(delivery)
        self.visibility.change(delivery, 0, None, self._deadline())

    def dead_letter(self, deliveries: list[AwsDelivery], reason: DeadLetterReason) -> None:
        """Move messages to where they go, or delete them."""
        if deliveries:
            self._surroundings.dead_letter(self.owner, deliveries, reason)

    def lament(self, delivery: AwsDelivery) -> None:
        """Dead-letter a message that cannot be read as it was meant."""
        self.dead_letter([delivery], DeadLetterReason.REJECTED)

    def _deadline(self) -> float:
        return self._node.clock.monotonic() + self._node.limits.settle_seconds_max

    def sort_out(self, deliveries: list[AwsDelivery]) -> list[AwsDelivery]:
        """Keep what may be handed out: not what has expired, or is not due yet."""
        ttl = self.settings.message_ttl_ms
        if ttl is None and all(
            each.message.expires_at is None and each.message.visible_at is None
            for each in deliveries
        ):
            return deliveries
        now = self._node.clock.epoch_ms()
        kept: list[AwsDelivery] = []
        expired: list[AwsDelivery] = []
        for delivery in deliveries:
            message = delivery.message
            end = self.end_of(message)
            if end is not None and end <= now:
                expired.append(delivery)
            elif message.visible_at is not None and message.visible_at > now:
                self.hide(delivery, -(-(message.visible_at - now) // 1000))
            else:
                hidden = receives_while_delayed(message)
                delivery.receive_count = max(1, delivery.receive_count - hidden)
                kept.append(delivery)
        self.dead_letter(expired, DeadLetterReason.EXPIRED)
        return kept

    def end_of(self, message: Message) -> int | None:
        """When a message expires, in epoch milliseconds."""
        end, ttl = message.expires_at, self.settings.message_ttl_ms
        if ttl is None:
            return end
        own = message.sent_at + ttl
        return own if end is None else min(end, own)


class Surroundings:
    """What a queue asks of the store that it is in."""

    def __init__(
        self,
        name_of_sqs_name: Callable[[str], QueueName],
        vanished: Callable[[AwsQueue], None],
        dead_letter: Callable[[AwsQueue, list[AwsDelivery], DeadLetterReason], None],
        review: Callable[[AwsQueue], None],
        leases: Callable[[], AwsLeases],
    ) -> None:
        """`review` is to be told of other settings, and of the queue's end."""
        self.name_of_sqs_name = name_of_sqs_name
        self.vanished = vanished
        self.dead_letter = dead_letter
        self.review = review
        self.leases = leases
