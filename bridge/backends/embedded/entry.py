"""One message in one queue of the embedded store, and where it is on its way to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.messaging.model import Delivery, Message, UnitOfWork

if TYPE_CHECKING:
    from bridge.backends.embedded.queue import EmbeddedQueue

NEW: Final = 0
"""In the next commit, unless it is settled before (elision)."""
WRITING: Final = 1
"""In the commit that is being written."""
STORED: Final = 2
MEMORY: Final = 3
"""Never written: its queue is transient."""
GONE: Final = 4
"""Settled, expired or purged; whoever still holds it must do nothing."""

LANE_BITS: Final = 41
"""An entry's id is its lane's number, shifted by this, and its sequence in the lane."""


class Content:
    """A body that several entries share, stored once."""

    __slots__ = ("body", "id")

    def __init__(self, content_id: int, body: bytes) -> None:
        self.id = content_id
        self.body = body


class Entry(Delivery):
    """A delivery with its place in the store.

    `held` while a receiver has it; `deadline` is then the end of its visibility timeout (epoch ms),
    or None where a connection holds it. `blocked` until its atomic unit has committed. `away`: the
    queue knows it by a count only, since it is on disk or on its way there. `refused`: it was not
    stored, and its publisher knows. `visible_at` and `counted` are what the disk knows.
    """

    __slots__ = (
        "away",
        "blocked",
        "content",
        "counted",
        "deadline",
        "expires_at",
        "held",
        "id",
        "received_at",
        "refused",
        "status",
        "unit",
        "visible_at",
    )

    queue: EmbeddedQueue

    def __init__(self, queue: EmbeddedQueue, message: Message, entry_id: int, status: int) -> None:
        self.queue = queue
        self.message = message
        self.id = entry_id
        self.status = status
        self.receive_count = 0
        self.return_count = 0
        self.first_received_at = None
        self.sequence_number = None
        self.counted = 0
        self.held = False
        self.blocked = False
        self.away = False
        self.refused = False
        self.unit: UnitOfWork | None = None
        self.content: Content | None = None
        self.deadline: int | None = None
        self.expires_at: int | None = None
        self.visible_at: int | None = None
        self.received_at = 0

    def __lt__(self, other: Entry) -> bool:
        """For heaps in which an entry stands twice: given back while it was still to be passed."""
        return self.id < other.id
