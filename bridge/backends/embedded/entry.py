"""One message in one queue of the embedded store, and where it is on its way to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.messaging.model import Delivery, UnitOfWork

if TYPE_CHECKING:
    from bridge.backends.embedded.queue import EmbeddedQueue

NEW: Final = 0
"""In the next commit, unless it is settled before (elision)."""
WRITING: Final = 1
"""With the writer; stored since, perhaps, where its settling was given back."""
STORED: Final = 2
MEMORY: Final = 3
"""Never written: its queue is transient."""
GONE: Final = 4
"""Settled, expired or purged; whoever still holds it must do nothing."""

ON_DISK: Final = (WRITING, STORED)
"""Or on its way there, so that what changes has to follow."""

LANE_BITS: Final = 41
"""An entry's id is its lane's number, shifted by this, and its sequence in the lane."""


class Content:
    """A body that several entries share, stored once."""

    __slots__ = ("body", "id")

    def __init__(self, content_id: int, body: bytes) -> None:
        self.id = content_id
        self.body = body


class Entry(Delivery, kw_only=True, gc=False, eq=False):
    """A delivery with its place in the store.

    `held` while a receiver has it; `deadline` is then the end of its visibility timeout (epoch ms),
    or None where a connection holds it. `blocked` until its atomic unit has committed. `away`: the
    queue knows it by a count only, since it is on disk or on its way there. `refused`: it was not
    stored, and its publisher knows, or was purged while it was being settled: it never comes back.
    `visible_at` and `counted` are what the disk knows. `ticket` is what its receipt handles begin
    with, once it was received under a visibility timeout.

    The collector does not look at entries, so every circle through one is opened by hand: a queue
    that goes lets go of all its entries, and `unit` is None again once the entry is stored.
    """

    if TYPE_CHECKING:
        queue: EmbeddedQueue
    id: int
    status: int
    unit: UnitOfWork | None = None
    content: Content | None = None
    ticket: str = ""
    held: bool = False
    blocked: bool = False
    away: bool = False
    refused: bool = False
    counted: int = 0
    received_at: int = 0
    deadline: int | None = None
    expires_at: int | None = None
    visible_at: int | None = None

    def __lt__(self, other: Entry) -> bool:
        """For heaps in which an entry stands twice: given back while it was still to be passed."""
        return self.id < other.id
