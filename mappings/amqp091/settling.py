"""What a client does with its deliveries besides acknowledging them: nack, reject, transactions.

A transaction (tx) is kept here until tx.commit makes one unit of work of it: publishes, acks and
nacks become visible together or not at all. Rejected deliveries are dead-lettered, which can need a
queue that has to be made first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from adapters.amqp091 import events
from adapters.amqp091.errors import AmqpError, HardError, ReplyCode
from bridge.messaging.errors import MessagingError, TopicDoesNotExist
from bridge.messaging.model import DeadLetterReason, Delivery, Publish, QueueName, UnitOfWork
from bridge.routing.router import Routed
from mappings.amqp091.channel import GatewayChannel, Token, Transaction, give_credit
from mappings.amqp091.errors import precondition_failed
from mappings.amqp091.publishing import has_copies

if TYPE_CHECKING:
    from mappings.amqp091.gateway import AmqpGateway
    from mappings.gateway import Barrier

COMMIT_METHOD = 0x005A0014


class Settling:
    """The settling of one connection's deliveries."""

    __slots__ = ("_gateway",)

    def __init__(self, gateway: AmqpGateway) -> None:
        self._gateway = gateway

    # basic.nack, basic.reject

    def nack(self, event: events.NacksReceived) -> Barrier | None:
        """Return or dead-letter; a coroutine where a dead-letter queue has to be made first."""
        channel = self._gateway.channels.get(event.channel)
        if channel is not None and channel.transaction is not None:
            try:
                self._add(channel, event)
            except AmqpError as error:
                self._gateway.refuse_channel(event.channel, error)
            return None
        unit = UnitOfWork()
        missing = self._judge(event.tokens, unit, requeue=event.requeue)
        if missing:
            return self._nack_after(missing, event)
        self._gateway.services.counters.settled(self._gateway.protocol, len(event.tokens))
        self._gateway.submit(unit, self.settled, in_order=False)
        self._give_back(channel, event.tokens)
        return None

    async def _nack_after(self, missing: Iterable[QueueName], event: events.NacksReceived) -> None:
        try:
            await self._make(missing)
        except MessagingError:
            # They stay with their queue, to be rejected again.
            self._gateway.release([delivery for delivery, _ in event.tokens])
            return
        if self._gateway.lost:
            self._gateway.release([delivery for delivery, _ in event.tokens])
        else:
            self.nack(event)

    def _judge(
        self, tokens: Sequence[Token], unit: UnitOfWork, *, requeue: bool
    ) -> frozenset[QueueName]:
        """Add to `unit` what becomes of returned or rejected deliveries.

        Returns the queues that have to be made first; then nothing of the unit may be used.
        """
        dead_letters = self._gateway.services.dead_letters
        rejected: list[Delivery] = []
        over_limit: list[Delivery] = []
        for delivery, _ in tokens:
            if not requeue:
                rejected.append(delivery)
            elif dead_letters.over_return_limit(delivery):
                over_limit.append(delivery)
            else:
                unit.returns.append(delivery)
        missing: frozenset[QueueName] = frozenset()
        for deliveries, reason in (
            (rejected, DeadLetterReason.REJECTED),
            (over_limit, DeadLetterReason.DELIVERY_LIMIT),
        ):
            if not deliveries:
                continue
            absent = dead_letters.missing(deliveries, reason)
            if absent:
                missing |= absent
                continue
            part = dead_letters.reject(deliveries, reason)
            unit.sends += part.sends
            unit.deletes += part.deletes
        return missing

    async def _make(self, missing: Iterable[QueueName]) -> None:
        for name in missing:
            await self._gateway.services.topology.ensure_queue(name)

    def _give_back(self, channel: GatewayChannel | None, tokens: Sequence[Token]) -> None:
        if channel is not None:
            channel.settled(tokens)
        give_credit(tokens)

    def settled(self, unit: UnitOfWork) -> list[bytes]:
        """What a settling comes to: nothing, or the end of the connection."""
        error = unit.error or next(iter(unit.failures.values()), None)
        if error is not None:
            self._gateway.release([*unit.deletes, *unit.returns])
            self._gateway.refuse_connection(HardError(ReplyCode.INTERNAL_ERROR, str(error)))
        return []

    def recover(self, event: events.RecoverRequested) -> None:
        """basic.recover: everything unacknowledged goes back to its place."""
        gateway = self._gateway
        channel = gateway.channels[event.channel]
        gateway.connection.answer(event)
        gateway.flush()
        gateway.release([delivery for delivery, _ in event.tokens])
        self._give_back(channel, event.tokens)

    # Transactions

    def add_publish(
        self, transaction: Transaction, event: events.PublishReceived, publish: Publish
    ) -> None:
        """Keep a publish until the commit. Raises `AmqpError` over the bound."""
        transaction.received.append(event)
        transaction.publishes.append(publish)
        transaction.body_bytes += len(event.body)
        self._check_bounds(transaction)

    def add_acks(self, channel: GatewayChannel, tokens: Sequence[Token]) -> None:
        """Keep acks until the commit. Raises `AmqpError` over the bound."""
        transaction = channel.transaction
        assert transaction is not None
        transaction.acked += tokens
        self._check_bounds(transaction)

    def _add(self, channel: GatewayChannel, event: events.NacksReceived) -> None:
        transaction = channel.transaction
        assert transaction is not None
        kept = transaction.returned if event.requeue else transaction.rejected
        kept += event.tokens
        self._check_bounds(transaction)

    def _check_bounds(self, transaction: Transaction) -> None:
        limits = self._gateway.services.limits
        if transaction.size > limits.transaction_messages_max:
            raise precondition_failed(
                f"more than {limits.transaction_messages_max} publishes and acknowledgements"
                " in a transaction"
            )
        if transaction.body_bytes > limits.transaction_bytes_max:
            raise precondition_failed(
                f"more than {limits.transaction_bytes_max} bytes published in a transaction"
            )

    def commit(self, event: events.TxCommitRequested) -> Barrier | None:
        """One unit of work for all that was done; a coroutine where queues have to be made."""
        gateway = self._gateway
        channel = gateway.channels[event.channel]
        transaction = channel.transaction
        assert transaction is not None
        unit = UnitOfWork(atomic=True, answered=True)
        publishes = transaction.publishes
        routed = self._route(transaction, unit)
        missing = routed.missing
        unit.deletes += [delivery for delivery, _ in transaction.acked]
        missing |= self._judge(transaction.returned, unit, requeue=True)
        missing |= self._judge(transaction.rejected, unit, requeue=False)
        if missing:
            return self._commit_after(missing, event)
        if any(not isinstance(error, TopicDoesNotExist) for error in routed.failed.values()):
            gateway.refuse_channel(event.channel, next(iter(routed.failed.values())))
            return None
        channel.transaction = Transaction()
        gateway.submit(
            unit,
            partial(self._committed, event, transaction, routed),
            messages=len(publishes),
            size_bytes=transaction.body_bytes,
            in_order=False,
        )
        return None

    def _route(self, transaction: Transaction, unit: UnitOfWork) -> Routed:
        """Find the queues of all publishes; the copies of each come before the next publish."""
        gateway, publishes = self._gateway, transaction.publishes
        whole = Routed(0)
        begin = 0
        for index, event in enumerate(transaction.received):
            last = index == len(publishes) - 1
            if not last and not has_copies(event):
                continue
            received = transaction.received[begin : index + 1]
            part = gateway.services.router.route(publishes[begin : index + 1], unit)
            if part.missing:
                return part
            gateway.collected.add_copies(publishes[begin : index + 1], received, unit, part)
            whole.unrouted += [begin + each for each in part.unrouted]
            whole.failed.update({begin + each: error for each, error in part.failed.items()})
            begin = index + 1
        return whole

    async def _commit_after(
        self, missing: Iterable[QueueName], event: events.TxCommitRequested
    ) -> None:
        await self._make(missing)
        if not self._gateway.finishing and event.channel in self._gateway.channels:
            barrier = self.commit(event)
            if barrier is not None:
                await barrier

    def _committed(
        self,
        event: events.TxCommitRequested,
        transaction: Transaction,
        routed: Routed,
        unit: UnitOfWork,
    ) -> list[bytes]:
        gateway = self._gateway
        error = unit.error or next(iter(unit.failures.values()), None)
        if error is not None:
            # The adapter still holds what was acknowledged: it goes back with the channel.
            gateway.refuse_channel(
                event.channel, precondition_failed("partial tx completion", COMMIT_METHOD)
            )
            return []
        gateway.collected.return_unrouted(transaction.received, routed)
        gateway.connection.answer(event)
        gateway.flush()
        channel = gateway.channels.get(event.channel)
        for tokens in (transaction.acked, transaction.returned, transaction.rejected):
            self._give_back(channel, tokens)
        return []

    def rollback(self, event: events.TxRollbackRequested) -> None:
        """Forget the transaction; the adapter holds its acknowledged deliveries again."""
        self._gateway.channels[event.channel].transaction = Transaction()
        self._gateway.connection.answer(event)
