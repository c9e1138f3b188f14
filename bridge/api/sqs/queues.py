"""SQS's actions on queues: create, find, list, describe, change, purge, delete."""

from __future__ import annotations

import base64
import binascii

from bridge.api.call import Call
from bridge.api.errors import (
    INVALID_PARAMETER_VALUE,
    PURGE_QUEUE_IN_PROGRESS,
    QUEUE_DELETED_RECENTLY,
    QUEUE_DOES_NOT_EXIST,
    QUEUE_NAME_EXISTS,
)
from bridge.api.sqs import attributes as rules
from bridge.api.sqs.service import SqsService
from bridge.api.sqs.shapes import (
    CreateQueueRequest,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    GetQueueUrlRequest,
    ListDeadLetterSourceQueuesRequest,
    ListDeadLetterSourceQueuesResult,
    ListQueuesRequest,
    ListQueuesResult,
    QueueRequest,
    QueueUrlResult,
    SetQueueAttributesRequest,
)
from bridge.api.sqs.tags import check_tags
from bridge.messaging.identifiers import ACCOUNT
from bridge.messaging.names import is_legal_queue_name, queue_from_sqs_name
from bridge.messaging.ownership import require_owner
from bridge.messaging.ports import Queue

PAGE_MAX = 1_000
LISTED_WITHOUT_PAGING_MAX = 1_000


async def create_queue(
    service: SqsService, call: Call, request: CreateQueueRequest
) -> QueueUrlResult:
    name, attributes = request.queue_name, rules.in_plain_case(request.attributes or {})
    _check_name(name, attributes)
    targets = _target_rule(service, call, name)
    existing = service.directory.by_name(name)
    if existing is not None:
        require_owner(existing)
        different = rules.first_difference(existing.settings, attributes, targets)
        if different is not None:
            raise QUEUE_NAME_EXISTS(
                "A queue already exists with the same name and a different value for attribute"
                f" {different}"
            )
        return QueueUrlResult(call.queue_url(name))
    if name in service.deleted:
        raise QUEUE_DELETED_RECENTLY(
            "You must wait 60 seconds after deleting a queue before you can create another with the"
            " same name."
        )
    tags = request.create_tags or {}
    check_tags(tags, name)
    settings = rules.new_settings(attributes, tags, targets)
    await service.store.create_queue(queue_from_sqs_name(name), settings)
    return QueueUrlResult(call.queue_url(name))


async def delete_queue(service: SqsService, call: Call, request: QueueRequest) -> None:
    queue = service.directory.open_by_url(request.queue_url)
    name = service.directory.name_of(queue)
    await service.store.delete_queue(queue)
    await service.deleted.add(name)
    service.purged.discard(name)


def get_queue_url(service: SqsService, call: Call, request: GetQueueUrlRequest) -> QueueUrlResult:
    owner = request.queue_owner_aws_account_id
    if owner not in (None, ACCOUNT) or service.directory.by_name(request.queue_name) is None:
        raise QUEUE_DOES_NOT_EXIST("The specified queue does not exist.")
    return QueueUrlResult(call.queue_url(request.queue_name))


def list_queues(service: SqsService, call: Call, request: ListQueuesRequest) -> ListQueuesResult:
    names = [name for name, _ in service.directory.listed(request.queue_name_prefix or "")]
    page, token = _page(names, request.max_results, request.next_token)
    return ListQueuesResult([call.queue_url(name) for name in page], token)


def list_dead_letter_source_queues(
    service: SqsService, call: Call, request: ListDeadLetterSourceQueuesRequest
) -> ListDeadLetterSourceQueuesResult:
    queue = service.directory.by_url(request.queue_url)
    names = [name for name, source in service.directory.listed() if redrives_to(source, queue)]
    page, token = _page(names, request.max_results, request.next_token)
    return ListDeadLetterSourceQueuesResult([call.queue_url(name) for name in page], token)


def redrives_to(source: Queue, target: Queue) -> bool:
    """Whether `target` is the dead-letter queue of `source`."""
    redrive = source.settings.redrive
    return redrive is not None and target.name == (source.name.namespace, redrive.queue)


async def get_queue_attributes(
    service: SqsService, call: Call, request: GetQueueAttributesRequest
) -> GetQueueAttributesResult:
    queue = service.directory.by_url(request.queue_url)
    wanted = request.attribute_names or []
    for name in wanted:
        if name not in rules.KNOWN:
            raise rules.unknown(name)
    if not wanted:
        return GetQueueAttributesResult()

    def arn_of(target: str) -> str:
        return call.sqs_arn(service.directory.name_of_target(queue, target))

    shown = rules.shown_attributes(queue.settings, arn_of)
    counts = await service.store.counts(queue)
    shown["ApproximateNumberOfMessages"] = str(counts.visible)
    shown["ApproximateNumberOfMessagesDelayed"] = str(counts.delayed)
    shown["ApproximateNumberOfMessagesNotVisible"] = str(counts.not_visible)
    shown["CreatedTimestamp"] = str(queue.created_at // 1000)
    shown["LastModifiedTimestamp"] = str(queue.modified_at // 1000)
    shown["QueueArn"] = call.sqs_arn(service.directory.name_of(queue))
    if "All" in wanted:
        return GetQueueAttributesResult(shown)
    return GetQueueAttributesResult({name: shown[name] for name in wanted if name in shown})


async def set_queue_attributes(
    service: SqsService, call: Call, request: SetQueueAttributesRequest
) -> None:
    queue = service.directory.open_by_url(request.queue_url)
    targets = _target_rule(service, call, service.directory.name_of(queue))
    attributes = rules.in_plain_case(request.attributes)
    settings = rules.changed_settings(queue.settings, attributes, targets)
    await service.store.change_queue(queue, settings)


async def purge_queue(service: SqsService, call: Call, request: QueueRequest) -> None:
    queue = service.directory.open_by_url(request.queue_url)
    name = service.directory.name_of(queue)
    if name in service.purged:
        raise PURGE_QUEUE_IN_PROGRESS(
            f"Only one PurgeQueue operation on {name} is allowed every 60 seconds."
        )
    await service.purged.add(name)
    await service.store.purge_queue(queue)


def _check_name(name: str, attributes: dict[str, str]) -> None:
    fifo = attributes.get("FifoQueue") == "true"
    if is_legal_queue_name(name, fifo=fifo):
        return
    if fifo:
        raise INVALID_PARAMETER_VALUE(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or"
            " underscores, must end with .fifo suffix and be 1 to 80 in length."
        )
    raise INVALID_PARAMETER_VALUE(
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
    )


def _target_rule(service: SqsService, call: Call, source_name: str) -> rules.TargetRule:
    def resolve(text: str, arn: str, fifo: bool) -> str:
        target = service.directory.by_arn(arn)
        reason = None
        if target is None:
            reason = "Dead letter target does not exist."
        elif target.settings.fifo != fifo:
            reason = "Dead-letter queue must be same type of queue as the source."
        elif not rules.allows_redrive_from(target.settings, call.sqs_arn(source_name)):
            reason = (
                "The dead-letter queue's redrive allow policy does not permit this source queue."
            )
        if target is None or reason is not None:
            raise INVALID_PARAMETER_VALUE(
                f"Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"
            )
        return target.name.name

    return rules.TargetRule(resolve)


def _page(
    names: list[str], max_results: int | None, token: str | None
) -> tuple[list[str], str | None]:
    """One page of sorted names and the token of the next, for those who ask for pages."""
    if max_results is not None and not 1 <= max_results <= PAGE_MAX:
        raise INVALID_PARAMETER_VALUE(
            f"Value {max_results} for parameter MaxResults is invalid. Reason: MaxResults must be"
            f" an"
            f" integer between 1 and {PAGE_MAX}."
        )
    if token:
        if max_results is None:
            raise INVALID_PARAMETER_VALUE(
                "MaxResults is a mandatory parameter when you provide a value for NextToken."
            )
        last = _name_of_token(token)
        names = [name for name in names if name > last]
    size = max_results or LISTED_WITHOUT_PAGING_MAX
    page = names[:size]
    if max_results is None or len(names) <= size:
        return page, None
    return page, base64.b64encode(page[-1].encode()).decode()


def _name_of_token(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise INVALID_PARAMETER_VALUE("Invalid or expired next token.") from None
