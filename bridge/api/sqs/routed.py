"""Sends on their way to the store. Where the configuration has routes for them (`from: sqs:...`),
the router says where they go; without such routes they go straight to their queue.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from bridge.api import call
from bridge.api.committing import Committing
from bridge.api.sqs.service import SqsService
from bridge.messaging.commits import committed
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import Accepted, Message, Origin, Publish, UnitOfWork
from bridge.messaging.ports import Queue

PROTOCOL = "sqs"

Failures: TypeAlias = Mapping[int, MessagingError]
Taken: TypeAlias = Mapping[int, Accepted]
R = TypeVar("R")


def commit_sends(
    service: SqsService,
    queue: Queue,
    messages: Sequence[Message],
    result: Callable[[Failures, Taken], R],
) -> Committing[R] | Coroutine[Any, Any, R]:
    """Send in one unit of work; `result` is told, by index, what failed and how it was taken."""
    if PROTOCOL in service.router.rules.protocols:
        return _commit_routed(service, queue, messages, result)

    def result_of(unit: UnitOfWork) -> R:
        _count(service, messages, unit.failures)
        return result(unit.failures, unit.accepted)

    unit = UnitOfWork(answered=True)
    unit.sends = [(queue, message) for message in messages]
    return Committing(service.store, unit, result_of)


async def _commit_routed(
    service: SqsService,
    queue: Queue,
    messages: Sequence[Message],
    result: Callable[[Failures, Taken], R],
) -> R:
    unit = UnitOfWork(answered=True)
    origin = Origin(PROTOCOL, service.directory.name_of(queue))
    namespace, name = queue.name
    publishes = [Publish(origin, message, namespace, name) for message in messages]
    routed = service.router.route(publishes, unit)
    while routed.missing:
        for missing in routed.missing:
            await service.router.topology.ensure_queue(missing)
        routed = service.router.route(publishes, unit)
    failures = dict(routed.failed)
    if unit.sends:
        await committed(service.store, unit)
    taken: dict[int, Accepted] = {}
    for index, (target, _) in enumerate(unit.sends):
        publish = routed.publish_of(index)
        if index in unit.failures:
            failures[publish] = unit.failures[index]
        elif target is queue and index in unit.accepted:
            taken[publish] = unit.accepted[index]
    _count(service, messages, failures)
    return result(failures, taken)


def _count(service: SqsService, messages: Sequence[Message], failures: Failures) -> None:
    if failures:
        messages = [each for index, each in enumerate(messages) if index not in failures]
    size_bytes = sum([len(message.body) for message in messages])
    service.counters.published(call.PROTOCOL, len(messages), size_bytes)
