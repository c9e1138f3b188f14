"""The catalogue: topics, and what is subscribed to them; every change in the store before it is
answered, and every change of another node followed.

How a change gets into the store, and what becomes of it where that refuses, is in `changing`.
Queues themselves belong to the store. What goes with this process (subscriptions of transient
queues, topics declared non-durable) is kept in memory only, unless other nodes have to know it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from bridge.messaging.clock import Clock, MessageIds
from bridge.messaging.errors import (
    AccessDenied,
    InvalidParameter,
    QueueDoesNotExist,
    SubscriptionDoesNotExist,
    TopicNameExists,
)
from bridge.messaging.faces import TopicFaces, topic_of_face
from bridge.messaging.model import (
    QueueName,
    QueueSettings,
    StateChange,
    TopicName,
)
from bridge.messaging.ports import Queue, StateStore, Store
from bridge.routing.catalogue import (
    KIND_SUBSCRIPTION,
    KIND_TOPIC,
    TOPIC_KINDS,
    FilterScope,
    Subscription,
    Topic,
    TopicKind,
    derived_id,
    encode,
    topic_key,
)
from bridge.routing.changing import Change, ChangedTables, again_after_conflict

LEGACY: Final = QueueSettings()
"""The settings of a queue that a legacy client makes by using it: nothing in it ever ends by
itself.
"""


class Topology(ChangedTables):
    """Topics and subscriptions of all namespaces."""

    def __init__(
        self, store: Store, state: StateStore, clock: Clock, message_ids: MessageIds
    ) -> None:
        super().__init__(store, state)
        self._clock = clock
        self._message_ids = message_ids
        self.faces: TopicFaces | None = None
        """What topics have outside, where the backend has such."""

    def faces_changed(self) -> None:
        """A face appeared, or is not wanted any more."""
        self.version += 1

    # -- topics

    @again_after_conflict
    async def declare_topic(  # noqa: PLR0913 - each is a property of a topic
        self,
        name: TopicName,
        kind: TopicKind = "topic",
        *,
        durable: bool = True,
        auto_delete: bool = False,
        internal: bool = False,
        delayed: bool = False,
        fifo: bool = False,
        alternate: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        attributes: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Topic:
        """Create a topic; an existing one is returned as it is, for the caller to compare.

        Raises `TopicNameExists` where it has another kind, `InvalidParameter` for a kind that is
        none.
        """
        if kind not in TOPIC_KINDS:
            raise InvalidParameter(
                f"topic kind {kind!r} is unknown; expected {', '.join(sorted(TOPIC_KINDS))}"
            )
        existing = self.topic(name)
        if existing is not None:
            if existing.kind != kind:
                raise TopicNameExists(
                    f"topic {name.name!r} is declared as {kind!r} but exists as {existing.kind!r}"
                )
            await self._until_stored(KIND_TOPIC, topic_key(name))
            return existing
        topic = Topic(
            name=name,
            kind=kind,
            durable=durable,
            auto_delete=auto_delete,
            internal=internal,
            delayed=delayed,
            fifo=fifo,
            alternate=alternate,
            created_at=self._clock.epoch_ms(),
            arguments=dict(arguments or {}),
            attributes=dict(attributes or {}),
            tags=dict(tags or {}),
        )
        change = Change()
        self._put_topic(topic)
        change.undo.append(lambda: self._drop_topic(topic))
        if self._is_stored(topic):
            change.state.append(StateChange(KIND_TOPIC, topic_key(name), encode(topic)))
        await self._commit(change)
        return topic

    @again_after_conflict
    async def change_topic(
        self,
        name: TopicName,
        *,
        attributes: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Topic:
        """Give a topic other attributes or tags; what is not given stays."""
        old = self._existing_topic(name)
        new = msgspec.structs.replace(
            old,
            attributes=old.attributes if attributes is None else dict(attributes),
            tags=old.tags if tags is None else dict(tags),
        )
        change = Change()
        self._topics[name] = new
        change.undo.append(lambda: self._restore_topic(new, old))
        if self._is_stored(new):
            change.state.append(StateChange(KIND_TOPIC, topic_key(name), encode(new)))
        await self._commit(change)
        return new

    @again_after_conflict
    async def delete_topic(self, name: TopicName) -> None:
        """Delete a topic with all that is subscribed to it and all that it is subscribed to.

        Raises `TopicDoesNotExist`, and `AccessDenied` for a built-in one.
        """
        topic = self._existing_topic(name)
        if topic.built_in:
            raise AccessDenied(f"topic {name.name!r} is built in and cannot be deleted")
        change = Change()
        self._remove_topic(topic, change)
        await self._commit(change)

    # -- subscriptions

    @again_after_conflict
    async def subscribe(  # noqa: PLR0913 - each is a property of a subscription
        self,
        topic: TopicName,
        queue: QueueName | None = None,
        *,
        destination: TopicName | None = None,
        protocol: str = "sqs",
        endpoint: str | None = None,
        pattern: str | None = None,
        filter_policy: str | Mapping[str, Any] | None = None,
        filter_scope: FilterScope = "MessageAttributes",
        raw: bool = True,
        outlives_queue: bool = False,
        ephemeral: bool = False,
        arguments: Mapping[str, Any] | None = None,
        attributes: Mapping[str, str] | None = None,
        subscription_id: str | None = None,
    ) -> Subscription:
        """Subscribe a queue, a topic (`destination`) or an endpoint elsewhere to `topic`.

        The same subscription made again is returned as it is. A known `subscription_id` gets the
        new contents. `ephemeral`: gone at a restart whatever the queue is. Raises
        `TopicDoesNotExist`, `QueueDoesNotExist` (unless `outlives_queue`), and `InvalidParameter`
        or `InvalidAddress` for what cannot be evaluated.
        """
        source = self._existing_topic(topic)
        durable = (
            source.durable
            and not ephemeral
            and self._target_is_durable(queue, destination, outlives_queue=outlives_queue)
        )
        subscription = Subscription(
            id=subscription_id or "",
            topic=topic,
            queue=queue,
            destination=destination,
            protocol=protocol,
            endpoint=endpoint,
            pattern=pattern,
            filter_policy=_policy_text(filter_policy),
            filter_scope=filter_scope,
            raw=raw,
            outlives_queue=outlives_queue,
            durable=durable,
            created_at=self._clock.epoch_ms(),
            arguments=dict(arguments or {}),
            attributes=dict(attributes or {}),
        )
        existing = self._same_as(subscription)
        if existing is not None:
            await self._until_stored(KIND_SUBSCRIPTION, existing.id)
            return existing
        if subscription_id is None:
            subscription = msgspec.structs.replace(subscription, id=self._new_id(subscription))
        await self._commit(self._replace_subscription(subscription))
        if queue is not None and self.neighbours is not None and self._dangles(subscription):
            # Another node deleted the queue first, and could not know of this.
            if self.subscription(subscription.id) is subscription:
                change = Change()
                self._remove_subscription(subscription, change)
                await self._commit(change)
            raise _does_not_exist(queue)
        return subscription

    @again_after_conflict
    async def change_subscription(
        self,
        subscription_id: str,
        *,
        filter_policy: str | Mapping[str, Any] | msgspec.UnsetType | None = msgspec.UNSET,
        filter_scope: FilterScope | None = None,
        raw: bool | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Subscription:
        """Change how a subscription filters and wraps; what is not given stays."""
        old = self.subscription(subscription_id)
        if old is None:
            raise SubscriptionDoesNotExist(f"subscription {subscription_id!r} does not exist")
        new = msgspec.structs.replace(
            old,
            filter_policy=(
                old.filter_policy
                if isinstance(filter_policy, msgspec.UnsetType)
                else _policy_text(filter_policy)
            ),
            filter_scope=filter_scope or old.filter_scope,
            raw=old.raw if raw is None else raw,
            attributes=old.attributes if attributes is None else dict(attributes),
        )
        await self._commit(self._replace_subscription(new))
        return new

    @again_after_conflict
    async def unsubscribe(self, subscription_id: str) -> bool:
        """End a subscription; False where there was none. An auto-delete topic goes with its last
        one.
        """
        subscription = self.subscription(subscription_id)
        if subscription is None:
            return False
        change = Change()
        self._remove_subscription(subscription, change)
        await self._commit(change)
        return True

    # -- queues

    async def ensure_queue(
        self, name: QueueName, settings: QueueSettings = LEGACY, *, transient: bool = False
    ) -> Queue:
        """The queue; created if it is not there, with what policies say of its name.

        A topic's face is not made, but waited for until it is known.
        """
        if self.faces is not None and (topic := topic_of_face(name)) is not None:
            return await self.faces.ready(topic)
        queue = self._store.queue(name)
        if queue is None:
            effective = self.policies.applied(name, settings)
            queue = await self._store.create_queue(name, effective, transient=transient)
        return queue

    @again_after_conflict
    async def remove_queue(self, queue: Queue) -> int:
        """Delete a queue with its bindings; returns how many messages were visible."""
        if queue.deleted and self._store.queue(queue.name) not in (None, queue):
            # Another one has its name, and its bindings.
            return 0
        await self._commit(self._forget(queue.name))
        count = await self._store.delete_queue(queue)
        if self.neighbours is not None and self._store.queue(queue.name) is None:
            # What other nodes have bound to it before they knew.
            await self._commit(self._forget(queue.name))
        return count

    @again_after_conflict
    async def restore(self, queues: Iterable[QueueName]) -> None:
        """Store the bindings of queues again, whatever the state store has of them."""
        change = Change()
        for subscription in [each for name in queues for each in self.subscriptions_to(name)]:
            value = encode(subscription)
            change.state.append(StateChange(KIND_SUBSCRIPTION, subscription.id, value))
        await self._commit(change)

    # -- what changes are made of

    def _is_stored(self, record: Topic | Subscription) -> bool:
        """Whether a record is in the state store, be it for as long as this node lives."""
        return record.durable or self.neighbours is not None

    def _new_id(self, subscription: Subscription) -> str:
        """The same at every node, so that two that make the same binding at once make one."""
        derived = derived_id(subscription)
        # That of a subscription which was changed since is taken.
        return self._message_ids.next() if derived in self._entries else derived

    def _target_is_durable(
        self, queue: QueueName | None, destination: TopicName | None, *, outlives_queue: bool
    ) -> bool:
        if destination is not None:
            return self._existing_topic(destination).durable
        if queue is None:
            return True
        found = self._store.queue(queue)
        if found is not None:
            return not found.transient
        if not outlives_queue:
            raise _does_not_exist(queue)
        return True

    def _forget(self, name: QueueName) -> Change:
        change = Change()
        for subscription in self.subscriptions_to(name):
            if not subscription.outlives_queue:
                self._remove_subscription(subscription, change)
        return change

    def _restore_topic(self, new: Topic, old: Topic) -> None:
        if self._topics.get(new.name) is new:
            self._topics[new.name] = old
            self.version += 1

    def _remove_topic(self, topic: Topic, change: Change) -> None:
        change.removing.add(topic.name)
        for subscription in self._around(topic.name):
            if subscription.id in self._entries:
                self._remove_subscription(subscription, change)
        self._drop_topic(topic)
        change.undo.append(lambda: self._revive_topic(topic))
        if self._is_stored(topic):
            change.state.append(StateChange(KIND_TOPIC, topic_key(topic.name), None))

    def _replace_subscription(self, subscription: Subscription) -> Change:
        change = Change()
        old = self.subscription(subscription.id)
        if old is not None:
            change.undo.append(lambda: self._revive_subscription(old))
        self._put_subscription(subscription)
        change.undo.append(lambda: self._drop_subscription(subscription))
        if self._is_stored(subscription):
            change.state.append(
                StateChange(KIND_SUBSCRIPTION, subscription.id, encode(subscription))
            )
            change.state += self._relied_on(subscription)
        elif old is not None and self._is_stored(old):
            change.state.append(StateChange(KIND_SUBSCRIPTION, subscription.id, None))
        return change

    def _relied_on(self, subscription: Subscription) -> list[StateChange]:
        """The topics of a subscription, as they are: a conflict where another node deletes one of
        them at the same time, which would not take the subscription along.
        """
        if self.neighbours is None:
            return []
        names = {subscription.topic, subscription.destination}
        topics = [self._topics[name] for name in names if name is not None and name in self._topics]
        return [
            StateChange(KIND_TOPIC, topic_key(topic.name), encode(topic))
            for topic in topics
            if not topic.built_in
        ]

    def _remove_subscription(self, subscription: Subscription, change: Change) -> None:
        self._drop_subscription(subscription)
        change.undo.append(lambda: self._revive_subscription(subscription))
        if self._is_stored(subscription):
            change.state.append(StateChange(KIND_SUBSCRIPTION, subscription.id, None))
        source = self._topics[subscription.topic]
        if (
            source.auto_delete
            and source.name not in change.removing
            and not self._of_topic.get(source.name)
        ):
            self._remove_topic(source, change)

    def _revive_topic(self, topic: Topic) -> None:
        if topic.name not in self._topics:
            self._put_topic(topic)

    def _revive_subscription(self, subscription: Subscription) -> None:
        if subscription.topic in self._topics and subscription.id not in self._entries:
            self._put_subscription(subscription)


def _does_not_exist(queue: QueueName) -> QueueDoesNotExist:
    return QueueDoesNotExist(
        f"queue {queue.name!r} does not exist in namespace {queue.namespace!r}"
    )


def _policy_text(policy: str | Mapping[str, Any] | None) -> str | None:
    if policy is None or isinstance(policy, str):
        return policy
    return msgspec.json.encode(policy).decode()
