"""SendMessage and SendMessageBatch. On the hot path: one unit of work per request, and one pass
over the entries of a batch, whose result is ready before its commit.
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeAlias

from bridge.api.call import Call
from bridge.api.committing import Committing
from bridge.api.errors import (
    BATCH_REQUEST_TOO_LONG,
    INVALID_PARAMETER_VALUE,
    ApiError,
    api_error_from,
)
from bridge.api.sqs import message_attributes, outgoing
from bridge.api.sqs.batches import check_distinct, check_entries, failed_entry
from bridge.api.sqs.routed import Failures, Taken, commit_sends
from bridge.api.sqs.service import SqsService
from bridge.api.sqs.shapes import (
    SendMessageBatchRequest,
    SendMessageBatchResult,
    SendMessageBatchResultEntry,
    SendMessageRequest,
    SendMessageResult,
)
from bridge.messaging.checksums import md5_of_body
from bridge.messaging.model import Message
from bridge.messaging.ports import Queue

_BATCH_BYTES_MAX = outgoing.LIMITS.message_size_max


SendOutcome: TypeAlias = Committing[SendMessageResult] | Coroutine[Any, Any, SendMessageResult]
BatchOutcome: TypeAlias = (
    SendMessageBatchResult
    | Committing[SendMessageBatchResult]
    | Coroutine[Any, Any, SendMessageBatchResult]
)


def send_message(service: SqsService, call: Call, request: SendMessageRequest) -> SendOutcome:
    queue = service.directory.by_url(request.queue_url)
    settings = queue.settings
    text = request.message_body
    body = text.encode()
    if settings.fifo and body:
        outgoing.check_fifo_parameters(request, settings, batch=False)
    if not call.holds_plain_text:
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
    result = SendMessageResult(
        md5_of_message_body=md5_of_body(body),
        message_id=message.message_id,
        md5_of_message_attributes=message_attributes.md5_of(request.message_attributes),
        md5_of_message_system_attributes=message_attributes.md5_of(
            request.message_system_attributes
        ),
    )
    return commit_sends(service, queue, [message], partial(_as_committed, result))


def _as_committed(result: SendMessageResult, failures: Failures, taken: Taken) -> SendMessageResult:
    if failures:
        raise failures[0]
    if taken:
        result.message_id = taken[0].message_id
        result.sequence_number = taken[0].sequence_number or None
    return result


def send_message_batch(
    service: SqsService, call: Call, request: SendMessageBatchRequest
) -> BatchOutcome:
    queue = service.directory.by_url(request.queue_url)
    settings = queue.settings
    entries = request.entries
    entry_ids = check_entries(entries, "SendMessageBatchRequestEntry")
    if settings.fifo:
        for entry in entries:
            outgoing.check_fifo_parameters(entry, settings, batch=True)
    check_distinct(entry_ids)
    sent_at = service.clock.epoch_ms()
    limit = outgoing.size_limit(settings)
    standard = not settings.fifo
    plain_text = call.holds_plain_text
    total_bytes = 0
    messages: list[Message] = []
    result = SendMessageBatchResult([], [])
    sent = result.successful
    for entry, message_id in zip(entries, service.message_ids.take(len(entries)), strict=True):
        body = entry.message_body.encode()
        size = len(body) if entry.message_attributes is None else outgoing.size_of(entry, body)
        total_bytes += size
        if (
            standard
            and 0 < size <= limit
            and (plain_text or entry.message_body.isprintable())
            and entry.message_attributes is None
            and entry.message_system_attributes is None
            and entry.message_group_id is None
            and entry.message_deduplication_id is None
            and entry.delay_seconds is None
        ):
            # It is nothing but a body, as most are.
            messages.append(Message(message_id, body, sent_at))
            sent.append(SendMessageBatchResultEntry(entry.id, message_id, md5_of_body(body)))
            continue
        try:
            outgoing.check_characters(entry.message_body)
            _check_entry_size(size, queue)
            message = outgoing.message_of(entry, body, settings, message_id, sent_at)
        except ApiError as error:
            result.failed.append(failed_entry(entry.id, error))
            continue
        messages.append(message)
        sent.append(
            SendMessageBatchResultEntry(
                entry.id,
                message_id,
                md5_of_body(body),
                message_attributes.md5_of(entry.message_attributes),
                message_attributes.md5_of(entry.message_system_attributes),
            )
        )
    if total_bytes > _BATCH_BYTES_MAX:
        raise BATCH_REQUEST_TOO_LONG(
            f"Batch requests cannot be longer than {_BATCH_BYTES_MAX} bytes. You have sent"
            f" {total_bytes} bytes."
        )
    if not messages:
        return result
    if (trace := call.trace_header) is not None:
        for message in messages:
            message_attributes.with_trace_header(message, trace)
    return commit_sends(service, queue, messages, partial(_batch_as_committed, result))


def _check_entry_size(size: int, queue: Queue) -> None:
    limit = outgoing.too_long(size, queue.settings)
    if limit is not None:
        raise INVALID_PARAMETER_VALUE(
            "One or more parameters cannot be validated. Reason: Message must be shorter than"
            f" {limit} bytes."
        )


def _batch_as_committed(
    result: SendMessageBatchResult, failures: Failures, taken: Taken
) -> SendMessageBatchResult:
    """`result` takes all that was sent for successful; here is what the commit says of it."""
    sent = result.successful
    for index, accepted in taken.items():
        sent[index].message_id = accepted.message_id
        sent[index].sequence_number = accepted.sequence_number or None
    if failures:
        result.successful = [each for index, each in enumerate(sent) if index not in failures]
        result.failed += [
            failed_entry(sent[index].id, api_error_from(failures[index]))
            for index in sorted(failures)
        ]
    return result
