"""The module `sqlite_seed`: SQL statements fill a database, for today."""

import os
import pwd
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.modules import run, run_one
from support.plays import Result

SQL = """\
CREATE TABLE IF NOT EXISTS bookings (id INTEGER PRIMARY KEY, day TEXT);
INSERT INTO bookings SELECT 1, :today WHERE NOT EXISTS (SELECT 1 FROM bookings);
"""


def ask(folder: Path, sql: str = SQL) -> Result:
    return {
        "sqlite_seed": {
            "database": str(folder / "b.sqlite"),
            "sql": sql,
            "timezone": "Europe/Amsterdam",
            "mode": "0640",
        }
    }


def rows(folder: Path) -> list[Any]:
    with closing(sqlite3.connect(folder / "b.sqlite")) as connection:
        return connection.execute("SELECT * FROM bookings").fetchall()


def test_it_fills_once(tmp_path: Path) -> None:
    first, second = run(tmp_path, ask(tmp_path), ask(tmp_path))
    assert [(one["changed"], one["rows"]) for one in (first, second)] == [(True, 1), (False, 0)]
    assert (tmp_path / "b.sqlite").stat().st_mode & 0o777 == 0o640
    [(number, day)] = rows(tmp_path)
    assert number == 1
    assert len(day) == len("2026-11-24")


@pytest.mark.parametrize("there", [False, True])
def test_check_mode_predicts_and_changes_nothing(tmp_path: Path, there: bool) -> None:
    if there:
        run_one(tmp_path, ask(tmp_path))
    more = SQL + "INSERT INTO bookings VALUES (2, :today);\n"
    assert run_one(tmp_path, ask(tmp_path, more), options=["--check"])["rows"] == (1 if there else 2)
    assert (tmp_path / "b.sqlite").exists() == there
    if there:
        assert len(rows(tmp_path)) == 1


def test_a_wrong_statement_takes_all_back(tmp_path: Path) -> None:
    run_one(tmp_path, ask(tmp_path))
    result = run_one(tmp_path, ask(tmp_path, SQL + "DELETE FROM bookings;\nINSERT INTO nowhere VALUES (1);\n"))
    assert "Correct the SQL" in result["msg"]
    assert len(rows(tmp_path)) == 1


NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def ask_as_nobody(folder: Path) -> Result:
    request = ask(folder)
    request["sqlite_seed"] |= {"owner": "nobody", "group": "nogroup"}
    return request


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_root_fills_it_as_its_owner(open_folder: Path, tmp_path: Path) -> None:
    assert "unable to open" in run_one(tmp_path, ask_as_nobody(open_folder))["msg"]
    os.chown(open_folder, NOBODY.pw_uid, NOBODY.pw_gid)
    first, second = run(tmp_path, ask_as_nobody(open_folder), ask_as_nobody(open_folder))
    assert [(one["changed"], one["rows"]) for one in (first, second)] == [(True, 1), (False, 0)]
    made = (open_folder / "b.sqlite").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (NOBODY.pw_uid, NOBODY.pw_gid, 0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_a_link_in_the_owners_folder_leads_nowhere(open_folder: Path, tmp_path: Path) -> None:
    os.chown(open_folder, NOBODY.pw_uid, NOBODY.pw_gid)
    target = tmp_path / "roots.sqlite"
    (open_folder / "b.sqlite").symlink_to(target)
    assert "unable to open" in run_one(tmp_path, ask_as_nobody(open_folder))["msg"]
    assert not target.exists()
