"""A node's inbox: the SQS queue through which others reach its transient queues."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.backends.aws.node import Node
from bridge.messaging.model import Message, QueueName, UnitOfWork
from bridge.messaging.names import INTERNAL_NAMESPACE

if TYPE_CHECKING:
    from bridge.backends.aws.queues import AwsQueue
    from bridge.backends.aws.receiving import Receiver
    from bridge.messaging.model import Delivery
    from bridge.messaging.ports import Store

TARGETS_HEADER: Final = "landbridge-targets"
"""The queues that a message in an inbox is for: a JSON list of namespace and name."""

_PREFIX: Final = "inbox-"
_decode_targets = msgspec.json.Decoder(list[QueueName]).decode


def inbox_queue(node_id: str) -> QueueName:
    """The inbox of a node."""
    return QueueName(INTERNAL_NAMESPACE, _PREFIX + node_id)


def node_of_inbox_queue(queue: QueueName) -> str | None:
    """The other way round; None for other queues."""
    if queue.namespace != INTERNAL_NAMESPACE or not queue.name.startswith(_PREFIX):
        return None
    return queue.name.removeprefix(_PREFIX)


def addressed_to(message: Message, names: Iterable[QueueName]) -> Message:
    """The message as it goes into an inbox."""
    targets = msgspec.json.encode(list(names)).decode()
    return msgspec.structs.replace(message, headers={**message.headers, TARGETS_HEADER: targets})


class Inbox:
    """This node's receiving from its inbox; see `bridge.messaging.ports.Consumer`."""

    def __init__(self, node: Node, local: Store, submit: Callable[[UnitOfWork], None]) -> None:
        self._node = node
        self._local = local
        self._submit = submit
        self._receiver: Receiver | None = None
        self._taken: OrderedDict[str, None] = OrderedDict()
        """What came lately, since SQS may hand out a message twice."""

    @property
    def running(self) -> bool:
        return self._receiver is not None

    async def start(self, queue: AwsQueue) -> None:
        credit = self._node.limits.inbox_messages_max
        self._receiver = await queue.intake.join(self, credit, 0, exclusive=False)

    def stop(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.cancel()

    # -- Consumer

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        unit = UnitOfWork(lambda _: self._settle(deliveries))
        for delivery in deliveries:
            if self._is_first(delivery.message.message_id):
                self._add_sends(unit, delivery.message)
        if unit.sends:
            self._local.submit(unit)
        else:
            self._settle(deliveries)

    def cancelled(self) -> None:
        """The queue is gone; the next look makes it anew."""
        self._receiver = None

    def overdue(self, held_seconds: float) -> None:
        """Nothing is held for so long: queues in memory take at once."""

    def _add_sends(self, unit: UnitOfWork, message: Message) -> None:
        headers = dict(message.headers)
        text = headers.pop(TARGETS_HEADER, None)
        try:
            targets = _decode_targets(text) if isinstance(text, str) else []
        except msgspec.DecodeError:
            return
        message = msgspec.structs.replace(message, headers=headers)
        for name in targets:
            queue = self._local.queue(name)
            # One that is gone meanwhile has taken its messages along.
            if queue is not None:
                unit.sends.append((queue, message))

    def _settle(self, deliveries: Sequence[Delivery]) -> None:
        unit = UnitOfWork()
        unit.deletes += deliveries
        self._submit(unit)
        if self._receiver is not None:
            self._receiver.add_credit(len(deliveries))

    def _is_first(self, message_id: str) -> bool:
        if message_id in self._taken:
            return False
        self._taken[message_id] = None
        if len(self._taken) > self._node.limits.inbox_remembered_max:
            self._taken.popitem(last=False)
        return True
