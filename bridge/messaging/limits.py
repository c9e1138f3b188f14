"""Every bound of the bridge, with its name, its unit (last in the name) and its default.

Protocol adapters have their own bounds beside their codecs, since they may not look in here. AWS's service
limits stand in `ServiceLimits`; they belong to the API and the AWS backend, not to the engine.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the product; configuration may change those that say so in its reference."""

    message_size_max: int = 16 * 1024 * 1024
    """Bytes of one body taken from a legacy client."""
    prefetch_default: int = 200
    """Unsettled deliveries of a consumer that names no prefetch."""
    prefetch_max: int = 10_000
    """Unsettled deliveries of any consumer, whatever it asks for."""
    unanswered_bytes_max: int = 8 * 1024 * 1024
    """Published bytes of one connection that the store has not answered; above it, reading pauses."""
    unanswered_messages_max: int = 10_000
    """The same in messages."""
    write_buffer_bytes_max: int = 1024 * 1024
    """Unsent bytes of one connection above which its consumers are paused."""
    connections_max: int = 20_000
    """Open connections of one listener; further ones are closed at once."""
    consumers_per_connection_max: int = 1_000
    barriers_backlog_max: int = 10_000
    """Events that wait behind a barrier before the connection's reading pauses."""
    transaction_messages_max: int = 100_000
    """Sends and settles that one open transaction may hold."""
    transaction_bytes_max: int = 64 * 1024 * 1024
    queue_head_messages_max: int = 2_048
    """Messages of one lane of a queue that are kept in memory; the rest is on disk only."""
    queue_head_bytes_max: int = 8 * 1024 * 1024
    queue_refill_messages: int = 1_024
    """How many a lane reads from disk at once, when fewer than half of it are left."""
    commit_messages_max: int = 4_096
    """Messages in one commit; what exceeds it goes into the next."""
    elision_delay_seconds: float = 0.002
    """How long a commit may wait while all of it is with consumers (design 3)."""
    lazy_commit_delay_seconds: float = 0.010
    """How long settles that nobody waits for may stay uncommitted."""
    receive_count_delay_seconds: float = 0.050
    """How long a message is held before the count of its receive is written."""
    routing_cache_entries_max: int = 10_000
    """Subjects whose queues the router remembers."""


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """What AWS itself allows (SQS quotas and API reference, 2026)."""

    batch_entries_max: int = 10
    message_size_max: int = 1_048_576
    topic_message_size_max: int = 262_144
    attributes_max: int = 10
    attribute_name_length_max: int = 256
    queue_name_length_max: int = 80
    topic_name_length_max: int = 256
    delay_seconds_max: int = 900
    visibility_timeout_seconds_max: int = 43_200
    wait_seconds_max: int = 20
    retention_seconds_min: int = 60
    retention_seconds_max: int = 1_209_600
    retention_seconds_default: int = 345_600
    in_flight_max: int = 120_000
