"""The catalogue as the store has it: read at a start, and followed from then on.

What is stored may be of another node, for as long as that lives: transient queues' subscriptions
and topics declared non-durable are gone where nobody else is there.
"""

from __future__ import annotations

from collections.abc import Iterable

from bridge.messaging.model import StateChange, TopicName
from bridge.messaging.neighbours import Neighbours
from bridge.messaging.ports import StateStore, Store
from bridge.routing.catalogue import (
    KIND_SUBSCRIPTION,
    KIND_TOPIC,
    Subscription,
    decode_subscription,
    decode_topic,
    topic_from_key,
)
from bridge.routing.policies import KIND_POLICY, Policies, decode_policy
from bridge.routing.tables import Tables


class FollowedTables(Tables):
    """Tables that go by what the store says."""

    def __init__(self, store: Store, state: StateStore) -> None:
        super().__init__()
        self._store = store
        self._state = state
        self._stale: list[StateChange] = []
        """What is stored and means nothing any more; goes with the next change."""
        self.neighbours: Neighbours | None = None
        """Other nodes, where there can be some: they have to know what goes with a process, too."""

    def load(self) -> None:
        """Read what is stored, once, at start, and follow it. Bindings whose queue went away
        meanwhile are dropped.
        """
        self._state.watch([KIND_TOPIC, KIND_SUBSCRIPTION, KIND_POLICY], self._follow)
        self.policies = Policies(decode_policy(each) for _, each in self._state.scan(KIND_POLICY))
        alone = self.neighbours is None or self.neighbours.alone
        for key, value in self._state.scan(KIND_TOPIC):
            topic = decode_topic(value)
            if topic.durable or not alone:
                self._put_topic(topic)
            else:
                self._stale.append(StateChange(KIND_TOPIC, key, None))
        for key, value in self._state.scan(KIND_SUBSCRIPTION):
            subscription = decode_subscription(value)
            durable, dangles = subscription.durable, self._dangles(subscription)
            if (dangles and durable) or (alone and not durable):
                self._stale.append(StateChange(KIND_SUBSCRIPTION, key, None))
            elif not dangles and self.topic(subscription.topic) is not None:
                self._put_subscription(subscription)

    def _follow(self, changes: Iterable[StateChange]) -> None:
        """Go by what another node has changed."""
        for kind, key, value in changes:
            if kind == KIND_TOPIC:
                self._follow_topic(topic_from_key(key), value)
            elif kind == KIND_SUBSCRIPTION:
                self._follow_subscription(key, value)
            else:
                stored = self._state.scan(KIND_POLICY)
                self.policies = Policies(decode_policy(each) for _, each in stored)

    def _follow_topic(self, name: TopicName, value: bytes | None) -> None:
        old = self._topics.get(name)
        if value is not None:
            new = decode_topic(value)
            if old is None:
                self._put_topic(new)
            elif old != new:
                self._replace_topic(new)
        elif old is not None and not old.built_in:
            # Its stored subscriptions have an end of their own; the others end here.
            for subscription in self._around(name):
                self._drop_subscription(subscription)
            self._drop_topic(old)

    def _follow_subscription(self, subscription_id: str, value: bytes | None) -> None:
        old = self.subscription(subscription_id)
        if value is None:
            if old is not None and not self._is_kept(old):
                self._drop_subscription(old)
            return
        new = decode_subscription(value)
        # Without its topic it is the rest of something that was deleted.
        if old != new and self.topic(new.topic) is not None:
            self._put_subscription(new)

    def _is_kept(self, subscription: Subscription) -> bool:
        """Whether it stays although it was deleted elsewhere."""
        if self.neighbours is None or subscription.queue is None:
            return False
        return self.neighbours.keeps(subscription.queue)

    def _dangles(self, subscription: Subscription) -> bool:
        queue = subscription.queue
        if queue is None or subscription.outlives_queue:
            return False
        return self._store.queue(queue) is None
