"""SendMessage and SendMessageBatch. On the hot path: one unit of work and one wait per request."""

from __future__ import annotations

from hashlib import md5

from bridge.api.call import Call
from bridge.api.errors import (
    BATCH_REQUEST_TOO_LONG,
    INVALID_PARAMETER_VALUE,
    ApiError,
    api_error_from,
)
from bridge.api.sqs import message_attributes, outgoing
from bridge.api.sqs.batches import check_distinct, check_entries, failed_entry
from bridge.api.sqs.routed import commit_sends
from bridge.api.sqs.service import SqsService
from bridge.api.sqs.shapes import (
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageBatchResult,
    SendMessageBatchResultEntry,
    SendMessageRequest,
    SendMessageResult,
)
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import Accepted, Message
from bridge.messaging.ports import Queue

_BATCH_BYTES_MAX = outgoing.LIMITS.message_size_max


async def send_message(
    service: SqsService, call: Call, request: SendMessageRequest
) -> SendMessageResult:
    queue = service.directory.by_url(request.queue_url)
    settings = queue.settings
    text = request.message_body
    body = text.encode()
    if settings.fifo and body:
        outgoing.check_fifo_parameters(request, settings, batch=False)
    outgoing.check_characters(text)
    limit = outgoing.too_long(outgoing.size_of(request, body), settings)
    if limit is not None:
        raise INVALID_PARAMETER_VALUE(
            f"One or more parameters are invalid. Reason: Message must be shorter than {limit}"
            f" bytes."
        )
    message = outgoing.message_of(
        request, body, settings, service.message_ids.next(), service.clock.epoch_ms()
    )
    if (trace := call.trace_header) is not None:
        message_attributes.with_trace_header(message, trace)
    failures, all_accepted = await commit_sends(service, queue, [message])
    if failures:
        raise failures[0]
    accepted = all_accepted.get(0)
    return SendMessageResult(
        md5_of_message_body=md5(body, usedforsecurity=False).hexdigest(),
        message_id=message.message_id if accepted is None else accepted.message_id,
        md5_of_message_attributes=message_attributes.md5_of(request.message_attributes),
        md5_of_message_system_attributes=message_attributes.md5_of(
            request.message_system_attributes
        ),
        sequence_number=None if accepted is None else accepted.sequence_number or None,
    )


async def send_message_batch(
    service: SqsService, call: Call, request: SendMessageBatchRequest
) -> SendMessageBatchResult:
    queue = service.directory.by_url(request.queue_url)
    settings = queue.settings
    entries = request.entries
    check_entries(entries, "SendMessageBatchRequestEntry")
    if settings.fifo:
        for entry in entries:
            outgoing.check_fifo_parameters(entry, settings, batch=True)
    check_distinct(entries)
    bodies = [entry.message_body.encode() for entry in entries]
    sizes = [
        len(body) if entry.message_attributes is None else outgoing.size_of(entry, body)
        for entry, body in zip(entries, bodies, strict=True)
    ]
    if sum(sizes) > _BATCH_BYTES_MAX:
        raise BATCH_REQUEST_TOO_LONG(
            f"Batch requests cannot be longer than {_BATCH_BYTES_MAX} bytes. You have sent"
            f" {sum(sizes)} bytes."
        )
    sent_at = service.clock.epoch_ms()
    next_id = service.message_ids.next
    limit = outgoing.size_limit(settings)
    plain_queue = not settings.fifo
    messages: list[Message] = []
    result = SendMessageBatchResult([], [])
    sent: list[tuple[SendMessageBatchRequestEntry, bytes]] = []
    for entry, body, size in zip(entries, bodies, sizes, strict=True):
        if (
            plain_queue
            and 0 < size <= limit
            and entry.message_body.isprintable()
            and outgoing.is_plain(entry)
        ):
            messages.append(Message(next_id(), body, sent_at))
            sent.append((entry, body))
            continue
        try:
            outgoing.check_characters(entry.message_body)
            _check_entry_size(size, queue)
            message = outgoing.message_of(entry, body, settings, next_id(), sent_at)
        except ApiError as error:
            result.failed.append(failed_entry(entry.id, error))
        else:
            messages.append(message)
            sent.append((entry, body))
    if (trace := call.trace_header) is not None:
        for message in messages:
            message_attributes.with_trace_header(message, trace)
    if messages:
        failures, accepted = await commit_sends(service, queue, messages)
        _add_results(messages, failures, accepted, sent, result)
    return result


def _check_entry_size(size: int, queue: Queue) -> None:
    limit = outgoing.too_long(size, queue.settings)
    if limit is not None:
        raise INVALID_PARAMETER_VALUE(
            "One or more parameters cannot be validated. Reason: Message must be shorter than"
            f" {limit} bytes."
        )


def _add_results(
    messages: list[Message],
    failures: dict[int, MessagingError],
    accepted: dict[int, Accepted],
    sent: list[tuple[SendMessageBatchRequestEntry, bytes]],
    result: SendMessageBatchResult,
) -> None:
    for index, (entry, body) in enumerate(sent):
        if failures and index in failures:
            result.failed.append(failed_entry(entry.id, api_error_from(failures[index])))
            continue
        successful = SendMessageBatchResultEntry(
            entry.id,
            messages[index].message_id,
            md5(body, usedforsecurity=False).hexdigest(),
        )
        if entry.message_attributes:
            successful.md5_of_message_attributes = message_attributes.md5_of(
                entry.message_attributes
            )
        if entry.message_system_attributes:
            successful.md5_of_message_system_attributes = message_attributes.md5_of(
                entry.message_system_attributes
            )
        if accepted and (taken := accepted.get(index)) is not None:
            successful.message_id = taken.message_id
            successful.sequence_number = taken.sequence_number or None
        result.successful.append(successful)
