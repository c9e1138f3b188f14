"""What the gateways of all protocols do in the same way, around one connection of an adapter.

- Events are handled in order. One that has to wait (`wait_for`) holds back all later ones.
- Units of work are answered in the order of submission (`submit`), however the store answers.
- Back-pressure: above the bounds on unanswered publishes, or while events wait, reading pauses.
- The end: `finish` closes once everything submitted was answered; `fail` does, with the protocol's
  error last; a lost connection releases what its client held. A client that has closed its half,
  and one that the broker says goodbye to, gets the answers to what it has sent first.

A protocol's gateway derives from it and implements the methods marked so.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Final, Generic, TypeVar

from adapters.connection import Connection
from bridge.messaging.model import Delivery, Publish, UnitOfWork
from bridge.routing.router import Routed
from mappings.connections import ConnectionDetails
from mappings.gateway import (
    SPEAKS_TLS,
    TLS_HANDSHAKE,
    AnswerSlot,
    Barrier,
    OrderedAnswers,
    Services,
    StopReason,
    Transport,
)

Event = TypeVar("Event")

Answer = Callable[[UnitOfWork], list[bytes]]
"""Makes the answers to a unit of work; also where a failed unit is turned into an error."""

SENDS_PER_UNIT_MAX: Final = 2_000
"""Sends of publishes to many queues that become one unit of work."""


class ConnectionGateway(ABC, Generic[Event]):
    """A `mappings.gateway.Gateway`; the derived class gives it a protocol."""

    __slots__ = (
        "_all_answered",
        "_answers",
        "_backlog",
        "_backlog_bytes",
        "_began",
        "_connection",
        "_finishing",
        "_half_closed",
        "_monotonic",
        "_outstanding",
        "_reading_paused",
        "_reason",
        "_refusal_noted",
        "_room",
        "_stopping",
        "_unanswered_bytes",
        "_unanswered_messages",
        "_waiting",
        "client",
        "farewell",
        "greeted",
        "lost",
        "namespace",
        "opened_at",
        "services",
        "transport",
        "user",
        "writing_paused",
    )

    protocol: ClassVar[str]

    def __init__(
        self, services: Services, transport: Transport, connection: Connection[Event]
    ) -> None:
        self.services = services
        self.transport = transport
        self.user: str | None = None
        self.client: str | None = None
        self.namespace = ""
        self.opened_at = services.clock.epoch_ms()
        self.farewell: str | None = None
        """What whoever ends the connection has to say to the client."""
        self.greeted = False
        """The client was let in, which the log was told."""
        self.lost = False
        """The transport is gone; nothing can be written any more."""
        self.writing_paused = False
        self._connection = connection
        self._monotonic = services.clock.monotonic
        self._backlog: list[Event] = []
        self._backlog_bytes = 0
        self._began = False
        self._waiting = False
        self._answers = OrderedAnswers()
        self._outstanding = 0
        self._unanswered_messages = 0
        self._unanswered_bytes = 0
        self._reading_paused = False
        self._finishing = False
        self._half_closed = False
        self._stopping: StopReason | None = None
        self._reason: str | None = None
        self._refusal_noted = False
        self._all_answered: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        services.connections.add(self)

    # -- to be implemented

    @abstractmethod
    def handle_events(self, events: list[Event]) -> None:
        """Handle events in order; where one has to wait, give the rest to `wait_for` and return.

        Once `finishing`, what is left over is for `discard`.
        """

    @abstractmethod
    def discard(self, events: Sequence[Event]) -> None:
        """Events that came and will not be handled, as the connection ends: nobody but they may
        hold what the client has settled. Its deliveries have been stopped.
        """

    @abstractmethod
    def refuse_all(self, error: Exception) -> None:
        """A bug here, logged already: queue the protocol's generic error in the connection."""

    @abstractmethod
    def stop_deliveries(self) -> None:
        """Cancel all consumers and release what they hold. May be called more than once."""

    @abstractmethod
    async def dispose(self) -> None:
        """Remove what belonged to the connection; called once, when it is gone."""

    @abstractmethod
    def say_goodbye(self, reason: StopReason) -> None:
        """The broker ends the connection: queue in it what the protocol says then."""

    @abstractmethod
    def pause_deliveries(self) -> None: ...

    @abstractmethod
    def resume_deliveries(self) -> None: ...

    # -- the driver's side (mappings.gateway.Gateway)

    def data_received(self, data: bytes) -> None:
        if self._finishing or self._stopping:
            return
        if not self._began:
            self._began = True
            if data.startswith(TLS_HANDSHAKE):
                self.note_refusal(SPEAKS_TLS)
        connection = self._connection
        connection.receive_data(data, self._monotonic())
        if self._waiting:
            self._backlog_bytes += len(data)
            self._advance()
            return
        # As `_advance`, without the calls: small chunks cost little else.
        events = connection.next_events()
        if events:
            try:
                self.handle_events(events)
            except Exception as error:  # noqa: BLE001 - as in `_handle`
                self._fail(error)
        if not (self.lost or self._waiting or self._finishing):
            out = connection.data_to_send()
            if out:
                self.transport.write(out)

    def eof_received(self) -> bool | None:
        """Nothing more comes; the connection is told once all that came is done and answered.

        Small devices and scripts send all they have to say at once and go.
        """
        self._half_closed = True
        self._end_half_closed()
        return self._waiting or self._outstanding > 0

    def connection_lost(self, reason: str) -> None:
        if self.lost:
            return
        self.lost = self._finishing = True
        self.services.connections.discard(self)
        if self.greeted:
            self.services.log.disconnected(
                self.protocol,
                self.transport.peer,
                user=self.user,
                client=self.client,
                reason=self._reason or reason,
            )
        self.stop_deliveries()
        self._discard_backlog()
        self._note_all_answered()
        self._note_room()
        if not self._waiting:
            self.services.spawn(self.dispose())

    def pause_writing(self) -> None:
        self.writing_paused = True
        self.pause_deliveries()

    def resume_writing(self) -> None:
        self.writing_paused = False
        self.resume_deliveries()

    def next_deadline(self) -> float | None:
        return self._connection.next_deadline()

    def handle_deadline(self, now: float) -> None:
        self._connection.handle_deadline(now)
        self._advance()

    def shut_down(self, reason: StopReason) -> None:
        if self._finishing:
            return
        self.stop_deliveries()
        if self._waiting or self._outstanding:
            # What was begun is finished and answered first; what waits behind it is not begun.
            self._stopping = reason
            return
        self.say_goodbye(reason)
        self.finish(reason.value)

    # -- for management (mappings.connections.LiveConnection)

    @property
    def peer(self) -> str:
        return self.transport.peer

    @property
    def unanswered_count(self) -> int:
        return self._unanswered_messages

    @property
    def reading_paused(self) -> bool:
        return self._reading_paused

    def details(self) -> ConnectionDetails:
        """To be overridden by a protocol that knows more."""
        return ConnectionDetails()

    def dismiss(self, reason: str) -> None:
        self.farewell = reason
        self._reason = self._reason or f"{StopReason.CLOSED_BY_ADMINISTRATOR.value}: {reason}"
        self.shut_down(StopReason.CLOSED_BY_ADMINISTRATOR)

    # -- for the derived class

    @property
    def finishing(self) -> bool:
        """No more events are handled: the connection closes when all is answered."""
        return self._finishing

    def wait_for(self, barrier: Barrier, rest: Sequence[Event]) -> None:
        """Run a coroutine before any later event is handled; `rest` are those at hand."""
        assert not self._waiting
        self._waiting = True
        self._backlog[:0] = rest
        self.services.spawn(self._run(barrier))

    def submit(
        self,
        unit: UnitOfWork,
        answer: Answer,
        *,
        messages: int = 0,
        size_bytes: int = 0,
        in_order: bool = True,
    ) -> None:
        """Submit a unit of work; what `answer` returns is written in order of submission.

        `messages` and `size_bytes` count against the bounds on unanswered publishes. Not
        `in_order`: nobody waits for the unit, so later answers do not wait for it either.
        """
        slot = self._answers.expect() if in_order else None
        self._outstanding += 1
        self._unanswered_messages += messages
        self._unanswered_bytes += size_bytes
        unit.done = partial(self._answered, slot, answer, messages, size_bytes)
        services = self.services
        services.store.submit(unit)
        limits = services.limits
        # As `_check_flow`, for what more of them may change.
        if (
            self._unanswered_messages > limits.unanswered_messages_max
            or self._unanswered_bytes > limits.unanswered_bytes_max
        ):
            self._check_flow()

    def route(self, publishes: Sequence[Publish], unit: UnitOfWork) -> Routed:
        """Route as many of a chunk's publishes as one unit takes; see `Router.route`.

        The others wait for `room`: what a few bytes on the wire can make is bounded.
        """
        return self.services.router.route(publishes, unit, SENDS_PER_UNIT_MAX)

    def answer_in_order(self, answers: list[bytes]) -> None:
        """Write an answer that needs no store, behind those that are waited for."""
        if answers:
            self.write(self._answers.answered(self._answers.expect(), answers))

    async def all_answered(self) -> None:
        """Wait until the answers to all that was submitted are written."""
        if len(self._answers) and not self.lost:
            self._all_answered = asyncio.get_running_loop().create_future()
            await self._all_answered

    async def room(self) -> None:
        """Wait until few enough of what was submitted is unanswered to submit more."""
        if not (self._has_room() or self.lost):
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def write(self, data: Sequence[bytes]) -> None:
        """Write frames that the derived class encoded."""
        if not self.lost:
            self.transport.write(data)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give back what the client did not work on, which does not count as a return."""
        if deliveries:
            unit = UnitOfWork()
            unit.releases += deliveries
            self.services.store.submit(unit)

    def note_refusal(self, reason: str) -> None:
        """Tell the log why a client is not let in; the first reason is the one that counts."""
        if not (self.greeted or self._refusal_noted):
            self._refusal_noted = True
            self.services.log.refused(
                self.protocol,
                self.transport.peer,
                user=self.user,
                client=self.client,
                reason=reason.strip(),
            )

    def finish(self, reason: str) -> None:
        """Handle nothing more; close when all that was submitted is answered.

        What the connection has queued by then, a last error or farewell, is written last.
        """
        self._finishing = True
        self._reason = self._reason or reason
        self._discard_backlog()
        self._close_when_answered()

    def flow_changed(self) -> None:
        """Reading has paused, or goes on; to be overridden by who tells the client."""

    # -- events, one after the other

    def _advance(self) -> None:
        events = self._connection.next_events()
        if events:
            if self._waiting:
                self._backlog += events
                self._check_flow()
            elif not self._finishing:
                self._handle(events)
            else:
                self.discard(events)
        self._flush()

    def _discard_backlog(self) -> None:
        events, self._backlog = self._backlog, []
        if events:
            self.discard(events)

    def _handle(self, events: list[Event]) -> None:
        try:
            self.handle_events(events)
        except Exception as error:  # noqa: BLE001 - a bug here ends this connection and no other
            self._fail(error)

    async def _run(self, barrier: Barrier) -> None:
        try:
            await barrier
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        finally:
            self._waiting = False
        self._after_barrier()

    def _after_barrier(self) -> None:
        if self.lost:
            self.stop_deliveries()
            self.services.spawn(self.dispose())
            return
        self._backlog_bytes = 0
        if self._stopping:
            self._stop()
            return
        if self._finishing:
            self._close_when_answered()
            return
        events, self._backlog = self._backlog, []
        if events:
            self._handle(events)
        self._flush()
        self._check_flow()
        self._end_half_closed()
        self.transport.deadline_changed()

    def _stop(self) -> None:
        """Go on with `shut_down`, which had to wait."""
        self._flush()
        if self._stopping and not self._finishing:
            self.shut_down(self._stopping)
        if self._finishing:
            self._close_when_answered()

    def _end_half_closed(self) -> None:
        if not self._half_closed or self._waiting or self._outstanding or self._finishing:
            return
        self._half_closed = False
        self._connection.receive_eof(self.services.clock.monotonic())
        self._advance()
        if not (self._waiting or self._finishing or self.lost):
            self.stop_deliveries()
            self.finish("closed by the client")

    def _fail(self, error: Exception) -> None:
        """A bug here: it costs this connection, and no other."""
        self.services.log.failed(self.protocol, self.transport.peer, error)
        self.refuse_all(error)
        self.finish("internal error")

    # -- answers

    def _answered(
        self,
        slot: AnswerSlot | None,
        answer: Answer,
        messages: int,
        size_bytes: int,
        unit: UnitOfWork,
    ) -> None:
        self._unanswered_messages -= messages
        self._unanswered_bytes -= size_bytes
        if self.lost:
            return
        try:
            answers = answer(unit)
        except Exception as error:  # noqa: BLE001 - as above
            answers = []
            self._fail(error)
        if slot is not None:
            answers = self._answers.answered(slot, answers)
            if answers and not self.lost:
                self.transport.write(answers)
            if self._all_answered is not None and not len(self._answers):
                self._note_all_answered()
        # Only now, so that an answer which ends the connection leaves behind the others.
        self._outstanding -= 1
        if self._room is not None and self._has_room():
            self._note_room()
        if self._reading_paused:
            self._check_flow()
        if self._finishing:
            self._close_when_answered()
        elif self._stopping and not self._waiting:
            self._stop()
        elif self._half_closed:
            self._end_half_closed()

    def _note_all_answered(self) -> None:
        future, self._all_answered = self._all_answered, None
        if future is not None and not future.done():
            future.set_result(None)

    def _note_room(self) -> None:
        future, self._room = self._room, None
        if future is not None and not future.done():
            future.set_result(None)

    # -- flow and the end

    def _has_room(self) -> bool:
        limits = self.services.limits
        # Half of each bound, so that reading does not stop and start with every unit.
        return (
            2 * self._unanswered_messages <= limits.unanswered_messages_max
            and 2 * self._unanswered_bytes <= limits.unanswered_bytes_max
        )

    def _check_flow(self) -> None:
        limits = self.services.limits
        if self._reading_paused:
            if (
                self._has_room()
                and len(self._backlog) <= limits.barriers_backlog_max
                and not self._backlog_bytes
            ):
                self._reading_paused = False
                self.transport.resume_reading()
                self.flow_changed()
        elif (
            self._unanswered_messages > limits.unanswered_messages_max
            or self._unanswered_bytes > limits.unanswered_bytes_max
            or len(self._backlog) > limits.barriers_backlog_max
            or self._backlog_bytes > limits.unanswered_bytes_max
        ):
            self._reading_paused = True
            self.transport.pause_reading()
            self.flow_changed()

    def _flush(self) -> None:
        """Write what the connection has queued, unless answers have to go before it."""
        if self.lost or self._waiting or self._finishing:
            return
        data = self._connection.data_to_send()
        if data:
            self.transport.write(data)

    def _close_when_answered(self) -> None:
        if self.lost or self._waiting or self._outstanding:
            return
        data = self._connection.data_to_send()
        if data:
            self.transport.write(data)
        self.transport.close()
