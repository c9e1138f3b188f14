"""ReceiveMessage: what is asked for, and how a delivery is shown. On the hot path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bridge.api.call import PROTOCOL, Call
from bridge.api.errors import INVALID_PARAMETER_VALUE, OVER_LIMIT
from bridge.api.sqs import message_attributes
from bridge.api.sqs.outgoing import check_token
from bridge.api.sqs.service import SqsService
from bridge.api.sqs.shapes import ReceivedMessage, ReceiveMessageRequest, ReceiveMessageResult
from bridge.messaging.checksums import md5_of_body
from bridge.messaging.envelope import plain_text_of
from bridge.messaging.errors import OverLimit
from bridge.messaging.identifiers import ACCOUNT
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import Delivery
from bridge.messaging.ports import Queue

_LIMITS = ServiceLimits()
_SHOWN: dict[str, Callable[[Delivery], str | None]] = {
    "SenderId": lambda delivery: delivery.message.sender or ACCOUNT,
    "SentTimestamp": lambda delivery: str(delivery.message.sent_at),
    "ApproximateReceiveCount": lambda delivery: str(delivery.receive_count),
    "ApproximateFirstReceiveTimestamp": lambda delivery: str(
        delivery.first_received_at or delivery.message.sent_at
    ),
    "SequenceNumber": lambda delivery: delivery.sequence_number,
    "MessageDeduplicationId": lambda delivery: delivery.message.deduplication_id,
    "MessageGroupId": lambda delivery: delivery.message.group_id,
    "AWSTraceHeader": lambda delivery: message_attributes.trace_header_of(delivery.message),
}
_SOURCE = "DeadLetterQueueSourceArn"


async def receive_message(
    service: SqsService, call: Call, request: ReceiveMessageRequest
) -> ReceiveMessageResult:
    queue = service.directory.open_by_url(request.queue_url)
    _check(request)
    free = service.options.in_flight_max - (await service.store.counts(queue)).not_visible
    if free <= 0:
        return await _nothing_free(service, queue, request)
    try:
        deliveries = await service.store.receive(
            queue,
            count=min(request.max_number_of_messages or 1, free),
            visibility_seconds=request.visibility_timeout,
            wait_seconds=request.wait_time_seconds,
            attempt_id=request.receive_request_attempt_id if queue.settings.fifo else None,
        )
    except OverLimit as error:
        raise OVER_LIMIT(str(error)) from error
    if not deliveries:
        return ReceiveMessageResult()
    service.counters.delivered(
        PROTOCOL, len(deliveries), sum([len(each.message.body) for each in deliveries])
    )
    system = _system_names(request)
    names = request.message_attribute_names
    handle_of = service.store.handle_of
    messages: list[ReceivedMessage] = []
    for delivery in deliveries:
        message = delivery.message
        body, attributes = message.body, None
        text = plain_text_of(message)
        if text is None:
            text, attributes = message_attributes.shown(message, names)
            body = text.encode()
        received = ReceivedMessage(message.message_id, handle_of(delivery), md5_of_body(body), text)
        if system:
            received.attributes = _system_attributes(service, call, queue, delivery, system)
        if attributes:
            received.message_attributes = attributes
            received.md5_of_message_attributes = message_attributes.md5_of(attributes)
        messages.append(received)
    return ReceiveMessageResult(messages)


async def _nothing_free(
    service: SqsService, queue: Queue, request: ReceiveMessageRequest
) -> ReceiveMessageResult:
    """As many messages are in flight as may be: only a short poll of a standard queue is told."""
    wait = request.wait_time_seconds
    if wait is None:
        wait = queue.settings.receive_wait_seconds
    if not queue.settings.fifo and not wait:
        raise OVER_LIMIT(
            f"Too many messages are in flight; {service.options.in_flight_max} are allowed."
        )
    await asyncio.sleep(wait)
    return ReceiveMessageResult()


def _check(request: ReceiveMessageRequest) -> None:
    count = request.max_number_of_messages
    if count is not None and not 1 <= count <= _LIMITS.batch_entries_max:
        raise INVALID_PARAMETER_VALUE(
            f"Value {count} for parameter MaxNumberOfMessages is invalid. Reason: Must be between"
            f" 1 and"
            f" {_LIMITS.batch_entries_max}, if provided."
        )
    wait = request.wait_time_seconds
    if wait is not None and not 0 <= wait <= _LIMITS.wait_seconds_max:
        raise INVALID_PARAMETER_VALUE(
            f"Value {wait} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <="
            f" {_LIMITS.wait_seconds_max}, if provided."
        )
    visibility = request.visibility_timeout
    if visibility is not None:
        check_visibility(visibility)
    if request.receive_request_attempt_id is not None:
        check_token("ReceiveRequestAttemptId", request.receive_request_attempt_id)


def check_visibility(seconds: int) -> None:
    """The range of a visibility timeout."""
    if not 0 <= seconds <= _LIMITS.visibility_timeout_seconds_max:
        raise INVALID_PARAMETER_VALUE(
            f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason:"
            f" VisibilityTimeout must"
            f" be an integer between 0 and {_LIMITS.visibility_timeout_seconds_max}."
        )


def _system_names(request: ReceiveMessageRequest) -> tuple[str, ...]:
    """What the older and the newer parameter ask for together; unknown names are passed over."""
    names = request.attribute_names or ()
    if request.message_system_attribute_names:
        names = (*names, *request.message_system_attribute_names)
    if not names:
        return ()
    if "All" in names:
        return (*_SHOWN, _SOURCE)
    return tuple(name for name in (*_SHOWN, _SOURCE) if name in names)


def _system_attributes(
    service: SqsService, call: Call, queue: Queue, delivery: Delivery, names: tuple[str, ...]
) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for name in names:
        if name == _SOURCE:
            source = delivery.message.dead_letter_source
            if source is not None:
                attributes[name] = call.sqs_arn(service.directory.name_of_target(queue, source))
        elif (value := _SHOWN[name](delivery)) is not None:
            attributes[name] = value
    return attributes
