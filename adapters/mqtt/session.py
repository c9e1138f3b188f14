"""What of a session's state belongs to packet ids (MQTT 5, 4.1): it outlives connections, and
restarts.

The gateway owns a `SessionState`, stores what has to survive and gives it to each connection of the
session; the connection alone changes it. Ids of the two directions are independent (MQTT 5, 2.2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from adapters.errors import LocalProtocolError
from adapters.mqtt.events import Token
from adapters.mqtt.limits import PACKET_ID_MAX


class Inbound(Enum):
    """How far a received QoS 2 publish is (MQTT 5, 4.3.3, the receiver's side)."""

    RECEIVED = auto()
    """Not yet answered: its storing is under way."""
    STORED = auto()
    """PUBREC was sent, PUBREL is awaited."""
    RELEASED = auto()
    """PUBREL came and is not yet answered."""


class SessionState:
    """Packet ids in use. The dictionaries are ordered as their packets were first sent."""

    __slots__ = (
        "awaiting_puback",
        "awaiting_pubcomp",
        "awaiting_pubrec",
        "awaiting_release",
        "last_packet_id",
        "received",
    )

    def __init__(self) -> None:
        self.awaiting_puback: dict[int, Token] = {}
        """QoS 1: PUBLISH was sent."""
        self.awaiting_pubrec: dict[int, Token] = {}
        """QoS 2: the id was given out; PUBLISH was sent, or will be."""
        self.awaiting_release: dict[int, Token] = {}
        """QoS 2: PUBREC came, and the gateway stores that it did."""
        self.awaiting_pubcomp: dict[int, Token] = {}
        """QoS 2: PUBREL was sent."""
        self.received: dict[int, Inbound] = {}
        """QoS 2 of the other direction."""
        self.last_packet_id = 0

    @property
    def in_flight(self) -> int:
        """Deliveries that are not done."""
        return (
            len(self.awaiting_puback)
            + len(self.awaiting_pubrec)
            + len(self.awaiting_release)
            + len(self.awaiting_pubcomp)
        )

    def next_packet_ids(self, count: int) -> Sequence[int]:
        """Packet ids that no delivery has; the caller puts them into one of the dictionaries."""
        last = self.last_packet_id
        packet_ids = range(last + 1, last + count + 1)
        if (
            last + count > PACKET_ID_MAX
            or (self.awaiting_puback and not self.awaiting_puback.keys().isdisjoint(packet_ids))
            or (self.awaiting_pubrec and not self.awaiting_pubrec.keys().isdisjoint(packet_ids))
            or (self.awaiting_release and not self.awaiting_release.keys().isdisjoint(packet_ids))
            or (self.awaiting_pubcomp and not self.awaiting_pubcomp.keys().isdisjoint(packet_ids))
        ):
            return [self.next_packet_id() for _ in range(count)]
        self.last_packet_id = last + count
        return packet_ids

    def next_packet_id(self) -> int:
        """A packet id that no delivery has; the caller puts it into one of the dictionaries."""
        first = packet_id = self.last_packet_id % PACKET_ID_MAX + 1
        while (
            packet_id in self.awaiting_puback
            or packet_id in self.awaiting_pubrec
            or packet_id in self.awaiting_release
            or packet_id in self.awaiting_pubcomp
        ):
            packet_id = packet_id % PACKET_ID_MAX + 1
            if packet_id == first:
                raise LocalProtocolError("all packet identifiers are in use")
        self.last_packet_id = packet_id
        return packet_id
