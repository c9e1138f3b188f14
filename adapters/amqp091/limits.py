"""The bounds of one AMQP connection; what the peer negotiates can only lower them."""

from __future__ import annotations

from dataclasses import dataclass

FRAME_SIZE_MIN = 4096
"""AMQP 0-9-1, 2.3.5: no peer may ask for less."""
FRAME_OVERHEAD = 8
"""Octets of a frame around its payload: type, channel, size and the end marker."""
EARLY_BYTES_MAX = 1024 * 1024
"""What a client may send behind connection.start-ok before it is let in."""
TABLE_DEPTH_MAX = 64
"""How deep tables and arrays may nest."""
CONSUMERS_PER_CHANNEL_MAX = 10_000


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds that the server proposes or enforces."""

    frame_size_max: int = 131_072
    channel_max: int = 2_047
    heartbeat_seconds: int = 60
    """What tune proposes; the client's tune-ok decides, 0 switches heartbeats off."""
    message_size_max: int = 16 * 1024 * 1024
    """Bytes of one content's body."""
    partial_bytes_max: int = 64 * 1024 * 1024
    """Announced bytes of all contents that are under way on the channels of one connection."""
    handshake_seconds_max: float = 10.0
    """From the first byte to connection.open; RabbitMQ's handshake_timeout."""
    close_seconds_max: float = 5.0
    """How long a connection.close-ok is waited for."""
