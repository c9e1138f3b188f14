"""Sessions on several nodes: each belongs to one of them, by a lease under its name.

A node gets the lease before it answers a CONNECT, and reads then what is stored of the session.
Whoever has the session already is told that it is wanted: it ends the connection, if there is one,
as a take-over does, stores how things are, and lets go. What a node that died had can be had when
its leases have ended. Rows of packet ids are kept under the epoch of the lease, and written anew by
the next owner; so what a former one still writes changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bridge.messaging.errors import MessagingError, StoreUnavailable
from mappings.mqtt.addresses import digest_of
from mappings.mqtt.session import (
    KIND_RECEIVED,
    KIND_SENT,
    KIND_SESSION,
    Session,
    session_from_record,
)

if TYPE_CHECKING:
    from bridge.messaging.ports import Lease, Leases
    from mappings.mqtt.sessions import Sessions

TAKE_OVER_SECONDS_MAX: Final = 25.0
"""How long CONNACK waits for another node to let go of the session, or to be found dead."""


def lease_name(state_key: str) -> str:
    """What the lease of a session is called."""
    return f"session/{state_key}"


class Ownership:
    """The sessions of this node."""

    def __init__(self, sessions: Sessions, leases: Leases) -> None:
        self.leases = leases
        self._sessions = sessions
        self._claiming: dict[str, asyncio.Future[None]] = {}
        self._owned: dict[str, Session] = {}
        self._wanted_early: set[str] = set()
        sessions.services.state.own((KIND_SESSION, KIND_RECEIVED, KIND_SENT))

    async def claim(
        self, namespace: str, client_id: str, wait_seconds: float = TAKE_OVER_SECONDS_MAX
    ) -> Lease | None:
        """Get the right to a session, and the session itself where it is stored.

        None: somebody else at this node was faster. Raises `StoreUnavailable` where another node
        keeps it.
        """
        state_key = digest_of(namespace, client_id)
        claiming = self._claiming.get(state_key)
        if claiming is not None:
            await asyncio.shield(claiming)
            return None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._claiming[state_key] = done
        try:
            return await self._claim(state_key, wait_seconds)
        finally:
            del self._claiming[state_key]
            done.set_result(None)

    async def _claim(self, state_key: str, wait_seconds: float) -> Lease:
        lease = await self.leases.acquire(
            lease_name(state_key),
            on_lost=self._lost,
            on_wanted=self._wanted,
            wait_seconds=wait_seconds,
        )
        if lease is None:
            raise StoreUnavailable("another node has the session and does not let go of it")
        try:
            session = await self._read(state_key)
        except BaseException:
            await self._release(lease)
            raise
        if session is not None:
            self._sessions.take_up(session)
            self.belongs(session, lease)
        return lease

    async def _read(self, state_key: str) -> Session | None:
        """A session as it is stored."""
        state = self._sessions.services.state
        await state.refresh(KIND_SESSION, state_key)
        value = state.get(KIND_SESSION, state_key)
        if value is None:
            return None
        session = session_from_record(value)
        for kind in (KIND_RECEIVED, KIND_SENT):
            await state.refresh(kind, f"{state_key}/")
        for key, row in state.scan(KIND_RECEIVED, f"{state_key}/"):
            session.restore(KIND_RECEIVED, key, row)
        for key, row in state.scan(KIND_SENT, f"{state_key}/"):
            session.restore(KIND_SENT, key, row)
        return session

    def belongs(self, session: Session, lease: Lease) -> None:
        """The session is this node's by that lease."""
        session.lease = lease
        self._owned[lease.name] = session
        if lease.name in self._wanted_early:
            self._wanted_early.discard(lease.name)
            self._sessions.services.spawn(self._hand_over(session))

    def detach(self, session: Session) -> Lease | None:
        """Take a session's lease for the one that follows it."""
        lease, session.lease = session.lease, None
        if lease is not None:
            self._owned.pop(lease.name, None)
        return lease

    async def let_go(self, session: Session) -> None:
        """The session has ended."""
        lease = self.detach(session)
        if lease is not None:
            await self._release(lease)

    async def _release(self, lease: Lease) -> None:
        self._wanted_early.discard(lease.name)
        try:
            await self.leases.release(lease)
        except MessagingError:
            # It ends with this node.
            return

    # -- what other nodes want

    def _wanted(self, lease: Lease) -> None:
        session = self._owned.get(lease.name)
        if session is None:
            self._wanted_early.add(lease.name)
        else:
            self._sessions.services.spawn(self._hand_over(session))

    async def _hand_over(self, session: Session) -> None:
        """Let another node have a session, with all that is known of it."""
        sessions = self._sessions
        if session.gateway is not None:
            session.gateway.taken_over()
        if not (session.outlives_process and session.expiry_seconds):
            await sessions.end(session)
            return
        sessions.drop(session)
        try:
            # Behind all that was submitted for it before.
            await sessions.committed(session.record())
        except MessagingError:
            # It is as it was stored before, then.
            pass
        finally:
            await self.let_go(session)

    def _lost(self, lease: Lease) -> None:
        """This node was not heard of for too long: others may have the session."""
        session = self._owned.pop(lease.name, None)
        if session is None:
            return
        session.lease = None
        if not session.outlives_process:
            if session.gateway is not None:
                session.gateway.taken_over()
            return
        session.disowned = True
        if session.gateway is not None:
            session.gateway.taken_over()
        self._sessions.drop(session)
