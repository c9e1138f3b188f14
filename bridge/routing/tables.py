"""Topics and subscriptions in memory, and how they are found. Storing them is up to `topology`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.messaging.errors import TopicDoesNotExist
from bridge.messaging.model import DEFAULT_NAMESPACE, QueueName, TopicName
from bridge.routing.catalogue import BUILT_IN, Binding, Subscription, Topic, binding_of
from bridge.routing.exchanges import Entry, TopicIndex
from bridge.routing.policies import Policies


class Tables:
    """Topics and subscriptions of all namespaces."""

    def __init__(self) -> None:
        self._topics: dict[TopicName, Topic] = {}
        self._indexes: dict[TopicName, TopicIndex] = {}
        self._entries: dict[str, Entry] = {}
        self._of_topic: dict[TopicName, dict[str, Subscription]] = {}
        self._to_topic: dict[TopicName, dict[str, Subscription]] = {}
        self._to_queue: dict[QueueName, dict[str, Subscription]] = {}
        self._bindings: dict[Binding, str] = {}
        self.policies = Policies()
        """What queues get by their names when they are declared."""
        self.version = 0
        """Goes up with each change; caches compare it."""
        for name in BUILT_IN:
            self.topic(TopicName(DEFAULT_NAMESPACE, name))

    # -- reading

    def topic(self, name: TopicName) -> Topic | None:
        found = self._topics.get(name)
        if found is None and name.name in BUILT_IN:
            found = Topic(name=name, kind=BUILT_IN[name.name])
            self._put_topic(found)
        return found

    def topics(self) -> Iterable[Topic]:
        """All topics, the built-in ones of the namespaces in use included."""
        return list(self._topics.values())

    def index(self, name: TopicName) -> TopicIndex | None:
        """The evaluator of one topic; for the router."""
        return self._indexes.get(name)

    def subscription(self, subscription_id: str) -> Subscription | None:
        entry = self._entries.get(subscription_id)
        return None if entry is None else entry.subscription

    def subscriptions_of(self, topic: TopicName) -> list[Subscription]:
        """What is subscribed to a topic, oldest first."""
        return list(self._of_topic.get(topic, {}).values())

    def subscriptions_to(self, queue: QueueName) -> list[Subscription]:
        """What fills a queue, oldest first."""
        return list(self._to_queue.get(queue, {}).values())

    def binding(
        self,
        topic: TopicName,
        target: QueueName | TopicName,
        *,
        pattern: str | None,
        arguments: Mapping[str, Any] | None = None,
    ) -> Subscription | None:
        """The subscription that AMQP would name by these; what an unbind removes."""
        queue = target if isinstance(target, QueueName) else None
        destination = target if isinstance(target, TopicName) else None
        for subscription in self._of_topic.get(topic, {}).values():
            if (
                subscription.queue == queue
                and subscription.destination == destination
                and subscription.pattern == pattern
                and subscription.arguments == (arguments or {})
            ):
                return subscription
        return None

    def _around(self, topic: TopicName) -> list[Subscription]:
        """What is subscribed to a topic, and what it is subscribed to."""
        return [*self.subscriptions_of(topic), *self._to_topic.get(topic, {}).values()]

    def _same_as(self, subscription: Subscription) -> Subscription | None:
        """The subscription that says the same."""
        same = self._bindings.get(binding_of(subscription))
        return None if same is None else self.subscription(same)

    def _existing_topic(self, name: TopicName) -> Topic:
        topic = self.topic(name)
        if topic is None:
            raise TopicDoesNotExist(
                f"topic {name.name!r} does not exist in namespace {name.namespace!r}"
            )
        return topic

    # -- changing

    def _put_topic(self, topic: Topic) -> None:
        self._topics[topic.name] = topic
        self._indexes[topic.name] = TopicIndex(topic)
        self.version += 1

    def _replace_topic(self, topic: Topic) -> None:
        """Put another record of a topic in place; its subscriptions stay."""
        old = self._topics[topic.name]
        if old.kind == topic.kind:
            self._topics[topic.name] = topic
            self.version += 1
            return
        subscribed = self.subscriptions_of(topic.name)
        for subscription in subscribed:
            self._drop_subscription(subscription)
        self._put_topic(topic)
        for subscription in subscribed:
            self._put_subscription(subscription)

    def _drop_topic(self, topic: Topic) -> None:
        if self._topics.get(topic.name) is topic:
            del self._topics[topic.name]
            del self._indexes[topic.name]
            self.version += 1

    def _put_subscription(self, subscription: Subscription) -> None:
        """Put it into the indexes in place of one of the same id; refuses before anything
        changed.
        """
        topic = self._existing_topic(subscription.topic)
        entry = Entry(subscription, topic)
        self._indexes[topic.name].add(entry)
        old = self.subscription(subscription.id)
        if old is not None:
            self._drop_subscription(old)
        self._entries[subscription.id] = entry
        self._bindings[binding_of(subscription)] = subscription.id
        self._of_topic.setdefault(topic.name, {})[subscription.id] = subscription
        if subscription.queue is not None:
            self._to_queue.setdefault(subscription.queue, {})[subscription.id] = subscription
        if subscription.destination is not None:
            self._to_topic.setdefault(subscription.destination, {})[subscription.id] = subscription
        self.version += 1

    def _drop_subscription(self, subscription: Subscription) -> None:
        entry = self._entries.get(subscription.id)
        if entry is None or entry.subscription is not subscription:
            return
        del self._entries[subscription.id]
        binding = binding_of(subscription)
        if self._bindings.get(binding) == subscription.id:
            del self._bindings[binding]
        self._indexes[subscription.topic].remove(entry)
        _discard(self._of_topic, subscription.topic, subscription.id)
        if subscription.queue is not None:
            _discard(self._to_queue, subscription.queue, subscription.id)
        if subscription.destination is not None:
            _discard(self._to_topic, subscription.destination, subscription.id)
        self.version += 1


def _discard(table: dict[Any, dict[str, Subscription]], key: object, subscription_id: str) -> None:
    entries = table.get(key)
    if entries is not None:
        entries.pop(subscription_id, None)
        if not entries:
            del table[key]
