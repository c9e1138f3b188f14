"""From received messages to deliveries, claim checks redeemed on the way.

Whatever somebody put into the queue, one message must not keep the others from their consumers: one
that cannot be read is reported, and dead-lettered with what can be read of it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from bridge.backends.aws.messages import AwsDelivery, delivery_from_received
from bridge.backends.aws.node import Node
from bridge.backends.aws.payloads import (
    SIZE_ATTRIBUTES,
    PayloadMissing,
    is_claim,
    pointer_from_body,
)
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import Message

if TYPE_CHECKING:
    from bridge.backends.aws.queues import AwsQueue
    from bridge.backends.aws.wire import Received

RETRY_SECONDS = 30
"""How long a message stays hidden whose payload could not be read, or that cannot be moved."""


async def deliveries_from(
    node: Node, queue: AwsQueue, messages: list[Received]
) -> list[AwsDelivery]:
    """Deliveries of what was received, in its order.

    A message whose payload is gone is dead-lettered as it stands; one whose payload cannot be read
    now is hidden for a while.
    """
    if not any(is_claim(each.message_attributes) for each in messages):
        with suppress(Exception):
            # What cannot be read is found one by one, below.
            return [delivery_from_received(each, queue) for each in messages]
    redeemed = await asyncio.gather(*[_read(node, queue, each) for each in messages])
    return [delivery for delivery in redeemed if delivery is not None]


def delivery_if_readable(node: Node, queue: AwsQueue, received: Received) -> AwsDelivery | None:
    """The delivery of a message as it stands; None for one that is dead-lettered."""
    try:
        return delivery_from_received(received, queue)
    except Exception as error:  # noqa: BLE001 - reported, with its traceback
        _bury(node, queue, received, error)
        return None


async def _read(node: Node, queue: AwsQueue, received: Received) -> AwsDelivery | None:
    try:
        return await _redeemed(node, queue, received)
    except Exception as error:  # noqa: BLE001 - reported, with its traceback
        _bury(node, queue, received, error)
        return None


def _bury(node: Node, queue: AwsQueue, received: Received, error: Exception) -> None:
    """Dead-letter what can be read of a message."""
    node.report(f"message {received.message_id} of {queue.sqs_name} cannot be read", error)
    body = received.body.encode("utf-8", "surrogatepass")
    bare = Message(received.message_id, body, node.clock.epoch_ms())
    for name, each in received.message_attributes.items():
        bare.headers[name] = each.string_value or each.binary_value
    queue.lament(AwsDelivery(queue=queue, message=bare, handle=received.receipt_handle))


async def _redeemed(node: Node, queue: AwsQueue, received: Received) -> AwsDelivery | None:
    pointer = None
    if is_claim(received.message_attributes):
        pointer = pointer_from_body(received.body)
    if pointer is None:
        return delivery_from_received(received, queue)
    try:
        body = await node.payloads.get(pointer)
    except PayloadMissing:
        queue.lament(delivery_from_received(received, queue))
        return None
    except MessagingError:
        queue.hide(delivery_from_received(received, queue), RETRY_SECONDS)
        return None
    received.body = body
    for name in SIZE_ATTRIBUTES:
        received.message_attributes.pop(name, None)
    delivery = delivery_from_received(received, queue)
    delivery.payload = pointer
    return delivery
