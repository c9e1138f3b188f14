"""Between topics here and their faces outside: what they are used for, and what comes in.

What comes in is routed as any publish of SNS's, but for the topic's own face, where it has been
already. It is deleted there once everything that it became is stored; what a queue refuses for good
is dead-lettered with the reason, what could not be stored now is received again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import msgspec

from bridge.messaging.errors import MessagingError, StoreUnavailable
from bridge.messaging.faces import TopicUse, face_name
from bridge.messaging.model import (
    Delivery,
    Origin,
    Publish,
    QueueName,
    TopicName,
    UnitOfWork,
)
from bridge.messaging.names import sns_name
from bridge.routing.router import REASON_HEADER, Router

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine in a task group that outlives the call."""

SNS = "sns"


class RoutedUses:
    """See `bridge.messaging.faces.TopicUses`: the catalogue's topics, and those of rules."""

    def __init__(self, router: Router) -> None:
        self._router = router

    @property
    def version(self) -> object:
        return self._router.topology.version, self._router.rules

    def __iter__(self) -> Iterator[TopicUse]:
        topology, rules = self._router.topology, self._router.rules
        listens = SNS in rules.protocols
        for topic in topology.topics():
            subscribed = bool(topology.subscriptions_of(topic.name))
            if not subscribed and listens:
                address = sns_name(topic.name, fifo=topic.fifo)
                subscribed = bool(rules.matching(Origin(SNS, address)))
            if topic.has_face and (subscribed or not topic.built_in):
                yield TopicUse(topic.name, topic.fifo, subscribed)

    def __contains__(self, topic: TopicName) -> bool:
        return self._router.topology.topic(topic) is not None


class FaceRouting:
    """Routes what comes in from faces; `incoming` is a `bridge.messaging.faces.Incoming`."""

    def __init__(self, router: Router, spawn: Spawn) -> None:
        self._router = router
        self._spawn = spawn

    def incoming(
        self, topic: TopicName, deliveries: Sequence[Delivery], done: Callable[[int], None]
    ) -> None:
        arrived = _Arrived(topic, deliveries, done)
        self._route(arrived)

    def _route(self, arrived: _Arrived) -> None:
        unit = UnitOfWork(answered=True)
        publishes = self._publishes(arrived)
        routed = self._router.route(publishes, unit)
        if routed.missing:
            self._spawn(self._route_later(arrived, routed.missing))
            return
        own = face_name(arrived.topic)
        owners = [routed.publish_of(index) for index in range(len(unit.sends))]
        kept = [index for index, (queue, _) in enumerate(unit.sends) if queue.name != own]
        unit.sends = [unit.sends[index] for index in kept]
        arrived.owners = [owners[index] for index in kept]
        if unit.sends:
            unit.done = lambda stored: self._stored(arrived, stored)
            self._router.store.submit(unit)
        else:
            self._stored(arrived, unit)

    async def _route_later(self, arrived: _Arrived, missing: frozenset[QueueName]) -> None:
        try:
            for name in missing:
                await self._router.topology.ensure_queue(name)
        except MessagingError as error:
            failed = UnitOfWork()
            failed.error = error
            self._stored(arrived, failed)
        else:
            self._route(arrived)

    def _publishes(self, arrived: _Arrived) -> list[Publish]:
        name = arrived.topic
        topic = self._router.topology.topic(name)
        address = sns_name(name, fifo=topic is not None and topic.fifo)
        origin = Origin(SNS, address)
        publishes: list[Publish] = []
        for delivery in arrived.deliveries:
            message = msgspec.structs.replace(
                delivery.message,
                topic=name.name,
                subject=delivery.message.subject or address,
                visible_at=None,
                sender=None,
                dead_letter_source=None,
            )
            publishes.append(Publish(origin, message, name.namespace))
        return publishes

    def _stored(self, arrived: _Arrived, unit: UnitOfWork) -> None:
        """Settle what came in by what became of it."""
        failures: dict[int, MessagingError] = {}
        for index, error in unit.failures.items():
            failures[arrived.owners[index]] = error
        settled = UnitOfWork()
        for index, delivery in enumerate(arrived.deliveries):
            failure = unit.error or failures.get(index)
            if failure is None:
                settled.deletes.append(delivery)
            elif isinstance(failure, StoreUnavailable):
                settled.releases.append(delivery)
            else:
                self._spawn(self._bury(arrived.topic, delivery, failure))
        if settled.deletes or settled.releases:
            self._router.store.submit(settled)
        arrived.done(len(arrived.deliveries))

    async def _bury(self, topic: TopicName, delivery: Delivery, failure: MessagingError) -> None:
        """Move a message that cannot be stored to the dead letters of its namespace."""
        router = self._router
        unit = UnitOfWork()
        try:
            name = QueueName(topic.namespace, router.dead_letter_queue)
            queue = await router.topology.ensure_queue(name)
        except MessagingError:
            unit.releases.append(delivery)
        else:
            reason = f"published to SNS topic {topic.name!r}: {failure}"
            headers = {**delivery.message.headers, REASON_HEADER: reason}
            dead = msgspec.structs.replace(delivery.message, headers=headers)
            unit.sends.append((queue, dead))
            unit.deletes.append(delivery)
        router.store.submit(unit)


class _Arrived:
    """One batch on its way through; `owners` says which of it each send carries."""

    __slots__ = ("deliveries", "done", "owners", "topic")

    def __init__(
        self, topic: TopicName, deliveries: Sequence[Delivery], done: Callable[[int], None]
    ) -> None:
        self.topic = topic
        self.deliveries = deliveries
        self.done = done
        self.owners: list[int] = []
