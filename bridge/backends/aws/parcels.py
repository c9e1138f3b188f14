"""Messages from an inbox on their way into the queues that they are for.

Publishers were answered when the inbox had their message, so nothing of it may go without a trace:
it is deleted in SQS once each of its queues has taken it, or the dead letters have. What could not
be taken now is given back and comes again, for those queues alone that lack it. A queue that is
gone has taken its messages along.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.messaging.errors import QueueDoesNotExist, QueueFull, StoreUnavailable
from bridge.messaging.model import (
    DEFAULT_NAMESPACE,
    DeadLetterReason,
    Delivery,
    Message,
    QueueName,
    QueueSettings,
    UnitOfWork,
)

if TYPE_CHECKING:
    from bridge.backends.aws.messages import AwsDelivery
    from bridge.backends.aws.node import Node
    from bridge.messaging.errors import MessagingError
    from bridge.messaging.ports import Queue, Store

ADDRESS_HEADER: Final = "landbridge-address"
"""Where a message in an inbox is to go, in JSON."""

_log = logging.getLogger("landbridge.aws")

DeadLetter = Callable[["Queue", Sequence[Delivery], DeadLetterReason], None]


class _Address(msgspec.Struct, array_like=True, omit_defaults=True):
    """The queues that a message is for, and what it is only there: delayed, or at its end."""

    targets: list[QueueName]
    visible_at: int | None = None
    expires_at: int | None = None


_decode = msgspec.json.Decoder(_Address).decode
_encode = msgspec.json.Encoder().encode


def addressed_to(message: Message, names: Iterable[QueueName]) -> Message:
    """The message as it goes into an inbox, where it neither waits nor ends."""
    address = _Address(list(names), message.visible_at, message.expires_at)
    headers = {**message.headers, ADDRESS_HEADER: _encode(address).decode()}
    return msgspec.structs.replace(message, headers=headers, visible_at=None, expires_at=None)


def opened(message: Message) -> tuple[Message, list[QueueName]]:
    """The message as it was sent, and for which queues; none where it does not say so, and so is
    nothing of ours.
    """
    text = message.headers.get(ADDRESS_HEADER)
    try:
        address = _decode(text if isinstance(text, str) else "")
    except msgspec.DecodeError:
        return message, []
    headers = {key: value for key, value in message.headers.items() if key != ADDRESS_HEADER}
    message = msgspec.structs.replace(
        message, headers=headers, visible_at=address.visible_at, expires_at=address.expires_at
    )
    return message, address.targets


class Refused(Delivery, kw_only=True, eq=False):
    """A message that one queue did not take, on its way to the dead letters.

    Settling it settles that queue's part of the message in the inbox: `settle` is told whether it
    has a place now.
    """

    settle: Callable[[bool], None]


class Unreadable:
    """The queue that a message came for which does not say for which it is; see `ports.Queue`."""

    transient = True
    created_at = 0
    modified_at = 0
    consumer_count = 0
    deleted = False
    settings = QueueSettings()

    def __init__(self, name: str) -> None:
        self.name = QueueName(DEFAULT_NAMESPACE, name)


class Parcel:
    """One message. `waiting` counts the queues that it is not decided of, `left` are those that it
    is to come again for.
    """

    __slots__ = ("delivery", "done", "left", "waiting")

    def __init__(self, delivery: AwsDelivery, done: Callable[[int], None]) -> None:
        self.delivery = delivery
        self.done = done
        self.left: list[QueueName] = []
        self.waiting = 0


class Parcels:
    """All of them at this node."""

    def __init__(
        self,
        node: Node,
        local: Store,
        submit: Callable[[UnitOfWork], None],
        dead_letter: DeadLetter,
    ) -> None:
        """`local` has the queues, `submit` settles what came from SQS."""
        self._node = node
        self._local = local
        self._submit = submit
        self._dead_letter = dead_letter
        self._taken: OrderedDict[str, Sequence[QueueName]] = OrderedDict()
        """What came lately, since SQS may hand out a message twice, and which of its queues it is
        to come again for.
        """

    def take(self, deliveries: Iterable[AwsDelivery], done: Callable[[int], None]) -> None:
        """Put messages where they belong; `done` is told of how many that is decided."""
        unit = UnitOfWork()
        sends: list[tuple[Parcel, QueueName]] = []
        empty: list[Parcel] = []
        for delivery in deliveries:
            parcel = Parcel(delivery, done)
            message, names = opened(delivery.message)
            if not names:
                self._unreadable(parcel)
                continue
            for name in self._lacking(message.message_id, names):
                queue = self._local.queue(name)
                if queue is not None:
                    parcel.waiting += 1
                    unit.sends.append((queue, message))
                    sends.append((parcel, name))
            if not parcel.waiting:
                empty.append(parcel)
        if empty:
            self._finish(empty)
        if unit.sends:
            unit.done = partial(self._answered, sends)
            self._local.submit(unit)

    def _answered(self, sends: list[tuple[Parcel, QueueName]], unit: UnitOfWork) -> None:
        finished: list[Parcel] = []
        refused: list[tuple[Parcel, QueueName, int, MessagingError]] = []
        for index, (parcel, name) in enumerate(sends):
            error = unit.error or unit.failures.get(index)
            if error is not None and not isinstance(error, QueueDoesNotExist):
                if not isinstance(error, StoreUnavailable):
                    refused.append((parcel, name, index, error))
                    continue
                parcel.left.append(name)
            parcel.waiting -= 1
            if not parcel.waiting:
                finished.append(parcel)
        if finished:
            self._finish(finished)
        for parcel, name, index, error in refused:
            queue, message = unit.sends[index]
            _log.info("queue '%s' did not take a message from elsewhere: %s", name.name, error)
            self._bury(parcel, queue, message, name, _reason(queue, error))

    def _bury(
        self,
        parcel: Parcel,
        queue: Queue,
        message: Message,
        name: QueueName,
        reason: DeadLetterReason,
    ) -> None:
        def settle(placed: bool) -> None:
            if not placed:
                parcel.left.append(name)
            parcel.waiting -= 1
            if not parcel.waiting:
                self._finish([parcel])

        refused = Refused(queue, message, settle=settle)
        refused.receive_count = 1
        self._dead_letter(queue, [refused], reason)

    def _unreadable(self, parcel: Parcel) -> None:
        message, source = parcel.delivery.message, parcel.delivery.queue
        if not self._lacking(message.message_id, [source.name]):
            self._finish([parcel])
            return
        _log.warning(
            "message %s in %s does not say for which queues it is: it goes to the dead letters",
            message.message_id,
            source.sqs_name,
        )
        parcel.waiting = 1
        queue = Unreadable(source.sqs_name)
        self._bury(parcel, queue, message, source.name, DeadLetterReason.REJECTED)

    def _finish(self, parcels: Iterable[Parcel]) -> None:
        """All is decided of these."""
        unit = UnitOfWork()
        count: dict[Callable[[int], None], int] = {}
        for parcel in parcels:
            delivery = parcel.delivery
            count[parcel.done] = count.get(parcel.done, 0) + 1
            if parcel.left:
                self._taken[delivery.message.message_id] = parcel.left
                delivery.queue.hide(delivery, self._node.limits.inbox_retry_seconds)
            else:
                unit.deletes.append(delivery)
        if unit.deletes:
            self._submit(unit)
        for done, each in count.items():
            done(each)

    def _lacking(self, message_id: str, names: Sequence[QueueName]) -> Sequence[QueueName]:
        """Those of its queues that a message has still to come to."""
        known = self._taken.get(message_id)
        self._taken[message_id] = ()
        if len(self._taken) > self._node.limits.inbox_remembered_max:
            self._taken.popitem(last=False)
        return names if known is None else known


def _reason(queue: Queue, error: MessagingError) -> DeadLetterReason:
    """Why it is dead. A full queue without dead letters of its own uses the namespace's: whoever
    published has been told that the message is kept.
    """
    if isinstance(error, QueueFull) and queue.settings.dead_letter is not None:
        return DeadLetterReason.MAXLEN
    return DeadLetterReason.REJECTED
