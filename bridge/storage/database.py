"""One SQLite file in WAL mode behind four threads, so that nothing blocks the event loop.

The writer commits what is there as one, and leaves it to the syncer while it writes the next: one
sync serves all that was written meanwhile. The reader answers queries on a connection of its own;
the checkpointer moves the WAL into the file, so that a commit never pays for it. Callbacks come on
these threads: callers hop back to their loop themselves. The small reads of `state` run on the
caller's thread.

SQLite itself syncs only around checkpoints (synchronous = NORMAL): the WAL before what it holds is
moved, the file before the WAL is begun anew. After a sync that failed nobody knows what of the WAL
is on the disk, and a later sync may not say so; so the writer first moves all of it into the file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from bridge.storage.batch import WriteBatch
from bridge.storage.directory import STORE_FILE, DirectoryLock, migrate
from bridge.storage.errors import StorageError, Unstorable
from bridge.storage.statements import ROWS_PER_STATEMENT_MAX, purge_some, write

CACHE_KIB = 8 * 1024
"""Page cache of each connection."""
STATEMENTS_KEPT = 4 * ROWS_PER_STATEMENT_MAX
"""Prepared statements of each connection: the writer's are one for each number of rows."""
CHECKPOINT_COMMITS = 200
"""Commits after which the checkpointer runs."""
CHECKPOINT_SECONDS = 1.0
"""How long after a commit the checkpointer runs in any case: few commits can be large."""
WAL_PAGES_MAX = 4 * 1024
"""Pages in the WAL (4 KiB each) from which the writer itself waits for a full checkpoint."""
WAL_RESERVED_BYTES = WAL_PAGES_MAX * (4096 + 24)
"""The WAL has this size from the start: to sync what overwrites it takes half of the time of what
makes a file longer (ext4, 4 to 40 KiB: 0.11 against 0.24 ms).
"""

ReadDone = Callable[[list[Any], Exception | None], None]
_Read = tuple[str, Sequence[Any], ReadDone, int | None]

_NOT_STORABLE = (sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError)
"""SQLite's words for values that it cannot take, while the file is in order."""


class Durability(Enum):
    """When a commit counts: after fsync, once the operating system has it, or never."""

    FSYNC = "fsync"
    OS = "os"
    MEMORY = "memory"


_SYNCHRONOUS = {Durability.FSYNC: "NORMAL", Durability.OS: "NORMAL", Durability.MEMORY: "OFF"}
_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
"""Not every system has the one that leaves the file's times alone."""


class Database:
    """The store's file. `open` before anything else; `close` commits what was submitted."""

    def __init__(self, directory: Path, durability: Durability) -> None:
        self._directory = directory
        self._durability = durability
        self._lock: DirectoryLock | None = None
        self._batches: SimpleQueue[WriteBatch | None] = SimpleQueue()
        self._ahead: list[WriteBatch | None] = []
        """At most one, that the writer has taken out of the queue and not written yet."""
        self._refusal: Exception | None = None
        """What was wrong with the batch that was written last."""
        self._syncs: SimpleQueue[WriteBatch | None] = SimpleQueue()
        self._reads: SimpleQueue[_Read | None] = SimpleQueue()
        self._written = threading.Event()
        self._checkpoint = threading.Event()
        self._wal_over = False
        self._doubtful = False
        """True after a sync that failed, until the WAL is in the file."""
        self._closing = False
        self._threads: list[threading.Thread] = []
        self.commits = 0

    @property
    def path(self) -> Path:
        return self._directory / STORE_FILE

    @property
    def _wal_path(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    def open(self) -> None:
        """Lock the directory, migrate the store and start the threads. Raises `StorageError`."""
        self._lock = DirectoryLock(self._directory)
        try:
            if self._durability is Durability.MEMORY:
                self._forget()
            with self._connect() as connection:
                migrate(connection)
                while self._purge(connection):
                    pass
            connection.close()
            self._state = self._connect()
            if self._durability is Durability.FSYNC:
                self._reserve_wal()
                self._wal = os.open(self._wal_path, os.O_RDWR)
        except (sqlite3.Error, OSError, StorageError) as error:
            self._lock.release()
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"cannot open the store {self.path}: {error}") from error
        targets = (self._write_loop, self._sync_loop, self._read_loop, self._checkpoint_loop)
        for target in targets:
            thread = threading.Thread(target=target, name=f"store{target.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _forget(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _reserve_wal(self) -> None:
        """Lengthen the WAL by zeros, which end it for whoever reads it (file format, 4.3)."""
        with self._wal_path.open("ab") as wal:
            missing = WAL_RESERVED_BYTES - wal.tell()
            if missing > 0:
                wal.write(bytes(missing))
                wal.flush()
                os.fsync(wal.fileno())
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=30,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS_KEPT,
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[self._durability]}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        # Some builds of SQLite write every page that became free once more, full of zeros: of what
        # passes through a queue that is most pages, and an eighth of the time of small commits.
        connection.execute("PRAGMA secure_delete = FAST")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def close(self) -> None:
        """Commit every batch that was submitted, checkpoint, let go of the directory."""
        self._closing = True
        self._batches.put(None)
        self._reads.put(None)
        self._written.set()
        self._checkpoint.set()
        for thread in self._threads:
            thread.join()
        self._state.close()
        if self._durability is Durability.FSYNC:
            os.close(self._wal)
        if self._lock is not None:
            self._lock.release()

    # -- reading

    def query_now(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Run a small read on the caller's thread; for the state and for recovery."""
        return self._state.execute(sql, parameters).fetchall()

    def query(
        self, sql: str, parameters: Sequence[Any], done: ReadDone, *, bytes_max: int | None = None
    ) -> None:
        """Run a read on the reader's thread, where `done` is called with the rows or the error.

        The rows end with the one whose last column makes them heavier than `bytes_max`.
        """
        self._reads.put((sql, parameters, done, bytes_max))

    def _read_loop(self) -> None:
        connection = self._connect()
        while (request := self._reads.get()) is not None:
            sql, parameters, done, bytes_max = request
            try:
                rows = _some_of(connection.execute(sql, parameters), bytes_max)
            except Exception as error:  # noqa: BLE001 - or nothing is ever read again
                done([], error)
            else:
                done(rows, None)
        connection.close()

    # -- writing

    def submit(self, batch: WriteBatch) -> None:
        """Commit a batch, after those submitted before it."""
        self._batches.put(batch)

    def _write_loop(self) -> None:
        connection = self._connect()
        purging = True
        while True:
            try:
                group = self._take_group(wait=not purging)
            except Empty:
                purging = self._purge(connection)
                continue
            if not group:
                break
            self._commit(connection, group)
            purging = purging or any(batch.purges for batch in group)
        self._syncs.put(None)
        connection.close()

    def _take_group(self, *, wait: bool) -> list[WriteBatch]:
        """The next batch with those behind it that follow it; none at the end. Raises `Empty`."""
        first = self._ahead.pop() if self._ahead else self._batches.get(block=wait)
        if first is None:
            return []
        group = [first]
        while not self._batches.empty():
            batch = self._batches.get()
            if batch is None or not batch.follows:
                self._ahead.append(batch)
                break
            group.append(batch)
        return group

    def _commit(self, connection: sqlite3.Connection, group: list[WriteBatch]) -> None:
        if self._refusal is None or not group[0].follows:
            self._refusal = self._write(connection, group)
        self.commits += 1
        for batch in group:
            batch.written(self._refusal)
            if self._refusal is None:
                self._syncs.put(batch)
        self._tend_wal(connection)

    def _write(self, connection: sqlite3.Connection, group: list[WriteBatch]) -> Exception | None:
        """Write a group in one transaction; returns what is wrong with it."""
        try:
            if self._doubtful:
                self._move_wal(connection)
            connection.execute("BEGIN IMMEDIATE")
            write(connection, group)
            connection.execute("COMMIT")
        except Exception as failure:  # noqa: BLE001 - whatever it is, nothing was stored
            _roll_back(connection)
            storable = isinstance(failure, sqlite3.Error) and not isinstance(failure, _NOT_STORABLE)
            return failure if storable else Unstorable(str(failure))
        return None

    def _move_wal(self, connection: sqlite3.Connection) -> None:
        """Have all of the WAL in the file, synced. Raises `sqlite3.Error` where that fails."""
        busy, pages, moved = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        if busy or pages != moved:
            raise sqlite3.OperationalError("the store is still being read")
        self._doubtful = False

    def _sync_loop(self) -> None:
        open_still = True
        while open_still:
            batches = [self._syncs.get()]
            while not self._syncs.empty():
                batches.append(self._syncs.get())
            open_still = batches[-1] is not None
            written = [batch for batch in batches if batch is not None]
            forced = self._doubtful or any(batch.forced for batch in written)
            error = self._sync() if forced else None
            for batch in written:
                batch.synced(error)

    def _sync(self) -> Exception | None:
        if self._durability is not Durability.FSYNC:
            return None
        if self._doubtful:
            return OSError("an earlier sync failed")
        try:
            _sync_data(self._wal)
        except OSError as error:
            self._doubtful = True
            return error
        return None

    def _purge(self, connection: sqlite3.Connection) -> bool:
        try:
            connection.execute("BEGIN IMMEDIATE")
            more = purge_some(connection)
            connection.execute("COMMIT")
        except sqlite3.Error:
            # The purge stays noted in its table: the next one, or the next start, finishes it.
            _roll_back(connection)
            return False
        self._tend_wal(connection)
        return more

    def _tend_wal(self, connection: sqlite3.Connection) -> None:
        if self._wal_over:
            self._wal_over = False
            _checkpoint(connection, "RESTART")
        self._written.set()
        if self.commits % CHECKPOINT_COMMITS == 0:
            self._checkpoint.set()

    def _checkpoint_loop(self) -> None:
        connection = self._connect()
        while not self._closing:
            self._written.wait()
            self._checkpoint.wait(CHECKPOINT_SECONDS)
            self._checkpoint.clear()
            self._written.clear()
            self._wal_over = _checkpoint(connection, "PASSIVE") > WAL_PAGES_MAX
        connection.close()


def _some_of(rows: sqlite3.Cursor, bytes_max: int | None) -> list[Any]:
    if bytes_max is None:
        return rows.fetchall()
    found = []
    for row in rows:
        found.append(row)
        bytes_max -= len(row[-1] or b"")
        if bytes_max < 0:
            break
    rows.close()
    return found


def _roll_back(connection: sqlite3.Connection) -> None:
    """Leave the transaction, which SQLite may have done itself."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _checkpoint(connection: sqlite3.Connection, mode: str) -> int:
    """Move the WAL into the file as far as readers allow; returns the pages in the WAL.

    A full disk is no reason to stop: the WAL holds everything, and the next run tries again.
    """
    try:
        _, pages, _ = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    except sqlite3.Error:
        return 0
    return int(pages)
