"""Which node's consumers may receive from a queue that serves one at a time.

Two leases for a queue, asked for only where they are needed. Its turn: of a queue with a single
active consumer, one node receives, those that have consumers of it wait, and the next one follows
when the holder's last consumer leaves or the holder dies; who consumes first at any node is told so
once the turn is his. Its exclusive use: while one node has an exclusive consumer, the others refuse
theirs; those that have some already say so when they see the lease, which everybody has to see
before the exclusive consumer is taken. So the others pay nothing for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.messaging.errors import MessagingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.backends.aws.leases import AwsLeases
    from bridge.backends.aws.node import Node
    from bridge.messaging.ports import Lease, Leases


class Turn:
    """The right of this node's consumers to one queue: waited for, and held until `drop`."""

    def __init__(
        self, node: Node, leases: Leases, sqs_name: str, gained: Callable[[], None]
    ) -> None:
        """`gained` is called when the consumers may receive."""
        self._node = node
        self._leases = leases
        self._name = f"consumer/{sqs_name}"
        self._gained = gained
        self._lease: Lease | None = None
        self._wanted = False
        self._waiting = False
        self._decided = asyncio.Event()
        """While waiting: whether it is known who has the turn."""

    @property
    def held(self) -> bool:
        return self._lease is not None and self._lease.held

    async def ask(self) -> None:
        """There are consumers here. Returns once the turn is theirs or another node's, so that who
        is told later that he consumes does not come first.
        """
        self.want()
        if self._waiting:
            await self._decided.wait()

    def drop(self) -> None:
        """There are none any more."""
        self._wanted = False
        lease, self._lease = self._lease, None
        if lease is not None:
            self._node.tasks.spawn(_release(self._leases, lease))

    def want(self) -> None:
        """There are consumers here, that get the turn when it is to be had."""
        self._wanted = True
        if not self._waiting and not self.held:
            self._waiting = True
            self._decided.clear()
            self._node.tasks.spawn(self._wait())

    async def _wait(self) -> None:
        wait_seconds: float | None = 0.0
        try:
            while self._wanted and not self.held:
                await self._try(wait_seconds)
                self._decided.set()
                wait_seconds = None
        finally:
            self._waiting = False
            self._decided.set()

    async def _try(self, wait_seconds: float | None) -> None:
        try:
            lease = await self._leases.acquire(
                self._name, on_lost=self._lost, wait_seconds=wait_seconds
            )
        except MessagingError:
            self._decided.set()
            await asyncio.sleep(self._node.limits.duty_retry_seconds)
            return
        if lease is None:
            return
        if self._wanted:
            self._lease = lease
            self._node.loop.call_soon(self._gained)
        else:
            await _release(self._leases, lease)

    def _lost(self, lease: Lease) -> None:
        if self._lease is lease:
            self._lease = None
            if self._wanted:
                self.want()


class ExclusiveUse:
    """Whether one queue is in exclusive use, at this node or another one."""

    def __init__(
        self, node: Node, leases: AwsLeases, sqs_name: str, ended: Callable[[], None]
    ) -> None:
        """`ended` is called when another node may have taken it from this one."""
        self._node = node
        self._leases = leases
        self._name = f"exclusive/{sqs_name}"
        self._ended = ended
        self._lease: Lease | None = None
        self._refused: Lease | None = None

    def begin(self) -> None:
        """There are consumers here: other nodes are not to have exclusive ones."""
        self._leases.grudge(self._name)

    def end(self) -> None:
        """There are none any more."""
        self._leases.grudge_no_more(self._name)

    async def elsewhere(self) -> bool:
        """Whether another node has it. Raises `MessagingError`."""
        free = {None, self._leases.node_id}
        if self._leases.holder(self._name) in free:
            return False
        # Its consumer may have left, and this node has not heard of it yet.
        await self._leases.wait_until_free(self._name, self._node.limits.exclusive_wait_seconds)
        if self._leases.holder(self._name) in free:
            return False
        # What a dead node had can be had.
        lease = await self._leases.acquire(self._name, on_lost=_nobody)
        if lease is None:
            return True
        await self._leases.release(lease)
        return False

    async def take(self) -> bool:
        """Get it for a consumer here; False where another node has it, or has consumers. Raises
        `MessagingError`.
        """
        lease = await self._leases.acquire(
            self._name, on_lost=self._lost, on_wanted=self._objected, everywhere=True
        )
        self._lease = lease
        if lease is None or lease is self._refused:
            self.drop()
        return self._lease is not None

    def drop(self) -> None:
        """The exclusive consumer has left."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._node.tasks.spawn(_release(self._leases, lease))

    def _objected(self, lease: Lease) -> None:
        """Another node has consumers."""
        if self._lease is lease:
            # It was cut off when it was asked.
            self._ended()
        else:
            self._refused = lease

    def _lost(self, lease: Lease) -> None:
        if self._lease is lease:
            self._lease = None
            self._ended()


def _nobody(_: Lease) -> None:
    """It was held for a moment only."""


async def _release(leases: Leases, lease: Lease) -> None:
    try:
        await leases.release(lease)
    except MessagingError:
        # It ends with this node.
        return
