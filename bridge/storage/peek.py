"""A look at what a data directory keeps, whether a broker runs on it or not: nothing is locked,
changed or migrated.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from bridge.storage.directory import STORE_FILE


def state_keys(directory: Path, kind: str) -> list[str]:
    """The keys of a kind of state; none where there is no store that can be read."""
    file = directory / STORE_FILE
    if not file.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT key FROM state WHERE kind = ? ORDER BY key", (kind,))
            return [key for (key,) in rows]
    except (sqlite3.Error, OSError):
        return []
