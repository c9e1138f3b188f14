"""Changes that are answered at once and take effect later: settings of queues, filter policies.

SQS lets a change of attributes take up to 60 seconds, SNS one of a filter policy up to 15 minutes.
What waits is stored, and takes effect at the next start at the latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from bridge.api.simulation.faults import Dice
from bridge.messaging.commits import committed
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import QueueName, QueueSettings, StateChange, UnitOfWork

if TYPE_CHECKING:
    from bridge.messaging.ports import Queue, StateStore, Store
    from bridge.routing.catalogue import Subscription
    from bridge.routing.topology import Topology

KIND = "simulated-settings"
POLICY = "FilterPolicy"

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class _Record(msgspec.Struct, array_like=True):
    """The settings that a queue is to have; `changed` are those that somebody changed.

    `created_at` tells the queue from a later one of its name.
    """

    namespace: str
    name: str
    created_at: int
    changed: list[str]
    settings: QueueSettings


_decode = msgspec.msgpack.Decoder(_Record).decode


class LateSettings:
    """Changes of queues that have not taken effect; one at most for each queue."""

    def __init__(self, store: Store, state: StateStore, dice: Dice, spawn: Spawn) -> None:
        self._store = store
        self._state = state
        self._dice = dice
        self._spawn = spawn
        self._waiting: dict[QueueName, _Record] = {}

    def resume(self) -> None:
        """Let what a stop has interrupted take effect. Called once, when the store is open."""
        for _, value in self._state.scan(KIND):
            record = _decode(value)
            self._waiting[QueueName(record.namespace, record.name)] = record
            self._spawn(self._later(record, 0.0))

    async def change(self, queue: Queue, settings: QueueSettings) -> None:
        """Give a queue other settings, later; `settle` comes first."""
        seconds = self._dice.faults.settings_lag_seconds
        if not seconds:
            await self._store.change_queue(queue, settings)
            return
        old = queue.settings
        changed = [
            name
            for name in QueueSettings.__struct_fields__
            if getattr(old, name) != getattr(settings, name)
        ]
        record = _Record(*queue.name, queue.created_at, changed, settings)
        unit = UnitOfWork(answered=True)
        unit.state.append(StateChange(KIND, _key(queue.name), msgspec.msgpack.encode(record)))
        await committed(self._store, unit)
        self._waiting[queue.name] = record
        seconds *= self._dice.throw("settings_lag_seconds", queue.name.name)
        self._spawn(self._later(record, seconds))

    async def settle(self, queue: Queue) -> None:
        """Let what waits for a queue take effect now: the next change builds on it."""
        record = self._waiting.get(queue.name)
        if record is not None:
            await self._apply(record)

    async def _later(self, record: _Record, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._apply(record)

    async def _apply(self, record: _Record) -> None:
        name = QueueName(record.namespace, record.name)
        if self._waiting.get(name) is not record:
            return
        del self._waiting[name]
        queue = self._store.queue(name)
        if queue is not None and queue.created_at == record.created_at:
            changed = {field: getattr(record.settings, field) for field in record.changed}
            settings = msgspec.structs.replace(queue.settings, **changed)
            await self._store.change_queue(queue, settings)
        unit = UnitOfWork(answered=True)
        unit.state.append(StateChange(KIND, _key(name), None))
        await committed(self._store, unit)


def _key(name: QueueName) -> str:
    return f"{len(name.namespace)}:{name.namespace}{name.name}"


class LateTopology:
    """A `Topology` for the actions of SNS, whose filter policies take effect later.

    The policy that is to come stands in the subscription's attributes, where it is shown and from
    where it takes effect after a restart.
    """

    def __init__(self, topology: Topology, dice: Dice, spawn: Spawn) -> None:
        self._topology = topology
        self._dice = dice
        self._spawn = spawn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._topology, name)

    def resume(self) -> None:
        """Let policies take effect that a stop has kept from it."""
        for topic in list(self._topology.topics()):
            for each in self._topology.subscriptions_of(topic.name):
                if each.outlives_queue and (each.attributes.get(POLICY) or None) != (
                    each.filter_policy
                ):
                    self._spawn(self._later(each.id, 0.0))

    async def subscribe(
        self, *arguments: Any, filter_policy: str | None = None, **options: Any
    ) -> Subscription:
        if not self._dice.faults.filter_policy_lag_seconds:
            return await self._topology.subscribe(
                *arguments, filter_policy=filter_policy, **options
            )
        made = await self._topology.subscribe(*arguments, **options)
        if made.filter_policy != filter_policy:
            self._put_off(made)
        return made

    async def change_subscription(
        self,
        subscription_id: str,
        *,
        filter_policy: str | None,
        attributes: Mapping[str, str],
        **options: Any,
    ) -> Subscription:
        old = self._topology.subscription(subscription_id)
        if (
            not self._dice.faults.filter_policy_lag_seconds
            or old is None
            or old.filter_policy == filter_policy
        ):
            return await self._topology.change_subscription(
                subscription_id, filter_policy=filter_policy, attributes=attributes, **options
            )
        options["filter_scope"] = None
        changed = await self._topology.change_subscription(
            subscription_id, attributes=attributes, **options
        )
        self._put_off(changed)
        return changed

    def _put_off(self, subscription: Subscription) -> None:
        place = subscription.topic.name
        seconds = self._dice.throw("filter_policy_lag_seconds", place)
        seconds *= self._dice.faults.filter_policy_lag_seconds
        self._spawn(self._later(subscription.id, seconds))

    async def _later(self, subscription_id: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        subscription = self._topology.subscription(subscription_id)
        if subscription is None:
            return
        attributes = subscription.attributes
        in_body = attributes.get("FilterPolicyScope") == "MessageBody"
        try:
            await self._topology.change_subscription(
                subscription_id,
                filter_policy=attributes.get(POLICY) or None,
                filter_scope="MessageBody" if in_body else "MessageAttributes",
            )
        except MessagingError:
            # It was unsubscribed, or its topic deleted, in the meantime.
            return
