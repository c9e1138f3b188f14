"""Exclusive queues: in the memory of one node, for one connection, and gone with it.

Others may send to one, as to any queue: that is how replies come. Consuming, binding, purging,
changing and deleting it are its connection's alone, whatever protocol is asked for them.
"""

from __future__ import annotations

from typing import Final

from bridge.messaging.errors import ResourceLocked
from bridge.messaging.model import QueueName
from bridge.messaging.ports import Queue

OWNER_TAG: Final = "landbridge-exclusive-owner"
"""The tag of an exclusive queue: the name of its connection."""


def owner_of(queue: Queue) -> str | None:
    """The connection that a queue belongs to, if it is exclusive.

    Queues that stay are nobody's: on them the tag is what somebody has written there.
    """
    return queue.settings.tags.get(OWNER_TAG) if queue.transient else None


def require_owner(queue: Queue, connection: str | None = None) -> None:
    """Raise `ResourceLocked` where a queue belongs to another connection than this one."""
    owner = owner_of(queue)
    if owner is not None and owner != connection:
        raise locked(queue.name)


def locked(name: QueueName) -> ResourceLocked:
    """The refusal in RabbitMQ's words."""
    return ResourceLocked(
        f"cannot obtain exclusive access to locked queue '{name.name}' in vhost"
        f" '{name.namespace}'. It could be originally declared on another connection or the"
        " exclusive property value does not match that of the original declaration."
    )
