"""A node's inbox: the SQS queue through which others reach its transient queues."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from bridge.backends.aws.messages import AwsDelivery
from bridge.backends.aws.node import Node
from bridge.backends.aws.parcels import Parcels
from bridge.messaging.model import QueueName
from bridge.messaging.names import INTERNAL_NAMESPACE

if TYPE_CHECKING:
    from bridge.backends.aws.queues import AwsQueue
    from bridge.backends.aws.receiving import Receiver
    from bridge.messaging.model import Delivery

_PREFIX: Final = "inbox-"


def inbox_queue(node_id: str) -> QueueName:
    """The inbox of a node."""
    return QueueName(INTERNAL_NAMESPACE, _PREFIX + node_id)


def node_of_inbox_queue(queue: QueueName) -> str | None:
    """The other way round; None for other queues."""
    if queue.namespace != INTERNAL_NAMESPACE or not queue.name.startswith(_PREFIX):
        return None
    return queue.name.removeprefix(_PREFIX)


class Inbox:
    """This node's receiving from one of its inboxes; see `bridge.messaging.ports.Consumer`."""

    def __init__(self, node: Node, parcels: Parcels) -> None:
        self._node = node
        self._parcels = parcels
        self._receiver: Receiver | None = None

    @property
    def running(self) -> bool:
        return self._receiver is not None

    async def start(self, queue: AwsQueue) -> None:
        """Raises `MessagingError`."""
        credit = self._node.limits.inbox_messages_max
        self._receiver = await queue.intake.join(self, credit, 0, exclusive=False)

    def stop(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.cancel()

    # -- Consumer

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        done = partial(self._done, self._receiver)
        here = [each for each in deliveries if isinstance(each, AwsDelivery)]
        self._parcels.take(here, done)

    def cancelled(self) -> None:
        """The queue is gone; the next look makes it anew."""
        self._receiver = None

    def overdue(self, held_seconds: float) -> None:
        """What the dead letters did not take for hours comes again; so does the consumer."""
        self._receiver = None

    def _done(self, receiver: Receiver | None, count: int) -> None:
        if receiver is not None and receiver is self._receiver:
            receiver.add_credit(count)
