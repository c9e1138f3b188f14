"""Fair queues: the tenants of a standard queue, told apart by message group (SQS).

A tenant is noisy with `NOISY_MESSAGES_MIN` messages that are not settled, if these are also more
than a tenth of its queue's. What it sends from then on stands in a lane of its own, which has its
turn when the others have nothing to hand out, and once in ten takes all the same, so that nobody
waits for ever. It is quiet again when nothing of it is left there: what it sends does not overtake
what it has sent by more than that.

AWS looks at what is in flight and at the time that it takes; here the backlog counts, too, so that
one slow consumer is enough to profit.
"""

from __future__ import annotations

from typing import Final

NOISY_MESSAGES_MIN: Final = 30
NOISY_SHARE: Final = 10
"""A noisy tenant has more than one in so many of its queue's messages; and its turn comes once in
so many takes.
"""
_EVICTIONS_TRIED = 8


class Tenant:
    """What one tenant has in its queue; `behind` is how much of it waits behind quiet tenants."""

    __slots__ = ("behind", "unsettled")

    def __init__(self) -> None:
        self.unsettled = 0
        self.behind = 0


class Tenants:
    """The tenants that were seen lately. One that is forgotten counts as quiet."""

    __slots__ = ("_maximum", "_takes", "_tenants")

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._tenants: dict[str, Tenant] = {}
        self._takes = 0

    def __len__(self) -> int:
        return len(self._tenants)

    def sent(self, group_id: str, queue_count: int) -> bool:
        """Count a message that is sent to a queue that has so many; True if its tenant is noisy."""
        tenant = self._tenants.get(group_id)
        if tenant is None:
            tenant = Tenant()
            if len(self._tenants) < self._maximum or self._forget_one():
                self._tenants[group_id] = tenant
        noisy = tenant.behind > 0 or (
            tenant.unsettled >= NOISY_MESSAGES_MIN and tenant.unsettled * NOISY_SHARE > queue_count
        )
        tenant.unsettled += 1
        tenant.behind += noisy
        return noisy

    def settled(self, group_id: str, *, behind: bool) -> None:
        """A message has left the queue; `behind` if it was sent while its tenant was noisy."""
        tenant = self._tenants.get(group_id)
        if tenant is None:
            return
        tenant.unsettled -= 1
        if behind and tenant.behind:
            tenant.behind -= 1
        if tenant.unsettled <= 0:
            del self._tenants[group_id]

    def turn_of_noisy(self) -> bool:
        """Whether noisy tenants are asked first in this take."""
        self._takes = (self._takes + 1) % NOISY_SHARE
        return self._takes == 0

    def clear(self) -> None:
        """The queue was purged."""
        self._tenants.clear()

    def _forget_one(self) -> bool:
        """Make room for another tenant: one that is not noisy goes, of those seen first."""
        for _ in range(_EVICTIONS_TRIED):
            group_id = next(iter(self._tenants))
            tenant = self._tenants.pop(group_id)
            if tenant.unsettled < NOISY_MESSAGES_MIN and not tenant.behind:
                return True
            self._tenants[group_id] = tenant
        return False
