"""Shared subscriptions (MQTT 5, 4.8): one durable queue for each group and filter, at which the
members take turns.

The store shares out; what a member has not acknowledged goes back when it leaves. The queue is
there as long as a session is subscribed, connected or not.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.messaging.model import TOPIC_TREE, QueueName, QueueSettings, TopicName
from bridge.messaging.ports import Queue
from mappings.mqtt.addresses import shared_queue_name
from mappings.mqtt.filters import Filter
from mappings.mqtt.session import Session

if TYPE_CHECKING:
    from mappings.mqtt.sessions import Sessions


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
            settings = QueueSettings(length_max=services.limits.mqtt_session_messages_max)
            queue = await services.topology.ensure_queue(name, settings)
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
            if not members:
                self._members.pop(name, None)
                queue = self._sessions.queue_named(name)
                if queue is not None:
                    await self._sessions.remove_queue(queue)
        if not members:
            self._locks.pop(name, None)


def _name(session: Session, wanted: Filter) -> QueueName:
    return shared_queue_name(session.namespace, wanted.share_name, wanted.pattern)
