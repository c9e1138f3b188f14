"""What this backend would make in an account, and the permissions that it needs. Calls nobody."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from bridge.backends.aws.attributes import attributes_from_settings
from bridge.backends.aws.bands import band_count
from bridge.backends.aws.ingest import FILTER_POLICY, ingest_queue
from bridge.backends.aws.options import AwsOptions, Mode
from bridge.backends.aws.ordering import rule_for
from bridge.messaging.identifiers import partition_of, queue_arn
from bridge.messaging.model import DEFAULT_NAMESPACE, QueueName, QueueSettings, TopicName
from bridge.messaging.names import sns_name, sqs_name

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
_TOPICS: Final = ("Publish", "GetTopicAttributes", "ListSubscriptionsByTopic")
_CREATE_TOPICS: Final = ("CreateTopic", "TagResource", "Subscribe")
_OBJECTS: Final = ("GetObject", "PutObject", "DeleteObject")


def plan_lines(
    options: AwsOptions,
    region: str,
    queues: Mapping[QueueName, QueueSettings],
    targets: Collection[TopicName] = (),
    sources: Collection[TopicName] = (),
) -> list[str]:
    """For people: the table, the queues and topics that are named beforehand, and what comes on
    demand. `targets` and `sources` are the topics that routes name.
    """
    absent = "made if it is absent" if options.create else "has to be there"
    lines = [f"region {region}", f"table  {options.table}: {absent}"]
    for name, settings in sorted(queues.items()):
        lines.append(_queue_line(options, name, settings, absent))
    shown = f"{options.prefix}NAME"
    if options.create:
        lines.append(f"queues that clients name: made on demand, as {shown}")
    else:
        lines.append(f"queues that clients name: used where they exist as {shown}")
    lines += _topic_lines(options, absent, targets, sources)
    if options.payload_bucket is not None:
        lines.append(f"bucket {options.payload_bucket}: has to be there")
    return lines


def _topic_lines(
    options: AwsOptions, absent: str, targets: Collection[TopicName], sources: Collection[TopicName]
) -> list[str]:
    pinned = {TopicName(DEFAULT_NAMESPACE, name) for name in options.topics}
    lines: list[str] = []
    for name in sorted({*pinned, *targets, *sources}):
        sns = options.topic_pinned(name) or sns_name(name, prefix=options.prefix)
        there = "has to be there" if name in pinned else absent
        publish = "always" if name in targets else options.publish_of(name).value
        lines.append(f"topic  {name.name} as {sns}: {there}; published to: {publish}")
        if name in sources or options.ingest_of(name) is not Mode.NEVER:
            lines.append(_ingest_line(options, name, when=name not in sources))
    shown = f"{options.prefix}NAME"
    how = "made when they are first used" if options.create else "used where they exist"
    lines.append(f"topics that clients use: {how}, as {shown}")
    if any(mode is not Mode.NEVER for mode in _ingest_modes(options)):
        lines.append(
            f"queues for what comes in from topics that clients use: {options.prefix}ingest-..."
        )
    lines.append(f"queues of nodes, where there are several: {options.prefix}inbox-...")
    return lines


def _ingest_modes(options: AwsOptions) -> list[Mode]:
    return [options.ingest, *[each.ingest for each in options.topic_rules if each.ingest]]


def _ingest_line(options: AwsOptions, topic: TopicName, *, when: bool) -> str:
    queue = sqs_name(ingest_queue(topic), prefix=options.prefix)
    how = "subscribed" if options.create else "has to be subscribed and let the topic send"
    while_used = " while somebody here listens" if when else ""
    return f"ingest {topic.name} through {queue}: {how}{while_used}; raw, filter {FILTER_POLICY}"


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
    count = 1 if pinned else band_count(settings, fifo=fifo)
    bands = f"{count} queues by priority; " if count > 1 else ""
    return f"queue  {name.name} as {sqs}: {absent}; {order}{bands}{shown}"


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
    statements += _topic_statements(options, f"arn:{partition}:sns:{region}:*:")
    if options.payload_bucket is not None:
        objects = f"arn:{partition}:s3:::{options.payload_bucket}/{options.payload_prefix}*"
        statements.append(_statement("Payloads", "s3", _OBJECTS, [objects]))
    return {"Version": "2012-10-17", "Statement": statements}


def _topic_statements(options: AwsOptions, place: str) -> list[dict[str, Any]]:
    """`place` is the ARN of a topic without its name."""
    topics = [f"{place}{options.prefix}*"]
    for pinned in options.topics.values():
        arn = pinned if pinned.startswith("arn:") else place + pinned
        if options.prefix or pinned.startswith("arn:"):
            topics.append(arn)
    actions = [*_TOPICS, *(_CREATE_TOPICS if options.create else ())]
    everywhere = ["ListTopics", *(["Unsubscribe"] if options.create else ())]
    return [
        _statement("Topics", "sns", actions, topics),
        # SNS has no resource for these.
        _statement("FindTopics", "sns", everywhere, ["*"]),
    ]


def _statement(
    name: str, service: str, actions: Iterable[str], resources: list[str]
) -> dict[str, Any]:
    return {
        "Sid": name,
        "Effect": "Allow",
        "Action": [f"{service}:{action}" for action in actions],
        "Resource": resources,
    }
