"""What the network driver and every protocol's gateway owe each other, and what a gateway is given.

A gateway drives one connection: it feeds the adapter, collects each chunk's publishes and settles
into units of work, and writes what comes back. It is called on the event loop only and never
blocks; what has to wait (declare, bind, subscribe) runs as a barrier: later events of the
connection stay queued until it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from mappings.connections import Connections

if TYPE_CHECKING:
    from bridge.auth import Accounts
    from bridge.messaging.clock import Clock, MessageIds
    from bridge.messaging.limits import Limits
    from bridge.messaging.ports import Leases, StateStore, Store
    from bridge.routing.dead_letters import DeadLetters
    from bridge.routing.router import Router
    from bridge.routing.topology import Topology

Barrier: TypeAlias = Coroutine[Any, Any, None]
"""What later events of the connection wait for."""

TLS_HANDSHAKE: Final = b"\x16\x03"
"""How every TLS connection begins (RFC 8446, 5.1), and none of a protocol spoken here."""
SPEAKS_TLS: Final = "the client speaks tls, and this listener does not"
"""What the log is told of such a client where no TLS is spoken."""


class ListenerSettings(Protocol):
    """What a gateway asks of its listener."""

    @property
    def namespace(self) -> str:
        """Where its clients are, unless the protocol lets them name another one that exists."""
        ...


class Transport(Protocol):
    """The gateway's side of one network connection."""

    @property
    def peer(self) -> str:
        """`host:port`, for the log."""
        ...

    @property
    def local(self) -> str:
        """`host:port` of this side of it, for management; asked while it is open."""
        ...

    @property
    def secure(self) -> bool:
        """Over TLS."""
        ...

    @property
    def certificate_user(self) -> str | None:
        """Common name of the verified client certificate, if there was one."""
        ...

    @property
    def loopback(self) -> bool:
        """True where the listener is bound to loopback and so lets anybody in."""
        ...

    def write(self, data: Sequence[bytes]) -> None:
        """Send the pieces in order, joined into as few system calls as possible."""
        ...

    def close(self) -> None:
        """Send what was written, then close."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def deadline_changed(self) -> None:
        """Ask for `Gateway.next_deadline` again: it may be nearer than it was."""
        ...


class StopReason(Enum):
    """Why the broker ends connections of itself; the values are what the log says."""

    BROKER_STOPS = "the broker was shut down"
    LISTENER_REMOVED = "the listener was removed"
    CLOSED_BY_ADMINISTRATOR = "closed by an administrator"


class Gateway(Protocol):
    """One protocol's driver of one connection."""

    def data_received(self, data: bytes) -> None:
        """Take in a chunk. An empty one is the driver's sign of life for a client that was not
        read.
        """
        ...

    def eof_received(self) -> bool | None:
        """The client has closed its half. True: answers are still owed, `Transport.close` follows.

        Anything else lets the driver send what was written, and close.
        """
        ...

    def connection_lost(self, reason: str) -> None:
        """The transport is gone: release what the client held, drop what belonged to it."""
        ...

    def pause_writing(self) -> None:
        """The client does not read: deliver nothing more until `resume_writing`."""
        ...

    def resume_writing(self) -> None: ...

    def next_deadline(self) -> float | None:
        """Monotonic seconds at which `handle_deadline` is due; None for never.

        The driver asks when it has opened the gateway, at the deadline it knows of, and where the
        gateway says `Transport.deadline_changed`.
        """
        ...

    def handle_deadline(self, now: float) -> None: ...

    def shut_down(self, reason: StopReason) -> None:
        """The broker ends the connection: answer what was stored, tell the client, close."""
        ...


class Log(Protocol):
    """One line for each connect, disconnect, refusal and closed channel, with what operators search
    for. Where one connection can cause many, those that come too thick are left out.
    """

    def connected(
        self, protocol: str, peer: str, *, user: str | None, client: str | None
    ) -> None: ...

    def disconnected(
        self, protocol: str, peer: str, *, user: str | None, client: str | None, reason: str
    ) -> None: ...

    def refused(
        self, protocol: str, peer: str, *, user: str | None, client: str | None, reason: str
    ) -> None: ...

    def channel_closed(
        self,
        protocol: str,
        peer: str,
        *,
        user: str | None,
        client: str | None,
        channel: int,
        operation: str | None,
        reason: str,
    ) -> None:
        """A mistake has cost a client its channel, and not its connection."""
        ...

    def request_refused(self, protocol: str, peer: str, *, user: str | None, reason: str) -> None:
        """One request of a connection that goes on came from nobody known, or was not allowed."""
        ...

    def failed(self, protocol: str, peer: str, error: BaseException) -> None:
        """A bug here: logged with its traceback."""
        ...


class MessageCounts:
    """What went through one protocol's gateways since the start; they add to it, once per batch."""

    __slots__ = (
        "delivered",
        "delivered_bytes",
        "dropped",
        "published",
        "published_bytes",
        "settled",
    )

    def __init__(self) -> None:
        self.published = 0
        self.published_bytes = 0
        self.delivered = 0
        self.delivered_bytes = 0
        self.settled = 0
        self.dropped = 0
        """Messages for clients that did not read, or for whom too many waited."""


class Counters(Protocol):
    """What gateways count, once per batch, by protocol."""

    def of(self, protocol: str) -> MessageCounts:
        """Where the messages of a protocol are counted, for who does it often."""
        ...

    def published(self, protocol: str, count: int, size_bytes: int) -> None: ...

    def delivered(self, protocol: str, count: int, size_bytes: int) -> None: ...

    def settled(self, protocol: str, count: int) -> None: ...

    def dropped(self, protocol: str, count: int) -> None:
        """Messages for clients that did not read, or for whom too many waited."""
        ...

    def login_failed(self, protocol: str) -> None:
        """A user, password, certificate or signature was not right."""
        ...

    def channel_error(self, protocol: str) -> None:
        """A mistake has cost a client its channel."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What the composition root gives to every gateway."""

    store: Store
    state: StateStore
    router: Router
    dead_letters: DeadLetters
    topology: Topology
    accounts: Accounts
    clock: Clock
    message_ids: MessageIds
    limits: Limits
    log: Log
    counters: Counters
    spawn: Callable[[Barrier], None]
    """Run a barrier in the task group that owns this listener's connections."""
    namespaces: set[str]
    """Those that exist, more of which may come; a client that names another gets the default."""
    store_healthy: Callable[[], bool] = lambda: True
    """False while the store takes nothing."""
    connections: Connections = field(default_factory=Connections)
    """Those that are open, for management."""
    leases: Leases | None = None
    """What several nodes share out by; None where this process has the store to itself."""
    shared: dict[str, object] = field(default_factory=dict)
    """What the gateways of one protocol share, by protocol; the same for all listeners."""
