"""The data directory: one process at a time, and the numbered migrations of the store in it."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from importlib import resources
from pathlib import Path

from bridge.storage.errors import DirectoryInUse, NewerStore, StorageError

STORE_FILE = "store.sqlite3"
LOCK_FILE = "lock"


class DirectoryLock:
    """An exclusive lock on a data directory, held until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        try:
            # Messages are nobody else's business: what is made here is the owner's alone.
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(f"cannot use the data directory {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise DirectoryInUse(
                f"the data directory {path} is in use by process {owner or 'unknown'};"
                " stop it, or give this one another backend.path"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, str(os.getpid()).encode())

    def release(self) -> None:
        os.close(self._descriptor)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the store to the newest version, one transaction per migration.

    Raises `NewerStore` for a store that a later release has written.
    """
    scripts = _migrations()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(scripts):
        raise NewerStore(
            f"the store has version {version}, and this release knows up to {len(scripts)};"
            " start the release that wrote it, or a later one"
        )
    for number, script in enumerate(scripts[version:], version + 1):
        connection.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


def _migrations() -> list[str]:
    folder = resources.files("bridge.storage") / "migrations"
    found = sorted(
        (item.name, item.read_text(encoding="utf-8"))
        for item in folder.iterdir()
        if re.fullmatch(r"\d{4}_\w+\.sql", item.name)
    )
    return [script for _, script in found]
