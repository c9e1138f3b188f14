"""The ports between the protocols and a backend. Both backends implement all of them.

The hot path is synchronous and batched: `Store.submit` takes a unit of work and answers through its
callback, `Consumer.deliver` gets lists. Everything rare (create, delete, attributes) is a
coroutine. All calls are made on the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypedDict

from bridge.messaging.model import (
    DeadLetterReason,
    Delivery,
    QueueCounts,
    QueueName,
    QueueSettings,
    StateChange,
    UnitOfWork,
)

if TYPE_CHECKING:
    from typing import Unpack

    from bridge.messaging.faces import TopicFaces
    from bridge.messaging.neighbours import Neighbours


class Queue(Protocol):
    """A handle on one queue; stays the same object for as long as the queue exists."""

    @property
    def name(self) -> QueueName: ...

    @property
    def settings(self) -> QueueSettings: ...

    @property
    def transient(self) -> bool:
        """Kept in memory at this node only: gone with its owner or at a restart."""
        ...

    @property
    def created_at(self) -> int:
        """Epoch milliseconds."""
        ...

    @property
    def modified_at(self) -> int:
        """Epoch milliseconds of the last change of settings."""
        ...

    @property
    def consumer_count(self) -> int: ...

    @property
    def deleted(self) -> bool:
        """True once the queue is gone; a cached handle must then be looked up again."""
        ...


class Consumer(Protocol):
    """What a gateway gives to `Store.consume` to be pushed into."""

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Take deliveries within the granted credit; must not raise, must not block."""
        ...

    def cancelled(self) -> None:
        """The queue was deleted or the consumer evicted; its deliveries are void."""
        ...

    def overdue(self, held_seconds: float) -> None:
        """A message was held for longer than the store can keep it from others; the consumer is
        cancelled, and what it has is to be released.
        """
        ...


class Subscription(Protocol):
    """One consumer at one queue."""

    def add_credit(self, count: int) -> None:
        """Allow `count` more deliveries."""
        ...

    def pause(self) -> None:
        """Deliver nothing until `resume`; for a client that does not read."""
        ...

    def resume(self) -> None: ...

    def cancel(self) -> None:
        """Deliver nothing more. What was delivered stays with the gateway, which settles or
        releases it.
        """
        ...


DeadLetterer = Callable[["Queue", Sequence[Delivery], DeadLetterReason], UnitOfWork]
"""Makes the unit of work that dead-letters deliveries: sends to where they go and deletes, as one.
"""


class ReceiveOptions(TypedDict, total=False):
    """What SQS's ReceiveMessage takes besides queue and count."""

    visibility_seconds: int | None
    wait_seconds: int | None
    """For how long to wait for the first message, at most."""
    attempt_id: str | None
    """Tried again with the same one, a receive from a first-in-first-out queue gets the same."""


class Store(Protocol):
    """Queues and the messages in them."""

    # -- the hot path

    def submit(self, unit: UnitOfWork) -> None:
        """Take a unit of work; see `UnitOfWork` for when and how it is answered."""
        ...

    async def consume(
        self,
        queue: Queue,
        consumer: Consumer,
        *,
        credit: int,
        priority: int = 0,
        exclusive: bool = False,
    ) -> Subscription:
        """Push the queue's messages to `consumer`. Raises `ResourceLocked`, `QueueDoesNotExist`."""
        ...

    async def receive(
        self, queue: Queue, *, count: int, **options: Unpack[ReceiveOptions]
    ) -> list[Delivery]:
        """Pull up to `count` messages under a visibility timeout (SQS ReceiveMessage).

        What is None, or is not given, is the queue's own setting.
        """
        ...

    async def take(self, queue: Queue) -> Delivery | None:
        """Pull one message to hold until it is settled, without a timeout (AMQP basic.get)."""
        ...

    # -- receipt handles (HTTP receivers)

    def handle_of(self, delivery: Delivery) -> str:
        """The receipt handle of a delivery from `receive`; survives a restart."""
        ...

    def delivery_of(self, queue: Queue, handle: str) -> Delivery | None:
        """The delivery that a handle stands for; None when its message is gone.

        Raises `ReceiptHandleInvalid` for what was never a handle of this queue.
        """
        ...

    async def change_visibility(self, delivery: Delivery, seconds: int) -> None:
        """Restart a received message's visibility timeout from now; 0 makes it visible.

        Raises `InvalidParameter` where SQS refuses (not in flight, beyond 12 hours in total).
        """
        ...

    # -- queues

    def queue(self, name: QueueName) -> Queue | None:
        """Look a queue up, from memory."""
        ...

    def queues(self) -> Iterable[Queue]:
        """All queues, in no particular order."""
        ...

    async def create_queue(
        self, name: QueueName, settings: QueueSettings, *, transient: bool = False
    ) -> Queue:
        """Create a queue, durably unless `transient`; an existing one is returned as it is."""
        ...

    async def change_queue(self, queue: Queue, settings: QueueSettings) -> None:
        """Give a queue other settings."""
        ...

    async def delete_queue(self, queue: Queue) -> int:
        """Delete a queue with its messages; returns how many were visible. Its consumers are
        cancelled.
        """
        ...

    async def purge_queue(self, queue: Queue) -> int:
        """Delete all messages but those that a connection holds; returns how many were visible."""
        ...

    async def counts(self, queue: Queue) -> QueueCounts: ...

    # -- composition

    def use_dead_letterer(self, dead_letterer: DeadLetterer) -> None:
        """Say who turns expired or overflowing messages into units of work."""
        ...

    def use_idle_handler(self, handler: Callable[[Queue], None]) -> None:
        """Say who removes a queue that nobody has used for its `idle_expiry_ms`."""
        ...


class StateStore(Protocol):
    """Catalogue and session state: small values under (kind, key), written in units of work.

    Reads answer from what was submitted, committed or not, in key order. Where several nodes work
    on one store, a kind is either shared, which is the rule, or owned. Shared: every node has all
    of its entries and follows the changes of the others within a second. Owned: an entry is read
    and written by one node at a time (the holder of a lease); another one reads it afresh
    (`refresh`) when it takes over.
    """

    def get(self, kind: str, key: str) -> bytes | None: ...

    def scan(self, kind: str, prefix: str = "") -> Iterable[tuple[str, bytes]]:
        """All (key, value) of a kind whose key starts with `prefix`."""
        ...

    def keys(self, kind: str) -> Iterable[str]:
        """All keys of a kind, in any order, without memory for all of them at once; what changes
        while this runs may or may not be among them.
        """
        ...

    def watch(
        self, kinds: Iterable[str], on_changes: Callable[[Sequence[StateChange]], None]
    ) -> None:
        """Call `on_changes` on the loop with what other nodes change of shared kinds.

        Reads answer with the changes by then; what this node submits is not among them, but for
        values that come back because another node's were there first (`StateConflict`). It must
        not raise. Watch before the first read, so that nothing is missed in between. Where there
        is one node only, it is never called.
        """
        ...

    def own(self, kinds: Iterable[str]) -> None:
        """Say that `kinds` are owned; before the first change of one."""
        ...

    async def refresh(self, kind: str, prefix: str = "") -> None:
        """Return once reads of these entries see all that any node had stored when it was called.

        Of an owned kind this reads them anew; changes that this node has not stored yet stay.
        Raises `StoreUnavailable`.
        """
        ...


class Lease(Protocol):
    """The right to do what only one node may do, from `Leases.acquire` until `release`."""

    @property
    def name(self) -> str: ...

    @property
    def epoch(self) -> int:
        """Higher than that of every former holder: tells what is left of one from one's own."""
        ...

    @property
    def held(self) -> bool:
        """Whether no other node can have it now. To be asked before each thing done by this right;
        once False, it stays so.
        """
        ...


class Leases(Protocol):
    """Duties and sessions, each at one node at a time.

    A lease ends by `release`, or when its node is gone or could not reach the store for a while:
    the others can have it within 15 seconds then. Holding one costs nothing, getting and releasing
    it one commit each. Names are the caller's, with a prefix of its own: `session/...`.
    """

    async def acquire(
        self,
        name: str,
        *,
        on_lost: Callable[[Lease], None],
        on_wanted: Callable[[Lease], None] | None = None,
        wait_seconds: float | None = 0.0,
    ) -> Lease | None:
        """Get the lease; None where another holder still has it after `wait_seconds` (None: wait
        for ever, which costs nothing either).

        Who waits makes itself known to the holder, whose `on_wanted` is called (once; it may
        release). `on_lost` is called when it ends otherwise than by `release`. Both are called on
        the loop and must not raise. A lease that this node holds already is held by another as far
        as this call goes. Raises `StoreUnavailable`.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Let others have it; does nothing for one that is no longer held.

        Raises `StoreUnavailable`; the lease then ends with this node.
        """
        ...

    def holder(self, name: str) -> str | None:
        """The id of the node that has it, as far as this node knows; None: nobody."""
        ...

    @property
    def node_id(self) -> str:
        """What `holder` says of this node; another one after each start."""
        ...


class Backend(Protocol):
    """One backend, opened and closed by the composition root."""

    @property
    def store(self) -> Store: ...

    @property
    def state(self) -> StateStore: ...

    @property
    def leases(self) -> Leases: ...

    @property
    def neighbours(self) -> Neighbours | None:
        """The other nodes; None where there can be none."""
        ...

    @property
    def faces(self) -> TopicFaces | None:
        """What topics are outside; None where they are nothing."""
        ...

    @property
    def healthy(self) -> bool:
        """False while the store takes nothing."""
        ...

    def figures(self) -> dict[str, float]:
        """The backend's own metrics, by their names; those that end in `_total` are counters."""
        ...

    async def open(self) -> None:
        """Read what is stored. Raises `StoreUnavailable` with a sentence for the user."""
        ...

    async def close(self, seconds_max: float | None = None) -> None:
        """Commit all that was submitted, then let go of the store.

        What needs others is given up after `seconds_max`, or after the backend's own bound.
        """
        ...
