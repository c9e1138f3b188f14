"""The entries of the state in memory: what was submitted here, over what is known to be stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from bridge.messaging.errors import MessagingError
from bridge.messaging.model import StateChange

Watcher = Callable[[Sequence[StateChange]], None]


class Entry:
    """One key. `value` is what readers see, `stored` what the others see."""

    __slots__ = ("elsewhere", "stored", "submitted", "value", "version", "written")

    def __init__(self) -> None:
        self.value: bytes | None = None
        self.stored: bytes | None = None
        self.version = 0
        """Of an owned entry: that of its item in the table; 0 where it has none."""
        self.elsewhere = 0
        """Of a shared entry: the version of the log with which another node changed it last."""
        self.submitted = 0
        """Number of the latest submission, and of the latest that is settled."""
        self.written = 0

    @property
    def pending(self) -> bool:
        return self.submitted > self.written


class Write:
    """The state changes of one unit of work, with the numbers of their submission.

    `base` is the version of the shared state that whoever asked for it knew. `done` gets the error
    that refused it; `version` is the one with which it was written.
    """

    __slots__ = ("agreed", "base", "changes", "done", "version")

    def __init__(self, changes: list[tuple[StateChange, int]], base: int, *, agreed: bool) -> None:
        self.changes = changes
        self.base = base
        self.agreed = agreed
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

    def submit(self, changes: Iterable[StateChange]) -> list[tuple[StateChange, int]]:
        """Let readers see changes."""
        numbered: list[tuple[StateChange, int]] = []
        for change in changes:
            self._submissions += 1
            entry = self.get(change.kind, change.key)
            entry.submitted = self._submissions
            entry.value = change.value
            numbered.append((change, self._submissions))
        return numbered

    def settle(self, change: StateChange, number: int) -> None:
        """A change is stored."""
        entry = self.get(change.kind, change.key)
        entry.stored = change.value
        entry.written = max(entry.written, number)
        self.tidy(change.kind, change.key)

    def revert(self, changes: Iterable[tuple[StateChange, int]]) -> list[StateChange]:
        """Changes were refused: readers see what is stored, unless more was submitted.

        Returns the entries that are now something else than their author knew.
        """
        back: list[StateChange] = []
        for change, number in changes:
            entry = self.find(change.kind, change.key)
            if entry is not None and entry.submitted == number:
                entry.written = number
                if entry.value != entry.stored:
                    entry.value = entry.stored
                    back.append(StateChange(change.kind, change.key, entry.stored))
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
