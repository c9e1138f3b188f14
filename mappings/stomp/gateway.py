"""The STOMP gateway: drives one connection and calls the ports.

Hot path: a chunk's SENDs become one unit of work and its ACKs another. What has to wait for the
store (CONNECT, SUBSCRIBE, a queue to be made) runs as a barrier; subscriptions are kept by
`subscriptions.py`. RECEIPTs leave in the order of their frames, once the store has what they stand
for. Whatever fails is an ERROR with the frame's receipt-id, and the end of the connection.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar, Protocol, assert_never

from adapters.connection import ConnectionFailed
from adapters.stomp.codec import DecoderLimits
from adapters.stomp.events import (
    AckReceived,
    ConnectRequested,
    DisconnectRequested,
    Event,
    NackReceived,
    SendReceived,
    SubscribeRequested,
    TransactionAborted,
    TransactionBegun,
    TransactionCommitted,
    UnsubscribeReceived,
)
from adapters.stomp.frames import FrameError
from adapters.stomp.server import ServerConnection, ServerOptions
from adapters.stomp.transactions import TransactionLimits
from bridge.messaging.errors import AuthenticationFailed, MessagingError, QueueDoesNotExist
from bridge.messaging.limits import Limits
from bridge.messaging.model import DeadLetterReason, Delivery, Publish, QueueName, UnitOfWork
from bridge.routing.router import Routed
from mappings.connection_gateway import ConnectionGateway
from mappings.gateway import Services, Transport
from mappings.stomp.addresses import REPLY_QUEUE
from mappings.stomp.consumer import StompConsumer
from mappings.stomp.errors import frame_error_from
from mappings.stomp.publishing import Publishing
from mappings.stomp.queues import settings_from_headers
from mappings.stomp.subscriptions import Subscriptions

PROTOCOL = "stomp"
SERVER = f"Landbridge/{version('landbridge')}"


class ListenerSettings(Protocol):
    """What a gateway asks of its listener."""

    @property
    def namespace(self) -> str:
        """Where clients are that name no existing namespace in `host`."""
        ...


class StompGateway(ConnectionGateway[Event]):
    """One STOMP client."""

    protocol: ClassVar[str] = PROTOCOL

    def __init__(self, services: Services, transport: Transport, options: ListenerSettings) -> None:
        self.connection = ServerConnection(
            server_options(services.limits), services.clock.monotonic()
        )
        super().__init__(services, transport, self.connection)
        self.namespace = options.namespace
        self.subscriptions = Subscriptions(self)
        self._publishing = Publishing(self)
        self._publishes: list[Publish] = []
        self._sends: list[SendReceived] = []
        self._acked: list[Delivery] = []
        self._credits: dict[StompConsumer, int] = {}

    # -- events

    def handle_events(self, events: list[Event]) -> None:
        publishes, sends = self._publishes, self._sends
        now_ms = self.services.clock.epoch_ms()
        for index, event in enumerate(events):
            if type(event) is SendReceived:
                try:
                    publish = self._publishing.publish_from_send(event, now_ms)
                except (FrameError, MessagingError) as error:
                    self._refuse_send(event, error, events[index:])
                    return
                if publish is not None:
                    publishes.append(publish)
                    sends.append(event)
                    continue
                barrier: Coroutine[Any, Any, None] | None = self._make_temporary(event)
                rest = events[index:]
            elif type(event) is AckReceived and event.receipt is None:
                self._take_ack(event)
                continue
            elif (barrier := self._submit_all()) is not None:
                rest = events[index:]
            else:
                barrier = self._control(event)
                rest = events[index + 1 :]
            if barrier is not None:
                self.wait_for(barrier, rest)
                return
            if self.finishing:
                return
            publishes, sends = self._publishes, self._sends
        if (barrier := self._submit_all()) is not None:
            self.wait_for(barrier, ())

    def _control(self, event: Event) -> Coroutine[Any, Any, None] | None:
        match event:
            case SubscribeRequested():
                return self.subscriptions.open(event)
            case UnsubscribeReceived():
                return self.subscriptions.close(event)
            case NackReceived():
                return self._take_nack(event)
            case TransactionCommitted():
                return self._commit(event)
            case TransactionBegun() | TransactionAborted():
                self.answer_in_order(self._receipts([event.receipt]))
            case ConnectRequested():
                return self._connect(event)
            case DisconnectRequested():
                self.stop_deliveries()
                self.connection.say_goodbye(event.receipt)
                self.finish("disconnected by the client")
            case ConnectionFailed():
                self._note_refusal(event.reason)
                self.stop_deliveries()
                self.finish(event.reason)
            case AckReceived():
                self._answer_ack(event)
            case SendReceived():
                raise AssertionError(event)
            case _:
                assert_never(event)
        return None

    # -- SEND

    def _refuse_send(
        self, event: SendReceived, error: FrameError | MessagingError, rest: Sequence[Event]
    ) -> None:
        """What came before goes its way first; where that has to wait, this SEND is met again."""
        barrier = self._submit_all()
        if barrier is None:
            self.refuse(error, event.receipt)
        else:
            self.wait_for(barrier, rest)

    async def _make_temporary(self, event: SendReceived) -> None:
        """A SEND to, or with replies to, a temporary queue that does not exist yet."""
        while (barrier := self._submit_all()) is not None:
            await barrier
        await self.subscriptions.make_temporary(event)

    def _submit_all(self) -> Coroutine[Any, Any, None] | None:
        """Submit what was collected; a coroutine where queues have to be made first."""
        if self._acked:
            self._submit_acks()
        return self._submit_publishes() if self._publishes else None

    def _submit_publishes(self) -> Coroutine[Any, Any, None] | None:
        publishes, sends = self._publishes, self._sends
        unit = UnitOfWork()
        routed = self.services.router.route(publishes, unit)
        if routed.missing:
            return self._make_queues(routed.missing)
        self._publishes, self._sends = [], []
        refused = _first_refused(publishes, routed)
        if refused is not None:
            index, error = refused
            self._publishes, self._sends = publishes[:index], sends[:index]
            if self._publishes:
                self._submit_publishes()
            self.refuse(error, sends[index].receipt)
            return None
        size_bytes = 0
        for send in sends:
            size_bytes += len(send.body)
        self.services.counters.published(PROTOCOL, len(sends), size_bytes)
        answer = partial(self._sends_answered, sends, routed)
        self.submit(unit, answer, messages=len(sends), size_bytes=size_bytes)
        return None

    async def _make_queues(self, missing: Iterable[QueueName]) -> None:
        """Make queues on demand, as their first SEND asks for them; then go on."""
        wanted = {
            QueueName(publish.namespace, publish.queue): send
            for publish, send in zip(reversed(self._publishes), reversed(self._sends), strict=True)
            if publish.queue is not None
        }
        await self._ensure_queues(missing, wanted)
        if not self.finishing:
            barrier = self._submit_publishes()
            if barrier is not None:
                await barrier

    async def _ensure_queues(
        self, missing: Iterable[QueueName], wanted: dict[QueueName, SendReceived]
    ) -> None:
        for name in missing:
            send = wanted.get(name)
            try:
                settings = settings_from_headers(send.headers if send is not None else {})
                await self.services.topology.ensure_queue(name, settings)
            except MessagingError as error:
                self.refuse(error, None if send is None else send.receipt)
                return

    def _sends_answered(
        self, sends: list[SendReceived], routed: Routed, unit: UnitOfWork
    ) -> list[bytes]:
        if unit.error is None and not unit.failures:
            return self._receipts([send.receipt for send in sends])
        if unit.error is not None:
            index, error = 0, unit.error
        else:
            failed = min(unit.failures)
            index, error = routed.publish_of(failed), unit.failures[failed]
        self.refuse(error, sends[index].receipt)
        return self._receipts([send.receipt for send in sends[:index]])

    # -- ACK and NACK

    def _take_ack(self, event: AckReceived) -> None:
        self._acked += event.deliveries
        consumer = self.subscriptions.consumers.get(event.subscription)
        if consumer is not None:
            self._credits[consumer] = self._credits.get(consumer, 0) + len(event.deliveries)

    def _submit_acks(self) -> None:
        """Settle what nobody waits for."""
        unit = UnitOfWork()
        unit.deletes, self._acked = self._acked, []
        self.services.counters.settled(PROTOCOL, len(unit.deletes))
        self.submit(unit, partial(self._settled, None), in_order=False)
        settled, self._credits = self._credits, {}
        for consumer, count in settled.items():
            consumer.add_credit(count)

    def _answer_ack(self, event: AckReceived) -> None:
        unit = UnitOfWork(answered=True)
        unit.deletes += event.deliveries
        self._settle(unit, event)

    def _take_nack(self, event: NackReceived) -> Coroutine[Any, Any, None] | None:
        returned, rejected = self._judged(event)
        missing = self.services.dead_letters.missing(list(rejected))
        if missing:
            return self._make_dead_letter_queues(missing, event)
        unit = self._unit_of_rejected(rejected)
        unit.returns += returned
        unit.answered = event.receipt is not None
        self._settle(unit, event)
        return None

    async def _make_dead_letter_queues(
        self, missing: Iterable[QueueName], event: NackReceived
    ) -> None:
        await self._ensure_queues(missing, {})
        if self.finishing:
            self.release(event.deliveries)
        else:
            self._take_nack(event)

    def _judged(
        self, event: NackReceived
    ) -> tuple[list[Delivery], dict[Delivery, DeadLetterReason]]:
        """What goes back to its queue, and what is dead-lettered for which reason."""
        if not event.requeue:
            return [], dict.fromkeys(event.deliveries, DeadLetterReason.REJECTED)
        over_limit = self.services.dead_letters.over_return_limit
        rejected = {
            delivery: DeadLetterReason.DELIVERY_LIMIT
            for delivery in event.deliveries
            if over_limit(delivery)
        }
        return [each for each in event.deliveries if each not in rejected], rejected

    def _unit_of_rejected(self, rejected: dict[Delivery, DeadLetterReason]) -> UnitOfWork:
        """One unit for all; a frame's deliveries are rejected for one reason."""
        reason = next(iter(rejected.values()), DeadLetterReason.REJECTED)
        return self.services.dead_letters.reject(list(rejected), reason)

    def _settle(self, unit: UnitOfWork, event: AckReceived | NackReceived) -> None:
        count = len(event.deliveries)
        self.services.counters.settled(PROTOCOL, count)
        self.submit(unit, partial(self._settled, event.receipt), in_order=unit.answered)
        consumer = self.subscriptions.consumers.get(event.subscription)
        if consumer is not None:
            consumer.add_credit(count)

    def _settled(self, receipt: str | None, unit: UnitOfWork) -> list[bytes]:
        error = unit.error or next(iter(unit.failures.values()), None)
        if error is None:
            return self._receipts([receipt])
        self.refuse(error, receipt)
        self.release([*unit.deletes, *unit.returns])
        return []

    # -- transactions

    def _commit(self, event: TransactionCommitted) -> Coroutine[Any, Any, None] | None:
        """One unit of work for all that was done in the transaction."""
        sends = [each for each in event.actions if isinstance(each, SendReceived)]
        settles = [each for each in event.actions if not isinstance(each, SendReceived)]
        publishes: list[Publish] = []
        now_ms = self.services.clock.epoch_ms()
        send = None
        try:
            for send in sends:
                publish = self._publishing.publish_from_send(send, now_ms)
                if publish is None:
                    return self._commit_after(self.subscriptions.make_temporary(send), event)
                publishes.append(publish)
        except (FrameError, MessagingError) as error:
            self._abandon(event, error, None if send is None else send.receipt)
            return None
        unit = UnitOfWork(atomic=True, answered=True)
        routed = self.services.router.route(publishes, unit)
        missing = set(routed.missing)
        for settle in settles:
            if isinstance(settle, AckReceived):
                unit.deletes += settle.deliveries
                continue
            returned, rejected = self._judged(settle)
            missing |= self.services.dead_letters.missing(list(rejected))
            if not missing:
                part = self._unit_of_rejected(rejected)
                unit.sends += part.sends
                unit.deletes += part.deletes
            unit.returns += returned
        if missing:
            wanted = {
                QueueName(publish.namespace, publish.queue): send
                for publish, send in zip(publishes, sends, strict=True)
                if publish.queue is not None
            }
            return self._commit_after(self._ensure_queues(missing, wanted), event)
        refused = _first_refused(publishes, routed)
        if refused is not None:
            self._abandon(event, refused[1], sends[refused[0]].receipt)
        else:
            self._submit_transaction(unit, event, sends, settles)
        return None

    def _submit_transaction(
        self,
        unit: UnitOfWork,
        event: TransactionCommitted,
        sends: list[SendReceived],
        settles: list[AckReceived | NackReceived],
    ) -> None:
        size_bytes = sum(len(send.body) for send in sends)
        self.services.counters.published(PROTOCOL, len(sends), size_bytes)
        answer = partial(self._committed, event)
        self.submit(unit, answer, messages=len(sends), size_bytes=size_bytes)
        for settle in settles:
            self.services.counters.settled(PROTOCOL, len(settle.deliveries))
            consumer = self.subscriptions.consumers.get(settle.subscription)
            if consumer is not None:
                consumer.add_credit(len(settle.deliveries))

    async def _commit_after(
        self, preparation: Coroutine[Any, Any, None], event: TransactionCommitted
    ) -> None:
        await preparation
        if self.finishing:
            self._release_settles(event)
            return
        barrier = self._commit(event)
        if barrier is not None:
            await barrier

    def _abandon(
        self, event: TransactionCommitted, error: FrameError | MessagingError, receipt: str | None
    ) -> None:
        """Nothing of the transaction was done: its messages go back, the connection ends."""
        self.refuse(error, event.receipt if receipt is None else receipt)
        self._release_settles(event)

    def _release_settles(self, event: TransactionCommitted) -> None:
        for action in event.actions:
            if not isinstance(action, SendReceived):
                self.release(action.deliveries)

    def _committed(self, event: TransactionCommitted, unit: UnitOfWork) -> list[bytes]:
        error = unit.error or next(iter(unit.failures.values()), None)
        if error is None:
            return self._receipts([*(each.receipt for each in event.actions), event.receipt])
        self._abandon(event, error, event.receipt)
        return []

    # -- CONNECT

    async def _connect(self, event: ConnectRequested) -> None:
        services, transport = self.services, self.transport
        self.client = event.headers.get("client-id")
        password = None if event.passcode is None else event.passcode.encode()
        try:
            user = await services.accounts.authenticate(
                event.login,
                password,
                loopback=transport.loopback,
                certificate_user=transport.certificate_user,
            )
        except AuthenticationFailed as error:
            self.user = event.login
            self._note_refusal(str(error))
            name = event.login or transport.certificate_user or ""
            self.connection.refuse("Bad CONNECT", f"Access refused for user '{name}'\n")
            self.finish(str(error))
            return
        if self.lost:
            return
        self.user = user.name
        if event.host in services.namespaces:
            self.namespace = event.host
        self._publishing.start(self.namespace, self.user, self.client)
        session = f"session-{services.message_ids.next()}"
        shown = user.name if user.verified else None
        self.write([self.connection.accept(session, shown, services.clock.monotonic())])
        self.greeted = True
        services.log.connected(PROTOCOL, transport.peer, user=self.user, client=self.client)

    # -- what the other parts use

    def refuse(
        self,
        error: FrameError | MessagingError,
        receipt: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """End the connection with an ERROR, behind the answers that are still to come."""
        if self.finishing:
            return
        frame_error = frame_error_from(error)
        self._note_refusal(frame_error.detail)
        self.connection.refuse(
            frame_error.title, frame_error.detail, frame_error.receipt or receipt, headers
        )
        self.stop_deliveries()
        self.finish(f"{frame_error.title}: {frame_error.detail.strip()}")

    def answer_receipt(self, receipt: str | None) -> None:
        """Write a RECEIPT for which nothing has to be stored (any more)."""
        self.answer_in_order(self._receipts([receipt]))

    def write_messages(self, frames: list[bytes], size_bytes: int) -> None:
        self.transport.write(frames)
        self.connection.sent()
        self.services.counters.delivered(PROTOCOL, len(frames), size_bytes)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give back what the client did not work on; never sent again, never counted."""
        if deliveries:
            unit = UnitOfWork()
            unit.releases += deliveries
            self.services.store.submit(unit)

    # -- what the base class asks for

    def stop_deliveries(self) -> None:
        self.release(self.subscriptions.stop())

    def pause_deliveries(self) -> None:
        for consumer in self.subscriptions.consumers.values():
            consumer.pause()

    def resume_deliveries(self) -> None:
        for consumer in list(self.subscriptions.consumers.values()):
            consumer.resume()

    def say_goodbye(self) -> None:
        self.connection.refuse("Connection closed", "the broker is shutting down\n")

    def refuse_all(self, error: Exception) -> None:
        self.connection.refuse("internal_error", "INTERNAL_ERROR - see the broker's log\n")
        self.stop_deliveries()

    async def dispose(self) -> None:
        await self.subscriptions.dispose()

    def _receipts(self, receipts: Sequence[str | None]) -> list[bytes]:
        wanted = [receipt for receipt in receipts if receipt is not None]
        if not wanted:
            return []
        self.connection.sent()
        return [self.connection.receipts(wanted)]

    def _note_refusal(self, reason: str) -> None:
        if not self.greeted:
            self.services.log.refused(
                PROTOCOL,
                self.transport.peer,
                user=self.user,
                client=self.client,
                reason=reason.strip(),
            )


def server_options(limits: Limits) -> ServerOptions:
    """The adapter's bounds, from those of the product."""
    return ServerOptions(
        server=SERVER,
        subscriptions_max=limits.consumers_per_connection_max,
        decoder=DecoderLimits(body_bytes_max=limits.message_size_max),
        transactions=TransactionLimits(
            actions_max=limits.transaction_messages_max, bytes_max=limits.transaction_bytes_max
        ),
    )


def _first_refused(
    publishes: Sequence[Publish], routed: Routed
) -> tuple[int, MessagingError] | None:
    """The first publish that cannot be taken.

    What reaches nobody is no failure in STOMP, unless it was sent to a queue that ought to exist;
    a reply queue is gone with the client that waited there.
    """
    refused = dict(routed.failed)
    for index in routed.unrouted:
        publish = publishes[index]
        if publish.queue is not None and not publish.origin.address.startswith(REPLY_QUEUE):
            refused[index] = QueueDoesNotExist(
                f"no queue '{publish.queue}' in vhost '{publish.namespace}'"
            )
    return min(refused.items(), key=lambda item: item[0]) if refused else None
