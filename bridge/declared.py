"""What a configuration declares: its queues and topics, made in a store with their settings."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from bridge.chosen_backend import StartRefused
from bridge.config import Loaded, Queue
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import (
    DeadLetterTarget,
    Overflow,
    QueueName,
    QueueSettings,
    RedrivePolicy,
)
from bridge.messaging.names import FIFO_SUFFIX
from bridge.messaging.ports import Queue as StoredQueue
from bridge.messaging.ports import Store
from bridge.routing.rules import Rules
from bridge.routing.topology import Topology


def check_queues(loaded: Loaded, store: Store) -> None:
    """Raise `StartRefused` where queues exist as something that they cannot be turned from."""
    reasons: list[str] = []
    for declared in loaded.config.queues:
        queue = store.queue(_name_of(declared))
        if queue is not None and queue.settings.fifo is not declared.fifo:
            kind = "a FIFO queue" if queue.settings.fifo else "a standard queue"
            reasons.append(
                f"queue {declared.name!r} exists as {kind}, which cannot be changed:"
                " delete it, or change `fifo` in the configuration"
            )
    if reasons:
        raise StartRefused("\n".join(reasons))


async def declare(loaded: Loaded, topology: Topology, store: Store) -> None:
    """Make the queues and topics that the configuration names, and give queues their settings.

    Where that fails no queue has other settings than before, though some may be new. Raises
    `StartRefused`.
    """
    try:
        declared = [(await _made(each, topology), each) for each in loaded.config.queues]
        for name in loaded.rules.queues():
            await topology.ensure_queue(name)
        await declare_topics(loaded.rules, topology)
        await _change_settings(declared, store)
    except MessagingError as error:
        raise StartRefused(f"a configured queue or topic cannot be made: {error}") from None


async def _made(declared: Queue, topology: Topology) -> StoredQueue:
    """The queue, without its redrive policy where it is new: SQS takes that when its dead-letter
    queue is there, which may be declared further down.
    """
    settings = msgspec.structs.replace(settings_of(declared, QueueSettings()), redrive=None)
    return await topology.ensure_queue(_name_of(declared), settings)


async def _change_settings(declared: list[tuple[StoredQueue, Queue]], store: Store) -> None:
    """Give queues the settings that are declared: to all of them, or to none."""
    former: list[tuple[StoredQueue, QueueSettings]] = []
    try:
        for queue, options in declared:
            settings = settings_of(options, queue.settings)
            if settings != queue.settings:
                former.append((queue, queue.settings))
                await store.change_queue(queue, settings)
    except MessagingError:
        for queue, settings in reversed(former):
            # A store that refuses this too goes by them at least until it is started again.
            with suppress(MessagingError):
                await store.change_queue(queue, settings)
        raise


async def declare_topics(rules: Rules, topology: Topology) -> None:
    """Make the topics that rules name. Raises `MessagingError`."""
    topics = rules.topics()
    if topology.faces is not None:
        # What others publish to these comes from outside.
        topics |= rules.source_topics()
    for topic in sorted(topics):
        await topology.declare_topic(topic, fifo=topic.name.endswith(FIFO_SUFFIX))


def settings_of(declared: Queue, current: QueueSettings) -> QueueSettings:
    """The current settings with those that the configuration can give."""
    dead_letter = declared.dead_letter
    target: DeadLetterTarget | None = None
    if dead_letter is not None:
        if dead_letter.queue is not None:
            target = DeadLetterTarget("", dead_letter.queue)
        elif dead_letter.topic is not None:
            target = DeadLetterTarget(dead_letter.topic, dead_letter.subject)
    redrive = declared.redrive
    return msgspec.structs.replace(
        current,
        fifo=declared.fifo,
        dead_letter=target,
        return_limit=declared.return_limit,
        message_ttl_ms=declared.message_ttl_ms,
        length_max=declared.length_max,
        bytes_max=declared.bytes_max,
        overflow=Overflow(declared.overflow),
        priority_max=declared.priority_max,
        single_active_consumer=declared.single_active_consumer,
        visibility_timeout_seconds=declared.visibility_timeout_seconds,
        delay_seconds=declared.delay_seconds,
        retention_seconds=declared.retention_seconds,
        redrive=RedrivePolicy(redrive.queue, redrive.receive_count_max) if redrive else None,
    )


def _name_of(declared: Queue) -> QueueName:
    return QueueName(declared.namespace, declared.name)
