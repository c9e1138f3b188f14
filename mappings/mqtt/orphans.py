"""Sessions whose node is gone: their wills, their ends, and the shared queues that nobody is at.

One node does it for all, by a lease. Every node has an entry in the state and a lease of the same
name; whoever gets that lease knows that the node is gone. A session is made one's own only when
something is due for it: most of them are taken up by their clients before.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Final

from bridge.messaging.errors import MessagingError
from bridge.messaging.model import QueueName, StateChange
from mappings.mqtt.ownership import Ownership, lease_name
from mappings.mqtt.session import KIND_SESSION, session_from_record
from mappings.mqtt.shared import KIND_MEMBER, Membership

if TYPE_CHECKING:
    from bridge.messaging.ports import Lease, Leases
    from mappings.mqtt.sessions import Sessions

KIND_NODE: Final = "mqtt-node"
LOOK_SECONDS: Final = 2.0
"""How often the nodes are looked at, which asks the store for nothing."""
_DUTY: Final = "mqtt/orphans"


class Orphans:
    """See the head of this file."""

    def __init__(self, sessions: Sessions, ownership: Ownership) -> None:
        self._sessions = sessions
        self._ownership = ownership
        self._leases = ownership.leases
        self._place: Lease | None = None
        self._duty: Lease | None = None
        self._gathered = False
        self._due: list[tuple[int, str]] = []
        """Epoch milliseconds, and the key of a session."""
        self._died: dict[str, int] = {}
        """When the node was found gone to which a session's client was connected."""

    async def keep_looking(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except MessagingError:
                # The store is out of reach: the duty is another node's before long.
                pass
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Do what is due, as far as it is this node's duty. Raises `StoreUnavailable`."""
        await self._take_place()
        if self._duty is None or not self._duty.held:
            self._gathered = False
            self._duty = await self._leases.acquire(_DUTY, on_lost=_nothing)
            if self._duty is None:
                return
        if not self._gathered:
            # Whatever its former holder knew.
            await self._gather()
            self._gathered = True
        await self._look_for_gone()
        now = self._sessions.services.clock.epoch_ms()
        while self._due and self._due[0][0] <= now and self._duty.held:
            _, state_key = heapq.heappop(self._due)
            if not await self._adopt(state_key):
                # The next look tries again.
                heapq.heappush(self._due, (now + 1, state_key))

    async def _take_place(self) -> None:
        """Let the others find out when this node is gone."""
        node_id = self._leases.node_id
        if self._place is None or not self._place.held:
            self._place = await self._leases.acquire(f"mqtt-node/{node_id}", on_lost=_nothing)
        if self._sessions.services.state.get(KIND_NODE, node_id) is None:
            await self._sessions.committed(StateChange(KIND_NODE, node_id, b"1"))

    async def _look_for_gone(self) -> None:
        own = self._leases.node_id
        for node_id, _ in list(self._sessions.services.state.scan(KIND_NODE)):
            if node_id == own:
                continue
            lease = await self._leases.acquire(f"mqtt-node/{node_id}", on_lost=_nothing)
            if lease is None:
                continue
            try:
                await self._gather()
                await self._sessions.committed(StateChange(KIND_NODE, node_id, None))
            finally:
                # Where that failed, the next look finds it gone again.
                await self._leases.release(lease)

    # -- sessions

    async def _gather(self) -> None:
        """Note all sessions that no live node has."""
        sessions = self._sessions
        state, now = sessions.services.state, sessions.services.clock.epoch_ms()
        await state.refresh(KIND_SESSION)
        stored = dict(state.scan(KIND_SESSION))
        known = {key for _, key in self._due}
        live = _Live(self._leases)
        for state_key, value in stored.items():
            if state_key in known or await live.has(state_key):
                continue
            session = session_from_record(value)
            connected = not session.disconnected_at
            session.lost_at(now)
            due = [at for at in (session.will_at, session.expires_at) if at]
            if due:
                heapq.heappush(self._due, (min(due), state_key))
                if connected:
                    self._died[state_key] = now
        await self._end_memberships(stored, live)

    async def _adopt(self, state_key: str) -> bool:
        """Something is due for a session: make it this node's, unless it is somebody's by now.

        False where that cannot be done yet. Raises `StoreUnavailable`.
        """
        sessions = self._sessions
        value = sessions.services.state.get(KIND_SESSION, state_key)
        record = None if value is None else session_from_record(value)
        if record is None or (record.namespace, record.client_id) in sessions.by_client:
            self._died.pop(state_key, None)
            return True
        key = (record.namespace, record.client_id)
        try:
            await self._ownership.claim(*key, wait_seconds=0.0)
        except MessagingError:
            if not await self._is_elsewhere(state_key):
                return False
        died = self._died.pop(state_key, 0)
        session = sessions.by_client.get(key)
        if session is not None and session.gateway is None:
            session.lost_at(died or sessions.services.clock.epoch_ms())
            sessions.schedule(session)
            await sessions.committed(*session.entered())
        return True

    async def _is_elsewhere(self, state_key: str) -> bool:
        """Whether another node has a session; False where that cannot be found out."""
        try:
            return await _Live(self._leases).has(state_key)
        except MessagingError:
            return False

    # -- shared subscriptions

    async def _end_memberships(self, stored: dict[str, bytes], live: _Live) -> None:
        """Forget members that no node has and that are not stored: clean sessions of a node that
        is gone. A shared queue goes with its last member.
        """
        state = self._sessions.services.state
        left: set[QueueName] = set()
        for key, _ in list(state.scan(KIND_MEMBER)):
            membership = Membership.from_key(key)
            if membership.state_key in stored or await live.has(membership.state_key):
                continue
            await self._sessions.committed(StateChange(KIND_MEMBER, key, None), agreed=True)
            left.add(membership.queue)
        for name in left:
            await self._sessions.shared.remove_if_left(name)


class _Live:
    """Which sessions have an owner; each node is asked for once."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._known: dict[str, bool] = {self._leases.node_id: True}

    async def has(self, state_key: str) -> bool:
        """Whether a live node has the session."""
        name = lease_name(state_key)
        holder = self._leases.holder(name)
        if holder is None:
            return False
        if holder not in self._known:
            lease = await self._leases.acquire(name, on_lost=_nothing)
            self._known[holder] = lease is None
            if lease is not None:
                await self._leases.release(lease)
        return self._known[holder]


def _nothing(_: Lease) -> None:
    """It is looked for again."""
