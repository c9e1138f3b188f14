"""The nodes that work on one state table, each with an item that it renews: a lease on being there.

A node counts up its beat; whoever sees a beat stand still for the lease's time, by its own clock,
deletes the item, so clocks need not agree. A node that could not beat for that long must assume
that it was deleted: it is no longer `held`, what it had by its id is lost, and it comes back under
another id. Beside the beat stands the version of the shared state that the node has applied: a
change of the catalogue is answered when every live node is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, NamedTuple

from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.node import Node
from bridge.backends.aws.table import Table, item_key
from bridge.messaging.clock import MessageIds

KIND_NODE: Final = "#node"

_log = logging.getLogger("landbridge.aws")


class Peer(NamedTuple):
    """A node as its item shows it; `ready` once it serves."""

    id: str
    beat: int
    applied: int
    ready: bool


class Membership:
    """This node among the others. `applied` is what it reports as applied, unless it has something
    to say to that first: see `withhold`.
    """

    def __init__(self, node: Node, table: Table) -> None:
        self._node = node
        self._table = table
        self._ids = MessageIds()
        self._beaten_at = 0.0
        self._joined = False
        self._ready = False
        self._lapsing: asyncio.TimerHandle | None = None
        self._seen: dict[str, tuple[int, float]] = {}
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._asking = False
        self._looking = asyncio.Lock()
        self._reported = 0
        self._reporting = False
        self._withheld: list[int] = []
        self.peers: dict[str, Peer] = {}
        """All nodes as they were seen last, this one among them."""
        self.id = ""
        self.applied = 0
        self.on_gone: Callable[[str], None] = lambda _: None
        """Called with the id of a node that is gone for good."""
        self.on_lapse: Callable[[], None] = lambda: None
        """Called when this node has lost its place; `join` gets it another one."""

    @property
    def held(self) -> bool:
        """Whether the others count on this node: nobody can have deleted it. Once it is not so,
        it is not so again before `join`.
        """
        return self._ready and self._left_seconds > 0.0

    @property
    def _left_seconds(self) -> float:
        """How long this node's place is certain, unless it beats."""
        limits = self._node.limits
        return self._beaten_at + limits.lease_seconds - self._node.clock.monotonic()

    @property
    def leads(self) -> bool:
        """Whether this node does what one of them is enough for; two may think so for a while."""
        return self._ready and self.id == min(
            (each.id for each in self.peers.values() if each.ready), default=self.id
        )

    async def join(self) -> None:
        """Take a place under a new id. The others keep the log for this node from now on, but do
        not wait for it before `serve`. Raises `AwsError`.
        """
        former, self.id = self.id, self._ids.next()
        if former:
            await self._table.delete(KIND_NODE, former)
        self.applied = self._reported = 0
        await self._put(ready=False)
        self._joined = True

    async def serve(self) -> None:
        """Be waited for from now on. What was committed before may still have to be applied.

        Raises `AwsError`.
        """
        await self._put(ready=True)
        if not self._joined or self._left_seconds <= 0.0:
            raise AwsError("PutItem", 0, "", "this node lost its place while it joined")
        self._ready = True
        self._lapse_in_time()
        _log.info("the other nodes know this one as %s", self.id)

    async def leave(self) -> None:
        """Let the others take over at once."""
        self._joined = self._ready = False
        if self._lapsing is not None:
            self._lapsing.cancel()
        try:
            await self._table.delete(KIND_NODE, self.id)
        except AwsError:
            # They will see that it has stopped.
            return

    async def keep(self, then: Callable[[], Awaitable[None]]) -> None:
        """Beat, look at the others and do `then`, again and again; until cancelled."""

        async def turn() -> None:
            # Where it fails, and goes on to fail, the lease ends by itself.
            await self._beat()
            await self.look()
            await then()

        limits = self._node.limits
        await self._node.repeat(
            "the node's place was not looked after", lambda: limits.lease_beat_seconds, turn
        )

    async def _beat(self) -> None:
        if not self._joined:
            return
        own, sent_at, applied = self.id, self._node.clock.monotonic(), self._reportable
        there = await self._table.update(
            KIND_NODE,
            own,
            "SET applied = :applied ADD beat :one",
            "attribute_exists(beat)",
            applied=applied,
            one=1,
        )
        if own != self.id or not self._joined:
            # It was for a place that this node has given up meanwhile.
            return
        if not there or (self._ready and not self.held):
            # A place that was past its time, though only for a moment and though nobody deleted it,
            # is not had again: who was refused for that looks again when it lapses.
            self.lapse()
            return
        # What counts is when it was sent: others wait from when they saw it, which is later.
        self._beaten_at = max(self._beaten_at, sent_at)
        self._reported = max(self._reported, applied)
        if self._ready:
            self._lapse_in_time()

    def _lapse_in_time(self) -> None:
        if self._lapsing is not None:
            self._lapsing.cancel()
        self._lapsing = self._node.loop.call_later(self._left_seconds, self.lapse)

    def lapse(self) -> None:
        """Give this node's place up, since the others cannot or must not count on it."""
        self._joined = False
        if self._lapsing is not None:
            # Or it would end the place that this node gets next.
            self._lapsing.cancel()
        if self._ready:
            self._ready = False
            _log.warning(
                "this node, %s, was not heard of in time: others may go on for it, and it takes"
                " nothing until it has joined them again",
                self.id,
            )
            self.on_lapse()

    async def _put(self, *, ready: bool) -> None:
        sent_at = self._node.clock.monotonic()
        item = {
            **item_key(KIND_NODE, self.id),
            "beat": {"N": "2" if ready else "1"},
            "applied": {"N": str(self._reportable)},
            "ready": {"BOOL": ready},
        }
        condition = "attribute_exists(beat)" if ready else ""
        if not await self._table.put(item, condition):
            raise AwsError(
                "PutItem", 0, "", "the other nodes took this one for dead while it joined"
            )
        self._beaten_at = sent_at

    # -- the others

    async def look(self) -> list[Peer]:
        """Read who is there, and bury who has stopped."""
        # One after the other, so that what is known never gets older.
        async with self._looking:
            return await self._look()

    async def _look(self) -> list[Peer]:
        items = await self._table.after(KIND_NODE, "")
        peers = [_peer(item) for item in items]
        now = self._node.clock.monotonic()
        for peer in peers:
            beat, since = self._seen.get(peer.id, (-1, now))
            if beat != peer.beat:
                self._seen[peer.id] = (peer.beat, now)
            elif peer.id != self.id and now - since >= self._node.limits.lease_seconds:
                await self._bury(peer)
        present = {peer.id: peer for peer in peers if peer.id in self._seen}
        gone = [each for each in self._seen if each not in present]
        self.peers = present
        for each in gone:
            del self._seen[each]
            self.on_gone(each)
        return list(present.values())

    async def _bury(self, peer: Peer) -> None:
        """Delete the item of a node, unless it beats after all."""
        if await self._table.delete(KIND_NODE, peer.id, "beat = :beat", beat=peer.beat):
            del self._seen[peer.id]
            _log.warning(
                "node %s was not heard of for %g s and is taken for dead: others go on for it",
                peer.id,
                self._node.limits.lease_seconds,
            )
            self.on_gone(peer.id)

    @property
    def count(self) -> int:
        """How many nodes serve, as far as it was seen."""
        return sum(each.ready for each in self.peers.values())

    async def is_live(self, node_id: str) -> bool:
        """Whether a node has its place still; asks the table where that is not known."""
        if node_id in self.peers:
            return True
        return any(each.id == node_id for each in await self.look())

    @property
    def applied_everywhere(self) -> int:
        """The version that all nodes have, those that join included, as far as it was seen."""
        return min([self.applied, *[each.applied for each in self.peers.values()]])

    # -- agreement

    async def agreed(self, version: int) -> None:
        """Return once every live node has applied `version`, or after a bounded time: the change
        is stored then, and a node that is late applies it before it does anything new.
        """
        done: asyncio.Future[None] = self._node.loop.create_future()
        self._waiting.append((version, done))
        if not self._asking:
            self._asking = True
            self._node.tasks.spawn(self._ask())
        try:
            async with asyncio.timeout(self._node.limits.agree_seconds_max):
                await done
        except TimeoutError:
            return

    async def _ask(self) -> None:
        limits = self._node.limits
        pause = limits.agree_poll_seconds
        try:
            while self._waiting:
                # Who joined before a version was committed is in an answer asked for afterwards.
                asked, self._waiting = self._waiting, []
                left = asked
                try:
                    await self.look()
                    left = self._unanswered(asked)
                except AwsError:
                    # They wait as long as they may, and no longer.
                    left = [each for each in asked if not each[1].done()]
                finally:
                    self._waiting = [*left, *self._waiting]
                if left:
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, limits.follow_seconds)
        finally:
            self._asking = False

    def _unanswered(
        self, asked: Iterable[tuple[int, asyncio.Future[None]]]
    ) -> list[tuple[int, asyncio.Future[None]]]:
        others = [each for each in self.peers.values() if each.ready and each.id != self.id]
        reached = min((each.applied for each in others), default=None)
        left: list[tuple[int, asyncio.Future[None]]] = []
        for version, done in asked:
            if reached is not None and reached < version:
                left.append((version, done))
            elif not done.done():
                done.set_result(None)
        return [(version, done) for version, done in left if not done.done()]

    def report(self) -> None:
        """This node has applied what others wait for; all else the next beat says."""
        if self._ready and not self._reporting:
            self._reporting = True
            self._node.tasks.spawn(self._report())

    def withhold(self) -> int:
        """Do not report what was applied just now before `say`, to which the result is given: who
        waits for this node is to find in the log what it has to say.
        """
        self._withheld.append(self.applied)
        return self.applied

    def say(self, version: int) -> None:
        """What was withheld can be reported."""
        self._withheld.remove(version)
        self.report()

    @property
    def _reportable(self) -> int:
        return min([self.applied, *[version - 1 for version in self._withheld]])

    async def _report(self) -> None:
        try:
            while self._joined and self._ready and self._reported < self._reportable:
                await self._beat()
        except AwsError:
            # The next beat says it.
            return
        finally:
            self._reporting = False


def _peer(item: dict[str, Any]) -> Peer:
    return Peer(
        item["key"]["S"],
        int(item["beat"]["N"]),
        int(item["applied"]["N"]),
        item["ready"]["BOOL"],
    )
