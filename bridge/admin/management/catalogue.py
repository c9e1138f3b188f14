"""Queues, exchanges and bindings as RabbitMQ's API shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote_plus

from bridge.admin.management.access import Viewer
from bridge.admin.management.binding_keys import properties_key
from bridge.admin.management.sources import Json, ManagementSources
from bridge.messaging.errors import QueueDoesNotExist
from bridge.messaging.model import QueueCounts, QueueName, TopicName
from bridge.messaging.ownership import owner_of
from bridge.messaging.ports import Queue
from bridge.messaging.subjects import dotted_from_subject
from bridge.routing.catalogue import BUILT_IN, Subscription, Topic
from mappings.amqp091.arguments import NOT_DURABLE_TAG

_AT_ONCE: Final = 200


class Catalogue:
    """Answers for one request."""

    def __init__(self, sources: ManagementSources, viewer: Viewer) -> None:
        self._sources = sources
        self._viewer = viewer

    @property
    def namespaces(self) -> list[str]:
        """Those that the viewer sees."""
        return sorted(filter(self._viewer.sees, self._sources.namespaces))

    # -- queues

    async def queues(self, namespace: str | None = None) -> list[Json]:
        """All queues, or one namespace's, by namespace and name."""
        shown: list[Json] = []
        for index, queue in enumerate(self.queue_handles(namespace), 1):
            try:
                counts = await self._sources.store.counts(queue)
            except QueueDoesNotExist:
                continue
            shown.append(self._queue(queue, counts))
            if index % _AT_ONCE == 0:
                # A store that answers from memory would hold the loop for all of them.
                await asyncio.sleep(0)
        return shown

    def queue_handles(self, namespace: str | None = None) -> list[Queue]:
        """The queues behind `queues`."""
        found = [
            queue
            for queue in self._sources.store.queues()
            if (namespace is None or queue.name.namespace == namespace)
            and self._viewer.sees(queue.name.namespace)
        ]
        return sorted(found, key=lambda queue: queue.name)

    async def queue(self, name: QueueName) -> Json | None:
        queue = self._sources.store.queue(name)
        if queue is None:
            return None
        return self._queue(queue, await self._sources.store.counts(queue))

    def _queue(self, queue: Queue, counts: QueueCounts) -> Json:
        settings, name = queue.settings, queue.name
        policies = self._sources.topology.policies
        policy, cap = policies.of(name, settings), policies.of(name, settings, operator=True)
        ready = counts.visible + counts.delayed
        shown = {
            "name": name.name,
            "vhost": name.namespace,
            "type": settings.arguments.get("x-queue-type", "classic"),
            "durable": is_durable(queue),
            "auto_delete": settings.auto_delete,
            "exclusive": owner_of(queue) is not None,
            "arguments": settings.arguments,
            "node": self._sources.node.name,
            "state": "running",
            "policy": policy.name if policy else None,
            "operator_policy": cap.name if cap else None,
            "effective_policy_definition": {
                **(policy.definition if policy else {}),
                **(cap.definition if cap else {}),
            },
            "consumers": queue.consumer_count,
            "messages": ready + counts.not_visible,
            "messages_ready": ready,
            "messages_unacknowledged": counts.not_visible,
            "messages_delayed": counts.delayed,
            "exclusive_consumer_tag": None,
        }
        if settings.arguments.get("x-queue-type") == "quorum":
            shown |= {"leader": self._sources.node.name, "members": [self._sources.node.name]}
        return shown

    # -- exchanges

    def exchanges(self, namespace: str | None = None) -> list[Json]:
        """All exchanges, the built-in ones of each namespace included."""
        wanted = self.namespaces if namespace is None else [namespace]
        topics: dict[TopicName, Topic] = {
            topic.name: topic for topic in self._sources.topology.topics()
        }
        shown = []
        for each in wanted:
            shown.append(self._default_exchange(each))
            for name, kind in BUILT_IN.items():
                topics.setdefault(
                    TopicName(each, name), Topic(name=TopicName(each, name), kind=kind)
                )
            own = [topic for name, topic in topics.items() if name.namespace == each]
            shown += [_exchange(topic) for topic in own]
        return sorted(shown, key=lambda exchange: (exchange["vhost"], exchange["name"]))

    def exchange(self, name: TopicName) -> Json | None:
        if not name.name:
            return self._default_exchange(name.namespace)
        topic = self._sources.topology.topic(name)
        return None if topic is None else {**_exchange(topic), "incoming": [], "outgoing": []}

    def _default_exchange(self, namespace: str) -> Json:
        return {
            "name": "",
            "vhost": namespace,
            "type": "direct",
            "durable": True,
            "auto_delete": False,
            "internal": False,
            "arguments": {},
            "user_who_performed_action": "rmq-internal",
        }

    # -- bindings

    def bindings(self, namespace: str | None = None) -> list[Json]:
        """All bindings, those of the default exchange to every queue included."""
        shown = [_default_binding(queue.name) for queue in self.queue_handles(namespace)]
        for topic in self._sources.topology.topics():
            if namespace not in {None, topic.name.namespace}:
                continue
            if self._viewer.sees(topic.name.namespace):
                shown += self._bindings_of(topic.name)
        keys = ("vhost", "source", "destination", "routing_key")
        return sorted(shown, key=lambda binding: [binding[key] for key in keys])

    def bindings_to_queue(self, name: QueueName) -> list[Json]:
        found = self._sources.topology.subscriptions_to(name)
        return [_default_binding(name), *_shown(found)]

    def bindings_from(self, name: TopicName) -> list[Json]:
        """What is bound to an exchange."""
        if not name.name:
            return [_default_binding(queue.name) for queue in self.queue_handles(name.namespace)]
        return self._bindings_of(name)

    def subscription(
        self, source: TopicName, to: str, target: str, given: str
    ) -> Subscription | None:
        """The subscription behind `binding`; the default exchange has none."""
        wanted = self.binding(source, to, target, given)
        for each in self._sources.topology.subscriptions_of(source):
            if wanted is not None and _shown([each]) == [wanted]:
                return each
        return None

    def binding(self, source: TopicName, to: str, target: str, given: str) -> Json | None:
        """The binding that a key names, of those between an exchange and a queue (`q`) or exchange
        (`e`).
        """
        ends = "queue" if to == "q" else "exchange", target
        found = [
            each
            for each in self.bindings_from(source)
            if (each["destination_type"], each["destination"]) == ends
        ]
        named = [each for each in found if each["properties_key"] == given]
        if not named and "~" not in given:
            # Clients that quote it only once send the routing key itself.
            key = unquote_plus(given)
            named = [each for each in found if each["routing_key"] == key and not each["arguments"]]
        return next(iter(named), None)

    def bindings_to_exchange(self, name: TopicName) -> list[Json]:
        """The exchanges that an exchange is bound to."""
        return [
            binding
            for topic in self._sources.topology.topics()
            if topic.name.namespace == name.namespace
            for binding in self._bindings_of(topic.name)
            if binding["destination_type"] == "exchange" and binding["destination"] == name.name
        ]

    def _bindings_of(self, name: TopicName) -> list[Json]:
        return _shown(self._sources.topology.subscriptions_of(name))


def _exchange(topic: Topic) -> Json:
    kind = "x-delayed-message" if topic.delayed else topic.kind
    return {
        "name": topic.name.name,
        "vhost": topic.name.namespace,
        "type": kind,
        "durable": topic.durable,
        "auto_delete": topic.auto_delete,
        "internal": topic.internal,
        "arguments": topic.arguments,
        "user_who_performed_action": "rmq-internal" if topic.built_in else "none",
    }


def is_durable(queue: Queue) -> bool:
    """As it was declared, wherever it is kept."""
    return not (queue.transient or NOT_DURABLE_TAG in queue.settings.tags)


def _shown(subscriptions: Iterable[Subscription]) -> list[Json]:
    """Those that are bindings; subscribers elsewhere (HTTP...) are none."""
    shown = []
    for each in subscriptions:
        target = each.queue or each.destination
        if target is None:
            continue
        key = dotted_from_subject(each.pattern or "")
        shown.append(
            _binding(
                each.topic.namespace,
                each.topic.name,
                target.name,
                "queue" if each.queue else "exchange",
                key,
                each.arguments,
            )
        )
    return shown


def _default_binding(name: QueueName) -> Json:
    return _binding(name.namespace, "", name.name, "queue", name.name, {})


def _binding(
    vhost: str, source: str, destination: str, kind: str, key: str, arguments: dict[str, Any]
) -> Json:
    return {
        "source": source,
        "vhost": vhost,
        "destination": destination,
        "destination_type": kind,
        "routing_key": key,
        "arguments": arguments,
        "properties_key": properties_key(key, arguments),
    }
