"""Shared subscriptions (MQTT 5, 4.8): one durable queue for each group and filter, at which the
members take turns.

The store shares out; what a member has not acknowledged goes back when it leaves. The queue is
there as long as a session is subscribed, connected or not. Where there are several nodes, each
membership has an entry in the state, so that a node does not take the queue from members that are
elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from bridge.messaging.errors import MessagingError
from bridge.messaging.model import TOPIC_TREE, QueueName, QueueSettings, StateChange, TopicName
from bridge.messaging.ownership import require_owner
from bridge.messaging.ports import Queue
from mappings.mqtt.addresses import shared_queue_name
from mappings.mqtt.filters import Filter
from mappings.mqtt.session import Session

if TYPE_CHECKING:
    from mappings.mqtt.sessions import Sessions


KIND_MEMBER: Final = "mqtt-member"
_SEPARATOR: Final = "\x1f"


class Membership(NamedTuple):
    """A session, by its key, at a shared queue."""

    queue: QueueName
    state_key: str

    @classmethod
    def from_key(cls, key: str) -> Self:
        namespace, name, state_key = key.rsplit(_SEPARATOR, 2)
        return cls(QueueName(namespace, name), state_key)

    def key(self) -> str:
        return f"{_group_key(self.queue)}{self.state_key}"


def _group_key(queue: QueueName) -> str:
    return f"{queue.namespace}{_SEPARATOR}{queue.name}{_SEPARATOR}"


class SharedGroups:
    """All groups of the broker, by the name of their queue."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._members: dict[QueueName, set[Session]] = {}
        self._locks: dict[QueueName, asyncio.Lock] = {}

    def queue_names(self) -> set[QueueName]:
        return set(self._members)

    def queue(self, session: Session, wanted: Filter) -> Queue | None:
        return self._sessions.queue_named(_name(session, wanted))

    def join_again(self, session: Session, wanted: Filter) -> None:
        """A member as it was stored."""
        self._members.setdefault(_name(session, wanted), set()).add(session)

    async def join(self, session: Session, wanted: Filter) -> Queue:
        """Subscribe a session; the queue and its binding are made for the first one."""
        name = _name(session, wanted)
        self._members.setdefault(name, set()).add(session)
        services = self._sessions.services
        async with self._locks.setdefault(name, asyncio.Lock()):
            if self._sessions.ownership is not None:
                key = Membership(name, session.state_key).key()
                await self._sessions.committed(StateChange(KIND_MEMBER, key, b"1"), agreed=True)
            settings = QueueSettings(length_max=services.limits.mqtt_session_messages_max)
            queue = await services.topology.ensure_queue(name, settings)
            require_owner(queue)
            await services.topology.subscribe(
                TopicName(session.namespace, TOPIC_TREE), name, pattern=wanted.pattern
            )
            return queue

    async def leave(self, session: Session, wanted: Filter) -> None:
        """End a session's subscription; the queue goes with the last one."""
        name = _name(session, wanted)
        members = self._members.get(name, set())
        members.discard(session)
        queue = self._sessions.queue_named(name)
        if queue is not None and session.gateway is not None:
            session.gateway.outbound.leave(queue)
        async with self._locks.setdefault(name, asyncio.Lock()):
            await self._forget_stored(name, session)
            if not members:
                self._members.pop(name, None)
                await self.remove_if_left(name)
        if not members:
            self._locks.pop(name, None)

    def forget(self, session: Session, wanted: Filter) -> None:
        """A member goes on at another node."""
        name = _name(session, wanted)
        members = self._members.get(name, set())
        members.discard(session)
        if not members:
            self._members.pop(name, None)

    async def _forget_stored(self, name: QueueName, session: Session) -> None:
        if self._sessions.ownership is None:
            return
        change = StateChange(KIND_MEMBER, Membership(name, session.state_key).key(), None)
        try:
            await self._sessions.committed(change, agreed=True)
        except MessagingError:
            # Whoever looks after sessions without a node finds it.
            return

    async def remove_if_left(self, name: QueueName) -> None:
        """Remove the queue of a group that has no members any more, at any node."""
        if self._sessions.ownership is not None:
            state = self._sessions.services.state
            await state.refresh(KIND_MEMBER)
            if name in self._members or any(state.scan(KIND_MEMBER, _group_key(name))):
                return
        queue = self._sessions.queue_named(name)
        if queue is not None:
            await self._sessions.remove_queue(queue)


def _name(session: Session, wanted: Filter) -> QueueName:
    return shared_queue_name(session.namespace, wanted.share_name, wanted.pattern)
