"""The live connections of all protocols, for management to look at.

Gateways are in here from the first byte to the last; what they are is asked of them when somebody
looks, so that a connection costs an entry of a set and nothing on the message path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bridge.messaging.model import QueueName

if TYPE_CHECKING:
    from mappings.gateway import Transport


@dataclass(frozen=True, slots=True)
class ConsumerDetails:
    """What a client gets messages by. `prefetch` is what it has asked for; 0 is no limit."""

    tag: str
    queue: QueueName
    prefetch: int
    ack_required: bool = True


@dataclass(frozen=True, slots=True)
class ChannelDetails:
    """A channel; a protocol without channels has one, of number 1. `unacknowledged` is None where
    nobody counts.
    """

    number: int
    consumers: Sequence[ConsumerDetails] = ()
    prefetch: int = 0
    prefetch_global: int = 0
    unacknowledged: int | None = None
    confirms: bool = False
    transactional: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionDetails:
    """What a protocol alone knows of its connections."""

    version: str = ""
    client_properties: Mapping[str, Any] = field(default_factory=dict)
    channels: Sequence[ChannelDetails] = ()
    heartbeat_seconds: float = 0
    frame_max: int | None = None
    channel_max: int | None = None
    mechanism: str | None = None
    """How the client proved who it is, where the protocol has a choice."""


class LiveConnection(Protocol):
    """One connection that somebody was let in by, or is about to be."""

    @property
    def protocol(self) -> str: ...

    @property
    def greeted(self) -> bool:
        """The client was let in."""
        ...

    @property
    def transport(self) -> Transport:
        """What it came by."""
        ...

    @property
    def peer(self) -> str:
        """`host:port` of the client."""
        ...

    @property
    def user(self) -> str | None: ...

    @property
    def client(self) -> str | None:
        """What the client calls itself."""
        ...

    @property
    def namespace(self) -> str: ...

    @property
    def opened_at(self) -> int:
        """Epoch milliseconds."""
        ...

    @property
    def unanswered_count(self) -> int:
        """Publishes that the store has not answered yet."""
        ...

    @property
    def reading_paused(self) -> bool:
        """Held back, for it publishes faster than the store takes."""
        ...

    def details(self) -> ConnectionDetails: ...

    def dismiss(self, reason: str) -> None:
        """Somebody who may has asked for its end: tell the client why, close."""
        ...


class Connections:
    """The register; a gateway adds and removes itself."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: set[LiveConnection] = set()

    def add(self, connection: LiveConnection) -> None:
        self._open.add(connection)

    def discard(self, connection: LiveConnection) -> None:
        self._open.discard(connection)

    def __iter__(self) -> Iterator[LiveConnection]:
        """Those that were let in, in the order of their coming."""
        known = [each for each in self._open if each.greeted]
        return iter(sorted(known, key=lambda each: (each.opened_at, each.peer)))
