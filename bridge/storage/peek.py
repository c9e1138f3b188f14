"""A look at what a data directory keeps, whether a broker runs on it or not: nothing is locked,
changed or migrated.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from bridge.storage.directory import STORE_FILE


def state_keys(directory: Path, kind: str) -> list[str]:
    """The keys of a kind of state; none where there is no store that can be read."""
    query = "SELECT key FROM state WHERE kind = ? ORDER BY key"
    return [key for (key,) in _rows(directory, query, (kind,))]


def state_value(directory: Path, kind: str, key: str) -> bytes | None:
    """One value of the state; None where there is none that can be read."""
    query = "SELECT value FROM state WHERE kind = ? AND key = ?"
    return next((value for (value,) in _rows(directory, query, (kind, key))), None)


def has_queue(directory: Path, namespace: str, name: str) -> bool:
    """Whether there is a store that can be read, and the queue in it."""
    query = "SELECT 1 FROM queue WHERE namespace = ? AND name = ?"
    return bool(_rows(directory, query, (namespace, name)))


def _rows(directory: Path, query: str, parameters: tuple[str, ...]) -> list[tuple[Any, ...]]:
    file = directory / STORE_FILE
    if not file.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query, parameters).fetchall()
    except (sqlite3.Error, OSError):
        return []
