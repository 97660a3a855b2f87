"""Bookings from an SQLite database: queries, and each failure with its remedy."""

import os
import random
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dicom_worklist.bookings import sources
from dicom_worklist.bookings.booking import COLUMNS
from dicom_worklist.bookings.sources import sqlite as sqlite_module
from dicom_worklist.errors import SourceError
from support.calendar import Calendar
from support.command import start
from support.sources import TODAY, bookings, error_of, sqlite_source


@pytest.mark.parametrize("form", [":{}", "%({})s"])
def test_a_query_may_use_the_days_as_parameters_in_any_order_and_more_than_once(form: str, tmp_path: Path) -> None:
    first, last = form.format("first_day"), form.format("last_day")
    columns = ", ".join(f"'{column}' AS {column}" for column in COLUMNS[1:])
    query = f"SELECT {last} || ' ' || {first} || ' ' || {last} || ' 10%' AS booking_id, {columns}"
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    [row] = sqlite_source(tmp_path / "empty.sqlite", query).rows(date(2026, 1, 1), date(2026, 1, 2))
    assert row["booking_id"] == "2026-01-02 2026-01-01 2026-01-02 10%"


def test_a_query_needs_no_parameters(calendar: Calendar) -> None:
    query = "SELECT " + ", ".join(f"'{column}' AS {column}" for column in COLUMNS)
    assert sqlite_source(calendar.path, query).rows(**TODAY) == [{column: column for column in COLUMNS}]


def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("no database" * 100)
    with pytest.raises(SourceError, match=r"text.sqlite can't be read: .*database"):
        sqlite_source(tmp_path / "text.sqlite").rows(**TODAY)


def test_each_failure_of_a_database_file_has_its_remedy(calendar: Calendar, tmp_path: Path) -> None:
    (tmp_path / "short.sqlite").write_text("no")
    (tmp_path / "zero.sqlite").touch()
    (tmp_path / "other.sqlite").write_bytes(b"")
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as connection:
        connection.execute("CREATE TABLE bookings (id)")
    (tmp_path / "cut.sqlite").write_bytes(calendar.path.read_bytes()[:5000])
    assert "short.sqlite can't be read: file is not a database. Check source.path" in error_of(
        sqlite_source(tmp_path / "short.sqlite")
    )
    assert "zero.sqlite can't be read: the file is empty" in error_of(sqlite_source(tmp_path / "zero.sqlite"))
    assert "no such table: calendar_items_new. Other tables" in error_of(sqlite_source(tmp_path / "other.sqlite"))
    assert "malformed. The file is damaged" in error_of(sqlite_source(tmp_path / "cut.sqlite"))
    assert f"{tmp_path} can't be read: Is a directory. Check source.path" in error_of(sqlite_source(tmp_path))
    assert "absent can't be read: No such file or directory. Check" in error_of(sqlite_source(tmp_path / "absent"))
    assert "write a SELECT" in error_of(sqlite_source(calendar.path, "DELETE FROM users"))


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_held_by_another_program_is_reported_as_locked(
    mode: str, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "PATIENCE", 0)
    with closing(sqlite3.connect(calendar.path, isolation_level=None)) as other:
        other.execute(f"PRAGMA journal_mode = {mode}")
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert "is locked. Another program has held it" in error_of(sqlite_source(calendar.path))
        other.execute("ROLLBACK")


def killed_in_the_middle(path: Path, mode: str) -> None:
    """Let a process change a database and die before it is done."""
    if (child := os.fork()) == 0:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO projects VALUES (?, ?)", ((at, "x" * 1000) for at in range(1000)))
        if mode == "wal":
            connection.execute("COMMIT")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_an_unfinished_change_of_the_database_is_reported(calendar: Calendar) -> None:
    killed_in_the_middle(calendar.path, "delete")
    assert Path(f"{calendar.path}-journal").exists()
    said = error_of(sqlite_source(calendar.path))
    assert "a program stopped in the middle of a change" in said
    assert "source.query" not in said


def as_nobody(source: sources.Source) -> str:
    """Read as a user without rights, in a process of its own; return what it says."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            said = f"{len(source.rows(**TODAY))} bookings"
        except BaseException as error:  # noqa: BLE001 - the parent judges any error
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into."""
    with TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


HOLD_OPEN = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("UPDATE projects SET projectName = 'another'")
print("open", flush=True)
sys.stdin.read()
"""
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


@only_root
def test_a_database_in_wal_mode_in_a_folder_that_this_user_can_not_write_is_reported(open_folder: Path) -> None:
    calendar = Calendar(open_folder / "calendar.sqlite")
    calendar.book(1)
    source = sqlite_source(calendar.path)
    assert as_nobody(source) == "1 bookings"
    with closing(sqlite3.connect(calendar.path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    log, index = (Path(f"{calendar.path}-{what}") for what in ("wal", "shm"))
    assert not log.exists()
    wal = f"it is in WAL mode, and this user can't use or make {index}"
    assert wal in as_nobody(source)  # nobody has it open
    with start("-c", HOLD_OPEN, calendar.path) as program:
        assert program.stdout and program.stdout.readline() == "open\n"
        assert as_nobody(source) == "1 bookings"  # the calendar's own program has it open
        for path in (log, index):
            path.chmod(0o600)
            assert wal in as_nobody(source)
            path.chmod(0o644)
        program.communicate(timeout=10)
    killed_in_the_middle(calendar.path, "wal")
    index.unlink()
    said = as_nobody(source)
    assert wal in said
    assert f"Let this user write to them and in {open_folder}" in said
    assert "PRAGMA journal_mode = DELETE" in said
    assert "source.query" not in said
    open_folder.chmod(0o777)
    for path in (calendar.path, log):
        path.chmod(0o666)
    assert as_nobody(source) == "1 bookings"  # the remedy works


@only_root
def test_a_database_that_this_user_may_not_read_is_reported(open_folder: Path) -> None:
    calendar = Calendar(open_folder / "calendar.sqlite")
    for path, mode in ((calendar.path, 0o600), (open_folder, 0o700)):
        before = path.stat().st_mode
        path.chmod(mode)
        assert "calendar.sqlite can't be read: Permission denied. Check source.path, and that this user may read" in (
            as_nobody(sqlite_source(calendar.path))
        )
        path.chmod(before & 0o777)


def test_a_faulty_query_is_reported(calendar: Calendar) -> None:
    with pytest.raises(SourceError, match=r"near \"SELEKT\".*source.query"):
        sqlite_source(calendar.path, "SELEKT 1").rows(**TODAY)


def test_a_query_can_not_change_the_database(calendar: Calendar) -> None:
    calendar.book(1)
    with pytest.raises(SourceError, match="readonly"):
        sqlite_source(calendar.path, "DELETE FROM calendar_items_new").rows(**TODAY)
    assert len(sqlite_source(calendar.path).rows(**TODAY)) == 1


def test_bad_bytes_in_one_row_hide_no_other_row_of_a_database(calendar: Calendar) -> None:
    with closing(sqlite3.connect(calendar.path)) as connection, connection:
        connection.execute("INSERT INTO projects VALUES ('3010000.02', CAST(x'4dfc6c6c6572' AS TEXT))")
    calendar.book(1, project="3010000.02")
    calendar.book(2)
    assert bookings(sqlite_source(calendar.path)).keys() == {"1", "2"}


def test_a_database_that_is_cut_off_anywhere_is_an_error_and_never_a_part(calendar: Calendar, tmp_path: Path) -> None:
    for number in range(1, 2001):
        calendar.book(number, f"{number}-1")
    whole, path = calendar.path.read_bytes(), tmp_path / "cut.sqlite"
    path.write_bytes(whole)
    assert len(sqlite_source(path).rows(**TODAY)) == 2000
    for cut in random.Random(14).sample(range(len(whole)), 500):
        path.write_bytes(whole[:cut])
        assert "can't be read: " in error_of(sqlite_source(path))
    path.write_bytes(whole[:-1])
    assert "the file is not whole, it ends in the middle of a page. Write it elsewhere" in error_of(sqlite_source(path))
