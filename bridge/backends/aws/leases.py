"""Leases as entries of the shared state: the id of a node under a name, worth as much as that
node's place among the nodes.

So holding one costs nothing, every node sees who holds what, and all leases of a node end with it.
The epoch is the version with which the entry was written, which only ever rises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.node import Node
from bridge.backends.aws.state import AwsState
from bridge.messaging.errors import MessagingError, StateConflict
from bridge.messaging.model import StateChange

if TYPE_CHECKING:
    from bridge.messaging.ports import Lease

KIND_LEASE = "lease"


class _Record(msgspec.Struct, array_like=True):
    holder: str
    wanted: bool = False
    """Somebody waits for it."""


_decode = msgspec.msgpack.Decoder(_Record).decode
_encode = msgspec.msgpack.Encoder().encode


class AwsLease:
    """See `bridge.messaging.ports.Lease`."""

    __slots__ = ("_leases", "epoch", "name", "on_lost", "on_wanted")

    def __init__(
        self,
        leases: AwsLeases,
        name: str,
        on_lost: Callable[[Lease], None],
        on_wanted: Callable[[Lease], None] | None,
    ) -> None:
        self._leases = leases
        self.name = name
        self.epoch = 0
        self.on_lost = on_lost
        self.on_wanted = on_wanted

    @property
    def held(self) -> bool:
        return self._leases.holds(self)


class AwsLeases:
    """See `bridge.messaging.ports.Leases`."""

    def __init__(self, node: Node, state: AwsState) -> None:
        self._node = node
        self._state = state
        self._members = state.membership
        self._held: dict[str, AwsLease] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._grudged: set[str] = set()
        state.watch([KIND_LEASE], self._follow)

    @property
    def node_id(self) -> str:
        return self._members.id

    def holds(self, lease: AwsLease) -> bool:
        return self._held.get(lease.name) is lease and self._members.held

    def holder(self, name: str) -> str | None:
        record = self._record(name)
        return None if record is None else record.holder

    async def acquire(
        self,
        name: str,
        *,
        on_lost: Callable[[Lease], None],
        on_wanted: Callable[[Lease], None] | None = None,
        wait_seconds: float | None = 0.0,
        everywhere: bool = False,
    ) -> Lease | None:
        """`everywhere`: return once every node knows of it, and with what they said against it."""
        lease = AwsLease(self, name, on_lost, on_wanted)
        try:
            async with asyncio.timeout(wait_seconds or None):
                while not await self._take(lease, everywhere=everywhere):
                    if wait_seconds == 0:
                        return None
                    await self._wait(name)
        except TimeoutError:
            return None
        return lease

    async def release(self, lease: Lease) -> None:
        if not isinstance(lease, AwsLease) or self._held.get(lease.name) is not lease:
            return
        name, held = lease.name, lease.held
        del self._held[name]
        # Somebody else here may have taken it again before the answer is there.
        while held and name not in self._held and self.holder(name) == self._members.id:
            try:
                await self._write(name, None)
            except StateConflict:
                # Somebody wants it.
                continue
            except MessagingError:
                self._node.tasks.spawn(self._clear(name))
                raise
        self._wake(name)

    async def wait_until_free(self, name: str, seconds: float) -> None:
        """Return when no other node has a lease as far as this one knows, or after so many seconds.
        Nobody is told that somebody waits.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.holder(name) not in {None, self._members.id}:
                    await self._changed.setdefault(name, asyncio.Event()).wait()

    def grudge(self, name: str) -> None:
        """From now on, tell who gets a lease that it is wanted here."""
        self._grudged.add(name)

    def grudge_no_more(self, name: str) -> None:
        self._grudged.discard(name)

    async def close(self) -> None:
        """Let others have all that this node holds."""
        held, self._held = self._held, {}
        changes = [StateChange(KIND_LEASE, name, None) for name in held]
        if changes and self._members.held:
            try:
                await self._state.write(self._state.submit(changes))
            except MessagingError:
                # They end with this node.
                return

    # -- getting one

    async def _take(self, lease: AwsLease, *, everywhere: bool) -> bool:
        """Take a lease that is free; False where it has a live holder."""
        name = lease.name
        record = self._record(name)
        if record is not None and await self._is_live(record.holder):
            return False
        if self._record(name) != record:
            # It changed while the table was asked.
            return await self._take(lease, everywhere=everywhere)
        self._held[name] = lease
        try:
            lease.epoch = await self._write(name, _Record(self._members.id), everywhere=everywhere)
            if everywhere:
                await self._state.refresh(KIND_LEASE)
        except StateConflict:
            self._drop(lease)
            return await self._take(lease, everywhere=everywhere)
        except BaseException:
            self._drop(lease)
            # It may be written all the same: nobody waits any more, or the answer was lost.
            self._node.tasks.spawn(self._clear(name))
            raise
        return True

    async def _clear(self, name: str) -> None:
        """Give up what stands in this node's name and nobody at it has."""
        while name not in self._held and self.holder(name) == self._members.id:
            if not self._members.held:
                # It ends with this node's place.
                break
            try:
                await self._write(name, None)
            except StateConflict:
                continue
            except MessagingError:
                await asyncio.sleep(self._node.limits.duty_retry_seconds)
        self._wake(name)

    async def _is_live(self, node_id: str) -> bool:
        try:
            return node_id == self._members.id or await self._members.is_live(node_id)
        except AwsError as error:
            raise messaging_error_from(error) from None

    def _drop(self, lease: AwsLease) -> None:
        if self._held.get(lease.name) is lease:
            del self._held[lease.name]

    async def _wait(self, name: str) -> None:
        """Return when somebody else may be able to have the lease; say that it is wanted."""
        changed = self._changed.setdefault(name, asyncio.Event())
        record = self._record(name)
        if record is None:
            return
        if not record.wanted:
            try:
                await self._write(name, _Record(record.holder, wanted=True))
            except StateConflict:
                return
            self._tell_wanted(name)
        await changed.wait()

    async def _object(self, name: str, version: int) -> None:
        """Let another node know that the lease which it has got is wanted here. It does not hear
        that `version` was applied here before it can know.
        """
        try:
            said = await self._try_to_object(name)
        finally:
            self._members.say(version)
        while not said:
            await asyncio.sleep(self._node.limits.duty_retry_seconds)
            said = await self._try_to_object(name)

    async def _try_to_object(self, name: str) -> bool:
        """False where the store refuses it."""
        while name in self._grudged:
            record = self._record(name)
            if record is None or record.wanted or record.holder == self._members.id:
                break
            try:
                await self._write(name, _Record(record.holder, wanted=True))
            except StateConflict:
                continue
            except MessagingError:
                return False
        return True

    async def _write(self, name: str, record: _Record | None, *, everywhere: bool = False) -> int:
        value = None if record is None else _encode(record)
        submission = self._state.submit([StateChange(KIND_LEASE, name, value)], agreed=True)
        return await self._state.write(submission, everywhere=everywhere)

    def _record(self, name: str) -> _Record | None:
        value = self._state.get(KIND_LEASE, name)
        return None if value is None else _decode(value)

    # -- what the others do

    def _follow(self, changes: Sequence[StateChange]) -> None:
        for _, name, value in changes:
            record = None if value is None else _decode(value)
            lease = self._held.get(name)
            if (
                lease is not None
                and lease.epoch
                and (record is None or record.holder != self._members.id)
            ):
                self._lose(lease)
            elif lease is None and record is not None and record.holder == self._members.id:
                self._node.tasks.spawn(self._clear(name))
            elif record is not None and record.wanted:
                self._tell_wanted(name)
            elif record is not None and name in self._grudged:
                self._node.tasks.spawn(self._object(name, self._members.withhold()))
            self._wake(name)

    def _tell_wanted(self, name: str) -> None:
        lease = self._held.get(name)
        if lease is not None and lease.on_wanted is not None:
            on_wanted, lease.on_wanted = lease.on_wanted, None
            self._node.call(on_wanted, lease)

    def _wake(self, name: str) -> None:
        changed = self._changed.pop(name, None)
        if changed is not None:
            changed.set()

    def _lose(self, lease: AwsLease) -> None:
        self._drop(lease)
        self._node.call(lease.on_lost, lease)

    def lose_all(self) -> None:
        """This node has lost its place."""
        for lease in list(self._held.values()):
            self._lose(lease)
        for name in list(self._changed):
            self._wake(name)

    def node_gone(self, node_id: str) -> None:
        """What a node held is free."""
        for name in list(self._changed):
            record = self._record(name)
            if record is None or record.holder == node_id:
                self._wake(name)
