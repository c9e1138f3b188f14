"""The bounds of one MQTT connection; what the protocol has a word for is announced in CONNACK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PACKET_ID_MAX: Final = 65_535
PACKET_SIZE_MAX: Final = 268_435_460
"""What the protocol itself allows: five bytes of header and the largest remaining length."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Defaults of what one connection may do; the composition root may pass others."""

    packet_size_max: int = 17 * 1024 * 1024
    """Bytes of a received packet, its header included; the Maximum Packet Size that MQTT 5 clients
    are told.
    """
    connect_size_max: int = 1024 * 1024
    """Bytes of a CONNECT packet, which comes from somebody who is not known yet."""
    connect_timeout_seconds: float = 30.0
    """From the opened transport to the complete CONNECT."""
    receive_maximum: int = 1_000
    """QoS 1 and 2 publishes of an MQTT 5 client that the broker has not answered."""
    send_maximum: int = 1_000
    """QoS 1 and 2 publishes on their way to a client, whatever its own Receive Maximum."""
    topic_aliases_in_max: int = 32
    """Topic aliases that a client may set; the Topic Alias Maximum it is told."""
    topic_aliases_out_max: int = 32
    """Topic aliases that we set, where the client allows that many."""
    user_properties_max: int = 1_000
    """User properties of one packet."""
    filters_per_packet_max: int = 10_000
    """Topic filters of one SUBSCRIBE or UNSUBSCRIBE."""


DEFAULT_LIMITS: Final = ConnectionLimits()
