"""What to do about a file that can't be used: it must fit the error, and must never cost the history."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from dicom_worklist.status import history
from dicom_worklist.status.remedy import reason, remedy

PATH = Path("/var/lib/dicom-worklist/status.history.sqlite")
FULL = (
    "The disk is full: see `df -h /var/lib/dicom-worklist`, and make room; the next run puts it right. "
    "Move nothing away"
)


def full(tmp_path: Path) -> sqlite3.OperationalError:
    """The error of a database that has reached its largest size."""
    with sqlite3.connect(tmp_path / "full.sqlite") as connection:
        connection.execute("CREATE TABLE x (y)")
        connection.execute("PRAGMA max_page_count = 2")
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("INSERT INTO x VALUES (zeroblob(99999))")
    return caught.value


def locked(tmp_path: Path) -> sqlite3.OperationalError:
    path = tmp_path / "locked.sqlite"
    with sqlite3.connect(path) as one, sqlite3.connect(path, timeout=0) as other:
        one.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            other.execute("CREATE TABLE x (y)")
    return caught.value


def damaged(tmp_path: Path) -> sqlite3.DatabaseError:
    (tmp_path / "other").write_bytes(b"not a database at all, " * 99)
    with sqlite3.connect(tmp_path / "other") as connection, pytest.raises(sqlite3.DatabaseError) as caught:
        connection.execute("SELECT * FROM sqlite_master")
    return caught.value


def told(error: Exception) -> str:
    return history.failure(PATH, "written", error)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_on_a_full_disk_nothing_is_moved_away(number: int, tmp_path: Path) -> None:
    error = OSError(number, os.strerror(number))
    assert remedy(error, PATH) == FULL
    for one in (error, full(tmp_path), sqlite3.OperationalError("database or disk is full")):
        assert told(one).endswith(FULL)
        assert "site.yml" not in told(one)
        assert "begins a new one" not in told(one)


def test_owner_and_mode_are_the_remedy_only_where_they_are_the_reason() -> None:
    for number in (errno.EACCES, errno.EPERM):
        assert remedy(OSError(number, ""), PATH) == "site.yml corrects its owner and mode"
        assert told(OSError(number, "x")).endswith("It belongs to another user: site.yml corrects that")
    read_only = remedy(OSError(errno.EROFS, ""), PATH)
    assert "mounted read-only" in read_only
    assert "site.yml" not in read_only
    assert "owner" not in remedy(KeyError("x"), PATH)


def test_a_locked_one_is_written_by_the_next_run(tmp_path: Path) -> None:
    assert told(locked(tmp_path)).endswith("another run holds it; the next run writes it")


def test_only_a_damaged_one_is_moved_away(tmp_path: Path) -> None:
    assert "Move it away and keep it" in told(damaged(tmp_path))
    assert "Move it away and keep it" in told(sqlite3.DatabaseError("database disk image is malformed"))


def test_a_reason_is_no_repr(tmp_path: Path) -> None:
    assert reason(full(tmp_path)) == "database or disk is full"
    assert reason(OSError(errno.ENOSPC, "No space left on device", "/x")) == "No space left on device"
    assert reason(ValueError()) == "ValueError"
