"""Publish and PublishBatch: SNS's checks, then one unit of work through the router."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from bridge.api.call import PROTOCOL, Call
from bridge.api.errors import (
    SNS_BATCH_TOO_LONG,
    SNS_EMPTY_BATCH,
    SNS_IDS_NOT_DISTINCT,
    SNS_INVALID_BATCH_ENTRY_ID,
    SNS_TOO_MANY_ENTRIES,
)
from bridge.api.sns import shapes
from bridge.api.sns.deduplication import SEPARATOR
from bridge.api.sns.fan_out import adapt_sends
from bridge.api.sns.message_attributes import checked
from bridge.api.sns.notifications import Published
from bridge.api.sns.service import SnsService, invalid, topic_name
from bridge.api.sqs.message_attributes import with_trace_header
from bridge.messaging.attributes import Attribute, is_legal_text, message_size
from bridge.messaging.commits import committed
from bridge.messaging.envelope import message_from_attributes
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import Message, Origin, Publish, UnitOfWork
from bridge.routing.catalogue import Topic

Entry: TypeAlias = shapes.PublishRequest | shapes.PublishBatchRequestEntry

_LIMITS = ServiceLimits()
SUBJECT_LENGTH_MAX = 100
_TOKEN = re.compile(r"[!-~]{1,128}")
_ID = re.compile(r"[A-Za-z0-9_-]*")
ID_LENGTH_MAX = 80


@dataclass(slots=True)
class _Prepared:
    """One checked publish. `key` is that of its deduplication; `duplicate`, if it is one."""

    message: Message
    published: Published
    key: str | None = None
    attribute_count: int = 0


async def publish(
    service: SnsService, call: Call, request: shapes.PublishRequest
) -> shapes.PublishResult:
    if request.phone_number is not None:
        raise invalid("PhoneNumber", f"{request.phone_number} is not valid to publish to")
    if request.topic_arn is None and request.target_arn is None:
        raise invalid("TopicArn or TargetArn", "no value for required parameter")
    if request.topic_arn is not None:
        topic = service.topic(call, request.topic_arn)
    else:
        topic = _target(service, call, request.target_arn or "")
    attributes = _checked_entry(topic, request)
    limit = _size_limit(topic)
    if message_size(request.message, attributes) > limit:
        raise invalid("Message too long")
    result = shapes.PublishBatchResult([], [])
    await _publish_all(service, call, topic, [("", request, attributes)], result)
    done = result.successful[0]
    return shapes.PublishResult(done.message_id, done.sequence_number)


async def publish_batch(
    service: SnsService, call: Call, request: shapes.PublishBatchRequest
) -> shapes.PublishBatchResult:
    entries = request.publish_batch_request_entries
    topic = service.topic(call, request.topic_arn)
    _check_entries(entries)
    result = shapes.PublishBatchResult([], [])
    accepted: list[tuple[str, Entry, dict[str, Attribute]]] = []
    size = 0
    for number, entry in enumerate(entries, 1):
        # SNS was recorded to refuse the whole batch for one entry.
        place = f"publishBatchRequestEntries.{number}.member."
        attributes = _checked_entry(topic, entry, place)
        size += message_size(entry.message, attributes)
        accepted.append((entry.id, entry, attributes))
    if size > _size_limit(topic):
        raise SNS_BATCH_TOO_LONG(
            "The length of all the messages put together is more than the limit."
        )
    await _publish_all(service, call, topic, accepted, result)
    return result


async def _publish_all(
    service: SnsService,
    call: Call,
    topic: Topic,
    entries: list[tuple[str, Entry, dict[str, Attribute]]],
    result: shapes.PublishBatchResult,
) -> None:
    """Route all in one unit of work, and add what became of each to the result."""
    unit = UnitOfWork(answered=True, atomic=topic.fifo)
    prepared: list[tuple[str, _Prepared]] = []
    for entry_id, entry, attributes in entries:
        key = _deduplication_key(topic, entry)
        duplicate = None if key is None else service.deduplication.duplicate_of(key)
        if duplicate is not None:
            result.successful.append(
                shapes.PublishBatchResultEntry(
                    entry_id, duplicate.message_id, duplicate.sequence_number
                )
            )
            continue
        one = _prepare(service, topic, entry, attributes, key)
        if (trace := call.trace_header) is not None:
            with_trace_header(one.message, trace)
        if key is not None:
            sequence = one.published.sequence_number or ""
            service.deduplication.accept(key, one.message.message_id, sequence, unit)
        prepared.append((entry_id, one))
    if not prepared:
        return
    try:
        await _route(service, topic, [one for _, one in prepared], unit)
    except BaseException:
        for _, one in prepared:
            if one.key is not None:
                service.deduplication.forget(one.key)
        raise
    bodies = [len(one.message.body) for _, one in prepared]
    service.counters.published(PROTOCOL, len(bodies), sum(bodies))
    for entry_id, one in prepared:
        result.successful.append(
            shapes.PublishBatchResultEntry(
                entry_id, one.message.message_id, one.published.sequence_number
            )
        )


async def _route(
    service: SnsService, topic: Topic, prepared: list[_Prepared], unit: UnitOfWork
) -> None:
    origin = Origin("sns", topic_name(topic))
    publishes = [Publish(origin, one.message, topic.name.namespace) for one in prepared]
    published = {one.message.message_id: one.published for one in prepared}
    while True:
        with service.notifications.publishing(published):
            routed = service.router.route(publishes, unit)
        if not routed.missing:
            break
        for name in routed.missing:
            await service.topology.ensure_queue(name)
    for error in routed.failed.values():
        raise error
    adapt_sends(
        service, topic, {one.message.message_id: one.attribute_count for one in prepared}, unit
    )
    if unit.sends or unit.state:
        await committed(service.store, unit)


def _prepare(
    service: SnsService,
    topic: Topic,
    entry: Entry,
    attributes: dict[str, Attribute],
    key: str | None,
) -> _Prepared:
    texts = _texts_of(entry)
    text = entry.message if texts is None else texts.get("sqs", texts["default"])
    message = message_from_attributes(
        text,
        attributes,
        message_id=service.message_ids.next(),
        sent_at=service.clock.epoch_ms(),
    )
    message = msgspec.structs.replace(
        message,
        topic=topic.name.name,
        subject=message.subject or topic_name(topic),
        group_id=entry.message_group_id,
        deduplication_id=_deduplication_id(topic, entry),
    )
    sequence = service.deduplication.next_sequence_number() if topic.fifo else None
    published = Published(entry.subject, texts, sequence)
    return _Prepared(message, published, key, len(attributes))


# -- checks


def _target(service: SnsService, call: Call, arn: str) -> Topic:
    """The topic of a TargetArn, which may also name a phone's application."""
    if ":endpoint/" in arn:
        raise invalid("TargetArn", "No endpoint found for the target arn specified")
    return service.topic(call, arn, "TargetArn")


def _checked_entry(topic: Topic, entry: Entry, place: str = "") -> dict[str, Attribute]:
    """Everything about one publish but its size. Raises SNS's errors."""
    if not entry.message:
        raise invalid("Empty message")
    if not is_legal_text(entry.message):
        raise invalid("Message", "Invalid characters found.")
    if entry.subject is not None:
        _check_subject(entry.subject)
    _texts_of(entry)
    _check_ordering(topic, entry)
    return checked(entry.message_attributes or {}, place)


def _check_subject(subject: str) -> None:
    if not subject or len(subject) >= SUBJECT_LENGTH_MAX or not subject.isprintable():
        raise invalid("Subject")


def _check_ordering(topic: Topic, entry: Entry) -> None:
    group, deduplication = entry.message_group_id, entry.message_deduplication_id
    if group is not None and not _TOKEN.fullmatch(group):
        raise invalid(
            "MessageGroupId",
            "The MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128"
            " in length.",
        )
    if topic.fifo:
        if group is None:
            raise invalid("The MessageGroupId parameter is required for FIFO topics")
        if deduplication is not None:
            if not _TOKEN.fullmatch(deduplication):
                raise invalid("MessageDeduplicationId")
        elif topic.attributes.get("ContentBasedDeduplication") != "true":
            raise invalid(
                "The topic should either have ContentBasedDeduplication enabled or"
                " MessageDeduplicationId provided explicitly"
            )
    elif deduplication is not None:
        raise invalid(
            "MessageDeduplicationId",
            "The request includes MessageDeduplicationId parameter that is not valid for this topic"
            " type",
        )


def _texts_of(entry: Entry) -> dict[str, str] | None:
    """The texts by protocol that MessageStructure json promises."""
    if entry.message_structure is None:
        return None
    if entry.message_structure != "json":
        raise invalid("MessageStructure")
    try:
        texts = json.loads(entry.message)
    except (ValueError, RecursionError):
        texts = None
    if not isinstance(texts, dict):
        raise invalid("Message Structure - JSON message body failed to parse")
    if not isinstance(texts.get("default"), str):
        raise invalid("Message Structure - No default entry in JSON message body")
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _size_limit(topic: Topic) -> int:
    own = topic.attributes.get("MaximumMessageSize")
    return int(own) if own else _LIMITS.topic_message_size_max


def _deduplication_id(topic: Topic, entry: Entry) -> str | None:
    if not topic.fifo:
        return None
    return entry.message_deduplication_id or hashlib.sha256(entry.message.encode()).hexdigest()


def _deduplication_key(topic: Topic, entry: Entry) -> str | None:
    deduplication_id = _deduplication_id(topic, entry)
    if deduplication_id is None:
        return None
    per_group = topic.attributes.get("FifoThroughputScope") == "MessageGroup"
    group = entry.message_group_id if per_group else ""
    return SEPARATOR.join((topic_name(topic), group or "", deduplication_id))


def _check_entries(entries: list[shapes.PublishBatchRequestEntry]) -> None:
    if not entries:
        raise SNS_EMPTY_BATCH("The batch request doesn't contain any entries.")
    if len(entries) > _LIMITS.batch_entries_max:
        raise SNS_TOO_MANY_ENTRIES("The batch request contains more entries than permissible.")
    for entry in entries:
        if len(entry.id) > ID_LENGTH_MAX:
            raise SNS_INVALID_BATCH_ENTRY_ID(
                f"The Id of a batch entry in the batch request is too long: {entry.id}"
            )
        if not entry.id or not _ID.fullmatch(entry.id):
            raise SNS_INVALID_BATCH_ENTRY_ID(
                "The Id of a batch entry in the batch request contains an impermissible character:"
                f" {entry.id}"
            )
    if len({entry.id for entry in entries}) != len(entries):
        raise SNS_IDS_NOT_DISTINCT("Two or more batch entries in the request have the same Id.")
