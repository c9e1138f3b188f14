"""SQS's 23 actions: the table from their names to their requests and to what carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.api.operation import Handler, Operation
from bridge.api.sqs import (
    move_tasks,
    permissions,
    queues,
    receiving,
    sending,
    settling,
    shapes,
    tags,
)
from bridge.api.sqs.service import SqsService

_ACTIONS: tuple[tuple[type[msgspec.Struct], Handler[SqsService]], ...] = (
    (shapes.AddPermissionRequest, permissions.add_permission),
    (shapes.CancelMessageMoveTaskRequest, move_tasks.cancel_message_move_task),
    (shapes.ChangeMessageVisibilityRequest, settling.change_message_visibility),
    (shapes.ChangeMessageVisibilityBatchRequest, settling.change_message_visibility_batch),
    (shapes.CreateQueueRequest, queues.create_queue),
    (shapes.DeleteMessageRequest, settling.delete_message),
    (shapes.DeleteMessageBatchRequest, settling.delete_message_batch),
    (shapes.QueueRequest, queues.delete_queue),
    (shapes.GetQueueAttributesRequest, queues.get_queue_attributes),
    (shapes.GetQueueUrlRequest, queues.get_queue_url),
    (shapes.ListDeadLetterSourceQueuesRequest, queues.list_dead_letter_source_queues),
    (shapes.ListMessageMoveTasksRequest, move_tasks.list_message_move_tasks),
    (shapes.ListQueuesRequest, queues.list_queues),
    (shapes.QueueRequest, tags.list_queue_tags),
    (shapes.QueueRequest, queues.purge_queue),
    (shapes.ReceiveMessageRequest, receiving.receive_message),
    (shapes.RemovePermissionRequest, permissions.remove_permission),
    (shapes.SendMessageRequest, sending.send_message),
    (shapes.SendMessageBatchRequest, sending.send_message_batch),
    (shapes.SetQueueAttributesRequest, queues.set_queue_attributes),
    (shapes.StartMessageMoveTaskRequest, move_tasks.start_message_move_task),
    (shapes.TagQueueRequest, tags.tag_queue),
    (shapes.UntagQueueRequest, tags.untag_queue),
)


def _operations() -> dict[str, Operation[Any]]:
    operations = {}
    for request_type, handler in _ACTIONS:
        action = shapes.wire_name(handler.__name__)
        names = shapes.CREATE_QUEUE_NAMES if action == "CreateQueue" else shapes.NAMES
        operations[action] = Operation(
            action, request_type, handler, names, shapes.rendering_of(action)
        )
    return operations


OPERATIONS: Mapping[str, Operation[Any]] = _operations()
WITHOUT_QUEUE_URL = frozenset({"CreateQueue", "ListQueues"})
"""Actions that SQS does not take on the URL of a queue."""
