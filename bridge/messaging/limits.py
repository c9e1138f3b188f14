"""Every bound of the bridge, with its name, its unit (last in the name) and its default.

Protocol adapters have their own bounds beside their codecs, since they may not look in here. AWS's
service limits stand in `ServiceLimits`; they belong to the API and the AWS backend, not to the
engine.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the product; configuration may change those that say so in its reference."""

    message_size_max: int = 128 * 1024 * 1024
    """Bytes of one body taken from a legacy client; as many as RabbitMQ 3 takes."""
    prefetch_default: int = 200
    """Unsettled deliveries of a consumer that names no prefetch."""
    prefetch_max: int = 10_000
    """Unsettled deliveries of any consumer, whatever it asks for."""
    consumer_timeout_seconds: int = 0
    """How long an AMQP client may take to acknowledge a delivery; 0 sets no bound."""
    unanswered_bytes_max: int = 8 * 1024 * 1024
    """Published bytes of one connection that the store has not answered; above it, reading pauses.
    """
    unanswered_messages_max: int = 10_000
    """The same in messages."""
    write_buffer_bytes_max: int = 1024 * 1024
    """Unsent bytes of one connection above which its consumers are paused."""
    connections_max: int = 20_000
    """Open connections of one listener; further ones are closed at once."""
    consumers_per_connection_max: int = 10_000
    barriers_backlog_max: int = 10_000
    """Events that wait behind a barrier before the connection's reading pauses."""
    transaction_messages_max: int = 100_000
    """Sends and settles that one open transaction may hold."""
    transaction_bytes_max: int = 64 * 1024 * 1024
    queue_head_messages_max: int = 2_048
    """Messages of one lane of a queue that are kept in memory; the rest is on disk only."""
    queue_head_bytes_max: int = 8 * 1024 * 1024
    fifo_head_messages_max: int = 20_000
    """The same of a first-in-first-out queue, which looks for available groups among them (SQS)."""
    fifo_head_bytes_max: int = 64 * 1024 * 1024
    fair_tenants_max: int = 10_000
    """Message groups of one standard queue that are looked at for noisy neighbours."""
    queue_refill_messages: int = 1_024
    """How many a lane reads from disk at once, when fewer than half of it are left."""
    elision_delay_seconds: float = 0.002
    """How long a commit may wait while all of it is with consumers (design 3)."""
    lazy_commit_delay_seconds: float = 0.010
    """How long settles that nobody waits for may stay uncommitted."""
    receive_count_delay_seconds: float = 0.050
    """How long a message is held before the count of its receive is written."""
    routing_cache_entries_max: int = 10_000
    """Subjects whose queues the router remembers."""
    mqtt_in_flight_max: int = 1_000
    """QoS 1 and 2 publishes of one MQTT connection without an acknowledgement, each way."""
    mqtt_subscriptions_max: int = 10_000
    """Topic filters of one MQTT session."""
    mqtt_session_messages_max: int = 1_000_000
    """Messages that wait for one MQTT session or shared subscription; the oldest go then."""
    mqtt_session_expiry_seconds_max: int = 0xFFFF_FFFF
    """The longest session expiry interval that an MQTT 5 client is given; this one has no end."""
    mqtt_keep_alive_seconds_max: int = 0
    """The longest keep-alive that an MQTT 5 client is given; 0 leaves it to the client."""
    mqtt_qos_0_buffer_bytes_max: int = 8 * 1024 * 1024
    """QoS 0 publishes kept for an MQTT client that does not read; what is over is dropped."""
    mqtt_publish_rate_max: int = 0
    """Publishes of one MQTT connection in a second; 0 sets no bound."""
    mqtt_retained_max: int = 10_000_000
    """Topics with a retained message."""
    mqtt_denied_publish_disconnects: bool = False
    """A 3.x client that publishes what it may not is disconnected, not acknowledged in vain."""
    listen_backlog: int = 4_096
    """Connections that the kernel completes before the loop accepts them."""
    handshake_seconds_max: float = 20.0
    """From accepting to the end of the TLS handshake, and again to the end of the WebSocket's."""
    close_seconds_max: float = 3.0
    """How long a closing connection may make no progress: unsent bytes stay, or the peer stays."""
    tls_close_seconds_max: float = 15.0
    """The same over TLS in all, whose unsent bytes cannot be seen from above."""
    half_open_seconds_max: float = 10.0
    """How long answers may still be written to a peer that has closed its half."""
    stop_seconds_max: float = 9.0
    """From being asked to stop to the end, whoever keeps the broker waiting; Docker gives it 10."""
    drain_seconds_max: float = 6.0
    """How much of it connections have to finish; then they are ended."""
    http_header_bytes_max: int = 64 * 1024
    """Request line and headers of one HTTP request."""
    http_body_bytes_max: int = 3 * 1024 * 1024
    """Body of one HTTP request: SQS's 1 MiB, twice over for percent-encoding, and room for
    attributes.
    """
    http_requests_in_flight_max: int = 32
    """Pipelined HTTP requests of one connection that are worked on at once."""
    http_header_seconds_max: float = 20.0
    """From the first byte of an HTTP request to the end of its headers."""
    http_request_seconds_max: float = 60.0
    """From the first byte of an HTTP request to its last."""
    http_idle_seconds_max: float = 300.0
    """How long an HTTP connection may rest between requests, or leave an answer unread."""
    metrics_queues_max: int = 500
    """Queues that have metrics of their own; the rest is summed up."""
    log_value_characters_max: int = 512
    """Characters of one value in a log line; longer ones are cut."""
    log_mistakes_per_minute_max: int = 60
    """Lines in a minute about channels that were closed for a mistake, or requests that were
    refused, of one host; more are counted only.
    """


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
