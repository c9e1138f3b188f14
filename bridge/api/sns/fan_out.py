"""What queues subscribed through SNS get, where it is not the message that legacy subscribers get.

Cloud code expects its message as it published it: no subject of the topic tree, no group on a
standard queue behind a FIFO topic, and at most ten attributes under raw delivery (SNS developer
guide, raw message delivery).
"""

from __future__ import annotations

import msgspec

from bridge.api.sns.notifications import natural
from bridge.api.sns.outbound import dead_letter_queue_of
from bridge.api.sns.service import SnsService, topic_name
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import Message, QueueName, UnitOfWork
from bridge.messaging.ports import Queue
from bridge.routing.catalogue import Subscription, Topic

_ATTRIBUTES_MAX = ServiceLimits().attributes_max


def adapt_sends(service: SnsService, topic: Topic, message_ids: set[str], unit: UnitOfWork) -> None:
    """Replace, in a routed unit, what SNS subscriptions to queues of `topic` get."""
    by_queue: dict[QueueName, Subscription] = {
        each.queue: each
        for each in service.topology.subscriptions_of(topic.name)
        if each.queue is not None and each.outlives_queue
    }
    cleaned: dict[str, Message] = {}
    sends: list[tuple[Queue, Message]] = []
    for queue, message in unit.sends:
        subscription = by_queue.get(queue.name)
        if subscription is None:
            sends.append((queue, message))
            continue
        target = queue
        if message.message_id in message_ids:
            if len(message.headers) + len(message.properties) > _ATTRIBUTES_MAX:
                dead = dead_letter_queue_of(service.directory, subscription)
                if dead is None:
                    continue
                target = dead
            clean = cleaned.get(message.message_id)
            if clean is None:
                clean = cleaned[message.message_id] = natural(message, topic_name(topic))
            sends.append((target, _for_queue(target, clean)))
        else:
            sends.append((target, _for_queue(target, message)))
    unit.sends[:] = sends


def _for_queue(queue: Queue, message: Message) -> Message:
    """FIFO topics keep group and deduplication id for FIFO queues only."""
    if queue.settings.fifo or message.deduplication_id is None:
        return message
    return msgspec.structs.replace(message, group_id=None, deduplication_id=None)
