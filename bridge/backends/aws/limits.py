"""Every bound of the AWS backend, with its unit and its default.

AWS's own service limits stand in `bridge.messaging.limits.ServiceLimits`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AwsLimits:
    """Bounds of one node's traffic with AWS."""

    batch_linger_seconds: float = 0.003
    """How long a send waits for company, while another batch of its queue is under way."""
    fill_seconds_max: float = 0.025
    """Where ten messages come within it, sends and polls wait until ten are there."""
    settle_linger_seconds: float = 0.1
    """How long a delete that nobody waits for may wait for company; the others wait as sends do."""
    fifo_settle_linger_seconds: float = 0.010
    """The same in a first-in-first-out queue, where it holds up the rest of its group."""
    sends_in_flight_max: int = 16
    """Batches of one queue that are under way at once."""
    settles_in_flight_max: int = 16
    """Batches of deletes, and again of releases, of one queue that are under way at once."""
    connections_max: int = 64
    """Connections to one service, long polls apart."""
    polling_connections_max: int = 512
    """Connections that long polls may hold open."""
    polls_per_queue_max: int = 16
    """Long polls of one queue that this node has open at once."""
    poll_wait_seconds: int = 20
    """How long SQS may hold a poll that has nothing to answer."""
    poll_linger_seconds: float = 0.005
    """How long after a poll that brought fewer than it asked for the next one waits, where ten
    messages take longer than `fill_seconds_max` to come, but one no longer than this.
    """
    hold_seconds: int = 60
    """Visibility timeout of what consumers hold; a dead node's messages are back after that."""
    renew_after_seconds: float = 30.0
    """Age at which the visibility of a held message is renewed."""
    hold_seconds_max: float = 11 * 3600.0
    """Age at which a held message costs its consumer the subscription (SQS ends it at 12 h)."""
    band_patience_seconds: float = 0.05
    """How long a band of a queue with priorities is given to answer before the next lower one."""
    exclusive_wait_seconds: float = 0.5
    """How long a consumer that finds its queue in exclusive use at another node waits for the end
    of that before it is refused: longer than this node takes to hear of it (`follow_seconds`).
    """
    surplus_seconds_max: float = 5.0
    """How long messages that came for a consumer without credit wait for some."""
    connect_seconds_max: float = 5.0
    call_seconds_max: float = 10.0
    """One try of one call; a long poll may take its waiting time on top."""
    send_seconds_max: float = 120.0
    """From taking a message to giving it up, all tries included."""
    settle_seconds_max: float = 60.0
    """The same for a delete, a release or a renewal."""
    state_seconds_max: float = 60.0
    """The same for a change of state, and for the calls that make and change queues."""
    open_seconds_max: float = 10.0
    """The same for each call while starting, so that a mistaken endpoint is told soon."""
    retry_delay_seconds: float = 0.05
    """First pause between two tries, before jitter; it doubles with each."""
    retry_delay_seconds_max: float = 5.0
    name_reuse_seconds_max: float = 70.0
    """How long creating a queue waits for SQS to let go of its name (60 s after a delete)."""
    new_queue_seconds: float = 5.0
    """Age up to which a queue that does not exist is taken for one that SQS does not know yet."""
    idle_connection_seconds_max: float = 15.0
    """Age at which an unused connection is not trusted any more."""
    close_seconds_max: float = 10.0
    """How long closing waits for AWS, unless it is told."""
    counts_seconds_max: float = 60.0
    """Age of counts of a queue with which this node does nothing; SQS's own lag by as much."""
    finished_messages_min: int = 50_000
    """Deleted messages that this node remembers, to leave out what SQS hands out once more."""
    return_counts_max: int = 100_000
    """Messages whose returns this node remembers."""
    queues_read_at_once_max: int = 32
    """Queues whose attributes are read at the same time, when starting."""
    payload_calls_max: int = 10
    """Calls of S3 that are under way at once; as many connections botocore keeps."""
    purge_calls_max: int = 8
    """Receives and deletes of a purge that are under way at once."""
    duty_retry_seconds: float = 5.0
    """After how long a duty that another node has, or that failed, is asked for again."""
    sweep_seconds_min: float = 1.0
    """Shortest time between two sweeps of a queue for what has expired."""
    sweep_seconds_max: float = 60.0
    """Longest time between two sweeps of a queue at rest, if its messages live for less."""
    sweep_kept_max: int = 100
    """Messages that have not expired and are looked at by one sweep, about."""
    length_look_seconds: float = 1.0
    """Shortest time between two looks at the length of a queue that has a limit."""
    lease_seconds: float = 10.0
    """How long a node is counted on after its last beat."""
    lease_beat_seconds: float = 2.5
    """How often a node beats and looks at the others."""
    follow_seconds: float = 0.25
    """How often a node asks what the others changed."""
    follow_closely_seconds: float = 0.02
    """The same while they make changes that wait for all nodes."""
    follow_closely_seconds_max: float = 1.0
    """How long that goes on after the last such change."""
    agree_poll_seconds: float = 0.02
    """First pause between two looks at which version the others have; it grows."""
    agree_seconds_max: float = 20.0
    """How long a change of the catalogue waits for nodes that do not apply it."""
    topic_seconds_max: float = 10.0
    """From asking SNS something rare to giving up; publishers may be waiting for it."""
    topic_retry_seconds: float = 10.0
    """How long a topic that could not be found or made is left alone."""
    topics_look_seconds: float = 1.0
    """How often this node looks whether other topics are used than before."""
    ingest_linger_seconds: float = 600.0
    """How long a topic in SNS is listened to after the last one here who wanted it has gone."""
    ingest_messages_max: int = 200
    """Messages of one topic in SNS that are on their way to queues here."""
    inbox_look_seconds: float = 0.5
    """How often a node looks whether it needs its inbox."""
    inbox_linger_seconds: float = 300.0
    """How long an inbox stays whose node is gone, which may come back under another id; longer than
    anything is on its way to it (`send_seconds_max`).
    """
    inbox_retry_seconds: int = 5
    """How long what a transient queue could not take now stays in the inbox until the next try."""
    inbox_messages_max: int = 1_000
    """Messages for transient queues of this node that are on their way into them."""
    queues_swept_at_once_max: int = 100
    """Transient queues of a node that died which are removed at the same time."""
    inbox_targets_max: int = 1_000
    """Queues that one message to another node may be for."""
    inbox_remembered_max: int = 10_000
    """Messages from the inbox whose ids are remembered, since SQS may hand one out twice."""
    payload_read_bytes_max: int = 128 * 1024 * 1024
    """Of a body that is read from S3."""
    credentials_check_seconds: float = 60.0
    """How often credentials are asked whether they are still the same."""
    failing_calls_max: int = 3
    """Calls that fail one after another before the backend calls itself unhealthy."""
