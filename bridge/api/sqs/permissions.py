"""AddPermission and RemovePermission: statements of the queue's policy, written as SQS writes them.

The policy is kept and shown; it decides nothing here, where there is one account.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from bridge.api.call import Call
from bridge.api.errors import INVALID_PARAMETER_VALUE, MISSING_PARAMETER, OVER_LIMIT, ApiError
from bridge.api.sqs.service import SqsService
from bridge.api.sqs.shapes import AddPermissionRequest, RemovePermissionRequest
from bridge.messaging.ports import Queue

ACTIONS_MAX = 7
STATEMENTS_MAX = 20
LABEL_LENGTH_MAX = 80
SHARED_ACTIONS = frozenset(
    {
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    }
)
OWN_ACTIONS = frozenset(
    {
        "AddPermission",
        "CancelMessageMoveTask",
        "CreateQueue",
        "DeleteQueue",
        "ListMessageMoveTasks",
        "ListQueueTags",
        "ListQueues",
        "RemovePermission",
        "SetQueueAttributes",
        "StartMessageMoveTask",
        "TagQueue",
        "UntagQueue",
    }
)
"""These cannot be given to another account."""
_ACCOUNT = re.compile(r"\d{12}")
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,80}")


async def add_permission(service: SqsService, call: Call, request: AddPermissionRequest) -> None:
    queue = service.directory.open_by_url(request.queue_url)
    _check(request)
    arn = call.sqs_arn(service.directory.name_of(queue))
    policy = _policy_of(queue) or {"Version": "2008-10-17", "Id": f"{arn}/SQSDefaultPolicy"}
    statements: list[Any] = policy.setdefault("Statement", [])
    if any(_label_of(statement) == request.label for statement in statements):
        raise _invalid("Label", request.label, "Already exists.")
    if len(statements) >= STATEMENTS_MAX:
        raise OVER_LIMIT(
            f"{STATEMENTS_MAX} statements were found, maximum allowed is {STATEMENTS_MAX}."
        )
    statements.append(
        {
            "Sid": request.label,
            "Effect": "Allow",
            "Principal": {
                "AWS": _scalar_if_one([f"arn:aws:iam::{a}:root" for a in request.aws_account_ids])
            },
            "Action": _scalar_if_one([f"SQS:{action}" for action in request.actions]),
            "Resource": arn,
        }
    )
    await _set_policy(service, queue, policy)


async def remove_permission(
    service: SqsService, call: Call, request: RemovePermissionRequest
) -> None:
    queue = service.directory.open_by_url(request.queue_url)
    policy = _policy_of(queue) or {}
    statements = policy.get("Statement", [])
    left = [statement for statement in statements if _label_of(statement) != request.label]
    if len(left) == len(statements):
        raise _invalid("Label", request.label, "can't find label.")
    await _set_policy(service, queue, {**policy, "Statement": left} if left else None)


def _check(request: AddPermissionRequest) -> None:
    if not _LABEL.fullmatch(request.label):
        raise _invalid(
            "Label",
            request.label,
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.",
        )
    if not request.aws_account_ids:
        raise _invalid("PrincipalId", "[]", "Unable to verify.")
    if not request.actions:
        raise MISSING_PARAMETER("The request must contain the parameter Actions.")
    for account in request.aws_account_ids:
        if not _ACCOUNT.fullmatch(account):
            raise _invalid("PrincipalId", account, "Unable to verify.")
    if len(request.actions) > ACTIONS_MAX:
        raise OVER_LIMIT(
            f"{len(request.actions)} Actions were found, maximum allowed is {ACTIONS_MAX}."
        )
    for action in request.actions:
        if action in SHARED_ACTIONS:
            continue
        reason = "Please refer to the appropriate WSDL for a list of valid actions. "
        if action in OWN_ACTIONS:
            reason = "Only the queue owner is allowed to invoke this action."
        raise _invalid("ActionName", f"SQS:{action}", reason)


def _policy_of(queue: Queue) -> dict[str, Any] | None:
    text = queue.settings.attributes.get("Policy")
    if not text:
        return None
    policy = json.loads(text)
    assert isinstance(policy, dict)
    if isinstance(policy.get("Statement"), dict):
        policy["Statement"] = [policy["Statement"]]
    return policy


async def _set_policy(service: SqsService, queue: Queue, policy: dict[str, Any] | None) -> None:
    attributes = dict(queue.settings.attributes)
    if policy is None:
        attributes.pop("Policy", None)
    else:
        attributes["Policy"] = json.dumps(policy, separators=(",", ":"))
    settings = msgspec.structs.replace(queue.settings, attributes=attributes)
    await service.store.change_queue(queue, settings)


def _label_of(statement: Any) -> Any:
    return statement.get("Sid") if isinstance(statement, dict) else None


def _scalar_if_one(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _invalid(parameter: str, value: str, reason: str) -> ApiError:
    return INVALID_PARAMETER_VALUE(
        f"Value {value} for parameter {parameter} is invalid. Reason: {reason}"
    )
