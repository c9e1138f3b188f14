"""Transient queues across nodes: in memory at one node, known to all, reached through its inbox.

Each is an entry of the shared state with the id of its node. Another node that routes a message to
some of them sends it once to that node's inbox queue in SQS, with their names; the node drops it
into them. An inbox is made when it is first needed, and goes with its node: at its stop, or by a
sweep some time after the others have taken it for dead; so do the entries. The time is for a node
that comes back under another id: it still takes out what was confirmed into its former inbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.inbox import Inbox, inbox_queue, node_of_inbox_queue
from bridge.backends.aws.node import Node
from bridge.backends.aws.parcels import DeadLetter, Parcels, addressed_to
from bridge.backends.aws.queues import AwsQueue
from bridge.messaging.errors import (
    MessagingError,
    QueueDoesNotExist,
    StateConflict,
    StoreUnavailable,
)
from bridge.messaging.model import (
    Message,
    QueueName,
    QueueSettings,
    StateChange,
    UnitOfWork,
)

if TYPE_CHECKING:
    from bridge.backends.aws.directory import Commit, Directory
    from bridge.backends.aws.membership import Membership
    from bridge.backends.aws.state import AwsState
    from bridge.messaging.ports import Queue, Store

KIND_TRANSIENT: Final = "transient"

INBOX: Final = QueueSettings(retention_seconds=3600)


class _Record(msgspec.Struct, array_like=True):
    """What the state store keeps about a transient queue."""

    node: str
    namespace: str
    name: str
    settings: QueueSettings


_decode = msgspec.msgpack.Decoder(_Record).decode
_encode = msgspec.msgpack.Encoder().encode


class RemoteQueue:
    """A transient queue of another node: it can be sent to, and that is all."""

    transient = True
    created_at = 0
    modified_at = 0
    consumer_count = 0

    def __init__(self, name: QueueName, settings: QueueSettings, node_id: str) -> None:
        self.name = name
        self.settings = settings
        self.node_id = node_id
        self.deleted = False


class TransientQueues:
    """Those of this node, told to the others, and those of the others."""

    def __init__(
        self,
        node: Node,
        state: AwsState,
        directory: Directory,
        local: Store,
        commit: Commit,
        submit: Callable[[UnitOfWork], None],
        dead_letter: DeadLetter,
    ) -> None:
        """`commit` writes state, `submit` takes units of work."""
        self._node = node
        self._state = state
        self._directory = directory
        self._local = local
        self._commit = commit
        self._own: dict[QueueName, Queue] = {}
        self._remote: dict[QueueName, RemoteQueue] = {}
        self._inboxes: dict[str, AwsQueue] = {}
        self._opening: dict[str, list[tuple[UnitOfWork, int, Message, float]]] = {}
        self._parcels = Parcels(node, local, submit, dead_letter)
        self._listening: dict[str, Inbox] = {}
        """By the id under which this node has or had the inbox."""
        self._former: dict[str, float] = {}
        """Ids that it had, and until when it looks for what was sent to it as such (monotonic)."""
        self._ownerless: dict[QueueName, float] = {}
        """Inboxes of nodes that are gone, and since when (monotonic)."""
        self._untidy = False
        """Whether there may be entries of queues that this node has no more."""
        self._swept_at = 0.0
        self._closed = False
        self._restoring = False
        self._lapses = 0
        self.remove: Callable[[Queue], Awaitable[None]] | None = None
        """Removes a queue with its bindings."""
        self.restore: Callable[[Iterable[QueueName]], Awaitable[None]] | None = None
        """Stores the bindings of queues again, which others have deleted."""
        self.alone = False
        """Whether this was the only node when it started."""
        state.watch([KIND_TRANSIENT], self._follow)

    @property
    def _members(self) -> Membership:
        return self._state.membership

    def keeps(self, queue: QueueName) -> bool:
        """See `bridge.messaging.neighbours.Neighbours`."""
        return queue in self._own and self._restoring

    def get(self, name: QueueName) -> RemoteQueue | None:
        return self._remote.get(name)

    def open(self) -> None:
        """Know those that there are already."""
        self.alone = len(self._members.peers) <= 1
        self._follow(
            StateChange(KIND_TRANSIENT, key, value)
            for key, value in self._state.scan(KIND_TRANSIENT)
        )
        limits = self._node.limits
        self._node.tasks.spawn(
            self._node.repeat(
                "the inbox was not looked after", lambda: limits.inbox_look_seconds, self._look
            )
        )

    # -- this node's

    async def add(self, queue: Queue) -> Queue:
        """Tell the others of a queue; what another node has under this name instead, if it has."""
        if queue.name in self._own:
            return queue
        self._own[queue.name] = queue
        try:
            await self._commit([self._entry(queue)], agreed=True)
        except BaseException as error:
            self._own.pop(queue.name, None)
            # It may be stored all the same: nobody waits any more, or the answer was lost.
            self._untidy = True
            await self._local.delete_queue(queue)
            remote = self._remote.get(queue.name)
            if isinstance(error, StateConflict) and remote is not None:
                return remote
            raise
        return queue

    async def gone(self, name: QueueName) -> None:
        """A queue of this node is no more, or one of a node that is no more."""
        if self._own.pop(name, None) is None and name not in self._remote:
            return
        self._drop(name)
        key = _key(name)
        if self._state.get(KIND_TRANSIENT, key) is None:
            return
        try:
            await self._commit([StateChange(KIND_TRANSIENT, key, None)], agreed=True)
        except StateConflict:
            # Its node has come back, and says that it is there.
            return
        except BaseException:
            self._untidy = True
            raise

    def lapsed(self) -> None:
        """The others may take this node for dead: what they delete now stays."""
        self._restoring = True
        self._lapses += 1
        now = self._node.clock.monotonic()
        self._former[self._members.id] = now + self._node.limits.inbox_linger_seconds

    async def rejoined(self) -> None:
        """This node has another id, and the others may have forgotten all that it had. Raises
        `MessagingError`.
        """
        lapses = self._lapses
        await self._restore()
        self._restoring = lapses != self._lapses

    async def _restore(self) -> None:
        self._inboxes.clear()
        own = [queue for queue in self._own.values() if not queue.deleted]
        if own:
            await self._commit([self._entry(queue) for queue in own])
            if self.restore is not None:
                await self.restore([queue.name for queue in own])

    async def close(self) -> None:
        """Take nothing more. Entries of queues that are still there go with this node's place."""
        self._closed = True
        for inbox in self._listening.values():
            inbox.stop()
        try:
            for node_id in [*self._former, self._members.id]:
                queue = self._directory.queues.get(inbox_queue(node_id))
                if queue is not None:
                    await self._directory.delete(queue)
        except MessagingError:
            # The other nodes sweep it up.
            return

    def _entry(self, queue: Queue) -> StateChange:
        record = _Record(self._members.id, *queue.name, queue.settings)
        return StateChange(KIND_TRANSIENT, _key(queue.name), _encode(record))

    # -- the others'

    def _follow(self, changes: Iterable[StateChange]) -> None:
        for _, key, value in changes:
            if value is None:
                name = _name(key)
                self._drop(name)
                queue = self._own.get(name)
                if queue is not None and not self._restoring:
                    # Somebody deleted it at another node.
                    del self._own[name]
                    self._node.tasks.spawn(self._delete_local(queue))
                continue
            record = _decode(value)
            name = QueueName(record.namespace, record.name)
            if name in self._own:
                continue
            self._drop(name)
            self._remote[name] = RemoteQueue(name, record.settings, record.node)

    def _drop(self, name: QueueName) -> None:
        remote = self._remote.pop(name, None)
        if remote is not None:
            remote.deleted = True

    async def _delete_local(self, queue: Queue) -> None:
        if not queue.deleted:
            await self._local.delete_queue(queue)

    # -- sending

    def send(self, unit: UnitOfWork, indexes: Sequence[int], deadline: float) -> None:
        """Send to queues of other nodes, each message once to each node, or a few times where very
        many of its queues want it.
        """
        parcels: dict[tuple[str, int], list[int]] = {}
        for index in indexes:
            queue, message = unit.sends[index]
            assert isinstance(queue, RemoteQueue), "the caller sorted them out"
            parcels.setdefault((queue.node_id, id(message)), []).append(index)
        most = self._node.limits.inbox_targets_max
        pieces = [
            (node_id, each[start : start + most])
            for (node_id, _), each in parcels.items()
            for start in range(0, len(each), most)
        ]
        part = UnitOfWork(partial(self._sent, unit, [each[0] for _, each in pieces]))
        part.remaining = 1
        unit.remaining += 1
        for position, (node_id, each) in enumerate(pieces):
            message = unit.sends[each[0]][1]
            names = [unit.sends[index][0].name for index in each]
            self._put(node_id, part, position, addressed_to(message, names), deadline)
        self._node.part_done(part)

    def _sent(self, unit: UnitOfWork, firsts: list[int], part: UnitOfWork) -> None:
        for position, error in part.failures.items():
            # Queues that went with their node: nobody is left who could miss the message.
            if not isinstance(error, QueueDoesNotExist):
                unit.failures[firsts[position]] = error
        self._node.part_done(unit)

    def _put(
        self, node_id: str, part: UnitOfWork, position: int, message: Message, deadline: float
    ) -> None:
        inbox = self._inboxes.get(node_id)
        if inbox is not None and not inbox.deleted:
            inbox.sender.send(part, position, message, deadline)
            return
        part.remaining += 1
        waiting = self._opening.get(node_id)
        if waiting is None:
            waiting = self._opening[node_id] = []
            self._node.tasks.spawn(self._open(node_id))
        waiting.append((part, position, message, deadline))

    async def _open(self, node_id: str) -> None:
        error: MessagingError = StoreUnavailable("the broker stops")
        inbox: AwsQueue | None = None
        try:
            if await self._members.is_live(node_id):
                inbox = self._inboxes[node_id] = await self._inbox_of(node_id)
            else:
                error = QueueDoesNotExist(f"node {node_id} is gone")
        except MessagingError as refused:
            error = refused
        except AwsError as refused:
            error = messaging_error_from(refused)
        finally:
            for part, position, message, deadline in self._opening.pop(node_id):
                if inbox is not None:
                    inbox.sender.send(part, position, message, deadline)
                else:
                    part.failures[position] = error
                self._node.part_done(part)

    async def _inbox_of(self, node_id: str) -> AwsQueue:
        """The inbox of a node, made if it is absent: the node finds it when it looks."""
        name = inbox_queue(node_id)
        known = self._directory.queues.get(name) or await self._directory.create(name, INBOX)
        assert isinstance(known, AwsQueue), "it is in SQS"
        return known

    # -- now and then

    async def _look(self) -> None:
        """Listen while there is somebody to hear from, and sweep up after nodes that died."""
        if self._closed or not self._members.held:
            return
        await self._listen()
        now = self._node.clock.monotonic()
        if now - self._swept_at >= self._node.limits.lease_beat_seconds:
            self._swept_at = now
            await self._tidy_up()
            if self._members.leads:
                await self._sweep()

    async def _listen(self) -> None:
        """Receive from the inbox, and from those that this node had under other ids."""
        own = self._members.id
        now = self._node.clock.monotonic()
        for node_id, until in list(self._former.items()):
            if until <= now:
                del self._former[node_id]
                former = self._listening.pop(node_id, None)
                if former is not None:
                    former.stop()
        for node_id in [*self._former, own]:
            inbox = self._listening.get(node_id)
            if inbox is not None and inbox.running:
                continue
            queue = self._directory.queues.get(inbox_queue(node_id))
            if queue is None and node_id == own and self._own and len(self._members.peers) > 1:
                queue = await self._inbox_of(node_id)
            if queue is not None:
                inbox = self._listening[node_id] = Inbox(self._node, self._parcels)
                await inbox.start(queue)

    async def _tidy_up(self) -> None:
        """Remove entries of queues that this node has no more, where that failed before."""
        for node_id in [each for each, inbox in self._inboxes.items() if inbox.deleted]:
            del self._inboxes[node_id]
        if not self._untidy:
            return
        self._untidy = False
        left = [
            StateChange(KIND_TRANSIENT, key, None)
            for key, value in self._state.scan(KIND_TRANSIENT)
            if _decode(value).node == self._members.id and _name(key) not in self._own
        ]
        if left:
            try:
                await self._commit(left, agreed=True)
            except MessagingError:
                self._untidy = True

    async def _sweep(self) -> None:
        """Remove what nodes left behind that are no more."""
        peers = self._members.peers
        gone = {each.node_id for each in self._remote.values() if each.node_id not in peers}
        for node_id in gone:
            if not await self._members.is_live(node_id):
                await self._remove_all_of(node_id)
        await self._sweep_inboxes()

    async def _sweep_inboxes(self) -> None:
        """Remove the inboxes of nodes that have been gone for a while."""
        now = self._node.clock.monotonic()
        known, self._ownerless = self._ownerless, {}
        for inbox in self._directory.all():
            owner = node_of_inbox_queue(inbox.name)
            if owner is None or owner in self._members.peers:
                continue
            if await self._members.is_live(owner):
                continue
            since = self._ownerless[inbox.name] = known.get(inbox.name, now)
            if now - since >= self._node.limits.inbox_linger_seconds:
                await self._directory.delete(inbox)
                del self._ownerless[inbox.name]

    async def _remove_all_of(self, node_id: str) -> None:
        """Remove the queues of a node that is no more, many at a time: they share writes."""
        left = [each for each in self._remote.values() if each.node_id == node_id]
        most = self._node.limits.queues_swept_at_once_max
        for start in range(0, len(left), most):
            # Meanwhile the node may have come back under another id.
            some = [each for each in left[start : start + most] if not each.deleted]
            if self.remove is not None:
                # What is refused is left for the next turn.
                await asyncio.gather(*map(self.remove, some), return_exceptions=True)


def _key(name: QueueName) -> str:
    """The key of a queue in the state store; different for different names."""
    return msgspec.json.encode(name).decode()


def _name(key: str) -> QueueName:
    return msgspec.json.decode(key, type=QueueName)
