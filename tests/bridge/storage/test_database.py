"""Writer, reader and checkpointer: an error costs one batch or one read, never a thread."""

from __future__ import annotations

import errno
import queue
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never, cast

import pytest

from bridge.storage import Database, Durability, EntryRow, WriteBatch, statements
from bridge.storage import database as database_module
from bridge.storage.batch import ABSENT, ContentRow, DeduplicationRow, QueueRow, ReceiveRow
from bridge.storage.errors import Unstorable


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path, Durability.FSYNC)
    database.open()
    yield database
    database.close()


def entry(
    number: int,
    body: bytes | None = b"x",
    content: int | None = None,
    *,
    expires_at: int = ABSENT,
    head: bytes = b"head",
) -> EntryRow:
    return (
        number,
        ABSENT,
        expires_at,
        0,
        0,
        ABSENT,
        ABSENT if content is None else content,
        head,
        ABSENT if body is None else body,
    )


def commit(database: Database, **parts: Any) -> Exception | None:
    """Commit a batch of these parts and wait for its answer."""
    answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def written(error: Exception | None) -> None:
        if error is not None:
            answers.put(error)

    batch = WriteBatch(written, answers.put)
    for part, value in parts.items():
        setattr(batch, part, value)
    database.submit(batch)
    return answers.get(timeout=60)


def read(database: Database, sql: str, **options: Any) -> tuple[list[Any], Exception | None]:
    answers: queue.SimpleQueue[tuple[list[Any], Exception | None]] = queue.SimpleQueue()
    database.query(sql, (), lambda rows, error: answers.put((rows, error)), **options)
    return answers.get(timeout=60)


def purged(database: Database) -> None:
    """Let the writer finish what is noted for purging."""
    while database.query_now("SELECT 1 FROM purge"):
        assert commit(database) is None


def _unencodable(_: int) -> Never:
    raise TypeError("cannot encode")


@pytest.mark.parametrize(
    "bad",
    [
        {"state": [("kind", "\ud800", b"")]},
        {"entries": [entry(2**63)]},
        {"entries": [entry(1, expires_at=2**80)]},
        {"entries": [entry(1, head=cast("bytes", []))]},
        {"entries": map(_unencodable, [1])},
    ],
    ids=["surrogate", "id too large", "time too large", "no such type", "encoder fails"],
)
def test_a_value_that_cannot_be_written_costs_its_batch(
    database: Database, bad: dict[str, Any]
) -> None:
    assert isinstance(commit(database, **bad), Unstorable)
    assert commit(database, entries=[entry(1)]) is None
    assert database.query_now("SELECT id FROM entry") == [(1,)]


def test_what_sqlite_refuses_is_not_the_values_fault(database: Database) -> None:
    database.query_now(
        "CREATE TRIGGER t BEFORE INSERT ON entry BEGIN SELECT RAISE(FAIL, 'full'); END"
    )
    error = commit(database, entries=[entry(1)])
    assert isinstance(error, sqlite3.Error)


def test_a_read_that_fails_costs_that_read(database: Database) -> None:
    assert isinstance(read(database, "SELECT nothing")[1], sqlite3.Error)
    answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
    database.query("SELECT ?", (2**80,), lambda _, error: answers.put(error))
    assert isinstance(answers.get(timeout=60), OverflowError)
    assert read(database, "SELECT 1") == ([(1,)], None)


def test_a_read_ends_with_the_row_that_is_too_heavy(database: Database) -> None:
    commit(database, entries=[entry(number, b"x" * 100) for number in range(10)])
    rows, _ = read(database, "SELECT id, body FROM entry ORDER BY id", bytes_max=250)
    assert [row[0] for row in rows] == [0, 1, 2]


def test_what_is_absent_is_null_and_every_number_of_rows_has_its_statement(
    database: Database,
) -> None:
    first = 0
    for count in (1, 2, 63, 64, 65, 150):
        rows = [entry(first + number, b"" if number else None) for number in range(count)]
        assert commit(database, entries=rows, deletes=list(range(first))) is None
        columns = "id, visible_at, expires_at, first_received_at, content, body"
        assert database.query_now(f"SELECT {columns} FROM entry ORDER BY id") == [
            (first + number, None, None, None, None, b"" if number else None)
            for number in range(count)
        ]
        first += count


class _Weighing(sqlite3.Connection):
    """Notes the bytes that each statement of more than one row is given: SQLite keeps them."""

    heaviest = 0

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if "), (" in sql or "),(" in sql:
            weight = sum(len(each) for each in parameters if isinstance(each, bytes))
            self.heaviest = max(self.heaviest, weight)
        return super().execute(sql, parameters)


@pytest.mark.parametrize("size_bytes", [10, 1_000, statements.BYTES_PER_STATEMENT_MAX])
def test_no_statement_of_many_rows_keeps_many_bytes(database: Database, size_bytes: int) -> None:
    connection = sqlite3.connect(database.path, factory=_Weighing)
    batch = WriteBatch(print, print)
    body = bytes(size_bytes)
    batch.entries = [entry(number, body) for number in range(150)]
    batch.contents = [ContentRow(number, body, 1) for number in range(70)]
    batch.state = [("kind", str(number), body) for number in range(70)]
    statements.write(connection, [batch])
    assert connection.heaviest <= statements.BYTES_PER_STATEMENT_MAX
    for table, rows in (("entry", 150), ("content", 70), ("state", 70)):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (rows,)
    connection.close()


def test_a_name_can_be_taken_again_in_the_commit_that_frees_it(database: Database) -> None:
    assert commit(database, queues=[QueueRow(1, "/", "x", b"old")]) is None
    assert commit(database, queues=[QueueRow(2, "/", "x", b"new")], queue_deletes=[1]) is None
    assert database.query_now("SELECT id, record FROM queue") == [(2, b"new")]


def test_a_purge_goes_on_in_parts_of_bounded_weight(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "PURGE_BYTES_PER_COMMIT", 1_000)
    rows = [entry(number, b"x" * 400) for number in range(20)]
    shared = [entry(number, None, 7) for number in range(20, 23)]
    contents = [ContentRow(7, b"shared", 4)]
    commit(database, entries=[*rows, *shared, entry(99, None, 7)], contents=contents)
    assert commit(database, purges=[(0, 50)]) is None
    purged(database)
    assert database.query_now("SELECT id FROM entry") == [(99,)]
    assert database.query_now("SELECT id, copies FROM content") == [(7, 1)]


def test_deduplication_ids_go_when_their_window_has_ended(database: Database) -> None:
    commit(database, deduplications=[DeduplicationRow(1, str(n), "m", "s", n) for n in range(50)])
    late = DeduplicationRow(1, "late", "m", "s", 1_000)
    commit(database, deduplications=[late], deduplications_ended_at=40)
    assert database.query_now("SELECT count(*) FROM deduplication") == [(10,)]


def test_a_checkpoint_that_fails_is_tried_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.storage.database.CHECKPOINT_COMMITS", 1)
    commit(database, entries=[entry(number, b"x" * 10_000) for number in range(100)])
    # A reader in the middle of its transaction keeps the checkpoint from finishing.
    with sqlite3.connect(database.path, isolation_level=None) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entry").fetchone()
        for number in range(100, 200):
            assert commit(database, entries=[entry(number)]) is None
    reader.close()
    assert commit(database, entries=[entry(1_000)]) is None


def test_what_was_written_after_a_failed_sync_counts_once_the_wal_is_in_the_file(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(database_module, "_sync_data", fail)
        assert isinstance(commit(database, entries=[entry(1)]), OSError)
    # The sync may lie from now on, so the file itself has to hold what the WAL held.
    assert commit(database, entries=[entry(2)]) is None
    wal = Path(f"{database.path}-wal")
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(database.path, copy)
    with sqlite3.connect(copy / database.path.name) as connection:
        assert connection.execute("SELECT id FROM entry").fetchall() == [(1,)]
    connection.close()
    assert wal.exists()


def test_commits_are_synced_in_their_order(database: Database) -> None:
    told: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    count = 50
    for number in range(count):
        batch = WriteBatch(
            lambda _, n=number: told.put(("written", n)),  # type: ignore[misc]
            lambda _, n=number: told.put(("synced", n)),  # type: ignore[misc]
        )
        batch.entries = [entry(number)]
        # Some that nobody waits for are among them.
        batch.forced = number % 3 > 0
        database.submit(batch)
    happened = [told.get(timeout=60) for _ in range(2 * count)]
    for stage in ("written", "synced"):
        assert [number for each, number in happened if each == stage] == list(range(count))
    for number in range(count):
        assert happened.index(("written", number)) < happened.index(("synced", number))


class _Gate:
    """Rows that keep the writer waiting until the gate is open."""

    def __init__(self, *rows: EntryRow) -> None:
        self._rows = rows
        self._reached = threading.Event()
        self._open = threading.Event()

    def __iter__(self) -> Iterator[EntryRow]:
        self._reached.set()
        assert self._open.wait(60)
        return iter(self._rows)

    def wait(self) -> None:
        """Return once the writer is there."""
        assert self._reached.wait(60)

    def open(self) -> None:
        self._open.set()


def submitted(
    database: Database, *, follows: bool = True, **parts: Any
) -> queue.SimpleQueue[Exception | None]:
    """Where a batch of these parts is answered once it was written."""
    answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
    batch = WriteBatch(answers.put, lambda _: None)
    batch.follows = follows
    for part, value in parts.items():
        setattr(batch, part, value)
    database.submit(batch)
    return answers


def test_what_builds_upon_one_another_is_one_transaction(database: Database) -> None:
    gate = _Gate(entry(1), entry(2))
    first = submitted(database, entries=gate)
    gate.wait()
    later = [
        submitted(database, entries=[entry(3, content=7)], contents=[ContentRow(7, b"x", 2)]),
        submitted(database, deletes=[1, 3], released=[7], queues=[QueueRow(1, "/", "q", b"old")]),
        submitted(database, receives=[ReceiveRow(5, 1, 0, 4, 2)], queue_deletes=[1]),
        submitted(database, queues=[QueueRow(2, "/", "q", b"new")], state=[("k", "a", b"1")]),
        submitted(database, state=[("k", "a", None), ("k", "b", b"2")]),
    ]
    commits = database.commits
    gate.open()
    for answers in (first, *later):
        assert answers.get(timeout=60) is None
    assert database.commits == commits + 2
    assert database.query_now("SELECT id, visible_at, receive_count FROM entry") == [(2, 5, 1)]
    assert database.query_now("SELECT id, copies FROM content") == [(7, 1)]
    assert database.query_now("SELECT record FROM queue") == [(b"new",)]
    assert database.query_now("SELECT key, value FROM state") == [("b", b"2")]


def test_what_follows_a_refused_batch_is_refused_with_it(database: Database) -> None:
    gate = _Gate(entry(2**63))
    first = submitted(database, follows=False, entries=gate)
    gate.wait()
    second = submitted(database, entries=[entry(2)])
    gate.open()
    error = first.get(timeout=60)
    assert isinstance(error, Unstorable)
    assert second.get(timeout=60) is error
    # Its owner may not have heard of the refusal yet.
    assert submitted(database, entries=[entry(3)]).get(timeout=60) is error
    assert submitted(database, follows=False, entries=[entry(4)]).get(timeout=60) is None
    assert submitted(database, entries=[entry(5)]).get(timeout=60) is None
    assert database.query_now("SELECT id FROM entry") == [(4,), (5,)]


def test_what_does_not_follow_a_refused_batch_is_written(database: Database) -> None:
    gate = _Gate(entry(1))
    first = submitted(database, entries=gate)
    gate.wait()
    bad = submitted(database, entries=[entry(2**63)])
    good = submitted(database, follows=False, entries=[entry(2)])
    gate.open()
    assert first.get(timeout=60) is None
    assert isinstance(bad.get(timeout=60), Unstorable)
    assert good.get(timeout=60) is None
    assert database.query_now("SELECT id FROM entry") == [(1,), (2,)]
