"""DeleteMessage and ChangeMessageVisibility, single and in batches. On the hot path.

A handle that never was one is refused; one whose message is gone deletes it again with success, as
SQS does.
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from bridge.api.call import PROTOCOL, Call
from bridge.api.committing import Committing
from bridge.api.errors import (
    INVALID_PARAMETER_VALUE,
    RECEIPT_HANDLE_IS_INVALID,
    ApiError,
    api_error_from,
)
from bridge.api.sqs.batches import check_distinct, check_entries, failed_entry
from bridge.api.sqs.receiving import check_visibility
from bridge.api.sqs.service import SqsService
from bridge.api.sqs.shapes import (
    BatchResult,
    BatchResultEntry,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityRequest,
    DeleteMessageBatchRequest,
    DeleteMessageRequest,
)
from bridge.messaging.errors import (
    InvalidParameter,
    MessagingError,
    ReceiptHandleExpired,
    ReceiptHandleInvalid,
    ReceiptHandleOfAnotherQueue,
)
from bridge.messaging.model import Delivery, UnitOfWork
from bridge.messaging.ports import Queue

R = TypeVar("R")

NOT_IN_FLIGHT = "Message does not exist or is not available for visibility timeout change."


def delete_message(
    service: SqsService, call: Call, request: DeleteMessageRequest
) -> Committing[None] | None:
    queue = service.directory.open_by_url(request.queue_url)
    delivery = _delivery_of(service, queue, request.receipt_handle)
    return None if delivery is None else _commit_deletes(service, [delivery], None)


def delete_message_batch(
    service: SqsService, call: Call, request: DeleteMessageBatchRequest
) -> Committing[BatchResult] | BatchResult:
    queue = service.directory.open_by_url(request.queue_url)
    entries = request.entries
    check_distinct(check_entries(entries, "DeleteMessageBatchRequestEntry"))
    # Two entries may hold the same handle.
    deletes: dict[Delivery, None] = {}
    result = BatchResult([], [])
    delivery_of = service.store.delivery_of
    for entry in entries:
        try:
            delivery = delivery_of(queue, entry.receipt_handle)
        except ReceiptHandleInvalid as error:
            refusal = _refusal_of(entry.receipt_handle, error)
            result.failed.append(failed_entry(entry.id, refusal))
            continue
        if delivery is not None:
            deletes[delivery] = None
        result.successful.append(BatchResultEntry(entry.id))
    return _commit_deletes(service, list(deletes), result) if deletes else result


def _commit_deletes(service: SqsService, deletes: list[Delivery], result: R) -> Committing[R]:
    unit = UnitOfWork(answered=True)
    unit.deletes = deletes
    return Committing(service.store, unit, partial(_deleted, service, result))


def _deleted(service: SqsService, result: R, unit: UnitOfWork) -> R:
    service.counters.settled(PROTOCOL, len(unit.deletes))
    return result


async def change_message_visibility(
    service: SqsService, call: Call, request: ChangeMessageVisibilityRequest
) -> None:
    queue = service.directory.open_by_url(request.queue_url)
    check_visibility(request.visibility_timeout)
    await _change(service, queue, request.receipt_handle, request.visibility_timeout)


async def change_message_visibility_batch(
    service: SqsService, call: Call, request: ChangeMessageVisibilityBatchRequest
) -> BatchResult:
    queue = service.directory.open_by_url(request.queue_url)
    entries = request.entries
    check_distinct(check_entries(entries, "ChangeMessageVisibilityBatchRequestEntry"))
    result = BatchResult([], [])
    for entry in entries:
        seconds = entry.visibility_timeout or 0
        try:
            check_visibility(seconds)
            await _change(service, queue, entry.receipt_handle, seconds)
        except ApiError as error:
            result.failed.append(failed_entry(entry.id, error))
        except MessagingError as error:
            result.failed.append(failed_entry(entry.id, api_error_from(error)))
        else:
            result.successful.append(BatchResultEntry(entry.id))
    return result


async def _change(service: SqsService, queue: Queue, handle: str, seconds: int) -> None:
    delivery = _delivery_of(service, queue, handle)
    if delivery is None:
        raise _invalid_handle(handle, NOT_IN_FLIGHT)
    try:
        await service.store.change_visibility(delivery, seconds)
    except InvalidParameter as error:
        raise INVALID_PARAMETER_VALUE(
            f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total"
            f" VisibilityTimeout"
            " for the message is beyond the limit [43200 seconds]"
        ) from error


def _delivery_of(service: SqsService, queue: Queue, handle: str) -> Delivery | None:
    try:
        return service.store.delivery_of(queue, handle)
    except ReceiptHandleInvalid as error:
        raise _refusal_of(handle, error) from error


def _refusal_of(handle: str, error: ReceiptHandleInvalid) -> ApiError:
    if isinstance(error, ReceiptHandleExpired):
        return _invalid_handle(handle, "The receipt handle has expired.")
    if isinstance(error, ReceiptHandleOfAnotherQueue):
        return RECEIPT_HANDLE_IS_INVALID(
            f'The receipt handle "{handle}" is not valid for this queue.'
        )
    return RECEIPT_HANDLE_IS_INVALID(
        f'The input receipt handle "{handle}" is not a valid receipt handle.'
    )


def _invalid_handle(handle: str, reason: str) -> ApiError:
    return INVALID_PARAMETER_VALUE(
        f"Value {handle} for parameter ReceiptHandle is invalid. Reason: {reason}"
    )
