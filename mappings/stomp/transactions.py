"""COMMIT: what a client did in a transaction, as one unit of work.

The adapter keeps an open transaction's frames; here they come all at once. Either all of it is
submitted, atomically, or nothing is: then its messages go back and the connection ends.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from adapters.stomp.events import AckReceived, NackReceived, SendReceived, TransactionCommitted
from adapters.stomp.frames import FrameError
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import Publish, QueueName, UnitOfWork
from mappings.stomp.messages import PROTOCOL
from mappings.stomp.publishing import first_refused

if TYPE_CHECKING:
    from mappings.gateway import Barrier
    from mappings.stomp.gateway import StompGateway


class Transactions:
    """The commits of one connection."""

    __slots__ = ("_gateway",)

    def __init__(self, gateway: StompGateway) -> None:
        self._gateway = gateway

    def commit(self, event: TransactionCommitted) -> Barrier | None:
        """Submit a transaction; a coroutine where something has to be made first."""
        gateway = self._gateway
        now_ms = gateway.services.clock.epoch_ms()
        sends = [action for action in event.actions if isinstance(action, SendReceived)]
        publishes: list[Publish] = []
        for send in sends:
            try:
                publish = gateway.publishing.publish_from_send(send, now_ms)
            except (FrameError, MessagingError) as error:
                self._abandon(event, error, send.receipt)
                return None
            if publish is None:
                return self._commit_after(gateway.subscriptions.make_temporary(send), event)
            publishes.append(publish)
        unit = UnitOfWork(atomic=True, answered=True)
        routed = gateway.services.router.route(publishes, unit)
        missing = routed.missing | self._add_settles(unit, event)
        if missing:
            queues = gateway.publishing.make_queues(missing, publishes, sends)
            return self._commit_after(queues, event)
        refused = first_refused(publishes, routed)
        if refused is None:
            self._submit(unit, event, sends)
        else:
            self._abandon(event, refused[1], sends[refused[0]].receipt)
        return None

    def _add_settles(self, unit: UnitOfWork, event: TransactionCommitted) -> frozenset[QueueName]:
        missing: frozenset[QueueName] = frozenset()
        for action in event.actions:
            if isinstance(action, AckReceived):
                unit.deletes += action.deliveries
            elif isinstance(action, NackReceived):
                missing |= self._gateway.settling.add_nack(unit, action)
        return missing

    async def _commit_after(self, preparation: Barrier, event: TransactionCommitted) -> None:
        await preparation
        if self._gateway.finishing:
            self._release(event)
            return
        barrier = self.commit(event)
        if barrier is not None:
            await barrier

    def _submit(
        self, unit: UnitOfWork, event: TransactionCommitted, sends: list[SendReceived]
    ) -> None:
        gateway = self._gateway
        size_bytes = sum(len(send.body) for send in sends)
        gateway.services.counters.published(PROTOCOL, len(sends), size_bytes)
        answer = partial(self._committed, event)
        gateway.submit(unit, answer, messages=len(sends), size_bytes=size_bytes)
        for action in event.actions:
            if not isinstance(action, SendReceived):
                gateway.settling.credit(action)

    def _committed(self, event: TransactionCommitted, unit: UnitOfWork) -> list[bytes]:
        error = unit.error or next(iter(unit.failures.values()), None)
        if error is None:
            receipts = [action.receipt for action in event.actions]
            return self._gateway.receipts([*receipts, event.receipt])
        self._abandon(event, error, event.receipt)
        return []

    def _abandon(
        self, event: TransactionCommitted, error: FrameError | MessagingError, receipt: str | None
    ) -> None:
        self._gateway.refuse(error, event.receipt if receipt is None else receipt)
        self._release(event)

    def _release(self, event: TransactionCommitted) -> None:
        for action in event.actions:
            if not isinstance(action, SendReceived):
                self._gateway.release(action.deliveries)
