"""All sessions of the broker, shared by its MQTT listeners: who is connected, what has to be stored
for whom, and when wills and sessions are due.

One for each store, made with the first listener: it reads what is stored then, so that sessions end
and wills are published though their clients never come back.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING, Final

from bridge.messaging.commits import committed
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import (
    DeadLetterReason,
    QueueName,
    QueueSettings,
    StateChange,
    UnitOfWork,
)
from bridge.messaging.ownership import OWNER_TAG, require_owner
from bridge.messaging.ports import Queue
from mappings.gateway import Services
from mappings.mqtt.addresses import SHARED_QUEUE, session_queue_name, transient_queue_name
from mappings.mqtt.fanout import Fanout
from mappings.mqtt.figures import Figures
from mappings.mqtt.orphans import Orphans
from mappings.mqtt.ownership import Ownership
from mappings.mqtt.retained import RetainedMessages
from mappings.mqtt.session import (
    KIND_RECEIVED,
    KIND_SENT,
    KIND_SESSION,
    Session,
    session_from_record,
)
from mappings.mqtt.shared import SharedGroups
from mappings.mqtt.subscribing import filter_from_subscription
from mappings.mqtt.wills import publish_will

if TYPE_CHECKING:
    from bridge.messaging.ports import Lease
    from mappings.mqtt.gateway import MqttGateway

_SHARED: Final = "mqtt"
_TIMER_SECONDS_MAX: Final = 3_600.0


def sessions_of(services: Services) -> Sessions:
    """The one that all listeners of these services share; made at the first call."""
    sessions = services.shared.get(_SHARED)
    if not isinstance(sessions, Sessions):
        sessions = services.shared[_SHARED] = Sessions(services)
        sessions.load()
    return sessions


class Sessions:
    """See the head of this file."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.by_client: dict[tuple[str, str], Session] = {}
        self.by_queue: dict[Queue, Session] = {}
        self.fanout = Fanout(self)
        self.retained = RetainedMessages(services.state, services.limits.mqtt_retained_max)
        self.shared = SharedGroups(self)
        self.figures = Figures(self)
        self._ending: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._due: list[tuple[int, int, Session]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        services.dead_letters.watch(self._count_overflow)
        self.ownership = None if services.leases is None else Ownership(self, services.leases)
        """None where this process has the store to itself."""
        self.orphans: Orphans | None = None

    # -- at a start

    def load(self) -> None:
        """Read what is stored. Whoever was connected then has lost its connection now."""
        state, now = self.services.state, self.services.clock.epoch_ms()
        self.retained.load()
        if self.ownership is not None:
            # Sessions are read when they become this node's.
            self.orphans = Orphans(self, self.ownership)
            self.services.spawn(self.orphans.keep_looking())
            return
        by_key: dict[str, Session] = {}
        for key, value in state.scan(KIND_SESSION):
            session = by_key[key] = session_from_record(value)
            self.take_up(session)
            session.lost_at(now)
            self.schedule(session)
        for kind in (KIND_RECEIVED, KIND_SENT):
            for key, value in state.scan(kind):
                owner = by_key.get(key.partition("/")[0])
                if owner is not None:
                    owner.restore(kind, key, value)
        self._forget_orphans()

    def take_up(self, session: Session) -> None:
        """Have a session that was stored."""
        self.by_client[session.namespace, session.client_id] = session
        self._restore_subscriptions(session)

    def _restore_subscriptions(self, session: Session) -> None:
        name = session_queue_name(session.namespace, session.client_id)
        queue = self.services.store.queue(name)
        if queue is not None:
            self.attach(session, queue)
            for subscription in self.services.topology.subscriptions_to(name):
                restored = filter_from_subscription(subscription)
                if restored is not None:
                    session.filters.put(restored)
        for each in session.shared.values():
            self.shared.join_again(session, each)

    def _forget_orphans(self) -> None:
        """Shared queues of which no member is left: all of them were clean sessions."""
        used = self.shared.queue_names()
        for queue in list(self.services.store.queues()):
            if queue.name.name.startswith(SHARED_QUEUE) and queue.name not in used:
                self.services.spawn(self.remove_queue(queue))

    # -- connecting

    async def open(
        self, gateway: MqttGateway, client_id: str, *, clean_start: bool, expiry_seconds: int
    ) -> tuple[Session, bool]:
        """Give a connection its session, taking it from an older connection of the same client.

        Returns whether it was there before (MQTT 5, 3.1.2.4 and 3.1.4).
        """
        key = (gateway.namespace, client_id)
        lease: Lease | None = None
        while True:
            ending = self._ending.get(key)
            if ending is not None:
                await asyncio.shield(ending)
                continue
            session = self.by_client.get(key)
            if session is None:
                if self.ownership is None or lease is not None:
                    break
                lease = await self.ownership.claim(*key)
                self._make_up_for_death(key)
                continue
            if session.gateway is not None:
                session.gateway.taken_over()
                continue
            if not clean_start and session.outlives_process:
                session.gateway = gateway
                session.expiry_seconds = expiry_seconds
                return session, True
            if self.ownership is not None:
                lease = self.ownership.detach(session)
            await self.end(session)
        session = Session(gateway.namespace, client_id, expiry_seconds)
        session.gateway = gateway
        self.by_client[key] = session
        if self.ownership is not None and lease is not None:
            self.ownership.belongs(session, lease)
        return session, False

    def _make_up_for_death(self, key: tuple[str, str]) -> None:
        """Publish the will of a client that comes back, where the node that owed it has died."""
        session = self.by_client.get(key)
        if session is None or session.gateway is not None:
            return
        now = self.services.clock.epoch_ms()
        session.lost_at(now)
        if session.will_at and session.will_at <= now:
            publish_will(self, session)

    def left(self, session: Session, *, will: bool) -> None:
        """A connection has gone: the session waits for the next one, or ends."""
        session.gateway = None
        if session.disowned:
            return
        now = self.services.clock.epoch_ms()
        session.disconnected_at = now
        if not will:
            session.will = None
        if session.will is not None:
            if not session.will.delay_seconds or not session.expiry_seconds:
                publish_will(self, session)
            else:
                session.will_at = now + session.will.delay_seconds * 1000
        if not session.expiry_seconds:
            self.services.spawn(self.end(session))
            return
        self.store(session.record())
        self.schedule(session)

    async def end(self, session: Session) -> None:
        """End a session: its will is due now, all that belongs to it goes."""
        if session.ended:
            return
        session.ended = True
        key = (session.namespace, session.client_id)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ending[key] = done
        try:
            if session.will is not None:
                publish_will(self, session)
            if self.by_client.get(key) is session:
                del self.by_client[key]
            if session.outlives_process:
                self.store(*session.forgetting())
            for each in list(session.shared.values()):
                await self.shared.leave(session, each)
            if session.queue is not None:
                await self.remove_queue(session.queue)
            if self.ownership is not None:
                await self.ownership.let_go(session)
        finally:
            del self._ending[key]
            done.set_result(None)

    def drop(self, session: Session) -> None:
        """A session goes on at another node."""
        key = (session.namespace, session.client_id)
        if self.by_client.get(key) is session:
            del self.by_client[key]
        if session.queue is not None:
            self.by_queue.pop(session.queue, None)
        for each in session.shared.values():
            self.shared.forget(session, each)
        self.fanout.changed()

    # -- queues

    async def queue_of(self, session: Session) -> Queue:
        """The session's queue, made when it is first needed."""
        queue = session.queue
        if queue is not None and not queue.deleted:
            return queue
        services = self.services
        if session.outlives_process:
            name = session_queue_name(session.namespace, session.client_id)
            settings = QueueSettings(length_max=services.limits.mqtt_session_messages_max)
            queue = await services.topology.ensure_queue(name, settings)
            require_owner(queue)
        else:
            name = transient_queue_name(session.namespace, services.message_ids.next())
            settings = QueueSettings(tags={OWNER_TAG: session.client_id})
            queue = await services.store.create_queue(name, settings, transient=True)
        self.attach(session, queue)
        return queue

    def attach(self, session: Session, queue: Queue) -> None:
        session.queue = queue
        self.by_queue[queue] = session
        self.fanout.changed()

    async def remove_queue(self, queue: Queue) -> None:
        self.by_queue.pop(queue, None)
        self.fanout.changed()
        try:
            await self.services.topology.remove_queue(queue)
        except MessagingError:
            # The store is gone; what is left over is found at the next start.
            return

    def _count_overflow(self, queue: Queue, count: int, reason: DeadLetterReason) -> None:
        """What a session or a shared subscription could not keep while nobody took it."""
        if reason is DeadLetterReason.MAXLEN and (
            queue in self.by_queue or queue.name.name.startswith(SHARED_QUEUE)
        ):
            self.fanout.drop(count)

    def queue_named(self, name: QueueName) -> Queue | None:
        return self.services.store.queue(name)

    # -- the store

    def store(self, *changes: StateChange) -> None:
        """Submit state changes that no publish or settle goes with."""
        unit = UnitOfWork()
        unit.state += changes
        self.services.store.submit(unit)

    async def committed(self, *changes: StateChange, agreed: bool = False) -> None:
        """Submit state changes and wait for the store. Raises its error."""
        unit = UnitOfWork()
        unit.agreed = agreed
        unit.state += changes
        await committed(self.services.store, unit)

    # -- time

    def schedule(self, session: Session) -> None:
        """Look at a session without a connection again when its will or its end is due."""
        expires_at = session.expires_at
        due = [at for at in (session.will_at, expires_at) if at]
        if session.gateway is None and due:
            heapq.heappush(self._due, (min(due), next(self._numbers), session))
            self._arm()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        wait = (self._due[0][0] - self.services.clock.epoch_ms()) / 1000
        wait = min(max(wait, 0.001), _TIMER_SECONDS_MAX)
        at = loop.time() + wait
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = loop.call_later(wait, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.handle_deadline(self.services.clock.epoch_ms())
        if self._due:
            self._arm()

    def handle_deadline(self, now_ms: int) -> None:
        """Publish the wills and end the sessions that are due."""
        while self._due and self._due[0][0] <= now_ms:
            _, _, session = heapq.heappop(self._due)
            if session.ended or session.disowned or session.gateway is not None:
                continue
            if self.by_client.get((session.namespace, session.client_id)) is not session:
                continue
            expires_at = session.expires_at
            if session.will_at and session.will_at <= now_ms:
                publish_will(self, session)
                self.store(session.record())
            if expires_at is not None and expires_at <= now_ms:
                self.figures.expired += 1
                self.services.spawn(self.end(session))
            else:
                self.schedule(session)
