"""The embedded store's file: SQLite in WAL mode behind a writer and a reader thread.

Nothing here knows what a queue does; it stores rows, deletes ranges and answers once they are
durable.
"""

from __future__ import annotations

from bridge.storage.batch import EntryRow, WriteBatch
from bridge.storage.database import Database, Durability

__all__ = ["Database", "Durability", "EntryRow", "WriteBatch"]
