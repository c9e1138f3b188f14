"""What the gateways of all protocols do in the same way, around one connection of an adapter.

- Events are handled in order. One that has to wait (`wait_for`) holds back all later ones.
- Units of work are answered in the order of submission: `submit` and the rest of `submitter.py`.
- Back-pressure: above the bounds on unanswered publishes, or while events wait, reading pauses.
- The end: `finish` closes once everything submitted was answered; `fail` does, with the protocol's
  error last; a lost connection releases what its client held. A client that has closed its half,
  and one that the broker says goodbye to, gets the answers to what it has sent first.

A protocol's gateway derives from it and implements the methods marked so.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from adapters.connection import Connection
from mappings.connections import ConnectionDetails
from mappings.gateway import (
    SPEAKS_TLS,
    TLS_HANDSHAKE,
    Barrier,
    Services,
    StopReason,
    Transport,
)
from mappings.submitter import Submitter

Event = TypeVar("Event")


class ConnectionGateway(Submitter, Generic[Event]):
    """A `mappings.gateway.Gateway`; the derived class gives it a protocol."""

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "_began",
        "_connection",
        "_finishing",
        "_half_closed",
        "_monotonic",
        "_reading_paused",
        "_reason",
        "_refusal_noted",
        "_stopping",
        "_waiting",
        "client",
        "farewell",
        "greeted",
        "namespace",
        "opened_at",
        "user",
        "writing_paused",
    )

    protocol: ClassVar[str]

    def __init__(
        self, services: Services, transport: Transport, connection: Connection[Event]
    ) -> None:
        super().__init__(services, transport)
        self.user: str | None = None
        self.client: str | None = None
        self.namespace = ""
        self.opened_at = services.clock.epoch_ms()
        self.farewell: str | None = None
        """What whoever ends the connection has to say to the client."""
        self.greeted = False
        """The client was let in, which the log was told."""
        self.writing_paused = False
        self._connection = connection
        self._monotonic = services.clock.monotonic
        self._backlog: list[Event] = []
        self._backlog_bytes = 0
        self._began = False
        self._waiting = False
        self._reading_paused = False
        self._finishing = False
        self._half_closed = False
        self._stopping: StopReason | None = None
        self._reason: str | None = None
        self._refusal_noted = False
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
        self._connection.receive_data(data, self._monotonic())
        if self._waiting:
            self._backlog_bytes += len(data)
        self._advance()
        self.transport.deadline_changed()

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
        self.lost = True
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
        self._end_waiting()
        if not (self._waiting and self.greeted and not self._stopping):
            self._finishing = True
            self._discard_backlog()
        # Else what came before is carried out: over TLS, who says all and goes is lost at once.
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

    def flush(self) -> None:
        """Write what the connection has queued."""
        if not self.lost:
            data = self._connection.data_to_send()
            if data:
                self.transport.write(data)

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
        self._flush_unless_held()

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
            self._end_lost()
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
        self._flush_unless_held()
        self._check_flow()
        self._end_half_closed()
        self.transport.deadline_changed()

    def _end_lost(self) -> None:
        """Carry out what the client had sent when it went, and let go of what it leaves."""
        events, self._backlog = self._backlog, []
        if events:
            self._handle(events)
        if not self._waiting:
            self._finishing = True
            self.stop_deliveries()
            self.services.spawn(self.dispose())

    def _stop(self) -> None:
        """Go on with `shut_down`, which had to wait."""
        self._flush_unless_held()
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

    # -- flow and the end

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
            self._too_much_unanswered()
            or len(self._backlog) > limits.barriers_backlog_max
            or self._backlog_bytes > limits.unanswered_bytes_max
        ):
            self._reading_paused = True
            self.transport.pause_reading()
            self.flow_changed()

    def _answer_written(self) -> None:
        if self._reading_paused:
            self._check_flow()
        if self._finishing:
            self._close_when_answered()
        elif self._stopping and not self._waiting:
            self._stop()
        elif self._half_closed:
            self._end_half_closed()

    def _flush_unless_held(self) -> None:
        """Write what the connection has queued, unless answers have to go before it."""
        if not (self._waiting or self._finishing):
            self.flush()

    def _close_when_answered(self) -> None:
        if self.lost or self._waiting or self._outstanding:
            return
        self.flush()
        self.transport.close()
