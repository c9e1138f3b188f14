"""What this backend would make in an account, and the permissions that it needs. Calls nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bridge.backends.aws.attributes import attributes_from_settings
from bridge.backends.aws.options import AwsOptions
from bridge.backends.aws.ordering import rule_for
from bridge.messaging.identifiers import partition_of, queue_arn
from bridge.messaging.model import DEFAULT_NAMESPACE, QueueName, QueueSettings
from bridge.messaging.names import sqs_name

_USE: Final = (
    "GetQueueUrl",
    "GetQueueAttributes",
    "ListQueueTags",
    "SendMessage",
    "ReceiveMessage",
    "DeleteMessage",
    "ChangeMessageVisibility",
)
_CREATE: Final = ("CreateQueue", "TagQueue", "UntagQueue", "SetQueueAttributes", "DeleteQueue")
_TABLE: Final = (
    "DescribeTable",
    "Scan",
    "Query",
    "GetItem",
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "BatchWriteItem",
)
_OBJECTS: Final = ("GetObject", "PutObject", "DeleteObject")


def plan_lines(
    options: AwsOptions, region: str, queues: Mapping[QueueName, QueueSettings]
) -> list[str]:
    """For people: the table, the queues that are named beforehand, and what comes on demand."""
    absent = "made if it is absent" if options.create else "has to be there"
    lines = [f"region {region}", f"table  {options.table}: {absent}"]
    for name, settings in sorted(queues.items()):
        lines.append(_queue_line(options, name, settings, absent))
    shown = f"{options.prefix}NAME"
    if options.create:
        lines.append(f"queues that clients name: made on demand, as {shown}")
    else:
        lines.append(f"queues that clients name: used where they exist as {shown}")
    if options.payload_bucket is not None:
        lines.append(f"bucket {options.payload_bucket}: has to be there")
    return lines


def _queue_line(options: AwsOptions, name: QueueName, settings: QueueSettings, absent: str) -> str:
    pinned = options.queues.get(name.name) if name.namespace == DEFAULT_NAMESPACE else None
    rule = rule_for(options.ordering, name)
    fifo = settings.fifo or rule is not None
    sqs = pinned or sqs_name(name, fifo=fifo, prefix=options.prefix)
    arn = None
    if settings.redrive is not None:
        target = QueueName(name.namespace, settings.redrive.queue)
        arn = queue_arn("REGION", "ACCOUNT", sqs_name(target, fifo=fifo, prefix=options.prefix))
    attributes = attributes_from_settings(settings, arn, fifo=fifo)
    shown = ", ".join(f"{key}={value}" for key, value in sorted(attributes.items()))
    order = f"in order by {rule.group}; " if rule is not None else ""
    return f"queue  {name.name} as {sqs}: {absent}; {order}{shown}"


def policy(options: AwsOptions, region: str) -> dict[str, Any]:
    """The IAM policy that lets a node do what it does and no more."""
    partition = partition_of(region)
    queues = [f"arn:{partition}:sqs:{region}:*:{options.prefix}*"]
    if options.prefix:
        queues += [f"arn:{partition}:sqs:{region}:*:{name}" for name in options.queues.values()]
    actions = [*_USE, *(_CREATE if options.create else ())]
    tables = [*_TABLE, *(("CreateTable",) if options.create else ())]
    statements = [
        _statement("Queues", "sqs", actions, queues),
        _statement("FindQueues", "sqs", ["ListQueues"], ["*"]),
        _statement(
            "State",
            "dynamodb",
            tables,
            [f"arn:{partition}:dynamodb:{region}:*:table/{options.table}"],
        ),
    ]
    if options.payload_bucket is not None:
        objects = f"arn:{partition}:s3:::{options.payload_bucket}/{options.payload_prefix}*"
        statements.append(_statement("Payloads", "s3", _OBJECTS, [objects]))
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(
    name: str, service: str, actions: Iterable[str], resources: list[str]
) -> dict[str, Any]:
    return {
        "Sid": name,
        "Effect": "Allow",
        "Action": [f"{service}:{action}" for action in actions],
        "Resource": resources,
    }
