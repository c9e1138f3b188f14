"""Purging: what is visible is received and deleted, ten at a time, until there is no more.

SQS's own PurgeQueue would also take what connections hold, and what is sent (and confirmed) within
the minute that it runs. Received and delayed messages stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from bridge.backends.aws.batches import BATCH_MAX, IDS, is_worth_another_try
from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.node import Node
from bridge.backends.aws.payloads import is_claim, pointer_from_body
from bridge.backends.aws.queues import AwsQueue
from bridge.backends.aws.wire import (
    HandleBatch,
    HandleEntry,
    Receive,
    Received,
    decode_batch_reply,
    decode_receive_reply,
    encode,
)

_Reply = TypeVar("_Reply")


async def purge(node: Node, queue: AwsQueue) -> int:
    """Returns how many messages were deleted."""
    try:
        async with asyncio.TaskGroup() as group:
            lanes = [
                group.create_task(_purge_lane(node, queue))
                for _ in range(node.limits.purge_calls_max)
            ]
    except* AwsError as errors:
        first = errors.exceptions[0]
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        assert isinstance(first, AwsError), "no other kind was caught"
        raise messaging_error_from(first) from None
    return sum(lane.result() for lane in lanes)


async def _purge_lane(node: Node, queue: AwsQueue) -> int:
    count = 0
    while messages := await _receive(node, queue):
        await _delete(node, queue, messages)
        count += len(messages)
        for message in messages:
            pointer = pointer_from_body(message.body)
            if pointer is not None and is_claim(message.message_attributes):
                node.payloads.discard(pointer)
    return count


async def _delete(node: Node, queue: AwsQueue, messages: list[Received]) -> None:
    """Delete all of them: what SQS leaves would be back in a minute. Raises `AwsError`."""
    deadline = node.sqs.deadline_in(node.limits.settle_seconds_max)
    backoff = node.sqs.backoff()
    handles = [each.receipt_handle for each in messages]
    while handles:
        entries = [HandleEntry(*pair) for pair in zip(IDS, handles, strict=False)]
        request = encode(HandleBatch(queue.url, entries))
        body = await node.sqs.call("DeleteMessageBatch", request, deadline=deadline)
        failed = _decoded("DeleteMessageBatch", decode_batch_reply, body).failed
        handles = [handles[int(each.id)] for each in failed if is_worth_another_try(each)]
        if handles:
            if node.clock.monotonic() >= deadline:
                first = failed[0]
                raise AwsError("DeleteMessageBatch", 500, first.code, first.message)
            await asyncio.sleep(backoff.next_seconds())


async def _receive(node: Node, queue: AwsQueue) -> list[Received]:
    # One second of waiting makes SQS ask all of its servers; a short poll may miss messages.
    request = Receive(
        queue.url, BATCH_MAX, wait_time_seconds=1, visibility_timeout=node.limits.hold_seconds
    )
    deadline = node.sqs.deadline_in(node.limits.settle_seconds_max)
    body = await node.sqs.poll("ReceiveMessage", encode(request), 1, deadline=deadline)
    return _decoded("ReceiveMessage", decode_receive_reply, body).messages


def _decoded(action: str, decode: Callable[[bytes], _Reply], body: bytes) -> _Reply:
    try:
        return decode(body)
    except msgspec.MsgspecError as error:
        raise AwsError(action, 0, "", f"the answer cannot be read: {error}") from None
