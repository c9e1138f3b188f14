"""The port to the other nodes, where there can be some: what goes with one process is known to all.

Transient queues and what is bound to them stand in the shared state as long as their node lives. A
backend of one process has no such object.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from bridge.messaging.model import QueueName
from bridge.messaging.ports import Queue


class Neighbours(Protocol):
    """The nodes besides this one, as far as the catalogue has to do with them."""

    remove: Callable[[Queue], Awaitable[None]] | None
    """To be set: removes a queue of a node that is gone, with its bindings."""
    restore: Callable[[Iterable[QueueName]], Awaitable[None]] | None
    """To be set: stores the bindings of queues again, which others took for dead."""

    @property
    def alone(self) -> bool:
        """Whether this was the only node when it started: of former ones nothing lives."""
        ...

    def keeps(self, queue: QueueName) -> bool:
        """Whether it is this node's although the others may have deleted it: they took the node for
        dead, and it has not come back yet.
        """
        ...
