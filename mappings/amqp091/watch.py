"""What the passing of time asks of a connection besides heartbeats.

- connection.blocked and unblocked: publishes were refused by a store that takes nothing, or reading
  has paused for a while because it is slow. As RabbitMQ does, only those who publish are told.
- The consumer timeout, an option: a delivery that is not acknowledged in time costs its channel. A
  look every sixteenth of the time notes the newest tag of each channel, so that nothing is kept per
  delivery; one that is older than a mark of that age is late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mappings.amqp091.errors import delivery_timed_out

if TYPE_CHECKING:
    from mappings.amqp091.channel import GatewayChannel
    from mappings.amqp091.gateway import AmqpGateway

BLOCKED_AFTER_SECONDS: Final = 1.0
"""How long reading may pause before the client hears of it, and between looks at the store."""
LOOKS_PER_TIMEOUT: Final = 16


class Watch:
    """The timers of one connection."""

    __slots__ = ("_blocked", "_consumers_at", "_flow_at", "_gateway", "_timeout_seconds")

    def __init__(self, gateway: AmqpGateway) -> None:
        self._gateway = gateway
        self._blocked = False
        self._flow_at: float | None = None
        self._consumers_at: float | None = None
        self._timeout_seconds = gateway.services.limits.consumer_timeout_seconds

    def start(self) -> None:
        """The connection is open."""
        if self._timeout_seconds:
            self._consumers_at = self._now() + self._timeout_seconds / LOOKS_PER_TIMEOUT

    def next_deadline(self, protocol_deadline: float | None) -> float | None:
        """The earlier of the protocol's deadline and ours."""
        earliest = protocol_deadline
        for own in (self._flow_at, self._consumers_at):
            if own is not None and (earliest is None or own < earliest):
                earliest = own
        return earliest

    def handle_deadline(self, now: float) -> None:
        """Look at what is due."""
        if self._gateway.finishing:
            self._flow_at = self._consumers_at = None
            return
        if self._flow_at is not None and now >= self._flow_at:
            self._look_at_flow(now)
        if self._consumers_at is not None and now >= self._consumers_at:
            self._consumers_at = now + self._timeout_seconds / LOOKS_PER_TIMEOUT
            for channel in list(self._gateway.channels.values()):
                self._look_at_consumers(channel, now)

    # connection.blocked

    def refused(self, reason: str) -> None:
        """The store has refused a publish."""
        self._block(reason)
        self._watch_flow()

    def flow_changed(self) -> None:
        """Reading has paused, or goes on."""
        self._watch_flow()

    def _watch_flow(self) -> None:
        self._flow_at = self._now() + BLOCKED_AFTER_SECONDS
        self._gateway.transport.deadline_changed()

    def _look_at_flow(self, now: float) -> None:
        gateway = self._gateway
        if gateway.reading_paused:
            self._block(f"{gateway.unanswered_count} publishes wait for the store")
        elif gateway.services.store_healthy():
            self._flow_at = None
            if self._blocked:
                self._blocked = False
                gateway.connection.unblock()
                gateway.flush()
            return
        self._flow_at = now + BLOCKED_AFTER_SECONDS

    def _block(self, reason: str) -> None:
        if not self._blocked:
            self._blocked = True
            self._gateway.connection.block(reason)
            self._gateway.flush()

    # The consumer timeout

    def _look_at_consumers(self, channel: GatewayChannel, now: float) -> None:
        spoken = self._gateway.connection.channels.get(channel.number)
        if spoken is None:
            return
        oldest = next(iter(spoken.unacked), None)
        marks = channel.marks
        while marks and (oldest is None or marks[0][1] < oldest):
            marks.popleft()
        if oldest is None:
            return
        if marks and now >= marks[0][0] + self._timeout_seconds:
            self._gateway.refuse_channel(
                channel.number, delivery_timed_out(channel.number, self._timeout_seconds)
            )
        elif not marks or marks[-1][1] < spoken.last_tag:
            marks.append((now, spoken.last_tag))

    def _now(self) -> float:
        return self._gateway.services.clock.monotonic()
