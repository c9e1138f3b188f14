"""SQS's actions on tags."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bridge.api.call import Call
from bridge.api.errors import INVALID_PARAMETER_VALUE, MISSING_PARAMETER
from bridge.api.sqs.service import SqsService
from bridge.api.sqs.shapes import (
    ListQueueTagsResult,
    QueueRequest,
    TagQueueRequest,
    UntagQueueRequest,
)

TAGS_MAX = 50
TAG_KEY_LENGTH_MAX = 128
TAG_VALUE_LENGTH_MAX = 256


async def tag_queue(service: SqsService, call: Call, request: TagQueueRequest) -> None:
    queue = service.directory.open_by_url(request.queue_url)
    if not request.tags:
        raise MISSING_PARAMETER("The request must contain the parameter Tags.")
    name = service.directory.name_of(queue)
    check_tags(request.tags, name)
    tags = {**queue.settings.tags, **request.tags}
    if len(tags) > TAGS_MAX:
        raise _too_many(name)
    await service.store.change_queue(queue, msgspec.structs.replace(queue.settings, tags=tags))


async def untag_queue(service: SqsService, call: Call, request: UntagQueueRequest) -> None:
    queue = service.directory.open_by_url(request.queue_url)
    if not request.tag_keys:
        raise _key_length()
    tags = {k: v for k, v in queue.settings.tags.items() if k not in request.tag_keys}
    if tags != queue.settings.tags:
        await service.store.change_queue(queue, msgspec.structs.replace(queue.settings, tags=tags))


def list_queue_tags(service: SqsService, call: Call, request: QueueRequest) -> ListQueueTagsResult:
    return ListQueueTagsResult(service.directory.by_url(request.queue_url).settings.tags)


def check_tags(tags: Mapping[str, str], queue_name: str) -> None:
    """Number of tags, and the lengths of their keys and values; a value may be empty."""
    if len(tags) > TAGS_MAX:
        raise _too_many(queue_name)
    for key, value in tags.items():
        if not 1 <= len(key) <= TAG_KEY_LENGTH_MAX:
            raise _key_length()
        if len(value) > TAG_VALUE_LENGTH_MAX:
            raise INVALID_PARAMETER_VALUE(
                f"Tag values must be between 0 and {TAG_VALUE_LENGTH_MAX} characters in length."
            )


def _key_length() -> Exception:
    return INVALID_PARAMETER_VALUE(
        f"Tag keys must be between 1 and {TAG_KEY_LENGTH_MAX} characters in length."
    )


def _too_many(queue_name: str) -> Exception:
    return INVALID_PARAMETER_VALUE(f"Too many tags added for queue {queue_name}.")
