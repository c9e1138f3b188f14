"""What a chunk publishes and acknowledges, collected and made into units of work.

One unit for the chunk's publishes and one for its acks; confirms leave in one frame per channel and
unit. Publishes that reach very many queues are submitted a few at a time, as the store takes them:
what a few bytes on the wire can make is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from adapters.amqp091.errors import AmqpError, HardError, ReplyCode, SoftError
from adapters.amqp091.events import AcksReceived, PublishReceived
from bridge.messaging.errors import (
    AccessDenied,
    MessagingError,
    QueueDoesNotExist,
    QueueFull,
    StoreUnavailable,
    TopicDoesNotExist,
)
from bridge.messaging.model import Publish, QueueName, UnitOfWork
from bridge.routing.router import Routed
from mappings.amqp091.channel import Token, give_credit
from mappings.amqp091.messages import translation_of
from mappings.amqp091.publishing import PUBLISH_METHOD, has_copies

if TYPE_CHECKING:
    from mappings.amqp091.gateway import AmqpGateway
    from mappings.gateway import Barrier


class Collected:
    """The publishes and acks of one connection that are still to be submitted."""

    __slots__ = ("_acked", "_gateway", "_publishes", "_received")

    def __init__(self, gateway: AmqpGateway) -> None:
        self._gateway = gateway
        self._publishes: list[Publish] = []
        self._received: list[PublishReceived] = []
        self._acked: list[Token] = []

    # Publishes

    def take_run(self, events: Sequence[object], index: int) -> int:
        """Take the run of plain publishes at `index`; returns the index behind it."""
        gateway = self._gateway
        return gateway.publishing.take_run(
            events, index, gateway.channels, self._publishes, self._received
        )

    def take_publish(self, event: PublishReceived) -> Barrier | None:
        channel = self._gateway.channels.get(event.channel)
        if channel is None:
            return None
        translation = translation_of(event.properties)
        try:
            if translation.particular:
                translation = translation_of(self._gateway.publishing.checked(event, channel))
            publish = self._gateway.publishing.publish_from(event, translation)
            if channel.transaction is not None:
                self._gateway.settling.add_publish(channel.transaction, event, publish)
                return None
        except (AmqpError, AccessDenied) as error:
            barrier = self.submit()
            if barrier is None:
                self._gateway.refuse_channel(event.channel, error, PUBLISH_METHOD)
                return None
            return self._refuse_after(barrier, event.channel, error)
        self._publishes.append(publish)
        self._received.append(event)
        if translation.particular and has_copies(event):
            # Its copies are sent last in its unit, and later publishes are to stay behind them.
            return self.submit()
        return None

    async def _refuse_after(
        self, barrier: Barrier, number: int, error: AmqpError | MessagingError
    ) -> None:
        await barrier
        self._gateway.refuse_channel(number, error, PUBLISH_METHOD)

    def submit(self) -> Barrier | None:
        """Submit what was collected; a coroutine where queues have to be made first."""
        if self._acked:
            self._submit_acks()
        return self._submit_publishes() if self._publishes else None

    def _submit_publishes(self) -> Barrier | None:
        """Submit publishes; a coroutine for those that have to wait."""
        missing = self._submit_some()
        return self._submit_rest(missing) if self._publishes else None

    def _submit_some(self) -> frozenset[QueueName]:
        """Submit as many publishes as one unit takes, or none where queues are missing."""
        gateway = self._gateway
        publishes, received = self._publishes, self._received
        unit = UnitOfWork()
        routed = gateway.route(publishes, unit)
        if routed.missing:
            return routed.missing
        self._publishes, self._received = publishes[routed.count :], received[routed.count :]
        del received[routed.count :]
        size_bytes = 0
        for event in received:
            size_bytes += len(event.body)
        gateway.services.counters.published(gateway.protocol, len(received), size_bytes)
        self.add_copies(publishes, received, unit, routed)
        if routed.unrouted or routed.failed:
            self.return_unrouted(received, routed)
        answer = partial(self._publishes_answered, received, routed)
        if unit.sends:
            count = max(len(received), len(unit.sends))
            gateway.submit(unit, answer, messages=count, size_bytes=size_bytes, in_order=False)
        else:
            answer(unit)
        return routed.missing

    async def _submit_rest(self, missing: frozenset[QueueName]) -> None:
        """Make the queues that routes send to; submit on as the store takes it."""
        gateway = self._gateway
        while self._publishes:
            for name in missing:
                await gateway.services.topology.ensure_queue(name)
            await gateway.room()
            if gateway.finishing:
                return
            missing = self._submit_some()

    def add_copies(
        self,
        publishes: Sequence[Publish],
        received: Sequence[PublishReceived],
        unit: UnitOfWork,
        routed: Routed,
    ) -> None:
        """CC and BCC; rare, so that it is done behind the routing of the whole chunk."""
        for index, event in enumerate(received):
            if event.properties.headers and has_copies(event):
                before = len(unit.sends)
                self._gateway.publishing.add_copies(event, publishes[index].message, unit)
                if len(unit.sends) > before and index in routed.unrouted:
                    routed.unrouted.remove(index)

    def return_unrouted(self, received: Sequence[PublishReceived], routed: Routed) -> None:
        """Mandatory messages that reached no queue go back; an exchange that is gone is 404.

        Each is confirmed at once and by itself, as RabbitMQ does: clients look for a return just
        before the confirm of its message.
        """
        for index in routed.unrouted:
            event = received[index]
            if event.mandatory:
                self._gateway.connection.return_message(event, ReplyCode.NO_ROUTE)
            if event.sequence:
                self._gateway.connection.confirm(event.channel, (event.sequence,))
        for index, error in routed.failed.items():
            event = received[index]
            if isinstance(error, TopicDoesNotExist):
                explanation = f"no exchange '{event.exchange}' in vhost '{self._gateway.namespace}'"
                refusal: AmqpError | MessagingError = SoftError(ReplyCode.NOT_FOUND, explanation)
            else:
                refusal = error
            self._gateway.refuse_channel(event.channel, refusal, PUBLISH_METHOD)
        self._gateway.flush()

    def _publishes_answered(
        self, received: Sequence[PublishReceived], routed: Routed, unit: UnitOfWork
    ) -> list[bytes]:
        """Confirm what the store has, by channel; refuse what it has not."""
        unrouted = frozenset(routed.unrouted)
        failed: set[int] = set()
        if unit.error is not None:
            failed = set(range(len(received)))
        elif unit.failures:
            # The sends behind those that were routed are copies of the last publish.
            last = len(received) - 1
            failed = {min(routed.publish_of(index), last) for index in unit.failures}
        confirmed: dict[int, list[int]] = {}
        refused: dict[int, list[int]] = {}
        for index, event in enumerate(received):
            if event.sequence and index not in unrouted:
                verdict = refused if index in failed else confirmed
                verdict.setdefault(event.channel, []).append(event.sequence)
        for number, sequences in confirmed.items():
            self._gateway.connection.confirm(number, sequences)
        for number, sequences in refused.items():
            self._gateway.connection.confirm(number, sequences, accepted=False)
        if unit.error is not None and any(not event.sequence for event in received):
            # Nobody waits for a confirm there, and silence would be a lie.
            self._gateway.refuse_connection(
                HardError(ReplyCode.INTERNAL_ERROR, str(unit.error), PUBLISH_METHOD)
            )
        elif isinstance(unit.error, StoreUnavailable):
            self._gateway.watch.refused(str(unit.error))
        elif unit.failures:
            self._refuse_unconfirmed(received, routed, unit)
        self._gateway.flush()
        return []

    def _refuse_unconfirmed(
        self, received: Sequence[PublishReceived], routed: Routed, unit: UnitOfWork
    ) -> None:
        """Close the channel of the first publish without a confirm that could not be stored."""
        for index in sorted(unit.failures):
            event = received[min(routed.publish_of(index), len(received) - 1)]
            error = unit.failures[index]
            # What a full queue refuses, and one that is gone, RabbitMQ drops as well.
            if event.sequence or isinstance(error, QueueFull | QueueDoesNotExist):
                continue
            if event.channel in self._gateway.channels:
                self._gateway.refuse_channel(event.channel, error, PUBLISH_METHOD)
            return

    # Acknowledgements

    def take_acks(self, event: AcksReceived) -> Barrier | None:
        channel = self._gateway.channels.get(event.channel)
        if channel is not None and channel.transaction is not None:
            try:
                self._gateway.settling.add_acks(channel, event.tokens)
            except AmqpError as error:
                self._gateway.refuse_channel(event.channel, error)
        else:
            self._acked += event.tokens
            if channel is not None:
                channel.settled(event.tokens)
        return None

    def _submit_acks(self) -> None:
        """Settle what nobody waits for, and give the consumers their credit back."""
        tokens, self._acked = self._acked, []
        unit = UnitOfWork()
        unit.deletes = [delivery for delivery, _ in tokens]
        self._gateway.services.counters.settled(self._gateway.protocol, len(tokens))
        self._gateway.submit(unit, partial(self._gateway.settling.settled), in_order=False)
        give_credit(tokens)
