"""The entries of the state in memory: what was submitted here, over what is known to be stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from bridge.messaging.errors import MessagingError
from bridge.messaging.model import StateChange

Watcher = Callable[[Sequence[StateChange]], None]


class Entry:
    """One key. `value` is what readers see, `stored` what the others see."""

    __slots__ = ("base", "elsewhere", "stored", "value", "version", "waiting")

    def __init__(self) -> None:
        self.value: bytes | None = None
        self.stored: bytes | None = None
        self.version = 0
        """Of an owned entry: that of its item in the table; 0 where it has none."""
        self.elsewhere = 0
        """Of a shared entry: the version of the log with which another node changed it last."""
        self.base = 0
        """Of a pending one: the version that its author knew, or that of what it stands upon."""
        self.waiting: dict[int, bytes | None] | None = None
        """The values that were submitted and not settled yet, by number."""

    @property
    def pending(self) -> bool:
        return bool(self.waiting)


class Write:
    """The state changes of one unit of work, with the numbers of their submission.

    `awaited`: it is answered once every node has it. `done` gets the error that refused it;
    `version` is the one with which it was written.
    """

    __slots__ = ("agreed", "awaited", "changes", "done", "version")

    def __init__(self, changes: list[tuple[StateChange, int]], *, agreed: bool) -> None:
        self.changes = changes
        self.agreed = agreed
        self.awaited = False
        self.version = 0
        self.done: asyncio.Future[MessagingError | None] = (
            asyncio.get_running_loop().create_future()
        )


class Entries:
    """All of them, by kind and key; and who wants to be told of what others change."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Entry]] = {}
        self._watchers: dict[str, list[Watcher]] = {}
        self._submissions = 0

    def find(self, kind: str, key: str) -> Entry | None:
        return self._kinds.get(kind, {}).get(key)

    def get(self, kind: str, key: str) -> Entry:
        """The entry; an empty one is made where there is none."""
        entries = self._kinds.setdefault(kind, {})
        entry = entries.get(key)
        if entry is None:
            entry = entries[key] = Entry()
        return entry

    def of(self, kind: str) -> dict[str, Entry]:
        return self._kinds.get(kind, {})

    def kinds(self) -> list[str]:
        return list(self._kinds)

    def tidy(self, kind: str, key: str) -> None:
        """Drop an entry that says nothing any more."""
        entry = self.find(kind, key)
        if entry is not None and not entry.pending and entry.value is entry.stored is None:
            del self._kinds[kind][key]

    def submit(self, changes: Iterable[StateChange], applied: int) -> list[tuple[StateChange, int]]:
        """Let readers see changes; `applied` is the version that they know."""
        numbered: list[tuple[StateChange, int]] = []
        for change in changes:
            self._submissions += 1
            entry = self.get(change.kind, change.key)
            if not entry.pending:
                # A later change stands upon the pending one, and falls with it.
                entry.base = applied
            if entry.waiting is None:
                entry.waiting = {}
            entry.waiting[self._submissions] = entry.value = change.value
            numbered.append((change, self._submissions))
        return numbered

    def settle(self, change: StateChange, number: int) -> None:
        """A change is stored."""
        entry = self.get(change.kind, change.key)
        entry.stored = change.value
        # What was submitted before it is past.
        later = {each: value for each, value in (entry.waiting or {}).items() if each > number}
        entry.waiting = later or None
        self.tidy(change.kind, change.key)

    def revert(self, changes: Iterable[tuple[StateChange, int]]) -> list[StateChange]:
        """Changes were refused: readers see what is left without them.

        Returns the entries that are now something else than their author knew.
        """
        back: list[StateChange] = []
        for change, number in changes:
            entry = self.find(change.kind, change.key)
            if entry is None or not entry.waiting or number not in entry.waiting:
                continue
            del entry.waiting[number]
            left = next(reversed(entry.waiting.values())) if entry.waiting else entry.stored
            if entry.value != left:
                entry.value = left
                back.append(StateChange(change.kind, change.key, left))
            self.tidy(change.kind, change.key)
        return back

    def adopt(self, changes: Iterable[StateChange], version: int) -> list[StateChange]:
        """Another node has stored changes; returns those that readers see."""
        seen: list[StateChange] = []
        for change in changes:
            entry = self.get(change.kind, change.key)
            entry.stored = change.value
            entry.elsewhere = version
            if not entry.pending and entry.value != change.value:
                entry.value = change.value
                seen.append(change)
            self.tidy(change.kind, change.key)
        return seen

    # -- telling

    def watch(self, kinds: Iterable[str], watcher: Watcher) -> None:
        for kind in kinds:
            self._watchers.setdefault(kind, []).append(watcher)

    def tell(self, changes: Sequence[StateChange]) -> None:
        """Call each watcher once with all that is for it, the earlier watchers first."""
        watchers: dict[Watcher, list[StateChange]] = {}
        for change in changes:
            for watcher in self._watchers.get(change.kind, ()):
                watchers.setdefault(watcher, []).append(change)
        for watcher, theirs in watchers.items():
            try:
                watcher(theirs)
            except Exception as error:  # noqa: BLE001 - reported; the others must hear of it
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"{watcher!r} failed", "exception": error}
                )
