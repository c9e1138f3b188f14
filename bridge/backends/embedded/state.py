"""The state store's port: small values in the same file, overlaid by what is uncommitted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.backends.embedded.committer import Committer
    from bridge.messaging.model import StateChange
    from bridge.storage import Database

KEYS_AT_ONCE = 1_000
"""Keys that are read from the file together."""
PREFIX_END = "\U0010ffff"
"""Sorts behind every character that keys have."""


class EmbeddedState:
    """See `bridge.messaging.ports.StateStore`."""

    def __init__(self, database: Database, committer: Committer) -> None:
        self._database = database
        self._committer = committer

    def get(self, kind: str, key: str) -> bytes | None:
        changed, value = self._committer.uncommitted_value(kind, key)
        if changed:
            return value
        rows = self._database.query_now(
            "SELECT value FROM state WHERE kind = ? AND key = ?", (kind, key)
        )
        return rows[0][0] if rows else None

    def scan(self, kind: str, prefix: str = "") -> Iterable[tuple[str, bytes]]:
        rows = dict(
            self._database.query_now(
                "SELECT key, value FROM state WHERE kind = ? AND key >= ? AND key < ?",
                (kind, prefix, prefix + PREFIX_END),
            )
        )
        for key, value in self._committer.uncommitted(kind).items():
            if not key.startswith(prefix):
                continue
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        return sorted(rows.items())

    def keys(self, kind: str) -> Iterable[str]:
        uncommitted = self._committer.uncommitted(kind)
        yield from [key for key, value in uncommitted.items() if value is not None]
        last, after = "", ">="
        while rows := self._database.query_now(
            f"SELECT key FROM state WHERE kind = ? AND key {after} ? ORDER BY key LIMIT ?",
            (kind, last, KEYS_AT_ONCE),
        ):
            yield from [key for (key,) in rows if key not in uncommitted]
            last, after = rows[-1][0], ">"

    def watch(
        self, kinds: Iterable[str], on_changes: Callable[[Sequence[StateChange]], None]
    ) -> None:
        """Nobody else changes anything here."""

    def own(self, kinds: Iterable[str]) -> None:
        """All of them are this process's own."""

    async def refresh(self, kind: str, prefix: str = "") -> None:
        """Reads always see all that is stored."""
