"""Sends for which the configuration has routes (`from: sqs:...`): the router says where they go.

Without such routes a send goes straight to its queue, and nothing here is called.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.api import call
from bridge.api.sqs.service import SqsService
from bridge.messaging.commits import committed
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import Accepted, Message, Origin, Publish, UnitOfWork
from bridge.messaging.ports import Queue

PROTOCOL = "sqs"


async def commit_sends(
    service: SqsService, queue: Queue, messages: Sequence[Message]
) -> tuple[dict[int, MessagingError], dict[int, Accepted]]:
    """Send in one unit of work; by index, what failed and how a FIFO queue took it."""
    unit = UnitOfWork(answered=True)
    if PROTOCOL not in service.router.rules.protocols:
        unit.sends = [(queue, message) for message in messages]
        await committed(service.store, unit)
        failures, accepted = unit.failures, unit.accepted
    else:
        failures, accepted = await _commit_routed(service, queue, messages, unit)
    sizes = [len(message.body) for index, message in enumerate(messages) if index not in failures]
    service.counters.published(call.PROTOCOL, len(sizes), sum(sizes))
    return failures, accepted


async def _commit_routed(
    service: SqsService, queue: Queue, messages: Sequence[Message], unit: UnitOfWork
) -> tuple[dict[int, MessagingError], dict[int, Accepted]]:
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
    accepted: dict[int, Accepted] = {}
    for index, (target, _) in enumerate(unit.sends):
        publish = routed.publish_of(index)
        if index in unit.failures:
            failures[publish] = unit.failures[index]
        elif target is queue and index in unit.accepted:
            accepted[publish] = unit.accepted[index]
    return failures, accepted
