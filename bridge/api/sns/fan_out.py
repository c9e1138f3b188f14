"""What queues subscribed through SNS get, where it is not the message that legacy subscribers get.

Cloud code expects its message as it published it: no subject of the topic tree, no group on a
standard queue behind a FIFO topic. What a queue would not take goes to the subscription's dead
letters: more than ten attributes under raw delivery (SNS developer guide, raw message delivery), or
more bytes than the queue's MaximumMessageSize.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bridge.api.sns.notifications import for_queue, natural, without_trace
from bridge.api.sns.outbound import dead_letter_queue_of, note_loss
from bridge.api.sns.service import SnsService, topic_name
from bridge.api.sqs.outgoing import size_limit
from bridge.messaging.attributes import message_size
from bridge.messaging.envelope import attributes_from_message
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import Message, QueueName, UnitOfWork
from bridge.messaging.ports import Queue
from bridge.routing.catalogue import Subscription, Topic

_ATTRIBUTES_MAX = ServiceLimits().attributes_max


def adapt_sends(
    service: SnsService, topic: Topic, attribute_counts: Mapping[str, int], unit: UnitOfWork
) -> None:
    """Replace, in a routed unit, what SNS subscriptions to queues of `topic` get.

    `attribute_counts` are those of the messages as they were published, by their ids.
    """
    by_queue: dict[QueueName, Subscription] = {
        each.queue: each
        for each in service.topology.subscriptions_of(topic.name)
        if each.queue is not None and each.outlives_queue
    }
    cleaned: dict[str, Message] = {}
    sends: list[tuple[Queue, Message]] = []
    for queue, routed in unit.sends:
        subscription = by_queue.get(queue.name)
        if subscription is None:
            sends.append((queue, routed))
            continue
        message = routed
        if routed.message_id in attribute_counts:
            clean = cleaned.get(routed.message_id)
            if clean is None:
                clean = cleaned[routed.message_id] = natural(routed, topic_name(topic))
            # The message that a queue gets is one of its own, under raw delivery as well.
            message = msgspec.structs.replace(clean, message_id=service.message_ids.next())
        target: Queue | None = queue
        reason = _why_not(queue, message, attribute_counts.get(routed.message_id, 0))
        if reason is not None:
            target = dead_letter_queue_of(service.directory, subscription)
        if target is not None:
            sends.append((target, for_queue(target, message)))
        elif reason is not None:
            note_loss(service.log, subscription, reason)
    unit.sends[:] = sends


def _why_not(queue: Queue, message: Message, count: int) -> str | None:
    """Why a queue does not take a message, if it does not."""
    limit = size_limit(queue.settings)
    if not message.headers and not message.properties:
        size = len(message.body)
    else:
        message = without_trace(message)
        if count > _ATTRIBUTES_MAX:
            return f"{count} attributes are more than {_ATTRIBUTES_MAX}"
        size = message_size(*attributes_from_message(message))
    return f"{size} bytes are more than the queue takes, {limit}" if size > limit else None
