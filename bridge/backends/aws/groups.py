"""What waits to be sent in first-in-first-out groups. Hot path: what a step costs does not grow
with what waits.

A group has one batch under way at a time, and what is not ready, since its payload is on its way to
S3, holds up all that is behind it in its group. So no message overtakes another one of its group;
of all that may leave, what came first is first.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.backends.aws.sending import Outgoing


class _Group:
    """Messages of one group, in order."""

    __slots__ = ("free", "items", "size", "under_way")

    def __init__(self) -> None:
        self.items: deque[Outgoing] = deque()
        self.size = 0
        """Of all items, in bytes."""
        self.under_way = False
        self.free = False
        """Whether its first message may leave now."""


class Groups:
    """What waits, by group."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._free: list[tuple[int, _Group]] = []
        """A heap of the free groups, by the places of their first messages."""
        self._places = 0
        self.free_count = 0
        """Messages of free groups."""
        self.free_size = 0
        """Of the same, in bytes."""

    def add(self, item: Outgoing) -> None:
        """Take the last message of its group."""
        self._places += 1
        item.place = self._places
        name = _group_of(item)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group()
        group.items.append(item)
        group.size += item.size
        if group.free:
            self.free_count += 1
            self.free_size += item.size
        else:
            self._free_if_so(name, group)

    def became_ready(self, item: Outgoing) -> None:
        """What was added before it was ready may leave now."""
        name = _group_of(item)
        group = self._groups[name]
        if not group.free:
            self._free_if_so(name, group)

    def remove(self, item: Outgoing) -> None:
        """Give up a message that was not ready; those behind it need not wait for it any more."""
        name = _group_of(item)
        group = self._groups[name]
        group.items.remove(item)
        group.size -= item.size
        if group.free:
            self.free_count -= 1
            self.free_size -= item.size
        else:
            self._free_if_so(name, group)

    def take(self, count_max: int, size_max: int) -> list[Outgoing]:
        """Take a batch, whose groups are under way from now on; empty where nothing may leave.

        A message that is longer than `size_max` leaves alone.
        """
        batch: list[Outgoing] = []
        size = 0
        # As `_free`, of the groups that the batch has something of already.
        begun: list[tuple[int, _Group]] = []
        while (begun or self._free) and len(batch) < count_max:
            heap = min((begun, self._free), key=_first_place)
            group = heap[0][1]
            item = group.items[0]
            if batch and size + item.size > size_max:
                break
            heappop(heap)
            if group.free:
                group.free, group.under_way = False, True
                self._count(group, -1)
            batch.append(group.items.popleft())
            size += item.size
            group.size -= item.size
            if group.items and group.items[0].ready:
                heappush(begun, (group.items[0].place, group))
        return batch

    def landed(self, batch: Sequence[Outgoing]) -> None:
        """A batch was answered: what is behind it in its groups may leave."""
        for name in {_group_of(item) for item in batch}:
            group = self._groups[name]
            group.under_way = False
            self._free_if_so(name, group)

    def take_all(self) -> list[Outgoing]:
        """Take everything, ready or not."""
        items = [item for group in self._groups.values() for item in group.items]
        for group in self._groups.values():
            group.items.clear()
            group.size, group.free = 0, False
        self._free.clear()
        self.free_count = self.free_size = 0
        return items

    def _free_if_so(self, name: str, group: _Group) -> None:
        if group.under_way:
            return
        if not group.items:
            del self._groups[name]
        elif group.items[0].ready:
            group.free = True
            heappush(self._free, (group.items[0].place, group))
            self._count(group, 1)

    def _count(self, group: _Group, sign: int) -> None:
        self.free_count += sign * len(group.items)
        self.free_size += sign * group.size


def _first_place(heap: list[tuple[int, _Group]]) -> float:
    return heap[0][0] if heap else inf


def _group_of(item: Outgoing) -> str:
    return item.entry.message_group_id or ""
