"""Writing what another broker's definitions amount to into the store: all of it, or nothing.

Everything is checked against what the store has before anything is made. Queues are made first, and
removed again where that fails; all the rest (exchanges, bindings, users, namespaces, policies) is
one atomic unit of work. What is there already, the same, is left as it is, so an import can be
repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from bridge.auth.stored import (
    KIND_NAMESPACE,
    KIND_USER,
    StoredNamespace,
    encode_account,
    encode_namespace,
    stored_namespaces,
)
from bridge.messaging.clock import Clock, MessageIds
from bridge.messaging.commits import committed
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import QueueName, StateChange, TopicName, UnitOfWork
from bridge.messaging.ports import Queue, StateStore, Store
from bridge.routing.catalogue import (
    KIND_SUBSCRIPTION,
    KIND_TOPIC,
    Subscription,
    Topic,
    derived_id,
    encode,
    topic_key,
)
from bridge.routing.policies import KIND_POLICY, Policies, encode_policy
from bridge.routing.topology import Topology
from mappings.amqp091.definitions import BindingDefinition, Definitions


class ImportRefused(Exception):
    """The definitions contradict what the store has; nothing was changed."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


@dataclass(slots=True)
class Imported:
    """How many of each kind were new or changed; what is not counted was there already."""

    namespaces: int = 0
    users: int = 0
    exchanges: int = 0
    queues: int = 0
    bindings: int = 0
    policies: int = 0


@dataclass(slots=True)
class _Work:
    """What there is to do."""

    counts: Imported = field(default_factory=Imported)
    queues: list[QueueName] = field(default_factory=list)
    state: list[StateChange] = field(default_factory=list)


class Importer:
    """Writes definitions into one opened store, on which no broker runs."""

    def __init__(self, store: Store, state: StateStore, clock: Clock, ids: MessageIds) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._topology = Topology(store, state, clock, ids)
        self._topology.load()

    def check(self, definitions: Definitions) -> Imported:
        """What an import would do. Raises `ImportRefused`."""
        return self._work(definitions).counts

    async def run(self, definitions: Definitions) -> Imported:
        """Do it. Raises `ImportRefused`, or the store's `MessagingError`."""
        work = self._work(definitions)
        policies = self._policies(definitions)
        wanted = {each.name: each.settings for each in definitions.queues}
        made: list[Queue] = []
        try:
            for name in work.queues:
                settings = policies.applied(name, wanted[name])
                made.append(await self._store.create_queue(name, settings))
            await self._commit(work.state)
        except MessagingError:
            for queue in made:
                await self._store.delete_queue(queue)
            raise
        for queue in list(self._store.queues()):
            base = wanted.get(queue.name, queue.settings)
            settings = policies.applied(queue.name, base)
            if settings != queue.settings:
                await self._store.change_queue(queue, settings)
        return work.counts

    async def _commit(self, state: list[StateChange]) -> None:
        unit = UnitOfWork(atomic=True, answered=True)
        unit.agreed = True
        unit.state += state
        await committed(self._store, unit)

    def _policies(self, definitions: Definitions) -> Policies:
        """Those of the store, replaced by those of the same name."""
        known = {each.key: each for each in self._topology.policies.all}
        return Policies({**known, **{each.key: each for each in definitions.policies}}.values())

    # -- what there is to do

    def _work(self, definitions: Definitions) -> _Work:
        refused = [
            *self._changed_queues(definitions),
            *self._changed_topics(definitions),
        ]
        if refused:
            raise ImportRefused(refused)
        work = _Work()
        counts = work.counts
        work.queues = [
            each.name for each in definitions.queues if self._store.queue(each.name) is None
        ]
        counts.queues = len(work.queues)
        counts.exchanges = self._add_topics(definitions, work)
        counts.bindings = self._add_bindings(definitions, work)
        new = set(definitions.namespaces).difference(stored_namespaces(self._state))
        counts.namespaces = self._add_state(
            work, KIND_NAMESPACE, dict.fromkeys(sorted(new), encode_namespace(StoredNamespace()))
        )
        counts.users = self._add_state(
            work, KIND_USER, {each.name: encode_account(each) for each in definitions.accounts}
        )
        counts.policies = self._add_state(
            work, KIND_POLICY, {each.key: encode_policy(each) for each in definitions.policies}
        )
        return work

    def _add_state(self, work: _Work, kind: str, values: dict[str, bytes]) -> int:
        changes = [
            StateChange(kind, key, value)
            for key, value in values.items()
            if self._state.get(kind, key) != value
        ]
        work.state += changes
        return len(changes)

    def _add_topics(self, definitions: Definitions, work: _Work) -> int:
        new = [each for each in definitions.topics if self._topology.topic(each.name) is None]
        for each in new:
            topic = Topic(
                name=each.name,
                kind=each.kind,
                auto_delete=each.auto_delete,
                internal=each.internal,
                delayed=each.delayed,
                alternate=each.alternate,
                created_at=self._clock.epoch_ms(),
                arguments=each.arguments,
            )
            work.state.append(StateChange(KIND_TOPIC, topic_key(each.name), encode(topic)))
        return len(new)

    def _add_bindings(self, definitions: Definitions, work: _Work) -> int:
        new = [each for each in definitions.bindings if not self._bound(each)]
        for each in new:
            target = each.target
            subscription = Subscription(
                id="",
                topic=each.source,
                queue=target if isinstance(target, QueueName) else None,
                destination=target if isinstance(target, TopicName) else None,
                pattern=each.pattern,
                created_at=self._clock.epoch_ms(),
                arguments=each.arguments,
            )
            key = derived_id(subscription)
            subscription = msgspec.structs.replace(subscription, id=key)
            work.state.append(StateChange(KIND_SUBSCRIPTION, key, encode(subscription)))
        return len(new)

    def _bound(self, binding: BindingDefinition) -> bool:
        known = self._topology.binding(
            binding.source,
            binding.target,
            pattern=binding.pattern,
            arguments=binding.arguments,
        )
        return known is not None

    # -- contradictions

    def _changed_queues(self, definitions: Definitions) -> list[str]:
        reasons: list[str] = []
        for each in definitions.queues:
            queue = self._store.queue(each.name)
            if queue is None:
                continue
            old, new = queue.settings, each.settings
            if (old.arguments, old.auto_delete) != (new.arguments, new.auto_delete):
                shown = f"queue {each.name.name!r} in vhost {each.name.namespace!r}"
                reasons.append(
                    f"{shown} exists with other arguments: {old.arguments or 'none'}, and the"
                    f" definitions say {new.arguments or 'none'}"
                )
        return reasons

    def _changed_topics(self, definitions: Definitions) -> list[str]:
        reasons: list[str] = []
        for each in definitions.topics:
            topic = self._topology.topic(each.name)
            if topic is None:
                continue
            old = msgspec.structs.asdict(topic)
            new = {
                "kind": each.kind,
                "auto_delete": each.auto_delete,
                "internal": each.internal,
                "delayed": each.delayed,
                "alternate": each.alternate,
            }
            reasons += [
                f"exchange {each.name.name!r} in vhost {each.name.namespace!r} exists with"
                f" {name} {old[name]!r}, and the definitions say {value!r}"
                for name, value in new.items()
                if old[name] != value
            ]
        return reasons
